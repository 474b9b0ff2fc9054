"""The interface between a journal and a database: a connection, transactions, plain errors.

SQLite and PostgreSQL differ in three things: how to connect, how a writer makes sure that no other
process writes, and the meaning of errors. The code above this interface is the same for both.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

from trueup.core.claims import has_scope
from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.forks import HOLDERS, never_finalise
from trueup.journal.database.statements import Statements
from trueup.journal.journal import Checkpoint, Tip
from trueup.journal.rows.chain import Row
from trueup.processes import is_alive


class ConnectionLost(JournalError):
    """The connection to the database broke."""


class Unreachable(JournalError):
    """The server of a database cannot be reached.

    Args:
        message: what failed.
        remedy: what a person can do.
        is_away: asks the server for the method of that name; None where it cannot be asked.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        remedy: str = "",
        is_away: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self._is_away = is_away

    def is_away(self) -> bool:
        """Return whether the server may be reached later by itself; asks it, for seconds at most.

        It is not away where it has refused the user, the password or the database, and where no
        machine has that name: a person has to change something first.
        """
        return self._is_away is not None and self._is_away()


class FileDamaged(JournalCorrupt):
    """The database file itself is damaged."""


class Claim(Protocol):
    """The right to write a stream, held until its release or the end of its process.

    `token` is the lowest fencing token that the writer may use. `note` is the furthest tip that is
    recorded outside the database, or None. Both help against a database that lost its end.
    """

    token: int
    note: Tip | None

    @property
    def held_on(self) -> int | None:
        """The number of the connection on which the claim is held; None if it must be renewed."""

    def renew(self) -> bool:
        """Claim again on a new connection; return False if another writer has the claim."""

    def record(self, tip: Tip) -> None:
        """Note a tip outside the database if possible; never fails."""

    def release(self) -> None:
        """Give up the claim, so that another process can claim the stream."""


class ReadAhead(NamedTuple):
    """What a book asks for after the opening: the newest checkpoint, and all rows after it, proven.

    Without a checkpoint the rows are all there are.
    """

    checkpoint: Checkpoint | None
    rows: Sequence[Row]
    first_hash: bytes


class Continued(NamedTuple):
    """A sound stream that this process has become the writer of, and the end of its chain."""

    claim: Claim
    token: int
    tip: Tip
    ahead: ReadAhead | None


