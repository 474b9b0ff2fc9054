"""Lock a file by the operating system, which releases the lock when its process ends.

The lock does not prevent reading the file. So a process that finds the file locked can read in it
which process has the lock.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from trueup.forks import HOLDERS
from trueup.private import FILE_MODE, make_private_folder
from trueup.processes import holder_of, holds, take_when_left

_PID_CHARS = 20
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

    def unlock(handle: int) -> None:
        """Do nothing: without forks there is no copy, and closing the file releases the lock."""
else:
    import fcntl

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError: another process has the lock.
            OSError: the file cannot be locked.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(handle: int) -> None:
        """Release the lock of an open file, whichever processes have a copy of the descriptor."""
        fcntl.flock(handle, fcntl.LOCK_UN)


class LockableFile:
    """An open file that can be locked; created if it does not exist.

    A forked process closes its copy, which would otherwise keep the lock after its owner ended.

    Raises:
        OSError: the file cannot be opened or created.
    """

    def __init__(self, path: Path) -> None:
        with HOLDERS.opening():
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, FILE_MODE)
            self._process = os.getpid()
            HOLDERS.add(self)

    def lock(self) -> None:
        """Lock the file; raises the same errors as the function `lock`."""
        assert self._handle is not None
        lock(self._handle)

    def release(self) -> None:
        """Release the lock and close the file; its content stays. A second call does nothing."""
        with HOLDERS.opening():
            handle, self._handle = self._handle, None
            if handle is None:
                return
            # A process that was just forked has a copy until it runs for the first time, and a copy
            # would keep the lock. The copy of a forked process must not release its owner's lock.
            if os.getpid() == self._process:
                with suppress(OSError):
                    unlock(handle)
            os.close(handle)

    def let_go_in_child(self) -> None:
        """Close a forked process's copy."""
        self.release()


class LockHeld(Exception):
    """Another process has the lock; `holder` names that process for people."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} has the lock")
        self.holder = holder


class ProcessLock(LockableFile):
    """A locked file for what one process at a time may do; it names its holder.

    The file contains the process id of its holder, and is not deleted afterwards: if it were, two
    processes could each lock a file of that name.

    Args:
        path: the file; its folder is made if it does not exist.

    Raises:
        LockHeld: another process has the lock.
        OSError: the file cannot be created or locked.
    """

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        super().__init__(path)
        with ExitStack() as undo:
            undo.callback(self.release)
            # The operating system may release the lock of a killed process with a short delay.
            if not take_when_left(self._taken, lambda: not holds(self._noted(), path)):
                raise LockHeld(holder_of(path, self._noted()))
            # Write the own process id, by which the next process can name the holder.
            assert self._handle is not None
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, f"{os.getpid():<{_PID_CHARS}}".encode())
            undo.pop_all()

    def _taken(self) -> bool | None:
        """Lock the file; return None if another process has the lock."""
        try:
            self.lock()
        except BlockingIOError:
            return None
        return True

    def _noted(self) -> int:
        """Return the process id that was last written into the file, or 0."""
        assert self._handle is not None
        os.lseek(self._handle, 0, os.SEEK_SET)
        pid = os.read(self._handle, _PID_CHARS).decode("ascii", "replace").strip()
        return int(pid) if pid.isascii() and pid.isdigit() else 0


def is_locked(path: Path) -> bool:
    """Return whether a living process holds a lock file."""
    with HOLDERS.opening():
        try:
            handle = os.open(path, os.O_RDWR | BINARY)
        except FileNotFoundError:
            return False
        try:
            lock(handle)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False
