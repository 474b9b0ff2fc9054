"""Orders through the door: at most once, answered truly, and given once where no answer came."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trueup.mt5 as door
from tests.support.desk_world import NETTING
from tests.support.door_world import BUY, SELL, START_NS, DoorWorld, deal
from tests.support.posix_limits import posix_only
from trueup.doors.mt5.results import RESULTS_KEPT, ResultTap
from trueup.doors.mt5.session import _tells_outcome
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.requests import ModuleResult
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import EURUSD, AccountSetup
from trueup.sim.terminal.terminal_faults import (
    AnswerLost,
    AnswersEmpty,
    Fails,
    PlacedLater,
    TimedOut,
)

DONE = mt5.TRADE_RETCODE_DONE


@pytest.fixture
def world(tmp_path: Path) -> DoorWorld:
    return DoorWorld(tmp_path)


def test_an_order_is_filled_and_its_result_is_the_terminals_own(world: DoorWorld) -> None:
    result = world.door.order_send(deal())
    assert (result.retcode, result.volume, result.price) == (DONE, 0.1, 1.1001)
    assert (result.comment, result.request.comment) == ("Request executed", "bot")
    assert world.door.last_error() == (1, "Success")
    (row,) = world.door.positions_get()
    assert isinstance(row, door.TradePosition)
    assert isinstance(result, door.OrderSendResult)
    assert isinstance(result.request, door.TradeRequest)
    # At the broker the comment is a token; the program reads its own.
    assert (row.ticket, row.comment, row.magic) == (result.order, "bot", 7)
    assert world.rows[0].comment != "bot"


def test_a_lost_answer_is_found_and_the_result_rebuilt(world: DoorWorld) -> None:
    world.terminal.faults.next_send(AnswerLost(executed=True))
    result = world.door.order_send(deal())
    (row,) = world.rows
    assert (result.retcode, result.order, result.volume) == (DONE, row.ticket, 0.1)
    assert (result.price, result.deal > 0) == (1.1001, True)
    assert world.open_lots == 0.1


def test_the_next_order_after_an_answered_one_is_a_new_order(world: DoorWorld) -> None:
    first, second = world.door.order_send(deal()), world.door.order_send(deal())
    assert first.order != second.order
    assert world.open_lots == 0.2


def test_an_order_still_in_doubt_gives_none_and_its_outcome_comes_first(world: DoorWorld) -> None:
    # The server answers 10012 and fills after half a minute: longer than the call waits.
    world.terminal.faults.next_send(TimedOut(fill_after_ms=30_000))
    assert world.door.order_send(deal()) is None
    assert "in doubt" in world.door.last_error()[1]
    assert world.open_lots == 0
    world.wait(20)
    result = world.door.order_send(deal(price=1.2, sl=1.0))
    assert world.open_lots == 0.1
    (row,) = world.rows
    assert (result.retcode, result.order) == (DONE, row.ticket)
    # Given once; another such order is new.
    assert world.door.order_send(deal()).order != row.ticket
    assert world.open_lots == 0.2


def test_an_outcome_that_came_after_the_end_of_the_program_is_given_first(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=30_000))
    assert world.door.order_send(deal()) is None
    world.wait(60)
    door = world.restart(magic=7)
    result = door.order_send(deal(price=1.2))
    (row,) = world.rows
    assert (result.retcode, result.order) == (DONE, row.ticket)
    # The next call proves that the program got it; from then on it is given no more.
    door.symbol_info_tick("EURUSD")
    assert world.restart(magic=7).order_send(deal()).order != row.ticket


def test_an_answer_that_the_program_got_is_not_given_again_after_a_restart(
    world: DoorWorld,
) -> None:
    first = world.door.order_send(deal())
    world.door.positions_get()
    second = world.restart(magic=7).order_send(deal())
    assert second.order != first.order
    assert world.open_lots == 0.2


def test_an_answer_arrived_where_the_program_shut_the_door(world: DoorWorld) -> None:
    first = world.door.order_send(deal())
    world.door.shutdown()
    second = world.open(magic=7).order_send(deal())
    assert (second.order != first.order, world.open_lots) == (True, 0.2)


def test_each_pending_order_is_removed_by_its_own_request(world: DoorWorld) -> None:
    limit = deal(mt5.ORDER_TYPE_BUY_LIMIT, action=mt5.TRADE_ACTION_PENDING)
    first, second = (world.door.order_send({**limit, "price": price}) for price in (1.05, 1.06))
    remove = {"action": mt5.TRADE_ACTION_REMOVE}
    assert world.door.order_send({**remove, "order": first.order}).retcode == DONE
    # The answer to the first is not given yet, and is no answer to the second.
    door = world.restart(magic=7)
    assert door.order_send({**remove, "order": second.order}).retcode == DONE
    assert door.orders_get() == ()


def test_an_early_answer_with_volume_and_without_price_is_completed_by_the_deal(
    world: DoorWorld,
) -> None:
    result = world.door.order_send(deal())
    early = {**result._asdict(), "price": 0.0}
    assert not _tells_outcome(early, result.request)
    assert not _tells_outcome({**early, "price": 1.1001, "volume": 0.0}, result.request)
    assert _tells_outcome(result._asdict(), result.request)


def test_an_answer_may_not_have_arrived_where_the_program_ended_right_after_it(
    world: DoorWorld,
) -> None:
    first = world.door.order_send(deal())
    again = world.restart(magic=7).order_send(deal())
    assert again.order == first.order
    assert world.open_lots == 0.1


def test_a_list_that_shows_the_position_delivers_the_outcome(world: DoorWorld) -> None:
    first = world.door.order_send(deal())
    door = world.restart(magic=7)
    assert [row.ticket for row in door.positions_get()] == [first.order]
    assert door.order_send(deal()).order != first.order


@pytest.mark.parametrize(
    "other",
    [
        {"volume": 0.2},
        {"comment": "other"},
        {"type": SELL, "price": 1.1},
        {"symbol": "GBPUSD"},
    ],
    ids=str,
)
def test_only_the_same_order_gets_the_outcome(world: DoorWorld, other: dict[str, Any]) -> None:
    first = world.door.order_send(deal())
    result = world.restart(magic=7).order_send(deal(**other))
    assert (result.retcode, result.order != first.order) == (DONE, True)


def test_while_an_order_is_in_doubt_its_symbol_takes_no_other_entry(world: DoorWorld) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=60_000))
    assert world.door.order_send(deal()) is None
    before_ns = world.clock.waiting_ns()
    refused = world.door.order_send(deal(volume=0.3))
    # It waits within its budget first, so a loop does not spin.
    assert world.clock.waiting_ns() - before_ns >= 15_000_000_000
    assert refused.retcode == mt5.TRADE_RETCODE_REJECT
    assert "in doubt" in refused.comment
    assert world.door.order_send(deal(symbol="GBPUSD")).retcode == DONE
    assert world.open_lots == 0.1


def test_a_close_passes_while_another_order_is_in_doubt(world: DoorWorld) -> None:
    first = world.door.order_send(deal())
    world.terminal.faults.next_send(TimedOut(fill_after_ms=60_000))
    assert world.door.order_send(deal(volume=0.2)) is None
    closed = world.door.order_send(deal(SELL, position=first.order))
    assert closed.retcode == DONE
    assert world.open_lots == 0


def test_a_naive_retry_opens_one_position(world: DoorWorld) -> None:
    for fault in (AnswerLost(executed=True), TimedOut(fill_after_ms=40_000)):
        world.terminal.faults.next_send(fault)
        result = None
        while result is None:
            result = world.door.order_send(deal())
        assert result.retcode == DONE
        (row,) = world.rows
        assert world.door.order_send(deal(SELL, position=row.ticket)).retcode == DONE


@pytest.mark.parametrize("fault", [AnswersEmpty(), Fails()], ids=["empty", "failed"])
def test_no_entry_is_made_by_a_list_that_was_not_proven(
    world: DoorWorld, fault: AnswersEmpty | Fails
) -> None:
    world.door.order_send(deal())
    world.door.positions_get()
    world.terminal.faults.next_call("positions_get", *[fault] * 1_000)
    # A reading is shared for 50 ms.
    world.wait(1)
    # What most bots write: no list, so nothing is open.
    assert not world.door.positions_get()
    refused = world.door.order_send(deal(volume=0.2))
    assert (refused.retcode, world.open_lots) == (mt5.TRADE_RETCODE_REJECT, 0.1)
    world.terminal.faults.clear()
    assert len(world.door.positions_get()) == 1
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_stops_are_set_a_part_is_closed_and_a_pending_order_removed(world: DoorWorld) -> None:
    ticket = world.door.order_send(deal(sl=1.05, tp=1.2)).order
    stops = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": ticket}
    assert world.door.order_send({**stops, "sl": 1.06, "tp": 0.0}).retcode == DONE
    (row,) = world.door.positions_get(ticket=ticket)
    assert (row.sl, row.tp) == (1.06, 0.0)
    assert world.door.order_send(deal(SELL, 0.04, position=ticket)).retcode == DONE
    assert world.door.positions_get()[0].volume == 0.06
    placed = world.door.order_send(
        deal(mt5.ORDER_TYPE_BUY_LIMIT, action=mt5.TRADE_ACTION_PENDING, price=1.05)
    )
    assert (placed.retcode, placed.deal) == (DONE, 0)
    (order,) = world.door.orders_get(symbol="EURUSD")
    assert (order.ticket, order.comment) == (placed.order, "bot")
    removed = world.door.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": placed.order})
    assert (removed.retcode, world.door.orders_total()) == (DONE, 0)


@pytest.mark.parametrize(
    ("fields", "retcode"),
    [
        ({"volume": 0.015}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"volume": 0.0}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"type": 99}, mt5.TRADE_RETCODE_INVALID),
        ({"action": 99}, mt5.TRADE_RETCODE_INVALID),
        ({"position": 12345}, mt5.TRADE_RETCODE_INVALID),
        ({"symbol": "NOTHING"}, mt5.TRADE_RETCODE_INVALID),
    ],
    ids=str,
)
def test_a_request_that_nobody_takes_gets_the_terminals_own_answer(
    world: DoorWorld, fields: dict[str, Any], retcode: int
) -> None:
    assert world.door.order_send(deal(**fields)).retcode == retcode
    assert world.open_lots == 0


def test_stops_without_a_symbol_are_those_of_the_position(world: DoorWorld) -> None:
    ticket = world.door.order_send(deal()).order
    stops = {"action": mt5.TRADE_ACTION_SLTP, "position": ticket, "sl": 1.05}
    bare = world.called.order_send(stops)
    assert world.door.order_send({**stops, "sl": 1.06}).retcode == bare.retcode


@posix_only
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_last_day_of_a_pending_order_is_the_trade_servers(
    world: DoorWorld, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = dt.datetime(2023, 11, 20, 12, tzinfo=dt.UTC)
    with monkeypatch.context() as away:
        away.setenv("TZ", zone)
        time.tzset()
        limit = deal(
            mt5.ORDER_TYPE_BUY_LIMIT,
            action=mt5.TRADE_ACTION_PENDING,
            price=1.05,
            type_time=mt5.ORDER_TIME_SPECIFIED_DAY,
            expiration=int(day.timestamp()),
        )
        assert world.door.order_send(limit).retcode == DONE
    time.tzset()
    (row,) = world.door.orders_get()
    assert dt.datetime.fromtimestamp(row.time_expiration, dt.UTC).date() == day.date()


class Echo:
    """A gateway whose result has the order's own number as its ticket."""

    def send_order(self, order: dict[str, Any]) -> dict[str, Any]:
        values = dict.fromkeys(ModuleResult.__struct_fields__, 0)
        return {"result": {**values, "order": order["order_id"]}}


