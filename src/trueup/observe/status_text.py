"""Write the status of a bot: health, refusals, holds, doubts, and actions for a person."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Iterable, Sequence

import msgspec

from trueup.core.model import describe_mode
from trueup.core.quantity import format_lots, format_money, format_price

WIDTH = 80
_LABEL = 11


class RefusedRow(msgspec.Struct, frozen=True):
    """A refusal of new orders in a symbol, or in the whole account if `symbol` is empty.

    `since` is ISO 8601 in UTC. The refusal ends by itself when the condition `until` is met.
    """

    symbol: str
    reason: str
    since: str
    until: str


class HeldRow(msgspec.Struct, frozen=True):
    """A difference that is left alone; `id` is the argument for `trueup approve`, or empty."""

    id: str
    kind: str
    symbol: str
    ticket: int
    reason: str
    until: str


class LotsRow(msgspec.Struct, frozen=True):
    """The lots of one magic number; `magic` is None for lots that no strategy claims."""

    symbol: str
    magic: int | None
    lots: float


class PositionRow(msgspec.Struct, frozen=True):
    """A position of the book.

    `profit` is the broker's figure at the last reading, None before the first reading. `identifier`
    stays the same when the broker changes the ticket.
    """

    ticket: int
    symbol: str
    side: str
    lots: float
    price_open: float
    sl: float
    tp: float
    magic: int
    profit: float | None
    identifier: int = 0


class DoubtRow(msgspec.Struct, frozen=True):
    """An order that was sent and has no proven outcome; `since` is ISO 8601 in UTC."""

    order_id: str
    action: str
    lots: float
    symbol: str
    error: str
    since: str


class OverdueRow(msgspec.Struct, frozen=True):
    """Deals that the broker has not shown since `since`; the next question for them is at `next`.

    `ticket` is the identifier of their position. Times are ISO 8601 in UTC.
    """

    ticket: int
    since: str
    next: str


class BotStatus(msgspec.Struct, frozen=True):
    """Everything that `trueup status` shows of a bot.

    Times are ISO 8601 in UTC. `checked` is the time of the last believed reading, None before the
    first; `age_sec` is its age in seconds. `trade_mode` is demo, contest or real, empty if the
    gateway does not tell, None before the first reading of the account. `currency_digits` are the
    decimals of the account's currency, None if unknown. `needs` lists the actions that need a
    person; an empty list means that no action is needed. `journal` is a name for people,
    `journal_file` the path of a SQLite file. `endpoint` is the gateway's endpoint, `gateway` the
    same in words. `neighbours` has a sentence for each other bot that counts the same positions as
    its own.
    """

    pid: int
    symbol: str
    gateway: str
    started: str
    now: str
    health: str
    policy: str
    needs: list[str]
    entries_refused: str
    account: str | None = None
    trade_mode: str | None = None
    checked: str | None = None
    age_sec: float | None = None
    sync_count: int = 0
    restrictions: list[RefusedRow] = []
    holds: list[HeldRow] = []
    strategies: list[LotsRow] = []
    positions: list[PositionRow] = []
    in_doubt: list[DoubtRow] = []
    overdue: list[OverdueRow] = []
    foreign: int = 0
    realised: float = 0.0
    currency: str = ""
    currency_digits: int | None = None
    journal: str = ""
    journal_file: str = ""
    stream: str = ""
    journal_trouble: str = ""
    endpoint: str = ""
    neighbours: list[str] = []


def write_status(bot: BotStatus) -> str:
    """Write the status of a bot as text of 80 columns."""
    age = "the broker was not seen yet" if bot.age_sec is None else f"as of {_clock(bot.checked)}"
    money = f"{format_money(bot.realised, bot.currency_digits)} {bot.currency}".strip()
    kept = f"{bot.journal}, stream {bot.stream}" if bot.journal else "none: it ends with the bot"
    # In order of urgency: what a person must do comes before the figures.
    lines = [
        *said("Bot", f"process {bot.pid}, trades {bot.symbol} {bot.gateway}"),
        *said("Health", bot.health),
        *(line for need in bot.needs for line in said("NEEDS YOU", need)),
        *said("Entries", _entries(bot)),
        *(line for row in bot.restrictions for line in _restriction(row)),
        *said("Account", f"{account_words(bot.account, bot.trade_mode)}, realised {money}, {age}"),
        *said("Policy", bot.policy),
        *said("Journal", kept),
        *_held(bot),
        *doubt_lines(bot.in_doubt),
        *_overdue(bot.overdue),
        *position_lines(bot.positions, bot.currency_digits),
        *_lots(bot.strategies),
        *(line for neighbour in bot.neighbours for line in said("Neighbour", neighbour)),
    ]
    if bot.foreign:
        lines += said("Foreign", f"{bot.foreign} at the broker, not ours, never touched")
    return "\n".join(lines)


def account_words(name: str | None, trade_mode: str | None) -> str:
    """Return the account with its kind of money; bots of an older version do not tell the kind."""
    if name is None:
        return "not bound yet"
    # The field is missing, not empty, in the answer of an older bot.
    return name if trade_mode is None else f"{name} ({describe_mode(trade_mode)})"


def said(label: str, text: str) -> list[str]:
    """Return a labelled sentence as lines."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [label]


