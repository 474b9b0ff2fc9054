"""Diff and plan by what they promise: agreement after one plan, and then silence."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.diff import diff
from trueup.core.holds import HoldKind
from trueup.core.model import Position, Side
from trueup.core.sync.plan import Plan

chances = st.randoms(use_true_random=False)


def touched(plan: Plan) -> set[int]:
    """The identifiers a plan changes."""
    keys = set()
    for event in plan.events:
        if isinstance(event, events.PositionCorrected):
            keys.add(event.remote.identifier)
        if isinstance(event, events.PositionAdopted | events.PositionClosed):
            keys.add(event.position.identifier)
    return keys


def closes(plan: Plan) -> list[events.PositionClosed]:
    return [event for event in plan.events if isinstance(event, events.PositionClosed)]


@given(make.broker_lists(only_ours=True), make.broker_lists())
def test_one_plan_makes_the_book_equal_the_broker(
    local: list[Position], remote: list[Position]
) -> None:
    book = make.book_of(*local)
    book.replay(make.planned(book, make.snapshot(*remote)).events)
    assert make.positions_of(book) == make.wanted(remote)


@given(make.broker_lists(only_ours=True), make.broker_lists())
def test_planning_again_on_the_same_reading_is_empty(
    local: list[Position], remote: list[Position]
) -> None:
    book, seen = make.book_of(*local), make.snapshot(*remote)
    book.replay(make.planned(book, seen).events)
    again = make.planned(book, seen)
    assert (again.events, again.holds) == ((), ())


@given(make.broker_lists(only_ours=True), make.broker_lists(), chances)
def test_the_order_of_a_list_changes_nothing(
    local: list[Position], remote: list[Position], chance: random.Random
) -> None:
    one, other = make.book_of(*local), make.book_of(*local)
    shuffled = list(remote)
    chance.shuffle(shuffled)
    first = make.planned(one, make.snapshot(*remote))
    second = make.planned(other, make.snapshot(*shuffled))
    assert touched(first) == touched(second)
    assert len(first.events) == len(second.events)
    assert first.foreign == second.foreign
    one.replay(first.events)
    other.replay(second.events)
    assert make.positions_of(one) == make.positions_of(other)


@given(make.broker_lists(only_ours=True), make.broker_lists())
def test_a_plan_touches_only_what_differs(local: list[Position], remote: list[Position]) -> None:
    here, there = make.wanted(local), make.wanted(remote)
    differing = {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
    plan = make.planned(make.book_of(*local), make.snapshot(*remote))
    assert touched(plan) == differing
    assert len(plan.events) == len(differing)


@given(make.broker_lists(only_ours=True), make.broker_lists(), st.sampled_from(("row 3", "?")))
def test_nothing_is_closed_on_a_partial_reading(
    local: list[Position], remote: list[Position], fault: str
) -> None:
    book = make.book_of(*local)
    plan = make.planned(book, make.snapshot(*remote, faults=[fault]))
    assert not closes(plan)
    missing = {p.identifier for p in local} - {p.identifier for p in remote}
    held = [hold for hold in plan.holds if hold.kind is not HoldKind.UNREADABLE]
    assert {hold.identifier for hold in held} == missing
    assert len(plan.holds) == len(held) + 1
    book.replay(plan.events)
    assert make.positions_of(book) == make.wanted(local) | make.wanted(remote)


@given(make.broker_lists(only_ours=True), make.broker_lists(only_ours=True))
def test_every_ghost_of_a_list_without_deals_is_marked_unproven(
    local: list[Position], remote: list[Position]
) -> None:
    plan = make.planned(make.book_of(*local), make.snapshot(*remote))
    assert all(event.unproven and event.because for event in closes(plan))


@given(make.broker_lists(only_ours=True), make.broker_lists())
def test_foreign_positions_are_counted_and_never_touched(
    local: list[Position], remote: list[Position]
) -> None:
    book = make.book_of(*local)
    plan = make.planned(book, make.snapshot(*remote))
    foreign = {p.identifier for p in remote if p.symbol == "GBPUSD"}
    assert plan.foreign == len(foreign)
    assert not touched(plan) & foreign
    book.replay(plan.events)
    assert not set(book.holdings) & foreign


@given(make.broker_lists(only_ours=True), make.broker_lists(only_ours=True), st.integers(0, 12))
def test_what_changed_here_after_the_question_is_held(
    local: list[Position], remote: list[Position], asked_version: int
) -> None:
    """The book's version counts its events, so the first `asked_version` positions are older."""
    assume(asked_version <= len(local))
    book = make.book_of(*local)
    newer = {p.identifier for p in local[asked_version:]}
    plan = make.planned(book, make.snapshot(*remote), asked_version=asked_version)
    here, there = make.wanted(local), make.wanted(remote)
    differing = {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
    assert touched(plan) == differing - newer
    assert {hold.identifier for hold in plan.holds} == differing & newer
    assert all(hold.reason and hold.until for hold in plan.holds)


def test_what_was_closed_here_after_the_question_is_not_brought_back() -> None:
    held = make.position()
    book = make.book_of(held)
    asked = book.version
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=held, because="x", unproven=True))
    plan = make.planned(book, make.snapshot(held), asked_version=asked)
    assert not plan.events
    assert [hold.identifier for hold in plan.holds] == [held.identifier]
    # Asked again after the close, the broker still has it: then it is there.
    [adopted] = make.planned(book, make.snapshot(held)).events
    assert isinstance(adopted, events.PositionAdopted)


