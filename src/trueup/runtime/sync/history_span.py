"""Compute the time span of a history comparison, and make the report from its result."""

from __future__ import annotations

import datetime as dt
import numbers
from decimal import Decimal
from typing import Any

from trueup.core.account.trust import Bound, Unknown
from trueup.core.realised.agreement import Agreement, Counted, bound_of, compare
from trueup.core.realised.history_report import HistoryReport
from trueup.protocol.history import PastDeals, Span

# Time zones reach 14 hours from UTC, so a trade server's clock is at most that far away.
FARTHEST_MSC = 14 * 3_600_000
DAY_MSC = 86_400_000
NOT_BOUND = "This book is bound to no account yet: a sync binds it"


def report_of(past: PastDeals | Unknown, span: Span, counted: Counted) -> HistoryReport:
    """Return the report of a comparison.

    Args:
        past: the broker's deals of the span, or the reason why there are none.
        span: the span of the comparison.
        counted: the deals that the book has counted.
    """
    # Without the broker's deals, or without an account to compare them for, the report says why and
    # compares nothing.
    account = counted.account
    if isinstance(past, Unknown) or account is None:
        reason = past.sentence if isinstance(past, Unknown) else NOT_BOUND
        return HistoryReport(span.since_msc, span.until_msc, unknown=reason)
    bound, terminal = bound_of(account), Bound(past.login, past.server)
    # Deals of another account would all count as missing, so do not compare them.
    unknown = ""
    if bound != terminal:
        unknown = (
            f"The terminal is logged in to {terminal.name}, and this book is bound to {bound.name}"
        )
    return HistoryReport(
        span.since_msc,
        span.until_msc,
        Agreement() if unknown else compare(counted, past.deals, span.since_msc, span.until_msc),
        unknown,
        bound.name,
        account.currency,
        2 if account.currency_digits is None else account.currency_digits,
    )


def begin_msc(began_ns: int, offset_sec: int | None) -> int:
    """Return where the comparison of a book begins (server time): a day before the book was bound.

    Args:
        began_ns: when the book was bound to its account (ns); 0 while the book is not bound.
        offset_sec: the trade server's clock less UTC; None if unknown.
    """
    return max(0, since_msc(began_ns / 1e9, offset_sec) - DAY_MSC) if began_ns else 0


def since_msc(moment: Any, offset_sec: int | None) -> int:
    """Return a moment as milliseconds of the trade server's clock.

    Args:
        moment: a datetime (without a zone: UTC), a date, ISO 8601 text, or seconds of UTC since
            1970.
        offset_sec: the trade server's clock less UTC. None if unknown: then the result is the
            earliest time that any trade server's clock can show at this moment.

    Raises:
        ValueError: `moment` is none of these.
    """
    utc_msc = _utc_msc(moment)
    apart_msc = -FARTHEST_MSC if offset_sec is None else offset_sec * 1000
    return max(0, utc_msc + apart_msc)


def _utc_msc(moment: Any) -> int:
    try:
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment.strip())
        # A datetime is also a date, so test for a datetime first.
        if isinstance(moment, dt.datetime):
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            return round(zoned.timestamp() * 1000)
        if isinstance(moment, dt.date):
            midnight = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
            return round(midnight.timestamp() * 1000)
        # True and False are numbers in Python, but no moment.
        if type(moment) is not bool and isinstance(moment, numbers.Real | Decimal):
            return round(float(moment) * 1000)
    # A bad text, a NaN or a year out of range gets the same error as a wrong type.
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"since={moment!r:.60} is not valid: give a datetime, an ISO 8601 text such as "
        "'2026-01-05', or seconds of UTC since 1970."
    )
