"""Degraded in the narrowest scope: what is refused, why, since when, until when; and honest age."""

from __future__ import annotations

import datetime as dt

from tests.support import make
from tests.support.desk_world import BUY, SELL, DeskWorld, figures
from trueup.core.policy import Policy
from trueup.errors import JournalError
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.market.switches import ListAnswer


def test_missing_position_restricts_its_symbol_until_it_is_explained() -> None:
    world = DeskWorld(deal_lag_ms=10_000)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync(11)
    world.person.close(ticket)
    world.sync()
    since_ns = world.clock.now_ns()
    (restriction,) = world.restrictions
    assert restriction.symbol == "EURUSD"
    assert "0.20 lots" in restriction.reason
    assert "deal not visible yet" in restriction.reason
    assert restriction.until == (
        "the deals that close it, its return to the list, or a person who lets go of it: "
        f"trueup approve {world.reconciler.holds[0].id}"
    )
    world.sync(3)
    assert world.restrictions[0].since_ns == since_ns
    # The person who reads it at three in the morning; ages are as of now, not of the last sync.
    world.wait(2)
    said = f"0.20 lots (ticket {ticket}) left the broker's list 5 s ago, deal not visible yet"
    assert world.reconciler.health == (
        f"EURUSD held: {said}; everything else agrees (checked 2 s ago)."
    )
    assert world.reconciler.get_status()["health"] == world.reconciler.health
    assert world.reconciler.get_status()["holds"] == [said]
    world.sync(10)
    assert world.restrictions == ()
    assert world.reconciler.health == "Everything agrees (checked 0 s ago)."


def test_missing_in_another_symbol_leaves_ours_free() -> None:
    both = Policy(symbols=frozenset({"EURUSD", "GBPUSD"}))
    world = DeskWorld(deal_lag_ms=60_000, policy=both)
    ticket = world.person.open("GBPUSD", BUY, 0.2)
    world.sync(61)
    world.person.close(ticket)
    world.sync()
    assert [r.symbol for r in world.restrictions] == ["GBPUSD"]
    assert world.pm.check_risk(1)
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_reading_that_is_not_believed_restricts_the_account_and_closing_stays_allowed() -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.tamper(lambda reply: reply.update(digest=""))
    world.sync()
    (restriction,) = world.restrictions
    assert (restriction.symbol, restriction.since_ns) == ("", world.clock.now_ns())
    assert not world.pm.check_risk(1)
    assert world.pm.check_risk(-1)
    # More than is known closes what is known, and opens nothing the other way.
    assert world.trade(-1, 0.3).volume == 0.2
    assert world.rows() == {}
    assert world.pm.position is None
    world.sync()
    assert world.restrictions == ()


def test_flat_book_opens_nothing_while_the_broker_cannot_be_believed() -> None:
    world = DeskWorld()
    world.sync()
    world.terminal.disconnect()
    world.sync()
    assert not world.pm.check_risk(1)
    assert not world.pm.check_risk(-1)
    assert "no connection to its trade server" in world.restrictions[0].reason
    world.terminal.reconnect()
    world.sync()
    world.sync()
    assert world.pm.check_risk(1)
    assert world.pm.check_risk(-1)


def test_both_sides_of_a_hedge_may_be_closed_while_degraded() -> None:
    world = DeskWorld()
    long, short = (world.person.open("EURUSD", side, 0.2) for side in (BUY, SELL))
    world.sync()
    world.tamper(lambda reply: reply.update(digest=""))
    world.sync()
    assert world.restrictions
    for ticket in (long, short):
        assert world.pm.close(ticket).status.value == "FILLED"
    assert world.rows() == {}


def test_age_travels_with_the_data_and_nothing_decays_into_flat() -> None:
    world = DeskWorld(disconnected_list=ListAnswer.EMPTY)
    assert world.pm.as_of is None
    assert not world.pm.is_current(1e9)
    world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    seen = dt.datetime.fromtimestamp(world.clock.now_ns() / 1e9, dt.UTC)
    assert world.pm.as_of == seen
    assert world.pm.is_current(0)
    world.terminal.disconnect()
    for _ in range(20):
        world.sync(3_600)
        assert world.pm.as_of == seen
        assert world.pm.get_position_summary()["status"] == "OPEN"
        assert not world.pm.is_current(3_599)
        assert not world.pm.check_risk(1)
    assert "the book is unchanged (last checked 20 h ago)" in world.reconciler.health


def test_since_when_stays_while_the_reason_stays() -> None:
    world = DeskWorld()
    world.sync()
    world.terminal.disconnect()
    world.sync()
    since_ns = world.clock.now_ns()
    for _ in range(3):
        world.sync()
    assert world.restrictions[0].since_ns == since_ns


def test_a_failed_sync_keeps_what_was_held_before() -> None:
    world = DeskWorld(deal_lag_ms=60_000)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync(61)
    world.person.close(ticket)
    world.sync()
    world.tamper(lambda reply: reply.update(digest=""))
    assert figures(world.sync())[0] == "DEGRADED"
    assert {r.symbol for r in world.restrictions} == {"", "EURUSD"}
    world.sync()
    assert {r.symbol for r in world.restrictions} == {"EURUSD"}


def test_health_before_the_first_reading_claims_nothing() -> None:
    world = DeskWorld()
    assert world.reconciler.health == "Not checked yet: no sync has been made."
    world.terminal.disconnect()
    world.sync()
    assert world.reconciler.health.startswith("Degraded: ")
    assert "never checked" in world.reconciler.health


def test_terminal_that_may_not_trade_is_still_believed() -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.2)
    world.terminal.algo_trading = False
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert world.reconciler.remote is not None
    assert world.reconciler.remote.evidence is not None
    assert not world.reconciler.remote.evidence.terminal.trade_allowed


def test_a_reading_whose_corrections_the_journal_refused_makes_the_book_no_newer() -> None:
    journal = make.RefusingJournal()
    world = DeskWorld(journal=journal)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    seen, mark = world.pm.as_of, world.pm.book.holdings[ticket].mark
    world.person.open("EURUSD", BUY, 0.1)
    world.quote(1.1010)
    journal.refuse = JournalError("the disk is full")
    for _ in range(3):
        assert world.sync(10).status is SyncStatus.FAILED
    assert world.pm.as_of == seen
    assert not world.pm.is_current(29)
    assert world.pm.book.holdings[ticket].mark == mark
    journal.refuse = None
    assert world.sync().status is SyncStatus.SUCCESS
    assert world.pm.is_current(0)
    assert len(world.pm.book.holdings) == 2
