"""Give a bot a person's decision, and wait until its outcome is known.

The shell and the page wait in the same way, and call an outcome by the same words: carried out, not
carried out, or in doubt with what will end the doubt.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from trueup.core.quantity import format_lots, format_price
from trueup.errors import TrueupError
from trueup.observe.close_text import CloseResult
from trueup.runtime.assistants.outcomes import AGAIN, WishOutcome, WishState
from trueup.runtime.control.line import BotSilent, Line

# A bot may wait for the broker's reply to an order of its own before it takes the command.
SENT_SEC = 60.0
# A lost reply is usually found by the first syncs after it.
RESOLVED_SEC = 10.0
# A sync takes so long at most after it has begun.
SYNCED_SEC = 10.0
# The kinds of held corrections that remove a position from the book without proof.
LETS_GO = ("missing", "halt")
LOOK = "Look at the terminal, and at `trueup status`"


class Correction(enum.Enum):
    """What became of an approved correction; the value says it to a person."""

    DONE = "carried out"
    KEPT = "not carried out, the broker shows it again"
    LATE = "not carried out yet, see `trueup status`"


def wait_for_correction(line: Line, approved: Mapping[str, Any]) -> Correction:
    """Wait for the sync after the approval of a held correction.

    Args:
        line: the line to the bot.
        approved: the bot's answer to the approval.

    Raises:
        BotSilent: the bot does not answer.
    """
    for _ in line.until(approved["within_sec"] + SYNCED_SEC):
        now = line.status()
        waiting = {*(row.id for row in now.to_decide), *(row.id for row in now.held)}
        if approved["id"] not in waiting and now.sync_count > approved["sync_count"]:
            kept = {row.identifier for row in now.books if row.ours}
            is_kept = approved["kind"] in LETS_GO and approved["identifier"] in kept
            return Correction.KEPT if is_kept else Correction.DONE
    return Correction.LATE


def send_proposed(line: Line, told: Mapping[str, Any]) -> WishOutcome:
    """Approve an order that an assistant has proposed, and wait for its outcome.

    Args:
        line: the line to the bot.
        told: the fields of the approval; `id` names the proposal.

    Raises:
        TrueupError: the bot refuses the approval, with its reason.
    """
    try:
        # Repeated while the bot is busy: an approval sends at most one order.
        line.ask_patiently("approve", SENT_SEC, **told)
        return _order(line, str(told["id"]))
    except BotSilent as error:
        known = "when a bot runs again: give the command again, and no second order is sent"
        return WishOutcome(
            key="",
            state=WishState.IN_DOUBT,
            reason=str(error),
            known=known,
            proposal_id=str(told["id"]),
        )


def _order(line: Line, name: str) -> WishOutcome:
    outcome = WishOutcome(key="", state=WishState.WAITING, proposal_id=name)
    for passed_sec in line.until(SENT_SEC):
        answer = line.ask_patiently("outcome", SENT_SEC, id=name)
        outcome = msgspec.convert(answer["outcome"], WishOutcome)
        is_doubtful = outcome.state is WishState.IN_DOUBT
        if outcome.state is not WishState.WAITING and not (
            is_doubtful and passed_sec < RESOLVED_SEC
        ):
            break
    return outcome


def outcome_words(outcome: WishOutcome) -> str:
    """Return what became of an order as a part of a sentence."""
    why = f": {outcome.reason.rstrip('.')}" if outcome.reason else ""
    match outcome.state:
        case WishState.FILLED:
            lots = "" if outcome.lots is None else f", {format_lots(outcome.lots)}L"
            at = "" if outcome.price is None else f" @ {format_price(outcome.price)}"
            return f"filled, ticket {outcome.ticket}{lots}{at}{why}"
        case WishState.PLACED:
            return f"placed, ticket {outcome.ticket}"
        case WishState.DONE:
            return Correction.DONE.value
        case WishState.IN_DOUBT:
            # The key is the assistant's; a person looks at the status.
            known = outcome.known.removesuffix(f": {AGAIN}")
            return f"in doubt{why}; the outcome is known {known}"
        case WishState.WAITING:
            return Correction.LATE.value
        case _:
            return f"not carried out{why}"


def close_position(line: Line, command: Mapping[str, Any]) -> CloseResult:
    """Have a position closed, and return what became of the close; never raises.

    Args:
        line: the line to the bot.
        command: the fields of the command. The same `id` is never sent twice, also where an answer
            is lost and the command repeated.
    """
    ticket = int(command["ticket"])
    try:
        result = _result(line.ask_patiently("close", SENT_SEC, **command))
        for passed_sec in line.until(SENT_SEC):
            is_doubtful = result.state == "doubt"
            if result.state != "waiting" and not (is_doubtful and passed_sec < RESOLVED_SEC):
                break
            asked = {"id": command["id"], "ticket": ticket}
            result = _result(line.ask_patiently("closed", SENT_SEC, **asked))
        return result
    except BotSilent as error:
        # Sent or not: the bot may have taken the command, and cannot be asked any more.
        return CloseResult(ticket, "unknown", reason=str(error), then=f"{LOOK}.")
    except TrueupError as error:
        return CloseResult(ticket, "refused", reason=str(error))


def _result(answer: Mapping[str, Any]) -> CloseResult:
    return msgspec.convert(answer["result"], CloseResult)


def wait_until_settled(line: Line, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an order in doubt after a sync has used a person's decision.

    Args:
        line: the line to the bot.
        told: the bot's answer to the decision.

    Raises:
        BotSilent: the bot does not answer.
    """
    became: dict[str, Any] = {"id": told["id"], "status": "IN_DOUBT", "is_told": True}
    for _ in line.until(told["within_sec"] + SYNCED_SEC):
        became = line.ask("order", id=told["id"])
        if became["status"] != "IN_DOUBT" or not became["is_told"]:
            break
    return became


def settled_words(became: Mapping[str, Any]) -> str:
    """Return what became of an order in doubt after a person's decision, as a sentence."""
    if became["status"] == "IN_DOUBT":
        why = "no reading was believed yet" if became["is_told"] else "the broker shows otherwise"
        return f"{became['id']} is still in doubt, {why}: see `trueup status`."
    filled = f", ticket {became['ticket']}" if became["ticket"] else ""
    if became["volume"] and became["price"]:
        filled += f", {format_lots(became['volume'])}L @ {format_price(became['price'])}"
    why = f": {became['error']}" if became["error"] else ""
    return f"{became['id']} is {became['status']}{filled}{why}."
