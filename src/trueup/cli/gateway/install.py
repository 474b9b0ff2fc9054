"""`trueup gateway install`: write a service file that runs the gateway."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.services import (
    FolderOption,
    Kind,
    check_name,
    kind_of_system,
    write_task,
    write_unit,
)
from trueup.errors import SettingsError

LOG_FILE = "gateway.log"
DESCRIPTION = "trueup gateway: serves the MetaTrader 5 terminal of this machine to bots"


def install(
    ctx: typer.Context,
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- OPTIONS", help="The options of `trueup gateway` for the service."
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="task: a scheduled task of Windows; systemd: a unit for a Linux machine with Wine."
            " By default the kind of this system."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The service's name.")] = "trueup-gateway",
    folder: FolderOption = Path(),
    wine_python: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The Windows Python under Wine, such as C:\\Python311\\python.exe; for systemd.",
        ),
    ] = "",
) -> None:
    """Write a service file that runs the gateway.

    The command prints how to register the file, and registers nothing itself. The words after `--`
    are the options of `trueup gateway`.
    """
    # Checked now: a service that is refused at its start would fail at night, unseen.
    words = _checked(ctx, options or [])
    check_name(name)
    here = folder.resolve()
    if (kind or kind_of_system()) is Kind.TASK:
        write_task(name, here, ["gateway", *words], DESCRIPTION)
    else:
        _write_unit(name, here, words, wine_python)


def _checked(ctx: typer.Context, words: list[str]) -> list[str]:
    """Check the gateway's options with its own parser; return them, with a log file added."""
    assert ctx.parent is not None
    group = ctx.parent.command
    taken = group.make_context("trueup gateway", list(words), resilient_parsing=False).params
    if taken["log_file"] is None:
        words = [*words, "--log", LOG_FILE]
    return words


def _write_unit(name: str, folder: Path, words: list[str], wine_python: str) -> None:
    if wine_python:
        command = [shutil.which("wine") or "/usr/bin/wine", wine_python]
    elif "--simulated" in words:
        command = [sys.executable]
    else:
        valid = "give the path of the Windows Python under Wine, such as C:\\Python311\\python.exe"
        raise SettingsError("--wine-python", wine_python, valid)
    # A unit does not inherit the shell's environment, and Wine needs these two.
    kept = [
        f"{variable}={os.environ[variable]}"
        for variable in ("WINEPREFIX", "DISPLAY")
        if wine_python and variable in os.environ
    ]
    write_unit(name, folder, [*command, "-P", "-m", "trueup", "gateway", *words], DESCRIPTION, kept)
