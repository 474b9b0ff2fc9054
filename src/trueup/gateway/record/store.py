"""The file in which a gateway keeps its record of requests: SQLite, in WAL mode, synchronous FULL.

FULL, because a row that says "about to be sent" and is lost with the power is an order that goes
out twice. One process has the file, and no other: SQLite's exclusive locking holds it as long as
the process lives, however that ends. Without a path the record is in memory, for a terminal whose
own positions live no longer than its process.

What is settled is kept for `KEPT_DAYS`, and the newest `KEPT_LEAST` whatever their age, so that a
clock that leaps ahead does not empty the record. What is not settled is never dropped.
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
# "trup", so that a database of something else is never taken for ours.
APPLICATION_ID = 0x74727570
FORMAT = 1
ELSEWHERE, UNOPENED = "elsewhere", "unopened"
"""States of a request that is in another account's file, while an account's own is open, or none
is (see `gateway.record.account_files`). No row has them."""

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
# What records of before lack. A column with a default is added to those, and stays one that an
# earlier release passes over: so the format has the same number, and either release opens the file.
_ADDED = ("stream", "journal", "key")
_INDEXES_OF_ADDED = (
    "CREATE INDEX IF NOT EXISTS requests_journals ON requests (journal, number)",
    "CREATE INDEX IF NOT EXISTS requests_keys ON requests (stream, key)",
)
_COLUMNS = (
    "order_id, login, server, parameters, message, before, boot, came_ns, state, reply, ended_ns, "
    "stream, journal, key, number"
)


class StoreTrouble(TrueupError):
    """The gateway's record of requests can be neither read nor written now."""


class StoreRefused(StoreTrouble):
    """The file is another gateway's, another program's, or of a newer release."""


