"""Pending orders: placing, triggering, expiring, partial fills."""

from __future__ import annotations

import pytest

from tests.sim.sim_world import HEDGING, NETTING, START_MSC, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.structs import TradeOrder
from trueup.sim.market.symbols import AccountSetup

SERVER_NOW = START_MSC // 1000 + 7200
BUY_LIMIT, SELL_LIMIT = mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_LIMIT
BUY_STOP, SELL_STOP = mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP
BUY_STOP_LIMIT = mt5.ORDER_TYPE_BUY_STOP_LIMIT
SELL_STOP_LIMIT = mt5.ORDER_TYPE_SELL_STOP_LIMIT


@pytest.fixture
def world() -> World:
    return World()


def working(world: World) -> tuple[TradeOrder, ...]:
    found = world.terminal.orders_get()
    assert found is not None
    return found


def past(world: World, ticket: int) -> TradeOrder:
    found = world.terminal.history_orders_get(ticket=ticket)
    assert found is not None
    return found[0]


def test_placing_answers_done_without_deal_and_price(world: World) -> None:
    """10009 means placed, not filled: deal 0, price 0.0, the requested volume."""
    result = world.pending(BUY_LIMIT, 1.09, magic=7, comment="p", sl=1.08, tp=1.11)
    assert (result.retcode, result.deal, result.volume, result.price) == (10009, 0, 0.1, 0.0)
    (order,) = working(world)
    assert (order.ticket, order.type, order.state) == (result.order, BUY_LIMIT, 1)
    assert (order.position_id, order.magic, order.comment) == (0, 7, "p")
    assert (order.volume_initial, order.volume_current) == (0.1, 0.1)
    assert (order.price_open, order.sl, order.tp) == (1.09, 1.08, 1.11)
    assert order.price_current == 1.1001
    assert world.positions() == ()


@pytest.mark.parametrize(
    ("kind", "price", "bid"),
    [(BUY_LIMIT, 1.09, 1.0899), (SELL_LIMIT, 1.11, 1.11), (BUY_STOP, 1.11, 1.11),
     (SELL_STOP, 1.09, 1.0899)],
)  # fmt: skip
def test_fill_makes_a_position_with_the_order_ticket(
    world: World, kind: int, price: float, bid: float
) -> None:
    """Deal entry IN, deal.order the pending ticket, reason the order's origin (EXPERT)."""
    placed = world.pending(kind, price, magic=7)
    world.terminal.quote("EURUSD", (1.1 + bid) / 2, (1.1 + bid) / 2 + 0.0001)
    assert len(working(world)) == 1
    world.terminal.quote("EURUSD", bid, bid + 0.0001)
    assert working(world) == ()
    position = world.position()
    assert position.ticket == position.identifier == placed.order
    assert position.type == (0 if kind in (BUY_LIMIT, BUY_STOP) else 1)
    deals = world.terminal.history_deals_get(position=placed.order)
    assert deals is not None
    assert (deals[0].entry, deals[0].order, deals[0].reason) == (0, placed.order, 3)
    order = past(world, placed.order)
    assert (order.state, order.position_id) == (mt5.ORDER_STATE_FILLED, placed.order)
    assert order.volume_current == 0.0


def test_stop_limit_becomes_a_limit_order_then_fills(world: World) -> None:
    placed = world.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.105)
    world.terminal.quote("EURUSD", 1.1101, 1.1102)
    (order,) = working(world)
    assert (order.type, order.price_open, order.price_stoplimit) == (BUY_LIMIT, 1.105, 0.0)
    world.terminal.quote("EURUSD", 1.1048, 1.1049)
    assert world.position().ticket == placed.order


def test_sell_stop_limit(world: World) -> None:
    world.pending(SELL_STOP_LIMIT, 1.09, stoplimit=1.095)
    world.terminal.quote("EURUSD", 1.0899, 1.09)
    assert working(world)[0].type == SELL_LIMIT
    world.terminal.quote("EURUSD", 1.0951, 1.0952)
    assert world.position().type == mt5.POSITION_TYPE_SELL


