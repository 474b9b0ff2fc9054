"""Lots and positions of an account as a pure function, and the decision about an order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.limits.decide import LimitInputs, breaches
from trueup.core.limits.exposure import Entry, Seen, exposure
from trueup.core.limits.limits import Limits
from trueup.core.model import MarginMode, OrderType, PendingOrder, Position, Side
from trueup.core.quantity import from_units, to_units

AT: dict[str, Any] = {"at_ns": make.NOW_NS}
HEDGING, NETTING = MarginMode.HEDGING, MarginMode.NETTING


def bound(mode: MarginMode) -> Book:
    account = events.AccountBound(**AT, login=1, server="S", currency="USD", margin_mode=mode)
    return Book().replay([account])


def row(ticket: int, side: Side, lots: float, symbol: str = "EURUSD") -> Position:
    return make.position(ticket, side=side, volume=lots, symbol=symbol)


def created(order_id: str, lots: float, **changes: Any) -> events.OrderCreated:
    fields: dict[str, Any] = {
        "symbol": "EURUSD",
        "side": Side.BUY,
        "price": 1.1,
        "by_desk": True,
    } | changes
    return events.OrderCreated(**AT, order_id=order_id, volume=lots, **fields)


def lots(book: Book, *rows: Position, orders: tuple[PendingOrder, ...] = ()) -> dict[str, float]:
    found = exposure(book, Seen(rows, orders, book.version))
    return {symbol: from_units(units) for symbol, units in found.units.items()}


def refused(
    book: Book, limits: Limits, entry: Entry | None, *rows: Position, seen: Seen | None = None
) -> list[str]:
    seen = seen or Seen(rows, (), book.version)
    inputs = LimitInputs(limits=limits, book=book, seen=seen, now_ns=make.NOW_NS, entry=entry)
    return [breach.limit for breach in breaches(inputs)]


def test_each_kind_of_lots_counts_once() -> None:
    book = bound(HEDGING)
    mine = row(5, Side.BUY, 0.1)
    pending = PendingOrder(9, "EURUSD", OrderType.BUY_LIMIT, 0.2, 1.05)
    others = PendingOrder(10, "GBPUSD", OrderType.SELL_STOP, 0.4, 1.05)
    history: list[events.Event] = [
        events.PositionAdopted(**AT, position=mine),
        events.PendingAdopted(**AT, order=pending),
        created("A", 0.8),
        events.SendStarted(**AT, order_id="A"),
        events.OrderInDoubt(**AT, order_id="A", error="no reply"),
        created("B", 1.6, kind=OrderKind.LIMIT),
        # Closes, changes and cancellations open nothing.
        created("C", 100.0, position=5),
        created("D", 100.0, kind=OrderKind.MODIFY, position=5),
        created("E", 100.0, kind=OrderKind.CANCEL, target=9),
    ]
    book.replay(history)
    foreign = row(6, Side.SELL, 3.2)
    assert lots(book, mine, foreign, orders=(pending, others)) == {"EURUSD": 5.9, "GBPUSD": 0.4}
    assert exposure(book, Seen((mine, foreign), (pending, others), book.version)).slots == 6
    # The outcome ends the doubt.
    book.apply(events.OrderCanceled(**AT, order_id="A", because="never arrived"))
    assert lots(book, mine, foreign, orders=(pending, others))["EURUSD"] == 5.1


def test_what_the_book_knows_better_than_the_reading_replaces_it() -> None:
    book = bound(HEDGING)
    old = row(5, Side.BUY, 0.1)
    book.apply(events.PositionAdopted(**AT, position=old))
    seen = Seen((old,), (), book.version)
    book.apply(events.PositionClosed(**AT, position=old, because="closed", unproven=True))
    assert exposure(book, seen).units == {}
    # A later reading that still has the row is believed.
    assert lots(book, old) == {"EURUSD": 0.1}
    # A correction that waits for approval: the broker's greater volume counts.
    book = bound(HEDGING)
    book.apply(events.PositionAdopted(**AT, position=old))
    assert lots(book, row(5, Side.BUY, 0.7)) == {"EURUSD": 0.7}
    # A pending order that we cancelled is gone before the next reading says so.
    book = bound(HEDGING)
    pending = PendingOrder(9, "EURUSD", OrderType.BUY_LIMIT, 0.2, 1.05)
    book.replay(
        [
            events.PendingAdopted(**AT, order=pending),
            created("E", 0.2, kind=OrderKind.CANCEL, target=9),
            events.OrderApplied(**AT, order_id="E"),
        ]
    )
    assert lots(book, orders=(pending,)) == {}


@pytest.mark.parametrize(("theirs", "counted"), [(0.1, 0.3), (0.7, 0.7)])
def test_a_reversal_that_waits_for_approval_is_one_position_on_a_netting_account(
    theirs: float, counted: float
) -> None:
    """The symbol's one position has another identifier at the broker than in the book."""
    book = bound(NETTING)
    book.apply(events.PositionAdopted(**AT, position=row(5, Side.BUY, 0.3)))
    turned = row(6, Side.SELL, theirs)
    assert lots(book, turned) == {"EURUSD": counted}
    assert exposure(book, Seen((turned,), (), book.version)).slots == 1
    # The book's own position is newer than this reading.
    old = Seen((turned,), (), book.version - 1)
    assert from_units(exposure(book, old).all_units) == 0.3


