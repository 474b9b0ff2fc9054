"""A lock on an account: only one gateway per machine may serve an account.

Two gateways that serve the same account keep two records of requests, and an order that reaches
both is sent twice. So a gateway locks a file that is named after the account, not after its port or
its record. The lock is the operating system's and ends with the process.
"""

from __future__ import annotations

from pathlib import Path

from trueup.filelock import LockHeld, ProcessLock
from trueup.gateway.record.store import StoreRefused, StoreTrouble


class AccountLock(ProcessLock):
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
            super().__init__(path)
        except LockHeld as held:
            raise StoreRefused(
                f"Account {account} is served by another gateway on this machine, {held.holder}: "
                "end that one, or log this terminal in to another account."
            ) from held
        except OSError as error:
            raise StoreTrouble(f"{path} cannot be locked ({error.strerror}).") from error
