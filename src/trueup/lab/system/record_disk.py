"""The disk of the gateway's machine, and the product's own record of requests on it.

The record is `RequestStore`, unchanged, with its statements and its pragmas. Its database is in
memory and outlives the gateway's processes. Writes without a sync form a tail that a power failure
removes, except for writes that the operating system had written back by then.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from trueup.gateway.record.store import RequestStore
from trueup.lab.system.schedule import MS
from trueup.sqlite_file import OwnedConnection

# The lazy writer of Windows comes once a second (Microsoft, "File Caching").
WRITTEN_BACK_NS = 1_000 * MS
_WRITES = ("INSERT", "UPDATE", "DELETE")
_SYNCHRONOUS = "PRAGMA synchronous="


class RecordDisk:
    """The disk of a machine.

    `now_ns` is the world's time; `struck` is called when a write meets a full disk.
    """

    def __init__(self, now_ns: Callable[[], int], struck: Callable[[], None]) -> None:
        self._now_ns, self._struck = now_ns, struck
        self.is_full = False
        self.is_quiet = False
        """A full disk is not told of."""
        self._connection = self._empty()
        # The time of each write without a sync, and the disk's contents before that write.
        self._tail: deque[tuple[int, RecordConnection]] = deque()

    @property
    def connection(self) -> RecordConnection:
        """The disk's contents now."""
        return self._connection

    def open(self, boot: str, now_ns: Callable[[], int]) -> DiskStore:
        """Open the record for a process."""
        return DiskStore(self._connection, boot, now_ns)

    def lose_power(self) -> int:
        """Lose the tail; return the number of lost writes."""
        lost = self._unwritten()
        if lost:
            self._connection = lost[0][1]
        self._tail.clear()
        return len(lost)

    def write(self, connection: RecordConnection, *, is_synced: bool) -> None:
        """Accept a write.

        Raises:
            sqlite3.OperationalError: the disk is full.
        """
        if self.is_full:
            if not self.is_quiet:
                self._struck()
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        # A sync makes all earlier writes durable too.
        if is_synced:
            self._tail.clear()
            return
        self._tail = self._unwritten()
        self._tail.append((self._now_ns(), connection.begun_with or self.copy(connection)))

    def copy(self, connection: RecordConnection) -> RecordConnection:
        """Return a copy of the disk's contents."""
        copied = self._empty()
        connection.backup(copied)
        return copied

    def _unwritten(self) -> deque[tuple[int, RecordConnection]]:
        written_ns = self._now_ns() - WRITTEN_BACK_NS
        return deque(one for one in self._tail if one[0] > written_ns)

    def _empty(self) -> RecordConnection:
        connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=RecordConnection
        )
        connection.disk = self
        return connection


class RecordConnection(OwnedConnection):
    """A connection that reports each write to its disk, with or without a sync."""

    disk: RecordDisk
    begun_with: RecordConnection | None = None
    """The disk before the transaction under way. Within a transaction, no copy can be made: SQLite
    would wait for the transaction's end, forever."""
    _is_synced = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; pragmas about syncing also apply to the simulated disk."""
        if sql.startswith(_WRITES):
            self.disk.write(self, is_synced=self._is_synced)
        elif sql.startswith("BEGIN"):
            self.begun_with = None if self._is_synced else self.disk.copy(self)
        elif sql.startswith(("COMMIT", "ROLLBACK")):
            self.begun_with = None
        elif sql.startswith(_SYNCHRONOUS):
            self._is_synced = sql.endswith(("FULL", "EXTRA"))
        return super().execute(sql, parameters)


class DiskStore(RequestStore):
    """A process's record on a simulated disk."""

    def __init__(self, connection: RecordConnection, boot: str, now_ns: Callable[[], int]) -> None:
        self._on_disk = connection
        super().__init__(None, boot, now_ns)

    def _connect(self) -> sqlite3.Connection:
        return self._on_disk
