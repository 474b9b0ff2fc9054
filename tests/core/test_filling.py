"""What a fill does to the positions of a book: netting accounts, reversals, parts, named closes."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.holds import HoldKind
from trueup.core.model import MarginMode, Position, Side
from trueup.core.quantity import to_units

EXCHANGE = msgspec.structs.replace(make.ACCOUNT, margin_mode=MarginMode.EXCHANGE)
LATER = make.NOW_NS + 90 * make.SECOND_NS
P = make.position(7, volume=0.2, sl=1.0, magic=3)


def ordered(
    book: Book,
    order_id: str,
    ticket: int,
    side: Side,
    volume: float,
    price: float = 1.07,
    *,
    symbol: str = "EURUSD",
    at_ns: int = LATER,
    **more: Any,
) -> Book:
    """Have an order filled."""
    book.apply(make.created(order_id, side, volume, symbol=symbol, **more))
    fill = make.filled(order_id, ticket, side, volume, price)
    book.apply(msgspec.structs.replace(fill, symbol=symbol, at_ns=at_ns))
    return book


def netting(*positions: Position, account: Any = make.NETTING) -> Book:
    book = make.bound_book(*positions, account=account)
    book.unexplained.clear()
    return book


# An account of one position for each symbol.


@pytest.mark.parametrize("account", [make.NETTING, EXCHANGE])
def test_a_fill_in_an_empty_symbol_opens_its_position(account: Any) -> None:
    book = netting(make.position(9, symbol="GBPUSD"), account=account)
    ordered(book, "A", 70, Side.SELL, 0.3, wire_magic=5, sl=1.1, tp=1.0)
    holding = book.holdings[70]
    assert holding.position == make.position(
        70,
        side=Side.SELL,
        volume=0.3,
        price_open=1.07,
        price_current=1.07,
        magic=5,
        sl=1.1,
        tp=1.0,
    )
    assert (holding.order_ids, holding.touched_ns, holding.averaged) == (["A"], LATER, 1)
    # None of its deals is counted yet: all of them are new.
    assert (holding.explained_units, holding.version) == (0, book.version)
    assert book.unexplained == {70: holding.position}
    assert book.holdings[9].position.volume == 0.01


def test_a_fill_on_the_same_side_averages_the_price_over_the_lots() -> None:
    book = ordered(netting(P), "A", 70, Side.BUY, 0.6, 1.0943)
    holding = book.holdings[7]
    assert math.isclose(holding.position.price_open, (0.2 * 1.0543 + 0.6 * 1.0943) / 0.8)
    plain = msgspec.structs.replace(holding.position, price_open=P.price_open)
    assert plain == msgspec.structs.replace(P, volume=0.8)
    assert (holding.version, holding.touched_ns) == (book.version, LATER)
    assert (holding.order_ids, holding.averaged) == (["RECOVERY_7", "A"], 1)
    assert book.unexplained == {7: holding.position}
    ordered(book, "B", 71, Side.BUY, 0.1)
    assert (holding.position.volume, holding.averaged) == (0.9, 2)


@pytest.mark.parametrize("step", [1.0, 0.3, 0.01, 1e-8])
def test_a_smaller_fill_on_the_other_side_takes_its_lots_and_keeps_the_price(step: float) -> None:
    whole = msgspec.structs.replace(P, volume=2.0)
    book = ordered(netting(whole), "A", 70, Side.SELL, step, 1.09)
    holding = book.holdings[7]
    assert holding.position == msgspec.structs.replace(P, volume=round(2.0 - step, 8))
    assert (holding.version, holding.touched_ns) == (book.version, LATER)
    assert holding.order_ids == ["RECOVERY_7", "A"]
    assert book.unexplained == {7: whole}


def test_the_finest_step_that_is_left_is_a_position() -> None:
    book = ordered(netting(P), "A", 70, Side.SELL, 0.19999999)
    assert to_units(book.holdings[7].position.volume) == 1


@pytest.mark.parametrize("account", [make.NETTING, make.ACCOUNT])
def test_an_equal_fill_on_the_other_side_closes_it_and_we_did_that_just_now(account: Any) -> None:
    book = ordered(netting(P, account=account), "A", 70, Side.SELL, 0.2, position=7)
    assert (book.holdings, set(book.unexplained)) == ({}, {7})
    assert (book.closed[7].touched_ns, book.touched_ns(7)) == (LATER, LATER)
    assert book.closed[7].explained_units == 20_000_000
    assert set(book.finished) == {"RECOVERY_7", "A"}


@pytest.mark.parametrize("account", [make.NETTING, EXCHANGE])
@pytest.mark.parametrize("volume", [0.20000001, 0.5, 3.0])
def test_a_larger_fill_on_the_other_side_turns_the_position_round(
    account: Any, volume: float
) -> None:
    """The position goes on under its identifier, with the ticket and the price of the order."""
    book = ordered(netting(P, account=account), "A", 70, Side.SELL, volume, 1.09)
    (holding,) = book.holdings.values()
    assert holding.position == msgspec.structs.replace(
        P, side=Side.SELL, ticket=70, volume=round(volume - 0.2, 8), price_open=1.09
    )
    assert (book.holdings.keys(), holding.version) == ({7}, book.version)
    assert (holding.order_ids, holding.averaged) == (["RECOVERY_7", "A"], 1)
    assert book.unexplained == {7: holding.position}


def test_a_position_that_our_fill_turned_round_was_touched_just_now() -> None:
    book = ordered(netting(P), "A", 70, Side.SELL, 0.5, 1.09)
    assert (book.holdings[7].touched_ns, book.touched_ns(7)) == (LATER, LATER)


@pytest.mark.parametrize("after_sec", [90.1, 90.9])
def test_a_list_from_before_our_reversal_does_not_turn_the_book_back(after_sec: float) -> None:
    book = ordered(netting(P), "A", 70, Side.SELL, 0.5, 1.09)
    late = make.proven(P, account=make.NETTING)
    plan = make.planned(book, late, after_sec=after_sec)
    assert plan.events == ()
    assert [(hold.identifier, hold.kind) for hold in plan.holds] == [(7, HoldKind.SETTLING)]


def test_a_list_from_before_our_reversal_is_not_believed_after_its_window_either() -> None:
    """Its deals do not have ours yet: the list is late, and nothing else happened."""
    book = ordered(netting(P), "A", 70, Side.SELL, 0.5, 1.09)
    opened = make.deal(1, 7, Side.BUY, 0.2)
    late = make.proven(P, account=make.NETTING, deals=(opened,), explained=frozenset({7}))
    plan = make.planned(book, late, after_sec=92)
    assert not any(isinstance(event, events.PositionCorrected) for event in plan.events)
    assert make.positions_of(book) == {7: ("sell", 0.3, 1.09)}


class OneNumber:
    """A netting account as a single number: units of 1e-8 lots, negative when short."""

    def __init__(self) -> None:
        self.units = 0

    def fill(self, side: Side, volume: float) -> None:
        self.units += side.sign * to_units(volume)


@given(st.lists(st.tuples(make.sides, st.integers(1, 300)), max_size=20))
def test_on_a_netting_account_the_fills_of_a_symbol_come_to_their_sum(
    fills: list[tuple[Side, int]],
) -> None:
    book, simple = netting(make.position(9, symbol="GBPUSD")), OneNumber()
    for number, (side, hundredths) in enumerate(fills, start=1):
        ordered(book, f"O{number}", 100 + number, side, hundredths / 100)
        simple.fill(side, hundredths / 100)
        held = [h.position for h in book.holdings_in("EURUSD")]
        assert sum(to_units(one.net_volume) for one in held) == simple.units
        assert len(held) == bool(simple.units)
        assert all(book.touched_ns(one.identifier) == LATER for one in held)
    assert book.holdings[9].position == make.position(9, symbol="GBPUSD")


# An account of many positions for each symbol.


@pytest.mark.parametrize("left", [0.1, 1e-8])
def test_a_close_that_names_its_position_takes_from_that_one_alone(left: float) -> None:
    other = make.position(6, volume=0.2)
    book = netting(other, P, account=make.ACCOUNT)
    ordered(book, "A", 70, Side.SELL, round(0.2 - left, 8), position=7)
    assert [to_units(h.position.volume) for h in book.holdings.values()] == [
        20_000_000,
        to_units(left),
    ]
    assert (book.touched_ns(7), book.touched_ns(6)) == (LATER, 0)
    assert book.unexplained == {7: P}


def test_a_close_that_takes_more_than_there_was_opens_the_rest() -> None:
    """The finest step too: it is money at risk that a list will show."""
    book = netting(P, account=make.ACCOUNT)
    ordered(book, "A", 70, Side.SELL, 0.20000001, position=7)
    assert {k: (s, to_units(v)) for k, (s, v, _) in make.positions_of(book).items()} == {
        70: ("sell", 1)
    }


def test_a_fill_that_names_nothing_opens_a_position_beside_the_other_side() -> None:
    book = ordered(netting(P, account=make.ACCOUNT), "A", 70, Side.SELL, 0.2)
    assert make.positions_of(book) == {7: ("buy", 0.2, 1.0543), 70: ("sell", 0.2, 1.07)}


def test_an_answer_with_a_positions_ticket_closes_that_position() -> None:
    """Gateways of the family answer a close so, whether or not the order named what it closes."""
    book = netting(make.position(6, volume=0.2), P, account=make.ACCOUNT)
    ordered(book, "A", 7, Side.SELL, 0.2)
    assert set(book.holdings) == {6}


# An account of a kind that nobody told: the oldest of the other side goes first.


def test_without_a_name_the_oldest_of_the_other_side_in_the_symbol_are_closed_first() -> None:
    rows = (
        make.position(1, symbol="GBPUSD", volume=0.1),
        make.position(2, side=Side.SELL, volume=0.1),
        make.position(3, volume=0.1),
        make.position(4, volume=0.2),
        make.position(5, volume=0.1),
    )
    book = ordered(make.book_of(*rows), "A", 70, Side.SELL, 0.2)
    left = {key: volume for key, (_, volume, _) in make.positions_of(book).items()}
    assert left == {1: 0.1, 2: 0.1, 4: 0.1, 5: 0.1}
    assert book.unexplained == {}


# Whose lots they are, where strategies share a position.


def claims(book: Book) -> dict[str, tuple[int, int]]:
    return {key: (one.magic, one.units) for key, one in book.claims.items()}


def test_lots_are_counted_once_whether_deals_or_the_answer_came_first() -> None:
    book = netting(P)
    share = events.Share(70, 3, -10_000_000)
    recorded = events.DealsRecorded(
        at_ns=LATER, position=P, deals=(), realised_units=0, because="x", shares=(share,)
    )
    book.apply(recorded)
    assert claims(book) == {"70": (3, -10_000_000)}
    ordered(book, "A", 70, Side.SELL, 0.1, magic=3)
    assert claims(book) == {"A": (3, -10_000_000)}
    book.apply(recorded)
    assert claims(book) == {"A": (3, -10_000_000)}


def test_the_lots_of_a_symbol_are_nobodys_once_its_position_is_gone() -> None:
    book = netting()
    ordered(book, "A", 70, Side.BUY, 0.2, magic=3)
    ordered(book, "B", 80, Side.BUY, 0.2, magic=3, symbol="GBPUSD")
    ordered(book, "C", 71, Side.SELL, 0.2, magic=4)
    assert claims(book) == {"B": (3, 20_000_000)}


@pytest.mark.parametrize("account", [None, make.ACCOUNT])
def test_where_positions_are_not_shared_each_says_itself_whose_it_is(account: Any) -> None:
    book = Book() if account is None else netting(account=account)
    assert ordered(book, "A", 70, Side.BUY, 0.2, magic=3).claims == {}
