"""Fold the events of a book into counters: a pure count, the same for every reader."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import Self

from trueup.core.book import events
from trueup.core.explain import Exit
from trueup.doors.metrics import table
from trueup.journal import Record

_ENDS: dict[type[events.Event], str] = {
    events.OrderFilled: "filled",
    events.OrderSettled: "filled",
    events.OrderApplied: "applied",
    events.OrderRejected: "refused",
    events.OrderCanceled: "canceled",
}
_CORRECTIONS: dict[type[events.Event], str] = {
    events.PositionAdopted: "zombie",
    events.PositionClosed: "ghost",
    events.PositionCorrected: "drift",
    events.PendingAdopted: "pending_adopted",
    events.PendingClosed: "pending_closed",
    events.PendingCorrected: "pending_corrected",
}


class Histogram:
    """Durations in buckets: `counts` has a number for each bound, and one for all above."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: tuple[float, ...] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.sum_sec: float = 0.0

    def note(self, seconds: float) -> None:
        """Count a duration in seconds."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.sum_sec += seconds

    def copy(self) -> Histogram:
        """Return a copy."""
        other = Histogram(self.bounds)
        other.counts, other.sum_sec = list(self.counts), self.sum_sec
        return other


class Tally:
    """The counters of one book, up to `position` in its stream.

    `hash` is that of the event at `position`: a journal that was replaced or restored has another.
    `is_whole` says that all events were counted once.
    """

    def __init__(self) -> None:
        self.position: int = 0
        self.hash: bytes = b""
        self.is_whole: bool = False
        self.counts: Counter[tuple[str, str]] = Counter()
        self.order_times: Histogram = Histogram(table.ORDER_SECONDS)
        self.doubt_times: Histogram = Histogram(table.DOUBT_SECONDS)
        self._sent: dict[str, int] = {}
        self._doubtful: dict[str, int] = {}

    def take(self, record: Record) -> None:
        """Count an event."""
        self.position, self.hash = record.position, record.hash
        self.counts[table.EVENTS.name, record.kind] += 1
        event = record.event
        kind = _CORRECTIONS.get(type(event))
        if kind is not None:
            self.counts[table.CORRECTED.name, kind] += 1
        match event:
            case events.OrderEvent():
                self._take_step(event)
            case events.PositionClosed():
                self.counts[table.CLOSED.name, _reason(event)] += 1
            case events.LimitReached():
                self.counts[table.LIMITS.name, event.limit.replace(" ", "_")] += 1
            case events.HistoryCompared():
                self.counts[table.HISTORY.name, "agrees" if event.is_whole else "differs"] += 1

    def _take_step(self, event: events.OrderEvent) -> None:
        order_id, outcome = event.order_id, _ENDS.get(type(event))
        if isinstance(event, events.SendStarted):
            self._sent[order_id] = event.at_ns
        elif isinstance(event, events.OrderInDoubt):
            self._sent.pop(order_id, None)
            self._doubtful[order_id] = event.at_ns
            self.counts[table.DOUBTS.name, ""] += 1
        elif outcome is not None:
            if isinstance(event, events.OrderCanceled) and event.unproven:
                outcome = "given_up"
            self.counts[table.ORDERS.name, outcome] += 1
            _note(self.order_times, self._sent.pop(order_id, None), event.at_ns)
            _note(self.doubt_times, self._doubtful.pop(order_id, None), event.at_ns)

    def copy(self) -> Self:
        """Return a copy of the counters to show; the copy takes no more events."""
        other = type(self)()
        other.position, other.hash, other.counts = self.position, self.hash, self.counts.copy()
        other.order_times, other.doubt_times = self.order_times.copy(), self.doubt_times.copy()
        return other


def _note(times: Histogram, began_ns: int | None, ended_ns: int) -> None:
    if began_ns is not None:
        # The clock of the machine may have been set back meanwhile.
        times.note(max(0, ended_ns - began_ns) / 1e9)


def _reason(event: events.PositionClosed) -> str:
    if event.unproven or event.ended is None:
        return "unproven" if event.unproven else "other"
    return _reason_of(event.ended)


def _reason_of(ended: Exit) -> str:
    if ended.reason == "by an opposite position":
        return "opposite_position"
    if ended.reason.startswith("by a reversal "):
        return "reversal"
    # The comment may contradict the reason of the deal; the deal's own reason is counted.
    return table.REASONS.get(ended.reason.partition(" (the comment")[0], "other")
