"""Lock a file by the operating system, which releases the lock when its process ends.

The lock does not prevent reading the file. So a process that finds the file locked can read in it
which process has the lock.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from trueup.forks import HOLDERS
from trueup.private import FILE_MODE

BINARY = getattr(os, "O_BINARY", 0)
"""A flag for `os.open`: without it Windows would translate line endings."""

if sys.platform == "win32":
    import msvcrt

    # Other processes cannot read a locked byte, so lock a byte far behind the content.
    _LOCKED_BYTE = 1 << 30
    # Error codes that mean "locked by another process": EACCES and EDEADLK on Windows, 0 on Wine.
    _LOCKED = (errno.EACCES, errno.EDEADLK, 0)

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError: another process has the lock.
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
            BlockingIOError: another process has the lock.
            OSError: the file cannot be locked.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockableFile:
    """An open file that can be locked; created if it does not exist.

    A forked process closes its copy, which would otherwise keep the lock after its owner ended.

    Raises:
        OSError: the file cannot be opened or created.
    """

    def __init__(self, path: Path) -> None:
        with HOLDERS.opening():
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, FILE_MODE)
            HOLDERS.add(self)

    def lock(self) -> None:
        """Lock the file; raises the same errors as the function `lock`."""
        assert self._handle is not None
        lock(self._handle)

    def release(self) -> None:
        """Close the file and so release the lock; its content stays. A second call does nothing."""
        with HOLDERS.opening():
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def let_go_in_child(self) -> None:
        """Close a forked process's copy."""
        self.release()
