"""The first schema: events, their writers, checkpoints, and torn rows set aside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "journal_events",
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("intent_id", sa.Text, nullable=True),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream", "position", name=op.f("pk_journal_events")),
        sa.CheckConstraint("position > 0", name=op.f("ck_journal_events_position")),
        sa.CheckConstraint("batch >= position", name=op.f("ck_journal_events_batch")),
        sa.CheckConstraint("kind <> ''", name=op.f("ck_journal_events_kind")),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_journal_events_hash")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_journal_events_stream_intent_id"),
        "journal_events",
        ["stream", "intent_id"],
        unique=True,
        sqlite_where=sa.text("intent_id IS NOT NULL"),
        postgresql_where=sa.text("intent_id IS NOT NULL"),
    )
    op.create_table(
        "journal_writers",
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream", name=op.f("pk_journal_writers")),
        sa.CheckConstraint("stream <> ''", name=op.f("ck_journal_writers_stream")),
        sa.CheckConstraint("token > 0", name=op.f("ck_journal_writers_token")),
    )
    op.create_table(
        "journal_checkpoints",
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream", "position", name=op.f("pk_journal_checkpoints")),
        sa.CheckConstraint("position > 0", name=op.f("ck_journal_checkpoints_position")),
    )
    op.create_table(
        "journal_torn",
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("found_ns", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=True),
        sa.Column("at_ns", sa.BigInteger, nullable=True),
        sa.Column("kind", sa.Text, nullable=True),
        sa.Column("payload", sa.LargeBinary, nullable=True),
        sa.Column("intent_id", sa.Text, nullable=True),
        sa.Column("hash", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("stream", "found_ns", "position", name=op.f("pk_journal_torn")),
    )
