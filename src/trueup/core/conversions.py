"""Convert numbers and times as Python programs, pandas and gateways write them.

Bots keep tickets in numpy arrays, volumes in Decimals and times in pandas; gateways write numbers
as text. Each function returns a plain int, float or str, or None for a value that cannot be
converted. True, False, NaN and infinity do not count as numbers.
"""

from __future__ import annotations

import datetime as dt
import numbers
import operator
import re
import sys
from decimal import Decimal
from typing import Any

LARGEST_WHOLE_FLOAT = 2**53
"""From here on a float cannot tell one whole number from the next."""
LATEST_SEC = 253_402_300_799
"""The last second of the year 9999, the latest moment that Python can name."""
_DIGITS_MOST = 20
# numpy 1 accepts its own True as the index 1, with a warning; numpy 2 refuses it.
_NUMPY_1_TRUTH = "bool_"
_DECIMAL_TEXT = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_WHOLE_TEXT = re.compile(r"[+-]?\d{1,20}", re.ASCII)
# MetaTrader writes 2026.01.05 12:00:00 (MQL5 reference, TimeToString).
_METATRADER_DATE = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)(?=$|[ T])", re.ASCII)
# Upper bounds that tell seconds, milliseconds, microseconds and nanoseconds since 1970 apart.
_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))


def whole_number(value: object) -> int | None:
    """Return a whole number: an int, a numpy integer, a float without a fraction, or digits.

    A float counts only below 2**53: larger floats skip whole numbers, so the value may differ from
    the number that was meant.
    """
    if type(value) is int:
        return value
    if isinstance(value, str):
        return _whole_of_text(value.strip())
    if isinstance(value, bool) or type(value).__name__ == _NUMPY_1_TRUTH:
        return None
    # `index` accepts all integer types, and no float.
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        pass
    if isinstance(value, Decimal):
        # The bound keeps 1E+1000000 from filling the memory.
        is_whole = value.is_finite() and value.adjusted() < _DIGITS_MOST and value % 1 == 0
        return int(value) if is_whole else None
    found = number(value)
    is_whole = found is not None and found.is_integer() and abs(found) < LARGEST_WHOLE_FLOAT
    return int(found) if found is not None and is_whole else None


def _whole_of_text(text: str) -> int | None:
    if _WHOLE_TEXT.fullmatch(text):
        return int(text)
    found = number_of_text(text)
    return None if found is None else whole_number(found)


def number(value: object) -> float | None:
    """Return a finite number: an int, a float, a numpy number, a Decimal or a fraction; no text.

    Numbers of other precisions are read from their printed form: np.float32(0.7) is 0.7, the number
    that the user wrote, not 0.699999988079071.
    """
    if type(value) is float:
        return value if -sys.float_info.max <= value <= sys.float_info.max else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if -sys.float_info.max <= value <= sys.float_info.max else None
    if isinstance(value, numbers.Rational):
        return _float_of(value)
    if isinstance(value, numbers.Real | Decimal):
        return number_of_text(str(value))
    # Some of numpy's own functions return an array without dimensions instead of a number.
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        return number(value.item())  # type: ignore[attr-defined]
    return None


def _float_of(value: Any) -> float | None:
    try:
        return number(float(value))
    except (TypeError, ValueError, OverflowError):
        # numpy registers `timedelta64` as an integer, and its conversion to float fails.
        return None


def number_of_text(text: str) -> float | None:
    """Return the finite number that a text consists of, with a decimal point or without."""
    return number(float(text)) if _DECIMAL_TEXT.fullmatch(text.strip()) else None


def number_or_text(value: object) -> float | None:
    """Return a finite number, also from a text, because gateways write numbers as text."""
    return number_of_text(value) if isinstance(value, str) else number(value)


def plain(value: object) -> object:
    """Return a value in a form for JSON: a number of any kind as int or float, a time as ISO 8601.

    Any other value is returned unchanged.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    whole = None if isinstance(value, float) else whole_number(value)
    found = number(value) if whole is None else whole
    return value if found is None else found


def seconds_since_1970(value: object) -> int | None:
    """Return a moment as whole seconds of its own clock since 1970, from 0 to the year 9999.

    A moment is a number of seconds (or of milliseconds, microseconds or nanoseconds, which its size
    tells), a `datetime`, a `datetime64`, or a text as 2026-01-05T12:00:00Z or 2026.01.05 12:00:00.
    A moment without a time zone is read as UTC, because MetaTrader's functions return the server's
    clock in that form.
    """
    # A text can hold a number or a date; try the number first, because that test is strict.
    if isinstance(value, str):
        count: float | None = _whole_of_text(value.strip())
        count = number_of_text(value) if count is None else count
        if count is None:
            return _seconds_of_date(_date_of_text(value.strip()))
        return _seconds_of_count(count)
    if isinstance(value, dt.date):
        return _seconds_of_date(value)
    # numpy's datetime64 would otherwise convert to a bare count in its own unit.
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        return _seconds_of_date(value.astype("datetime64[us]").item())  # type: ignore[attr-defined]
    count = whole_number(value)
    count = number(value) if count is None else count
    return None if count is None else _seconds_of_count(count)


def _seconds_of_count(count: float) -> int | None:
    for bound, per_second in _UNITS:
        if 0 <= count < bound:
            return int(count // per_second)
    return None


def _date_of_text(text: str) -> dt.date | None:
    try:
        return dt.datetime.fromisoformat(_METATRADER_DATE.sub(r"\1-\2-\3", text))
    except ValueError:
        return None


def _seconds_of_date(date: object) -> int | None:
    try:
        # A `datetime` is a `date` too, so the test for `datetime` must come first.
        if isinstance(date, dt.datetime):
            zoned = date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)
        elif isinstance(date, dt.date):
            zoned = dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)
        else:
            return None
        seconds = zoned.timestamp()
        return int(seconds) if 0 <= seconds <= LATEST_SEC else None
    except (TypeError, ValueError, OverflowError):
        # The moment is outside the range of `datetime`, or is NaT of pandas, which has no time.
        return None
