"""`trueup sim`: run seeded simulations with faults, and report which promises were kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from trueup.cli.rehearse.incident import incident
from trueup.cli.rehearse.numbers import range_of
from trueup.cli.rehearse.seeds import (
    BROKEN,
    STOPPED,
    CoverageOption,
    JobsOption,
    OnlyOption,
    SeedOption,
    TraceOption,
    check_seeds,
    cores,
    fewest,
    first_broken,
    with_only,
)
from trueup.cli.rehearse.sim_fleet import fleet
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.errors import SettingsError, StrategyError
from trueup.lab.facts.facts import Fact
from trueup.lab.plan.plan import FaultPlan, draw
from trueup.lab.plan.shrink import command, shortest
from trueup.lab.report.counting import table
from trueup.lab.report.drawing import page
from trueup.lab.report.telling import story
from trueup.lab.runs.coverage import CHANCY, Coverage
from trueup.lab.runs.reports import Report
from trueup.lab.runs.run import run, run_many
from trueup.runtime.trading.own_code import own_place
from trueup.runtime.trading.strategy_loading import strategy_maker

# The default seeds. With 300 seeds each kind of fault is the focus of three seeds, so a run meets
# everything that --coverage counts.
SEEDS, SEEDS_TO_MEET_ALL = "0..100", "0..300"
LESS_IS_ASKED = "Not asked of a strategy, which sets no stops and places no pending orders: " + (
    ", ".join(name for names in CHANCY.values() for name in names) + "."
)
NO_ORDERS = "No order was sent: the strategy gave no signal on which the bot could trade."


class _Shown(NamedTuple):
    """The output of a run besides its verdict."""

    trace: bool
    html: Path | None

    @property
    def needs_facts(self) -> bool:
        return self.trace or self.html is not None


app: typer.Typer = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command("incident")(incident)
app.command("fleet")(fleet)


@app.callback()
def sim(
    ctx: typer.Context,
    # Which runs: a single seed, or a range.
    seed: SeedOption = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="A..B",
            help="Run the seeds A up to B-1; by default 0..100, with --coverage 0..300.",
        ),
    ] = "",
    only: OnlyOption = "",
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink",
            help="Find the fewest faults that still break the promise; --trace and --html show "
            "that run.",
        ),
    ] = False,
    coverage: CoverageOption = False,
    strategy: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="Let your own strategy trade.")
    ] = "",
    # Only for a single seed: a story of many runs is too long to read.
    trace: TraceOption = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with a drawing of the run.")
    ] = None,
    jobs: JobsOption = 1,
) -> None:
    """Run seeded simulations with faults and judge them.

    The seed decides everything: the faults, their times, and the orders of the bots. Exit code 0:
    every promise was kept (docs/concepts/guarantees.md). 1: a promise was broken, or with
    --coverage a situation was never met.
    """
    if ctx.invoked_subcommand:
        return
    check_seeds(seed, seeds, {"--trace": trace, "--html": html, "--only": only})
    if strategy:
        # Imported now, so that an error in the strategy's module is reported before any run.
        strategy_maker(strategy)
    counted, shown = Coverage(), _Shown(trace, html)
    if seed is None:
        chosen = range_of("--seeds", seeds or (SEEDS_TO_MEET_ALL if coverage else SEEDS))
        broken = _many(chosen, strategy, counted, jobs or cores())
    else:
        broken = _one(with_only(draw(seed), only), strategy, counted, shown, shrink=shrink)
    if shrink:
        for report in broken:
            _shrink(report, strategy, shown)
        if not broken:
            say("Nothing to shrink.")
    if coverage:
        say(table(counted))
        if strategy:
            say(LESS_IS_ASKED)
    if broken or (coverage and counted.missing(by_signals=bool(strategy))):
        raise typer.Exit(BROKEN)


def _many(seeds: range, strategy: str, counted: Coverage, jobs: int) -> list[Report]:
    """Run many seeds, print the results, and return the runs that broke a promise."""
    broken: list[Report] = []
    count = orders = 0
    stopped = ""
    # Ctrl-C ends the runs, not the report of the runs until then.
    try:
        with progress("Running seeds", len(seeds)) as shown:
            for report in run_many(seeds, strategy=strategy, coverage=counted, jobs=jobs):
                count, orders = count + 1, orders + report.orders
                shown.advance()
                if not report.is_good:
                    broken.append(report)
                    with shown.aside():
                        say(_said(report, strategy))
    except KeyboardInterrupt as stop:
        stopped = _where(stop, strategy)
    say(f"{stopped}{count} runs, {len(broken)} of them broke a promise.")
    if stopped:
        raise typer.Exit(STOPPED)
    # A strategy without orders proves nothing, and that is easy to overlook.
    if strategy and not orders:
        say(NO_ORDERS)
    return broken


def _one(
    plan: FaultPlan, strategy: str, counted: Coverage, shown: _Shown, *, shrink: bool
) -> list[Report]:
    """Run a plan, show the run, and return the report if the run broke a promise.

    A run that will be shrunk is not shown: its shortest version shows the same in fewer lines.
    """
    told: list[Fact] = []
    # The facts before an error of the strategy are shown as well: they lead to the error.
    try:
        report = run(
            plan,
            strategy=strategy,
            watchers=[counted],
            tell=told.append if shown.needs_facts else None,
        )
    except StrategyError:
        if shown.trace:
            say(story(told))
        raise
    except KeyboardInterrupt as stop:
        say(f"{_where(stop, strategy)}seed {plan.seed} did not run to its end.")
        raise typer.Exit(STOPPED) from None
    if shrink and shown.needs_facts and not report.is_good:
        say(_verdict(report))
        return [report]
    _show(told, report, strategy, shown)
    say(_said(report, strategy))
    if strategy and not report.orders:
        say(NO_ORDERS)
    return [] if report.is_good else [report]


def _show(told: Sequence[Fact], report: Report, strategy: str, shown: _Shown) -> None:
    if shown.trace:
        say(story(told, report.violations))
    if shown.html is not None:
        _draw(shown.html, told, report, strategy)


def _shrink(report: Report, strategy: str, shown: _Shown) -> None:
    """Find the shortest run that still breaks the promise, and show that run."""
    with progress("Shrinking the run"):
        short = shortest(report, partial(run, strategy=strategy))
    say(fewest(short.plan.strikes))
    if shown.needs_facts:
        told: list[Fact] = []
        run(short.plan, strategy=strategy, tell=told.append)
        _show(told, short, strategy, shown)
    say(_said(short, strategy))


def _where(stop: KeyboardInterrupt, strategy: str) -> str:
    """Return a text for Ctrl-C, with the strategy's line if the strategy was running."""
    place = own_place(strategy, stop)
    return f"Stopped at {place}: " if place else "Stopped: "


def _draw(path: Path, told: Sequence[Fact], report: Report, strategy: str) -> None:
    try:
        title = _again(report.plan, strategy)
        path.write_text(page(told, report.violations, title), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            "--html", str(path), f"give a file to write ({error.strerror})"
        ) from error


def _said(report: Report, strategy: str) -> str:
    if report.is_good:
        return _verdict(report)
    first = first_broken(report.violations)
    more = len(report.violations) - len(first)
    rest = [f"  and {more} more"] if more else []
    again = f"  again: {_again(report.plan, strategy)}"
    return "\n".join([_verdict(report), *first, *rest, again])


def _verdict(report: Report) -> str:
    plan = report.plan
    what = (
        f"Seed {plan.seed}: {report.seconds:.0f} s, {report.events} events, "
        f"{_count(len(plan.strikes), 'fault')} planned, which struck "
        f"{_count(report.struck, 'time')}, {_count(report.orders, 'order')}"
    )
    return f"{what}: every promise was kept." if report.is_good else f"{what}: broken."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _again(plan: FaultPlan, strategy: str) -> str:
    return command(plan, draw(plan.seed), strategy)
