"""Positions are known by their identifier: netting, hedging, and what a broker does to both."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.desk_world import BUY, COSTLY, NETTING, SELL, DeskWorld, figures
from trueup.core.holds import HoldKind
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import EURUSD, GBPUSD

NEVER = {"RECOVERY", "CLOSED", "MISSING"}


def agrees(world: DeskWorld) -> None:
    """Book and broker are the same, and looking again finds nothing."""
    assert world.book() == world.rows()
    before = world.state()
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.state() == before
    assert world.reconciler.holds == ()


# Netting, by hand.


def netting(volume: float = 0.2) -> tuple[DeskWorld, int]:
    world = DeskWorld(NETTING)
    identifier = world.person.open("EURUSD", BUY, volume)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    return world, identifier


def test_adding_by_hand_is_drift_in_volume_and_price() -> None:
    world, identifier = netting()
    world.quote(1.10200)
    world.person.open("EURUSD", BUY, 0.1)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "volume 0.20L → 0.30L, price 1.1001 → 1.10076667" in result.drifts[0]
    assert set(world.book()) == {identifier}
    agrees(world)


def test_reducing_by_hand_is_drift_in_volume_and_is_explained() -> None:
    world, _identifier = netting()
    world.person.open("EURUSD", SELL, 0.05)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "volume 0.20L → 0.15L" in result.drifts[0]
    assert "closed in part by hand in the terminal: 0.05 lots" in result.explanations[0]
    agrees(world)


def test_reversing_by_hand_is_drift_in_ticket_and_side_and_never_ghost_and_zombie() -> None:
    world, identifier = netting()
    ticket = world.person.open("EURUSD", SELL, 0.5)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert f"ticket {identifier} → {ticket}" in result.drifts[0]
    assert "side LONG → SHORT" in result.drifts[0]
    assert "volume 0.20L → 0.30L" in result.drifts[0]
    assert "by a reversal by hand in the terminal" in result.explanations[0]
    assert set(world.book()) == {identifier}
    assert world.tickets() == {ticket}
    assert world.actions() == ["RECOVERY", "EXPLAINED", "DRIFT_FIX", "EXPLAINED"]
    agrees(world)


def test_reversing_twice_and_closing_keeps_one_identifier_and_the_brokers_result() -> None:
    world, identifier = netting()
    for side in (SELL, BUY, SELL):
        world.person.open("EURUSD", side, 0.5)
        world.quote(round(world.terminal.market.quotes["EURUSD"].bid + 0.0007, 5))
        world.sync()
        assert set(world.book()) == {identifier}
        agrees(world)
    world.person.close_all()
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    assert world.pm.realised == world.realised([identifier])
    assert world.actions().count("RECOVERY") == 1


def test_a_position_closed_and_opened_again_between_two_looks_is_two_positions() -> None:
    world, first = netting()
    world.person.close(first)
    second = world.person.open("EURUSD", BUY, 0.2)
    assert figures(world.sync()) == ("SUCCESS", 1, 1, 0)
    assert set(world.book()) == {second}
    agrees(world)


# Netting, by our own orders.


def test_own_orders_that_add_and_reduce_leave_one_position_and_nothing_to_correct() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    order = world.trade(1, 0.2)
    world.sync()
    world.quote(1.10300)
    world.trade(-1, 0.05)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert set(world.book()) == {order.ticket}
    assert world.pm.realised == world.realised([order.ticket])
    agrees(world)


def test_own_order_that_reverses_keeps_the_identifier_and_needs_no_correction() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    first = world.trade(1, 0.2)
    world.sync()
    world.quote(1.10300)
    second = world.trade(-1, 0.5)
    assert {key: row[:4] for key, row in world.book().items()} == {
        first.ticket: (second.ticket, "EURUSD", "sell", 0.3)
    }
    for _ in range(3):
        assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert not set(world.actions()) & NEVER
    assert world.pm.realised == world.realised([first.ticket])
    agrees(world)


def test_own_fill_that_went_into_a_position_nobody_had_told_us_of_is_found_there() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    by_hand = world.person.open("EURUSD", BUY, 0.2)
    order = world.trade(1, 0.1)
    assert set(world.book()) == {order.ticket}
    result = world.sync()
    assert figures(result) == ("SUCCESS", 1, 1, 0)
    assert f"its fill went into position {by_hand}" in result.explanations[1]
    assert set(world.book()) == {by_hand}
    agrees(world)
    world.person.close_all()
    world.sync()
    assert world.pm.realised == world.realised([by_hand])


def test_own_round_trip_inside_a_position_nobody_had_told_us_of_is_not_waited_for() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    by_hand = world.person.open("EURUSD", SELL, 0.2)
    for side in ("buy", "sell"):
        world.wait(0.1)
        world.pm.submit(side, 0.1)
    world.sync()
    assert set(world.book()) == {by_hand}
    agrees(world)
    world.requests.clear()
    world.sync()
    assert len(world.requests) == 1


# Hedging.


def test_opposite_tickets_on_one_symbol_are_two_positions() -> None:
    world = DeskWorld()
    long, short = (world.person.open("EURUSD", side, 0.2) for side in (BUY, SELL))
    assert figures(world.sync()) == ("SUCCESS", 2, 0, 0)
    assert world.pm.position is not None
    assert world.pm.position.net_volume == 0.0
    assert world.pm.get_position_summary()["direction"] == "HEDGED"
    world.person.close(long)
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    assert world.tickets() == {short}
    agrees(world)


def test_own_close_on_a_hedging_account_names_its_ticket_and_opens_nothing() -> None:
    world = DeskWorld()
    world.sync()
    world.trade(1, 0.2)
    world.sync()
    world.trade(-1, 0.2)
    assert world.rows() == {}
    assert world.pm.position is None
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    agrees(world)


def test_own_partial_close_keeps_ticket_and_identifier() -> None:
    world = DeskWorld()
    world.sync()
    order = world.trade(1, 0.2)
    world.sync()
    world.trade(-1, 0.05)
    assert world.book()[order.ticket][3] == 0.15
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    agrees(world)


def test_partial_close_by_hand_is_drift_and_explained() -> None:
    world = DeskWorld(specs=(COSTLY,))
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.quote(1.10300)
    world.person.close(ticket, 0.05)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "closed in part by hand in the terminal: 0.05 lots at 1.103" in result.explanations[0]
    assert world.pm.realised == world.realised([ticket])
    agrees(world)


def test_many_small_partial_closes_leave_no_dust() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    for _ in range(29):
        world.person.close(ticket, 0.01)
        world.sync()
    assert world.book()[ticket][3] == 0.01
    world.person.close(ticket)
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    assert world.pm.position is None
    assert world.pm.realised == world.realised([ticket])


@pytest.mark.parametrize(("long", "short"), [(0.2, 0.2), (0.2, 0.5), (0.5, 0.2)])
def test_close_by_ends_both_or_leaves_the_larger(long: float, short: float) -> None:
    world = DeskWorld(specs=(COSTLY,))
    tickets = [world.person.open("EURUSD", BUY, long), world.person.open("EURUSD", SELL, short)]
    world.sync()
    world.quote(1.10300)
    world.person.close_by(*tickets)
    result = world.sync()
    even = long == short
    assert figures(result) == ("SUCCESS", 0, 2 if even else 1, 0 if even else 1)
    assert len(result.explanations) == 2
    assert all("by an opposite position" in said for said in result.explanations)
    assert world.pm.realised == world.realised(tickets)
    agrees(world)


# Pending orders that fill in parts.


def test_partly_filled_pending_order_leaves_a_position_and_an_order_with_one_ticket() -> None:
    world = DeskWorld()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.5, 1.09000)
    world.sync()
    world.terminal.broker.supply("EURUSD", 0.2)
    world.quote(1.08900)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 1, 0, 0)
    assert world.book()[ticket][3] == 0.2
    assert world.pm.book.pending[ticket].order.volume == 0.3
    agrees(world)
    world.terminal.broker.supply("EURUSD", None)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "volume 0.20L → 0.50L" in result.drifts[0]
    assert "filled" in result.orders[0]
    assert not world.pm.book.pending
    agrees(world)


def test_partly_filled_pending_order_that_is_cancelled_is_not_called_filled() -> None:
    world = DeskWorld()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.5, 1.09000)
    world.sync()
    world.terminal.broker.supply("EURUSD", 0.2)
    world.quote(1.08900)
    world.sync()
    world.person.cancel(ticket)
    result = world.sync()
    assert result.orders[0].endswith("ended: canceled")
    assert world.book()[ticket][3] == 0.2
    agrees(world)


def test_position_whose_first_part_was_closed_comes_back_under_the_same_identifier() -> None:
    world = DeskWorld()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.5, 1.09000)
    world.sync()
    world.terminal.broker.supply("EURUSD", 0.2)
    world.quote(1.08900)
    world.sync()
    world.person.modify(ticket, tp=1.0895)
    world.quote(1.08960)
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    world.terminal.broker.supply("EURUSD", None)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert world.book()[ticket][3] == 0.3
    agrees(world)
    world.person.close(ticket)
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    assert world.pm.realised == world.realised([ticket])


def test_own_filled_order_on_netting_that_meets_a_pending_order_of_another_ticket() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    own = world.trade(1, 0.1)
    pending = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.09000)
    world.sync()
    world.quote(1.08900)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert f"filled: it went into position {own.ticket}" in result.orders[0]
    assert pending not in world.tickets()
    agrees(world)


# What a broker does at night.

REOPENING = dataclasses.replace(
    EURUSD, swap_mode=mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, commission_per_lot=3.0
)


def test_swap_by_reopening_with_a_changed_ticket_is_drift_in_the_ticket() -> None:
    world = DeskWorld(specs=(REOPENING, GBPUSD))
    identifier = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.quote(1.10300)
    world.terminal.broker.change_day()
    ticket = world.ledger.positions[identifier].ticket
    assert ticket != identifier
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert f"ticket {identifier} → {ticket}" in result.drifts[0]
    assert not {"CLOSED", "MISSING"} & set(world.actions())
    assert world.pm.realised == world.realised([identifier])
    agrees(world)
    # The ticket that is sent from here on is the new one.
    world.trade(-1, 0.2)
    assert world.rows() == {}


def test_reopening_that_changes_the_ticket_alone_or_the_price_alone_is_drift_in_that() -> None:
    world = DeskWorld()
    identifier = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    broker, login = world.terminal.broker, world.person.login
    broker.reopen(login, identifier, 1.1001, mt5.DEAL_REASON_ROLLOVER)
    (drift,) = world.sync().drifts
    assert drift.split(": ", 1)[1].startswith(f"ticket {identifier} → ")
    assert "price" not in drift
    agrees(world)
    world.terminal.switches.reopening_changes_ticket = False
    broker.reopen(login, identifier, 1.105, mt5.DEAL_REASON_ROLLOVER)
    (drift,) = world.sync().drifts
    assert drift.endswith(": price 1.1001 → 1.105")
    assert world.pm.realised == world.realised([identifier])
    agrees(world)


def test_rollover_with_a_new_identifier_closes_one_and_adopts_the_other_as_its_successor() -> None:
    world = DeskWorld(specs=(REOPENING,), reopening_changes_identifier=True)
    before = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.terminal.broker.change_day()
    (after,) = world.ledger.positions
    assert after != before
    result = world.sync()
    assert figures(result) == ("SUCCESS", 1, 1, 0)
    assert "by a rollover" in result.explanations[0]
    assert f"the broker opened it again as {after}" in result.explanations[0]
    assert world.pm.realised == world.realised([before])
    agrees(world)


def test_swap_that_is_only_booked_on_the_position_changes_nothing_in_the_book() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    before = world.state()
    world.terminal.broker.change_day()
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.state() == before
    assert world.ledger.positions[ticket].swap != 0.0
    world.person.close(ticket)
    world.sync()
    assert world.pm.realised == world.realised([ticket])


def test_split_multiplies_volume_and_price_under_the_same_identifier() -> None:
    world = DeskWorld()
    identifier = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.terminal.broker.split("EURUSD", 2)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "volume 0.20L → 0.40L" in result.drifts[0]
    assert set(world.book()) == {identifier}
    world.sync()
    assert world.book() == world.rows()


def test_comments_that_a_broker_rewrites_are_no_difference() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2, comment="mine")
    world.sync()
    before = world.state()
    world.terminal.broker.rewrite_comment(world.person.login, ticket, "[sl 1.05]")
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.state() == before


@pytest.mark.parametrize("dust", [True, False])
def test_floats_as_terminals_write_them_are_no_difference(dust: bool) -> None:
    world = DeskWorld(volume_dust=dust)
    for volume in (0.07, 0.29, 0.35, 0.57, 1.13):
        world.person.open("EURUSD", BUY, volume)
    assert figures(world.sync()) == ("SUCCESS", 5, 0, 0)
    world.terminal.switches.volume_dust = not dust
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.kinds() == list[HoldKind]()
