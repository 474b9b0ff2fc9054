"""Two opposite positions closed by each other: volumes, money, doubts, and whose they are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.orders.test_foreign_targets import OURS, is_untouched
from tests.orders.test_order_doubts import OPEN_OUTCOMES, mend, settle, was_done
from tests.orders.test_restored_journals import BackupWorld
from tests.support import make
from tests.support.desk_world import BUY, COSTLY, HEDGING, NETTING, SELL
from tests.support.order_world import Died, OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.holds import HoldKind
from trueup.core.policy import Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.event_words.of_orders import wish_of
from trueup.protocol.snapshot import CAPABILITIES
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.order_message import message_of
from trueup.sim.market.symbols import DEFAULT_SYMBOLS
from trueup.sim.terminal.terminal_faults import AnswerLost

RECORD = pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
SPECS = tuple(COSTLY if one.name == "EURUSD" else one for one in DEFAULT_SYMBOLS)
VOLUMES = pytest.mark.parametrize(
    ("first", "second"), [(0.3, 0.1), (0.1, 0.3), (0.2, 0.2)], ids=["larger", "smaller", "equal"]
)


def pair(world: OrderWorld, first: float = 0.3, second: float = 0.1) -> tuple[int, int]:
    """Open a long and a short position, at two prices; return their tickets."""
    long = world.pm.submit("buy", first).ticket
    world.quote(1.103)
    world.sync()
    short = world.pm.submit("sell", second).ticket
    world.quote(1.101)
    world.sync()
    assert long is not None
    assert short is not None
    return long, short


def all_money(world: OrderWorld, *tickets: int) -> float:
    return world.realised(tickets)


def by_hand(world: OrderWorld, ticket: int, other: int) -> None:
    world.person.close_by(ticket, other)


@VOLUMES
@pytest.mark.parametrize("turned", [False, True], ids=["long by short", "short by long"])
@pytest.mark.parametrize("lag_ms", [0, 700])
def test_both_shrink_by_the_smaller_and_the_money_is_the_brokers_to_the_cent(
    first: float, second: float, turned: bool, lag_ms: int
) -> None:
    world = OrderWorld(specs=SPECS, position_lag_ms=lag_ms, deal_lag_ms=lag_ms)
    long, short = pair(world, first, second)
    one, other = (short, long) if turned else (long, short)
    intent = world.pm.close_by(one, other, why="flat enough")
    smaller = min(first, second)
    assert (intent.status, intent.filled_volume) == (OrderStatus.FILLED, smaller)
    assert (intent.position, intent.position_by) == (one, other)
    # The book has it at once, and the lists come to it.
    left = {key: row[3] for key, row in world.book().items()}
    expected = {long: round(first - smaller, 2), short: round(second - smaller, 2)}
    assert left == {key: lots for key, lots in expected.items() if lots}
    for after_sec in (0.1, 2, 2, 2):
        world.sync(after_sec)
        assert {key: row[3] for key, row in world.book().items()} == left
    assert world.agrees()
    assert world.reconciler.holds == ()
    assert not {"GHOST", "DRIFT", "ZOMBIE"} & set(world.actions())
    assert world.pm.realised == all_money(world, long, short)
    assert world.reconciler.check_history().found.is_whole
    # The rest is closed as usual, and the whole is counted once.
    for ticket in list(left):
        world.pm.close(ticket)
    settle(world)
    assert not world.rows()
    assert world.pm.realised == all_money(world, long, short)
    assert not world.pm.book.unexplained
    assert not world.pm.book.unbooked


def test_one_order_is_sent_and_says_both_tickets() -> None:
    world = OrderWorld()
    long, short = pair(world)
    intent = world.pm.close_by(long, short)
    sent = world.sent()[-1]
    assert (sent["action"], sent["position"], sent["position_by"]) == ("CLOSE_BY", long, short)
    past = world.past()[-1]
    assert (past.type, past.ticket) == (mt5.ORDER_TYPE_CLOSE_BY, intent.ticket)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert wish_of(created[-1]) == f"close 0.10L EURUSD of {long} by {short}"


def test_the_message_has_the_present_tickets_of_both() -> None:
    book = make.bound_book(make.position(70, identifier=7), make.position(80, identifier=8))
    order = make.sent(kind=events.OrderKind.CLOSE_BY, position=7, position_by=8)
    message = message_of(order, book, {})
    assert (message["position"], message["position_by"]) == (70, 80)


@pytest.mark.parametrize("number", [0, 1], ids=["long", "short"])
def test_a_caller_that_may_not_know_the_outcome_of_a_close_of_either_is_told_first(
    number: int,
) -> None:
    world = OrderWorld()
    both = pair(world, 0.3, 0.2)
    world.die_at(CrashPoint.AFTER_OUTCOME)
    with pytest.raises(Died):
        world.pm.close(both[number], 0.1)
    with pytest.raises(Refused, match="Nothing was sent now"):
        world.pm.close_by(*both)
    assert world.pm.close_by(*both).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ((0, 0), "they are one position."),
        ((0, 1), "both are LONG."),
        ((0, 2), "they are in EURUSD and GBPUSD."),
    ],
)
def test_what_no_broker_closes_so_is_named_and_changes_nothing(
    which: tuple[int, int], words: str
) -> None:
    world = OrderWorld(policy=Policy(symbols=frozenset({"EURUSD", "GBPUSD"})))
    world.quote(1.25, "GBPUSD")
    world.sync()
    tickets = [
        world.pm.submit("buy", 0.1).ticket,
        world.pm.submit("buy", 0.2).ticket,
        world.pm.submit("sell", 0.1, symbol="GBPUSD").ticket,
    ]
    before = world.state()
    with pytest.raises(ValueError, match=re.escape(words)):
        world.pm.close_by(tickets[which[0]], tickets[which[1]])
    with pytest.raises(ValueError, match="No position with ticket 99 in the book"):
        world.pm.close_by(tickets[0], 99)
    assert world.state() == before


def test_on_a_netting_account_there_are_no_two() -> None:
    world = OrderWorld(NETTING)
    ticket = world.pm.submit("buy", 0.1).ticket
    with pytest.raises(ValueError, match="close_by is only for a hedging account"):
        world.pm.close_by(ticket, ticket)


def test_a_gateway_that_does_not_know_it_is_sent_none() -> None:
    world = OrderWorld()
    long, short = pair(world)
    world.desk.capabilities = tuple(one for one in CAPABILITIES if one != "CLOSE_BY")
    world.restart()
    world.sync()
    before, count = world.state(), len(world.sent())
    with pytest.raises(Refused, match="the gateway does not serve CLOSE_BY"):
        world.pm.close_by(long, short)
    assert (world.state(), len(world.sent())) == (before, count)


@pytest.mark.parametrize(("position", "position_by"), [(0, 5), (5, 0), (5, 5)])
def test_the_gateway_refuses_one_position_alone(position: int, position_by: int) -> None:
    world = OrderWorld()
    order: dict[str, Any] = {"action": "CLOSE_BY", "order_id": "X", "symbol": "EURUSD"}
    order |= {"position": position, "position_by": position_by}
    reply = json.loads(world.desk.handle(json.dumps(order).encode()))
    assert (reply["status"], "two opposite positions" in reply["error"]) == ("REJECTED", True)


def test_the_brokers_refusal_changes_nothing() -> None:
    world = OrderWorld()
    long, short = pair(world)
    world.person.close(short)
    refused = world.pm.close_by(long, short)
    assert (refused.status, "10036" in str(refused.error)) == (OrderStatus.REJECTED, True)
    world.sync()
    assert world.agrees()


def test_a_key_names_one_close_by_also_when_both_positions_are_gone() -> None:
    world = OrderWorld()
    long, short = pair(world, 0.2, 0.2)
    first = world.pm.close_by(long, short, key="k")
    world.restart()
    world.sync()
    assert world.pm.close_by(long, short, key="k").order_id == first.order_id
    with pytest.raises(Refused, match="was used for"):
        world.pm.close_by(short, long, key="k")


# Whose they are.


@VOLUMES
def test_of_a_foreign_position_nothing_enters_the_book(first: float, second: float) -> None:
    world = OrderWorld(policy=OURS, specs=SPECS)
    ours = world.pm.submit("buy", first).ticket
    assert ours is not None
    theirs = world.person.open("EURUSD", SELL, second)
    world.sync()
    with pytest.raises(ValueError, match="foreign=True acts on it"):
        world.pm.close_by(ours, theirs)
    intent = world.pm.close_by(ours, theirs, foreign=True)
    assert intent.status is OrderStatus.FILLED
    left = round(first - min(first, second), 2)
    assert [row[3] for row in world.book().values()] == ([left] if left else [])
    settle(world)
    assert set(world.book()) == ({ours} if left else set())
    assert theirs not in world.pm.book.closed
    assert world.pm.realised == all_money(world, ours)
    assert world.reconciler.check_history().found.is_whole
    assert world.reconciler.holds == ()


def test_two_foreign_positions_are_closed_and_stay_foreign() -> None:
    world = OrderWorld(policy=OURS)
    one, other = world.person.open("EURUSD", BUY, 0.3), world.person.open("EURUSD", SELL, 0.1)
    world.sync()
    assert world.pm.close_by(one, other, foreign=True).status is OrderStatus.FILLED
    # The last reading is older than that.
    with pytest.raises(ValueError, match=r"has 0\.20 lots"):
        world.pm.close(one, 0.3, foreign=True)
    world.sync()
    assert is_untouched(world)
    assert world.reconciler.check_history().found.is_whole


# In doubt.

OUTCOMES = {name: one for name, one in OPEN_OUTCOMES.items() if "filled" not in name}
OUTCOMES = {name: one for name, one in OUTCOMES.items() if "10008" not in name}


@RECORD
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
@VOLUMES
def test_one_in_doubt_is_settled_by_the_deals_of_both(
    outcome: str,
    record: bool,
    restarted: bool,
    first: float,
    second: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    fault, is_done = OUTCOMES[outcome]
    world = OrderWorld(specs=SPECS)
    long, short = pair(world, first, second)
    world.terminal.faults.next_send(fault)
    intent = world.pm.close_by(long, short)
    assert world.status(intent) == "IN_DOUBT"
    with pytest.raises(Refused, match="may have closed it already"):
        world.pm.close(short)
    with pytest.raises(Refused, match="may have closed it already"):
        world.pm.close_by(short, long)
    mend(world)
    if restarted:
        world.restart()
    settle(world)
    known = world.order(intent)
    assert was_done(known.status.value) == is_done
    assert world.agrees()
    assert world.reconciler.holds == ()
    assert world.pm.realised == all_money(world, long, short)
    if is_done:
        assert (known.ticket, known.filled_volume) == (world.past()[-1].ticket, min(first, second))
        assert "by the deals in both positions" in world.settled_by(known)
    assert world.reconciler.check_history().found.is_whole


@pytest.mark.parametrize("record", [False])
def test_done_by_hand_it_was_not_ours(record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    world = OrderWorld()
    long, short = pair(world)
    world.terminal.faults.next_send(AnswerLost(executed=False))
    intent = world.pm.close_by(long, short)
    by_hand(world, long, short)
    mend(world)
    world.sync()
    known = world.order(intent)
    assert known.status is OrderStatus.CANCELED
    assert "closed the two positions by hand" in str(known.error)
    world.sync()
    assert world.agrees()


def test_the_deals_are_late_and_it_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = OrderWorld(deal_lag_ms=6_000)
    long, short = pair(world)
    world.sync(10)
    world.terminal.faults.next_send(AnswerLost(executed=True))
    intent = world.pm.close_by(long, short)
    mend(world)
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    assert "no deals close both" in world.hold(HoldKind.DOUBT).what
    settle(world)
    assert world.status(intent) == "FILLED"
    assert world.agrees()


def test_a_lost_journal_knows_it_again(tmp_path: Any) -> None:
    world = BackupWorld(tmp_path, HEDGING)
    long, short = pair(world)
    kept = world.back_up()
    lost = world.pm.close_by(long, short)
    world.put_back(kept)
    settle(world)
    known = world.order(lost)
    assert (known.kind, known.status) == (events.OrderKind.CLOSE_BY, OrderStatus.FILLED)
    assert (known.position, known.position_by, known.action) == (long, short, "SELL")
    assert world.agrees()
    assert world.pm.realised == all_money(world, long, short)
