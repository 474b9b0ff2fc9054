"""The --journal option, and the default place of the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.runtime.control.state_files import state_folder

JOURNAL_FILE = "paper.db"

JournalOption = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE|postgresql://...",
        help=f"Where the journal is; by default {JOURNAL_FILE} in the state folder (.trueup).",
    ),
]


def default_journal() -> Path:
    """Return the place of the journal of `trueup paper` without --journal."""
    return state_folder() / JOURNAL_FILE


def short_path(path: Path) -> Path:
    """Return a path relative to the current folder if possible, for printing."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
