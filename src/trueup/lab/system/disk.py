"""A simulated disk, and the product's own SQLite journal on it.

The journal is `StoredJournal`, unchanged, with its statements, its chain and its fence. Its
database is in memory and outlives the processes; its lock ends with the process that holds the
lock; and its disk can be full, be slow, or lose all data without a sync.
"""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from trueup.errors import JournalError
from trueup.journal import open_journal
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.database.database import Claim
from trueup.journal.journal import Tip
from trueup.journal.writing.store import StoredJournal, open_to_write
from trueup.lab.facts.facts import Row
from trueup.lab.plan.plan import Fault
from trueup.sqlite_file import connected

STREAM = "EURUSD"


class Writer(Protocol):
    """A process that writes a journal."""

    name: str

    def is_alive(self) -> bool:
        """Return whether the process runs."""

    def must_live(self) -> None:
        """Raise the exception that ends the process, if the process was killed."""

    def wait(self, ms: int) -> None:
        """Be blocked for a time."""

    def commits(self, *, is_done: bool) -> None:
        """Pass the time just before a commit, or just after a commit."""


class Disk:
    """The disk of a machine, with the journal.

    `journalled` is called for each transaction, with its writer's name and token; `struck` for each
    fault that met a transaction.
    """

    def __init__(
        self,
        journalled: Callable[[str, int, tuple[Row, ...]], None],
        struck: Callable[[Fault, str], None],
    ) -> None:
        self.journalled: Callable[[str, int, tuple[Row, ...]], None] = journalled
        self.struck: Callable[[Fault, str], None] = struck
        self.connection: sqlite3.Connection = copy_of(empty_journal())
        self.holder: Writer | None = None
        self.tokens = 0
        self.note: Tip | None = None
        self.is_full: bool = False
        self.slow_ms: int = 0
        self.armed: list[Fault] = []
        self.file: tuple[int, int] | None = (1, 1)
        """The identity of the file at the journal's path; None while there is no file."""
        self._files = 1
        self._safe: sqlite3.Connection | None = None

    def heal(self) -> None:
        """Accept all writes at once from now on."""
        self.is_full, self.slow_ms = False, 0
        self.armed.clear()
        self.file = (1, self._files)

    def open(self, writer: Writer, now_ns: Callable[[], int], *, take_over: bool) -> StoredJournal:
        """Open the journal for a process.

        Raises:
            JournalConflict: another process writes the journal.
        """
        database = DiskDatabase(self, writer)
        return open_to_write(
            database, STREAM, holder=writer.name, take_over=take_over, now_ns=now_ns
        )

    def rows(self) -> list[Row]:
        """Return the journal's rows, oldest first, by bare SQL."""
        found = self.connection.execute(
            "SELECT position, kind, payload FROM journal_events ORDER BY position"
        )
        return [Row(position, kind, bytes(payload)) for position, kind, payload in found]

    def keep_safe(self) -> None:
        """Keep a copy of the durable contents before the first commit without a sync."""
        if self._safe is None:
            self._safe = copy_of(self.connection)

    def is_safe(self) -> None:
        """Treat all contents as durable."""
        self._safe = None

    def lose_power(self) -> None:
        """Lose all data without a sync, and every lock."""
        self.holder = None
        if self._safe is not None:
            self.connection, self._safe = self._safe, None

    def move_away(self) -> None:
        """Move the journal's folder away; processes keep the file that they have open."""
        self.file = None

    def move_back(self) -> None:
        """Put the folder back in its place."""
        self.file = (1, self._files)

    def copied(self) -> JournalCopy:
        """Return a copy of the journal as it is now, and of the note beside it."""
        return JournalCopy(copy_of(self.connection), self.note)

    def put_in_place(self, copy: JournalCopy, *, with_note: bool) -> None:
        """Put a copy in the journal's place: another file, which no process has open."""
        self._files += 1
        self.file = (1, self._files)
        self.connection, self._safe = copy_of(copy.connection), None
        if with_note:
            self.note = copy.note


class JournalCopy(NamedTuple):
    """A copy of the journal's file, and of the note beside the file, which has its last tip."""

    connection: sqlite3.Connection
    note: Tip | None


class DiskClaim:
    """The right to write, which ends with its process."""

    held_on: int | None = 0

    def __init__(self, disk: Disk, writer: Writer, token: int) -> None:
        self.token: int = token
        self.note: Tip | None = disk.note
        self._disk, self._writer = disk, writer

    def renew(self) -> bool:
        """Return whether this process still has the right."""
        return self._disk.holder is self._writer

    def record(self, tip: Tip) -> None:
        """Note a tip outside the database."""
        self._disk.note = tip

    def release(self) -> None:
        """Give the right up."""
        if self._disk.holder is self._writer:
            self._disk.holder = None


