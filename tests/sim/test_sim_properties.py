"""Whatever is done to an account, the books add up. One random history, every law checked."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.sim_world import FOREVER, HEDGING, NETTING, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.clock import DAY_MSC
from trueup.sim.market.market import average_units, price_of, price_units
from trueup.sim.market.records import Refusal
from trueup.sim.market.symbols import EURUSD, USDJPY, AccountSetup, Charged, SymbolSetup
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    DoneWithoutDeal,
    Partial,
    TimedOut,
)

EURO = SymbolSetup(
    name="EURUSD",
    currency_base="EUR",
    currency_profit="USD",
    bid=1.1,
    ask=1.1001,
    commission_per_lot=3.33,
    commission_charged=Charged.AT_BOTH,
    fee_per_lot=0.77,
    margin_hedged=50_000.0,
)
DOLLAR = SymbolSetup(
    name="USDJPY",
    currency_base="USD",
    currency_profit="JPY",
    digits=3,
    bid=150.0,
    ask=150.012,
    swap_mode=mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT,
)
SYMBOLS = ("EURUSD", "USDJPY")
TRADES = (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL)

volumes = st.sampled_from([0.01, 0.03, 0.1, 0.29, 0.3, 0.57])
steps = st.one_of(
    st.tuples(st.just("deal"), st.sampled_from([0, 1]), st.sampled_from(SYMBOLS), volumes),
    st.tuples(st.just("close"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("pending"), st.sampled_from([2, 3, 4, 5]), st.integers(1, 40)),
    st.tuples(st.just("levels"), st.integers(0, 9), st.integers(5, 60)),
    st.tuples(st.just("close_by"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("quote"), st.sampled_from(SYMBOLS), st.integers(-60, 60)),
    st.tuples(st.just("day")),
    st.tuples(st.just("cash"), st.sampled_from([2, 3, 4]), st.integers(-500, 900)),
    st.tuples(st.just("liquidity"), st.sampled_from([None, 0.02, 0.1])),
    st.tuples(st.just("fault"), st.integers(0, 4)),
    st.tuples(st.just("wait"), st.integers(1, 5_000)),
)
FAULTS = (
    TimedOut(700),
    DoneWithoutDeal(),
    Partial(0.01),
    Answered(10_011, executed=True),
    AnswerLost(executed=True, pipe_breaks=False),
)


def play(world: World, step: tuple[Any, ...]) -> None:
    """Carry out one step; the server may refuse it."""
    ledger, person = world.terminal.ledger, world.terminal.person
    tickets = [position.ticket for position in ledger.positions.values()]
    try:
        match step:
            case ("deal", side, symbol, volume):
                world.terminal.order_send(
                    action=1, symbol=symbol, type=side, volume=volume, type_filling=1
                )
            case ("close", index, whole) if tickets:
                ticket = tickets[index % len(tickets)]
                person.close(ticket, None if whole else 0.01)
            case ("pending", kind, points):
                away = points * 1e-4 * (-1 if kind in (2, 5) else 1)
                price = round(ledger.market.quotes["EURUSD"].bid + away, 5)
                person.place("EURUSD", kind, 0.1, price)
            case ("levels", index, points) if tickets:
                position = ledger.position_by_ticket(tickets[index % len(tickets)])
                assert position is not None
                setup = ledger.market.setups[position.symbol]
                bid = ledger.market.quotes[position.symbol].bid
                away = points * 10 * setup.point * (1 if position.is_buy else -1)
                person.modify(position.ticket, sl=round(bid - away, setup.digits))
            case ("close_by", one, other) if tickets:
                person.close_by(tickets[one % len(tickets)], tickets[other % len(tickets)])
            case ("quote", symbol, points):
                setup = ledger.market.setups[symbol]
                bid = round(setup.bid + points * 10 * setup.point, setup.digits)
                world.terminal.quote(symbol, bid, bid + 10 * setup.point)
            case ("day",):
                world.clock.advance(DAY_MSC)
            case ("cash", kind, amount):
                world.terminal.broker.balance_operation(ledger.setup.login, kind, amount / 7)
            case ("liquidity", lots):
                world.terminal.broker.supply("EURUSD", lots)
            case ("fault", index):
                world.terminal.faults.next_send(FAULTS[index])
            case ("wait", milliseconds):
                world.clock.advance(milliseconds)
            case _:
                pass
    except Refusal:
        pass
    world.terminal.settle()


def check_account_figures(world: World) -> None:
    """equity = balance + credit + sum(profit + swap); margin_free = equity - margin."""
    info = world.terminal.account_info()
    assert info is not None
    floating = round(sum(row.profit + row.swap for row in world.positions()), 2)
    assert info.profit == floating
    assert info.equity == round(info.balance + info.credit + floating, 2)
    assert info.margin_free == round(info.equity - info.margin, 2)
    if info.margin:
        assert info.margin_level == pytest.approx(info.equity / info.margin * 100)
    else:
        assert info.margin_level == 0.0
    figures = world.terminal.ledger.figures()
    assert (figures.equity, figures.margin) == (info.equity, info.margin)


def check_balance_is_the_sum_of_deals(world: World) -> None:
    """Balance = sum of profit, swap, commission and fee over all deals; credit deals apart."""
    ledger = world.terminal.ledger
    results = [deal.result for deal in ledger.deals.values() if deal.type != 3]
    credits = [deal.profit for deal in ledger.deals.values() if deal.type == 3]
    assert ledger.balance == pytest.approx(sum(results), abs=1e-6)
    assert ledger.credit == pytest.approx(sum(credits), abs=1e-6)
    for deal in ledger.deals.values():
        for money in (deal.profit, deal.swap, deal.commission, deal.fee):
            assert money == round(money, 2)


def signed(deal: Any) -> int:
    sign = 1 if deal.type == mt5.DEAL_TYPE_BUY else -1
    return int(sign * deal.steps)


def check_deals_explain_positions(world: World) -> None:
    """Volume in less volume out of an identifier is what is open; nothing when it is closed."""
    ledger = world.terminal.ledger
    open_steps: dict[int, int] = defaultdict(int)
    for deal in ledger.deals.values():
        if deal.type in TRADES:
            open_steps[deal.position_id] += signed(deal)
    for identifier, total in open_steps.items():
        position = ledger.positions.get(identifier)
        held = 0 if position is None else position.steps * (1 if position.is_buy else -1)
        assert total == held
    assert ledger.positions.keys() <= open_steps.keys()


def check_links(world: World) -> None:
    """deal.order is an order of the account, order.position_id the deal's; balance deals have
    neither."""
    ledger = world.terminal.ledger
    for deal in ledger.deals.values():
        if deal.type not in TRADES:
            assert (deal.order, deal.position_id, deal.symbol) == (0, 0, "")
            continue
        order = ledger.order_history.get(deal.order) or ledger.orders[deal.order]
        assert order.symbol == deal.symbol
        # The parts of one netting order may close one position and open the next.
        if not ledger.setup.is_netting or order.steps_current == order.steps_initial - deal.steps:
            assert deal.position_id in (order.position_id, order.position_by_id)
        if deal.entry != mt5.DEAL_ENTRY_OUT_BY:
            assert order.is_buy == (deal.type == mt5.DEAL_TYPE_BUY)
    for order in ledger.order_history.values():
        assert order.state in (2, 4, 5, 6)
        assert order.time_done_msc >= order.time_setup_msc
        if order.state == mt5.ORDER_STATE_FILLED:
            assert order.steps_current == 0
            assert order.position_id
    assert not ledger.orders.keys() & ledger.order_history.keys()


def check_positions(world: World) -> None:
    """Tickets and identifiers are unique, volumes positive; netting holds one a symbol."""
    ledger = world.terminal.ledger
    positions = list(ledger.positions.values())
    assert len({position.ticket for position in positions}) == len(positions)
    for identifier, position in ledger.positions.items():
        assert position.identifier == identifier
        assert position.steps > 0
        assert position.price_open == round(position.price_open, 8)
    if ledger.setup.is_netting:
        assert len({position.symbol for position in positions}) == len(positions)


def check_terminal_shows_the_ledger(world: World) -> None:
    """Without lag the terminal shows what is true, row by row."""
    ledger = world.terminal.ledger
    rows = {row.identifier: row for row in world.positions()}
    assert rows.keys() == ledger.positions.keys()
    for identifier, position in ledger.positions.items():
        row = rows[identifier]
        assert (row.ticket, row.magic, row.sl) == (position.ticket, position.magic, position.sl)
        assert row.volume == pytest.approx(ledger.lots(position.symbol, position.steps))
    assert world.terminal.orders_total() == len(ledger.orders)
    assert world.terminal.history_orders_total(1, FOREVER) == len(ledger.order_history)
    assert world.terminal.history_deals_total(1, FOREVER) == len(ledger.deals)


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@settings(max_examples=300)
@given(st.lists(steps, min_size=5, max_size=40))
def test_the_books_add_up_after_any_history(
    account: AccountSetup, story: list[tuple[Any, ...]]
) -> None:
    world = World(account, symbols=(EURO, DOLLAR))
    identifiers: dict[int, int] = {}
    for step in story:
        play(world, step)
        check_account_figures(world)
        check_positions(world)
        # A ticket may change, an identifier never does: a known ticket keeps pointing to its own.
        for position in world.terminal.ledger.positions.values():
            assert identifiers.setdefault(position.ticket, position.identifier) == (
                position.identifier
            )
    check_deals_explain_positions(world)
    check_balance_is_the_sum_of_deals(world)
    check_links(world)
    check_terminal_shows_the_ledger(world)


@settings(max_examples=300)
@given(st.lists(steps, min_size=5, max_size=30), st.integers(0, 3_000), st.integers(0, 3_000))
def test_a_lagging_terminal_agrees_in_the_end_and_never_touches_the_ledger(
    story: list[tuple[Any, ...]], list_lag_ms: int, deal_lag_ms: int
) -> None:
    prompt = World(HEDGING, symbols=(EURO, DOLLAR))
    slow = World(
        HEDGING,
        symbols=(EURO, DOLLAR),
        position_lag_ms=list_lag_ms,
        order_lag_ms=list_lag_ms // 2,
        deal_lag_ms=deal_lag_ms,
        account_lag_ms=list_lag_ms,
    )
    for world in (prompt, slow):
        for index, step in enumerate(story):
            if world is slow and index == len(story) // 3:
                world.terminal.disconnect()
                world.terminal.reconnect()
            play(world, step)
            world.terminal.positions_get()
    assert prompt.terminal.ledger.deals == slow.terminal.ledger.deals
    assert prompt.terminal.ledger.positions == slow.terminal.ledger.positions
    # A late fill (700 ms) and then the longest lag.
    slow.clock.advance(4_000)
    prompt.clock.advance(4_000)
    check_terminal_shows_the_ledger(slow)
    assert slow.terminal.account_info() == prompt.terminal.account_info()


@given(
    st.lists(st.tuples(st.integers(100_000, 120_000), st.integers(1, 500)), min_size=1, max_size=20)
)
def test_the_average_open_price_lies_between_its_parts(parts: list[tuple[int, int]]) -> None:
    prices = [price / 100_000 for price, _ in parts]
    units, total = price_units(prices[0], 5), parts[0][1]
    for price, (_, volume) in zip(prices[1:], parts[1:], strict=True):
        units = average_units(units, total, price_units(price, 5), volume)
        total += volume
    average = price_of(units, 5)
    assert min(prices) <= average <= max(prices)
    exact = sum(price * volume for price, (_, volume) in zip(prices, parts, strict=True)) / total
    # Each step rounds by half a unit of 1e-8 at most.
    assert average == pytest.approx(exact, abs=1e-8 * len(parts))


@pytest.mark.parametrize("symbol", [EURUSD, USDJPY])
@given(st.integers(1, 10**6))
def test_prices_survive_their_units(symbol: SymbolSetup, points: int) -> None:
    price = round(points * symbol.point, symbol.digits)
    assert price_of(price_units(price, symbol.digits), symbol.digits) == price
