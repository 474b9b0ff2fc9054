"""What a program concludes from a list that was not proven opens no position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import NETTING
from tests.support.door_world import BUY, SELL, DoorWorld, deal
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswersEmpty, Fails, TimedOut

DONE, REJECT = mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_REJECT
MANY = 1_000


@pytest.fixture
def world(tmp_path: Path) -> DoorWorld:
    return DoorWorld(tmp_path)


def let_fail(world: DoorWorld, function: str = "positions_get") -> None:
    world.terminal.faults.next_call(function, *[Fails()] * MANY)


def test_initialize_waits_for_a_terminal_that_fails_for_a_moment(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.shutdown()
    world.terminal.faults.next_call("positions_get", *[Fails()] * 5, *[AnswersEmpty()] * 5)
    assert world.open().positions_get() == ()


def test_initialize_names_the_reason_where_the_terminal_goes_on_failing(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.shutdown()
    let_fail(world)
    before_ns = world.clock.waiting_ns()
    assert not world.door.initialize(journal=str(tmp_path / "bot.db"))
    why = world.door.last_error()[1]
    assert "The account behind the terminal of this machine cannot be read" in why
    assert "positions_get failed" in why
    assert 2_000_000_000 <= world.clock.waiting_ns() - before_ns < 4_000_000_000


def test_another_figure_that_is_proven_makes_no_entry_by_a_list_that_was_not(
    world: DoorWorld,
) -> None:
    """Bots compute a volume by `account_info` between `positions_get` and `order_send`."""
    world.door.order_send(deal())
    let_fail(world)
    assert world.door.positions_get(symbol="EURUSD") is None
    world.terminal.faults.clear()
    assert world.door.account_info().login == 5_000_001
    assert world.door.positions_get(symbol="GBPUSD") == ()
    refused = world.door.order_send(deal(volume=0.2))
    assert (refused.retcode, world.open_lots) == (REJECT, 0.1)
    assert "positions_get" in refused.comment


@pytest.mark.parametrize("again", [{"symbol": "EURUSD"}, {}], ids=["the same list", "all of them"])
def test_an_entry_is_made_once_the_program_has_the_list(
    world: DoorWorld, again: dict[str, Any]
) -> None:
    world.door.order_send(deal())
    let_fail(world)
    assert world.door.positions_get(symbol="EURUSD") is None
    world.terminal.faults.clear()
    assert len(world.door.positions_get(**again)) == 1
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_a_loop_that_only_sends_gets_its_entry_once_the_list_is_proven_to_be_empty(
    world: DoorWorld,
) -> None:
    """`while result is None or result.retcode != DONE` reads no list again."""
    let_fail(world)
    assert not world.door.positions_get(symbol="EURUSD")
    assert world.door.order_send(deal()).retcode == REJECT
    world.terminal.faults.clear()
    assert world.door.order_send(deal()).retcode == DONE
    assert world.open_lots == 0.1


def test_the_first_order_is_not_made_by_a_list_that_was_not_proven(world: DoorWorld) -> None:
    """The first order opens the program's book, and what was not told before counts there too."""
    world.person.open("EURUSD", BUY, 0.3)
    world.wait(1)
    let_fail(world)
    assert not world.door.positions_get(symbol="EURUSD")
    world.terminal.faults.clear()
    refused = world.door.order_send(deal())
    assert (refused.retcode, "positions_get" in refused.comment) == (REJECT, True)
    assert world.open_lots == 0.3


def test_a_loop_that_only_sends_is_refused_while_the_list_has_a_position(world: DoorWorld) -> None:
    ticket = world.door.order_send(deal()).order
    let_fail(world)
    assert not world.door.positions_get(symbol="EURUSD")
    world.terminal.faults.clear()
    for _ in range(3):
        before_ns = world.clock.waiting_ns()
        refused = world.door.order_send(deal(volume=0.2))
        assert (refused.retcode, world.open_lots) == (REJECT, 0.1)
        assert "has 1 row" in refused.comment
        assert world.clock.waiting_ns() - before_ns >= 2_000_000_000
    world.person.close(ticket)
    world.wait(5)
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_after_a_figure_that_was_not_proven_an_entry_is_made_once_it_is(world: DoorWorld) -> None:
    let_fail(world)
    assert world.door.account_info() is None
    assert world.door.order_send(deal()).retcode == REJECT
    world.terminal.faults.clear()
    assert world.door.order_send(deal()).retcode == DONE


