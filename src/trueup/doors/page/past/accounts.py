"""All books of a folder and of its journals, the worst first, one sentence each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trueup.doors.page.words import label_of
from trueup.doors.watch import Place, Seen, journals_of, key_in, key_of
from trueup.errors import JournalError
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.overview import StreamOverview, overview
from trueup.observe.status.status import State, Status
from trueup.runtime.control.gathering import WORST_FIRST
from trueup.runtime.control.last_known import by_journal
from trueup.runtime.time.clock import SystemClock

# Books without a bot change seldom, and each is folded from its journal.
KEPT_SEC = 10.0
BOOKS_MOST = 1_000
ELSEWHERE = "elsewhere"
ORDER = [*(state.value for state in WORST_FIRST), ELSEWHERE]


class BookLine(NamedTuple):
    """A book in the list: its key, label, state and sentence; `status` is None elsewhere."""

    key: str
    label: str
    state: str
    sentence: str
    status: Status | None = None


class Accounts:
    """List the books; those without a bot are read again after some seconds.

    Args:
        place: the journal of the page.
        is_fleet: whether that is a fleet's now, whose thousands of books have a list of their own.
    """

    def __init__(self, place: Place, is_fleet: Callable[[], bool] = lambda: False) -> None:
        self._place, self._is_fleet = place, is_fleet
        self._clock = SystemClock()
        self._turn = threading.Lock()
        self._read: list[BookLine] = []
        self._read_ns: int | None = None
        self._read_beside: set[str] = set()

    def lines(self, seen: Seen) -> list[BookLine]:
        """Return all books, the worst first."""
        told = [_line(one) for one in seen.statuses if one.state is not State.NOTHING]
        known = {line.key for line in told}
        with self._turn:
            now_ns = self._clock.waiting_ns()
            is_old = self._read_ns is None or now_ns - self._read_ns > KEPT_SEC * 1e9
            # The book of a bot that has ended since is shown at once.
            if is_old or self._read_beside != known:
                self._read = self._of_journals(seen)
                self._read_beside = known
                self._read_ns = self._clock.waiting_ns()
        rest = (line for line in self._read if line.key not in known)
        return sorted([*told, *rest], key=lambda line: ORDER.index(line.state))

    def status(self, key: str, seen: Seen) -> Status | None:
        """Return the status of a book by its key; None for an unknown book, or one elsewhere."""
        return next((line.status for line in self.lines(seen) if line.key == key), None)

    def _of_journals(self, seen: Seen) -> list[BookLine]:
        """Return the books that no bot of this folder told."""
        told = {key_of(one) for one in seen.statuses}
        places = journals_of(self._place, seen.statuses)
        if self._is_fleet():
            places = [place for place in places if str(place) != self._place.server]
        places += [file for file in seen.files if file not in map(_file_of, places)]
        return [line for place in places for line in self._of_journal(place, told)]

    def _of_journal(self, place: str | Path, told: set[str]) -> list[BookLine]:
        file = _file_of(place)
        try:
            streams = [row for row in overview(place).streams if key_in(file, row.name) not in told]
        except JournalError:
            # The status of the folder says so.
            return []
        going_on = [row for row in streams if not row.successor][:BOOKS_MOST]
        return [self._of_stream(place, row) for row in going_on]

    def _of_stream(self, place: str | Path, row: StreamOverview) -> BookLine:
        database = database_at(place, read_only=True)
        database.connect()
        try:
            is_held = database.is_held(row.name)
        finally:
            database.close()
        if is_held:
            sentence = f"{row.holder} writes this book: the page of its own folder tells its state."
            return BookLine(key_in(_file_of(place), row.name), row.name, ELSEWHERE, sentence)
        return _line(by_journal(place, row.name, self._clock.now_ns()))


def counts(lines: list[BookLine]) -> list[tuple[str, int]]:
    """Return how many books are in each state, in the order of the list."""
    return list(Counter(line.state.replace("_", " ") for line in lines).items())


def _line(status: Status) -> BookLine:
    key = key_of(status)
    return BookLine(key, label_of(status), status.state.value, status.sentence, status)


def _file_of(place: str | Path) -> str:
    """Return the path of a journal as a status has it, empty for one on a server."""
    return str(Path(place).resolve()) if is_file(place) else ""
