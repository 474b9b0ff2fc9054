"""Ids of what is inferred: what an approval applies to, and what makes two plans the same."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.event_ids import MOVING, change_id, row_id, step_id
from trueup.core.model import MarginMode, OrderType, Side

POSITION = make.position(7, identifier=5, magic=3, sl=1.0, tp=1.1)
PENDING = make.pending(7, magic=3, sl=1.0, tp=1.1)


def changed(row: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(row, **changes)


# Steps: what a person approves.


def test_the_same_difference_has_the_same_id_in_every_run() -> None:
    """An approval may be given in one run and be heard in the next, by a newer version."""
    assert step_id("ghost", POSITION) == "ghost-9033facb"
    assert step_id("missing", PENDING) == "missing-4477a0bc"


@pytest.mark.parametrize(
    "other",
    [
        {"identifier": 6},
        {"ticket": 8},
        {"symbol": "GBPUSD"},
        {"magic": 4},
        {"side": Side.SELL},
        {"volume": 0.02},
        {"price_open": 1.0544},
        {"sl": 0.0},
        {"tp": 0.0},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_approval_of_a_position_is_none_of_one_that_differs(other: dict[str, Any]) -> None:
    assert step_id("ghost", changed(POSITION, **other)) != step_id("ghost", POSITION)


@pytest.mark.parametrize(
    "other",
    [
        {"ticket": 8},
        {"symbol": "GBPUSD"},
        {"magic": 4},
        {"type": OrderType.BUY_STOP},
        {"volume": 0.2},
        {"price_open": 1.06},
        {"sl": 0.0},
        {"tp": 0.0},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_approval_of_an_order_is_none_of_one_that_differs(other: dict[str, Any]) -> None:
    assert step_id("missing", changed(PENDING, **other)) != step_id("missing", PENDING)


def test_quotations_move_and_the_step_stays() -> None:
    moved = changed(POSITION, profit=5.0, swap=-1.0, price_current=1.2)
    assert step_id("ghost", moved) == step_id("ghost", POSITION)


# Rows that cannot be believed.


def test_an_unreadable_row_has_the_same_id_in_every_run() -> None:
    assert row_id(make.row(volume="?")) == "row-fb1c7389"
    assert row_id([7, "volume"]) == "row-a39d6a44"


@pytest.mark.parametrize("name", sorted(MOVING))
def test_prices_and_profit_move_and_the_row_stays(name: str) -> None:
    first, later = make.row() | {name: 1.0}, make.row() | {name: 2.0}
    assert row_id(first) == row_id(later) == row_id(make.without(later, name))


def test_the_order_of_a_row_s_fields_says_nothing() -> None:
    assert row_id({"ticket": 7, "volume": "?"}) == row_id({"volume": "?", "ticket": 7})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ticket": 7}, {"ticket": 8}),
        ({"ticket": 7}, {"ticket": "7"}),
        ({"ticket": 7}, {"identifier": 7}),
        ([7], [8]),
        ("a", "b"),
        (None, 0),
    ],
)
def test_an_approval_of_a_row_is_none_of_another_row(one: object, other: object) -> None:
    assert row_id(one) != row_id(other)


class Odd:
    """A row of somebody's own gateway, whose text no encoding takes."""

    def __repr__(self) -> str:
        return "\ud800"


@given(st.none() | st.text() | st.dictionaries(st.text(), st.text()) | st.builds(Odd))
def test_whatever_a_gateway_says_has_a_short_id(row: object) -> None:
    assert re.fullmatch("row-[0-9a-f]{8}", row_id(row))


# Plans: two that come to the same changes have the same ids.

CLOSED = events.PositionClosed(make.NOW_NS, POSITION, "gone", realised_units=100)
DEALS = events.DealsRecorded(make.NOW_NS, POSITION, (1,), 100, "late")
GONE = events.PendingClosed(make.NOW_NS, PENDING, "gone")
SETTLED = events.OrderSettled(make.NOW_NS, "A", 7, 0.1, 1.05, "case D")
CANCELED = events.OrderCanceled(make.NOW_NS, "A", "case G")
BOUND = events.AccountBound(make.NOW_NS, 1, "Demo", "USD", MarginMode.HEDGING, 2)
HALT = events.HaltRaised(make.NOW_NS, "EURUSD", 5, "A", "case I")
CORRECTED = events.PositionCorrected(make.NOW_NS, POSITION, POSITION, ("sl",))
RESTED = events.PendingCorrected(make.NOW_NS, PENDING, PENDING, ("sl",))
ADOPTED = events.PositionAdopted(make.NOW_NS, POSITION)
PENDING_ADOPTED = events.PendingAdopted(make.NOW_NS, PENDING)


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (ADOPTED, 5),
        (events.PositionMissing(make.NOW_NS, POSITION, "not listed"), 5),
        (events.PositionFound(make.NOW_NS, POSITION), 5),
        (CORRECTED, 5),
        (CLOSED, 5),
        (DEALS, 5),
        (PENDING_ADOPTED, 7),
        (GONE, 7),
        (RESTED, 7),
        (HALT, 5),
        (BOUND, 0),
        (make.created("A", Side.BUY), 0),
        (SETTLED, 0),
        (CANCELED, 0),
        (events.OrderRejected(make.NOW_NS, "A", "no money"), 0),
        (events.HistoryCompared(make.NOW_NS, 1, 2, 3), 0),
        (events.LossFound(make.NOW_NS, "a backup"), 0),
        (events.LossAccepted(make.NOW_NS, "Mary"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_change_has_the_id_of_its_kind_and_place_at_any_time(
    event: events.Event, key: int
) -> None:
    name, of = change_id(event)
    assert (of, name.startswith(type(event).__name__)) == (key, True)
    assert change_id(changed(event, at_ns=make.NOW_NS + 1)) == (name, key)


HALF = changed(POSITION, volume=0.005)
HALF_PENDING = changed(PENDING, volume=0.05)


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (ADOPTED, {"position": HALF}),
        (CORRECTED, {"remote": HALF}),
        (CLOSED, {"position": HALF}),
        (CLOSED, {"realised_units": 101}),
        (DEALS, {"position": HALF}),
        (DEALS, {"realised_units": 101}),
        (PENDING_ADOPTED, {"order": HALF_PENDING}),
        (RESTED, {"remote": HALF_PENDING}),
        (GONE, {"order": HALF_PENDING}),
        (GONE, {"filled": 0.1}),
        (GONE, {"position": 7}),
        (SETTLED, {"order_id": "B"}),
        (SETTLED, {"ticket": 8}),
        (SETTLED, {"volume": 0.2}),
        (SETTLED, {"price": 1.06}),
        (SETTLED, {"price": None}),
        (CANCELED, {"order_id": "B"}),
        (CANCELED, {"unproven": True}),
        (BOUND, {"login": 2}),
        (BOUND, {"server": "Other"}),
        (BOUND, {"currency": "EUR"}),
        (BOUND, {"margin_mode": MarginMode.NETTING}),
        (BOUND, {"fifo_close": True}),
        (BOUND, {"currency_digits": 0}),
        (HALT, {"identifier": 6}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_plan_that_comes_to_something_else_is_another_plan(
    event: events.Event, other: dict[str, Any]
) -> None:
    assert change_id(changed(event, **other)) != change_id(event)


def test_the_same_row_taken_in_otherwise_is_another_change() -> None:
    found = events.PositionFound(make.NOW_NS, POSITION)
    assert change_id(ADOPTED) != change_id(found)
