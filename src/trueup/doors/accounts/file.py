"""Read `accounts.toml`: an entry for each account, and each fault by file, table and key.

A file that cannot be read at all has no entries: then the whole file is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trueup.doors.accounts.checking import Accounts, Checking, Words
from trueup.doors.accounts.entry import FILE_WHO
from trueup.errors import SettingsError
from trueup.passwords import HIDDEN
from trueup.settings import shown, toml_table

DEFAULTS: Final = "defaults"
ACCOUNTS: Final = "accounts"
_WORDS: Final = Words(f"[{DEFAULTS}]", f"[{ACCOUNTS}.{{}}]", " {}")
_TABLES = f"the tables are [{DEFAULTS}] and [{ACCOUNTS}.NAME], a table for each account"


def read_accounts(path: Path) -> Accounts:
    """Read the accounts of a file.

    Raises:
        SettingsError: the file is missing or no TOML, or has no account at all.
    """
    if not path.is_file():
        raise SettingsError("accounts", str(path), "give the path of a TOML file with accounts")
    table = toml_table(path)
    for name, value in table.items():
        if name not in (DEFAULTS, ACCOUNTS):
            text = shown(value) if isinstance(value, Mapping) else HIDDEN
            raise SettingsError(f"{path.name}: {name}", text, _TABLES)
    defaults, accounts = table.get(DEFAULTS, {}), table.get(ACCOUNTS, {})
    for name, value in ((DEFAULTS, defaults), (ACCOUNTS, accounts)):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{path.name}: {name}", shown(value), _TABLES)
    if not accounts:
        raise SettingsError(path.name, "", f"it has no account: {_TABLES}")
    return Checking(path.name, _WORDS, defaults).of(accounts)


class AccountsFile:
    """The accounts of a file; see `AccountsSource`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: object = None
        self.name: str = path.name
        self.who: str = FILE_WHO

    def read(self) -> Accounts:
        """Read the accounts."""
        # Before the content: a change in between is seen as one.
        self._read = self._stamp()
        return read_accounts(self._path)

    def has_changed(self) -> bool:
        """Return whether the file differs from what was read last."""
        stamp = self._stamp()
        # A file that is away for a moment is being replaced.
        return stamp is not None and stamp != self._read

    def close(self) -> None:
        """Do nothing."""

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
