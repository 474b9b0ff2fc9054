"""`trueup settle`: resolve an order in doubt by hand, if no reading can tell its outcome."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueup.cli.operate.bot import (
    CARRIED_OUT_SEC,
    BotOption,
    JsonOption,
    answer_of,
    ask_person,
    chosen_bot,
    exit_needing_a_person,
    look,
    print_json,
    until,
    user_name,
)
from trueup.cli.shared.say import say
from trueup.core.quantity import format_lots, format_price
from trueup.errors import TrueupError
from trueup.observe.status_text import said, time_of
from trueup.runtime.control.bots import Bot
from trueup.runtime.time.clock import SystemClock

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
        raise TrueupError(f"--ticket {ticket} is not valid: give a ticket above 0.")
    if ticket is not None and never_executed:
        raise TrueupError("Give --ticket or --never-executed, not both.")
    asked = chosen_bot(bot)
    # The bot checks the decision against the broker before a person is asked to confirm.
    word = {"id": order_id, "ticket": ticket or 0, "never_executed": never_executed}
    seen = look(asked, "doubt", **word)
    if ticket is None and not never_executed:
        print_json(seen) if as_json else _show(seen)
        raise TrueupError(SAY_WHICH)
    if not yes:
        _show(seen)
        ask_person(_question(seen, ticket))
    # The bot reads the broker again: the order may have shown while the question was open.
    told = look(asked, "settle", **word, who=who or user_name())
    # The next sync applies the decision, unless the broker shows otherwise by then.
    became = _wait_until_settled(asked, told)
    is_settled = became["status"] != "IN_DOUBT"
    if as_json:
        print_json({**became, "settled": is_settled})
    else:
        say(_outcome(became))
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


def _wait_until_settled(bot: Bot, told: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an order after a sync has used the decision."""
    became: dict[str, Any] = {"status": "IN_DOUBT"}
    for _ in until(SystemClock(), told["within_sec"] + CARRIED_OUT_SEC):
        became = answer_of(bot, "order", id=told["id"])
        if became["status"] != "IN_DOUBT" or not became["is_told"]:
            break
    return became


def _outcome(became: dict[str, Any]) -> str:
    if became["status"] == "IN_DOUBT":
        why = "no reading was believed yet" if became["is_told"] else "the broker shows otherwise"
        return f"{became['id']} is still in doubt, {why}: see `trueup status`."
    filled = f", ticket {became['ticket']}" if became["ticket"] else ""
    if became["volume"] and became["price"]:
        filled += f", {format_lots(became['volume'])}L @ {format_price(became['price'])}"
    why = f": {became['error']}" if became["error"] else ""
    return f"{became['id']} is {became['status']}{filled}{why}."