def test_a_short_that_is_the_same_on_both_sides_is_no_drift() -> None:
    short = make.position(side=Side.SELL, volume=0.3)
    assert not make.planned(make.book_of(short), make.snapshot(short)).events


@pytest.mark.parametrize(
    ("field", "here", "there"),
    [("volume", 0.3, 0.1 + 0.2), ("volume", 0.1 + 0.2, 0.3), ("price_open", 3.3, 1.1 + 2.2)],
)
def test_float_dust_is_no_drift(field: str, here: float, there: float) -> None:
    assert here != there
    clean: dict[str, Any] = {field: here}
    dusty: dict[str, Any] = {field: there}
    book = make.book_of(make.position(**clean))
    assert not make.planned(book, make.snapshot(make.position(**dusty))).events


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"volume": 0.02}, {"volume"}),
        ({"price_open": 1.0544}, {"price_open"}),
        ({"side": Side.SELL}, {"side"}),
        ({"volume": 0.02, "price_open": 1.0544}, {"volume", "price_open"}),
        ({"ticket": 654321, "identifier": make.TICKET}, {"ticket"}),
        ({"price_open": 1.05431}, {"price_open"}),
        ({"volume": 0.01000001}, {"volume"}),
    ],
)
def test_each_field_that_differs_is_named_and_corrected(
    changes: dict[str, Any], fields: set[str]
) -> None:
    book = make.book_of(make.position())
    remote = make.position(**changes)
    [event] = make.planned(book, make.snapshot(remote)).events
    assert isinstance(event, events.PositionCorrected)
    assert set(event.fields) == fields
    book.apply(event)
    assert book.holdings[make.TICKET].position == remote


@pytest.mark.parametrize(
    "quotation", [{"profit": 99.0}, {"price_current": 1.2}, {"swap": -3.0}, {"comment": "x"}]
)
def test_a_moving_market_is_no_drift(quotation: dict[str, Any]) -> None:
    book = make.book_of(make.position())
    assert not make.planned(book, make.snapshot(make.position(**quotation))).events


@given(make.broker_lists(only_ours=True), make.broker_lists())
def test_diff_sorts_every_position_into_one_drawer(
    local: list[Position], remote: list[Position]
) -> None:
    found = diff(make.book_of(*local).holdings, make.snapshot(*remote), make.OURS)
    here, there = make.wanted(local), make.wanted(remote)
    assert {z.remote.identifier for z in found.zombies} == there.keys() - here.keys()
    assert {g.local.identifier for g in found.ghosts} == here.keys() - there.keys()
    assert {d.local.identifier for d in found.drifts} == {
        key for key in here.keys() & there.keys() if here[key] != there[key]
    }
    assert found.foreign == len(remote) - len(there)


@given(make.broker_lists(only_ours=True), st.lists(make.broker_lists(), max_size=4))
def test_any_number_of_readings_ends_in_agreement_with_the_last(
    local: list[Position], readings: list[list[Position]]
) -> None:
    book = make.book_of(*local)
    for reading in readings:
        book.replay(make.planned(book, make.snapshot(*reading)).events)
    assert make.positions_of(book) == make.wanted(readings[-1] if readings else local)


def test_a_plan_does_not_change_the_book() -> None:
    book = make.book_of(make.position(1), make.position(2))
    before = book.state()
    make.planned(book, make.snapshot(make.position(3), make.position(2, volume=0.05)))
    assert book.state() == before


def test_the_same_facts_give_the_same_plan() -> None:
    seen = make.snapshot(make.position(3), make.position(2, volume=0.05))
    books: list[Book] = [make.book_of(make.position(1), make.position(2)) for _ in range(2)]
    assert make.planned(books[0], seen) == make.planned(books[1], seen)
