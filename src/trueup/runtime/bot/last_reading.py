"""The broker's rows of the last believed reading, for orders about what the book does not have.

A position outside the policy is never in the book, and a new position is not in the book before the
next sync. To close, modify or cancel such a row the order desk needs the broker's own values: the
symbol, the side, the volume and the identifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import PendingOrder, Position, Snapshot
from trueup.core.quantity import FINEST_STEP, add_lots


class LastReading:
    """The positions and pending orders of the last believed reading; empty before the first."""

    def __init__(self) -> None:
        self._positions: Sequence[Position] = ()
        self._orders: Sequence[PendingOrder] = ()
        self._version = 0

    def see(self, snapshot: Snapshot, asked_version: int) -> None:
        """Note a believed reading, and the book's version when the reading was requested."""
        self._positions = snapshot.positions
        self._orders = () if snapshot.evidence is None else snapshot.evidence.orders
        self._version = asked_version

    def position(self, ticket: int, book: Book) -> Position | None:
        """Return the position with this ticket, less the lots that we closed since; else None.

        The lots count because a second close of the same lots would open the opposite position on a
        netting account.
        """
        row = next((row for row in self._positions if row.ticket == ticket), None)
        if row is None:
            return None
        row = with_identifier(row)
        left = add_lots(row.volume, -self._closed_since(row, book))
        return None if left < FINEST_STEP else msgspec.structs.replace(row, volume=left)

    def order(self, ticket: int) -> PendingOrder | None:
        """Return the pending order with this ticket, or None."""
        return next((row for row in self._orders if row.ticket == ticket), None)

    def _closed_since(self, row: Position, book: Book) -> float:
        """Return the lots of a foreign position that our orders closed and the row has still."""
        closed = 0.0
        for order in book.orders.values():
            if order.status is not OrderStatus.FILLED or order.kind is OrderKind.MODIFY:
                continue
            if any(named.identifier == row.identifier for named in order.foreign):
                # A loaded terminal lists a position for some time as it was before the close.
                is_late = 0 < row.time_update_msc < order.server_time_msc
                if order.version > self._version or is_late:
                    closed = add_lots(closed, order.filled_volume or 0.0)
        return closed


def with_identifier(row: Position) -> Position:
    """Return a broker's row with its identifier; a wire without identifiers has the ticket only."""
    return row if row.identifier else msgspec.structs.replace(row, identifier=row.ticket)
