"""What the checks of one examination share: the connections, and readings taken once for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec

from trueup.conformance.examination.probe import Exchange, Probe
from trueup.core.account.trust import Unknown
from trueup.core.model import Evidence, Snapshot
from trueup.gateway.client.greeting import Greeting
from trueup.gateway.client.link import HintLine, Link
from trueup.protocol import guide
from trueup.protocol.snapshot import SnapshotRequest, decode_snapshot, encode_snapshot_request

# Enough to meet what goes wrong in one reading of a few, and over in a moment.
SNAPSHOTS = 12
FIRST_ID = 4_711
LOOK_AGAIN_SEC = 0.05


class Taken(msgspec.Struct, frozen=True):
    """One snapshot as it came: the exchange, the id it was asked under, and what it reads as."""

    exchange: Exchange
    wanted_id: int
    reading: Snapshot | Unknown | None


class Options(msgspec.Struct, frozen=True):
    """How to examine.

    `timeout_ms` is how long a reply may take, `symbol` the one to ask about. `trade` allows orders,
    of `volume` lots, or of the symbol's smallest step where that is 0; `real_money` allows them on
    an account that is not known to be a demo. What an order did is looked for until `settle_ms`
    after its answer.
    """

    timeout_ms: int = 2_000
    symbol: str = "EURUSD"
    trade: bool = False
    real_money: bool = False
    volume: float = 0.0
    settle_ms: int = 2_000


class Examination:
    """One gateway under examination.

    Args:
        greeting: what its port said.
        connect: makes a connection as a client that may be heard.
        strangers: make one each as a client that may not: without a key, with one nobody knows.
        hear: makes a line to the hints that the gateway publishes on a port.
        name: what orders and sessions are called; no other examination's.
        now_ns: nanoseconds that never go back; `sleep` waits for seconds.
    """

    def __init__(
        self,
        greeting: Greeting,
        connect: Callable[[], Link],
        strangers: dict[str, Callable[[], Link]],
        hear: Callable[[int], HintLine],
        options: Options,
        name: str,
        now_ns: Callable[[], int],
        sleep: Callable[[float], None],
    ) -> None:
        self.greeting: Greeting = greeting
        self.options: Options = options
        self.name: str = name
        self.now_ns: Callable[[], int] = now_ns
        self.sleep: Callable[[float], None] = sleep
        self.strangers: dict[str, Callable[[], Link]] = strangers
        self.hear: Callable[[int], HintLine] = hear
        self._connect = connect
        self.probe: Probe = Probe(connect, options.timeout_ms)
        self._orders = 0

    @contextmanager
    def another(self, connect: Callable[[], Link] | None = None) -> Iterator[Probe]:
        """Give a second client; what it says counts as said here."""
        probe = Probe(connect or self._connect, self.options.timeout_ms)
        probe.said = self.probe.said
        try:
            yield probe
        finally:
            probe.close()

    @cached_property
    def first(self) -> Exchange:
        """The first question, the guide's, to the letter; not sent to what is no ZeroMQ."""
        if not self.greeting.is_zeromq:
            return Exchange(guide.GET_POSITIONS, None, None, "the port does not speak ZeroMQ")
        return self.probe.ask(guide.GET_POSITIONS)

    @cached_property
    def capabilities(self) -> tuple[str, ...]:
        """What the gateway says that it serves beside the guide's wire."""
        said = (self.first.fields or {}).get("capabilities")
        return tuple(map(str, said)) if isinstance(said, list) else ()

    def claims(self, capability: str) -> bool:
        """Return whether the gateway says that it serves something."""
        return capability in self.capabilities

    @cached_property
    def version(self) -> object:
        """The version of the protocol that HELLO tells, None where it tells none."""
        return (self.probe.ask({"action": "HELLO"}).fields or {}).get("version")

    @cached_property
    def taken(self) -> tuple[Taken, ...]:
        """A run of snapshots of one client."""
        return tuple(self.take(f"{self.name}-a", FIRST_ID + number) for number in range(SNAPSHOTS))

    @property
    def believable(self) -> list[tuple[Snapshot, Evidence, Exchange]]:
        """Those of the run that can be read, with what they bring as proof, and how they came."""
        return [
            (one.reading, one.reading.evidence, one.exchange)
            for one in self.taken
            if isinstance(one.reading, Snapshot) and one.reading.evidence is not None
        ]

    @property
    def has_rows(self) -> bool:
        """Whether a snapshot of the run has a position or a pending order."""
        return any(s.positions or evidence.orders for s, evidence, _ in self.believable)

    def take(
        self,
        session: str,
        wanted_id: int,
        explain: tuple[int, ...] = (),
        known: Snapshot | None = None,
        **more: Any,
    ) -> Taken:
        """Ask for a snapshot in the name of a client, who may have one `known` with its `digest`.

        Args:
            session: the client's name.
            wanted_id: the id of the question.
            explain: identifiers of positions whose deals are wanted.
            known: the snapshot that the client has.
            **more: further fields of the request.
        """
        symbols = (self.options.symbol,)
        request = SnapshotRequest(session, wanted_id, symbols, explain, **more)
        exchange = self.probe.ask(encode_snapshot_request(request))
        raw = exchange.raw
        reading = None if raw is None else decode_snapshot(raw, wanted_id, known)
        return Taken(exchange, wanted_id, reading)

    def wait(self, comes_true: Callable[[], bool], wait_ms: int) -> bool:
        """Look again and again until something is so; return whether it came to be in time."""
        end_ns = self.now_ns() + wait_ms * 1_000_000
        while not comes_true():
            if self.now_ns() >= end_ns:
                return False
            self.sleep(LOOK_AGAIN_SEC)
        return True

    def look(self, **more: Any) -> Evidence | None:
        """Return what a snapshot brings beside the positions, or None; `more` as for `take`."""
        reading = self.take(f"{self.name}-l", FIRST_ID, **more).reading
        return reading.evidence if isinstance(reading, Snapshot) else None

    def positions(self) -> Snapshot | Unknown:
        """Ask for the list of positions now."""
        raw = self.probe.ask(guide.GET_POSITIONS).raw
        return guide.read_positions(None) if raw is None else guide.decode_positions(raw)

    def new_name(self) -> str:
        """Return a name that no order had."""
        self._orders += 1
        return f"{self.name}-{self._orders}"
