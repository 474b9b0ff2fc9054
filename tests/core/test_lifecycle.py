from __future__ import annotations

import itertools

import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import IllegalTransition, OrderStatus, advance, may_advance
from trueup.core.model import Side

# The whole table, written a second time and by hand: every pair that is not here is refused.
WAYS = {
    ("PENDING", "OrderFilled"): "FILLED",
    ("PENDING", "OrderRejected"): "REJECTED",
    ("PENDING", "OrderCanceled"): "CANCELED",
    ("PENDING", "OrderInDoubt"): "IN_DOUBT",
    ("IN_DOUBT", "OrderFilled"): "FILLED",
    ("IN_DOUBT", "OrderRejected"): "REJECTED",
    ("IN_DOUBT", "OrderCanceled"): "CANCELED",
    ("IN_DOUBT", "OrderSettled"): "FILLED",
}
EVENTS: dict[str, type[events.OrderEvent]] = {
    kind.__name__: kind
    for kind in (
        events.OrderCreated,
        events.OrderFilled,
        events.OrderRejected,
        events.OrderCanceled,
        events.OrderInDoubt,
        events.OrderSettled,
    )
}
STATUSES = ("PENDING", "FILLED", "REJECTED", "CANCELED", "IN_DOUBT")


@pytest.mark.parametrize(("status", "event"), list(itertools.product(STATUSES, EVENTS)))
def test_every_pair_of_status_and_event_goes_by_the_table(status: str, event: str) -> None:
    kind, target = EVENTS[event], WAYS.get((status, event))
    if target is None:
        assert not may_advance(OrderStatus(status), kind)
        with pytest.raises(IllegalTransition, match=f"{status}.*{event}"):
            advance(OrderStatus(status), kind)
    else:
        assert may_advance(OrderStatus(status), kind)
        assert advance(OrderStatus(status), kind) is OrderStatus(target)


def test_a_lost_answer_never_makes_a_rejection() -> None:
    assert advance(OrderStatus.PENDING, events.OrderInDoubt) is OrderStatus.IN_DOUBT


@pytest.mark.parametrize("end", ["FILLED", "REJECTED", "CANCELED"])
@pytest.mark.parametrize("kind", EVENTS)
def test_what_has_ended_takes_nothing_more(end: str, kind: str) -> None:
    assert not may_advance(OrderStatus(end), EVENTS[kind])


def test_the_book_refuses_an_event_outside_the_table() -> None:
    book = Book()
    book.apply(make.created("A", Side.BUY))
    book.apply(events.OrderRejected(at_ns=make.NOW_NS, order_id="A", error="no money"))
    with pytest.raises(IllegalTransition):
        book.apply(make.filled("A", 1, Side.BUY, 0.01, 1.1))
    assert not book.holdings
    assert book.orders["A"].status is OrderStatus.REJECTED
