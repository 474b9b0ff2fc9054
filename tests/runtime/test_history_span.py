"""From when on deals are compared: moments in many forms, and clocks that are hours apart."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import Account, Side
from trueup.core.realised.agreement import Agreement, Counted
from trueup.core.realised.history_report import HistoryReport
from trueup.protocol.history import PastDeals, Span
from trueup.runtime.sync.history_span import DAY_MSC, begin_msc, report_of, since_msc

HOUR_MSC = 3_600_000
AT_SEC = 1_767_614_400
AT_MSC = AT_SEC * 1000


@pytest.mark.parametrize(
    "moment",
    [
        AT_SEC,
        float(AT_SEC),
        Decimal(AT_SEC),
        "2026-01-05T12:00:00",
        " 2026-01-05T13:00:00+01:00 ",
        dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC).replace(tzinfo=None),
        dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC),
    ],
)
def test_a_moment_is_told_by_the_trade_servers_clock(moment: Any) -> None:
    assert since_msc(moment, 0) == AT_MSC
    assert since_msc(moment, 7_200) == AT_MSC + 2 * HOUR_MSC
    assert since_msc(moment, -3_600) == AT_MSC - HOUR_MSC


def test_a_day_begins_at_midnight_in_utc() -> None:
    assert since_msc(dt.date(2026, 1, 5), 0) == AT_MSC - 12 * HOUR_MSC
    assert since_msc("2026-01-05", 0) == AT_MSC - 12 * HOUR_MSC


def test_by_a_clock_that_is_not_known_it_is_the_earliest_that_any_clock_shows() -> None:
    """A later one would leave deals out."""
    assert since_msc(AT_SEC, None) == AT_MSC - 14 * HOUR_MSC
    assert since_msc(60, None) == 0


@pytest.mark.parametrize(
    "moment", [True, None, [], "yesterday", float("nan"), float("inf"), b"2026"]
)
def test_what_is_no_moment_is_refused_with_what_would_be_one(moment: Any) -> None:
    with pytest.raises(ValueError, match="give a datetime, an ISO 8601 text such as '2026-01-05'"):
        since_msc(moment, 0)


def test_a_book_is_compared_from_a_day_before_it_was_bound() -> None:
    assert begin_msc(AT_SEC * 1_000_000_000, 3_600) == AT_MSC + HOUR_MSC - DAY_MSC
    assert begin_msc(1, 3_600) == 0
    # A book that is not bound yet has no beginning, whatever the trade server's clock shows.
    assert begin_msc(0, 2 * 86_400) == 0


def counted_for(account: Account | None) -> Counted:
    made = Counted()
    made.account = None if account is None else make.bound(account)
    return made


SPAN = Span(5, 9)


def test_a_comparison_without_deals_or_without_an_account_says_why() -> None:
    past = PastDeals(SPAN, 1, "Demo", ())
    offline = Unknown(Reason.OFFLINE, "Gateway offline")
    assert report_of(offline, SPAN, counted_for(make.ACCOUNT)) == (
        HistoryReport(5, 9, unknown="Gateway offline")
    )
    assert report_of(past, SPAN, counted_for(None)) == (
        HistoryReport(5, 9, unknown="This book is bound to no account yet: a sync binds it")
    )


@pytest.mark.parametrize(
    ("login", "server", "unknown"),
    [
        (1, "Demo", ""),
        (2, "Demo", "The terminal is logged in to 2@Demo, and this book is bound to 1@Demo"),
        (1, "Real", "The terminal is logged in to 1@Real, and this book is bound to 1@Demo"),
    ],
)
def test_a_comparison_is_of_one_account_with_its_currency(
    login: int, server: str, unknown: str
) -> None:
    deal = make.deal(7, 7, Side.BUY, 0.1, time_msc=6)
    past = PastDeals(SPAN, login, server, (deal,))
    account = msgspec.structs.replace(make.ACCOUNT, currency="JPY", currency_digits=0)
    found = report_of(past, SPAN, counted_for(account))
    assert (found.since_msc, found.until_msc, found.unknown) == (5, 9, unknown)
    assert (found.account, found.currency, found.digits) == ("1@Demo", "JPY", 0)
    # Deals of another account are not compared at all.
    assert (found.found == Agreement()) is bool(unknown)
    assert found.agrees is not bool(unknown)


def test_money_has_two_decimals_where_an_older_book_does_not_tell() -> None:
    counted = counted_for(make.ACCOUNT)
    counted.account = msgspec.structs.replace(make.bound(), currency_digits=None)
    assert report_of(PastDeals(SPAN, 1, "Demo", ()), SPAN, counted).digits == 2
