"""The file of a gateway's record of requests: SQLite in WAL mode, with synchronous FULL.

FULL is needed because a row "about to be sent" that is lost in a power failure is an order that is
sent twice. Only one process uses the file: SQLite's exclusive locking holds it until the process
ends, in whatever way. Without a path the record is in memory, for a terminal whose own positions
end with its process.

Requests with a final outcome are kept for `KEPT_DAYS`. The newest `KEPT_LEAST` are always kept, so
that a clock that jumps ahead does not empty the record. Requests without a final outcome are never
deleted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trueup.core.gateway_record import BookAsked, RecordMark
from trueup.errors import TrueupError, reason
from trueup.forks import HOLDERS, cut_files, never_finalise
from trueup.gateway.access.descriptors import spare
from trueup.logs import Logger, logger
from trueup.private import make_private, make_private_folder
from trueup.sqlite_file import DURABLE, WRITE_AHEAD, connected, error_code, explained, identity

log: Logger = logger("trueup.record")

BUSY_S = 2.0
KEPT_DAYS = 30
KEPT_LEAST = 10_000
DAY_NS = 86_400 * 1_000_000_000
# "trup" in ASCII; a database of another program is never mistaken for ours.
APPLICATION_ID = 0x74727570
FORMAT = 1
ELSEWHERE, UNOPENED = "elsewhere", "unopened"
"""States of a request in the file of another account: while the own account's file is open, or
while none is (see `gateway.record.account_files`). No row has these states."""

_SCHEMA = """
CREATE TABLE record (id TEXT NOT NULL, began_ns INTEGER NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL UNIQUE,
    login INTEGER NOT NULL,
    server TEXT NOT NULL,
    parameters BLOB NOT NULL,
    message BLOB,
    before BLOB CHECK ((before IS NULL) = (message IS NULL)),
    boot TEXT NOT NULL,
    came_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'unknown', 'settled', 'withdrawn')),
    reply BLOB CHECK (reply IS NOT NULL OR state IN ('prepared', 'withdrawn')),
    ended_ns INTEGER CHECK ((ended_ns IS NULL) = (state IN ('prepared', 'unknown')))
);
CREATE INDEX requests_unsettled ON requests (number) WHERE ended_ns IS NULL;
CREATE INDEX requests_ended ON requests (ended_ns) WHERE ended_ns IS NOT NULL;
"""
# Columns that older records lack. They are added with a default, and an earlier release ignores
# them. So the format number stays the same, and both releases can open the file.
_ADDED = ("stream", "journal", "key")
_INDEXES_OF_ADDED = (
    "CREATE INDEX IF NOT EXISTS requests_journals ON requests (journal, number)",
    "CREATE INDEX IF NOT EXISTS requests_keys ON requests (stream, key)",
)
# A table that older records lack; an earlier release ignores it.
_CLAIMS = """
CREATE TABLE IF NOT EXISTS claims (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    login INTEGER NOT NULL,
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    claim BLOB NOT NULL,
    given_to TEXT NOT NULL,
    UNIQUE (login, server, name)
)
"""
# A table that older records lack; an earlier release ignores it.
_FENCES = """
CREATE TABLE IF NOT EXISTS fences (
    login INTEGER NOT NULL,
    server TEXT NOT NULL,
    journal TEXT NOT NULL,
    token INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    PRIMARY KEY (login, server, journal)
)
"""
# Claims that were given to others are kept so that their former holders can be told.
CLAIMS_KEPT = 1_000
_COLUMNS = (
    "order_id, login, server, parameters, message, before, boot, came_ns, state, reply, ended_ns, "
    "stream, journal, key, number"
)


class StoreTrouble(TrueupError):
    """The gateway's record of requests cannot be read or written now."""


class StoreRefused(StoreTrouble):
    """The file belongs to another gateway, another program, or a newer release."""


class Entry(NamedTuple):
    """A request as it is stored.

    Attributes:
        order_id: the id, unique across all accounts.
        login, server: the account; 0 and empty if it was refused before the account was known.
        parameters: the parameters of the request, JSON.
        message: the arguments of `order_send`, JSON; None if nothing was sent.
        before: the state of the terminal before sending, JSON; None if nothing was sent.
        boot: the run of the gateway that received the request.
        came_ns: when the request arrived, UTC since 1970.
        state: `prepared`, `unknown`, `settled` or `withdrawn`.
        reply: the reply to the order, JSON.
        ended_ns: when the final outcome was recorded, UTC since 1970.
        stream: the book that sent the request; empty if none was named.
        journal: the id of that book's journal; empty if none was named.
        key: the caller's own name for the order; empty if none was given.
        number: the row's number, ascending.
    """

    order_id: str
    login: int
    server: str
    parameters: bytes
    message: bytes | None
    before: bytes | None
    boot: str
    came_ns: int
    state: str
    reply: bytes | None = None
    ended_ns: int | None = None
    stream: str = ""
    journal: str = ""
    key: str = ""
    number: int = 0


