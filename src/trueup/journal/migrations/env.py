"""Alembic's environment: it runs on the connection and in the transaction that it is given."""

from __future__ import annotations

from alembic import context

from trueup.journal.schema import METADATA, REVISION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=REVISION_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
