"""One-shot faults: an answer that is lost, late, early, wrong, or never comes."""

from __future__ import annotations

import random

import pytest

from tests.sim.sim_world import FOREVER, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    AnswersEmpty,
    AnswersPartial,
    AnswersStale,
    DoneWithoutDeal,
    Fails,
    Hang,
    Hung,
    Partial,
    PlacedLater,
    SendFault,
    TimedOut,
)

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.3, "type": 0, "type_filling": 1}


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("executed", [True, False])
def test_answer_lost_on_the_pipe(world: World, executed: bool) -> None:
    """None and -10002: the request was delivered, its outcome is unknown."""
    world.terminal.faults.next_send(AnswerLost(executed=executed))
    assert world.terminal.order_send(BUY | {"magic": 7}) is None
    assert world.terminal.last_error() == (-10002, "IPC recv failed")
    assert world.terminal.positions_get() is None
    assert world.terminal.last_error() == (-10004, "No IPC connection")
    assert world.terminal.initialize()
    assert [row.magic for row in world.positions()] == ([7] if executed else [])


@pytest.mark.parametrize("code", [-1, -3, -10000, -10001])
def test_answer_lost_in_another_way(world: World, code: int) -> None:
    world.terminal.faults.next_send(AnswerLost(executed=True, code=code, pipe_breaks=False))
    assert world.terminal.order_send(BUY) is None
    assert world.terminal.last_error() == (code, mt5.LAST_ERROR_TEXTS[code])
    assert len(world.positions()) == 1


def test_timeout_with_a_late_fill(world: World) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=5_000))
    result = world.buy(0.1, magic=7)
    assert result.retcode == mt5.TRADE_RETCODE_TIMEOUT
    assert (result.deal, result.order) == (0, 0)
    world.clock.advance(4_999)
    assert world.positions() == ()
    world.clock.advance(2_000)
    position = world.position()
    assert position.magic == 7
    # It happened when it was due, not when somebody looked.
    assert position.time_msc == world.terminal.broker.clock.server_msc() - 1_999


def test_timeout_without_a_fill(world: World) -> None:
    world.terminal.faults.next_send(TimedOut())
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_TIMEOUT
    world.clock.advance(1_000_000)
    assert world.positions() == ()


def test_late_fill_at_a_price_that_has_moved(world: World) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=1_000))
    world.buy(0.1)
    world.terminal.quote("EURUSD", 1.2, 1.2001)
    world.clock.advance(1_000)
    assert world.position().price_open == 1.2001


def test_done_with_deal_zero(world: World) -> None:
    world.terminal.faults.next_send(DoneWithoutDeal())
    result = world.buy(0.1)
    assert result.retcode == mt5.TRADE_RETCODE_DONE
    assert (result.deal, result.volume, result.price) == (0, 0.0, 0.0)
    assert world.position().ticket == result.order


@pytest.mark.parametrize("lacks", ["deal", "volume", "price"])
def test_done_with_one_figure_zero(world: World, lacks: str) -> None:
    world.terminal.faults.next_send(DoneWithoutDeal(frozenset({lacks})))
    told = world.buy(0.1)._asdict()
    assert {name for name in ("deal", "volume", "price") if not told[name]} == {lacks}


@pytest.mark.parametrize("fill", [True, False])
def test_placed_now_decided_later(world: World, fill: bool) -> None:
    world.terminal.faults.next_send(PlacedLater(3_000, fill=fill))
    result = world.buy(0.1)
    assert (result.retcode, result.deal) == (mt5.TRADE_RETCODE_PLACED, 0)
    orders = world.terminal.orders_get(ticket=result.order)
    assert orders is not None
    assert orders[0].state == mt5.ORDER_STATE_PLACED
    world.terminal.quote("EURUSD", 1.1, 1.1001)
    assert world.positions() == ()
    world.clock.advance(3_000)
    assert len(world.positions()) == int(fill)
    past = world.terminal.history_orders_get(ticket=result.order)
    assert past is not None
    assert past[0].state == (mt5.ORDER_STATE_FILLED if fill else mt5.ORDER_STATE_CANCELED)
    assert world.terminal.orders_get() == ()


def test_close_that_waits_finds_its_position_gone(world: World) -> None:
    opened = world.buy(0.1)
    world.terminal.faults.next_send(PlacedLater(1_000))
    closing = world.sell(0.1, position=opened.order)
    again = world.sell(0.1, position=opened.order)
    assert again.retcode == mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST
    world.terminal.quote("EURUSD", 1.1, 1.1001)
    world.terminal.ledger.drop_position(opened.order)
    world.clock.advance(1_000)
    past = world.terminal.history_orders_get(ticket=closing.order)
    assert past is not None
    assert past[0].state == mt5.ORDER_STATE_REJECTED
    assert world.positions() == ()


def test_close_that_waits_finds_less_than_it_was_to_close(world: World) -> None:
    opened, opposite = world.buy(0.3), world.sell(0.2)
    world.terminal.faults.next_send(PlacedLater(1_000))
    closing = world.sell(0.2, position=opened.order)
    world.terminal.person.close_by(opened.order, opposite.order)
    world.clock.advance(1_000)
    assert world.position().volume == pytest.approx(0.1)
    past = world.terminal.history_orders_get(ticket=closing.order)
    assert past is not None
    assert past[0].state == mt5.ORDER_STATE_REJECTED