class ClaimRow(NamedTuple):
    """A claim as it is stored.

    Attributes:
        name: the claim's name, unique within an account.
        claim: a `core.claims.WriterClaim`, JSON.
        given_to: the writer that got the claim meanwhile, in words; empty while the claim is held.
    """

    name: str
    claim: bytes
    given_to: str = ""


class FenceRow(NamedTuple):
    """The newest fencing token of a journal, and the number of orders refused for an older one."""

    token: int = 0
    refused: int = 0


class RequestStore:
    """Stores the rows, one transaction each; thread-safe.

    Args:
        path: the file; None keeps the rows in memory.
        boot: the name of this run of the gateway; a new record takes its id from it.
        now_ns: nanoseconds of UTC since 1970.

    Raises:
        StoreRefused: another gateway uses the file, or the file is not a record of requests.
    """

    def __init__(self, path: Path | None, boot: str, now_ns: Callable[[], int]) -> None:
        self.name: str = "the record in memory" if path is None else str(path)
        self._path = None if path is None else path.absolute()
        self._boot = boot
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._process = os.getpid()
        HOLDERS.add(self)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._mark = RecordMark("")
        # The highest row number that was deleted by retention.
        self._dropped = 0
        try:
            self.mark()
        except StoreRefused:
            raise
        except StoreTrouble as trouble:
            # The trouble may pass before the first order arrives; until then reads can be served.
            log.error("[RECORD] No order can be taken now: %s", trouble)

    @property
    def is_durable(self) -> bool:
        """Whether the rows are in a file."""
        return self._path is not None

    awaits_account = False
    """Always False: this store serves all accounts; see `AccountRecords`."""

    def serve(self, login: int, server: str) -> bool:
        """Do nothing, since this store serves all accounts; see `AccountRecords`."""
        return False

    def may_have_more(self, login: int, server: str) -> bool:
        """Return False: `find` sees all requests of this store."""
        return False

    def mark(self) -> RecordMark:
        """Return the id of the record, and the last request in it."""
        with self._lock, self._explained():
            self._open()
            return self._mark

    def covers(self, mark: RecordMark) -> bool:
        """Return whether the record has every request since `mark`."""
        with self._lock, self._explained():
            connection = self._open()
            if mark.id != self._mark.id or self._dropped > mark.last:
                return False
            found = connection.execute(
                "SELECT came_ns FROM requests WHERE number = ?", (mark.last,)
            ).fetchone()
            return found == (mark.came_ns,) if mark.last else True

    def find(self, order_id: str) -> Entry | None:
        """Return the entry of a request, or None."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM requests WHERE order_id = ?", order_id)
        return rows[0] if rows else None

    def unsettled(self) -> list[Entry]:
        """Return the requests without a known outcome, oldest first."""
        condition = "ended_ns IS NULL ORDER BY number"
        return self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {condition}")

    def since(self, came_ns: int) -> list[Entry]:
        """Return all requests that arrived at or after a time, oldest first."""
        condition = "came_ns >= ? ORDER BY number"
        return self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {condition}", came_ns)

    def sent_by(
        self, login: int, server: str, asked: BookAsked, most: int
    ) -> tuple[int, list[Entry]]:
        """Return the number of a book's requests since its mark, and the newest, oldest first.

        Requests that were refused before the account was known are left out.
        """
        book = "journal = ?" if asked.journal else "stream = ? AND journal != ''"
        condition = f"{book} AND number > ? AND login = ? AND server = ?"
        values = (asked.journal or asked.stream, self._after(asked.marks), login, server)
        # The list may be longer than `most`, so the total is counted separately.
        newest = f"{condition} ORDER BY number DESC LIMIT {most}"
        found = self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {newest}", *values)
        with self._lock, self._explained():
            count = f"SELECT count(*) FROM requests WHERE {condition}"
            (total,) = self._open().execute(count, values).fetchone()
        return total, found[::-1]

    def _after(self, marks: Sequence[RecordMark]) -> int:
        """Return the row number of a book's latest mark; 0 if this record has none of the marks."""
        return max((mark.last for mark in marks if self.covers(mark)), default=0)

    def with_key(self, login: int, server: str, stream: str, key: str) -> list[Entry]:
        """Return the requests of an account that a book sent under one key, oldest first."""
        condition = "stream = ? AND key = ? AND login = ? AND server = ? ORDER BY number"
        query = f"SELECT {_COLUMNS} FROM requests WHERE {condition}"
        return self._rows(query, stream, key, login, server)

    def add(self, entry: Entry) -> bool:
        """Write a new request to disk; return False, with nothing written, for a known id.

        Raises:
            StoreTrouble: the request could not be written and is not in the record.
        """
        with self._lock, self._explained():
            connection = self._open()
            self._refuse_replaced()
            # The database decides whether the id is new, so that two threads cannot both add it.
            values = entry[:-1]
            cursor = connection.execute(
                f"INSERT INTO requests ({_COLUMNS.removesuffix(', number')}) "
                f"VALUES ({', '.join('?' * len(values))}) ON CONFLICT (order_id) DO NOTHING",
                values,
            )
            if not cursor.rowcount:
                return False
            number = int(cursor.lastrowid or 0)
            self._mark = RecordMark(self._mark.id, number, entry.came_ns)
            return True

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        """Write the outcome of a request: state `settled`, or `unknown` if it is not final.

        Raises:
            StoreTrouble: the outcome could not be written; the record is unchanged.
        """
        ended_ns = self._now_ns() if state == "settled" else None
        with self._lock, self._explained():
            connection = self._open()
            self._refuse_replaced()
            connection.execute(
                "UPDATE requests SET state = ?, reply = ?, ended_ns = ? "
                "WHERE order_id = ? AND ended_ns IS NULL",
                (state, reply, ended_ns, order_id),
            )

    def claims(self, login: int, server: str) -> list[ClaimRow]:
        """Return the claims of an account, oldest first."""
        query = "SELECT name, claim, given_to FROM claims WHERE login = ? AND server = ?"
        with self._lock, self._explained():
            rows = self._open().execute(f"{query} ORDER BY number", (login, server))
            return [ClaimRow(*row) for row in rows]

    def keep_claims(
        self, login: int, server: str, kept: Sequence[ClaimRow], dropped: Sequence[str] = ()
    ) -> None:
        """Write new and changed claims of an account to disk, and delete others, all or nothing.

        Raises:
            StoreTrouble: the claims could not be written; the record is unchanged.
        """
        with self._lock, self._explained():
            connection = self._open()
            self._refuse_replaced()
            with _transaction(connection):
                connection.executemany(
                    "INSERT INTO claims (login, server, name, claim, given_to) "
                    "VALUES (?, ?, ?, ?, ?) ON CONFLICT (login, server, name) DO UPDATE "
                    "SET claim = excluded.claim, given_to = excluded.given_to",
                    [(login, server, *row) for row in kept],
                )
                connection.executemany(
                    "DELETE FROM claims WHERE login = ? AND server = ? AND name = ?",
                    [(login, server, name) for name in dropped],
                )
                connection.execute(
                    "DELETE FROM claims WHERE given_to != '' AND number NOT IN "
                    "(SELECT number FROM claims ORDER BY number DESC LIMIT ?)",
                    (CLAIMS_KEPT,),
                )

    def fence(self, login: int, server: str, journal: str) -> FenceRow:
        """Return the fence of a journal in an account; token 0 if none was recorded."""
        condition = "login = ? AND server = ? AND journal = ?"
        query = f"SELECT token, refused FROM fences WHERE {condition}"
        with self._lock, self._explained():
            row = self._open().execute(query, (login, server, journal)).fetchone()
            return FenceRow() if row is None else FenceRow(*row)

    def keep_fence(self, login: int, server: str, journal: str, fence: FenceRow) -> None:
        """Write the fence of a journal to disk; a recorded token never becomes smaller.

        Raises:
            StoreTrouble: the fence could not be written; the record is unchanged.
        """
        with self._lock, self._explained():
            connection = self._open()
            self._refuse_replaced()
            connection.execute(
                "INSERT INTO fences (login, server, journal, token, refused) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (login, server, journal) DO UPDATE "
                "SET token = max(token, excluded.token), refused = max(refused, excluded.refused)",
                (login, server, journal, *fence),
            )

    def drop_old(self) -> int:
        """Delete the requests that are past their retention; return their number."""
        with self._lock, self._explained():
            connection = self._open()
            before_ns = self._now_ns() - KEPT_DAYS * DAY_NS
            old = "ended_ns < ? AND number <= ?"
            limits = (before_ns, self._mark.last - KEPT_LEAST)
            (newest,) = connection.execute(
                f"SELECT max(number) FROM requests WHERE {old}", limits
            ).fetchone()
            if newest is None:
                return 0
            # Store the highest deleted number, or `covers` would vouch for deleted requests.
            with _transaction(connection):
                dropped = connection.execute(f"DELETE FROM requests WHERE {old}", limits).rowcount
                highest = max(newest, self._dropped)
                connection.execute("UPDATE record SET dropped = ?", (highest,))
            self._dropped = highest
            return dropped

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock, HOLDERS.opening():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def let_go_in_child(self) -> None:
        """Never touch the file again: in a forked process SQLite must not even close its copy."""
        connection, self._connection = self._connection, None
        self._lock = threading.Lock()
        if connection is None or self._path is None:
            return
        names = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        files = {file for file in (self._identity, *map(identity, names)) if file is not None}
        never_finalise(connection)
        cut_files(files)

    def _rows(self, statement: str, *parameters: object) -> list[Entry]:
        with self._lock, self._explained():
            return [Entry(*row) for row in self._open().execute(statement, parameters)]

    # Opening the file.

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if os.getpid() != self._process:
                raise StoreTrouble(
                    f"Process {self._process} opened {self.name}; a process forked from it cannot "
                    "use it."
                )
            # Clients may hold all file descriptors, but an order must still be recorded.
            with spare():
                connection = self._connect()
                try:
                    self._mark = self._prepared(connection)
                except (sqlite3.Error, StoreTrouble):
                    connection.close()
                    raise
            self._connection, self._identity = connection, identity(self._path)
        if self._connection.in_transaction:
            # An interrupted call left it open. What comes next would be acknowledged in it, and be
            # lost with it.
            self._connection.execute("ROLLBACK")
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            make_private_folder(self._path.parent)
            make_private(self._path)
        return connected(self._path or ":memory:", BUSY_S)

    def _prepared(self, connection: sqlite3.Connection) -> RecordMark:
        # Set this before the first read: SQLite then holds the file until it is closed.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreRefused(
                f"{self.name} is a database of something else; give the gateway's record of "
                "requests a file of its own with --store."
            )
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise StoreRefused(f"{self.name} was written by a newer release of trueup; use that.")
        for statement in (WRITE_AHEAD, *DURABLE):
            connection.execute(statement)
        # In a single transaction, so that a crash never leaves half a schema.
        with _transaction(connection):
            if not tables:
                self._make(connection)
            _add_parts(connection)
        record_id, self._dropped = connection.execute("SELECT id, dropped FROM record").fetchone()
        last = connection.execute(
            "SELECT number, came_ns FROM requests ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return RecordMark(record_id, *(last or ()))

    def _make(self, connection: sqlite3.Connection) -> None:
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        row = (self._boot, self._now_ns(), 0)
        connection.execute("INSERT INTO record (id, began_ns, dropped) VALUES (?, ?, ?)", row)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")

    def _refuse_replaced(self) -> None:
        """SQLite keeps writing to a deleted file, and those rows are lost when the process ends."""
        if self._identity != identity(self._path):
            raise StoreTrouble(
                f"{self.name} was moved, replaced or deleted while it was open; put it back, or "
                "start the gateway again."
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except OSError as error:
            raise StoreTrouble(
                f"{self.name}: its folder cannot be made ({reason(error)})."
            ) from error

    def _explain(self, error: sqlite3.Error) -> StoreTrouble:
        code = error_code(error)
        # Only at opening: a file that is open already is held by this process alone.
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and self._connection is None:
            return StoreRefused(
                f"{self.name} is in use by another process, most likely another gateway; end that "
                "one, or give this one a file of its own with --store."
            )
        kind = StoreRefused if code == sqlite3.SQLITE_NOTADB else StoreTrouble
        return kind(f"{self.name}: {explained(error)}.")


def _add_parts(connection: sqlite3.Connection) -> None:
    """Add the columns and the tables that the record lacks, and their indexes."""
    has = {row[1] for row in connection.execute("PRAGMA table_info(requests)")}
    for name in _ADDED:
        if name not in has:
            connection.execute(f"ALTER TABLE requests ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
    for statement in (*_INDEXES_OF_ADDED, _CLAIMS, _FENCES):
        connection.execute(statement)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
