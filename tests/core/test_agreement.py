"""The book's deals against the broker's history: what is missing, and on which side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.deals import Known, as_booked
from trueup.core.explain import Exit
from trueup.core.model import Deal, Entry, Side
from trueup.core.realised.agreement import (
    Agreement,
    Counted,
    DealChange,
    DealLine,
    compare,
    counted_in,
)

MSC = 1_000
BEGIN, END = 10 * MSC, 90 * MSC
CENT = 1_000_000


def deal(ticket: int, position: int = 7, **changes: Any) -> Deal:
    facts: dict[str, Any] = {"profit": ticket * 1.25, "time_msc": 20 * MSC + ticket}
    return make.deal(ticket, position, Side.BUY, 0.1, **(facts | changes))


def recorded(*deals: Deal, identifier: int = 7, only_tickets: bool = False) -> events.Event:
    booked = tuple(map(as_booked, deals))
    return events.DealsRecorded(
        at_ns=make.NOW_NS,
        position=make.position(identifier),
        deals=tuple(one.ticket for one in deals),
        realised_units=sum(one.money for one in booked),
        because="a test says so",
        booked=() if only_tickets else booked,
    )


def counted(*history: events.Event) -> Counted:
    found = Counted()
    for event in history:
        found.take(event)
    return found


def compared(known: Counted, *shown: Deal) -> Agreement:
    return compare(known, shown, BEGIN, END)


def test_the_same_deals_agree() -> None:
    both = [deal(1), deal(2), deal(3)]
    found = compared(counted(recorded(*both)), *both)
    assert found == Agreement(agreed=3)
    assert found.is_whole
    assert (found.positions, found.difference) == ((), 0)


def test_a_deal_that_the_book_lacks_is_named_with_its_money() -> None:
    found = compared(counted(recorded(deal(1))), deal(1), deal(2, profit=-3.5, commission=-0.25))
    (line,) = found.missing_in_book
    assert (line.ticket, line.position, line.symbol) == (2, 7, "EURUSD")
    assert line.money == -375 * CENT
    assert (found.agreed, found.positions) == (1, (7,))
    assert found.difference == -375 * CENT


def test_a_deal_that_the_broker_does_not_show_is_named() -> None:
    found = compared(counted(recorded(deal(1), deal(2, profit=4.0))), deal(1))
    (line,) = found.missing_at_broker
    assert (line.ticket, line.money) == (2, 400 * CENT)
    assert found.difference == -400 * CENT


def test_a_deal_with_other_money_is_named_with_both() -> None:
    found = compared(counted(recorded(deal(1, profit=2.0))), deal(1, profit=2.0, fee=-0.01))
    (change,) = found.changed
    assert (change.in_book.money, change.at_broker.money) == (200 * CENT, 199 * CENT)
    assert (found.agreed, found.difference) == (0, -CENT)


def test_a_deal_with_other_lots_and_the_same_money_is_named() -> None:
    found = compared(counted(recorded(deal(1))), msgspec.structs.replace(deal(1), volume=0.2))
    assert [change.at_broker.lots for change in found.changed] == [20_000_000]
    assert found.difference == 0
    assert not found.is_whole


def test_deals_outside_the_span_are_nobodys_difference() -> None:
    early, late = deal(1, time_msc=BEGIN - 1), deal(2, time_msc=END)
    found = compared(counted(recorded(early, late)))
    assert found == Agreement()
    at_the_edges = deal(3, time_msc=BEGIN), deal(4, time_msc=END - 1)
    assert len(compared(counted(recorded(*at_the_edges))).missing_at_broker) == 2


def test_a_span_without_an_end_has_all_that_is_later() -> None:
    late = deal(2, time_msc=END + 1)
    assert not compare(counted(recorded(late)), [], BEGIN, 0).is_whole


# Positions that the book never had.


def order(order_id: str, ticket: int, magic: int = 0) -> list[events.Event]:
    created = make.created(order_id, Side.BUY, magic=magic, wire_magic=magic)
    return [created, make.filled(order_id, ticket, Side.BUY, 0.01, 1.05)]


def test_deals_of_others_are_counted_and_no_difference() -> None:
    found = compared(counted(recorded(deal(1))), deal(1), deal(2, 99), deal(3, 99, magic=5))
    assert (found.agreed, found.of_others) == (1, 2)
    assert found.is_whole


def test_a_position_that_an_order_of_ours_made_is_missing_whole() -> None:
    """Also its close by a hand, which carries no magic number."""
    ours = counted(*order("A", 99))
    entry, by_hand = deal(1, 99, order=99), deal(2, 99, order=100, entry=Entry.OUT)
    found = compared(ours, entry, by_hand)
    assert [line.ticket for line in found.missing_in_book] == [1, 2]
    assert found.of_others == 0


def test_a_position_with_our_magic_number_is_ours_also_with_a_token_in_it() -> None:
    ours = counted(*order("A", 50, magic=7))
    assert len(compared(ours, deal(1, 99, order=98, magic=7)).missing_in_book) == 1
    token = (7 << 32) | 12345
    assert len(compared(ours, deal(1, 99, order=98, magic=token)).missing_in_book) == 1
    assert compared(ours, deal(1, 99, order=98, magic=8)).of_others == 1


def test_a_position_that_was_adopted_has_nothing_counted_until_it_has_a_new_deal() -> None:
    adopted = events.PositionAdopted(at_ns=0, position=make.position(7))
    assert compared(counted(adopted), deal(1)) == Agreement(of_others=1)
    # One that an order of ours made is counted from its entry on.
    found = compared(counted(*order("A", 7), adopted), deal(1, order=7))
    assert [line.ticket for line in found.missing_in_book] == [1]


# Journals of before, which kept tickets alone.


def test_tickets_alone_agree_by_ticket_and_by_their_sum() -> None:
    both = [deal(1, profit=1.5), deal(2, profit=2.5)]
    old = counted(recorded(*both, only_tickets=True))
    assert compared(old, *both) == Agreement(agreed=2)
    changed = compared(old, both[0], deal(2, profit=2.25))
    assert (changed.agreed, changed.difference) == (0, -25 * CENT)
    assert [change.at_broker.position for change in changed.changed] == [7]
    # Where a part of the position is in the span, its sum says nothing.
    assert compared(old, both[0]).agreed == 1
    assert len(compared(old, *both, deal(3)).missing_in_book) == 1


def test_the_exit_of_a_position_counts_as_its_deals() -> None:
    ended = Exit("by hand", 1.1, 0.1, 5.0, 0.0, 0.0, 0.0, 30 * MSC, (1, 2))
    closed = events.PositionClosed(
        at_ns=0,
        position=make.position(7),
        because="closed",
        ended=ended,
        realised_units=375 * CENT,
    )
    found = compared(counted(closed), deal(1), deal(2))
    assert found == Agreement(agreed=2)


def test_what_was_counted_on_another_account_means_nothing() -> None:
    first = make.bound()
    second = msgspec.structs.replace(first, login=2)
    found = counted(first, recorded(deal(1)), *order("A", 99), second)
    assert compared(found) == Agreement()
    assert compared(found, deal(5, 99, order=99)).of_others == 1


def test_a_position_that_is_closed_without_proof_keeps_what_was_counted() -> None:
    gone = events.PositionClosed(
        at_ns=0, position=make.position(7), because="a person says so", unproven=True, by="me"
    )
    found = compared(counted(recorded(deal(1)), gone), deal(1), deal(2))
    assert (found.agreed, len(found.missing_in_book)) == (1, 1)


# A book and its journal say the same.


def test_a_book_has_counted_what_its_journal_says() -> None:
    history = [
        make.bound(),
        *order("A", 7, magic=3),
        recorded(deal(1)),
        recorded(deal(1), deal(2)),
        events.PositionAdopted(at_ns=0, position=make.position(8)),
        recorded(deal(5, 8), identifier=8),
    ]
    by_book, by_journal = counted_in(Book().replay(history)), counted(*history)
    shown = [deal(1), deal(2, profit=9.0), deal(5, 8), deal(6, 99, magic=3), deal(7, 98)]
    assert compared(by_book, *shown) == compared(by_journal, *shown)
    assert by_book.positions.keys() == by_journal.positions.keys() == {7, 8}
    assert by_book.magics == by_journal.magics


# Whatever is taken from either side is found, and nothing else.

tickets = st.lists(st.integers(1, 60), unique=True, min_size=1, max_size=20)


@st.composite
def two_sides(draw: Callable[..., Any]) -> tuple[list[Deal], set[int], set[int], set[int]]:
    """Deals, and which of them the book lacks, the broker lacks, or the broker changed."""
    # Each position is of an order of ours.
    deals = [deal(t, 1 + t % 4, order=901 + t % 4) for t in draw(tickets)]
    ours = sorted(one.ticket for one in deals)
    lacking = draw(st.sets(st.sampled_from(ours)))
    gone = draw(st.sets(st.sampled_from(ours))) - lacking
    changed = draw(st.sets(st.sampled_from(ours))) - lacking - gone
    return deals, lacking, gone, changed


@given(two_sides())
def test_exactly_what_differs_is_found(
    sides: tuple[list[Deal], set[int], set[int], set[int]],
) -> None:
    deals, lacking, gone, changed = sides
    history: list[events.Event] = []
    for identifier in range(1, 5):
        history += order(f"A{identifier}", 900 + identifier)
        mine = [d for d in deals if d.position == identifier and d.ticket not in lacking]
        if mine:
            history.append(recorded(*mine, identifier=identifier))
    shown = [
        msgspec.structs.replace(one, swap=-0.5) if one.ticket in changed else one
        for one in deals
        if one.ticket not in gone
    ]
    found = compared(counted(*history), *reversed(shown))
    assert {line.ticket for line in found.missing_in_book} == lacking
    assert {line.ticket for line in found.missing_at_broker} == gone
    assert {change.at_broker.ticket for change in found.changed} == changed
    assert found.agreed == len(deals) - len(lacking) - len(gone) - len(changed)
    book = sum(as_booked(d).money for d in deals if d.ticket not in lacking)
    assert book + found.difference == sum(as_booked(d).money for d in shown)


# What each side's line says, in full.


def line(one: Deal, **changes: Any) -> DealLine:
    """A deal as its counted side has it."""
    booked = as_booked(one)
    facts = (booked.ticket, one.position, booked.money, booked.lots, one.time_msc)
    return msgspec.structs.replace(DealLine(*facts), **changes)


def test_a_difference_is_named_with_its_position_lots_time_and_symbol() -> None:
    sold = make.deal(2, 7, Side.SELL, 0.3, profit=4.0, time_msc=30 * MSC)
    changed = msgspec.structs.replace(deal(3), profit=-1.0)
    known = counted(recorded(deal(1), deal(3), deal(4)))
    found = compared(known, deal(1), sold, changed)
    assert found == Agreement(
        agreed=1,
        missing_in_book=(line(sold, symbol="EURUSD"),),
        missing_at_broker=(line(deal(4)),),
        changed=(DealChange(line(deal(3)), line(changed, symbol="EURUSD")),),
    )
    assert line(sold).lots == -30_000_000
    assert found.positions == (7,)


def test_a_sum_that_differs_is_named_with_the_newest_deal() -> None:
    """Where a journal of before has the tickets alone, nothing tells which deal it was."""
    first, last = deal(2, profit=1.5, time_msc=BEGIN), deal(1, profit=2.5, time_msc=BEGIN + 5)
    old = counted(recorded(first, last, only_tickets=True))
    found = compared(old, first, msgspec.structs.replace(last, profit=2.25))
    both = line(last, money=400 * CENT), line(last, money=375 * CENT, symbol="EURUSD")
    assert found == Agreement(agreed=0, changed=(DealChange(*both),))


def test_missing_deals_are_named_oldest_first() -> None:
    shown = [deal(number, time_msc=BEGIN + 100 - number) for number in (1, 3, 2)]
    found = compared(counted(*order("A", 7)), *(msgspec.structs.replace(d, order=7) for d in shown))
    assert [one.ticket for one in found.missing_in_book] == [3, 2, 1]
    gone = compared(counted(recorded(*shown)))
    assert [one.ticket for one in gone.missing_at_broker] == [3, 2, 1]


def test_the_deals_of_all_others_are_counted_together() -> None:
    found = compared(counted(), deal(1, 98), deal(2, 98), deal(3, 99))
    assert found == Agreement(of_others=3)


# What a journal says of whose a deal is.


def test_of_a_new_journal_nothing_is_known() -> None:
    known = Counted()
    assert (known.account, known.began_ns, known.agreed_msc) == (None, 0, 0)
    assert (known.positions, known.symbols, known.orders, known.magics) == ({}, set(), set(), set())


def test_a_journal_says_its_symbols_and_since_when_and_until_when_it_agreed() -> None:
    exotic = make.position(8, symbol="USDJPY")
    whole = events.HistoryCompared(at_ns=1, since_msc=1, until_msc=20, agreed=3)
    torn = msgspec.structs.replace(whole, until_msc=30, missing_in_book=1)
    gone = events.PositionClosed(
        at_ns=0, position=make.position(9, symbol="AUDUSD"), because="x", unproven=True
    )
    known = counted(
        make.bound(),
        make.created("A", Side.BUY, symbol="GBPUSD"),
        recorded(deal(1)),
        events.PositionAdopted(at_ns=0, position=exotic),
        gone,
        whole,
        torn,
        make.bound(),
    )
    assert known.symbols == {"EURUSD", "GBPUSD", "USDJPY", "AUDUSD"}
    assert known.positions[8] == Known()
    assert (known.began_ns, known.agreed_msc) == (make.NOW_NS, 20)
    changes: list[dict[str, Any]] = [{"login": 2}, {"server": "Other"}]
    for change in changes:
        assert known.account is not None
        other = msgspec.structs.replace(known.account, at_ns=5, **change)
        known.take(whole)
        known.take(other)
        assert (known.account, known.began_ns, known.agreed_msc) == (other, 5, 0)
        assert (known.positions, known.orders) == ({}, set())


@pytest.mark.parametrize(
    ("wire_magic", "ours", "others"), [(0, {7}, {8}), ((7 << 32) | 5, {7, (7 << 32) | 5}, {8, 5})]
)
def test_an_order_is_known_by_what_it_carried_or_else_by_its_strategys_number(
    wire_magic: int, ours: set[int], others: set[int]
) -> None:
    first = make.created("A", Side.BUY, magic=3)
    second = make.created("B", Side.BUY, magic=7, wire_magic=wire_magic)
    for known in (counted(first, second), counted_in(Book().replay([first, second]))):
        assert known.magics == {3} | ours
        assert all(known.is_ours(deal(1, magic=magic)) for magic in {3} | ours)
        assert not any(known.is_ours(deal(1, magic=magic)) for magic in others | {0})


@pytest.mark.parametrize("is_bound", [True, False])
def test_a_book_has_counted_what_is_open_and_what_closed_lately(*, is_bound: bool) -> None:
    opened, exits = deal(1, order=7), deal(2, 8, entry=Entry.OUT)
    gone = make.position(8, symbol="GBPUSD")
    placed = make.created("L", Side.BUY, kind=events.OrderKind.LIMIT, symbol="USDJPY", magic=5)
    refused = events.OrderRejected(at_ns=1, order_id="R", error="no")
    book = Book().replay([make.bound()] if is_bound else [])
    book.replay(
        [
            events.PositionAdopted(at_ns=1, position=make.position(7, symbol="AUDUSD")),
            *order("A", 77, magic=3),
            placed,
            events.OrderApplied(at_ns=1, order_id="L", ticket=50),
            make.created("R", Side.BUY, magic=6),
            refused,
            events.PositionAdopted(at_ns=1, position=gone),
            msgspec.structs.replace(recorded(opened), position=make.position(7, symbol="AUDUSD")),
            msgspec.structs.replace(recorded(exits, identifier=8), position=gone),
            events.PositionClosed(at_ns=1, position=gone, because="x", unproven=True),
            events.HistoryCompared(at_ns=1, since_msc=1, until_msc=20, agreed=3),
        ]
    )
    known = counted_in(book)
    assert known.positions[7] == Known((1,), (as_booked(opened),), as_booked(opened).money)
    assert known.positions[8] == Known((2,), (as_booked(exits),), as_booked(exits).money)
    assert known.symbols == {"AUDUSD", "EURUSD", "USDJPY"}
    assert known.magics == {3, 5, 6}
    assert known.orders == {77, 50}
    assert known.account == book.account
    assert (known.began_ns, known.agreed_msc) == (make.NOW_NS if is_bound else 0, 20)
