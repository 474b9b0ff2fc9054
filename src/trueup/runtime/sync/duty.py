"""Limit the share of time that slow calls may take: a duty cycle.

After a call of N ms the next call waits at least 9 N ms, so the caller spends at most a tenth of
its time waiting.
"""

from __future__ import annotations

from trueup.runtime.time.clock import Clock

REST_FACTOR = 9
# Shorter calls get no rest: a call to an object in this process takes microseconds.
SHORTEST_NS = 50_000_000


class DutyCycle:
    """Spaces the calls of one kind.

    Args:
        clock: measures how long a call takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ns = 0
        self.rests_until_ns: int = 0
        """The earliest time of the next call, by the clock for ages (ns); 0 for at once."""

    def begin(self) -> None:
        """Note the start of a call."""
        self._began_ns = self._clock.waiting_ns()

    def end(self, least_ns: int = 0, most_ns: int | None = None) -> None:
        """Note the end of the call; the rest is at least `least_ns` and at most `most_ns`."""
        took_ns = self._clock.waiting_ns() - self._began_ns
        rest_ns = REST_FACTOR * took_ns if took_ns >= SHORTEST_NS else 0
        rest_ns = max(rest_ns, least_ns)
        if most_ns is not None:
            rest_ns = min(rest_ns, most_ns)
        self.rests_until_ns = self._clock.age_ns() + rest_ns if rest_ns else 0

    def reset(self) -> None:
        """Allow the next call at once."""
        self.rests_until_ns = 0

    def rest_ns(self) -> int:
        """Return the remaining wait before the next call (ns), 0 for none."""
        return max(0, self.rests_until_ns - self._clock.age_ns())
