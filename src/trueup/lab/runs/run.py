"""Run a plan and judge the run; and run many seeds, on all cores."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePath

import msgspec

from trueup.errors import StrategyError
from trueup.lab.facts.facts import Fact, Faulted, Sent, Violation, Watcher
from trueup.lab.oracle import Judge
from trueup.lab.plan.plan import FaultPlan, draw, trading
from trueup.lab.report.folding import BookFold
from trueup.lab.runs.coverage import Coverage
from trueup.lab.runs.reports import Report
from trueup.lab.runs.seed_processes import lived
from trueup.lab.system.schedule import BEGIN_NS, Endless, OutOfTouch, Stuck
from trueup.lab.world.world import World
from trueup.runtime.trading.strategy import MovingAverageCross
from trueup.runtime.trading.strategy_loading import strategy_maker

_encode = msgspec.msgpack.Encoder().encode
# The number of last calls in the message about an error of the program.
CALLS_NAMED = 4
# A run takes a tenth of a second. A run that takes this much of the processor spins between two
# events. Real time would also be over for a sound run on a machine that has no time for it.
RUN_CPU_S_MOST = 60.0


class Overdue(BaseException):
    """A run does not end. Not an `Exception`, so that no code of the product catches this."""


class Fingerprint:
    """A watcher that computes a digest of a run, and counts its orders and strikes."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self.orders: int = 0
        self.struck: int = 0

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""
        self._hash.update(_encode(fact))
        if type(fact) is Sent:
            self.orders += 1
        elif type(fact) is Faulted:
            self.struck += 1

    @property
    def digest(self) -> str:
        """Return the digest in hexadecimal."""
        return self._hash.hexdigest()


class Listed:
    """A watcher that gives each fact to a function, such as `list.append`."""

    def __init__(self, tell: Callable[[Fact], None]) -> None:
        self._tell = tell

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""
        self._tell(fact)


def run(
    plan: FaultPlan,
    *,
    strategy: str = "",
    watchers: Iterable[Watcher] = (),
    tell: Callable[[Fact], None] | None = None,
) -> Report:
    """Run a plan and return the report.

    Args:
        plan: the faults of the run, and its setting.
        strategy: `package.module:Class` of a strategy that trades in place of the world's own.
        watchers: receive each fact.
        tell: receives each fact, for a story (`telling`) or a drawing (`drawing`).

    Raises:
        SettingsError: there is no such strategy.
        StrategyError: the strategy failed; the message has the time, and the line of its file.
    """
    if strategy:
        plan = trading(plan)
    make_strategy = strategy_maker(strategy) if strategy else MovingAverageCross
    with quiet():
        # The judge comes first, so that verdicts do not depend on other watchers.
        world = World(plan, make_strategy=make_strategy)
        judge = Judge(world.scope, BookFold)
        fingerprint = Fingerprint()
        world.watchers += [judge, fingerprint, *watchers]
        if tell is not None:
            world.watchers.append(Listed(tell))
        violations: list[Violation] = []
        try:
            # A user's strategy may be slow or wait for a debugger, so its runs have no time limit.
            with _seeded(plan) if strategy else _ends_within(RUN_CPU_S_MOST):
                world.run()
        # Whatever broke the run off, the books could not come to agree: promise 1 is broken.
        except Overdue as error:
            violations.append(Violation(1, failure_of(error), world.now_ns))
        except (Endless, OutOfTouch, Stuck) as error:
            violations.append(Violation(1, str(error), world.now_ns))
        except StrategyError as error:
            at = f"Seed {plan.seed}, at {(world.now_ns - BEGIN_NS) / 1e9:.3f} s"
            raise StrategyError(f"{at}: {error}") from error
        except Exception as error:  # noqa: BLE001 - whatever fails, its seed must be told
            violations.append(Violation(1, failure_of(error), world.now_ns))
    return Report(
        plan,
        [*judge.verdicts(), *violations],
        world.schedule.count,
        (world.now_ns - BEGIN_NS) / 1e9,
        fingerprint.orders,
        fingerprint.struck,
        fingerprint.digest,
    )


def failure_of(error: BaseException) -> str:
    """Return a sentence about the error that broke a run off."""
    if isinstance(error, Overdue):
        said = f"nothing came to an end within {RUN_CPU_S_MOST:g} s of the processor"
    else:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
    calls = traceback.extract_tb(error.__traceback__)[-CALLS_NAMED:]
    places = ", ".join(f"{PurePath(call.filename).name} line {call.lineno}" for call in calls)
    return f"the program failed, and the run broke off: {said} ({places})"


def run_many(
    seeds: Iterable[int], *, strategy: str = "", coverage: Coverage | None = None, jobs: int = 1
) -> Iterator[Report]:
    """Run many seeds, and yield their reports in the order of the seeds.

    Runs in other processes end at once if the caller stops: by an exception, or because the caller
    needs no more reports.
    """
    # A single job runs in this process, where a debugger can follow.
    if jobs == 1:
        for seed in seeds:
            watchers = () if coverage is None else (coverage,)
            yield run(draw(seed), strategy=strategy, watchers=watchers)
        return
    for reports, met in lived(partial(outcome_of, strategy=strategy), seeds, jobs):
        if coverage is not None:
            coverage.add(met)
        yield from reports


def outcome_of(seeds: list[int], strategy: str) -> tuple[list[Report], Coverage] | Exception:
    """Return the reports and the coverage of some seeds, or the exception that was raised."""
    coverage = Coverage()
    try:
        return list(run_many(seeds, strategy=strategy, coverage=coverage)), coverage
    except Exception as error:  # noqa: BLE001 - it is raised again where the runs were asked for
        return error


@contextlib.contextmanager
def _ends_within(cpu_s: float) -> Iterator[None]:
    """Raise `Overdue` in a block that takes more CPU, at the block's next step of Python."""
    thread, raises = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Overdue)
    ended = threading.Event()
    until = time.process_time() + cpu_s

    def watch() -> None:
        while (left := until - time.process_time()) > 0:
            if ended.wait(left):
                return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, raises)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def _seeded(plan: FaultPlan) -> Iterator[None]:
    """Seed the module `random` by the plan, for strategies that use that module."""
    before = random.getstate()
    random.seed(f"{plan.seed} strategy")
    try:
        yield
    finally:
        random.setstate(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the product's log lines: a run reports by its facts."""
    log = logging.getLogger("trueup")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
