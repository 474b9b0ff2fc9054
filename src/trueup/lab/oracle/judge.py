"""The judge: gives each fact to the checkers, and collects the broken promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trueup.lab.facts.facts import Fact, Scope, Violation
from trueup.lab.oracle.base.checker import Checker, Fold
from trueup.lab.oracle.base.truth import Papers, Truth
from trueup.lab.oracle.checkers import CHECKERS

# A broken run can break a promise at every step; the first ones say all.
VIOLATIONS_KEPT = 100


class Judge:
    """Judges a single run of a single account.

    Args:
        scope: the account, and the positions and orders that its bot may act on.
        fold: makes an empty book that takes journal rows, so that a replay can be compared with the
            live book; without `fold`, promise 5 is not checked.
        checkers: the checkers to run; by default those of all ten promises.
    """

    def __init__(
        self,
        scope: Scope,
        fold: Callable[[], Fold] | None = None,
        checkers: Iterable[type[Checker]] = CHECKERS,
    ) -> None:
        self.scope = scope
        self._truth, self._papers = Truth(scope), Papers()
        self._violations: list[Violation] = []
        self._steps: dict[type[Fact], list[tuple[int, Callable[[Any], Iterable[str]]]]] = {}
        for kind in checkers:
            checker = kind(self._truth, self._papers, fold)
            for fact, step in checker.steps().items():
                self._steps.setdefault(fact, []).append((kind.number, step))

    def observe(self, fact: Fact) -> None:
        """Take in a fact; facts must come in the order in which they happened."""
        steps = self._steps.get(type(fact), ())
        # A correction is compared with the broker's present state, and the broker's facts and the
        # journal's rows are true by themselves, so both states change before the judging.
        self._truth.take(fact)
        self._papers.take(fact)
        for number, step in steps:
            for sentence in step(fact):
                if len(self._violations) < VIOLATIONS_KEPT:
                    self._violations.append(Violation(number, sentence, fact.at_ns))

    def verdicts(self) -> list[Violation]:
        """Return the promises broken so far, the earliest first."""
        return list(self._violations)
