"""The reset of a day and the trading hours, across DST changes."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.limits.times import (
    DAYS,
    is_open,
    local_text,
    opens_after,
    reset_after,
    reset_before,
)

HOUR_NS = 3600 * 1_000_000_000
ZONES = (
    "UTC",
    "Europe/Prague",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
)
moments = st.integers(
    round(dt.datetime(2001, 1, 1, tzinfo=dt.UTC).timestamp()),
    round(dt.datetime(2037, 1, 1, tzinfo=dt.UTC).timestamp()),
).map(lambda seconds: seconds * 1_000_000_000)
hours = st.integers(0, 23)
zones = st.sampled_from(ZONES).map(ZoneInfo)


def ns(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def utc(at_ns: int) -> str:
    return dt.datetime.fromtimestamp(at_ns / 1e9, dt.UTC).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("zone", "hour", "now", "before", "after"),
    [
        # No DST: the reset itself belongs to the new day.
        ("UTC", 0, "2026-01-05T00:00+00:00", "01-05 00:00", "01-06 00:00"),
        ("UTC", 0, "2026-01-04T23:59:59+00:00", "01-04 00:00", "01-05 00:00"),
        ("UTC", 22, "2026-01-05T21:00+00:00", "01-04 22:00", "01-05 22:00"),
        # Spring: the day of 23 hours; 02:00 does not exist and stands for the change at 01:00 UTC.
        ("Europe/Prague", 0, "2026-03-29T12:00+00:00", "03-28 23:00", "03-29 22:00"),
        ("Europe/Prague", 2, "2026-03-29T00:59+00:00", "03-28 01:00", "03-29 01:00"),
        ("Europe/Prague", 2, "2026-03-29T01:00+00:00", "03-29 01:00", "03-30 00:00"),
        # Autumn: the day of 25 hours; 02:00 comes twice, and only the first one is a reset.
        ("Europe/Prague", 0, "2026-10-25T12:00+00:00", "10-24 22:00", "10-25 23:00"),
        ("Europe/Prague", 2, "2026-10-25T00:30+00:00", "10-25 00:00", "10-26 01:00"),
        ("Europe/Prague", 2, "2026-10-25T01:30+00:00", "10-25 00:00", "10-26 01:00"),
        # Midnight does not exist in Chile's spring.
        ("America/Santiago", 0, "2026-09-06T12:00+00:00", "09-06 04:00", "09-07 03:00"),
        # A change of half an hour.
        ("Australia/Lord_Howe", 2, "2026-10-03T15:29+00:00", "10-02 15:30", "10-03 15:30"),
    ],
)
def test_resets(zone: str, hour: int, now: str, before: str, after: str) -> None:
    place = ZoneInfo(zone)
    assert utc(reset_before(ns(now), hour, place)) == before
    assert utc(reset_after(ns(now), hour, place)) == after


@given(moments, hours, zones)
def test_a_moment_has_one_day(now_ns: int, hour: int, zone: ZoneInfo) -> None:
    before, after = reset_before(now_ns, hour, zone), reset_after(now_ns, hour, zone)
    assert before <= now_ns < after
    assert 22 * HOUR_NS <= after - before <= 26 * HOUR_NS
    # Every moment of the day has the same two resets.
    assert reset_before(after - 1, hour, zone) == before == reset_before(before, hour, zone)
    assert reset_after(before, hour, zone) == after == reset_before(after, hour, zone)


@given(moments, hours, zones)
def test_each_date_has_one_reset(now_ns: int, hour: int, zone: ZoneInfo) -> None:
    at_ns, dates = now_ns, []
    for _ in range(10):
        at_ns = reset_after(at_ns, hour, zone)
        dates.append(dt.datetime.fromtimestamp(at_ns // 1_000_000_000, zone).date())
    assert [day - dates[0] for day in dates] == [dt.timedelta(days=n) for n in range(10)]


WINDOWS = {"mon": ((8 * 60, 12 * 60), (13 * 60, 24 * 60)), "sun": ((0, 3 * 60),)}


@pytest.mark.parametrize(
    ("now", "open_", "opens"),
    [
        ("2026-01-05T07:59:59+01:00", False, "01-05 07:00"),
        ("2026-01-05T08:00+01:00", True, "01-05 12:00"),
        ("2026-01-05T12:00+01:00", False, "01-05 12:00"),
        ("2026-01-05T23:59:59+01:00", True, "01-10 23:00"),
        ("2026-01-06T00:00+01:00", False, "01-10 23:00"),
        # Sunday in spring: the window has two hours, and Monday opens an hour earlier in UTC.
        ("2026-03-29T00:59:59+00:00", True, "03-30 06:00"),
        ("2026-03-29T01:00+00:00", False, "03-30 06:00"),
        # Sunday in autumn: the window has four hours.
        ("2026-10-25T01:59:59+00:00", True, "10-26 07:00"),
        ("2026-10-25T02:00+00:00", False, "10-26 07:00"),
    ],
)
def test_trading_hours(now: str, open_: bool, opens: str) -> None:
    zone = ZoneInfo("Europe/Prague")
    assert is_open(ns(now), WINDOWS, zone) is open_
    opens_ns = opens_after(ns(now), WINDOWS, zone)
    assert opens_ns is not None
    assert utc(opens_ns) == opens


windows = st.dictionaries(
    st.sampled_from(DAYS),
    st.tuples(st.integers(0, 1438), st.integers(1, 1440))
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: (pair,)),
    min_size=1,
)


@given(moments, windows, zones)
def test_what_opens_is_open_then(
    now_ns: int, plan: dict[str, tuple[tuple[int, int], ...]], zone: ZoneInfo
) -> None:
    opens_ns = opens_after(now_ns, plan, zone)
    if opens_ns is not None:
        assert opens_ns > now_ns
        assert is_open(opens_ns, plan, zone)


def test_a_moment_is_written_in_its_zone() -> None:
    assert local_text(ns("2026-01-05T23:00+00:00"), ZoneInfo("Europe/Prague")) == (
        "2026-01-06 00:00 Europe/Prague"
    )
