"""Whole runs of the simulated fleet by one integer: kept promises, planted bugs, and its parts."""

from __future__ import annotations

import multiprocessing
import os
import random
import secrets
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.fleet.mutants import MUTANTS, PAGE, Patch, first_seed
from tests.support.marks import needs_interrupt
from tests.world.mutants import bug_of
from trueup.lab.fleet.coverage import FleetCoverage
from trueup.lab.fleet.plan import PAIRS, draw
from trueup.lab.fleet.run import FleetReport, run, run_many
from trueup.lab.fleet.tasks import TaskSchedule
from trueup.lab.system.schedule import BEGIN_NS, MS, Endless

FIXED = range(120)
# Where a change of the draws moves something rare out of the fixed seeds.
LAST = 600
FRESH = 5
# What a seed draws changes with the list of faults; the rules have tests of their own.
REMEMBERED = (7_001_800,)
# So many times each fault of a node comes together with each act of the fleet, in a soak.
TOGETHER = 1_000
# So many seeds a process of a soak runs at a time.
GROUP = 50


def told(report: FleetReport) -> str:
    """What a failing run says: the first broken promise, and the command to have it again."""
    first = report.violations[0]
    again = f"trueup sim fleet --seed {report.plan.seed}"
    return f"promise {first.invariant}: {first.sentence}\n  {again}"


@pytest.mark.timeout(600)
def test_fixed_seeds_keep_every_promise_and_meet_everything() -> None:
    coverage = FleetCoverage()
    broken = [told(one) for one in run_many(FIXED, coverage) if not one.is_good]
    next_ones = iter(range(FIXED.stop, LAST))
    while coverage.missing() and (seed := next(next_ones, None)) is not None:
        broken += [told(one) for one in run_many([seed], coverage) if not one.is_good]
    assert not broken, "\n".join(broken)
    assert not coverage.missing()


@pytest.mark.parametrize("seed", REMEMBERED)
def test_seeds_that_broke_a_promise_once_keep_every_promise(seed: int) -> None:
    report = run(draw(seed))
    assert report.is_good, told(report)


def test_fresh_seeds_keep_every_promise(record_property: Callable[[str, object], None]) -> None:
    first = secrets.randbelow(10**9) + 10**6
    record_property("fresh", f"trueup sim fleet --seeds {first}..{first + FRESH}")
    broken = [told(one) for one in run_many(range(first, first + FRESH)) if not one.is_good]
    assert not broken, "\n".join(broken)


def test_run_depends_on_its_seed_alone() -> None:
    first, second = run(draw(7)), run(draw(7))
    assert first == second
    assert first.orders > 0
    assert run(draw(8)).digest != first.digest


def test_seeds_in_a_row_have_every_pair_of_fault_and_act_in_their_focus() -> None:
    drawn = [{strike.fault for strike in draw(seed).strikes} for seed in range(len(PAIRS))]
    for (_, act), kinds in zip(PAIRS, drawn, strict=True):
        assert act in kinds


