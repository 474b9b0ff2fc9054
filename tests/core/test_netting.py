"""A netting account has one position in a symbol, and so has the book."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.holds import HoldKind
from trueup.core.model import Account, Deal, DealReason, Entry, History, Position, Side
from trueup.core.sync.plan import Plan

# Our order 70 was filled a moment ago: the book took it for a position of its own.
LISTED = make.position(7, volume=0.1, side=Side.SELL, price_open=1.07)
IN = make.deal(1, 7, Side.BUY, 0.2)
TURNED = make.deal(2, 7, Side.SELL, 0.3, order=70, entry=Entry.IN_OUT, price=1.07)
FILLED_NS = make.NOW_NS + 10 * make.SECOND_NS


def filled_book(account: Account = make.NETTING) -> Book:
    book = make.bound_book(account=account)
    book.apply(make.created("A", Side.SELL, 0.3))
    fill = make.filled("A", 70, Side.SELL, 0.3, 1.07)
    book.apply(msgspec.structs.replace(fill, at_ns=FILLED_NS))
    return book


def seen(*listed: Position, deals: tuple[Deal, ...] = (), account: Account = make.NETTING) -> Plan:
    """The plan of a look within the settle window."""
    book = filled_book(account)
    explained = frozenset({one.position for one in deals})
    snapshot = make.proven(*listed, deals=deals, explained=explained, account=account)
    return make.planned(book, snapshot, after_sec=10.5)


@pytest.mark.parametrize("ticket", [70, 7])
def test_the_ticket_or_the_deals_prove_that_a_listed_position_has_our_fill(ticket: int) -> None:
    listed = msgspec.structs.replace(LISTED, ticket=ticket)
    plan = seen(listed, deals=(IN, TURNED))
    assert plan.holds == ()
    closed = [one for one in plan.events if isinstance(one, events.PositionClosed)]
    assert [(one.position.identifier, one.went_on_as) for one in closed] == [(70, (7,))]
    book = filled_book()
    for event in plan.events:
        book.apply(event)
    assert [*book.holdings] == [7]


def test_a_position_with_deals_of_its_own_is_no_other_one() -> None:
    """Seed 258 of its time: it was closed unseen, waited for a yes, and our next fill met it."""
    old = make.position(5, volume=0.2)
    opened = make.deal(9, 5, Side.BUY, 0.2)
    book = make.bound_book(old, account=make.NETTING)
    book.apply(make.counting(old, opened))
    book.apply(make.created("A", Side.SELL, 0.3))
    fill = make.filled("A", 70, Side.SELL, 0.3, 1.07)
    book.apply(msgspec.structs.replace(fill, at_ns=FILLED_NS))
    own = make.position(70, volume=0.3, side=Side.SELL, price_open=1.07)
    snapshot = make.proven(own, account=make.NETTING)
    plan = make.planned(book, snapshot, after_sec=10.5)
    assert not any(isinstance(one, events.PositionClosed) for one in plan.events)


@pytest.mark.parametrize("is_counted", [True, False])
def test_a_pending_order_in_parts_may_be_in_a_position_and_in_its_successor(
    *, is_counted: bool
) -> None:
    """Seed 9057168: a rollover ended the position of the first part before the rest was filled."""
    first = make.position(70, volume=0.1)
    after = make.position(71, volume=0.3)
    entered = make.deal(1, 70, Side.BUY, 0.1)
    rolled: dict[str, Any] = {"reason": DealReason.ROLLOVER, "time_msc": 2}
    left = make.deal(2, 70, Side.SELL, 0.1, order=72, entry=Entry.OUT, profit=-0.5, **rolled)
    again = make.deal(3, 71, Side.BUY, 0.1, **rolled)
    rest = make.deal(4, 71, Side.BUY, 0.2, order=70, time_msc=3)
    book = make.bound_book(first, after, account=make.NETTING)
    if is_counted:
        book.apply(make.counting(first, entered))
    book.apply(make.counting(after, again, rest))
    deals = (entered, left, again, rest)
    shown = make.proven(
        after,
        deals=deals,
        explained=frozenset({70, 71}),
        history=History(3_600, deals=deals),
        account=make.NETTING,
    )
    plan = make.planned(book, shown, after_sec=20)
    (closed,) = (one for one in plan.events if isinstance(one, events.PositionClosed))
    assert (closed.position.identifier, closed.deals, closed.went_on_as) == (70, (1, 2), (71,))
    assert closed.because.startswith("closed by a rollover: 0.10 lots at 1.0543, profit -0.50")
    for event in plan.events:
        book.apply(event)
    assert book.realised == -0.5
    assert make.planned(book, shown, after_sec=20).events == ()


def test_without_a_proof_a_second_position_in_the_symbol_waits_until_our_fill_must_show() -> None:
    plan = seen(LISTED)
    assert plan.events == ()
    assert [(one.kind, one.identifier) for one in plan.holds] == [
        (HoldKind.SETTLING, 7),
        (HoldKind.SETTLING, 70),
    ]
    assert "was opened here and the broker lists ticket 7" in plan.holds[0].what
    assert 7 in plan.questions


@pytest.mark.parametrize(
    "listed",
    [
        msgspec.structs.replace(LISTED, symbol="GBPUSD"),
        msgspec.structs.replace(LISTED, ticket=71),
    ],
)
def test_a_hedging_account_or_another_symbol_has_positions_of_their_own(listed: Position) -> None:
    account = make.NETTING if listed.symbol == "GBPUSD" else make.ACCOUNT
    plan = seen(listed, account=account)
    assert not any(isinstance(one, events.PositionClosed) for one in plan.events)
    assert 7 not in [one.identifier for one in plan.holds]


def test_a_fill_meets_the_position_that_is_listed_and_not_the_one_that_is_missing() -> None:
    gone, here = make.position(5, volume=0.2), make.position(7, volume=0.2)
    book = make.bound_book(gone, here, account=make.NETTING)
    book.apply(events.PositionMissing(at_ns=make.NOW_NS, position=gone, because="x"))
    book.apply(make.created("A", Side.BUY, 0.3))
    book.apply(make.filled("A", 70, Side.BUY, 0.3, 1.07))
    assert {key: one.position.volume for key, one in book.holdings.items()} == {5: 0.2, 7: 0.5}


def test_of_two_positions_in_the_symbol_a_fill_meets_the_one_that_came_last() -> None:
    old, new = make.position(5, volume=0.2), make.position(7, volume=0.2)
    book = make.bound_book(old, new, account=make.NETTING)
    book.apply(make.created("A", Side.BUY, 0.3))
    book.apply(make.filled("A", 70, Side.BUY, 0.3, 1.07))
    assert {key: one.position.volume for key, one in book.holdings.items()} == {5: 0.2, 7: 0.5}


def test_a_reading_of_before_our_fill_brings_no_second_position_into_the_symbol() -> None:
    book = filled_book()
    snapshot = make.proven(LISTED, account=make.NETTING)
    plan = make.planned(book, snapshot, after_sec=9, asked_version=book.version - 1)
    assert plan.events == ()
    assert {(one.kind, one.identifier) for one in plan.holds} == {
        (HoldKind.NEWER, 7),
        (HoldKind.NEWER, 70),
    }


def test_what_orders_brought_to_a_position_that_has_ended_is_nobodys_in_the_next_one() -> None:
    old = make.position(7, volume=0.3, magic=3)
    book = make.bound_book(account=make.NETTING)
    book.apply(make.created("A", Side.BUY, 0.3, magic=3))
    book.apply(make.filled("A", 7, Side.BUY, 0.3, 1.07))
    assert [one.units for one in book.claims.values()] == [30_000_000]
    # A hand closed it and opened the next one, which a look takes in first.
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(9, volume=0.1)))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=old, because="by hand"))
    assert book.claims == {}


def test_what_orders_brought_goes_on_with_a_position_that_goes_on() -> None:
    old = make.position(7, volume=0.3, magic=3)
    book = make.bound_book(account=make.NETTING)
    book.apply(make.created("A", Side.BUY, 0.3, magic=3))
    book.apply(make.filled("A", 7, Side.BUY, 0.3, 1.07))
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(9, volume=0.3)))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=old, because="x", went_on_as=(9,)))
    assert [one.units for one in book.claims.values()] == [30_000_000]


def test_a_fill_that_met_the_old_position_by_mistake_stays_its_strategys() -> None:
    """The old position had ended unseen; its deals are all counted, and the fill is not in them."""
    old = make.position(7, volume=0.3, magic=3)
    opened = make.deal(1, 7, Side.BUY, 0.3, order=7)
    book = make.bound_book(account=make.NETTING)
    book.apply(make.created("A", Side.BUY, 0.3, magic=3))
    book.apply(make.filled("A", 7, Side.BUY, 0.3, 1.07))
    book.apply(make.counting(old, opened))
    book.apply(make.created("B", Side.BUY, 0.1, magic=3))
    book.apply(make.filled("B", 9, Side.BUY, 0.1, 1.07))
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(9, volume=0.1)))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=old, because="by hand"))
    assert {key: one.units for key, one in book.claims.items()} == {"B": 10_000_000}


@pytest.mark.parametrize("lots", [0.4, 0.1], ids=["reversed", "closed"])
def test_a_fill_newer_than_the_question_keeps_another_position_of_its_symbol_waiting(
    lots: float,
) -> None:
    """Seed 1000125: a stop closed the position unseen, and our fills met another one."""
    old = make.position(5, volume=0.1, side=Side.SELL)
    book = make.bound_book(old, account=make.NETTING)
    book.apply(make.counting(old, make.deal(9, 5, Side.SELL, 0.1)))
    asked_version = book.version
    book.apply(make.created("A", Side.BUY, lots))
    book.apply(make.filled("A", 70, Side.BUY, lots, 1.07))
    other = make.position(60, volume=0.2, side=Side.BUY)
    snapshot = make.proven(other, account=make.NETTING)
    plan = make.planned(book, snapshot, asked_version=asked_version)
    assert not [one for one in plan.events if isinstance(one, events.PositionAdopted)]
    assert (60, HoldKind.NEWER) in {(hold.identifier, hold.kind) for hold in plan.holds}
    later = make.planned(book, snapshot, asked_version=book.version, after_sec=60)
    adopted = [one for one in later.events if isinstance(one, events.PositionAdopted)]
    assert [one.position.identifier for one in adopted] == [60]


def test_a_fill_newer_than_the_question_counts_where_the_kind_of_the_account_is_unknown() -> None:
    """Seed 1001215, on the guide's wire: our fill met another position than the book thought."""
    old = make.position(5, volume=0.3, side=Side.SELL)
    book = make.book_of(old)
    asked_version = book.version
    book.apply(make.created("A", Side.BUY, 0.2))
    book.apply(make.filled("A", 70, Side.BUY, 0.2, 1.07))
    other = make.snapshot(make.position(60, volume=0.2, side=Side.BUY))
    plan = make.planned(book, other, asked_version=asked_version)
    assert plan.events == ()
    assert (60, HoldKind.NEWER) in {(hold.identifier, hold.kind) for hold in plan.holds}
    later = make.planned(book, other, asked_version=book.version, after_sec=60)
    adopted = [one for one in later.events if isinstance(one, events.PositionAdopted)]
    assert [one.position.identifier for one in adopted] == [60]


