"""Answers of a gateway to an order: each status, each bad one, each one that comes again."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book.book import Order
from trueup.core.book.lifecycle import OrderStatus
from trueup.runtime.bot.portfolio import PortfolioManager, create_fill_response


def asked(volume: float = 0.02) -> tuple[PortfolioManager, Order]:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, volume)
    assert order is not None
    return pm, order


def test_the_guides_helper_makes_an_answer_that_the_portfolio_takes() -> None:
    pm, order = asked()
    fill = create_fill_response(order.order_id, 7, 1.0501, 0.02)
    assert set(fill) == set(make.filling("A"))
    assert isinstance(fill["timestamp"], float)
    assert (fill["status"], fill["error"]) == ("FILLED", None)
    assert pm.on_fill(fill)
    assert make.positions_of(pm.book) == {7: ("buy", 0.02, 1.0501)}


def test_the_guides_helper_takes_status_and_error() -> None:
    pm, order = asked()
    fill = create_fill_response(order.order_id, 0, 0.0, 0.0, status="REJECTED", error="no money")
    assert pm.on_fill(fill)
    assert (order.status, order.error) == (OrderStatus.REJECTED, "no money")
    assert pm.position is None


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        ("FILLED", OrderStatus.FILLED),
        ("filled", OrderStatus.FILLED),
        ("REJECTED", OrderStatus.REJECTED),
        ("CANCELED", OrderStatus.CANCELED),
        ("CANCELLED", OrderStatus.CANCELED),
        ("UNKNOWN", OrderStatus.IN_DOUBT),
        ("TIMEOUT", OrderStatus.IN_DOUBT),
        ("PLACED", OrderStatus.IN_DOUBT),
        ("", OrderStatus.IN_DOUBT),
        (None, OrderStatus.IN_DOUBT),
        (5, OrderStatus.IN_DOUBT),
    ],
)
def test_each_status_says_what_became_of_the_order(status: Any, becomes: OrderStatus) -> None:
    pm, order = asked()
    assert pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.02, status=status))
    assert order.status is becomes
    assert bool(pm.book.holdings) is (becomes is OrderStatus.FILLED)
    assert (order.order_id in pm.book.in_doubt) is (becomes is OrderStatus.IN_DOUBT)


def test_an_answer_without_a_status_leaves_the_order_in_doubt() -> None:
    pm, order = asked()
    assert pm.on_fill({"order_id": order.order_id})
    assert order.status is OrderStatus.IN_DOUBT


BAD = {
    "ticket": [None, 0, -1, "x", 1.5, True, math.nan],
    "filled_price": [None, 0, -1.0, math.nan, math.inf, "x", True],
    "filled_volume": [None, 0, -0.01, math.nan, math.inf, "x", True, 0.03],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in values]
)
def test_a_fill_that_does_not_say_what_was_filled_is_no_fill(field: str, value: Any) -> None:
    pm, order = asked()
    assert pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.02) | {field: value})
    assert order.status is OrderStatus.IN_DOUBT
    assert not pm.book.holdings
    assert order.error
    assert repr(value) in order.error


@pytest.mark.parametrize("field", BAD)
def test_a_fill_with_a_number_beyond_every_float_is_no_fill(field: str) -> None:
    """JSON can carry it, so a gateway can send it."""
    pm, order = asked()
    fill = make.filling(order.order_id, 7, filled_volume=0.02) | {field: 10**400}
    assert pm.on_fill(json.loads(json.dumps(fill)))
    assert order.status is OrderStatus.IN_DOUBT
    assert not pm.book.holdings


def test_a_part_of_an_order_may_be_filled() -> None:
    pm, order = asked(0.02)
    assert pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.01))
    assert make.positions_of(pm.book) == {7: ("buy", 0.01, 1.0543)}
    assert (order.status, order.filled_volume) == (OrderStatus.FILLED, 0.01)


def test_float_dust_is_not_more_than_was_asked_for() -> None:
    pm, order = asked(0.3)
    assert pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.1 + 0.2))
    assert order.status is OrderStatus.FILLED


@pytest.mark.parametrize("order_id", ["NOBODY", None, 5, ""])
def test_an_answer_to_an_order_nobody_made_is_refused(
    order_id: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pm, _order = asked()
    before = pm.book.state()
    assert pm.on_fill(make.filling(order_id)) is False
    assert pm.book.state() == before
    assert repr(order_id) in caplog.text


FIRST = [
    ("FILLED", 7),
    ("REJECTED", None),
    ("CANCELED", None),
]


@pytest.mark.parametrize(("status", "ticket"), [*FIRST, ("UNKNOWN", None)])
def test_the_same_answer_again_is_taken_and_changes_nothing(
    status: str, ticket: int | None
) -> None:
    pm, order = asked()
    fill = make.filling(order.order_id, ticket, filled_volume=0.02, status=status)
    assert pm.on_fill(fill)
    before = pm.book.state()
    assert pm.on_fill(fill) is True
    assert pm.book.state() == before


@pytest.mark.parametrize(("status", "ticket"), FIRST)
@pytest.mark.parametrize(("later", "later_ticket"), [*FIRST, ("FILLED", 8)])
def test_an_answer_that_contradicts_an_earlier_one_is_refused_and_said(
    status: str,
    ticket: int | None,
    later: str,
    later_ticket: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if (status, ticket) == (later, later_ticket):
        return
    pm, order = asked()
    assert pm.on_fill(make.filling(order.order_id, ticket, filled_volume=0.02, status=status))
    before = pm.book.state()
    caplog.clear()
    again = make.filling(order.order_id, later_ticket, filled_volume=0.02, status=later)
    assert pm.on_fill(again) is False
    assert pm.book.state() == before
    assert "contradicts" in caplog.text


def test_an_unknown_answer_does_not_undo_a_known_one() -> None:
    pm, order = asked()
    pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.02))
    pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN"))
    assert order.status is OrderStatus.FILLED
    assert not pm.book.in_doubt


def test_the_answer_that_comes_after_a_close_was_settled_does_not_close_twice() -> None:
    """Settled by the volume that went; then the gateway's own late answer arrives."""
    pm = make.portfolio()
    pm.force_add_position(make.row(7, volume=0.03))
    order = pm.create_order(-1, 1.06, 0.01)
    assert order is not None
    pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN"))
    make.reconciler_on(make.reply(make.row(7, volume=0.02)), pm=pm).sync_positions()
    pm.on_fill(make.filling(order.order_id, 8, filled_price=1.06))
    assert make.positions_of(pm.book) == {7: ("buy", 0.02, 1.0543)}


@given(
    st.dictionaries(
        st.sampled_from(list(make.filling("A"))),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    )
)
def test_no_answer_raises_and_none_makes_a_position_that_cannot_be(changes: dict[str, Any]) -> None:
    pm, order = asked()
    pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.02) | changes)
    for held in pm.book.holdings.values():
        assert 0 < held.position.volume <= 0.02
        assert 0 < held.position.price_open < math.inf
        assert held.position.ticket > 0
