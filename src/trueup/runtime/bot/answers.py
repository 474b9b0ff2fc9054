"""Send an order through a gateway object, read the answer, and log it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from trueup import errors
from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import PENDING_TYPES, Order
from trueup.core.book.outcome import OrderOutcome, Refused, Unknown
from trueup.core.conversions import number_or_text, whole_number
from trueup.core.quantity import format_lots, format_price
from trueup.logs import Logger, logger
from trueup.protocol.orders import ERROR_LONGEST, read_outcome, spell_outcome
from trueup.protocol.text import brief
from trueup.runtime.time.clock import Clock, SystemClock

log: Logger = logger("trueup.portfolio")


class OrderTaker(Protocol):
    """A gateway object that accepts orders."""

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order once and return what is known of its outcome."""


def send(gateway: OrderTaker, message: dict[str, Any], order: Order) -> OrderOutcome:
    """Send an order and return what is known of its outcome; never raises.

    Only an error that proves that the order never left, or was refused, counts as a refusal. Any
    other error leaves the outcome unknown.
    """
    try:
        answer: object = gateway.send_order(message)
    except errors.NotSent as error:
        return Refused(_brief(f"Not sent: {error}"))
    except errors.Refused as error:
        return Refused(_brief(str(error)))
    # Any other exception may come after the order left, so the outcome is unknown, never a refusal.
    except Exception as error:
        raised = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        log.exception("[ORDER] The gateway raised while it sent %s", order.order_id)
        return Unknown(_brief(f"the gateway raised {raised}"))
    if not isinstance(answer, Mapping):
        return Unknown(f"the gateway answered with a {type(answer).__name__}")
    return _naming_symbol(read_outcome(answer, order.kind, order.volume), order.symbol)


def _naming_symbol(outcome: OrderOutcome, symbol: str) -> OrderOutcome:
    """Return a refusal with the symbol in its text, because a terminal says only "Not found"."""
    match outcome:
        case Refused(error=error) if error and symbol not in error:
            return Refused(f"{error} ({symbol})")
        case _:
            return outcome


def _brief(words: str) -> str:
    return brief(words, ERROR_LONGEST)


def not_recorded(
    order: Order, outcome: OrderOutcome, error: errors.JournalError
) -> errors.OutcomeNotRecorded:
    """Return the error for an order that was sent and whose outcome is not in the journal yet."""
    reply = spell_outcome(order.order_id, outcome)
    ticket = f", ticket {reply['ticket']}" if reply["ticket"] else ""
    return errors.OutcomeNotRecorded(
        f"{order.order_id} was sent ({reply['status']}{ticket}), and that is not in the journal "
        f"yet: {error} Do not ask for it again: it is recorded with the next order or sync.",
        order=order,
        outcome=reply,
    )


def late_outcomes_text(late: Sequence[Order]) -> str:
    """Return sentences on orders whose outcome was recorded late, or an empty string."""
    sentences = ""
    for order in late:
        ticket = f", ticket {order.ticket}" if order.ticket else ""
        sentences += (
            f" {order.order_id} ({order.action} {format_lots(order.volume)}L) was sent before, and "
            f"is {order.status.value}{ticket}; the book has that only now: look at it, and ask "
            "again if you still want this."
        )
    return sentences


