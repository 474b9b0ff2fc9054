"""The journals at the simulated server: the product's own tables, statements, chain and fence.

Each account's tables are a SQLite database in memory. A transaction happens at a moment, after its
statements have arrived and before the answer to its commit comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.database.database import Claim, ConnectionLost, Database
from trueup.journal.journal import Tip
from trueup.lab.facts.facts import Row
from trueup.lab.fleet import facts
from trueup.lab.fleet.server import NAME, Client, Sent, Server, Session

SENDING = "SendStarted"


class SessionClaim:
    """The right to write a stream: a lock of a session at the server."""

    note: Tip | None = None
    token: int = 1

    def __init__(self, database: ServerDatabase) -> None:
        self._database = database

    @property
    def held_on(self) -> int | None:
        """The number of the connection on which the lock is held; None if it is not held."""
        return self._database.connection_number if self._database.has_lock else None

    def renew(self) -> bool:
        """Take the lock again on a new connection; return False if another session has it."""
        return self._database.take_lock()

    def record(self, tip: Tip) -> None:
        """Do nothing: the writer's row is the only note."""

    def release(self) -> None:
        """Release the lock."""
        self._database.release_lock()


class ServerDatabase(SqliteDatabase):
    """A process's connection to the journal of an account.

    Args:
        server: the server.
        client: the process.
        account: the account.
        is_sent: called once an order is journalled and may be sent.
    """

    def __init__(
        self, server: Server, client: Client, account: str, is_sent: Callable[[], None]
    ) -> None:
        super().__init__(Path("fleet.db"))
        self._server, self._client, self._account = server, client, account
        self._is_sent = is_sent
        self._stream = server.stream(account)
        self._session: Session | None = None
        self._sent: Sent | None = None
        self._rows: list[Row] = []
        self._made_by: tuple[int, int, str] | None = None
        self._token = 0
        self.connection_number: int = 0
        """How many sessions there were."""

    # The connection.

    def connect(self) -> None:
        """Connect to the server.

        Raises:
            ConnectionLost: it cannot be reached.
        """
        server = self._server
        server.ask(self._client, lambda: None)
        if self._session is not None:
            server.end(self._session)
        self._session = server.session(self._client)
        self._connection = self._stream.connection
        self.connection_number += 1

    def restore(self) -> None:
        """Connect again after a broken connection.

        Raises:
            ConnectionLost: the server cannot be reached.
        """
        self._open()
        if not self._is_alive:
            self.connect()

    def close(self) -> None:
        """End the session; closing twice does no harm."""
        session, self._session, self._connection = self._session, None, None
        if session is not None:
            self._server.end(session)

    @property
    def _is_alive(self) -> bool:
        return self._session is not None and self._session.is_alive

    def _break(self) -> None:
        if self._session is not None:
            self._server.end(self._session)

    # The lock.

    @property
    def has_lock(self) -> bool:
        """Whether this session has the stream's lock."""
        return self._is_alive and self._stream.holder is self._session

    def take_lock(self, *, take_over: bool = False) -> bool:
        """Take the stream's lock; with `take_over` end a holder's session first."""
        holder = self._stream.holder
        if holder is not None and holder is not self._session:
            if not take_over:
                return False
            self._server.end(holder)
        self._stream.holder = self._session
        return True

    def release_lock(self) -> None:
        """Release the lock, if this session has it."""
        if self.has_lock:
            self._stream.holder = None

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Claim the right to write; None if another session has it."""
        return SessionClaim(self) if self.take_lock(take_over=take_over) else None

    def is_held(self, stream: str) -> bool:
        """Return whether a session has the stream's lock."""
        return self._stream.holder is not None

    def heir(self, stream: str, noted: int) -> str | None:
        """Return None: at a server, a holder is its session."""
        return None

    def note(self, stream: str) -> Tip | None:
        """Return None: no tip is noted outside the server."""
        return None

    # Statements.

    def fetch(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows."""
        if not self.in_transaction():
            self._client.must_live()
            if self._client.is_cut_from_database or not self._is_alive:
                self._break()
                raise ConnectionLost(f"{NAME}: the connection was lost.")
        return super().fetch(statement, *parameters)

    def permitted(self, claim: tuple[int, int], opening: str) -> None:
        """Note by which claim this process becomes the writer, for the facts."""
        self._made_by = *claim, opening

    def change_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for every row, and keep new rows of the journal for the facts."""
        super().change_many(statement, rows)
        if statement == self.statements.append:
            self._rows = [Row(int(row[1]), str(row[4]), bytes(row[5])) for row in rows]  # type: ignore[call-overload]

    def begin(self) -> None:
        """Let a transaction arrive, and begin it.

        Raises:
            ConnectionLost: it did not arrive.
        """
        self._rows, self._sent = [], None
        try:
            sent = self._server.send(self._client)
        except ConnectionLost:
            self._break()
            raise
        if not self._is_alive:
            # Another session has ended this one meanwhile.
            raise ConnectionLost(f"{NAME}: the session was ended.")
        self._sent = sent
        # Not that of a file: no other process of the world is in a transaction now.
        Database.begin(self)

    def rollback(self) -> None:
        """Undo an open transaction; never fails."""
        Database.rollback(self)

    def commit(self) -> None:
        """Commit, and wait for the answer.

        Raises:
            ConnectionLost: no answer came; the transaction is committed.
        """
        super().commit()
        rows, made_by, self._made_by = tuple(self._rows), self._made_by, None
        if made_by is not None:
            self._tell_writer(*made_by)
        if rows:
            now_ns, name = self._server.schedule.now_ns, self._client.name
            self._server.observe(facts.Appended(now_ns, self._account, name, self._token, rows))
        try:
            assert self._sent is not None
            self._server.answer(self._client, self._sent)
        except ConnectionLost:
            self._break()
            raise
        if any(row.kind == SENDING for row in rows):
            self._is_sent()

    def _tell_writer(self, shard: int, epoch: int, opening: str) -> None:
        ((self._token,),) = super().fetch("SELECT token FROM journal_writers")
        self._server.observe(
            facts.WriterMade(
                self._server.schedule.now_ns,
                account=self._account,
                shard=shard,
                node=self._client.name,
                run=self._client.run,
                epoch=epoch,
                token=self._token,
                opening=opening,
            )
        )
