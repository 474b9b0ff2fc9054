"""The terms of an order: deviation, filling, expiry, symbol, steps, and the strategy's comment."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from typing import Any

import pytest

from tests.support.desk_world import HEDGING, NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.terms import Terms
from trueup.core.model import SymbolSpec
from trueup.core.policy import Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.order_checks import check_terms
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
NAIVE = dt.datetime(2030, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)
TWO_SYMBOLS = Policy(symbols=frozenset({"EURUSD", "GBPUSD"}))


def sent(world: OrderWorld) -> dict[str, Any]:
    """The order that left last, as it stood on the wire."""
    orders = [json.loads(raw) for raw in world.requests if b'"order_id"' in raw]
    found: dict[str, Any] = orders[-1]
    return found


def working(world: OrderWorld) -> Any:
    (order,) = world.terminal.orders_get() or ()
    return order


@BOTH
@pytest.mark.parametrize("filling", ["FOK", "IOC"])
def test_a_market_order_is_filled_as_it_says(account: AccountSetup, filling: Any) -> None:
    world = OrderWorld(account)
    intent = world.pm.submit("buy", 0.1, filling=filling, deviation=0)
    assert intent.status is OrderStatus.FILLED
    (past,) = world.past()
    assert past.type_filling == getattr(mt5, f"ORDER_FILLING_{filling}")
    assert (sent(world)["deviation"], sent(world)["type_filling"]) == (0, filling)


def test_without_terms_nothing_is_said_of_them_and_the_gateway_decides() -> None:
    world = OrderWorld()
    intent = world.pm.submit("buy", 0.1)
    assert not {"deviation", "type_filling", "type_time", "expiration"} & sent(world).keys()
    assert intent.terms == Terms()


def test_a_fill_or_kill_order_is_refused_where_the_market_has_less() -> None:
    world = OrderWorld()
    world.terminal.market.set_liquidity("EURUSD", 0.05)
    assert world.pm.submit("buy", 0.1, filling="FOK").status is OrderStatus.REJECTED
    part = world.pm.submit("buy", 0.1, filling="IOC")
    assert (part.status, part.filled_volume) == (OrderStatus.FILLED, 0.05)


@pytest.mark.parametrize(
    ("expires", "time", "ahead_sec"),
    [
        ("day", mt5.ORDER_TIME_DAY, None),
        (dt.timedelta(hours=1), mt5.ORDER_TIME_SPECIFIED, 3_600),
        (7_200, mt5.ORDER_TIME_SPECIFIED, 7_200),
    ],
)
def test_a_pending_order_ends_when_it_says(expires: Any, time: int, ahead_sec: int | None) -> None:
    world = OrderWorld()
    # The server's clock is two hours ahead of UTC.
    server_sec = world.terminal.broker.clock.server_msc() // 1_000
    now = dt.datetime.fromtimestamp(world.clock.now_ns() // 1_000_000_000, dt.UTC)
    if isinstance(expires, dt.timedelta):
        expires = now + expires
    elif isinstance(expires, int):
        expires = server_sec + expires
    intent = world.pm.submit("buy", 0.1, limit=1.05, expires=expires)
    assert intent.status is OrderStatus.FILLED or intent.ticket == working(world).ticket
    assert working(world).type_time == time
    if ahead_sec is not None:
        assert working(world).time_expiration == server_sec + ahead_sec
    world.sync(2 * 86_400)
    assert not world.terminal.orders_get()
    world.sync()
    assert not world.pm.book.pending
    assert world.agrees()


def test_a_datetime_waits_for_the_servers_clock_and_seconds_do_not() -> None:
    moment = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(ValueError, match="no quotation has told what the trade server's clock"):
        check_terms({"expires": moment}, is_pending=True, time_offset_sec=None)
    terms = check_terms({"expires": 7}, is_pending=True, time_offset_sec=None)
    assert terms == Terms(time="SPECIFIED", expiration=7)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"deviation": -1}, "deviation=-1 is not valid: give points, 0 or above."),
        ({"deviation": 2.5}, "deviation=2.5 is not valid"),
        ({"filling": "fok"}, "filling='fok' is not valid: give FOK or IOC or RETURN or BOC."),
        ({"expires": "day"}, "expires is only for a pending order: give limit or stop too."),
        (
            {"limit": 1.05, "expires": "tomorrow"},
            "expires='tomorrow' is not valid: give 'gtc', 'day', ",
        ),
        ({"limit": 1.05, "expires": NAIVE}, "a datetime with a time zone"),
        ({"limit": 1.05, "expires": 2**31}, "expires=2147483648 is not valid"),
        ({"comment": 7}, "comment=7 is not valid"),
        ({"symbol": "GBPUSD"}, "the book's symbols are EURUSD (Policy.symbols"),
    ],
)
def test_terms_that_cannot_be_are_named_and_change_nothing(wish: Any, words: str) -> None:
    world = OrderWorld()
    before = world.state()
    with pytest.raises(ValueError, match=re.escape(words)):
        world.pm.submit("buy", 0.1, **wish)
    assert world.state() == before
    assert not world.ledger.positions


def test_a_gateway_that_does_not_heed_terms_is_not_given_any() -> None:
    world = OrderWorld()
    world.reconciler.gateway._reader.capabilities = ("SNAPSHOT",)
    with pytest.raises(Refused, match="does not serve TERMS, so it would leave out type_filling"):
        world.pm.submit("buy", 0.1, filling="FOK")
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type_filling": "ALL"}, "type_filling='ALL' is not known: give one of FOK, IOC"),
        ({"type_time": "DAY"}, "only for limit and stop orders"),
        ({"type": "limit", "type_time": "SPECIFIED"}, "have an expiration in seconds"),
        ({"type": "limit", "type_time": "GTC", "expiration": 5}, "have an expiration in seconds"),
        ({"deviation": -5}, "deviation=-5 is not valid"),
    ],
)
def test_the_gateway_refuses_terms_that_it_would_have_to_guess(fields: Any, words: str) -> None:
    world = OrderWorld()
    order = {"action": "BUY", "order_id": "X", "symbol": "EURUSD", "volume": 0.1, "price": 1.05}
    reply = json.loads(world.desk.handle(json.dumps({**order, **fields}).encode()))
    assert reply["status"] == "REJECTED"
    assert words in reply["error"]
    assert not world.ledger.positions
    assert not world.terminal.orders_get()


def test_the_same_order_with_other_terms_is_another_order() -> None:
    world = OrderWorld()
    order = {"action": "BUY", "order_id": "X", "symbol": "EURUSD", "volume": 0.1, "price": 1.1}
    first = json.loads(world.desk.handle(json.dumps({**order, "deviation": 5}).encode()))
    again = json.loads(world.desk.handle(json.dumps({**order, "deviation": 6}).encode()))
    assert (first["status"], again["status"]) == ("FILLED", "REJECTED")
    assert len(world.ledger.positions) == 1


def test_a_key_with_other_terms_is_refused() -> None:
    world = OrderWorld()
    first = world.pm.submit("buy", 0.1, key="k", filling="FOK", comment="one")
    assert world.pm.submit("buy", 0.1, key="k", filling="FOK", comment="two") is first
    with pytest.raises(Refused, match="comes again with terms="):
        world.pm.submit("buy", 0.1, key="k", filling="IOC")


def test_terms_and_comment_outlive_the_bot() -> None:
    world = OrderWorld()
    wish: Any = {"limit": 1.05, "filling": "RETURN", "deviation": 3, "expires": "day"}
    first = world.pm.submit("buy", 0.1, comment="breakout", **wish)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert created[-1].terms == Terms(3, "RETURN", "DAY")
    world.restart()
    again = world.pm.orders[first.order_id]
    assert (again.terms, again.comment) == (Terms(3, "RETURN", "DAY"), "breakout")
    assert working(world).comment == first.token, "the broker has the token"


# Symbols, steps and ticks.


def test_an_order_in_another_symbol_of_the_policy_is_known_again() -> None:
    world = OrderWorld(policy=TWO_SYMBOLS)
    world.quote(1.25, "GBPUSD")
    world.sync()
    intent = world.pm.submit("sell", 0.2, symbol="GBPUSD")
    assert (intent.status, intent.symbol) == (OrderStatus.FILLED, "GBPUSD")
    assert world.agrees()
    world.pm.close(intent.ticket)
    world.sync()
    assert not world.ledger.positions
    assert world.agrees()


@pytest.mark.parametrize(
    ("volume", "near"), [(0.015, "0.01 or 0.02"), (0.004, "0.01"), (0.1234567, "0.12 or 0.13")]
)
def test_a_volume_off_the_step_is_refused_with_the_step(volume: float, near: str) -> None:
    world = OrderWorld()
    words = f"volume={volume} is not valid: EURUSD is traded in steps of 0.01 lots; give {near}."
    with pytest.raises(ValueError, match=re.escape(words)):
        world.pm.submit("buy", volume)
    held = world.pm.submit("buy", 0.3).ticket
    with pytest.raises(ValueError, match=r"steps of 0\.01 lots"):
        world.pm.close(held, 0.015)


def test_a_whole_position_off_the_step_can_be_closed() -> None:
    world = OrderWorld()
    ticket = world.pm.submit("buy", 0.3).ticket
    world.pm.desk.see_symbols((SymbolSpec("EURUSD", 0.2, 0.00001, 5),))
    assert world.pm.close(ticket).status is OrderStatus.FILLED


def test_levels_are_put_on_the_nearest_tick() -> None:
    quarter = tuple(
        dataclasses.replace(one, tick_points=25) if one.name == "EURUSD" else one
        for one in DEFAULT_SYMBOLS
    )
    world = OrderWorld(specs=quarter)
    intent = world.pm.submit("buy", 0.1, sl=1.09 + 1e-12, tp=1.12013)
    assert (intent.sl, intent.tp) == (1.09, 1.12025)
    changed = world.pm.modify(intent.ticket, 1.0, 1.1988)
    assert (changed.sl, changed.tp) == (1.0, 1.19875)
    assert world.pm.submit("buy", 0.1, limit=1.0501, key="k").entry_price == 1.05
    assert world.pm.submit("buy", 0.1, limit=1.0501, key="k").key == "k"


def test_the_orders_of_a_bot_that_is_in_doubt_keep_their_terms() -> None:
    world = OrderWorld()
    world.lose_replies(1)
    doubt: Order = world.pm.submit("buy", 0.1, filling="IOC", deviation=7)
    assert doubt.status is OrderStatus.IN_DOUBT
    world.sync()
    assert world.pm.orders[doubt.order_id].status is OrderStatus.FILLED
    assert world.agrees()
