"""`trueup mcp`: let an assistant read a bot, and ask for orders where a person allows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.cli.operate.bot import BotOption, user_name
from trueup.cli.shared.journal_place import JournalOption, LastStreamOption, default_journal
from trueup.errors import SettingsError, TrueupError
from trueup.observe.log import set_up_logging

ALLOWED = ("propose", "submit")


def mcp(
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="propose|submit",
            help="Allow more than reading; repeatable. propose: orders that a person approves. "
            "submit: orders that are sent at once.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The bot's folder; by default the current one."),
    ] = None,
    who: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name in the journal; by default your login's and the client's.",
        ),
    ] = None,
    journal: JournalOption = None,
    stream: LastStreamOption = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log to a file as well.")
    ] = None,
    bot: BotOption = None,
) -> None:
    """Let an assistant read a bot, and ask for orders.

    A client of the Model Context Protocol, such as a desktop assistant, starts this command and
    talks to it over standard input and output; nothing listens on a port. The assistant reads the
    state of the running bot of the folder, or the journal of the bot that ran last. Without --allow
    it can do nothing else.

    Orders go through the running bot: its risk limits, a pause and its order desk hold. What an
    assistant asks for is in the journal with its name. It never approves: `trueup approve` is for a
    person.
    """
    unknown = sorted(set(allow or ()) - set(ALLOWED))
    if unknown:
        raise SettingsError("--allow", unknown[0], "give propose or submit")
    if folder is not None:
        _enter(folder)
    # Imported here: the protocol's library takes longer to import than most commands run.
    server_of = _library()
    # Standard output is the client's: a log line there would end the connection.
    set_up_logging(console=True, file=log, to_stderr=True)
    server_of(
        allowed=allow or (),
        who=who or user_name(),
        names_client=who is None,
        place=(bot, journal, stream, default_journal),
    ).run()


def _enter(folder: Path) -> None:
    """Make the bot's folder the current one: a client starts this command anywhere."""
    try:
        os.chdir(folder)
    except OSError as error:
        valid = "give the folder in which the bot runs"
        raise SettingsError("--folder", str(folder), valid) from error


def _library() -> Any:
    try:
        from trueup.doors.mcp.server import server_of
    except ModuleNotFoundError as error:
        raise TrueupError(
            f"`trueup mcp` needs a package that is not installed ({error.name}): "
            "pip install 'trueup[mcp]'."
        ) from error
    return server_of
