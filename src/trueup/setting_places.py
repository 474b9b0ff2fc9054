"""Where settings may stand; without pydantic, which takes longer to import than a whole bot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ENV_FILE: Final = ".env"
TOML_FILE: Final = "trueup.toml"


def may_be_set(field: str) -> bool:
    """Return whether a variable sets this field of `Settings`, or a file that may do so exists."""
    is_variable = any(name.lower() == field for name in os.environ)
    return is_variable or Path(ENV_FILE).exists() or Path(TOML_FILE).exists()


def is_named(field: str) -> bool:
    """Return whether a variable or a file of the current folder has the name of a setting.

    Unlike `may_be_set`, a file that does not have the name does not count, so a misspelt name in
    the file is not noticed: for commands that only look for something.
    """
    if any(name.lower() == field for name in os.environ):
        return True
    return any(field.encode() in _content(Path(file)).lower() for file in (ENV_FILE, TOML_FILE))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