def test_the_results_of_the_latest_orders_are_kept() -> None:
    tap = ResultTap(Echo())  # type: ignore[arg-type]
    for number in range(RESULTS_KEPT + 1):
        tap.send_order({"order_id": str(number)})
    assert tap.result_of("0") is None
    for number in range(1, RESULTS_KEPT + 1):
        result = tap.result_of(str(number))
        assert result is not None
        assert result["order"] == str(number)


def test_a_wrong_argument_is_refused_as_the_module_does(world: DoorWorld) -> None:
    assert world.door.order_send(deal(volume=1)) is None
    assert world.door.last_error() == (-2, 'Invalid "volume" argument')
    assert world.door.positions_get(symbol=5) is None
    assert world.door.last_error() == (-2, 'Invalid "symbol" argument')


def test_a_placed_order_that_the_exchange_canceled_is_not_called_an_invalid_request(
    world: DoorWorld,
) -> None:
    world.terminal.faults.next_send(PlacedLater(2_000, fill=False))
    result = world.door.order_send(deal())
    assert (result.retcode, "canceled" in result.comment) == (mt5.TRADE_RETCODE_REJECT, True)


def test_the_lost_answer_to_a_placed_order_is_rebuilt_as_the_module_has_it(
    world: DoorWorld,
) -> None:
    world.terminal.faults.next_send(AnswerLost(executed=True))
    placed = {"action": mt5.TRADE_ACTION_PENDING, "type": mt5.ORDER_TYPE_BUY_LIMIT}
    result = world.door.order_send(deal(**placed, price=1.05))
    assert (result.retcode, result.deal, result.volume, result.price) == (DONE, 0, 0.1, 0.0)