class Database(ABC):
    """A connection to the database of a journal.

    `name` is the database's name in messages, without any password. Methods that use the
    connection raise `JournalError`, or its kinds `FileDamaged` and `ConnectionLost`. Threads take
    turns. A forked process must not use the connection.
    """

    dialect: str
    statements: Statements
    begin_writing: str
    begin_reading: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock: AbstractContextManager[bool] = threading.RLock()
        """Held by the thread that talks to the database, from the first statement to the last."""
        self._connection: Any = None
        self._process = os.getpid()
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """Drop the connection, which belongs to the process that this process was forked from."""
        connection, self._connection = self._connection, None
        # A new lock: the thread that held the old lock does not exist in this process.
        self.lock = threading.RLock()
        if connection is not None:
            never_finalise(connection)
            self.cut(connection)

    @abstractmethod
    def cut(self, connection: Any) -> None:
        """In a forked process: close the files or the socket of a connection."""

    @abstractmethod
    def connect(self) -> None:
        """Open the connection."""

    def connect_to_write(self, stream: str) -> None:
        """Open the connection, or share the connection of other streams of this process."""
        self.connect()

    @abstractmethod
    def wait_for_migration(self) -> None:
        """Within a write transaction, wait until no other process changes the tables."""

    @abstractmethod
    def arrange_new_tables(self) -> None:
        """Within the transaction that made the tables: arrange them as this database likes best."""

    @abstractmethod
    def share(self, table: str) -> None:
        """Give a new table to the owner of the events, and to who may read these."""

    @abstractmethod
    def maintaining(self) -> AbstractContextManager[None]:
        """Keep other processes from archiving or rearranging this journal meanwhile.

        Raises:
            JournalConflict: another process does so now.
        """

    @abstractmethod
    def revision(self) -> str | None:
        """Return the schema's revision, or None if there is no journal yet."""

    @abstractmethod
    def restore(self) -> None:
        """Make sure that the connection works, outside transactions."""

    @abstractmethod
    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Claim the right to write a stream; return None if another process has the right.

        `token` is the fencing token in the database.
        """

    def continue_together(
        self,
        stream: str,
        holder: str,
        now_ns: int,
        permit: Callable[[Database], None] | None,
    ) -> Continued | None:
        """Become the writer of a sound and free stream in one go; None to open it step by step."""
        return None

    def streams_of_bots(self) -> Sequence[str]:
        """Return the names of all streams that are of no account's scope, in order."""
        names = (str(name) for (name,) in self.fetch(self.statements.streams))
        return [name for name in names if not has_scope(name)]

    @abstractmethod
    def is_held(self, stream: str) -> bool:
        """Return whether a living process has the right to write a stream."""

    @abstractmethod
    def wait_for_account(self, account: str) -> None:
        """Within a write transaction, wait until no other process claims a stream of an account."""

    def heir(self, stream: str, noted: int) -> str | None:
        """Return the process that still holds a stream after its writer has ended, in words.

        `noted` is the process number of the last writer, on this machine. None means that the
        writer itself seems to be alive.
        """
        return None if is_alive(noted) else "a session that the server has not ended yet"

    @abstractmethod
    def note(self, stream: str) -> Tip | None:
        """Return the furthest tip of a stream that was noted outside the database, or None."""

    def salvage(self) -> str:
        """Repair a damaged file; return a sentence that describes the repair.

        Raises:
            JournalError: the file cannot be repaired.
        """
        raise JournalError(
            f"{self.name} is damaged, and the server's administrator has to see to it."
        )

    @abstractmethod
    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""

    @abstractmethod
    def explain(self, error: Exception) -> JournalError:
        """Return an error of the driver as a `JournalError` in plain words."""

    @property
    @abstractmethod
    def driver_error(self) -> type[Exception]:
        """The class of all errors of the driver."""

    def close(self) -> None:
        """Close the connection; closing twice does no harm."""
        with self.lock, HOLDERS.opening():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def fetch(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows."""
        with self.lock:
            try:
                return list(self._open().execute(statement, parameters))
            except self.driver_error as error:
                raise self.explain(error) from error

    def change(self, statement: str, *parameters: object) -> int:
        """Change rows, and return how many."""
        try:
            return int(self._open().execute(statement, parameters).rowcount)
        except self.driver_error as error:
            raise self.explain(error) from error

    def change_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Do the same for every row of parameters."""
        try:
            self._open().cursor().executemany(statement, rows)
        except self.driver_error as error:
            raise self.explain(error) from error

    def fetch_some(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows; of a damaged file, the rows before the damage if there are any."""
        return self.fetch(statement, *parameters)

    def check(self) -> list[str]:
        """Return the defects that the database finds in its own file, a sentence each."""
        return []

    def run(self, statement: str) -> None:
        """Run a statement without parameters or rows."""
        try:
            self._open().execute(statement)
        except self.driver_error as error:
            raise self.explain(error) from error

    def begin(self) -> None:
        """Begin to write."""
        self.run(self.begin_writing)

    def commit(self) -> None:
        """Commit the transaction."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Undo an open transaction; never fails."""
        try:
            if self._connection is not None and self.in_transaction():
                self._connection.execute("ROLLBACK")
        except self.driver_error:
            # The database itself undoes the transaction of a broken connection.
            return

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write in a single transaction."""
        with self.lock:
            try:
                self.begin()
                yield
                self.commit()
            finally:
                self.rollback()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read as of a single moment, in a read transaction."""
        with self.lock:
            if self.in_transaction():
                yield
                return
            try:
                self.run(self.begin_reading)
                yield
            finally:
                self.rollback()

    def reading_events(self) -> AbstractContextManager[None]:
        """Read events as of a single moment, in a read transaction."""
        return self.reading()

    def _open(self) -> Any:
        if self._connection is None:
            if os.getpid() != self._process:
                raise JournalConflict(
                    f"Process {self._process} opened {self.name}; a process forked from it cannot "
                    "use it."
                )
            raise JournalError(f"{self.name} is closed.")
        return self._connection
