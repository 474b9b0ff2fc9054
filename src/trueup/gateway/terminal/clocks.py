"""The three clocks of a gateway's machine; `runtime.time.clock` says which of them is for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Now = Callable[[], int]


class Clocks(NamedTuple):
    """Where a gateway's time comes from, each in nanoseconds.

    `now_ns` is the date, UTC since 1970; `age_ns` goes on while the machine sleeps, `waiting_ns`
    stands meanwhile, and neither ever goes back.
    """

    now_ns: Now
    age_ns: Now
    waiting_ns: Now


def one_clock(now_ns: Now) -> Clocks:
    """Return one clock as all three, for where they never go apart."""
    return Clocks(now_ns, now_ns, now_ns)
