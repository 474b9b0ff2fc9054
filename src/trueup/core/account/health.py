"""Describe the state of reconciliation in a sentence, and list where new orders are refused."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.holds import BLOCKS_ENTRIES, Hold, HoldKind, age_of
from trueup.core.model import RowFault


class Restriction(msgspec.Struct, frozen=True):
    """A scope in which new orders are refused: a symbol, or the whole account if `symbol` is empty.

    Closing known positions stays allowed. The restriction ends by itself when the condition `until`
    is met. `gateway_refuses` says that the gateway itself refuses orders in this scope for the same
    reason. The order desk then leaves the refusal to the gateway, because the gateway has the
    current state.
    """

    symbol: str
    reason: str
    since_ns: int
    until: str
    gateway_refuses: bool = False


def restrictions(
    unknown: Unknown | None, holds: Sequence[Hold], before: Sequence[Restriction], now_ns: int
) -> tuple[Restriction, ...]:
    """Return the current restrictions on new orders; a lasting restriction keeps its start time."""
    # The text of the reason may change from sync to sync, so `until` identifies a restriction.
    since = {(r.symbol, r.until): r.since_ns for r in before}
    wanted = [("", unknown.sentence, unknown.until, False)] if unknown is not None else []
    wanted += [
        (hold.symbol, hold.reason, hold.until, hold.kind is HoldKind.NO_SYMBOL)
        for hold in holds
        if hold.kind in BLOCKS_ENTRIES
    ]
    return tuple(
        Restriction(symbol, reason, since.get((symbol, until), now_ns), until, gateway_refuses)
        for symbol, reason, until, gateway_refuses in wanted
    )


def health(
    unknown: Unknown | None,
    holds: Sequence[Hold],
    checked_ns: int | None,
    now_ns: int,
    faults: Sequence[RowFault] = (),
    doubts: Sequence[str] = (),
) -> str:
    """Say in a sentence whether book and broker agree, why not, and when this was checked.

    `faults` are the rows that the last trusted reading left out: then not everything agrees.
    `doubts` are sentences about orders in doubt that no reading has judged yet.
    """
    age = f"checked {age_of(checked_ns, now_ns)}" if checked_ns is not None else "never checked"
    # The worst state comes first: a person must see that no other statement is current.
    if unknown is not None:
        return f"Degraded: {unknown.sentence}; the book is unchanged (last {age})."
    if checked_ns is None:
        return "Not checked yet: no sync has been made."
    if not holds and not faults and not doubts:
        return f"Everything agrees ({age})."
    rest = "everything else agrees"
    if faults:
        rest = f"{_counted(len(faults))} could not be read, and the rest agrees"
    if not holds and doubts:
        return f"{doubts[0]}; {rest} ({age})."
    if not holds:
        return f"Partial reading: {faults[0]}; {rest} ({age})."
    # One sentence has room for a single hold; `trueup status` lists all of them.
    first = holds[0]
    more = f"; {len(holds) - 1} more held" if len(holds) > 1 else ""
    return f"{first.scope} held: {first.reason_at(now_ns)}{more}; {rest} ({age})."


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"
