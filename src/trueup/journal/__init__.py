"""The journal: append-only events from which a book is folded.

`open_journal` opens a stream for its single writer, `open_reader` opens a stream to read. Both
import the database driver only when they are called, so a process without a journal on disk does
not load a driver.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.journal.journal import (
    Checkpoint,
    Fault,
    Journal,
    JournalAhead,
    Record,
    Tip,
    Verdict,
)
from trueup.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from trueup.journal.database.database import Database
    from trueup.journal.reading.reader import JournalReader
    from trueup.journal.writing.store import StoredJournal

__all__ = [
    "Checkpoint",
    "Fault",
    "Journal",
    "JournalAhead",
    "MemoryJournal",
    "Record",
    "Tip",
    "Verdict",
    "open_journal",
    "open_reader",
]


def open_journal(
    url_or_path: str | Path | Database,
    stream: str,
    *,
    holder: str | None = None,
    take_over: bool = False,
    permit: Callable[[Database], None] | None = None,
    now_ns: Callable[[], int],
) -> StoredJournal:
    """Open a stream for writing; create or upgrade the journal where needed.

    Args:
        url_or_path: a SQLite file (`bot.db`), a `postgresql://` URL, or a database that is not
            connected yet.
        stream: the name of the stream, usually the account's.
        holder: the name of this program in the error that a second writer gets; by default the
            program's file name.
        take_over: fence out a living writer: its next append is refused.
        permit: called in the transaction that makes this process the writer; raises
            `JournalConflict` if this process may not be the writer.
        now_ns: returns nanoseconds of UTC since 1970.

    Raises:
        JournalConflict: another process writes this stream; the message names the process and the
            time since when.
        JournalCorrupt: the journal was altered, or is damaged before its last transaction.
        JournalError: the journal cannot be opened, or a newer trueup wrote the journal.
    """
    # Imported here, so that a process without a journal loads no database driver.
    from trueup.journal.backends.location import database_at
    from trueup.journal.writing.store import open_to_write

    return open_to_write(
        database_at(url_or_path) if isinstance(url_or_path, str | Path) else url_or_path,
        stream,
        holder=holder,
        take_over=take_over,
        permit=permit,
        now_ns=now_ns,
    )


def open_reader(url_or_path: str | Path, stream: str | None = None) -> JournalReader:
    """Open a stream for reading, while its writer runs or after; without a name, the only stream.

    Raises:
        JournalError: the journal cannot be opened, or has no such stream.
    """
    from trueup.journal.backends.location import database_at
    from trueup.journal.reading.reader import open_to_read

    return open_to_read(database_at(url_or_path, read_only=True), stream)
