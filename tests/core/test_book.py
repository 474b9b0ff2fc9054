"""The book against a second, simpler book that counts whole thousandths of lots."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.fold import FOLD
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import MarginMode, Position, Side
from trueup.runtime.bot.portfolio import PortfolioManager

fills = st.lists(
    st.tuples(
        make.sides,
        st.integers(1, 400),  # hundredths of lots
        st.integers(100_000, 120_000),
        st.integers(0, 8),  # which open position it names; beyond the last, none
    ),
    max_size=25,
)


class SimpleBook:
    """Ticket -> (side, hundredths of lots, price), oldest first; by the words of the platform."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Side, int, float]] = {}

    def fill(self, ticket: int, side: Side, hundredths: int, price: float, named: int) -> None:
        opposite = [key for key, (other, *_) in self.held.items() if other is not side]
        for key in [named] if named else opposite:
            other, lots, paid = self.held[key]
            taken = min(lots, hundredths)
            hundredths -= taken
            if taken == lots:
                del self.held[key]
            else:
                self.held[key] = (other, lots - taken, paid)
            if not hundredths:
                return
        self.held[ticket] = (side, hundredths, price)


@given(fills)
def test_any_fills_leave_the_positions_that_the_platform_would_have(
    orders: list[tuple[Side, int, int, int]],
) -> None:
    book, simple = Book(), SimpleBook()
    for number, (side, hundredths, points, pick) in enumerate(orders, start=1):
        closable = [k for k, (other, *_) in simple.held.items() if other is not side]
        named = closable[pick] if pick < len(closable) else 0
        volume, price = hundredths / 100, points / 100_000
        book.apply(make.created(f"O{number}", side, volume, position=named))
        book.apply(make.filled(f"O{number}", 1000 + number, side, volume, price))
        simple.fill(1000 + number, side, hundredths, price, named)
    assert make.positions_of(book) == {
        ticket: (side.value, lots / 100, price)
        for ticket, (side, lots, price) in simple.held.items()
    }


@given(make.broker_lists(only_ours=True), st.data())
def test_a_partial_reduction_keeps_the_open_price_and_touches_no_neighbour(
    held: list[Position], data: st.DataObject
) -> None:
    held = [make.position(9_999, volume=0.05, side=data.draw(make.sides)), *held]
    book = make.book_of(*held)
    target = data.draw(st.sampled_from([p for p in held if p.volume > 0.002]))
    taken = data.draw(st.integers(1, round(target.volume * 1000) - 1)) / 1000
    book.apply(make.created("A", target.side.opposite, taken, position=target.identifier))
    book.apply(make.filled("A", 77_777, target.side.opposite, taken, 1.2345))
    left = round(target.volume - taken, 3)
    after = make.wanted(held) | {
        target.identifier: (target.side.value, left, target.price_open),
    }
    assert make.positions_of(book) == after


@given(make.broker_lists(only_ours=True))
def test_a_book_holds_any_number_of_positions_on_both_sides(held: list[Position]) -> None:
    book = make.book_of(*held)
    assert make.positions_of(book) == make.wanted(held)
    for one in held:
        found = book.holding_by_ticket(one.ticket)
        assert found is not None
        assert found.position == one
    assert book.holding_by_ticket(999_999_999) is None


def test_removing_one_of_a_hedged_pair_leaves_the_other() -> None:
    long, short = make.position(1), make.position(2, side=Side.SELL)
    book = make.book_of(long, short)
    book.apply(
        events.PositionClosed(at_ns=make.NOW_NS, position=long, because="gone", unproven=True)
    )
    assert make.positions_of(book) == make.wanted([short])


# A life of a portfolio, told as a list of small commands.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.sampled_from([1, -1]), make.lots),
        st.tuples(st.just("fill"), st.integers(0, 5), st.integers(1, 20)),
        st.tuples(st.just("status"), st.integers(0, 5), st.sampled_from(["REJECTED", "UNKNOWN"])),
        st.tuples(st.just("sync"), make.broker_lists(), st.booleans()),
        st.tuples(st.just("force"), st.integers(1, 20), make.lots),
        st.tuples(st.just("close"), st.integers(1, 20), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 30), st.none()),
    ),
    max_size=15,
)


def live(pm: PortfolioManager, life: list[tuple[str, Any, Any]]) -> None:
    for what, first, second in life:
        some_orders = [order for order in pm.orders if order.startswith("ORD")]
        match what:
            case "order":
                pm.create_order(first, 1.0543, second)
            case "fill" if first < len(some_orders):
                volume = pm.orders[some_orders[first]].volume
                pm.on_fill(make.filling(some_orders[first], second, filled_volume=volume))
            case "status" if first < len(some_orders):
                pm.on_fill(make.filling(some_orders[first], None, status=second))
            case "sync":
                rows = [as_row(p) for p in first] + ["no row"] * second
                make.reconciler_on(make.reply(*rows), pm=pm).sync_positions()
            case "force":
                pm.force_add_position(make.row(first, volume=second))
                pm.force_update_position(first, {"volume": second})
            case "close":
                pm.force_close_position(first)
            case "wait":
                make.clock_of(pm).advance(first)


def as_row(position: Position) -> dict[str, Any]:
    return make.row(
        position.ticket,
        symbol=position.symbol,
        type=position.side.value,
        volume=position.volume,
        price_open=position.price_open,
        profit=position.profit,
    )


