"""A snapshot that the client has already: few bytes, with all the evidence of a new one."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, SELL, DeskWorld
from tests.support.rewritten import changed
from trueup.core.account.trust import Reason, Unknown
from trueup.core.digest import digest
from trueup.core.model import Snapshot
from trueup.gateway.reading.row_digest import RowDigest
from trueup.gateway.reading.rows import listed_position, pending_of, position_of
from trueup.gateway.reading.snapshots import Snapshots
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.snapshot import (
    SnapshotReply,
    SnapshotRequest,
    decode_snapshot,
    encode_snapshot_request,
)
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.market.records import Refusal
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

SYMBOLS = ("EURUSD",)
INTERVAL_SEC = 1.0
RICH = AccountSetup(balance=1e9)


class Asking:
    """A desk that is asked for snapshots, by hand."""

    def __init__(self, world: DeskWorld) -> None:
        self.world, self.count = world, 0
        self.known: Snapshot | None = None

    def raw(self, **fields: Any) -> bytes:
        self.count += 1
        known = "" if self.known is None else self.known.digest
        request = {"session": "s", "id": self.count, "symbols": SYMBOLS, "digest": known, **fields}
        return self.world.desk.handle(encode_snapshot_request(SnapshotRequest(**request)))

    def full(self) -> Snapshot:
        reading = decode_snapshot(self.raw(digest=""), self.count)
        assert isinstance(reading, Snapshot)
        self.known = reading
        return reading


@pytest.fixture
def world() -> DeskWorld:
    return DeskWorld()


def status(raw: bytes) -> str:
    return str(json.loads(raw)["status"])


def test_the_reply_is_as_long_for_a_thousand_positions_as_for_one() -> None:
    sizes = []
    for count in (1, 1_000):
        world = DeskWorld(RICH)
        world.person.open_many("EURUSD", BUY, 0.01, count)
        asking = Asking(world)
        asking.full()
        raw = asking.raw()
        assert status(raw) == "UNCHANGED"
        sizes.append(len(raw))
    assert max(sizes) < 400
    # The same figures with more digits.
    assert sizes[1] - sizes[0] < 30


CHANGES: dict[str, Callable[[DeskWorld, int], object]] = {
    "opened": lambda w, _: w.person.open("EURUSD", SELL, 0.1),
    "closed": lambda w, ticket: w.person.close(ticket),
    "closed in part": lambda w, ticket: w.person.close(ticket, 0.1),
    "stop moved": lambda w, ticket: w.person.modify(ticket, sl=1.05),
    "target moved": lambda w, ticket: w.person.modify(ticket, tp=1.25),
    "limit placed": lambda w, _: w.person.place("EURUSD", 2, 0.1, 1.01),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_reconciled_brings_the_list(world: DeskWorld, what: str) -> None:
    ticket = world.person.open("EURUSD", BUY, 0.2)
    asking = Asking(world)
    asking.full()
    CHANGES[what](world, ticket)
    world.wait(1.0)
    assert status(asking.raw()) == "SUCCESS"


@pytest.mark.parametrize(
    "more", [{"explain": (7,)}, {"explain_orders": (7,)}, {"history_age_sec": 60}, {"digest": "x"}]
)
def test_whoever_asks_more_gets_the_list(world: DeskWorld, more: dict[str, Any]) -> None:
    asking = Asking(world)
    asking.full()
    assert status(asking.raw(**more)) == "SUCCESS"


def test_a_reading_in_which_something_moved_brings_the_list(world: DeskWorld) -> None:
    """Counts that differ before and after are for the client to see, and to refuse."""
    asking = Asking(world)
    counts: Iterator[int] = itertools.repeat(0)
    world.terminal.orders_total = lambda: next(counts)  # type: ignore[method-assign]
    asking.full()
    assert status(asking.raw()) == "UNCHANGED"
    counts = itertools.count()
    assert status(asking.raw()) == "SUCCESS"


def test_an_unchanged_reply_has_the_same_positions_and_new_evidence(world: DeskWorld) -> None:
    world.person.open("EURUSD", BUY, 0.2)
    asking = Asking(world)
    known = asking.full()
    world.quote(1.20000)
    reading = decode_snapshot(asking.raw(), asking.count, known)
    assert isinstance(reading, Snapshot)
    assert known.evidence is not None
    assert reading.evidence is not None
    assert reading.positions is known.positions
    assert reading.evidence.sequence == known.evidence.sequence + 1
    assert reading.evidence.account.profit > known.evidence.account.profit + 1_000
    assert reading.evidence.specs == known.evidence.specs
    account = world.terminal.account_info()
    assert account is not None
    assert reading.evidence.floating == pytest.approx(account.profit)


def test_an_account_of_an_older_or_a_newer_release_is_read_as_far_as_it_is_known(
    world: DeskWorld,
) -> None:
    """What is added to the row comes last: both ends may be of another release."""
    asking = Asking(world)
    known = asking.full()
    reply = json.loads(asking.raw())
    full = reply["account"]
    for row, fifo_close in ((full[:11], False), ([*full[:11], True], True), ([*full, 1], False)):
        raw = json.dumps({**reply, "account": row}).encode()
        reading = decode_snapshot(raw, asking.count, known)
        assert isinstance(reading, Snapshot)
        assert reading.evidence is not None
        assert reading.evidence.account.fifo_close is fifo_close


def test_unchanged_since_a_reading_we_do_not_have_is_no_reading(world: DeskWorld) -> None:
    asking = Asking(world)
    known = asking.full()
    raw = asking.raw()
    for other in (None, Snapshot([], digest="other", evidence=known.evidence)):
        reading = decode_snapshot(raw, asking.count, other)
        assert isinstance(reading, Unknown)
        assert reading.reason is Reason.UNREADABLE


def unchanged_only(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    def tamper(reply: dict[str, Any]) -> None:
        assert reply["status"] == "UNCHANGED"
        change(reply)

    return tamper


def put(name: str, *way: int | Any) -> Callable[[dict[str, Any]], None]:
    """Set a field of a reply, or an item of a field."""

    def change(reply: dict[str, Any]) -> None:
        if len(way) == 1:
            reply[name] = way[0]
        else:
            reply[name][way[0]] = way[1]

    return change


# The account's row: login, server, currency, margin mode, balance, equity, credit, margin, profit.
LIES: dict[str, tuple[Callable[[dict[str, Any]], None], Reason]] = {
    "another login": (put("account", 0, 999), Reason.WRONG_ACCOUNT),
    "not connected": (put("terminal", 0, False), Reason.NOT_CONNECTED),
    "another epoch": (put("epoch", "other"), Reason.EPOCH_CHANGED),
    "an old number": (put("sequence", 1), Reason.OLDER),
    "a number ahead": (put("sequence", 1_000), Reason.SEQUENCE_GAP),
    "a clock that went back": (put("server_time_msc", 1), Reason.CLOCK_JUMP),
    "other counts": (put("counts", [2, 0]), Reason.TORN),
    "another sum": (put("floating", 123.45), Reason.ACCOUNT_CONTRADICTS),
    "another profit": (put("account", 8, 123.45), Reason.ACCOUNT_CONTRADICTS),
    "another digest": (put("digest", "0" * 32), Reason.UNREADABLE),
    "figures that are none": (put("floating", 1e999), Reason.UNREADABLE),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_unchanged_reply_is_judged_as_strictly_as_a_list(world: DeskWorld, lie: str) -> None:
    change, reason = LIES[lie]
    world.person.open("EURUSD", BUY, 0.1)
    world.reconciler.sync_interval = INTERVAL_SEC
    world.sync()
    before = world.state()
    world.tamper(unchanged_only(change))
    (result,) = world.turn(INTERVAL_SEC + 0.1)
    assert result.status.value in ("DEGRADED", "FAILED")
    verdict = world.reconciler._unknown
    assert verdict is not None
    assert verdict.reason is reason
    assert world.state() == before


def test_an_empty_list_that_is_unchanged_is_contradicted_by_margin(world: DeskWorld) -> None:
    world.reconciler.sync_interval = INTERVAL_SEC
    world.sync()
    world.tamper(unchanged_only(put("account", 7, 50.0)))
    (result,) = world.turn(INTERVAL_SEC + 0.1)
    assert result.errors == [
        "The list is empty and the account has 50.00 of margin, so something is open"
    ]


def test_a_list_with_a_fault_is_never_whole_for_being_unchanged(world: DeskWorld) -> None:
    """A reply that says only that nothing changed has no word of the fault."""
    world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    rows = list(world.terminal.orders_get() or ())
    world.terminal.orders_get = lambda: tuple(rows)  # type: ignore[method-assign,assignment,misc]
    world.terminal.orders_total = lambda: len(rows)  # type: ignore[method-assign]
    world.reconciler.sync_interval = INTERVAL_SEC
    assert world.sync().errors == []
    rows.append(rows[0])
    results = world.turn(10)
    assert len(results) > 2
    why = f"Pending order {rows[0].ticket} is in the list 2 times"
    assert {tuple(result.errors) for result in results} == {(why,)}
    assert {result.status for result in results} == {SyncStatus.PARTIAL}


class TestABot:
    """A bot that syncs every second: prices every 15 seconds, everything else every second."""

    @pytest.fixture
    def world(self) -> DeskWorld:
        world = DeskWorld()
        world.reconciler.sync_interval = INTERVAL_SEC
        world.person.open("EURUSD", BUY, 0.1)
        world.sync()
        return world

    def statuses(self, world: DeskWorld, seconds: float) -> list[str]:
        """How each snapshot of so many seconds was answered."""
        said: list[str] = []

        def note(raw: bytes) -> bytes:
            said.append(status(raw))
            return raw

        world.mangle(*[note] * 1_000)
        world.turn(seconds)
        world.heal_wire()
        return said

    def test_asks_for_prices_no_later_than_every_15_seconds(self, world: DeskWorld) -> None:
        said = self.statuses(world, 40)
        assert said.count("SUCCESS") == 2
        assert said.count("UNCHANGED") > 30

    def test_has_profits_as_of_the_last_prices_and_all_else_as_of_the_last_sync(
        self, world: DeskWorld
    ) -> None:
        world.quote(1.20000)
        (result, *_) = world.turn(INTERVAL_SEC + 0.2)
        assert result.status.value == "SUCCESS"
        position = world.pm.position
        assert position is not None
        assert position.unrealized_pnl < 10
        as_of_ns = world.pm.as_of_ns
        assert as_of_ns is not None
        assert world.clock.now_ns() - as_of_ns < 1e9
        world.turn(16)
        position = world.pm.position
        assert position is not None
        assert position.unrealized_pnl > 900

    def test_sees_a_change_in_the_next_sync(self, world: DeskWorld) -> None:
        ticket = world.person.open("EURUSD", BUY, 0.1)
        world.turn(INTERVAL_SEC + 0.2)
        assert ticket in world.tickets()

    def test_asks_in_full_when_a_person_asks(self, world: DeskWorld) -> None:
        world.mangle(lambda raw: raw if status(raw) == "SUCCESS" else b"")
        assert world.reconciler.sync_positions().status.value == "SUCCESS"

    def test_asks_a_restarted_gateway_what_it_can_do(self, world: DeskWorld) -> None:
        world.turn(2)
        world.restart_gateway()
        world.requests.clear()
        world.turn(4)
        actions = [json.loads(raw)["action"] for raw in world.requests]
        assert actions.count("GET_POSITIONS") == 1
        assert world.reconciler.health.startswith("Everything agrees")

    def test_builds_on_no_list_that_lied(self, world: DeskWorld) -> None:
        def torn(reply: dict[str, Any]) -> None:
            reply["positions"] = []

        world.turn(14)
        world.tamper(torn)
        world.turn(2)
        assert self.statuses(world, 40)[0] == "SUCCESS"


def act_by_hand(terminal: SimulatedTerminal, what: str, step: int, data: st.DataObject) -> None:
    person = terminal.person
    tickets = [row.ticket for row in terminal.positions_get() or ()]
    match what:
        case "open":
            person.open("EURUSD", data.draw(st.sampled_from([BUY, SELL])), 0.2)
        case "place":
            person.place("EURUSD", 2, 0.1, 1.0 + step / 1000)
        case "quote":
            terminal.quote("EURUSD", 1.1 + step / 10_000, 1.1001 + step / 10_000)
        case "nothing":
            pass
        case _ if tickets:
            ticket = data.draw(st.sampled_from(tickets))
            if what == "close":
                person.close(ticket)
            elif what == "part" and person.lots_of(ticket) > 0.1:
                person.close(ticket, 0.1)
            elif what == "stop":
                person.modify(ticket, sl=1.0 + step / 1000 if step % 2 else 0.0, tp=1.3)


@given(st.data())
def test_hashing_only_what_changed_gives_the_digest_of_all(data: st.DataObject) -> None:
    terminal = SimulatedTerminal(now_msc=lambda: 1_700_000_000_000)
    terminal.initialize()
    terminal.quote("EURUSD", 1.1, 1.1001)
    made = RowDigest()
    act = st.sampled_from(["open", "close", "part", "stop", "quote", "place", "nothing"])
    for step, what in enumerate(data.draw(st.lists(act, max_size=15))):
        with contextlib.suppress(Refusal):
            act_by_hand(terminal, what, step, data)
        positions, orders = terminal.positions_get(), terminal.orders_get()
        assert positions is not None
        assert orders is not None
        whole = digest(map(position_of, positions), map(pending_of, orders))
        assert made.of(positions, orders) == whole


def another(value: Any) -> Any:
    """Another value of the same type that a terminal can have."""
    match value:
        case bool():
            return not value
        case str():
            return f"{value}x"
        case float():
            return value + 1.0
    return value + 1 if value != 2 else 3


@pytest.mark.parametrize("is_position", [True, False])
def test_every_column_that_changes_the_digest_is_looked_at(is_position: bool) -> None:
    """A column that is hashed and not compared would leave a changed row with its old hash."""
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.2)
    world.person.place("EURUSD", 2, 0.1, 1.01)
    positions, orders = world.terminal.positions_get(), world.terminal.orders_get()
    assert positions
    assert orders
    row = positions[0] if is_position else orders[0]
    seen = set()
    for name, value in row._asdict().items():
        one = changed(row, **{name: another(value)})
        rows: Any = ((one,), orders) if is_position else (positions, (one,))
        whole = digest(map(position_of, rows[0]), map(pending_of, rows[1]))
        made = RowDigest()
        before = made.of(positions, orders)
        assert made.of(*rows) == whole, name
        seen |= {name} if whole != before else set()
    assert {"ticket", "symbol", "price_open", "sl", "tp", "magic", "type"} <= seen


def test_rows_that_are_the_same_are_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = DeskWorld()
    world.person.open_many("EURUSD", BUY, 0.01, 100)
    snapshots = Snapshots(world.terminal, "boot", world.clock.now_ns)
    hashed: list[int] = []
    real = listed_position

    def counted(row: Any) -> Any:
        hashed.append(row.ticket)
        return real(row)

    monkeypatch.setattr("trueup.gateway.reading.row_digest.listed_position", counted)
    request = SnapshotRequest(session="s", id=1, symbols=SYMBOLS)
    reply = snapshots.make(request)
    assert isinstance(reply, SnapshotReply)
    assert len(hashed) == 100
    world.quote(1.2)
    ticket = world.person.open("EURUSD", BUY, 0.1)
    hashed.clear()
    snapshots.make(request)
    assert hashed == [ticket]


def test_symbols_that_nobody_has_are_asked_for_once() -> None:
    world = DeskWorld()
    asked: list[str] = []
    real = world.terminal.symbol_info_tick

    def noted(symbol: str) -> Any:
        asked.append(symbol)
        return real(symbol)

    world.terminal.symbol_info_tick = noted  # type: ignore[method-assign,assignment]
    snapshots = Snapshots(world.terminal, "boot", world.clock.now_ns)
    invented = tuple(f"NONE{number}" for number in range(500))
    snapshots.make(SnapshotRequest(session="s", id=1, symbols=(*SYMBOLS, *invented)))
    asked.clear()
    snapshots.make(SnapshotRequest(session="s", id=2))
    assert asked == list(SYMBOLS)