def _entries(bot: BotStatus) -> str:
    if not bot.entries_refused:
        return "allowed"
    return (
        "REFUSED, closing stays allowed" if bot.restrictions else f"REFUSED {bot.entries_refused}"
    )


def _restriction(row: RefusedRow) -> Iterable[str]:
    scope = f"in {row.symbol}" if row.symbol else "in the whole account"
    yield from said("", f"- {scope} since {_clock(row.since)}: {row.reason}")
    yield from said("", f"  ends with: {row.until}")


def _held(bot: BotStatus) -> Iterable[str]:
    for row in bot.holds:
        # The same hold is already listed above among the actions that need a person.
        if not any(need.startswith(row.reason) for need in bot.needs):
            yield from said("Held", f"{row.symbol}: {row.reason}")
            yield from said("", f"until {row.until}")


def doubt_lines(rows: Sequence[DoubtRow]) -> Iterable[str]:
    """Yield the orders in doubt as lines."""
    for row in rows:
        order = f"{row.action} {format_lots(row.lots)}L {row.symbol}"
        yield from said(
            "In doubt", f"{row.order_id}, {order}, since {_clock(row.since)}: {row.error}"
        )


def _overdue(rows: Sequence[OverdueRow]) -> Iterable[str]:
    for row in rows:
        since, again = _clock(row.since), _clock(row.next)
        deals = f"the deals of ticket {row.ticket}, asked for since {since}, next at {again}"
        yield from said("Waits for", deals)


def position_lines(rows: Sequence[PositionRow], currency_digits: int | None) -> Iterable[str]:
    """Yield a book's positions as lines, or one line for a flat book."""
    if not rows:
        yield from said("Book", "flat")
        return
    # Only the first line has the label, as in the other parts.
    for label, row in zip(["Book", *[""] * len(rows)], rows, strict=False):
        levels = "".join(
            f", {name} {format_price(level)}"
            for name, level in (("SL", row.sl), ("TP", row.tp))
            if level
        )
        profit = ""
        if row.profit is not None:
            profit = f", profit {format_money(row.profit, currency_digits, with_sign=True)}"
        position = f"{row.side} {format_lots(row.lots)}L @ {format_price(row.price_open)}"
        yield from said(label, f"{row.ticket} {row.symbol} {position}{levels}{profit}")


def _lots(rows: Sequence[LotsRow]) -> Iterable[str]:
    for label, row in zip(["Strategies", *[""] * len(rows)], rows, strict=False):
        owner = "claimed by no strategy" if row.magic is None else f"magic {row.magic}"
        yield from said(label, f"{row.symbol} {format_lots(row.lots)}L, {owner}")


def time_of(moment: str) -> str:
    """Return an ISO 8601 time for people: 2026-01-05 14:03:07 UTC."""
    return f"{dt.datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"


def _clock(moment: str | None) -> str:
    if moment is None:
        return "never"
    return f"{dt.datetime.fromisoformat(moment):%H:%M:%S} UTC"
