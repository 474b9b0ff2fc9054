"""Hedging accounts: any number of positions a symbol, each with its own ticket.

Every test names the fact about MetaTrader 5 that it holds the simulated server to.
"""

from __future__ import annotations

import pytest

from tests.sim.sim_world import FOREVER, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.switches import DealTicketMeans


@pytest.fixture
def world() -> World:
    return World()


def test_opening_makes_a_position_with_the_ticket_of_its_order(world: World) -> None:
    """The position ticket is the opening order's; deals count in a sequence of their own."""
    result = world.buy(0.1, magic=2**64 - 1, comment="token-1", sl=1.09, tp=1.12)
    assert result.retcode == mt5.TRADE_RETCODE_DONE
    assert result.comment == "Request executed"
    assert (result.volume, result.price) == (0.1, 1.1001)
    assert (result.bid, result.ask) == (1.1, 1.1001)
    assert result.request_id > 0
    position = world.position()
    assert position.ticket == position.identifier == result.order
    assert result.deal not in (0, result.order)
    assert (position.type, position.volume, position.price_open) == (0, 0.1, 1.1001)
    assert (position.magic, position.comment) == (2**64 - 1, "token-1")
    assert (position.sl, position.tp) == (1.09, 1.12)
    assert position.reason == mt5.POSITION_REASON_EXPERT


def test_current_price_is_bid_for_a_buy_and_ask_for_a_sell(world: World) -> None:
    world.buy(0.1)
    world.sell(0.1)
    world.terminal.quote("EURUSD", 1.102, 1.1022)
    buy, sell = world.positions()
    assert (buy.price_current, sell.price_current) == (1.102, 1.1022)
    assert (buy.profit, sell.profit) == (19.0, -22.0)


def test_opposite_deal_without_position_opens_an_opposite_position(world: World) -> None:
    world.buy(0.1)
    world.sell(0.1)
    assert [row.type for row in world.positions()] == [0, 1]


def test_same_direction_opens_another_position(world: World) -> None:
    first, second = world.buy(0.1), world.buy(0.2)
    assert [row.ticket for row in world.positions()] == [first.order, second.order]


def test_partial_close_keeps_ticket_identifier_and_open_price(world: World) -> None:
    opened = world.buy(0.3, sl=1.09)
    before = world.position()
    world.clock.advance(5_000)
    closed = world.sell(0.1, position=opened.order)
    after = world.position()
    assert (after.ticket, after.identifier) == (before.ticket, before.identifier)
    assert (after.price_open, after.sl, after.time) == (before.price_open, 1.09, before.time)
    assert after.volume == pytest.approx(0.2)
    # `time_update` is the time of the last change of volume.
    assert after.time_update_msc == before.time_msc + 5_000
    deal = world.terminal.ledger.deals[closed.deal]
    assert (deal.entry, deal.position_id) == (mt5.DEAL_ENTRY_OUT, before.identifier)


def test_full_close_removes_the_position(world: World) -> None:
    opened = world.buy(0.3)
    world.sell(0.3, position=opened.order)
    assert world.positions() == ()


def test_close_beyond_the_position_is_10038(world: World) -> None:
    opened = world.buy(0.1)
    result = world.sell(0.2, position=opened.order)
    assert result.retcode == mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    assert world.position().volume == 0.1


def test_close_of_a_closed_position_is_10036(world: World) -> None:
    opened = world.buy(0.1)
    world.terminal.person.close(opened.order)
    result = world.sell(0.1, position=opened.order)
    assert result.retcode == mt5.TRADE_RETCODE_POSITION_CLOSED
    assert world.positions() == ()


def test_close_of_a_ticket_that_never_was_is_10013(world: World) -> None:
    assert world.sell(0.1, position=5).retcode == mt5.TRADE_RETCODE_INVALID


