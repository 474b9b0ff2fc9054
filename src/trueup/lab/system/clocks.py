"""The clocks of simulated machines: an offset from the world's time, and the machine's sleep."""

from __future__ import annotations

from collections.abc import Callable

from trueup.lab.system.schedule import SECOND, Schedule


class Machine:
    """A machine, whose wall clock is `skew_ns` ahead of the world's time."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.skew_ns = 0
        # The total sleep up to the end of the latest sleep, and that end.
        self._slept_ns = self._asleep_until_ns = 0

    def sleep_until(self, until_ns: int) -> None:
        """Let the machine sleep from now on until a time of the world."""
        begin_ns = max(self.schedule.now_ns, self._asleep_until_ns)
        self._slept_ns += max(0, until_ns - begin_ns)
        self._asleep_until_ns = max(until_ns, self._asleep_until_ns)

    @property
    def slept_ns(self) -> int:
        """The time that the machine has slept so far."""
        return self._slept_ns - max(0, self._asleep_until_ns - self.schedule.now_ns)


class ProcessClock:
    """The clocks of a machine as a process reads them; see `runtime.time.clock`.

    `wait` lets the world go on until a time.
    """

    def __init__(self, machine: Machine, wait: Callable[[int], None]) -> None:
        self._machine, self._schedule, self._wait = machine, machine.schedule, wait

    def now_ns(self) -> int:
        """Return nanoseconds of UTC since 1970 by this machine's wall clock."""
        return self._schedule.now_ns + self._machine.skew_ns

    def age_ns(self) -> int:
        """Return the world's own time, which no machine can set, and which no sleep stops."""
        return self._schedule.now_ns

    def waiting_ns(self) -> int:
        """Return nanoseconds that stand while the machine sleeps."""
        return self._schedule.now_ns - self._machine.slept_ns

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._wait(self._schedule.now_ns + round(seconds * SECOND))
