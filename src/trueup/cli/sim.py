"""`trueup sim`: live through simulated disasters, and say which promises were kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trueup.errors import SettingsError
from trueup.sim.drawing import page
from trueup.sim.oracle.facts import Fact
from trueup.sim.telling import story
from trueup.sim.world.coverage import Coverage, table
from trueup.sim.world.plan import FaultPlan, draw
from trueup.sim.world.run import Report, run, run_many, shortest
from trueup.sim.world.schedule import BEGIN_NS
from trueup.sim.world.shrink import command

BROKEN = 1
SHOWN = 5


def sim(
    seed: Annotated[int | None, typer.Option(help="Live through this seed.")] = None,
    seeds: Annotated[str, typer.Option(metavar="A..B", help="Live through A up to B-1.")] = "",
    only: Annotated[
        str, typer.Option(metavar="N,N", help="Of the seed's faults, let only these strike.")
    ] = "",
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Find the fewest faults that still break the promise.")
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Print what the runs met, and what they never did.")
    ] = False,
    strategy: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="Let this strategy of yours trade.")
    ] = "",
    trace: Annotated[
        bool, typer.Option("--trace", help="Tell the story of a seed's run, fact by fact.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a seed's run on a page of its own.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes for many seeds; 0: one a core.")] = 1,
) -> None:
    """Run bots, wire, gateway, terminal and market in one simulated world in which much goes wrong.

    Everything follows from the seed: what fails, when, and what the bots try. Exit code 0: every
    promise was kept (docs/concepts/guarantees.md). 1: one was broken, or with --coverage something
    was never met.
    """
    if seed is None and (trace or html):
        raise SettingsError("--seed", "", "give one seed with --trace or --html, as --seed 7")
    counted = Coverage()
    broken: list[Report] = []
    told: list[Fact] = []
    if seeds or seed is None:
        chosen = _range("--seeds", seeds or "0..100")
        for report in run_many(chosen, strategy=strategy, coverage=counted, jobs=jobs or _cores()):
            if not report.is_good:
                broken.append(report)
                typer.echo(_said(report))
        typer.echo(f"{len(chosen)} runs, {len(broken)} of them broke a promise.")
    else:
        plan = draw(seed)
        report = run(
            plan.only(_numbers(only)) if only else plan,
            strategy=strategy,
            watchers=[counted],
            tell=told.append if trace or html else None,
        )
        if trace:
            typer.echo(story(told, report.violations))
        if html is not None:
            _draw(html, told, report)
        broken += [] if report.is_good else [report]
        typer.echo(_said(report))
    if shrink:
        for report in broken:
            typer.echo(_shrunk(report, strategy))
    if coverage:
        typer.echo(table(counted))
    if broken or (coverage and counted.missing()):
        raise typer.Exit(BROKEN)


def _draw(path: Path, told: Sequence[Fact], report: Report) -> None:
    try:
        path.write_text(page(told, report.violations, _again(report.plan)), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            "--html", str(path), f"give a file to write ({error.strerror})"
        ) from error


def _cores() -> int:
    return os.cpu_count() or 1


def _range(option: str, text: str) -> range:
    first, dots, end = text.partition("..")
    if not (dots and first.isdigit() and end.isdigit() and int(first) < int(end)):
        raise SettingsError(option, text, "give two whole numbers, the smaller first, as 0..100")
    return range(int(first), int(end))


def _numbers(text: str) -> frozenset[int]:
    if text == "none":
        return frozenset()
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise SettingsError("--only", text, "give numbers of faults, as 3,5, or none")
    return frozenset(map(int, parts))


def _said(report: Report) -> str:
    plan = report.plan
    what = (
        f"Seed {plan.seed}: {report.seconds:.0f} s, {report.events} events, "
        f"{len(plan.strikes)} faults"
    )
    if report.is_good:
        return f"{what}: every promise was kept."
    first = [
        f"  at {(one.at_ns - BEGIN_NS) / 1e9:.3f} s, promise {one.invariant}: {one.sentence}"
        for one in report.violations[:SHOWN]
    ]
    more = len(report.violations) - len(first)
    rest = [f"  and {more} more"] if more else []
    return "\n".join([f"{what}: broken.", *first, *rest, f"  again: {_again(plan)}"])


def _again(plan: FaultPlan) -> str:
    return command(plan, draw(plan.seed))


def _shrunk(report: Report, strategy: str) -> str:
    short = shortest(report, strategy=strategy)
    faults = [
        f"  {one.at_ms / 1000:.3f} s  {one.fault.value} (number {one.number})"
        for one in short.plan.strikes
    ]
    return "\n".join(["The fewest faults that break it:", *faults, _said(short)])
