"""A front that never waits before a desk that may: all are answered while the terminal is busy.

The terminal's calls block without a limit (MT5 reference, Python integration), and one thread makes
them all: the desk's. The front's thread has the sockets. It answers HELLO and PING itself, lets
everything else wait for the desk, and loses patience before the client does:

* a query is answered FAILED, with what the terminal is busy with; the terminal's own answer, if it
  comes later, is thrown away;
* an order that was not begun is answered REJECTED, and never begun, nor is a copy of it;
* an order that was begun is answered by its outcome alone, however late.

Told to stop, it begins nothing more and says so to everybody, until the call under way is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from trueup.errors import TrueupError
from trueup.gateway.access.door import Client
from trueup.gateway.access.permissions import Gate
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import StoreRefused
from trueup.gateway.server.queue import Task, Waiting
from trueup.gateway.server.refused_ids import TurnedAway
from trueup.gateway.server.sockets import Server
from trueup.logs import Logger, logger
from trueup.protocol.hints import capability
from trueup.protocol.requests import ORDERS, Request
from trueup.protocol.snapshot import CAPABILITIES

log: Logger = logger("trueup.front")

# Half of what a client waits by default (GTW_TIMEOUT_MS), so that the answer finds it waiting.
PATIENCE_MS = 1_000
# How soon `stop` is noticed, by either thread.
LOOK_UP_MS = 100
DESK_ENDS_SEC = 5.0
ENDING_MS = 20
# How long a client has for reading its last reply before its connection ends.
READ_SEC = 0.25
ENDS = "the gateway ends"
TURNED_AWAY = "it was turned away when it came first: give another try another order_id"


class DeskEnded(TrueupError):
    """The thread that serves the terminal broke; its error is above."""


class Front:
    """Serves one desk to many clients.

    Args:
        desk: answers from the terminal; after `run` began nobody else may use it.
        now_ns: nanoseconds that go on while the machine sleeps, so that an order that lay there
            meanwhile is refused and not begun; the desk's clock for ages.
        patience_ms: how long a request may wait for the terminal.
        watch_ms: from one look of the watcher to the next, 0 to watch nothing; its hints go out
            where the server publishes any.
        waiting: the places to wait in.
        gate: who may have what done; anybody everything, where none is given.

    Use it so:

        front = Front(desk, clock.age_ns)
        with Server(endpoint, front.handle) as server:
            front.run(server)
    """

    def __init__(
        self,
        desk: Desk,
        now_ns: Callable[[], int],
        *,
        patience_ms: int = PATIENCE_MS,
        watch_ms: int = 0,
        waiting: Waiting | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._desk, self._now_ns = desk, now_ns
        self._patience_ns = patience_ms * 1_000_000
        self._watcher = desk.watcher(watch_ms) if watch_ms else None
        self._pause_sec = min(watch_ms or LOOK_UP_MS, LOOK_UP_MS) / 1000
        self._waiting = waiting or Waiting()
        self._gate = gate or Gate()
        self._turned_away = TurnedAway()
        self._is_stopped = False
        # How many replies went out, and when the latest did.
        self._sent, self._sent_ns = 0, 0
        self._refused: StoreRefused | None = None

    def handle(self, client: Client, raw: bytes) -> bytes | None:
        """Answer at once, or let the request wait for the desk; never waits itself."""
        request = self._desk.read(raw)
        if isinstance(request, bytes):
            refusal = self._gate.refusal(client, None)
            return request if refusal is None else self._desk.refuse_unread(raw, refusal)
        refusal = self._gate.refusal(client, request)
        if refusal is not None:
            return self._refuse(client, request, refusal)
        reply = self._desk.at_once(request, partial(self._gate.access, client))
        if reply is not None:
            return reply
        if request.action in ORDERS and self._turned_away.has(client.user, request.order_id):
            return self._refuse(client, request, TURNED_AWAY)
        if self._is_stopped:
            return self._refuse(client, request, ENDS)
        task = Task(client, request, self._now_ns())
        no_place = self._waiting.put(task)
        return None if no_place is None else self._refuse(client, request, no_place)

    def run(self, server: Server) -> None:
        """Serve until `stop`.

        Raises:
            StoreRefused: another gateway serves the terminal's account, or has its record.
            DeskEnded: the desk's thread broke.
        """
        if self._watcher is not None and server.hints_port:
            self._desk.capabilities = (*CAPABILITIES, capability(server.hints_port))
        desk = threading.Thread(target=self._work, args=(server,), name="desk", daemon=True)
        desk.start()
        try:
            while not self._is_stopped and desk.is_alive():
                self._serve_once(server)
                self._lose_patience(server)
        finally:
            stopped, self._is_stopped = self._is_stopped, True
            self._end(desk, server)
        if not stopped:
            raise self._refused or DeskEnded

    def _end(self, desk: threading.Thread, server: Server) -> None:
        """Tell everybody that the gateway ends while the call under way gets its time."""
        self._refuse_all(server)
        _serve(server, DESK_ENDS_SEC, desk.is_alive)
        # One that came in between.
        self._refuse_all(server)
        server.serve_once(0)
        if server.sent != self._sent or self._now_ns() < self._sent_ns + READ_SEC * 1e9:
            # A client that loses its connection drops what it has not read (libzmq, ZMQ_IMMEDIATE).
            _serve(server, READ_SEC, lambda: True)

    def _serve_once(self, server: Server) -> None:
        server.serve_once(self._wait_ms())
        if server.sent != self._sent:
            self._sent, self._sent_ns = server.sent, self._now_ns()

    def _refuse_all(self, server: Server) -> None:
        for task in self._waiting.take_all():
            server.reply(task.client, self._refuse(task.client, task.request, ENDS))

    @property
    def waits_for_terminal(self) -> int:
        """How many requests nobody has begun yet."""
        return self._waiting.count

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._is_stopped = True

    def _wait_ms(self) -> int:
        oldest_ns = self._waiting.oldest_ns
        if oldest_ns is None:
            return LOOK_UP_MS
        left_ns = oldest_ns + self._patience_ns - self._now_ns()
        return max(0, min(LOOK_UP_MS, left_ns // 1_000_000 + 1))

    def _lose_patience(self, server: Server) -> None:
        for task in self._waiting.take_back(self._now_ns() - self._patience_ns):
            server.reply(task.client, self._refuse(task.client, task.request, self._why(task)))

    def _refuse(self, client: Client, request: Request, why: str, *, besides: int = 0) -> bytes:
        # One of the same id that is not recorded yet may still be sent.
        is_here = request.action in ORDERS and self._waiting.has_order(
            request.order_id, besides=besides
        )
        came_before = is_here or self._desk.came_before(request)
        if request.action in ORDERS and not came_before:
            self._turned_away.note(client.user, request.order_id)
        return self._desk.refuse(request, why, came_before=came_before)

    def _why(self, task: Task) -> str:
        call, now_ns = self._desk.calls.now, self._now_ns()
        if call is None:
            return f"{(now_ns - task.at_ns) / 1e9:.1f} s went by before its turn came"
        function, since_ns = call
        busy_sec = (now_ns - since_ns) / 1e9
        return f"the terminal has been busy for {busy_sec:.1f} s in {function}"

    # In the desk's thread.

    def _work(self, server: Server) -> None:
        try:
            while not self._is_stopped:
                self._work_once(server)
        except StoreRefused as refused:
            self._refused = refused
        except Exception:
            # A gateway without a console has its log in a file; `run` ends with DeskEnded.
            log.exception("[GATEWAY] The desk's thread broke")

    def _work_once(self, server: Server) -> None:
        task = self._waiting.take(self._pause_sec)
        if task is not None:
            self._do(task, server)
        if self._watcher is not None:
            hint = self._watcher.turn(is_idle=task is None)
            if hint is not None:
                server.publish(hint, self._watcher.login)
        self._desk.tend()

    def _do(self, task: Task, server: Server) -> None:
        if self._now_ns() - task.at_ns > self._patience_ns:
            # The front was late to take it back.
            reply = self._refuse(task.client, task.request, self._why(task), besides=1)
        else:
            reply = self._answer(task)
        if self._waiting.answered(task):
            server.reply(task.client, reply)

    def _answer(self, task: Task) -> bytes:
        # What the client may have done, and whose account this is, may have changed meanwhile.
        look = self._desk.look()
        refusal = self._gate.last_refusal(task.client, task.request, look.login)
        if refusal is not None:
            return self._refuse(task.client, task.request, refusal, besides=1)
        reply = self._desk.answer(task.request, look, self._gate.access(task.client))
        if task.is_order:
            return reply
        # A hand at the terminal may have changed the account while it was read.
        refusal = self._gate.last_refusal(task.client, task.request, self._desk.look().login)
        return reply if refusal is None else self._refuse(task.client, task.request, refusal)


def _serve(server: Server, most_sec: float, goes_on: Callable[[], bool]) -> None:
    """Serve for some seconds at most, and no longer than something goes on."""
    late = threading.Event()
    timer = threading.Timer(most_sec, late.set)
    timer.daemon = True
    timer.start()
    while goes_on() and not late.is_set():
        server.serve_once(ENDING_MS)
    timer.cancel()
