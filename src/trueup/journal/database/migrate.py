"""Create the journal's tables, or upgrade the tables of an older release.

A migration is a number and an SQL file for each database: `migrations/0001_first.sqlite.sql` and
`migrations/0001_first.postgresql.sql`. A new journal runs all migrations in order, so the schema
is written down once. The table `journal_revision` holds the number of the last migration that ran.

A migration only adds. A later release may drop a column that is no longer needed, once no running
bot of the earlier release can still use the column.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trueup.errors import JournalError
from trueup.journal.database.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")
# The migration that this release reads and writes: the newest in the folder.
HEAD = "0001"


def ensure_current(database: Database) -> None:
    """Run the migrations that a journal lacks, all of them or none.

    Raises:
        JournalError: a newer trueup wrote the journal, or the journal cannot be changed. The
            journal is unchanged.
    """
    if database.revision() == HEAD:
        return
    # One transaction, so that a crash in the middle leaves the old schema whole.
    with database.writing():
        database.wait_for_migration()
        # Read again: another process may have run the migrations while this one waited.
        revision = database.revision()
        _refuse_newer(database, revision)
        if revision == HEAD:
            return
        for statement in _statements_after(revision or "", database.dialect):
            database.run(statement)
        database.run("DELETE FROM journal_revision")
        database.run(f"INSERT INTO journal_revision (version_num) VALUES ('{HEAD}')")


def require_current(database: Database) -> None:
    """Check that this release can read a journal without upgrading the journal.

    Raises:
        JournalError: there is no journal, or a bot of this release must upgrade the journal first.
    """
    revision = database.revision()
    if revision == HEAD:
        return
    # A reader never migrates: the bot that writes the journal may still be of the older release.
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


def _statements_after(revision: str, dialect: str) -> Iterator[str]:
    """Yield the statements of all newer migrations; a semicolon only ever ends a statement."""
    for file in sorted(MIGRATIONS.glob(f"*.{dialect}.sql")):
        if file.name[: len(HEAD)] > revision:
            yield from filter(str.strip, file.read_text(encoding="utf-8").split(";"))
