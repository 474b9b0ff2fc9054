"""Promise 3: a position that exists at the broker is never closed in the book."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.gateway.terminal import mt5_constants as mt5
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
"""Events for changes of the book that only a reading of the broker causes."""


SPLITS = frozenset({mt5.DEAL_REASON_SPLIT, mt5.DEAL_REASON_CORPORATE_ACTION})


class NoFalseGhost(Checker):
    """Compares with the broker's own books at every close, and after every untrusted reading."""

    number = 3
    promise = (
        "a position that exists at the broker is never closed locally on an untrusted or older "
        "reading"
    )

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge every close, and every position that leaves the book without a close."""
        self._held: dict[str, set[int]] = {}
        # When each bot asked for the last reading that the bot trusted.
        self._asked_ns: dict[str, int] = {}
        self._forced: set[tuple[str, int]] = set()
        self._corrected: dict[str, str] = {}
        # The symbols of fills since a bot's book was last seen.
        self._filled: dict[str, set[str]] = {}
        # When a bot's book was last seen.
        self._seen_ns: dict[str, int] = {}
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
            # A person forced this close; no reading caused the close.
            return
        # A sync that trusts no reading must not correct; `_synced` compares.
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
            # On a netting account a fill closes the volume that the book has, and the broker may
            # have more: another program added, or a pending order was filled in parts (on any
            # account). The next reading shows the rest.
            nets = self.scope.books_net or self._came_in_parts(identifier)
            # A split since the book was last seen has added lots that no reading has shown yet.
            nets = nets or self._was_split(identifier, self._seen_ns.get(fact.bot, 0))
            if nets and self.truth.symbol_of.get(identifier) in filled:
                continue
            if self._is_open(identifier, fact.bot):
                yield f"position {identifier} left {fact.bot}'s book, and it is open at the broker"
        self._held[fact.bot], self._seen_ns[fact.bot] = held, fact.at_ns

    def _was_split(self, identifier: int, seen_ns: int) -> bool:
        """Return whether a position was split too late for the book to have the new lots."""
        deals = self.truth.deals.get(identifier, {}).values()
        since_ns = seen_ns - self.scope.sees_late_ns
        return any(deal.reason in SPLITS and deal.at_ns >= since_ns for deal in deals)

    def _came_in_parts(self, identifier: int) -> bool:
        """Return whether a pending order was filled into its position in several parts."""
        deals = self.truth.deals.get(identifier, {}).values()
        return len([deal for deal in deals if deal.order == identifier and not deal.entry]) > 1

    def _is_open(self, identifier: int, bot: str) -> bool:
        """Return whether a position is open, as far as a bot could know.

        A broker that cancels a closing deal opens the closed volume again. Until a reading shows
        that, a book without the position is right.
        """
        given_back_ns = self.truth.given_back_ns.get(identifier)
        shown_ns = self._asked_ns.get(bot, 0) - self.scope.sees_late_ns
        is_known = given_back_ns is None or given_back_ns <= shown_ns
        return identifier in self.truth.positions and is_known

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        # Positions of lost rows are not in the next book, and no correction removed them.
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
        # A book can still change, by the rows of an earlier commit that gave no answer; promise 5
        # compares the book with the journal. A sync can also fail because of the journal.
        if corrected and fact.status == "DEGRADED":
            yield f"a reading that {fact.bot} did not believe led to {corrected}: {fact.said}"
