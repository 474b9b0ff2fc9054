"""Both books at any moment of a long journal, without folding the journal for each moment.

A thread folds the journal once, and keeps both books after every so many events. A moment is then
folded from the nearest landmark before it; a moment near the end, from the bot's own checkpoint.
"""

from __future__ import annotations

import bisect
import threading
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

from trueup.errors import JournalError
from trueup.journal import Checkpoint, Record
from trueup.journal.reading.reader import JournalReader
from trueup.journal.rows.codec import LARGEST_NS
from trueup.runtime.story.replay import Replay

EVERY = 25_000
# So many events are folded while somebody waits; it takes about a second.
NEAR = 40_000
BOOKS_KEPT = 4
TOLD, NAP_SEC = 500, 0.002

Opened: TypeAlias = Callable[[], AbstractContextManager[JournalReader]]
"""Opens the journal of a book for a thread of its own."""


class NotYet(JournalError):
    """The journal is being folded for the first time; the message says how far."""


class _Landmark(NamedTuple):
    """Both books after an event, with the hash of the event and the latest time so far (ns)."""

    position: int
    latest_ns: int
    hash: bytes
    books: bytes


class Landmarks:
    """The landmarks of the journals whose past somebody looks at."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], _Book] = {}
        self._turn = threading.Lock()

    def books(
        self, reader: JournalReader, opened: Opened, place: str, *, position: int, at_ns: int
    ) -> Replay:
        """Return both books after the event of a position, or of the moment if that is earlier.

        Args:
            reader: the journal.
            opened: opens the journal once more.
            place: the path or the URL of the journal.
            position: the last event that counts.
            at_ns: the moment (ns of UTC).

        Raises:
            NotYet: the journal is long, and being folded.
            JournalError: the journal cannot be read.
        """
        with self._turn:
            kept = self._of.pop((place, reader.stream), None) or _Book()
            self._of[(place, reader.stream)] = kept
            if len(self._of) > BOOKS_KEPT:
                del self._of[next(iter(self._of))]
        kept.forget_another_journal(reader)
        books = _begun(kept.nearest(position, at_ns), reader, position, at_ns)
        last = min(position, kept.after(books.position) or reader.position)
        if last - books.position > NEAR:
            books = _from_checkpoint(reader, position, at_ns) or books
        if last - books.position > NEAR:
            kept.fold(opened)
            raise NotYet(
                f"The page reads the journal for the first time: {kept.position:,} of {last:,} "
                "events."
            )
        for record in reader.records(books.position):
            if record.position > position or record.at_ns > at_ns:
                break
            books.apply(record)
        return books


class _Book:
    """The landmarks of one stream, and the thread that makes them."""

    def __init__(self) -> None:
        self._landmarks: list[_Landmark] = []
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self.position: int = 0
        """How far the journal has been folded."""

    def forget_another_journal(self, reader: JournalReader) -> None:
        """Drop the landmarks if the journal is not the one that they are of."""
        newest = self._landmarks[-1] if self._landmarks else None
        if newest is not None and reader.hash_at(newest.position) != newest.hash:
            self._landmarks.clear()
            self.position = 0

    def nearest(self, position: int, at_ns: int) -> Replay:
        """Return the books of the last landmark that is not after a position and a moment."""
        for mark in reversed(self._landmarks):
            if mark.position <= position and mark.latest_ns <= at_ns:
                return Replay.restore(zlib.decompress(mark.books))
        return Replay()

    def after(self, position: int) -> int | None:
        """Return the position of the first landmark after a position, None without one."""
        found = bisect.bisect_right(self._landmarks, position, key=lambda mark: mark.position)
        return self._landmarks[found].position if found < len(self._landmarks) else None

    def fold(self, opened: Opened) -> None:
        """Fold the journal in a thread, unless one does so already."""
        with self._turn:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._fold, args=(opened,), name="page-landmarks", daemon=True
                )
                self._thread.start()

    def _fold(self, opened: Opened) -> None:
        newest = self._landmarks[-1] if self._landmarks else None
        books = Replay() if newest is None else Replay.restore(zlib.decompress(newest.books))
        nap = threading.Event()
        try:
            with opened() as reader:
                books = _begun(books, reader)
                for record in reader.records(books.position):
                    books.apply(record)
                    if record.position % TOLD == 0:
                        self.position = record.position
                        # The readers of the live screens go first.
                        nap.wait(NAP_SEC)
                    if record.position % EVERY == 0:
                        self._landmarks.append(_landmark(books, record))
        except JournalError:
            # The next reader is told why, by its own reading.
            return


def _landmark(books: Replay, record: Record) -> _Landmark:
    state = zlib.compress(books.state(), 1)
    return _Landmark(record.position, books.latest_ns or 0, record.hash, state)


def _begun(
    books: Replay, reader: JournalReader, position: int | None = None, at_ns: int = LARGEST_NS
) -> Replay:
    """Return the books, or those from which a fold must start if earlier events are elsewhere."""
    saved = None if books.position else reader.beginning()
    if saved is None:
        return books
    return _of(saved, reader, reader.position if position is None else position, at_ns) or books


def _from_checkpoint(reader: JournalReader, position: int, at_ns: int) -> Replay | None:
    """Return the books of the bot's newest checkpoint, None if it is after the moment."""
    return _of(reader.latest_checkpoint(), reader, position, at_ns)


def _of(
    saved: Checkpoint | None, reader: JournalReader, position: int, at_ns: int
) -> Replay | None:
    if saved is None or saved.position > position:
        return None
    record = _record(reader, saved.position)
    if record is None or record.at_ns > at_ns:
        return None
    return Replay.from_checkpoint(saved, record.at_ns)


def _record(reader: JournalReader, position: int) -> Record | None:
    return next(iter(reader.records(position - 1)), None)
