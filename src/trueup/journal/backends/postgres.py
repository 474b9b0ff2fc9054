"""A journal in PostgreSQL: the journals of many accounts in a single database.

A writer holds an advisory lock of a session, which the server releases when the session ends. The
streams of a process share a few sessions (`server_session`). A session that is made after a broken
connection ends its predecessor and takes the locks again, before anything is written. A connection
pooler in transaction mode cannot be used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import conninfo, errors

from trueup.core.claims import scope_of
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends.partitions import OLDEST_WITH_PARTITIONS, divide, share_like_events
from trueup.journal.backends.server_session import (
    SESSIONS,
    WITH_LOCK,
    ServerSession,
    first_line,
    has_no_room,
    lost,
    no_room,
)
from trueup.journal.backends.together import OLDEST, Member, continue_together
from trueup.journal.database.database import Claim, Continued, Database
from trueup.journal.database.statements import POSTGRESQL
from trueup.journal.journal import Tip

# The longest waits of an append: for a connection, and for a silent server.
CONNECT_S = 5
SILENCE_MS = 10_000
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
_HOLDERS = f"SELECT pid {WITH_LOCK} AND granted"
# Not `to_regclass`: within a transaction that function answers from a cache, and would miss tables
# that another session created while this session waited for the lock.
_HAS_TABLES = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    " WHERE tablename = 'journal_revision' AND schemaname = ANY (current_schemas(false)))"
)


def _unreadable(url: str, why: str) -> JournalError:
    """Return the error for a URL that cannot be read; the message has no part of the password."""
    secret = url.partition("://")[2].rpartition("@")[0]
    quoted = re.findall(r'"([^"]*)"', why)
    if not why or (secret and any(part in secret or secret in part for part in quoted)):
        why = (
            "write special characters of user and password as %XX, such as %40 for @ and %2F for /"
        )
    return JournalError(f"The journal's URL cannot be read: {why}.")


# Each account of a process names the same one, and the driver parses for as long as a statement
# takes.
@functools.lru_cache(maxsize=16)
def _place(url: str) -> tuple[str, str]:
    """Return where the server of a URL is, as psycopg takes it, and the name in messages.

    Raises:
        JournalError: the URL cannot be read.
    """
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
    return conninfo.make_conninfo("", **parameters), f"PostgreSQL database {name!r} on {host}"


class PostgresDatabase(Database):
    """A journal's tables in a PostgreSQL database."""

    dialect = "postgresql"
    statements = POSTGRESQL
    begin_writing = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: str) -> None:
        self._address, name = _place(url)
        super().__init__(name)
        self._use(ServerSession(self._address, self.name))

    @property
    def driver_error(self) -> type[Exception]:
        """The base class of the driver's errors."""
        return psycopg.Error

    def connect(self) -> None:
        """Open the connection."""
        self._session.join(self)
        self._connection = self._session

    def connect_to_write(self, stream: str) -> None:
        """Share the connection of the stream's session with other streams of this process.

        `continue_together` connects: who waited for the session here would open alone.
        """
        self._use(SESSIONS.of(self._address, self.name, stream))
        self._session.admit(self)
        self._connection = self._session

    def close(self) -> None:
        """End the use of the connection; closing twice does no harm."""
        with self.lock:
            session, self._connection = self._connection, None
            if session is not None:
                session.leave(self)

    def cut(self, connection: ServerSession) -> None:
        """Cut the socket in a forked process, so that the child cannot end the parent's session."""
        connection.let_go_in_child()

    def fetch(self, statement: str, *parameters: object) -> list[Any]:
        """Return all rows; outside transactions, streams that share a session read beside it."""
        reading = self._session.reading()
        if reading is None:
            return super().fetch(statement, *parameters)
        self._open()
        try:
            return reading.fetch(statement, parameters)
        except psycopg.Error as error:
            raise self.explain(error) from error

    @contextlib.contextmanager
    def reading_events(self) -> Iterator[None]:
        """Read events as of a single moment, which comes after any conversion of their table."""
        with self.reading():
            # Before the snapshot: one of before a conversion would find the new table empty.
            # Not the partitions: nobody needs those locks, nor the right to read each of them.
            self.run("LOCK TABLE ONLY journal_events IN ACCESS SHARE MODE")
            yield

    def wait_for_migration(self) -> None:
        """Within a write transaction, wait until no other process changes the tables."""
        self.fetch("SELECT pg_advisory_xact_lock(%s)", _MIGRATION_LOCK)

    def arrange_new_tables(self) -> None:
        """Divide the events of a new journal into partitions."""
        if self._session.version >= OLDEST_WITH_PARTITIONS:
            divide(self)

    def share(self, table: str) -> None:
        """Give a new table to the owner of the events, and to who may read these."""
        share_like_events(self, table)

    @contextlib.contextmanager
    def maintaining(self) -> Iterator[None]:
        """Keep other processes from archiving or converting this journal, by an advisory lock.

        Raises:
            JournalConflict: another process does so now.
        """
        key = _lock_number("trueup journal maintenance")
        if self.fetch("SELECT pg_try_advisory_lock(%s)", key) != [(True,)]:
            raise JournalConflict(
                f"Another process archives or converts events of {self.name}; wait until it has "
                "ended."
            )
        try:
            yield
        finally:
            # A broken connection has lost the lock.
            with contextlib.suppress(JournalError):
                self.fetch("SELECT pg_advisory_unlock(%s)", key)

    def revision(self) -> str | None:
        """Return the schema's revision, or None if there is no journal yet."""
        # Asked once in a session: the question costs more than any other of an opening.
        if not self._session.has_tables and self.fetch(_HAS_TABLES) == [(False,)]:
            return None
        self._session.has_tables = True
        rows = self.fetch(self.statements.revision)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> None:
        """Connect again after a broken connection, and undo what was left open on this one."""
        self._open()
        with self.lock:
            self._session.restore()
            # An interrupted append would find its own uncommitted rows, and take them for recorded.
            self.rollback()

    def begin(self) -> None:
        """Begin to write, in a transaction of its own."""
        # The server only warns of a transaction that is open, and a commit would include it.
        self.rollback()
        super().begin()

    def claim(self, stream: str, token: int, *, take_over: bool) -> Claim | None:
        """Take the stream's advisory lock; with `take_over` end a living holder's session first."""
        claim = SessionClaim(self, self._session, stream)
        return claim if claim.take(take_over=take_over) else None

    def continue_together(
        self,
        stream: str,
        holder: str,
        now_ns: int,
        permit: Callable[[Database], None] | None,
    ) -> Continued | None:
        """Become the writer of a sound and free stream, together with others that are opened now.

        Also makes sure that the connection works.
        """
        scope, session = scope_of(stream), self._session
        if scope is not None and session.has_tables and session.version >= OLDEST:
            claim = SessionClaim(self, self._session, stream)
            member = Member(
                stream,
                scope.account,
                (_account_lock(scope.account), claim.key),
                claim,
                holder,
                now_ns,
                lambda: None if permit is None else permit(self),
            )
            continued = continue_together(self._session, self, member)
            if continued is not None:
                return continued
        self._session.probe()
        return None

    def streams_of_bots(self) -> Sequence[str]:
        """Return the names of all streams that are of no account's scope, in order."""
        return self._session.bot_streams().names(self.fetch)

    def is_held(self, stream: str) -> bool:
        """Return whether a session has the stream's advisory lock."""
        claim = SessionClaim(self, self._session, stream)
        return claim.is_held_here or bool(claim.holders())

    def wait_for_account(self, account: str) -> None:
        """Take a lock of the account until the end of the transaction.

        Two transactions do not see each other's claims before they are committed, so two streams
        that overlap could be claimed at the same time.
        """
        self.fetch("SELECT pg_advisory_xact_lock(%s)", _account_lock(account))

    def note(self, stream: str) -> Tip | None:
        """Return None: no tip is noted outside the server."""
        return None

    def rollback(self) -> None:
        """Undo an open transaction; never fails.

        A connection that cannot roll back is useless, and is closed.
        """
        if self._connection is None or not self._session.is_alive:
            return
        try:
            if self.in_transaction():
                self._open().execute("ROLLBACK")
        except psycopg.Error:
            self._session.end()

    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return bool(self._open().info.transaction_status != idle)

    def explain(self, error: Exception) -> JournalError:
        """Return an error of PostgreSQL as a `JournalError` in plain words."""
        if self._connection is not None and not self._session.is_alive:
            return lost(self.name, error)
        if isinstance(error, errors.UniqueViolation) and "intent_id" in str(error):
            return JournalError("An intent of this append is in the journal already.")
        if isinstance(error, errors.DiskFull):
            words = f"{self.name}: the server's disk is full."
            return JournalError(words, remedy="make room on the disk of the PostgreSQL server")
        if has_no_room(error):
            return no_room(self.name)
        if isinstance(error, errors.LockNotAvailable):
            words = f"{self.name}: another session keeps it locked."
            return JournalError(words, remedy="end that session: pg_locks names it")
        return JournalError(f"{self.name}: {first_line(error)}.")

    def _use(self, session: ServerSession) -> None:
        self._session, self.lock = session, session.lock

    def _open(self) -> Any:
        super()._open()
        return self._session.connection


