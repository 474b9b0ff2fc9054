"""The sessions of a PostgreSQL server through which the streams of this process are written.

A process has at most `WRITING` sessions for writing to a database, however many streams it writes.
A stream always uses the same one of them, for its lock and for its appends: so whoever gets the
lock later knows that every earlier append has ended. Streams of one session take turns, and an
append is short. What may take long, such as the replay of a book, is read over sessions of its own,
at most `READING` of them.

After a broken connection the former session may live on in the server for a while, with its locks
and perhaps a commit under way. So each session first takes an advisory lock with a random number
that only this process knows. The next session ends the one that still has that lock, and then takes
the locks of all its streams again.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import weakref
import zlib
from collections import deque
from functools import partial
from typing import Any, Final, LiteralString

import psycopg

from trueup.errors import JournalError
from trueup.forks import HOLDERS, cut_handle, never_finalise
from trueup.journal.backends.bot_streams import BotStreams
from trueup.journal.backends.server_away import is_away
from trueup.journal.database.database import Claim, ConnectionLost, Database, Unreachable
from trueup.processes import take_when_left

WRITING: Final = 4
READING: Final = 2
# How long a session waits for another session's lock.
LOCK_MS = 5_000
SEE_TO_SERVER = "start the PostgreSQL server, or repair the network on the way to it"
MORE_LOCKS = (
    "raise max_locks_per_transaction of the PostgreSQL server: every stream with a writer needs a "
    "lock (docs/concepts/scaling.md)"
)
# Commits must reach the server's disk, whatever the server's default is.
_SETTINGS: Final = (
    "SELECT set_config('lock_timeout', %s, false), set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false)"
)
WITH_LOCK: Final[LiteralString] = (
    "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint = %s AND pid <> pg_backend_pid()"
)
_TAKE: Final = "SELECT pg_try_advisory_lock(%s)"
# Also sessions that wait for the lock: they would have it before us.
_END_FORMER: Final = f"SELECT pid, pg_terminate_backend(pid) {WITH_LOCK}"
_IS_LEFT: Final = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = ANY(%s::int[]))"
)
_WAIT: Final = "SELECT pg_advisory_lock(%s)"
_TAKE_ALL: Final = "SELECT key FROM unnest(%s::bigint[]) AS key WHERE pg_try_advisory_lock(key)"


class SessionLock:
    """A reentrant lock that tells whether the current thread holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holder, self._depth = 0, 0

    def __enter__(self) -> bool:
        self._lock.acquire()
        self._holder, self._depth = threading.get_ident(), self._depth + 1
        return True

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = 0
        self._lock.release()

    @property
    def is_mine(self) -> bool:
        """Whether the current thread holds the lock."""
        return self._holder == threading.get_ident()


