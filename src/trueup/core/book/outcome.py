"""The outcome of an order: the same type from the wire to the book.

`protocol.orders.read_outcome` makes an outcome from a gateway's reply, and `order_event` turns the
outcome into the event for the book. All code between the two matches every class, so that the type
checker reports a class that was forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.quantity import add_lots

NEVER_LEFT = "case B: it never left"


class Filled(msgspec.Struct, frozen=True):
    """The order was executed: its ticket, the filled lots and their price."""

    ticket: int
    volume: float
    price: float


class Placed(msgspec.Struct, frozen=True):
    """A pending order is active at the broker under this ticket."""

    ticket: int


class Done(msgspec.Struct, frozen=True):
    """A modification or a cancellation was made; `ticket` is 0 if the gateway sent no ticket."""

    ticket: int = 0


class Refused(msgspec.Struct, frozen=True):
    """The order had no effect: the broker refused it, or it never reached the broker."""

    error: str


class Unknown(msgspec.Struct, frozen=True):
    """The order may have been executed; only the broker or the gateway's record can decide."""

    error: str


class Canceled(msgspec.Struct, frozen=True):
    """The order ended before the broker had it, for example because it never left the process."""

    because: str


OrderOutcome = Filled | Placed | Done | Refused | Unknown | Canceled


def order_event(order: Order, outcome: OrderOutcome, now_ns: int) -> events.OrderEvent:
    """Return the event that records an outcome in the book."""
    order_id = order.order_id
    match outcome:
        # A reply with more lots than requested is wrong somewhere, so let the broker decide.
        case Filled(volume=volume) if add_lots(volume, -order.volume) > 0:
            why = f"FILLED with {volume!r} lots, more than the {order.volume} asked for"
            return in_doubt(order, why, now_ns)
        case Filled():
            return events.OrderFilled(
                at_ns=now_ns,
                order_id=order_id,
                ticket=outcome.ticket,
                symbol=order.symbol,
                side=order.side,
                volume=outcome.volume,
                price=outcome.price,
            )
        # The effect is on the order's own target, so the ticket alone is enough for the book.
        case Placed(ticket=ticket) | Done(ticket=ticket):
            return events.OrderApplied(at_ns=now_ns, order_id=order_id, ticket=ticket)
        case Refused(error=error):
            error = error or "no reason given"
            return events.OrderRejected(at_ns=now_ns, order_id=order_id, error=error)
        case Canceled(because=because):
            because = because or "canceled"
            return events.OrderCanceled(at_ns=now_ns, order_id=order_id, because=because)
        case Unknown(error=error):
            return in_doubt(order, error, now_ns)
        case _:
            assert_never(outcome)


def in_doubt(order: Order, error: str, now_ns: int) -> events.OrderInDoubt:
    """Return the event that puts an order in doubt."""
    return events.OrderInDoubt(at_ns=now_ns, order_id=order.order_id, error=error)


def after_restart(orders: Sequence[Order], now_ns: int) -> list[events.Event]:
    """Return the events for orders that the last process left unfinished.

    An order of the desk without a recorded send never left (case B). Any other unfinished order may
    have left, so it is in doubt and the broker decides.
    """
    found: list[events.Event] = []
    for order in orders:
        if order.status is OrderStatus.PENDING and order.by_desk:
            found.append(order_event(order, Canceled(NEVER_LEFT), now_ns))
        elif order.status in (OrderStatus.PENDING, OrderStatus.SENT):
            found.append(in_doubt(order, "the process ended before an answer was recorded", now_ns))
    return found
