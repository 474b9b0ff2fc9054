"""List the streams of a journal with their writers, without reading the events."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trueup.journal.backends.location import database_at, is_file
from trueup.journal.database.migrate import require_current
from trueup.journal.reading.anchors import archived_of
from trueup.journal.reading.reader import successor_of
from trueup.journal.reading.table import EventTable


class StreamOverview(NamedTuple):
    """A stream: its number of events, its last writer, and the start of that writer (ns of UTC).

    `successor` is the stream in which its book goes on; '' if the stream has not ended. The first
    `archived` of the events are in `archives` files.
    """

    name: str
    events: int
    holder: str
    since_ns: int
    successor: str = ""
    archived: int = 0
    archives: int = 0


class Overview(NamedTuple):
    """A journal by its name in messages; `size` is bytes on disk, None for a server."""

    name: str
    streams: tuple[StreamOverview, ...]
    size: int | None

    @property
    def newest(self) -> StreamOverview | None:
        """The stream that was opened last among those that have not ended; None without any."""
        return max(
            self.streams, key=lambda found: (not found.successor, found.since_ns), default=None
        )


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
        archived = archived_of(database)
        # Streams are listed from the table of writers, of which a damaged file may lack rows.
        streams = tuple(
            StreamOverview(
                table.stream,
                table.last_position(),
                writer.holder,
                writer.since_ns,
                successor_of(table),
                *archived.get(table.stream, (0, 0)),
            )
            for table in tables
            if (writer := table.writer()) is not None
        )
        return Overview(database.name, streams, size_on_disk(url_or_path))
    finally:
        database.close()


def size_on_disk(url_or_path: str | Path) -> int | None:
    """Return the bytes of a journal on disk; None for a server."""
    if not is_file(url_or_path):
        return None
    path = Path(url_or_path)
    parts = (path, path.with_name(f"{path.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
