"""The writer of a stream: the only writer, and durable before it answers.

Every order waits for an append. An append is a transaction of two statements, and the first
statement is the fence: the statement moves the writer's tip, but only if the row still has this
writer's token and tip. If the statement changes no row, nothing else is written.

If a commit gives no answer, only the database knows whether the commit happened. The next append
checks before writing: the writer's row has either the old tip or the new tip.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trueup.core.book.events import Event
from trueup.core.claims import is_shadow, scope_of, shared_by_streams
from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.journal.database.database import (
    Claim,
    ConnectionLost,
    Database,
    FileDamaged,
    ReadAhead,
)
from trueup.journal.database.migrate import ensure_current
from trueup.journal.journal import GENESIS, Checkpoint, JournalAhead, Tip
from trueup.journal.reading.reader import JournalReader, successor_of
from trueup.journal.reading.table import EventTable, Writer
from trueup.journal.rows.chain import Row, chained, checkpoint_digest
from trueup.journal.rows.codec import encode
from trueup.journal.writing.mending import mend
from trueup.logs import Logger, logger
from trueup.processes import take_when_left, this_process

log: Logger = logger("trueup.journal")

# The newest checkpoint is used; the others are a reserve in case the newest is damaged.
CHECKPOINTS_KEPT = 3
STREAM_LENGTH = 200


class StoredJournal(JournalReader):
    """A stream's single writer; made by `open_to_write`.

    `findings` lists the repairs that the opening made, a sentence each; the log has the same
    sentences. Threads may share the journal and take turns; a forked process may not use it.
    """

    findings: tuple[str, ...] = ()
    lost: str = ""
    """A sentence if acknowledged events were gone when the journal was opened, else empty."""

    def __init__(self, database: Database, stream: str) -> None:
        super().__init__(database, stream)
        self._process = os.getpid()
        self._token = 0
        self._tip = GENESIS
        # The end of the chain if a commit that gave no answer happened after all.
        self._doubt: Tip | None = None
        self._claim: Claim | None = None
        # What the opening has read for the book, until the first reading or writing.
        self._ahead: ReadAhead | None = None
        self._first_hash: bytes | None = None
        # The number of the connection on which nobody else wrote this stream or a part of it.
        self._alone_on: int | None = None
        self._fenced_out = ""
        self._signature = ""

    @property
    def position(self) -> int:
        """The position of the last appended event; 0 for an empty stream."""
        return self._tip.position

    @property
    def is_in_doubt(self) -> bool:
        """Whether the outcome of the last append is unknown."""
        return self._doubt is not None

    @property
    def token(self) -> int:
        """This writer's fencing token: greater than the token of every earlier writer."""
        return self._token

    def append(self, history: Sequence[Event]) -> int:
        """Append all events in one transaction, or none, and return the position after the last.

        An empty append checks two things: whether the journal accepts writes, and whether the last
        append happened, if that append gave no answer.

        Raises:
            JournalConflict: another process took this stream over; nothing was written.
            JournalAhead: an append that had failed is in the journal after all; nothing was
                written now.
            JournalError: nothing was written, or the outcome of the write is unknown; the next
                append checks that outcome first.
        """
        # Before the lock: an event that cannot be encoded fails without any effect.
        batch = [encode(event) for event in history]
        self._refuse_forked()
        with self._database.lock:
            rows = chained(self.stream, self._tip, batch)
            _again_when_lost(lambda: self._append(rows))
            return self._tip.position

    def checkpoint(self, position: int, state: bytes) -> None:
        """Save the fold of the events up to `position`, so that a restart need not replay them.

        Raises:
            JournalConflict: another process took this stream over.
            JournalError: the checkpoint was not saved.
        """
        self._refuse_forked()
        with self._database.lock:
            _again_when_lost(lambda: self._keep(position, state))

    def raise_token(self, least: int) -> None:
        """Raise this writer's token to at least `least`, if it is still the writer.

        For a journal that was put back from a backup: others remember a newer token than it has.

        Raises:
            JournalConflict: another process took this stream over; nothing was changed.
            JournalError: the token may not have been raised.
        """
        self._refuse_forked()
        with self._database.lock:
            self._ready()
            if self._doubt is not None:
                self._settled(self._doubt, self._tip)
            with self._database.writing():
                # Locks the writer's row until the commit: nobody takes the stream over meanwhile.
                self._advance(self._tip)
                writer = self._table.writer()
                assert writer is not None
                token = max(writer.token, least)
                columns = (token, writer.holder, writer.since_ns, *writer.tip)
                self._database.change(self._sql.claim, *columns, self.stream)
            self._token = token

    def close(self) -> None:
        """Release the stream; closing twice does no harm."""
        with self._database.lock:
            # Explicitly: a server may take a while to notice that a session has ended.
            self._release()
            super().close()

    def become_writer(
        self,
        holder: str,
        *,
        take_over: bool,
        now_ns: int,
        permit: Callable[[Database], None] | None = None,
    ) -> None:
        """Claim the stream and repair its end after a crash, in a single transaction.

        `permit` is called first in that transaction, and raises an error to refuse.

        Raises:
            JournalConflict: another process is the writer, and `take_over` is false; or another
                process writes a stream that overlaps this one.
            JournalCorrupt: the journal is damaged before its last transaction.
        """
        self._signature = holder
        with self._database.writing():
            if permit is not None:
                permit(self._database)
            scope = scope_of(self.stream)
            if scope is not None:
                self._database.wait_for_account(scope.account)
            claim = self._claim = self._taken(take_over)
            # After the own claim: then of two overlapping streams at least one sees the other.
            overlap = self._overlap()
            if overlap:
                # Still in the transaction, so that no third process is refused for our sake.
                self._release()
                raise JournalConflict(overlap)
            # Read after the claim: before it, the earlier writer could still move the row.
            known = self._table.writer()
            self._tip, findings, self.lost = mend(self._table, known, claim.note, now_ns)
            # Not `self.successor`, which connects again where it must: this is one transaction.
            successor = successor_of(self._table)
            if successor:
                self._release()
                raise JournalConflict(
                    f"Stream {self.stream!r} of {self._database.name} ended: its book goes on in "
                    f"stream {successor!r}. Open that account (trueup.Account), and use "
                    "account.portfolio(...) for each symbol."
                )
            self._token = max(known.token + 1 if known else 1, claim.token)
            self._sign(known, holder, now_ns)
        # Only after the commit: the note must never be ahead of the database.
        claim.record(self._tip)
        self._alone_on = claim.held_on
        self.findings = findings
        for finding in findings:
            log.warning("[JOURNAL] %s", finding, extra={"event": "journal.mended"})

    def continue_together(
        self, holder: str, now_ns: int, permit: Callable[[Database], None] | None
    ) -> bool:
        """Become the writer in one go, if the stream is sound and free; return whether it is so.

        If not, nothing has changed; `become_writer` then does it step by step.
        """
        continued = self._database.continue_together(self.stream, holder, now_ns, permit)
        if continued is None:
            return False
        self._claim, self._token, self._tip, self._ahead = continued
        self._alone_on = continued.claim.held_on
        self._first_hash = None if self._ahead is None else self._ahead.first_hash
        self._signature = holder
        return True

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the newest valid checkpoint, or None; warn about each damaged checkpoint."""
        # Nobody else has written since the opening.
        ahead = self._ahead
        return super().latest_checkpoint() if ahead is None else ahead.checkpoint

    @property
    def first_hash(self) -> bytes | None:
        """The hash of the first event, the same in every copy of the stream; None without events.

        The row is not proven.
        """
        return self._first_hash or super().first_hash

    def _proven(self, after: int) -> Iterator[Row]:
        # Once: the rows of thousands of streams are not kept.
        ahead, self._ahead = self._ahead, None
        if ahead is None or after != (ahead.checkpoint.position if ahead.checkpoint else 0):
            return super()._proven(after)
        return iter(ahead.rows)

    def append_with(
        self, history: Sequence[Event], others: Sequence[tuple[StoredJournal, Sequence[Event]]]
    ) -> None:
        """Append events here and to other streams of the same database, in one transaction.

        Raises:
            JournalConflict: another process took one of the streams over; nothing was written.
            JournalError: nothing was written, or the outcome of the commit is unknown.
        """
        parts = [(one, [encode(event) for event in batch]) for one, batch in others]
        parts.append((self, [encode(event) for event in history]))
        with self._database.lock:
            # On a new connection others may have the locks of the other streams.
            self._database.restore()
            if not all(one._is_alone for one, _ in parts):
                raise JournalError(
                    f"{self._database.name}: the connection was lost; nothing was written."
                )
            written = [(one, chained(one.stream, one._tip, batch)) for one, batch in parts]
            with self._database.writing():
                for one, rows in written:
                    one._advance(Tip(rows[-1].position, rows[-1].hash))
                    named = [(one.stream, *row) for row in rows]
                    self._database.change_many(self._sql.append, named)
            for one, rows in written:
                one._go_on_from(Tip(rows[-1].position, rows[-1].hash))

    def tip_after(self, history: Sequence[Event]) -> Tip:
        """Return the end of the chain as an append of these events would leave it."""
        rows = chained(self.stream, self._tip, [encode(event) for event in history])
        return Tip(rows[-1].position, rows[-1].hash)

    def beside(self, stream: str) -> StoredJournal:
        """Return another stream of the same database, on the same connection.

        The caller makes it a writer and lets it go; to close it would close this journal, too.
        """
        return StoredJournal(self._database, stream)

    def become_writer_of(self, other: StoredJournal, now_ns: int) -> None:
        """Claim another stream on the same connection, in the name of this writer.

        Raises:
            JournalConflict: another process writes that stream, or that stream has ended.
            JournalCorrupt: that stream is damaged before its last transaction.
        """
        other.become_writer(self._signature, take_over=False, now_ns=now_ns)

    def other_streams(self) -> list[str]:
        """Return the names of the other streams of the database that are of no account's scope."""
        return [name for name in self._database.streams_of_bots() if name != self.stream]

    def let_go(self) -> None:
        """Release the stream, and leave the connection open for the other streams on it."""
        with self._database.lock:
            self._release()

    def _taken(self, take_over: bool) -> Claim:
        known = self._table.writer()
        token = known.token if known else 0
        # A process that has just ended may leave its lock to a child for a moment: wait for that.
        claim = take_when_left(
            lambda: self._database.claim(self.stream, token, take_over=take_over),
            lambda: self._heir(known) is not None,
        )
        if claim is None:
            raise JournalConflict(
                f"Stream {self.stream!r} of {self._database.name} is being written by "
                f"{self._holder_now(known)}; stop that first (`trueup stop`), or take over from it "
                "(--take-over of `trueup paper`). Nothing was written or sent."
            )
        return claim

    def _holder_now(self, known: Writer | None) -> str:
        """Name the holder of the stream: its last writer, or a process that the writer left."""
        heir = self._heir(known)
        if heir is not None:
            return f"{heir}, left behind by {_named(known)}, which has ended"
        is_this = known is not None and _pid_here(known.holder) == os.getpid()
        return f"{_named(known)}, which is this process" if is_this else _named(known)

    def _heir(self, known: Writer | None, stream: str | None = None) -> str | None:
        """Name the process that holds an ended writer's lock; None if the writer still runs.

        `stream` is the writer's stream, by default this one.
        """
        pid = None if known is None else _pid_here(known.holder)
        return None if pid is None else self._database.heir(stream or self.stream, pid)

    def _overlap(self) -> str:
        """Return why this stream must wait for an overlapping stream with a living writer, or ''.

        The names of both streams have the scopes (`core.claims.stream_of`). Streams with other
        names overlap nothing.
        """
        scope = scope_of(self.stream)
        if scope is None:
            return ""
        # Of this account alone: a fleet's journal has the streams of thousands.
        of_account = len(scope.account), scope.account
        held: list[str] = []

        def is_free() -> bool | None:
            held[:] = (
                name
                for (name,) in self._database.fetch(self._sql.streams_of, *of_account)
                if shared_by_streams(self.stream, name) and self._database.is_held(name)
            )
            return None if held else True

        def are_left_behind() -> bool:
            return all(self._heir(self._writer_of(name), name) is not None for name in held)

        if take_when_left(is_free, are_left_behind):
            return ""
        return (
            f"Stream {self.stream!r} of {self._database.name} shares "
            f"{shared_by_streams(self.stream, held[0])} with stream {held[0]!r}, which is being "
            f"written by {_named(self._writer_of(held[0]))}; stop that first, or give one of the "
            "two other magic numbers or other symbols."
        )

    def _writer_of(self, stream: str) -> Writer | None:
        return EventTable(self._database, stream).writer()

    def _sign(self, known: Writer | None, holder: str, now_ns: int) -> None:
        columns = (self._token, holder, now_ns, *self._tip)
        if known is None:
            self._database.change(self._sql.first_claim, self.stream, *columns)
        else:
            self._database.change(self._sql.claim, *columns, self.stream)

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def _refuse_forked(self) -> None:
        # Before any wait: a thread that held the lock at the time of the fork is not in this
        # process, and would never release the lock.
        if os.getpid() != self._process:
            raise JournalConflict(
                f"Process {self._process} opened this journal; a process forked from it cannot "
                "use it."
            )

    def _ready(self) -> None:
        """Make sure that the connection works, and that no other process writes this stream.

        Raises:
            JournalConflict: another process writes this stream.
        """
        self._refuse_forked()
        if self._fenced_out:
            raise JournalConflict(self._fenced_out)
        with self._database.lock:
            self._database.restore()
            claim = self._claim
            if claim is None or self._is_alone:
                return
            # A claim belongs to a connection: on a new one it is renewed.
            if not claim.renew():
                raise self._not_alone()
            # While there was no connection, an overlapping stream may have got a writer. This
            # stream was not taken over, so the next append may succeed.
            overlap = self._overlap()
            if overlap:
                raise JournalError(f"{overlap} Nothing was written now.")
            self._alone_on = claim.held_on

    @property
    def _is_alone(self) -> bool:
        """Whether the claim was confirmed on the present connection."""
        number = None if self._claim is None else self._claim.held_on
        return number is not None and number == self._alone_on

    def _not_alone(self) -> JournalError:
        """Return the error for a lock that another session has.

        A process that takes over raises the token in the transaction in which the process takes the
        lock. A process with the lock but without a new token may still fail; until then this writer
        remains the writer.
        """
        writer = self._table.writer()
        if writer is None or writer.token != self._token:
            return self._fence_out()
        return JournalError(
            f"{self._database.name}: another session has the lock of stream {self.stream!r}, and "
            "has not taken it over; nothing was written now."
        )

    def _append(self, rows: Sequence[Row]) -> None:
        self._ready()
        self._ahead = None
        tip = Tip(rows[-1].position, rows[-1].hash) if rows else self._tip
        # The last commit may have happened without an answer: never write the same rows twice.
        if self._doubt is not None and self._settled(self._doubt, tip):
            return
        try:
            self._database.begin()
            self._advance(tip)
            if rows:
                self._database.change_many(self._sql.append, [(self.stream, *row) for row in rows])
                # From here to the answer of the commit, the outcome is unknown.
                self._doubt = tip
            self._database.commit()
        finally:
            self._database.rollback()
        self._go_on_from(tip)

    def _keep(self, position: int, state: bytes) -> None:
        self._ready()
        self._ahead = None
        if self._doubt is not None:
            self._settled(self._doubt, self._tip)
        tip = self._table.tip_at(position)
        if tip is None or position <= 0:
            raise JournalError(f"There is no position {position} to keep a checkpoint of.")
        digest = checkpoint_digest(self.stream, tip, state)
        with self._database.writing():
            # The fence, without moving the tip: only the writer may save checkpoints.
            self._advance(self._tip)
            kept = [kept for kept in self._checkpoints() if kept != position]
            for dropped in [position, *kept[CHECKPOINTS_KEPT - 1 :]]:
                self._database.change(self._sql.drop_checkpoint, self.stream, dropped)
            self._database.change(self._sql.keep_checkpoint, self.stream, position, digest, state)

    def _advance(self, tip: Tip) -> None:
        """Move the writer's row to a tip: the fence, within a write transaction.

        Raises:
            JournalConflict: the row belongs to another writer now.
            JournalCorrupt: the row is ours, but another program moved the tip.
        """
        own = (self.stream, self._token, *self._tip)
        if self._database.change(self._sql.advance, *tip, *own) == 1:
            return
        # No row changed. Our own token with another tip means that another program wrote.
        writer = self._table.writer()
        if writer is not None and writer.token == self._token:
            raise JournalCorrupt(
                f"Stream {self.stream!r} of {self._database.name} was changed by something that is "
                "not its writer; nothing was written."
            )
        raise self._fence_out()

    def _settled(self, doubt: Tip, wanted: Tip) -> bool:
        """Find out whether a commit without an answer happened.

        Returns:
            Whether the commit happened and wrote exactly the rows that are to be written now.

        Raises:
            JournalAhead: the commit happened and wrote other rows, unknown to the caller.
        """
        writer = self._table.writer()
        if writer is None or writer.token != self._token:
            raise self._fence_out()
        # The row still has the old tip: the commit did not happen.
        if writer.tip != doubt:
            self._doubt = None
            return False
        before = self._tip.position
        self._go_on_from(doubt)
        # The same rows have the same hash, so an equal tip means an equal append.
        if doubt == wanted:
            return True
        raise JournalAhead(
            before,
            f"The append after position {before} that did not answer is in the journal, up to "
            f"position {doubt.position}: read on before appending.",
        )

    def _go_on_from(self, tip: Tip) -> None:
        self._tip, self._doubt = tip, None
        if self._claim is not None:
            self._claim.record(tip)

    def _fence_out(self) -> JournalConflict:
        """Give up the claim for good, and return the error that names the new writer."""
        doubt = self._doubt
        written = "nothing was written"
        # The commit in doubt may have come before the take-over: the caller must know that.
        if doubt is not None and self._table.tip_at(doubt.position) == doubt:
            written = (
                f"the append before, up to position {doubt.position}, is in the journal, and "
                "nothing was written now"
            )
        taken_over = (
            f"Stream {self.stream!r} of {self._database.name} was taken over by "
            f"{_named(self._table.writer())}"
        )
        self._fenced_out = f"{taken_over}; nothing was written."
        self._database.rollback()
        self._release()
        return JournalConflict(f"{taken_over}; {written}.")


