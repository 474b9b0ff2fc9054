"""When a reconciler looks at the broker next.

By its interval; sooner where something is about to end or is still to come; later after failures,
so that a gateway in trouble is not hammered. What is still to come (the deals of a position, or its
return to the list) is asked for every second as long as any broker is known to be late, then less
and less often: it may never come. News of any kind begins that anew.
"""

from __future__ import annotations

from trueup.core.holds import HoldKind
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.sync.plan import Plan
from trueup.logs import Logger, logger

BACKOFF_LIMIT_SEC = 60.0
# What is missing, or was read only once since a restart, is looked at again soon.
SOON_SEC = 1.0
# An interval of 0 is due at every call; a gateway in trouble is not asked at every call.
BACKOFF_LEAST_SEC = 0.1
SECOND_NS = 1_000_000_000
LATE_NS = LONGEST_MS * 1_000_000

log: Logger = logger("trueup.reconciler")


class Timetable:
    """When to look next: `due_ns`, and since when (ns) what is awaited, by identifier or ticket.

    Every time is nanoseconds of the caller's clock for ages, which goes on while the machine
    sleeps: what comes due meanwhile is due at once. Every interval is seconds.
    """

    def __init__(self, now_ns: int) -> None:
        self.due_ns: int = now_ns
        self.awaited: dict[int, int] = {}
        self._hints_from_ns = self._news_ns = now_ns
        self._failures = 0
        self._told: set[int] = set()

    def at_once(self, now_ns: int) -> None:
        """Look at the next opportunity."""
        self.due_ns = now_ns

    def takes_hints(self, now_ns: int) -> bool:
        """Return whether a hint is reason to look: who fails is not asked in one go."""
        return now_ns >= self._hints_from_ns

    def failed(self, now_ns: int, interval_sec: float, *, is_soon: bool = False) -> None:
        """Note a look that came to nothing; each one after another doubles the wait."""
        self._hints_from_ns = now_ns + round(SOON_SEC * SECOND_NS)
        self._failures += 1
        first_sec = max(interval_sec, BACKOFF_LEAST_SEC)
        wait_sec = first_sec * 2 ** min(self._failures - 1, 10)
        wait_sec = max(first_sec, min(wait_sec, BACKOFF_LIMIT_SEC))
        if is_soon:
            wait_sec = min(SOON_SEC, first_sec)
        self.due_ns = now_ns + round(wait_sec * SECOND_NS)

    def believed(
        self, asked_ns: int, interval_sec: float, found: Plan, *, date_ns: int | None = None
    ) -> None:
        """Note a look that was believed, asked for at `asked_ns`, and what it came to.

        `date_ns` is the date then, by which holds say when they end; by default the same.
        """
        wanted = _awaited(found)
        if self._failures or found.events or not wanted <= self.awaited.keys():
            self._news_ns = asked_ns
        self._failures = 0
        self.awaited = {key: self.awaited.get(key, asked_ns) for key in wanted}
        self._tell_late(asked_ns)
        ends = [asked_ns + round(interval_sec * SECOND_NS)]
        apart_ns = 0 if date_ns is None else date_ns - asked_ns
        ends += [hold.until_ns - apart_ns for hold in found.holds if hold.until_ns]
        if wanted:
            ends.append(asked_ns + self._patience_ns(asked_ns))
        self.due_ns = min(ends)

    def overdue(self, now_ns: int) -> dict[int, int]:
        """Return of `awaited` what is later than any broker is known to be."""
        return {key: ns for key, ns in self.awaited.items() if now_ns - ns >= LATE_NS}

    def _patience_ns(self, now_ns: int) -> int:
        """Return how long to leave what is awaited alone: as long as there was no news."""
        quiet_ns = now_ns - self._news_ns
        if quiet_ns < LATE_NS:
            return round(SOON_SEC * SECOND_NS)
        return min(quiet_ns, round(BACKOFF_LIMIT_SEC * SECOND_NS))

    def _tell_late(self, now_ns: int) -> None:
        """Say once of each that is later than any broker is known to be."""
        self._told &= self.awaited.keys()
        for key, since_ns in self.overdue(now_ns).items():
            if key not in self._told:
                self._told.add(key)
                log.warning(
                    "[WAITING] Ticket %s: the broker has not shown its deals for %s s; asked for "
                    "less often from now on, and with every sync",
                    key,
                    (now_ns - since_ns) // SECOND_NS,
                    extra={"event": "deals.awaited", "ticket": key},
                )


def _awaited(found: Plan) -> set[int]:
    """Return what no time ends: what is missing, or late, and what deals are still to come of."""
    open_ended = (HoldKind.MISSING, HoldKind.SETTLING)
    held = {h.identifier for h in found.holds if h.kind in open_ended and not h.until_ns}
    return held.union(found.questions)
