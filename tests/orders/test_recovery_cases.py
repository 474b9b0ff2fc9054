"""Every row of the recovery table, as it comes about: the labels stand in what a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import BUY, NETTING
from tests.support.order_world import Died, OrderWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.holds import HoldKind
from trueup.core.policy import GRACE_SEC
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost

LOST = AnswerLost(executed=True, pipe_breaks=False)
NEVER = AnswerLost(executed=False, pipe_breaks=False)


def died_at(world: OrderWorld, point: CrashPoint, **wish: Any) -> str:
    """Let the bot die while it submits, start it again, and return the order's id."""
    world.die_at(point)
    with pytest.raises(Died):
        world.pm.submit("buy", 0.1, key="a", **wish)
    world.restart()
    return world.pm.book.by_key["a"].order_id


def entries_halted(world: OrderWorld, label: str) -> str:
    hold = world.hold(HoldKind.HALT)
    assert f"case {label}: " in hold.reason
    sent = len(world.sent())
    with pytest.raises(Refused, match=f"No entry: refused: .*case {label}"):
        world.pm.submit("buy", 0.1)
    assert len(world.sent()) == sent
    assert world.reconciler.health.startswith("EURUSD held: ")
    return hold.reason


def test_case_a_waits_while_the_broker_cannot_be_seen_in_full(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db", position_lag_ms=3_600_000)
    world.terminal.faults.next_send(LOST)
    intent = world.pm.submit("buy", 0.1)
    # The lists can be read, and the history cannot.
    world.tamper(*[lambda snapshot: snapshot.update(history=None)] * 20)
    for _ in range(4):
        world.sync(GRACE_SEC)
    assert world.status(intent) == "IN_DOUBT"
    assert "case A: the broker cannot be seen in full" in world.hold(HoldKind.DOUBT).reason


def test_case_b_abandons_what_never_left(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    order = world.order(died_at(world, CrashPoint.AFTER_INTENT))
    assert (order.status, order.error) == (OrderStatus.CANCELED, "case B: it never left")
    world.sync()
    assert world.sent() == []
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


@pytest.mark.parametrize("comment", ["{}", "MAM/{}", "{}/7"])
def test_case_c_halts_when_the_broker_has_what_we_did_not_send(
    comment: str, tmp_path: Path
) -> None:
    """A copied journal, in another process: its order has our token."""
    world = OrderWorld(journal=tmp_path / "bot.db")
    order = world.order(died_at(world, CrashPoint.AFTER_INTENT))
    ticket = world.person.open("EURUSD", BUY, 0.1, comment=comment.format(order.token))
    world.sync()
    assert world.agrees()
    reason = entries_halted(world, "C")
    assert f"ticket {ticket}" in reason
    assert order.order_id in reason
    assert world.actions() == ["HALT", "RECOVERY"]
    # It outlives a restart, and ends with the position.
    world.restart()
    world.sync()
    entries_halted(world, "C")
    assert world.pm.close(ticket).status is OrderStatus.FILLED
    world.sync()
    assert world.reconciler.holds == ()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_case_d_adopts_what_was_filled(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    order_id = died_at(world, CrashPoint.BEFORE_OUTCOME, magic=7)
    assert world.status(order_id) == "IN_DOUBT"
    world.sync()
    assert world.status(order_id) == "FILLED"
    assert "case D: it was filled and the answer was lost (by its token)" in world.settled_by(
        order_id
    )
    assert world.agrees()


def test_case_e_records_entry_and_exit_of_what_came_and_went(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    order_id = died_at(world, CrashPoint.BEFORE_OUTCOME, sl=1.09)
    (ticket,) = world.rows()
    world.wait(1)
    world.quote(1.08)
    assert world.rows() == {}
    world.sync()
    assert world.status(order_id) == "FILLED"
    assert "case E: it was filled and has closed since" in world.settled_by(order_id)
    closed = world.reconciler.get_audit_trail()[-1]
    assert (closed["action"], closed["ticket"]) == ("CLOSED", ticket)
    assert "by its stop loss" in closed["details"]
    assert world.agrees()
    assert world.pm.realised == world.realised([ticket]) < 0


def test_case_f_waits_while_it_may_still_be_working() -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(NEVER)
    intent = world.pm.submit("buy", 0.1)
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    assert "case F: it may still be working" in world.hold(HoldKind.DOUBT).reason


def test_case_g_abandons_what_a_settled_history_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A gateway's record waits as long as the bot, and may be the first to say so.
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = OrderWorld()
    world.terminal.faults.next_send(NEVER)
    intent = world.pm.submit("buy", 0.1)
    for after_sec in (1, GRACE_SEC - 1, 1, GRACE_SEC / 2 - 1):
        world.sync(after_sec)
        assert world.status(intent) == "IN_DOUBT"
    world.sync(1)
    assert world.status(intent) == "CANCELED"
    assert "case G: a settled reading has no trace of it" in world.settled_by(intent)


def test_case_h_agrees_when_both_say_that_nothing_happened() -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REJECT))
    intent = world.pm.submit("buy", 0.1)
    world.sync()
    assert world.status(intent) == "REJECTED"
    assert (world.reconciler.holds, world.actions()) == ((), [])
    assert decide(JournalSays.REFUSED, BrokerShows.NO_TRACE, settled=True).label == "H"


@pytest.mark.parametrize("magic_token", [False, True], ids=["comment", "magic"])
def test_case_i_halts_when_the_broker_has_what_it_refused(magic_token: bool) -> None:
    changed: dict[str, Any] = {"comment_replaced_by": ""} if magic_token else {}
    world = OrderWorld(magic_token=magic_token, **changed)
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REJECT, executed=True))
    intent = world.pm.submit("buy", 0.1)
    assert world.status(intent) == "REJECTED"
    world.sync()
    assert world.agrees()
    reason = entries_halted(world, "I")
    assert f"{intent.order_id}, rejected by the server or the dealer (10006 REJECT)" in reason
    # Closing goes on, by us or by hand, and ends it.
    (ticket,) = world.rows()
    world.person.close(ticket)
    world.sync()
    assert world.reconciler.holds == ()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_refused_close_is_not_seen_in_the_magic_number_of_its_position() -> None:
    """It carries the number of the order that opened; whoever reduces it then is no case I."""
    world = OrderWorld(magic_token=True)
    world.pm.submit("buy", 0.2)
    world.sync()
    (ticket,) = world.rows()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REJECT, executed=False))
    assert world.pm.close(ticket, 0.1).status is OrderStatus.REJECTED
    world.person.close(ticket, 0.05)
    world.sync()
    assert world.agrees()
    assert world.reconciler.holds == ()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_case_i_is_seen_on_a_netting_account_that_holds_something_already() -> None:
    world = OrderWorld(NETTING)
    world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REJECT, executed=True))
    world.pm.submit("buy", 0.1)
    world.sync()
    assert world.agrees()
    entries_halted(world, "I")
    (ticket,) = world.rows()
    world.pm.close(ticket)
    world.sync()
    assert world.reconciler.holds == ()


