"""Locking a file by the operating system, which ends the lock with the process that holds it.

The lock is on the file and does not hinder reading it: whoever finds it locked can read in it who
has it.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from trueup.forks import HOLDERS
from trueup.private import FILE_MODE

BINARY = getattr(os, "O_BINARY", 0)
"""A flag for `os.open`: Windows would translate line ends otherwise."""

if sys.platform == "win32":
    import msvcrt

    # A locked byte cannot be read by others: lock one far behind what is written.
    _LOCKED_BYTE = 1 << 30
    # What says that another process has the lock: the first on Windows, none at all under Wine.
    _LOCKED = (errno.EACCES, errno.EDEADLK, 0)

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError: another process has it.
            OSError: the file cannot be locked.
        """
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in _LOCKED:
                raise
            raise BlockingIOError(errno.EAGAIN, "another process has it locked") from error
else:
    import fcntl

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError: another process has it.
            OSError: the file cannot be locked.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockableFile:
    """A file that is open to be locked; made where it is not there.

    A process that is forked from this one closes its copy, which would keep the lock when its owner
    has ended.

    Raises:
        OSError: it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        with HOLDERS.opening():
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, FILE_MODE)
            HOLDERS.add(self)

    def lock(self) -> None:
        """Lock it; raises as the function `lock` does."""
        assert self._handle is not None
        lock(self._handle)

    def release(self) -> None:
        """Let somebody else have it; what is written in it stays. Twice does no harm."""
        with HOLDERS.opening():
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def let_go_in_child(self) -> None:
        """Close a forked process's copy."""
        self.release()
