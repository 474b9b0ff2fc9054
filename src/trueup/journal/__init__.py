"""The journal: append-only events from which a book is folded.

`open_journal` gives the one writer of a stream, `open_reader` anything that only looks. What they
need of a database driver is imported when they are called: a process without a journal on disk
pays nothing for it.
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
    url_or_path: str | Path,
    stream: str,
    *,
    holder: str | None = None,
    take_over: bool = False,
    now_ns: Callable[[], int],
) -> StoredJournal:
    """Open a stream for writing; the journal is made, or upgraded, where needed.

    `url_or_path` is a SQLite file (`bot.db`) or a `postgresql://` URL. `stream` names the account
    whose events these are. `holder` names this program to a second process that is refused; the
    program's name without it. With `take_over` a living holder is fenced out: its next append is
    refused. `now_ns` gives nanoseconds of UTC since 1970.

    Raises:
        JournalConflict: another process writes this stream; the message says which and since when.
        JournalCorrupt: the journal was altered, or is damaged beyond its last transaction.
        JournalError: it cannot be opened, or a newer trueup wrote it.
    """
    from trueup.journal.backends.location import database_at
    from trueup.journal.writing.store import open_to_write

    return open_to_write(
        database_at(url_or_path), stream, holder=holder, take_over=take_over, now_ns=now_ns
    )


def open_reader(url_or_path: str | Path, stream: str | None = None) -> JournalReader:
    """Open a stream for reading, whether its writer lives or not; without a name, the only one.

    Raises:
        JournalError: it cannot be opened, or has no such stream.
    """
    from trueup.journal.backends.location import database_at
    from trueup.journal.reading.reader import open_to_read

    return open_to_read(database_at(url_or_path, read_only=True), stream)
