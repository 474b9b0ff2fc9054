"""Promise 1, in money: the realised result in the book is the sum of the broker's own deals.

The due sum comes from the broker's ledger: every deal of every position that an order of ours
changed, that the book contained, or that continues such a position within the bots' scope (a
rollover or a split under another identifier, or the next contract if in scope). All other deals
belong to others, and the book must not count them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.agreement import Agreement
from trueup.lab.oracle.promises.orders import LIE

REOPENS = frozenset(
    {
        mt5.DEAL_REASON_ROLLOVER,
        mt5.DEAL_REASON_VMARGIN,
        mt5.DEAL_REASON_SPLIT,
        mt5.DEAL_REASON_CORPORATE_ACTION,
    }
)
"""Why a broker closes a position and opens it again."""


class Money(Checker):
    """Compares results to the cent when agreement is due: by position, by strategy, and in all.

    There are three exceptions. An order about which the server lied (refused and still executed):
    no journal can know of the order's position, unless the book had that. A deal that the server
    deleted from the history after the book had counted the deal: a history without that deal looks
    like an archived history, so that deal, and no other, may be counted or not, with any result
    that the deal ever had. And on a hedging
    account, a position that others opened, while there is no deal since its adoption: by the
    product's own rule (docs/concepts/reconciliation.md) such a position adds nothing before that
    deal, and everything afterwards.
    """

    number = 1
    promise: ClassVar[str] = Agreement.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember our orders and positions, and compare at the end."""
        # Our orders at the broker, by ticket, with the order id of the journal.
        self._own: dict[int, str] = {}
        self._lied_about: set[str] = set()
        # At which of the journal's rows, and when, a position was adopted first.
        self._had: dict[int, tuple[int, int]] = {}
        self._newest_ns: dict[int, int] = {}
        # The results that each deal ever had, and what deleted deals may have left in the book.
        self._results: dict[int, set[int]] = defaultdict(set)
        self._struck: dict[int, set[int]] = defaultdict(lambda: {0})
        self._went_on: dict[int, set[int]] = defaultdict(set)
        self._last: facts.DealBooked | None = None
        self._tickets: set[int] = set()
        self._books: dict[str, facts.BookSeen] = {}
        return {
            facts.Faulted: self._faulted,
            facts.Requested: self._requested,
            facts.Journalled: self._journalled,
            facts.JournalLost: self._lost,
            facts.DealBooked: self._deal,
            facts.DealStruck: self._strike,
            facts.BookSeen: self._seen,
            facts.Agreed: self._agreed,
            facts.Ended: self._ended,
        }

    def _faulted(self, fact: facts.Faulted) -> Iterator[str]:
        if fact.kind == LIE:
            self._lied_about.add(fact.order_id)
        yield from ()

    def _requested(self, fact: facts.Requested) -> Iterator[str]:
        intent = self.papers.meant(fact.comment)
        if fact.done and fact.login == self.scope.login and intent is not None:
            self._own[fact.order] = intent["order_id"]
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if fact.kind == "PositionAdopted":
            adopted = self.papers.row["position"]["identifier"]
            self._had.setdefault(adopted, (fact.position, fact.at_ns))
        yield from ()

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        self._had = {key: at for key, at in self._had.items() if at[0] <= fact.position}
        yield from ()

    def _deal(self, fact: facts.DealBooked) -> Iterator[str]:
        if fact.login == self.scope.login:
            self._results[fact.ticket].add(fact.result_units)
        if fact.login != self.scope.login or fact.ticket in self._tickets:
            # A deal that comes again was amended, and links no positions.
            return
        self._tickets.add(fact.ticket)
        self._newest_ns[fact.identifier] = fact.at_ns
        last, self._last = self._last, fact
        is_pair = last is not None and fact.reason in REOPENS and last.reason == fact.reason
        is_pair = is_pair and fact.symbol in self.scope.symbols
        if last is not None and is_pair and last.entry and not fact.entry:
            # The broker books the two deals of a re-opening in direct succession.
            self._went_on[last.identifier].add(fact.identifier)
        yield from ()

    def _strike(self, fact: facts.DealStruck) -> Iterator[str]:
        results = {0, fact.result_units} | self._results[fact.ticket]
        left = self._struck[fact.identifier]
        self._struck[fact.identifier] = {before + one for before in left for one in results}
        yield from ()

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        if fact.results is not None:
            self._books[fact.bot] = fact
        # Here and not at the end alone: the next comparison of the deals would hide the loss.
        for identifier, counted, booked in fact.booked:
            if counted != booked:
                yield (
                    f"{fact.bot} has realised {_money(counted)} in position {identifier}, and the "
                    f"deals that it keeps come to {_money(booked)}"
                )

    def _ended(self, fact: facts.Ended) -> Iterator[str]:
        if fact.owed:
            yield from self._agreed(fact)

    def _agreed(self, fact: facts.Agreed | facts.Ended) -> Iterator[str]:
        if not self.scope.proves:
            # Without deals, the result of a position is unknown.
            return
        due = self._due()
        books, self._books = self._books, {}
        for book in books.values():
            yield from self._differences(book, due)

    def _adds_nothing_yet(self, identifier: int) -> bool:
        """Return whether others opened a position, and no deal changed it since its adoption."""
        deals = self.truth.deals.get(identifier, {}).values()
        if self.scope.netting or any(deal.order in self._known for deal in deals):
            return False
        _, adopted_ns = self._had.get(identifier, (0, 0))
        return self._newest_ns.get(identifier, 0) <= adopted_ns

    @property
    def _known(self) -> set[int]:
        """Our orders, without those about which the server lied: the book cannot know these."""
        return {ticket for ticket, name in self._own.items() if name not in self._lied_about}

    def _due(self) -> set[int]:
        """Return the positions whose results the book must count."""
        own = self._known
        due = set(self._had)
        for identifier, deals in self.truth.deals.items():
            if identifier and any(deal.order in own for deal in deals.values()):
                due.add(identifier)
        waiting = list(due)
        while waiting:
            new = self._went_on.get(waiting.pop(), set()) - due
            due |= new
            waiting += new
        return due

    def _differences(self, book: facts.BookSeen, due: set[int]) -> Iterator[str]:
        results, after = dict(book.results or ()), f"after all that was needed to agree, {book.bot}"
        strategies: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        wrong: list[str] = []
        # First by position, for the details of the sentence below.
        for identifier in sorted(due | results.keys()):
            counted = results.get(identifier, 0)
            is_due = self.truth.realised_units(identifier) if identifier in due else 0
            # The exceptions of the class: a deleted deal, and a position that adds nothing yet.
            if counted - is_due in self._struck[identifier]:
                is_due = counted
            if not counted and self._adds_nothing_yet(identifier):
                is_due = 0
            sums = strategies[self.truth.magic_of.get(identifier, 0)]
            sums[0], sums[1] = sums[0] + counted, sums[1] + is_due
            if counted != is_due:
                wrong.append(f"position {identifier}: {_money(counted)}, {_money(is_due)} is due")
        # A wrong sum is reported by strategy, as the bot itself shows results.
        for magic, (counted, is_due) in sorted(strategies.items()):
            if counted != is_due:
                yield (
                    f"{after} has realised {_money(counted)} for magic {magic}, and the broker "
                    f"{_money(is_due)} ({'; '.join(wrong)})"
                )
        if not wrong and book.realised_units != sum(results.values()):
            yield (
                f"{after} has realised {_money(book.realised_units)} in all, and its positions "
                f"come to {_money(sum(results.values()))}"
            )


def _money(units: int) -> str:
    return f"{units / facts.UNITS:.2f}"
