"""Making a journal's tables, and bringing older ones up to this release.

A new journal gets the tables of `schema.py` at once; an older one goes through Alembic's revisions,
run here, in this process, in one transaction. Both lead to the same schema. DDL is part of a
transaction in both databases, once SQLite's driver is kept from ending it: our connections leave
transactions to their caller, and `BEGIN IMMEDIATE` says it before the first statement.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from trueup.errors import JournalError
from trueup.journal.database import Database
from trueup.journal.revision import HEAD
from trueup.journal.schema import METADATA, REVISION, REVISION_TABLE

MIGRATIONS = Path(__file__).with_name("migrations")
# Any number, as long as it is the same in every release.
_SCHEMA_LOCK = 7_461_776_870


def upgrade(database: Database) -> None:
    """Bring the journal to `HEAD`, all of it or nothing.

    Raises:
        JournalError: it cannot be changed; it is as it was.
    """
    try:
        with engine_for(database).begin() as connection:
            _exclude_others(connection)
            if sa.inspect(connection).has_table(REVISION_TABLE):
                migrate(connection, HEAD)
            else:
                create(connection)
    except sa.exc.DBAPIError as error:
        cause = error.orig if isinstance(error.orig, Exception) else error
        raise database.explain(cause) from error
    except sa.exc.SQLAlchemyError as error:
        raise JournalError(f"{database.name} cannot be upgraded: {error}.") from error


def engine_for(database: Database) -> sa.Engine:
    """Return an engine that makes its connections as the journal does."""
    driver = "+psycopg" if database.dialect == "postgresql" else ""
    engine = sa.create_engine(
        f"{database.dialect}{driver}://",
        creator=database.driver_connection,
        poolclass=sa.pool.NullPool,
    )
    if database.dialect == "sqlite":
        event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def create(connection: sa.Connection) -> None:
    """Make the tables of this release where there are none."""
    METADATA.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(REVISION).values(version_num=HEAD))


def migrate(connection: sa.Connection, revision: str) -> None:
    """Run Alembic's revisions up to this one."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # Alembic takes a percent sign for an interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, revision)


def _exclude_others(connection: sa.Connection) -> None:
    """Wait for another process that is changing the schema; SQLite's BEGIN IMMEDIATE has."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
