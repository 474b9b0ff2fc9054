"""Promise 3, the other way round: no reading undoes the effect of a later order of ours.

A bot asks for a reading, its order is filled, and the reading arrives afterwards: that reading must
not change the position. And a late list must not bring back a position that our own order has
closed, because the deals of that order prove the close.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.closing import NoFalseGhost

# The longest delay of any broker's list: a position that is listed after that time is truly open.
LATE_NS = 10_000_000_000
MADE_BY_FILLS = frozenset({"volume", "side", "ticket", "price_open"})


class Fill(NamedTuple):
    """A recorded fill: the time, the symbol, and the positions that may have changed."""

    at_ns: int
    symbol: str
    identifiers: frozenset[int]


class Change(NamedTuple):
    """A correction of a position by a sync: the time of the record, and the change."""

    at_ns: int
    kind: str
    identifier: int
    symbol: str


class NotUndone(Checker):
    """Compares each correction with the fills recorded since its sync had asked for the reading."""

    number = 3
    promise: ClassVar[str] = NoFalseGhost.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember fills and corrections, and judge the corrections at the end of their sync."""
        self._fills: list[Fill] = []
        self._changes: dict[str, list[Change]] = {}
        # When our own orders closed positions, by identifier.
        self._closed_ns: dict[int, int] = {}
        return {
            facts.Journalled: self._journalled,
            facts.Synced: self._synced,
            facts.Started: self._gone,
            facts.Died: self._gone,
        }

    def _gone(self, fact: facts.Started | facts.Died) -> Iterator[str]:
        self._changes.pop(fact.bot, None)
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        row, waiting = self.papers.row, self._changes.setdefault(fact.bot, [])
        if fact.kind == "OrderFilled":
            # A fill changes the position that its order opened, or the position to close.
            closes = self.papers.intent_of.get(row["order_id"], {}).get("position", 0)
            self._fills.append(
                Fill(fact.at_ns, row["symbol"], frozenset({row["ticket"], closes} - {0}))
            )
            if closes and closes not in self.truth.positions:
                self._closed_ns[closes] = fact.at_ns
        elif fact.kind == "PositionAdopted":
            held = row["position"]
            waiting.append(
                Change(fact.at_ns, "took in", held["identifier"], held.get("symbol", ""))
            )
        elif fact.kind == "PositionCorrected" and MADE_BY_FILLS & set(row["fields"]):
            held = row["remote"]
            waiting.append(
                Change(fact.at_ns, "corrected", held["identifier"], held.get("symbol", ""))
            )
        elif fact.kind == "PositionClosed":
            # A position that opened and closed between two readings is adopted and closed at once.
            gone = row["position"]["identifier"]
            waiting[:] = [one for one in waiting if one.identifier != gone]
        yield from ()

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        for change in self._changes.pop(fact.bot, ()):
            if fact.believed:
                yield from self._undone(fact, change)

    def _undone(self, fact: facts.Synced, change: Change) -> Iterator[str]:
        told = f"{fact.bot} {change.kind} position {change.identifier}"
        for fill in self._fills:
            is_between = fact.asked_ns < fill.at_ns <= change.at_ns
            if is_between and self._meets(fill, change):
                yield f"{told} by a reading of before its own fill in it"
        closed_ns = self._closed_ns.get(change.identifier, 0)
        # Open again for a while, if the broker cancelled the deal of that order.
        given_back_ns = self.truth.given_back_ns.get(change.identifier, 0)
        is_open = change.identifier in self.truth.positions or given_back_ns > closed_ns
        if self.scope.proves and not is_open and 0 <= change.at_ns - closed_ns < LATE_NS:
            yield f"{told}, which its own order had closed"

    def _meets(self, fill: Fill, change: Change) -> bool:
        """Return whether a fill may have changed a position."""
        if self.scope.books_net:
            return fill.symbol == change.symbol
        return change.identifier in fill.identifiers
