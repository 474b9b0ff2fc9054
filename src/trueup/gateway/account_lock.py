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
from trueup.forks import HOLDERS
from trueup.gateway.request_store import StoreRefused, StoreTrouble
from trueup.private import FILE_MODE, make_private_folder
from trueup.processes import holder_of, holds, take_when_left

_PID_CHARS = 20


class AccountLock:
    """The right to serve one account on this machine.

    Args:
        path: the lock's file.
        account: the account, for words.

    Raises:
        StoreRefused: another process has it.
        StoreTrouble: the file cannot be made or locked.
    """

    def __init__(self, path: Path, account: str) -> None:
        self._handle: int | None = None
        try:
            make_private_folder(path.parent)
            with HOLDERS.opening():
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT | filelock.BINARY, FILE_MODE)
                HOLDERS.add(self)
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
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, f"{os.getpid():<{_PID_CHARS}}".encode())

    def _lock(self) -> bool | None:
        """Lock the file; None where another process has it."""
        assert self._handle is not None
        try:
            filelock.lock(self._handle)
        except BlockingIOError:
            return None
        return True

    def _noted(self) -> int:
        """Return the process that wrote its number into the file last, or 0."""
        assert self._handle is not None
        os.lseek(self._handle, 0, os.SEEK_SET)
        pid = os.read(self._handle, _PID_CHARS).decode("ascii", "replace").strip()
        return int(pid) if pid.isascii() and pid.isdigit() else 0

    def release(self) -> None:
        """Let another process have it."""
        with HOLDERS.opening():
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def let_go_in_child(self) -> None:
        """Close a forked process's copy, which would keep the lock when its owner has ended."""
        self.release()
