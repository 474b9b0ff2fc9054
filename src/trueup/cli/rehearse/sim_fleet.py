"""`trueup sim fleet`: run seeded simulations of several nodes, and report the promises kept."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.rehearse.numbers import range_of
from trueup.cli.rehearse.seeds import (
    BROKEN,
    STOPPED,
    CoverageOption,
    JobsOption,
    OnlyOption,
    SeedOption,
    ShrinkOption,
    TraceOption,
    check_seeds,
    cores,
    fewest,
    first_broken,
    with_only,
)
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.lab.fleet.coverage import FleetCoverage
from trueup.lab.fleet.plan import FleetPlan, draw
from trueup.lab.fleet.run import FleetReport, run, run_many
from trueup.lab.fleet.telling import Telling, command
from trueup.lab.plan.shrink import shortest
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
    shrink: ShrinkOption = False,
    coverage: CoverageOption = False,
    trace: TraceOption = False,
    jobs: JobsOption = 1,
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
        broken = _many(chosen, counted, jobs or cores())
    else:
        broken = _one(with_only(draw(seed), only), counted, trace=trace, shrink=shrink)
    if shrink:
        for report in broken:
            _shrink(report, trace=trace)
        if not broken:
            say("Nothing to shrink.")
    if coverage:
        say(table(counted))
    if broken or (coverage and counted.missing()):
        raise typer.Exit(BROKEN)


def _many(seeds: range, counted: FleetCoverage, jobs: int) -> list[FleetReport]:
    """Run many seeds, print the results, and return the runs that broke a promise."""
    broken: list[FleetReport] = []
    count = 0
    stopped = ""
    # Ctrl-C ends the runs, not the report of the runs until then.
    try:
        with progress("Running seeds", len(seeds)) as shown:
            for report in run_many(seeds, counted, jobs):
                count += 1
                shown.advance()
                if not report.is_good:
                    broken.append(report)
                    with shown.aside():
                        say(_said(report))
    except KeyboardInterrupt:
        stopped = "Stopped: "
    say(f"{stopped}{count} runs, {len(broken)} of them broke a promise.")
    if stopped:
        raise typer.Exit(STOPPED)
    return broken


def _one(
    plan: FleetPlan, counted: FleetCoverage, *, trace: bool, shrink: bool = False
) -> list[FleetReport]:
    """Run a plan, show the run, and return the report if the run broke a promise.

    A run that will be shrunk is not shown: its shortest version shows the same in fewer lines.
    """
    told: list[str] = []
    tellers = [Telling(told.append if shrink else say)] if trace else []
    report = run(plan, [counted, *tellers])
    if report.is_good:
        for line in told:
            say(line)
    say(_said(report))
    return [] if report.is_good else [report]


def _shrink(report: FleetReport, *, trace: bool) -> None:
    """Find the shortest run that still breaks the promise, and show that run."""
    with progress("Shrinking the run"):
        short = shortest(report, run)
    say(fewest(short.plan.strikes))
    _one(short.plan, FleetCoverage(), trace=trace)


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
