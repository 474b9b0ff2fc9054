"""Every exit is explained by its deals, and the realised result is the broker's to the cent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, COSTLY, NETTING, SELL, DeskWorld, agree, figures
from trueup.core.holds import HoldKind
from trueup.core.policy import Policy
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.records import Refusal
from trueup.sim.market.switches import DealOrder
from trueup.sim.market.symbols import EURUSD, GBPUSD, AccountSetup, Charged
from trueup.sim.terminal.terminal_faults import Fails


def close_by_sl(world: DeskWorld, ticket: int) -> None:
    world.person.modify(ticket, sl=1.09)
    world.quote(1.08950)


def close_by_tp(world: DeskWorld, ticket: int) -> None:
    world.person.modify(ticket, tp=1.11)
    world.quote(1.11050)


def close_by_stop_out(world: DeskWorld, ticket: int) -> None:
    world.quote(0.60200)


def close_by_phone(world: DeskWorld, ticket: int) -> None:
    world.terminal.somebody(mt5.ORDER_REASON_MOBILE).close(ticket)


def close_by_browser(world: DeskWorld, ticket: int) -> None:
    world.terminal.somebody(mt5.ORDER_REASON_WEB).close(ticket)


def close_by_hand(world: DeskWorld, ticket: int) -> None:
    world.person.close(ticket)


def close_by_robot(world: DeskWorld, ticket: int) -> None:
    world.terminal.robot(99).close(ticket)


def close_by_opposite(world: DeskWorld, ticket: int) -> None:
    other = world.person.open("EURUSD", SELL, 0.2)
    world.person.close_by(ticket, other)


def reopen_elsewhere(world: DeskWorld, ticket: int) -> None:
    world.terminal.switches.reopening_changes_identifier = True
    world.terminal.broker.reopen(world.person.login, ticket, 1.1, mt5.DEAL_REASON_ROLLOVER)


EXITS = {
    "by its stop loss": (close_by_sl, 1.0895),
    "by its take profit": (close_by_tp, 1.1105),
    "by a stop out": (close_by_stop_out, 0.602),
    "by hand on the phone": (close_by_phone, 1.1),
    "by hand in the browser": (close_by_browser, 1.1),
    "by hand in the terminal": (close_by_hand, 1.1),
    "by a program": (close_by_robot, 1.1),
    "by an opposite position": (close_by_opposite, 1.1),
    "by a rollover": (reopen_elsewhere, 1.1),
}


@pytest.mark.parametrize("reason", EXITS)
def test_exit_is_told_with_reason_price_volume_money_and_time(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = DeskWorld(specs=(COSTLY, GBPUSD))
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    leave, price = EXITS[reason]
    leave(world, ticket)
    deals = world.ledger.deals_of(ticket)
    when = dt.datetime.fromtimestamp(deals[-1].time_msc / 1000, dt.UTC)
    result = world.sync()
    assert result.closed == 1
    told = next(said for said in result.explanations if said.startswith(f"Ticket {ticket}: "))
    assert f"closed {reason}: 0.20 lots at {price}, profit {deals[-1].profit:.2f}, " in told
    charges = sum(deal.commission + deal.fee for deal in deals)
    assert f"swap 0.00, commission {charges:.2f}, {when:%Y-%m-%d %H:%M:%S} server time" in told
    assert world.pm.realised == world.realised([ticket])
    # The guide's line stays as it is, and a second one explains.
    assert f"[CLOSED] Ghost position removed (Ticket {ticket})" in caplog.messages
    assert f"[EXPLAINED] {told}" in caplog.messages
    entry = next(e for e in world.reconciler.get_audit_trail() if e["action"] == "CLOSED")
    assert reason in entry["details"]
    assert "unproven" not in entry["details"]


def test_magic_of_the_closing_deal_does_not_matter() -> None:
    world = DeskWorld(
        policy=Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7})),
        stop_close_keeps_magic=False,
    )
    ticket = world.terminal.robot(7).open("EURUSD", BUY, 0.2, sl=1.09)
    world.sync()
    world.quote(1.08900)
    assert "by its stop loss" in world.sync().explanations[0]
    assert world.pm.realised == world.realised([ticket])


def test_comment_that_contradicts_the_reason_is_told_too() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    quote = world.terminal.market.quotes["EURUSD"]
    world.person.request(
        action=mt5.TRADE_ACTION_DEAL,
        symbol="EURUSD",
        type=SELL,
        volume=0.2,
        price=quote.bid,
        position=ticket,
        type_filling=mt5.ORDER_FILLING_IOC,
        comment="[sl 1.05]",
    )
    said = world.sync().explanations[0]
    assert "by hand in the terminal (the comment says by its stop loss)" in said


@pytest.mark.parametrize("account", [AccountSetup(), NETTING])
def test_own_entry_costs_at_the_next_sync_and_not_only_with_the_exit(
    account: AccountSetup,
) -> None:
    world = DeskWorld(account, specs=(COSTLY,))
    world.sync()
    order = world.trade(1, 0.2)
    result = world.sync()
    assert world.pm.realised == world.realised([order.ticket]) == -0.75
    assert result.explanations == [
        f"Ticket {order.ticket}: opened: 0.20 lots at 1.1001, commission -0.75 (case J)"
    ]
    # Once is enough: nothing more is asked for, nothing is counted twice.
    world.requests.clear()
    assert world.sync().explanations == []
    assert len(world.requests) == 1
    assert world.pm.realised == -0.75


def test_own_entry_whose_deal_comes_late_costs_when_it_is_there() -> None:
    world = DeskWorld(specs=(COSTLY,), deal_lag_ms=5_000)
    world.sync()
    order = world.trade(1, 0.2)
    assert world.sync().explanations == []
    assert world.pm.realised == 0.0
    assert len(world.sync(5).explanations) == 1
    assert world.pm.realised == world.realised([order.ticket])


def test_own_order_that_adds_to_a_netting_position_is_told_as_that() -> None:
    world = DeskWorld(NETTING, specs=(COSTLY,))
    world.sync()
    ticket = world.pm.submit("buy", 0.2).ticket
    world.sync()
    world.pm.submit("buy", 0.1)
    assert world.sync().explanations == [
        f"Ticket {ticket}: added: 0.10 lots at 1.1001, commission -0.38 (case J)"
    ]
    assert world.pm.realised == world.realised([ticket or 0])


def test_adopted_position_brings_what_it_cost_before_with_its_next_deal() -> None:
    """On a hedging account its deals are asked for only then: there may be thousands."""
    world = DeskWorld(specs=(COSTLY,))
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    assert world.pm.realised == 0.0
    world.person.close(ticket, 0.1)
    world.sync()
    assert world.pm.realised == world.realised([ticket]) < 0.0


def test_adopted_netting_position_brings_what_it_cost_at_once() -> None:
    world = DeskWorld(NETTING, specs=(COSTLY,))
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.person.close(ticket, 0.1)
    result = world.sync()
    assert world.pm.realised == world.realised([ticket]) < 0.0
    assert "closed in part by hand" in result.explanations[0]


def test_own_exit_is_booked_and_explained_too() -> None:
    world = DeskWorld(specs=(COSTLY,))
    world.sync()
    order = world.trade(1, 0.2)
    world.sync()
    world.quote(1.10500)
    world.trade(-1, 0.2)
    result = world.sync()
    assert "closed by a program: 0.20 lots at 1.105" in result.explanations[0]
    assert world.pm.realised == world.realised([order.ticket])
    assert world.pm.realised > 0
    assert result.explanations[0].endswith("server time (case K)")
    assert world.actions() == ["EXPLAINED", "EXPLAINED"]
    assert world.sync().explanations == []


def test_a_close_beside_a_new_position_of_the_same_size_is_not_called_a_reopening() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.person.close(ticket)
    world.person.open("EURUSD", BUY, 0.2)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 1, 1, 0)
    assert "opened it again" not in result.explanations[0]


@pytest.mark.parametrize(("side", "volume"), [(BUY, 0.3), (SELL, 0.2)])
def test_a_rollover_is_followed_to_the_position_of_its_own_side_and_size(
    side: int, volume: float
) -> None:
    world = DeskWorld(reopening_changes_identifier=True)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.person.open("EURUSD", side, volume)
    world.terminal.broker.reopen(world.person.login, ticket, 1.1, mt5.DEAL_REASON_ROLLOVER)
    after = next(key for key, row in world.rows().items() if row[2:4] == ("buy", 0.2))
    assert f"the broker opened it again as {after}" in world.sync().explanations[0]


def test_a_rollover_that_two_new_positions_fit_names_both() -> None:
    world = DeskWorld(reopening_changes_identifier=True)
    tickets = [world.person.open("EURUSD", BUY, 0.2) for _ in range(2)]
    world.sync()
    for ticket in tickets:
        world.terminal.broker.reopen(world.person.login, ticket, 1.1, mt5.DEAL_REASON_ROLLOVER)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 2, 2, 0)
    first, second = sorted(set(world.rows()) - set(tickets))
    assert [said.rpartition("; ")[2] for said in result.explanations] == [
        f"it goes on as one of {first}, {second}",
        # The other one had been opened before this one was closed.
        f"the broker opened it again as {second}",
    ]


# What stays missing, and a person who lets go of it.


def forgotten(world: DeskWorld, for_ms: int = 10**12) -> int:
    """Close a position whose deals the terminal gets to see late, or never."""
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync(11)
    world.terminal.switches.deal_lag_ms = for_ms
    world.person.close(ticket)
    world.sync()
    return ticket


def test_what_is_missing_for_ever_leaves_by_the_will_of_a_person_and_says_whose() -> None:
    world = DeskWorld()
    ticket = forgotten(world)
    for _ in range(20):
        world.sync(3600)
    (hold,) = world.reconciler.holds
    assert hold.kind is HoldKind.MISSING
    assert hold.until.endswith(f"or a person who lets go of it: trueup approve {hold.id}")
    assert world.tickets() == {ticket}
    assert world.reconciler.approve(hold.id, "Mary")
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)
    entry = world.reconciler.get_audit_trail()[-1]
    assert (entry["action"], entry["ticket"]) == ("CLOSED", ticket)
    assert entry["details"] == (
        "Ghost position removed (unproven): assumed closed: Mary let go of it while missing, "
        "deal not visible yet"
    )
    assert entry["timestamp"].timestamp() == world.clock.now_ns() / 1e9
    # Nothing is left of it: no hold, no question, and entries are allowed again.
    assert world.reconciler.holds == ()
    assert world.restrictions == ()
    world.requests.clear()
    world.sync()
    assert len(world.requests) == 1


def test_a_yes_to_let_go_is_no_yes_to_drop_what_can_be_proven_by_then() -> None:
    world = DeskWorld()
    ticket = forgotten(world, for_ms=60_000)
    assert world.reconciler.approve(world.reconciler.holds[0].id, "Mary")
    result = world.sync(60)
    assert "by hand in the terminal" in result.explanations[0]
    assert world.pm.realised == world.realised([ticket])


def test_what_a_person_let_go_of_too_early_is_adopted_when_it_is_listed_again() -> None:
    world = DeskWorld(synchronise_ms=5_000)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.terminal.restart()
    assert world.terminal.initialize()
    for _ in range(2):
        world.sync(1)
    assert world.reconciler.approve(world.reconciler.holds[0].id)
    assert figures(world.sync(1)) == ("SUCCESS", 0, 1, 0)
    world.sync(5)
    assert world.tickets() == {ticket}
    assert world.book() == world.rows()


def test_what_was_touched_by_us_and_let_go_is_not_asked_for_any_more() -> None:
    world = DeskWorld(deal_lag_ms=10**12)
    world.sync()
    order = world.trade(1, 0.3)
    world.sync()
    world.person.close(order.ticket)
    world.sync(30)
    assert world.pm.book.unexplained
    assert world.reconciler.approve(world.hold(HoldKind.MISSING, HoldKind.HALT).id)
    world.sync()
    assert not world.pm.book.unexplained


# Deals that come late.


def test_deals_that_come_late_step_by_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = DeskWorld(deal_lag_ms=5_000)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync(6)
    world.person.close(ticket)
    result = world.sync(1)
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    (hold,) = result.holds
    assert (hold.kind, hold.identifier, hold.until_ns) == (HoldKind.MISSING, ticket, 0)
    assert world.tickets() == {ticket}
    assert world.pm.realised == 0.0
    # Entries are refused in the symbol, closing what is known is not.
    assert not world.pm.check_risk(1)
    assert world.pm.check_risk(-1)
    assert [r.symbol for r in world.restrictions] == ["EURUSD"]
    for _ in range(3):
        assert figures(world.sync(1)) == ("SUCCESS", 0, 0, 0)
    assert world.tickets() == {ticket}
    result = world.sync(1)
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    assert "by hand" in result.explanations[0]
    assert world.pm.realised == world.realised([ticket])
    assert world.restrictions == ()
    assert world.pm.check_risk(1)
    # One audit entry, and one line, for each step.
    assert world.actions() == ["RECOVERY", "MISSING", "CLOSED"]
    assert sum(line.startswith("[MISSING]") for line in caplog.messages) == 1
    assert sum(line.startswith("[HOLD]") for line in caplog.messages) == 1


def test_what_is_missing_is_asked_for_again_soon_and_never_given_up() -> None:
    world = DeskWorld(deal_lag_ms=3_600_000)
    world.turn(1)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.turn(16)
    world.person.close(ticket)
    world.turn(30)
    assert world.tickets() == {ticket}
    world.wait(3_600)
    world.turn(5)
    assert world.tickets() == set()
    assert world.pm.realised == world.realised([ticket])


def deals_asked_for(world: DeskWorld, seconds: float) -> int:
    """How often deals are asked for while time passes."""
    world.requests.clear()
    world.turn(seconds)
    return sum(b'"explain"' in request for request in world.requests)


@pytest.mark.parametrize("is_open", [True, False], ids=["unexplained", "missing"])
def test_deals_that_never_come_are_asked_for_less_and_less_and_said_once(
    is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = DeskWorld(deal_lag_ms=10**12)
    world.reconciler.sync_interval = 300
    world.sync()
    ticket = world.trade(1).ticket
    if not is_open:
        world.sync(30)
        world.person.close(ticket)
    world.sync()
    first, later = deals_asked_for(world, 10), deals_asked_for(world, 300)
    assert first in (8, 9, 10)
    assert later <= 9
    assert world.pm.book.unexplained
    waiting = [said for said in caplog.messages if said.startswith("[WAITING]")]
    assert len(waiting) == 1
    assert str(ticket) in waiting[0]
    assert list(world.reconciler.overdue) == [ticket]
    # Something new: back to every second.
    world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    assert deals_asked_for(world, 5) >= 4


def test_missing_position_that_is_listed_again_is_found_and_nothing_was_lost() -> None:
    world = DeskWorld(synchronise_ms=5_000)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.terminal.restart()
    assert world.terminal.initialize()
    for _ in range(2):
        world.sync(1)
    assert world.kinds() == [HoldKind.MISSING]
    assert world.tickets() == {ticket}
    world.sync(5)
    assert world.kinds() == []
    assert world.actions() == ["RECOVERY", "MISSING", "FOUND"]
    assert world.book() == world.rows()


def test_deals_that_do_not_add_up_to_zero_close_nothing() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.person.close(ticket, 0.1)
    world.terminal.faults.next_deal_lags(60_000)
    world.person.close(ticket, 0.2)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert "its deals leave 0.20 lots open" in result.holds[0].reason
    assert figures(world.sync(60)) == ("SUCCESS", 0, 1, 0)
    assert world.pm.realised == world.realised([ticket])


def test_a_history_that_cannot_be_read_is_no_empty_history() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.person.close(ticket)
    world.terminal.faults.next_call("history_deals_get", Fails())
    result = world.sync()
    assert "its deals could not be read" in result.holds[0].reason
    assert world.tickets() == {ticket}
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)


@pytest.mark.parametrize("order", DealOrder)
def test_deals_out_of_order_and_twice_count_once(order: DealOrder) -> None:
    world = DeskWorld(specs=(COSTLY,), deal_order=order)
    world.terminal.faults.duplicate_deals(4)
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.quote(1.10400)
    world.person.close(ticket, 0.1)
    world.sync()
    assert world.pm.realised == world.realised([ticket])
    world.person.close(ticket)
    assert "0.20 lots at 1.104" in world.sync().explanations[0]
    assert world.pm.realised == world.realised([ticket])


def test_partial_close_whose_deal_comes_late_is_drift_now_and_explained_then() -> None:
    world = DeskWorld(deal_lag_ms=3_000)
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync(4)
    world.quote(1.10400)
    world.person.close(ticket, 0.1)
    result = world.sync(1)
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert result.explanations == []
    result = world.sync(3)
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert "closed in part by hand in the terminal: 0.10 lots at 1.104" in result.explanations[0]
    assert world.pm.realised == world.realised([ticket])


def test_hundreds_of_exits_at_once_are_all_explained() -> None:
    world = DeskWorld(AccountSetup(balance=1_000_000.0))
    tickets = world.person.open_many("EURUSD", BUY, 0.01, 600)
    world.sync()
    world.quote(1.10100)
    world.person.close_all()
    while world.pm.position is not None:
        assert world.sync().closed > 0
    assert world.pm.realised == world.realised(tickets)
    assert not any("unproven" in e["details"] for e in world.reconciler.get_audit_trail())


# To the cent, over long random histories.

DEAR = dataclasses.replace(
    EURUSD,
    commission_per_lot=3.37,
    commission_charged=Charged.AT_BOTH,
    fee_per_lot=0.13,
    swap_long=-7.77,
    swap_short=2.31,
)
ACTIONS = ("buy", "sell", "close", "partial", "by", "own in", "own out", "night", "quote")
MOVES = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS), st.integers(1, 40), st.integers(-60, 60), st.integers(0, 20)
    ),
    min_size=5,
    max_size=40,
)


def move(world: DeskWorld, what: str, steps: int, points: int, which: int) -> None:
    """Let one thing happen a moment later; what the broker refuses does not."""
    world.wait(0.001)
    held = list(world.ledger.positions.values())
    one = held[which % len(held)] if held else None
    lots = steps / 100
    match what:
        case "buy" | "sell":
            world.person.open("EURUSD", BUY if what == "buy" else SELL, lots)
        case "close" if one is not None:
            world.person.close(one.ticket)
        case "partial" if one is not None:
            world.person.close(one.ticket, min(lots, one.steps / 100))
        case "by" if one is not None:
            other = next((p for p in held if p.type != one.type), None)
            if other is not None and not world.ledger.setup.is_netting:
                world.person.close_by(one.ticket, other.ticket)
        case "own in" | "own out":
            signal = 1 if what == "own in" else -1
            if world.pm.check_risk(signal):
                world.trade(signal, lots)
        case "night":
            world.terminal.broker.change_day()
        case _:
            pass
    bid = round(world.terminal.market.quotes["EURUSD"].bid + points / 100_000, 5)
    world.quote(bid)


def touched_by_us(world: DeskWorld) -> set[int]:
    """The positions that orders of ours went into: of a hand's, that no look ever showed, too."""
    deals = world.ledger.deals.values()
    return {deal.position_id for deal in deals if deal.reason == mt5.DEAL_REASON_EXPERT}


