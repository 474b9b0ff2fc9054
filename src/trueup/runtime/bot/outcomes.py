"""What became of orders whose outcome is not in the journal yet.

An order that is about to leave is noted here, with the outcome that an interruption at this very
moment would leave it with. So whatever comes between two steps (a full disk, Ctrl-C), the order is
not forgotten: its outcome is recorded with the next order or sync.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trueup.core.book import events
from trueup.core.book.order import Order
from trueup.journal import JournalAhead

NEVER_LEFT = "case B: it never left"
# Recorded where nothing better came: the recording failed, or the process was interrupted.
UNSENT: Mapping[str, Any] = {"status": "CANCELED", "error": NEVER_LEFT}
UNANSWERED: Mapping[str, Any] = {
    "status": "UNKNOWN",
    "error": "it was interrupted while it was sent",
}


class OwedOutcomes:
    """Outcomes by order id, oldest first.

    Args:
        take: takes an answer to an order into journal and book, as `PortfolioManager.on_fill`.
        orders: returns the book's orders by id.
    """

    def __init__(
        self,
        take: Callable[[Mapping[str, Any]], object],
        orders: Callable[[], Mapping[str, Order]],
    ) -> None:
        self._take, self._orders = take, orders
        self._owed: dict[str, Mapping[str, Any]] = {}
        self._unreturned: Order | None = None

    def note(self, order_id: str, outcome: Mapping[str, Any]) -> None:
        """Note what is known of an order's outcome by now."""
        self._owed[order_id] = outcome

    def leaves(self, order: Order) -> None:
        """Note that an order is about to leave, and that its caller is to be given it."""
        self._unreturned = order
        self.note(order.order_id, UNANSWERED)

    def returned(self) -> None:
        """Note that the caller has it, or has the book since a sync."""
        self._unreturned = None

    def late(self) -> list[Order]:
        """Record every outcome that is owed; return the orders that had left without their caller.

        Raises:
            JournalError: the journal refuses them still.
        """
        left = self.record()
        if self._unreturned is not None and self._unreturned not in left:
            left.append(self._unreturned)
        self._unreturned = None
        return left

    def note_found(self, found: Sequence[events.Event]) -> None:
        """Note intents that were journalled by an append that had seemed to fail: none left."""
        for event in found:
            if isinstance(event, events.OrderCreated):
                self._owed.setdefault(event.order_id, UNSENT)

    def of(self, order_id: str) -> Mapping[str, Any] | None:
        """Return the outcome that is owed of an order, or None."""
        return self._owed.get(order_id)

    @property
    def first(self) -> str:
        """The id of an order whose outcome is owed, or an empty string."""
        return next(iter(self._owed), "")

    def record(self) -> list[Order]:
        """Record every outcome that is owed; return the orders among them that had left.

        Raises:
            JournalError: the journal refuses them still.
        """
        left = []
        for order_id, outcome in list(self._owed.items()):
            try:
                self._take({**outcome, "order_id": order_id})
            except JournalAhead:
                # The book has what an earlier append wrote, this very outcome perhaps.
                self._take({**outcome, "order_id": order_id})
            del self._owed[order_id]
            order = self._orders().get(order_id)
            if outcome is not UNSENT and order is not None:
                left.append(order)
        return left
