"""Write a status as text for a terminal: what a person needs first comes first.

A line is never wider than the terminal. In a narrow terminal a row of the books takes a second
line, and loses nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import msgspec

from trueup.core.quantity import format_lots, format_money, format_price
from trueup.observe.lines import (
    LABEL,
    WIDTH,
    account_words,
    age_words,
    clock_of,
    cut,
    moment_of,
    said,
)
from trueup.observe.status.books_text import book_lines, foreign_lines
from trueup.observe.status.status import (
    Decision,
    EventRow,
    FillRow,
    InDoubt,
    LinkRow,
    ModeRow,
    Money,
    PriceRow,
    RefusedRow,
    State,
    Status,
)

NARROWEST = 40
FOREIGN_MOST = 5
DECISIONS_MOST = 10
PRICES_MOST = 5


def write_status(status: Status, width: int = WIDTH) -> str:
    """Write a status as text of at most `width` columns."""
    return "\n".join(line.rstrip() for line in _lines(status, max(NARROWEST, width)))


def _lines(status: Status, width: int) -> Iterator[str]:
    yield from textwrap.wrap(status.sentence, width)
    if status.state is State.NOTHING:
        yield from textwrap.wrap(status.detail, width)
        return
    yield from said("Account", _account(status), width)
    yield from said("Works", status.works, width)
    # A running bot's facts are of now, and the books below tell the time of the broker's side.
    if status.source != "bot":
        yield from said("As of", status.basis, width)
    yield from _to_do(status, width)
    yield from said("Books", reading_words(status), width)
    yield from book_lines(status.books, status.money.digits, width)
    yield from _foreign(status, width)
    yield from said("Money", money_words(status.money), width)
    yield from _labelled("Price", _prices(status), width)
    yield from _labelled("Fills", map(fill_words, status.fills, repeat(status.now)), width)
    yield from _strategies(status, width)
    yield from _links(status, width)
    yield from _events(status, width)
    yield from said("Scope", _scope(status), width)
    yield from _labelled("Neighbour", status.neighbours, width)
    if status.others:
        named = f"the journal has more books: --stream {', '.join(status.others)}"
        yield from said("Others", named, width)


def _to_do(status: Status, width: int) -> Iterator[str]:
    """Yield everything that is not well, the most urgent first."""
    ids = [row.id for row in status.to_decide]
    # A decision is told below with its consequences.
    needs = [need for need in status.needs if not any(name in need for name in ids)]
    yield from _labelled("NEEDS YOU", needs, width)
    # The rows below tell of decisions and doubts by their ids.
    told = [*ids, *(row.order_id for row in status.in_doubt)]
    is_told = any(name in status.detail for name in told) or any(
        status.detail in text for text in (*needs, *(row.error for row in status.in_doubt))
    )
    if status.detail and not is_told:
        yield from said("Because", status.detail, width)
    decisions, doubts = status.to_decide[:DECISIONS_MOST], status.in_doubt[:DECISIONS_MOST]
    yield from chain.from_iterable(_decision(row, status, width) for row in decisions)
    yield from _more(len(status.to_decide), "`trueup plan`", width)
    yield from chain.from_iterable(_in_doubt(row, status, width) for row in doubts)
    yield from _more(len(status.in_doubt), "`trueup status --json`", width)
    if status.mode is not None:
        yield from said("Mode", _mode(status.mode, status.now), width)
    yield from chain.from_iterable(_refused(row, status, width) for row in other_refusals(status))
    for row in status.held:
        # A need may be the same hold.
        if not any(need.startswith(row.reason) for need in needs):
            yield from said("Held", f"{row.symbol or 'Account'}: {row.reason}", width)
            yield from said("", f"until {row.until}", width)
    yield from _overdue(status, width)


def _prices(status: Status) -> Iterator[str]:
    # Without gateway or terminal there are no prices: the links say why.
    away = {row.name for row in status.links if row.works is False}
    is_away = bool(away & {"gateway", "terminal"})
    for row in status.prices[:PRICES_MOST]:
        shown = msgspec.structs.replace(row, trouble="") if is_away else row
        yield price_words(shown, status.now)
    if len(status.prices) > PRICES_MOST:
        yield f"and {len(status.prices) - PRICES_MOST} more symbols"


def _more(count: int, command: str, width: int) -> Iterator[str]:
    if count > DECISIONS_MOST:
        yield from said("", f"and {count - DECISIONS_MOST} more: {command}", width)


def _links(status: Status, width: int) -> Iterator[str]:
    """Yield the links; those that work need no more than their names."""
    working = [row.name for row in status.links if row.works]
    others = [row for row in status.links if not row.works]
    lines = [link_words(_shortened(row, status), status.now) for row in others]
    if working:
        lines.append(f"{'all work' if not others else 'ok'}: {', '.join(working)}")
    yield from _labelled("Links", lines, width)


def _shortened(row: LinkRow, status: Status) -> LinkRow:
    """Return a link without the words that the reason of the state has already."""
    is_told = bool(row.words) and row.words in status.detail
    return msgspec.structs.replace(row, words="see above") if is_told else row


def _events(status: Status, width: int) -> Iterator[str]:
    # The fills are told above.
    rows = [row for row in status.events if row.action != "FILLED"]
    for label, row in zip(chain(["Last"], repeat("")), rows, strict=False):
        # One line for each event: `trueup audit` has the whole entry.
        yield cut(f"{label:<{LABEL}}{event_words(row)}", width)


def _labelled(label: str, texts: Iterable[str], width: int) -> Iterator[str]:
    """Yield texts as lines; only the first has the label."""
    for name, text in zip(chain([label], repeat("")), texts, strict=False):
        yield from said(name, text, width)


def _account(status: Status) -> str:
    since = ""
    if status.since is not None:
        since = f", since {_since(status.since, status.now)}"
    return f"{account_words(status.account, status.trade_mode)}{since}"


def _scope(status: Status) -> str:
    process = f"process {status.pid}, " if status.pid else ""
    kept = "no journal: the book ends with the bot"
    if status.journal:
        kept = f"{status.journal}, stream {status.stream}" if status.stream else status.journal
    return f"{process}{status.scope or status.symbol or 'not known'}; {kept}"


def _since(moment: str, now: str) -> str:
    return f"{moment_of(moment, now)} ({age_words(seconds_between(moment, now))})"


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds between two ISO 8601 times; 0 if the clock was set back."""
    # Imported here: a status without ages does not need it.
    import datetime as dt

    first, last = dt.datetime.fromisoformat(earlier), dt.datetime.fromisoformat(later)
    return max(0.0, (last - first).total_seconds())


