"""A server that fills an order long after its timeout: whoever sends again opens one position."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.desk_world import HEDGING, NETTING, DeskWorld
from tests.support.order_world import OrderWorld
from trueup.errors import Refused
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import TimedOut

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
LATE = pytest.mark.parametrize("fill_after_sec", [5, 25, 50])
ATTEMPTS, EVERY_SEC = 60, 3.0


def send_until_filled(world: OrderWorld) -> None:
    """Buy again whenever the order before it ended without a fill, as a hasty strategy does."""
    intent = world.pm.submit("buy", 0.1)
    for _ in range(ATTEMPTS):
        world.sync(EVERY_SEC)
        if world.status(intent) == "FILLED":
            return
        if world.status(intent) == "IN_DOUBT":
            with pytest.raises(Refused):
                world.pm.submit("buy", 0.1)
        else:
            intent = world.pm.submit("buy", 0.1)
    raise AssertionError(f"never filled: {world.pm.book.orders}")


@BOTH
@LATE
@pytest.mark.parametrize("gateway", ["record", "no record", "of the guide"])
def test_a_strategy_that_sends_again_opens_one_position(
    monkeypatch: pytest.MonkeyPatch, account: AccountSetup, fill_after_sec: int, gateway: str
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", gateway == "record")
    monkeypatch.setattr(OrderWorld, "knows_only_the_guide", gateway == "of the guide")
    world = OrderWorld(account)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=fill_after_sec * 1_000))
    send_until_filled(world)
    world.sync(fill_after_sec)
    assert not world.pm.book.in_doubt
    assert [row[3] for row in world.rows().values()] == [0.1]
    assert world.agrees()


def bought(world: DeskWorld, dialect: str, name: str) -> dict[str, Any]:
    """Ask the gateway for a position in one of its two dialects; return the reply."""
    ours = {"action": "BUY", "order_id": name, "price": 1.1}
    theirs = {"action": "OPEN", "uuid": name, "type": "BUY"}
    request = ours if dialect == "ours" else theirs
    message = json.dumps({**request, "symbol": "EURUSD", "volume": 0.1})
    reply: dict[str, Any] = json.loads(world.desk.handle(message.encode()))
    return reply


@BOTH
@LATE
@pytest.mark.parametrize("dialect", ["ours", "the other"])
def test_a_client_that_asks_again_under_a_new_name_after_each_refusal_opens_one_position(
    account: AccountSetup, fill_after_sec: int, dialect: str
) -> None:
    world = DeskWorld(account)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=fill_after_sec * 1_000))
    names = iter("abcdef")
    name = next(names)
    for _ in range(ATTEMPTS):
        reply = bought(world, dialect, name)
        if reply["status"] not in ("UNKNOWN", "REJECTED"):
            break
        if reply["status"] == "REJECTED":
            name = next(names)
        world.wait(EVERY_SEC)
        world.requote()
        world.desk.tend()
    world.wait(fill_after_sec)
    assert name == "a"
    assert [row[3] for row in world.rows().values()] == [0.1]
