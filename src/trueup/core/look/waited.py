"""Measure ages by monotonic clocks, because the wall clock can be changed.

The journal has dates from the wall clock. A person or a time service can set that clock, and after
sleep of the machine it has jumped. So the difference of two dates proves nothing. Ages and waiting
times are measured by the two clocks that never go back (`runtime.time.clock`): this process notes
both clocks beside each date that it writes.

Facts of an earlier process have a date only. Their age is the time from that date to the start of
this process, by the wall clock, plus the time since then by the monotonic clocks. If the date is
later than the start, the wall clock was set back, and the age counts from the start. So a change
of the wall clock never ends a window of an earlier process too early, and prolongs the window by at
most its own length.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

Noted = tuple[int, int]
"""The clock for ages and the clock for waiting (ns) at one moment."""

NOTHING_NOTED: Mapping[int, Noted] = MappingProxyType({})


class Waited(msgspec.Struct, frozen=True):
    """The clocks of a process at a question, and its earlier notes of the clocks.

    Args:
        age_ns: the clock for ages, at the question.
        waiting_ns: the clock for waiting, at the question.
        began_date_ns: the date when the process began.
        began: both clocks when the process began.
        noted: both clocks at each date that this process wrote.
    """

    age_ns: int
    waiting_ns: int
    began_date_ns: int
    began: Noted
    noted: Mapping[int, Noted] = NOTHING_NOTED

    def waited_ns(self, at_ns: int) -> int:
        """Return how long the process has waited since the fact dated `at_ns`, without sleep."""
        noted = self.noted.get(at_ns)
        if noted is not None:
            return self.waiting_ns - noted[1]
        return max(0, self.began_date_ns - at_ns) + self.waiting_ns - self.began[1]

    def age_of_ns(self, at_ns: int) -> int:
        """Return the age of the fact dated `at_ns`, including sleep."""
        noted = self.noted.get(at_ns)
        if noted is not None:
            return self.age_ns - noted[0]
        return max(0, self.began_date_ns - at_ns) + self.age_ns - self.began[0]


def by_dates(asked_ns: int) -> Waited:
    """Return ages computed from dates only, for use without monotonic clocks."""
    return Waited(asked_ns, asked_ns, asked_ns, (asked_ns, asked_ns))
