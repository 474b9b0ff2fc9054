"""One exit against several positions: it closes them one by one, and never opens the opposite."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL, DeskWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.risk import oldest_first
from trueup.sim.market.symbols import AccountSetup

FIFO = dataclasses.replace(HEDGING, fifo_close=True)


def opened(account: AccountSetup, *volumes: float, side: int = BUY) -> DeskWorld:
    """A bot that recovered positions of these volumes, opened in this order."""
    world = DeskWorld(account)
    for volume in volumes:
        world.person.open("EURUSD", side, volume)
        world.wait(1)
    world.sync()
    return world


def lots(world: DeskWorld) -> list[float]:
    """What the broker has, oldest first, negative when short."""
    return [row[3] * (1 if row[2] == "buy" else -1) for _, row in sorted(world.rows().items())]


@pytest.mark.parametrize("volume", [0.3, 0.15, 0.5])
def test_an_exit_of_several_tickets_closes_the_oldest_first_and_then_the_next(
    volume: float, caplog: pytest.LogCaptureFixture
) -> None:
    world = opened(HEDGING, 0.1, 0.1, 0.1)
    with caplog.at_level(logging.INFO, "trueup"):
        order = world.trade(-1, volume)
    assert (order.volume, order.status) == (0.1, OrderStatus.FILLED)
    assert lots(world) == [0.1, 0.1]
    assert f"SELL {volume:.2f}L closes ticket {order.position} first, its 0.10L" in caplog.text
    world.trade(-1, volume)
    world.trade(-1, volume)
    assert lots(world) == []
    world.sync()
    assert world.book() == {}


def test_an_exit_that_one_ticket_has_enough_for_closes_of_that_one_alone() -> None:
    world = opened(HEDGING, 0.1, 0.3, 0.3)
    assert world.trade(-1, 0.2).volume == 0.2
    assert lots(world) == pytest.approx([0.1, 0.1, 0.3])


def test_where_the_oldest_has_to_go_first_the_oldest_is_closed_first() -> None:
    world = opened(FIFO, 0.01, 0.10)
    order = world.trade(-1, 0.05)
    assert (order.volume, order.status) == (0.01, OrderStatus.FILLED)
    assert world.trade(-1, 0.05).status is OrderStatus.FILLED
    assert lots(world) == [0.05]


def test_a_close_out_of_turn_is_refused_by_the_broker_with_its_reason() -> None:
    world = opened(FIFO, 0.01, 0.10)
    _, youngest = sorted(world.tickets())
    intent = world.pm.close(youngest)
    assert intent.status is OrderStatus.REJECTED
    assert "10045 FIFO_CLOSE" in (intent.error or "")


def test_on_a_hedging_account_more_than_there_is_opens_nothing_the_other_way() -> None:
    world = opened(HEDGING, 0.1)
    assert world.trade(-1, 0.3).volume == 0.1
    assert lots(world) == []


def test_on_a_netting_account_it_goes_on_reversing() -> None:
    world = opened(NETTING, 0.1)
    assert world.trade(-1, 0.3).volume == 0.3
    assert lots(world) == pytest.approx([-0.2])


def test_on_a_netting_account_no_reversal_is_made_while_entries_are_refused() -> None:
    world = opened(NETTING, 0.2)
    world.tamper(lambda reply: reply.update(digest=""))
    world.sync()
    # It would close what is known and open the rest, and that rest is an entry.
    assert world.pm.create_order(-1, 1.1, 0.3) is None
    assert world.trade(-1, 0.2).status is OrderStatus.FILLED


def test_the_oldest_is_what_was_opened_first_and_not_what_was_ordered_first() -> None:
    world = DeskWorld(FIFO)
    limit = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.0950)
    first = world.person.open("EURUSD", BUY, 0.1)
    world.wait(5)
    world.quote(1.0940)
    world.sync()
    # What we opened a moment ago has no time of the broker's yet.
    last = world.pm.submit("buy", 0.3)
    found = [one.position.identifier for one in oldest_first(world.pm.book, "EURUSD")]
    assert limit < first
    assert found == [first, limit, last.ticket]
    for identifier, volume in ((first, 0.1), (limit, 0.2), (last.ticket, 0.3)):
        order = world.trade(-1, 1.0)
        assert (order.position, order.volume) == (identifier, volume)
        assert order.status is OrderStatus.FILLED, order.error


@given(
    account=st.sampled_from([HEDGING, FIFO]),
    volumes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    exits=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    is_long=st.booleans(),
)
def test_no_exit_ever_opens_a_position_or_is_out_of_turn(
    account: AccountSetup, volumes: list[int], exits: list[int], is_long: bool
) -> None:
    world = opened(account, *(one / 100 for one in volumes), side=BUY if is_long else SELL)
    known = set(world.rows())
    for one in exits:
        if not world.rows():
            break
        before = sum(map(abs, lots(world)))
        order = world.trade(-1 if is_long else 1, one / 100)
        assert order.status is OrderStatus.FILLED, order.error
        assert set(world.rows()) <= known
        # Never more than was asked for.
        assert 0 < before - sum(map(abs, lots(world))) <= one / 100 + 1e-9
    world.sync()
    assert world.book() == world.rows()
