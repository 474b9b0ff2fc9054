"""A duty cycle: how rarely to do again what makes its caller wait.

After a call of N ms the next one comes no sooner than 9 N ms later, so that waiting takes at most a
tenth of the caller's time.
"""

from __future__ import annotations

from trueup.runtime.time.clock import Clock

REST_FACTOR = 9
# Nobody notices a shorter wait, such as that for an object in this very process.
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
        """Until when the next call should wait, by the clock for ages (ns); 0 for not at all."""

    def begin(self) -> None:
        """Note that a call begins."""
        self._began_ns = self._clock.waiting_ns()

    def end(self, least_ns: int = 0, most_ns: int | None = None) -> None:
        """Note that it has ended; it rests for at least `least_ns` and at most `most_ns`."""
        took_ns = self._clock.waiting_ns() - self._began_ns
        rest_ns = REST_FACTOR * took_ns if took_ns >= SHORTEST_NS else 0
        rest_ns = max(rest_ns, least_ns)
        if most_ns is not None:
            rest_ns = min(rest_ns, most_ns)
        self.rests_until_ns = self._clock.age_ns() + rest_ns if rest_ns else 0

    def reset(self) -> None:
        """Let the next call be made at once."""
        self.rests_until_ns = 0

    def rest_ns(self) -> int:
        """Return how much longer the next call should wait (ns), 0 for not at all."""
        return max(0, self.rests_until_ns - self._clock.age_ns())
