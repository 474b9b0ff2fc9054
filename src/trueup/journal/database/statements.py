"""The SQL statements of a running journal.

The same text serves both databases: SQLite writes a parameter as `?` and psycopg as `%s`.
Parameters are passed in the order of the text.
"""

from __future__ import annotations

from typing import NamedTuple

_ROW = "position, batch, at_ns, kind, payload, intent_id, hash"
_ANCHOR = (
    "stream, position, hash, first_position, hash_before, first_hash, newest_ns, archived_ns,"
    " file, file_digest, book_position, book_digest, book, orders"
)
_ANCHORS = (
    "SELECT position, hash, first_position, hash_before, first_hash, newest_ns, archived_ns,"
    " file, file_digest, book_position, book_digest FROM journal_archives WHERE stream = ?"
    " ORDER BY position"
)
_PAGE = f"SELECT {_ROW} FROM journal_events WHERE stream = ? AND position > ? AND position <= ?"


class Statements(NamedTuple):
    """Every statement of a running journal, for one driver."""

    revision: str = "SELECT version_num FROM journal_revision"
    """The schema's revision."""

    streams: str = "SELECT stream FROM journal_writers ORDER BY stream"
    """The names of all streams."""

    streams_of: str = (
        "SELECT stream FROM journal_writers WHERE substr(stream, 1, ?) = ? ORDER BY stream"
    )
    """The names of the streams that begin with a text. Parameters: its length, and the text."""

    writer: str = (
        "SELECT token, holder, since_ns, position, hash FROM journal_writers WHERE stream = ?"
    )
    """The writer of a stream."""

    first_claim: str = (
        "INSERT INTO journal_writers (stream, token, holder, since_ns, position, hash)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )
    """A stream's first writer."""

    claim: str = (
        "UPDATE journal_writers SET token = ?, holder = ?, since_ns = ?, position = ?, hash = ?"
        " WHERE stream = ?"
    )
    """A stream's next writer."""

    advance: str = (
        "UPDATE journal_writers SET position = ?, hash = ?"
        " WHERE stream = ? AND token = ? AND position = ? AND hash = ?"
    )
    """Move a writer's tip, if the row still has that writer's token and old tip."""

    append: str = (
        "INSERT INTO journal_events"
        " (stream, position, batch, at_ns, kind, payload, intent_id, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    """One event."""

    page: str = f"{_PAGE} ORDER BY position"
    """Rows in a range of positions: of a stream, after one, up to another."""

    page_between: str = f"{_PAGE} AND at_ns >= ? AND at_ns < ? ORDER BY position"
    """The rows of `page` within a range of time: since (included), until (excluded)."""

    last: str = (
        f"SELECT {_ROW} FROM journal_events WHERE stream = ? AND position ="
        " (SELECT max(position) FROM journal_events WHERE stream = ?)"
    )
    """The row with the highest position. Parameters: the stream, twice."""

    newest_of_kind: str = (
        f"SELECT {_ROW} FROM journal_events WHERE stream = ? AND position > ? AND kind = ?"
        " ORDER BY position DESC LIMIT 1"
    )
    """The newest row of a kind after a position."""

    before_batch: str = (
        f"SELECT {_ROW} FROM journal_events WHERE stream = ? AND position ="
        " (SELECT max(position) FROM journal_events WHERE stream = ? AND batch <> ?)"
    )
    """The last row that is not of a batch. Parameters: the stream, twice, and the batch."""

    batches_after: str = (
        "SELECT min(batch), max(batch), max(position) FROM journal_events"
        " WHERE stream = ? AND position > ?"
    )
    """The transactions named by the rows after a position."""

    set_aside: str = (
        f"INSERT INTO journal_torn (stream, found_ns, {_ROW})"
        f" SELECT stream, ?, {_ROW} FROM journal_events WHERE stream = ? AND position > ?"
    )
    """Copy the rows after a position to the table of torn rows, with the time of the discovery."""

    cut: str = "DELETE FROM journal_events WHERE stream = ? AND position > ?"
    """Delete the rows after a position."""

    checkpoints: str = (
        "SELECT position FROM journal_checkpoints WHERE stream = ? ORDER BY position DESC"
    )
    """The positions that have a checkpoint, newest first."""

    checkpoint: str = (
        "SELECT digest, state FROM journal_checkpoints WHERE stream = ? AND position = ?"
    )
    """One checkpoint."""

    keep_checkpoint: str = (
        "INSERT INTO journal_checkpoints (stream, position, digest, state) VALUES (?, ?, ?, ?)"
    )
    """A new checkpoint."""

    drop_checkpoint: str = "DELETE FROM journal_checkpoints WHERE stream = ? AND position = ?"
    """Delete a checkpoint."""

    anchors: str = _ANCHORS
    """What was archived of a stream, oldest first, without books and orders."""

    last_anchor: str = f"{_ANCHORS} DESC LIMIT 1"
    """What was archived last of a stream, without book and orders."""

    archived: str = "SELECT stream, MAX(position), COUNT(*) FROM journal_archives GROUP BY stream"
    """The last archived position of each stream, and the number of its archives."""

    anchor_book: str = "SELECT book FROM journal_archives WHERE stream = ? AND position = ?"
    """The saved book of an anchor."""

    anchor_orders: str = "SELECT orders FROM journal_archives WHERE stream = ?"
    """The ids of the archived orders, compressed, of each anchor."""

    whole_anchors: str = f"SELECT {_ANCHOR} FROM journal_archives WHERE stream = ?"
    """What was archived of a stream, with books and orders."""

    anchor: str = (
        f"INSERT INTO journal_archives ({_ANCHOR})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    """A new anchor."""

    drop_anchor: str = "DELETE FROM journal_archives WHERE stream = ? AND position = ?"
    """Delete an anchor whose events were put back."""

    drop_checkpoints: str = "DELETE FROM journal_checkpoints WHERE stream = ? AND position <= ?"
    """Delete the checkpoints of archived events."""

    first: str = "SELECT min(position) FROM journal_events WHERE stream = ?"
    """The lowest position of any row of a stream."""

    drop_events: str = "DELETE FROM journal_events WHERE stream = ? AND position <= ?"
    """Delete archived events, up to a position."""

    intents: str = (
        "SELECT intent_id FROM journal_events WHERE stream = ? AND intent_id IS NOT NULL"
        " AND intent_id = ?"
    )
    """An intent of a stream, by its order's id."""


SQLITE = Statements()
POSTGRESQL = Statements(*(text.replace("?", "%s") for text in SQLITE))
