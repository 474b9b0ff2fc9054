"""Moments as people give them."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from tests.support.pseudo_terminal import ON_POSIX
from trueup.errors import SettingsError
from trueup.runtime.time.moments import Moment, end_ns, moment_ns, moment_of

NOW = dt.datetime(2026, 1, 5, 14, 3, 7, tzinfo=dt.UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-05 14:03", dt.datetime(2026, 1, 5, 14, 3, tzinfo=dt.UTC)),
        (" 2026-01-05 ", dt.datetime(2026, 1, 5, tzinfo=dt.UTC)),
        ("2026-01-05T14:03:07Z", NOW),
        ("2026-01-05T15:03:07+01:00", NOW),
        ("90s", NOW - dt.timedelta(seconds=90)),
        ("30m", NOW - dt.timedelta(minutes=30)),
        ("2h", NOW - dt.timedelta(hours=2)),
        ("1.5 h", NOW - dt.timedelta(minutes=90)),
        ("3d", NOW - dt.timedelta(days=3)),
        ("1w", NOW - dt.timedelta(days=7)),
        ("2h ago", NOW - dt.timedelta(hours=2)),
        ("1h30m", NOW - dt.timedelta(minutes=90)),
        ("30 min ago", NOW - dt.timedelta(minutes=30)),
        ("2 Hours Ago", NOW - dt.timedelta(hours=2)),
        ("now", NOW),
        ("02:47", dt.datetime(2026, 1, 5, 2, 47, tzinfo=dt.UTC)),
        ("2:47", dt.datetime(2026, 1, 5, 2, 47, tzinfo=dt.UTC)),
        ("14:03:07", NOW),
        ("14:04", dt.datetime(2026, 1, 4, 14, 4, tzinfo=dt.UTC)),
        ("today", dt.datetime(2026, 1, 5, tzinfo=dt.UTC)),
        ("today 23:00", dt.datetime(2026, 1, 5, 23, tzinfo=dt.UTC)),
        ("yesterday", dt.datetime(2026, 1, 4, tzinfo=dt.UTC)),
        ("Yesterday 22:00", dt.datetime(2026, 1, 4, 22, tzinfo=dt.UTC)),
        ("2026-11-28 03:00", dt.datetime(2026, 11, 28, 3, tzinfo=dt.UTC)),
        ("15:03 +01:00", dt.datetime(2026, 1, 5, 14, 3, tzinfo=dt.UTC)),
        ("yesterday 22:00 UTC", dt.datetime(2026, 1, 4, 22, tzinfo=dt.UTC)),
        # It is the 6th there already.
        ("today+14:00", dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)),
        ("20260105T1403", dt.datetime(2026, 1, 5, 14, 3, tzinfo=dt.UTC)),
        ("0001-01-01", dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        ("999999999w", dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc_and_an_age_counts_from_now(
    text: str, moment: dt.datetime
) -> None:
    assert moment_ns(text, "--at", NOW_NS) == int(moment.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    "text",
    ["", "ago", "local", "-2h", "2026-13-05", "25:00", "14:03:60", "5", "2y", "02:47 CET", "noon"],
)
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(SettingsError, match="give a time in UTC"):
        moment_ns(text, "--at", NOW_NS)


def test_a_time_copied_from_the_trail_includes_its_event() -> None:
    at_ns = NOW_NS + 123_456_789
    assert at_ns <= end_ns(moment_ns("2026-01-05 14:03:07", "--at", 0)) < NOW_NS + 10**9
    assert at_ns <= end_ns(moment_ns("2026-01-05 14:03:07.123", "--at", 0)) < NOW_NS + 124_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("02:47", 60),
        ("02:47:10", 1),
        ("02:47:10.5", 0.001),
        ("yesterday", 86_400),
        ("2026-01-05", 86_400),
        ("2026-01-05T02:47Z", 60),
        ("20260105T024710", 1),
    ],
)
def test_a_time_ends_where_the_named_minute_or_day_ends(text: str, seconds: float) -> None:
    moment = moment_of(text, "--until", NOW_NS)
    assert moment.end_ns == moment.begin_ns + round(seconds * 1e9)
    assert Moment(7, 0).end_ns == 8


@ON_POSIX
def test_local_is_the_zone_of_this_machine_at_that_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks went back at 2026-10-25 01:00 UTC, so two days have two offsets."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        noon_ns = int(dt.datetime(2026, 10, 25, 12, tzinfo=dt.UTC).timestamp()) * 10**9
        for text, hour in (("yesterday 22:00 local", 20 - 24), ("11:00 local", 10)):
            moment = dt.datetime(2026, 10, 25, tzinfo=dt.UTC) + dt.timedelta(hours=hour)
            assert moment_ns(text, "--at", noon_ns) == int(moment.timestamp()) * 10**9
    finally:
        monkeypatch.undo()
        time.tzset()