def test_an_outcome_is_not_given_by_a_list_that_leaves_its_position_out(world: DoorWorld) -> None:
    first = world.door.order_send(deal())
    door = world.restart(magic=7)
    # The position is open, and this list is of another symbol: the program has not seen it.
    assert door.positions_get(symbol="GBPUSD") == ()
    door.symbol_info_tick("EURUSD")
    assert door.order_send(deal()).order == first.order
    assert world.open_lots == 0.1


def test_a_span_of_the_history_that_ends_later_answers_an_earlier_one(world: DoorWorld) -> None:
    world.door.order_send(deal())
    let_fail(world)
    begin, now = 1_699_900_000, 1_700_090_000
    assert world.door.history_deals_get(begin, now) is None
    assert world.door.order_send(deal(volume=0.2)).retcode == REJECT
    world.terminal.faults.clear()
    assert world.door.order_send(deal(volume=0.2)).retcode == REJECT
    assert world.door.history_deals_get(begin, now + 60)
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_a_position_of_ours_that_came_after_the_list_lets_no_other_entry_pass(
    world: DoorWorld,
) -> None:
    """The list was proven and empty while the order was in doubt; then the order was filled."""
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal()) is None
    assert world.door.positions_get(symbol="EURUSD") == ()
    world.wait(10)
    # The price fell meanwhile, so the program wants the other side now.
    refused = world.door.order_send(deal(SELL))
    assert (refused.retcode, world.open_lots) == (REJECT, 0.1)
    assert "opened position" in refused.comment
    before_ns = world.clock.waiting_ns()
    assert world.door.order_send(deal(SELL)).retcode == REJECT
    # A loop that sends again and again does not spin.
    assert world.clock.waiting_ns() - before_ns >= 2_000_000_000
    # Another symbol is not concerned, and a program that has seen the position may trade on.
    assert world.door.order_send(deal(symbol="GBPUSD")).retcode == DONE
    assert len(world.door.positions_get(symbol="EURUSD")) == 1
    assert world.door.order_send(deal(SELL)).retcode == DONE


def test_a_list_that_was_given_before_the_first_order_counts_as_one_after_it(
    world: DoorWorld,
) -> None:
    assert world.door.positions_get(symbol="EURUSD") == ()
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal()) is None
    world.wait(10)
    refused = world.door.order_send(deal(SELL))
    assert (refused.retcode, world.open_lots) == (REJECT, 0.1)
    assert "opened position" in refused.comment


@pytest.mark.parametrize("volume", [0.04, 0.1], ids=["a part", "all"])
def test_on_a_netting_account_an_opposite_order_closes_whatever_is_not_proven(
    tmp_path: Path, volume: float
) -> None:
    world = DoorWorld(tmp_path, NETTING)
    world.door.order_send(deal())
    world.wait(1)
    let_fail(world, "history_deals_get")
    assert world.door.history_deals_get(1_600_000_000, 1_800_000_000) is None
    assert world.door.order_send(deal(SELL, volume)).retcode == DONE
    assert world.open_lots == pytest.approx(0.1 - volume)
    # More than the position has would open one on the other side.
    refused = world.door.order_send(deal(SELL, 0.2))
    assert (refused.retcode, "history_deals_get" in refused.comment) == (REJECT, True)


def test_on_a_netting_account_an_order_that_made_the_position_larger_is_such_an_order(
    tmp_path: Path,
) -> None:
    """The position has the ticket of the first order, and the second is what was not told."""
    world = DoorWorld(tmp_path, NETTING)
    first = world.door.order_send(deal())
    world.wait(1)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal(volume=0.2)) is None
    assert [row.volume for row in world.door.positions_get(symbol="EURUSD")] == [0.1]
    world.wait(10)
    refused = world.door.order_send(deal(volume=0.3))
    assert (refused.retcode, world.open_lots) == (REJECT, 0.3)
    assert f"opened position {first.order}" in refused.comment


