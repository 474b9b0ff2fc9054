"""The simulated world: events a second on one core, and a hundred runs of a thousand events."""

from __future__ import annotations

import time

from benchmarks._measure import report
from trueup.lab.facts.facts import Fact
from trueup.lab.plan.plan import draw
from trueup.lab.runs import run as world

RUNS, EVENTS = 100, 1_000
EVENTS_PER_SEC, SECONDS = 20_000, 10.0


class Counted:
    """A watcher that counts what it is told."""

    def __init__(self) -> None:
        self.count = 0

    def observe(self, fact: Fact) -> None:
        """Count a fact."""
        self.count += 1


def run_all() -> tuple[int, float, float]:
    """Return the events of all runs, the processor's seconds, and the wall's."""
    world.run(draw(0))
    counted = Counted()
    events, seed = 0, 0
    began, wall = time.process_time(), time.perf_counter()
    while events + counted.count < RUNS * EVENTS:
        events += world.run(draw(seed), watchers=[counted]).events
        seed += 1
    return events + counted.count, time.process_time() - began, time.perf_counter() - wall


def run() -> int:
    """Measure, and return how many targets were missed."""
    events, processor, wall = run_all()
    detail = f"{events:,} events in {processor:.1f} s of one core, {wall:.1f} s by the wall"
    per_event = report(
        "an event, checkers and all",
        processor / events * 1e6,
        1e6 / EVENTS_PER_SEC,
        "us",
        f"{detail}: {events / processor:,.0f} a second",
    )
    seconds = processor / events * EVENTS * RUNS
    return per_event + report(
        f"{RUNS} runs of {EVENTS:,} events", seconds, SECONDS, "s of one core", detail
    )
