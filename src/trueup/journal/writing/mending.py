"""Repair a stream when its next writer opens the journal.

A damaged last transaction is set aside, not deleted, and the journal continues after the last
complete transaction. Acknowledged events that are gone cannot be restored, only reported; the next
sync fills the book from the broker. A valid chain that differs from the acknowledged chain is not
an accident, and is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from trueup.errors import JournalCorrupt
from trueup.journal.journal import Tip
from trueup.journal.reading.table import EventTable, Writer


class Mended(NamedTuple):
    """The place where a stream continues, and the defects found, a sentence each.

    `lost` is a sentence if acknowledged events are gone, else empty.
    """

    tip: Tip
    findings: tuple[str, ...] = ()
    lost: str = ""


def mend(table: EventTable, writer: Writer | None, note: Tip | None, now_ns: int) -> Mended:
    """Repair the end of a stream; return the place where the stream continues, and the defects.

    Must run in a write transaction of the stream's only writer. `note` is a tip that was recorded
    outside the database.

    Raises:
        JournalCorrupt: the chain is damaged before its last transaction, or is a different chain.
    """
    tip, findings = _end(table, now_ns)
    # Two independent records of the acknowledged end: the database's row and the lock file's note.
    # A backup that was put back takes the row with it, but not the note.
    known = [tip for tip in (writer.tip if writer else None, note) if tip is not None]
    furthest = max((tip.position for tip in known), default=0)
    lost = ""
    if furthest > tip.position:
        findings.append(
            f"Stream {table.stream!r} of {table.place} ends at position {tip.position}, but "
            f"position {furthest} was acknowledged: the events in between are lost."
        )
        lost = (
            f"The journal ends at position {tip.position}, and position {furthest} was "
            "acknowledged: an older copy of it was put back, or its disk lost the end"
        )
    # An acknowledged tip with another hash: the history was rewritten, so refuse the journal.
    for acknowledged in known:
        position = acknowledged.position
        if position <= tip.position and not _is_of(table, acknowledged):
            raise _another(table, position)
    return Mended(tip, tuple(findings), lost)


def _is_of(table: EventTable, acknowledged: Tip) -> bool:
    """Return whether a stream has a tip; an old note may be of an event that was archived since."""
    found = table.tip_at(acknowledged.position)
    return found == acknowledged or (
        found is None and acknowledged.position < table.begin().position
    )


def _another(table: EventTable, position: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"Stream {table.stream!r} of {table.place} is not the one that was written here: the event "
        f"at position {position} is another. If you put it there, remove the *.lock files beside "
        "it."
    )


def _end(table: EventTable, now_ns: int) -> tuple[Tip, list[str]]:
    tip = table.tail()
    if tip is not None:
        return tip, []
    tip, damage = table.prove()
    if damage is None:
        return tip, []
    if not damage.torn:
        raise JournalCorrupt(f"Stream {table.stream!r} of {table.place}: {damage.because}.")
    table.set_aside(tip.position, now_ns)
    return tip, [
        f"Stream {table.stream!r} of {table.place}: {damage.because}. Its transaction was set "
        f"aside, and the journal goes on from position {tip.position}."
    ]