@pytest.mark.parametrize("closed", [False, True], ids=["reads no lists", "its position closed"])
def test_such_an_entry_passes_where_no_list_is_out_of_date(world: DoorWorld, closed: bool) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=20_000))
    assert world.door.order_send(deal()) is None
    if closed:
        assert world.door.positions_get(symbol="EURUSD") == ()
    world.wait(10)
    if closed:
        world.person.close(world.rows[0].ticket)
        world.wait(5)
    assert world.door.order_send(deal(SELL)).retcode == DONE


def test_a_door_that_is_opened_again_still_knows_what_was_not_told(world: DoorWorld) -> None:
    """After a failed call many programs shut the module down, and initialize it again."""
    ticket = world.door.order_send(deal()).order
    let_fail(world)
    assert world.door.positions_get() is None
    world.door.shutdown()
    world.terminal.faults.clear()
    assert world.door.initialize(journal=str(world.folder / "bot.db"))
    refused = world.door.order_send(deal(volume=0.2))
    assert (refused.retcode, world.open_lots) == (REJECT, 0.1)
    assert [row.ticket for row in world.door.positions_get()] == [ticket]
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_a_list_asked_of_a_closed_door_says_nothing_either(world: DoorWorld) -> None:
    world.door.order_send(deal())
    world.door.shutdown()
    assert world.door.positions_get(symbol="EURUSD") is None
    assert world.door.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT
    # A question that the module would refuse asks nothing.
    assert world.door.positions_get(symbol=5) is None
    assert world.door.initialize(journal=str(world.folder / "bot.db"))
    assert world.door.order_send(deal(volume=0.2)).retcode == REJECT
    assert len(world.door.positions_get(symbol="EURUSD")) == 1
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_a_history_is_asked_of_the_terminal_that_is_open_now(world: DoorWorld) -> None:
    let_fail(world, "history_deals_get")
    assert world.door.history_deals_get(ticket=1) is None
    world.terminal.faults.clear()
    first = world.called
    world.called = type(first)(world.terminal)
    assert world.door.initialize(journal=str(world.folder / "bot.db"))
    first.calls.clear()
    assert world.door.order_send(deal()).retcode == DONE
    assert first.calls == []


def test_what_one_account_did_not_tell_says_nothing_of_another(tmp_path: Path) -> None:
    home, other = AccountSetup(), AccountSetup(login=5_000_002)
    world = DoorWorld(tmp_path, home, others=(other,))

    def go_to(account: AccountSetup) -> None:
        assert world.door.login(account.login)
        world.wait(2)

    go_to(other)
    assert world.door.order_send(deal()).retcode == DONE
    go_to(home)
    let_fail(world)
    assert world.door.positions_get() is None
    world.terminal.faults.clear()
    # Positions are open there, and the program did not ask for them there.
    go_to(other)
    assert world.door.order_send(deal(volume=0.2)).retcode == DONE


def test_last_error_has_the_reason_of_a_refusal_too(world: DoorWorld) -> None:
    """Some programs take an order for sent unless `last_error()` is negative."""
    world.door.order_send(deal())
    assert world.door.last_error() == (1, "Success")
    let_fail(world)
    assert world.door.positions_get() is None
    refused = world.door.order_send(deal(volume=0.2))
    code, text = world.door.last_error()
    assert (refused.retcode, code) == (REJECT, mt5.RES_E_FAIL)
    assert refused.comment in text
    world.terminal.faults.clear()
    # A close passes, and the reason was that of the call before.
    ticket = world.rows[0].ticket
    assert world.door.order_send(deal(SELL, position=ticket)).retcode == DONE
    assert world.door.last_error() == (1, "Success")
    # What the terminal itself refuses has no error in the module either.
    assert world.door.order_send(deal(volume=0.015)).retcode == mt5.TRADE_RETCODE_INVALID_VOLUME
    assert world.door.last_error() == (1, "Success")
