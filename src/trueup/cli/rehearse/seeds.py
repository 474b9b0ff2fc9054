"""What the commands that run seeds share: options, checks, and how a broken promise is said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Protocol, TypeVar

import typer

from trueup.cli.rehearse.numbers import jobs_of, numbers_of, seed_of
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError
from trueup.lab.facts.facts import Violation
from trueup.lab.plan.shrink import Numbered, Plan
from trueup.lab.system.schedule import BEGIN_NS

BROKEN = 1
# A shell's exit code for a process ended by Ctrl-C.
STOPPED = 130
# So many broken promises of a run are printed.
SHOWN = 5

SeedOption = Annotated[
    int | None, typer.Option(parser=seed_of, metavar="NUMBER", help="Run this seed.")
]
OnlyOption = Annotated[
    str, typer.Option(metavar="N,N", help="Only these faults of the seed happen.")
]
CoverageOption = Annotated[
    bool, typer.Option("--coverage", help="Print the situations that the runs met and missed.")
]
TraceOption = Annotated[
    bool, typer.Option("--trace", help="Print the facts of a seed's run, one by one.")
]


ShrinkOption = Annotated[
    bool,
    typer.Option(
        "--shrink",
        help="Find the fewest faults that still break the promise; --trace shows that run.",
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        parser=jobs_of, metavar="NUMBER", help="Processes for many seeds; 0: one per core."
    ),
]
_P = TypeVar("_P", bound=Plan)


class _Strike(Numbered, Protocol):
    @property
    def at_ms(self) -> int: ...

    @property
    def fault(self) -> Enum: ...


def check_seeds(seed: int | None, seeds: str, of_one: Mapping[str, object]) -> None:
    """Refuse options that contradict each other: a run may take minutes.

    Args:
        seed: the value of `--seed`.
        seeds: the value of `--seeds`.
        of_one: the values of the options that need a single seed, by name.

    Raises:
        SettingsError: both are given.
        WrongUsage: an option needs `--seed`.
    """
    if seed is not None and seeds:
        raise SettingsError("--seeds", seeds, "give one of --seed and --seeds")
    if seed is None and (given := [name for name, value in of_one.items() if value]):
        raise WrongUsage(f"Give one seed with {' and '.join(given)}, as --seed 7.")


def with_only(plan: _P, only: str) -> _P:
    """Return a plan with the faults of `--only`; with all if that is empty.

    Raises:
        SettingsError: the plan has no such fault.
    """
    if not only:
        return plan
    known = frozenset(strike.number for strike in plan.strikes)
    return plan.only(numbers_of("--only", only, known))


def first_broken(violations: Sequence[Violation]) -> list[str]:
    """Return a line for each of the first broken promises of a run."""
    return [
        f"  at {(found.at_ns - BEGIN_NS) / 1e9:.3f} s, promise {found.invariant}: {found.sentence}"
        for found in violations[:SHOWN]
    ]


def cores() -> int:
    """Return how many processes `--jobs 0` is."""
    return os.cpu_count() or 1


def fewest(strikes: Sequence[_Strike]) -> str:
    """Return a text about the faults of a shrunk run."""
    lines = [
        f"  {strike.at_ms / 1000:.3f} s  {strike.fault.value} (number {strike.number})"
        for strike in strikes
    ]
    return "\n".join(["The fewest faults that break it:", *lines])
