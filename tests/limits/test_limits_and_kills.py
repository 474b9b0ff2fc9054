"""Many kills, at steps of an order or between: no lock is forgotten or applied twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.account_world import AccountWorld
from tests.support.desk_world import BUY, SELL
from trueup import Limits, PortfolioManager, Refused, StateReconciler
from trueup.core.book import events
from trueup.core.limits.figures import DAILY_LOSS, DRAWDOWN
from trueup.errors import TrueupError
from trueup.journal.memory import MemoryJournal
from trueup.runtime.bot.crash_points import CrashPoint

KILLS = 80
LIMITS = Limits(daily_loss=60, drawdown=90, lots=1.5)


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AccountWorld]:
    world = AccountWorld(tmp_path)
    yield world
    world.end()


class Life:
    """One program after the other, on one journal."""

    def __init__(self, world: AccountWorld, seed: int) -> None:
        self.world, self.random, self.journal = world, random.Random(seed), MemoryJournal()
        self.kills = self.refused = 0
        self.price = 1.1

    def live(self) -> None:
        """Trade until the kill."""
        left = self.random.randint(1, 10)

        def crash(_: CrashPoint) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Killed

        try:
            pm = PortfolioManager(
                "EURUSD", journal=self.journal, clock=self.world.clock, crash=crash, limits=LIMITS
            )
            reconciler = StateReconciler(pm, self.world.gateway)
            for _ in range(6):
                self.step(pm, reconciler)
            if DRAWDOWN in pm.book.reached:
                self.win()
        except Killed:
            pass
        # A program that stops between two steps is killed, too: nothing is closed or saved.
        self.kills += 1

    def win(self) -> None:
        """A person wins back what the program lost: the drawdown ends."""
        person, is_high = self.world.person, self.price > 1.1
        ticket = person.open("EURUSD", SELL if is_high else BUY, 1.0)
        self.price += -0.005 if is_high else 0.005
        self.world.terminal.quote("EURUSD", self.price, self.price + 0.0001)
        person.close(ticket)

    def step(self, pm: PortfolioManager, reconciler: StateReconciler) -> None:
        self.price = max(1.05, min(1.15, self.price + self.random.choice((-1, 1)) * 0.002))
        self.world.wait(self.random.choice((1, 30, 3_600)))
        self.world.terminal.quote("EURUSD", self.price, self.price + 0.0001)
        reconciler.sync_positions()
        try:
            if self.random.random() < 0.6:
                pm.submit(self.random.choice(("buy", "sell")), 0.2)
            elif pm.get_local_positions():
                pm.close(next(iter(pm.get_local_positions())))
        except Refused:
            self.refused += 1
        except TrueupError:
            # An order in doubt may have closed the position: the next sync knows.
            pass


@pytest.mark.parametrize("kills", [KILLS, pytest.param(2_000, marks=pytest.mark.soak)])
def test_no_kill_forgets_a_limit_or_applies_it_twice(kills: int, world: AccountWorld) -> None:
    life = Life(world, seed=11)
    while life.kills < kills:
        life.live()
    history = list(life.journal.read())
    active: dict[str, events.LimitReached] = {}
    ended = 0
    for event in history:
        if isinstance(event, events.LimitReached):
            # Not applied twice.
            assert event.limit not in active
            active[event.limit] = event
        elif isinstance(event, events.LimitEnded):
            lock = active.pop(event.limit)
            ended += 1
            assert event.at_ns >= lock.until_ns
        elif isinstance(event, events.OrderCreated):
            # Not forgotten: under a lock only closes are written.
            assert event.position or not active, (event, active)
    reached = [event.limit for event in history if isinstance(event, events.LimitReached)]
    assert {DAILY_LOSS, DRAWDOWN} == set(reached)
    assert ended > 3
    assert life.refused > 20
