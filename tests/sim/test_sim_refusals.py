"""Return codes: what the terminal refuses itself and what the server refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.sim_world import World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import AccountSetup

FOK, IOC, RETURN, BOC = range(4)
REQUEST, INSTANT, MARKET, EXCHANGE = range(4)


def is_local(result: tuple[Any, ...]) -> bool:
    """All zeros, `request_id` too: the terminal refused it, nothing was sent."""
    return result[1:7] == (0, 0, 0.0, 0.0, 0.0, 0.0) and result[8] == 0


@pytest.mark.parametrize(
    ("volume", "retcode"),
    [(0.0, 10014), (0.001, 10014), (0.015, 10014), (100.01, 10014), (-0.1, 10014),
     (float("nan"), 10014), (float("inf"), 10014), (0.1 + 0.2, 10009), (0.29, 10009)],
)  # fmt: skip
def test_volume_is_a_multiple_of_the_step_within_bounds(volume: float, retcode: int) -> None:
    assert World().buy(volume).retcode == retcode


@pytest.mark.parametrize(
    ("execution", "mask", "allowed"),
    [
        (REQUEST, 0, {FOK, IOC, RETURN}),
        (INSTANT, 1, {FOK, IOC, RETURN}),
        (MARKET, 1, {FOK}),
        (MARKET, 2, {IOC}),
        (MARKET, 3, {FOK, IOC}),
        (MARKET, 0, set()),
        (EXCHANGE, 2, {IOC, RETURN}),
        (EXCHANGE, 0, {RETURN}),
    ],
)
@pytest.mark.parametrize("filling", [FOK, IOC, RETURN, BOC, 9])
def test_filling_by_execution_mode(
    execution: int, mask: int, allowed: set[int], filling: int
) -> None:
    world = World()
    world.terminal.market.change("EURUSD", execution=execution, filling_mode=mask)
    result = world.buy(0.1, type_filling=filling, price=1.1001)
    if filling in allowed:
        placed = execution == EXCHANGE
        assert result.retcode == (mt5.TRADE_RETCODE_PLACED if placed else mt5.TRADE_RETCODE_DONE)
    else:
        assert result.retcode == mt5.TRADE_RETCODE_INVALID_FILL
        assert is_local(result)


def test_absent_filling_is_fok() -> None:
    world = World()
    world.terminal.market.change("EURUSD", filling_mode=mt5.SYMBOL_FILLING_IOC)
    result = world.send(action=1, symbol="EURUSD", volume=0.1, type=0)
    assert result.retcode == mt5.TRADE_RETCODE_INVALID_FILL


@pytest.mark.parametrize("fields", [{"action": 0}, {"action": 2}, {"symbol": "NOSUCH"},
                                    {"symbol": ""}, {"type": 2}, {"type": 99}])  # fmt: skip
def test_malformed_request_is_10013(fields: dict[str, Any]) -> None:
    result = World().buy(0.1, **fields)
    assert result.retcode == mt5.TRADE_RETCODE_INVALID
    assert is_local(result)


def test_without_prices_10021() -> None:
    world = World()
    world.terminal.market.clear_quote("EURUSD")
    result = world.buy(0.1)
    assert result.retcode == mt5.TRADE_RETCODE_PRICE_OFF
    assert (result.comment, is_local(result)) == ("No prices", True)


def test_symbol_outside_market_watch_has_no_prices_until_selected() -> None:
    world = World()
    assert world.terminal.symbol_select("EURUSD", False)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_PRICE_OFF
    info, tick = world.terminal.symbol_info("EURUSD"), world.terminal.symbol_info_tick("EURUSD")
    assert info is not None
    assert tick is not None
    assert (info.visible, info.bid, tick.bid, tick.time) == (False, 0.0, 0.0, 0)
    assert world.terminal.symbol_select("EURUSD")
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert world.terminal.symbol_select("EURUSD", False) is False


def test_market_closed_is_10018_from_the_server() -> None:
    world = World()
    opened = world.buy(0.1)
    world.terminal.market.set_open("EURUSD", False)
    result = world.buy(0.1)
    assert result.retcode == mt5.TRADE_RETCODE_MARKET_CLOSED
    assert not is_local(result)
    assert result.request_id > 0
    moved = world.send(action=mt5.TRADE_ACTION_SLTP, position=opened.order, sl=1.09)
    assert moved.retcode == mt5.TRADE_RETCODE_MARKET_CLOSED


@pytest.mark.parametrize(
    ("mode", "buys", "sells"),
    [(0, 10017, 10017), (1, 10009, 10042), (2, 10043, 10009), (3, 10044, 10044), (4, 10009, 10009)],
)
def test_trade_mode_of_the_symbol(mode: int, buys: int, sells: int) -> None:
    world = World()
    long, short = world.buy(0.1), world.sell(0.1)
    world.terminal.market.change("EURUSD", trade_mode=mode)
    assert (world.buy(0.1).retcode, world.sell(0.1).retcode) == (buys, sells)
    if mode:
        assert world.sell(0.1, position=long.order).retcode == mt5.TRADE_RETCODE_DONE
        assert world.buy(0.1, position=short.order).retcode == mt5.TRADE_RETCODE_DONE


@pytest.mark.parametrize("execution", [REQUEST, INSTANT])
def test_requote_when_the_price_has_left_the_deviation(execution: int) -> None:
    world = World()
    world.terminal.market.change("EURUSD", execution=execution)
    assert world.buy(0.1, price=1.1001).retcode == mt5.TRADE_RETCODE_DONE
    result = world.buy(0.1, price=1.1, deviation=9)
    assert result.retcode == mt5.TRADE_RETCODE_REQUOTE
    assert (result.bid, result.ask) == (1.1, 1.1001)
    assert world.buy(0.1, price=1.1, deviation=10).retcode == mt5.TRADE_RETCODE_DONE
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_INVALID_PRICE


def test_price_and_deviation_are_ignored_in_market_execution() -> None:
    assert World().buy(0.1, price=2.0).price == 1.1001


def test_position_limit_counts_pending_orders_when_hedging() -> None:
    world = World(AccountSetup(limit_positions=2))
    world.buy(0.1)
    world.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_LIMIT_POSITIONS


def test_position_limit_counts_symbols_when_netting() -> None:
    world = World(AccountSetup(limit_positions=1, margin_mode=0))
    world.buy(0.1)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert world.buy(0.1, "GBPUSD").retcode == mt5.TRADE_RETCODE_LIMIT_POSITIONS


def test_volume_limit_is_per_direction_with_pending_orders() -> None:
    world = World()
    world.terminal.market.change("EURUSD", volume_limit=0.3)
    world.buy(0.1)
    world.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    assert world.buy(0.2).retcode == mt5.TRADE_RETCODE_LIMIT_VOLUME
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert world.sell(0.3).retcode == mt5.TRADE_RETCODE_DONE


def test_fifo_closes_the_oldest_first() -> None:
    world = World(AccountSetup(fifo_close=True))
    first = world.buy(0.1)
    world.clock.advance(1)
    second = world.buy(0.1)
    assert world.sell(0.1, position=second.order).retcode == mt5.TRADE_RETCODE_FIFO_CLOSE
    assert world.sell(0.1, position=first.order).retcode == mt5.TRADE_RETCODE_DONE
    assert world.sell(0.1, position=second.order).retcode == mt5.TRADE_RETCODE_DONE


def test_hedge_prohibited() -> None:
    world = World(AccountSetup(hedge_prohibited=True))
    world.buy(0.1)
    assert world.sell(0.1).retcode == mt5.TRADE_RETCODE_HEDGE_PROHIBITED
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert world.sell(0.1, "GBPUSD").retcode == mt5.TRADE_RETCODE_DONE


def test_buttons_and_permissions() -> None:
    world = World()
    world.terminal.algo_trading = False
    result = world.buy(0.1)
    assert result.retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    assert (result.comment, is_local(result)) == ("AutoTrading disabled by client", True)
    info = world.terminal.terminal_info()
    assert info is not None
    assert info.trade_allowed is False
    world.terminal.algo_trading = True
    broker, login = world.terminal.broker, world.terminal.home_login
    broker.change_account(login, trade_expert=False)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_SERVER_DISABLES_AT
    # A person may still trade.
    world.terminal.person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1)
    broker.change_account(login, trade_allowed=False)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_TRADE_DISABLED
    account = world.terminal.account_info()
    assert account is not None
    assert (account.trade_allowed, account.trade_expert) == (False, False)


def test_too_many_requests_is_10024() -> None:
    world = World(requests_per_second_max=2)
    assert [world.buy(0.01).retcode for _ in range(3)] == [10009, 10009, 10024]
    world.clock.advance(1_000)
    assert world.buy(0.01).retcode == mt5.TRADE_RETCODE_DONE


@pytest.mark.parametrize(
    ("filling", "retcode", "state", "rest"),
    [(IOC, 10010, mt5.ORDER_STATE_CANCELED, 0), (RETURN, 10010, None, 1), (FOK, 10006, 2, 0)],
)
def test_thin_market_fills_by_the_filling_mode(
    filling: int, retcode: int, state: int | None, rest: int
) -> None:
    """10010: IOC cancels the rest, RETURN leaves it working; FOK does nothing."""
    world = World(exchange_answers_placed=False)
    world.terminal.market.change("EURUSD", execution=EXCHANGE)
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    result = world.buy(0.3, type_filling=filling)
    assert result.retcode == retcode
    orders = world.terminal.orders_get()
    assert orders is not None
    assert len(orders) == rest
    if filling != FOK:
        assert result.volume == 0.1
        assert world.position().volume == 0.1
    if state is not None:
        past = next(iter(world.terminal.ledger.order_history.values()))
        assert past.state == state
    if rest:
        assert orders[0].ticket == world.position().ticket
        world.terminal.broker.supply("EURUSD", None)
        assert world.position().volume == pytest.approx(0.3)
        assert world.terminal.orders_total() == 0


def test_market_without_volume() -> None:
    world = World(exchange_answers_placed=False)
    world.terminal.market.change("EURUSD", execution=EXCHANGE)
    world.terminal.market.set_liquidity("EURUSD", 0.0)
    assert world.buy(0.3).retcode == mt5.TRADE_RETCODE_REJECT
    waiting = world.buy(0.3, type_filling=RETURN)
    assert (waiting.retcode, waiting.deal) == (mt5.TRADE_RETCODE_PLACED, 0)
    world.terminal.quote("EURUSD", 1.1, 1.1001)
    assert world.terminal.orders_total() == 1
    world.terminal.broker.supply("EURUSD", None)
    assert world.position().ticket == waiting.order


def test_a_second_close_while_one_works_is_10039() -> None:
    world = World(exchange_answers_placed=False)
    world.terminal.market.change("EURUSD", execution=EXCHANGE)
    opened = world.buy(0.3)
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    first = world.sell(0.3, position=opened.order, type_filling=RETURN)
    assert first.retcode == mt5.TRADE_RETCODE_DONE_PARTIAL
    second = world.sell(0.2, position=opened.order)
    assert second.retcode == mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST


def test_broker_may_rewrite_comments() -> None:
    world = World(comment_replaced_by="broker text", comment_prefix="X:", comment_characters_max=8)
    world.buy(0.1, comment="token-1")
    assert world.position().comment == "X:broker"
