"""PostgreSQL: many accounts' journals in one place.

A writer holds a session's advisory lock, which the server frees when the session ends. Where the
connection breaks, the old session may live on in the server for a while: with it the lock, and
perhaps a commit under way. So before anything is written over a new connection the lock is taken
again, and our own old session is ended first if it still holds it. A pooler that hands out
sessions by transaction cannot be used.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import conninfo, errors

from trueup.errors import JournalError
from trueup.forks import cut_handle
from trueup.journal.database.database import Claim, ConnectionLost, Database
from trueup.journal.database.statements import POSTGRESQL
from trueup.journal.journal import Tip

# How long an append may wait: for a server that does not answer, and for a lock of another writer.
CONNECT_S = 5
SILENCE_MS = 10_000
LOCK_MS = 5_000
# Any number, as long as it is the same in every release.
_MIGRATION_LOCK = 7_461_776_870
_DEFAULTS = {
    "application_name": "trueup",
    "connect_timeout": CONNECT_S,
    "tcp_user_timeout": SILENCE_MS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
# Commits must be on the server's disk, whatever its default is.
_SETTINGS = (
    "SELECT set_config('lock_timeout', %s, false), set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false)"
)
# A number of a session is given again after it ended; with its beginning it is one session. The
# beginning of sessions of other users is hidden, and theirs are none of ours.
_HOLDERS = (
    "SELECT l.pid, a.backend_start::text FROM pg_locks l"
    " LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32) | l.objid::bigint = %s"
)
# Not `to_regclass`: within a transaction that answers from a cache, and would miss the tables that
# another session made while this one waited for it.
_HAS_TABLES = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    " WHERE tablename = 'journal_revision' AND schemaname = ANY (current_schemas(false)))"
)
_THIS_SESSION = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"


class Session(NamedTuple):
    """One session of the server: its process, and when it began."""

    pid: int
    began: str | None


class PostgresDatabase(Database):
    """A journal's tables in a PostgreSQL database."""

    dialect = "postgresql"
    statements = POSTGRESQL
    begin_writing = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: str) -> None:
        try:
            parameters: dict[str, Any] = {**_DEFAULTS, **conninfo.conninfo_to_dict(url)}
        except psycopg.ProgrammingError as error:
            raise JournalError(f"The journal's URL cannot be read: {error}.") from error
        host = parameters.get("host") or parameters.get("hostaddr") or "this machine"
        name = parameters.get("dbname") or parameters.get("user") or "default"
        super().__init__(f"PostgreSQL database {name!r} on {host}")
        self._address = conninfo.make_conninfo("", **parameters)

    @property
    def driver_error(self) -> type[Exception]:
        """The class of all errors of the driver."""
        return psycopg.Error

    def connect(self) -> None:
        """Open the connection."""
        try:
            connection = psycopg.connect(self._address, autocommit=True)
            connection.execute(_SETTINGS, (str(LOCK_MS),))
        except psycopg.Error as error:
            raise JournalError(f"{self.name} cannot be reached: {_first_line(error)}.") from error
        self._connection = connection

    def cut(self, connection: psycopg.Connection[Any]) -> None:
        """Have a forked process say nothing to the server, not even that it ends."""
        with contextlib.suppress(psycopg.Error, OSError):
            cut_handle(connection.fileno())

    def wait_for_migration(self) -> None:
        """Within a write transaction, wait until no other process changes the tables."""
        self.fetch("SELECT pg_advisory_xact_lock(%s)", _MIGRATION_LOCK)

    def revision(self) -> str | None:
        """Return the schema's revision, or None where there is no journal yet."""
        if self.fetch(_HAS_TABLES) == [(False,)]:
            return None
        rows = self.fetch(self.statements.revision)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> bool:
        """Connect again where the connection broke; return whether it had."""
        if not self._open().closed:
            return False
        self.connect()
        return True

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Take the stream's advisory lock; from a living holder by ending its session."""
        claim = SessionClaim(self, stream)
        if claim.take() or (take_over and claim.wrest(claim.holders())):
            return claim
        return None

    def note(self, stream: str) -> Tip | None:
        """Nothing is noted outside the server."""
        return None

    def rollback(self) -> None:
        """Undo what was written, if there is anything; never fails.

        A connection on which that cannot be done is of no use.
        """
        super().rollback()
        if self._connection is not None and not self._connection.closed and self.in_transaction():
            self._connection.close()

    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return bool(self._open().info.transaction_status != idle)

    def session(self) -> Session:
        """Return how the server knows this connection."""
        ((pid, began),) = self.fetch(_THIS_SESSION)
        return Session(pid, began)

    def explain(self, error: Exception) -> JournalError:
        """Say what an error of PostgreSQL means."""
        if self._connection is not None and self._connection.closed:
            return ConnectionLost(f"{self.name}: the connection was lost ({_first_line(error)}).")
        if isinstance(error, errors.UniqueViolation) and "intent_id" in str(error):
            return JournalError("An intent of this append is in the journal already.")
        if isinstance(error, errors.DiskFull):
            return JournalError(f"{self.name}: the server's disk is full.")
        if isinstance(error, errors.LockNotAvailable):
            return JournalError(f"{self.name}: another session keeps it locked.")
        return JournalError(f"{self.name}: {_first_line(error)}.")


class SessionClaim:
    """The right to write one stream: an advisory lock of the connection's session."""

    def __init__(self, database: PostgresDatabase, stream: str) -> None:
        self.token = 1
        self.note: Tip | None = None
        self._database = database
        digest = hashlib.sha256(f"trueup journal {stream}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        # Sessions of ours that have the lock, or may have it: an answer may have been lost.
        self._own: set[Session] = set()

    def take(self) -> bool:
        """Take the lock if it is free."""
        # Known before the lock is asked for: should the answer be lost, the lock is ours.
        this = self._database.session()
        self._own.add(this)
        if self._database.fetch("SELECT pg_try_advisory_lock(%s)", self._key) != [(True,)]:
            return False
        self._own = {this}
        return True

    def holders(self) -> list[Session]:
        """Return the sessions that hold the lock: one, or none."""
        return [Session(*row) for row in self._database.fetch(_HOLDERS, self._key)]

    def wrest(self, sessions: Iterable[Session]) -> bool:
        """End these sessions, and take the lock when the server has let go of it."""
        this = self._database.session()
        self._own.add(this)
        for session in sessions:
            self._database.fetch("SELECT pg_terminate_backend(%s)", session.pid)
        self._database.fetch("SELECT pg_advisory_lock(%s)", self._key)
        self._own = {this}
        return True

    def renew(self) -> bool:
        """Take the lock again on a new connection; our own old sessions may still have it.

        Returns:
            False where a session that is none of ours has it, and has it still when asked again.
        """
        strangers: set[Session] = set()
        while not self.take():
            holders = set(self.holders())
            if holders & self._own:
                return self.wrest(holders & self._own)
            if holders & strangers:
                return False
            # Whoever had it may have let go of it between the two questions.
            strangers = holders
        return True

    def record(self, tip: Tip) -> None:
        """The writer's row is the only note there is."""

    def release(self) -> None:
        """Let somebody else have it; a closed connection has let go already."""
        with contextlib.suppress(JournalError):
            self._database.fetch("SELECT pg_advisory_unlock(%s)", self._key)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
