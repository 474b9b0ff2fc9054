"""The --journal option, and the default place of the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import JournalError
from trueup.passwords import has_password
from trueup.runtime.control.programs import journal_of_programs
from trueup.runtime.control.state_files import short_path, state_folder
from trueup.setting_places import is_named

JOURNAL_FILE = "paper.db"


SEE_TO_PASSWORD = (
    "put the URL into TRUEUP_JOURNAL (the environment, .env or trueup.toml), or the password alone "
    "into PGPASSWORD or ~/.pgpass"
)


def _known_kind(value: str | None) -> str | None:
    """Refuse a URL of a database that no journal can be in, before the command begins.

    A password in the URL is not refused, because scripts give it there; it is warned of.
    """
    if value is not None:
        # Imported here: most commands are called without the option.
        from trueup.journal.backends.location import refuse_unknown_kind

        try:
            refuse_unknown_kind(value)
        except JournalError as error:
            raise WrongUsage(str(error)) from error
        warn_of_password("--journal", value, SEE_TO_PASSWORD)
    return value


def warn_of_password(where: str, url: str, remedy: str) -> None:
    """Warn of a URL on the command line that has a password; the warning does not have it."""
    if has_password(url):
        say(
            f"WARNING: every user of this machine can read the password in {where}, in the list of "
            f"processes: {remedy}.",
            err=True,
        )


def _journal_option(by_default: str) -> Any:
    return typer.Option(
        "--journal",
        metavar="FILE|postgresql://...",
        callback=_known_kind,
        help=f"Where the journal is; by default {by_default}.",
    )


_OF_FOLDER = f"{JOURNAL_FILE} in the state folder (.trueup)"
PaperJournalOption = Annotated[str | None, _journal_option(_OF_FOLDER)]
"""The journal of the demonstration, which reads no settings."""
JournalOption = Annotated[
    str | None,
    _journal_option(
        f"TRUEUP_JOURNAL, or {_OF_FOLDER}, or the journal of a program that calls trueup.mt5 there"
    ),
]
LastStreamOption = Annotated[
    str | None,
    typer.Option(
        "--stream", help="The book of the journal; by default that of the bot that ran last."
    ),
]
"""The book that a command shows which also finds running bots."""


def default_journal() -> str | Path:
    """Return the place of the journal of a command without --journal.

    The setting comes first, then a running program that calls `trueup.mt5`, then the journal of
    `trueup paper`, then that of the program that ran last.

    Raises:
        SettingsError: a setting cannot be used.
    """
    if is_named("trueup_journal"):
        # Imported here: pydantic takes longer to import than the rest of most commands.
        from trueup.settings import load_settings

        configured = load_settings().trueup_journal
        if configured:
            return configured
    return _journal_here()


def _journal_here() -> Path:
    """Return the journal in the state folder: of a program behind the door if no bot left one."""
    place = paper_journal()
    program = journal_of_programs(running=place.exists())
    return place if program is None else short_path(program)


def is_missing(place: str | Path) -> bool:
    """Return whether a journal is a file that does not exist."""
    # Imported here: the status of a running bot needs no journal, nor the time to import it.
    from trueup.journal.backends.location import is_file

    return is_file(place) and not Path(place).exists()


def paper_journal() -> Path:
    """Return the place of the journal of `trueup paper` without --journal."""
    return state_folder() / JOURNAL_FILE