class Entry(NamedTuple):
    """One request as it is kept.

    `parameters` are what was asked for, `message` what `order_send` was given and `before` what was
    known of the terminal then, all JSON; the latter two are None where nothing was sent. `boot` is
    the gateway's run that took it, `reply` the order's reply as JSON. `stream` is the book that
    sent it, `journal` the id of that book's journal and `key` the caller's own name for the order;
    empty where the sender named none. Times are nanoseconds of UTC since 1970.
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


class RequestStore:
    """The rows, written one transaction each; safe to share between threads.

    Args:
        path: the file; None keeps the rows in memory.
        boot: this run of the gateway, of which a new record takes its id.
        now_ns: nanoseconds of UTC since 1970.

    Raises:
        StoreRefused: the file is in use by another gateway, or no record of ours.
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
        # The highest number that retention has let go.
        self._dropped = 0
        try:
            self.mark()
        except StoreRefused:
            raise
        except StoreTrouble as trouble:
            # It may be over when the first order comes; until then the gateway is good for reading.
            log.error("[RECORD] No order can be taken now: %s", trouble)

    serves_nobody = False
    """Whether it waits for an account; see `AccountRecords`."""

    def serve(self, login: int, server: str) -> bool:
        """Keep the record of an account too; there is nothing to do, it is that of any."""
        return False

    def may_have_more(self, login: int, server: str) -> bool:
        """Return whether an account has requests that `find` does not know of; none has."""
        return False

    def mark(self) -> RecordMark:
        """Return which record this is and how far it reaches."""
        with self._lock, self._explained():
            self._open()
            return self._mark

    def covers(self, mark: RecordMark) -> bool:
        """Return whether everything that came since the record was at a mark is in it."""
        with self._lock, self._explained():
            connection = self._open()
            if mark.id != self._mark.id or self._dropped > mark.last:
                return False
            found = connection.execute(
                "SELECT came_ns FROM requests WHERE number = ?", (mark.last,)
            ).fetchone()
            return found == (mark.came_ns,) if mark.last else True

    def find(self, order_id: str) -> Entry | None:
        """Return what there is of a request, or None."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM requests WHERE order_id = ?", order_id)
        return rows[0] if rows else None

    def unsettled(self) -> list[Entry]:
        """Return the requests without a known outcome, oldest first."""
        condition = "ended_ns IS NULL ORDER BY number"
        return self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {condition}")

    def since(self, came_ns: int) -> list[Entry]:
        """Return all requests that came at or after a time, oldest first."""
        condition = "came_ns >= ? ORDER BY number"
        return self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {condition}", came_ns)

    def sent_by(
        self, login: int, server: str, asked: BookAsked, most: int
    ) -> tuple[int, list[Entry]]:
        """Return how many requests of a book came after its mark, and the newest, oldest first.

        Requests that were refused before an account was known are left out.
        """
        book = "journal = ?" if asked.journal else "stream = ? AND journal != ''"
        condition = f"{book} AND number > ? AND login = ? AND server = ?"
        values = (asked.journal or asked.stream, self._after(asked.marks), login, server)
        newest = f"{condition} ORDER BY number DESC LIMIT {most}"
        found = self._rows(f"SELECT {_COLUMNS} FROM requests WHERE {newest}", *values)
        with self._lock, self._explained():
            count = f"SELECT count(*) FROM requests WHERE {condition}"
            (total,) = self._open().execute(count, values).fetchone()
        return total, found[::-1]

    def _after(self, marks: Sequence[RecordMark]) -> int:
        """Return the number after which a book asks; 0 where no mark is one of this record's."""
        return max((mark.last for mark in marks if self.covers(mark)), default=0)

    def with_key(self, login: int, server: str, stream: str, key: str) -> list[Entry]:
        """Return the requests of an account that a book sent under one key, oldest first."""
        condition = "stream = ? AND key = ? AND login = ? AND server = ? ORDER BY number"
        query = f"SELECT {_COLUMNS} FROM requests WHERE {condition}"
        return self._rows(query, stream, key, login, server)

    def add(self, entry: Entry) -> bool:
        """Write a new request to the disk; return False, with nothing written, for a known id.

        Raises:
            StoreTrouble: it could not be written; it is not in the record.
        """
        with self._lock, self._explained():
            connection = self._open()
            self._refuse_replaced()
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
        """Write what became of a request: state `settled`, or `unknown` for the time being.

        Raises:
            StoreTrouble: it could not be written; the record has what it had.
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

    def drop_old(self) -> int:
        """Let go of what retention no longer keeps; return how many requests."""
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
            with _transaction(connection):
                dropped = connection.execute(f"DELETE FROM requests WHERE {old}", limits).rowcount
                highest = max(newest, self._dropped)
                connection.execute("UPDATE record SET dropped = ?", (highest,))
            self._dropped = highest
            return dropped

    def close(self) -> None:
        """Let go of the file; closing twice does no harm."""
        with self._lock, HOLDERS.opening():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def let_go_in_child(self) -> None:
        """Never touch the file again: SQLite must not even close what a fork has copied."""
        connection, self._connection = self._connection, None
        self._lock = threading.Lock()
        if connection is None or self._path is None:
            return
        names = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        files = {one for one in (self._identity, *map(identity, names)) if one is not None}
        never_finalise(connection)
        cut_files(files)

    def _rows(self, statement: str, *parameters: object) -> list[Entry]:
        with self._lock, self._explained():
            return [Entry(*row) for row in self._open().execute(statement, parameters)]

    # The file.

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if os.getpid() != self._process:
                raise StoreTrouble(
                    f"Process {self._process} opened {self.name}; a process forked from it cannot "
                    "use it."
                )
            with spare():
                connection = self._connect()
                try:
                    self._mark = self._prepared(connection)
                except (sqlite3.Error, StoreTrouble):
                    connection.close()
                    raise
            self._connection, self._identity = connection, identity(self._path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            make_private_folder(self._path.parent)
            make_private(self._path)
        return connected(self._path or ":memory:", BUSY_S)

    def _prepared(self, connection: sqlite3.Connection) -> RecordMark:
        # Exclusive before anything is read: then SQLite never lets go of the file again.
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
        with _transaction(connection):
            if not tables:
                self._make(connection)
            _add_columns(connection)
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
        """SQLite goes on writing to a file that was removed, and it is gone with the process."""
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
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and self._connection is None:
            return StoreRefused(
                f"{self.name} is in use by another process, most likely another gateway; end that "
                "one, or give this one a file of its own with --store."
            )
        kind = StoreRefused if code == sqlite3.SQLITE_NOTADB else StoreTrouble
        return kind(f"{self.name}: {explained(error)}.")


def _add_columns(connection: sqlite3.Connection) -> None:
    """Give a record the columns that it lacks, and their indexes."""
    has = {row[1] for row in connection.execute("PRAGMA table_info(requests)")}
    for name in _ADDED:
        if name not in has:
            connection.execute(f"ALTER TABLE requests ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
    for statement in _INDEXES_OF_ADDED:
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
