"""Promise 1, by strategy: on a netting account, each strategy has the lots of its own deals.

The due lots come from the broker's deals of the netting position: deals of our orders count for the
strategy that placed the order, all other deals for the magic number that the broker shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import ClassVar

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.agreement import Agreement
from trueup.lab.oracle.promises.money import REOPENS
from trueup.lab.oracle.promises.orders import LIE


class Shares(Checker):
    """Compares lots by strategy when agreement is due.

    Not compared are positions that the broker opened again or whose deals the broker changed: the
    deals alone do not tell the strategies apart then. Runs in which the server lied about an order,
    and runs in which the book waits for approval, are not compared either.
    """

    number = 1
    promise: ClassVar[str] = Agreement.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember the strategy of each order, and compare at the end."""
        self._strategy: dict[int, int] = {}
        self._books: dict[str, facts.BookSeen] = {}
        self._is_unclear = False
        return {
            facts.Faulted: self._faulted,
            facts.Requested: self._requested,
            facts.JournalLost: self._lost,
            facts.DealStruck: self._lost,
            facts.BookSeen: self._seen,
            facts.Agreed: self._agreed,
            facts.Ended: self._agreed,
        }

    def _faulted(self, fact: facts.Faulted) -> Iterator[str]:
        self._is_unclear = self._is_unclear or fact.kind == LIE
        yield from ()

    def _lost(self, fact: facts.JournalLost | facts.DealStruck) -> Iterator[str]:
        # Rows that a journal lost, and deals that the server deleted, cannot be counted.
        self._is_unclear = True
        yield from ()

    def _requested(self, fact: facts.Requested) -> Iterator[str]:
        intent = self.papers.meant(fact.comment)
        if fact.done and intent is not None and fact.login == self.scope.login:
            self._strategy[fact.order] = intent.get("magic", 0)
        yield from ()

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        if fact.results is not None:
            self._books[fact.bot] = fact
        yield from ()

    def _agreed(self, fact: facts.Agreed | facts.Ended) -> Iterator[str]:
        books, self._books = self._books, {}
        scope = self.scope
        if self._is_unclear or not scope.netting or not scope.proves or scope.asks:
            return
        for held in self.truth.in_scope():
            deals = self.truth.deals.get(held.identifier, {}).values()
            if any(deal.reason in REOPENS or not deal.units for deal in deals):
                continue
            due: Counter[int] = Counter()
            for deal in deals:
                # An order that no journal has may carry a token in the low half of its number.
                magic = self._strategy.get(deal.order, deal.magic >> 32 or deal.magic)
                due[magic] += deal.units if deal.buys else -deal.units
            for book in books.values():
                yield from self._differences(book, held, due)

    def _differences(
        self, book: facts.BookSeen, held: facts.Held, due: Counter[int]
    ) -> Iterator[str]:
        rows = [row for row in book.strategies if row[0] == held.symbol]
        told = {magic or 0: units for _, magic, units in rows}
        for magic in sorted(magic for magic in due if magic):
            if told.get(magic, 0) != due[magic]:
                lots, is_due = told.get(magic, 0) / facts.UNITS, due[magic] / facts.UNITS
                yield (
                    f"after all that was needed to agree, {book.bot} has {lots} lots of "
                    f"{held.symbol} for magic {magic}, and {is_due} were brought by it"
                )
