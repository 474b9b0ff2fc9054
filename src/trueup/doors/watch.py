"""Keep the latest status of every book, and tell those who listen when there is a new one.

A thread gathers. It asks the bots at least once a second while somebody looks, and at once when the
journal has a new event. A bot with a large book takes long to make its answer, and trades meanwhile
nothing, so the thread rests several times as long as that took. A bot that answers late because it
naps between two turns costs nothing, so the work of reading the answer is the measure.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from trueup.core.dates import iso
from trueup.errors import TrueupError
from trueup.observe.status.status import Status, nothing_here
from trueup.runtime.control.gathering import WORST_FIRST, status_left_behind, statuses_of_bots
from trueup.runtime.time.clock import SystemClock
from trueup.sqlite_file import connected

TICK_SEC = 0.02
SEEN_EVERY_SEC = 1.0
UNSEEN_EVERY_SEC = 15.0
# So many times the duration of a gathering pass until the next, at most.
REST = 4
# A bot makes an answer in 2.5 times the work of reading it, at 3,000 positions as at one.
REST_OF_READING = 10
# Older than this, a status is no longer shown as the present.
LATE_SEC = 4.0
HOW_TO_START = "Start a bot with `trueup paper` or `trueup run`."
NO_SUCH_BOOK = "This book is not here, or not any more."
SEE_ACCOUNTS = "Accounts has all books of the folder."


class Place(NamedTuple):
    """The journal of the page: a path or URL, the name of a book, and whether a person named it."""

    journal: str | Path
    stream: str | None = None
    is_given: bool = False

    @property
    def server(self) -> str | None:
        """The URL of the journal's server; None for a file."""
        return str(self.journal) if "://" in str(self.journal) else None


class Seen(NamedTuple):
    """The statuses of one gathering, the worst first.

    `version` counts the gatherings, `at_ns` is the date (ns of UTC), and `trouble` says why a bot
    could not be read. `files` are the journals of all books that were ever shown: a bot that ends
    in order leaves no file that names its journal.
    """

    version: int
    at_ns: int
    statuses: tuple[Status, ...]
    trouble: str = ""
    files: tuple[str, ...] = ()

    def book(self, key: str) -> Status:
        """Return the status of a book by its key, the worst for an empty key.

        A key of no book has a status that says so, and never that of another book: a decision
        would go to a bot that was not shown.
        """
        if not key:
            return self.statuses[0]
        found = next((one for one in self.statuses if key_of(one) == key), None)
        return found or no_such_book(iso(self.at_ns))


def no_such_book(now: str) -> Status:
    """Return the status of a book that no bot and no journal has; `now` is ISO 8601."""
    return msgspec.structs.replace(nothing_here(now, SEE_ACCOUNTS), sentence=NO_SUCH_BOOK)


def name_of_book(status: Status) -> str:
    """Return the name of a book in its journal; for a bot without a journal, its process."""
    return status.stream or (f"process-{status.pid}" if status.pid else "")


def key_of(status: Status) -> str:
    """Return the key by which addresses of the page name a book.

    Journals in different files may have books of the same name.
    """
    return key_in(status.journal_file, name_of_book(status))


def key_in(file: str, name: str) -> str:
    """Return the key of a book by the path of its journal (empty for none) and its name."""
    digest = hashlib.blake2b(file.encode(errors="replace"), digest_size=4).hexdigest()
    return f"{name}-{digest}" if file and name else name


