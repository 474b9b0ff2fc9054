"""One way to open a SQLite database, for the journal and for the gateway's record of requests."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path


class OwnedConnection(sqlite3.Connection):
    """A connection that is closed when its owner is dropped without closing it.

    Its locks end at once then, and not when some collection of garbage comes to it.
    """

    def __del__(self) -> None:
        # One that could not be opened has nothing to close.
        with suppress(sqlite3.Error):
            self.close()


def connected(place: Path | str, timeout_sec: float, *, uri: bool = False) -> sqlite3.Connection:
    """Open a database; a transaction begins where a statement says so.

    Whoever shares the connection between threads has them take turns.

    Args:
        place: its file, or ":memory:".
        timeout_sec: how long a statement waits for another process.
        uri: whether `place` is an address, as file:bot.db?mode=ro.
    """
    return sqlite3.connect(
        place,
        timeout=timeout_sec,
        isolation_level=None,
        check_same_thread=False,
        uri=uri,
        factory=OwnedConnection,
    )
