"""A journal in a SQLite file, in WAL mode with `synchronous=FULL`.

In WAL mode FULL costs one sync of the log for each commit. Any weaker setting may lose an
acknowledged commit (SQLite documentation, "PRAGMA synchronous"). Every append of a live bot is an
intent or an outcome, so no append can do with less.

In WAL mode readers and the writer do not block each other. A writer of another process locks the
file during a commit; `BUSY_S` is the longest wait for that. The streams that this process writes
share a connection (`file_connection`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trueup.errors import JournalConflict, JournalError, reason
from trueup.filelock import LockHeld, ProcessLock, is_locked
from trueup.forks import HOLDERS, cut_files
from trueup.journal.backends.lockfile import claim_file, lock_files, noted
from trueup.journal.database.database import Claim, Database, FileDamaged
from trueup.journal.database.statements import SQLITE
from trueup.journal.journal import Tip
from trueup.private import make_private
from trueup.processes import holds, with_open_file
from trueup.sqlite_file import DURABLE, WRITE_AHEAD, connected, error_code, explained, identity

BUSY_S = 2.0
_END_LOCK = (
    "end the other program that has {} open and locks it, such as a database browser or a copy "
    "program"
)
_MAKE_WRITABLE = "make {} and its folder writable for the user that runs the bot"
# By SQLite's primary result code; the file's name takes the place of the braces.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on the disk of {}",
    sqlite3.SQLITE_BUSY: _END_LOCK,
    sqlite3.SQLITE_LOCKED: _END_LOCK,
    sqlite3.SQLITE_READONLY: _MAKE_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _MAKE_WRITABLE,
    sqlite3.SQLITE_PERM: _MAKE_WRITABLE,
    sqlite3.SQLITE_NOTADB: "give the journal's own file; if {} is that file, restore a copy of it",
    sqlite3.SQLITE_IOERR: "see to the disk of {}: free space, its health, the system's log",
}


class SqliteDatabase(Database):
    """A journal's SQLite file.

    A read-only connection changes nothing, and reads the readable part of a damaged file.
    """

    dialect = "sqlite"
    statements = SQLITE
    begin_writing = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(str(path))
        self.path: Path = path.resolve()
        self._read_only = read_only
        self._file: tuple[int, int] | None = None

    @property
    def driver_error(self) -> type[Exception]:
        """The base class of the driver's errors."""
        return sqlite3.Error

    def connect(self) -> None:
        """Open the connection.

        Raises:
            JournalError: the file does not exist, cannot be used, or is not a journal.
        """
        # First, since SQLite names no reason: it only says that it cannot open the file.
        self.refuse_unusable()
        # In a forked child, SQLite would drop the parent's locks when it closes the file.
        if identity(self.path) in HOLDERS.inherited:
            raise JournalConflict(
                f"{self.name} was open in the process from which this one was forked, and SQLite "
                "cannot open it in both: start this process anew, as multiprocessing does with "
                "'spawn'."
            )
        # A crash during a repair left the new file beside the damaged file: finish the repair.
        if not self._read_only and self.path.with_name(f"{self.path.name}.salvaged").exists():
            from trueup.journal.backends.salvage import finish

            finish(self.path)
        self._connection = self._connected()
        self._file = identity(self.path)
        self._refuse_foreign()
        if not self._read_only:
            self._prepare_to_write()

    def refuse_unusable(self) -> None:
        """Check that the file and its folder can be used.

        Raises:
            JournalError: they cannot.
        """
        try:
            self._refuse_place()
        except PermissionError as error:
            raise JournalError(
                f"{self.name} cannot be looked at: this user may not enter a folder on the way to "
                "it; give another place, or the right to enter."
            ) from error

    def cut(self, connection: sqlite3.Connection) -> None:
        """Close the file and its log in a forked process, which can never open them again."""
        cut_database(self.path, self._file)

    def wait_for_migration(self) -> None:
        """Do nothing: `BEGIN IMMEDIATE` lets only one process write."""

    def arrange_new_tables(self) -> None:
        """Do nothing: a SQLite file has no partitions."""

    def share(self, table: str) -> None:
        """Do nothing: who may read the file may read all of it."""

    def wait_for_account(self, account: str) -> None:
        """Do nothing: `BEGIN IMMEDIATE` lets only one process claim."""

    @contextlib.contextmanager
    def maintaining(self) -> Iterator[None]:
        """Keep other processes from archiving this journal meanwhile, by a locked file beside it.

        Raises:
            JournalConflict: another process does so now.
        """
        try:
            lock = ProcessLock(self.path.with_name(f"{self.path.name}.archiving"))
        except LockHeld as held:
            raise JournalConflict(
                f"{held.holder} archives events of {self.name}; wait until it has ended."
            ) from held
        except OSError as error:
            raise JournalError(f"{self.name} cannot be locked: {reason(error)}.") from error
        try:
            yield
        finally:
            lock.release()

    def revision(self) -> str | None:
        """Return the schema's revision, or None if there is no journal yet."""
        if not self._tables():
            return None
        rows = self.fetch(self.statements.revision)
        return str(rows[0][0]) if rows else ""

    def in_place(self) -> tuple[int, int] | None:
        """Return the device and inode number of the file at the journal's path, or None."""
        return identity(self.path)

    def restore(self) -> None:
        """Check that the open file is still the file at the journal's path.

        SQLite continues to write to a removed file, and all those writes are lost when the process
        ends.
        """
        self._open()
        if self._file != self.in_place():
            raise JournalError(
                f"{self.name} was moved, replaced or deleted while it was open; put it back, or "
                "open the journal again."
            )

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Lock a file beside the database; must run in a write transaction."""
        try:
            return claim_file(self.path, stream, token, take_over=take_over)
        except OSError as error:
            raise JournalError(f"{self.name} cannot be locked: {reason(error)}.") from error

    def is_held(self, stream: str) -> bool:
        """Return whether a living process has a lock file of the stream."""
        try:
            return any(is_locked(path) for path in lock_files(self.path, stream).values())
        except OSError as error:
            raise JournalError(f"{self.name} cannot be looked at: {reason(error)}.") from error

    def heir(self, stream: str, noted: int) -> str | None:
        """Return the process that holds the lock of an ended writer, or None; see `Database`."""
        locked = [path for path in lock_files(self.path, stream).values() if is_locked(path)]
        if noted == os.getpid() or any(holds(noted, path) for path in locked):
            return None
        heirs = [pid for path in locked for pid in with_open_file(path)]
        return f"process {heirs[0]}" if heirs else "a process"

    def note(self, stream: str) -> Tip | None:
        """Return the furthest tip in the stream's lock files, or None."""
        return noted(lock_files(self.path, stream).values())

    def salvage(self) -> str:
        """Replace a damaged file by its readable part; return a sentence that describes this."""
        from trueup.journal.backends.salvage import salvage

        return salvage(self.path)

    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        return bool(self._open().in_transaction)

    def fetch_some(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows; of a damaged file, the rows before the damage if there are any."""
        rows: list[Any] = []
        with self.lock:
            try:
                for row in self._open().execute(statement, parameters):
                    rows.append(row)  # noqa: PERF402 - the rows before an error are needed
            except sqlite3.Error as error:
                if not rows:
                    raise self.explain(error) from error
        return rows

    def check(self) -> list[str]:
        """Return the defects that SQLite finds in the file, a sentence each."""
        try:
            found = [str(row[0]) for row in self.fetch("PRAGMA quick_check(10)")]
        except FileDamaged as error:
            found = [str(error)]
        return [f"the file is damaged: {text}" for text in found if text != "ok"]

    def explain(self, error: Exception) -> JournalError:
        """Return an error of SQLite as a `JournalError` in plain words."""
        code = error_code(error)
        if code == sqlite3.SQLITE_CORRUPT:
            return FileDamaged(f"{self.name} is damaged: {error}.")
        if code == sqlite3.SQLITE_CONSTRAINT and "intent_id" in str(error):
            return JournalError("An intent of this append is in the journal already.")
        remedy = _REMEDIES.get(code, "").format(self.name)
        return JournalError(f"{self.name}: {explained(error)}.", remedy=remedy)

    def _refuse_place(self) -> None:
        if self.path.is_dir():
            raise JournalError(f"{self.name} is a folder; give a file, as 'bot.db'.")
        if not self.path.parent.is_dir():
            raise JournalError(
                f"{self.name} cannot be made: there is no folder {self.path.parent}."
            )
        if self._read_only and not self.path.exists():
            raise JournalError(f"There is no journal {self.name}.")
        if not self._read_only:
            self._refuse_unwritable()

    def _refuse_unwritable(self) -> None:
        """Name the file or folder that cannot be written; SQLite's own error does not."""
        as_ourselves = os.access in os.supports_effective_ids
        # SQLite's log and our lock file are created in the folder, so the folder counts too.
        for place, mode in ((self.path.parent, os.W_OK | os.X_OK), (self.path, os.W_OK)):
            if place.exists() and not os.access(place, mode, effective_ids=as_ourselves):
                what = f"the folder {place}" if place.is_dir() else "the file"
                raise JournalError(
                    f"{self.name} cannot be written: {what} is read-only for this user; make it "
                    "writable, or give another place."
                )

    def _connected(self) -> sqlite3.Connection:
        try:
            if self._read_only:
                return self._connected_to_read()
            make_private(self.path)
            return connected(self.path, BUSY_S)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def _connected_to_read(self) -> sqlite3.Connection:
        address = f"{self.path.as_uri()}?mode=ro"
        connection = connected(address, BUSY_S, uri=True)
        # Without this SQLite refuses a truncated file as a whole, not only its missing part.
        connection.execute("PRAGMA writable_schema=ON")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError:
            # In WAL mode SQLite creates an index file beside the database. If this user may not
            # create files there and the log is empty, the database file alone is complete.
            if _size(self.path.with_name(f"{self.path.name}-wal")):
                raise
            connection.close()
            address += "&immutable=1"
            connection = connected(address, BUSY_S, uri=True)
        return connection

    def _refuse_foreign(self) -> None:
        tables = self._tables()
        if tables and "journal_revision" not in tables:
            raise JournalError(
                f"{self.name} is a database of something else (it has a table {min(tables)!r}); "
                "give the journal a file of its own."
            )

    def _tables(self) -> set[str]:
        return {row[0] for row in self.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _prepare_to_write(self) -> None:
        (mode,) = self.fetch(WRITE_AHEAD)[0]
        if mode != "wal":
            raise JournalError(f"{self.name} cannot be put into WAL mode; it stays in {mode} mode.")
        for statement in DURABLE:
            self.run(statement)


def cut_database(path: Path, opened: tuple[int, int] | None) -> None:
    """In a forked process: close a database, its log and its index, which stay the parent's.

    Args:
        path: the database.
        opened: the identity of the file that is open, which may have been moved since.
    """
    names = (path.with_name(path.name + end) for end in ("", "-wal", "-shm"))
    files = {one for one in (opened, *map(identity, names)) if one is not None}
    HOLDERS.inherited.update(files)
    cut_files(files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
