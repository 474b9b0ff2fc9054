"""Create files that only the current user can read: trades of an account, and the means to trade.

On Windows a file has the permissions of its folder, and a user's folders are private by default.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_private(path: Path) -> None:
    """Create an empty file for the current user alone, unless the file exists.

    An existing file keeps its permissions. SQLite takes an empty file for a new database, and gives
    the files beside the database the same permissions. A failure is ignored, because the next
    attempt to open the file reports the reason.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def make_private_folder(folder: Path) -> None:
    """Create a folder and its parents for the current user alone, unless the folder exists.

    Raises:
        OSError: the folder cannot be created.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
