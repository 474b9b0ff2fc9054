"""`trueup gateway install`: write a service file that runs the gateway."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.gateway.service_files import systemd_unit, task_xml
from trueup.cli.shared.say import say
from trueup.errors import SettingsError

LOG_FILE = "gateway.log"


class Kind(StrEnum):
    """The service manager that runs the gateway."""

    TASK = "task"
    SYSTEMD = "systemd"


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
    # The log and relative paths of the options are relative to this folder.
    folder: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="The folder of the file, and of the running gateway."),
    ] = Path(),
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
    if not name or Path(name).name != name:
        raise SettingsError("--name", name, "give a name without a path")
    here = folder.resolve()
    if kind is None:
        kind = Kind.TASK if os.name == "nt" else Kind.SYSTEMD
    if kind is Kind.TASK:
        _write_task(name, here, words)
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


def _write_task(name: str, folder: Path, words: list[str]) -> None:
    # The task scheduler wants the domain, which on a machine of its own is the machine's name.
    user = os.environ.get("USERDOMAIN", "")
    user = f"{user}\\{getpass.getuser()}" if user else getpass.getuser()
    # -P keeps files of the folder from being imported instead of modules.
    command = [sys.executable, "-P", "-m", "trueup", "gateway", *words]
    path = _write(folder / f"{name}.xml", task_xml(user, command, str(folder)))
    say(
        f"Wrote {path}\n"
        "\n"
        f"Register it, as {user}:\n"
        f'    schtasks /Create /TN "{name}" /XML "{path}" /F\n'
        "Start it now; from then on it starts when you log on, and again within a minute of any "
        "end:\n"
        f'    schtasks /Run /TN "{name}"\n'
        "Look at it, switch it off, take it away:\n"
        f'    schtasks /Query /TN "{name}" /V /FO LIST\n'
        f'    schtasks /Change /TN "{name}" /DISABLE\n'
        f'    schtasks /Delete /TN "{name}" /F'
    )


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
    unit = systemd_unit([*command, "-P", "-m", "trueup", "gateway", *words], str(folder), kept)
    path = _write(folder / f"{name}.service", unit.encode())
    say(
        f"Wrote {path}\n"
        "\n"
        "Register it and start it, as the user whose terminal it is:\n"
        f'    systemctl --user link "{path}"\n'
        f"    systemctl --user enable --now {name}\n"
        "Let it run without anybody logged in:\n"
        "    loginctl enable-linger\n"
        "Look at it, switch it off:\n"
        f"    systemctl --user status {name}\n"
        f"    systemctl --user disable --now {name}"
    )


def _write(path: Path, content: bytes) -> Path:
    try:
        path.write_bytes(content)
    except OSError as error:
        because = (error.strerror or str(error)).lower()
        valid = f"give a folder that exists and can be written ({because})"
        raise SettingsError("--folder", str(path.parent), valid) from error
    return path