@pytest.mark.parametrize("book", [make.book_of, make.bound_book], ids=["unknown", "netting"])
def test_a_fill_newer_than_the_question_keeps_a_drift_of_its_symbol_waiting(book: Any) -> None:
    """Seed 3002259: the book had two positions in the symbol, and our fill met the other one."""
    kind = {} if book is make.book_of else {"account": make.NETTING}
    gone, here = make.position(5, volume=0.3, side=Side.SELL), make.position(7, volume=0.2)
    both = book(here, gone, **kind)
    asked_version = both.version
    both.apply(make.created("A", Side.BUY, 0.1))
    both.apply(make.filled("A", 70, Side.BUY, 0.1, 1.07))
    rows = make.position(7, volume=0.4), make.position(5, volume=0.2, side=Side.SELL)
    seen = make.proven(*rows, **kind) if kind else make.snapshot(*rows)
    plan = make.planned(both, seen, asked_version=asked_version)
    assert not [one for one in plan.events if isinstance(one, events.PositionCorrected)]
    assert (7, HoldKind.NEWER) in {(hold.identifier, hold.kind) for hold in plan.holds}
    later = make.planned(both, seen, after_sec=60)
    assert [one for one in later.events if isinstance(one, events.PositionCorrected)]


# A position that the book took for closed, and that is still open at the broker.

