"""The state that all checks of an examination share: connections, and readings taken once."""

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

# Enough to meet a fault that shows only in some readings, and done within a moment.
SNAPSHOTS = 12
FIRST_ID = 4_711
LOOK_AGAIN_SEC = 0.05


class Taken(msgspec.Struct, frozen=True):
    """A snapshot as received: the exchange, the id of the request, and the decoded reading."""

    exchange: Exchange
    wanted_id: int
    reading: Snapshot | Unknown | None


class Options(msgspec.Struct, frozen=True):
    """The options of an examination.

    `timeout_ms` is the longest time for a reply, `symbol` the symbol of quotes and orders. `trade`
    allows orders of `volume` lots; 0 means the symbol's smallest step. `real_money` allows orders
    on an account that may not be a demo account. `settle_ms` is how long after its answer an order
    may take to show in the list.
    """

    timeout_ms: int = 2_000
    symbol: str = "EURUSD"
    trade: bool = False
    real_money: bool = False
    volume: float = 0.0
    settle_ms: int = 2_000


class Examination:
    """A gateway under examination.

    Args:
        greeting: the greeting of the gateway's port.
        connect: makes a connection as an authorised client.
        strangers: make a connection each as a client without access: without a key, or with an
            unknown key.
        hear: makes a line to the hints that the gateway publishes on a port.
        options: see `Options`.
        name: the prefix of order ids and sessions, unique to this examination.
        now_ns: returns nanoseconds of a clock that never goes back.
        sleep: waits for a number of seconds.
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
        """Open a second client; its exchanges are listed with those of the first client."""
        probe = Probe(connect or self._connect, self.options.timeout_ms)
        probe.said = self.probe.said
        try:
            yield probe
        finally:
            probe.close()

    @cached_property
    def first(self) -> Exchange:
        """The first request, exactly as in the guide; not sent if the port is not ZeroMQ."""
        if not self.greeting.is_zeromq:
            return Exchange(guide.GET_POSITIONS, None, None, "the port does not speak ZeroMQ")
        return self.probe.ask(guide.GET_POSITIONS)

    @cached_property
    def capabilities(self) -> tuple[str, ...]:
        """The capabilities that the gateway names beyond the guide's protocol."""
        said = (self.first.fields or {}).get("capabilities")
        return tuple(map(str, said)) if isinstance(said, list) else ()

    def claims(self, capability: str) -> bool:
        """Return whether the gateway names a capability."""
        return capability in self.capabilities

    @cached_property
    def version(self) -> object:
        """The protocol version in the reply to HELLO, or None."""
        return (self.probe.ask({"action": "HELLO"}).fields or {}).get("version")

    @cached_property
    def taken(self) -> tuple[Taken, ...]:
        """A run of snapshots of the same client."""
        return tuple(self.take(f"{self.name}-a", FIRST_ID + number) for number in range(SNAPSHOTS))

    @property
    def believable(self) -> list[tuple[Snapshot, Evidence, Exchange]]:
        """The readable snapshots of the run, each with its evidence and its exchange."""
        return [
            (taken.reading, taken.reading.evidence, taken.exchange)
            for taken in self.taken
            if isinstance(taken.reading, Snapshot) and taken.reading.evidence is not None
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
        """Request a snapshot in the name of a client.

        Args:
            session: the client's name.
            wanted_id: the id of the request.
            explain: identifiers of positions whose deals are requested.
            known: the snapshot that the client has already; pass its `digest` in `more`.
            **more: further fields of the request.
        """
        # The symbol is always named, so that the snapshot's evidence has its specification.
        symbols = (self.options.symbol,)
        request = SnapshotRequest(session, wanted_id, symbols, explain, **more)
        exchange = self.probe.ask(encode_snapshot_request(request))
        raw = exchange.raw
        reading = None if raw is None else decode_snapshot(raw, wanted_id, known)
        return Taken(exchange, wanted_id, reading)

    def wait(self, comes_true: Callable[[], bool], wait_ms: int) -> bool:
        """Poll until a condition is true; return whether the condition became true in time."""
        end_ns = self.now_ns() + wait_ms * 1_000_000
        while not comes_true():
            if self.now_ns() >= end_ns:
                return False
            self.sleep(LOOK_AGAIN_SEC)
        return True

    def look(self, **more: Any) -> Evidence | None:
        """Return the evidence of a new snapshot, or None; `more` as for `take`."""
        reading = self.take(f"{self.name}-l", FIRST_ID, **more).reading
        return reading.evidence if isinstance(reading, Snapshot) else None

    def positions(self) -> Snapshot | Unknown:
        """Request the list of positions."""
        raw = self.probe.ask(guide.GET_POSITIONS).raw
        return guide.read_positions(None) if raw is None else guide.decode_positions(raw)

    def new_name(self) -> str:
        """Return an order id that no earlier order had."""
        self._orders += 1
        return f"{self.name}-{self._orders}"
