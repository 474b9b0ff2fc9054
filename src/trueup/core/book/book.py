"""The book: our positions and orders, computed as the fold of the journal's events.

Only `Book.apply` changes a book; `core.book.fold` has the change for each event. Positions are
keyed by identifier. Marks (current price, profit, swap) are the broker's latest quotation of a
position. They do not belong to the fold, so other code sets them, and `Book.state` leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.core.book.fold import FOLD
from trueup.core.book.holdings import Holding, Pending, Tombstone
from trueup.core.book.order import Order
from trueup.core.book.saved import fill_from, saved
from trueup.core.book.state import BookState

__all__ = ["Book", "Holding", "Order", "Pending", "Tombstone"]


class Book(BookState):
    """A book to which events are applied; `BookState` describes its attributes."""

    version: int

    def apply(self, event: events.Event) -> None:
        """Apply an event to the book.

        Raises:
            IllegalTransition: the event is not allowed in the state of its order.
        """
        self.version += 1
        FOLD[type(event)](self, event)

    def replay(self, history: Iterable[events.Event]) -> Book:
        """Apply every event of a journal, oldest first, and return the book."""
        for event in history:
            self.apply(event)
        return self

    def state(self) -> bytes:
        """Return the whole fold as bytes, without marks: equal books give equal bytes."""
        return saved(self)

    @classmethod
    def restore(cls, state: bytes) -> Book:
        """Return the book that was saved as `state`.

        Raises:
            JournalCorrupt: the bytes are not a saved book.
        """
        book = cls()
        fill_from(book, state)
        return book
