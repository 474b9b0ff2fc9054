"""A journal in PostgreSQL: the journals of many accounts in a single database.

A writer holds an advisory lock of its session, which the server releases when the session ends.
After a broken connection the old session may live on in the server for a while, with the lock and
perhaps a commit under way. So before the first write on a new connection the writer takes the lock
again, and first ends its own old session if that session still holds the lock. The next opening in
the same process does so, too. A connection pooler in transaction mode cannot be used.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import conninfo, errors

from trueup.errors import JournalError
from trueup.forks import cut_handle
from trueup.journal.database.database import Claim, ConnectionLost, Database
from trueup.journal.database.statements import POSTGRESQL
from trueup.journal.journal import Tip

# The longest waits of an append: for a connection, for a silent server, for another writer's lock.
CONNECT_S = 5
SILENCE_MS = 10_000
LOCK_MS = 5_000
SEE_TO_SERVER = "start the PostgreSQL server, or repair the network on the way to it"
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
# Commits must reach the server's disk, whatever the server's default is.
_SETTINGS = (
    "SELECT set_config('lock_timeout', %s, false), set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false)"
)
# The server reuses process numbers, so a session is identified by its number and its start time.
# The start time of other users' sessions is hidden; those sessions are never ours.
_HOLDERS = (
    "SELECT l.pid, a.backend_start::text FROM pg_locks l"
    " LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32) | l.objid::bigint = %s"
)
# Not `to_regclass`: within a transaction that function answers from a cache, and would miss tables
# that another session created while this session waited for the lock.
_HAS_TABLES = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    " WHERE tablename = 'journal_revision' AND schemaname = ANY (current_schemas(false)))"
)
_THIS_SESSION = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"


class Session(NamedTuple):
    """A session of the server: its process number and its start time."""

    pid: int
    began: str | None


# Sessions of this process that lost their connection before they released a lock, by the server's
# address and the lock's number. Their work is over, but the server may not know of that yet.
_ABANDONED: dict[tuple[str, int], set[Session]] = {}


def _unreadable(url: str, why: str) -> JournalError:
    """Return the error for a URL that cannot be read; the message has no part of the password."""
    secret = url.partition("://")[2].rpartition("@")[0]
    quoted = re.findall(r'"([^"]*)"', why)
    if not why or (secret and any(part in secret or secret in part for part in quoted)):
        why = (
            "write special characters of user and password as %XX, such as %40 for @ and %2F for /"
        )
    return JournalError(f"The journal's URL cannot be read: {why}.")


class PostgresDatabase(Database):
    """A journal's tables in a PostgreSQL database."""

    dialect = "postgresql"
    statements = POSTGRESQL
    begin_writing = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: str) -> None:
        # The URL's own parameters take precedence over our defaults.
        try:
            parameters: dict[str, Any] = {**_DEFAULTS, **conninfo.conninfo_to_dict(url)}
        except psycopg.ProgrammingError as error:
            # Not `from error`: the driver's text may quote the password, and would be logged.
            raise _unreadable(url, str(error).strip()) from None
        if "@" in f"{parameters.get('host')}{parameters.get('dbname')}":
            # A part of the password was taken for a host or a database, whose name is shown.
            raise _unreadable(url, "")
        host = parameters.get("host") or parameters.get("hostaddr") or "this machine"
        name = parameters.get("dbname") or parameters.get("user") or "default"
        super().__init__(f"PostgreSQL database {name!r} on {host}")
        self.address = conninfo.make_conninfo("", **parameters)
        """The URL's parameters and our defaults, with the password."""

    @property
    def driver_error(self) -> type[Exception]:
        """The base class of the driver's errors."""
        return psycopg.Error

    def connect(self) -> None:
        """Open the connection."""
        try:
            connection = psycopg.connect(self.address, autocommit=True)
            connection.execute(_SETTINGS, (str(LOCK_MS),))
        except psycopg.Error as error:
            raise JournalError(
                f"{self.name} cannot be reached: {_first_line(error)}.", remedy=SEE_TO_SERVER
            ) from error
        self._connection = connection

    def cut(self, connection: psycopg.Connection[Any]) -> None:
        """Cut the socket in a forked process, so that the child cannot end the parent's session."""
        with contextlib.suppress(psycopg.Error, OSError):
            cut_handle(connection.fileno())

    def wait_for_migration(self) -> None:
        """Within a write transaction, wait until no other process changes the tables."""
        self.fetch("SELECT pg_advisory_xact_lock(%s)", _MIGRATION_LOCK)

    def revision(self) -> str | None:
        """Return the schema's revision, or None if there is no journal yet."""
        if self.fetch(_HAS_TABLES) == [(False,)]:
            return None
        rows = self.fetch(self.statements.revision)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> bool:
        """Connect again after a broken connection; return whether a new connection was made."""
        if not self._open().closed:
            return False
        self.connect()
        return True

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Take the stream's advisory lock; with `take_over` end a living holder's session first."""
        claim = SessionClaim(self, stream)
        try:
            if claim.renew() or (take_over and claim.wrest(claim.holders())):
                return claim
        except JournalError:
            # The lock may be ours, although its answer was lost.
            claim.release()
            raise
        return None

    def is_held(self, stream: str) -> bool:
        """Return whether a session has the stream's advisory lock."""
        return bool(SessionClaim(self, stream).holders())

    def wait_for_account(self, account: str) -> None:
        """Take a lock of the account until the end of the transaction.

        Two transactions do not see each other's claims before they are committed, so two streams
        that overlap could be claimed at the same time.
        """
        self.fetch("SELECT pg_advisory_xact_lock(%s)", _lock_number(f"trueup account {account}"))

    def note(self, stream: str) -> Tip | None:
        """Return None: no tip is noted outside the server."""
        return None

    def rollback(self) -> None:
        """Undo an open transaction; never fails.

        A connection that cannot roll back is useless, and is closed.
        """
        super().rollback()
        if self._connection is not None and not self._connection.closed and self.in_transaction():
            self._connection.close()

    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return bool(self._open().info.transaction_status != idle)

    def session(self) -> Session:
        """Return the server's session of this connection."""
        ((pid, began),) = self.fetch(_THIS_SESSION)
        return Session(pid, began)

    def explain(self, error: Exception) -> JournalError:
        """Return an error of PostgreSQL as a `JournalError` in plain words."""
        if self._connection is not None and self._connection.closed:
            words = f"{self.name}: the connection was lost ({_first_line(error)})."
            return ConnectionLost(words, remedy=SEE_TO_SERVER)
        if isinstance(error, errors.UniqueViolation) and "intent_id" in str(error):
            return JournalError("An intent of this append is in the journal already.")
        if isinstance(error, errors.DiskFull):
            words = f"{self.name}: the server's disk is full."
            return JournalError(words, remedy="make room on the disk of the PostgreSQL server")
        if isinstance(error, errors.LockNotAvailable):
            words = f"{self.name}: another session keeps it locked."
            return JournalError(words, remedy="end that session: pg_locks names it")
        return JournalError(f"{self.name}: {_first_line(error)}.")


