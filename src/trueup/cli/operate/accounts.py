"""`trueup accounts`: the accounts of a process that runs many, and their file read again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueup.cli.operate.bot import exit_needing_a_person, user_name
from trueup.cli.operate.modes import WhoOption, WhyOption
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.errors import TrueupError
from trueup.observe.lines import said
from trueup.runtime.control.bots import Bot, account_processes
from trueup.runtime.control.line import Line

NO_PROCESS = (
    "No process of this folder runs many accounts: start one with `trueup run --accounts "
    "accounts.toml`."
)


def accounts(
    reread: Annotated[
        bool, typer.Option("--reread", help="Have the file read again now, in your name.")
    ] = False,
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the accounts of `trueup run --accounts`.

    A line for each account: its state, what keeps it from running, its positions, and how late 99
    of 100 of its syncs began.
    With --reread, the file is read again at once: accounts are added, changed and removed, and the
    journal of each has your name. Exit code 0: all accounts run. 1: one does not, or cannot read
    its broker, or the process waits for its database. 2: no such process runs here.
    """
    found = account_processes()
    if not found:
        raise TrueupError(NO_PROCESS)
    told = [_told(bot, reread=reread, who=who or user_name(), why=why) for bot in found]
    if as_json:
        print_document("accounts", {"processes": told})
    else:
        say("\n\n".join("\n".join(_lines(one)) for one in told))
    rows = [row for one in told for row in one["accounts"]]
    waits = any(one["waits_for"] for one in told)
    exit_needing_a_person(waits or any(row["trouble"] or row["state"] != "running" for row in rows))


def _told(bot: Bot, *, reread: bool, who: str, why: str) -> dict[str, Any]:
    line = Line(bot)
    if reread:
        line.ask("reread", who=who, why=why)
    answer = line.ask("accounts")
    del answer["ok"]
    # A process of an earlier release never waits.
    return {"waits_for": "", **answer}


def _lines(told: dict[str, Any]) -> list[str]:
    late, rows = told["late_ms"], told["accounts"]
    if told["waits_for"]:
        since = f"{told['pid']}, since {told['started']}: no account runs yet."
        return said("Process", since) + said("Waits", told["waits_for"])
    running = sum(row["state"] == "running" for row in rows)
    lines = said(
        "Process",
        f"{told['pid']}, since {told['started']}: {running} of {len(rows)} accounts run. "
        f"{late['syncs']} syncs; 99 of 100 began within {late['p99']:g} ms, all within "
        f"{late['most']:g} ms.",
    )
    for row in sorted(rows, key=lambda row: row["state"] == "running" and not row["trouble"]):
        lines += said(row["name"].ljust(10), _line(row))
    return lines


def _line(row: dict[str, Any]) -> str:
    parts = [row["state"], row["account"]]
    if row["state"] == "running":
        count = row["positions"]
        parts.append(f"{count} position{'s' * (count != 1)}")
        parts.append(f"{row['syncs']} syncs within {row['late_ms']:g} ms")
    if row["paused"]:
        parts.append(f"paused by {row['paused']}")
    return ", ".join(filter(None, [*parts, row["trouble"]]))