class Watch:
    """Gather the statuses of this folder in a thread.

    Args:
        place: the journal to read if no bot runs.
        note: is told of every gathering, in the thread.
    """

    def __init__(self, place: Place, note: Callable[[Seen], None] | None = None) -> None:
        self.place: Place = place
        self._note = note
        self.book_without_bot: Callable[[str, Seen], Status | None] = lambda *_: None
        """Returns the status of a book that no bot has, by its key."""
        self.leaves_journal_out: bool = False
        """Whether the place is a fleet's, whose thousands of books are not one bot's."""
        self._clock = SystemClock()
        self._gathering = threading.Lock()
        self._seen: Seen | None = None
        self._listeners: set[Callable[[], None]] = set()
        self._wake, self._is_over = threading.Event(), False
        self._files: dict[str, sqlite3.Connection] = {}
        self._known: dict[str, None] = {}
        self._gathered_ns = self._rest_ns = 0
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_over = True
        self._wake.set()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a listener, in the thread, after every gathering."""
        self._listeners.add(listener)
        self._wake.set()

    def forget(self, listener: Callable[[], None]) -> None:
        """Call a listener no more."""
        self._listeners.discard(listener)

    @property
    def is_late(self) -> bool:
        """Whether the latest statuses are too old to be shown as the present."""
        return self._age_sec() > LATE_SEC

    @property
    def newest(self) -> Seen | None:
        """The statuses of the latest gathering, however old; None before the first."""
        return self._seen

    def latest(self) -> Seen:
        """Return the latest statuses, gathered now if they are older than a second."""
        if self._seen is None or self._age_sec() > SEEN_EVERY_SEC:
            with self._gathering:
                if self._seen is None or self._age_sec() > SEEN_EVERY_SEC:
                    self._gather()
        assert self._seen is not None
        return self._seen

    def renew(self) -> None:
        """Gather again before anything is shown, since a person has changed something."""
        # What is being gathered now may have been read before the change.
        with self._gathering:
            self._gathered_ns = 0
        self._wake.set()

    def _age_sec(self) -> float:
        return (self._clock.waiting_ns() - self._gathered_ns) / 1e9

    def _run(self) -> None:
        mark: object = None
        while not self._is_over:
            self._wake.wait(TICK_SEC if self._listeners else UNSEEN_EVERY_SEC)
            self._wake.clear()
            now_mark = self._mark()
            is_due = now_mark != mark or self._age_sec() >= SEEN_EVERY_SEC
            if is_due and self._age_sec() * 1e9 >= self._rest_ns:
                with self._gathering:
                    self._gather()
                mark = now_mark
                for listener in list(self._listeners):
                    listener()

    def _mark(self) -> tuple[int, ...]:
        """Return what changes when a journal of a shown book has a new event."""
        files = {one.journal_file for one in self._seen.statuses} if self._seen else set()
        for gone in set(self._files) - files:
            self._files.pop(gone).close()
        return tuple(self._version_of(file) for file in sorted(files) if file)

    def _version_of(self, file: str) -> int:
        try:
            if file not in self._files:
                uri = f"{Path(file).as_uri()}?mode=ro"
                self._files[file] = connected(uri, 0, uri=True)
            return int(self._files[file].execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            # The gathering says why a journal cannot be read.
            with contextlib.suppress(KeyError):
                self._files.pop(file).close()
            return 0

    def _reads_journal(self, found: Sequence[Status]) -> bool:
        if self.place.stream:
            return True
        return not self.leaves_journal_out and (not found or self.place.is_given)

    def _gather(self) -> None:
        began_ns, now_ns = self._clock.waiting_ns(), self._clock.now_ns()
        worked_ns = time.thread_time_ns()
        found: list[Status] = []
        trouble = ""
        try:
            found += statuses_of_bots(self.place.server)
            if self._reads_journal(found):
                left = status_left_behind(
                    self.place.journal, self.place.stream, found, is_given=self.place.is_given
                )
                found += [] if left is None else [left]
        except TrueupError as error:
            trouble = str(error)
        version = 1 if self._seen is None else self._seen.version + 1
        self._known |= dict.fromkeys(one.journal_file for one in found if one.journal_file)
        shown = worst_first(found, iso(now_ns))
        self._seen = Seen(version, now_ns, shown, trouble, tuple(self._known))
        if self._note is not None:
            self._note(self._seen)
        self._gathered_ns = self._clock.waiting_ns()
        self._rest_ns = rest_after(self._gathered_ns - began_ns, time.thread_time_ns() - worked_ns)


def rest_after(took_ns: int, worked_ns: int) -> int:
    """Return how long to rest after the bots were asked (ns), so that they can trade.

    A bot with a large book takes long to make its answer, and trades nothing meanwhile; one that
    hangs or naps costs nothing.

    Args:
        took_ns: how long the asking took.
        worked_ns: the CPU time of it, which is that of reading the answers.
    """
    return min(REST * took_ns, REST_OF_READING * worked_ns)


def worst_first(found: Sequence[Status], now: str) -> tuple[Status, ...]:
    """Return statuses with the worst first; without any, one that says so."""
    if not found:
        return (nothing_here(now, HOW_TO_START),)
    return tuple(sorted(found, key=lambda one: WORST_FIRST.index(one.state)))


def journals_of(place: Place, statuses: Sequence[Status]) -> list[str | Path]:
    """Return the journals of the shown books, and that of the place if it is there."""
    # Imported here: the first screen needs no journal, nor the time to import it.
    from trueup.journal.backends.location import is_file

    found: dict[str, str | Path] = {one.journal_file: one.journal_file for one in statuses}
    found.pop("", None)
    where = place.journal
    if not is_file(where) or Path(where).exists():
        found.setdefault(str(Path(where).resolve()) if is_file(where) else str(where), where)
    return list(found.values())
