"""Find orders by the key that their caller gave.

A key names one order of a book, or of a portfolio within the book: two portfolios of an account may
use the same key.
"""

from __future__ import annotations

from trueup.core.book.order import Order
from trueup.core.book.state import BookState


def add_key(book: BookState, order: Order) -> None:
    """Index an order by its key, if it has one."""
    if not order.key:
        return
    before = book.by_key.get(order.key)
    if before is not None and before.order_id != order.order_id:
        book.older_by_key.setdefault(order.key, []).append(before)
    book.by_key[order.key] = order


def drop_key(book: BookState, order: Order) -> None:
    """Remove an order from the index."""
    older = book.older_by_key.get(order.key, [])
    if book.by_key.get(order.key) is not order:
        older[:] = [one for one in older if one is not order]
    elif older:
        book.by_key[order.key] = older.pop()
    else:
        del book.by_key[order.key]
    if not older:
        book.older_by_key.pop(order.key, None)


def with_key(book: BookState, key: str) -> list[Order]:
    """Return the orders with a key, newest first."""
    newest = book.by_key.get(key) if key else None
    return [] if newest is None else [newest, *reversed(book.older_by_key.get(key, []))]
