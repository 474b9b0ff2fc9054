"""The gauges of a book, from its status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

from trueup.doors.metrics import table
from trueup.doors.metrics.books import name_of
from trueup.doors.metrics.table import Metric
from trueup.observe.status.status import State, Status, Verdict


class Value(NamedTuple):
    """A value of a metric, with the values of its labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def bot_up(status: Status) -> bool | None:
    """Return whether the bot answered; None for a program that runs and takes no commands."""
    return next((link.works for link in status.links if link.name == "bot"), False)


def of_status(status: Status) -> Iterator[Value]:
    """Yield the gauges of a book."""
    name = name_of(status)
    for state in State:
        yield Value(table.STATE, (*name, state.value), float(status.state is state))
    if status.state is State.NOTHING:
        return
    money = status.money
    info = (status.account or "", status.trade_mode or "", money.currency, status.symbol)
    yield Value(table.BOOK_INFO, (*name, *info), 1.0)
    is_up = bot_up(status)
    if is_up is not None:
        yield Value(table.BOT_UP, name, float(is_up))
    for link in status.links:
        if link.works is not None:
            yield Value(table.LINK_UP, (*name, link.name), float(link.works))
    age_sec = status.age_sec if status.age_sec is not None else _since(status.checked, status)
    if age_sec is not None:
        yield Value(table.READING_AGE, name, age_sec)
    yield from _of_book(status)
    if status.source == "bot":
        yield from _of_bot(status)


def _of_book(status: Status) -> Iterator[Value]:
    """Yield what the journal knows too. A book that cannot be read has no number of positions."""
    if status.source == "journal" and status.journal_trouble:
        return
    name = name_of(status)
    ages = [_since(one.since, status) or 0.0 for one in status.in_doubt]
    ours = [row for row in status.books if row.ours is not None]
    yield Value(table.DECISIONS, name, len(status.to_decide))
    yield Value(table.HELD, name, len(status.held))
    yield Value(table.IN_DOUBT, name, len(status.in_doubt))
    yield Value(table.DOUBT_AGE, name, max(ages, default=0.0))
    yield Value(table.POSITIONS, name, sum(not row.pending for row in ours))
    yield Value(table.PENDING, name, sum(row.pending for row in ours))
    yield Value(table.REALISED, name, status.money.realised)
    mode = "all" if status.mode is None else status.mode.mode
    for one in table.MODES:
        yield Value(table.MODE, (*name, one), float(one == mode))


def _of_bot(status: Status) -> Iterator[Value]:
    """Yield what only a running bot knows."""
    name = name_of(status)
    if status.started:
        started = dt.datetime.fromisoformat(status.started).timestamp()
        yield Value(table.BOT_START, name, started)
    yield Value(table.SYNCS, name, status.sync_count)
    if status.sync_ms is not None:
        yield Value(table.SYNC_TIME, name, status.sync_ms / 1000)
    differ = [row for row in status.books if row.verdict in _DIFFERENT]
    yield Value(table.DIFFERENCES, name, len(differ))
    refused = bool(status.entries_refused or status.refused)
    yield Value(table.ENTRIES_REFUSED, name, float(refused))
    for metric, money in (
        (table.EQUITY, status.money.equity),
        (table.BALANCE, status.money.balance),
    ):
        if money is not None:
            yield Value(metric, name, money)
    for price in status.prices:
        if price.age_sec is not None:
            yield Value(table.PRICE_AGE, (*name, price.symbol), price.age_sec)


_DIFFERENT = (Verdict.DIFFERS, Verdict.ONLY_BROKER, Verdict.ONLY_BOOK)


def _since(then: str | None, status: Status) -> float | None:
    """Return the seconds from a moment to the making of the status; None for no moment."""
    if then is None:
        return None
    now = dt.datetime.fromisoformat(status.now)
    # A clock may have been set back since.
    return max(0.0, (now - dt.datetime.fromisoformat(then)).total_seconds())
