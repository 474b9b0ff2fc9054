"""Money: profit, margin, commission, swaps, re-openings, balance operations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.sim.sim_world import FOREVER, HEDGING, NETTING, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.clock import DAY_MSC, day_of_week
from trueup.sim.market.structs import AccountInfo, TradeDeal
from trueup.sim.market.symbols import (
    DEFAULT_SYMBOLS,
    EURUSD,
    AccountSetup,
    Charged,
    SymbolSetup,
)


def account(world: World) -> AccountInfo:
    found = world.terminal.account_info()
    assert found is not None
    return found


def all_deals(world: World) -> tuple[TradeDeal, ...]:
    found = world.terminal.history_deals_get(1, FOREVER)
    assert found is not None
    return found


def changed(symbol: SymbolSetup, **changes: Any) -> tuple[SymbolSetup, ...]:
    return (dataclasses.replace(symbol, **changes), *(s for s in DEFAULT_SYMBOLS if s != symbol))


def test_figures_add_up_like_the_official_sample() -> None:
    """equity = balance + credit + floating; margin_free = equity - margin; level in percent."""
    world = World(AccountSetup(balance=99_511.4, credit=100.0))
    world.buy(0.1)
    world.terminal.quote("EURUSD", 1.1042, 1.1043)
    info = account(world)
    assert (info.balance, info.credit, info.profit) == (99_511.4, 100.0, 41.0)
    assert info.equity == 99_652.4
    assert info.margin == 110.01
    assert info.margin_free == 99_542.39
    assert info.margin_level == pytest.approx(99_652.4 / 110.01 * 100)


def test_margin_level_is_0_without_margin() -> None:
    info = account(World())
    assert (info.margin, info.margin_level, info.profit) == (0.0, 0.0, 0.0)
    assert isinstance(info.profit, float)


def test_yen_profit_is_converted_at_the_current_rate() -> None:
    world = World()
    world.buy(1.0, "USDJPY")
    world.terminal.quote("USDJPY", 151.0, 151.012)
    assert world.position().profit == round((151.0 - 150.012) * 100_000 / 151.0, 2)
    world.sell(1.0, "USDJPY")
    assert world.positions()[1].profit == round((151.0 - 151.012) * 100_000 / 151.012, 2)


def test_gold_has_its_own_contract() -> None:
    world = World()
    world.buy(0.1, "XAUUSD")
    world.terminal.quote("XAUUSD", 2010.3, 2010.6)
    assert world.position().profit == 100.0
    assert account(world).margin == 200.03


def test_cross_is_converted_through_the_dollar() -> None:
    cross = SymbolSetup(
        name="EURGBP", currency_base="EUR", currency_profit="GBP", bid=0.88, ask=0.8802
    )
    world = World(symbols=(*DEFAULT_SYMBOLS, cross))
    world.buy(1.0, "EURGBP")
    assert world.position().profit == round(-0.0002 * 100_000 * 1.25, 2)
    # Its profit follows the conversion rate although its own price stands still.
    world.terminal.quote("GBPUSD", 1.3, 1.3001)
    assert world.position().profit == -26.0


def test_account_in_euro() -> None:
    world = World(AccountSetup(currency="EUR"))
    world.buy(1.0)
    world.terminal.quote("EURUSD", 1.11, 1.1101)
    assert world.position().profit == round(0.0099 * 100_000 / 1.11, 2)
    assert account(world).margin == 1_000.0


def test_tick_value_of_a_dollar_account() -> None:
    info = World().terminal.symbol_info("EURUSD")
    assert info is not None
    assert info.trade_tick_value == 1.0
    assert (info.point, info.digits, info.spread) == (1e-05, 5, 10)


def test_a_daily_commission_that_is_blocked_lowers_the_equity_with_nothing_open() -> None:
    """Equity is balance + credit - commission - blocked +/- floating result (terminal manual)."""
    world = World(
        account=AccountSetup(blocks_commission=True),
        symbols=changed(EURUSD, commission_per_lot=7.0, commission_charged=Charged.DAILY),
    )
    opened = world.buy(0.1)
    info = account(world)
    assert info.equity == round(info.balance + info.profit - 0.7, 2)
    assert info.margin_free == round(info.equity - info.margin, 2)
    world.sell(0.1, position=opened.order)
    info = account(world)
    assert (info.profit, info.margin) == (0.0, 0.0)
    assert info.equity == round(info.balance - 1.4, 2)
    world.terminal.broker.change_day()
    info = account(world)
    assert info.equity == info.balance


def test_gains_that_are_blocked_are_in_the_balance_and_lower_the_equity_until_the_day_ends() -> (
    None
):
    world = World(account=AccountSetup(blocks_gains=True))
    for bid in (1.1010, 1.0990):
        world.terminal.quote("EURUSD", 1.1000, 1.1001)
        opened = world.buy(0.1)
        world.terminal.quote("EURUSD", bid, round(bid + 0.0001, 5))
        world.sell(0.1, position=opened.order)
    gains = sum(deal.profit for deal in all_deals(world)[1:] if deal.profit > 0)
    assert gains > 0
    info = account(world)
    assert info.equity == round(info.balance - gains, 2)
    assert info.commission_blocked == 0.0
    world.terminal.broker.change_day()
    assert account(world).equity == account(world).balance


def test_swap_accrues_on_the_position_and_is_booked_by_the_close() -> None:
    world = World()
    opened = world.buy(1.0)
    world.clock.advance(DAY_MSC)
    # Wednesday night counts three times.
    assert world.position().swap == -2.1
    world.clock.advance(DAY_MSC)
    assert world.position().swap == -2.8
    before = world.position().time_update
    world.sell(0.5, position=opened.order)
    assert all_deals(world)[-1].swap == -1.4
    assert world.position().swap == -1.4
    # The running total, by which a stop out is foreseen.
    assert world.terminal.ledger.held.swap_total == -1.4
    world.sell(0.5, position=opened.order)
    assert all_deals(world)[-1].swap == -1.4
    assert world.terminal.ledger.held.swap_total == 0.0
    assert before == world.terminal.ledger.deals[opened.deal].time_msc // 1000


def test_no_swap_at_the_weekend() -> None:
    world = World()
    world.buy(1.0)
    today = world.terminal.broker.clock.server_msc() // DAY_MSC
    to_saturday = 6 - day_of_week(today)
    world.clock.advance(to_saturday * DAY_MSC)
    friday = world.position().swap
    world.clock.advance(2 * DAY_MSC)
    assert world.position().swap == friday


@pytest.mark.parametrize(
    ("mode", "rate", "swap"),
    [
        (mt5.SYMBOL_SWAP_MODE_DISABLED, -5.0, 0.0),
        (mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT, -5.0, -5.0),
        (mt5.SYMBOL_SWAP_MODE_CURRENCY_SYMBOL, -5.0, -5.5),
        (mt5.SYMBOL_SWAP_MODE_CURRENCY_MARGIN, -5.0, -5.5),
        (mt5.SYMBOL_SWAP_MODE_INTEREST_CURRENT, -3.6, -11.0),
        (mt5.SYMBOL_SWAP_MODE_INTEREST_OPEN, -3.6, -11.0),
    ],
)
def test_swap_modes(mode: int, rate: float, swap: float) -> None:
    friday = mt5.DAY_OF_WEEK_FRIDAY
    world = World(
        symbols=changed(EURUSD, swap_mode=mode, swap_long=rate, swap_rollover3days=friday)
    )
    world.buy(1.0)
    world.clock.advance(DAY_MSC)
    assert world.position().swap == swap


@pytest.mark.parametrize("setup", [HEDGING, NETTING])
@pytest.mark.parametrize(
    "mode", [mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, mt5.SYMBOL_SWAP_MODE_REOPEN_BID]
)
def test_swap_by_reopening_changes_the_ticket_and_keeps_the_identifier(
    setup: AccountSetup, mode: int
) -> None:
    """Closed and re-opened at the day change: deals with reason ROLLOVER."""
    world = World(setup, symbols=changed(EURUSD, swap_mode=mode))
    opened = world.buy(1.0, magic=7, comment="mine", sl=1.05)
    world.clock.advance(DAY_MSC)
    after = world.position()
    assert after.identifier == opened.order
    assert after.ticket != opened.order
    assert (after.magic, after.comment, after.sl) == (7, "mine", 1.05)
    assert after.price_open == 1.10002
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    assert [deal.entry for deal in deals] == [0, 1, 0]
    assert [deal.reason for deal in deals[1:]] == [mt5.DEAL_REASON_ROLLOVER] * 2
    assert deals[-1].order == after.ticket
    assert world.terminal.positions_get(ticket=opened.order) == ()


def test_reopening_may_keep_the_ticket_or_change_the_identifier() -> None:
    kept = World(reopening_changes_ticket=False)
    opened = kept.buy(0.1)
    broker = kept.terminal.broker
    broker.reopen(HEDGING.login, opened.order, 1.1, mt5.DEAL_REASON_ROLLOVER)
    assert kept.position().ticket == opened.order
    fresh = World(reopening_changes_identifier=True)
    opened = fresh.buy(0.1)
    broker = fresh.terminal.broker
    broker.reopen(HEDGING.login, opened.order, 1.1, mt5.DEAL_REASON_ROLLOVER)
    position = fresh.position()
    assert position.identifier == position.ticket != opened.order
    assert position.time == fresh.terminal.ledger.deals[opened.deal].time_msc // 1000


def test_split_and_variation_margin_leave_their_reasons() -> None:
    world = World()
    opened = world.buy(0.1)
    world.terminal.broker.split("EURUSD", 2)
    position = world.position()
    assert (position.volume, position.price_open) == (0.2, 0.55005)
    world.terminal.broker.settle_variation_margin("EURUSD", 0.56)
    assert world.position().price_open == 0.56
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    reasons = [deal.reason for deal in deals]
    assert reasons == [3, *[mt5.DEAL_REASON_SPLIT] * 2, *[mt5.DEAL_REASON_VMARGIN] * 2]


def test_balance_operations_are_deals_without_order_position_and_symbol() -> None:
    world = World()
    login = HEDGING.login
    world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, 500.0, "Deposit")
    world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_CHARGE, -20.5)
    world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_CREDIT, 50.0)
    assert (account(world).balance, account(world).credit) == (10_479.5, 50.0)
    first, deposit = all_deals(world)[:2]
    assert (first.profit, first.comment) == (10_000.0, "Initial deposit")
    assert (deposit.type, deposit.profit, deposit.comment) == (2, 500.0, "Deposit")
    assert (deposit.order, deposit.position_id, deposit.symbol) == (0, 0, "")
    assert (deposit.entry, deposit.volume, deposit.price) == (0, 0.0, 0.0)


def test_deleted_deal_is_gone() -> None:
    world = World()
    opened = world.buy(0.1)
    closed = world.sell(0.1, position=opened.order)
    world.terminal.broker.delete_deal(HEDGING.login, closed.deal)
    assert [deal.ticket for deal in all_deals(world)][-1] == opened.deal
    assert account(world).balance == 10_000.0


def test_no_money_is_10019() -> None:
    world = World(AccountSetup(balance=100.0))
    result = world.buy(1.0)
    assert result.retcode == mt5.TRADE_RETCODE_NO_MONEY
    assert world.positions() == ()
    assert world.buy(0.05).retcode == mt5.TRADE_RETCODE_DONE


def test_hedged_volume_needs_no_margin_where_the_symbol_says_so() -> None:
    world = World()
    world.buy(1.0)
    alone = account(world).margin
    world.sell(1.0)
    assert account(world).margin == 0.0
    world.sell(1.0)
    # The larger side counts, at its average price, for what is not hedged.
    assert account(world).margin == 1_100.0
    assert alone == 1_100.1


def test_order_check_answers_0_and_the_account_as_it_would_be() -> None:
    world = World()
    request: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 1.0, "type_filling": 1}
    checked = world.terminal.order_check(request)
    assert checked is not None
    assert (checked.retcode, checked.comment) == (0, "Done")
    assert (checked.margin, checked.margin_free) == (1_100.1, 8_899.9)
    assert checked.balance == checked.equity == 10_000.0
    refused = world.terminal.order_check(request | {"volume": 0.001})
    assert refused is not None
    assert (refused.retcode, refused.balance) == (mt5.TRADE_RETCODE_INVALID_VOLUME, 0.0)
    assert world.positions() == ()
    assert world.terminal.orders_total() == 0
    assert world.terminal.order_check(request | {"action": 5, "type": 2, "price": 1.09})
    assert world.terminal.order_check({"action": 8, "order": 5})
    unknown = world.terminal.order_check({"action": 77})
    assert unknown is not None
    assert unknown.retcode == mt5.TRADE_RETCODE_INVALID


def test_a_check_uses_up_no_ticket() -> None:
    world = World()
    first = world.buy(0.1)
    world.terminal.order_check({"action": 1, "symbol": "EURUSD", "volume": 1.0, "type_filling": 1})
    assert world.buy(0.1).order == first.order + 1
