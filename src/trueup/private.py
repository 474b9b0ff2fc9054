"""Files that are for the eyes of one user: what an account traded, and how to trade on it.

On Windows a file has the rights of its folder, and that of a user is private as it is.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_private(path: Path) -> None:
    """Make an empty file for its user alone, where there is none yet.

    One that is there keeps the rights that somebody gave it. SQLite takes an empty file for a new
    database, and gives the files beside it the same rights. Where it cannot be made, whoever opens
    it next says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def make_private_folder(folder: Path) -> None:
    """Make a folder for its user alone, where there is none yet, and what is above it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
