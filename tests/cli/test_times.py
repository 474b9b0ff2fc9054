"""Moments as people give them."""

from __future__ import annotations

import datetime as dt

import pytest

from trueup.cli.shared.times import end_ns, moment_ns
from trueup.errors import SettingsError

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
    ],
)
def test_a_time_without_a_zone_is_utc_and_an_age_counts_from_now(
    text: str, moment: dt.datetime
) -> None:
    assert moment_ns(text, "--at", NOW_NS) == int(moment.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2h ago", "-2h", "2026-13-05", "14:03", "5", "2y"]
)
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(SettingsError, match="give a time in UTC"):
        moment_ns(text, "--at", NOW_NS)


def test_a_time_copied_from_the_trail_includes_its_event() -> None:
    at_ns = NOW_NS + 123_456_789
    assert at_ns <= end_ns(moment_ns("2026-01-05 14:03:07", "--at", 0)) < NOW_NS + 10**9
    assert at_ns <= end_ns(moment_ns("2026-01-05 14:03:07.123", "--at", 0)) < NOW_NS + 124_000_000
