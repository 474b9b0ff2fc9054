"""A key names one order of its book, also for a bot that has forgotten the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_at_most_once import BUY, Gateway
from tests.support.desk_world import DeskWorld
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.terminal_faults import Answered


@pytest.fixture
def world() -> DeskWorld:
    return DeskWorld()


def buy(world: DeskWorld, order_id: str, **more: Any) -> dict[str, Any]:
    order = {"action": "BUY", "order_id": order_id, "symbol": "EURUSD", "volume": 0.1, "magic": 7}
    order |= {"stream": "s", "journal": "j", "key": "k", **more}
    answer: dict[str, Any] = json.loads(world.desk.handle(json.dumps(order).encode()))
    return answer


def test_a_second_order_under_a_key_is_refused_with_the_first_one_named(world: DeskWorld) -> None:
    first = buy(world, "a-1")
    again = buy(world, "a-2", journal="another")
    assert again["status"] == "REJECTED"
    assert again["error"] == (
        f"not sent: key 'k' of stream 's' was used before, for order a-1 (FILLED, ticket "
        f"{first['ticket']}): give another key, or give each bot a stream of its own"
    )
    assert len(world.ledger.positions) == 1
    # What was refused stays refused, and the first stays what it was.
    assert buy(world, "a-2", journal="another")["repeated"]
    assert buy(world, "a-1") == {**first, "repeated": True}


@pytest.mark.parametrize(
    "other",
    [{"key": "x"}, {"stream": "s, magic 8"}, {"key": ""}, {"stream": ""}],
    ids=str,
)
def test_another_book_or_key_is_another_order(world: DeskWorld, other: dict[str, Any]) -> None:
    buy(world, "a-1")
    assert buy(world, "a-2", **other)["status"] == "FILLED"


def test_an_order_that_may_have_been_executed_has_used_its_key(world: DeskWorld) -> None:
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_TIMEOUT))
    assert buy(world, "a-1")["status"] == "UNKNOWN"
    again = buy(world, "a-2")
    assert (again["status"], "for order a-1" in again["error"]) == ("REJECTED", True)


def test_an_order_that_was_under_way_when_the_gateway_died_has_used_its_key(
    tmp_path: Path,
) -> None:
    """Nothing is known of it: it may have been executed, and a new id must not double it."""
    gateway = Gateway(tmp_path / "requests.db")
    book = {"stream": "s", "journal": "j", "key": "k"}
    gateway.kill_at(GatewayPoint.AFTER_SEND, **BUY, **book)
    # While the terminal cannot be read, nobody finds out what became of it.
    gateway.terminal.disconnect()
    again = gateway.ask(**{**BUY, "order_id": "B"}, **book)
    assert again["status"] == "REJECTED"
    assert "was used before, for order A (in doubt)" in again["error"]
    assert gateway.executions() == ["A"]


def test_an_order_that_was_refused_has_not(world: DeskWorld) -> None:
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_NO_MONEY))
    assert buy(world, "a-1")["status"] == "REJECTED"
    assert buy(world, "a-2")["status"] == "FILLED"


def test_an_order_that_was_refused_does_not_free_the_key_of_the_one_that_came_next(
    world: DeskWorld,
) -> None:
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_NO_MONEY))
    assert buy(world, "a-1")["status"] == "REJECTED"
    assert buy(world, "a-2")["status"] == "FILLED"
    third = buy(world, "a-3")
    assert (third["status"], "for order a-2 (FILLED" in third["error"]) == ("REJECTED", True)
    assert len(world.ledger.positions) == 1


def test_a_book_is_no_parameter_of_an_order(world: DeskWorld) -> None:
    """A client of before repeats an id without naming the book, and is told the first outcome."""
    first = buy(world, "a-1")
    again = buy(world, "a-1", stream="", journal="", key="")
    assert again == {**first, "repeated": True}
