"""Every position of the book closed at a word: one intent each, and no refusal stops the others."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import pytest

from tests.orders.test_order_doubts import mend, settle
from tests.support.desk_world import BUY, HEDGING, NETTING
from tests.support.order_world import ChoosyJournal, Died, OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.policy import Adopt, Policy
from trueup.errors import JournalError, NotSent, OutcomeNotRecorded
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost

TWO = frozenset({"EURUSD", "GBPUSD"})
OURS = Policy(symbols=TWO, magics=frozenset({7, 8}), adopt=Adopt.OURS)
FILLED = OrderStatus.FILLED


def trading(**more: Any) -> tuple[OrderWorld, list[int]]:
    """A bot with three positions of two strategies in two symbols, beside one of somebody else."""
    world = OrderWorld(policy=OURS, **more)
    world.quote(1.25, "GBPUSD")
    world.sync()
    tickets = [
        world.pm.submit("buy", 0.1, magic=7).ticket,
        world.pm.submit("sell", 0.2, magic=8).ticket,
        world.pm.submit("buy", 0.3, magic=7, symbol="GBPUSD").ticket,
    ]
    world.person.open("EURUSD", BUY, 0.5)
    world.sync()
    return world, [ticket or 0 for ticket in tickets]


def closed(intents: list[Any]) -> list[int]:
    return [intent.position for intent in intents]


def closes_of(world: OrderWorld) -> Counter[int]:
    """How often the broker executed a close of each position."""
    return Counter(d.position_id for d in world.ledger.deals.values() if d.entry)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"symbol": "EURUSD"}, [0, 1]),
        ({"symbol": "GBPUSD", "magic": 7}, [2]),
        ({"magic": 8}, [1]),
        ({"magic": 9}, []),
        ({"symbol": "GBPUSD", "magic": 8}, []),
    ],
)
def test_one_journalled_intent_closes_each_position_that_is_meant(
    which: Any, expected: list[int]
) -> None:
    world, tickets = trading()
    intents = world.pm.close_all(**which, why="enough")
    assert closed(intents) == [tickets[index] for index in expected]
    assert {(intent.status, intent.why) for intent in intents} <= {(FILLED, "enough")}
    left = {ticket for index, ticket in enumerate(tickets) if index not in expected}
    assert set(world.book()) == left
    # What is not ours has all its lots.
    assert set(world.rows()) - left == {max(world.rows())}
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert [e.position for e in created if e.position] == closed(intents)
    settle(world)
    assert world.book() == {key: row for key, row in world.rows().items() if key in left}
    assert world.pm.realised == world.realised(tickets)
    assert world.pm.close_all(**which) == []


def test_on_a_netting_account_the_one_position_of_each_symbol_is_closed() -> None:
    world = OrderWorld(NETTING, policy=Policy(symbols=TWO))
    world.quote(1.25, "GBPUSD")
    world.sync()
    for symbol in ("EURUSD", "GBPUSD", "EURUSD"):
        world.pm.submit("buy", 0.1, symbol=symbol)
    intents = world.pm.close_all()
    assert [intent.filled_volume for intent in intents] == [0.2, 0.1]
    settle(world)
    assert (world.rows(), world.book()) == ({}, {})


def test_the_oldest_is_closed_first_where_the_broker_wants_it_so() -> None:
    account = dataclasses.replace(HEDGING, fifo_close=True)
    world = OrderWorld(account)
    tickets = []
    for _ in range(4):
        tickets.append(world.pm.submit("buy", 0.1).ticket)
        world.sync()
    world.restart()
    world.sync()
    intents = world.pm.close_all()
    assert closed(intents) == tickets
    assert {intent.status for intent in intents} == {FILLED}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_refusal_of_one_does_not_stop_the_others(number: int) -> None:
    world, tickets = trading()
    # Somebody was faster at one of them.
    world.person.close(tickets[number])
    intents = world.pm.close_all()
    assert closed(intents) == tickets
    statuses = [intent.status for intent in intents]
    assert statuses.pop(number) is OrderStatus.REJECTED
    assert statuses == [FILLED, FILLED]
    settle(world)
    assert (world.book(), world.pm.close_all()) == ({}, [])
    assert world.pm.realised == world.realised(tickets)


def test_what_the_broker_refused_is_closed_by_the_next_call() -> None:
    world, tickets = trading()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_MARKET_CLOSED))
    first = world.pm.close_all()
    assert [intent.status for intent in first] == [OrderStatus.REJECTED, FILLED, FILLED]
    again = world.pm.close_all()
    assert (closed(again), again[0].status) == (tickets[:1], FILLED)


@pytest.mark.parametrize("done", [True, False])
def test_one_in_doubt_is_not_closed_twice_and_stops_nothing(done: bool) -> None:
    world, tickets = trading()
    world.terminal.faults.next_send(AnswerLost(executed=done))
    doubt = world.pm.close(tickets[1])
    mend(world)
    intents = world.pm.close_all()
    assert closed(intents) == tickets
    assert intents[1] is doubt
    assert [intent.status for intent in intents] == [FILLED, OrderStatus.IN_DOUBT, FILLED]
    settle(world)
    world.pm.close_all()
    world.sync()
    assert world.book() == {}
    assert closes_of(world) == Counter(dict.fromkeys(tickets, 1))


def test_an_outcome_that_its_caller_did_not_get_is_no_obstacle() -> None:
    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    tickets = [world.pm.submit("buy", 0.1).ticket, world.pm.submit("buy", 0.2).ticket]
    world.sync()
    journal.refuses = (events.OrderFilled,)
    with pytest.raises(OutcomeNotRecorded):
        world.pm.close(tickets[0])
    journal.refuses = ()
    intents = world.pm.close_all()
    # The first is closed already, as the book knows now.
    assert closed(intents) == [tickets[1]]
    settle(world)
    assert world.book() == {}
    assert closes_of(world) == Counter({tickets[0] or 0: 1, tickets[1] or 0: 1})


def test_a_journal_that_takes_no_intent_sends_nothing_more() -> None:
    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    for volume in (0.1, 0.2):
        world.pm.submit("buy", volume)
    world.sync()
    count = len(world.sent())
    journal.refuses = (events.OrderCreated,)
    with pytest.raises(JournalError):
        world.pm.close_all()
    assert len(world.sent()) == count
    journal.refuses = ()
    assert len(world.pm.close_all()) == 2


POINTS = [one for one in CrashPoint if one.value.startswith(("before", "after"))]


@pytest.mark.parametrize("point", [one for one in POINTS if one is not CrashPoint.AFTER_SEND])
def test_killed_in_between_and_asked_again_each_is_closed_once(point: CrashPoint) -> None:
    world, tickets = trading()
    world.die_at(point)
    with pytest.raises(Died):
        world.pm.close_all()
    world.restart()
    settle(world)
    world.pm.close_all()
    settle(world)
    assert world.book() == {}
    assert closes_of(world) == Counter(dict.fromkeys(tickets, 1))
    assert world.pm.realised == world.realised(tickets)


def test_what_cannot_be_meant_is_named() -> None:
    world, _ = trading()
    before = world.state()
    words = re.escape("symbol='EURUS' is not valid: the book's symbols are EURUSD, GBPUSD.")
    with pytest.raises(ValueError, match=words):
        world.pm.close_all("EURUS")
    with pytest.raises(ValueError, match="magic=-1 is not valid"):
        world.pm.close_all(magic=-1)
    bad: Any = 7
    with pytest.raises(ValueError, match="why=7 is not valid"):
        world.pm.close_all(why=bad)
    assert world.state() == before


def test_without_a_gateway_nothing_is_sent_and_a_flat_book_has_nothing_to_close() -> None:
    world, tickets = trading()
    world.pm.desk.gateway = None
    with pytest.raises(NotSent):
        world.pm.close_all()
    assert set(world.book()) == set(tickets)
    assert PortfolioManager("EURUSD").close_all() == []
