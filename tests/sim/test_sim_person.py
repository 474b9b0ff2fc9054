"""A person at the terminal: what they can do, and what the server tells them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.sim.sim_world import HEDGING, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.records import Refusal
from trueup.sim.market.symbols import EURUSD, AccountSetup, SymbolSetup
from trueup.sim.terminal.person import BUY, SELL, Person, make_request


@pytest.fixture
def world() -> World:
    return World()


def test_a_person_opens_reduces_and_closes(world: World) -> None:
    person = world.terminal.person
    ticket = person.open("EURUSD", BUY, 0.3, sl=1.09, tp=1.12, comment="by hand")
    assert person.lots_of(ticket) == 0.3
    person.close(ticket, 0.1)
    assert person.lots_of(ticket) == 0.2
    person.close(ticket)
    assert person.lots_of(ticket) == 0.0
    assert world.positions() == ()


def test_close_all(world: World) -> None:
    person = world.terminal.person
    person.open_many("EURUSD", SELL, 0.1, 3)
    person.open("GBPUSD", BUY, 0.1)
    assert len(person.close_all()) == 4
    assert world.positions() == ()


@pytest.mark.parametrize(
    ("act", "retcode"),
    [
        (lambda person: person.close(5), mt5.TRADE_RETCODE_POSITION_CLOSED),
        (lambda person: person.modify(5, sl=1.0), mt5.TRADE_RETCODE_POSITION_CLOSED),
        (lambda person: person.change(5, price=1.0), mt5.TRADE_RETCODE_ORDER_CHANGED),
        (lambda person: person.cancel(5), mt5.TRADE_RETCODE_INVALID),
        (lambda person: person.open("EURUSD", BUY, 0.001), mt5.TRADE_RETCODE_INVALID_VOLUME),
    ],
)
def test_a_refusal_is_raised_with_its_code(
    world: World, act: Callable[[Person], object], retcode: int
) -> None:
    with pytest.raises(Refusal) as refused:
        act(world.terminal.person)
    assert refused.value.retcode == retcode


@pytest.mark.parametrize(
    ("execution", "mask"),
    [
        (mt5.SYMBOL_TRADE_EXECUTION_MARKET, mt5.SYMBOL_FILLING_FOK),
        (mt5.SYMBOL_TRADE_EXECUTION_MARKET, mt5.SYMBOL_FILLING_IOC),
        (mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE, 0),
        (mt5.SYMBOL_TRADE_EXECUTION_INSTANT, 0),
    ],
)
def test_a_person_uses_the_filling_that_the_symbol_takes(
    world: World, execution: int, mask: int
) -> None:
    world.terminal.market.change("EURUSD", execution=execution, filling_mode=mask)
    world.terminal.person.open("EURUSD", BUY, 0.1)
    assert len(world.positions()) == 1


def test_a_person_trades_while_the_terminal_under_test_may_not(world: World) -> None:
    """Buttons and options of one terminal do not bind a hand at another."""
    world.terminal.algo_trading = False
    world.terminal.python_trading_disabled = True
    world.terminal.disconnect()
    ticket = world.terminal.person.open("EURUSD", BUY, 0.1)
    assert ticket in world.terminal.ledger.positions
    assert world.positions() == ()


def test_a_broker_may_rewrite_the_comment_of_an_open_position(world: World) -> None:
    opened = world.buy(0.1, comment="token")
    world.terminal.broker.rewrite_comment(HEDGING.login, opened.order, "from #1")
    assert world.position().comment == "from #1"


def test_unknown_request_field_is_a_mistake_of_the_test() -> None:
    with pytest.raises(TypeError, match="colour"):
        make_request(colour=1)


@pytest.mark.parametrize(
    ("changes", "margin"),
    [
        ({"calc_mode": mt5.SYMBOL_CALC_MODE_FOREX}, 110.01),
        ({"calc_mode": mt5.SYMBOL_CALC_MODE_FOREX_NO_LEVERAGE}, 11_001.0),
        ({"calc_mode": mt5.SYMBOL_CALC_MODE_CFD, "currency_margin": "USD"}, 11_001.0),
        ({"calc_mode": mt5.SYMBOL_CALC_MODE_CFDLEVERAGE, "currency_margin": "USD"}, 110.01),
        (
            {
                "calc_mode": mt5.SYMBOL_CALC_MODE_FUTURES,
                "margin_initial": 500.0,
                "currency_margin": "USD",
            },
            50.0,
        ),
    ],
)
def test_margin_by_calculation_mode(changes: dict[str, float], margin: float) -> None:
    symbol: SymbolSetup = dataclasses.replace(EURUSD, **changes)  # type: ignore[arg-type]
    world = World(AccountSetup(balance=50_000.0), symbols=(symbol,))
    world.buy(0.1)
    account = world.terminal.account_info()
    assert account is not None
    assert account.margin == margin


def test_a_quote_must_make_sense(world: World) -> None:
    for bid, ask in ((0.0, 1.0), (1.2, 1.1), (-1.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="bid"):
            world.terminal.quote("EURUSD", bid, ask)
