"""Make the rows of the tables from a book."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trueup.core.book.holdings import Holding, Tombstone
from trueup.core.book.order import Order
from trueup.core.book.state import BookState
from trueup.core.deals import Known
from trueup.core.quantity import from_units

Values = dict[str, Any]
"""A row by the names of its columns; a time is nanoseconds of UTC, or milliseconds (server)."""
OPEN, MISSING, CLOSED, UNPROVEN, CARRIED = "open", "missing", "closed", "unproven", "carried"


class Trade(msgspec.Struct):
    """A position, open or closed; the fields are columns of the table of trades."""

    position: int
    symbol: str = ""
    magic: int = 0
    side: str | None = None
    status: str = OPEN
    volume: float | None = None
    price_open: float | None = None
    opened: int | None = None
    closed: int | None = None
    price_close: float | None = None
    reason: str | None = None
    deals: int = 0
    realised_units: int = 0

    def take_holding(self, book: BookState, holding: Holding) -> None:
        """Take the facts of an open position."""
        row = holding.position
        self.symbol, self.magic, self.side = row.symbol, book.strategy_of(holding), row.side.action
        self.status = MISSING if row.identifier in book.missing else OPEN
        self.volume, self.price_open = row.volume, row.price_open
        self.closed, self.deals = None, len(holding.deals)

    def take_tombstone(self, gone: Tombstone) -> None:
        """Take what the book keeps of a closed position."""
        self.status = UNPROVEN if self.status == UNPROVEN else CLOSED
        self.deals = len(gone.deals)
        if gone.owner[0]:
            self.symbol, self.magic = gone.owner

    def values(self) -> Values:
        """Return the row."""
        return {**msgspec.structs.asdict(self), "realised": from_units(self.realised_units)}


def order_values(order: Order) -> Values:
    """Return the row of an order."""
    return {
        "order_id": order.order_id,
        "created": order.entry_ns,
        "symbol": order.symbol,
        "magic": order.magic,
        "side": order.action,
        "kind": order.kind.value,
        "volume": order.volume or None,
        "price": order.entry_price or None,
        "stoplimit": order.stoplimit or None,
        "sl": order.sl or None,
        "tp": order.tp or None,
        "closes": order.position or None,
        "target": order.target or None,
        "order_key": order.key or None,
        "why": order.why or None,
        "asked_by": order.by or None,
        "comment": order.comment or None,
        "status": order.status.value,
        "ticket": order.ticket or None,
        "done": order.fill_ns,
        "fill_price": order.fill_price,
        "filled": order.filled_volume,
        "error": order.error,
    }


def deal_values(position: int, owner: Mapping[str, Any], known: Known) -> Iterator[Values]:
    """Yield the rows of the counted deals of a position."""
    for deal in known.booked:
        yield {
            **owner,
            "position": position,
            "deal": deal.ticket,
            "time": deal.time_msc or None,
            "order_ticket": deal.order or None,
            "lots": from_units(deal.lots),
            "money": from_units(deal.money),
            "money_units": deal.money,
        }
    # An older release kept the tickets alone.
    for ticket in sorted(set(known.tickets) - {deal.ticket for deal in known.booked}):
        yield {**owner, "position": position, "deal": ticket}
