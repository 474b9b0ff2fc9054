"""Promise 1: when faults stop, book and broker agree within a bounded number of syncs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step


class Agreement(Checker):
    """Compares the whole book with the broker's books when agreement is due."""

    number = 1
    promise = "when faults stop, the book equals the broker within a bounded number of syncs"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember each living bot's book, and compare at the end."""
        self._faulted_by = "the faults have not ended"
        self._books: dict[str, facts.BookSeen] = {}
        self._fenced: set[str] = set()
        return {
            facts.Faulted: self._faulted,
            facts.Healed: self._healed,
            facts.BookSeen: self._seen,
            facts.Started: self._started,
            facts.Died: self._gone,
            facts.Fenced: self._gone,
            facts.Agreed: self._agreed,
            facts.Ended: self._ended,
        }

    def _faulted(self, fact: facts.Faulted) -> Iterator[str]:
        self._faulted_by = f"after the faults had ended, {fact.kind} struck"
        yield from ()

    def _healed(self, fact: facts.Healed) -> Iterator[str]:
        self._faulted_by = ""
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        self._fenced.discard(fact.bot)
        yield from ()

    def _gone(self, fact: facts.Died | facts.Fenced) -> Iterator[str]:
        self._books.pop(fact.bot, None)
        if isinstance(fact, facts.Fenced):
            # A fenced bot may not have noticed yet; its book no longer has to agree.
            self._fenced.add(fact.bot)
        yield from ()

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        if fact.bot not in self._fenced:
            self._books[fact.bot] = fact
        yield from ()

    def _ended(self, fact: facts.Ended) -> Iterator[str]:
        if fact.owed:
            yield from self._agreed(fact)

    def _agreed(self, fact: facts.Agreed | facts.Ended) -> Iterator[str]:
        if self._faulted_by:
            # No run may go unjudged for want of an end of its faults.
            yield f"agreement is owed, and {self._faulted_by}"
        if not self._books:
            yield "no bot lives at the end, so nobody agrees with the broker"
        for book in self._books.values():
            yield from self._differences(book)
        unended = self.papers.unended - {one for b in self._books.values() for one in b.in_doubt}
        if unended and self._books:
            said = ", ".join(sorted(unended))
            yield f"after all that was needed to agree, the journal has no end of {said}"

    def _differences(self, book: facts.BookSeen) -> Iterator[str]:
        after = f"after all that was needed to agree, {book.bot}"
        grain = self.scope.price_grain
        # Positions are compared by identifier: the ticket of a position may change.
        local = {held.identifier: held for held in book.positions}
        remote = {held.identifier: held for held in self.truth.in_scope()}
        for key in sorted(local.keys() | remote.keys()):
            mine, theirs = local.get(key), remote.get(key)
            if mine is None:
                yield f"{after} does not have position {key}, which is open at the broker"
            elif theirs is None:
                yield f"{after} still has position {key}, which is closed at the broker"
            elif not _same(mine, self._as_compared(mine, theirs), self._grain(key)):
                yield f"{after} has position {key} as {mine}, and the broker as {theirs}"
        # Pending orders outside the policy are not in the book, so they do not count.
        foreign = self.scope.is_foreign
        working = {
            ticket: order
            for ticket, order in self.truth.orders.items()
            if not foreign(order.symbol, order.magic)
        }
        known = {order.ticket: order for order in book.orders}
        if not self.scope.proves:
            # The guide's wire lists no pending orders, so a bot cannot know how they ended.
            known = working = {}
        for ticket in sorted(known.keys() | working.keys()):
            mine_, theirs_ = known.get(ticket), working.get(ticket)
            if mine_ is None or theirs_ is None or not _same(mine_, theirs_, grain):
                yield f"{after} has pending order {ticket} as {mine_}, and the broker as {theirs_}"
        if book.in_doubt:
            yield f"{after} still has orders in doubt: {', '.join(book.in_doubt)}"
        if book.missing:
            yield f"{after} still misses positions: {', '.join(map(str, book.missing))}"

    def _grain(self, identifier: int) -> float:
        """Return how far the open price of a position may be from the average of its fills.

        The broker rounds by up to half a unit at each fill that adds, and averages the rounded
        price at the next one.
        """
        fills = len(self.truth.deals.get(identifier, ()))
        return self.scope.price_grain * max(1.0, fills / 2)

    def _as_compared(self, mine: facts.Held, theirs: facts.Held) -> facts.Held:
        """Return a position of the broker, with the book's values where the wire has none.

        The guide's wire need not give stops and magic numbers; the book has those of its orders.
        """
        if self.scope.proves:
            return theirs
        return msgspec.structs.replace(theirs, sl=mine.sl, tp=mine.tp, magic=mine.magic)


def _same(mine: Any, theirs: Any, price_grain: float) -> bool:
    """Return whether two rows agree, prices to the unit that brokers round averages to."""
    for name in mine.__struct_fields__:
        first, second = getattr(mine, name), getattr(theirs, name)
        if isinstance(first, float):
            if abs(first - second) > price_grain:
                return False
        elif first != second:
            return False
    return True