class SessionClaim:
    """The right to write a stream: an advisory lock of the connection's session."""

    def __init__(self, database: PostgresDatabase, stream: str) -> None:
        self.token = 1
        self.note: Tip | None = None
        self._database = database
        self._key = _lock_number(f"trueup journal {stream}")
        self._place = (database.address, self._key)
        # Our sessions that have the lock or may have the lock, since an answer may have been lost.
        self._own: set[Session] = set(_ABANDONED.get(self._place, ()))
        # The session that took the lock.
        self._holder: Session | None = None

    def take(self) -> bool:
        """Take the lock if the lock is free."""
        this = self._database.session()
        # The server counts: a session that takes its lock twice has to release it twice.
        if this == self._holder:
            return True
        # Remembered before the request: if the answer is lost, this session may have the lock.
        self._own.add(this)
        if self._database.fetch("SELECT pg_try_advisory_lock(%s)", self._key) != [(True,)]:
            return False
        self._taken_by(this)
        return True

    def holders(self) -> list[Session]:
        """Return the sessions that hold the lock: at most a single session."""
        return [Session(*row) for row in self._database.fetch(_HOLDERS, self._key)]

    def wrest(self, sessions: Iterable[Session]) -> bool:
        """End these sessions, and take the lock once the server has released the lock."""
        this = self._database.session()
        if this == self._holder:
            return True
        self._own.add(this)
        for session in sessions:
            self._database.fetch("SELECT pg_terminate_backend(%s)", session.pid)
        self._database.fetch("SELECT pg_advisory_lock(%s)", self._key)
        self._taken_by(this)
        return True

    def renew(self) -> bool:
        """Take the lock, also from our own old sessions, which may still hold the lock.

        Returns:
            False if another program's session holds the lock in two looks in a row.
        """
        strangers: set[Session] = set()
        while not self.take():
            holders = set(self.holders())
            # Our old session after a broken connection: end that session, its work is over.
            if holders & self._own:
                return self.wrest(holders & self._own)
            if holders & strangers:
                return False
            # The session seen first may have released the lock between the two questions.
            strangers = holders
        return True

    def record(self, tip: Tip) -> None:
        """Do nothing: the writer's row in the database is the only note."""

    def release(self) -> None:
        """Release the lock; after a lost connection the next claim of this process ends it."""
        self._holder = None
        try:
            self._database.fetch("SELECT pg_advisory_unlock(%s)", self._key)
        except ConnectionLost:
            # The server may keep the session and the lock for a while, or for hours.
            _ABANDONED.setdefault(self._place, set()).update(self._own)
        except JournalError:
            # The journal was closed before, or belongs to the process that this one is a fork of.
            return

    def _taken_by(self, session: Session) -> None:
        """Remember the only session that has the lock now."""
        self._holder, self._own = session, {session}
        _ABANDONED.pop(self._place, None)


def _lock_number(name: str) -> int:
    """Return the number of an advisory lock with this name: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
