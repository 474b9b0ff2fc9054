"""`trueup settle`: resolve an order in doubt by hand, if no reading can tell its outcome."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueup.cli.operate.bot import (
    BotOption,
    chosen_bot,
    exit_needing_a_person,
    look,
    user_name,
)
from trueup.cli.shared.asking import ask_person
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError, TrueupError
from trueup.observe.lines import said, time_of
from trueup.runtime.control.carried_out import settled_words, wait_until_settled

SAY_WHICH = (
    "Nothing was changed. Decide: --ticket TICKET for the matching order, or --never-executed."
)


def settle(
    order_id: Annotated[
        str, typer.Argument(metavar="ORDER_ID", help="As `trueup status` shows it.")
    ],
    ticket: Annotated[
        int | None,
        typer.Option(
            "--ticket", metavar="TICKET", help="The matching order at the broker, or its position."
        ),
    ] = None,
    never_executed: Annotated[
        bool, typer.Option("--never-executed", help="The order never reached the market.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name; by default the system's user.")
    ] = None,
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Resolve an order in doubt by hand.

    Without --ticket and --never-executed the command shows the known facts and the broker's orders
    that fit, and changes nothing. Price and volume are taken from the broker. The command asks
    first, and the journal records your answer as an assumption, with your name.

    The command refuses an order that is not in doubt, a ticket that cannot be the order, and
    --never-executed while the broker or the gateway's record shows that the order was executed.
    Exit code 0: resolved. 1: not resolved. 2: refused, or no decision was given.
    """
    if ticket is not None and ticket < 1:
        raise SettingsError("--ticket", str(ticket), "give a ticket above 0")
    if ticket is not None and never_executed:
        raise WrongUsage("Give --ticket or --never-executed, not both.")
    asked = chosen_bot(bot)
    # The bot checks the decision against the broker before a person is asked to confirm.
    word = {"id": order_id, "ticket": ticket or 0, "never_executed": never_executed}
    seen = look(asked, "doubt", **word)
    if ticket is None and not never_executed:
        print_document("settle", seen) if as_json else _show(seen)
        raise TrueupError(SAY_WHICH)
    if not yes:
        _show(seen)
        ask_person(_question(seen, ticket))
    # The bot reads the broker again: the order may have shown while the question was open.
    told = look(asked, "settle", **word, who=who or user_name())
    # The next sync applies the decision, unless the broker shows otherwise by then.
    with progress("Waiting for the next sync"):
        became = wait_until_settled(asked, told)
    is_settled = became["status"] != "IN_DOUBT"
    if as_json:
        print_document("settle", {**became, "settled": is_settled})
    else:
        say(settled_words(became))
    exit_needing_a_person(not is_settled)


def _show(seen: dict[str, Any]) -> None:
    sent = f"{seen['order']}, magic {seen['magic']}, sent {time_of(seen['sent'])}, {seen['age']}"
    lines = [*said("Order", f"{seen['id']}: {sent}"), *said("In doubt", seen["error"])]
    lines += said("Because", seen["why"])
    lines += [line for candidate in seen["fits"] for line in said("Fits", candidate["words"])]
    say("\n".join(lines))


def _question(seen: dict[str, Any], ticket: int | None) -> str:
    if ticket is None:
        return f"Nothing proves it. Shall {seen['id']} count as never executed?"
    return f"Nothing proves it. Shall {ticket} count as {seen['id']}?"
