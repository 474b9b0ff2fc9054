"""`trueup pause`, `close-only` and `resume`: restrict the strategy of a running bot."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueup.cli.operate.bot import (
    BotOption,
    chosen_bot,
    user_name,
)
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.observe.lines import said, time_of
from trueup.runtime.control.line import Line
from trueup.runtime.time.clock import SystemClock

WhoOption = Annotated[
    str | None, typer.Option("--who", metavar="NAME", help="Your name; by default your login's.")
]
WhyOption = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="Your reason, for the log and the journal.")
]

EFFECTS = {
    "paused": "Nothing that the strategy asks for is sent; syncs and `trueup close` go on.",
    "close_only": "Entries and pending orders are refused; closes, changes and cancellations pass.",
}


def pause(
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Pause the strategy of a running bot.

    Nothing that the strategy asks for is sent: no entry, no close and no change. The bot goes on
    syncing, and `trueup close` goes on working. The pause is in the journal: a bot that is
    restarted starts paused. Pending orders stay at the broker.
    """
    asked = chosen_bot(bot)
    _show("pause", _told(asked, "pause", who, why), as_json=as_json)


def close_only(
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Let the strategy of a running bot only close.

    Whatever may open a position or a larger one is refused: entries, pending orders and reversals.
    Closes, changes and cancellations pass. The mode is in the journal: a bot that is restarted
    starts with it. Pending orders stay at the broker.
    """
    asked = chosen_bot(bot)
    answer = _told(asked, "close-only", who, why, at_ns=SystemClock().now_ns())
    _show("close-only", answer, as_json=as_json)


def resume(
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """End a pause, or the mode of only closes."""
    answer = _told(chosen_bot(bot), "resume", who, why, at_ns=SystemClock().now_ns())
    if as_json:
        print_document("resume", answer)
    elif answer["changed"]:
        say(f"Every order is allowed again; {_words(answer)} since {time_of(answer['since'])}.")
    else:
        say("Nothing to resume: every order is allowed.")


def _told(line: Line, command: str, who: str | None, why: str, **fields: Any) -> dict[str, Any]:
    answer = line.ask(command, who=who or user_name(), why=why, **fields)
    return {key: value for key, value in answer.items() if key != "ok"}


def _show(command: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_document(command, answer)
        return
    words = _words(answer)
    if answer["changed"]:
        lines = said("Now", f"{words}. {EFFECTS[answer['mode']]} `trueup resume` ends this.")
    else:
        lines = said("Already", f"{words} since {time_of(answer['since'])}: nothing was changed.")
    if answer["trouble"]:
        lines += said(
            "Journal",
            f"It takes nothing now, {answer['trouble'].rstrip('.')}: this is kept in memory and "
            "journalled when the journal works again. A bot that is restarted before that forgets "
            "it.",
        )
    for row in answer["pending"]:
        lines += said("Stays", f"{row}: it may still be executed.")
    say("\n".join(lines))


def _words(answer: dict[str, Any]) -> str:
    """Return the mode, the person and the reason, as the bot's log has them."""
    did = "paused" if answer["mode"] == "paused" else "only closes are allowed"
    why = f" ({answer['why']})" if answer["why"] else ""
    return f"{did} by {answer['by']}{why}"
