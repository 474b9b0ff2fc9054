"""The network between bots and the gateway, and the link at a bot's end of the network.

A link behaves like `ZmqLink`: a message that no connection takes is `NotSent`, a closed connection
loses its late replies, and messages handed over before may still arrive.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from trueup.errors import NotSent
from trueup.lab.plan.plan import Fault
from trueup.lab.system.schedule import MS, Schedule

FASTEST_NS, SPAN_NS = 150_000, 750_000
BUSY_MS = 20
# The longest wait of a message for another message to overtake.
HELD_MS = 3_000


class Sender(Protocol):
    """The process at the end of a link."""

    def must_live(self) -> None:
        """Raise the exception that ends the process, if the process was killed."""

    def is_doomed(self) -> bool:
        """Return whether the process was killed."""


class Way(Protocol):
    """What carries requests to a gateway, and replies back."""

    @property
    def schedule(self) -> Schedule:
        """The world's time."""

    @property
    def is_listening(self) -> bool:
        """Whether a gateway takes connections."""

    def request(self, message: bytes, reply_to: Callable[[bytes], None]) -> None:
        """Carry a request to the gateway, and its reply back."""


class Armed(msgspec.Struct):
    """A fault that waits for a message: for an order, or for any message."""

    fault: Fault
    orders_only: bool
    late_ms: int


class Network:
    """Carries bytes, with faults.

    `serve` answers a request, or returns None if no gateway does; `struck` is called for each fault
    that met a message.
    """

    def __init__(
        self,
        schedule: Schedule,
        chance: random.Random,
        serve: Callable[[bytes], bytes | None],
        struck: Callable[[Fault, str], None],
    ) -> None:
        self.serve: Callable[[bytes], bytes | None] = serve
        self.schedule: Schedule = schedule
        self.chance: random.Random = chance
        self.struck: Callable[[Fault, str], None] = struck
        self.is_listening = True
        """A gateway takes connections."""
        self.is_busy = False
        """The gateway waits for its terminal, and requests wait for the gateway."""
        self.cut_until_ns: int = 0
        """No byte arrives anywhere before this time."""
        self.armed: list[Armed] = []
        self.hints_fault: Fault | None = None
        self._hint_lines: list[WorldHintLine] = []
        self._said: list[bytes] = []
        self._held: list[Callable[[], None]] = []

    def heal(self) -> None:
        """Let everything arrive from now on."""
        self.armed.clear()
        self.hints_fault = None
        self.cut_until_ns = 0
        held, self._held = self._held, []
        self._let_go(held)

    @property
    def is_cut(self) -> bool:
        """Whether nothing arrives now."""
        return self.schedule.now_ns < self.cut_until_ns

    def hint_line(self, owner: Sender) -> WorldHintLine:
        """Return a line on which a process receives hints."""
        line = WorldHintLine(owner)
        self._hint_lines.append(line)
        return line

    def hang_up(self, owner: Sender) -> None:
        """Forget the lines of a process that ended."""
        self._hint_lines = [line for line in self._hint_lines if line.owner is not owner]

    def publish(self, hint: bytes) -> None:
        """Send a hint to all open lines."""
        if self.is_cut or not self._hint_lines:
            return
        hints, fault = [hint], self.hints_fault
        if fault is not None:
            self.struck(fault, "")
            hints = [] if fault is Fault.HINTS_LOST else self._falsified(hint)
        self._said = [*self._said[-3:], hint]
        for line in self._hint_lines:
            line.take(hints)

    def _falsified(self, hint: bytes) -> list[bytes]:
        told: dict[str, object] = msgspec.json.decode(hint)
        told["digest"] = self.chance.choice(("", "0" * 16, str(told.get("digest", ""))[::-1]))
        return [*self.chance.sample(self._said, min(2, len(self._said))), msgspec.json.encode(told)]

    def request(self, message: bytes, reply_to: Callable[[bytes], None]) -> None:
        """Carry a request to the gateway, and its reply back."""
        # A fault is chosen at the send, so that the order of arrivals does not change the choice.
        fault = self._meets(message, REQUEST_FAULTS)
        kind = fault.fault if fault else None
        if kind is Fault.REQUEST_LOST:
            return
        if kind is Fault.REQUEST_CORRUPTED:
            message = self._corrupted(message)
        elif kind is Fault.REQUEST_CUT:
            message = message[: self.chance.randrange(len(message))]
        late_ns = fault.late_ms * MS if fault and kind is Fault.REQUEST_LATE else 0
        arrive = lambda: self._arrive(message, reply_to)  # noqa: E731 - it is bound to this message
        if kind is Fault.REQUESTS_REORDERED:
            self._hold(arrive)
            return
        self._carry(arrive, late_ns)
        if fault is not None and kind is Fault.REQUEST_DUPLICATED:
            copy = lambda: self._arrive_when_heard(message, reply_to)  # noqa: E731
            self._carry(copy, self.chance.randrange(fault.late_ms) * MS)

    def _arrive_when_heard(self, message: bytes, reply_to: Callable[[bytes], None]) -> None:
        """Deliver a copy as soon as a gateway listens, as a queue on the way may do."""
        if self.is_listening:
            self._arrive(message, reply_to)
        else:
            again = lambda: self._arrive_when_heard(message, reply_to)  # noqa: E731
            self.schedule.after(BUSY_MS, again)

    def _arrive(self, message: bytes, reply_to: Callable[[bytes], None]) -> None:
        if self.is_busy:
            self.schedule.after(BUSY_MS, lambda: self._arrive(message, reply_to))
            return
        # Messages held before this message; a reply held from now on waits for the next message.
        overtaken, self._held = self._held, []
        reply = self.serve(message)
        if reply is not None:
            self._reply(message, reply, reply_to)
        self._let_go(overtaken)

    def _reply(self, message: bytes, reply: bytes, reply_to: Callable[[bytes], None]) -> None:
        # The gateway has done its work by now, so these faults hide an outcome from the bot.
        fault = self._meets(message, REPLY_FAULTS)
        kind = fault.fault if fault else None
        if kind is Fault.REPLY_LOST:
            return
        if kind is Fault.REPLY_CORRUPTED:
            reply = self._corrupted(reply)
        elif kind is Fault.REPLY_CUT:
            reply = reply[: self.chance.randrange(len(reply))]
        late_ns = fault.late_ms * MS if fault and kind is Fault.REPLY_LATE else 0
        arrive = lambda: reply_to(reply)  # noqa: E731 - it is bound to this reply
        if kind is Fault.REPLIES_REORDERED:
            self._hold(arrive)
            return
        self._carry(arrive, late_ns)
        if fault is not None and kind is Fault.REPLY_DUPLICATED:
            self._carry(arrive, self.chance.randrange(fault.late_ms) * MS)

    def _carry(self, arrive: Callable[[], None], late_ns: int) -> None:
        now_ns = self.schedule.now_ns
        wait_ns = FASTEST_NS + int(self.chance.random() * SPAN_NS) + late_ns
        if self.is_cut:
            # A message handed over during a cut arrives after the cut, or never.
            if self.chance.random() < 0.5:
                return
            wait_ns += self.cut_until_ns - now_ns
        self.schedule.at(now_ns + wait_ns, arrive)

    def _hold(self, arrive: Callable[[], None]) -> None:
        """Keep a message until another message was served, or for `HELD_MS` at most."""
        self._held.append(arrive)

        def give_up() -> None:
            if arrive in self._held:
                self._held.remove(arrive)
                self._let_go([arrive])

        self.schedule.after(HELD_MS, give_up)

    def _let_go(self, held: list[Callable[[], None]]) -> None:
        """Deliver held messages, after all messages carried until now."""
        for arrive in held:
            self._carry(arrive, SPAN_NS)

    def _meets(self, message: bytes, kinds: frozenset[Fault]) -> Armed | None:
        if not self.armed:
            return None
        is_order = b'"order_id"' in message
        for armed in self.armed:
            if armed.fault in kinds and (is_order or not armed.orders_only):
                self.armed.remove(armed)
                self.struck(armed.fault, _what(message))
                return armed
        return None

    def _corrupted(self, message: bytes) -> bytes:
        # A byte with its highest bit set makes invalid UTF-8. Valid but wrong text is not tried:
        # TCP has checksums, and no layer above could notice.
        at = self.chance.randrange(len(message))
        return message[:at] + bytes([message[at] | 0x80]) + message[at + 1 :]