def test_a_lost_answer_on_a_netting_account_is_rebuilt_with_the_deal_of_the_order(
    tmp_path: Path,
) -> None:
    world = DoorWorld(tmp_path, NETTING)
    world.door.order_send(deal())
    for kind, volume in ((BUY, 0.2), (SELL, 0.5), (BUY, 0.1)):
        world.terminal.faults.next_send(AnswerLost(executed=True))
        result = world.door.order_send(deal(kind, volume))
        (made,) = (
            row
            for row in world.terminal.history_deals_get(1, 2**31 - 1) or ()
            if row.order == result.order
        )
        assert (result.deal, result.volume) == (made.ticket, volume)


@pytest.mark.parametrize("answer", ["lost", "placed", "part"])
def test_a_part_that_is_filled_is_told_as_a_part_while_the_rest_works(
    tmp_path: Path, answer: str
) -> None:
    exchange = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_EXCHANGE)
    listed = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE)
    is_placed = answer != "part"
    world = DoorWorld(tmp_path, exchange, specs=(listed,), exchange_answers_placed=is_placed)
    world.terminal.broker.supply("EURUSD", 0.04)
    if answer == "lost":
        world.terminal.faults.next_send(AnswerLost(executed=True))
    result = world.door.order_send(deal(type_filling=mt5.ORDER_FILLING_RETURN))
    assert (result.retcode, result.volume) == (mt5.TRADE_RETCODE_DONE_PARTIAL, 0.04)
    assert (result.order, result.price) == (next(iter(world.terminal.ledger.orders)), 1.1001)
    # Nobody knows how many lots it becomes, so nothing is opened beside it.
    refusal = world.door.order_send(deal(type_filling=mt5.ORDER_FILLING_RETURN))
    assert refusal.retcode == mt5.TRADE_RETCODE_REJECT
    assert "is in doubt" in refusal.comment
    world.terminal.broker.supply("EURUSD", None)
    world.wait(2)
    second = world.door.order_send(deal(type_filling=mt5.ORDER_FILLING_RETURN))
    assert (second.retcode in (DONE, mt5.TRADE_RETCODE_PLACED), world.open_lots) == (True, 0.2)


