"""`trueup sync` and `trueup stop`: have a running bot sync at once, and end it."""

from __future__ import annotations

from typing import Any

from trueup.cli.operate.bot import (
    BotOption,
    chosen_bot,
    exit_needing_a_person,
    look,
    user_name,
)
from trueup.cli.operate.modes import WhoOption, WhyOption
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.observe.lines import said
from trueup.processes import is_alive
from trueup.runtime.control.bots import Bot, account_processes, find_bots, state_file
from trueup.runtime.control.line import BotSilent, Line
from trueup.runtime.time.clock import SystemClock

# A bot may wait for the broker's reply to an order before it takes the command, and then ends
# after the turn under way.
ENDED_SEC = 60.0
AGREES = "SUCCESS"


def sync(
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Have a running bot compare book and broker now.

    The bot reads the broker after the command, corrects its book, and the command prints the
    result. Exit code 0: book and broker agree, or were made to. 1: the broker could not be read or
    believed, the journal took nothing, or a held difference needs a person. 2: no bot runs here.
    """
    result = look(chosen_bot(bot), "sync", who=who or user_name(), why=why)
    shown = {key: value for key, value in result.items() if key != "ok"}
    if as_json:
        print_document("sync", shown)
    else:
        say("\n".join(_lines(shown)))
    exit_needing_a_person(result["status"] != AGREES or result["needs_person"])


def stop(
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """End a running bot after its turn; positions stay open.

    Without --account, a process of `trueup run --accounts` ends with all its accounts.

    Nothing is closed, and pending orders and stops stay at the broker. The journal has your name,
    and the bot's process ends with exit code 0. The command waits for the end. Exit code 0: ended.
    1: the bot has not ended yet. 2: no bot runs here.
    """
    asked = _process_of_many(bot) or chosen_bot(bot)
    told = {"who": who or user_name(), "why": why, "at_ns": SystemClock().now_ns()}
    answer = _stopped(asked, told)
    has_ended = _wait_until_ended(asked)
    if as_json:
        shown = {key: value for key, value in answer.items() if key != "ok"}
        print_document("stop", {"pid": asked.bot.pid, "ended": has_ended, **shown})
    else:
        say("\n".join(_end(asked.bot, answer, has_ended=has_ended)))
    exit_needing_a_person(not has_ended)


def _lines(result: dict[str, Any]) -> list[str]:
    drifts = len(result["drifts"])
    lines = said(
        "Synced",
        f"{result['status']} in {result['sync_time_ms']:g} ms: {result['recovered']} taken into "
        f"the book, {result['closed']} closed, {drifts} corrected",
    )
    for sentence in (*result["errors"], *result["drifts"]):
        lines += said("", sentence)
    for hold in result["holds"]:
        lines += said("Held", hold)
    return lines + said("Health", result["health"])


def _stopped(line: Line, told: dict[str, Any]) -> dict[str, Any]:
    """Give the command; a bot that ends before its answer arrives has done what was asked."""
    try:
        return line.ask_patiently("stop", ENDED_SEC, **told)
    except BotSilent:
        if is_alive(line.bot.pid):
            raise
        return {"journalled": None, "trouble": "", "positions": [], "pending": 0, "in_doubt": []}


def _wait_until_ended(line: Line) -> bool:
    bot = line.bot
    # An account ends without its process, and then has no state file.
    file = state_file(bot.pid, bot.account)
    return any(
        not is_alive(bot.pid) or (bot.account and file.read() is None)
        for _ in line.until(ENDED_SEC)
    )


def _process_of_many(which: str | None) -> Line | None:
    """Return the line to the process of many accounts if nothing else is meant, or None."""
    processes = account_processes()
    if which is None:
        # With a bot of its own process beside it, a person has to say which is meant.
        others = [bot for bot in find_bots() if not bot.account]
        return Line(processes[0]) if len(processes) == 1 and not others else None
    return next((Line(bot) for bot in processes if str(bot.pid) == which), None)


def _end(bot: Bot, answer: dict[str, Any], *, has_ended: bool) -> list[str]:
    if has_ended:
        whose = f"{bot.account} in process" if bot.account else "process"
        lines = said("Stopped", f"The bot, {whose} {bot.pid}, has ended.")
    else:
        lines = said(
            "Not yet",
            f"The bot, process {bot.pid}, took the command and has not ended yet: see its log.",
        )
    if answer["trouble"]:
        lines += said(
            "Journal", f"It takes nothing, so your name is in the log alone: {answer['trouble']}"
        )
    for words in answer["positions"]:
        lines += said("Open", words)
    if answer["pending"]:
        orders = f"pending order{'s' * (answer['pending'] != 1)}"
        lines += said("Stays", f"{answer['pending']} {orders} at the broker")
    # A bot of an earlier release does not send them.
    for words in answer.get("in_doubt", ()):
        lines += said("In doubt", f"{words}: it may have been executed; the next bot finds out")
    return lines