def test_an_order_given_up_that_is_filled_later_is_case_i_with_what_was_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The grace period was too short for this broker: nobody may go on as if nothing were."""
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = OrderWorld()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_TIMEOUT))
    intent = world.pm.submit("buy", 0.1)
    world.wait_out()
    assert world.status(intent) == "CANCELED"
    world.person.open("EURUSD", BUY, 0.1, comment=intent.token)
    world.sync()
    assert "case G: " in entries_halted(world, "I")


def test_case_j_agrees_when_both_have_it() -> None:
    world = OrderWorld()
    intent = world.pm.submit("buy", 0.1)
    world.sync()
    assert world.status(intent) == "FILLED"
    assert world.reconciler.holds == ()
    assert world.agrees()
    assert decide(JournalSays.FILLED, BrokerShows.OPEN, settled=True).label == "J"
    (entry,) = world.reconciler.get_audit_trail()[1:]
    assert entry["details"] == "opened: 0.10 lots at 1.1001, commission 0.00 (case J)"


def test_case_k_records_the_exit_of_what_has_closed_since(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    intent = world.pm.submit("buy", 0.1, tp=1.11)
    world.sync()
    world.quote(1.12)
    world.restart()
    world.sync()
    (entry,) = [e for e in world.reconciler.get_audit_trail() if e["action"] == "CLOSED"]
    assert "by its take profit" in entry["details"]
    assert entry["details"].endswith("(case K)")
    assert world.pm.realised == world.realised([intent.ticket or 0]) > 0
    assert world.agrees()
    assert decide(JournalSays.FILLED, BrokerShows.CLOSED, settled=True).label == "K"


def test_case_l_halts_when_a_recorded_fill_left_no_trace() -> None:
    """A gateway, or a person, said that it was filled; the broker knows nothing of it."""
    world = OrderWorld()
    world.terminal.faults.next_send(NEVER)
    intent = world.pm.submit("buy", 0.1)
    filled = {"status": "FILLED", "ticket": 777, "filled_price": 1.1, "filled_volume": 0.1}
    assert world.pm.on_fill({"order_id": intent.order_id, **filled})
    world.sync()
    # Case F first: it may still come to be seen.
    assert world.hold(HoldKind.MISSING).identifier == 777
    world.sync(GRACE_SEC)
    reason = entries_halted(world, "L")
    assert "a recorded fill left no trace" in reason
    assert world.tickets() == {777}
    assert world.reconciler.approve(world.hold(HoldKind.HALT).id, "Mary")
    world.sync()
    assert "Mary let go of it while missing" in world.reconciler.get_audit_trail()[-1]["details"]
    assert world.reconciler.holds == ()
    assert world.agrees()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_halt_about_a_position_that_was_never_taken_in_ends_with_it() -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REJECT, executed=True))
    world.pm.submit("buy", 0.1)
    plan = world.reconciler.plan()
    world.pm.commit([event for event in plan.events if type(event).__name__ == "HaltRaised"])
    world.person.close_all()
    world.sync()
    assert world.reconciler.holds == ()
