"""A book and its journal: every event is journalled first, then taken into the book.

A checkpoint saves the whole book now and then, so that a restart replays only what came after it.
One that cannot be read is no loss: the journal has everything, and is replayed from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.outcome import after_restart
from trueup.errors import JournalConflict, JournalCorrupt, JournalError, NotEncodable
from trueup.journal import Journal, JournalAhead, open_journal
from trueup.logs import Logger, logger
from trueup.runtime.bot.crash_points import CrashPoint, carry_on
from trueup.runtime.time.clock import Clock
from trueup.runtime.time.times import Times
from trueup.turns import Turn

log: Logger = logger("trueup.journal")

# Replaying an event costs a few microseconds, so a restart never replays more than a tenth of a
# second's worth.
EVENTS_PER_CHECKPOINT = 10_000
# Of a hash; two journals never begin alike in so many by chance.
ID_CHARS = 16
# An order that is about to leave does not wait for a checkpoint.
UNDER_WAY = (events.OrderCreated, events.SendStarted)


def _nobody_asks(history: Sequence[events.Event]) -> None:
    """Tell nobody."""


class KeptBook:
    """The book of one stream, kept in a journal, or in memory alone.

    Args:
        journal: a journal, where to find one (a file, or a postgresql:// URL), or None.
        stream: the name under which a journal file keeps this book.
        clock: where the time comes from.
        crash: called at every crash point.
        events_per_checkpoint: how many events, at least, lie between two checkpoints.

    Raises:
        JournalConflict: another process writes this stream.
        JournalError: the journal cannot be opened.
        JournalCorrupt: the journal was altered.
    """

    def __init__(
        self,
        journal: Journal | str | Path | None,
        stream: str,
        clock: Clock,
        crash: Callable[[CrashPoint], None] = carry_on,
        events_per_checkpoint: int = EVENTS_PER_CHECKPOINT,
    ) -> None:
        if isinstance(journal, str | Path):
            journal = open_journal(journal, stream, now_ns=clock.now_ns)
        self.journal = journal
        self.book: Book = Book()
        self.trouble: str = ""
        self.is_fenced_out: bool = False
        self.on_found: Callable[[Sequence[events.Event]], None] = _nobody_asks
        """Told of events that an append had seemed to fail with, and that are in the journal."""
        self.clock = clock
        self.times: Times = Times(clock)
        self.turn: Turn = Turn()
        """Held by the thread that decides by the book, and changes it."""
        self.changes: int = 0
        """Counts what changed what readers see; odd while a change is under way."""
        self._crash = crash
        self._events_per_checkpoint = events_per_checkpoint
        self._saved_at = 0
        self._journal_id = ""
        # Whether every event that the book has begun to take is in it.
        self._whole = True
        if journal is not None:
            self._load(journal)
            self.commit(after_restart(list(self.book.orders.values()), clock.now_ns()))
            lost = getattr(journal, "lost", "")
            if lost:
                self.commit([events.LossFound(at_ns=clock.now_ns(), because=lost)])

    @property
    def journal_id(self) -> str:
        """The journal's own name: the beginning of its first event's hash, the same in each copy.

        Raises:
            JournalError: the journal cannot be read.
        """
        if not self._journal_id and self.journal is not None and self.journal.position:
            first = next(iter(self.journal.records()))
            self._journal_id = first.hash.hex()[:ID_CHARS]
        return self._journal_id

    def commit(self, history: Sequence[events.Event]) -> None:
        """Journal events and take them into the book: all of them, or none.

        Raises:
            JournalAhead: something else is in the journal that the book had not followed; these
                events are not, and were decided without it.
            JournalError: they are not in the journal, or it is not known whether they are, and the
                book is as it was.
        """
        if not history:
            return
        with self.turn:
            for at_ns in dict.fromkeys(event.at_ns for event in history):
                self.times.note(at_ns)
            if self.journal is None:
                self._apply(history)
            else:
                self._refuse_behind(self.journal)
                self._write(self.journal, history)
                self._apply(history)
            if self._is_due() and not isinstance(history[-1], UNDER_WAY):
                self.checkpoint()

    def follow(self) -> None:
        """Take into the book what is in the journal and not in the book.

        That is what an append wrote whose caller was interrupted before the book took it.
        """
        journal = self.journal
        if journal is None:
            return
        with self.turn:
            if not self._whole:
                # Half of an event may be in it: begin with what was saved.
                with self.changing():
                    self.book = Book()
                    self._load(journal)
            elif journal.position > self.book.version:
                self._follow(journal)

    def find_out(self) -> None:
        """Ask a journal that took nothing whether it takes something now.

        While it does not, that stays the trouble: there is nothing to record, and reading goes on.

        Raises:
            JournalAhead: it has what had seemed to fail, and the book followed.
        """
        self.follow()
        if self.journal is None or not self.trouble:
            return
        trouble = self.trouble
        try:
            with self.turn:
                self._append(self.journal, ())
                # A full disk takes an append of nothing, so something has to be written.
                if self.book.version:
                    self.journal.checkpoint(self.book.version, self.book.state())
                    self._saved_at = self.book.version
        except JournalAhead:
            raise
        except JournalError as error:
            self.trouble = self.trouble or trouble
            log.debug("[JOURNAL] %s", error)

    def _is_due(self) -> bool:
        # Saving a book costs what it holds, so a large one is saved less often.
        size = len(self.book.holdings) + len(self.book.orders)
        return self.book.version - self._saved_at >= max(self._events_per_checkpoint, size)

    def checkpoint(self) -> None:
        """Save the whole book; a failure is said and does no harm."""
        if self.journal is None or self.book.version == self._saved_at:
            return
        self._crash(CrashPoint.INSIDE_CHECKPOINT)
        try:
            self.journal.checkpoint(self.book.version, self.book.state())
        except JournalError as error:
            log.warning("[JOURNAL] No checkpoint: %s", error)
        self._saved_at = self.book.version

    def close(self) -> None:
        """Save the book and let go of the journal."""
        if self.journal is not None:
            with self.turn:
                self.checkpoint()
                self.journal.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change something that readers see; those of other threads see it before or after."""
        self.changes += 1
        try:
            yield
        finally:
            self.changes += 1

    def _load(self, journal: Journal) -> None:
        saved = journal.latest_checkpoint()
        if saved is not None:
            try:
                self.book = Book.restore(saved.state)
            except JournalCorrupt as error:
                log.warning("[JOURNAL] %s; the whole journal is replayed", error)
        self._saved_at = self.book.version
        self._whole = True
        self.book.replay(journal.read(after=self.book.version))

    def _apply(self, history: Sequence[events.Event]) -> None:
        self._whole = False
        with self.changing():
            for event in history:
                self.book.apply(event)
        self._whole = True

    def _refuse_behind(self, journal: Journal) -> None:
        """Refuse events that were decided by a book which is behind its journal."""
        if self._whole and journal.position == self.book.version:
            return
        before = self.book.version
        self.follow()
        raise JournalAhead(
            before,
            f"The journal has events after position {before} that the book had not taken, as after "
            "an interruption; the book has them now.",
        )

    def _write(self, journal: Journal, history: Sequence[events.Event]) -> None:
        """Append events, or find out at once whether they are in the journal."""
        try:
            self._append(journal, history)
        except JournalError as error:
            is_in_doubt = getattr(journal, "is_in_doubt", False)
            if isinstance(error, JournalConflict) or not is_in_doubt:
                raise
            if not self._was_written(journal, error):
                raise
            log.warning("[JOURNAL] %s It was written all the same.", error)
            self.trouble = ""

    def _was_written(self, journal: Journal, failure: JournalError) -> bool:
        """Return whether an append that failed is in the journal; the caller is told of it then."""
        try:
            journal.append(())
        except JournalAhead:
            return True
        except JournalError as error:
            self.is_fenced_out = isinstance(error, JournalConflict)
            words = f"{failure} It is not known whether it was written."
            raise type(error)(words if not self.is_fenced_out else str(error)) from failure
        return False

    def _append(self, journal: Journal, history: Sequence[events.Event]) -> None:
        self._crash(CrashPoint.INSIDE_PLAN)
        try:
            journal.append(history)
        except NotEncodable:
            # No trouble of the journal's: it takes other events.
            raise
        except JournalAhead as error:
            # What failed before is in the journal after all: the book follows, and the caller
            # decides again from there.
            self._follow(journal)
            self.trouble = str(error)
            raise
        except JournalError as error:
            self.trouble = str(error)
            self.is_fenced_out = isinstance(error, JournalConflict)
            raise
        self.trouble = ""

    def _follow(self, journal: Journal) -> None:
        found = list(journal.read(after=self.book.version))
        self._apply(found)
        self.on_found(found)
