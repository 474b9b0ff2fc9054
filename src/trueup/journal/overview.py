"""List the streams of a journal with their writers, without reading the events."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trueup.journal.backends.location import database_at
from trueup.journal.database.migrate import require_current
from trueup.journal.reading.table import EventTable


class StreamOverview(NamedTuple):
    """A stream: its number of events, its last writer, and the start of that writer (ns of UTC)."""

    name: str
    events: int
    holder: str
    since_ns: int


class Overview(NamedTuple):
    """A journal by its name in messages; `size` is bytes on disk, None for a server."""

    name: str
    streams: tuple[StreamOverview, ...]
    size: int | None


def overview(url_or_path: str | Path) -> Overview:
    """Return the name, streams and size of a journal.

    Raises:
        JournalError: the journal cannot be opened.
    """
    database = database_at(url_or_path, read_only=True)
    database.connect()
    try:
        require_current(database)
        rows = database.fetch(database.statements.streams)
        tables = [EventTable(database, str(row[0])) for row in rows]
        # Streams are listed from the table of writers, of which a damaged file may lack rows.
        streams = tuple(
            StreamOverview(table.stream, table.last_position(), writer.holder, writer.since_ns)
            for table in tables
            if (writer := table.writer()) is not None
        )
        return Overview(database.name, streams, _size(url_or_path))
    finally:
        database.close()


def _size(url_or_path: str | Path) -> int | None:
    if "://" in str(url_or_path):
        return None
    path = Path(url_or_path)
    parts = (path, path.with_name(f"{path.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
