"""Whose lots: by position where each has its own, by claim where strategies share one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import Share
from trueup.core.book.strategies import StrategyRow, strategy_rows
from trueup.core.deals import as_booked
from trueup.core.model import Deal, DealKind, Entry, Position, Side


def row(magic: int | None, lots: float, symbol: str = "EURUSD") -> StrategyRow:
    return StrategyRow(symbol, magic, lots)


def buy(order_id: str, ticket: int, lots: float, magic: int, side: Side = Side.BUY) -> Any:
    """An order of a strategy and its fill."""
    return (
        make.created(order_id, side, lots, magic=magic, wire_magic=magic),
        make.filled(order_id, ticket, side, lots, 1.0543),
    )


def test_an_empty_book_has_no_rows() -> None:
    assert strategy_rows(Book()) == ()


@pytest.mark.parametrize("bound", [True, False])
def test_positions_of_their_own_are_added_up_by_magic_number(bound: bool) -> None:
    rows = (
        make.position(1, volume=0.2, magic=7),
        make.position(2, volume=0.1, magic=7, side=Side.SELL),
        make.position(3, volume=0.3, magic=7, symbol="GBPUSD"),
        make.position(4, volume=0.4),
    )
    book = make.bound_book(*rows) if bound else make.book_of(*rows)
    assert strategy_rows(book) == (row(7, 0.1), row(7, 0.3, "GBPUSD"), row(0, 0.4))


def test_lots_that_cancel_out_are_no_row() -> None:
    rows = (
        make.position(1, volume=0.2, magic=7),
        make.position(2, volume=0.2, magic=7, side=Side.SELL),
    )
    assert strategy_rows(make.bound_book(*rows)) == ()


def test_a_magic_number_that_carries_a_token_is_its_strategys() -> None:
    wire = 7 * 2**32 + 5
    book = make.bound_book()
    book.replay(
        [
            make.created("A", Side.BUY, 0.1, magic=7, wire_magic=wire),
            make.filled("A", 9, Side.BUY, 0.1, 1.0543),
        ]
    )
    assert strategy_rows(book) == (row(7, 0.1),)


def test_a_shared_position_is_split_by_what_each_order_brought_and_the_rest_is_nobodys() -> None:
    book = make.bound_book(make.position(5, volume=0.5, magic=7), account=make.NETTING)
    assert strategy_rows(book) == (row(None, 0.5),)
    book.replay([*buy("A", 60, 0.3, 1), *buy("B", 61, 0.2, 2), *buy("C", 62, 0.1, 1)])
    assert strategy_rows(book) == (row(1, 0.4), row(2, 0.2), row(None, 0.5))
    book.replay(buy("D", 63, 0.4, 1, Side.SELL))
    assert strategy_rows(book) == (row(2, 0.2), row(None, 0.5))


def test_what_others_take_from_a_shared_position_is_a_row_below_nothing() -> None:
    book = make.bound_book(account=make.NETTING)
    book.replay(buy("A", 60, 0.3, 1))
    local = book.holdings[60].position
    remote = make.position(60, volume=0.1)
    book.apply(
        events.PositionCorrected(at_ns=make.NOW_NS, local=local, remote=remote, fields=("volume",))
    )
    assert strategy_rows(book) == (row(1, 0.3), row(None, -0.2))


def recorded(*shares: Share) -> events.DealsRecorded:
    return events.DealsRecorded(
        at_ns=make.NOW_NS,
        position=make.position(5, volume=0.5),
        deals=(1,),
        realised_units=0,
        because="x",
        shares=shares,
    )


def test_deals_say_whose_lots_they_are_once_however_often_they_are_told() -> None:
    book = make.bound_book(make.position(5, volume=0.5), account=make.NETTING)
    for _ in range(2):
        book.apply(recorded(Share(90, 3, 20_000_000)))
        assert strategy_rows(book) == (row(3, 0.2), row(None, 0.3))
    # The order turns out to be ours, and its answer comes after its deals.
    book.replay(
        [
            make.created("A", Side.BUY, 0.2, magic=4, token="t"),
            events.OrderInDoubt(at_ns=make.NOW_NS, order_id="A", error="no reply"),
            events.OrderSettled(
                at_ns=make.NOW_NS, order_id="A", ticket=90, volume=0.2, price=1.0, because="x"
            ),
        ]
    )
    assert strategy_rows(book) == (row(4, 0.2), row(None, 0.3))
    # And the deals again, now that it is known whose they are.
    book.apply(recorded(Share(90, 3, 20_000_000)))
    assert strategy_rows(book) == (row(4, 0.2), row(None, 0.3))


def test_claims_of_a_symbol_end_with_its_position_and_others_stay() -> None:
    book = make.bound_book(account=make.NETTING)
    gbp = (
        make.created("G", Side.BUY, 0.1, magic=1, symbol="GBPUSD"),
        events.OrderFilled(
            at_ns=make.NOW_NS,
            order_id="G",
            ticket=70,
            symbol="GBPUSD",
            side=Side.BUY,
            volume=0.1,
            price=1.2,
        ),
    )
    book.replay([*buy("A", 60, 0.3, 1), *gbp, *buy("B", 61, 0.3, 2, Side.SELL)])
    assert strategy_rows(book) == (row(1, 0.1, "GBPUSD"),)
    assert list(book.claims) == ["G"]


@pytest.mark.parametrize(("symbol", "kept"), [("EURUSD", 0.3), ("EURUSD_DEC", 0.0)])
def test_claims_stay_with_a_successor_in_the_same_symbol_and_end_with_a_rollover(
    symbol: str, kept: float
) -> None:
    """Seed 387: lots that were rolled into the next contract still counted in the old one."""
    book = make.bound_book(account=make.NETTING)
    book.replay(buy("A", 60, 0.3, 1))
    old = book.holdings[60].position
    again = make.position(61, volume=0.3, symbol=symbol)
    # Our next fill opened another position in the old symbol before the book heard of the rollover.
    other = make.position(62, volume=0.1)
    for position in (again, other):
        book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=position))
    book.apply(
        events.PositionClosed(
            at_ns=make.NOW_NS, position=old, because="rolled", went_on_as=(again.identifier,)
        )
    )
    claimed = [one for one in strategy_rows(book) if one.magic == 1]
    assert claimed == ([row(1, kept)] if kept else [])


def ended(position: Position, *deals: Deal, **more: Any) -> events.PositionClosed:
    """A position that its deals closed."""
    booked = tuple(map(as_booked, deals))
    return events.PositionClosed(
        at_ns=make.NOW_NS,
        position=position,
        because="closed",
        deals=tuple(deal.ticket for deal in deals),
        booked=booked,
        **more,
    )


def test_what_a_pending_order_brought_to_an_open_position_outlives_another_that_it_closed() -> None:
    """Seed 9012032: its first part closed a position, and its second part opened the next."""
    book = make.bound_book(account=make.NETTING)
    book.replay(buy("A", 60, 0.1, 1, Side.SELL))
    old, part = book.holdings[60].position, Share(90, 3, 30_000_000)
    new = make.position(90, volume=0.3)
    entry = make.deal(3, 90, Side.BUY, 0.3, order=90)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=new))
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS,
            position=new,
            deals=(3,),
            booked=(as_booked(entry),),
            realised_units=0,
            because="x",
            shares=(part,),
        )
    )
    sold = make.deal(1, 60, Side.SELL, 0.1, order=60)
    closing = make.deal(2, 60, Side.BUY, 0.1, entry=Entry.OUT, order=90)
    book.apply(ended(old, sold, closing))
    assert strategy_rows(book) == (row(3, 0.3),)


@pytest.mark.parametrize("is_open", [False, True])
def test_what_orders_brought_to_a_position_ends_with_its_successor(*, is_open: bool) -> None:
    """Seed 9010402: a position was split, and its successor was stopped out unseen."""
    book = make.bound_book(account=make.NETTING)
    book.replay(buy("A", 60, 0.3, 1))
    old = book.holdings[60].position
    # The book has the next position of the symbol already.
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(70, volume=0.1)))
    sold = make.deal(2, 60, Side.SELL, 0.3, entry=Entry.OUT, order=61)
    went_on = (62, 63) if is_open else (62,)
    if is_open:
        again = make.position(63, volume=0.3)
        book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=again))
    book.apply(ended(old, make.deal(1, 60, Side.BUY, 0.3), sold, went_on_as=went_on))
    assert [one.net_volume for one in strategy_rows(book) if one.magic == 1] == [0.3]
    later = make.position(62, volume=0.6)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=later))
    entry = make.deal(4, 62, Side.BUY, 0.6, order=62)
    stopped = make.deal(5, 62, Side.SELL, 0.6, entry=Entry.OUT, order=64)
    book.apply(ended(later, entry, stopped))
    # Of two successors, the one that is open may be the one that goes on.
    kept = [0.3] if is_open else []
    assert [one.net_volume for one in strategy_rows(book) if one.magic == 1] == kept


def test_an_order_that_turns_out_to_have_ended_with_its_position_claims_nothing() -> None:
    """Seed 9008962: an order in doubt went into a position that the book had closed already."""
    book = make.bound_book(account=make.NETTING)
    book.replay([*buy("A", 60, 0.2, 1), *buy("B", 61, 0.2, 1, Side.SELL)])
    settled = events.OrderSettled(
        at_ns=make.NOW_NS, order_id="C", ticket=65, volume=0.4, price=1.0, because="x"
    )
    book.replay(
        [
            make.created("C", Side.SELL, 0.4, magic=1),
            events.OrderInDoubt(at_ns=make.NOW_NS, order_id="C", error="no reply"),
            settled,
        ]
    )
    deals = (
        make.deal(1, 60, Side.BUY, 0.2, order=60),
        make.deal(2, 60, Side.SELL, 0.4, order=65, kind=DealKind.CANCELED),
        make.deal(3, 60, Side.SELL, 0.2, entry=Entry.OUT, order=66),
    )
    assert list(book.claims) == ["C"]
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS,
            position=make.position(60, volume=0.2),
            deals=(1, 2, 3),
            booked=tuple(map(as_booked, deals)),
            realised_units=0,
            because="closed",
        )
    )
    assert book.claims == {}
