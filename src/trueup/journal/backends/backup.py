"""Copy a journal's SQLite file, also while a bot writes it.

The copy is of one moment, and has no damaged index or free page: SQLite writes all rows anew. A
copy of the file by other programs lacks what is still in the log beside it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trueup.errors import JournalError, reason
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.private import make_private


def back_up(path: Path, copy: Path) -> None:
    """Write a copy of a journal to a new file, which is on the disk when this returns.

    Raises:
        JournalError: the journal cannot be read in full, or the copy cannot be written.
    """
    if copy.exists():
        raise JournalError(f"{copy} is there already: give a new name, so that no copy is lost.")
    with contextlib.closing(SqliteDatabase(path, read_only=True)) as journal:
        journal.connect()
        # SQLite writes into an empty file; it gets its permissions before anything is in it.
        make_private(copy)
        try:
            journal.fetch("VACUUM INTO ?", str(copy))
            with copy.open("rb+") as file:
                os.fsync(file.fileno())
        except (JournalError, OSError) as error:
            copy.unlink(missing_ok=True)
            because = reason(error) if isinstance(error, OSError) else str(error).rstrip(".")
            raise JournalError(
                f"{path} cannot be copied to {copy}: {because}.",
                remedy=getattr(error, "remedy", ""),
            ) from error
