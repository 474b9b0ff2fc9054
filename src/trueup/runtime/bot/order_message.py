"""The fields of an order on the wire, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind


def message_of(order: Order, book: Book, sender: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order as a message for the gateway.

    Args:
        order: the order; it has the identifiers of positions, the message their present tickets.
        book: the book of the order.
        sender: the fields that name the account and the book.
    """
    message: dict[str, Any] = {
        "order_id": order.order_id,
        "symbol": order.symbol,
        "action": order.action,
        "comment": order.token,
        "magic": order.wire_magic,
    }
    if order.foreign:
        # Kept in the gateway's record, for a book that has lost its journal.
        message["foreign"] = True
    return {**message, **sender, **_fields_of(order, book)}


def _fields_of(order: Order, book: Book) -> dict[str, Any]:
    ticket = ticket_of_position(book, order, order.position)
    match order.kind:
        case OrderKind.CANCEL:
            return {"action": "CANCEL", "order": order.target}
        case OrderKind.CLOSE_BY:
            return {
                "action": "CLOSE_BY",
                "position": ticket,
                "position_by": ticket_of_position(book, order, order.position_by),
                "volume": order.volume,
            }
        case OrderKind.MODIFY_ORDER:
            return {
                "action": "MODIFY_ORDER",
                "order": order.target,
                "price": order.entry_price,
                "stoplimit": order.stoplimit,
                "sl": order.sl,
                "tp": order.tp,
                **order.terms.wire,
            }
        case OrderKind.MODIFY:
            return {"action": "MODIFY", "position": ticket, "sl": order.sl, "tp": order.tp}
        case _:
            # A market order has a price only if the caller gave one.
            price = {"price": order.entry_price} if order.entry_price else {}
            if order.stoplimit:
                price["stoplimit"] = order.stoplimit
            return {
                **price,
                "type": order.kind.value,
                "volume": order.volume,
                "position": ticket,
                "sl": order.sl,
                "tp": order.tp,
                "confidence": 1.0,
                **order.terms.wire,
            }


def ticket_to_close(book: Book, order: Order) -> int:
    """Return the ticket to name in an order that closes a position; 0 for an entry."""
    return ticket_of_position(book, order, order.position)


def ticket_of_position(book: Book, order: Order, identifier: int) -> int:
    """Return the present ticket of a position that an order names by its identifier."""
    holding = book.holdings.get(identifier)
    if holding is not None:
        return holding.position.ticket
    rows = (row for row in order.foreign if row.identifier == identifier)
    return next((row.ticket for row in rows), identifier)
