"""`trueup approve` and `trueup reject`: decide about what waits for a person."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.operate.bot import (
    BotOption,
    chosen_bot,
    confirm_letting_go,
    exit_needing_a_person,
    user_name,
)
from trueup.cli.operate.modes import WhoOption, WhyOption
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.runtime.assistants.outcomes import EXECUTED, WishOutcome
from trueup.runtime.control.carried_out import (
    Correction,
    outcome_words,
    send_proposed,
    wait_for_correction,
)
from trueup.runtime.control.line import Line
from trueup.runtime.time.clock import SystemClock

# The beginning of the ids of proposals; see `core.book.proposals`.
PROPOSAL = "proposal-"


def approve(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `trueup plan` shows them.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a missing position counts as closed.")
    ] = False,
    # Recorded in the journal with the approval.
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name; by default the system's user.")
    ] = None,
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Approve a held correction, or an assistant's order.

    To approve a missing position means that you have checked that the position is gone. The book
    then removes the position as assumed closed, unproven, with your name in the journal. The
    command asks first. A position that the broker shows again, or whose deals prove how the
    position ended, is not removed on your word.

    The order that an assistant proposed is sent at once, in your name, by the bot's order desk:
    risk limits, and a pause, hold for it. An order that is refused goes on waiting.

    An id stands for exactly what was shown: a difference that has changed since has another id.
    Exit code 0: carried out. 1: not carried out, or the outcome of the order is not known yet. 2:
    nothing waits under this id; what waits is listed.
    """
    asked = chosen_bot(bot)
    rows = []
    for wanted in ids:
        # Only a missing position is assumed closed without proof; other approvals need no question.
        if not yes:
            confirm_letting_go(asked, wanted)
        told = {"id": wanted, "who": who or user_name(), "yes": True}
        told["at_ns"] = SystemClock().now_ns()
        is_order = wanted.startswith(PROPOSAL)
        row, what, then = (_order if is_order else _correction)(asked, told)
        rows.append({"id": wanted, **row})
        if not as_json:
            say(f"Approved {wanted}{what}: {then}.")
    if as_json:
        print_document("approve", msgspec.to_builtins(rows))
    exit_needing_a_person(not all(row["carried_out"] for row in rows))


def _correction(line: Line, told: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Approve a held correction; return its row, its words, and what became of it."""
    answer = line.ask("approve", **told)
    # An approval takes effect with a sync, which may find that the broker shows otherwise.
    with progress("Waiting for the next sync"):
        then = wait_for_correction(line, answer)
    what = str(answer["reason"]).removesuffix(", waits for approval")
    is_done = then is Correction.DONE
    row = {"ticket": answer["ticket"], "carried_out": is_done, "outcome": None}
    return row, f" ({what})", then.value


def _order(line: Line, told: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Approve an order that an assistant proposed; return as `_correction` does."""
    outcome = send_proposed(line, told)
    row = {"ticket": outcome.ticket, "carried_out": outcome.state in EXECUTED, "outcome": outcome}
    return row, f" ({outcome.wish})" if outcome.wish else "", outcome_words(outcome)


def reject(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `trueup plan` shows them.")],
    who: WhoOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Reject an order that an assistant proposed.

    Nothing is sent, and the assistant is told your reason. A held correction needs no rejection: it
    waits. Exit code 2: no proposal waits under this id.
    """
    asked = chosen_bot(bot)
    rows = []
    for wanted in ids:
        answer = asked.ask("reject", id=wanted, who=who or user_name(), why=why)
        outcome = msgspec.convert(answer["outcome"], WishOutcome)
        rows.append({"id": wanted, "outcome": outcome})
        if not as_json:
            say(f"Rejected {wanted} ({outcome.wish}): nothing is sent.")
    if as_json:
        print_document("reject", msgspec.to_builtins(rows))
