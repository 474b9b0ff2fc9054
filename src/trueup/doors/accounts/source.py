"""Where the accounts of a process are listed: a file, or a table of a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trueup.doors.accounts.checking import Accounts
from trueup.doors.accounts.file import AccountsFile
from trueup.journal.backends.location import is_file


class AccountsSource(Protocol):
    """A list of accounts that may change while they run."""

    name: str
    """The name in messages, without any password."""
    who: str
    """The name in the journal of what the list asks for, where no person is known."""

    def read(self) -> Accounts:
        """Read the accounts.

        Raises:
            SettingsError: it cannot be read, or has no account at all.
            JournalError: the database cannot be reached.
        """

    def has_changed(self) -> bool:
        """Return whether the list differs from what was read last; False if nobody can tell now.

        May wait, and never fails.
        """

    def close(self) -> None:
        """Close the connection, if there is one."""


def source_of(place: str) -> AccountsSource:
    """Return the list at a path or URL; nothing is read yet.

    Raises:
        JournalError: the URL is none of PostgreSQL, or the driver is not installed.
    """
    if is_file(place):
        return AccountsFile(Path(place))
    # Imported here: a file needs no driver of a database.
    from trueup.doors.accounts.table import AccountsTable

    return AccountsTable(place)
