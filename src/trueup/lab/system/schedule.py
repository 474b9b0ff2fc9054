"""The virtual time of a simulated world, and the queue of its future events."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from trueup.errors import TrueupError

# A Tuesday at noon, with room before midnight.
BEGIN_NS = 1_767_700_800_000_000_000
MS = 1_000_000
SECOND = 1_000_000_000


class Endless(TrueupError):
    """A run had too many events, so some activity never ends."""


class OutOfTouch(TrueupError):
    """A living bot without any obstacle does not read the broker by itself."""


class Stuck(TrueupError):
    """A bot whose book agrees with the broker cannot trade."""


class Schedule:
    """The future events, by time; events of the same time in the order of their planning.

    A caller that waits (a bot for a reply) runs the queue from inside an event. So time passes for
    all processes while a process is blocked, and everything stays on a single thread.
    """

    def __init__(self, most: int) -> None:
        self.now_ns: int = BEGIN_NS
        self.count: int = 0
        self._most = most
        self._planned = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []

    def at(self, at_ns: int, act: Callable[[], None]) -> None:
        """Call `act` at a time, or now if that time has passed."""
        self._planned += 1
        due_ns = at_ns if at_ns > self.now_ns else self.now_ns
        heapq.heappush(self._queue, (due_ns, self._planned, act))

    def after(self, ms: float, act: Callable[[], None]) -> None:
        """Call `act` after a number of milliseconds."""
        self.at(self.now_ns + round(ms * MS), act)

    def run(self, until_ns: int, done: Callable[[], object] = bool) -> None:
        """Run the events up to a time, or until `done` is true before an event.

        Raises:
            Endless: there were too many events.
        """
        # `done` ends the wait of a blocked process as soon as its reply is there.
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            if done():
                return
            self.now_ns, _, act = heapq.heappop(queue)
            self.count += 1
            if self.count > self._most:
                raise Endless(f"More than {self._most} events.")
            act()
        if not done() and until_ns > self.now_ns:
            self.now_ns = until_ns
