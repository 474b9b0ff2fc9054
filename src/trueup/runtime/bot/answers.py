"""Sending an order to a gateway object, and what is said of an outcome that came late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trueup.core.book.order import Order
from trueup.core.quantity import format_lots
from trueup.errors import JournalError, NotSent, OutcomeNotRecorded, Refused
from trueup.logs import logger

log = logger("trueup.portfolio")


class OrderTaker(Protocol):
    """A gateway, as far as orders go."""

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order once and return what is known of its outcome."""


def send(gateway: OrderTaker, message: dict[str, Any]) -> Mapping[str, Any]:
    """Send an order and return what is known of its outcome, whatever the gateway object does."""
    try:
        answer: object = gateway.send_order(message)
    except NotSent as error:
        return {"status": "REJECTED", "error": f"Not sent: {error}"}
    except Refused as error:
        return {"status": "REJECTED", "error": str(error)}
    except Exception as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        log.exception("[ORDER] The gateway raised while it sent %s", message["order_id"])
        return {"status": "UNKNOWN", "error": f"the gateway raised {what}"}
    if not isinstance(answer, Mapping):
        return {
            "status": "UNKNOWN",
            "error": f"the gateway answered with a {type(answer).__name__}",
        }
    return _naming_symbol(answer, str(message.get("symbol") or ""))


def _naming_symbol(answer: Mapping[str, Any], symbol: str) -> Mapping[str, Any]:
    """Return a refusal with the symbol in its words: a terminal says "Not found", and not what."""
    error = answer.get("error")
    is_refusal = str(answer.get("status")).upper() == "REJECTED"
    if not is_refusal or not isinstance(error, str) or not error or symbol in error:
        return answer
    return {**answer, "error": f"{error} ({symbol})"}


def not_recorded(
    order: Order, outcome: Mapping[str, Any], error: JournalError
) -> OutcomeNotRecorded:
    """Return the error of an order that left, and whose outcome is not in the journal yet."""
    said = str(outcome.get("status") or "UNKNOWN")
    ticket = f", ticket {outcome['ticket']}" if outcome.get("ticket") else ""
    return OutcomeNotRecorded(
        f"{order.order_id} was sent ({said}{ticket}), and that is not in the journal yet: {error} "
        "Do not ask for it again: it is recorded with the next order or sync.",
        order=order,
        outcome=outcome,
    )


def told_late(late: Sequence[Order]) -> str:
    """Say what became of orders whose outcome was recorded only now, or nothing."""
    said = ""
    for order in late:
        ticket = f", ticket {order.ticket}" if order.ticket else ""
        said += (
            f" {order.order_id} ({order.action} {format_lots(order.volume)}L) was sent before, and "
            f"is {order.status.value}{ticket}; the book has that only now: look at it, and ask "
            "again if you still want this."
        )
    return said
