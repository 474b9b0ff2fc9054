"""The report of one simulated run."""

from __future__ import annotations

import msgspec

from trueup.lab.facts.facts import Violation
from trueup.lab.plan.plan import FaultPlan


class Report(msgspec.Struct, frozen=True):
    """What came of a run.

    `digest` is a function of every fact of the run: the same plan gives the same digest.
    `seconds` is how long the run lasted in its own time, `orders` what the bots sent, `struck` how
    often a fault of the plan met something.
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