def open_to_write(
    database: Database,
    stream: str,
    *,
    holder: str | None,
    take_over: bool,
    now_ns: Callable[[], int],
    permit: Callable[[Database], None] | None = None,
) -> StoredJournal:
    """Connect, upgrade the schema, become the writer, and repair the end after a crash.

    Raises:
        JournalConflict: another process is the writer, and `take_over` is false.
        JournalCorrupt: the journal is damaged before its last transaction.
        JournalError: the journal cannot be opened.
    """
    if not 0 < len(stream) <= STREAM_LENGTH or "\0" in stream:
        raise JournalError(f"stream={stream!r} is not valid: give a name, as 'account-1234'.")
    signature = _described(holder)
    try:
        return _opened(database, stream, signature, take_over, now_ns(), permit)
    # Damage of the file itself, not of a stream: repair the file once, then open the stream again.
    except FileDamaged:
        finding = database.salvage()
        log.warning("[JOURNAL] %s", finding, extra={"event": "journal.salvaged"})
    journal = _opened(database, stream, signature, take_over, now_ns(), permit)
    journal.findings = (finding, *journal.findings)
    return journal


def _opened(
    database: Database,
    stream: str,
    holder: str,
    take_over: bool,
    now_ns: int,
    permit: Callable[[Database], None] | None,
) -> StoredJournal:
    # Whatever fails below, the connection is closed and the claim released.
    with contextlib.ExitStack() as undo:
        journal = StoredJournal(database, stream)
        undo.callback(journal.close)
        database.connect_to_write(stream)
        if not journal.continue_together(holder, now_ns, permit):
            ensure_current(database)
            # A journal that has this stream is not a watch's alone.
            if not is_shadow(stream) and EventTable(database, stream).writer() is None:
                _refuse_journal_of_watch(database)
            journal.become_writer(holder, take_over=take_over, now_ns=now_ns, permit=permit)
        undo.pop_all()
    return journal


