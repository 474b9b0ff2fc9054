"""An order whose answer was lost is settled by evidence, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.look.absence import Absence, Absences
from trueup.core.model import Position, Side
from trueup.core.policy import GRACE_SEC

LONG_AFTER_SEC = make.GRACE_MS / 1000 + 5


def status_after(
    book: Book,
    *seen: Position,
    faults: tuple[str, ...] = (),
    after_sec: float = 1.0,
    asked_version: int | None = None,
) -> OrderStatus:
    """Where order A stands when one reading has been planned and taken in."""
    plan = make.planned(
        book,
        make.snapshot(*seen, faults=faults),
        after_sec=after_sec,
        asked_version=asked_version,
    )
    book.replay(plan.events)
    if book.orders["A"].status is OrderStatus.IN_DOUBT:
        assert any("A" in hold.reason for hold in plan.holds)
    return book.orders["A"].status


def test_one_fitting_zombie_settles_it_and_is_adopted() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    assert status_after(book, make.position(7)) is OrderStatus.FILLED
    assert make.positions_of(book) == {7: ("buy", 0.01, 1.0543)}
    assert book.orders_by_ticket[7].order_id == "A"
    assert not book.in_doubt
    assert len(book.orders) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"side": Side.SELL},
        {"volume": 0.02},
        {"symbol": "GBPUSD"},
    ],
)
def test_a_position_that_is_not_what_was_asked_for_is_no_trace(other: dict[str, Any]) -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    assert status_after(book, make.position(7, **other)) is OrderStatus.IN_DOUBT


def test_a_position_in_another_symbol_of_ours_is_no_trace() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    both = make.policy("EURUSD", "GBPUSD")
    plan = make.planned(book, make.snapshot(make.position(7, symbol="GBPUSD")), policy=both)
    book.replay(plan.events)
    assert book.orders["A"].status is OrderStatus.IN_DOUBT
    assert set(book.holdings) == {7}


def test_two_fitting_zombies_settle_nothing_even_after_the_grace_period() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    two = make.position(7), make.position(8)
    assert status_after(book, *two, after_sec=LONG_AFTER_SEC) is OrderStatus.IN_DOUBT
    assert set(book.holdings) == {7, 8}


def test_two_orders_for_one_zombie_settle_nothing() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    make.put_in_doubt(book, "B", Side.BUY)
    assert status_after(book, make.position(7)) is OrderStatus.IN_DOUBT
    assert book.orders["B"].status is OrderStatus.IN_DOUBT


def test_two_orders_that_differ_are_settled_each_by_its_own() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.01)
    make.put_in_doubt(book, "B", Side.BUY, 0.02)
    assert status_after(book, make.position(8, volume=0.02), make.position(7)) is OrderStatus.FILLED
    assert (book.orders["A"].ticket, book.orders["B"].ticket) == (7, 8)


def test_a_close_is_settled_by_the_position_that_left() -> None:
    book = make.book_of(make.position(7), make.position(8))
    make.put_in_doubt(book, "A", Side.SELL, position=7)
    assert status_after(book, make.position(8)) is OrderStatus.FILLED
    assert set(book.holdings) == {8}


def test_a_close_that_was_settled_by_an_absence_does_not_invent_its_price() -> None:
    """The list says that it has gone, and no list says at what price."""
    book = make.book_of(make.position(7, price_open=1.0543))
    make.put_in_doubt(book, "A", Side.SELL, position=7, price=1.06)
    assert status_after(book) is OrderStatus.FILLED
    assert book.orders["A"].fill_price != 1.0543


def test_a_close_is_not_settled_by_another_position_that_left() -> None:
    book = make.book_of(make.position(7), make.position(8))
    make.put_in_doubt(book, "A", Side.SELL, position=7)
    assert status_after(book, make.position(7)) is OrderStatus.IN_DOUBT
    assert set(book.holdings) == {7}


def test_a_partial_close_is_settled_by_the_volume_that_is_missing() -> None:
    book = make.book_of(make.position(7, volume=0.03))
    make.put_in_doubt(book, "A", Side.SELL, 0.01, position=7)
    assert status_after(book, make.position(7, volume=0.02)) is OrderStatus.FILLED
    assert make.positions_of(book) == {7: ("buy", 0.02, 1.0543)}


def statuses_after(book: Book, *after_sec: float) -> list[str]:
    """Where order A stands after each of these empty readings."""
    absences: Absences = {}
    found = []
    for seconds in after_sec:
        plan = make.planned(book, make.snapshot(), after_sec=seconds, absences=absences)
        absences = dict(plan.absences)
        book.replay(plan.events)
        found.append(book.orders["A"].status.value)
    return found


def test_without_a_trace_several_readings_over_the_grace_period_give_it_up_unproven() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    grace_sec = make.GRACE_MS / 1000
    after_sec = (LONG_AFTER_SEC, LONG_AFTER_SEC + grace_sec - 0.001, LONG_AFTER_SEC + grace_sec)
    assert statuses_after(book, *after_sec) == ["IN_DOUBT"] * 3
    assert "unproven" not in str(book.orders["A"].error)
    plan = make.planned(
        book,
        make.snapshot(),
        after_sec=after_sec[-1] + 1,
        absences={"A": Absence(make.NOW_NS, 0, again_msc=0)},
    )
    [given_up] = plan.events
    assert isinstance(given_up, events.OrderCanceled)
    assert given_up.unproven
    assert "unproven" in given_up.because
    book.replay(plan.events)
    assert not book.in_doubt
    assert book.orders["A"].unproven


def test_one_empty_list_is_no_proof_however_long_ago_the_order_left() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    assert status_after(book, after_sec=86_400) is OrderStatus.IN_DOUBT


def test_without_a_trace_in_a_partial_reading_it_is_never_given_up() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY)
    for after_sec in (LONG_AFTER_SEC, 3600, 86_400):
        found = status_after(book, faults=("Row 1: ?",), after_sec=after_sec)
        assert found is OrderStatus.IN_DOUBT


def test_the_grace_period_runs_from_the_sending_and_not_from_the_making() -> None:
    """An order may be made long before it is sent, and a timeout may be longer than the grace."""
    pm = make.portfolio()
    order = pm.create_order(1, 1.0543, 0.01)
    assert order is not None
    make.clock_of(pm).advance(GRACE_SEC)
    pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN", error="no reply"))
    make.clock_of(pm).advance(1)
    reconciler = make.reconciler_on(make.reply(), pm=pm)
    reconciler.sync_positions()
    assert order.status.value == "IN_DOUBT"
    for _ in range(2):
        make.clock_of(pm).advance(GRACE_SEC)
        reconciler.sync_positions()
    assert order.status.value == "CANCELED"


def test_an_absence_in_a_partial_reading_is_no_trace_of_a_close() -> None:
    """The row that cannot be read may be the very position."""
    book = make.book_of(make.position(7))
    make.put_in_doubt(book, "A", Side.SELL, position=7)
    assert status_after(book, faults=("Row 1: ?",)) is OrderStatus.IN_DOUBT
    assert set(book.holdings) == {7}


def test_a_reading_that_is_older_than_the_order_is_no_trace_of_it() -> None:
    """A position that was there before is somebody else's, however well it fits."""
    book = make.book_of()
    asked = book.version
    make.put_in_doubt(book, "A", Side.BUY)
    found = status_after(book, make.position(7), asked_version=asked, after_sec=0)
    assert found is OrderStatus.IN_DOUBT


