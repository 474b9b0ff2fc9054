"""The writer of a stream: proven to be the only one, and durable before it answers.

The append is the path that an order waits for. It runs compiled statements on the driver's own
connection: one transaction of two statements, of which the first is the fence. That one moves the
writer's tip, only if the token and the tip are still this writer's; when it changes no row,
nothing else is written.

Once a commit was asked for and did not answer, only the database knows whether it happened. The
next append looks before it writes: the writer's row has the old tip or the new one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from trueup.core.book.events import Event
from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.journal.database.database import Claim, ConnectionLost, Database, FileDamaged
from trueup.journal.database.migrate import ensure_current
from trueup.journal.journal import GENESIS, JournalAhead, Tip
from trueup.journal.reading.reader import JournalReader
from trueup.journal.reading.table import Writer
from trueup.journal.rows.chain import Row, chained, checkpoint_digest
from trueup.journal.rows.codec import encode
from trueup.journal.writing.mending import mend
from trueup.logs import Logger, logger
from trueup.processes import take_when_left, this_process

log: Logger = logger("trueup.journal")

# The newest is used; the others are there in case it is damaged.
CHECKPOINTS_KEPT = 3
STREAM_LENGTH = 200


class StoredJournal(JournalReader):
    """A stream's one writer; `open_to_write` makes it.

    `findings` says what opening it had to mend, each a sentence; the log has them too. Any thread
    may use it, one after the other; a process that was forked from its own may not.
    """

    findings: tuple[str, ...] = ()
    lost: str = ""
    """That acknowledged events were gone when it was opened; empty where none are known to be."""

    def __init__(self, database: Database, stream: str) -> None:
        super().__init__(database, stream)
        self._process = os.getpid()
        self._token = 0
        self._tip = GENESIS
        # Where the chain ends if a commit that did not answer happened after all.
        self._doubt: Tip | None = None
        self._claim: Claim | None = None
        # Whether the claim was proven on the connection that is open.
        self._alone = False
        self._fenced_out = ""

    @property
    def position(self) -> int:
        """The position of the last event that was appended; 0 when there is none."""
        return self._tip.position

    @property
    def is_in_doubt(self) -> bool:
        """Whether an append failed of which it is not known whether it was written."""
        return self._doubt is not None

    @property
    def token(self) -> int:
        """This writer's fencing token: higher than that of every writer before it."""
        return self._token

    def append(self, history: Sequence[Event]) -> int:
        """Append all events in one transaction, or none, and return the position after the last.

        To append nothing is a question: whether the journal takes anything, and whether the last
        append happened, if it gave no answer.

        Raises:
            JournalConflict: another process took this stream over; nothing was written.
            JournalAhead: an append that had failed is in the journal after all; nothing was
                written now.
            JournalError: nothing was written, or it is not known whether it was; the next append
                finds out first.
        """
        batch = [encode(event) for event in history]
        self._refuse_forked()
        with self._database.lock:
            rows = chained(self.stream, self._tip, batch)
            _again_when_lost(lambda: self._append(rows))
            return self._tip.position

    def checkpoint(self, position: int, state: bytes) -> None:
        """Keep what the events up to `position` come to, so that a restart need not replay them.

        Raises:
            JournalConflict: another process took this stream over.
            JournalError: it was not kept.
        """
        self._refuse_forked()
        with self._database.lock:
            _again_when_lost(lambda: self._keep(position, state))

    def close(self) -> None:
        """Let go of the stream; closing twice does no harm."""
        with self._database.lock:
            # Said to a server, and not left to it to notice that the session has ended.
            self._release()
            super().close()

    def become_writer(self, holder: str, *, take_over: bool, now_ns: int) -> None:
        """Claim the stream, and mend what a crash left: all in one transaction.

        Raises:
            JournalConflict: another process is the writer, and we do not take over.
            JournalCorrupt: the journal does not hold before its last transaction.
        """
        with self._database.writing():
            claim = self._claim = self._taken(take_over)
            # Until the claim was ours, a holder before us could still move the row.
            known = self._table.writer()
            self._tip, findings, self.lost = mend(self._table, known, claim.note, now_ns)
            self._token = max(known.token + 1 if known else 1, claim.token)
            self._sign(known, holder, now_ns)
        claim.record(self._tip)
        self._alone = True
        self.findings = findings
        for finding in findings:
            log.warning("[JOURNAL] %s", finding, extra={"event": "journal.mended"})

    def _taken(self, take_over: bool) -> Claim:
        known = self._table.writer()
        token = known.token if known else 0
        claim = take_when_left(
            lambda: self._database.claim(self.stream, token, take_over=take_over),
            lambda: self._heir(known) is not None,
        )
        if claim is None:
            raise JournalConflict(
                f"Stream {self.stream!r} of {self._database.name} is being written by "
                f"{self._holder_now(known)}; stop that first, or take over from it (--take-over)."
            )
        return claim

    def _holder_now(self, known: Writer | None) -> str:
        """Return who holds the stream: whoever signed last, or what that process left behind."""
        heir = self._heir(known)
        if heir is not None:
            return f"{heir}, left behind by {_named(known)}, which has ended"
        is_this = known is not None and _pid_here(known.holder) == os.getpid()
        return f"{_named(known)}, which is this process" if is_this else _named(known)

    def _heir(self, known: Writer | None) -> str | None:
        """Return who has what the last writer left when it ended; None where it has not ended."""
        pid = None if known is None else _pid_here(known.holder)
        return None if pid is None else self._database.heir(self.stream, pid)

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
        # Before anything is waited for: a thread that had it when this process was forked is gone.
        if os.getpid() != self._process:
            raise JournalConflict(
                f"Process {self._process} opened this journal; a process forked from it cannot "
                "use it."
            )

    def _ready(self) -> None:
        """Make sure of the connection, and that no other process writes this stream.

        Raises:
            JournalConflict: one does.
        """
        self._refuse_forked()
        if self._fenced_out:
            raise JournalConflict(self._fenced_out)
        if self._database.restore():
            self._alone = False
        if not self._alone and self._claim is not None:
            self._alone = self._claim.renew()
            if not self._alone:
                raise self._not_alone()

    def _not_alone(self) -> JournalError:
        """Return what it means that another session has the lock: our token says whether it writes.

        Whoever takes over raises the token in the same transaction in which it holds the lock. One
        that has the lock and not the token may still fail, and this writer is the writer then.
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
        tip = Tip(rows[-1].position, rows[-1].hash) if rows else self._tip
        if self._doubt is not None and self._settled(self._doubt, tip):
            return
        try:
            self._database.begin()
            self._advance(tip)
            if rows:
                self._database.change_many(self._sql.append, [(self.stream, *row) for row in rows])
                self._doubt = tip
            self._database.commit()
        finally:
            self._database.rollback()
        self._go_on_from(tip)

    def _keep(self, position: int, state: bytes) -> None:
        self._ready()
        if self._doubt is not None:
            self._settled(self._doubt, self._tip)
        tip = self._table.tip_at(position)
        if tip is None or position <= 0:
            raise JournalError(f"There is no position {position} to keep a checkpoint of.")
        digest = checkpoint_digest(self.stream, tip, state)
        with self._database.writing():
            self._advance(self._tip)
            kept = [one for one in self._checkpoints() if one != position]
            for one in [position, *kept[CHECKPOINTS_KEPT - 1 :]]:
                self._database.change(self._sql.drop_checkpoint, self.stream, one)
            self._database.change(self._sql.keep_checkpoint, self.stream, position, digest, state)

    def _advance(self, tip: Tip) -> None:
        """Move the writer's row to a tip: the fence, within a write transaction.

        Raises:
            JournalConflict: the row is another writer's now.
            JournalCorrupt: it is ours, but something else moved it.
        """
        own = (self.stream, self._token, *self._tip)
        if self._database.change(self._sql.advance, *tip, *own) == 1:
            return
        writer = self._table.writer()
        if writer is not None and writer.token == self._token:
            raise JournalCorrupt(
                f"Stream {self.stream!r} of {self._database.name} was changed by something that is "
                "not its writer; nothing was written."
            )
        raise self._fence_out()

    def _settled(self, doubt: Tip, wanted: Tip) -> bool:
        """Find out whether the commit that did not answer happened.

        Returns:
            Whether it did, and wrote just what is wanted now.

        Raises:
            JournalAhead: it did, and the caller decided without it.
        """
        writer = self._table.writer()
        if writer is None or writer.token != self._token:
            raise self._fence_out()
        if writer.tip != doubt:
            self._doubt = None
            return False
        before = self._tip.position
        self._go_on_from(doubt)
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
        """Give up the claim for good, and return the error that says to whom."""
        doubt = self._doubt
        written = "nothing was written"
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
) -> StoredJournal:
    """Connect, bring the schema up, become the writer, and mend what a crash left.

    Raises:
        JournalConflict: another process is the writer, and we do not take over.
        JournalCorrupt: the journal does not hold before its last transaction.
        JournalError: it cannot be opened.
    """
    if not 0 < len(stream) <= STREAM_LENGTH or "\0" in stream:
        raise JournalError(f"stream={stream!r} is not valid: give a name, as 'account-1234'.")
    signature = _described(holder)
    try:
        return _opened(database, stream, signature, take_over, now_ns())
    except FileDamaged:
        finding = database.salvage()
        log.warning("[JOURNAL] %s", finding, extra={"event": "journal.salvaged"})
    journal = _opened(database, stream, signature, take_over, now_ns())
    journal.findings = (finding, *journal.findings)
    return journal


def _opened(
    database: Database, stream: str, holder: str, take_over: bool, now_ns: int
) -> StoredJournal:
    with contextlib.ExitStack() as undo:
        journal = StoredJournal(database, stream)
        undo.callback(journal.close)
        database.connect()
        ensure_current(database)
        journal.become_writer(holder, take_over=take_over, now_ns=now_ns)
        undo.pop_all()
    return journal


def _again_when_lost(write: Callable[[], None]) -> None:
    """Write; where the connection was lost, long before or just now, look and try once more."""
    try:
        write()
    except ConnectionLost:
        write()


def _described(holder: str | None) -> str:
    """Return how another process is told about this one."""
    name, process = holder or Path(sys.argv[0]).name or "python", this_process()
    return f"{name} (process {process.number} on {process.host})"


def _pid_here(holder: str) -> int | None:
    """Return the number of a holder's process, if it is one of this machine."""
    signed = _SIGNATURE.fullmatch(holder)
    if signed is None or signed["host"] != this_process().host:
        return None
    return int(signed["pid"])


# What `_described` writes.
_SIGNATURE = re.compile(r".* \(process (?P<pid>\d{1,18}) on (?P<host>.*)\)", re.DOTALL)


def _named(writer: Writer | None) -> str:
    if writer is None:
        return "another process"
    since = dt.datetime.fromtimestamp(writer.since_ns / 1e9, dt.UTC)
    return f"{writer.holder}, since {since:%Y-%m-%d %H:%M:%S} UTC"
