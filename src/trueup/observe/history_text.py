"""Write a comparison of the book's deals with the broker's history as text of 80 columns."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from trueup.core.quantity import format_lots, format_money, from_units
from trueup.core.realised.agreement import DealChange, DealLine
from trueup.core.realised.history_report import HistoryReport

WIDTH = 80
# More lines are of no use to a reader; `--json` has all of them.
LINES_MOST = 50


def write_history(report: HistoryReport) -> str:
    """Write a comparison: its span, its result, and each deal that differs."""
    begin = _moment(report.since_msc) if report.since_msc else "the beginning"
    end = _moment(report.until_msc) if report.until_msc else "now"
    span = f"{report.account}: deals from {begin} to {end}, server time."
    lines = [*_wrapped(span), *_wrapped(f"{report.sentence}.")]
    found = report.found
    # Explain deals that the terminal shows and the book does not count, so that nobody takes them
    # for missing deals.
    if found.of_others:
        others = "are" if found.of_others > 1 else "is"
        deals = f"{found.of_others} deal{'s' * (found.of_others > 1)}"
        lines += _wrapped(
            f"{deals} {others} of positions of others, of which the book counts none."
        )
    # The differences come last and in order of weight: deals that the book lacks first.
    for title, rows in (
        ("Missing in the book:", [_line(deal, report) for deal in found.missing_in_book]),
        (
            "In the book, and not at the broker:",
            [_line(deal, report) for deal in found.missing_at_broker],
        ),
        ("Changed:", [_change(deal, report) for deal in found.changed]),
    ):
        lines += _listed(title, rows)
    return "\n".join(lines)


def history_values(report: HistoryReport) -> dict[str, Any]:
    """Return a comparison as plain values; money in the account's currency, volumes in lots."""
    found = report.found
    return {
        "since": _iso(report.since_msc),
        "until": _iso(report.until_msc),
        "account": report.account,
        "currency": report.currency,
        "agrees": found.is_whole,
        "agreed": found.agreed,
        "missing_in_book": [_values(line) for line in found.missing_in_book],
        "missing_at_broker": [_values(line) for line in found.missing_at_broker],
        "changed": [
            {"book": _values(change.in_book), "broker": _values(change.at_broker)}
            for change in found.changed
        ],
        "of_others": found.of_others,
        "difference": from_units(found.difference),
    }


def _values(line: DealLine) -> dict[str, Any]:
    return {
        "deal": line.ticket,
        "position": line.position,
        "symbol": line.symbol,
        "lots": from_units(line.lots),
        "money": from_units(line.money),
        "time": _iso(line.time_msc),
    }


def _line(line: DealLine, report: HistoryReport) -> str:
    symbol = f"{line.symbol} " if line.symbol else ""
    lots = f"{format_lots(abs(from_units(line.lots)))}L {'bought' if line.lots > 0 else 'sold'}, "
    when = f", {_moment(line.time_msc)}" if line.time_msc else ""
    return (
        f"deal {line.ticket} of position {line.position}: {symbol}{lots if line.lots else ''}"
        f"{_money(line.money, report)}{when}"
    )


def _change(change: DealChange, report: HistoryReport) -> str:
    book, broker = change.in_book, change.at_broker
    lots = ""
    if book.lots != broker.lots:
        before, now = format_lots(from_units(book.lots)), format_lots(from_units(broker.lots))
        lots = f", {before}L → {now}L"
    money = f"{_money(book.money, report)} → {_money(broker.money, report)}"
    return f"deal {broker.ticket} of position {broker.position}: {money}{lots}"


def _money(units: int, report: HistoryReport) -> str:
    return format_money(from_units(units), report.digits, report.currency)


def _listed(title: str, rows: list[str]) -> Iterator[str]:
    if not rows:
        return
    yield title
    for row in rows[:LINES_MOST]:
        yield from _wrapped(row, "  ")
    if len(rows) > LINES_MOST:
        yield f"  and {len(rows) - LINES_MOST} more (--json has all)"


def _wrapped(text: str, indent: str = "") -> Iterable[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_on_hyphens=False,
    )


def _moment(time_msc: int) -> str:
    return f"{dt.datetime.fromtimestamp(time_msc / 1000, dt.UTC):%Y-%m-%d %H:%M:%S}"


def _iso(time_msc: int) -> str | None:
    # The time of the trade server's clock, whose time zone is not known.
    return _moment(time_msc).replace(" ", "T") if time_msc else None
