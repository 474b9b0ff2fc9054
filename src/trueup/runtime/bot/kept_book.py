"""Keep a book and its journal together: journal every event first, then apply it to the book.

From time to time a checkpoint saves the whole book, so that a restart replays only the events after
the checkpoint. A checkpoint that cannot be read is no loss: the journal has every event and is
replayed from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
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

# The replay of an event takes a few microseconds, so the replay after a restart takes at most a
# tenth of a second.
EVENTS_PER_CHECKPOINT = 10_000
# Characters of the first event's hash: enough that two journals never share them by chance.
ID_CHARS = 16
WORKS_AGAIN = "[JOURNAL] The journal takes events again, so orders can be sent again"
# No checkpoint after these events: it would delay the sending of an order.
UNDER_WAY = (events.OrderCreated, events.SendStarted)


def _ignore_found(history: Sequence[events.Event]) -> None:
    """Do nothing."""


class KeptBook:
    """The book of one stream, kept in a journal, or in memory only.

    Args:
        journal: a journal, a file or a postgresql:// URL to open, or None.
        stream: the name of this book in the journal.
        clock: the source of time.
        crash: called at every crash point.
        events_per_checkpoint: the least number of events between two checkpoints.

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
        """Why the journal takes no events now, or empty; `remedy` is what a person can do."""
        self.remedy: str = ""
        self.is_fenced_out: bool = False
        self.on_found: Callable[[Sequence[events.Event]], None] = _ignore_found
        """Called with events that were in the journal before the book had applied them.

        Such events come from an append that seemed to fail, or whose caller was interrupted.
        """
        self.watchers: list[Callable[[Sequence[events.Event]], None]] = []
        """Called with the events that the book has just applied, within the turn."""
        self.clock = clock
        self.times: Times = Times(clock)
        self.turn: Turn = Turn()
        """Held by a thread while it decides from the book or changes the book."""
        self.changes: int = 0
        """Counts changes that readers can see; odd during a change."""
        self._crash = crash
        self._events_per_checkpoint = events_per_checkpoint
        self._saved_at = 0
        self._journal_id = ""
        # False while an event may be applied only in part, as after an interruption.
        self._whole = True
        if journal is not None:
            self._load(journal)
            # Orders that were under way when the last process ended: never sent, or in doubt.
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
            self._journal_id = _first_hash(self.journal).hex()[:ID_CHARS]
        return self._journal_id

    def commit(self, history: Sequence[events.Event]) -> None:
        """Journal events and apply them to the book: all of them, or none.

        Raises:
            JournalAhead: the journal has other events that the book had not applied. The given
                events were decided without those, and are not journalled.
            JournalError: the events are not in the journal, or it is not known whether they are;
                the book is unchanged.
        """
        if not history:
            return
        with self.turn:
            # The clocks at this moment give the age of the events later, even if the wall clock is
            # set meanwhile.
            for at_ns in dict.fromkeys(event.at_ns for event in history):
                self.times.note(at_ns)
            if self.journal is None:
                self._apply(history)
            else:
                # Events that were decided by an outdated book must not be journalled.
                self._refuse_behind(self.journal)
                self._write(self.journal, history)
                self._apply(history)
            if self._is_due() and not isinstance(history[-1], UNDER_WAY):
                self.checkpoint()

    def follow(self) -> None:
        """Apply the events that are in the journal and not yet in the book.

        These are events of an append whose caller was interrupted before the book applied them.
        """
        journal = self.journal
        if journal is None:
            return
        with self.turn:
            if not self._whole:
                # The book may have half of an event: load the whole book again.
                with self.changing():
                    self.book = Book()
                    self._load(journal)
            elif journal.position > self.book.version:
                self._follow(journal)

    def find_out(self) -> None:
        """Test whether a journal that failed works again.

        If the journal still fails, the trouble stays as it is and no error is raised, because there
        is no event to record and reading continues.

        Raises:
            JournalAhead: events whose append seemed to fail are in the journal, and the book has
                applied them.
        """
        if self.journal is None:
            return
        self.follow()
        if not self.trouble:
            # Read while the journal works: an order that leaves without it needs the name.
            with suppress(JournalError):
                _ = self.journal_id
            return
        trouble, remedy = self.trouble, self.remedy
        try:
            with self.turn:
                self._try(self.journal, ())
                # An append without events succeeds even on a full disk, so write a checkpoint.
                if self.book.version:
                    self.journal.checkpoint(self.book.version, self.book.state())
                    self._saved_at = self.book.version
                self.trouble = self.remedy = ""
            log.warning(WORKS_AGAIN)
        except JournalAhead:
            raise
        except JournalError as error:
            # Keep the first trouble: it is the cause that a person has to remove.
            self.trouble, self.remedy = trouble, remedy
            log.debug("[JOURNAL] %s", error)

    def _is_due(self) -> bool:
        # The cost of a checkpoint grows with the size of the book, so save a large book less often.
        size = len(self.book.holdings) + len(self.book.orders)
        return self.book.version - self._saved_at >= max(self._events_per_checkpoint, size)

    def checkpoint(self) -> None:
        """Save the whole book; a failure is logged and otherwise harmless."""
        if self.journal is None or self.book.version == self._saved_at:
            return
        self._crash(CrashPoint.INSIDE_CHECKPOINT)
        try:
            self.journal.checkpoint(self.book.version, self.book.state())
        except JournalError as error:
            log.warning("[JOURNAL] No checkpoint: %s", error)
        self._saved_at = self.book.version

    def close(self) -> None:
        """Save the book and close the journal."""
        if self.journal is not None:
            with self.turn:
                self.checkpoint()
                self.journal.close()

    def changing(self) -> Changing:
        """Mark a change of the book.

        Other threads see the state before or after the `with` block, never the state within.
        """
        return Changing(self)

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
        apply = self.book.apply
        with self.changing():
            for event in history:
                apply(event)
        self._whole = True
        for watcher in self.watchers:
            watcher(history)

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
        """Append events; the first failure in a row is logged with its remedy."""
        was_well = not self.trouble
        try:
            self._append(journal, history)
        except JournalAhead:
            raise
        except JournalError as error:
            if was_well and self.trouble and not self.is_fenced_out:
                _log_trouble(error)
            raise
        if not was_well:
            log.warning(WORKS_AGAIN)

    def _append(self, journal: Journal, history: Sequence[events.Event]) -> None:
        """Append events; after a failure find out at once whether the events are in the journal."""
        try:
            self._try(journal, history)
        except JournalError as error:
            is_in_doubt = getattr(journal, "is_in_doubt", False)
            if isinstance(error, JournalConflict) or not is_in_doubt:
                raise
            if not self._was_written(journal, history, error):
                raise
            log.warning("[JOURNAL] %s It was written all the same.", error)
        self.trouble = self.remedy = ""

    def _was_written(
        self, journal: Journal, history: Sequence[events.Event], failure: JournalError
    ) -> bool:
        """Return whether an append that failed is in the journal after all.

        Raises:
            JournalAhead: the events of an earlier append are, which the book has now.
        """
        try:
            journal.append(())
        except JournalAhead as error:
            # An append that could not even begin leaves the doubt about the append before it.
            if list(journal.read(after=self.book.version)) == list(history):
                return True
            self._follow(journal)
            self.trouble = str(error)
            raise
        except JournalError as error:
            self.is_fenced_out = isinstance(error, JournalConflict)
            words = f"{failure} It is not known whether it was written."
            if self.is_fenced_out:
                words = str(error)
            raise type(error)(words, remedy=error.remedy) from failure
        return False

    def _try(self, journal: Journal, history: Sequence[events.Event]) -> None:
        """Append events, and note why the journal takes none."""
        self._crash(CrashPoint.INSIDE_PLAN)
        try:
            journal.append(history)
        except NotEncodable:
            # The fault is in the event, not in the journal, so this is not recorded as trouble.
            raise
        except JournalAhead as error:
            # An append that seemed to fail is in the journal after all: apply its events, and let
            # the caller decide again from that state.
            self._follow(journal)
            self.trouble = str(error)
            raise
        except JournalError as error:
            self.is_fenced_out = isinstance(error, JournalConflict)
            self.trouble, self.remedy = str(error), error.remedy
            raise

    def _follow(self, journal: Journal) -> None:
        found = list(journal.read(after=self.book.version))
        self._apply(found)
        self.on_found(found)


class Changing:
    """Marks a change of a book in a `with` block; most syncs make one."""

    __slots__ = ("_kept",)

    def __init__(self, kept: KeptBook) -> None:
        self._kept = kept

    def __enter__(self) -> None:
        self._kept.changes += 1

    def __exit__(self, *_: object) -> None:
        self._kept.changes += 1


def _first_hash(journal: Journal) -> bytes:
    """Return the hash of a journal's first event, which may be archived."""
    known: bytes | None = getattr(journal, "first_hash", None)
    return known or next(iter(journal.records())).hash


def _log_trouble(error: JournalError) -> None:
    """Log what happened, what is at risk, and what to do."""
    log.error(
        "[JOURNAL] %s Until the journal takes events again, the strategy can neither open nor "
        "close: close what cannot wait by `trueup close TICKET`, or by hand in the terminal.",
        error.with_remedy,
    )
