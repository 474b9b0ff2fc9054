"""The fleet's tables, in the database of the journal.

They are made by the first node. The time in them is the server's alone. The tables about accounts
and acts came later and keep the revision: a node of an earlier release goes on without them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trueup.errors import JournalError, SettingsError
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.database.database import Database
from trueup.passwords import hide_passwords

REVISION: Final = 1
SHARDS: Final = 256
SHARDS_MOST: Final = 100_000
_SCHEMA: Final = Path(__file__).with_name("schema.sql")
_ACCOUNTS: Final = Path(__file__).with_name("accounts.sql")
# As for the journal's tables: `to_regclass` answers from a cache.
_HAS_TABLES: Final = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    " WHERE tablename = %s AND schemaname = ANY (current_schemas(false)))"
)


_MAY_CREATE: Final = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
_GRANTS: Final = (
    "SELECT privilege_type,"
    " CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
    " FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))"
    " WHERE pg_class.oid = %s::regclass"
)
# Who writes and reads the table of before has the same rights to the table that came later.
_SAME_RIGHTS: Final = {"fleet_accounts": "fleet_nodes", "fleet_acts": "fleet_pauses"}


class NoFleet(JournalError):
    """A database has no fleet."""


def fleet_database(url: str | Path) -> Database:
    """Return the database of a fleet, not connected yet.

    Raises:
        SettingsError: the journal is no PostgreSQL database.
        JournalError: the URL cannot be read, or the driver is not installed.
    """
    if is_file(url):
        valid = "the nodes of a fleet share a journal in PostgreSQL: give postgresql://HOST/NAME"
        raise SettingsError("--journal", hide_passwords(str(url)), valid)
    return database_at(url)


def ensure_tables(database: Database, shards: int | None = None) -> int:
    """Make the tables if they are not there; return the number of shards.

    Args:
        database: the database, connected.
        shards: how many shards to make; None for the number of the tables, or `SHARDS`.

    Raises:
        SettingsError: the tables have another number of shards.
        JournalError: a newer trueup made the tables, or they cannot be made.
    """
    with database.writing():
        database.wait_for_migration()
        if not _has(database, "fleet_revision"):
            _make(database, SHARDS if shards is None else shards)
        # A user who may make no table runs a node all the same: nothing is decided by these.
        if not tells_accounts(database) and database.fetch(_MAY_CREATE) == [(True,)]:
            _run(database, _ACCOUNTS)
            _share(database)
    made = number_of_shards(database)
    if shards not in (None, made):
        valid = f"the fleet in {database.name} has {made} shards: leave the option out"
        raise SettingsError("--shards", str(shards), valid)
    return made


def number_of_shards(database: Database) -> int:
    """Return the number of shards of a fleet.

    Raises:
        NoFleet: there is no fleet in the database.
        JournalError: a newer trueup made it.
    """
    if not _has(database, "fleet_revision"):
        raise NoFleet(
            f"There is no fleet in {database.name} yet: start a node with `trueup fleet node`."
        )
    ((revision, shards),) = database.fetch("SELECT revision, shards FROM fleet_revision")
    if revision > REVISION:
        raise JournalError(
            f"The fleet in {database.name} was made by a newer trueup (tables {revision}; this one "
            f"knows {REVISION}). Use that release, or a newer one."
        )
    return int(shards)


def tells_accounts(database: Database) -> bool:
    """Return whether the tables have accounts and acts: those of an earlier release do not."""
    return _has(database, "fleet_acts")


def _has(database: Database, table: str) -> bool:
    return bool(database.fetch(_HAS_TABLES, table) == [(True,)])


def _run(database: Database, file: Path) -> None:
    statements = re.sub(r"--.*", "", file.read_text(encoding="utf-8")).split(";")
    for statement in filter(str.strip, statements):
        database.run(statement)


def _share(database: Database) -> None:
    for table, before in _SAME_RIGHTS.items():
        for right, who in database.fetch(_GRANTS, before):
            database.run(f"GRANT {right} ON {table} TO {who}")


def _make(database: Database, shards: int) -> None:
    _run(database, _SCHEMA)
    database.change(
        "INSERT INTO fleet_revision (revision, shards) VALUES (%s, %s)", REVISION, shards
    )
    database.change(
        "INSERT INTO fleet_shards (number) SELECT * FROM generate_series(0, %s)", shards - 1
    )
