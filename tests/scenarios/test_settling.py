"""Time: what we did a moment ago, brokers that are slow to show it, readings that are older."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk_world import BUY, NETTING, DeskWorld, figures
from trueup.core.book import events
from trueup.core.holds import HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.waited import by_dates
from trueup.core.policy import Policy
from trueup.core.sync.plan import Plan, plan
from trueup.sim.market.symbols import AccountSetup

LAGS_MS = (0, 300, 800, 1_500, 3_000, 6_000)
FLAPS = {"RECOVERY", "CLOSED", "DRIFT_FIX"}


def fast(account: AccountSetup | None = None, **switches: Any) -> DeskWorld:
    """A world whose bot syncs every second."""
    world = DeskWorld(account or AccountSetup(), **switches)
    world.reconciler.sync_interval = 1.0
    world.turn(1)
    return world


def everything(world: DeskWorld) -> set[int]:
    return {deal.position_id for deal in world.ledger.deals.values() if deal.position_id}


# Settle windows.


def test_own_entry_that_is_not_listed_yet_is_held_with_reason_and_end_and_kept() -> None:
    world = DeskWorld(position_lag_ms=800)
    world.sync()
    order = world.trade(1)
    result = world.sync(0.3)
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    (hold,) = result.holds
    assert hold.kind is HoldKind.SETTLING
    assert (
        hold.reason == f"Ticket {order.ticket} was opened here and the broker does not list it yet"
    )
    assert hold.until_ns == order.fill_ns + 1_000_000_000
    assert "1000 ms after we touched it" in hold.until
    assert world.tickets() == {order.ticket}
    # A hold of our own making restricts nothing, and the next look is when it ends.
    assert world.restrictions == ()
    assert world.reconciler.get_status()["next_sync_due"] == hold.until_ns / 1e9
    assert world.sync(0.8).holds == ()
    assert world.tickets() == {order.ticket}


def test_own_exit_that_is_still_listed_is_held_and_does_not_come_back() -> None:
    world = DeskWorld(position_lag_ms=800)
    world.sync()
    order = world.trade(1)
    world.sync(3)
    world.trade(-1)
    result = world.sync(0.3)
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    (hold,) = result.holds
    assert (hold.kind, hold.identifier) == (HoldKind.SETTLING, order.ticket)
    assert "was closed here and the broker still lists it" in hold.reason
    assert world.pm.position is None
    assert world.sync(0.8).holds == ()
    assert world.pm.position is None
    assert world.pm.realised == world.realised(everything(world))


def test_own_partial_close_that_is_not_shown_yet_is_held() -> None:
    world = DeskWorld(position_lag_ms=800)
    world.sync()
    order = world.trade(1)
    world.sync(3)
    world.trade(-1, 0.04)
    result = world.sync(0.3)
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert [hold.kind for hold in result.holds] == [HoldKind.SETTLING]
    assert world.book()[order.ticket][3] == 0.06
    assert world.sync(0.8).holds == ()
    assert world.book() == world.rows()


@pytest.mark.parametrize("deal_lag_ms", [0, 2_000])
@pytest.mark.parametrize("position_lag_ms", LAGS_MS)
def test_own_trades_never_flap_however_slow_the_broker_shows_them(
    position_lag_ms: int, deal_lag_ms: int
) -> None:
    world = fast(position_lag_ms=position_lag_ms, deal_lag_ms=deal_lag_ms)
    for _ in range(3):
        world.trade(1)
        for _ in range(20):
            world.turn(1)
            assert world.pm.position is not None
        world.trade(-1)
        for _ in range(20):
            world.turn(1)
            assert world.pm.position is None
    assert not set(world.actions()) & FLAPS
    assert world.pm.realised == world.realised(everything(world))
    assert world.reconciler.health.startswith("Everything agrees")


@pytest.mark.parametrize("position_lag_ms", LAGS_MS)
@pytest.mark.parametrize("account", [AccountSetup(), NETTING])
def test_own_partial_closes_never_flap_however_slow_the_list_is(
    account: AccountSetup, position_lag_ms: int
) -> None:
    world = fast(account, position_lag_ms=position_lag_ms)
    world.trade(1, 0.3)
    world.turn(20)
    for left in (0.2, 0.1):
        world.trade(-1, 0.1)
        for _ in range(15):
            world.turn(1)
            assert world.pm.position is not None
            assert world.pm.position.net_volume == left
    assert not set(world.actions()) & FLAPS


@pytest.mark.parametrize("position_lag_ms", LAGS_MS)
def test_own_reversals_never_turn_back_however_slow_the_list_is(position_lag_ms: int) -> None:
    """On a netting account; a list from before our fill shows the side that we have left."""
    world = fast(NETTING, position_lag_ms=position_lag_ms)
    world.trade(1, 0.3)
    world.turn(20)
    for signal, volume, left in ((-1, 0.5, -0.2), (1, 0.6, 0.4), (-1, 0.5, -0.1)):
        world.trade(signal, volume)
        for _ in range(15):
            world.turn(1)
            assert world.pm.position is not None
            assert world.pm.position.net_volume == left
    assert not set(world.actions()) & FLAPS
    assert world.pm.realised == world.realised(everything(world))


@pytest.mark.parametrize("position_lag_ms", [1_500, 3_000, 6_000])
def test_window_is_learnt_from_a_broker_that_is_slower_than_the_default(
    position_lag_ms: int,
) -> None:
    world = fast(position_lag_ms=position_lag_ms)
    assert world.reconciler.get_status()["settle_window_ms"] == 1_000
    world.trade(1)
    world.turn(20)
    learnt = world.reconciler.get_status()["settle_window_ms"]
    assert position_lag_ms <= learnt <= 10_000
    assert "MISSING" in world.actions()
    # From now on the same delay is no news.
    count = len(world.reconciler.get_audit_trail())
    world.trade(-1)
    world.turn(20)
    world.trade(1)
    world.turn(20)
    news = {entry["action"] for entry in world.reconciler.get_audit_trail()[count:]}
    assert news == {"EXPLAINED"}


def test_window_is_learnt_from_the_last_look_that_still_showed_what_was_before() -> None:
    """A bot that looks seldom would else hold every difference for as long as it does not look."""
    world = DeskWorld(position_lag_ms=1_500)
    world.sync()
    world.trade(1)
    assert world.sync(1.2).holds
    assert not world.sync(6).holds
    learnt = world.reconciler.get_status()["settle_window_ms"]
    assert learnt == pytest.approx(1.5 * 1_200, abs=2)


def test_window_of_a_quick_broker_stays_at_its_default() -> None:
    world = fast()
    for signal in (1, -1, 1, -1):
        world.trade(signal)
        world.turn(5)
    assert world.reconciler.get_status()["settle_window_ms"] == 1_000


def test_an_absence_long_after_our_own_activity_teaches_nothing() -> None:
    world = fast()
    world.trade(1)
    world.turn(60)
    world.terminal.restart()
    assert world.terminal.initialize()
    world.turn(10)
    assert "FOUND" in world.actions()
    assert world.reconciler.get_status()["settle_window_ms"] == 1_000


def test_settle_window_of_zero_is_off() -> None:
    world = DeskWorld(
        policy=Policy(symbols=frozenset({"EURUSD"}), settle_ms=0), position_lag_ms=800
    )
    world.sync()
    world.trade(1)
    assert [hold.kind for hold in world.sync(0.3).holds] == [HoldKind.MISSING]


def test_what_others_do_has_no_settle_window() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    assert figures(world.sync(0.1)) == ("SUCCESS", 1, 0, 0)
    world.person.close(ticket, 0.1)
    assert figures(world.sync(0.1)) == ("SUCCESS", 0, 0, 1)
    world.person.close(ticket)
    assert figures(world.sync(0.1)) == ("SUCCESS", 0, 1, 0)


@pytest.mark.parametrize("account", [AccountSetup(), NETTING])
def test_own_partial_close_does_not_flap_when_list_and_deals_are_late_together(
    account: AccountSetup,
) -> None:
    world = fast(account)
    world.trade(1, 0.3)
    world.turn(20)
    world.terminal.switches.position_lag_ms = world.terminal.switches.deal_lag_ms = 3_000
    world.trade(-1, 0.1)
    for _ in range(15):
        world.turn(1)
        assert world.pm.position is not None
        assert world.pm.position.net_volume == 0.2
    assert world.pm.realised == world.realised(everything(world))


def test_what_a_hand_does_right_after_us_is_taken_when_its_deals_show_both() -> None:
    world = fast()
    order = world.trade(1, 0.3)
    world.turn(20)
    world.trade(-1, 0.1)
    world.turn(1.5)
    world.person.close(order.ticket, 0.05)
    world.turn(1.5)
    assert world.book() == world.rows()
    assert world.book()[order.ticket][3] == 0.15


def test_at_the_very_end_of_its_window_a_difference_is_judged() -> None:
    world = DeskWorld(position_lag_ms=60_000)
    world.sync()
    world.trade(1)
    assert [hold.kind for hold in world.sync(0.999).holds] == [HoldKind.SETTLING]
    assert [hold.kind for hold in world.sync(0.001).holds] == [HoldKind.MISSING]


def test_stop_that_a_hand_sets_right_after_our_entry_is_taken_when_the_window_is_over() -> None:
    world = DeskWorld()
    world.sync()
    order = world.trade(1)
    world.person.modify(order.ticket, sl=1.05)
    assert [hold.kind for hold in world.sync(0.5).holds] == [HoldKind.SETTLING]
    assert figures(world.sync(1)) == ("SUCCESS", 0, 0, 1)
    assert world.book()[order.ticket][5] == 1.05


def test_long_after_our_own_activity_a_list_is_believed_before_its_deals_come() -> None:
    world = DeskWorld()
    world.sync()
    order = world.trade(1)
    world.sync(60)
    world.terminal.switches.deal_lag_ms = 30_000
    world.person.close(order.ticket, 0.04)
    assert figures(world.sync(1)) == ("SUCCESS", 0, 0, 1)
    assert world.book()[order.ticket][3] == 0.06


def test_settle_window_of_zero_takes_every_list_as_it_is() -> None:
    off = Policy(symbols=frozenset({"EURUSD"}), settle_ms=0)
    world = DeskWorld(policy=off)
    world.sync()
    order = world.trade(1)
    world.sync()
    world.terminal.switches.position_lag_ms = world.terminal.switches.deal_lag_ms = 5_000
    world.trade(-1, 0.04)
    assert figures(world.sync(1)) == ("SUCCESS", 0, 0, 1)
    assert world.book()[order.ticket][3] == 0.1
    world.sync(6)
    assert world.book() == world.rows()
    assert world.pm.realised == world.realised(everything(world))


def test_the_guides_wire_has_the_settle_window_too() -> None:
    world = DeskWorld(position_lag_ms=800)
    world.knows_only_the_guide = True
    world.sync()
    order = world.trade(1)
    assert figures(world.sync(0.3)) == ("SUCCESS", 0, 0, 0)
    assert "does not list it yet" in world.reconciler.health
    assert not world.pm.check_risk(1)
    assert figures(world.sync(0.8)) == ("SUCCESS", 0, 0, 0)
    world.trade(-1)
    # It is shown still, and is no zombie.
    assert figures(world.sync(0.3)) == ("SUCCESS", 0, 0, 0)
    assert order.ticket not in world.book()
    assert figures(world.sync(0.8)) == ("SUCCESS", 0, 0, 0)
    assert world.reconciler.holds == ()


def test_on_the_guides_wire_a_close_by_hand_after_our_fill_waits_for_the_window() -> None:
    world = DeskWorld()
    world.knows_only_the_guide = True
    world.sync()
    order = world.trade(1)
    world.person.close(order.ticket)
    assert figures(world.sync(1.0)) == ("SUCCESS", 0, 0, 0)
    assert figures(world.sync(1.0)) == ("SUCCESS", 0, 1, 0)


@pytest.mark.parametrize("lag_ms", [600, 1_200])
def test_on_the_guides_wire_a_late_list_never_makes_a_strategy_that_wants_one_position_buy_twice(
    lag_ms: int,
) -> None:
    world = DeskWorld(position_lag_ms=lag_ms)
    world.knows_only_the_guide = True
    world.reconciler.sync_interval = 0.2
    for _ in range(200):
        world.turn(0.05)
        if world.pm.position is None and world.pm.check_risk(1):
            world.trade(1)
    assert len(world.rows()) == 1
    assert world.book().keys() == world.rows().keys()


# Readings that are older than what we know.


def asked_then(world: DeskWorld) -> None:
    """Let a sync begin: the broker has answered, and nobody has read the answer yet."""
    world.wait(15)
    assert world.reconciler.sync_continuous() is None


def test_own_entry_between_question_and_answer_is_judged_by_the_next_reading() -> None:
    world = DeskWorld()
    world.sync()
    asked_then(world)
    order = world.trade(1)
    result = world.reconciler.sync_continuous()
    assert result is not None
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert [(h.kind, h.identifier) for h in result.holds] == [(HoldKind.NEWER, order.ticket)]
    assert world.tickets() == {order.ticket}
    assert world.sync().holds == ()
    assert world.tickets() == {order.ticket}


def test_own_exit_between_question_and_answer_does_not_come_back() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.1)
    world.sync()
    asked_then(world)
    world.trade(-1)
    result = world.reconciler.sync_continuous()
    assert result is not None
    assert (figures(result), world.tickets()) == (("SUCCESS", 0, 0, 0), set())
    assert [(h.kind, h.identifier) for h in result.holds] == [(HoldKind.NEWER, ticket)]
    assert world.sync().holds == ()


def test_own_partial_close_between_question_and_answer_is_not_undone() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    asked_then(world)
    world.trade(-1, 0.1)
    result = world.reconciler.sync_continuous()
    assert result is not None
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert [h.kind for h in result.holds] == [HoldKind.NEWER]
    assert world.book()[ticket][3] == 0.2
    assert world.sync().holds == ()


def test_a_sync_by_hand_that_overtakes_one_under_way_is_not_undone_by_it() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    asked_then(world)
    world.person.close(ticket)
    assert figures(world.reconciler.sync_positions()) == ("SUCCESS", 0, 1, 0)
    assert world.reconciler.sync_continuous() is None
    assert world.tickets() == set()
    world.turn(31)
    assert world.tickets() == set()
    assert world.actions() == ["RECOVERY", "CLOSED"]


# Planning twice.


def planned(world: DeskWorld) -> Plan:
    """Plan from the last reading once more, as if it had just been asked for."""
    assert world.reconciler.remote is not None
    book, now_ns = world.pm.book, world.clock.now_ns()
    return plan(
        SyncInputs(
            book=book,
            snapshot=world.reconciler.remote,
            policy=world.reconciler.policy,
            asked_version=book.version,
            asked_ns=now_ns,
            now_ns=now_ns,
            waited=by_dates(now_ns),
        )
    )


def test_second_plan_on_the_same_snapshot_is_empty() -> None:
    world = DeskWorld()
    tickets = [world.person.open("EURUSD", BUY, lots, sl=1.05) for lots in (0.1, 0.2, 0.3)]
    world.person.place("EURUSD", 2, 0.1, 1.05)
    assert len(world.sync().plan.events) == 5
    assert planned(world) == Plan()
    world.person.close(tickets[0])
    world.person.close(tickets[1], 0.1)
    world.person.modify(tickets[2], sl=0.0)
    world.person.open("EURUSD", BUY, 0.4)
    assert len(world.sync().plan.events) == 5
    assert planned(world) == Plan()


def test_second_plan_repeats_holds_and_changes_nothing() -> None:
    world = DeskWorld(deal_lag_ms=60_000)
    ticket = world.person.open("EURUSD", BUY, 0.1)
    world.sync()
    world.person.close(ticket)
    first = world.sync().plan
    assert [type(event) for event in first.events] == [events.PositionMissing]
    before = world.state()
    second = planned(world)
    assert second.events == ()
    assert [h.kind for h in second.holds] == [HoldKind.MISSING]
    assert world.state() == before
