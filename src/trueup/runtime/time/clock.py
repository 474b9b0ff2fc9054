"""Time behind a seam: everything that asks for the time asks a `Clock`, which has three of them.

============  =================================  ================================================
clock         what moves it                      what it is for
============  =================================  ================================================
`now_ns`      UTC, by the wall clock: people     dates: of journal events, log lines, the audit
              and time services set it, back     trail, the gateway's record; what is compared
              and forth                          with the broker's clock or a file's time
`age_ns`      goes on while the machine sleeps,  ages and due times: how old a reading is, when
              and makes up for a virtual         the next sync is due, how long a request has
              machine that was paused; never     lain there, how long nothing was heard
              goes back
`waiting_ns`  stands while the machine sleeps;   waiting: whether somebody had the time to do
              never goes back                    something. Settle windows, grace periods,
                                                 timeouts, deadlines, pauses, measured durations
============  =================================  ================================================

So a reading is not handed out as current after a night in which the laptop slept, and the sync that
came due meanwhile is made at once; an order is not taken for absent because the machine slept
through its grace period; and a wall clock that is set does neither. Dates may repeat or skip. How
long ago something dated happened is `core.look.waited`'s business, not a difference of dates.

A paused virtual machine has no clock that went on. When it is woken, its wall clock is set right,
and leaps ahead: `AgeClock` counts such a leap as age. Where a person sets the wall clock forward,
ages are therefore too high until the next sync, which is due then. Never are they too low.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from trueup.forks import HOLDERS
from trueup.runtime.time.machine_time import awake_ns, uptime_ns

# Time services slew a clock by less between two looks at it; more is a leap.
LEAP_NS = 1_000_000_000


class Moment(NamedTuple):
    """One moment by all three clocks of a `Clock` (ns)."""

    date_ns: int
    age_ns: int
    waiting_ns: int

    def slept_ns(self, later: Moment) -> int:
        """Return how long the machine slept, or was paused, until a later moment."""
        return (later.age_ns - self.age_ns) - (later.waiting_ns - self.waiting_ns)


class Clock(Protocol):
    """A source of time; the module's text says which of its clocks is for what."""

    def now_ns(self) -> int:
        """Return the date: nanoseconds of UTC since 1970. It may be set back or forth."""

    def age_ns(self) -> int:
        """Return nanoseconds that go on while the machine sleeps, and never go back."""

    def waiting_ns(self) -> int:
        """Return nanoseconds that stand while the machine sleeps, and never go back."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


def moment(clock: Clock) -> Moment:
    """Return the present moment by all three clocks."""
    return Moment(clock.now_ns(), clock.age_ns(), clock.waiting_ns())


class AgeClock:
    """Uptime, and whatever the wall clock leaps ahead of it; safe to share between threads.

    Args:
        uptime_ns: how long the machine has been up, the time asleep included.
        now_ns: the wall clock.
    """

    def __init__(self, uptime_ns: Callable[[], int], now_ns: Callable[[], int]) -> None:
        self._uptime_ns, self._now_ns = uptime_ns, now_ns
        self._lock = threading.Lock()
        self._apart_ns = now_ns() - uptime_ns()
        self._leapt_ns = 0
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """Wait in a forked process for no thread that was reading the clock."""
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return nanoseconds that never go back, whatever becomes of the wall clock."""
        with self._lock:
            up_ns = self._uptime_ns()
            apart_ns = self._now_ns() - up_ns
            leap_ns, self._apart_ns = apart_ns - self._apart_ns, apart_ns
            if leap_ns > LEAP_NS:
                self._leapt_ns += leap_ns
            return up_ns + self._leapt_ns


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.age_ns: Callable[[], int] = AgeClock(uptime_ns, time.time_ns).now_ns

    def now_ns(self) -> int:
        """Return the date: nanoseconds of UTC since 1970, by the machine's wall clock."""
        return time.time_ns()

    def waiting_ns(self) -> int:
        """Return nanoseconds that stand while the machine sleeps, and never go back."""
        return awake_ns()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(seconds)


class ManualClock:
    """Clocks that move only when told, together or apart; for tests and simulations."""

    def __init__(self, now_ns: int = 1_767_571_200_000_000_000) -> None:
        self._date_ns = now_ns
        # Three beginnings, so that whoever takes one clock for another is found out.
        self._up_ns, self._awake_ns = 3 * 10**15, 10**15
        self.age_ns: Callable[[], int] = AgeClock(lambda: self._up_ns, self.now_ns).now_ns

    def now_ns(self) -> int:
        """Return the date it was last set to, in nanoseconds of UTC since 1970."""
        return self._date_ns

    def waiting_ns(self) -> int:
        """Return how long it was awake, in nanoseconds."""
        return self._awake_ns

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move all clocks forward by `seconds`."""
        self._awake_ns += round(seconds * 1e9)
        self.suspend(seconds)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep for `seconds`: its clock for waiting stands."""
        self._up_ns += round(seconds * 1e9)
        self.set_date(seconds)

    def set_date(self, seconds: float) -> None:
        """Move the wall clock alone, forward or back, as a person or a time service does.

        A virtual machine that was paused for `seconds` finds itself so when its time is corrected.
        """
        self._date_ns += round(seconds * 1e9)
        # Whoever asks for an age next may do so much later.
        self.age_ns()


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
