"""`trueup status`: the state of the bots of this folder, from the bots or from their journals."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer

from trueup.cli.shared.journal_place import (
    JournalOption,
    LastStreamOption,
    default_journal,
    is_missing,
)
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import columns, say
from trueup.cli.terminal.running_terminal import terminal_lines
from trueup.core.dates import iso
from trueup.observe.status.status import State, Status, nothing_here
from trueup.observe.status_text import write_status
from trueup.runtime.control.bots import account_processes
from trueup.runtime.control.gathering import (
    WORST_FIRST,
    AnswerUnreadable,
    status_left_behind,
    statuses_of_bots,
)
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.whereabouts import ask, find_terminal

HOW_TO_START = "Start a bot with `trueup run` or `trueup paper`."
ASK_PROCESS = "A process of many accounts is here: `trueup accounts` tells why none of them runs."


def status(
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: LastStreamOption = None,
) -> None:
    """Show the bots and the terminal of this folder.

    The first sentence tells the state, and who has to act. If no bot runs, or a bot does not
    answer, the same is told from the journal. The journal does not have the corrections that waited
    for approval: the next bot asks again.

    Exit code 0: book and broker agree. 1: a person is needed, also if a bot hangs or has ended. 2:
    degraded, and the bot retries by itself. 3: entries are halted, or another process took over. 4:
    no bot and no journal are here.
    """
    found = _found()
    # The journal is the second source: read on request, or if no bot runs.
    left = _left_behind(journal, stream, found) if journal or stream or not found else None
    told = [*found, *([] if left is None else [left])]
    terminal = find_terminal()
    if not told:
        detail = ASK_PROCESS if account_processes() else HOW_TO_START
        told = [nothing_here(iso(SystemClock().now_ns()), detail)]
    if as_json:
        facts = None
        if terminal is not None:
            facts = {**ask(terminal, {"command": "hello"}), **ask(terminal, {"command": "list"})}
        rows = {"bots": found, "journal": left, "terminal": facts}
        print_document("status", msgspec.to_builtins(rows))
    else:
        width = columns()
        blocks = [write_status(one, width) for one in told]
        if terminal is not None:
            blocks.append("\n".join(terminal_lines(terminal, width)))
        say("\n\n".join(blocks))
    # The worst state of all books gives the exit code.
    state = min((one.state for one in told), key=WORST_FIRST.index)
    if state.exit_code:
        raise typer.Exit(state.exit_code)


def _found() -> list[Status]:
    """Return the statuses of the running bots."""
    try:
        return list(statuses_of_bots())
    except AnswerUnreadable as error:
        # A bot that nobody can read is a person's, and no wrong use of this command.
        say(str(error), err=True)
        raise typer.Exit(State.NEEDS_PERSON.exit_code) from None


def _left_behind(journal: str | None, stream: str | None, found: list[Status]) -> Status | None:
    """Return the status by the journal; None without a journal, or if its bot has told it."""
    place: str | Path = journal or default_journal()
    if journal is not None and is_missing(place):
        say(f"There is no journal {journal}.", err=True)
        raise typer.Exit(State.NOTHING.exit_code)
    return status_left_behind(place, stream, found, is_given=journal is not None)
