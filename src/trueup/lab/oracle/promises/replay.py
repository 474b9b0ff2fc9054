"""Promises 5 and 6: the journal gives the live book, and repeated reports change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step

# Of two plans, where they differ.
PLAN_CHARS = 60


class Replay(Checker):
    """Keeps a second book, made from the journal's rows alone, and compares whole states."""

    number = 5
    promise = "folding the journal gives the live book, byte for byte"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Fold every row; compare whenever a live book was seen."""
        if self.fold is None:
            return {}
        self._book = self.fold()
        self._fenced: set[str] = set()
        self._last: dict[str, facts.BookSeen] = {}
        return {
            facts.Journalled: self._journalled,
            facts.JournalLost: self._lost,
            facts.Synced: self._synced,
            facts.BookSeen: self._seen,
            facts.Fenced: self._fence,
            facts.Ended: self._ended,
        }

    def _fence(self, fact: facts.Fenced) -> Iterator[str]:
        # The book of a fenced bot ends at the row before its successor's first row.
        self._fenced.add(fact.bot)
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        self._book.take(fact.kind, fact.payload)
        yield from ()

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        assert self.fold is not None
        self._book = self.fold()
        for row in self.papers.rows:
            self._book.take(row.kind, row.payload)
        yield from ()

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        last = self._last.get(fact.bot)
        if last is not None and last.version == fact.version and last.state != fact.state:
            yield f"{fact.bot}'s live book changed between two syncs, and no event says so"

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        self._last[fact.bot] = fact
        if fact.bot in self._fenced:
            return
        if fact.version > self.papers.position:
            yield (
                f"{fact.bot}'s book is made of {fact.version} events, and the journal has "
                f"{self.papers.position}"
            )
        elif fact.state and fact.state != self._state_at(fact.version):
            yield f"folding {fact.version} events does not give {fact.bot}'s live book"

    def _state_at(self, version: int) -> bytes:
        """Return the fold of the first `version` rows.

        After a commit that gave no answer, the journal may be ahead of a book until the next
        commit notices.
        """
        if version == self.papers.position:
            return self._book.state()
        assert self.fold is not None
        book = self.fold()
        for row in self.papers.rows[:version]:
            book.take(row.kind, row.payload)
        return book.state()

    def _ended(self, fact: facts.Ended) -> Iterator[str]:
        for bot, last in self._last.items():
            # An intent whose commit gave no answer was not sent; the next commit tells the book.
            beyond = [row for row in self.papers.rows[last.version :] if row.kind != "OrderCreated"]
            if last.at_ns == fact.at_ns and beyond:
                yield f"{bot}'s book never took in what the journal has after {last.version}"


class Idempotence(Checker):
    """Judges the changes that the world measured after a repeated report or reading."""

    number = 6
    promise = (
        "planning again on the same snapshot gives an empty plan; shuffled or duplicated reports "
        "change nothing"
    )

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge second plans and repeated reports."""
        return {
            facts.Replanned: self._replanned,
            facts.Repeated: self._repeated,
            facts.Retold: self._retold,
        }

    def _replanned(self, fact: facts.Replanned) -> Iterator[str]:
        if fact.changes:
            yield f"{fact.bot} planned again on the snapshot just applied: {fact.changes} changes"

    def _repeated(self, fact: facts.Repeated) -> Iterator[str]:
        if fact.before != fact.after:
            yield f"{fact.bot}'s book changed when {fact.what} was told again"

    def _retold(self, fact: facts.Retold) -> Iterator[str]:
        told = f"{fact.bot}, told a reading in another way,"
        if fact.first != fact.second:
            yield f"{told} plans {_apart(fact.first, fact.second)}"
        if fact.changes:
            yield f"{told} has {fact.changes} changes to make after it was applied"


def _apart(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    """Return the parts of two plans around the first difference."""
    one, other = "; ".join(first), "; ".join(second)
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    begin = max(0, len(list(alike)) - PLAN_CHARS // 2)
    end = begin + PLAN_CHARS
    return f"{other[begin:end] or 'nothing'} and not {one[begin:end] or 'nothing'}"
