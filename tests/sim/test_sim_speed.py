"""Ten thousand positions are no special case. Bounds are ten times the CPU time measured."""

from __future__ import annotations

import time

from tests.sim.sim_world import World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import AccountSetup

COUNT = 10_000


def test_ten_thousand_positions_open_and_list_quickly() -> None:
    world = World(AccountSetup(balance=100_000_000.0))
    start = time.process_time()
    tickets = world.terminal.person.open_many("EURUSD", mt5.ORDER_TYPE_BUY, 0.01, COUNT)
    opened = time.process_time()
    first = world.positions()
    listed = time.process_time()
    assert [row.ticket for row in first] == tickets
    assert opened - start < COUNT * 1e-3
    assert listed - opened < 1.0


def test_a_list_without_change_costs_nothing_that_grows() -> None:
    world = World(AccountSetup(balance=100_000_000.0))
    world.terminal.person.open_many("EURUSD", mt5.ORDER_TYPE_BUY, 0.01, 2_000)
    first = world.positions()
    start = time.process_time()
    for _ in range(100):
        assert world.positions() is first
    assert time.process_time() - start < 0.5
    # A change of one position builds one row.
    world.terminal.person.close(first[0].ticket)
    assert all(one is other for one, other in zip(first[1:], world.positions(), strict=True))
