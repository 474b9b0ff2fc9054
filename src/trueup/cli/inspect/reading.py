"""Open the journal and the stream that a command reads."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.cli.shared.journal_place import default_journal, is_missing
from trueup.cli.shared.say import say
from trueup.errors import JournalError, TrueupError
from trueup.journal import open_reader
from trueup.journal.backends.location import is_file
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.runtime.control.bots import ask_bot, find_bots
from trueup.runtime.control.state_files import short_path

StreamOption = Annotated[
    str | None,
    typer.Option(
        "--stream",
        help="The book of the journal; by default the running bot's book, or the last opened one.",
    ),
]


def journal_of(journal: str | None) -> str | Path:
    """Return the journal of the option, of the running bot, or the default journal.

    Raises:
        JournalError: no journal is given, and there is none at the default place.
    """
    if journal is not None:
        return journal
    # A bot of this folder may keep its journal elsewhere; the bot's own answer names the file.
    running = {facts["journal_file"] for facts in _running() if facts.get("journal_file")}
    if len(running) == 1:
        return short_path(Path(running.pop()))
    place = default_journal()
    if is_missing(place):
        raise JournalError(
            f"There is no journal {place}: `trueup paper` and `trueup run` make it; give another "
            "with --journal."
        )
    return place


@contextlib.contextmanager
def reading(journal: str | None, stream: str | None) -> Iterator[JournalReader]:
    """Open the stream of the option, of the running bot, or the one that was opened last.

    If the journal has several and none is named, a line on stderr says which is read.

    Raises:
        JournalError: the journal cannot be opened, or has no such stream.
    """
    place = journal_of(journal)
    with open_reader(place, stream or _running_on(place) or _newest(place)) as reader:
        yield reader


def width() -> int:
    """Return the width of lines of text."""
    return min(shutil.get_terminal_size().columns, 120)


def _running_on(place: str | Path) -> str | None:
    """Return the stream of the only bot that runs on a journal, or None."""
    if not is_file(place):
        return None
    file = str(Path(place).resolve())
    found = [str(f["stream"]) for f in _running() if f.get("journal_file") == file]
    return found[0] if len(found) == 1 else None


def _newest(place: str | Path) -> str | None:
    """Return the stream that was opened last, and say so if there are others; None without any."""
    seen = overview(place)
    if seen.newest is None:
        return None
    if len(seen.streams) > 1:
        name, count = seen.newest.name, len(seen.streams)
        say(f"Stream {name!r}, opened last of {count} streams: --stream has another.", err=True)
    return seen.newest.name


def _running() -> list[dict[str, Any]]:
    """Return the `hello` answers of this folder's bots; a bot that does not answer is left out."""
    found = []
    for bot in find_bots():
        with contextlib.suppress(TrueupError):
            found.append(ask_bot(bot, "hello"))
    return found
