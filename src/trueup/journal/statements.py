"""The compiled text of `queries.py`: run `queries.write()` after a change there.

Nothing of SQLAlchemy is imported here; see there why.
"""

from __future__ import annotations

from typing import NamedTuple


class Statements(NamedTuple):
    """Every statement of a running journal, in one dialect.

    `revision`: The schema's revision.
    `streams`: The names of all streams.
    `writer`: Who writes a stream. Parameters: stream.
    `first_claim`: A stream's first writer. Parameters: the columns in their order.
    `claim`: A stream's next writer. Parameters: token, holder, since_ns, position, hash,
        stream.
    `advance`: A writer's next tip, if the token and the tip are still its own. Parameters: the
        next position and hash, then stream, token, position and hash as they are.
    `append`: One event. Parameters: the columns in their order.
    `page`: Rows in a range of positions. Parameters: stream, after, until.
    `page_between`: Those of them in a range of time. Parameters: stream, after, until,
        since_ns, until_ns.
    `last`: The row with the highest position. Parameters: stream, stream.
    `before_batch`: The last row that is not of a batch. Parameters: stream, stream, batch.
    `batches_after`: Which transactions the rows after a position say they are of. Parameters:
        stream, after.
    `set_aside`: Copy the rows after a position to where torn rows go. Parameters: found_ns,
        stream, after.
    `cut`: Take the rows after a position out. Parameters: stream, after.
    `checkpoints`: The positions that have a checkpoint, newest first. Parameters: stream.
    `checkpoint`: One checkpoint. Parameters: stream, position.
    `keep_checkpoint`: A new checkpoint. Parameters: the columns in their order.
    `drop_checkpoint`: Drop one. Parameters: stream, position.
    """

    revision: str
    streams: str
    writer: str
    first_claim: str
    claim: str
    advance: str
    append: str
    page: str
    page_between: str
    last: str
    before_batch: str
    batches_after: str
    set_aside: str
    cut: str
    checkpoints: str
    checkpoint: str
    keep_checkpoint: str
    drop_checkpoint: str


SQLITE = Statements(
    revision="SELECT version_num FROM journal_revision",
    streams="SELECT stream FROM journal_writers ORDER BY stream",
    writer="SELECT token, holder, since_ns, position, hash FROM journal_writers WHERE stream = ?",
    first_claim=(
        "INSERT INTO journal_writers (stream, token, holder, since_ns, position, hash) VALUES (?, "
        "?, ?, ?, ?, ?)"
    ),
    claim=(
        "UPDATE journal_writers SET token=?, holder=?, since_ns=?, position=?, hash=? WHERE stream "
        "= ?"
    ),
    advance=(
        "UPDATE journal_writers SET position=?, hash=? WHERE stream = ? AND token = ? AND position "
        "= ? AND hash = ?"
    ),
    append=(
        "INSERT INTO journal_events (stream, position, batch, at_ns, kind, payload, intent_id, "
        "hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    page=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = ? AND position > ? AND position <= ? ORDER BY position"
    ),
    page_between=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = ? AND position > ? AND position <= ? AND at_ns >= ? AND at_ns < ? ORDER BY "
        "position"
    ),
    last=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = ? AND position = (SELECT max(position) AS max_1 FROM journal_events WHERE stream "
        "= ?)"
    ),
    before_batch=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = ? AND position = (SELECT max(position) AS max_1 FROM journal_events WHERE stream "
        "= ? AND batch != ?)"
    ),
    batches_after=(
        "SELECT min(batch) AS min_1, max(batch) AS max_1, max(position) AS max_2 FROM "
        "journal_events WHERE stream = ? AND position > ?"
    ),
    set_aside=(
        "INSERT INTO journal_torn (stream, found_ns, position, batch, at_ns, kind, payload, "
        "intent_id, hash) SELECT stream, ? AS anon_1, position, batch, at_ns, kind, payload, "
        "intent_id, hash FROM journal_events WHERE stream = ? AND position > ?"
    ),
    cut="DELETE FROM journal_events WHERE stream = ? AND position > ?",
    checkpoints="SELECT position FROM journal_checkpoints WHERE stream = ? ORDER BY position DESC",
    checkpoint="SELECT digest, state FROM journal_checkpoints WHERE stream = ? AND position = ?",
    keep_checkpoint=(
        "INSERT INTO journal_checkpoints (stream, position, digest, state) VALUES (?, ?, ?, ?)"
    ),
    drop_checkpoint="DELETE FROM journal_checkpoints WHERE stream = ? AND position = ?",
)


