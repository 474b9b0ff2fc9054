"""The connection through which the streams of this process in one SQLite file are written.

A process writes all its streams in a file over one connection, so each costs the process one open
file: its lock (`lockfile`). Streams take turns, from the first statement of a transaction to the
last, and an append is short.

After an interruption (Ctrl-C, no memory) a stream may leave its transaction open. Nobody knows
whether that stream will ever be used again, so the next user of the connection, whichever stream it
is, undoes what was left, and no statement of another stream gets into it. A commit without an
answer needs no more than that: SQLite has committed or undone it by the time it returns.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trueup.errors import JournalError
from trueup.forks import HOLDERS, never_finalise
from trueup.journal.backends.sqlite import SqliteDatabase, cut_database
from trueup.journal.database.database import Database
from trueup.sqlite_file import identity


class FileConnection:
    """A connection to a SQLite file, open while a stream of this process uses it."""

    def __init__(self, path: Path) -> None:
        self.lock: threading.RLock = threading.RLock()
        """Held by the thread that uses the connection."""
        self.connection: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None
        """The identity of the open file."""
        self.writer: Database | None = None
        """The user whose write transaction is open, or was left open."""
        self.users: weakref.WeakSet[Database] = weakref.WeakSet()
        self._path = path
        HOLDERS.add(self)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the open file is no longer the file at the path."""
        return self.connection is not None and self.file != identity(self._path)

    def leave(self, user: Database) -> None:
        """End the use; the last user's end closes the connection."""
        if self.writer is user:
            self.end_leftover()
        self.users.discard(user)
        if not self.users:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.close()

    def end_leftover(self) -> None:
        """Undo the transaction that an interrupted user left open."""
        self.writer = None
        if self.connection is not None and self.connection.in_transaction:
            # If this fails, so does the BEGIN of the next transaction.
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def let_go_in_child(self) -> None:
        """In a forked process: close the files, once for all streams, and never the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            never_finalise(connection)
            cut_database(self._path, self.file)


class FileConnections:
    """The connections of this process, by file."""

    def __init__(self) -> None:
        self._renew()
        HOLDERS.add(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakValueDictionary[Path, FileConnection]
        self._all = weakref.WeakValueDictionary()

    def of(self, path: Path) -> FileConnection:
        """Return the connection to a file, the same for all streams."""
        with self._lock:
            found = self._all.get(path)
            # The users of a file that was moved keep it, and may find it in its place again.
            if found is None or found.is_elsewhere:
                found = self._all[path] = FileConnection(path)
            return found

    def let_go_in_child(self) -> None:
        """In a forked process: forget all connections, which belong to the parent."""
        self._renew()


CONNECTIONS: Final = FileConnections()


class SharedFileDatabase(SqliteDatabase):
    """A journal's SQLite file, whose writers in this process share a connection."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # None until a stream is written, and while this database has a connection of its own.
        self._shared: FileConnection | None = None

    def connect_to_write(self, stream: str) -> None:
        """Open the connection, or share that of the other streams of this process.

        Raises:
            JournalError: the file does not exist, cannot be used, or is not a journal.
        """
        shared = CONNECTIONS.of(self.path)
        with shared.lock:
            if shared.connection is None:
                self.connect()
                shared.connection, shared.file = self._connection, self._file
            else:
                self.refuse_unusable()
                self._connection, self._file = shared.connection, shared.file
            shared.users.add(self)
        self._shared, self.lock = shared, shared.lock

    def close(self) -> None:
        """End the use of the connection; closing twice does no harm."""
        shared = self._shared
        if shared is None:
            super().close()
            return
        with self.lock, HOLDERS.opening():
            self._shared = self._connection = None
            shared.leave(self)

    def let_go_in_child(self) -> None:
        """In a forked process: drop the connection; a shared one closes its files itself."""
        if self._shared is None:
            super().let_go_in_child()
            return
        # The shared connection stays referenced: it must be cut before it may be finalised.
        self._connection = None
        # A new lock: the thread that held the old lock does not exist in this process.
        self.lock = threading.RLock()

    def restore(self) -> None:
        """Check that the open file is still in its place, and undo what was left in it."""
        super().restore()
        if self._shared is not None:
            with self.lock:
                self._shared.end_leftover()

    def begin(self) -> None:
        """Begin to write."""
        if self._shared is not None:
            self._shared.end_leftover()
            # Before the transaction, so that one that is left open is known by its writer.
            self._shared.writer = self
        super().begin()

    def rollback(self) -> None:
        """Undo an open transaction; never fails."""
        super().rollback()
        if self._shared is not None:
            self._shared.writer = None

    def change(self, statement: str, *parameters: object) -> int:
        """Change rows, and return how many."""
        self._refuse_without_transaction()
        return super().change(statement, *parameters)

    def change_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Do the same for every row of parameters."""
        self._refuse_without_transaction()
        super().change_many(statement, rows)

    def _refuse_without_transaction(self) -> None:
        """Refuse to go on with a transaction that is over.

        The handler of a signal runs in the middle of a transaction, in the same thread, and may
        write to this journal or another. Without the fence, the rest would be written row by row.
        """
        shared = self._shared
        if shared is None:
            return
        connection = shared.connection
        if shared.writer is not self or connection is None or not connection.in_transaction:
            raise JournalError(
                f"{self.name}: another append in the same thread ended this transaction; nothing "
                "of it was written."
            )