def create_fill_response(
    order_id: str,
    ticket: int | str,
    filled_price: float | str,
    filled_volume: float | str,
    status: str = "FILLED",
    error: str | None = None,
    *,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Return a gateway's answer to an order, in the form that `on_fill` takes.

    `timestamp` is seconds of UTC since 1970. Ticket, price and volume may be numbers of any type,
    or text with digits. A value that is not a number is passed on unchanged, and `on_fill` reports
    the value.
    """
    return {
        "order_id": order_id,
        "ticket": _read(ticket, whole_number),
        "filled_price": _read(filled_price, number_or_text),
        "filled_volume": _read(filled_volume, number_or_text),
        "status": status,
        "error": error,
        "timestamp": (clock or SystemClock()).now_ns() / 1e9,
    }


def _read(value: object, read: Callable[[object], float | None]) -> object:
    found = read(value)
    return value if found is None else found


def repeats(order: Order, event: events.OrderEvent) -> bool:
    """Return whether a repeated answer agrees with the book; log a contradiction."""
    # The event that led to each final status: an answer with the same event is a repetition.
    known: Mapping[OrderStatus, type[events.OrderEvent]] = {
        OrderStatus.FILLED: events.OrderFilled,
        OrderStatus.REJECTED: events.OrderRejected,
        OrderStatus.CANCELED: events.OrderCanceled,
        OrderStatus.IN_DOUBT: events.OrderInDoubt,
    }
    # A fill with another ticket is another execution, not a repetition.
    same_ticket = not isinstance(event, events.OrderFilled) or event.ticket == order.ticket
    if known.get(order.status) is type(event) and same_ticket:
        log.info(
            "[FILL] %s is %s already: ignored",
            order.order_id,
            order.status.value,
            extra={"event": "order.repeated", "order_id": order.order_id},
        )
        return True
    # The first answer stays: a later contradiction must not undo a recorded outcome.
    log.error(
        "[FILL] %s is %s; a later %s contradicts it and is ignored",
        order.order_id,
        order.status.value,
        type(event).__name__,
        extra={"event": "order.contradicted", "order_id": order.order_id},
    )
    return False


def log_fill(order: Order, event: events.OrderEvent) -> None:
    """Log an answer that was recorded."""
    status = order.status.value.lower()
    facts = {"event": f"order.{status}", "order_id": order.order_id, "ticket": order.ticket}
    if isinstance(event, events.OrderFilled):
        log.info(
            "[FILL] CONFIRMED %s: Ticket=%s, Price=%s, Volume=%s",
            order.order_id,
            event.ticket,
            format_price(event.price),
            format_lots(event.volume),
            extra={**facts, "price": event.price, "volume": event.volume, "symbol": order.symbol},
        )
    # Orders that fill nothing now: a pending order was placed, or something was changed or
    # cancelled.
    elif isinstance(event, events.OrderApplied):
        facts = {**facts, "event": f"order.{_applied(order)[0].lower()}"}
        log.info("[FILL] %s %s: %s", *_applied(order), order_words(order), extra=facts)
    else:
        why = order.error or "no reason given"
        log.warning("[FILL] %s: %s - %s", order.status.value, order.order_id, why, extra=facts)


def _applied(order: Order) -> tuple[str, str]:
    """Return the gateway's status word and the name of an order that filled nothing."""
    if order.kind in PENDING_TYPES:
        return "PLACED", f"{order.order_id}, ticket {order.ticket}"
    return "DONE", order.order_id


def log_created(order: Order) -> None:
    """Log an order that is recorded and about to be sent."""
    log.info(
        "[ORDER] Created %s: %s",
        order.order_id,
        order_words(order),
        extra={
            "event": "order.created",
            "order_id": order.order_id,
            "symbol": order.symbol,
            "side": order.action,
            "volume": order.volume,
            "price": order.entry_price,
            "magic": order.magic,
            "key": order.key or None,
            "position": order.position or order.target or None,
        },
    )


def log_sending(order: Order) -> None:
    """Log that an order leaves for the gateway; only a log in JSON has this line."""
    facts = {"event": "order.sending", "order_id": order.order_id}
    log.debug("[ORDER] Sending %s", order.order_id, extra=facts)


def order_words(order: Order) -> str:
    """Return an order as a part of a sentence, such as BUY 0.02L @ market."""
    if order.kind is OrderKind.CANCEL:
        return f"cancel pending order {order.target}"
    if order.kind is OrderKind.CLOSE_BY:
        foreign = f", of which {len(order.foreign)} foreign" if order.foreign else ""
        lots = format_lots(order.volume)
        return f"{lots}L of positions {order.position} and {order.position_by}{foreign}"
    if order.kind is OrderKind.MODIFY_ORDER:
        return (
            f"pending order {order.target} to {format_price(order.entry_price)}, "
            f"SL {format_price(order.sl)}, TP {format_price(order.tp)}"
        )
    if order.kind is OrderKind.MODIFY:
        stops = f"SL {format_price(order.sl)}, TP {format_price(order.tp)}"
        return f"{stops} for {_foreign(order)}position {order.position}"
    at = format_price(order.entry_price) if order.entry_price else "market"
    at += f", then limit {format_price(order.stoplimit)}" if order.stoplimit else ""
    closing = f", closing foreign position {order.position}" if order.is_foreign else ""
    return f"{order.action} {format_lots(order.volume)}L @ {at}{closing}"


def _foreign(order: Order) -> str:
    return "foreign " if order.is_foreign else ""
