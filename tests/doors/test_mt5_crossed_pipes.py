"""Terminals whose pipes cross: what another account has is never handed out."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import HEDGING
from tests.support.door_world import Called, DoorWorld, deal
from trueup.gateway.terminal.call_wire import Call
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.runtime.time.clock import ManualClock

TERMINALS = 4
SPAN = (1_600_000_000, 1_800_000_000)
# Each makes some 300 calls, most of them to other accounts.
ROUNDS = 60
OWN = {"account 0", "mine", "Initial deposit", ""}


class Crossed(ForwardingTerminal):
    """A pipe that leads to another terminal now and then, for a call or for a while."""

    def __init__(self, terminals: list[Called], chance: random.Random, mean_calls: float) -> None:
        self._terminals, self._chance, self._mean = terminals, chance, mean_calls
        self._at, self._left = 0, 0
        self.is_steady = True
        self.foreign_calls = 0

    def _next(self) -> Called:
        if self.is_steady:
            return self._terminals[0]
        if self._left <= 0:
            self._at = self._chance.randrange(TERMINALS)
            self._left = 1 + int(self._chance.expovariate(1 / self._mean))
        self._left -= 1
        self.foreign_calls += self._at != 0
        return self._terminals[self._at]

    def last_error(self) -> tuple[int, str]:
        return self._terminals[self._at].last_error()

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._next(), function)(*args, **kwargs)

    makes_calls_together = True

    def together(self, calls: list[Call]) -> list[tuple[Any, tuple[int, str]]]:
        """A worker makes them in one exchange, and its pipe may cross between any two."""
        made = []
        for call in calls:
            terminal = self._next()
            value = getattr(terminal, call.function)(*call.args, **call.kwargs)
            made.append((value, terminal.last_error()))
        return made


def account(folder: Path, number: int, clock: ManualClock | None) -> DoorWorld:
    """One of four accounts at one broker, with the same symbols and the same open lots."""
    setup = dataclasses.replace(HEDGING, login=5_000_001 + number)
    world = DoorWorld(folder / str(number), setup, clock=clock, opened=False)
    # Tickets are the broker's, so those of the accounts differ.
    for _ in range(number * 3):
        row = world.terminal.order_send(deal(comment="earlier"))
        assert row is not None
        world.person.close(row.order)
    for _ in range(2):
        world.terminal.order_send(deal(comment=f"account {number}", magic=number))
    return world


@pytest.mark.parametrize("mean_calls", [1, 5, 30])
def test_no_row_of_another_account_is_handed_out(tmp_path: Path, mean_calls: int) -> None:
    chance = random.Random(mean_calls)
    own = account(tmp_path, 0, None)
    others = [account(tmp_path, number, own.clock) for number in range(1, TERMINALS)]
    crossed = Crossed([world.called for world in (own, *others)], chance, mean_calls)
    own.called = crossed  # type: ignore[assignment]
    (tmp_path / "0").mkdir(exist_ok=True)
    door = own.open(magic=7, read_ms=200, resolve_ms=200)
    crossed.is_steady = False
    given = 0
    for _ in range(ROUNDS):
        own.wait(0.2)
        for rows in (
            door.positions_get(),
            door.history_deals_get(*SPAN),
            door.history_orders_get(*SPAN),
        ):
            given += rows is not None
            assert {row.comment for row in rows or ()} <= OWN, rows
        info = door.account_info()
        assert info is None or info.login == 5_000_001
    assert given > 0
    assert crossed.foreign_calls > 500
