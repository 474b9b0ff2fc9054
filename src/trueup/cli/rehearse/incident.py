"""`trueup sim incident`: let an incident of the night happen, to look at it and to end it."""

from __future__ import annotations

import re
import signal
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.ending import stop_on_signals
from trueup.cli.shared.journal_place import warn_of_password
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import columns, say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError, TrueupError
from trueup.lab.incidents.database_way import Way
from trueup.lab.incidents.incident import Incident
from trueup.lab.incidents.stage import BOT_LOG, GATEWAY_LOG, OTHER_LOG, Stage
from trueup.lab.incidents.table import INCIDENTS

LOOK_AGAIN_SEC = 0.1
LOGS = {BOT_LOG: "bot", GATEWAY_LOG: "gateway", OTHER_LOG: "second"}
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def incident(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The incident.")] = "",
    list_all: Annotated[bool, typer.Option("--list", help="List all incidents.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for", min=0, metavar="SECONDS", help="End the incident then; by default on Ctrl-C."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A new folder for it; by default incident-NAME."),
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="For database-down: a PostgreSQL database to play with, without a password "
            "(PGPASSWORD has it).",
        ),
    ] = "",
) -> None:
    """Let an incident happen to a bot at a simulated terminal, look at it, and end it.

    The command starts a terminal, a gateway and a bot of its own in a new folder. `trueup status`
    and `trueup doctor` there say what happened; docs/operating/incidents.md has all incidents.
    """
    if list_all:
        width = max(len(each.name) for each in INCIDENTS)
        say("\n".join(f"{each.name:<{width}}  {each.title}" for each in INCIDENTS))
        return
    chosen = next((each for each in INCIDENTS if each.name == name), None)
    if chosen is None:
        known = ", ".join(each.name for each in INCIDENTS)
        raise WrongUsage(
            f"There is no incident {name}: give one of {known}."
            if name
            else f"Give an incident: {known}."
        )
    if chosen.needs_database != bool(database):
        raise WrongUsage(
            f"{name} needs --database, as --database postgresql://user@host/rehearsal: a database "
            "of your own to play with."
            if chosen.needs_database
            else f"--database is for database-down; {name} keeps its journal in a file."
        )
    if why := chosen.impossible():
        raise TrueupError(f"{name} cannot be played here: {why}.")
    warn_of_password("--database", database, "give the password in PGPASSWORD")
    stage = Stage(_new_folder(name, folder), Way(database) if database else None)
    with closing(stage):
        with progress("Starting a terminal, a gateway and a bot"):
            stage.begin()
        _play(chosen, stage, seconds)
    say(f"\nAll parts have ended; {_shown(stage)} keeps their logs.")


def _play(chosen: Incident, stage: Stage, seconds: float | None) -> None:
    stop = threading.Event()
    stage.bot.mark()
    with _told(stage):
        with chosen.play(stage):
            say(_description(chosen, stage))
            stop_on_signals(stop.set)
            stop.wait(seconds)
            # A second Ctrl-C is for somebody who does not want to wait for the end.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            say(f"\nThe end: {_plain(chosen.ends)}")
        stage.wait_until_agreed()
    say("Book and broker agree again.")


@contextmanager
def _told(stage: Stage) -> Iterator[None]:
    """Print the new lines of all logs until the block ends."""
    ended = threading.Event()
    paths = {stage.folder / file: name for file, name in LOGS.items()}
    read = {path: path.stat().st_size if path.exists() else 0 for path in paths}

    def print_new() -> None:
        for path, name in paths.items():
            with suppress(FileNotFoundError):
                new = path.read_bytes()[read[path] :]
                # A line that is still being written comes with the next look.
                whole = new[: new.rfind(b"\n") + 1]
                read[path] += len(whole)
                for line in whole.decode("utf-8", "replace").splitlines():
                    say(f"{name:>7} | {line}")

    def follow() -> None:
        while not ended.wait(LOOK_AGAIN_SEC):
            print_new()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        print_new()


def _description(chosen: Incident, stage: Stage) -> str:
    rows = {
        "happens": chosen.happens,
        "means": chosen.means,
        "at risk": chosen.risk,
        "to do": chosen.todo,
    }
    until = f"Ctrl-C ends the incident: {_plain(chosen.ends)}"
    return "\n".join(
        [
            f"\n{chosen.title}",
            *(_row(name, _plain(text)) for name, text in rows.items()),
            "\nLook at it in a second shell:",
            f"  cd {_shown(stage)}",
            "  trueup status",
            "  trueup doctor",
            until,
            "",
        ]
    )


def _shown(stage: Stage) -> Path:
    here = Path.cwd()
    return stage.folder.relative_to(here) if stage.folder.is_relative_to(here) else stage.folder


def _row(name: str, text: str) -> str:
    return textwrap.fill(
        text, columns(), initial_indent=f"  {name:<8} ", subsequent_indent=" " * 11
    )


def _plain(text: str) -> str:
    """Return a sentence of a page without its links."""
    return LINK.sub(r"\1", text)


def _new_folder(name: str, given: Path | None) -> Path:
    """Return a folder that does not exist, because a book of an older terminal would not agree."""
    if given is not None:
        if given.exists():
            raise SettingsError("--folder", str(given), "give a folder that does not exist")
        return given
    first = Path(f"incident-{name}")
    number, folder = 1, first
    while folder.exists():
        number += 1
        folder = Path(f"{first}-{number}")
    return folder
