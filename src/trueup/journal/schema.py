"""The one schema, for SQLite and PostgreSQL alike, as SQLAlchemy Core tables.

The tables carry a prefix, so that a PostgreSQL database may hold other things too. What the
database can hold true, it holds: one row for a position, one intent once, no empty kind.

Changing it: a revision in `migrations/versions` that only adds (what is no longer needed goes a
release later), the same change here, and `HEAD` in `revision.py` set to it.
"""

from __future__ import annotations

import sqlalchemy as sa

REVISION_TABLE = "journal_revision"

METADATA = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _row_columns(*, checked: bool) -> list[sa.Column[object]]:
    return [
        sa.Column("batch", sa.BigInteger, nullable=not checked),
        sa.Column("at_ns", sa.BigInteger, nullable=not checked),
        sa.Column("kind", sa.Text, nullable=not checked),
        sa.Column("payload", sa.LargeBinary, nullable=not checked),
        sa.Column("intent_id", sa.Text, nullable=True),
        sa.Column("hash", sa.LargeBinary, nullable=not checked),
    ]


# Without a rowid the rows lie in the order of their positions, in one tree: an append writes one
# page where it would write two.
EVENTS = sa.Table(
    "journal_events",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    *_row_columns(checked=True),
    sa.CheckConstraint("position > 0", name="position"),
    sa.CheckConstraint("batch >= position", name="batch"),
    sa.CheckConstraint("kind <> ''", name="kind"),
    sa.CheckConstraint("length(hash) = 32", name="hash"),
    sqlite_with_rowid=False,
)
# Most events have no intent, and an index that leaves those out is not touched by them.
sa.Index(
    None,
    EVENTS.c.stream,
    EVENTS.c.intent_id,
    unique=True,
    sqlite_where=EVENTS.c.intent_id.is_not(None),
    postgresql_where=EVENTS.c.intent_id.is_not(None),
)

# Who writes a stream, and where its chain ended at that writer's last append.
WRITERS = sa.Table(
    "journal_writers",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("since_ns", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("stream <> ''", name="stream"),
    sa.CheckConstraint("token > 0", name="token"),
)

CHECKPOINTS = sa.Table(
    "journal_checkpoints",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("position > 0", name="position"),
)

# Rows of a last transaction that was not whole, set aside as they were found.
TORN = sa.Table(
    "journal_torn",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("found_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    *_row_columns(checked=False),
)

# Alembic's own table, under our name.
REVISION = sa.Table(
    REVISION_TABLE,
    METADATA,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name=f"{REVISION_TABLE}_pkc"),
)
