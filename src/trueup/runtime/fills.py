"""A gateway's answer to an order: what it says, and whether it can be believed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from trueup.core import events
from trueup.core.book import Order
from trueup.core.events import OrderKind
from trueup.core.lifecycle import OrderStatus
from trueup.core.quantity import add_lots, format_lots, format_price, is_number, is_price, is_volume
from trueup.runtime.clock import Clock, SystemClock

log = logging.getLogger("trueup.portfolio")


def create_fill_response(
    order_id: str,
    ticket: int,
    filled_price: float,
    filled_volume: float,
    status: str = "FILLED",
    error: str | None = None,
    *,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Return a gateway's answer to an order, as `on_fill` takes it; `timestamp` is seconds, UTC."""
    return {
        "order_id": order_id,
        "ticket": ticket,
        "filled_price": filled_price,
        "filled_volume": filled_volume,
        "status": status,
        "error": error,
        "timestamp": (clock or SystemClock()).now_ns() / 1e9,
    }


def text_of(value: object) -> str:
    """Return a value as text that a journal can keep, empty for nothing."""
    return str(value or "").encode(errors="replace").decode()


def fill_event(order: Order, fill: Mapping[str, Any], now_ns: int) -> events.OrderEvent:
    """Return what an answer says happened to an order.

    A fill that does not say what was filled is no fill: it leaves the order in doubt.
    """
    status = str(fill.get("status", "")).upper()
    ticket = fill.get("ticket")
    if status in ("PLACED", "DONE") and order.kind is not OrderKind.MARKET:
        placed = ticket if isinstance(ticket, int) and 0 < ticket < 2**64 else 0
        if order.kind in (OrderKind.LIMIT, OrderKind.STOP) and not placed:
            return _in_doubt(order, now_ns, f"PLACED with ticket {ticket!r}, which is no ticket")
        return events.OrderApplied(at_ns=now_ns, order_id=order.order_id, ticket=placed)
    error = text_of(fill.get("error"))
    if status == "REJECTED":
        return events.OrderRejected(
            at_ns=now_ns, order_id=order.order_id, error=error or "no reason given"
        )
    if status in ("CANCELED", "CANCELLED"):
        return events.OrderCanceled(
            at_ns=now_ns, order_id=order.order_id, because=error or "canceled"
        )
    if status != "FILLED":
        why = error or f"the answer's status is {fill.get('status')!r}"
        return _in_doubt(order, now_ns, why)
    price = fill.get("filled_price")
    volume = fill.get("filled_volume", order.volume)
    if isinstance(ticket, bool) or not isinstance(ticket, int) or not 0 < ticket < 2**64:
        return _in_doubt(order, now_ns, f"FILLED with ticket {ticket!r}, which is no ticket")
    if not is_number(price) or not is_price(price):
        return _in_doubt(order, now_ns, f"FILLED at price {price!r}, which is no price")
    if not is_number(volume) or not is_volume(volume):
        return _in_doubt(order, now_ns, f"FILLED with volume {volume!r}, which is no volume")
    if add_lots(volume, -order.volume) > 0:
        why = f"FILLED with {volume!r} lots, more than the {order.volume} asked for"
        return _in_doubt(order, now_ns, why)
    return events.OrderFilled(
        at_ns=now_ns,
        order_id=order.order_id,
        ticket=ticket,
        symbol=order.symbol,
        side=order.side,
        volume=float(volume),
        price=float(price),
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
