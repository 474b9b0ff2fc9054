"""Read the accounts from the table `trueup_accounts` of a PostgreSQL database.

A row is an account, and its columns are the keys of `accounts.toml`. The row named * has the
defaults. NULL is a key that is not given. Each fault is named by table, row and column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trueup.doors.accounts.checking import Accounts, Checking, Words
from trueup.doors.accounts.entry import TABLE_WHO
from trueup.doors.accounts.file import ACCOUNTS, DEFAULTS, read_accounts
from trueup.errors import JournalError, SettingsError, TrueupError
from trueup.journal.backends.location import database_at
from trueup.journal.database.database import Database
from trueup.logs import Logger, logger
from trueup.passwords import hide_passwords
from trueup.settings import toml_table

log: Logger = logger("trueup.run")

TABLE: Final = TABLE_WHO
ROW_OF_DEFAULTS: Final = "*"
# Each column has the type of its key. `magic` goes up to 2**64 - 1, above every integer type.
COLUMNS: Final[Mapping[str, str]] = {
    "name": "TEXT PRIMARY KEY",
    "gateway": "TEXT",
    "server_key": "TEXT",
    "key_file": "TEXT",
    "timeout_ms": "BIGINT",
    "account": "TEXT",
    "symbols": "TEXT[]",
    "magic": "NUMERIC(20)",
    "comment_prefix": "TEXT",
    "strategy": "TEXT",
    "volume": "DOUBLE PRECISION",
    "pace": "DOUBLE PRECISION",
    "adopt": "TEXT",
    "ask": "TEXT[]",
    "alert": "TEXT[]",
    "expects_stop_loss": "BOOLEAN",
    "real_money": "BOOLEAN",
    "limits": "JSONB",
    "journal": "TEXT",
    "interval": "DOUBLE PRECISION",
    "paused": "BOOLEAN",
}
_WORDS: Final = Words(f"row {ROW_OF_DEFAULTS}", "row {}", ", column {}")
_CREATE: Final = (
    f"CREATE TABLE {TABLE} (" + ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()) + ")"
)
_EXISTS: Final = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    f" WHERE tablename = '{TABLE}' AND schemaname = ANY (current_schemas(false)))"
)
_NAMED: Final = (
    "SELECT EXISTS (SELECT FROM information_schema.columns"
    f" WHERE table_name = '{TABLE}' AND table_schema = ANY (current_schemas(false))"
    " AND column_name = 'name')"
)
# As JSON, so that a column may have any type that has the value.
_ROWS: Final = f"SELECT name::text, to_jsonb(t) - 'name' FROM {TABLE} t ORDER BY name"
_STAMP: Final = f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLE} t"
_FILL: Final = (
    f"INSERT INTO {TABLE} SELECT * FROM jsonb_populate_recordset(NULL::{TABLE}, %s::jsonb)"
)


class AccountsTable:
    """The accounts of the table in a database; see `AccountsSource`.

    Args:
        url: the URL of the database.

    Raises:
        JournalError: the URL cannot be read, or the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._database: Database = database_at(url)
        self._is_open = False
        self._trouble = ""
        self._read: object = None
        self.name: str = f"table {TABLE} of {self._database.name}"
        self.who: str = TABLE_WHO

    def read(self) -> Accounts:
        """Read the accounts.

        Raises:
            SettingsError: there is no such table, or no account in it.
            JournalError: the database cannot be read.
        """
        database = self._connected()
        # Before the rows: a change in between is seen as one.
        before, self._read = self._read, self._stamp_of(database)
        try:
            return self._accounts(database)
        except JournalError:
            # The database went away in between: the change is still to be read.
            self._read = before
            raise

    def _accounts(self, database: Database) -> Accounts:
        if self._read is None and database.fetch(_EXISTS) == [(False,)]:
            valid = (
                f"there is no table {TABLE}; `trueup config init --accounts URL` makes it, "
                "`--from accounts.toml` with the accounts of a file"
            )
            raise SettingsError("accounts", hide_passwords(self._url), valid)
        if database.fetch(_NAMED) == [(False,)]:
            raise SettingsError(TABLE, "", "it needs a column name, with the names of the accounts")
        rows = {
            str(name): {key: value for key, value in row.items() if value is not None}
            for name, row in database.fetch(_ROWS)
        }
        defaults = rows.pop(ROW_OF_DEFAULTS, {})
        # Beside the accounts, so that no password has to be in the table.
        defaults.setdefault("journal", self._url)
        if not rows:
            valid = (
                f"it has no account: a row is an account, the row {ROW_OF_DEFAULTS} the defaults"
            )
            raise SettingsError(TABLE, "", valid)
        return Checking(TABLE, _WORDS, defaults).of(rows)

    def has_changed(self) -> bool:
        """Return whether the table differs from what was read last; False if nobody can tell."""
        try:
            has_changed = self._stamp_of(self._connected()) != self._read
        except JournalError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("[ACCOUNTS] Changes of the %s are not seen: %s", self.name, error)
            return False
        self._trouble = ""
        return has_changed

    def _stamp_of(self, database: Database) -> object:
        """Return what tells the table from an earlier one; None without the table."""
        if database.fetch(_EXISTS) == [(False,)]:
            return None
        return database.fetch(_STAMP)[0][0]

    def make(self, rows: list[dict[str, Any]]) -> None:
        """Make the table, with rows.

        Raises:
            TrueupError: there is such a table already.
            JournalError: the table cannot be made; nothing was changed.
        """
        database = self._connected()
        with database.writing():
            if database.fetch(_EXISTS) == [(True,)]:
                raise TrueupError(f"There is a {self.name} already; it was left as it is.")
            database.run(_CREATE)
            database.change(_FILL, json.dumps(rows))

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
        self._is_open = False

    def _connected(self) -> Database:
        if not self._is_open:
            self._database.connect()
            self._is_open = True
        self._database.restore()
        return self._database


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the accounts of a file as rows.

    Raises:
        SettingsError: the file cannot be read, or an account of it has a fault.
    """
    for _, fault in read_accounts(path).faults:
        raise fault
    table = toml_table(path)
    defaults = table.get(DEFAULTS, {})
    # A list may be written as one text there, and limits are put over those of the defaults.
    rows = [{"name": ROW_OF_DEFAULTS, **defaults}] if defaults else []
    rows += [{"name": name, **values} for name, values in table[ACCOUNTS].items()]
    return [{key: _listed(key, value) for key, value in row.items()} for row in rows]


def _listed(key: str, value: object) -> object:
    if COLUMNS[key] == "TEXT[]" and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
