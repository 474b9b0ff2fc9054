"""The book: what we believe we hold, as the fold of the journal's events.

`Book.apply` is the only thing that changes a book; what each event does is `core.book.fold`.
Positions are keyed by identifier; marks (current price, profit, swap) are the broker's latest
quotation of a position and no part of the fold, so they are set beside it and left out of
`Book.state`.
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
    """A book that takes events; its state is described in `BookState`."""

    def apply(self, event: events.Event) -> None:
        """Take one event into the book.

        Raises:
            IllegalTransition: the event does not fit the state of the order it speaks of.
        """
        self.version += 1
        FOLD[type(event)](self, event)

    def replay(self, history: Iterable[events.Event]) -> Book:
        """Apply every event of a journal, oldest first, and return the book."""
        for event in history:
            self.apply(event)
        return self

    def state(self) -> bytes:
        """Return the whole fold as bytes: equal books give equal bytes, marks left out."""
        return saved(self)

    @classmethod
    def restore(cls, state: bytes) -> Book:
        """Return the book that `state` came from.

        Raises:
            JournalCorrupt: the bytes are no book's.
        """
        book = cls()
        fill_from(book, state)
        return book
