"""Promise 8, if the policy asks first: a held correction is applied only after its approval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.ownership import ForeignUntouched

STOPS = ("sl", "tp")


class AskedFirst(Checker):
    """Compares each correction of the class that needs approval with the approvals given."""

    number = 8
    promise: ClassVar[str] = ForeignUntouched.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember approvals, and judge corrections."""
        self._approved: set[tuple[str, int]] = set()
        return {
            facts.Approved: self._approve,
            facts.Forced: self._approve,
            facts.Journalled: self._journalled,
        }

    def _approve(self, fact: facts.Approved | facts.Forced) -> Iterator[str]:
        self._approved.add((fact.bot, fact.identifier))
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if self.scope.asks != "protection" or fact.kind != "PositionCorrected":
            return
        row = self.papers.row
        identifier = row["remote"]["identifier"]
        if not _moves_stops(row):
            return
        if (fact.bot, identifier) not in self._approved:
            yield f"{fact.bot} took stops of position {identifier} into its book without a yes"
        # A yes is for one difference: the next one needs another.
        self._approved.discard((fact.bot, identifier))


def _moves_stops(row: Mapping[str, Any]) -> bool:
    """Return whether a correction changes a stop; a row does not have stops of 0.0."""
    local, remote = row["local"], row["remote"]
    return any(local.get(name, 0.0) != remote.get(name, 0.0) for name in STOPS)
