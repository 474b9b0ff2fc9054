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
from trueup.gateway.request_store import StoreRefused, StoreTrouble, make_private

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
        try:
            make_private(path.parent)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | filelock.BINARY, 0o644)
        except OSError as error:
            raise StoreTrouble(f"{path} cannot be made ({error.strerror}).") from error
        try:
            filelock.lock(handle)
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            raise StoreRefused(
                f"Account {account} is served by another gateway on this machine, {holder}: end "
                "that one, or log this terminal in to another account."
            ) from None
        except OSError as error:
            os.close(handle)
            raise StoreTrouble(f"{path} cannot be locked ({error.strerror}).") from error
        self._handle: int | None = handle
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid():<{_PID_CHARS}}".encode())

    def release(self) -> None:
        """Let another process have it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _holder(handle: int) -> str:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        pid = os.read(handle, _PID_CHARS).decode("ascii", "replace").strip()
    except OSError:
        pid = ""
    return f"process {pid}" if pid.isdigit() else "whose process it does not say"
