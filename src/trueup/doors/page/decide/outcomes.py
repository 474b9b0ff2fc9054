"""Keep the outcomes of actions for the readers who load them again."""

from __future__ import annotations

import itertools

from trueup.doors.page.decide.question import Outcome

OUTCOMES_KEPT = 200


class Outcomes:
    """The newest outcomes, by their numbers in the page's addresses."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, Outcome]] = {}
        self._numbers = itertools.count(1)

    def keep(self, about: str, outcome: Outcome) -> str:
        """Keep an outcome, with the action and the person, and return its number."""
        number = str(next(self._numbers))
        self._kept[number] = (about, outcome)
        if len(self._kept) > OUTCOMES_KEPT:
            del self._kept[next(iter(self._kept))]
        return number

    def of(self, number: str) -> tuple[str, Outcome] | None:
        """Return what was kept under a number, None if that is not kept any more."""
        return self._kept.get(number)
