"""Whatever a gateway object answers or raises: the order is never lost, and blocks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import make
from tests.support.order_world import OrderWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.errors import NotSent, Refused
from trueup.journal import MemoryJournal


class Answers:
    """A gateway object that answers once in its own way, then as the world's does."""

    def __init__(self, world: OrderWorld, answer: object) -> None:
        self.world, self.answer, self.calls = world, answer, 0

    def send_order(self, order: Mapping[str, Any]) -> Any:
        self.calls += 1
        if self.calls > 1:
            return self.world.gateway.send_order(order)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def asked(answer: object, tmp_path: Path | None = None) -> tuple[OrderWorld, Any]:
    """A world after one order that was answered so."""
    journal = MemoryJournal() if tmp_path is None else tmp_path / "bot.db"
    world = OrderWorld(journal=journal)
    world.pm.desk.gateway = Answers(world, answer)
    world.sync()
    return world, world.pm.submit("buy", 0.1)


UNKEEPABLE: dict[str, object] = {
    "half an emoji in the reason": {"status": "REJECTED", "error": "no \ud83d money"},
    "half an emoji in the status": {"status": "FI\ud83dLLED"},
    "a ticket beyond 64 bits": make.filling("x", 2**64),
    "a price of a kind of its own": make.filling("x", filled_price=object()),
    "a volume that is no number": make.filling("x", filled_volume=float("nan")),
    "a list": [],
    "a text": "FILLED",
    "nothing": None,
}


@pytest.mark.parametrize("what", UNKEEPABLE)
@pytest.mark.parametrize("on_disk", [True, False])
def test_an_answer_that_cannot_be_kept_blocks_no_later_order(
    what: str, on_disk: bool, tmp_path: Path
) -> None:
    world, order = asked(UNKEEPABLE[what], tmp_path if on_disk else None)
    if order.status is not OrderStatus.REJECTED:
        assert order.status is OrderStatus.IN_DOUBT
        world.wait_out()
    assert order.status in (OrderStatus.REJECTED, OrderStatus.CANCELED)
    assert not world.pm.desk.owes
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_an_event_that_no_journal_takes_becomes_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever slips through: a rule that makes such an event must not stop the next order."""
    from trueup.core.book import events
    from trueup.runtime.bot import outcomes

    def broken(order: Any, outcome: Any, now_ns: int) -> events.OrderEvent:
        return events.OrderRejected(at_ns=now_ns, order_id=order.order_id, error="\ud83d")

    world = OrderWorld()
    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "order_event", broken)
        order = world.pm.submit("buy", 0.1)
    assert order.status is OrderStatus.IN_DOUBT
    assert "cannot be recorded as it is" in str(order.error)
    world.sync()
    assert world.order(order).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), TimeoutError(), TypeError("y"), KeyError("order_id")]
)
def test_a_gateway_that_raises_leaves_the_order_in_doubt(error: Exception) -> None:
    world, order = asked(error)
    assert order.status is OrderStatus.IN_DOUBT
    assert f"the gateway raised {type(error).__name__}" in str(order.error)
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1)
    world.wait_out()
    assert order.status is OrderStatus.CANCELED


@pytest.mark.parametrize("error", [NotSent("no line"), Refused("no money")])
def test_a_gateway_that_says_that_nothing_happened_is_believed(error: Exception) -> None:
    _, order = asked(error)
    assert order.status is OrderStatus.REJECTED
    assert str(error) in str(order.error)


def test_an_interruption_is_passed_on_and_leaves_the_order_in_doubt() -> None:
    world = OrderWorld()
    world.pm.desk.gateway = Answers(world, KeyboardInterrupt())
    world.sync()
    with pytest.raises(KeyboardInterrupt):
        world.pm.submit("buy", 0.1)
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1)
