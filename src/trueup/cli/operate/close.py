"""`trueup close`: close positions through a running bot, after a plan and a yes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.operate.bot import (
    BotOption,
    chosen_bot,
    exit_needing_a_person,
    look,
    user_name,
)
from trueup.cli.operate.modes import WhoOption, WhyOption
from trueup.cli.shared.asking import ask_person
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.errors import SettingsError, TrueupError
from trueup.observe.close_text import (
    ClosePlan,
    CloseResult,
    close_sentence,
    write_close_plan,
)
from trueup.runtime.control.carried_out import close_position
from trueup.runtime.control.line import Line
from trueup.runtime.time.clock import SystemClock

ALL = "all"


def close(
    what: Annotated[
        str, typer.Argument(metavar="TICKET|all", help="A position of the bot, or all of them.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Close positions through a running bot.

    The command shows what would be closed, at which price and with which result, and what stays:
    pending orders, and positions that are not the bot's. Then it asks. The bot sends the closes one
    after the other, each in full, with your name in the journal, also while the strategy is paused
    or a risk limit is reached.

    A position that has changed since it was shown is not closed. Exit code 0: closed. 1: something
    was not closed, its outcome is not known, or for all an order in doubt may have opened a
    position. 2: refused, or nobody said yes.
    """
    ticket = _ticket(what)
    asked = chosen_bot(bot)
    plan = msgspec.convert(look(asked, "close-plan", ticket=ticket)["plan"], ClosePlan)
    if as_json and plan.rows and not yes:
        print_document("close", {"plan": msgspec.to_builtins(plan), "results": []})
        raise TrueupError("Nothing was sent: give --yes too.")
    if not as_json:
        say(write_close_plan(plan))
    if plan.rows and not yes:
        ask_person(_question(plan))
    results: list[CloseResult] = []
    told = {"who": who or user_name(), "why": why, "everything": not ticket}
    for result in _results(asked, plan, told):
        results.append(result)
        if not as_json:
            row = plan.rows[len(results) - 1]
            say("\n".join(close_sentence(row, result)))
    if as_json:
        shown = {"plan": msgspec.to_builtins(plan), "results": msgspec.to_builtins(results)}
        print_document("close", shown)
    # Whether everything is closed is not known while an order may have opened a position.
    in_doubt = bool(plan.doubts) and not ticket
    exit_needing_a_person(in_doubt or any(result.state != "closed" for result in results))


def _ticket(what: str) -> int:
    """Return a ticket, 0 for all."""
    if what == ALL:
        return 0
    if not what.isdecimal() or not int(what):
        raise SettingsError("TICKET", what, "give the ticket of a position, or all")
    return int(what)


def _question(plan: ClosePlan) -> str:
    if len(plan.rows) == 1:
        return "Close this position now?"
    return f"Close these {len(plan.rows)} positions now?"


def _results(line: Line, plan: ClosePlan, told: dict[str, Any]) -> Iterator[CloseResult]:
    """Close the positions one after the other; yield what became of each."""
    for row in plan.rows:
        now_ns = SystemClock().now_ns()
        yield close_position(
            line,
            {
                "id": f"close-{row.ticket}-{os.getpid()}-{now_ns}",
                "ticket": row.ticket,
                "side": row.side,
                "lots": row.lots,
                "at_ns": now_ns,
                **told,
            },
        )