@pytest.mark.parametrize(
    ("kind", "price", "fields"),
    [
        (BUY_LIMIT, 1.11, {}),
        (SELL_LIMIT, 1.09, {}),
        (BUY_STOP, 1.09, {}),
        (SELL_STOP, 1.11, {}),
        (BUY_LIMIT, 0.0, {}),
        (BUY_LIMIT, 1.090005, {}),
        (BUY_LIMIT, -1.0, {}),
        (BUY_LIMIT, float("nan"), {}),
        (BUY_STOP_LIMIT, 1.11, {}),
        (BUY_STOP_LIMIT, 1.11, {"stoplimit": 1.12}),
        (SELL_STOP_LIMIT, 1.09, {"stoplimit": 1.08}),
    ],
)
def test_wrong_price_is_10015(
    world: World, kind: int, price: float, fields: dict[str, float]
) -> None:
    result = world.pending(kind, price, **fields)
    assert result.retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert result.request_id == 0


def test_price_within_the_stops_level_is_10015(world: World) -> None:
    world.terminal.market.change("EURUSD", stops_level=100)
    near = world.pending(BUY_LIMIT, 1.0995)
    assert near.retcode == mt5.TRADE_RETCODE_INVALID_PRICE
    assert world.pending(BUY_LIMIT, 1.0991).retcode == mt5.TRADE_RETCODE_DONE


def test_levels_are_judged_against_the_order_price(world: World) -> None:
    assert world.pending(BUY_LIMIT, 1.09, sl=1.095).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    assert world.pending(BUY_LIMIT, 1.09, tp=1.095).retcode == mt5.TRADE_RETCODE_DONE


def test_modify_and_no_changes_and_remove(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.09)
    fields = {"action": mt5.TRADE_ACTION_MODIFY, "order": placed.order, "price": 1.085}
    assert world.send(**fields, sl=1.08).retcode == mt5.TRADE_RETCODE_DONE
    assert (working(world)[0].price_open, working(world)[0].sl) == (1.085, 1.08)
    assert world.send(**fields, sl=1.08).retcode == mt5.TRADE_RETCODE_NO_CHANGES
    removal = {"action": mt5.TRADE_ACTION_REMOVE, "order": placed.order}
    assert world.send(**removal).retcode == mt5.TRADE_RETCODE_DONE
    assert working(world) == ()
    assert past(world, placed.order).state == mt5.ORDER_STATE_CANCELED
    # It has changed state meanwhile; a number that never was is simply invalid.
    assert world.send(**removal).retcode == mt5.TRADE_RETCODE_ORDER_CHANGED
    assert world.send(action=8, order=5).retcode == mt5.TRADE_RETCODE_INVALID


def test_person_places_changes_and_cancels(world: World) -> None:
    person = world.terminal.person
    ticket = person.place("EURUSD", BUY_LIMIT, 0.1, 1.09, comment="hand")
    order = working(world)[0]
    assert (order.reason, order.magic) == (mt5.ORDER_REASON_CLIENT, 0)
    person.change(ticket, price=1.085)
    assert working(world)[0].price_open == 1.085
    person.cancel(ticket)
    assert working(world) == ()


def test_a_working_order_is_listed_as_it_is_now(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.05, 0.35)
    assert working(world)[0].price_current == 1.1001
    world.terminal.quote("EURUSD", 1.2, 1.2001)
    assert working(world)[0].price_current == 1.2001
    assert working(world)[0].volume_current == 35 * 0.01 != 0.35
    world.terminal.switches.volume_dust = False
    assert working(world)[0].volume_current == 0.35
    world.terminal.person.change(placed.order, price=1.04)
    assert working(world)[0].price_open == 1.04


def test_specified_expiration_is_in_server_seconds(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.09, type_time=2, expiration=SERVER_NOW + 60)
    assert working(world)[0].time_expiration == SERVER_NOW + 60
    world.clock.advance(59_999)
    assert len(working(world)) == 1
    world.clock.advance(1)
    assert working(world) == ()
    assert past(world, placed.order).state == mt5.ORDER_STATE_EXPIRED


