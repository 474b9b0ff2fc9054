"""Run a plan of the simulated fleet, and judge the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from trueup.lab.facts.facts import Fact, Violation, Watcher
from trueup.lab.fleet import facts
from trueup.lab.fleet.coverage import FleetCoverage
from trueup.lab.fleet.judge import AGREEMENT, FleetJudge
from trueup.lab.fleet.plan import FleetPlan, draw
from trueup.lab.fleet.world import World
from trueup.lab.runs.run import Fingerprint, failure_of, quiet
from trueup.lab.runs.seed_processes import lived
from trueup.lab.system.schedule import BEGIN_NS


class FleetReport(msgspec.Struct, frozen=True):
    """The result of a run; `digest` is a function of every fact of it."""

    plan: FleetPlan
    violations: list[Violation]
    events: int
    seconds: float
    orders: int
    digest: str

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


class _Orders:
    """Counts the orders that the brokers carried out."""

    count = 0

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""
        self.count += type(fact) is facts.Executed


def run(plan: FleetPlan, watchers: Iterable[Watcher] = ()) -> FleetReport:
    """Run a plan, and return the report.

    Args:
        plan: what happens.
        watchers: receive each fact.
    """
    judge, fingerprint, orders = FleetJudge(), Fingerprint(), _Orders()
    violations: list[Violation] = []
    with quiet():
        world = World(plan)
        world.watchers += [judge, fingerprint, orders, *watchers]
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - whatever fails, its seed must be told
            violations.append(Violation(AGREEMENT, failure_of(error), world.schedule.now_ns))
    return FleetReport(
        plan,
        [*judge.verdicts(), *violations],
        world.schedule.count,
        (world.schedule.now_ns - BEGIN_NS) / 1e9,
        orders.count,
        fingerprint.digest,
    )


def run_many(
    seeds: Iterable[int], coverage: FleetCoverage | None = None, jobs: int = 1
) -> Iterator[FleetReport]:
    """Run many seeds, and yield their reports in the order of the seeds.

    Runs in other processes end at once if the caller stops.
    """
    # A single job runs in this process, where a debugger can follow.
    if jobs == 1:
        for seed in seeds:
            yield run(draw(seed), () if coverage is None else (coverage,))
        return
    for reports, met in lived(outcome_of, seeds, jobs):
        if coverage is not None:
            coverage.add(met)
        yield from reports


def outcome_of(seeds: list[int]) -> tuple[list[FleetReport], FleetCoverage] | Exception:
    """Return the reports and the coverage of some seeds, or the exception that was raised."""
    coverage = FleetCoverage()
    try:
        return list(run_many(seeds, coverage)), coverage
    except Exception as error:  # noqa: BLE001 - it is raised again where the runs were asked for
        return error
