"""What the next writer of a stream finds, and what it does about it.

A last transaction that does not hold is set aside, not deleted, and the journal goes on from the
last whole one. Events that were acknowledged and are gone cannot be brought back, only reported:
the broker's truth fills the book again. A chain that holds, but is not the one that was
acknowledged, is no accident, and is refused.
"""

from __future__ import annotations

from trueup.errors import JournalCorrupt
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.table import EventTable, Writer


def mend(
    table: EventTable, writer: Writer | None, note: Tip | None, now_ns: int
) -> tuple[Tip, tuple[str, ...]]:
    """Return where a stream goes on from, and what was found wrong, each a sentence.

    Within a write transaction of the stream's only writer. `note` is a tip that is known from
    outside the database.

    Raises:
        JournalCorrupt: the chain does not hold before its last transaction, or is another one.
    """
    tip, findings = _end(table, now_ns)
    known = max(writer.tip if writer else GENESIS, note or GENESIS, key=lambda one: one.position)
    if known.position > tip.position:
        findings.append(
            f"Stream {table.stream!r} of {table.place} ends at position {tip.position}, but "
            f"position {known.position} was acknowledged: the events in between are lost."
        )
    elif table.tip_at(known.position) != known:
        raise JournalCorrupt(
            f"Stream {table.stream!r} of {table.place} is not the one that was written here: the "
            f"event at position {known.position} is another. If you put it there, remove the "
            "*.lock files beside it."
        )
    return tip, tuple(findings)


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
