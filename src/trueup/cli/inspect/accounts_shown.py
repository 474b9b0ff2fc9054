"""`trueup config --accounts`: the accounts of a file or a table, and each fault of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from trueup.cli.group import WRONG_USAGE
from trueup.cli.shared.json_document import print_document
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.doors.accounts.checking import Accounts, limits_shown
from trueup.doors.accounts.entry import SETTINGS, AccountEntry
from trueup.doors.accounts.source import source_of
from trueup.journal.backends.location import is_file
from trueup.observe.lines import said
from trueup.passwords import hide_passwords


def show_accounts(place: str, *, as_json: bool) -> None:
    """Show the accounts of a file or a table, and name the entries that cannot run.

    Raises:
        SettingsError: the list cannot be read.
        JournalError: the database cannot be reached.
    """
    with closing(source_of(place)) as source:
        found = source.read()
    if as_json:
        rows = [{"name": one.name, **_values(one)} for one in found.entries]
        faults = [{"account": name, "fault": str(error)} for name, error in found.faults]
        print_document("config show", {"accounts": rows, "faults": faults})
    else:
        for entry in found.entries:
            text = ", ".join(f"{key} {value}" for key, value in _values(entry).items())
            say("\n".join(said(entry.name, text)))
        say(_count(found))
    for _, error in found.faults:
        say(str(error), err=True)
    if found.faults:
        raise typer.Exit(WRONG_USAGE)


def make_table(url: str, path: Path | None) -> None:
    """Make the table of accounts in a database, empty or with the accounts of a file.

    Raises:
        WrongUsage: the place is no URL.
        SettingsError: the file cannot be read, or an account of it has a fault.
        TrueupError: the table cannot be made, or is there already; nothing was changed.
    """
    if is_file(url):
        raise WrongUsage(f"--accounts {url}: a table is in a database, as postgresql://HOST/NAME.")
    # Imported here: a file needs no driver of a database.
    from trueup.doors.accounts.table import AccountsTable, rows_of

    rows = [] if path is None else rows_of(path)
    with closing(AccountsTable(url)) as table:
        table.make(rows)
        say(f"Made the {table.name}, with {len(rows)} rows.")


def _values(entry: AccountEntry) -> dict[str, Any]:
    """Return the values of an entry that are set, without passwords."""
    given = entry.settings.model_dump(exclude_unset=True)
    values = {key: _plain(given[field]) for key, field in SETTINGS.items() if given.get(field)}
    values |= {"pace": entry.pace_sec, "paused": entry.is_paused}
    limits = dict(limits_shown(entry.limits))
    return {**values, "limits": limits} if limits else values


def _plain(value: object) -> object:
    return hide_passwords(value) if isinstance(value, str) else value


def _count(found: Accounts) -> str:
    bad = len({name for name, _ in found.faults})
    count = len(found.entries)
    whole = f"{count} account{'s' * (count != 1)} can run"
    return f"{whole}; {bad} with a fault cannot." if bad else f"{whole}."