@pytest.mark.parametrize("retcode", [10004, 10006, 10007, 10011, 10020, 10024, 10028, 10041, 10099])
@pytest.mark.parametrize("executed", [True, False])
def test_any_answer_whatever_happened(world: World, retcode: int, executed: bool) -> None:
    world.terminal.faults.next_send(Answered(retcode, executed=executed))
    result = world.buy(0.1)
    assert result.retcode == retcode
    assert (result.deal, result.bid, result.ask) == (0, 1.1, 1.1001)
    assert result.request_id > 0
    assert len(world.positions()) == int(executed)


def test_partial_fill(world: World) -> None:
    world.terminal.faults.next_send(Partial(0.1))
    result = world.buy(0.3)
    assert (result.retcode, result.volume) == (mt5.TRADE_RETCODE_DONE_PARTIAL, 0.1)
    assert world.position().volume == 0.1
    assert world.buy(0.3).retcode == mt5.TRADE_RETCODE_DONE


def test_hang_calls_the_callback_before_or_after_execution(world: World) -> None:
    seen: list[tuple[str, int]] = []
    ledger = world.terminal.ledger
    world.terminal.faults.on_hang = lambda name: seen.append((name, len(ledger.positions)))
    world.terminal.faults.next_send(Hang(executed=False), Hang(executed=True))
    world.terminal.faults.next_call("positions_get", Hang())
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE
    assert len(world.positions()) == 2
    assert seen == [("order_send", 0), ("order_send", 2), ("positions_get", 2)]


def test_hang_without_a_callback_raises(world: World) -> None:
    world.terminal.faults.next_send(Hang())
    with pytest.raises(Hung):
        world.terminal.order_send(BUY)
    assert len(world.positions()) == 1


def test_a_refusal_of_the_terminal_leaves_the_fault_for_the_next_request(world: World) -> None:
    world.terminal.faults.next_send(TimedOut())
    world.terminal.algo_trading = False
    world.buy(0.1)
    assert world.terminal.faults.pending == 1
    world.terminal.algo_trading = True
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_TIMEOUT
    assert world.terminal.faults.pending == 0


def test_any_call_may_fail_once(world: World) -> None:
    for function in ("positions_get", "positions_total", "account_info", "terminal_info"):
        world.terminal.faults.next_call(function, Fails())
        assert getattr(world.terminal, function)() is None
        assert world.terminal.last_error() == (-1, "Terminal: Call failed")
        assert getattr(world.terminal, function)() is not None
    world.terminal.faults.next_call("orders_get", Fails(-2, "Terminal: Invalid params"))
    assert world.terminal.orders_get() is None
    assert world.terminal.last_error() == (-2, "Terminal: Invalid params")
    world.terminal.faults.next_call("history_deals_get", Fails(-10002, breaks_pipe=True))
    assert world.terminal.history_deals_get(1, FOREVER) is None
    assert world.terminal.history_deals_get(1, FOREVER) is None
    assert world.terminal.last_error()[0] == -10004


@pytest.mark.parametrize("code", [-5, -7, -10003])
def test_initialize_may_fail(world: World, code: int) -> None:
    text = "IPC initialize failed, MetaTrader 5 x64 not found" if code == -10003 else None
    world.terminal.faults.next_call("initialize", Fails(code, text))
    assert world.terminal.initialize() is False
    assert world.terminal.last_error() == (code, text or mt5.LAST_ERROR_TEXTS[code])
    assert world.terminal.initialize() is True


def test_a_list_may_come_back_empty_short_or_old(world: World) -> None:
    world.buy(0.1)
    world.buy(0.1)
    assert len(world.positions()) == 2
    world.terminal.faults.next_call(
        "positions_get", AnswersEmpty(), AnswersPartial(1), AnswersStale()
    )
    assert world.positions() == ()
    assert world.terminal.positions_total() == 2
    assert len(world.positions()) == 1
    world.buy(0.1)
    assert len(world.positions()) == 1
    assert len(world.positions()) == 3
    world.terminal.faults.next_call("positions_total", AnswersEmpty())
    assert world.terminal.positions_total() == 0


def test_clear_forgets_what_is_queued(world: World) -> None:
    world.terminal.faults.next_send(TimedOut())
    world.terminal.faults.next_call("positions_get", Fails())
    world.terminal.faults.next_deal_lags(5)
    world.terminal.faults.duplicate_deals()
    assert world.terminal.faults.pending == 4
    assert world.terminal.faults.pending_calls == 2
    world.terminal.faults.clear_calls()
    assert world.terminal.faults.pending == 2
    world.terminal.faults.clear()
    assert world.terminal.faults.pending == 0


def test_request_ids_count_from_the_switch_and_start_again_with_the_terminal() -> None:
    world = World(first_request_id=4_000_000_001)
    assert [world.buy(0.01).request_id for _ in range(2)] == [4_000_000_001, 4_000_000_002]
    world.terminal.restart()
    world.terminal.initialize()
    world.clock.advance(2_000)
    assert world.buy(0.01).request_id == 4_000_000_001


def test_same_story_same_ledger() -> None:
    """Two terminals told the same story hold the same books: nothing depends on chance."""

    def story(seed: int) -> tuple[object, ...]:
        world, draw = World(), random.Random(seed)
        faults: list[SendFault] = [TimedOut(700), DoneWithoutDeal()]
        for _ in range(60):
            world.clock.advance(draw.randrange(5_000))
            bid = round(draw.uniform(1.05, 1.15), 5)
            world.terminal.quote("EURUSD", bid, bid + 0.0001)
            world.terminal.faults.next_send(draw.choice(faults))
            world.deal(draw.choice([0, 1]), draw.choice([0.01, 0.1]), sl=0.0)
        ledger = world.terminal.ledger
        return tuple(ledger.deals.values()), tuple(ledger.positions.values()), ledger.balance

    assert story(7) == story(7)
    assert story(7) != story(8)
