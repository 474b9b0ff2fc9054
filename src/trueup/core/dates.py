"""Write a date as text."""

from __future__ import annotations

import datetime as dt
import functools


def iso(at_ns: int) -> str:
    """Return nanoseconds of UTC since 1970 as ISO 8601 with milliseconds."""
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1_000_000:03d}+00:00"


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
