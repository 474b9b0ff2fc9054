"""Stop-limit orders: placed, triggered, filled, modified, cancelled, and in doubt."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.orders.test_order_doubts import (
    COMMENTS,
    OPEN_OUTCOMES,
    REWRITTEN,
    mend,
    settle,
    was_done,
)
from tests.orders.test_restored_journals import BackupWorld
from tests.support.desk_world import HEDGING, NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import OrderType
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.event_words.of_orders import wish_of
from trueup.protocol.snapshot import CAPABILITIES
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
# Above the market at 1.1: it becomes a limit order to buy at 1.115.
WISH: dict[str, Any] = {"stop": 1.12, "stoplimit": 1.115, "sl": 1.0, "tp": 1.3}


def in_book(world: OrderWorld) -> tuple[OrderType, float, float]:
    (pending,) = world.pm.book.pending.values()
    row = pending.order
    return row.type, row.price_open, row.price_stoplimit


@BOTH
@pytest.mark.parametrize("sells", [False, True])
def test_it_waits_becomes_a_limit_order_and_is_filled(account: AccountSetup, sells: bool) -> None:
    world = OrderWorld(account)
    wish = {"stop": 1.08, "stoplimit": 1.085, "sl": 1.3} if sells else WISH
    intent = world.pm.submit("sell" if sells else "buy", 0.1, **wish)
    assert intent.status is OrderStatus.FILLED
    side, types = ("SELL", mt5.ORDER_TYPE_SELL_STOP_LIMIT) if sells else ("BUY", 6)
    (row,) = world.terminal.orders_get() or ()
    assert (row.type, row.price_open, row.price_stoplimit) == (
        types,
        wish["stop"],
        wish["stoplimit"],
    )
    assert in_book(world) == (OrderType[f"{side}_STOP_LIMIT"], wish["stop"], wish["stoplimit"])
    world.sync()
    assert "PENDING_CORRECTED" not in world.actions()
    assert world.agrees()
    # Its price is reached: it is a limit order now, under the same ticket.
    world.quote(wish["stop"] + (-0.0005 if sells else 0.0005))
    world.sync()
    assert in_book(world) == (OrderType[f"{side}_LIMIT"], wish["stoplimit"], 0.0)
    assert world.agrees()
    world.quote(wish["stoplimit"] + (0.0005 if sells else -0.0005))
    world.sync()
    assert not world.pm.book.pending
    (holding,) = world.pm.book.holdings.values()
    assert holding.order_ids == [intent.order_id]
    assert holding.position.ticket == intent.ticket
    assert world.agrees()
    assert world.reconciler.check_history().found.is_whole


def test_it_is_modified_and_cancelled_like_any_pending_order() -> None:
    world = OrderWorld()
    ticket = world.pm.submit("buy", 0.1, **WISH).ticket
    assert world.pm.modify_order(ticket, stoplimit=1.11).status is OrderStatus.FILLED
    (row,) = world.terminal.orders_get() or ()
    assert (row.price_open, row.price_stoplimit, row.sl) == (1.12, 1.11, 1.0)
    world.sync()
    assert in_book(world)[2] == 1.11
    # What it became is modified as what it is.
    world.quote(1.1205)
    world.sync()
    assert world.pm.modify_order(ticket, price=1.117).status is OrderStatus.FILLED
    world.sync()
    assert in_book(world) == (OrderType.BUY_LIMIT, 1.117, 0.0)
    assert world.pm.cancel(ticket).status is OrderStatus.FILLED
    world.sync()
    assert world.agrees()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"stoplimit": 1.1}, "stoplimit is only for a stop order: give stop too."),
        ({"limit": 1.05, "stoplimit": 1.1}, "stoplimit is only for a stop order"),
        ({"stop": 1.2, "stoplimit": -1}, "stoplimit=-1 is not valid"),
        ({"limit": 1.05, "stop": 1.2, "stoplimit": 1.1}, "limit and stop cannot both be given"),
    ],
)
def test_what_cannot_be_is_named_and_changes_nothing(wish: Any, words: str) -> None:
    world = OrderWorld()
    before = world.state()
    with pytest.raises(ValueError, match=re.escape(words)):
        world.pm.submit("buy", 0.1, **wish)
    assert world.state() == before


def test_the_brokers_refusal_is_one() -> None:
    world = OrderWorld()
    # A limit order to buy above the price that places it.
    assert world.pm.submit("buy", 0.1, stop=1.12, stoplimit=1.13).status is OrderStatus.REJECTED
    assert not world.pm.book.pending


def test_prices_are_put_on_ticks_and_a_key_compares_both() -> None:
    world = OrderWorld()
    first = world.pm.submit("buy", 0.1, stop=1.12, stoplimit=1.1150000001, key="k")
    assert first.stoplimit == 1.115
    assert world.pm.submit("buy", 0.1, stop=1.12, stoplimit=1.115, key="k") is first
    with pytest.raises(Refused, match="with stoplimit="):
        world.pm.submit("buy", 0.1, stop=1.12, stoplimit=1.11, key="k")
    with pytest.raises(Refused, match="with kind="):
        world.pm.submit("buy", 0.1, stop=1.12, key="k")


def test_a_gateway_that_does_not_know_them_is_sent_none() -> None:
    world = OrderWorld()
    world.desk.capabilities = tuple(one for one in CAPABILITIES if one != "STOP_LIMIT")
    world.restart()
    world.sync()
    before = world.state()
    with pytest.raises(Refused, match="the gateway does not serve STOP_LIMIT"):
        world.pm.submit("buy", 0.1, **WISH)
    assert (world.state(), world.sent()) == (before, [])


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "stop_limit"},
        {"type": "stop_limit", "stoplimit": -1.1},
        {"type": "stop", "stoplimit": 1.1},
        {"stoplimit": 1.1},
    ],
)
def test_the_gateway_refuses_what_it_would_have_to_guess(fields: Any) -> None:
    world = OrderWorld()
    order = {"action": "BUY", "order_id": "X", "symbol": "EURUSD", "volume": 0.1, "price": 1.12}
    reply = json.loads(world.desk.handle(json.dumps({**order, **fields}).encode()))
    assert reply["status"] == "REJECTED"
    assert "a stop_limit order has one above 0, and no other order has one" in reply["error"]
    assert not world.ledger.orders
    assert not world.ledger.positions


def test_an_order_without_a_second_price_is_sent_as_it_always_was() -> None:
    world = OrderWorld()
    world.pm.submit("buy", 0.1, stop=1.12)
    world.pm.submit("buy", 0.1)
    assert not any("stoplimit" in order for order in world.sent())
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert [wish_of(one) for one in created] == ["BUY 0.10L EURUSD stop 1.12", "BUY 0.10L EURUSD"]


# In doubt.

OUTCOMES = ("answer lost, done", "answer lost, not done", "10012, then filled", "10011, done")


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("reached", [False, True], ids=["waits", "reached"])
@pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
@pytest.mark.parametrize("comment", COMMENTS)
def test_one_in_doubt_is_found_as_what_it_is_or_has_become(
    outcome: str, reached: bool, record: bool, comment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    fault, is_done = OPEN_OUTCOMES[outcome]
    world = OrderWorld(**COMMENTS[comment])
    # An answered order shows what the broker makes of comments.
    world.pm.submit("sell", 0.2, limit=1.2)
    world.sync()
    world.terminal.faults.next_send(fault)
    intent = world.pm.submit("buy", 0.1, **WISH)
    assert world.status(intent) == "IN_DOUBT"
    mend(world)
    world.restart()
    world.wait(5)
    if reached:
        world.quote(1.1205)
    settle(world)
    known = world.order(intent)
    if comment in REWRITTEN and not record and known.status is OrderStatus.IN_DOUBT:
        # Whether it is ours no comment says; a person does.
        world.reconciler.settle(known.order_id, max(world.ledger.orders), "Ada")
        settle(world)
    assert was_done(known.status.value) == is_done
    assert len(world.ledger.orders) == 1 + is_done
    assert world.agrees()
    if is_done:
        assert world.pm.book.pending[known.ticket or 0].order.type is (
            OrderType.BUY_LIMIT if reached else OrderType.BUY_STOP_LIMIT
        )


def test_a_lost_journal_knows_it_again(tmp_path: Any) -> None:
    world = BackupWorld(tmp_path)
    kept = world.back_up()
    lost = world.pm.submit("buy", 0.1, **WISH)
    world.put_back(kept)
    settle(world)
    known = world.order(lost)
    assert (known.kind, known.stoplimit) == (events.OrderKind.STOP_LIMIT, 1.115)
    assert known.status is OrderStatus.FILLED
    assert world.agrees()


def test_its_words() -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(AnswerLost(executed=True))
    world.pm.submit("buy", 0.1, **WISH)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert wish_of(created[-1]) == "BUY 0.10L EURUSD stop 1.12, then limit 1.115"