@pytest.mark.parametrize("volume", [0.1, 0.04], ids=["closed", "reduced"])
def test_on_a_netting_account_an_order_after_the_list_without_what_was_closed_is_a_new_one(
    tmp_path: Path, volume: float
) -> None:
    world = DoorWorld(tmp_path, NETTING)
    world.door.order_send(deal())
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal(SELL, volume)) is None
    world.wait(25)
    before = world.open_lots
    assert len(world.door.positions_get(symbol="EURUSD")) == (volume < 0.1)
    # The program knows that its close was executed, and sells once more.
    assert world.door.order_send(deal(SELL, volume)).retcode == DONE
    assert world.open_lots != before


def test_on_a_netting_account_an_order_after_the_list_with_what_was_added_is_a_new_one(
    tmp_path: Path,
) -> None:
    world = DoorWorld(tmp_path, NETTING)
    world.door.order_send(deal())
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal(volume=0.2)) is None
    world.wait(25)
    assert [row.volume for row in world.door.positions_get()] == [0.3]
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE
    assert world.open_lots == 0.5


def test_a_doubt_says_what_the_broker_shows_and_what_ends_it(world: DoorWorld) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=60_000))
    assert world.door.order_send(deal()) is None
    text = world.door.last_error()[1]
    assert "Order in doubt: BUY 0.10L EURUSD" in text
    assert ", until a sync that shows what became of it" in text


class Lively(ManualClock):
    """A clock of a market that goes on while a program waits."""

    def __init__(self, now_ns: int) -> None:
        super().__init__(now_ns)
        self.ticks: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.ticks()


@pytest.mark.parametrize("far", [False, True], ids=["in process", "through a gateway"])
@pytest.mark.parametrize("fill_after_sec", [5, 25, 40])
def test_a_naive_loop_opens_one_position_however_late_the_fill(
    tmp_path: Path, fill_after_sec: int, far: bool
) -> None:
    clock = Lively(START_NS)
    world = DoorWorld(tmp_path, clock=clock, far=far)
    prices = itertools.cycle([1.1, 1.1001, 1.1002])
    clock.ticks = lambda: world.quote(next(prices))
    world.terminal.faults.next_send(TimedOut(fill_after_ms=fill_after_sec * 1_000))
    result = None
    for _ in range(20):
        result = world.door.order_send(deal(price=1.2))
        if result is not None and result.retcode == DONE:
            break
    world.wait(120)
    assert result is not None
    assert (result.retcode, world.open_lots) == (DONE, 0.1)
