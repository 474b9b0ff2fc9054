"""Resolve an order in doubt by hand, as `trueup settle` does: look, choose, be asked, decide."""

from __future__ import annotations

from typing import Any

from trueup.doors.page.decide.question import Act, Choice, Outcome, Question, Values, Withdrawn
from trueup.observe.lines import time_of
from trueup.runtime.control.carried_out import settled_words, wait_until_settled
from trueup.runtime.control.line import Line

NEVER = "never_executed"
LARGEST = 2**63 - 1


def _ask(line: Line, values: Values) -> Question:
    """Return what the bot sees now, and the choices; then the question about the chosen one."""
    word = _decision(values)
    # The bot checks a decision against the broker before a person is asked to confirm.
    seen = line.look("doubt", **word)
    facts = _facts(seen)
    order_id = str(seen["id"])
    if not word["ticket"] and not word[NEVER]:
        fits = [
            Choice(f"{one['ticket']} is this order", {"id": order_id, "ticket": str(one["ticket"])})
            for one in seen["fits"]
        ]
        never = Choice("It was never executed", {"id": order_id, NEVER: "yes"})
        title = f"What became of {seen['order']}?"
        hidden = {"id": order_id}
        return Question(
            title, facts, "Look again", hidden=hidden, choices=(*fits, never), asks_ticket=True
        )
    if word[NEVER]:
        title = f"Nothing proves it. Shall {order_id} count as never executed?"
        hidden = {"id": order_id, NEVER: "yes"}
    else:
        title = f"Nothing proves it. Shall {word['ticket']} count as {order_id}?"
        hidden = {"id": order_id, "ticket": str(word["ticket"])}
    return Question(title, facts, "Resolve it", hidden=hidden, asks_why=False)


def _facts(seen: dict[str, Any]) -> list[str]:
    return [
        f"{seen['id']}: {seen['order']}, magic {seen['magic']}, sent {time_of(seen['sent'])}, "
        f"{seen['age']}.",
        f"In doubt: {seen['error']}.",
        f"Because {seen['why']}.",
        *(f"Fits {candidate['words']}." for candidate in seen["fits"]),
    ]


def _decision(values: Values) -> dict[str, Any]:
    """Return the fields of the bot's commands.

    Raises:
        Withdrawn: the ticket is none.
    """
    given = values.get("ticket", "").strip()
    if given and not (given.isascii() and given.isdecimal() and 0 < int(given) <= LARGEST):
        raise Withdrawn(f"there is no ticket {given!r}: give a whole number above 0")
    never = bool(values.get(NEVER))
    if given and never:
        raise Withdrawn("two decisions were given: a ticket, and that it was never executed")
    return {"id": values.get("id", ""), "ticket": int(given or 0), NEVER: never}


def _carry_out(line: Line, values: Values, who: str) -> Outcome:
    # The bot reads the broker again: the order may have shown while the question was open.
    told = line.look("settle", **_decision(values), who=who)
    # The decision takes effect with a sync; nobody wants to wait for the next of its own.
    line.ask("sync", who=who, why=f"after the decision about {told['id']}")
    became = wait_until_settled(line, told)
    words = settled_words(became)
    if became["status"] == "IN_DOUBT":
        return Outcome(False, f"In doubt: {words}")
    return Outcome(True, f"Carried out: {words}")


SETTLE = Act(_ask, _carry_out)
"""The action that resolves an order in doubt."""
