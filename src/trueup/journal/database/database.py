"""What a journal asks of a database: one connection, plain transactions, errors in our words.

The two databases differ in how a connection is made, how a writer proves that it is alone, and
what their errors mean. Everything else is written once, above this seam.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.forks import HOLDERS, never_finalise
from trueup.journal.database.statements import Statements
from trueup.journal.journal import Tip
from trueup.processes import is_alive


class ConnectionLost(JournalError):
    """The connection to the database broke."""


class FileDamaged(JournalCorrupt):
    """The database's own file is damaged, whatever the rows in it say."""


class Claim(Protocol):
    """The right to write one stream, held until it is released or its process ends.

    `token` is the lowest fencing token that its writer may have, `note` the furthest tip that is
    known outside the database, or None: a database that lost its end knows neither.
    """

    token: int
    note: Tip | None

    def renew(self) -> bool:
        """Take the right again on a new connection; return False when somebody else has it."""

    def record(self, tip: Tip) -> None:
        """Note a tip outside the database, as far as that can be done; never fails."""

    def release(self) -> None:
        """Let somebody else have it."""


class Database(ABC):
    """One connection to where a journal lives.

    `name` is how messages call it, without any password. The methods that talk to it raise
    `JournalError`, as `FileDamaged` or `ConnectionLost` where that is why. One thread talks to it
    at a time, and another waits; a forked process does not talk to it at all.
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
        """Never touch the connection again, which is that of the process this is a fork of."""
        connection, self._connection = self._connection, None
        # Some thread may have held it, which is not here.
        self.lock = threading.RLock()
        if connection is not None:
            never_finalise(connection)
            self.cut(connection)

    @abstractmethod
    def cut(self, connection: Any) -> None:
        """Let go of the files or the socket of a connection, in a forked process."""

    @abstractmethod
    def connect(self) -> None:
        """Open the connection."""

    @abstractmethod
    def wait_for_migration(self) -> None:
        """Within a write transaction, wait until no other process changes the tables."""

    @abstractmethod
    def revision(self) -> str | None:
        """Return the schema's revision, or None where there is no journal yet."""

    @abstractmethod
    def restore(self) -> bool:
        """Make sure of the connection; return whether it had to be made anew."""

    @abstractmethod
    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Take the right to write a stream; return None when somebody else has it.

        `token` is the fencing token that the database knows.
        """

    def heir(self, stream: str, noted: int) -> str | None:
        """Return who holds a stream that a process of this machine claimed last.

        None is that process itself, as far as anybody can tell; else it has ended, and this is
        whom it left behind, in words.
        """
        return None if is_alive(noted) else "a session that the server has not ended yet"

    @abstractmethod
    def note(self, stream: str) -> Tip | None:
        """Return the furthest tip of a stream that is noted outside the database, or None."""

    def salvage(self) -> str:
        """Mend a damaged file where that can be done; return what was done, a sentence.

        Raises:
            JournalError: it cannot.
        """
        raise JournalError(
            f"{self.name} is damaged, and the server's administrator has to see to it."
        )

    @abstractmethod
    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""

    @abstractmethod
    def explain(self, error: Exception) -> JournalError:
        """Say what an error of the driver means."""

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
        """Return all rows, or, of a damaged file, those before the damage if there are any."""
        return self.fetch(statement, *parameters)

    def check(self) -> list[str]:
        """Return what the database itself finds wrong with its file, each a sentence."""
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
        """Make what was written last."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Undo what was written, if there is anything; never fails."""
        try:
            if self._connection is not None and self.in_transaction():
                self._connection.execute("ROLLBACK")
        except self.driver_error:
            # The database undoes a transaction whose connection is gone.
            return

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write in one transaction."""
        with self.lock:
            try:
                self.begin()
                yield
                self.commit()
            finally:
                self.rollback()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read as of one moment."""
        with self.lock:
            if self.in_transaction():
                yield
                return
            try:
                self.run(self.begin_reading)
                yield
            finally:
                self.rollback()

    def _open(self) -> Any:
        if self._connection is None:
            if os.getpid() != self._process:
                raise JournalConflict(
                    f"Process {self._process} opened {self.name}; a process forked from it cannot "
                    "use it."
                )
            raise JournalError(f"{self.name} is closed.")
        return self._connection
