"""The front: accept requests in a separate thread, so that clients get answers while MT5 is busy.

The terminal's calls block without a limit (MT5 reference, Python integration). A single thread, the
desk's, makes all of them. The front's thread owns the sockets. It answers HELLO and PING itself,
queues everything else for the desk, and answers a request that has waited too long before its
client times out:

* a query is answered FAILED, naming the call that the terminal is busy with; if the terminal's
  answer comes later, it is thrown away;
* an order that was not begun is answered REJECTED and is never begun, nor is a copy of it;
* an order that was begun is answered only with its outcome, however late.

After `stop` the front begins no further request and answers each with a refusal until the call
under way is over.
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
from trueup.gateway.server.queue import Task, TaskQueue
from trueup.gateway.server.refused_ids import RefusedIds
from trueup.gateway.server.sockets import Server
from trueup.logs import Logger, logger
from trueup.protocol.hints import capability
from trueup.protocol.requests import ORDERS, Request

log: Logger = logger("trueup.front")

# How long a request may wait: half of a client's default timeout (GTW_TIMEOUT_MS), so that the
# refusal arrives while the client still waits for it.
PATIENCE_MS = 1_000
# How soon `stop` is noticed, by both threads.
STOP_CHECK_MS = 100
DESK_ENDS_SEC = 5.0
ENDING_MS = 20
# How long a client has to read its last reply before its connection is closed.
READ_SEC = 0.25
ENDS = "the gateway ends"
REFUSED_BEFORE = "an earlier copy of this order was refused: use a new order_id to try again"


class DeskEnded(TrueupError):
    """The thread that serves the terminal failed; its error is logged above."""


class Front:
    """Serves one desk to many clients.

    Args:
        desk: answers from the terminal; after `run` began only the front may use the desk.
        now_ns: nanoseconds, by the desk's clock for ages. This clock must run on while the machine
            sleeps, so that an order that waited meanwhile is refused and not begun.
        patience_ms: how long a request may wait for the terminal.
        watch_ms: the watcher's interval, 0 to watch nothing; its hints are published if the server
            has a hint socket.
        queue: holds the requests that wait.
        gate: decides which requests are allowed; by default all.

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
        queue: TaskQueue | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._desk, self._now_ns = desk, now_ns
        self._patience_ns = patience_ms * 1_000_000
        self._watcher = desk.watcher(watch_ms) if watch_ms else None
        self._pause_sec = min(watch_ms or STOP_CHECK_MS, STOP_CHECK_MS) / 1000
        self._queue = queue or TaskQueue()
        self._gate = gate or Gate()
        self._refused_ids = RefusedIds()
        self._is_stopped = False
        # How many replies were sent, and when the latest was sent.
        self._sent, self._sent_ns = 0, 0
        self._refused: StoreRefused | None = None

    def handle(self, client: Client, raw: bytes) -> bytes | None:
        """Answer at once, or queue the request for the desk; never waits."""
        request = self._desk.read(raw)
        if isinstance(request, bytes):
            # Even a message that is not valid counts towards the sender's rate limit.
            refusal = self._gate.refusal(client, None)
            return request if refusal is None else self._desk.refuse_unread(raw, refusal)
        refusal = self._gate.refusal(client, request)
        if refusal is not None:
            return self._refuse(client, request, refusal)
        reply = self._desk.at_once(request, partial(self._gate.access, client))
        if reply is not None:
            return reply
        # The first copy of this order was answered "not sent", so no later copy may be sent.
        if request.action in ORDERS and self._refused_ids.has(client.user, request.order_id):
            return self._refuse(client, request, REFUSED_BEFORE)
        if self._is_stopped:
            return self._refuse(client, request, ENDS)
        task = Task(client, request, self._now_ns())
        no_place = self._queue.put(task)
        return None if no_place is None else self._refuse(client, request, no_place)

    def run(self, server: Server) -> None:
        """Serve until `stop`.

        Raises:
            StoreRefused: another gateway serves the terminal's account, or its record cannot be
                used.
            DeskEnded: the desk's thread failed.
        """
        if self._watcher is not None and server.hints_port:
            self._desk.capabilities = (*self._desk.capabilities, capability(server.hints_port))
        desk = threading.Thread(target=self._work, args=(server,), name="desk", daemon=True)
        desk.start()
        try:
            while not self._is_stopped and desk.is_alive():
                self._serve_once(server)
                self._refuse_overdue(server)
        finally:
            stopped, self._is_stopped = self._is_stopped, True
            self._end(desk, server)
        if not stopped:
            raise self._refused or DeskEnded

    def _end(self, desk: threading.Thread, server: Server) -> None:
        """Refuse all waiting requests, and wait some seconds for the call under way."""
        self._refuse_all(server)
        _serve(server, DESK_ENDS_SEC, desk.is_alive)
        # A request may have been queued before the desk's thread ended.
        self._refuse_all(server)
        server.serve_once(0)
        if server.sent != self._sent or self._now_ns() < self._sent_ns + READ_SEC * 1e9:
            # libzmq drops replies that a client has not read when the connection closes.
            _serve(server, READ_SEC, lambda: True)

    def _serve_once(self, server: Server) -> None:
        server.serve_once(self._wait_ms())
        if server.sent != self._sent:
            self._sent, self._sent_ns = server.sent, self._now_ns()

    def _refuse_all(self, server: Server) -> None:
        for task in self._queue.take_all():
            server.reply(task.client, self._refuse(task.client, task.request, ENDS))

    @property
    def waits_for_terminal(self) -> int:
        """How many requests have not been begun."""
        return self._queue.count

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._is_stopped = True

    def _wait_ms(self) -> int:
        oldest_ns = self._queue.oldest_ns
        if oldest_ns is None:
            return STOP_CHECK_MS
        left_ns = oldest_ns + self._patience_ns - self._now_ns()
        return max(0, min(STOP_CHECK_MS, left_ns // 1_000_000 + 1))

    def _refuse_overdue(self, server: Server) -> None:
        for task in self._queue.take_back(self._now_ns() - self._patience_ns):
            server.reply(task.client, self._refuse(task.client, task.request, self._why(task)))

    def _refuse(self, client: Client, request: Request, why: str, *, besides: int = 0) -> bytes:
        # A copy with the same id that is queued and not recorded yet may still be sent.
        is_here = request.action in ORDERS and self._queue.has_order(
            request.order_id, besides=besides
        )
        came_before = is_here or self._desk.came_before(request)
        if request.action in ORDERS and not came_before:
            self._refused_ids.note(client.user, request.order_id)
        return self._desk.refuse(request, why, came_before=came_before)

    def _why(self, task: Task) -> str:
        call, now_ns = self._desk.calls.now, self._now_ns()
        if call is None:
            return f"{(now_ns - task.at_ns) / 1e9:.1f} s went by before its turn came"
        function, since_ns = call
        busy_sec = (now_ns - since_ns) / 1e9
        return f"the terminal has been busy for {busy_sec:.1f} s in {function}"

    # The methods below run in the desk's thread.

    def _work(self, server: Server) -> None:
        try:
            while not self._is_stopped:
                self._work_once(server)
        except StoreRefused as refused:
            self._refused = refused
        except Exception:
            # A gateway without a console logs to a file only. `run` raises DeskEnded.
            log.exception("[GATEWAY] The desk's thread failed")

    def _work_once(self, server: Server) -> None:
        task = self._queue.take(self._pause_sec)
        if task is not None:
            self._do(task, server)
        if self._watcher is not None:
            hint = self._watcher.turn(is_idle=task is None)
            if hint is not None:
                server.publish(hint, self._watcher.login)
        self._desk.tend()

    def _do(self, task: Task, server: Server) -> None:
        if self._now_ns() - task.at_ns > self._patience_ns:
            # The front's thread had no time to take this task back.
            reply = self._refuse(task.client, task.request, self._why(task), besides=1)
        else:
            reply = self._answer(task)
        if self._queue.answered(task):
            server.reply(task.client, reply)

    def _answer(self, task: Task) -> bytes:
        # The client's rights and the terminal's account may have changed while the task waited.
        look = self._desk.look(task.request)
        refusal = self._gate.last_refusal(task.client, task.request, look.login)
        if refusal is not None:
            return self._refuse(task.client, task.request, refusal, besides=1)
        reply = self._desk.answer(task.request, look, self._gate.access(task.client))
        if task.is_order:
            return reply
        # The user may have switched the terminal to another account during the reading.
        refusal = self._gate.last_refusal(task.client, task.request, self._desk.look().login)
        return reply if refusal is None else self._refuse(task.client, task.request, refusal)


def _serve(server: Server, most_sec: float, goes_on: Callable[[], bool]) -> None:
    """Serve for at most `most_sec` seconds, and only while `goes_on` returns True."""
    late = threading.Event()
    timer = threading.Timer(most_sec, late.set)
    timer.daemon = True
    timer.start()
    while goes_on() and not late.is_set():
        server.serve_once(ENDING_MS)
    timer.cancel()
