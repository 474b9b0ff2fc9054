"""The guide's log lines and audit entries of corrections."""

from __future__ import annotations

import datetime as dt
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.logs import Lines, Logger, logger
from trueup.observe.event_words.table import words_of
from trueup.observe.event_words.words import AuditAction, Line, Words
from trueup.turns import Turn

AUDIT_ENTRIES_KEPT = 1000
_Correction = tuple[events.Event, Words[Any]]

log: Logger = logger("trueup.reconciler")


class AuditEntry(TypedDict):
    """A correction of the book, as text.

    `timestamp` is UTC. `ticket` is None if the correction is not about a position or a pending
    order. `details` is a sentence. `before` and `after` describe the state; both are empty if the
    correction changed no state.
    """

    timestamp: dt.datetime
    action: AuditAction
    ticket: int | None
    details: str
    before: str
    after: str


class AuditTrail:
    """The last 1,000 corrections, oldest first; may be read from another thread."""

    def __init__(self) -> None:
        # An event becomes text when somebody reads the trail: a text takes far more memory than the
        # event, and most of a recovery's ten thousand are never read.
        self._entries: deque[AuditEntry | events.Event] = deque(maxlen=AUDIT_ENTRIES_KEPT)
        # Without turns, a deque that grows while another thread iterates raises an error there.
        self._turn = Turn()

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, history: Sequence[events.Event], book: Book) -> None:
        """Add an entry for each correction of a sync, and log the correction.

        Args:
            history: the events of the sync.
            book: the book after these events, which knows the orders behind them.
        """
        if not history:
            # A short way out: most syncs correct nothing.
            return
        corrections = _corrections(history)
        self._keep(corrections)
        if log.isEnabledFor(logging.WARNING):
            lines = Lines(log, __file__, "record")
            for event, words in corrections:
                _log(words.lines(event), _orders_behind(event, words, book), lines)

    def keep(self, history: Sequence[events.Event]) -> None:
        """Add an entry for each correction, without a log line."""
        self._keep(_corrections(history))

    def _keep(self, corrections: Sequence[_Correction]) -> None:
        with self._turn:
            self._entries.extend(event for event, _ in corrections[-AUDIT_ENTRIES_KEPT:])

    def replace(self, entries: Iterable[AuditEntry]) -> None:
        """Replace all entries."""
        given = [AuditEntry(**item) for item in entries]
        with self._turn:
            self._entries.clear()
            self._entries.extend(given)

    def entries(self) -> list[AuditEntry]:
        """Return copies of the entries, oldest first."""
        with self._turn:
            told = [entry(it) if isinstance(it, events.Event) else it for it in self._entries]
            # Another deque, because `len` takes no turn and must not see an empty one.
            self._entries = deque(told, maxlen=AUDIT_ENTRIES_KEPT)
            return [AuditEntry(**item) for item in told]


def _corrections(history: Sequence[events.Event]) -> list[_Correction]:
    worded = [(event, words_of(event)) for event in history]
    return [pair for pair in worded if pair[1].is_correction(pair[0])]


def is_own_step(event: events.Event) -> bool:
    """Return whether an event is no correction: a step of our own order, or a comparison."""
    return not words_of(event).is_correction(event)


def entry(event: events.Event) -> AuditEntry:
    """Return the guide's audit entry of an event.

    Raises:
        TypeError: the event is never a correction.
    """
    told = words_of(event).entry(event)
    # A mistake of the caller: `is_own_step` tells which events have no entry.
    if told is None:
        raise TypeError(f"{type(event).__name__} is not a correction")
    return {
        "timestamp": dt.datetime.fromtimestamp(event.at_ns / 1e9, dt.UTC),
        "action": told.action,
        "ticket": told.ticket,
        "details": told.details,
        "before": told.before,
        "after": told.after,
    }


def sentence(event: events.Event) -> str:
    """Return the difference that a correction would remove as a sentence, or ''."""
    words = words_of(event)
    return words.difference(event) if words.is_correction(event) else ""


def _log(said: Iterable[Line], order_ids: Sequence[str], lines: Lines) -> None:
    """Write the guide's log lines of a correction, with the orders of ours behind it."""
    for line in said:
        more: dict[str, object] = {"event": line.event, "ticket": line.ticket}
        if order_ids:
            more["order_id"] = order_ids[0]
        if len(order_ids) > 1:
            more["order_ids"] = list(order_ids)
        lines.write(line.level, line.text, more)


def _orders_behind(event: events.Event, words: Words[Any], book: Book) -> list[str]:
    """Return the ids of our orders that an event is about: first that of the position or order.

    The others are those of the counted deals, such as the order that closed the position.
    """
    order_id = getattr(event, "order_id", "")
    if order_id:
        return [order_id]
    known = book.orders_by_ticket
    found: dict[str, None] = {}
    for ticket in words.orders(event):
        order = known.get(ticket)
        if order is not None and not order.is_stand_in:
            found[order.order_id] = None
    return [*found]
