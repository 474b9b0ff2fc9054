"""Count the events of all books of a folder, with a cursor: each event is read once.

The first pass reads a journal from its first event; a later pass reads what is new. A book's
counters are shown once its first pass has ended, because a counter that is still being made up
would look like a burst of orders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from trueup.doors.metrics.tally import Tally
from trueup.errors import JournalError
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.database.database import Database
from trueup.journal.database.migrate import require_current
from trueup.journal.overview import size_on_disk
from trueup.journal.reading.reader import JournalReader
from trueup.runtime.control.state_files import short_path

Key = tuple[str, str]
"""A book: the name of its journal, and its own."""
# Events between two notes of how far the first pass is.
NOTED_EVERY = 2_000


class JournalCounts(NamedTuple):
    """A journal: whether it could be read, why not, and its size in bytes (None for a server)."""

    name: str
    trouble: str = ""
    size: int | None = None


def journal_name(place: str | Path) -> str:
    """Return the name of a journal in labels: a short path, or a database without its password."""
    if is_file(place):
        return short_path(Path(place).resolve()).as_posix()
    return database_at(place).name


class Counting:
    """The counters of all books, as far as their journals were read."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}
        self.books: Mapping[Key, Tally] = {}
        """The counters to show: copies, which no pass changes."""
        self.journals: tuple[JournalCounts, ...] = ()
        """The journals of the latest pass."""
        self.unread: dict[Key, int] = {}
        """The events of each book that are not counted yet."""

    def read(self, places: Iterable[str | Path], books: Collection[Key]) -> None:
        """Count the new events of books.

        Args:
            places: the journals.
            books: the books to count; the counters of others are forgotten.
        """
        # By name: two bots may call the same file by two paths.
        named = {journal_name(place): place for place in places}
        journals = []
        for name, place in named.items():
            # What was counted is still true of the past, and the journal may come back.
            trouble = self._read_journal(place, [key for key in books if key[0] == name])
            journals.append(JournalCounts(name, trouble, size_on_disk(place)))
        for gone in set(self._tallies) - set(books):
            del self._tallies[gone]
            self.unread.pop(gone, None)
        self.books = {key: one.copy() for key, one in self._tallies.items() if one.is_whole}
        self.journals = tuple(journals)

    def _read_journal(self, place: str | Path, books: Collection[Key]) -> str:
        """Count the new events of the books of a journal; return what could not be read."""
        troubles = []
        try:
            database = database_at(place, read_only=True)
            database.connect()
            try:
                require_current(database)
                for key in books:
                    # A damaged book keeps no other from being counted.
                    try:
                        self._read_book(database, key)
                    except JournalError as error:
                        troubles.append(str(error))
            finally:
                database.close()
        except JournalError as error:
            troubles.append(str(error))
        return " ".join(troubles)

    def _read_book(self, database: Database, key: Key) -> None:
        reader = JournalReader(database, key[1])
        end = reader.position
        tally = self._tallies.get(key)
        if tally is None or not _goes_on(reader, tally, end):
            tally = self._tallies[key] = Tally()
            # What is in archives that are elsewhere cannot be counted: the counters begin after it.
            tally.position = reader.readable_after
        self.unread[key] = max(0, end - tally.position)
        for record in reader.records(tally.position):
            tally.take(record)
            if record.position % NOTED_EVERY == 0:
                self.unread[key] = max(0, end - record.position)
        tally.is_whole = True
        self.unread[key] = 0


def _goes_on(reader: JournalReader, tally: Tally, end: int) -> bool:
    """Return whether the stream still has the event at which the counting stopped."""
    if tally.position == 0:
        return True
    if end < tally.position:
        return False
    return reader.hash_at(tally.position) == tally.hash
