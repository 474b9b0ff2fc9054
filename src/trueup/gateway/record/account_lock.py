"""A lock on an account: only one gateway per machine may serve an account.

Two gateways that serve the same account keep two records of requests, and an order that reaches
both is sent twice. So a gateway locks a file that is named after the account, not after its port or
its record. The lock is the operating system's and ends with the process. The file contains the
process id of its holder, and is not deleted afterwards: if it were, two processes could each lock
a file of that name.
"""

from __future__ import annotations

import os
from pathlib import Path

from trueup import filelock
from trueup.gateway.record.store import StoreRefused, StoreTrouble
from trueup.private import make_private_folder
from trueup.processes import holder_of, holds, take_when_left

_PID_CHARS = 20


class AccountLock(filelock.LockableFile):
    """The exclusive right to serve an account on this machine.

    Args:
        path: the lock file.
        account: the account, for error texts.

    Raises:
        StoreRefused: another process has the lock.
        StoreTrouble: the file cannot be created or locked.
    """

    def __init__(self, path: Path, account: str) -> None:
        try:
            make_private_folder(path.parent)
            super().__init__(path)
        except OSError as error:
            raise StoreTrouble(f"{path} cannot be made ({error.strerror}).") from error
        try:
            # The operating system may release the lock of a killed process with a short delay.
            is_locked = take_when_left(self._lock, lambda: not holds(self._noted(), path))
            holder = "" if is_locked else holder_of(path, self._noted())
        except OSError as error:
            self.release()
            raise StoreTrouble(f"{path} cannot be locked ({error.strerror}).") from error
        if not is_locked:
            self.release()
            raise StoreRefused(
                f"Account {account} is served by another gateway on this machine, {holder}: end "
                "that one, or log this terminal in to another account."
            )
        assert self._handle is not None
        # Write the own process id, by which the next gateway can name the holder.
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, f"{os.getpid():<{_PID_CHARS}}".encode())

    def _lock(self) -> bool | None:
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
