"""Choose the database for a path or URL."""

from __future__ import annotations

import re
from pathlib import Path

from trueup.errors import JournalError
from trueup.journal.database.database import Database

_POSTGRESQL = re.compile(r"postgres(ql)?(\+psycopg)?://")


def database_at(url_or_path: str | Path, *, read_only: bool = False) -> Database:
    """Return the database of a path or URL, not yet connected.

    Raises:
        JournalError: the URL is of an unknown kind, or its driver is not installed.
    """
    address = str(url_or_path)
    if _POSTGRESQL.match(address):
        return _postgres(_POSTGRESQL.sub("postgresql://", address, count=1))
    if "://" in address:
        kind = address.partition("://")[0]
        raise JournalError(f"{kind}:// is no journal: give a file, as 'bot.db', or postgresql://.")
    from trueup.journal.backends.sqlite import SqliteDatabase

    return SqliteDatabase(Path(address), read_only=read_only)


def _postgres(url: str) -> Database:
    try:
        from trueup.journal.backends.postgres import PostgresDatabase
    except ImportError as error:
        raise JournalError(
            "A journal in PostgreSQL needs its driver: pip install 'psycopg[binary]'."
        ) from error
    return PostgresDatabase(url)
