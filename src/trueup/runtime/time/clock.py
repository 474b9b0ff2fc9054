"""The interface to time: all code reads a `Clock`, which has three clocks for three purposes.

============  =================================  ================================================
clock         moved by                           purpose
============  =================================  ================================================
`now_ns`      UTC, by the wall clock: people     dates: of journal events, log lines, the audit
              and time services set it, back     trail, the gateway's record; comparisons with
              and forth                          the broker's clock or a file's time
`age_ns`      goes on while the machine sleeps,  ages and due times: the age of a reading, the
              and makes up for a virtual         next sync, the time that a request has waited,
              machine that was paused; never     the time without a message
              goes back
`waiting_ns`  stands while the machine sleeps;   waiting: whether there was time to act. Settle
              never goes back                    windows, grace periods, timeouts, deadlines,
                                                 pauses, measured durations
============  =================================  ================================================

So a reading does not count as current after a night in which the laptop slept, and the sync that
came due meanwhile is made at once. An order does not count as absent because the machine slept
through the grace period. To set the wall clock has neither effect. Dates may repeat or skip, so the
age of a dated event comes from `core.look.waited`, not from a difference of dates.

A paused virtual machine has no clock that continued. After the pause its wall clock is corrected
and leaps ahead; `AgeClock` counts such a leap as age. If a person sets the wall clock forward, ages
are too high until the next sync, which is due at once. Ages are never too low.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from trueup.forks import HOLDERS
from trueup.runtime.time.machine_time import awake_ns, uptime_ns

# A time service slews a clock by less than this between two readings; more is a leap.
LEAP_NS = 1_000_000_000


class Moment(NamedTuple):
    """A moment by all three clocks of a `Clock` (ns)."""

    date_ns: int
    age_ns: int
    waiting_ns: int


class Clock(Protocol):
    """A source of time; the module's docstring tells the purpose of each clock."""

    def now_ns(self) -> int:
        """Return the date: nanoseconds of UTC since 1970. The date may be set back or forth."""

    def age_ns(self) -> int:
        """Return nanoseconds that continue while the machine sleeps, and never go back."""

    def waiting_ns(self) -> int:
        """Return nanoseconds that stand while the machine sleeps, and never go back."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


def moment(clock: Clock) -> Moment:
    """Return the present moment by all three clocks."""
    return Moment(clock.now_ns(), clock.age_ns(), clock.waiting_ns())


def slept_since_ns(begin: Moment, clock: Clock) -> int:
    """Return how long the machine slept, or was paused, since a moment."""
    return (clock.age_ns() - begin.age_ns) - (clock.waiting_ns() - begin.waiting_ns)


class AgeClock:
    """Uptime plus all forward leaps of the wall clock; safe to share between threads.

    Args:
        uptime_ns: returns the machine's uptime, with the time asleep.
        now_ns: returns the wall clock's time.
    """

    def __init__(self, uptime_ns: Callable[[], int], now_ns: Callable[[], int]) -> None:
        self._uptime_ns, self._now_ns = uptime_ns, now_ns
        self._lock = threading.Lock()
        self._apart_ns = now_ns() - uptime_ns()
        self._leapt_ns = 0
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """Replace the lock in a forked process: the thread that held it does not exist there."""
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return nanoseconds that never go back, whatever happens to the wall clock."""
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

    # The function itself: a sync asks several times, and a method would be a second call.
    waiting_ns = staticmethod(awake_ns)

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(seconds)


class ManualClock:
    """Clocks that move only by method calls, together or separately; for tests and simulations."""

    def __init__(self, now_ns: int = 1_767_571_200_000_000_000) -> None:
        self._date_ns = now_ns
        # Three different starts, so that code which mixes up the clocks fails in tests.
        self._up_ns, self._awake_ns = 3 * 10**15, 10**15
        self.age_ns: Callable[[], int] = AgeClock(lambda: self._up_ns, self.now_ns).now_ns

    def now_ns(self) -> int:
        """Return the date, in nanoseconds of UTC since 1970."""
        return self._date_ns

    def waiting_ns(self) -> int:
        """Return the time awake, in nanoseconds."""
        return self._awake_ns

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move all clocks forward by `seconds`."""
        self._awake_ns += round(seconds * 1e9)
        self.suspend(seconds)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep for `seconds`: the clock for waiting stands still."""
        self._up_ns += round(seconds * 1e9)
        self.set_date(seconds)

    def set_date(self, seconds: float) -> None:
        """Move only the wall clock, forward or back, as a person or a time service does.

        The same happens in a virtual machine that was paused for `seconds`.
        """
        self._date_ns += round(seconds * 1e9)
        # The leap must be noticed now: the next reading of the age may come much later.
        self.age_ns()


def utc(now_ns: int | None) -> dt.datetime:
    """Return nanoseconds of UTC since 1970, or the machine's time for None, as a datetime."""
    seconds = (time.time_ns() if now_ns is None else now_ns) / 1e9
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
