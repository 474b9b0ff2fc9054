"""Read what happened to a book from its journal, from where the last reading ended.

So trouble that began and ended while the alerts did not run is told, too. Only what the journal
itself knows can be told later: orders in doubt, proposals, positions that left the broker's list,
halts, and a lost end of the journal.
"""

from __future__ import annotations

from pathlib import Path

from trueup.core.book.book import Book
from trueup.core.book.proposals import waiting
from trueup.doors.alerts.conditions import Observation
from trueup.errors import JournalError
from trueup.journal import open_reader
from trueup.journal.reading.reader import JournalReader
from trueup.observe.status.making import findings_of_journal
from trueup.runtime.control.last_known import holds_of

KNOWN = frozenset({"doubt", "proposed", "hold missing", "hold halt", "hold loss"})


class History:
    """The events of a book.

    Args:
        place: the journal.
        stream: the name of the book in the journal.
        position: the position of the last event that was read; None to begin at the end.
    """

    def __init__(self, place: str | Path, stream: str, position: int | None) -> None:
        self._place, self._stream = place, stream
        self.position: int | None = position
        """The position of the last event that was read; None before the first reading."""
        self._reader: JournalReader | None = None
        self._book = Book()
        self._shape: tuple[object, ...] = ()

    def news(self, book: str) -> list[Observation]:
        """Return an observation for each change since the last reading.

        Args:
            book: the name of the book, for people.

        Raises:
            JournalError: the journal cannot be read; the next reading begins at the same event.
        """
        try:
            return self._news(book)
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Close the journal; the next reading opens it again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _news(self, book: str) -> list[Observation]:
        if self._reader is not None and self._reader.position < (self.position or 0):
            # The journal was restored to an earlier state.
            self.close()
        if self._reader is None:
            reader = open_reader(self._place, self._stream)
            try:
                self._begin(reader)
            except JournalError:
                reader.close()
                raise
            self._reader = reader
        seen: list[Observation] = []
        for record in self._reader.records(self.position or 0):
            self._book.apply(record.event)
            self.position = record.position
            shape = _shape(self._book)
            if shape != self._shape:
                self._shape = shape
                rows = findings_of_journal(self._book, list(holds_of(self._book)), record.at_ns)
                by_kind = {row.kind: row for row in rows if row.kind in KNOWN}
                seen.append(Observation(book, record.at_ns, by_kind, KNOWN, is_dated=True))
        return seen

    def _begin(self, reader: JournalReader) -> None:
        """Fold the book up to the position, from the newest checkpoint that is not after it."""
        end = reader.position
        # A journal that was restored may end before the position.
        position = end if self.position is None else min(self.position, end)
        saved, begin = reader.latest_checkpoint(), reader.beginning()
        if begin is not None and position < begin.position:
            # The events in between are in an archive that is elsewhere.
            saved, position = begin, begin.position
        is_before = saved is not None and saved.position <= position
        book, after = Book(), 0
        if saved is not None and is_before:
            book, after = Book.restore(saved.state), saved.position
        if after < position:
            for record in reader.records(after):
                if record.position > position:
                    break
                book.apply(record.event)
        self._book, self._shape, self.position = book, _shape(book), position


def _shape(book: Book) -> tuple[object, ...]:
    """Return what changes when the journal knows of something else that is not well."""
    return (
        tuple(book.in_doubt),
        tuple(book.missing),
        tuple(book.halts),
        book.loss is None,
        len(waiting(book.proposals)),
    )