@pytest.mark.parametrize(
    ("mode", "side", "volume", "is_pending", "opened"),
    [
        (NETTING, Side.SELL, 0.3, False, 0.0),
        (NETTING, Side.SELL, 0.5, False, 0.0),
        (NETTING, Side.SELL, 0.7, False, 0.2),
        (NETTING, Side.SELL, 0.3, True, 0.3),
        (NETTING, Side.BUY, 0.3, False, 0.3),
        (HEDGING, Side.SELL, 0.3, False, 0.3),
    ],
)
def test_what_an_order_opens(
    mode: MarginMode, side: Side, volume: float, is_pending: bool, opened: float
) -> None:
    found = exposure(bound(mode), Seen((row(5, Side.BUY, 0.5),)))
    entry = Entry("EURUSD", side, volume, is_pending)
    assert from_units(found.opened_by(entry)) == opened


def test_an_order_under_way_takes_the_lots_that_it_may_close() -> None:
    book = bound(NETTING)
    book.apply(created("A", 0.4, side=Side.SELL))
    found = exposure(book, Seen((row(5, Side.BUY, 0.5),)))
    assert from_units(found.opened_by(Entry("EURUSD", Side.SELL, 0.5))) == 0.4


def test_positions_of_a_netting_account_are_its_symbols() -> None:
    limits, held = Limits(positions=1), row(5, Side.BUY, 0.5)
    book = bound(NETTING)
    assert refused(book, limits, Entry("EURUSD", Side.BUY, 0.1), held) == []
    assert refused(book, limits, Entry("GBPUSD", Side.BUY, 0.1), held) == ["open positions"]
    book = bound(HEDGING)
    assert refused(book, limits, Entry("EURUSD", Side.BUY, 0.1), held) == ["open positions"]


def test_unread_rows_and_a_missing_reading_are_named() -> None:
    book, entry = bound(HEDGING), Entry("EURUSD", Side.BUY, 0.1)
    unread = Seen((), (), 0, "Ticket 5: volume='x' is not valid")
    assert refused(book, Limits(lots=1), entry, seen=unread) == ["positions"]
    inputs = LimitInputs(limits=Limits(lots=1), book=book, seen=None, now_ns=0, entry=entry)
    assert [breach.limit for breach in breaches(inputs)] == ["positions"]


hundredths = st.integers(1, 300).map(lambda number: number / 100)
rows = st.lists(
    st.tuples(st.sampled_from(list(Side)), hundredths, st.sampled_from(["EURUSD", "GBPUSD"])),
    max_size=6,
).map(lambda found: tuple(row(n, *fields) for n, fields in enumerate(found, start=5)))
entries = st.builds(
    Entry, st.sampled_from(["EURUSD", "GBPUSD"]), st.sampled_from(list(Side)), hundredths
)
sizes = st.builds(
    Limits,
    lots_per_symbol=st.none() | hundredths,
    lots=st.none() | hundredths,
    positions=st.none() | st.integers(1, 5),
)


@given(rows, entries, sizes)
def test_an_entry_that_passes_keeps_the_limits(
    held: tuple[Position, ...], entry: Entry, limits: Limits
) -> None:
    book = bound(HEDGING)
    if refused(book, limits, entry, *held):
        return
    opened = row(99, entry.side, entry.volume, entry.symbol)
    after = exposure(book, Seen((*held, opened)))
    in_symbol = limits.lots_in(entry.symbol)
    assert in_symbol is None or after.units[entry.symbol] <= to_units(in_symbol)
    assert limits.lots is None or after.all_units <= to_units(limits.lots)
    assert limits.positions is None or after.slots <= limits.positions


@given(rows, rows, entries, sizes)
def test_what_others_hold_allows_nothing_more(
    held: tuple[Position, ...], others: tuple[Position, ...], entry: Entry, limits: Limits
) -> None:
    book = bound(HEDGING)
    foreign = [make.position(one.ticket + 50, side=one.side, volume=one.volume) for one in others]
    before = refused(book, limits, entry, *held)
    assert set(before) <= set(refused(book, limits, entry, *held, *foreign))


@given(hundredths, hundredths, st.sampled_from(list(Side)), sizes)
def test_a_reduction_always_passes(held: float, closed: float, side: Side, limits: Limits) -> None:
    book = bound(NETTING)
    book.apply(events.LimitReached(**AT, limit="daily loss", reason="a loss", until="later"))
    entry = Entry("EURUSD", side.opposite, min(held, closed))
    assert refused(book, limits, entry, row(5, side, held)) == []
    # One step more is an entry, and the lock refuses it.
    assert refused(book, limits, Entry("EURUSD", side.opposite, held + 0.01), row(5, side, held))
