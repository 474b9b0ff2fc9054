"""From when on deals are compared: moments in many forms, and clocks that are hours apart."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from trueup.runtime.sync.history_span import DAY_MSC, begin_msc, since_msc

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
