"""The state file of the alerts: what is remembered, the messages, and the marks of what was sent.

The memory and the messages that follow from it are written in one transaction, and a message is
marked after its receiver has taken it. So a message is sent at least once, and a second time only
if the process ends between the sending and the mark.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from trueup.doors.alerts.deciding import Memory
from trueup.doors.alerts.texts import Message
from trueup.errors import TrueupError
from trueup.filelock import LockHeld, ProcessLock
from trueup.private import make_private, make_private_folder
from trueup.sqlite_file import DURABLE, WRITE_AHEAD, connected, error_code, explained

FILE, LOCK_FILE = "alerts.db", "alerts.lock"
# A message that nobody has taken for so long is given up, and one that all have taken is forgotten.
KEPT_NS = 7 * 86_400 * 1_000_000_000
_HOW_TO_REMOVE = "Remove this file; what lasts is then told again."
_HOW_TO_MEND = "See to the disk, and that no other program has this file open."
_BUSY_SEC = 5.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS memory (one INTEGER PRIMARY KEY CHECK (one = 1), state BLOB)",
    "CREATE TABLE IF NOT EXISTS messages"
    " (number INTEGER PRIMARY KEY AUTOINCREMENT, made_ns INTEGER NOT NULL, message BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS deliveries"
    " (number INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, receiver TEXT NOT NULL,"
    " sent_ns INTEGER, PRIMARY KEY (number, receiver))",
)

Kept = TypeVar("Kept", Memory, Message)


class StateTrouble(TrueupError):
    """The state of the alerts cannot be read or written."""


class AlerterLock(ProcessLock):
    """The exclusive right to send the alerts of a folder.

    Args:
        folder: the state folder.

    Raises:
        TrueupError: another process has the right, or the lock cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_FILE
        try:
            super().__init__(path)
        except LockHeld as held:
            raise TrueupError(
                f"The alerts of this folder are sent already, by {held.holder}: end that one "
                "first, since two would tell everything twice."
            ) from held
        except OSError as error:
            raise StateTrouble(f"{path} cannot be locked ({error.strerror}).") from error


class Store:
    """The state file; threads may share it and take turns.

    Args:
        path: the file, made if it does not exist.

    Every method raises `StateTrouble` if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        with self._clear():
            make_private_folder(path.parent)
            make_private(path)
            self._file = connected(path, _BUSY_SEC)
            for statement in (WRITE_AHEAD, *DURABLE, "PRAGMA foreign_keys=ON", *_SCHEMA):
                self._file.execute(statement)

    def load(self) -> Memory:
        """Return what is remembered."""
        with self._clear():
            row = self._file.execute("SELECT state FROM memory").fetchone()
        return Memory() if row is None else _read(self._path, row[0], Memory)

    def save(
        self, memory: Memory, messages: Sequence[Message], receivers: Sequence[str]
    ) -> list[Message]:
        """Keep the memory and new messages for these receivers, in one transaction.

        Returns the messages with their numbers.
        """
        kept: list[Message] = []
        with self._transaction() as file:
            file.execute(
                "INSERT INTO memory VALUES (1, ?)"
                " ON CONFLICT (one) DO UPDATE SET state = excluded.state",
                (msgspec.json.encode(memory),),
            )
            for message in messages:
                number = file.execute(
                    "INSERT INTO messages (made_ns, message) VALUES (?, ?)",
                    (message.made_ns, msgspec.json.encode(message)),
                ).lastrowid
                assert number is not None
                kept.append(msgspec.structs.replace(message, number=number))
                file.executemany(
                    "INSERT INTO deliveries VALUES (?, ?, NULL)",
                    [(number, receiver) for receiver in dict.fromkeys(receivers)],
                )
        return kept

    def waiting(self, receiver: str) -> list[Message]:
        """Return the messages that a receiver has not taken, the oldest first."""
        with self._clear():
            rows = self._file.execute(
                "SELECT number, message FROM deliveries JOIN messages USING (number)"
                " WHERE receiver = ? AND sent_ns IS NULL ORDER BY number",
                (receiver,),
            ).fetchall()
        return [
            msgspec.structs.replace(_read(self._path, raw, Message), number=number)
            for number, raw in rows
        ]

    def mark(self, receiver: str, numbers: Sequence[int], now_ns: int) -> None:
        """Note that a receiver has taken messages."""
        with self._transaction() as file:
            file.executemany(
                "UPDATE deliveries SET sent_ns = ? WHERE receiver = ? AND number = ?",
                [(now_ns, receiver, number) for number in numbers],
            )

    def taken_by_nobody_since(self) -> int | None:
        """Return when the oldest message was made that no receiver has taken; None for none."""
        with self._clear():
            row = self._file.execute(
                "SELECT min(made_ns) FROM messages WHERE number IN (SELECT number FROM deliveries"
                " GROUP BY number HAVING max(sent_ns) IS NULL)"
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def tidy_up(self, receivers: Sequence[str], now_ns: int) -> None:
        """Forget receivers that are no longer wanted, and old messages."""
        with self._transaction() as file:
            marks = ", ".join("?" * len(receivers))
            file.execute(
                f"DELETE FROM deliveries WHERE receiver NOT IN ({marks})",
                tuple(receivers),
            )
            file.execute(
                "DELETE FROM messages WHERE made_ns < ? OR number NOT IN"
                " (SELECT number FROM deliveries)",
                (now_ns - KEPT_NS,),
            )

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._file.close()

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """Take a turn, and raise errors as a sentence."""
        try:
            with self._turn:
                yield
        except (sqlite3.Error, OSError) as error:
            remedy = _HOW_TO_REMOVE if error_code(error) in _DAMAGED else _HOW_TO_MEND
            raise StateTrouble(f"{self._path}: {explained(error)}. {remedy}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # The connection commits at the end of its block, and rolls back after an exception.
        with self._clear(), self._file:
            self._file.execute("BEGIN IMMEDIATE")
            yield self._file


def _read(path: Path, raw: bytes, kind: type[Kept]) -> Kept:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateTrouble(f"{path} cannot be read: {error}. {_HOW_TO_REMOVE}") from error
