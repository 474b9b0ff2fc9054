"""Parse a moment that a user gives: a time of day, a date, or an age.

A time without a zone is UTC, as all times that trueup prints. A time of day alone is the last one
that has been: at 00:30, `23:50` is yesterday's.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

from trueup.errors import SettingsError
from trueup.journal.rows.codec import LARGEST_NS

HELP = (
    "a time in UTC (02:47, 'yesterday 22:00', '2026-11-28 03:00'; in another zone 02:47+01:00, or "
    "'02:47 local' for this machine's), or how long ago (90s, 30m, 2h, 3d)"
)
_UNITS = "s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?"
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_PART_OF_AGE = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>{_UNITS})", re.IGNORECASE)
_AGE = re.compile(rf"({_NUMBER}\s*({_UNITS})\s*)+(ago)?", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TIME = re.compile(
    r"(?P<day>today|yesterday|\d{4}-\d{2}-\d{2})?"
    r"(\s*[T ]?\s*(?P<clock>\d{1,2}:\d{2}(?P<second>:\d{2}(?P<fraction>\.\d{1,6})?)?))?"
    r"\s*(?P<zone>Z|UTC|local|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_DAY, _MINUTE, _SECOND, _MILLISECOND = 86_400, 60, 1, 0.001
_1970 = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Moment(NamedTuple):
    """A moment, and how much time its text names; both in nanoseconds.

    `02:47` begins at 02:47:00.000 and names a minute. An age names no more than its moment.
    """

    begin_ns: int
    length_ns: int

    @property
    def end_ns(self) -> int:
        """The first moment after the named time."""
        return self.begin_ns + max(self.length_ns, 1)


def moment_of(text: str, option: str, now_ns: int) -> Moment:
    """Return a moment that a user gives, in nanoseconds of UTC since 1970.

    Raises:
        SettingsError: the text is neither a time nor an age.
    """
    given = text.strip()
    if given.lower() == "now":
        return Moment(now_ns, 0)
    if _AGE.fullmatch(given):
        return Moment(_known(now_ns - _age_ns(given)), 0)
    found = _TIME.fullmatch(given)
    try:
        if found is not None and (found["day"] or found["clock"]):
            return _moment(found, now_ns)
        return _other_form(given)
    except (ValueError, OverflowError):
        raise SettingsError(option, text, f"give {HELP}") from None


def moment_ns(text: str, option: str, now_ns: int) -> int:
    """Return the begin of a moment that a user gives, in nanoseconds of UTC since 1970.

    Raises:
        SettingsError: the text is neither a time nor an age.
    """
    return moment_of(text, option, now_ns).begin_ns


def span_sec(text: str, option: str) -> float:
    """Return a length of time that a user gives, such as 90s, 30m or 8h, in seconds.

    Raises:
        SettingsError: the text is no length of time.
    """
    given = text.strip()
    if not _AGE.fullmatch(given) or given.lower().endswith("ago"):
        raise SettingsError(option, text, "give a length of time: 90s, 30m, 8h, 2d")
    return _age_ns(given) / 1e9


def end_ns(moment_ns: int) -> int:
    """Return the end of the moment's second, or of its millisecond if the moment has a fraction.

    The audit trail prints times to the second, and to the millisecond in JSON and CSV. So a time
    that is copied from the trail includes its event.
    """
    unit_ns = 1_000_000 if moment_ns % 1_000_000_000 else 1_000_000_000
    return moment_ns - moment_ns % unit_ns + unit_ns - 1


def _age_ns(text: str) -> int:
    parts = _PART_OF_AGE.finditer(text)
    return sum(round(float(p["number"]) * _SECONDS[p["unit"][0].lower()] * 1e9) for p in parts)


def _moment(found: re.Match[str], now_ns: int) -> Moment:
    """Return the moment of a day, a time of day, or both."""
    zone = _zone(found["zone"])
    now = _1970 + dt.timedelta(microseconds=now_ns // 1_000)
    today = now.astimezone(zone).date()
    day, clock = _day(found["day"], today), _clock(found["clock"])
    moment = _in_zone(dt.datetime.combine(day, clock), zone)
    if not found["day"] and moment > now:
        moment = _in_zone(dt.datetime.combine(day - dt.timedelta(days=1), clock), zone)
    unit_sec = _MILLISECOND if found["fraction"] else _SECOND if found["second"] else _MINUTE
    return _sized(moment, unit_sec if found["clock"] else _DAY)


def _day(text: str | None, today: dt.date) -> dt.date:
    match (text or "today").lower():
        case "today":
            return today
        case "yesterday":
            return today - dt.timedelta(days=1)
        case date:
            return dt.date.fromisoformat(date)


def _clock(text: str | None) -> dt.time:
    if text is None:
        return dt.time()
    hour, _, rest = text.partition(":")
    return dt.time.fromisoformat(f"{hour:0>2}:{rest}")


def _zone(text: str | None) -> dt.tzinfo | None:
    """Return a zone; None is this machine's, whose offset depends on the date."""
    match (text or "utc").lower():
        case "utc" | "z":
            return dt.UTC
        case "local":
            return None
        case offset:
            # The date serves the parser alone.
            return dt.datetime.fromisoformat(f"2026-01-01T00:00{offset}").tzinfo


def _in_zone(moment: dt.datetime, zone: dt.tzinfo | None) -> dt.datetime:
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


def _other_form(text: str) -> Moment:
    """Return the moment of any other form of ISO 8601."""
    moment = dt.datetime.fromisoformat(text)
    unit_sec = _MILLISECOND if moment.microsecond else _SECOND
    return _sized(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC), unit_sec)


def _sized(moment: dt.datetime, length_sec: float) -> Moment:
    # All integers from here on: a float of nanoseconds since 1970 loses the last digits.
    begin_ns = (moment - _1970) // dt.timedelta(microseconds=1) * 1_000
    return Moment(_known(begin_ns), round(length_sec * 1e9))


def _known(moment_ns: int) -> int:
    """Return the nearest moment that a journal's column can hold; a date has more years."""
    return min(max(moment_ns, 0), LARGEST_NS - _DAY * 1_000_000_000)
