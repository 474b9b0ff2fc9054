"""Compute when a trading day begins and when trading hours are open, in an IANA time zone.

A local time that a DST change skips stands for the moment of the change; a local time that comes
twice stands for the first time. So each calendar day has exactly one reset.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Window = tuple[int, int]
"""The begin (included) and the end (excluded) of trading, in minutes of the local day."""
Windows = Mapping[str, tuple[Window, ...]]
"""The windows of each weekday; a weekday without any is closed."""

SECOND_NS = 1_000_000_000
# A window that is closed for a public holiday's DST change opens again within a week and a day.
DAYS_AHEAD = 9


def reset_before(now_ns: int, hour: int, zone: ZoneInfo) -> int:
    """Return the latest reset that is not after `now_ns` (both ns of UTC since 1970).

    Args:
        now_ns: the time now.
        hour: the local hour of the reset, 0 to 23.
        zone: the zone of that hour.
    """
    return max(at_ns for at_ns in _resets(now_ns, hour, zone) if at_ns <= now_ns)


def reset_after(now_ns: int, hour: int, zone: ZoneInfo) -> int:
    """Return the first reset after `now_ns`; see `reset_before`."""
    return min(at_ns for at_ns in _resets(now_ns, hour, zone) if at_ns > now_ns)


def is_open(now_ns: int, windows: Windows, zone: ZoneInfo) -> bool:
    """Return whether the local time is within a window of its weekday."""
    local = dt.datetime.fromtimestamp(now_ns // SECOND_NS, zone)
    minute = local.hour * 60 + local.minute
    return any(begin <= minute < end for begin, end in windows.get(DAYS[local.weekday()], ()))


def opens_after(now_ns: int, windows: Windows, zone: ZoneInfo) -> int | None:
    """Return the next moment (ns) at which a window opens; None if none does."""
    today = dt.datetime.fromtimestamp(now_ns // SECOND_NS, zone).date()
    for ahead in range(DAYS_AHEAD):
        day = today + dt.timedelta(days=ahead)
        for begin, _ in windows.get(DAYS[day.weekday()], ()):
            at_ns = _instant(day, begin, zone)
            # A window inside an hour that a DST change skips never opens on that day.
            if at_ns > now_ns and is_open(at_ns, windows, zone):
                return at_ns
    return None


def local_text(at_ns: int, zone: ZoneInfo) -> str:
    """Write a moment as people read it: 2026-01-06 00:00 Europe/Prague."""
    local = dt.datetime.fromtimestamp(at_ns // SECOND_NS, zone)
    return f"{local:%Y-%m-%d %H:%M} {zone.key}"


def _resets(now_ns: int, hour: int, zone: ZoneInfo) -> Iterator[int]:
    today = dt.datetime.fromtimestamp(now_ns // SECOND_NS, zone).date()
    # Three days on each side: a zone that crossed the date line has skipped a whole day.
    for ahead in range(-3, 4):
        yield _instant(today + dt.timedelta(days=ahead), hour * 60, zone)


def _instant(day: dt.date, minute: int, zone: ZoneInfo) -> int:
    hour, rest = divmod(minute, 60)
    # fold=0: a skipped time takes the offset before the change, a repeated time is the first.
    local = dt.datetime.combine(day, dt.time(hour, rest), tzinfo=zone)
    return round(local.timestamp()) * SECOND_NS