REQUEST_FAULTS = frozenset(
    {
        Fault.REQUEST_LOST,
        Fault.REQUEST_LATE,
        Fault.REQUEST_DUPLICATED,
        Fault.REQUESTS_REORDERED,
        Fault.REQUEST_CORRUPTED,
        Fault.REQUEST_CUT,
    }
)
REPLY_FAULTS = frozenset(
    {
        Fault.REPLY_LOST,
        Fault.REPLY_LATE,
        Fault.REPLY_DUPLICATED,
        Fault.REPLIES_REORDERED,
        Fault.REPLY_CORRUPTED,
        Fault.REPLY_CUT,
    }
)


def _what(message: bytes) -> str:
    try:
        asked = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "a request that nobody can read"
    return f"{asked.get('action')} {asked.get('order_id', '')}".strip()


class WorldHintLine:
    """A `HintLine` on the simulated network."""

    def __init__(self, owner: Sender) -> None:
        self.owner = owner
        self._heard: list[bytes] = []
        self._is_open = True

    def take(self, hints: list[bytes]) -> None:
        """Add hints, unless the line is closed."""
        if self._is_open:
            self._heard += hints

    def heard(self) -> list[bytes]:
        """Return the hints since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Stop listening."""
        self._is_open = False


class WorldLink:
    """A `Link` on the simulated network, held by a process."""

    def __init__(self, network: Way, owner: Sender) -> None:
        self._network, self._owner = network, owner
        self._schedule = network.schedule
        self._inbox: deque[bytes] = deque()
        self._connection = 0

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Hand a request over, waiting at most `timeout_ms` for a gateway that listens."""
        self._owner.must_live()
        network = self._network
        if not network.is_listening:
            deadline_ns = self._schedule.now_ns + timeout_ms * MS
            is_doomed = self._owner.is_doomed
            self._wait(deadline_ns, lambda: network.is_listening or is_doomed())
            if not network.is_listening:
                raise NotSent(f"no connection within {timeout_ms} ms")
        self._inbox.clear()
        connection = self._connection
        network.request(message, lambda reply: self._take(reply, connection))

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, or None if no reply came within `timeout_ms`."""
        self._owner.must_live()
        if not self._inbox and timeout_ms:
            self._wait(self._schedule.now_ns + timeout_ms * MS, self._is_over)
        return self._inbox.popleft() if self._inbox else None

    def reset(self) -> None:
        """Close the connection; its late replies are lost."""
        self._connection += 1
        self._inbox.clear()

    close = reset

    def _take(self, reply: bytes, connection: int) -> None:
        if connection == self._connection:
            self._inbox.append(reply)

    def _is_over(self) -> bool:
        return bool(self._inbox) or self._owner.is_doomed()

    def _wait(self, until_ns: int, done: Callable[[], bool]) -> None:
        self._schedule.run(until_ns, done)
        self._owner.must_live()
