"""`trueup run install`: write a service file that keeps a bot running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.journal_place import SEE_TO_PASSWORD
from trueup.cli.shared.services import (
    FolderOption,
    Kind,
    check_name,
    kind_of_system,
    write_task,
    write_unit,
)
from trueup.errors import SettingsError
from trueup.passwords import has_password, hide_passwords

LOG_FILE = "bot.log"
DESCRIPTION = "trueup run: trades a strategy and keeps its book in agreement with the broker"


def install(
    ctx: typer.Context,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- OPTIONS", help="The options of `trueup run` for the service."),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="task: a scheduled task of Windows; systemd: a unit for Linux. By default the "
            "kind of this system."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The service's name.")] = "trueup-bot",
    folder: FolderOption = Path(),
) -> None:
    """Write a service file that keeps a bot running.

    The command prints how to register the file, and registers nothing itself. The words after `--`
    are the options of `trueup run`; the settings of the folder hold for the service as well.
    """
    words = _checked(ctx, options or [])
    check_name(name)
    here = folder.resolve()
    if (kind or kind_of_system()) is Kind.TASK:
        write_task(name, here, ["run", *words], DESCRIPTION)
        return
    # Python finds the strategy in the folder of the unit: `trueup run` searches there itself.
    command = [sys.executable, "-P", "-m", "trueup", "run", *words]
    write_unit(name, here, command, DESCRIPTION, notifies=True)


def _checked(ctx: typer.Context, words: list[str]) -> list[str]:
    """Check the options of `trueup run` with its own parser; return them, with a log file added."""
    assert ctx.parent is not None
    group = ctx.parent.command
    # A service that is refused at its start would fail at night, unseen.
    context = group.make_context("trueup run", list(words))
    _, more, _ = group.make_parser(context).parse_args(list(words))
    if more:
        raise SettingsError("OPTIONS", " ".join(more), "give one strategy, and options")
    shown = " ".join(words)
    if has_password(shown):
        # Every user of the machine can read a service file.
        valid = f"a service file is no place for a password: {SEE_TO_PASSWORD}"
        raise SettingsError("OPTIONS", hide_passwords(shown), valid)
    return [*words, "--log", LOG_FILE] if context.params["log_file"] is None else words
