"""What users of other systems report, and no other scenario here shows already."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.desk_world import BUY, NETTING, DeskWorld, figures
from trueup.core.account.trust import Reason
from trueup.core.holds import HoldKind
from trueup.journal.memory import MemoryJournal
from trueup.sim.market.switches import ListAnswer
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost


def test_thousands_of_positions_come_whole() -> None:
    world = DeskWorld(AccountSetup(balance=10_000_000.0))
    tickets = world.person.open_many("EURUSD", BUY, 0.01, 3_000)
    assert figures(world.sync()) == ("SUCCESS", 3_000, 0, 0)
    assert world.tickets() == set(tickets)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)


@pytest.mark.parametrize("kept", [0, 1, 10, 200, -1])
def test_half_a_reply_is_no_reading_and_ends_nothing(kept: int) -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    before = world.state()
    world.person.close_all()
    world.mangle(lambda reply: reply[:kept])
    assert figures(world.sync()) == ("DEGRADED", 0, 0, 0)
    assert world.state() == before
    assert world.reconciler._unknown is not None
    assert world.reconciler._unknown.reason is Reason.UNREADABLE
    world.sync()
    assert figures(world.sync()) in (("SUCCESS", 0, 1, 0), ("SUCCESS", 0, 0, 0))
    assert world.pm.position is None


@pytest.mark.parametrize("answer", ListAnswer)
def test_connected_flag_that_is_wrong_closes_nothing(answer: ListAnswer) -> None:
    world = DeskWorld(disconnected_list=answer, connected_flag_lag_ms=60_000)
    for _ in range(4):
        world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    held = world.book()
    world.terminal.disconnect()
    for _ in range(5):
        world.sync()
        assert world.book() == held
    world.terminal.reconnect()
    for _ in range(3):
        world.sync()
    assert world.book() == held == world.rows()
    assert "CLOSED" not in world.actions()
    assert world.reconciler.health.startswith("Everything agrees")


def test_position_closed_while_the_bot_was_down_is_explained_after_the_restart() -> None:
    journal = MemoryJournal()
    world = DeskWorld(journal=journal)
    gone, left = (world.person.open("EURUSD", BUY, lots, sl=1.09) for lots in (0.2, 0.3))
    world.sync()
    world.person.modify(left, sl=0.0)
    world.quote(1.08900)
    zombie = world.person.open("EURUSD", BUY, 0.4)
    world.start_bot(journal=journal)
    assert world.tickets() == {gone, left}
    result = world.reconciler.startup_recovery()
    assert figures(result) == ("SUCCESS", 1, 1, 1)
    assert any("closed by its stop loss" in said for said in result.explanations)
    assert world.tickets() == {left, zombie}
    assert world.pm.realised == world.realised([gone])


def test_a_bot_that_crashed_three_times_needs_nobody_to_flatten_anything() -> None:
    journal = MemoryJournal()
    world = DeskWorld(journal=journal)
    world.sync()
    order = world.trade(1, 0.2)
    for _ in range(3):
        world.start_bot(journal=journal)
        assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
        assert world.tickets() == {order.ticket}
    world.trade(-1, 0.2)
    assert world.rows() == {}


@pytest.mark.parametrize("account", [AccountSetup(), NETTING])
def test_restored_book_whose_position_is_gone_sells_nothing(account: AccountSetup) -> None:
    journal = MemoryJournal()
    world = DeskWorld(account, journal=journal)
    world.sync()
    world.trade(1, 0.2)
    world.sync()
    world.person.close_all()
    world.start_bot(journal=journal)
    # It does not know yet: its order to close names a ticket that is gone, and is refused.
    for _ in range(3):
        order = world.trade(-1, 0.2)
        assert order.status.value == "REJECTED"
        assert world.rows() == {}
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    assert world.pm.position is None


def test_order_in_doubt_says_so_wherever_it_is_shown() -> None:
    world = DeskWorld()
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = world.trade(1, 0.2)
    assert order.status.value == "IN_DOUBT"
    assert world.pm.get_order_history()[-1]["status"] == "IN_DOUBT"
    assert not world.pm.check_risk(1)
    result = world.sync(1)
    assert [hold.kind for hold in result.holds] == [HoldKind.DOUBT]
    assert order.order_id in world.reconciler.health
    assert order.order_id in world.restrictions[0].reason


def test_sync_that_finds_differences_of_every_kind_sends_no_order() -> None:
    world = DeskWorld()
    tickets = [world.person.open("EURUSD", BUY, 0.1 * n, sl=1.05) for n in (1, 2, 3)]
    world.person.place("EURUSD", 2, 0.1, 1.05)
    world.sync()
    world.person.close(tickets[0])
    world.person.close(tickets[1], 0.05)
    world.person.modify(tickets[2], sl=0.0)
    world.person.open("EURUSD", BUY, 0.4)
    deals = len(world.ledger.deals)
    for _ in range(3):
        world.sync()
    assert len(world.ledger.deals) == deals
    asked: list[Any] = [json.loads(message)["action"] for message in world.requests]
    assert set(asked) == {"GET_POSITIONS", "SNAPSHOT"}
