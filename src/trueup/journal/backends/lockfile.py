"""Locks of the operating system, which end with the process that holds them, however it ends.

A claim to write one stream of a SQLite file is a locked file beside it, named after a number that
only grows. Who takes over from a living holder locks a file of its own and removes the other's: so
a third process meets the lock of whoever writes now. All of it happens inside a write transaction
of the database, so that two processes never do it at once.

The file also keeps a note: how far its holder got. It is written after each commit and not
synced, so it may lag behind the database and never runs ahead of it. A database that ends before
its note has lost its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from trueup import filelock
from trueup.forks import HOLDERS
from trueup.journal.journal import Tip


class FileClaim(filelock.LockableFile):
    """The right to write one stream of a SQLite file."""

    def __init__(self, path: Path, token: int, note: Tip | None) -> None:
        self.token: int = token
        self.note: Tip | None = note
        super().__init__(path)
        try:
            self.lock()
        except OSError:
            self.release()
            raise
        if note is not None:
            self.record(note)

    def renew(self) -> bool:
        """The lock does not depend on a connection."""
        return True

    def record(self, tip: Tip) -> None:
        """Note a tip; never fails."""
        if self._handle is not None:
            # The tip itself is in the database: a note that cannot be written only lags behind.
            with contextlib.suppress(OSError):
                os.lseek(self._handle, 0, os.SEEK_SET)
                os.write(self._handle, _written(tip))


def claim_file(database: Path, stream: str, token: int, *, take_over: bool) -> FileClaim | None:
    """Take the right to write a stream, or return None when a living process has it.

    The new claim's token is above `token` and above that of every earlier claim.

    Raises:
        OSError: a lock file cannot be made or read.
    """
    earlier = lock_files(database, stream)
    if not take_over and any(is_locked(path) for path in earlier.values()):
        return None
    token = max([token, *earlier]) + 1
    path = database.with_name(f"{database.name}.{_slug(stream)}.{token}.lock")
    claim = FileClaim(path, token, noted(earlier.values()))
    for path in earlier.values():
        # Windows does not remove what a paused holder has open; it goes the next time.
        with contextlib.suppress(OSError):
            path.unlink()
    return claim


def lock_files(database: Path, stream: str) -> dict[int, Path]:
    """Return the lock files of a stream by token."""
    return {token: path for name, token, path in _all_files(database) if name == _slug(stream)}


def all_lock_files(database: Path) -> list[Path]:
    """Return the lock files of all streams of a database."""
    return [path for _, _, path in _all_files(database)]


def is_locked(path: Path) -> bool:
    """Return whether a living process holds a lock file."""
    with HOLDERS.opening():
        try:
            handle = os.open(path, os.O_RDWR | filelock.BINARY)
        except FileNotFoundError:
            return False
        try:
            filelock.lock(handle)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def noted(paths: Iterable[Path]) -> Tip | None:
    """Return the furthest tip that these lock files note, or None."""
    tips = [tip for tip in map(_read, paths) if tip is not None]
    return max(tips, key=lambda tip: tip.position, default=None)


def _slug(stream: str) -> str:
    if re.fullmatch(r"[\w-]{1,64}", stream, flags=re.ASCII):
        return stream
    return hashlib.sha256(stream.encode()).hexdigest()[:16]


def _written(tip: Tip) -> bytes:
    text = f"{tip.position:020d} {tip.hash.hex()}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def _read(path: Path) -> Tip | None:
    try:
        text, check = path.read_text(encoding="ascii").rstrip("\n").rsplit(" ", 1)
        position, digest = text.split(" ")
        if int(check, 16) == zlib.crc32(text.encode()):
            return Tip(int(position), bytes.fromhex(digest))
    except (OSError, ValueError):
        # Not there, never written, or torn: it says nothing.
        pass
    return None


def _all_files(database: Path) -> Iterator[tuple[str, int, Path]]:
    pattern = re.compile(rf"{re.escape(database.name)}\.([\w-]+)\.(\d+)\.lock", flags=re.ASCII)
    for path in sorted(database.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is not None:
            yield match[1], int(match[2]), path
