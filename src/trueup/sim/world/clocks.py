"""The clocks of simulated machines: the world's time, and how far each machine is from it."""

from __future__ import annotations

from collections.abc import Callable

from trueup.sim.world.schedule import SECOND, Schedule


class Machine:
    """A machine: its wall clock is `skew_ns` ahead of the world's time, until somebody sets it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.skew_ns = 0


class ProcessClock:
    """A process's clock: the machine's wall clock read once, then carried on, as `SystemClock` is.

    `wait` lets the world go on until a time.
    """

    def __init__(self, machine: Machine, wait: Callable[[int], None]) -> None:
        self._schedule, self._wait = machine.schedule, wait
        self.skew_ns = machine.skew_ns

    def now_ns(self) -> int:
        """Return nanoseconds of UTC since 1970, as this process believes."""
        return self._schedule.now_ns + self.skew_ns

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._wait(self._schedule.now_ns + round(seconds * SECOND))
