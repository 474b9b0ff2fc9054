"""The three clocks of a gateway's machine; `runtime.time.clock` explains which to use for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Now = Callable[[], int]


class Clocks(NamedTuple):
    """The time sources of a gateway, each in nanoseconds.

    Attributes:
        now_ns: UTC since 1970; may be set.
        age_ns: monotonic; runs on while the machine sleeps.
        waiting_ns: monotonic; stands still while the machine sleeps.
    """

    now_ns: Now
    age_ns: Now
    waiting_ns: Now


def one_clock(now_ns: Now) -> Clocks:
    """Return a single clock as all three, for callers that never need to tell them apart."""
    return Clocks(now_ns, now_ns, now_ns)
