"""The module's own result in the reply to an order, and the caller's price with a deviation."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.support.desk_world import DeskWorld
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import EURUSD

INSTANT = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_INSTANT)


def buy(world: DeskWorld, order_id: str = "a", **fields: Any) -> dict[str, Any]:
    message = {"action": "BUY", "order_id": order_id, "symbol": "EURUSD", "volume": 0.1, **fields}
    reply: dict[str, Any] = json.loads(world.desk.handle(json.dumps(message).encode()))
    return reply


def test_the_reply_has_the_modules_own_result_where_it_is_asked_for() -> None:
    world = DeskWorld()
    reply = buy(world, with_result=True)
    result = reply["result"]
    assert (result["retcode"], result["order"]) == (mt5.TRADE_RETCODE_DONE, reply["ticket"])
    assert (result["price"], result["volume"]) == (reply["filled_price"], 0.1)
    assert result["comment"] == "Request executed"
    assert (result["bid"], result["ask"]) == (1.1, 1.1001)


def test_without_the_question_the_reply_is_as_before() -> None:
    assert "result" not in buy(DeskWorld())


def test_a_refusal_of_the_broker_has_its_result_too() -> None:
    reply = buy(DeskWorld(), with_result=True, volume=1_000_000.0)
    assert reply["status"] == "REJECTED"
    assert reply["result"]["retcode"] == reply["retcode"] != mt5.TRADE_RETCODE_DONE


def test_a_repeated_order_has_its_first_result() -> None:
    world = DeskWorld()
    first, again = buy(world, with_result=True), buy(world, with_result=True)
    assert again["repeated"]
    assert again["result"] == first["result"]


@pytest.mark.parametrize(
    ("fields", "retcode"),
    [
        ({"price": 1.2, "deviation": 5}, mt5.TRADE_RETCODE_REQUOTE),
        # Without a deviation the terminal's own quotation counts.
        ({"price": 1.2}, mt5.TRADE_RETCODE_DONE),
    ],
)
def test_a_deviation_is_measured_from_the_callers_price(
    fields: dict[str, Any], retcode: int
) -> None:
    world = DeskWorld(specs=(INSTANT,))
    assert buy(world, **fields)["retcode"] == retcode
