"""The states of an order and the table of transitions between them.

No other code assigns an order's status. A pair of state and event that is missing from the table is
an error, and `advance` refuses that pair.

A timeout never leads from PENDING to REJECTED. An order with a lost reply is IN_DOUBT, and only
evidence from the broker or the gateway's record, or a person's statement, leads out of that state.
"""

from __future__ import annotations

import enum

from trueup.core.book import events
from trueup.errors import TrueupError


class OrderStatus(enum.Enum):
    """The state of an order; the values are the guide's words.

    PENDING: recorded, not known to have left. SENT: the order left, no reply yet. FILLED: executed.
    """

    PENDING = "PENDING"
    SENT = "SENT"
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    IN_DOUBT = "IN_DOUBT"


class IllegalTransition(TrueupError):
    """The event is not allowed in the state of the order."""


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
    """Return whether the table allows `event` in `status`."""
    return event in TRANSITIONS[status]


def advance(status: OrderStatus, event: type[events.OrderEvent]) -> OrderStatus:
    """Return the state after `event`.

    Raises:
        IllegalTransition: the table does not allow `event` in `status`.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransition(
            f"an order that is {status.value} cannot take {event.__name__}"
        ) from None
