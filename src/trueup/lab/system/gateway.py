"""The gateway's process: the product's desk on the simulated terminal, with faults and restarts."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.door import Client
from trueup.gateway.access.permissions import Gate
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.server.front import REFUSED_BEFORE
from trueup.gateway.server.refused_ids import RefusedIds
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.clocks import Clocks
from trueup.gateway.terminal.one_account import READY_PAUSE_MS, READY_POLLS, OneAccount
from trueup.lab.plan.plan import Fault
from trueup.lab.system.clocks import Machine, ProcessClock
from trueup.lab.system.record_disk import RecordDisk
from trueup.lab.system.schedule import Schedule
from trueup.lab.system.wire import Network
from trueup.protocol.hints import capability
from trueup.protocol.requests import ORDERS
from trueup.sim.terminal.program import Pipe
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import (
    Answered,
    CallFault,
    DoneWithoutDeal,
    Partial,
    PlacedLater,
    SendFault,
)

REINITIALIZE_MS = 700
HINTS_PORT = 5556
TENDS_EVERY_MS = 1_000
# Shorter than the usual wait, as that of the bots: see `GRACE_SEC` in `lab.world.world`.
GRACE_SEC = 12
KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
"""The public key of all bots of a world."""
MAY_TRADE = f"bot trade * {KEY}\n"
"""An allow file that lets the bots trade on every account."""
# The faults that only a market order can meet.
AT_MARKET = (Partial, PlacedLater, DoneWithoutDeal)


class GatewayDied(BaseException):
    """The gateway's process died. Not an `Exception`, so that no code on the way catches this.

    `death` carries out the end of the process.
    """

    def __init__(self, where: str, death: Callable[[], None]) -> None:
        super().__init__(where)
        self.death = death


class Doom(msgspec.Struct):
    """The point of carrying out an order at which the gateway dies, and the act of dying."""

    where: GatewayPoint
    death: Callable[[], None]


class NotReady(Exception):
    """The terminal is not ready yet; the gateway tries again soon."""


class Mishap(msgspec.Struct, frozen=True):
    """A fault that waits for the next order, or for the next reading of a list.

    A fault with `alters` waits for a reading that the fault truly changes.
    """

    fault: Fault
    send: SendFault | None = None
    calls: tuple[tuple[str, CallFault], ...] = ()
    alters: bool = False


class GatewayProcess:
    """Serves the terminal; dies and restarts.

    `struck` is called for each fault that met a request, `arrived` for each order, `replied` for
    its answer.
    """

    def __init__(
        self,
        schedule: Schedule,
        terminal: SimulatedTerminal,
        name: str,
        struck: Callable[[Fault, str, str], None],
        arrived: Callable[[bytes, str], None],
        replied: Callable[[bytes, str], None],
        *,
        hints_every_ms: int = 0,
        pins_account: bool = True,
        proves: bool = True,
    ) -> None:
        self._schedule, self._name = schedule, name
        self.terminal: SimulatedTerminal = terminal
        self._struck, self._arrived, self._replied = struck, arrived, replied
        self.on_reading: Callable[[bytes, bytes], None] = lambda message, reply: None
        """Called with each question that was answered with a reading, and with that answer."""
        self.machine: Machine = Machine(schedule)
        self._pins_account = pins_account
        self.hints_every_ms: int = hints_every_ms
        self.network: Network | None = None
        self.orders: deque[Mishap] = deque()
        self.readings: deque[Mishap] = deque()
        self._proves = proves
        self.knows_only_the_guide: bool = not proves
        self.disk: RecordDisk = RecordDisk(
            lambda: schedule.now_ns, lambda: struck(Fault.GATEWAY_DISK_FULL, "an order", "")
        )
        self.doom: Doom | None = None
        self._boots = self._attachments = 0
        self._desk: Desk | None = None
        self._gate, self._allow_folder = Gate(), ""
        self._refused_ids = RefusedIds()
        self._mends = False
        self._served = OneAccount(terminal, self._wait)
        self._looks = 0
        # A hanging call can only end with the process, as in a real gateway.
        terminal.faults.on_hang = self._hang
        self.start()

    @property
    def boot(self) -> str:
        """This run's own name."""
        return f"{self._name}.{self._boots}"

    def start(self) -> None:
        """Start the process, unless the process runs."""
        if self._desk is not None:
            return
        self._boots += 1
        # Kept in memory only, so a process does not know what the process before it refused.
        self._refused_ids = RefusedIds()
        # Each process has a new name and opens the record that the last process left.
        clock = ProcessClock(self.machine, lambda until_ns: None)
        store = self.disk.open(self.boot, clock.now_ns)
        # The product's own desk; clocks, record and crash points are the simulated machine's.
        self._desk = Desk(
            self._served,
            self.boot,
            clock.now_ns,
            clocks=Clocks(clock.now_ns, clock.age_ns, clock.waiting_ns),
            store=store,
            crash=self._pass_point,
            attachments=lambda: self._attachments,
            grace_sec=GRACE_SEC,
        )
        self._begin_to_tend(self._desk)
        if self.hints_every_ms:
            self._begin_to_watch(self._desk)
        self._initialize()
        if self.network is not None:
            self.network.is_listening = True

    def _begin_to_tend(self, desk: Desk) -> None:
        """See to the record of requests now and then, as the front of a gateway does."""

        def tend() -> None:
            if self._desk is not desk:
                return
            try:
                desk.tend()
            except GatewayDied as died:
                died.death()
                return
            self._schedule.after(TENDS_EVERY_MS, tend)

        self._schedule.after(TENDS_EVERY_MS, tend)

    def _begin_to_watch(self, desk: Desk) -> None:
        desk.capabilities = (*desk.capabilities, capability(HINTS_PORT))
        watcher = desk.watcher(self.hints_every_ms)

        # The watcher of a dead process must not publish hints in its successor's name.
        def watch() -> None:
            if self._desk is not desk:
                return
            try:
                hint = watcher.turn()
            except GatewayDied as died:
                died.death()
                return
            if hint is not None and self.network is not None:
                self.network.publish(hint)
            self._schedule.after(self.hints_every_ms, watch)

        self._schedule.after(self.hints_every_ms, watch)

    def stop(self, down_ms: int) -> None:
        """End the process, and start it again later."""
        self._desk = None
        if self.network is not None:
            self.network.is_listening = False
        self._schedule.after(down_ms, self.start)

    def heal(self) -> None:
        """End all faults of the gateway, and serve all requests."""
        self.orders.clear()
        self.readings.clear()
        self.doom = None
        self.disk.is_full = False
        self.knows_only_the_guide = not self._proves
        self._gate = Gate()
        self.start()
        self._mend_pipe()

    def allow(self, text: str) -> None:
        """Edit the allow file; until the first edit no client needs a key.

        The file is real and dated by the world's clock, so that each run sees an edit alike.
        """
        if not self._allow_folder:
            self._allow_folder = tempfile.mkdtemp(prefix="trueup-allow-")
            weakref.finalize(self, shutil.rmtree, self._allow_folder, ignore_errors=True)
            self._write_allowed(MAY_TRADE, 0)
            file = AllowFile(self._allow_file, lambda: self._schedule.now_ns)
            self._gate = Gate(file)
        self._write_allowed(text, 1)

    @property
    def _allow_file(self) -> Path:
        return Path(self._allow_folder) / "allow"

    def _write_allowed(self, text: str, later_ns: int) -> None:
        file, at_ns = self._allow_file, self._schedule.now_ns + later_ns
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        os.utime(file, ns=(at_ns, at_ns))

    def serve(self, message: bytes) -> bytes | None:
        """Answer a request, or die while handling the request."""
        if self._desk is None:
            return None
        is_order = b'"order_id"' in message
        if is_order:
            self._arrived(message, self.boot)
        # A fault waits for the first request that the fault can meet.
        mishap = self._next(self.orders if is_order else self.readings, message)
        altered = self.terminal.altered
        try:
            reply = self._answer(self._desk, message)
        except GatewayDied as died:
            died.death()
            reply = None
        if mishap is not None:
            has_altered = self.terminal.altered > altered
            self._settle(mishap, order_in(message) if is_order else "", has_altered=has_altered)
        # Judges compare a bot's view with the true answers and readings, not with those received.
        self._mend_pipe()
        if is_order and reply is not None:
            self._replied(reply, self.boot)
        elif reply is not None and b'"sequence"' in reply:
            self.on_reading(message, reply)
        return reply

    def _answer(self, desk: Desk, message: bytes) -> bytes:
        refused = self._refusal(desk, message)
        if refused is not None:
            return refused
        if not self.knows_only_the_guide:
            return desk.handle(message)
        if b'"SNAPSHOT"' in message:
            return b'{"status":"ERROR","error":"unknown action"}'
        reply = msgspec.json.decode(desk.handle(message))
        reply.pop("capabilities", None)
        return msgspec.json.encode(reply)

    def _refusal(self, desk: Desk, message: bytes) -> bytes | None:
        """Refuse requests that the allow file does not allow, like the front of a gateway."""
        if not self._allow_folder:
            return None
        request, client = desk.read(message), Client((b"bot",), KEY)
        if isinstance(request, bytes):
            return None
        why = self._gate.refusal(client, request) or self._gate.last_refusal(
            client, request, desk.look().login
        )
        is_order = request.action in ORDERS
        if why is None and is_order and self._refused_ids.has(client.user, request.order_id):
            why = REFUSED_BEFORE
        if why is None:
            return None
        came_before = desk.came_before(request)
        if is_order and not came_before:
            self._refused_ids.note(client.user, request.order_id)
        return desk.refuse(request, why, came_before=came_before)

    def _next(self, waiting: deque[Mishap], message: bytes) -> Mishap | None:
        if not waiting or b'"TICK"' in message:
            return None
        if not _suits(waiting[0].send, message):
            return None
        mishap = waiting.popleft()
        faults = self.terminal.faults
        if mishap.send is not None:
            faults.next_send(mishap.send)
        for function, fault in mishap.calls:
            faults.next_call(function, fault)
        return mishap

    def _settle(self, mishap: Mishap, order_id: str, *, has_altered: bool) -> None:
        """Report that a fault struck, or keep the fault for the next request."""
        faults = self.terminal.faults
        planned = (mishap.send is not None) + len(mishap.calls)
        if faults.pending_calls < planned:
            if has_altered or not mishap.alters:
                self._struck(mishap.fault, order_id, order_id)
            else:
                # At the end of the queue, because a list without rows may stay without rows.
                self.readings.append(mishap)
        else:
            (self.orders if order_id else self.readings).appendleft(mishap)
        faults.clear_calls()

    def _hang(self, function: str) -> None:
        raise GatewayDied(function, lambda: self.stop(1_500))

    def _pass_point(self, point: GatewayPoint) -> None:
        doom = self.doom
        if doom is not None and doom.where is point:
            self.doom = None
            raise GatewayDied(point.value, doom.death)

    def _mend_pipe(self) -> None:
        """Make sure that a broken pipe is opened again, as the gateway's owner does."""
        if self.terminal.pipe is not Pipe.OPEN and not self._mends:
            self._mends = True
            self._schedule.after(REINITIALIZE_MS, self._initialize)

    def _initialize(self) -> None:
        """Open the pipe; requests wait while the terminal is not ready."""
        self._mends = False
        self._looks = 0
        # Clients see a new attachment, like a new worker of a real gateway.
        self._attachments += 1
        self._look()

    def _look(self) -> None:
        self._looks += 1
        try:
            login = {"login": self.terminal.home_login} if self._pins_account else {}
            self._served.initialize(**login)
        except NotReady:
            self._be_busy(is_busy=True)
            self._schedule.after(READY_PAUSE_MS, self._look)
            return
        self._be_busy(is_busy=False)
        self._mend_pipe()

    def _be_busy(self, *, is_busy: bool) -> None:
        if self.network is not None:
            self.network.is_busy = is_busy

    def _wait(self) -> None:
        if self._looks < READY_POLLS:
            raise NotReady


def _suits(fault: SendFault | None, message: bytes) -> bool:
    """Return whether a fault can meet an order."""
    if isinstance(fault, Answered) and fault.retcode == mt5.TRADE_RETCODE_NO_CHANGES:
        # To an effective modification this answer would be a lie.
        return b'"action":"MODIFY"' not in message
    if not isinstance(fault, AT_MARKET):
        return True
    if b'"type":"market"' not in message:
        return False
    return not isinstance(fault, Partial) or _read(message).get("volume", 0.0) > fault.volume


def order_in(message: bytes) -> str:
    """Return the id of an order, which may be damaged."""
    return str(_read(message).get("order_id", "a damaged order"))


def _read(message: bytes) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode(message))
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Damaged on the way; the gateway refuses such a message.
        return {}
