"""A bot at an exchange: answers say PLACED alone, and lists show what was seen at real ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.support.order_world import OrderWorld
from trueup.core.model import Side
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import EURUSD, AccountSetup

ACCOUNT = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_EXCHANGE)
SYMBOL = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE)
HABITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "filled orders stay listed": {"filled_orders_listed_ms": 3_000},
    "deals come late": {"deal_lag_ms": 3_000},
    "orders come late": {"order_lag_ms": 1_000, "order_history_lag_ms": 3_000},
    "positions come late": {"position_lag_ms": 3_000},
    "positions show nothing of ours": {
        "positions_show_client": True,
        "comment_replaced_by": "METATRADER5",
    },
    "stops stay listed": {"stop_order_listed_ms": 3_000},
}


def world_with(habit: str) -> OrderWorld:
    return OrderWorld(ACCOUNT, specs=(SYMBOL,), **HABITS[habit])


@pytest.mark.parametrize("with_restart", [False, True], ids=["", "with a restart"])
@pytest.mark.parametrize("habit", HABITS)
def test_orders_that_are_only_placed_are_settled_as_the_exchange_did_them(
    habit: str, with_restart: bool
) -> None:
    world = world_with(habit)
    sent = []
    for lots in (0.1, 0.2, -0.1, -0.5):
        sent.append(world.pm.submit(Side.BUY if lots > 0 else Side.SELL, abs(lots)))
        if with_restart:
            world.restart()
        world.wait_out()
        assert world.status(sent[-1]) == "FILLED"
        assert world.agrees()
        world.quote(1.1013)
    assert len(world.deals()) == len(sent) == len(world.sent())
    assert not world.reconciler.holds


@pytest.mark.parametrize("habit", HABITS)
def test_an_order_that_the_exchange_cancels_is_not_taken_for_filled(habit: str) -> None:
    world = world_with(habit)
    world.terminal.market.set_liquidity("EURUSD", 0.0)
    order = world.pm.submit("buy", 0.1)
    for ticket in list(world.ledger.orders):
        world.person.cancel(ticket)
    world.wait_out()
    assert world.status(order) in ("CANCELED", "REJECTED")
    assert world.book() == world.rows() == {}
    assert not world.reconciler.holds


@pytest.mark.parametrize("habit", HABITS)
def test_a_stop_that_slips_is_explained(habit: str) -> None:
    world = world_with(habit)
    world.pm.submit("buy", 0.1, sl=1.09)
    world.wait_out()
    world.quote(1.0893)
    for _ in range(4):
        world.sync(2.0)
    assert not world.reconciler.holds
    assert world.book() == world.rows() == {}
    assert world.pm.realised == pytest.approx(sum(deal.result for deal in world.deals()))


def test_a_comment_that_ends_in_half_a_character_is_read() -> None:
    world = OrderWorld(comment_prefix="abc")
    world.person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1, comment="a" * 27 + "\U0001f600")
    world.sync()
    assert world.book() == world.rows() != {}
    assert not world.reconciler.holds