def test_close_in_the_same_direction_or_another_symbol_is_10013(world: World) -> None:
    opened = world.buy(0.1)
    assert world.buy(0.1, position=opened.order).retcode == mt5.TRADE_RETCODE_INVALID
    wrong = world.sell(0.1, "GBPUSD", position=opened.order)
    assert wrong.retcode == mt5.TRADE_RETCODE_INVALID


def test_links_between_order_deal_and_position(world: World) -> None:
    """deal.order is the order, deal.position_id and order.position_id the identifier."""
    opened = world.buy(0.2, magic=7)
    closed = world.sell(0.2, position=opened.order, magic=9)
    orders = world.terminal.history_orders_get(position=opened.order)
    deals = world.terminal.history_deals_get(position=opened.order)
    assert orders is not None
    assert deals is not None
    assert [order.ticket for order in orders] == [opened.order, closed.order]
    assert [deal.order for deal in deals] == [opened.order, closed.order]
    assert {order.position_id for order in orders} == {opened.order}
    assert [order.state for order in orders] == [mt5.ORDER_STATE_FILLED] * 2
    assert [order.volume_current for order in orders] == [0.0, 0.0]
    # The magic of a deal is that of its order.
    assert [deal.magic for deal in deals] == [7, 9]
    assert [deal.entry for deal in deals] == [mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT]


def test_history_by_ticket(world: World) -> None:
    """`history_deals_get(ticket=)` gives at most one deal; which number it means is open."""
    opened = world.buy(0.2)
    world.sell(0.1, position=opened.order)
    by_deal = world.terminal.history_deals_get(ticket=opened.deal)
    assert by_deal is not None
    assert [deal.ticket for deal in by_deal] == [opened.deal]
    assert world.terminal.history_deals_get(ticket=opened.order) == ()
    orders = world.terminal.history_orders_get(ticket=opened.order)
    assert orders is not None
    assert len(orders) == 1
    by_order = World(deal_ticket_means=DealTicketMeans.ORDER)
    opened = by_order.buy(0.2)
    found = by_order.terminal.history_deals_get(ticket=opened.order)
    assert found is not None
    assert [deal.ticket for deal in found] == [opened.deal]


def test_manual_close_has_magic_0_and_reason_client(world: World) -> None:
    opened = world.buy(0.1, magic=7)
    closing = world.terminal.person.close(opened.order)
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    assert (deals[-1].order, deals[-1].magic, deals[-1].reason) == (
        closing,
        0,
        mt5.DEAL_REASON_CLIENT,
    )


@pytest.mark.parametrize(
    ("reason", "shown"),
    [(mt5.ORDER_REASON_MOBILE, 1), (mt5.ORDER_REASON_WEB, 2)],
)
def test_hand_on_phone_or_browser_leaves_its_reason(world: World, reason: int, shown: int) -> None:
    ticket = world.terminal.somebody(reason).open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1)
    assert (world.position().ticket, world.position().reason) == (ticket, shown)


def test_another_robot_leaves_its_magic(world: World) -> None:
    world.terminal.robot(555).open("EURUSD", mt5.ORDER_TYPE_SELL, 0.1, comment="other")
    position = world.position()
    assert (position.magic, position.reason) == (555, mt5.POSITION_REASON_EXPERT)


