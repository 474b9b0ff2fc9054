"""Choose the database for a path or URL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from trueup.errors import JournalError
from trueup.journal.database.database import Database

_POSTGRESQL = re.compile(r"postgres(ql)?(\+psycopg)?://")
# Parameters of a URL that say who connects, and not to which database.
_OF_THE_USER = frozenset({"user", "password", "passfile", "sslpassword"})


def is_file(url_or_path: str | Path) -> bool:
    """Return whether a journal is a file, not a URL."""
    return "://" not in str(url_or_path)


def without_user(url: str) -> str:
    """Return the URL of a database without user and password, which may change while it stays."""
    parts = urlsplit(_POSTGRESQL.sub("postgresql://", url, count=1))
    user_and_password, _, host = parts.netloc.rpartition("@")
    parameters = parse_qsl(parts.query, keep_blank_values=True)
    named = dict(parameters)
    user = named.get("user") or user_and_password.partition(":")[0]
    # PostgreSQL names a database after its user where the URL names none.
    name = named.get("dbname") or parts.path.strip("/") or user
    kept = [(key, value) for key, value in parameters if key not in _OF_THE_USER | {"dbname"}]
    return parts._replace(netloc=host, path=f"/{name}", query=urlencode(kept)).geturl()


def refuse_unknown_kind(address: str) -> None:
    """Check that an address can be one of a journal.

    Raises:
        JournalError: the URL is of an unknown kind; the message does not have its password.
    """
    if not is_file(address) and not _POSTGRESQL.match(address):
        kind = address.partition("://")[0]
        raise JournalError(f"{kind}:// is no journal: give a file, as 'bot.db', or postgresql://.")


def database_at(url_or_path: str | Path, *, read_only: bool = False) -> Database:
    """Return the database of a path or URL, not yet connected.

    Raises:
        JournalError: the URL is of an unknown kind, or its driver is not installed.
    """
    address = str(url_or_path)
    if _POSTGRESQL.match(address):
        return _postgres(_POSTGRESQL.sub("postgresql://", address, count=1))
    refuse_unknown_kind(address)
    if read_only:
        from trueup.journal.backends.sqlite import SqliteDatabase

        return SqliteDatabase(Path(address), read_only=True)
    from trueup.journal.backends.file_connection import SharedFileDatabase

    return SharedFileDatabase(Path(address))


def _postgres(url: str) -> Database:
    try:
        from trueup.journal.backends.postgres import PostgresDatabase
    except ImportError as error:
        raise JournalError(
            "A journal in PostgreSQL needs its driver: pip install 'psycopg[binary]'."
        ) from error
    return PostgresDatabase(url)
