"""One type for an order's outcome: read from a reply, spelled in words, put in a book."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus, may_advance
from trueup.core.book.order import Order
from trueup.core.book.outcome import (
    Canceled,
    Done,
    Filled,
    OrderOutcome,
    Placed,
    Refused,
    Unknown,
    order_event,
)
from trueup.protocol.orders import read_outcome, spell_outcome

# Every class of outcome: an order's kind that may have it, and the event that the book takes.
OUTCOMES: dict[OrderOutcome, tuple[OrderKind, type[events.OrderEvent]]] = {
    Filled(7, 0.1, 1.1): (OrderKind.MARKET, events.OrderFilled),
    Placed(7): (OrderKind.LIMIT, events.OrderApplied),
    Done(7): (OrderKind.MODIFY, events.OrderApplied),
    Done(): (OrderKind.CANCEL, events.OrderApplied),
    Refused("no money"): (OrderKind.MARKET, events.OrderRejected),
    Canceled("case B"): (OrderKind.MARKET, events.OrderCanceled),
    Unknown("no reply"): (OrderKind.MARKET, events.OrderInDoubt),
}


def order(kind: OrderKind) -> Order:
    """A market or other order of 0.1 lots."""
    return Order("O", "EURUSD", "BUY", 0.1, 1.1, 1, OrderStatus.SENT, kind=kind)


def test_the_examples_have_every_class_of_outcome() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(OrderOutcome))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
def test_an_outcome_in_the_guides_words_is_read_as_the_same_outcome(outcome: OrderOutcome) -> None:
    kind, _ = OUTCOMES[outcome]
    assert read_outcome(spell_outcome("O", outcome), kind, 0.1) == outcome


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
def test_each_outcome_is_an_event_that_a_sent_order_may_take(outcome: OrderOutcome) -> None:
    kind, wanted = OUTCOMES[outcome]
    found = order_event(order(kind), outcome, 5)
    assert type(found) is wanted
    assert may_advance(OrderStatus.SENT, type(found))


@pytest.mark.parametrize(
    ("kind", "reply", "words"),
    [
        (OrderKind.MARKET, {"status": "PLACED", "ticket": 7}, "the answer's status is 'PLACED'"),
        (OrderKind.MARKET, {"status": "DONE"}, "the answer's status is 'DONE'"),
        (OrderKind.LIMIT, {"status": "PLACED"}, "PLACED with ticket None"),
        (OrderKind.LIMIT, {"status": "DONE", "ticket": 2**64}, "which is no ticket"),
        (OrderKind.MARKET, {}, "the answer's status is None"),
        (OrderKind.MARKET, {"status": "filled", "ticket": 0}, "FILLED with ticket 0"),
        (OrderKind.MARKET, {"status": "FILLED", "ticket": 7}, "FILLED at price None"),
        (
            OrderKind.MARKET,
            {"status": "FILLED", "ticket": 7, "filled_price": 1.1, "filled_volume": None},
            "FILLED with volume None",
        ),
        (OrderKind.MODIFY, {"status": "EXPIRED", "error": "odd"}, "odd"),
    ],
)
def test_a_reply_that_does_not_say_clearly_what_happened_is_unknown(
    kind: OrderKind, reply: dict[str, Any], words: str
) -> None:
    outcome = read_outcome(reply, kind, 0.1)
    assert isinstance(outcome, Unknown)
    assert words in outcome.error


def test_more_lots_than_were_asked_for_are_a_doubt() -> None:
    event = order_event(order(OrderKind.MARKET), Filled(7, 0.2, 1.1), 5)
    assert isinstance(event, events.OrderInDoubt)
    assert "more than the 0.1 asked for" in event.error
