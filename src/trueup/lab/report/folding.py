"""The product's own fold, for a checker that may not import the product's core."""

from __future__ import annotations

from trueup.core.book.book import Book
from trueup.journal.rows import codec


class BookFold:
    """A book made from journal rows and nothing else."""

    def __init__(self) -> None:
        self._book = Book()

    def take(self, kind: str, payload: bytes) -> None:
        """Apply a row."""
        self._book.apply(codec.decode(self._book.version + 1, kind, payload))

    def state(self) -> bytes:
        """Return the whole book as bytes."""
        return self._book.state()
