"""One gateway for one account on one machine: a locked file, which ends with its process.

Two gateways that serve one account keep two records of requests, and an order that comes to both
runs twice. So whoever serves an account holds a lock of the operating system, named after the
account and not after its port or its record; the file says whose it is. It is left behind and
locked again by the next: removed, it could be held by two.
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
    """The right to serve one account on this machine.

    Args:
        path: the lock's file.
        account: the account, for words.

    Raises:
        StoreRefused: another process has it.
        StoreTrouble: the file cannot be made or locked.
    """

    def __init__(self, path: Path, account: str) -> None:
        try:
            make_private_folder(path.parent)
            super().__init__(path)
        except OSError as error:
            raise StoreTrouble(f"{path} cannot be made ({error.strerror}).") from error
        try:
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
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, f"{os.getpid():<{_PID_CHARS}}".encode())

    def _lock(self) -> bool | None:
        """Lock the file; None where another process has it."""
        try:
            self.lock()
        except BlockingIOError:
            return None
        return True

    def _noted(self) -> int:
        """Return the process that wrote its number into the file last, or 0."""
        assert self._handle is not None
        os.lseek(self._handle, 0, os.SEEK_SET)
        pid = os.read(self._handle, _PID_CHARS).decode("ascii", "replace").strip()
        return int(pid) if pid.isascii() and pid.isdigit() else 0
