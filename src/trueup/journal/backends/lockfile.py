"""Claim a stream of a SQLite journal with a lock file.

The operating system releases a lock when the process that holds the lock ends, however the process
ends. The lock file lies beside the database; its name has a number that only grows. A process that
takes over from a living writer locks a new file and removes the old file, so a third process meets
the lock of the present writer. All this happens inside a write transaction of the database, so two
processes never do it at the same time.

The file also holds a note: the last committed tip of its writer. The note is written after each
commit and not synced, so the note may be behind the database and is never ahead. A database that
ends before its note has lost its end.
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
from trueup.journal.journal import Tip


class FileClaim(filelock.LockableFile):
    """The right to write a stream of a SQLite file."""

    held_on: int | None = 0
    """The lock does not depend on a connection."""

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
        """Return True: the lock does not depend on a connection."""
        return True

    def record(self, tip: Tip) -> None:
        """Note a tip; never fails."""
        if self._handle is not None:
            # The tip itself is in the database, so a note that cannot be written is only behind.
            with contextlib.suppress(OSError):
                os.lseek(self._handle, 0, os.SEEK_SET)
                os.write(self._handle, _written(tip))


def claim_file(database: Path, stream: str, token: int, *, take_over: bool) -> FileClaim | None:
    """Claim the right to write a stream, or return None if a living process has the right.

    The new claim's token is greater than `token` and than the token of every earlier claim.

    Raises:
        OSError: a lock file cannot be made or read.
    """
    earlier = lock_files(database, stream)
    if not take_over and any(filelock.is_locked(path) for path in earlier.values()):
        return None
    # Greater than all before, also where the database is an old copy with a smaller token.
    token = max([token, *earlier]) + 1
    path = database.with_name(f"{database.name}.{_slug(stream)}.{token}.lock")
    claim = FileClaim(path, token, noted(earlier.values()))
    for path in earlier.values():
        # Windows cannot remove a file that a paused process has open; the next claim removes the
        # file.
        with contextlib.suppress(OSError):
            path.unlink()
    return claim


def lock_files(database: Path, stream: str) -> dict[int, Path]:
    """Return the lock files of a stream by token."""
    slug = _slug(stream)
    found = _all_files(database, f"{database.name}.{slug}.")
    return {token: path for name, token, path in found if name == slug}


def all_lock_files(database: Path) -> list[Path]:
    """Return the lock files of all streams of a database."""
    return [path for _, _, path in _all_files(database, f"{database.name}.")]


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
        # Missing, empty or half written: the same as no note.
        pass
    return None


def _all_files(database: Path, begins: str) -> Iterator[tuple[str, int, Path]]:
    """Yield stream, token and path of each lock file whose name begins so, by name."""
    # A thousand streams have a thousand files there, and each opening of a stream looks for its own
    # several times: so names are compared first, and only what is left becomes a path.
    names = [name for name in os.listdir(database.parent) if name.startswith(begins)]
    pattern = re.compile(rf"{re.escape(database.name)}\.([\w-]+)\.(\d+)\.lock", flags=re.ASCII)
    for name in sorted(names):
        match = pattern.fullmatch(name)
        if match is not None:
            yield match[1], int(match[2]), database.with_name(name)