def test_day_orders_end_with_the_server_day(world: World) -> None:
    midnight = (SERVER_NOW // 86_400 + 1) * 86_400
    world.pending(BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_DAY)
    world.pending(
        BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_SPECIFIED_DAY, expiration=midnight + 3600
    )
    assert [row.time_expiration for row in working(world)] == [midnight, midnight + 86_399]
    world.clock.advance((midnight - SERVER_NOW) * 1000)
    assert len(working(world)) == 1


def test_wrong_expiration_is_10022(world: World) -> None:
    late = world.pending(BUY_LIMIT, 1.09, type_time=2, expiration=SERVER_NOW)
    assert late.retcode == mt5.TRADE_RETCODE_INVALID_EXPIRATION
    world.terminal.market.change("EURUSD", expiration_mode=mt5.SYMBOL_EXPIRATION_GTC)
    day = world.pending(BUY_LIMIT, 1.09, type_time=mt5.ORDER_TIME_DAY)
    assert day.retcode == mt5.TRADE_RETCODE_INVALID_EXPIRATION


def test_order_limit_is_10033() -> None:
    world = World(AccountSetup(limit_orders=1))
    assert world.pending(BUY_LIMIT, 1.09).retcode == mt5.TRADE_RETCODE_DONE
    assert world.pending(BUY_LIMIT, 1.09).retcode == mt5.TRADE_RETCODE_LIMIT_ORDERS


def test_freeze_level_forbids_touching_a_near_order(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.0995)
    world.terminal.market.change("EURUSD", freeze_level=100)
    assert world.send(action=8, order=placed.order).retcode == mt5.TRADE_RETCODE_FROZEN


@pytest.mark.parametrize("account", [HEDGING, NETTING])
def test_partly_filled_order_and_position_share_a_ticket(account: AccountSetup) -> None:
    world = World(account)
    placed = world.pending(BUY_LIMIT, 1.09, 0.3)
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    world.terminal.quote("EURUSD", 1.0898, 1.0899)
    (order,) = working(world)
    assert (order.state, order.ticket) == (mt5.ORDER_STATE_PARTIAL, placed.order)
    assert order.volume_current == pytest.approx(0.2)
    assert world.position().ticket == placed.order
    assert world.position().volume == 0.1
    # The rest fills at another price into the same position.
    world.terminal.quote("EURUSD", 1.091, 1.0911)
    world.terminal.broker.supply("EURUSD", None)
    assert working(world) == ()
    assert world.position().volume == pytest.approx(0.3)
    assert world.position().price_open == 1.0907


def test_ticket_reappears_when_the_first_part_was_closed(world: World) -> None:
    """A position with the same ticket comes back when the rest of its order fills."""
    placed = world.pending(BUY_LIMIT, 1.09, 0.3)
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    world.terminal.quote("EURUSD", 1.0898, 1.0899)
    world.terminal.broker.supply("EURUSD", 0.1)
    world.terminal.market.set_liquidity("EURUSD", 0.3)
    world.terminal.person.close(placed.order)
    assert world.positions() == ()
    world.terminal.broker.supply("EURUSD", None)
    position = world.position()
    assert position.ticket == position.identifier == placed.order
    assert position.volume == 0.1


def test_activation_without_money_rejects_the_order(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.09, 50.0)
    world.terminal.quote("EURUSD", 1.0898, 1.0899)
    assert past(world, placed.order).state == mt5.ORDER_STATE_REJECTED
    assert world.positions() == ()


def test_fok_pending_order_is_cancelled_without_liquidity(world: World) -> None:
    placed = world.pending(BUY_LIMIT, 1.09, 0.3, type_filling=mt5.ORDER_FILLING_FOK)
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    world.terminal.quote("EURUSD", 1.0898, 1.0899)
    assert past(world, placed.order).state == mt5.ORDER_STATE_CANCELED


def test_stop_order_fills_at_the_market_across_a_gap(world: World) -> None:
    world.pending(BUY_STOP, 1.11)
    world.terminal.quote("EURUSD", 1.12, 1.1201)
    assert world.position().price_open == 1.1201
