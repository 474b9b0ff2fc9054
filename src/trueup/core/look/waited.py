"""How long ago something happened, by clocks that nobody sets.

The journal has dates, and dates are the wall clock's: a person sets it, a time service does, and a
machine that slept finds it elsewhere. A difference of two dates can therefore be anything. Whether
a broker had the time to show something, and how old something is, is measured by the two clocks
that never go back (`runtime.time.clock`): this process notes them beside each date that it writes.

What an earlier process wrote has a date alone. It counts from that date to the beginning of this
process, by the wall clock, and on from there. Where its date is later than our beginning, the wall
clock was set back since, and it counts from the beginning: a window that an earlier process opened
is never ended before its time by that, and never prolonged by more than itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

Noted = tuple[int, int]
"""The clock for ages and the clock for waiting (ns) at one moment."""

NOTHING_NOTED: Mapping[int, Noted] = MappingProxyType({})


class Waited(msgspec.Struct, frozen=True):
    """The clocks of a process at a question, and what it noted before.

    Args:
        age_ns: the clock for ages, at the question.
        waiting_ns: the clock for waiting, at the question.
        began_date_ns: the date when the process began.
        began: both clocks when it began.
        noted: both clocks at each date that this process wrote.
    """

    age_ns: int
    waiting_ns: int
    began_date_ns: int
    began: Noted
    noted: Mapping[int, Noted] = NOTHING_NOTED

    def waited_ns(self, at_ns: int) -> int:
        """Return how long the process has waited since what is dated `at_ns`; sleep left out."""
        noted = self.noted.get(at_ns)
        if noted is not None:
            return self.waiting_ns - noted[1]
        return max(0, self.began_date_ns - at_ns) + self.waiting_ns - self.began[1]

    def age_of_ns(self, at_ns: int) -> int:
        """Return how long ago what is dated `at_ns` was; the time asleep counts."""
        noted = self.noted.get(at_ns)
        if noted is not None:
            return self.age_ns - noted[0]
        return max(0, self.began_date_ns - at_ns) + self.age_ns - self.began[0]


def by_dates(asked_ns: int) -> Waited:
    """Return how long ago things were as dates alone say it, for where there is nothing better."""
    return Waited(asked_ns, asked_ns, asked_ns, (asked_ns, asked_ns))
