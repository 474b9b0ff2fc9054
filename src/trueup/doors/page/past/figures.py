"""The figures of the charts: from the journal, and from what the page has seen since its start.

The journal has every result, correction and doubt. It has no event for equity, for the age of a
reading, for the time of a sync or for "the bot answered", so those begin with the page.
"""

from __future__ import annotations

from typing import Any

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.doors.page.samples import Sample
from trueup.journal.journal import Checkpoint
from trueup.journal.reading.reader import JournalReader

# A longer journal is folded from its newest checkpoint, so its charts begin there.
FOLDED = 200_000
POINTS = 2_000
MISSING = (
    "Equity, the age of readings, the time of a sync and the share of answers are not in the "
    "journal: they begin when this page was started."
)
RESULTS = (events.DealsRecorded, events.PositionClosed)
ENDS = (events.OrderFilled, events.OrderSettled, events.OrderRejected, events.OrderCanceled)


def charts(reader: JournalReader | None, samples: list[Sample]) -> list[dict[str, Any]]:
    """Return the charts: a title, a unit, times (seconds of UTC) and values."""
    made = [
        _chart("Equity", "", [(s.at_sec, s.equity) for s in samples if s.equity is not None]),
        _chart("Age of the reading", "s", [(s.at_sec, s.age_sec) for s in samples if s.age_sec]),
        _chart("Time of a sync", "ms", [(s.at_sec, s.sync_ms) for s in samples if s.sync_ms]),
    ]
    return [*made, *_of_journal(reader)] if reader is not None else made


def missing(reader: JournalReader) -> list[str]:
    """Return what the charts do not have, in sentences."""
    saved = _begin(reader)
    if saved is None:
        return [MISSING]
    long = f"The journal has {reader.position:,} events: its charts begin after {saved.position:,}."
    return [MISSING, long]


def _begin(reader: JournalReader) -> Checkpoint | None:
    return reader.latest_checkpoint() if reader.position > FOLDED else reader.beginning()


def _of_journal(reader: JournalReader) -> list[dict[str, Any]]:
    book, after = Book(), 0
    saved = _begin(reader)
    if saved is not None:
        book, after = Book.restore(saved.state), saved.position
    realised, drifts, doubts = [], [], []
    began: dict[str, int] = {}
    count = 0
    for record in reader.records(after):
        event = record.event
        book.apply(event)
        at_sec = record.at_ns / 1e9
        if isinstance(event, RESULTS):
            realised.append((at_sec, book.realised))
        if isinstance(event, events.PositionCorrected):
            count += 1
            drifts.append((at_sec, float(count)))
        elif isinstance(event, events.OrderInDoubt):
            began.setdefault(event.order_id, record.at_ns)
        elif isinstance(event, ENDS) and event.order_id in began:
            doubts.append((at_sec, (record.at_ns - began.pop(event.order_id)) / 1e9))
    return [
        _chart("Realised", "", realised),
        _chart("Drifts corrected, in all", "", drifts),
        _chart("Time in doubt, of each order that ended", "s", doubts),
    ]


def _chart(title: str, unit: str, points: list[tuple[float, float]]) -> dict[str, Any]:
    # A screen has fewer columns than points; the last stays, since it is the present.
    step = max(1, -(-len(points) // POINTS))
    kept = points[::-1][::step][::-1]
    return {"title": title, "unit": unit, "at": [p[0] for p in kept], "of": [p[1] for p in kept]}