@given(steps)
def test_replaying_the_journal_gives_the_live_book_byte_for_byte(
    life: list[tuple[str, Any, Any]],
) -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    live(pm, life)
    assert Book().replay(journal.read()).state() == pm.book.state()
    assert Book.restore(pm.book.state()).state() == pm.book.state()
    written = [record.event for record in journal.records()]  # through the journal's own bytes
    assert Book().replay(written).state() == pm.book.state()
    again = make.portfolio(journal)
    assert Book().replay(journal.read()).state() == again.book.state()
    assert set(again.get_local_positions()) == set(pm.get_local_positions())
    # What was handed out and never answered may have been sent: after a restart it is in doubt.
    unanswered = {i for i, o in pm.orders.items() if o.status is OrderStatus.PENDING}
    assert again.book.in_doubt.keys() == pm.book.in_doubt.keys() | unanswered
    for order_id, order in pm.orders.items():
        if order_id not in unanswered:
            assert again.orders[order_id] == order


def test_state_tells_apart_books_that_differ() -> None:
    states = {
        make.book_of().state(),
        make.book_of(make.position()).state(),
        make.book_of(make.position(volume=0.02)).state(),
        make.book_of(make.position(side=Side.SELL)).state(),
        make.book_of(make.position(1), make.position(2)).state(),
    }
    assert len(states) == 5


def test_state_leaves_out_the_brokers_quotations() -> None:
    pm = make.portfolio()
    pm.force_add_position(make.row())
    before = pm.book.state()
    make.reconciler_on(
        make.reply(make.row(profit=12.5, price_current=1.07)), pm=pm
    ).sync_positions()
    assert pm.position is not None
    assert (pm.position.unrealized_pnl, pm.position.current_price) == (12.5, 1.07)
    assert pm.book.state() == before


@given(st.integers(1, 4), st.permutations([0.01, 0.02, 0.03, 0.04]))
def test_the_same_fill_again_changes_nothing(times: int, volumes: list[float]) -> None:
    pm = make.portfolio()
    pm.force_add_position(make.row(50, type="sell", volume=1.0))
    for number, volume in enumerate(volumes):
        order = pm.create_order(1, 1.05, volume)
        assert order is not None
        fill = make.filling(order.order_id, 60 + number, filled_volume=volume)
        assert pm.on_fill(fill)
        once = pm.book.state()
        for _ in range(times):
            assert pm.on_fill(fill)
        assert pm.book.state() == once
    assert make.positions_of(pm.book) == {50: ("sell", 0.9, 1.0543)}


def test_a_fill_of_a_position_that_a_sync_took_in_already_is_not_counted_twice() -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, 0.01)
    assert order is not None
    assert make.reconciler_on(make.reply(make.row(7)), pm=pm).sync_positions().recovered == 1
    assert pm.on_fill(make.filling(order.order_id, 7))
    assert make.positions_of(pm.book) == {7: ("buy", 0.01, 1.0543)}


def test_a_close_that_is_answered_with_the_positions_own_ticket_reduces_it() -> None:
    """Gateways of the family answer a close with the ticket that was closed."""
    pm = make.portfolio()
    pm.force_add_position(make.row(7, volume=0.03))
    order = pm.create_order(-1, 1.06, 0.01)
    assert order is not None
    assert order.position == 7
    assert pm.on_fill(make.filling(order.order_id, 7, filled_price=1.06))
    assert make.positions_of(pm.book) == {7: ("buy", 0.02, 1.0543)}


@pytest.mark.parametrize("kind", ["PositionAdopted", "OrderCreated", "OrderFilled"])
def test_state_is_readable_and_has_every_order(kind: str) -> None:
    book = Book()
    book.apply(make.created("A", Side.BUY))
    if kind == "OrderFilled":
        book.apply(make.filled("A", 5, Side.BUY, 0.01, 1.1))
    if kind == "PositionAdopted":
        book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(5)))
    assert '"A"' in json.dumps(json.loads(book.state()))


@given(make.sides, make.lots, st.sampled_from([None, MarginMode.HEDGING, MarginMode.NETTING]))
def test_a_fill_told_after_a_sync_saw_its_position_gone_opens_nothing(
    side: Side, volume: float, mode: MarginMode | None
) -> None:
    book = make.book_of(make.position(1, side=side, volume=volume))
    if mode is not None:
        book.apply(make.bound(msgspec.structs.replace(make.ACCOUNT, margin_mode=mode)))
    book.apply(make.created("A", side.opposite, volume, position=1))
    (held,) = (holding.position for holding in book.holdings.values())
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=held, because="gone"))
    book.apply(make.filled("A", 2, side.opposite, volume, 1.2345))
    assert book.orders["A"].status is OrderStatus.FILLED
    assert not book.holdings
    assert not book.claims


@pytest.mark.parametrize("mode", [MarginMode.HEDGING, MarginMode.NETTING])
def test_a_fill_told_after_what_it_opened_was_counted_and_closed_opens_nothing(
    mode: MarginMode,
) -> None:
    """A person may say what an order was when its position has long been adopted and closed."""
    book = make.book_of()
    book.apply(make.bound(msgspec.structs.replace(make.ACCOUNT, margin_mode=mode)))
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    held = make.position(7, volume=0.1)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=held))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=held, because="gone"))
    book.apply(make.filled("A", 7, Side.BUY, 0.1, 1.1))
    assert book.orders["A"].status is OrderStatus.FILLED
    assert not book.holdings


def test_every_event_has_a_rule_in_the_fold() -> None:
    assert set(FOLD) == set(get_args(events.AnyEvent))
