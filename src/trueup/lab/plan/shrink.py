"""Shorten a plan that breaks a promise to the fewest strikes that still break the promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

from trueup.lab.facts.facts import Violation
from trueup.lab.plan.plan import FaultPlan


class Numbered(Protocol):
    """A strike of any plan."""

    @property
    def number(self) -> int:
        """Its number in the seed's plan."""


class Plan(Protocol):
    """A plan of any simulation."""

    @property
    def strikes(self) -> Sequence[Numbered]:
        """Its strikes, in the order of their times."""

    def only(self, numbers: frozenset[int]) -> Self:
        """Return the plan with these strikes alone."""


class Reported(Protocol):
    """A report of any simulation."""

    @property
    def plan(self) -> Any:
        """What the run was made from, a `Plan`."""

    @property
    def violations(self) -> Sequence[Violation]:
        """The broken promises."""


P = TypeVar("P", bound=Plan)
R = TypeVar("R", bound=Reported)


def shortest(report: R, run: Callable[[Any], R]) -> R:
    """Return the run of the shortest plan that still breaks a promise that the report broke.

    Args:
        report: a report with broken promises.
        run: runs a plan, and returns its report.
    """
    broken = {violation.invariant for violation in report.violations}
    last = report

    def fails(plan: Plan) -> bool:
        nonlocal last
        found = run(plan)
        same = bool(broken & {violation.invariant for violation in found.violations})
        if same:
            last = found
        return same

    shrink(report.plan, fails)
    return last


def shrink(plan: P, fails: Callable[[P], bool]) -> P:
    """Return a failing plan that no longer fails without any of its strikes.

    Strikes are removed in halves, quarters and so on, each piece for as long as that helps (delta
    debugging). `fails` says whether a plan still fails like the first plan.
    """
    # Large pieces first: most strikes do not matter, and each try is a whole run.
    size = max(1, len(plan.strikes) // 2)
    while plan.strikes:
        shorter = _without_a_piece(plan, size, fails)
        if shorter is not None:
            plan = shorter
        elif size == 1:
            break
        else:
            size = max(1, size // 2)
        size = min(size, max(1, len(plan.strikes)))
    return plan


def _without_a_piece(plan: P, size: int, fails: Callable[[P], bool]) -> P | None:
    numbers = [strike.number for strike in plan.strikes]
    for start in range(0, len(numbers), size):
        shorter = plan.only(frozenset(numbers[:start] + numbers[start + size :]))
        if fails(shorter):
            return shorter
    return None


def command(plan: FaultPlan, whole: FaultPlan, strategy: str = "") -> str:
    """Return the command that runs a plan again; `whole` is the seed's plan with all strikes."""
    said = f"trueup sim --strategy {strategy}" if strategy else "trueup sim"
    return f"{said} --seed {plan.seed}{only_option(plan.strikes, len(whole.strikes))}"


def only_option(strikes: Sequence[Numbered], of: int) -> str:
    """Return the option that leaves these strikes of so many; empty if they are all."""
    if len(strikes) == of:
        return ""
    return f" --only {','.join(str(strike.number) for strike in strikes) or 'none'}"