def on_the_page(mutant: Callable[[], Patch]) -> int:
    """Return the seed that the page names for a bug."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {bug_of(mutant)} |")]
    return int(line.split("|")[2])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_planted_bug_shows_at_the_seed_of_the_page_or_soon(
    mutant: Callable[[], Patch],
) -> None:
    with mutant():
        is_found = bool(run(draw(on_the_page(mutant))).violations)
    assert is_found or first_seed(mutant) is not None


def group(first: int) -> tuple[list[str], FleetCoverage]:
    """Run some seeds in a row; return what broke, and what they met."""
    coverage = FleetCoverage()
    reports = list(run_many(range(first, first + GROUP), coverage))
    return [told(one) for one in reports if not one.is_good], coverage


@pytest.mark.soak
def test_each_fault_of_a_node_comes_a_thousand_times_together_with_each_act(
    record_property: Callable[[str, object], None],
) -> None:
    coverage, broken, first = FleetCoverage(), list[str](), secrets.randbelow(10**9) + 10**6
    together, seed = coverage.met["together"], first
    jobs = os.cpu_count() or 1
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        while min(together[f"{fault.name}+{act.name}"] for fault, act in PAIRS) < TOGETHER:
            firsts = range(seed, seed + jobs * GROUP, GROUP)
            for found, met in pool.map(group, firsts):
                broken += found
                coverage.add(met)
            seed = firsts[-1] + GROUP
    record_property("fresh", f"trueup sim fleet --seeds {first}..{seed}")
    assert not broken, "\n".join(broken)
    assert not coverage.missing()


# The tasks.


class Process:
    """The owner of tasks."""

    def __init__(self) -> None:
        self.is_frozen = False


def test_tasks_go_on_in_the_middle_of_each_other() -> None:
    schedule, seen, process = TaskSchedule(100), list[str](), Process()

    def live(name: str, *waits_ms: int) -> Callable[[], None]:
        def body() -> None:
            for ms in waits_ms:
                schedule.run(schedule.now_ns + ms * MS)
                seen.append(f"{name} {(schedule.now_ns - BEGIN_NS) // MS}")

        return body

    schedule.start(process, live("a", 3, 3))
    schedule.start(process, live("b", 1, 3, 3))
    schedule.run(BEGIN_NS + 100 * MS)
    assert seen == ["b 1", "a 3", "b 4", "a 6", "b 7"]


def test_task_of_a_frozen_process_goes_on_once_it_wakes_and_a_killed_one_never() -> None:
    schedule, seen, process, other = TaskSchedule(100), list[str](), Process(), Process()

    def live(name: str) -> None:
        try:
            schedule.run(schedule.now_ns + MS)
            seen.append(f"{name} went on")
        finally:
            seen.append(f"{name} ended at {(schedule.now_ns - BEGIN_NS) // MS}")

    def freeze(*, is_frozen: bool) -> None:
        process.is_frozen = other.is_frozen = is_frozen

    schedule.start(process, lambda: live("frozen"))
    killed = schedule.start(other, lambda: live("killed"))
    schedule.after(0.5, lambda: freeze(is_frozen=True))
    schedule.after(2, killed.kill)
    schedule.after(5, lambda: freeze(is_frozen=False))
    schedule.run(BEGIN_NS + 100 * MS)
    assert seen == ["killed ended at 2", "frozen went on", "frozen ended at 5"]


def test_error_of_a_task_and_too_many_events_end_the_run() -> None:
    schedule = TaskSchedule(10)

    def fail() -> None:
        raise ValueError("a defect")

    schedule.start(Process(), fail)
    with pytest.raises(ValueError, match="a defect"):
        schedule.run(BEGIN_NS + MS)
    schedule.failure = None
    for _ in range(20):
        schedule.after(1, lambda: None)
    with pytest.raises(Endless):
        schedule.run(BEGIN_NS + 9 * MS)


# Where the hand-over of the two threads is broken, one of a hundred interrupts is enough.
INTERRUPTS = 300


@needs_interrupt
def test_interrupt_at_any_instant_of_a_hand_over_ends_the_run() -> None:
    chance = random.Random(1)

    def play_until_interrupted() -> None:
        schedule, is_over = TaskSchedule(10_000_000), threading.Event()

        def live() -> None:
            while not is_over.is_set():
                schedule.run(schedule.now_ns + MS)

        def interrupt() -> None:
            is_over.wait(chance.random() / 500)
            os.kill(os.getpid(), signal.SIGINT)

        with schedule.stopped_by_interrupts():
            schedule.start(Process(), live)
            threading.Thread(target=interrupt).start()
            try:
                live()
            finally:
                is_over.set()
                schedule.end()

    for _ in range(INTERRUPTS):
        with pytest.raises(KeyboardInterrupt):
            play_until_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not [one for one in threading.enumerate() if one.name == "simulated"]
