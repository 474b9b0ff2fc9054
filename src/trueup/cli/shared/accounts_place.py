"""The option that names a list of accounts: a file, or a database with a table."""

from __future__ import annotations

from typing import Any

import typer

from trueup.cli.shared.journal_place import warn_of_password
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import JournalError

SEE_TO_PASSWORD = "give it in PGPASSWORD, or in the file ~/.pgpass"


def accounts_option(about: str) -> Any:
    """Return the option `--accounts`, with its help text."""
    return typer.Option(
        "--accounts", metavar="FILE|postgresql://...", callback=_known_kind, help=about
    )


def _known_kind(value: str | None) -> str | None:
    """Refuse a URL that is none of PostgreSQL; warn of a password in it."""
    if value is not None:
        # Imported here: most commands are called without the option.
        from trueup.journal.backends.location import refuse_unknown_kind

        try:
            refuse_unknown_kind(value)
        except JournalError as error:
            kind = value.partition("://")[0]
            raise WrongUsage(
                f"{kind}:// is no list of accounts: give a file, as 'accounts.toml', or "
                "postgresql://."
            ) from error
        warn_of_password("--accounts", value, SEE_TO_PASSWORD)
    return value