STILL = make.position(7, volume=0.1, side=Side.SELL)
BROUGHT = (
    make.deal(1, 7, Side.SELL, 0.3),
    make.deal(2, 7, Side.SELL, 0.1, order=61, magic=4),
    # A pending order of ours, which no reading showed before the book closed all that it had.
    make.deal(3, 7, Side.SELL, 0.1, order=60, magic=3),
    make.deal(4, 7, Side.BUY, 0.4, order=80, entry=Entry.OUT),
)


def emptied_book(account: Account = make.NETTING) -> Book:
    """A book of which our order B closed all that it had; order 61 is another program's."""
    book = make.bound_book(account=account)
    book.apply(make.created("A", Side.SELL, 0.3, magic=3))
    book.apply(make.filled("A", 7, Side.SELL, 0.3, 1.0543))
    seen = make.position(7, volume=0.4, side=Side.SELL)
    book.replay(look_at(book, seen, *BROUGHT[:2]).events)
    book.apply(make.created("L", Side.SELL, 0.1, kind=OrderKind.LIMIT, magic=3))
    book.apply(events.OrderApplied(at_ns=make.NOW_NS, order_id="L", ticket=60))
    book.apply(make.created("B", Side.BUY, 0.4, magic=5, position=7))
    book.apply(make.filled("B", 80, Side.BUY, 0.4, 1.0543))
    assert (book.holdings, book.claims) == ({}, {})
    return book