class SessionClaim:
    """The right to write a stream: an advisory lock of the session that the stream uses."""

    def __init__(self, database: PostgresDatabase, session: ServerSession, stream: str) -> None:
        self.token = 1
        self.note: Tip | None = None
        self._database, self._session = database, session
        self.key: int = _lock_number(f"trueup journal {stream}")
        """The number of the advisory lock."""

    @property
    def held_on(self) -> int | None:
        """The number of the connection on which the lock is held; None if it is not held."""
        is_ours = self._session.claims.get(self.key) is self
        return self._session.number if is_ours and self.is_held_here else None

    @property
    def is_held_here(self) -> bool:
        """Whether the session has the lock, for whichever writer of this process."""
        return self._session.is_alive and self.key in self._session.held

    def take(self, *, take_over: bool) -> bool:
        """Take the lock if it is free; with `take_over` also from a living holder."""
        if self._session.claims.get(self.key) is not None:
            # The server gives a session the same lock again, so only we can tell.
            if not take_over:
                return False
            # A writer of this process; its next append fails at the fence.
            self._session.claims.pop(self.key)
        if self._try() or (take_over and self._wrest(self.holders())):
            self._session.claims[self.key] = self
            return True
        return False

    def holders(self) -> list[int]:
        """Return the process numbers of the other sessions that hold the lock: at most one."""
        return [pid for (pid,) in self._database.fetch(_HOLDERS, self.key)]

    def renew(self) -> bool:
        """Take the lock again if a new connection could not take it.

        Returns:
            False if another session or another writer of this process has the lock. Another session
            must hold the lock in two looks in a row.
        """
        if self._session.claims.setdefault(self.key, self) is not self:
            return False
        strangers: set[int] = set()
        while not self._try():
            holders = set(self.holders())
            if holders & strangers:
                return False
            # The session seen first may have released the lock between the two questions.
            strangers = holders
        return True

    def record(self, tip: Tip) -> None:
        """Do nothing: the writer's row in the database is the only note."""

    def release(self) -> None:
        """Release the lock; a session that cannot release it is ended."""
        session = self._session
        if session.claims.get(self.key) is not self:
            return
        session.claims.pop(self.key)
        if self.is_held_here:
            session.held.discard(self.key)
            try:
                self._database.fetch("SELECT pg_advisory_unlock(%s)", self.key)
            except JournalError:
                session.end()

    def _try(self) -> bool:
        return self.is_held_here or self._ask("SELECT pg_try_advisory_lock(%s)")

    def _wrest(self, sessions: Iterable[int]) -> bool:
        """End these sessions, and take the lock once the server has released the lock."""
        for pid in sessions:
            self._database.fetch("SELECT pg_terminate_backend(%s)", pid)
        return self._ask("SELECT TRUE FROM pg_advisory_lock(%s)")

    def _ask(self, statement: str) -> bool:
        """Ask for the lock; return whether the session has it now."""
        is_answered = False
        try:
            is_taken = self._database.fetch(statement, self.key) == [(True,)]
            is_answered = True
        except JournalError:
            is_answered = True
            raise
        finally:
            # Interrupted: nobody knows whether this session has the lock.
            if not is_answered:
                self._session.end()
        if is_taken:
            self._session.held.add(self.key)
        return is_taken


def _account_lock(account: str) -> int:
    """Return the number of the lock that keeps two streams of an account from opening together."""
    return _lock_number(f"trueup account {account}")


def _lock_number(name: str) -> int:
    """Return the number of an advisory lock with this name: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
