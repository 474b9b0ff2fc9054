"""`trueup sim fleet`: run seeded simulations of several nodes, and report the promises kept."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.rehearse.numbers import range_of
from trueup.cli.rehearse.seeds import (
    BROKEN,
    STOPPED,
    CoverageOption,
    OnlyOption,
    SeedOption,
    TraceOption,
    check_seeds,
    first_broken,
    with_only,
)
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.lab.fleet.coverage import FleetCoverage
from trueup.lab.fleet.plan import FleetPlan, draw
from trueup.lab.fleet.run import FleetReport, run, run_many
from trueup.lab.fleet.telling import Telling, command
from trueup.lab.report.counting import table

SEEDS, SEEDS_TO_MEET_ALL = "0..50", "0..300"


def fleet(
    seed: SeedOption = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="A..B",
            help="Run the seeds A up to B-1; by default 0..50, with --coverage 0..300.",
        ),
    ] = "",
    only: OnlyOption = "",
    coverage: CoverageOption = False,
    trace: TraceOption = False,
) -> None:
    """Run seeded simulations of a fleet with faults and judge them.

    Several nodes share accounts in a simulated database; they stand still, are killed and cut off,
    while accounts move and the database fails over. Exit code 0: every promise was kept
    (docs/concepts/guarantees.md). 1: a promise was broken, or with --coverage a situation was never
    met.
    """
    check_seeds(seed, seeds, {"--trace": trace, "--only": only})
    counted = FleetCoverage()
    if seed is None:
        chosen = range_of("--seeds", seeds or (SEEDS_TO_MEET_ALL if coverage else SEEDS))
        is_broken = _many(chosen, counted)
    else:
        is_broken = _one(with_only(draw(seed), only), counted, trace=trace)
    if coverage:
        say(table(counted))
    if is_broken or (coverage and counted.missing()):
        raise typer.Exit(BROKEN)


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
    first = first_broken(report.violations)
    return "\n".join([f"{what}: broken.", *first, f"  again: {command(plan)}"])
