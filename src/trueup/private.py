"""Create files that only the current user can read: trades of an account, and the means to trade.

On Windows a file has the permissions of its folder, and a user's folders are private by default.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trueup.errors import SettingsError, reason

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


def read_private(path: Path, setting: str) -> str:
    """Return the text of a file that only this user may read.

    Args:
        path: the file.
        setting: the name of the setting or option that names the file, for errors.

    Raises:
        SettingsError: the file cannot be read, or other users can read it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(setting, str(path), "it is no text in UTF-8") from error
    except OSError as error:
        raise SettingsError(setting, str(path), f"it cannot be read, {reason(error)}") from error
    if os.name == "posix" and mode & 0o077:
        raise SettingsError(setting, str(path), f"other users can read it: chmod 600 {path}")
    return text