def _mode(row: ModeRow, now: str) -> str:
    words = "trading is paused" if row.mode == "paused" else "only closes are allowed"
    why = f": {row.why}" if row.why else ""
    return f"{words} by {row.by}{why}, since {_since(row.since, now)}; ends with `trueup resume`"


def _decision(row: Decision, status: Status, width: int) -> Iterator[str]:
    since = f", since {_since(row.since, status.now)}" if row.since else ""
    yield from said("To decide", f"{row.what}{since}", width)
    for name, text in (("opened", row.opened), ("stops", row.protection)):
        if text:
            yield from said("", f"{name}: {text}", width)
    yield from said("", f"yes, `trueup approve {row.id}`: {row.if_approved}", width)
    yield from said("", f"no answer: {row.if_left}", width)


def _in_doubt(row: InDoubt, status: Status, width: int) -> Iterator[str]:
    key = f", key {row.key!r}" if row.key else ""
    order = f"{row.action} {format_lots(row.lots)}L {row.symbol} ({row.order_id}{key})"
    sent = f"{order}, since {_since(row.since, status.now)}: {row.error}"
    yield from said("In doubt", sent, width)
    yield from said("", f"so far: {row.evidence}", width) if row.evidence else ()
    then = f"next look {moment_of(row.next_look, status.now)}; " if row.next_look else ""
    yield from said("", f"{then}decided {row.decided}", width)


def other_refusals(status: Status) -> Iterator[RefusedRow]:
    """Yield the reasons against entries that no other line of the status tells.

    A mode has a line of its own, and so have the reason of the state and each order in doubt.
    """
    for row in status.refused:
        is_mode = status.mode is not None and "`trueup resume`" in row.until
        in_doubt = (doubt.order_id for doubt in status.in_doubt)
        is_told = row.reason in status.detail or any(name in row.reason for name in in_doubt)
        if not is_mode and not is_told:
            yield row


