"""Pending orders whose prices or end are changed: in the book, at the broker, and in doubt."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest

from tests.orders.test_foreign_targets import OURS, foreign_world, is_untouched
from tests.orders.test_order_doubts import mend, settle, was_done
from tests.orders.test_restored_journals import BackupWorld
from tests.support.desk_world import HEDGING, NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.terms import Terms
from trueup.core.holds import HoldKind
from trueup.core.model import OrderType, PendingOrder
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.event_words.of_orders import wish_of
from trueup.protocol.snapshot import CAPABILITIES
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost, TimedOut

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
RECORD = pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])


def placed(world: OrderWorld, **wish: Any) -> int:
    """Place a limit order to buy at 1.05; return its ticket."""
    ticket = world.pm.submit("buy", 0.1, limit=1.05, sl=1.04, tp=1.2, **wish).ticket
    assert ticket is not None
    world.sync()
    return ticket


def working(world: OrderWorld) -> Any:
    (row,) = world.terminal.orders_get() or ()
    return row


def prices(world: OrderWorld) -> tuple[float, float, float]:
    row = working(world)
    return row.price_open, row.sl, row.tp


def in_book(world: OrderWorld) -> tuple[float, float, float]:
    (pending,) = world.pm.book.pending.values()
    return pending.order.price_open, pending.order.sl, pending.order.tp


@BOTH
@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"price": 1.06}, (1.06, 1.04, 1.2)),
        ({"sl": 0.0}, (1.05, 0.0, 1.2)),
        ({"sl": 1.03, "tp": 1.3}, (1.05, 1.03, 1.3)),
        ({"price": 1.0600000000000001, "sl": 1.05, "tp": 0}, (1.06, 1.05, 0.0)),
    ],
)
def test_what_is_given_changes_and_the_rest_stays(
    account: AccountSetup, changes: Any, meant: tuple[float, float, float]
) -> None:
    world = OrderWorld(account)
    ticket = placed(world)
    intent = world.pm.modify_order(ticket, **changes)
    assert (intent.status, intent.target) == (OrderStatus.FILLED, ticket)
    assert prices(world) == in_book(world) == meant
    assert world.sync().drifts == []
    assert world.agrees()
    assert "PENDING_CORRECTED" not in world.actions()
    # It fills at its new price, and is the order that it was.
    world.quote(meant[0] - 0.0002)
    world.sync()
    (holding,) = world.pm.book.holdings.values()
    assert (holding.position.ticket, holding.position.sl) == (ticket, meant[1])
    assert world.agrees()


@pytest.mark.parametrize(
    ("expires", "kind"),
    [
        ("gtc", mt5.ORDER_TIME_GTC),
        ("day", mt5.ORDER_TIME_DAY),
        (1_893_500_000, mt5.ORDER_TIME_SPECIFIED),
        (dt.date(2030, 1, 2), mt5.ORDER_TIME_SPECIFIED_DAY),
    ],
)
def test_an_order_that_ends_when_it_says_ends_then_also_after_its_price_changed(
    expires: Any, kind: int
) -> None:
    world = OrderWorld()
    ticket = placed(world, expires=expires)
    until = working(world).time_expiration
    changed: tuple[dict[str, Any], ...] = ({"price": 1.06}, {"sl": 1.03})
    for changes in changed:
        assert world.pm.modify_order(ticket, **changes).status is OrderStatus.FILLED
        assert (working(world).type_time, working(world).time_expiration) == (kind, until)


@pytest.mark.parametrize(
    ("expires", "terms", "shown"),
    [
        ("gtc", Terms(time="GTC"), mt5.ORDER_TIME_GTC),
        ("day", Terms(time="DAY"), mt5.ORDER_TIME_DAY),
        (
            dt.date(2030, 1, 2),
            Terms(time="SPECIFIED_DAY", expiration=1_893_542_400),
            mt5.ORDER_TIME_SPECIFIED_DAY,
        ),
        (
            1_893_500_000,
            Terms(time="SPECIFIED", expiration=1_893_500_000),
            mt5.ORDER_TIME_SPECIFIED,
        ),
    ],
)
def test_the_end_of_an_order_is_changed_alone(expires: Any, terms: Terms, shown: int) -> None:
    world = OrderWorld()
    until = world.terminal.broker.clock.server_msc() // 1_000 + 3_600
    ticket = placed(world, expires=until)
    intent = world.pm.modify_order(ticket, expires=expires)
    assert (intent.status, intent.terms) == (OrderStatus.FILLED, terms)
    assert working(world).type_time == shown
    assert prices(world) == in_book(world) == (1.05, 1.04, 1.2)
    if terms.time == "SPECIFIED_DAY":
        # The order lives until the last second of that day by the trade server's clock.
        assert working(world).time_expiration == 1_893_542_400 + 86_399


def test_a_date_ends_a_new_order_too() -> None:
    world = OrderWorld()
    placed(world, expires=dt.date(2030, 1, 2))
    assert working(world).type_time == mt5.ORDER_TIME_SPECIFIED_DAY


def test_a_foreign_order_is_modified_and_stays_foreign() -> None:
    world, _ = foreign_world()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    with pytest.raises(ValueError, match="The broker lists it, and it is not the book's"):
        world.pm.modify_order(ticket, price=1.06)
    assert world.pm.modify_order(ticket, price=1.06, foreign=True).status is OrderStatus.FILLED
    row = PendingOrder(ticket, "EURUSD", OrderType.BUY_LIMIT, 0.1, 1.06)
    assert world.pm.modify_order(row, sl=1.01, foreign=True).status is OrderStatus.FILLED
    assert prices(world) == (1.06, 1.01, 0.0)
    # Its fill and the deals of it are the others', also for the comparison by the journal.
    world.quote(1.055)
    world.sync()
    assert is_untouched(world)
    assert world.reconciler.check_history().found.is_whole


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Nothing is to be changed: give price, stoplimit, sl, tp, expires."),
        ({"price": 0}, "price=0 is not valid: give a finite price above 0."),
        ({"sl": -1.0}, "sl=-1.0 is not valid"),
        ({"expires": "soon"}, "expires='soon' is not valid: give 'gtc', 'day', a date, "),
        ({"expires": dt.date(1970, 1, 1)}, "is not valid: give 'gtc', 'day', a date"),
    ],
)
def test_a_change_that_cannot_be_is_named_and_changes_nothing(changes: Any, words: str) -> None:
    world = OrderWorld()
    ticket = placed(world)
    before = world.state()
    with pytest.raises(ValueError, match=re.escape(words)):
        world.pm.modify_order(ticket, **changes)
    with pytest.raises(ValueError, match=f"No pending order {ticket + 1} in the book; it has"):
        world.pm.modify_order(ticket + 1, price=1.06)
    bad: Any = {"volume": 0.2}
    with pytest.raises(TypeError, match="A pending order has no volume to change: give price, "):
        world.pm.modify_order(ticket, **bad)
    assert world.state() == before


def test_the_brokers_refusal_changes_nothing_and_the_same_once_more_is_done() -> None:
    world = OrderWorld()
    ticket = placed(world)
    # Above the market no limit order to buy can wait.
    refused = world.pm.modify_order(ticket, price=1.3)
    assert (refused.status, "10015" in str(refused.error)) == (OrderStatus.REJECTED, True)
    assert in_book(world) == (1.05, 1.04, 1.2)
    assert world.pm.modify_order(ticket, price=1.05).status is OrderStatus.FILLED
    world.person.cancel(ticket)
    gone = world.pm.modify_order(ticket, price=1.06)
    assert gone.status is OrderStatus.REJECTED
    assert f"the terminal lists no pending order {ticket}" in str(gone.error)
    assert world.pm.modify_order(ticket, expires="gtc").status is OrderStatus.REJECTED


def test_a_key_names_one_change() -> None:
    world = OrderWorld()
    ticket = placed(world)
    first = world.pm.modify_order(ticket, price=1.06, key="k")
    world.restart()
    world.sync()
    assert world.pm.modify_order(ticket, price=1.06, key="k").order_id == first.order_id
    # What was not said need not repeat, what is said must.
    assert world.pm.modify_order(ticket, sl=1.04, key="k").order_id == first.order_id
    with pytest.raises(Refused, match="was used for"):
        world.pm.modify_order(ticket, price=1.07, key="k")
    with pytest.raises(Refused, match="with terms="):
        world.pm.modify_order(ticket, expires="day", key="k")


def test_a_list_from_before_the_change_does_not_undo_it() -> None:
    world = OrderWorld(order_lag_ms=800)
    ticket = placed(world)
    world.sync()
    world.pm.modify_order(ticket, price=1.06)
    world.sync(0.2)
    assert world.hold(HoldKind.SETTLING).what == (
        f"Pending order {ticket} was modified here and the broker shows BUY LIMIT 0.10L @ 1.05"
    )
    assert in_book(world)[0] == 1.06
    world.sync()
    assert world.reconciler.holds == ()
    assert world.agrees()


# Gateways.


def test_a_gateway_that_does_not_know_modifications_is_sent_none() -> None:
    world = OrderWorld()
    ticket = placed(world)
    world.desk.capabilities = tuple(one for one in CAPABILITIES if one != "MODIFY_ORDER")
    world.restart()
    world.sync()
    before = world.state()
    with pytest.raises(Refused, match="the gateway does not serve MODIFY_ORDER"):
        world.pm.modify_order(ticket, price=1.06)
    assert world.state() == before
    assert not any(order["action"] == "MODIFY_ORDER" for order in world.sent())


def test_before_its_first_reading_a_bot_asks_what_the_gateway_serves() -> None:
    world = OrderWorld()
    ticket = placed(world)
    world.restart()
    assert world.pm.modify_order(ticket, price=1.06).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"price": 0.0}, "MODIFY_ORDER sets the price, so give one above 0"),
        ({"type_filling": "FOK"}, "deviation and type_filling cannot be modified"),
        ({"type_time": "SPECIFIED"}, "have an expiration in seconds"),
        ({"stoplimit": 1e999}, ""),
    ],
)
def test_the_gateway_refuses_what_it_would_have_to_guess(fields: Any, words: str) -> None:
    world = OrderWorld()
    ticket = placed(world)
    order = {"action": "MODIFY_ORDER", "order_id": "X", "symbol": "EURUSD", "order": ticket}
    message = json.dumps({**order, "price": 1.06, **fields})
    reply = json.loads(world.desk.handle(message.encode()))
    assert (reply["status"], words in reply["error"]) == ("REJECTED", True)
    assert prices(world) == (1.05, 1.04, 1.2)


# In doubt.

OUTCOMES: dict[str, tuple[Any, bool]] = {
    "answer lost, done": (AnswerLost(executed=True), True),
    "answer lost, not done": (AnswerLost(executed=False), False),
    "10012, never": (TimedOut(), False),
    "10011, done": (Answered(mt5.TRADE_RETCODE_ERROR, executed=True), True),
}


@RECORD
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
def test_a_modification_in_doubt_is_settled_by_the_prices(
    outcome: str, record: bool, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    fault, is_done = OUTCOMES[outcome]
    world = OrderWorld()
    ticket = placed(world)
    world.terminal.faults.next_send(fault)
    intent = world.pm.modify_order(ticket, price=1.06, expires="day")
    assert world.status(intent) == "IN_DOUBT"
    mend(world)
    if restarted:
        world.restart()
    settle(world)
    assert was_done(world.status(intent)) == is_done
    assert world.reconciler.holds == ()
    assert world.agrees()
    assert in_book(world)[0] == (1.06 if is_done else 1.05)
    # A change in doubt trades nothing, so entries went on.
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


@RECORD
@pytest.mark.parametrize("done", [True, False])
def test_whether_only_the_end_was_changed_shows_in_no_list(
    record: bool, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    world = OrderWorld()
    ticket = placed(world)
    # The answer is lost on the way from the gateway, whose record has it.
    world.terminal.faults.next_send(*(() if done else (AnswerLost(executed=False),)))
    world.lose_replies(int(done))
    intent = world.pm.modify_order(ticket, expires="day")
    mend(world)
    settle(world)
    known = world.order(intent)
    if done and record:
        assert known.status is OrderStatus.FILLED
    else:
        assert (known.status, known.unproven) == (OrderStatus.CANCELED, True)
        assert "does not show when a pending order ends" in str(known.error)


@RECORD
def test_the_order_was_filled_meanwhile(record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    world = OrderWorld()
    ticket = placed(world)
    world.terminal.faults.next_send(AnswerLost(executed=True))
    intent = world.pm.modify_order(ticket, price=1.06)
    mend(world)
    world.quote(1.055)
    settle(world)
    known = world.order(intent)
    assert (known.status, known.unproven) == (OrderStatus.CANCELED, True)
    assert "works no longer" in str(known.error)
    assert set(world.rows()) == {ticket}
    assert world.agrees()


def test_a_lost_journal_knows_the_modification_again(tmp_path: Any) -> None:
    world = BackupWorld(tmp_path)
    ticket = placed(world)
    kept = world.back_up()
    change = world.pm.modify_order(ticket, price=1.06, expires="day")
    world.put_back(kept)
    settle(world)
    known = world.order(change)
    assert (known.kind, known.status) == (events.OrderKind.MODIFY_ORDER, OrderStatus.FILLED)
    assert (known.terms, known.entry_price) == (Terms(time="DAY"), 1.06)
    assert world.agrees()


def test_its_words() -> None:
    world = OrderWorld(policy=OURS)
    ticket = placed(world)
    world.pm.modify_order(ticket, price=1.06, sl=0, expires=1_893_500_000)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert wish_of(created[-1]) == (
        f"set 1.06, SL none, TP 1.2 of pending order {ticket}, until SPECIFIED 1893500000"
    )
