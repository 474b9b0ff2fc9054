"""What the next writer of a stream finds, and what it does about it.

A last transaction that does not hold is set aside, not deleted, and the journal goes on from the
last whole one. Events that were acknowledged and are gone cannot be brought back, only reported:
the broker's truth fills the book again. A chain that holds, but is not the one that was
acknowledged, is no accident, and is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from trueup.errors import JournalCorrupt
from trueup.journal.journal import Tip
from trueup.journal.reading.table import EventTable, Writer


class Mended(NamedTuple):
    """Where a stream goes on from, and what was found wrong, each a sentence.

    `lost` says that acknowledged events are gone; empty where none are known to be.
    """

    tip: Tip
    findings: tuple[str, ...] = ()
    lost: str = ""


def mend(table: EventTable, writer: Writer | None, note: Tip | None, now_ns: int) -> Mended:
    """Return where a stream goes on from, and what was found wrong.

    Within a write transaction of the stream's only writer. `note` is a tip that is known from
    outside the database.

    Raises:
        JournalCorrupt: the chain does not hold before its last transaction, or is another one.
    """
    tip, findings = _end(table, now_ns)
    known = [one for one in (writer.tip if writer else None, note) if one is not None]
    furthest = max((one.position for one in known), default=0)
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
    for one in known:
        if one.position <= tip.position and table.tip_at(one.position) != one:
            raise _another(table, one.position)
    return Mended(tip, tuple(findings), lost)


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
