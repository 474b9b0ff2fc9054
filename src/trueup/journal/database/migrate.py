"""Create the journal's tables, or upgrade the tables of an older release.

A migration is a number and an SQL file for each database: `migrations/0001_first.sqlite.sql` and
`migrations/0001_first.postgresql.sql`. A new journal runs all migrations in order, so the schema
is written down once. The table `journal_revision` holds the number of the last migration that ran.

A migration only adds. A later release may drop a column that is no longer needed, once no running
bot of the earlier release can still use the column.

A journal gets `NEEDED` when it is opened. What comes after `NEEDED` runs when it is used for the
first time, so a journal that does not use it stays readable for earlier releases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trueup.errors import JournalError
from trueup.journal.database.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")
# The migration that every journal of this release has.
NEEDED = "0001"
# The newest migration of this release. Since "0002" a part of a journal may be archived.
HEAD = ARCHIVES = "0002"


def ensure_current(database: Database, wanted: str = "") -> None:
    """Run the migrations that a journal lacks up to `wanted`, all of them or none.

    `wanted` is by default the migration that every journal has.

    Raises:
        JournalError: a newer trueup wrote the journal, or the journal cannot be changed. The
            journal is unchanged.
    """
    wanted = wanted or NEEDED
    if wanted <= (database.revision() or "") <= HEAD:
        return
    # One transaction, so that a crash in the middle leaves the old schema whole.
    with database.writing():
        database.wait_for_migration()
        # Read again: another process may have run the migrations while this one waited.
        revision = database.revision()
        _refuse_newer(database, revision)
        if revision is not None and revision >= wanted:
            return
        for statement in _statements_between(revision or "", wanted, database.dialect):
            database.run(statement)
        if revision is None:
            database.arrange_new_tables()
        if wanted >= ARCHIVES:
            database.share("journal_archives")
        database.run("DELETE FROM journal_revision")
        database.run(f"INSERT INTO journal_revision (version_num) VALUES ('{wanted}')")


def is_current(revision: str) -> bool:
    """Return whether this release writes a journal with this revision as it is."""
    return NEEDED <= revision <= HEAD


def forget_archives(database: Database) -> None:
    """Within a write transaction: without any archive let earlier releases read a journal again."""
    is_used = database.fetch("SELECT stream FROM journal_archives LIMIT 1")
    if not is_used and database.revision() == ARCHIVES:
        # The empty table stays: whoever has just read the number above may still ask it.
        database.run(f"UPDATE journal_revision SET version_num = '{NEEDED}'")


def require_current(database: Database) -> None:
    """Check that this release can read a journal without upgrading the journal.

    Raises:
        JournalError: there is no journal, or a bot of this release must upgrade the journal first.
    """
    revision = database.revision()
    if revision is not None and is_current(revision):
        return
    # A reader never migrates: the bot that writes the journal may still be of the older release.
    if revision is None:
        raise JournalError(f"There is no journal in {database.name} yet.")
    _refuse_newer(database, revision)
    raise JournalError(
        f"{database.name} was written by an older trueup (schema {revision}, now {NEEDED}); start "
        "the bot once with this release, and it is upgraded."
    )


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision is not None and revision > HEAD:
        raise JournalError(
            f"{database.name} was written by a newer trueup (schema {revision}; this one knows "
            f"{HEAD}). Use that release, or a newer one; nothing was changed."
        )


def _statements_between(revision: str, wanted: str, dialect: str) -> Iterator[str]:
    """Yield the statements of the migrations in between; a semicolon only ends a statement."""
    for file in sorted(MIGRATIONS.glob(f"*.{dialect}.sql")):
        if revision < file.name[: len(HEAD)] <= wanted:
            yield from filter(str.strip, file.read_text(encoding="utf-8").split(";"))