def _refused(row: RefusedRow, status: Status, width: int) -> Iterator[str]:
    scope = f"in {row.symbol}" if row.symbol else "in the whole account"
    since = f" since {_since(row.since, status.now)}" if row.since else ""
    by = "Limit" if row.by_limit else "Entries"
    yield from said(by, f"REFUSED {scope}{since}: {row.reason}", width)
    yield from said("", f"ends with: {row.until}", width)


def _overdue(status: Status, width: int) -> Iterator[str]:
    for row in status.overdue:
        since = f", asked for since {clock_of(row.since)} UTC" if row.since else ""
        again = f", next at {clock_of(row.next)} UTC" if row.next else ""
        yield from said("Waits for", f"the deals of ticket {row.ticket}{since}{again}", width)


def _strategies(status: Status, width: int) -> Iterator[str]:
    # With one strategy the books say the same.
    if len(status.strategies) > 1:
        rows = (
            f"{row.symbol} {format_lots(row.lots)}L, "
            + ("claimed by no strategy" if row.magic is None else f"magic {row.magic}")
            for row in status.strategies
        )
        yield from _labelled("Strategies", rows, width)


def _foreign(status: Status, width: int) -> Iterator[str]:
    if not status.foreign:
        return
    yield from said("Foreign", f"{status.foreign} at the broker, not ours, never touched", width)
    yield from foreign_lines(status.foreign_rows[:FOREIGN_MOST], width)
    if len(status.foreign_rows) > FOREIGN_MOST:
        yield f"  and {len(status.foreign_rows) - FOREIGN_MOST} more"


# Single facts, also for the live view.


def reading_words(status: Status) -> str:
    """Say how old the broker's side of the books is."""
    if status.source == "journal" and status.journal_trouble:
        return "not known: the journal cannot be read"
    flat = "" if status.books else "flat; "
    if status.checked is None:
        return f"{flat}the broker's side is not known"
    if status.source != "bot":
        return f"{flat}the broker was last asked at {moment_of(status.checked, status.now)}"
    return f"{flat}the broker's side is of {_since(status.checked, status.now)}"


def money_words(money: Money) -> str:
    """Write the money of account and book."""
    realised = f"realised {format_money(money.realised, money.digits, money.currency)}"
    if money.balance is None or money.equity is None:
        return f"{realised}; balance and equity are not known"
    balance, equity = (format_money(m, money.digits) for m in (money.balance, money.equity))
    return f"balance {balance}, equity {equity}, {realised}"


def price_words(row: PriceRow, now: str) -> str:
    """Write a price with its age; an old price says that it is old."""
    trouble = f": {row.trouble}" if row.trouble else ""
    if row.bid is None or row.ask is None or row.at is None:
        return f"{row.symbol} no price yet{trouble}"
    old = "OLD, " if row.is_old else ""
    price = f"{format_price(row.bid)} / {format_price(row.ask)}"
    return f"{row.symbol} {price}, {old}of {_since(row.at, now)}{trouble}"


def event_words(row: EventRow) -> str:
    """Write an event."""
    # The details of an explanation are a whole sentence, and need the room for the money in them.
    action = "" if row.action == "EXPLAINED" else f"{row.action} "
    ticket = f"{row.ticket} " if row.ticket else ""
    # A person's reason may have line ends, and an event has one line.
    details = " ".join(row.details.split())
    return f"{clock_of(row.at)} {action}{ticket}{details}"


def fill_words(row: FillRow, now: str) -> str:
    """Write an executed order."""
    price = "" if row.price is None else f" @ {format_price(row.price)}"
    ticket = f", ticket {row.ticket}" if row.ticket else ""
    order = f"{row.action} {format_lots(row.lots)}L {row.symbol}{price}{ticket}"
    return f"{moment_of(row.at, now)}: {order}"


def link_words(row: LinkRow, now: str) -> str:
    """Write a link with its state and its age."""
    mark = {True: "ok", False: "DOWN", None: "?"}[row.works]
    age = f", {_since(row.at, now)}" if row.at else ""
    return f"{row.name:<9}{mark:<5}{row.words}{age}"
