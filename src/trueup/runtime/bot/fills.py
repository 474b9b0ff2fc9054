"""A gateway's answer to an order: what it says, and whether it can be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trueup.core.book import events
from trueup.core.book.book import Order
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.conversions import number_or_text, whole_number
from trueup.core.quantity import add_lots, format_lots, format_price, is_price, is_volume
from trueup.logs import logger
from trueup.protocol.text import brief
from trueup.runtime.time.clock import Clock, SystemClock

# What a broker says is kept in the journal, and told in one line.
ERROR_LONGEST = 500

log = logger("trueup.portfolio")


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
    """Return a gateway's answer to an order, as `on_fill` takes it; `timestamp` is seconds, UTC.

    Ticket, price and volume may be numbers of any kind, or their digits as text; what is no number
    is left as it is, and `on_fill` says so.
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


def fill_event(order: Order, fill: Mapping[str, Any], now_ns: int) -> events.OrderEvent:
    """Return what an answer says happened to an order.

    A fill that does not say what was filled is no fill: it leaves the order in doubt.
    """
    status = str(fill.get("status", "")).upper()
    named = fill.get("ticket")
    ticket = whole_number(named) or 0
    if status in ("PLACED", "DONE") and order.kind is not OrderKind.MARKET:
        placed = ticket if 0 < ticket < 2**64 else 0
        if order.kind in (OrderKind.LIMIT, OrderKind.STOP) and not placed:
            return _in_doubt(order, now_ns, f"PLACED with ticket {named!r:.40}, which is no ticket")
        return events.OrderApplied(at_ns=now_ns, order_id=order.order_id, ticket=placed)
    error = brief(fill.get("error") or "", ERROR_LONGEST)
    if status == "REJECTED":
        return events.OrderRejected(
            at_ns=now_ns, order_id=order.order_id, error=error or "no reason given"
        )
    if status in ("CANCELED", "CANCELLED"):
        return events.OrderCanceled(
            at_ns=now_ns, order_id=order.order_id, because=error or "canceled"
        )
    if status != "FILLED":
        why = error or f"the answer's status is {fill.get('status')!r:.40}"
        return _in_doubt(order, now_ns, why)
    told_price, told_volume = fill.get("filled_price"), fill.get("filled_volume", order.volume)
    price, volume = number_or_text(told_price), number_or_text(told_volume)
    if not 0 < ticket < 2**64:
        return _in_doubt(order, now_ns, f"FILLED with ticket {named!r:.40}, which is no ticket")
    if price is None or not is_price(price):
        return _in_doubt(order, now_ns, f"FILLED at price {told_price!r:.40}, which is no price")
    if volume is None or not is_volume(volume):
        why = f"FILLED with volume {told_volume!r:.40}, which is no volume"
        return _in_doubt(order, now_ns, why)
    if add_lots(volume, -order.volume) > 0:
        why = f"FILLED with {volume!r} lots, more than the {order.volume} asked for"
        return _in_doubt(order, now_ns, why)
    return events.OrderFilled(
        at_ns=now_ns,
        order_id=order.order_id,
        ticket=ticket,
        symbol=order.symbol,
        side=order.side,
        volume=volume,
        price=price,
    )


def _in_doubt(order: Order, now_ns: int, why: str) -> events.OrderInDoubt:
    return events.OrderInDoubt(at_ns=now_ns, order_id=order.order_id, error=why)


def unreadable_answer(order: Order, now_ns: int) -> events.OrderInDoubt:
    """Return what is left of an answer that a journal cannot keep."""
    return _in_doubt(order, now_ns, "the gateway's answer cannot be recorded as it is")


def repeats(order: Order, event: events.OrderEvent) -> bool:
    """Return whether an answer that comes again says what the book already knows."""
    known: Mapping[OrderStatus, type[events.OrderEvent]] = {
        OrderStatus.FILLED: events.OrderFilled,
        OrderStatus.REJECTED: events.OrderRejected,
        OrderStatus.CANCELED: events.OrderCanceled,
        OrderStatus.IN_DOUBT: events.OrderInDoubt,
    }
    same_ticket = not isinstance(event, events.OrderFilled) or event.ticket == order.ticket
    if known.get(order.status) is type(event) and same_ticket:
        log.info("[FILL] %s is %s already: ignored", order.order_id, order.status.value)
        return True
    log.error(
        "[FILL] %s is %s; a later %s contradicts it and is ignored",
        order.order_id,
        order.status.value,
        type(event).__name__,
    )
    return False


def log_fill(order: Order, event: events.OrderEvent) -> None:
    """Write the log line of an answer that was taken."""
    if isinstance(event, events.OrderFilled):
        log.info(
            "[FILL] CONFIRMED %s: Ticket=%s, Price=%s, Volume=%s",
            order.order_id,
            event.ticket,
            format_price(event.price),
            format_lots(event.volume),
        )
    elif isinstance(event, events.OrderApplied):
        log.info("[FILL] %s %s: %s", *_applied(order), _wanted(order))
    else:
        why = order.error or "no reason given"
        log.warning("[FILL] %s: %s - %s", order.status.value, order.order_id, why)


def _applied(order: Order) -> tuple[str, str]:
    """Return the gateway's word for an order that works now or changed something, and its name."""
    if order.kind in (OrderKind.LIMIT, OrderKind.STOP):
        return "PLACED", f"{order.order_id}, ticket {order.ticket}"
    return "DONE", order.order_id


def log_created(order: Order) -> None:
    """Write the log line of an order that is recorded and about to leave."""
    log.info("[ORDER] Created %s: %s", order.order_id, _wanted(order))


def _wanted(order: Order) -> str:
    if order.kind is OrderKind.CANCEL:
        return f"cancel pending order {order.target}"
    if order.kind is OrderKind.MODIFY:
        stops = f"SL {format_price(order.sl)}, TP {format_price(order.tp)}"
        return f"{stops} for position {order.position}"
    at = format_price(order.entry_price) if order.entry_price else "market"
    return f"{order.action} {format_lots(order.volume)}L @ {at}"