@pytest.mark.parametrize(
    "account", [AccountSetup(balance=1e6), dataclasses.replace(NETTING, balance=1e6)]
)
@given(moves=MOVES, every=st.integers(1, 6))
def test_realised_result_is_the_brokers_to_the_cent(
    account: AccountSetup, moves: list[tuple[str, int, int, int]], every: int
) -> None:
    world = DeskWorld(account, specs=(DEAR,))
    world.sync()
    known: set[int] = set()
    for number, (what, steps, points, which) in enumerate(moves):
        try:
            move(world, what, steps, points, which)
        except Refusal:
            continue
        known |= set(world.pm.book.holdings)
        if number % every == 0:
            world.wait(2)
            assert figures(world.sync())[0] == "SUCCESS"
            known |= set(world.pm.book.holdings)
            assert agree(world.book(), world.rows())
            known |= touched_by_us(world)
            if world.ledger.setup.is_netting:
                # Every deal of every position is known: at every moment, not only at the end.
                assert world.pm.realised == pytest.approx(world.realised(known), abs=1e-9)
    world.sync()
    known |= set(world.pm.book.holdings) | touched_by_us(world)
    world.person.close_all()
    world.sync()
    assert world.pm.position is None
    assert world.pm.realised == pytest.approx(world.realised(known), abs=1e-9)
    assert not world.pm.book.unexplained
