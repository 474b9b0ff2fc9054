"""Readings through the door: proven or not given, shared for a moment, and read in one exchange."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from tests.support.door_world import BUY, SELL, DoorWorld, deal
from trueup.doors.mt5.readings import Readings
from trueup.errors import BrokerUnknown, OutcomeUnknown
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Call
from trueup.sim.terminal.terminal_faults import (
    AnswersEmpty,
    AnswersPartial,
    AnswersStale,
    Fails,
    TimedOut,
)

SPAN = (1_600_000_000, 1_800_000_000)
READS: dict[str, tuple[Any, ...]] = {
    "positions_get": (),
    "orders_get": (),
    "history_deals_get": SPAN,
    "history_orders_get": SPAN,
    "history_deals_total": SPAN,
    "account_info": (),
    "positions_total": (),
}


@pytest.fixture
def world(tmp_path: Path) -> DoorWorld:
    world = DoorWorld(tmp_path)
    world.door.order_send(deal())
    world.door.order_send(
        deal(mt5.ORDER_TYPE_BUY_LIMIT, action=mt5.TRADE_ACTION_PENDING, price=1.05)
    )
    world.wait(1)
    return world


@pytest.mark.parametrize("function", READS)
@pytest.mark.parametrize("fault", [AnswersEmpty(), Fails(), AnswersPartial(0)], ids=str)
def test_a_single_fault_is_outlived(world: DoorWorld, function: str, fault: Any) -> None:
    told = getattr(world.door, function)(*READS[function])
    world.wait(1)
    world.terminal.faults.next_call(function, fault)
    again = getattr(world.door, function)(*READS[function])
    assert again == told
    assert told not in (None, (), 0)


@pytest.mark.parametrize("function", READS)
@pytest.mark.parametrize(
    "strike",
    [
        lambda world: world.terminal.disconnect(),
        lambda world: world.terminal.faults.next_call("account_info", *[Fails()] * 1_000),
    ],
    ids=["no trade server", "no account"],
)
def test_what_cannot_be_proven_is_none_with_its_reason_and_never_empty(
    world: DoorWorld, function: str, strike: Callable[[DoorWorld], Any]
) -> None:
    strike(world)
    before_ns = world.clock.waiting_ns()
    assert getattr(world.door, function)(*READS[function]) is None
    assert world.clock.waiting_ns() - before_ns >= 2_000_000_000
    code, text = world.door.last_error()
    assert (code, len(text) > len("IPC timeout: ")) == (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, True)


def test_a_program_can_have_doubts_raised(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path, opened=False)
    tmp_path.mkdir(exist_ok=True)
    door = world.open(on_doubt="raise", magic=7)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=60_000))
    with pytest.raises(OutcomeUnknown, match="in doubt"):
        door.order_send(deal())
    world.terminal.disconnect()
    world.wait(1)
    with pytest.raises(BrokerUnknown, match="positions_get"):
        door.positions_get()


def test_lists_are_those_of_the_whole_account(world: DoorWorld) -> None:
    foreign = world.person.open("GBPUSD", SELL, 0.3)
    world.wait(1)
    rows = world.door.positions_get() or ()
    assert {row.symbol for row in rows} == {"EURUSD", "GBPUSD"}
    assert [row.ticket for row in world.door.positions_get(symbol="GBPUSD") or ()] == [foreign]


def test_readings_are_shared_for_50_ms_unless_something_of_ours_was_sent(world: DoorWorld) -> None:
    def calls() -> int:
        return world.called.calls.count("positions_get")

    world.door.positions_get()
    before = calls()
    world.door.positions_get(symbol="EURUSD")
    world.door.orders_get()
    assert calls() == before
    world.wait(0.06)
    world.door.positions_get()
    assert calls() == before + 1
    world.door.order_send(deal())
    before = calls()
    assert len(world.door.positions_get() or ()) == 2
    assert calls() > before


def test_a_reading_is_as_old_as_its_beginning(
    world: DoorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, forward = world.called, world.called._call

    def slowly(function: str, *args: Any, **kwargs: Any) -> Any:
        value = forward(function, *args, **kwargs)
        world.clock.advance(0.04 if function == "positions_get" else 0)
        return value

    monkeypatch.setattr(called, "_call", slowly)
    world.wait(1)
    world.door.positions_get()
    before = called.calls.count("positions_get")
    world.wait(0.02)
    world.door.positions_get()
    assert called.calls.count("positions_get") == before + 1


@pytest.mark.parametrize("looks", [(True, True), (True, False), (False, True)])
def test_nothing_of_an_account_with_the_same_number_elsewhere_is_handed_out(
    world: DoorWorld, looks: tuple[bool, bool]
) -> None:
    """The terminal is logged in there before its rows are read, after that, or all the time."""
    account, call = world.door.account, Call("history_deals_total", SPAN)
    readings = Readings(account, world.called)
    assert readings.look()
    assert readings.counted(call)
    world.called.elsewhere = iter(looks)
    assert readings.counted(call) is None
    assert readings.why.endswith("@Elsewhere now")
    world.called.elsewhere = repeat(True)
    assert readings.own_account() is None


def test_deals_and_orders_of_the_past_carry_the_programs_comment(world: DoorWorld) -> None:
    row = world.rows[0]
    world.door.order_send(deal(SELL, position=row.ticket, comment="out"))
    world.wait(1)
    deals = world.door.history_deals_get(position=row.ticket) or ()
    assert [row.comment for row in deals] == ["bot", "out"]
    orders = world.door.history_orders_get(*SPAN) or ()
    assert [row.comment for row in orders] == ["bot", "out"]


@pytest.mark.parametrize("at", [0, -1], ids=["last second", "first second"])
def test_a_span_has_the_deal_of_an_open_position_in_its_first_and_its_last_second(
    world: DoorWorld, at: int
) -> None:
    (row,) = world.door.positions_get()
    span = (row.time - 10, row.time) if not at else (row.time, row.time + 10)
    for function in ("history_deals_get", "history_deals_total"):
        world.terminal.faults.next_call(function, *[AnswersEmpty()] * 1_000)
    assert world.door.history_deals_get(*span) is None
    assert f"lacks position {row.ticket}" in world.door.last_error()[1]


def test_a_pending_order_that_is_filled_in_part_is_listed_with_its_rest(world: DoorWorld) -> None:
    limit = {"action": mt5.TRADE_ACTION_PENDING, "type_filling": mt5.ORDER_FILLING_RETURN}
    placed = world.door.order_send(deal(mt5.ORDER_TYPE_BUY_LIMIT, price=1.06, **limit))
    world.terminal.market.set_liquidity("EURUSD", 0.04)
    world.quote(1.0598)
    world.wait(1)
    (order,) = world.door.orders_get(ticket=placed.order)
    assert (order.volume_initial, order.volume_current) == (0.1, 0.06)
    assert order.ticket in {row.ticket for row in world.door.positions_get()}


def test_a_position_that_vanished_without_a_deal_is_not_called_closed(world: DoorWorld) -> None:
    world.door.positions_get()
    world.wait(1)
    # Every list lacks it, and so do the totals and the account: a terminal that lost its data.
    for function in ("positions_get", "positions_total"):
        world.terminal.faults.next_call(function, *[AnswersEmpty()] * 1_000)
    assert world.door.positions_get() is None
    refused = world.door.order_send(deal(BUY, 0.2))
    assert refused.retcode == mt5.TRADE_RETCODE_REJECT


def test_a_stale_list_is_not_handed_out(world: DoorWorld) -> None:
    world.door.positions_get()
    (row,) = world.rows
    world.person.close(row.ticket)
    world.wait(1)
    world.terminal.faults.next_call("positions_get", *[AnswersStale()] * 3)
    assert world.door.positions_get() == ()


@pytest.mark.parametrize("function", [name for name in READS if name.startswith("history")])
def test_a_span_since_0_is_everything_up_to_its_end(world: DoorWorld, function: str) -> None:
    """The official module leaves a date of exactly 0 uninitialised."""
    everything = getattr(world.door, function)(*SPAN)
    assert everything
    assert getattr(world.door, function)(0, SPAN[1]) == everything
    assert getattr(world.door, function)(0.0, SPAN[1]) == everything


def test_rows_can_be_pickled(world: DoorWorld) -> None:
    for row in (*world.door.positions_get(), world.door.account_info()):
        again = pickle.loads(pickle.dumps(row))
        assert (again, type(again)) == (row, type(row))


def test_a_journal_that_no_book_can_be_opened_in_is_told_at_once(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    (tmp_path / "text.db").write_text("no journal" * 1_000)
    for name in ("text.db", "no folder/bot.db"):
        assert not world.door.initialize(journal=str(tmp_path / name))
        assert name in world.door.last_error()[1]
    assert not world.door.initialize(journal=5)
    assert "journal=5" in world.door.last_error()[1]


def test_a_history_right_after_a_close_waits_for_the_closing_deal(world: DoorWorld) -> None:
    (ticket,) = [row.ticket for row in world.rows]
    world.terminal.faults.next_deal_lags(700)
    assert world.door.order_send(deal(SELL, position=ticket)).retcode == mt5.TRADE_RETCODE_DONE
    deals = world.door.history_deals_get(position=ticket)
    assert [row.entry for row in deals or ()] == [mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT]


def test_a_deal_that_stays_away_does_not_hold_the_history_back_for_ever(world: DoorWorld) -> None:
    (ticket,) = [row.ticket for row in world.rows]
    world.terminal.faults.next_deal_lags(3_600_000)
    world.door.order_send(deal(SELL, position=ticket))
    assert world.door.history_deals_get(position=ticket) is None
    assert "deals of order" in world.door.last_error()[1]
    world.wait(15)
    assert len(world.door.history_deals_get(position=ticket) or ()) == 1
