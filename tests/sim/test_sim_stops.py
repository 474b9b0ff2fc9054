"""Stop loss, take profit and stop out: the server closes by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.sim_world import World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.records import Refusal
from trueup.sim.market.structs import TradeDeal, TradeOrder
from trueup.sim.market.symbols import AccountSetup

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL


def exit_of(world: World, identifier: int) -> tuple[TradeDeal, TradeOrder]:
    deals = world.terminal.history_deals_get(position=identifier)
    assert deals
    orders = world.terminal.history_orders_get(ticket=deals[-1].order)
    assert orders
    return deals[-1], orders[0]


def test_a_level_set_by_hand_works_and_a_removed_one_does_not() -> None:
    world = World()
    first, second = world.buy(0.1, sl=1.09), world.buy(0.1)
    world.terminal.person.modify(first.order, sl=0.0)
    world.terminal.person.modify(second.order, sl=1.095)
    world.terminal.quote("EURUSD", 1.08, 1.0801)
    assert world.position().ticket == first.order


def test_closed_market_triggers_nothing() -> None:
    world = World()
    world.buy(0.1, sl=1.09)
    world.terminal.market.set_open("EURUSD", False)
    world.terminal.quote("EURUSD", 1.08, 1.0801)
    assert len(world.positions()) == 1
    world.terminal.market.set_open("EURUSD", True)
    world.terminal.quote("EURUSD", 1.08, 1.0801)
    assert world.positions() == ()


@pytest.mark.parametrize(
    ("side", "levels"),
    [
        (BUY, {"sl": 1.1}),
        (BUY, {"tp": 1.1}),
        (SELL, {"sl": 1.1001}),
        (SELL, {"tp": 1.1001}),
        (BUY, {"sl": 1.090001}),
        (BUY, {"sl": -1.0}),
        (BUY, {"sl": float("nan")}),
        (BUY, {"tp": float("inf")}),
    ],
)
def test_bad_levels_are_10016(side: int, levels: dict[str, Any]) -> None:
    world = World()
    assert world.deal(side, 0.1, **levels).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    opened = world.deal(side, 0.1)
    changed = world.send(action=mt5.TRADE_ACTION_SLTP, position=opened.order, **levels)
    assert changed.retcode == mt5.TRADE_RETCODE_INVALID_STOPS


def test_stops_level_is_a_minimum_distance() -> None:
    world = World()
    world.terminal.market.change("EURUSD", stops_level=50)
    assert world.buy(0.1, sl=1.0996).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert world.buy(0.1, sl=1.0995).retcode == mt5.TRADE_RETCODE_DONE


def test_freeze_level_forbids_moving_a_near_level() -> None:
    world = World()
    opened = world.buy(0.1, sl=1.0998)
    world.terminal.market.change("EURUSD", freeze_level=50)
    moved = world.send(action=mt5.TRADE_ACTION_SLTP, position=opened.order, sl=1.09)
    assert moved.retcode == mt5.TRADE_RETCODE_FROZEN


def test_some_servers_refuse_levels_at_opening() -> None:
    """Open first, set the levels afterwards, and be ready for an unprotected moment."""
    world = World(stops_refused_at_open=True)
    assert world.buy(0.1, sl=1.09).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    opened = world.buy(0.1)
    changed = world.send(action=mt5.TRADE_ACTION_SLTP, position=opened.order, sl=1.09)
    assert changed.retcode == mt5.TRADE_RETCODE_DONE


def test_symbol_may_take_no_levels() -> None:
    world = World()
    world.terminal.market.change("EURUSD", order_mode=1)
    assert world.buy(0.1, sl=1.09).retcode == mt5.TRADE_RETCODE_INVALID_ORDER
    assert world.buy(0.1, tp=1.19).retcode == mt5.TRADE_RETCODE_INVALID_ORDER


def test_stop_out_closes_the_largest_loss_first_until_the_level_holds() -> None:
    world = World(AccountSetup(balance=2_000.0))
    small = world.buy(0.5)
    large = world.buy(1.0)
    world.terminal.quote("EURUSD", 1.0925, 1.0926)
    assert len(world.positions()) == 2
    world.terminal.quote("EURUSD", 1.092, 1.0921)
    assert world.position().ticket == small.order
    deal, order = exit_of(world, large.order)
    assert (deal.reason, order.reason) == (mt5.DEAL_REASON_SO, mt5.ORDER_REASON_SO)
    assert deal.comment.startswith("[so ")
    figures = world.terminal.ledger.figures()
    assert figures.margin_level > 50.0


def test_stop_out_in_money() -> None:
    world = World(
        AccountSetup(
            balance=2_000.0, stop_out_mode=mt5.ACCOUNT_STOPOUT_MODE_MONEY, stop_out=1_000.0
        )
    )
    world.buy(1.0)
    world.terminal.quote("EURUSD", 1.0902, 1.0903)
    assert len(world.positions()) == 1
    world.terminal.quote("EURUSD", 1.09, 1.0901)
    assert world.positions() == ()


@pytest.mark.parametrize(
    ("bid", "loss", "stop_out"),
    [
        # 0.6671 each, rounded to 0.67: less is left than the totals come to.
        (149.912, 6.70, 9_993.31),
        # 0.6537 each, rounded to 0.65: more is left.
        (149.914, 6.50, 9_993.48),
    ],
)
def test_stop_out_goes_by_the_results_as_they_are_shown(
    bid: float, loss: float, stop_out: float
) -> None:
    world = World(
        AccountSetup(stop_out_mode=mt5.ACCOUNT_STOPOUT_MODE_MONEY, stop_out=stop_out),
    )
    for _ in range(10):
        world.buy(0.01, "USDJPY")
    world.terminal.quote("USDJPY", bid, bid + 0.012)
    left = world.terminal.ledger.figures().equity
    assert left == pytest.approx(10_000 - loss)
    assert len(world.positions()) == (10 if left >= stop_out else 0)


def test_stop_out_waits_for_an_open_market() -> None:
    world = World(AccountSetup(balance=1_500.0))
    world.buy(1.0)
    world.terminal.market.set_open("EURUSD", False)
    world.terminal.quote("EURUSD", 1.08, 1.0801)
    world.terminal.quote("GBPUSD", 1.25, 1.2501)
    assert len(world.positions()) == 1


def test_the_order_of_a_triggered_stop_can_be_changed_and_removed_by_nobody() -> None:
    world = World(stop_order_listed_ms=3_000)
    world.buy(0.1, sl=1.09)
    world.terminal.quote("EURUSD", 1.0899, 1.09)
    (listed,) = world.terminal.orders_get() or ()
    for action in (mt5.TRADE_ACTION_REMOVE, mt5.TRADE_ACTION_MODIFY):
        answer = world.send(action=action, order=listed.ticket, price=1.08)
        assert answer.retcode == mt5.TRADE_RETCODE_FROZEN
    with pytest.raises(Refusal):
        world.terminal.person.cancel(listed.ticket)
    world.clock.advance(3_000)
    world.terminal.quote("EURUSD", 1.0899, 1.09)
    assert (world.positions(), world.terminal.orders_get()) == ((), ())