def test_close_by_closes_the_smaller_volume_on_both(world: World) -> None:
    """One order of type 8, two deals OUT_BY; the remainder keeps ticket and open price."""
    buy = world.buy(0.3)
    world.terminal.quote("EURUSD", 1.105, 1.1051)
    sell = world.sell(0.1)
    result = world.send(
        action=mt5.TRADE_ACTION_CLOSE_BY, position=buy.order, position_by=sell.order
    )
    assert result.retcode == mt5.TRADE_RETCODE_DONE
    rest = world.position()
    assert (rest.ticket, rest.price_open) == (buy.order, 1.1001)
    assert rest.volume == pytest.approx(0.2)
    orders = world.terminal.history_orders_get(ticket=result.order)
    assert orders is not None
    order = orders[0]
    assert (order.type, order.state) == (mt5.ORDER_TYPE_CLOSE_BY, mt5.ORDER_STATE_FILLED)
    assert (order.position_id, order.position_by_id) == (buy.order, sell.order)
    assert str(buy.order) in order.comment
    assert str(sell.order) in order.comment
    deals = world.terminal.history_deals_get(1, FOREVER)
    assert deals is not None
    first, second = deals[-2:]
    assert first.entry == second.entry == mt5.DEAL_ENTRY_OUT_BY
    # The first deal closes `position` at the other's open price, with the whole profit.
    assert (first.position_id, first.type, first.price) == (buy.order, 1, 1.105)
    assert first.profit == round((1.105 - 1.1001) * 10_000, 2)
    # The second closes `position_by` at the first's open price, with none.
    assert (second.position_id, second.type, second.price) == (sell.order, 0, 1.1001)
    assert second.profit == 0.0


def test_close_by_of_equal_volumes_removes_both(world: World) -> None:
    buy, sell = world.buy(0.1), world.sell(0.1)
    world.terminal.person.close_by(sell.order, buy.order)
    assert world.positions() == ()


def test_close_by_needs_opposite_positions_of_one_symbol_that_allows_it(world: World) -> None:
    first, second, other = world.buy(0.1), world.buy(0.1), world.sell(0.1, "GBPUSD")
    opposite = world.sell(0.1)

    def retcode(position: int, position_by: int) -> int:
        return world.send(
            action=mt5.TRADE_ACTION_CLOSE_BY, position=position, position_by=position_by
        ).retcode

    assert retcode(first.order, second.order) == mt5.TRADE_RETCODE_INVALID
    assert retcode(first.order, other.order) == mt5.TRADE_RETCODE_INVALID
    world.terminal.market.change("EURUSD", order_mode=63)
    assert retcode(first.order, opposite.order) == mt5.TRADE_RETCODE_INVALID_ORDER


def test_sltp_overwrites_both_levels_and_leaves_time_update(world: World) -> None:
    opened = world.buy(0.1, sl=1.09, tp=1.12)
    before = world.position()
    world.clock.advance(1_000)
    fields = {"action": mt5.TRADE_ACTION_SLTP, "position": opened.order, "symbol": "EURUSD"}
    result = world.send(**fields, tp=1.13)
    # Applied: every number of the answer but the retcode is zero.
    assert result[:7] == (mt5.TRADE_RETCODE_DONE, 0, 0, 0.0, 0.0, 0.0, 0.0)
    after = world.position()
    assert (after.sl, after.tp) == (0.0, 1.13)
    assert after.time_update_msc == before.time_update_msc
    assert world.send(**fields, tp=1.13).retcode == mt5.TRADE_RETCODE_NO_CHANGES


def test_person_moves_and_removes_levels(world: World) -> None:
    opened = world.buy(0.1, sl=1.09, tp=1.12)
    world.terminal.person.modify(opened.order, sl=1.095)
    assert (world.position().sl, world.position().tp) == (1.095, 1.12)
    world.terminal.person.modify(opened.order, sl=0.0, tp=0.0)
    assert (world.position().sl, world.position().tp) == (0.0, 0.0)


def test_volumes_carry_representation_error_unless_switched_off() -> None:
    """Volumes are floats with the error of a product: 35 steps of 0.01 are not 0.35."""
    world = World()
    world.buy(0.35)
    assert world.position().volume == 35 * 0.01 != 0.35
    world.terminal.switches.volume_dust = False
    assert world.position().volume == 0.35


def test_rows_are_the_same_objects_until_something_changes(world: World) -> None:
    world.buy(0.1)
    world.buy(0.1, "GBPUSD")
    before = world.positions()
    assert world.positions() is before
    world.terminal.quote("EURUSD", 1.2, 1.2001)
    after = world.positions()
    assert after[0] is not before[0]
    assert after[1] is before[1]
