"""Live numbers are never equal: whole lists are believed in a busy market, and no other.

Eight positions, one in each of eight symbols. Every call of the terminal takes its time by the
simulated clock, and meanwhile quotations come, at random and in bursts, as on a day of news.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.desk_world import BUY, DeskWorld, figures
from tests.support.rewritten import changed
from trueup.gateway.desk.desk import Desk
from trueup.sim.market.symbols import EURUSD, AccountSetup

NAMES = tuple(f"PAIR{number:02d}" for number in range(8))
SYMBOLS = (EURUSD, *(dataclasses.replace(EURUSD, name=name) for name in NAMES))
RICH = AccountSetup(balance=1_000_000.0)


class Busy:
    """A terminal whose calls take their time, in a market that does not wait for them."""

    def __init__(self, world: BusyWorld) -> None:
        self._world, self._chance = world, random.Random(7)
        self._next_sec = 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        world = self._world
        told = getattr(world.terminal, name)

        def call(*args: Any, **named: Any) -> Any:
            self._go_on()
            answer = told(*args, **named)
            rewrite = world.rewrites.get(name)
            return answer if rewrite is None else rewrite(answer)

        return call

    def _go_on(self) -> None:
        world, passed_sec = self._world, self._world.ms_a_call / 1000
        world.clock.advance(passed_sec)
        self._next_sec -= passed_sec
        while world.ticks_a_sec and self._next_sec < 0.0:
            self._next_sec += self._chance.expovariate(world.ticks_a_sec)
            bid = round(1.1 + self._chance.randint(-20, 20) * 1e-5, 5)
            world.terminal.quote(self._chance.choice(NAMES), bid, round(bid + 0.0001, 5))


class BusyWorld(DeskWorld):
    """A `DeskWorld` in a busy market."""

    def __init__(self) -> None:
        self.ms_a_call, self.ticks_a_sec = 0.0, 0.0
        self.rewrites: dict[str, Callable[[Any], Any]] = {}
        super().__init__(RICH, specs=SYMBOLS)
        for name in NAMES:
            self.terminal.quote(name, 1.1, 1.1001)
            self.person.open(name, BUY, 1.0)
        assert self.sync().status.value == "SUCCESS"

    def restart_gateway(self) -> None:
        """Start the gateway anew: a new epoch."""
        super().restart_gateway()
        terminal: Any = Busy(self)
        self.desk = Desk(terminal, f"boot{self.boots}", self.clock.now_ns)

    def hasten(self, ticks_a_sec: float, ms_a_call: float) -> None:
        """Let the market be busy, and the terminal slow, from now on."""
        self.ticks_a_sec, self.ms_a_call = ticks_a_sec, ms_a_call

    def believed(self, looks: int) -> int:
        """How many of so many looks are believed, every other one by the loop."""
        count = 0
        for number in range(looks):
            result = self.sync(5) if number % 2 else self.turned()
            count += result.status.value == "SUCCESS"
        return count

    def turned(self) -> Any:
        """The result of a look that waits for nothing."""
        self.wait(15)
        while True:
            result = self.reconciler.sync_continuous()
            if result is not None:
                return result


@pytest.mark.parametrize(
    ("ticks_a_sec", "ms_a_call"),
    [(120, 0.2), (120, 1.0), (120, 2.0), (420, 0.3), (420, 1.0), (420, 2.0)],
)
def test_99_of_100_whole_lists_are_believed(ticks_a_sec: int, ms_a_call: float) -> None:
    world = BusyWorld()
    world.hasten(ticks_a_sec, ms_a_call)
    assert world.believed(100) >= 99


def without_one(rows: Any) -> Any:
    """A list that lacks its last row."""
    return rows[:-1] if rows else rows


@pytest.mark.parametrize(("ticks_a_sec", "ms_a_call"), [(0, 0.0), (120, 0.2), (420, 1.0)])
def test_no_list_is_believed_that_lacks_one_position(ticks_a_sec: int, ms_a_call: float) -> None:
    """The terminal's own counts decide, whatever the results add up to."""
    world = BusyWorld()
    before = world.state()
    world.hasten(ticks_a_sec, ms_a_call)
    world.rewrites["positions_get"] = without_one
    assert world.believed(100) == 0
    assert world.state() == before


@pytest.mark.parametrize(("ticks_a_sec", "ms_a_call"), [(0, 0.0), (10, 0.2)])
def test_a_list_that_the_counts_agree_with_is_refused_by_what_it_adds_up_to(
    ticks_a_sec: int, ms_a_call: float
) -> None:
    """A terminal that lacks a position in all that it counts, and whose account has its result."""
    world = BusyWorld()
    world.terminal.quote(NAMES[-1], 1.105, 1.1051)
    world.sync()
    world.hasten(ticks_a_sec, ms_a_call)
    world.rewrites["positions_get"] = lambda rows: tuple(r for r in rows if r.symbol != NAMES[-1])
    world.rewrites["positions_total"] = lambda count: count - 1
    assert world.believed(100) == 0


def test_a_reading_that_is_not_believed_is_asked_for_again_at_once_and_nobody_backs_off() -> None:
    world = BusyWorld()
    world.rewrites["account_info"] = lambda row: changed(row, profit=row.profit + 100.0)
    for _ in range(6):
        result = world.turned()
        assert result.status.value == "DEGRADED"
        assert "add up to" in result.errors[0]
        due_sec = world.reconciler.get_status()["next_sync_due"] - world.clock.now_ns() / 1e9
        assert due_sec <= 1.0
    world.rewrites.clear()
    world.wait(1.0)
    assert figures(world.turned()) == ("SUCCESS", 0, 0, 0)


def test_a_quiet_market_costs_one_reading() -> None:
    world = BusyWorld()
    asked: list[None] = []

    def counted(rows: Any) -> Any:
        asked.append(None)
        return rows

    world.rewrites["positions_get"] = counted
    world.sync()
    assert len(asked) == 1
