"""The report of a simulated run."""

from __future__ import annotations

import msgspec

from trueup.lab.facts.facts import Violation
from trueup.lab.plan.plan import FaultPlan


class Report(msgspec.Struct, frozen=True):
    """The result of a run.

    `digest` is a function of every fact of the run: the same plan gives the same digest.
    `seconds` is the length of the run in its own time, `orders` the number of orders sent by
    bots, `struck` the number of faults that had an effect.
    """

    plan: FaultPlan
    violations: list[Violation]
    events: int
    seconds: float
    orders: int
    struck: int
    digest: str

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations
