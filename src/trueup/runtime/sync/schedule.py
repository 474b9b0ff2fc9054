"""Decide when the reconciler reads the broker next.

By default one interval after the last reading. Sooner, if a hold ends before that, or if deals of a
position or its return to the list are still expected. Later after failures, so that a gateway in
trouble is not flooded with questions. Expected deals are asked for every second as long as brokers
are known to be late (`LATE_NS`), then less and less often, because the deals may never come. Any
change starts this schedule anew.
"""

from __future__ import annotations

from trueup.core.holds import HoldKind
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.sync.plan import Plan
from trueup.logs import Logger, logger

BACKOFF_LIMIT_SEC = 60.0
# The wait before another reading when a position is missing, or after a restart of the gateway.
SOON_SEC = 1.0
# The shortest wait after a failure. An interval of 0 makes every call due, but a gateway in trouble
# must not be asked at every call.
BACKOFF_LEAST_SEC = 0.1
SECOND_NS = 1_000_000_000
LATE_NS = LONGEST_MS * 1_000_000

log: Logger = logger("trueup.reconciler")


class SyncSchedule:
    """The time of the next reading, and the positions with expected deals.

    `due_ns` is the time of the next reading. `awaited` maps an identifier or ticket to the time
    since when its deals are expected. Every time is nanoseconds of the caller's clock for ages,
    which goes on while the machine sleeps: a reading that came due during sleep is due at once.
    Every interval is seconds.
    """

    def __init__(self, now_ns: int) -> None:
        self.due_ns: int = now_ns
        self.awaited: dict[int, int] = {}
        self._hints_from_ns = self._news_ns = now_ns
        self._failures = 0
        self._told: set[int] = set()

    def at_once(self, now_ns: int) -> None:
        """Make a reading due now."""
        self.due_ns = now_ns

    def takes_hints(self, now_ns: int) -> bool:
        """Return whether a hint may trigger a reading; not right after a failure."""
        return now_ns >= self._hints_from_ns

    def failed(self, now_ns: int, interval_sec: float, *, is_soon: bool = False) -> None:
        """Note a failed reading; each failure in a row doubles the wait.

        Args:
            now_ns: the time now.
            interval_sec: the regular interval.
            is_soon: another reading will probably succeed, so wait only briefly.
        """
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
        """Note a believed reading and its plan.

        Args:
            asked_ns: when the broker was asked.
            interval_sec: the regular interval.
            found: the plan.
            date_ns: the date at `asked_ns`, because holds give their end as a date; by default
                `asked_ns`.
        """
        regular_ns = asked_ns + round(interval_sec * SECOND_NS)
        is_quiet = not (found.events or found.holds or found.questions)
        if is_quiet and not self.awaited and not self._failures:
            # A short way out: most readings bring nothing to wait for.
            self.due_ns = regular_ns
            return
        wanted = _awaited(found)
        # News of any kind: after it the broker is asked every second again for the expected deals.
        if self._failures or found.events or not wanted <= self.awaited.keys():
            self._news_ns = asked_ns
        self._failures = 0
        self.awaited = {key: self.awaited.get(key, asked_ns) for key in wanted}
        self._tell_late(asked_ns)
        ends = [regular_ns]
        # Holds end at a date, the schedule runs by the clock for ages: convert.
        apart_ns = 0 if date_ns is None else date_ns - asked_ns
        ends += [hold.until_ns - apart_ns for hold in found.holds if hold.until_ns]
        if wanted:
            ends.append(asked_ns + self._patience_ns(asked_ns))
        self.due_ns = min(ends)

    def overdue(self, now_ns: int) -> dict[int, int]:
        """Return the entries of `awaited` that are later than any broker is known to be."""
        return {key: ns for key, ns in self.awaited.items() if now_ns - ns >= LATE_NS}

    def _patience_ns(self, now_ns: int) -> int:
        """Return the wait before the next question for expected deals.

        One second at first, then as long as there has been no news, up to a minute.
        """
        quiet_ns = now_ns - self._news_ns
        if quiet_ns < LATE_NS:
            return round(SOON_SEC * SECOND_NS)
        return min(quiet_ns, round(BACKOFF_LIMIT_SEC * SECOND_NS))

    def _tell_late(self, now_ns: int) -> None:
        """Log each position with overdue deals once."""
        self._told &= self.awaited.keys()
        for key, since_ns in self.overdue(now_ns).items():
            # The log has one line for each position, not one for each reading.
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
    """Return the positions with expected deals or an expected return, without a known end."""
    open_ended = (HoldKind.MISSING, HoldKind.SETTLING)
    held = {h.identifier for h in found.holds if h.kind in open_ended and not h.until_ns}
    return held.union(found.questions)
