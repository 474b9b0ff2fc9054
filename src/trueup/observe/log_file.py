"""A log file that begins anew at a size, also while others read it or write it.

The full file is renamed, so `NAME.1` is the newest of the older files. Windows refuses that while
another program has the file open; then the lines are copied out and the file is emptied. A lock
file beside it lets one of several processes do this at a time, and the others notice it at their
next line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from logging.handlers import BaseRotatingHandler
from pathlib import Path

from trueup.filelock import LockableFile
from trueup.private import make_private


class LogFile(BaseRotatingHandler):
    """Writes log lines to a file of at most `bytes_max` bytes, and keeps `files_kept` older ones.

    If a new file cannot be begun, this one grows, and the next attempt is a quarter of its size
    later. While the file cannot be written, as on a full disk, lines are lost; `tell` gets a
    sentence once.
    """

    # None while no file is open.
    stream: TextIOWrapper | None  # type: ignore[assignment]

    _is_lost = False

    def __init__(
        self, path: Path, bytes_max: int, files_kept: int, tell: Callable[[str], None]
    ) -> None:
        super().__init__(path, "a", encoding="utf-8")
        self._path = Path(self.baseFilename)
        self._bytes_max, self._files_kept, self._tell = bytes_max, files_kept, tell
        # The size at which a new file is begun: more than the limit after an attempt that failed.
        self._full_at = bytes_max

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        was_lost, self._is_lost = self._is_lost, False
        super().emit(record)
        if self._is_lost and not was_lost:
            self._tell(f"Lines of the log {self.baseFilename} are lost: {self._because}.")

    def handleError(self, record: logging.LogRecord) -> None:
        """Note that a line was lost."""
        self._is_lost, self._because = True, sys.exception()

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Return whether a line does not fit into the file any more."""
        size = self._size()
        return size > 0 and size + len(self.format(record).encode()) + 1 > self._full_at

    def doRollover(self) -> None:
        """Begin a new file, unless another process has begun one just now."""
        full, size = self.stream, self._size()
        try:
            with self._turn():
                if self._size() >= size and self.stream is full:
                    self._begin_anew()
        except BlockingIOError:
            # Another process is at it: this line may still come into the old file.
            return
        except OSError:
            self._full_at = self._size() + self._bytes_max // 4

    def _size(self) -> int:
        """Return the size of the file at this path now; 0 for what is no file, such as a pipe."""
        opened = None if self.stream is None else os.fstat(self.stream.fileno())
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            found = None
        # Another process has begun a new file, or a person has moved this one away.
        if opened is None or found is None or not os.path.samestat(opened, found):
            self._reopen()
            found = os.stat(self._path)
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def _reopen(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            # What a full disk did not take of an earlier line is lost.
            with contextlib.suppress(OSError):
                stream.close()
        make_private(self._path)
        self.stream = self._open()
        self._full_at = self._bytes_max

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Begin new files alone.

        Raises:
            BlockingIOError: another process is doing it.
        """
        turn = LockableFile(self._beside("lock"))
        try:
            turn.lock()
            yield
        finally:
            turn.release()

    def _begin_anew(self) -> None:
        aside = self._beside("full")
        # A process that was killed at this may have left a full file without a number.
        if _has_lines(aside):
            self._number(aside)
        try:
            self._put_aside(aside)
        finally:
            self._reopen()
        self._number(aside)

    def _put_aside(self, aside: Path) -> None:
        if self.stream is not None:
            self.stream.close()
        try:
            # Before the older files are moved, so that they stay in place if this fails.
            os.replace(self._path, aside)
        except OSError:
            _copy_out(self._path, aside)

    def _number(self, aside: Path) -> None:
        """Make a full file the newest of the older ones; the oldest goes."""
        older = [self._beside(str(number)) for number in range(1, self._files_kept + 1)]
        for source, target in zip(older[-2::-1], older[:0:-1], strict=True):
            if _has_lines(source):
                _move(source, target)
        _move(aside, older[0])

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")


def _has_lines(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _copy_out(path: Path, target: Path) -> None:
    """Copy a file and empty it; if that fails, the file is as before and there is no copy."""
    try:
        with path.open("rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            # At once: what another process writes between the two is lost.
            os.truncate(path, 0)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _move(source: Path, target: Path) -> None:
    """Rename a file; on Windows, where somebody reads either of them, copy it."""
    try:
        os.replace(source, target)
    except OSError:
        _copy_out(source, target)
