"""Which schema a journal has, and which one this release can use.

Revisions are numbered in order, as text of four digits. Only an older one, or none, brings in
SQLAlchemy and Alembic to change it.
"""

from __future__ import annotations

from trueup.errors import JournalError
from trueup.journal.database import Database

# The revision that this release reads and writes: the newest in `migrations/versions`.
HEAD = "0001"


def ensure_current(database: Database) -> None:
    """Make the journal's tables, or bring older ones up to this release.

    Raises:
        JournalError: a newer trueup wrote the journal, or it cannot be changed.
    """
    revision = database.revision()
    if revision == HEAD:
        return
    _refuse_newer(database, revision)
    from trueup.journal.upgrade import upgrade

    upgrade(database)


def require_current(database: Database) -> None:
    """Make sure that a journal can be read as it is.

    Raises:
        JournalError: there is none, or another release has to open it first.
    """
    revision = database.revision()
    if revision == HEAD:
        return
    if revision is None:
        raise JournalError(f"There is no journal in {database.name} yet.")
    _refuse_newer(database, revision)
    raise JournalError(
        f"{database.name} was written by an older trueup (schema {revision}, now {HEAD}); start "
        "the bot once with this release, and it is upgraded."
    )


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision is not None and revision > HEAD:
        raise JournalError(
            f"{database.name} was written by a newer trueup (schema {revision}; this one knows "
            f"{HEAD}). Use that release, or a newer one; nothing was changed."
        )
