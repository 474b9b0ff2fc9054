"""Promises 8 and 9: foreign positions stay untouched, and a single process acts for an account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.orders import order_in


class ForeignUntouched(Checker):
    """Looks for foreign positions in the book, in corrections, in closes and in orders."""

    number = 8
    promise = (
        "nothing outside policy is adopted, and nothing is changed or closed but by an order that "
        "names it with foreign=True"
    )

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge rows, orders and the book itself."""
        return {
            facts.Journalled: self._journalled,
            facts.Sent: self._sent,
            facts.BookSeen: self._seen,
        }

    def _is_foreign(self, ticket: int) -> bool:
        symbol = self.truth.symbol_of.get(ticket)
        magic = self.truth.magic_of.get(ticket, 0)
        return symbol is not None and self.scope.is_foreign(symbol, magic)

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        row = self.papers.row
        for name in ("position", "remote", "order"):
            held = row.get(name)
            if not isinstance(held, dict):
                continue
            key = held.get("identifier") or held["ticket"]
            if self._is_foreign(key):
                yield f"{fact.bot} recorded a {fact.kind} of {key}, which is foreign"

    def _sent(self, fact: facts.Sent) -> Iterator[str]:
        request = order_in(fact.message)
        for name in ("position", "order"):
            ticket = request.get(name) or 0
            if self._is_foreign(ticket):
                yield f"{fact.bot} asked for a change of {name} {ticket}, which is foreign"
        symbol = request.get("symbol")
        if symbol and symbol not in self.scope.symbols:
            yield f"{fact.bot} asked for {symbol}, which is outside its policy"

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        for held in fact.positions:
            if self._is_foreign(held.identifier):
                yield f"{fact.bot}'s book has position {held.identifier}, which is foreign"


class OneWriter(Checker):
    """Follows which bot writes the journal and which bots send orders."""

    number = 9
    promise = "two processes never both act for one account"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge every row and every order by the right to act."""
        self._writer = ""
        self._fenced: dict[str, frozenset[str]] = {}
        return {
            facts.Journalled: self._journalled,
            facts.Sent: self._sent,
            facts.Started: self._started,
            facts.Died: self._gone,
            facts.Fenced: self._fence,
        }

    def _fence(self, fact: facts.Fenced) -> Iterator[str]:
        self._fenced[fact.bot] = frozenset(self.papers.started)
        return self._gone(fact)

    def _gone(self, fact: facts.Died | facts.Fenced) -> Iterator[str]:
        if self._writer == fact.bot:
            self._writer = ""
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        if self._writer not in ("", fact.bot):
            yield f"{fact.bot} was let in while {self._writer} writes the journal"
        self._writer = fact.bot
        self._fenced.pop(fact.bot, None)

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if fact.bot in self._fenced:
            yield f"{fact.bot} wrote a {fact.kind} after it was fenced out"
        elif self._writer not in ("", fact.bot):
            yield f"{fact.bot} wrote a {fact.kind} while {self._writer} writes the journal"
        else:
            self._writer = fact.bot

    def _sent(self, fact: facts.Sent) -> Iterator[str]:
        order_id = order_in(fact.message).get("order_id")
        # A send that the journal recorded before the fence may still leave afterwards.
        if order_id and order_id not in self._fenced.get(fact.bot, frozenset({order_id})):
            yield f"{fact.bot} sent {order_id} after it was fenced out"
