"""A plan first, then its application: nothing happens that was not shown, and nothing outdated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.desk_world import BUY, OTHER, DeskWorld, figures
from trueup.core.book import events
from trueup.core.holds import HoldKind
from trueup.core.policy import Action, Policy
from trueup.errors import BrokerUnknown, PlanOutdated


def apart(world: DeskWorld) -> dict[str, int]:
    """Put book and broker apart in four ways."""
    ghost, drift, protection = (
        world.person.open("EURUSD", BUY, lots, sl=1.05) for lots in (0.1, 0.2, 0.3)
    )
    world.sync()
    world.person.close(ghost)
    world.person.close(drift, 0.05)
    world.person.modify(protection, sl=1.06)
    zombie = world.person.open("EURUSD", BUY, 0.4)
    return {"ghost": ghost, "drift": drift, "protection": protection, "zombie": zombie}


def test_a_plan_says_everything_and_changes_nothing() -> None:
    world = DeskWorld()
    tickets = apart(world)
    before, trail = world.state(), world.reconciler.get_audit_trail()
    found = world.reconciler.plan()
    assert [type(event).__name__ for event in found.events] == [
        "PositionCorrected",
        "PositionAdopted",
        "PositionCorrected",
        "DealsRecorded",
        "PositionClosed",
    ]
    corrected = found.events[0]
    assert isinstance(corrected, events.PositionCorrected)
    assert (corrected.remote.identifier, corrected.fields) == (tickets["protection"], ("sl",))
    closed = found.events[-1]
    assert isinstance(closed, events.PositionClosed)
    assert closed.ended is not None
    for _ in range(3):
        assert world.reconciler.plan() == found
    assert world.state() == before
    assert world.reconciler.get_audit_trail() == trail
    assert world.reconciler.sync_count == 1


def test_a_plan_that_is_still_true_is_carried_out_as_it_was_shown() -> None:
    world = DeskWorld()
    apart(world)
    found = world.reconciler.plan()
    world.wait(30)
    world.quote(1.10500)  # prices may move meanwhile
    result = world.reconciler.apply(found)
    assert figures(result) == ("SUCCESS", 1, 1, 2)
    assert world.book() == world.rows()
    assert world.reconciler.plan().events == ()


CHANGES: dict[str, Callable[[DeskWorld, dict[str, int]], object]] = {
    "the zombie is closed": lambda w, t: w.person.close(t["zombie"]),
    "the zombie is smaller": lambda w, t: w.person.close(t["zombie"], 0.1),
    "the drift goes on": lambda w, t: w.person.close(t["drift"], 0.05),
    "the stop moved again": lambda w, t: w.person.modify(t["protection"], sl=1.07),
    "a second zombie": lambda w, t: w.person.open("EURUSD", BUY, 0.1),
    "a second ghost": lambda w, t: w.person.close(t["protection"]),
    "a pending order": lambda w, t: w.person.place("EURUSD", 2, 0.1, 1.05),
    "a sync went first": lambda w, t: w.reconciler.sync_positions(),
    "we traded": lambda w, t: w.pm.close(t["protection"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_outdated_plan_is_refused_and_the_book_stays(change: str) -> None:
    world = DeskWorld()
    tickets = apart(world)
    found = world.reconciler.plan()
    CHANGES[change](world, tickets)
    before = world.state()
    with pytest.raises(PlanOutdated, match="no longer true"):
        world.reconciler.apply(found)
    assert world.state() == before


def test_a_plan_is_not_applied_to_a_broker_that_cannot_be_believed() -> None:
    world = DeskWorld()
    apart(world)
    found = world.reconciler.plan()
    before = world.state()
    world.terminal.disconnect()
    with pytest.raises(BrokerUnknown, match=r"Not applied: .* no connection to its trade server"):
        world.reconciler.apply(found)
    with pytest.raises(BrokerUnknown, match=r"No plan: .* no connection to its trade server"):
        world.reconciler.plan()
    assert world.state() == before
    # It was never outdated: when two readings agree again, it is carried out.
    world.terminal.reconnect()
    assert world.reconciler.detect_drift()
    assert figures(world.reconciler.apply(found)) == ("SUCCESS", 1, 1, 2)


def test_a_plan_to_bind_the_book_is_not_applied_to_another_account() -> None:
    world = DeskWorld(others=(OTHER,), synchronise_ms=0)
    found = world.reconciler.plan()
    assert [type(event) for event in found.events] == [events.AccountBound]
    world.terminal.switch_account(OTHER.login)
    with pytest.raises(PlanOutdated):
        world.reconciler.apply(found)
    assert world.pm.book.bound is None


def test_a_plan_of_another_ticket_or_magic_is_another_plan() -> None:
    world = DeskWorld()
    identifier = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    broker = world.terminal.broker
    broker.reopen(world.person.login, identifier, 1.1, 7)
    found = world.reconciler.plan()
    broker.reopen(world.person.login, identifier, 1.1, 7)
    with pytest.raises(PlanOutdated):
        world.reconciler.apply(found)


def test_what_waits_for_a_yes_is_in_the_plan_with_the_id_to_say_yes_to() -> None:
    world = DeskWorld(policy=Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ASK))
    tickets = apart(world)
    hold = next(h for h in world.reconciler.plan().holds if h.kind is HoldKind.ASK)
    assert hold.identifier == tickets["ghost"]
    world.sync()
    assert world.reconciler.approve(hold.id)
    found = world.reconciler.plan()
    assert [type(event) for event in found.events] == [events.PositionClosed]
    world.reconciler.apply(found)
    assert world.book() == world.rows()


def test_a_yes_may_be_said_to_what_a_plan_showed() -> None:
    world = DeskWorld(policy=Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ASK))
    apart(world)
    hold = next(h for h in world.reconciler.plan().holds if h.kind is HoldKind.ASK)
    assert world.reconciler.approve(hold.id)
    world.sync()
    assert world.book() == world.rows()


def test_a_yes_to_what_neither_the_last_sync_nor_the_last_plan_showed_is_refused() -> None:
    world = DeskWorld(policy=Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ASK))
    tickets = apart(world)
    hold = next(h for h in world.reconciler.plan().holds if h.kind is HoldKind.ASK)
    world.person.open("EURUSD", BUY, 0.1)
    assert not world.reconciler.approve("")
    assert not world.reconciler.approve("ghost-00000000")
    # A later sync shows another ghost, and this one is still there: its yes counts.
    world.person.close(tickets["protection"])
    world.sync()
    assert world.reconciler.approve(hold.id)
    world.sync()
    assert set(world.book()) - set(world.rows()) == {tickets["protection"]}


def test_what_is_only_shown_has_no_id_that_a_yes_could_release() -> None:
    world = DeskWorld(policy=Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ALERT))
    apart(world)
    (hold,) = (h for h in world.reconciler.plan().holds if h.kind is HoldKind.ALERT)
    assert hold.id == ""
    assert not world.reconciler.approve(hold.id)


def test_detect_drift_says_all_of_it_and_changes_nothing() -> None:
    world = DeskWorld()
    tickets = apart(world)
    before = world.state()
    said = world.reconciler.detect_drift()
    assert said is not None
    for ticket in tickets.values():
        assert str(ticket) in said
    assert world.state() == before
    world.sync()
    assert world.reconciler.detect_drift() is None