def _refuse_journal_of_watch(database: Database) -> None:
    """Refuse the journal of a watch beside a bot, which the watch alone goes on with.

    Raises:
        JournalError: the journal is that of a watch.
    """
    names = [str(row[0]) for row in database.fetch(database.statements.streams)]
    if names and all(map(is_shadow, names)):
        raise JournalError(
            f"{database.name} is the journal of a watch beside a bot (`trueup watch`): give the "
            "bot a journal of its own."
        )


def _again_when_lost(write: Callable[[], None]) -> None:
    """Write; after a lost connection write once more, which first checks the earlier outcome."""
    try:
        write()
    except ConnectionLost:
        write()


def _described(holder: str | None) -> str:
    """Return this process's name for the error message of another process."""
    name, process = holder or Path(sys.argv[0]).name or "python", this_process()
    return f"{name} (process {process.number} on {process.host})"


def _pid_here(holder: str) -> int | None:
    """Return the process number of a holder on this machine; None for another machine."""
    signed = _SIGNATURE.fullmatch(holder)
    if signed is None or signed["host"] != this_process().host:
        return None
    return int(signed["pid"])


# The format of `_described`.
_SIGNATURE = re.compile(r".* \(process (?P<pid>\d{1,18}) on (?P<host>.*)\)", re.DOTALL)


def _named(writer: Writer | None) -> str:
    if writer is None:
        return "another process"
    since = dt.datetime.fromtimestamp(writer.since_ns / 1e9, dt.UTC)
    return f"{writer.holder}, since {since:%Y-%m-%d %H:%M:%S} UTC"
