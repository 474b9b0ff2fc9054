"""The audit trail holds an event until somebody reads the trail, and its text from then on."""

from __future__ import annotations

import tracemalloc

from tests.support import make
from trueup.core.book import events
from trueup.runtime.story.audit import AUDIT_ENTRIES_KEPT, AuditTrail, entry

# A place for each event takes 8 bytes, and Python keeps some tuples for later; a text takes 500.
BYTES_EACH = 150
HISTORY = [
    events.PositionAdopted(at_ns=make.NOW_NS + ticket, position=make.position(ticket))
    for ticket in range(1, AUDIT_ENTRIES_KEPT + 11)
]


def test_a_trail_that_nobody_reads_holds_no_text() -> None:
    trail = AuditTrail()
    trail.keep(HISTORY[:1])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        trail.keep(HISTORY)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < BYTES_EACH * AUDIT_ENTRIES_KEPT


def test_a_trail_that_was_read_goes_on_with_the_newest_thousand() -> None:
    trail = AuditTrail()
    trail.keep(HISTORY[:20])
    assert trail.entries() == list(map(entry, HISTORY[:20]))
    trail.keep(HISTORY[20:])
    kept = list(map(entry, HISTORY[-AUDIT_ENTRIES_KEPT:]))
    assert (len(trail), trail.entries()) == (AUDIT_ENTRIES_KEPT, kept)
    trail.entries()[0]["details"] = "changed by the reader"
    assert trail.entries() == kept
