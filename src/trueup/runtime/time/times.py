"""Note both steady clocks beside the date of each event that this process writes."""

from __future__ import annotations

from trueup.core.look.waited import Noted, Waited
from trueup.runtime.time.clock import Clock, Moment, moment

# Far more than can matter at once; the age of older events is computed from their dates.
MOST_NOTED = 10_000


class Times:
    """The notes of one process, for `core.look.waited`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = moment(clock)
        self._noted: dict[int, Noted] = {}

    def note(self, at_ns: int) -> None:
        """Note the clocks for an event with the date `at_ns`, which is written now."""
        self._noted[at_ns] = self._clock.age_ns(), self._clock.waiting_ns()
        if len(self._noted) > MOST_NOTED:
            del self._noted[next(iter(self._noted))]

    def at(self, now: Moment) -> Waited:
        """Return the ages of all noted events as of a moment."""
        began = self._began
        return Waited(
            now.age_ns,
            now.waiting_ns,
            began.date_ns,
            (began.age_ns, began.waiting_ns),
            self._noted,
        )

    def age_of_ns(self, at_ns: int) -> int:
        """Return the age of an event with the date `at_ns`, in nanoseconds."""
        return self.at(moment(self._clock)).age_of_ns(at_ns)
