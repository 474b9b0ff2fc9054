"""The states of an order and the one table of its transitions.

Nothing else in the package assigns an order's status. A pair that is missing from the table is
the error: `advance` refuses it.

A timeout never leads from PENDING to REJECTED. An order whose answer was lost is IN_DOUBT, and
only evidence from the broker leads out of that state.
"""

from __future__ import annotations

import enum

from trueup.core.book import events
from trueup.errors import TrueupError


class OrderStatus(enum.Enum):
    """Where an order stands; the values are what the guide prints.

    PENDING: recorded, not known to have left. SENT: it left, no answer yet. FILLED: done.
    """

    PENDING = "PENDING"
    SENT = "SENT"
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    IN_DOUBT = "IN_DOUBT"


class IllegalTransition(TrueupError):
    """An order cannot go from its state by this event."""


_UNSETTLED: dict[type[events.OrderEvent], OrderStatus] = {
    events.OrderFilled: OrderStatus.FILLED,
    events.OrderApplied: OrderStatus.FILLED,
    events.OrderRejected: OrderStatus.REJECTED,
    events.OrderCanceled: OrderStatus.CANCELED,
}

TRANSITIONS: dict[OrderStatus, dict[type[events.OrderEvent], OrderStatus]] = {
    OrderStatus.PENDING: {
        **_UNSETTLED,
        events.SendStarted: OrderStatus.SENT,
        events.OrderInDoubt: OrderStatus.IN_DOUBT,
    },
    OrderStatus.SENT: {**_UNSETTLED, events.OrderInDoubt: OrderStatus.IN_DOUBT},
    OrderStatus.IN_DOUBT: {**_UNSETTLED, events.OrderSettled: OrderStatus.FILLED},
    OrderStatus.FILLED: {},
    OrderStatus.REJECTED: {},
    OrderStatus.CANCELED: {},
}


def may_advance(status: OrderStatus, event: type[events.OrderEvent]) -> bool:
    """Return whether the table has a way from `status` by `event`."""
    return event in TRANSITIONS[status]


def advance(status: OrderStatus, event: type[events.OrderEvent]) -> OrderStatus:
    """Return the state after `event`.

    Raises:
        IllegalTransition: the table has no such way.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransition(
            f"an order that is {status.value} cannot take {event.__name__}"
        ) from None
