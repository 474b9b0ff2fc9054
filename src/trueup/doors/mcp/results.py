"""The arguments and the results of the tools, each field described.

Times are ISO 8601 in UTC, volumes lots, prices prices of the symbol, money the account's currency.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from trueup.core.model import Side
from trueup.observe.audit_text import AuditRow
from trueup.observe.event_words.words import Block
from trueup.runtime.assistants.outcomes import WishOutcome
from trueup.runtime.assistants.proposals import DEFAULT_SEC, LONGEST_SEC, SHORTEST_SEC
from trueup.runtime.assistants.views import OrderView, PendingView, PositionView

MOST_ROWS = 200


def _text(words: str) -> msgspec.Meta:
    return msgspec.Meta(description=words)


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments. An argument that a tool does not have is refused, never ignored."""


class Count(Arguments, frozen=True):
    """How many rows are wanted."""

    last: Annotated[
        int, msgspec.Meta(ge=1, le=MOST_ROWS, description="How many orders, the newest first.")
    ] = 20


class Which(Arguments, frozen=True, kw_only=True):
    """Which order is meant: give exactly one."""

    order_id: Annotated[str, _text("The id in the journal, as `orders` shows it.")] = ""
    key: Annotated[str, _text("Your own key of `submit` or `propose`.")] = ""
    ticket: Annotated[int, _text("The ticket at the broker.")] = 0


class Trail(Arguments, frozen=True, kw_only=True):
    """Which entries of the audit trail are wanted."""

    last: Annotated[
        int, msgspec.Meta(ge=1, le=MOST_ROWS, description="How many entries, the last ones.")
    ] = 20
    since: Annotated[
        str, _text("Only entries from this time on: ISO 8601; without a zone it is UTC.")
    ] = ""
    ticket: Annotated[
        int, _text("Only entries about this position or pending order; 0 for all.")
    ] = 0


Key = Annotated[
    str,
    _text(
        "Your own name for this order: mandatory, and a new one for each new order. The same key "
        "with the same terms returns the outcome of the first order and sends nothing; with other "
        "terms it is refused. 1 to 64 printable characters."
    ),
]
Why = Annotated[
    str,
    _text("Your reason in a sentence, for the person and the journal; up to 500 characters."),
]


class Order(Arguments, frozen=True, kw_only=True):
    """The terms of an order."""

    action: Annotated[
        str,
        msgspec.Meta(
            description="open: needs side and volume. close: needs ticket. modify: needs ticket, "
            "sl and tp. cancel: needs the ticket of a pending order.",
            extra_json_schema={"enum": ["open", "close", "modify", "cancel"]},
        ),
    ]
    key: Key = ""
    symbol: Annotated[
        str, _text("To open: the symbol, if the bot trades several. Not for other actions.")
    ] = ""
    side: Annotated[Side | None, _text("To open: buy or sell.")] = None
    volume: Annotated[
        float | None,
        _text("Lots. To open: mandatory, a multiple of the symbol's step. To close: only a part."),
    ] = None
    limit: Annotated[
        float | None,
        _text("A price. To open: a limit order there. To modify a pending order: its new price."),
    ] = None
    stop: Annotated[float | None, _text("A price. To open: a stop order at that price.")] = None
    sl: Annotated[
        float | None,
        _text("Stop loss, a price; 0 for none. To modify: mandatory, also if it stays as it is."),
    ] = None
    tp: Annotated[
        float | None,
        _text("Take profit, a price; 0 for none. To modify: mandatory, also if it stays."),
    ] = None
    ticket: Annotated[
        int | None, _text("To close, modify or cancel: the position or the pending order.")
    ] = None
    why: Why = ""


class Proposed(Order, frozen=True, kw_only=True):
    """The terms of an order that a person is to approve."""

    minutes: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=LONGEST_SEC // 60,
            description="How long the proposal waits for a person, in minutes.",
        ),
    ] = DEFAULT_SEC // 60


assert SHORTEST_SEC <= 60


class Withdrawn(Arguments, frozen=True, kw_only=True):
    """Which proposal is withdrawn, and why."""

    proposal_id: Annotated[str, _text("The id of your own proposal.")]
    why: Why = ""


class Positions(msgspec.Struct, frozen=True, kw_only=True):
    """The open positions of the account, as the book and the last reading have them."""

    source: Annotated[str, _text("`bot`: told by the running bot. `journal`: of a bot that ended.")]
    account: Annotated[str | None, _text("login@server; null if not known.")]
    currency: Annotated[str, _text("The currency of all money here.")]
    balance: Annotated[float | None, _text("The account's balance; null without a running bot.")]
    equity: Annotated[float | None, _text("The account's equity; null without a running bot.")]
    realised: Annotated[float, _text("The realised result of all counted deals of the book.")]
    read: Annotated[
        str | None, _text("When the broker was last read and believed, UTC; null without a bot.")
    ]
    as_of: Annotated[str | None, _text("Of a journal: the time of its last event, UTC.")] = None
    positions: list[PositionView]


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The pending orders at the broker, and the orders of the book."""

    source: Annotated[str, _text("`bot` or `journal`.")]
    read: Annotated[str | None, _text("When the broker was last read, UTC; null without a bot.")]
    pending: list[PendingView]
    orders: Annotated[list[OrderView], _text("In doubt first, then the newest first.")]


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One order with each of its steps."""

    order: Annotated[OrderView | None, _text("The order; null if none was recorded.")]
    outcome: Annotated[
        WishOutcome | None, _text("What became of it, if an assistant asked for the order.")
    ] = None
    steps: Annotated[
        list[AuditRow], _text("The wish, and when it was recorded, sent, answered, lost or found.")
    ] = []
    steps_unknown: Annotated[str, _text("Why the steps cannot be told; empty if they are.")] = ""


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the next sync would change, and what waits for a person."""

    at: Annotated[str, _text("When the broker was read, UTC.")]
    foreign: Annotated[int, _text("How many positions of others are left alone.")] = 0
    steps: Annotated[
        list[Block], _text("Changes, and differences that are held; `id` waits for a person.")
    ] = []
    waiting: Annotated[list[str], _text("The ids that wait for a person's `trueup approve`.")] = []
    proposals: list[WishOutcome] = []
    unknown: Annotated[str, _text("Why the broker could not be read; empty if it was.")] = ""


class AuditResult(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the audit trail, oldest first."""

    stream: Annotated[str, _text("The name of the book.")]
    entries: list[AuditRow]
