"""What may be asked for now: the guide's rule, orders in doubt, and restrictions.

Entries are refused where one could double a position or reverse it by mistake. Closing what is
known is never refused, except by an order in doubt on the same side, which may be that very close.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.book import Book, Order
from trueup.core.events import OrderKind
from trueup.core.health import Restriction
from trueup.core.model import Side
from trueup.core.quantity import add_lots, format_lots
from trueup.runtime.views import direction

CHANGES = frozenset({OrderKind.MODIFY, OrderKind.CANCEL})


def why_not(
    side: Side, net: float, book: Book, restrictions: Sequence[Restriction], symbol: str
) -> str:
    """Say why no order of this side passes, or return an empty string.

    `net` is the book's net volume (lots): long refuses a buy, short a sell.
    """
    if net * side.sign > 0:
        return f"while {direction(net)} {format_lots(net)}L"
    for order in _trades_in_doubt(book):
        if order.side is side or net == 0:
            return _in_doubt(order)
    if any(h.position.side is side.opposite for h in book.holdings_in(symbol)):
        return ""
    return _restricted(restrictions, symbol)


def entries_refused(book: Book, restrictions: Sequence[Restriction], symbol: str) -> str:
    """Say why no position may be opened now, or return an empty string."""
    for order in _trades_in_doubt(book):
        return _in_doubt(order)
    return _restricted(restrictions, symbol)


def position_to_reduce(book: Book, side: Side, volume: float, symbol: str) -> int:
    """Return the identifier of the oldest opposite position that `volume` fits in, or 0."""
    for holding in book.holdings_in(symbol):
        position = holding.position
        if position.side is not side and add_lots(position.volume, -volume) >= 0:
            return position.identifier
    return 0


def _trades_in_doubt(book: Book) -> list[Order]:
    return [order for order in book.in_doubt.values() if order.kind not in CHANGES]


def _in_doubt(order: Order) -> str:
    return f"while {order.order_id} is in doubt: {order.error}"


def _restricted(restrictions: Sequence[Restriction], symbol: str) -> str:
    for restriction in restrictions:
        if restriction.symbol in ("", symbol):
            return f"refused: {restriction.reason} (until {restriction.until})"
    return ""
