"""Shorten a plan that breaks a promise to the fewest strikes that still break the promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trueup.lab.plan.plan import FaultPlan


class Numbered(Protocol):
    """A strike of any plan."""

    @property
    def number(self) -> int:
        """Its number in the seed's plan."""


def shrink(plan: FaultPlan, fails: Callable[[FaultPlan], bool]) -> FaultPlan:
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


def _without_a_piece(
    plan: FaultPlan, size: int, fails: Callable[[FaultPlan], bool]
) -> FaultPlan | None:
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
