"""A book of every symbol: one policy, one look, and everything that holds for named symbols."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.desk_world import BUY, SELL, DeskWorld, figures
from tests.support.order_world import OrderWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.policy import Adopt, Policy
from trueup.core.scope import EVERY_SYMBOL, Scope, overlap, shared_symbols
from trueup.observe.status.making import policy_words

EVERYTHING = Policy(symbols=frozenset({EVERY_SYMBOL}))
MINE = Policy(symbols=frozenset({EVERY_SYMBOL}), magics=frozenset({7}), adopt=Adopt.OURS)
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


def world_of(policy: Policy) -> OrderWorld:
    world = OrderWorld(policy=policy)
    world.quote(1.25, "GBPUSD")
    world.quote(150.0, "USDJPY", 0.01)
    return world


def test_positions_in_all_symbols_are_recovered_by_one_look() -> None:
    world = world_of(EVERYTHING)
    opened = [world.person.open(symbol, BUY, 0.1) for symbol in SYMBOLS]
    world.requests.clear()
    assert figures(world.sync()) == ("SUCCESS", 3, 0, 0)
    assert world.tickets() == set(opened)
    asked = [json.loads(raw)["action"] for raw in world.requests]
    assert asked == ["SNAPSHOT"]


def test_what_others_do_in_any_symbol_is_noticed() -> None:
    world = world_of(EVERYTHING)
    first, second = (world.person.open(symbol, SELL, 0.3) for symbol in SYMBOLS[1:])
    world.sync()
    world.person.close(first)
    world.person.close(second, 0.1)
    assert figures(world.sync())[2:] == (1, 1)
    assert world.agrees()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_an_order_in_doubt_is_settled_in_whatever_symbol(symbol: str) -> None:
    world = world_of(EVERYTHING)
    world.sync()
    world.lose_replies(1)
    doubt = world.pm.submit("buy", 0.1, symbol=symbol)
    assert doubt.status is OrderStatus.IN_DOUBT
    world.sync()
    assert world.order(doubt).status is OrderStatus.FILLED
    assert world.agrees()


def test_ours_is_told_by_magic_in_every_symbol() -> None:
    world = world_of(MINE)
    world.person.open("GBPUSD", BUY, 0.1)
    world.terminal.robot(7).open("USDJPY", BUY, 0.2)
    assert figures(world.sync())[1] == 1
    (holding,) = world.pm.book.holdings.values()
    assert holding.position.symbol == "USDJPY"
    assert world.reconciler.get_status()["foreign"] == 1


def test_a_policy_of_every_symbol_is_called_so_beside_names_too() -> None:
    policy = Policy(symbols=frozenset({EVERY_SYMBOL, "EURUSD"}))
    assert policy_words(policy) == policy_words(EVERYTHING)
    assert policy_words(policy).startswith("every symbol")


def test_an_order_names_its_symbol() -> None:
    world = world_of(EVERYTHING)
    pm = world.pm
    pm._identity.symbol = EVERY_SYMBOL
    with pytest.raises(ValueError, match="symbol is missing: the book has several"):
        pm.submit("buy", 0.1)
    assert pm.submit("buy", 0.1, symbol="EURUSD").status is OrderStatus.FILLED


def scope(*symbols: str, **fields: Any) -> Scope:
    return Scope("run", symbols=symbols, **fields)


def test_a_book_of_every_symbol_overlaps_with_any_other() -> None:
    assert shared_symbols(["*"], ["EURUSD"]) == ["EURUSD"] == shared_symbols(["EURUSD"], ["*"])
    assert shared_symbols(["*"], ["*"]) == ["*"]
    assert overlap(scope("*"), scope("EURUSD")) == "EURUSD, whatever the magic number"
    assert overlap(scope("*"), scope("*")) == "every symbol, whatever the magic number"
    own = {"adopt": "ours", "magics": (7,)}
    assert overlap(scope("*", **own), scope("*", adopt="ours", magics=(8,))) == ""
    assert overlap(scope("*", **own), scope("GBPUSD", **own)) == "GBPUSD, magic 7"


def test_two_books_hear_of_each_other_through_the_gateway() -> None:
    world = DeskWorld(policy=EVERYTHING)
    _, other, _ = world.another_bot()
    for _ in range(2):
        world.sync()
        other.sync_positions()
    assert "EURUSD, whatever the magic number" in world.reconciler.get_status()["neighbours"][0]
    assert "EURUSD, whatever the magic number" in other.get_status()["neighbours"][0]
