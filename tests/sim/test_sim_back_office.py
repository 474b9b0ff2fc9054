"""What a broker's back office does after the trade: late charges, corrections, rolls, archives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.sim.sim_world import FOREVER, HEDGING, START_MSC, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.broker import Broker
from trueup.sim.market.structs import TradeDeal
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, EURUSD, Charged
from trueup.sim.terminal.terminal_faults import PlacedLater

NEXT = dataclasses.replace(EURUSD, name="EURUSD_DEC", bid=1.2, ask=1.2001)


def deals_of(world: World, position: int) -> tuple[TradeDeal, ...]:
    found = world.terminal.history_deals_get(position=position)
    assert found is not None
    return found


def balance(world: World) -> float:
    found = world.terminal.account_info()
    assert found is not None
    return float(found.balance)


def test_a_commission_charged_late_is_in_its_deal_and_in_the_balance() -> None:
    world = World()
    opened = world.buy(0.1)
    world.terminal.broker.charge_commission(HEDGING.login, opened.deal, -1.75)
    world.terminal.broker.charge_commission(HEDGING.login, opened.deal, -0.25)
    (deal,) = deals_of(world, opened.order)
    assert (deal.commission, balance(world)) == (-2.0, 9_998.0)


def test_a_deal_is_amended_in_what_it_brought_and_in_nothing_else() -> None:
    world = World()
    opened = world.buy(0.1)
    broker, login = world.terminal.broker, HEDGING.login
    broker.amend_deal(login, opened.deal, price=1.2, profit=5.0, swap=-1.0, fee=-0.5)
    (deal,) = deals_of(world, opened.order)
    assert (deal.price, deal.profit, deal.swap, deal.fee) == (1.2, 5.0, -1.0, -0.5)
    assert balance(world) == 10_003.5
    with pytest.raises(TypeError, match="cannot be amended: volume"):
        broker.amend_deal(login, opened.deal, volume=0.2)


def test_the_balance_follows_a_cancelled_deal_by_an_operation_of_its_own() -> None:
    world = World()
    opened = world.buy(0.1)
    world.terminal.quote("EURUSD", 1.1011, 1.1012)
    closed = world.sell(0.1, position=opened.order)
    before = balance(world)
    assert before == 10_010.0
    world.terminal.broker.cancel_deal(HEDGING.login, closed.deal, correction_after_ms=5_000)
    _, deal = deals_of(world, opened.order)
    assert (deal.type, deal.profit, deal.volume) == (mt5.DEAL_TYPE_SELL_CANCELED, 0.0, 0.1)
    assert balance(world) == before
    world.clock.advance(5_000)
    assert balance(world) == 10_000.0
    everything = world.terminal.history_deals_get(1, FOREVER)
    assert everything is not None
    last = everything[-1]
    assert (last.type, last.profit, last.position_id) == (mt5.DEAL_TYPE_BALANCE, -10.0, 0)


def test_a_roll_goes_on_in_the_next_contract_as_another_position() -> None:
    world = World(symbols=(*DEFAULT_SYMBOLS, NEXT))
    opened = world.buy(0.1, sl=1.05)
    world.clock.advance(1_000)
    world.terminal.broker.roll(
        HEDGING.login, opened.order, NEXT.name, price_out=1.101, price_in=1.2001
    )
    entry, out = deals_of(world, opened.order)
    now = world.position()
    (again,) = deals_of(world, now.identifier)
    assert (now.symbol, now.volume, now.type) == (NEXT.name, 0.1, mt5.POSITION_TYPE_BUY)
    assert (now.price_open, now.sl, now.identifier) == (1.2001, 0.0, now.ticket)
    assert now.identifier not in (opened.order, 0)
    assert [d.entry for d in (entry, out, again)] == [0, 1, 0]
    assert [d.reason for d in (out, again)] == [mt5.DEAL_REASON_ROLLOVER] * 2
    assert (out.profit, out.symbol, again.symbol) == (9.0, "EURUSD", NEXT.name)
    assert out.time_msc == again.time_msc == now.time_update_msc


def test_what_is_archived_is_in_no_history_and_the_rest_is() -> None:
    world = World()
    opened = world.buy(0.1)
    world.clock.advance(1_000)
    closed = world.sell(0.1, position=opened.order)
    switches = world.terminal.switches
    switches.history_begins_msc = START_MSC + switches.server_offset_minutes * 60_000 + 1_000
    assert [deal.ticket for deal in deals_of(world, opened.order)] == [closed.deal]
    assert world.terminal.history_orders_get(ticket=opened.order) == ()
    orders = world.terminal.history_orders_get(1, FOREVER)
    assert orders is not None
    assert [order.ticket for order in orders] == [closed.order]
    assert world.terminal.history_deals_total(1, FOREVER) == 1


def test_the_newest_word_on_a_deal_is_not_overtaken_by_an_older_one() -> None:
    world = World()
    world.terminal.switches.deal_lag_ms = 40_000
    opened = world.buy(0.1)
    world.terminal.switches.deal_lag_ms = 0
    world.terminal.broker.charge_commission(HEDGING.login, opened.deal, -1.75)
    world.clock.advance(40_000)
    (deal,) = deals_of(world, opened.order)
    assert deal.commission == -1.75


@pytest.mark.parametrize(
    "work",
    [
        lambda broker, login, held: broker.settle_variation_margin("EURUSD", 1.105),
        lambda broker, login, held: broker.reopen(login, held, 1.1, mt5.DEAL_REASON_ROLLOVER),
        lambda broker, login, held: broker.roll(
            login, held, NEXT.name, price_out=1.1, price_in=1.2
        ),
        lambda broker, login, held: broker.split("EURUSD", 2),
        lambda broker, login, held: broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, 5.0),
        lambda broker, login, held: broker.change_day(),
        lambda broker, login, held: broker.supply("EURUSD", 1.0),
    ],
    ids=["margin", "reopen", "roll", "split", "balance", "day", "supply"],
)
def test_tickets_of_deals_have_the_order_of_their_times(
    work: Callable[[Broker, int, int], object],
) -> None:
    """An order that is executed later comes before what the back office does after that time."""
    daily = dataclasses.replace(EURUSD, commission_per_lot=7.0, commission_charged=Charged.DAILY)
    others = [symbol for symbol in DEFAULT_SYMBOLS if symbol.name != "EURUSD"]
    world = World(symbols=(daily, *others, NEXT))
    broker, login = world.terminal.broker, HEDGING.login
    held = world.buy(0.1).order
    # The rest of this order waits for volume.
    world.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09, 0.2)
    broker.supply("EURUSD", 0.1)
    broker.quote("EURUSD", 1.0898, 1.0899)
    world.terminal.faults.next_send(PlacedLater(1_000))
    later = world.buy(0.2, "GBPUSD")
    assert later.retcode == mt5.TRADE_RETCODE_PLACED
    world.clock.advance(2_000)
    work(broker, login, held)
    deals = sorted(broker.ledger(login).deals.values(), key=lambda deal: deal.ticket)
    (executed,) = [deal for deal in deals if deal.order == later.order]
    assert executed.time_msc - deals[0].time_msc == 1_000
    assert deals[-1].time_msc - deals[0].time_msc == 2_000
    times = [deal.time_msc for deal in deals]
    assert times == sorted(times)
