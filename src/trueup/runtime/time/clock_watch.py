"""Notice that the wall clock leaps, as when somebody sets it, or when the machine sleeps."""

from __future__ import annotations

from trueup.logs import Logger, logger
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.clock")

# A time service slews a clock slowly, and corrects some seconds at most.
LEAP_SEC = 5.0
MEANING = (
    "Dates in the journal and in this log follow the clock, and so does the day of a risk limit. "
    "Ages, waiting times and syncs do not. To do: check that the time is right now, and the "
    "machine's time service"
)


class ClockWatch:
    """Compares the wall clock with the clock for waiting, which nobody can set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart_ns = clock.now_ns() - clock.waiting_ns()

    def look(self) -> None:
        """Log a leap of the wall clock since the last call; call this often."""
        apart_ns = self._clock.now_ns() - self._clock.waiting_ns()
        leap_sec = (apart_ns - self._apart_ns) / 1e9
        self._apart_ns = apart_ns
        if leap_sec >= LEAP_SEC:
            # A machine without power cannot tell the two apart.
            log.warning(
                "[CLOCK] The clock of this machine went forward by %.0f s at once: somebody set "
                "it, or the machine was asleep or paused. %s",
                leap_sec,
                MEANING,
            )
        elif leap_sec <= -LEAP_SEC:
            log.warning(
                "[CLOCK] The clock of this machine went back by %.0f s. %s", -leap_sec, MEANING
            )
