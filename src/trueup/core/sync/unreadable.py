"""Hold entries for unreadable rows that may be our positions.

An unreadable row in our symbols, or with an unreadable symbol, may be the very position that an
entry would double. So entries wait while the row is in the reading, until a person has checked the
row and approves it by its id. The approval applies to exactly this row, in this process.
"""

from __future__ import annotations

from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import RowFault

UNTIL_READABLE = "a reading in which every row can be read"


def for_unreadable_rows(inputs: SyncInputs, outcome: Outcome) -> None:
    """Hold entries for each unreadable row that may be ours."""
    for fault in inputs.snapshot.faults:
        if not fault.symbol or inputs.policy.covers(fault.symbol):
            outcome.holds.append(_hold(fault, inputs.approved.get(fault.id, "")))


def _hold(fault: RowFault, approved_by: str) -> Hold:
    if approved_by:
        what = f"{fault.what}; {approved_by} approved this row"
        kind, until = HoldKind.ALERT, UNTIL_READABLE
    else:
        what, kind = f"{fault.what}; it may be a position of ours", HoldKind.UNREADABLE
        approve = f", or a person who has looked at it: trueup approve {fault.id}"
        until = UNTIL_READABLE + (approve if fault.id else "")
    return Hold(fault.symbol, what, until, fault.ticket, kind, id=fault.id)
