"""One run, from its plan to its verdict; and many, on as many cores as there are."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from trueup.runtime.strategy import MovingAverageCross, Strategy, load_strategy
from trueup.sim.folding import BookFold
from trueup.sim.oracle import Oracle
from trueup.sim.oracle.hearing import Hearing, Tell
from trueup.sim.world.coverage import Coverage
from trueup.sim.world.moments import Moment, Violation, Watcher
from trueup.sim.world.plan import FaultPlan, draw, trading
from trueup.sim.world.schedule import BEGIN_NS, Endless
from trueup.sim.world.shrink import shrink
from trueup.sim.world.world import World

_encode = msgspec.msgpack.Encoder().encode
# Seeds that one process lives through before it says what came of them.
SEEDS_AT_ONCE = 20


class Report(msgspec.Struct, frozen=True):
    """What came of a run.

    `digest` is a function of every moment of the run: the same plan gives the same digest.
    `seconds` is how long the run lasted in its own time.
    """

    plan: FaultPlan
    violations: list[Violation]
    events: int
    seconds: float
    digest: str

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


class Fingerprint:
    """A watcher that boils a whole run down to one number."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def observe(self, moment: Moment) -> None:
        """Take note of a moment."""
        self._hash.update(_encode(moment))

    @property
    def digest(self) -> str:
        """Return the number, in hexadecimal."""
        return self._hash.hexdigest()


def run(
    plan: FaultPlan,
    *,
    strategy: str = "",
    watchers: Iterable[Watcher] = (),
    tell: Tell | None = None,
) -> Report:
    """Live through a plan and say what came of it.

    Args:
        plan: what goes wrong.
        strategy: `package.module:Class` of a strategy that trades in place of the world's own.
        watchers: who is told of each moment.
        tell: who is told the run's facts, for a story of it (`telling`) or a drawing (`drawing`).

    Raises:
        SettingsError: there is no such strategy.
    """
    if strategy:
        plan = trading(plan)

    def make_strategy() -> Strategy:
        return load_strategy(strategy) if strategy else MovingAverageCross()

    with _quiet():
        world = World(plan, make_strategy=make_strategy)
        oracle = Oracle(world.ledger, world.scope, BookFold)
        fingerprint = Fingerprint()
        world.watchers += [oracle, fingerprint, *watchers]
        if tell is not None:
            world.watchers.append(Hearing(world.ledger, tell))
        violations: list[Violation] = []
        try:
            world.run()
        except Endless as error:
            violations.append(Violation(1, str(error), world.now_ns))
    return Report(
        plan,
        [*oracle.verdicts(), *violations],
        world.schedule.count,
        (world.now_ns - BEGIN_NS) / 1e9,
        fingerprint.digest,
    )


def run_many(
    seeds: Iterable[int], *, strategy: str = "", coverage: Coverage | None = None, jobs: int = 1
) -> Iterator[Report]:
    """Live through many seeds, and yield what came of each, in their order."""
    if jobs == 1:
        for seed in seeds:
            watchers = () if coverage is None else (coverage,)
            yield run(draw(seed), strategy=strategy, watchers=watchers)
        return
    listed = list(seeds)
    pieces = [listed[i : i + SEEDS_AT_ONCE] for i in range(0, len(listed), SEEDS_AT_ONCE)]
    with ProcessPoolExecutor(jobs) as pool:
        for reports, met in pool.map(_run_some, pieces, [strategy] * len(pieces)):
            if coverage is not None:
                coverage.add(met)
            yield from reports


def _run_some(seeds: list[int], strategy: str) -> tuple[list[Report], Coverage]:
    coverage = Coverage()
    return list(run_many(seeds, strategy=strategy, coverage=coverage)), coverage


def shortest(report: Report, *, strategy: str = "") -> Report:
    """Return the run of the shortest plan that breaks one of the promises that a run broke."""
    broken = {violation.invariant for violation in report.violations}
    last = report

    def fails(plan: FaultPlan) -> bool:
        nonlocal last
        found = run(plan, strategy=strategy)
        same = bool(broken & {violation.invariant for violation in found.violations})
        if same:
            last = found
        return same

    shrink(report.plan, fails)
    return last


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the product's log lines to themselves: a run says what happened by its moments."""
    log = logging.getLogger("trueup")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
