"""`trueup sim fleet`: run seeded simulations of several nodes, and report the promises kept."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.rehearse.numbers import numbers_of, range_of, seed_of
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError
from trueup.lab.fleet.coverage import FleetCoverage, table
from trueup.lab.fleet.plan import FleetPlan, draw
from trueup.lab.fleet.run import FleetReport, run, run_many
from trueup.lab.fleet.telling import Telling, command
from trueup.lab.system.schedule import BEGIN_NS

BROKEN = 1
# A shell's exit code for a process ended by Ctrl-C.
STOPPED = 130
SHOWN = 5
SEEDS, SEEDS_TO_MEET_ALL = "0..50", "0..300"


def fleet(
    seed: Annotated[
        int | None, typer.Option(parser=seed_of, metavar="NUMBER", help="Run this seed.")
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="A..B",
            help="Run the seeds A up to B-1; by default 0..50, with --coverage 0..300.",
        ),
    ] = "",
    only: Annotated[
        str, typer.Option(metavar="N,N", help="Only these faults of the seed happen.")
    ] = "",
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Print the situations that the runs met and missed.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Print the facts of a seed's run, one by one.")
    ] = False,
) -> None:
    """Run seeded simulations of a fleet with faults and judge them.

    Several nodes share accounts in a simulated database; they stand still, are killed and cut off,
    while accounts move and the database fails over. Exit code 0: every promise was kept
    (docs/concepts/guarantees.md). 1: a promise was broken, or with --coverage a situation was never
    met.
    """
    if seed is not None and seeds:
        raise SettingsError("--seeds", seeds, "give one of --seed and --seeds")
    given = [name for name, value in {"--trace": trace, "--only": only}.items() if value]
    if seed is None and given:
        raise WrongUsage(f"Give one seed with {' and '.join(given)}, as --seed 7.")
    counted = FleetCoverage()
    if seed is None:
        chosen = range_of("--seeds", seeds or (SEEDS_TO_MEET_ALL if coverage else SEEDS))
        is_broken = _many(chosen, counted)
    else:
        is_broken = _one(_plan(seed, only), counted, trace=trace)
    if coverage:
        say(table(counted))
    if is_broken or (coverage and counted.missing()):
        raise typer.Exit(BROKEN)


def _plan(seed: int, only: str) -> FleetPlan:
    plan = draw(seed)
    if not only:
        return plan
    known = frozenset(strike.number for strike in plan.strikes)
    return plan.only(numbers_of("--only", only, known))


def _many(seeds: range, counted: FleetCoverage) -> bool:
    count = broken = 0
    stopped = ""
    # Ctrl-C ends the runs, not the report of the runs until then.
    try:
        with progress("Running seeds", len(seeds)) as shown:
            for report in run_many(seeds, counted):
                count += 1
                shown.advance()
                if not report.is_good:
                    broken += 1
                    with shown.aside():
                        say(_said(report))
    except KeyboardInterrupt:
        stopped = "Stopped: "
    say(f"{stopped}{count} runs, {broken} of them broke a promise.")
    if stopped:
        raise typer.Exit(STOPPED)
    return bool(broken)


def _one(plan: FleetPlan, counted: FleetCoverage, *, trace: bool) -> bool:
    report = run(plan, [counted, Telling(say)] if trace else [counted])
    say(_said(report))
    return not report.is_good


def _said(report: FleetReport) -> str:
    plan = report.plan
    what = (
        f"Seed {plan.seed}: {report.seconds:.0f} s, {report.events} events, "
        f"{len(plan.strikes)} faults planned, {report.orders} orders executed"
    )
    if report.is_good:
        return f"{what}: every promise was kept."
    first = [
        f"  at {(found.at_ns - BEGIN_NS) / 1e9:.3f} s, promise {found.invariant}: {found.sentence}"
        for found in report.violations[:SHOWN]
    ]
    return "\n".join([f"{what}: broken.", *first, f"  again: {command(plan)}"])