POSTGRESQL = Statements(
    revision="SELECT version_num FROM journal_revision",
    streams="SELECT stream FROM journal_writers ORDER BY stream",
    writer=(
        "SELECT token, holder, since_ns, position, hash FROM journal_writers WHERE stream = "
        "%s::VARCHAR"
    ),
    first_claim=(
        "INSERT INTO journal_writers (stream, token, holder, since_ns, position, hash) VALUES "
        "(%s::VARCHAR, %s::BIGINT, %s::VARCHAR, %s::BIGINT, %s::BIGINT, %s)"
    ),
    claim=(
        "UPDATE journal_writers SET token=%s::BIGINT, holder=%s::VARCHAR, since_ns=%s::BIGINT, "
        "position=%s::BIGINT, hash=%s WHERE stream = %s::VARCHAR"
    ),
    advance=(
        "UPDATE journal_writers SET position=%s::BIGINT, hash=%s WHERE stream = %s::VARCHAR AND "
        "token = %s::BIGINT AND position = %s::BIGINT AND hash = %s"
    ),
    append=(
        "INSERT INTO journal_events (stream, position, batch, at_ns, kind, payload, intent_id, "
        "hash) VALUES (%s::VARCHAR, %s::BIGINT, %s::BIGINT, %s::BIGINT, %s::VARCHAR, %s, "
        "%s::VARCHAR, %s)"
    ),
    page=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = %s::VARCHAR AND position > %s::BIGINT AND position <= %s::BIGINT ORDER BY "
        "position"
    ),
    page_between=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = %s::VARCHAR AND position > %s::BIGINT AND position <= %s::BIGINT AND at_ns >= "
        "%s::BIGINT AND at_ns < %s::BIGINT ORDER BY position"
    ),
    last=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = %s::VARCHAR AND position = (SELECT max(position) AS max_1 FROM journal_events "
        "WHERE stream = %s::VARCHAR)"
    ),
    before_batch=(
        "SELECT position, batch, at_ns, kind, payload, intent_id, hash FROM journal_events WHERE "
        "stream = %s::VARCHAR AND position = (SELECT max(position) AS max_1 FROM journal_events "
        "WHERE stream = %s::VARCHAR AND batch != %s::BIGINT)"
    ),
    batches_after=(
        "SELECT min(batch) AS min_1, max(batch) AS max_1, max(position) AS max_2 FROM "
        "journal_events WHERE stream = %s::VARCHAR AND position > %s::BIGINT"
    ),
    set_aside=(
        "INSERT INTO journal_torn (stream, found_ns, position, batch, at_ns, kind, payload, "
        "intent_id, hash) SELECT stream, %s::BIGINT AS anon_1, position, batch, at_ns, kind, "
        "payload, intent_id, hash FROM journal_events WHERE stream = %s::VARCHAR AND position > "
        "%s::BIGINT"
    ),
    cut="DELETE FROM journal_events WHERE stream = %s::VARCHAR AND position > %s::BIGINT",
    checkpoints=(
        "SELECT position FROM journal_checkpoints WHERE stream = %s::VARCHAR ORDER BY position DESC"
    ),
    checkpoint=(
        "SELECT digest, state FROM journal_checkpoints WHERE stream = %s::VARCHAR AND position = "
        "%s::BIGINT"
    ),
    keep_checkpoint=(
        "INSERT INTO journal_checkpoints (stream, position, digest, state) VALUES (%s::VARCHAR, "
        "%s::BIGINT, %s, %s)"
    ),
    drop_checkpoint=(
        "DELETE FROM journal_checkpoints WHERE stream = %s::VARCHAR AND position = %s::BIGINT"
    ),
)
