"""Write the service file of a command, and tell how to register it."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.say import say
from trueup.cli.shared.service_files import systemd_unit, task_xml
from trueup.errors import SettingsError


class Kind(StrEnum):
    """The service manager that runs the command."""

    TASK = "task"
    SYSTEMD = "systemd"


# The log and relative paths of the options are relative to this folder.
FolderOption = Annotated[
    Path,
    typer.Option(metavar="FOLDER", help="The folder of the file, and of the running command."),
]


def kind_of_system() -> Kind:
    """Return the service manager of this system."""
    return Kind.TASK if os.name == "nt" else Kind.SYSTEMD


def check_name(name: str) -> None:
    """Refuse a service's name that is a path, or that systemd or the printed commands cannot have.

    Raises:
        SettingsError: the name cannot be used.
    """
    if not name or Path(name).name != name:
        raise SettingsError("--name", name, "give a name without a path")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise SettingsError("--name", name, "give letters, digits, and _ . -")


def write_task(name: str, folder: Path, words: Sequence[str], description: str) -> None:
    """Write a scheduled task that runs `trueup` with these words, and tell how to register it.

    Raises:
        SettingsError: the file cannot be written.
    """
    # The task scheduler wants the domain, which on a machine of its own is the machine's name.
    user = os.environ.get("USERDOMAIN", "")
    user = f"{user}\\{getpass.getuser()}" if user else getpass.getuser()
    # -P keeps files of the folder from being imported instead of modules.
    command = [sys.executable, "-P", "-m", "trueup", *words]
    path = _write(folder / f"{name}.xml", task_xml(user, command, str(folder), description))
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


def write_unit(
    name: str,
    folder: Path,
    command: Sequence[str],
    description: str,
    environment: Sequence[str] = (),
    *,
    notifies: bool = False,
) -> None:
    """Write a unit of the user's own systemd, and tell how to register it; see `systemd_unit`.

    Raises:
        SettingsError: the file cannot be written.
    """
    unit = systemd_unit(command, str(folder), description, environment, notifies=notifies)
    path = _write(folder / f"{name}.service", unit.encode())
    say(
        f"Wrote {path}\n"
        "\n"
        "Register it and start it, as this user:\n"
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
