"""Open a SQLite database, for the journal and for the gateway's record of requests.

Both files must survive a power failure, so both are opened with the same settings.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

WRITE_AHEAD = "PRAGMA journal_mode=WAL"
DURABLE = (
    "PRAGMA synchronous=FULL",
    # On macOS a plain sync leaves data in the drive's cache; elsewhere these have no effect.
    "PRAGMA fullfsync=ON",
    "PRAGMA checkpoint_fullfsync=ON",
)
"""With these a commit returns after its bytes are on the disk, not before."""

# SQLite's primary result codes (SQLite documentation, "Result and Error Codes").
_MEANINGS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_BUSY: "another process or connection keeps it locked",
    sqlite3.SQLITE_LOCKED: "another process or connection keeps it locked",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database",
}


class OwnedConnection(sqlite3.Connection):
    """A connection that closes when its owner is dropped without closing it.

    So its locks end at once, and not at some later garbage collection.
    """

    def __del__(self) -> None:
        # A connection that failed to open cannot be closed.
        with suppress(sqlite3.Error):
            self.close()


def connected(place: Path | str, timeout_sec: float, *, uri: bool = False) -> sqlite3.Connection:
    """Open a database in autocommit mode: only an explicit BEGIN starts a transaction.

    Threads that share the connection must serialise their calls.

    Args:
        place: the file, or ":memory:".
        timeout_sec: how long a statement waits for another process.
        uri: whether `place` is a URI, such as file:bot.db?mode=ro.
    """
    # A transaction that Python's sqlite3 module opens implicitly would hold a lock unnoticed.
    return sqlite3.connect(
        place,
        timeout=timeout_sec,
        isolation_level=None,
        check_same_thread=False,
        uri=uri,
        factory=OwnedConnection,
    )


def error_code(error: Exception) -> int:
    """Return SQLite's primary result code of an error, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explained(error: Exception) -> str:
    """Return the meaning of an error in plain words, with SQLite's own words."""
    meaning = _MEANINGS.get(error_code(error))
    return f"{meaning} ({error})" if meaning else str(error)


def identity(path: Path | None) -> tuple[int, int] | None:
    """Return the device and inode number of a file, or None if there is no file."""
    if path is None:
        return None
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None
