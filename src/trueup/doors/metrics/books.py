"""The statuses of all books of a folder, also of books whose bot has ended since they were seen."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trueup.doors.metrics.counting import Key, journal_name
from trueup.doors.watch import Place, Watch, journals_of, name_of_book
from trueup.errors import JournalError, SettingsError
from trueup.journal.backends.location import database_at
from trueup.journal.reading.reader import JournalReader
from trueup.observe.status.facts import Fate
from trueup.observe.status.status import State, Status
from trueup.runtime.control.last_known import by_journal
from trueup.runtime.time.clock import SystemClock


class Books(NamedTuple):
    """What one question to all bots and journals told; `at_ns` is by the clock for waiting."""

    at_ns: int
    statuses: tuple[Status, ...]
    journals: tuple[str | Path, ...]
    trouble: str = ""


class BookKeeper:
    """Asks for the statuses of all books.

    A bot that ends in order leaves no file, and `trueup status` tells its book no more while other
    bots run. An alert would take that for the all-clear, so a book that was seen once stays.

    Args:
        place: the journal to read if no bot runs.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._watch = Watch(place)
        self._clock = SystemClock()
        self._known: dict[Key, Status] = {}
        self.latest: Books | None = None

    @property
    def age_sec(self) -> float | None:
        """How long ago the latest books were asked for, in seconds; None before the first."""
        if self.latest is None:
            return None
        return (self._clock.waiting_ns() - self.latest.at_ns) / 1e9

    def gather(self) -> None:
        """Ask all bots and journals."""
        began_ns = self._clock.waiting_ns()
        # Now, and not what the watch found within the last second.
        self._watch.renew()
        seen = self._watch.latest()
        told = {name_of(one): one for one in reversed(seen.statuses)}
        # If a bot cannot be read, those after it were not asked: their books are not known now.
        gone = () if seen.trouble else tuple(self._known.keys() - told.keys())
        left = (self._left(key, self._known[key]) for key in gone)
        statuses = [*told.values(), *(one for one in left if one is not None)]
        if len(statuses) > 1 or seen.trouble:
            statuses = [one for one in statuses if one.state is not State.NOTHING]
        known = {name_of(one): one for one in statuses if one.stream}
        self._known = {**self._known, **known} if seen.trouble else known
        journals = tuple(journals_of(self._place, statuses))
        self.latest = Books(began_ns, tuple(statuses), journals, seen.trouble)

    def _left(self, key: Key, earlier: Status) -> Status | None:
        """Return the status of a book that no bot of this folder has; None if it is elsewhere."""
        place = earlier.journal_file or self._place.journal
        if _is_elsewhere(place, key[1]):
            return None
        fate = Fate(symbol=earlier.symbol, started=earlier.started, asked=earlier.checked)
        try:
            return by_journal(place, earlier.stream, self._clock.now_ns(), fate)
        except SettingsError:
            # Another journal is in its place, without this book.
            return None


def name_of(status: Status) -> Key:
    """Return the name of a book in labels: that of its journal, and its own."""
    file = status.journal_file
    return journal_name(file) if file else status.journal, name_of_book(status)


def _is_elsewhere(place: str | Path, stream: str) -> bool:
    """Return whether another stream has the book now, or a bot of another folder."""
    try:
        database = database_at(place, read_only=True)
        database.connect()
        try:
            return bool(JournalReader(database, stream).successor) or database.is_held(stream)
        finally:
            database.close()
    except JournalError:
        # The status of the book says so.
        return False