class DiskDatabase(SqliteDatabase):
    """A process's connection to the journal on a simulated disk."""

    def __init__(self, disk: Disk, writer: Writer) -> None:
        super().__init__(Path("bot.db"))
        self._disk, self._writer = disk, writer
        self._token = 0
        self._is_synced = False
        self._rows: list[Row] = []

    def connect(self) -> None:
        """Open the connection.

        Raises:
            JournalError: the journal's folder was moved away.
        """
        if self._disk.file is None:
            raise JournalError("bot.db cannot be made: there is no folder for it.")
        self._connection, self._file = self._disk.connection, self.in_place()
        self._prepare_to_write()

    def in_place(self) -> tuple[int, int] | None:
        """Return the identity of the file at the journal's path."""
        return self._disk.file

    def restore(self) -> None:
        """Wait for a slow disk; the connection always exists, but its file may have moved.

        Raises:
            JournalError: the file has moved.
        """
        if self._disk.slow_ms:
            self.struck_by(Fault.DISK_SLOW)
            self._writer.wait(self._disk.slow_ms)
        try:
            super().restore()
        except JournalError:
            self.struck_by(Fault.JOURNAL_MOVED)
            raise

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Take the right to write; None if a living process has that right."""
        disk = self._disk
        holder = disk.holder
        if holder is not None and holder.is_alive() and not take_over:
            return None
        disk.tokens = self._token = max(disk.tokens, token) + 1
        disk.holder = self._writer
        return DiskClaim(disk, self._writer, self._token)

    def note(self, stream: str) -> Tip | None:
        """Return the furthest tip noted outside the database."""
        return self._disk.note

    def close(self) -> None:
        """Give up the connection, which others share."""
        self.rollback()
        self._connection = None

    def fetch(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows; a database in memory counts as a database in WAL mode here."""
        if statement == "PRAGMA journal_mode=WAL":
            return [("wal",)]
        return super().fetch(statement, *parameters)

    def run(self, statement: str) -> None:
        """Run a statement; pragmas about syncing apply to the simulated disk."""
        if statement.startswith("PRAGMA synchronous="):
            self._is_synced = statement.endswith(("FULL", "EXTRA"))
            return
        super().run(statement)

    def change_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for every row, and keep new rows of the journal for `journalled`."""
        super().change_many(statement, rows)
        if statement == self.statements.append:
            self._rows = [Row(int(row[1]), str(row[4]), bytes(row[5])) for row in rows]  # type: ignore[call-overload]

    def begin(self) -> None:
        """Begin to write."""
        self._rows = []
        if not self._is_synced:
            self._disk.keep_safe()
        super().begin()

    def commit(self) -> None:
        """Commit, unless a fault of the disk or the process's death prevents the commit."""
        # Faults strike only transactions with rows: the others change nothing of the journal.
        disk, rows = self._disk, tuple(self._rows)
        if rows:
            self._writer.commits(is_done=False)
        if disk.is_full and rows:
            self.struck_by(Fault.DISK_FULL)
            raise JournalError("bot.db: the disk is full.")
        fault = disk.armed.pop(0) if disk.armed and rows else None
        if fault is Fault.COMMIT_FAILS:
            self.struck_by(fault)
            raise JournalError("bot.db: the disk failed.")
        super().commit()
        if self._is_synced:
            disk.is_safe()
        if not rows:
            return
        # The rows are on the disk, even if the process dies or gets no answer.
        disk.journalled(self._writer.name, self._token, rows)
        self._writer.commits(is_done=True)
        if fault is Fault.COMMIT_UNANSWERED:
            self.struck_by(fault)
            raise JournalError("bot.db: the disk gave no answer.")

    def struck_by(self, fault: Fault) -> None:
        """Report that a fault met this process."""
        self._disk.struck(fault, self._writer.name)


@functools.cache
def empty_journal() -> sqlite3.Connection:
    """Return an empty journal that the product made in a file."""
    memory = connected(":memory:", 0)
    with tempfile.TemporaryDirectory(prefix="trueup-sim-") as folder:
        path = Path(folder) / "empty.db"
        open_journal(path, STREAM, now_ns=lambda: 0).close()
        with sqlite3.connect(path) as made:
            made.execute("DELETE FROM journal_writers")
            made.commit()
            made.backup(memory)
        made.close()
    return memory


def copy_of(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of a database in memory."""
    copied = connected(":memory:", 0)
    connection.backup(copied)
    return copied
