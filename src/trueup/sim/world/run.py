"""One run, from its plan to its verdict; and many."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator

import msgspec

from trueup.runtime.strategy import MovingAverageCross, Strategy
from trueup.sim.world.moments import Moment, Violation, Watcher
from trueup.sim.world.plan import FaultPlan
from trueup.sim.world.world import World

_encode = msgspec.msgpack.Encoder().encode


class Report(msgspec.Struct, frozen=True):
    """What came of a run.

    `digest` is a function of every moment of the run: the same plan gives the same digest.
    """

    plan: FaultPlan
    violations: list[Violation]
    events: int
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
    make_strategy: Callable[[], Strategy] = MovingAverageCross,
    watchers: Iterable[Watcher] = (),
) -> Report:
    """Live through a plan and say what came of it."""
    with quiet():
        world = World(plan, make_strategy=make_strategy)
        fingerprint = Fingerprint()
        world.watchers += [fingerprint, *watchers]
        world.run()
    return Report(plan, [], world.schedule.count, fingerprint.digest)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the product's log lines to themselves: a run says what happened by its moments."""
    log = logging.getLogger("trueup")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