def test_a_reading_that_is_older_than_the_sending_is_no_trace_of_it() -> None:
    """Made, then the broker is asked, then sent: what it shows was there before."""
    book = make.book_of()
    book.apply(make.created("A", Side.BUY))
    asked = book.version
    at_ns = make.NOW_NS + 2 * make.SECOND_NS
    book.apply(events.OrderInDoubt(at_ns=at_ns, order_id="A", error="no reply"))
    assert status_after(book, make.position(7), asked_version=asked) is OrderStatus.IN_DOUBT


def test_a_reading_that_is_older_than_the_sending_never_gives_an_order_up() -> None:
    """Made, then the broker is asked, then sent: what was asked cannot show it."""
    book = make.book_of()
    book.apply(make.created("A", Side.BUY))
    asked = book.version
    at_ns = make.NOW_NS + round((LONG_AFTER_SEC + 1) * make.SECOND_NS)
    book.apply(events.OrderInDoubt(at_ns=at_ns, order_id="A", error="no reply"))
    found = status_after(book, asked_version=asked, after_sec=LONG_AFTER_SEC)
    assert found is OrderStatus.IN_DOUBT


def test_an_order_in_doubt_may_still_be_settled_by_its_own_late_answer() -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.0543, 0.01)
    assert order is not None
    assert pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN", error="no reply"))
    assert pm.on_fill(make.filling(order.order_id, 7))
    assert order.status is OrderStatus.FILLED
    assert make.positions_of(pm.book) == {7: ("buy", 0.01, 1.0543)}


@given(make.broker_lists(), st.sampled_from(Side), make.lots, st.booleans())
def test_whatever_a_reading_shows_the_book_agrees_with_it(
    remote: list[Position], side: Side, volume: float, late: bool
) -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", side, volume)
    seen = make.snapshot(*remote)
    plan = make.planned(book, seen, after_sec=LONG_AFTER_SEC if late else 1)
    book.replay(plan.events)
    assert make.positions_of(book) == make.wanted(remote)
    fitting = [p for p in remote if p.symbol == "EURUSD" and (p.side, p.volume) == (side, volume)]
    status = book.orders["A"].status
    if len(fitting) == 1:
        assert status is OrderStatus.FILLED
        assert book.orders["A"].ticket == fitting[0].ticket
    else:
        # One reading proves no absence, however late it is.
        assert status is OrderStatus.IN_DOUBT
    again = make.planned(book, seen, after_sec=LONG_AFTER_SEC if late else 1)
    assert not again.events or status is OrderStatus.IN_DOUBT