class ServerSession:
    """A connection to a server, made again when it broke, and the locks of streams on it.

    Args:
        address: where the server is, as psycopg takes it.
        name: the database's name in messages.
        reading: the sessions to read over while several journals use this one; None for a session
            of a single user, which takes no locks.
    """

    def __init__(self, address: str, name: str, reading: ReadingSessions | None = None) -> None:
        self.lock: SessionLock = SessionLock()
        """Held by the thread that uses the connection."""
        self.connection: psycopg.Connection[Any] | None = None
        self.number: int = 0
        """The number of the present connection."""
        self.claims: weakref.WeakValueDictionary[int, Claim]
        self.claims = weakref.WeakValueDictionary()
        """The writers of this process by the number of their lock."""
        self.held: set[int] = set()
        """The numbers of the locks of streams that the present session holds."""
        self.version: int = 0
        """The version of the server, as 150004 for 15.4; 0 before the first connection."""
        self.has_tables: bool = False
        """Whether the database of the present connection is known to have a journal."""
        self.openings: deque[Any] = deque()
        """The openings of streams that wait for this session (`together.Member`)."""
        self._address, self._name, self._reading = address, name, reading
        self._users: weakref.WeakSet[Database] = weakref.WeakSet()
        # Known to this process alone: who has this lock is a session of ours.
        self._key = secrets.randbits(63)
        # The server's processes of the latest connection and of those that broke while it was made.
        self._former: set[int] = set()
        HOLDERS.add(self)

    @property
    def is_alive(self) -> bool:
        """Whether the connection is not known to be broken."""
        return self.connection is not None and not self.connection.closed

    def join(self, user: Database) -> None:
        """Connect for a user, or share the connection of the earlier users.

        Raises:
            JournalError: the server cannot be reached.
        """
        with self.lock:
            self.restore()
            self.admit(user)

    def admit(self, user: Database) -> None:
        """Add a user that connects later, by `probe`; does not wait for the session."""
        self._users.add(user)
        if self._reading is not None:
            self._reading.users.add(user)

    def probe(self) -> None:
        """Ask the server for a sign of life; connect again if the connection has broken.

        Raises:
            JournalError: the server cannot be reached.
        """
        with self.lock:
            if self.is_alive:
                # It may have broken since it was used last.
                with contextlib.suppress(psycopg.Error):
                    self._connected().execute("SELECT 1")
            self.restore()

    def leave(self, user: Database) -> None:
        """End the use; the last user's end closes the connection."""
        with self.lock, HOLDERS.opening():
            self._users.discard(user)
            if self._reading is not None:
                self._reading.leave(user)
            if not self._users:
                self.end()

    def restore(self) -> None:
        """Connect again after a broken connection.

        Raises:
            JournalError: the server cannot be reached.
        """
        with self.lock:
            if not self.is_alive:
                self._connect()

    def end(self) -> None:
        """Close a connection that cannot be used; the next use makes a new one."""
        if self.connection is not None:
            self.connection.close()
        self.held.clear()

    def reading(self) -> ReadingSessions | None:
        """Return the sessions to read over; None to read over this one.

        Within a transaction, what is read is that transaction's. A stream that has this session for
        itself delays nobody.
        """
        return None if self.lock.is_mine or len(self._users) < 2 else self._reading

    def bot_streams(self) -> BotStreams:
        """Return the names that the openings of this process share."""
        return BotStreams() if self._reading is None else self._reading.bot_streams

    def let_go_in_child(self) -> None:
        """In a forked process: cut the socket, so that the child cannot end the session."""
        connection, self.connection = self.connection, None
        # A new lock: the thread that held the old lock does not exist in this process.
        self.lock = SessionLock()
        self.claims, self.held = weakref.WeakValueDictionary(), set()
        self.openings = deque()
        cut_connection(connection)

    def _connected(self) -> psycopg.Connection[Any]:
        assert self.connection is not None
        return self.connection

    def _connect(self) -> None:
        self.held.clear()
        try:
            connection = psycopg.connect(self._address, autocommit=True)
        except psycopg.Error as error:
            raise unreachable(self._name, self._address, error) from error
        try:
            connection.execute(_SETTINGS, (str(LOCK_MS),))
            if self._reading is not None:
                self._end_former(connection)
                self._take_again(connection)
        except psycopg.Error as error:
            connection.close()
            self.held.clear()
            raise unreachable(self._name, self._address, error) from error
        self.connection = connection
        self.version = connection.info.server_version
        # It may be another server, or a database that was made anew.
        self.has_tables = False
        self.number += 1
        self._former = {connection.info.backend_pid}

    def _end_former(self, connection: psycopg.Connection[Any]) -> None:
        """End our former session, if the server still has it; until then it has all our locks."""
        this = connection.info.backend_pid
        former = self._former - {this}
        self._former.add(this)
        if connection.execute(_TAKE, (self._key,)).fetchone() == (False,):
            ended = connection.execute(_END_FORMER, (self._key,)).fetchall()
            former.update(pid for pid, _ in ended)
            connection.execute(_WAIT, (self._key,))

        def are_gone() -> bool | None:
            is_left = connection.execute(_IS_LEFT, (list(former),)).fetchone() == (True,)
            return None if is_left else True

        # A session that ends releases its locks one after the other, and may be interrupted between
        # the lock above and those of the streams.
        if former:
            take_when_left(are_gone, lambda: True, looks=LOCK_MS // 20)

    def _take_again(self, connection: psycopg.Connection[Any]) -> None:
        """Take the locks of all streams; a lock that another process has now is left to `renew`."""
        try:
            rows = connection.execute(_TAKE_ALL, (list(self.claims.keys()),)).fetchall()
        except psycopg.Error:
            # As when the server has no room for so many locks: the connection itself is good.
            if connection.closed:
                raise
        else:
            self.held.update(key for (key,) in rows)


class ReadingSessions:
    """The connections over which journals are read that share their sessions for writing."""

    def __init__(self, address: str, name: str) -> None:
        self.users: weakref.WeakSet[Database] = weakref.WeakSet()
        """The journals that may read."""
        self._address, self._name = address, name
        self._renew()
        HOLDERS.add(self)

    def _renew(self) -> None:
        self.bot_streams: BotStreams = BotStreams()
        self._free = threading.BoundedSemaphore(READING)
        self._idle: list[psycopg.Connection[Any]] = []
        # In a forked process nobody else's descriptors may be touched, so all of ours are known.
        self._all: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()

    def fetch(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        """Return all rows; a connection that broke since its last use is replaced.

        Raises:
            psycopg.Error: the server refuses the statement.
            JournalError: the server cannot be reached, or the connection broke.
        """
        with self._free:
            while True:
                connection, is_new = self._connection()
                try:
                    rows = list(connection.execute(statement, parameters))
                except psycopg.Error as error:
                    if not connection.closed:
                        raise
                    if is_new:
                        raise lost(self._name, error) from error
                    continue
                finally:
                    self._keep(connection)
                return rows

    def leave(self, user: Database) -> None:
        """End the use of a journal; the last one's end closes the connections."""
        self.users.discard(user)
        while not self.users and self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()

    def let_go_in_child(self) -> None:
        """In a forked process: cut the sockets."""
        connections = list(self._all)
        self._renew()
        for connection in connections:
            cut_connection(connection)

    def _connection(self) -> tuple[psycopg.Connection[Any], bool]:
        with contextlib.suppress(IndexError):
            return self._idle.pop(), False
        try:
            connection = psycopg.connect(self._address, autocommit=True)
        except psycopg.Error as error:
            raise unreachable(self._name, self._address, error) from error
        self._all.add(connection)
        return connection, True

    def _keep(self, connection: psycopg.Connection[Any]) -> None:
        if self.users and not connection.closed:
            self._idle.append(connection)
        else:
            connection.close()


class Sessions:
    """The sessions of this process that its streams share, by database."""

    def __init__(self) -> None:
        self._renew()
        HOLDERS.add(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        # Kept for the life of the process: a session may have to end its predecessor.
        self._writing: dict[tuple[str, int], ServerSession] = {}
        self._reading: dict[str, ReadingSessions] = {}

    def of(self, address: str, name: str, stream: str) -> ServerSession:
        """Return the session for writing a stream: always the same one."""
        place = address, zlib.crc32(stream.encode()) % WRITING
        with self._lock:
            if address not in self._reading:
                self._reading[address] = ReadingSessions(address, name)
            if place not in self._writing:
                self._writing[place] = ServerSession(address, name, self._reading[address])
            return self._writing[place]

    def let_go_in_child(self) -> None:
        """In a forked process: forget all sessions, which belong to the parent."""
        # Kept alive: each session of the parent still has to cut its own socket.
        never_finalise(self._writing, self._reading)
        self._renew()


SESSIONS: Final = Sessions()


def unreachable(name: str, address: str, error: Exception) -> JournalError:
    """Return the error for a server that cannot be reached, or has no room for a connection."""
    if has_no_room(error):
        return no_room(name)
    words = f"{name} cannot be reached: {first_line(error)}."
    return Unreachable(words, remedy=SEE_TO_SERVER, is_away=partial(is_away, address))


def has_no_room(error: Exception) -> bool:
    """Return whether the server's table of locks is full; a connection needs locks of its own."""
    return isinstance(error, psycopg.Error) and "out of shared memory" in str(error)


def no_room(name: str) -> JournalError:
    """Return the error for a server whose table of locks is full."""
    return JournalError(f"{name}: the server has no room for another lock.", remedy=MORE_LOCKS)


def lost(name: str, error: Exception) -> ConnectionLost:
    """Return the error for a connection that broke."""
    words = f"{name}: the connection was lost ({first_line(error)})."
    return ConnectionLost(words, remedy=SEE_TO_SERVER)


def cut_connection(connection: psycopg.Connection[Any] | None) -> None:
    """In a forked process: cut the socket of a connection, and never close it in order."""
    if connection is not None:
        never_finalise(connection)
        with contextlib.suppress(psycopg.Error, OSError):
            cut_handle(connection.fileno())


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0].rstrip(".")
