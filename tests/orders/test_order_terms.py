"""The terms of an order: deviation, filling, expiry, symbol, steps, and the strategy's comment."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.support import make
from tests.support.desk_world import HEDGING, NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.terms import FILLINGS, HIGHEST_DEVIATION, PLAIN_TERMS, Terms
from trueup.core.model import Side, SymbolSpec
from trueup.core.policy import Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.order_checks import (
    LATEST_SEC,
    check_changes,
    check_close_terms,
    check_magic,
    check_pair,
    check_step,
    check_terms,
    check_texts,
    check_volume,
    must_repeat,
    on_tick,
    side_of,
    ticket_of,
    tickets_listed,
)
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


# The checks one by one: the value at each bound, and what a caller reads.


def error_of(check: Callable[..., object], *given: Any, **named: Any) -> str:
    with pytest.raises((ValueError, TypeError, Refused)) as refused:
        check(*given, **named)
    return str(refused.value)


def test_the_deviation_is_whole_points_up_to_its_bound() -> None:
    for points in (0, 1, HIGHEST_DEVIATION):
        assert check_terms({"deviation": points}, **MARKET) == Terms(points)
    wrong: list[Any] = [-1, HIGHEST_DEVIATION + 1, 1.0, "5", float("nan")]
    for value in wrong:
        assert error_of(check_terms, {"deviation": value}, **MARKET) == (
            f"deviation={value!r} is not valid: give points, 0 or above."
        )


MARKET: dict[str, Any] = {"is_pending": False, "time_offset_sec": None}
PENDING: dict[str, Any] = {"is_pending": True, "time_offset_sec": 7_200}


def test_the_filling_and_the_end_are_words_of_the_official_module() -> None:
    for filling in FILLINGS:
        assert check_terms({"filling": filling}, **MARKET) == Terms(None, filling)
    wrong: Any = "fok"
    assert error_of(check_terms, {"filling": wrong}, **MARKET) == (
        f"filling='fok' is not valid: give {' or '.join(FILLINGS)}."
    )
    assert error_of(check_terms, {"expires": "gtc"}, **MARKET) == (
        "expires is only for a pending order: give limit or stop too."
    )
    assert check_terms({"expires": "gtc", "deviation": 3}, **PENDING) == Terms(3, None, "GTC")
    assert check_terms({"expires": "day", "filling": "FOK"}, **PENDING) == (
        Terms(None, "FOK", "DAY")
    )


def test_the_end_of_a_pending_order_is_in_seconds_of_the_servers_clock() -> None:
    date = dt.date(2026, 1, 5)
    assert check_terms({"expires": date}, **PENDING) == (
        Terms(None, None, "SPECIFIED_DAY", 1_767_571_200)
    )
    moment = dt.datetime(2026, 1, 5, 0, 0, 1, 900_000, tzinfo=dt.UTC)
    assert check_terms({"expires": moment}, **PENDING) == (
        Terms(None, None, "SPECIFIED", 1_767_571_201 + 7_200)
    )
    for seconds in (1, LATEST_SEC - 1):
        assert check_terms({"expires": seconds}, **PENDING).expiration == seconds
    words = (
        "give 'gtc', 'day', a date, a datetime with a time zone, or seconds of the trade server's "
        "clock since 1970."
    )
    wrong: list[Any] = [0, -1, LATEST_SEC, "soon", 5.0, NAIVE]
    for value in wrong:
        assert error_of(check_terms, {"expires": value}, **PENDING) == (
            f"expires={value!r:.60} is not valid: {words}"
        )
    unknown: dict[str, Any] = {"is_pending": True, "time_offset_sec": None}
    assert error_of(check_terms, {"expires": moment}, **unknown) == (
        "expires cannot be a datetime yet: no quotation has told what the trade server's clock "
        "shows. Give its own time in seconds since 1970, or wait for a sync."
    )
    assert check_terms({"expires": date}, **unknown).expiration == 1_767_571_200


def test_the_terms_of_a_close() -> None:
    assert check_close_terms({}) is PLAIN_TERMS
    assert check_close_terms({"comment": "x"}) is PLAIN_TERMS
    assert check_close_terms({"deviation": 3}) == Terms(3)
    assert check_close_terms({"filling": "FOK"}) == Terms(None, "FOK")
    more: Any = {"deviation": 3, "expires": "gtc", "sl": 1.0}
    assert error_of(check_close_terms, more) == (
        "A close has no expires: give deviation, filling, comment."
    )


def test_the_changes_of_a_pending_order() -> None:
    levels, end = check_changes({"price": 1.1, "stoplimit": 1.2, "sl": 0, "tp": 1.3})
    assert (levels, end) == ({"price": 1.1, "stoplimit": 1.2, "sl": 0.0, "tp": 1.3}, {})
    assert check_changes({"expires": "day"}) == ({}, {"expires": "day"})
    assert check_changes({"sl": 1.0, "expires": "gtc"}) == ({"sl": 1.0}, {"expires": "gtc"})
    assert error_of(check_changes, {"price": 0.0}) == (
        "price=0.0 is not valid: give a finite price above 0."
    )
    assert error_of(check_changes, {"tp": -1.0}) == (
        "tp=-1.0 is not valid: give a price above 0, or 0 for none."
    )
    names = "price, stoplimit, sl, tp, expires"
    assert error_of(check_changes, {}) == f"Nothing is to be changed: give {names}."
    more: Any = {"volume": 1, "magic": 2}
    assert error_of(check_changes, more) == (
        f"A pending order has no magic to change: give {names}."
    )


def test_two_positions_that_no_broker_closes_by_each_other() -> None:
    one = make.position(7, identifier=7, side=Side.BUY)
    other = make.position(8, identifier=8, side=Side.SELL)
    check_pair(one, other, is_hedging=True)
    assert error_of(check_pair, one, other, is_hedging=False) == (
        "close_by is only for a hedging account: a netting account has no two."
    )
    pair = "cannot be closed by each other"
    for second, why in (
        (make.position(9, identifier=7, side=Side.SELL), "they are one position."),
        (
            make.position(9, identifier=9, side=Side.SELL, symbol="GOLD"),
            "they are in EURUSD and GOLD.",
        ),
        (make.position(9, identifier=9, side=Side.BUY), "both are LONG."),
    ):
        said = error_of(check_pair, one, second, is_hedging=True)
        assert said == f"Tickets 7 and 9 {pair}: {why}"


def test_a_volume_is_on_the_step_or_told_with_its_neighbours() -> None:
    spec = SymbolSpec("EURUSD", 0.01, 1e-5, 5)
    check_step(0.03, spec)
    check_step(0.035, None)
    check_step(0.035, with_fields(spec, volume_step=0.0))
    words = "is not valid: EURUSD is traded in steps of 0.01 lots; give"
    assert error_of(check_step, 0.035, spec) == f"volume=0.035 {words} 0.03 or 0.04."
    # Below the first step there is nothing.
    assert error_of(check_step, 0.005, spec) == f"volume=0.005 {words} 0.01."


def with_fields(spec: SymbolSpec, **fields: Any) -> SymbolSpec:
    return msgspec.structs.replace(spec, **fields)


def test_a_level_is_put_on_the_nearest_tick_of_the_symbol() -> None:
    spec = SymbolSpec("EURUSD", 0.01, 0.0005, 4)
    assert on_tick(1.10024, spec) == 1.1
    assert on_tick(1.10026, spec) == 1.1005
    assert on_tick(1.1 - 0.003, spec) == 1.097
    assert on_tick(0.0, spec) == 0.0
    assert on_tick(1.10026, with_fields(spec, tick_size=0.0)) == 1.10026


@pytest.mark.parametrize(
    ("given", "side"),
    [
        *((Side.BUY, Side.BUY), ("buy", Side.BUY), (" SELL ", Side.SELL), (1, Side.BUY)),
        *((-1, Side.SELL), ("1", Side.BUY), (1.0, Side.BUY)),
    ],
)
def test_a_side_is_taken_in_words_and_numbers(given: Any, side: Side) -> None:
    assert side_of(given) is side


def test_what_is_no_side_no_magic_and_no_text_is_named() -> None:
    wrong: list[Any] = ["long", 2, 0, "", None]
    for value in wrong:
        assert error_of(side_of, value) == (f"side={value!r} is not valid: give 'buy' or 'sell'.")
    assert (check_magic(0), check_magic(2**64 - 1)) == (0, 2**64 - 1)
    for value in (-1, 2**64, 1.0, "7"):
        assert error_of(check_magic, value) == (
            f"magic={value!r:.40} is not valid: give a whole number from 0 to 2**64 - 1."
        )
    assert check_texts(why="a", who="") == ["a", ""]
    for value in (7, None, "\ud83d", "a\udfff"):
        assert error_of(check_texts, key="k", why=value) == (
            f"why={value!r} is not valid: give a text, or '' for none."
        )


def test_tickets_are_listed_up_to_ten_and_taken_from_what_has_one() -> None:
    assert tickets_listed([]) == "none"
    assert tickets_listed(range(1, 11)) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    assert tickets_listed(range(1, 12)) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 1 more"
    assert tickets_listed([7, 8, 9], 1) == "7 and 2 more"
    for named in (7, "7", {"ticket": 7}, make.position(7)):
        assert ticket_of(named, "position", []) == 7
    wrong: list[Any] = [0, -1, "x", None, {"ticket": 0}, {}]
    for value in wrong:
        assert error_of(ticket_of, value, "pending order", [5, 6]) == (
            f"No pending order {value!r:.40}: give a ticket, a whole number above 0, or something "
            "with a `ticket`; the book has 5, 6."
        )


def test_lots_are_whole_units_of_a_hundred_millionth() -> None:
    assert check_volume(0.1 + 0.2) == 0.3
    for value in (0, -0.1, float("nan"), float("inf"), "x", None):
        assert error_of(check_volume, value) == (
            f"volume={value!r} is not valid: give a finite number of lots above 0."
        )


def test_a_key_that_comes_again_is_compared_by_the_wish_alone() -> None:
    known = make.sent("A", key="k", magic=3, why="first", entry_price=1.05)
    wish = {"symbol": "EURUSD", "volume": 0.1, "magic": 3}
    must_repeat(known, wish)
    # The price of a market order, and what explains it, may be others.
    must_repeat(known, {**wish, "price": 2.0, "why": "again", "comment": "x", "by": "Ada"})
    limit = msgspec.structs.replace(known, kind=OrderKind.LIMIT)
    must_repeat(limit, {**wish, "price": 1.05 + 1e-12})
    for name, first, again in (("price", 1.05, 1.06), ("magic", 3, 4), ("volume", 0.1, 0.2)):
        said = error_of(must_repeat, limit, {**wish, name: again})
        assert said == (
            f"key='k' was used for A with {name}={first!r}, and comes again with {name}={again!r}: "
            "give another key."
        )
