"""The findings of differences that are left alone, and of orders in doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from trueup.core.book.book import Book
from trueup.core.holds import Hold, HoldKind
from trueup.observe.status.facts import Began
from trueup.observe.status.findings import (
    DOUBT_PATIENCE_SEC,
    Finding,
    at_start,
    by_person,
    counted,
    lasting,
    oldest,
)
from trueup.observe.status.status import State

# Differences that end by themselves within a reading or two; nothing is wrong meanwhile.
PASSING = frozenset({HoldKind.SETTLING, HoldKind.NEWER})
# No reading ends these by itself, so a person has to act at once.
AT_ONCE = frozenset(
    {
        *(HoldKind.ASK, HoldKind.ALERT, HoldKind.UNPROTECTED, HoldKind.UNREADABLE),
        *(HoldKind.BROKEN, HoldKind.LOSS, HoldKind.NO_SYMBOL, HoldKind.HALT),
    }
)


NAME_SYMBOL = (
    "End this bot, and start it with the symbol as the broker spells it (`--symbol`, "
    "TRUEUP_SYMBOLS)."
)


class HoldFindings:
    """Make findings of holds.

    Args:
        book: the book.
        orders: the tickets of pending orders, in the book or at the broker.
        now_ns: the date by which ages are counted (ns).
        began: when each part of a finding began, by its key.
    """

    def __init__(
        self, book: Book, orders: Collection[int], now_ns: int, began: Mapping[str, Began]
    ) -> None:
        self._book, self._orders = book, orders
        self._now_ns, self._began = now_ns, began

    def of(self, holds: Sequence[Hold]) -> Iterator[Finding]:
        """Yield a finding for each kind of hold, and for the orders in doubt."""
        by_kind: dict[HoldKind, list[Hold]] = {}
        for hold in holds:
            if hold.kind is not HoldKind.DOUBT and is_wrong(hold):
                by_kind.setdefault(hold.kind, []).append(hold)
        for kind, alike in by_kind.items():
            yield self._of_kind(kind, alike)
        yield from self._of_doubts({h.order_id: h for h in holds if h.kind is HoldKind.DOUBT})

    def _of_kind(self, kind: HoldKind, alike: list[Hold]) -> Finding:
        since = [hold.since_ns for hold in alike if hold.since_ns]
        finding = Finding(
            kind=f"hold {kind.name.lower()}",
            keys=tuple(map(hold_key, alike)),
            state=State.DEGRADED,
            fact=self._fact(kind, alike),
            detail=f"{alike[0].reason_at(self._now_ns)}. This ends with {alike[0].until}",
            since_ns=min(since) if since else None,
        )
        need = _need(kind, alike)
        finding = lasting(self._began, finding, need)
        if kind in AT_ONCE:
            state = State.HALTED if kind is HoldKind.HALT else State.NEEDS_PERSON
            finding = msgspec.structs.replace(finding, state=state, need=need)
        if not finding.need:
            return finding
        decisions = len([hold for hold in alike if hold.id])
        return msgspec.structs.replace(finding, decisions=decisions)

    def _fact(self, kind: HoldKind, alike: list[Hold]) -> str:
        rows = counted(len(alike), self._noun(alike))
        has = "has" if len(alike) == 1 else "have"
        return _FACTS[kind](rows, has, ", ".join(sorted({hold.scope for hold in alike})))

    def _noun(self, alike: list[Hold]) -> str:
        are_orders = {hold.identifier in self._orders for hold in alike}
        if are_orders == {True}:
            return "pending order"
        return "position" if are_orders == {False} else "ticket"

    def _of_doubts(self, judged: Mapping[str, Hold]) -> Iterator[Finding]:
        asking = [hold for hold in judged.values() if hold.needs_person]
        if asking:
            commands = ", ".join(f"`trueup settle {hold.order_id}`" for hold in asking)
            finding = self._in_doubt([hold.order_id for hold in asking], asking[0].reason)
            fact = f"{finding.fact}, and no evidence decides"
            finding = msgspec.structs.replace(finding, fact=fact, decisions=len(asking))
            yield by_person(finding, f"Say what became of the order: {commands}")
        ids = {hold.order_id for hold in asking}
        waiting = [order for key, order in self._book.in_doubt.items() if key not in ids]
        if waiting:
            first = waiting[0]
            hold = judged.get(first.order_id)
            reason = (first.error or "") if hold is None else hold.reason
            finding = self._in_doubt([order.order_id for order in waiting], reason)
            told = f"See why the order is still in doubt: `trueup settle {first.order_id}`"
            yield lasting(self._began, finding, told, DOUBT_PATIENCE_SEC)

    def _in_doubt(self, order_ids: list[str], detail: str) -> Finding:
        keys = tuple(f"doubt {order_id}" for order_id in order_ids)
        known = [
            self._book.in_doubt[key].doubt_ns for key in order_ids if key in self._book.in_doubt
        ]
        first = oldest(self._began, keys)
        return Finding(
            kind="doubt",
            keys=keys,
            state=State.DEGRADED,
            fact=f"{at_start(counted(len(order_ids), 'order'))} {_is(len(order_ids))} in doubt",
            detail=detail,
            since_ns=min(known) if known else None if first is None else first.at_ns,
        )


def is_wrong(hold: Hold) -> bool:
    """Return whether a difference is more than a passing one."""
    # An unreadable row that a person has approved needs nobody any more.
    is_approved = hold.kind is HoldKind.ALERT and bool(hold.id)
    return hold.kind not in PASSING and not is_approved


def hold_key(hold: Hold) -> str:
    """Return the key of a hold in a finding."""
    return f"{hold.kind.name.lower()} {hold.id or f'{hold.symbol}/{hold.identifier}'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


# By the number of rows in words, has or have, and the symbols.
_FACTS: dict[HoldKind, Callable[[str, str, str], str]] = {
    HoldKind.ASK: lambda rows, _, __: f"The books differ by {rows}",
    HoldKind.ALERT: lambda rows, _, __: f"The books differ by {rows}, shown and not corrected",
    HoldKind.MISSING: lambda rows, _, __: f"{at_start(rows)} left the broker's list without proof",
    HoldKind.UNPROTECTED: lambda rows, has, _: f"{at_start(rows)} {has} no stop loss",
    HoldKind.HALT: lambda rows, _, scope: (
        f"Entries in {scope} are halted: journal and broker contradict each other about {rows}"
    ),
    HoldKind.UNREADABLE: lambda rows, _, __: f"The broker's rows of {rows} cannot be read",
    HoldKind.PARTIAL: lambda rows, _, __: f"The broker's list is unreadable where {rows} may be",
    HoldKind.BROKEN: lambda rows, _, __: f"An error of trueup left {rows} unjudged",
    HoldKind.LOSS: lambda *_: "The journal lacks events that were in it before",
    HoldKind.NO_SYMBOL: lambda _, __, scope: f"The broker does not have the symbol {scope}",
}


def _need(kind: HoldKind, alike: list[Hold]) -> str:
    ids = ", ".join(hold.id for hold in alike if hold.id)
    if kind is HoldKind.ASK:
        return f"Waiting for approval (`trueup plan`, then `trueup approve ID`): {ids}"
    if kind is HoldKind.NO_SYMBOL:
        return NAME_SYMBOL
    return f"{alike[0].reason} (until {alike[0].until})"
