"""A terminal that shows a change late: no list is given that lacks what the program has done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import HEDGING, NETTING
from tests.support.door_world import SELL, DoorWorld, deal
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import Fails

DONE, REJECT = mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_REJECT
LIMIT: dict[str, Any] = {
    "action": mt5.TRADE_ACTION_PENDING,
    "type": mt5.ORDER_TYPE_BUY_LIMIT,
    "price": 1.05,
}
MANY = 1_000


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
def test_a_position_is_listed_right_after_its_order(tmp_path: Path, account: AccountSetup) -> None:
    world = DoorWorld(tmp_path, account, position_lag_ms=700)
    result = world.door.order_send(deal())
    assert [row.ticket for row in world.door.positions_get()] == [result.order]


def test_a_part_that_was_closed_and_a_stop_that_was_moved_are_listed_at_once(
    tmp_path: Path,
) -> None:
    world = DoorWorld(tmp_path, position_lag_ms=700)
    ticket = world.door.order_send(deal()).order
    world.door.order_send(deal(SELL, 0.04, position=ticket))
    assert [row.volume for row in world.door.positions_get()] == [0.06]
    levels = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "sl": 1.05, "tp": 0.0}
    world.door.order_send({**levels, "position": ticket})
    assert [row.sl for row in world.door.positions_get()] == [1.05]
    world.door.order_send(deal(SELL, 0.06, position=ticket))
    assert world.door.positions_get() == ()


def test_a_pending_order_is_listed_right_after_it_was_placed(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path, order_lag_ms=700)
    ticket = world.door.order_send(deal(**LIMIT)).order
    assert [row.ticket for row in world.door.orders_get()] == [ticket]


def test_a_terminal_that_starts_again_right_after_an_order_shows_no_empty_list(
    tmp_path: Path,
) -> None:
    world = DoorWorld(tmp_path)
    world.door.order_send(deal())
    # The terminal knows its account, and no position yet.
    world.terminal.restart()
    assert world.door.positions_get() is None or world.open_lots == 0.1
    world.wait(3)
    assert len(world.door.positions_get()) == 1


def test_a_position_of_the_program_is_closed_while_the_lists_fail(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    ticket = world.door.order_send(deal()).order
    world.terminal.faults.next_call("positions_get", *[Fails()] * MANY)
    world.wait(1)
    assert world.door.order_send(deal(SELL, position=ticket)).retcode == DONE
    assert world.open_lots == 0


def test_what_cannot_be_sent_now_is_not_called_an_invalid_request(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    ticket = world.door.order_send(deal()).order
    other = world.person.open("EURUSD", 0, 0.1)
    world.wait(1)
    world.terminal.faults.next_call("account_info", *[Fails()] * MANY)
    for named in (ticket, other):
        refused = world.door.order_send(deal(SELL, position=named))
        assert (refused.retcode, "account_info" in refused.comment) == (REJECT, True)


def test_a_row_of_another_program_is_found_within_the_shared_reading(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.order_send(deal(symbol="GBPUSD"))
    world.door.positions_get()
    ticket, order = world.person.open("EURUSD", 0, 0.1), world.person.place("EURUSD", 2, 0.1, 1.05)
    removed = world.door.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": order})
    assert removed.retcode == DONE
    assert world.door.order_send(deal(SELL, position=ticket)).retcode == DONE
