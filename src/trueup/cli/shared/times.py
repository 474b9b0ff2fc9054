"""Parse a moment that a user gives: a time in UTC, or an age."""

from __future__ import annotations

import datetime as dt
import re

from trueup.errors import SettingsError

HELP = (
    "a time in UTC (2026-01-05, '2026-01-05 14:03', 2026-01-05T14:03:07+01:00), or how long ago "
    "(90s, 30m, 2h, 3d)"
)
_AGE = re.compile(r"(?P<number>\d{1,9}(\.\d{1,9})?)\s*(?P<unit>[smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment_ns(text: str, option: str, now_ns: int) -> int:
    """Return a moment as nanoseconds of UTC since 1970; a time without a zone is UTC.

    Raises:
        SettingsError: the text is neither a time nor an age.
    """
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        return now_ns - round(float(age["number"]) * _SECONDS[age["unit"]] * 1e9)
    # All integers from here on: a float of nanoseconds since 1970 loses the last digits.
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        since_1970 = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise SettingsError(option, text, f"give {HELP}") from None
    return since_1970 // dt.timedelta(microseconds=1) * 1_000


def end_ns(moment_ns: int) -> int:
    """Return the end of the moment's second, or of its millisecond if the moment has a fraction.

    The audit trail prints times to the second, and to the millisecond in JSON and CSV. So a time
    that is copied from the trail includes its event.
    """
    unit_ns = 1_000_000 if moment_ns % 1_000_000_000 else 1_000_000_000
    return moment_ns - moment_ns % unit_ns + unit_ns - 1