def look_at(book: Book, listed: Position, *deals: Deal) -> Plan:
    explained = frozenset({7}) if deals else frozenset()
    account = make.NETTING if book.shares_positions else make.ACCOUNT
    seen = make.proven(listed, deals=deals, explained=explained, account=account)
    return make.planned(book, seen, after_sec=20)


def lots_by_order(book: Book) -> dict[str, tuple[int, int]]:
    return {key: (one.magic, one.units) for key, one in book.claims.items()}


def test_a_position_that_comes_back_has_the_lots_of_each_strategy_again() -> None:
    book = emptied_book()
    book.replay(look_at(book, STILL, *BROUGHT).events)
    assert lots_by_order(book) == {
        "A": (3, -30_000_000),
        "61": (4, -10_000_000),
        "L": (3, -10_000_000),
        "B": (5, 40_000_000),
    }


def test_the_lots_of_our_orders_come_back_also_where_their_deals_show_later() -> None:
    book = emptied_book()
    book.replay(look_at(book, STILL).events)
    assert (set(book.holdings), book.claims) == ({7}, {})
    book.replay(look_at(book, STILL, *BROUGHT).events)
    # The book has the position by now, and order 61 may be a finished order that it forgot.
    assert lots_by_order(book) == {
        "A": (3, -30_000_000),
        "L": (3, -10_000_000),
        "B": (5, 40_000_000),
    }


def test_our_deals_that_the_broker_shows_no_more_come_back_as_they_were_counted() -> None:
    book = emptied_book()
    book.replay(look_at(book, STILL, *BROUGHT[2:]).events)
    assert lots_by_order(book) == {
        "A": (3, -30_000_000),
        "L": (3, -10_000_000),
        "B": (5, 40_000_000),
    }


def test_lots_that_were_given_to_one_strategy_with_the_whole_position_are_not_split_again() -> None:
    """The account was a hedging one before, where a position has one strategy."""
    book = make.bound_book()
    book.apply(make.created("A", Side.SELL, 0.3, magic=3))
    book.apply(make.filled("A", 7, Side.SELL, 0.3, 1.0543))
    book.apply(make.created("B", Side.BUY, 0.1, magic=3, position=7))
    book.apply(make.filled("B", 80, Side.BUY, 0.1, 1.0543))
    book.apply(make.bound(make.NETTING))
    assert lots_by_order(book) == {"A": (3, -20_000_000)}
    out = make.deal(2, 7, Side.BUY, 0.1, order=80, entry=Entry.OUT)
    left = make.position(7, volume=0.2, side=Side.SELL)
    plan = look_at(book, left, BROUGHT[0], out)
    assert [event.shares for event in plan.events if isinstance(event, events.DealsRecorded)] == [
        ()
    ]
