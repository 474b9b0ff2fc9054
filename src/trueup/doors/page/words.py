"""Texts of the page that the status does not have: the title of the window, and times with ages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trueup.core.quantity import format_lots, format_money, format_price
from trueup.observe.lines import account_words, age_words, clock_of, moment_of
from trueup.observe.status.books_text import side_words, stop_words
from trueup.observe.status.status import Decision, State, Status
from trueup.observe.status_text import fill_words, money_words, price_words, seconds_between

# The beginning of the ids of proposals; see `core.book.proposals`.
PROPOSAL = "proposal-"
_TITLES = {
    State.HALTED: "halted",
    State.NEEDS_PERSON: "needs you",
    State.DEGRADED: "retries by itself",
    State.AGREES: "agrees",
    State.NOTHING: "no bot",
}


def title_of(statuses: Sequence[Status]) -> str:
    """Return the window's title: the state of all books, the most urgent fact first."""
    for count, words in (
        (sum(len(one.to_decide) for one in statuses), "to decide"),
        (sum(len(other_needs(one)) for one in statuses), "to do"),
        (sum(len(one.in_doubt) for one in statuses), "in doubt"),
    ):
        if count:
            return f"{count} {words} · trueup"
    # The statuses are in the order of their states, the worst first.
    return f"{_TITLES[statuses[0].state]} · trueup"


def label_of(status: Status) -> str:
    """Return the account and the book of a status; two books of one account are told apart."""
    account = account_words(status.account, status.trade_mode)
    book = f", book {status.stream}" if status.stream else ""
    return f"{account}{book} in {status.journal}" if status.journal else f"{account}{book}"


def other_needs(status: Status) -> list[str]:
    """Return the actions for a person beside the decisions, which have a part of their own."""
    ids = [row.id for row in status.to_decide]
    return [need for need in status.needs if not any(name in need for name in ids)]


def is_proposal(row: Decision) -> bool:
    """Return whether a decision is about an order that an assistant proposes."""
    return row.id.startswith(PROPOSAL)


def tone_of(status: Status) -> str:
    """Return the colour of a state: red only where somebody can act, green only if all is well."""
    if status.needs or status.to_decide:
        return "bad"
    return {State.AGREES: "ok", State.NOTHING: "none"}.get(status.state, "warn")


def since(moment: str | None, now: str) -> str:
    """Write a moment with its age: 14:03:07 UTC (9 min)."""
    if moment is None:
        return "never"
    return f"{moment_of(moment, now)} ({age_words(seconds_between(moment, now))})"


def begun(text: str) -> str:
    """Write a sentence's first letter large, and leave the rest as it is: currencies and names."""
    return text[:1].upper() + text[1:]


def is_told(text: str, status: Status) -> bool:
    """Return whether the parts below already tell a detail, by an id or in the same words."""
    told = [*(row.id for row in status.to_decide), *(row.order_id for row in status.in_doubt)]
    texts = [*status.needs, *(row.error for row in status.in_doubt)]
    return any(name in text for name in told) or any(text in other for other in texts)


FILTERS: dict[str, Any] = {
    "account": account_words,
    "age": age_words,
    "begun": begun,
    "clock": clock_of,
    "fill": fill_words,
    "lots": format_lots,
    "moment": moment_of,
    "money": format_money,
    "money_words": money_words,
    "price": format_price,
    "price_words": price_words,
    "side": side_words,
    "since": since,
    "stops": stop_words,
    "thousands": "{:,}".format,
}
"""The filters of the templates."""
