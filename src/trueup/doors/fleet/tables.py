"""The fleet's tables, in the database of the journal.

They are made by the first node. The time in them is the server's alone.
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
# As for the journal's tables: `to_regclass` answers from a cache.
_HAS_TABLES: Final = (
    "SELECT EXISTS (SELECT FROM pg_tables"
    " WHERE tablename = 'fleet_revision' AND schemaname = ANY (current_schemas(false)))"
)


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
        if database.fetch(_HAS_TABLES) == [(False,)]:
            _make(database, SHARDS if shards is None else shards)
    made = number_of_shards(database)
    if shards not in (None, made):
        valid = f"the fleet in {database.name} has {made} shards: leave the option out"
        raise SettingsError("--shards", str(shards), valid)
    return made


def number_of_shards(database: Database) -> int:
    """Return the number of shards of a fleet.

    Raises:
        JournalError: there is no fleet in the database, or a newer trueup made it.
    """
    if database.fetch(_HAS_TABLES) == [(False,)]:
        raise JournalError(
            f"There is no fleet in {database.name} yet: start a node with `trueup fleet node`."
        )
    ((revision, shards),) = database.fetch("SELECT revision, shards FROM fleet_revision")
    if revision > REVISION:
        raise JournalError(
            f"The fleet in {database.name} was made by a newer trueup (tables {revision}; this one "
            f"knows {REVISION}). Use that release, or a newer one."
        )
    return int(shards)


def _make(database: Database, shards: int) -> None:
    schema = re.sub(r"--.*", "", _SCHEMA.read_text(encoding="utf-8"))
    for statement in filter(str.strip, schema.split(";")):
        database.run(statement)
    database.change(
        "INSERT INTO fleet_revision (revision, shards) VALUES (%s, %s)", REVISION, shards
    )
    database.change(
        "INSERT INTO fleet_shards (number) SELECT * FROM generate_series(0, %s)", shards - 1
    )
