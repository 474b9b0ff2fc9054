"""Promise 3: a position that exists at the broker is never closed in the book."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step

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
        # When each bot asked for the reading that it believed last.
        self._asked_ns: dict[str, int] = {}
        self._forced: set[tuple[str, int]] = set()
        self._corrected: dict[str, str] = {}
        # The symbols of fills since a bot's book was last seen.
        self._filled: dict[str, set[str]] = {}
        return {
            facts.Journalled: self._journalled,
            facts.BookSeen: self._seen,
            facts.Synced: self._synced,
            facts.Forced: self._force,
            facts.Died: self._died,
            facts.JournalLost: self._lost,
        }

    def _force(self, fact: facts.Forced) -> Iterator[str]:
        self._forced.add((fact.bot, fact.identifier))
        self._held.get(fact.bot, set()).discard(fact.identifier)
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if fact.kind == "OrderFilled":
            for bot in {*self._held, fact.bot}:
                self._filled.setdefault(bot, set()).add(self.papers.row["symbol"])
        if fact.kind not in CORRECTIONS:
            return
        row = self.papers.row
        identifier = row["position"]["identifier"] if fact.kind == "PositionClosed" else 0
        if (fact.bot, identifier) in self._forced:
            # A person's word, and not a reading's.
            return
        self._corrected[fact.bot] = fact.kind
        if not identifier:
            return
        if self._is_open(identifier, fact.bot):
            yield (
                f"{fact.bot} closed position {identifier} in its book, and it is open at the "
                f"broker: {row['because']}"
            )
        elif row.get("unproven") and self.scope.proves:
            yield f"{fact.bot} closed position {identifier} without a proof: {row['because']}"

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        held = {position.identifier for position in fact.positions}
        filled = self._filled.pop(fact.bot, set())
        for identifier in sorted(self._held.get(fact.bot, set()) - held):
            # On a netting account a fill closes what the book has, and somebody may have added to
            # that since, as a pending order that is filled in parts may on any account; the next
            # reading shows what is left.
            nets = self.scope.books_net or self._came_in_parts(identifier)
            if nets and self.truth.symbol_of.get(identifier) in filled:
                continue
            if self._is_open(identifier, fact.bot):
                yield f"position {identifier} left {fact.bot}'s book, and it is open at the broker"
        self._held[fact.bot] = held

    def _came_in_parts(self, identifier: int) -> bool:
        """Whether a pending order filled more into a position than it began with."""
        deals = self.truth.deals.get(identifier, {}).values()
        return len([deal for deal in deals if deal.order == identifier and not deal.entry]) > 1

    def _is_open(self, identifier: int, bot: str) -> bool:
        """Return whether a position is open, as far as a bot could know.

        A broker that cancels the deal that closed a position, or a part of it, gives that back.
        Until a reading shows it, a book that followed the closing is right.
        """
        given_back_ns = self.truth.given_back_ns.get(identifier)
        shown_ns = self._asked_ns.get(bot, 0) - self.scope.sees_late_ns
        is_known = given_back_ns is None or given_back_ns <= shown_ns
        return identifier in self.truth.positions and is_known

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        # What a lost row had brought into a book did not leave that by a correction.
        self._held.clear()
        yield from ()

    def _died(self, fact: facts.Died) -> Iterator[str]:
        self._corrected.pop(fact.bot, None)
        yield from ()

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        corrected = self._corrected.pop(fact.bot, "")
        if fact.believed:
            self._asked_ns[fact.bot] = fact.asked_ns
        self._forced = {one for one in self._forced if one[0] != fact.bot}
        # A book can change all the same, by what an earlier commit without an answer had written;
        # that it is the fold of the journal is promise 5. A sync can also fail for the journal.
        if corrected and fact.status == "DEGRADED":
            yield f"a reading that {fact.bot} did not believe led to {corrected}: {fact.said}"
