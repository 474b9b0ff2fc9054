"""Time behind a seam: everything that asks for the time asks a `Clock`."""

from __future__ import annotations

import datetime as dt
import functools
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_ns(self) -> int:
        """Return nanoseconds of UTC since 1970; never runs backwards within a process."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """The machine's clock: wall time read once, then carried on by the monotonic clock.

    So a clock that is set back or forth while the process runs neither repeats a moment nor skips
    a waiting time.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds of UTC since 1970; never runs backwards within a process."""
        return self._offset_ns + time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told; for tests and simulations."""

    def __init__(self, now_ns: int = 1_767_571_200_000_000_000) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Return the time it was last set to, in nanoseconds of UTC since 1970."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_ns += round(seconds * 1e9)


def utc(now_ns: int | None) -> dt.datetime:
    """Return nanoseconds of UTC since 1970, or the machine's time for None, as a datetime."""
    seconds = (time.time_ns() if now_ns is None else now_ns) / 1e9
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def iso(at_ns: int) -> str:
    """Return nanoseconds of UTC since 1970 as ISO 8601 with milliseconds."""
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1_000_000:03d}+00:00"


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
