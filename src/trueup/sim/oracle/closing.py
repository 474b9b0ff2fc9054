"""Promise 3: a position that exists at the broker is never closed in the book."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.sim.oracle import facts
from trueup.sim.oracle.checker import Checker, Step

CORRECTIONS = frozenset(
    {
        "PositionAdopted",
        "PositionClosed",
        "PositionCorrected",
        "PositionMissing",
        "PositionFound",
        "DealsRecorded",
        "PendingAdopted",
        "PendingClosed",
        "PendingCorrected",
        "HaltRaised",
    }
)
"""Events by which only a reading of the broker changes the book."""


class NoFalseGhost(Checker):
    """Asks the broker's own books at every close, and after every reading not believed."""

    number = 3
    promise = (
        "a position that exists at the broker is never closed locally on an untrusted or older "
        "reading"
    )

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge every close, and what leaves the book without one."""
        self._held: dict[str, set[int]] = {}
        self._forced: set[str] = set()
        self._corrected: dict[str, str] = {}
        self._filled: set[str] = set()
        return {
            facts.Journalled: self._journalled,
            facts.BookSeen: self._seen,
            facts.Synced: self._synced,
            facts.Forced: self._force,
            facts.Died: self._died,
        }

    def _force(self, fact: facts.Forced) -> Iterator[str]:
        self._forced.add(fact.bot)
        self._held.pop(fact.bot, None)
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if fact.kind == "OrderFilled":
            self._filled.add(self.papers.row["symbol"])
        if fact.kind not in CORRECTIONS or fact.bot in self._forced:
            return
        self._corrected[fact.bot] = fact.kind
        if fact.kind != "PositionClosed":
            return
        row = self.papers.row
        identifier = row["position"]["identifier"]
        if identifier in self.truth.positions:
            yield (
                f"{fact.bot} closed position {identifier} in its book, and it is open at the "
                f"broker: {row['because']}"
            )
        elif row.get("unproven"):
            yield f"{fact.bot} closed position {identifier} without a proof: {row['because']}"

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        held = {position.identifier for position in fact.positions}
        filled, self._filled = self._filled, set()
        for identifier in sorted(self._held.get(fact.bot, set()) - held):
            # On a netting account a fill closes what the book has, and somebody may have added to
            # that since; the next reading shows what is left.
            if self.truth.symbol_of.get(identifier) in filled:
                continue
            if identifier in self.truth.positions:
                yield f"position {identifier} left {fact.bot}'s book, and it is open at the broker"
        self._held[fact.bot] = held

    def _died(self, fact: facts.Died) -> Iterator[str]:
        self._corrected.pop(fact.bot, None)
        yield from ()

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        corrected = self._corrected.pop(fact.bot, "")
        self._forced.discard(fact.bot)
        # A book can change all the same, by what an earlier commit without an answer had written;
        # that it is the fold of the journal is promise 5. A sync can also fail for the journal.
        if corrected and fact.status == "DEGRADED":
            yield f"a reading that {fact.bot} did not believe led to {corrected}: {fact.said}"
