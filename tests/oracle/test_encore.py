"""What is tried after a run, and what a key, a fill and a yes may mean: broken, and just kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.oracle.histories import LOGIN, LOT, SCOPE, History, held, opened
from trueup.lab.facts import facts
from trueup.lab.facts.facts import Fact
from trueup.lab.plan.plan import calm
from trueup.lab.runs.run import run

# The promise that is broken, or 0 if none is.
TRIED: dict[str, tuple[int, type[Fact], dict[str, Any]]] = {
    "a key trades twice": (
        2,
        facts.KeyReused,
        {"key": "k", "answers": ("REJECTED", "FILLED", "UNKNOWN")},
    ),
    "a key trades once": (
        0,
        facts.KeyReused,
        {"key": "k", "answers": ("REJECTED", "FILLED", "REJECTED")},
    ),
    "another record vouches": (2, facts.MarkAsked, {"is_same": False, "vouched": True}),
    "another record does not": (0, facts.MarkAsked, {"is_same": False, "vouched": False}),
    "the same record vouches": (0, facts.MarkAsked, {"is_same": True, "vouched": True}),
    "another journal is opened": (4, facts.OtherEnd, {"position": 5, "opened": True}),
    "another journal is refused": (0, facts.OtherEnd, {"position": 5, "opened": False}),
    "a former writer is served": (9, facts.TokensTold, {"told": ((2, True), (1, True))}),
    "the new writer was not served": (0, facts.TokensTold, {"told": ((2, False), (1, True))}),
    "writers come one after the other": (
        0,
        facts.TokensTold,
        {"told": ((1, True), (2, True), (2, True), (1, False))},
    ),
    "a fill has no price": (7, facts.FillTold, {"status": "FILLED", "price": 0.0, "lots": 0.1}),
    "a fill has no lots": (7, facts.FillTold, {"status": "FILLED", "price": 1.1, "lots": 0.0}),
    "a fill has both": (0, facts.FillTold, {"status": "FILLED", "price": 1.1, "lots": 0.1}),
    "nothing is known": (0, facts.FillTold, {"status": "UNKNOWN", "price": 0.0, "lots": 0.0}),
    "a word is taken for a fill": (
        7,
        facts.OddlyAnswered,
        {"bot": "A", "said": "PLACED", "status": "FILLED"},
    ),
    "a word leaves a doubt": (
        0,
        facts.OddlyAnswered,
        {"bot": "A", "said": "PLACED", "status": "IN_DOUBT"},
    ),
    "an event is left out": (7, facts.ReadByTime, {"rows": 5, "read": 4}),
    "all events come": (0, facts.ReadByTime, {"rows": 5, "read": 5}),
    "twins are whole": (3, facts.ListedTwice, {"twins": 1, "is_whole": True}),
    "twins are left out": (0, facts.ListedTwice, {"twins": 1, "is_whole": False}),
    "no twins": (0, facts.ListedTwice, {"twins": 0, "is_whole": True}),
}


@pytest.mark.parametrize("what", TRIED)
def test_what_is_tried_after_a_run_breaks_the_promise_that_it_is_about(what: str) -> None:
    promise, fact, fields = TRIED[what]
    found = [number for number, _ in opened().tell(fact, **fields).judged()]
    assert found == ([promise] if promise else [])


def test_every_run_ends_with_what_may_still_be_tried() -> None:
    seen: list[Fact] = []
    assert run(calm(0), tell=seen.append).is_good
    names = [type(fact).__name__ for fact in seen]
    after = names[names.index("Ended") :]
    tried = {fact.__name__ for _, fact, _ in TRIED.values()}
    assert tried <= set(after)
    # The acts do something: an order is filled, and one is refused.
    (reused,) = [fact for fact in seen if isinstance(fact, facts.KeyReused)]
    assert reused.answers == ("REJECTED", "FILLED", "REJECTED")
    (told,) = [fact for fact in seen if isinstance(fact, facts.TokensTold)]
    assert {is_served for _, is_served in told.told} == {True, False}


def said(history: History) -> list[int]:
    return [number for number, _ in history.judged()]


@pytest.mark.parametrize(
    ("asked", "broken"),
    [
        (("market", "buy", LOT, 0), []),
        (("market", "sell", LOT, 0), [2]),
        (("market", "buy", 2 * LOT, 0), [2]),
        (("market", "buy", LOT, 100), [2]),
        (None, []),
    ],
)
def test_a_key_names_the_order_that_was_asked_for_under_it(
    asked: tuple[str, str, int, int] | None, broken: list[int]
) -> None:
    acted = {"bot": "A", "order_id": "O1", "wish": "x", "status": "FILLED", "asked": asked}
    assert said(opened().tell(facts.Acted, **acted)) == broken


def closing(order_id: str, token: str, **fields: Any) -> dict[str, Any]:
    return {"order_id": order_id, "token": token, "side": "sell", "position": 100, **fields}


@pytest.mark.parametrize("first", [{}, {"kind": "close_by", "position": 99, "position_by": 100}])
def test_a_close_is_not_sent_while_another_one_of_the_position_is_in_doubt(
    first: dict[str, Any],
) -> None:
    history = opened().intent(**closing("O2", "tbbbbbbbb", **first)).send("O2", action="CLOSE")
    assert said(history) == []
    ended: dict[str, Any] = {"order_id": "O2", "error": "refused"}
    again = closing("O3", "tcccccccc")
    broken = opened().intent(**closing("O2", "tbbbbbbbb", **first))
    assert said(broken.intent(**again).send("O3", action="CLOSE")) == [2]
    kept = opened().intent(**closing("O2", "tbbbbbbbb", **first)).row("OrderRejected", **ended)
    assert said(kept.intent(**again).send("O3", action="CLOSE")) == []


def settled(lots: float) -> History:
    """One order whose reply was lost, and whose fill is recorded with these lots."""
    history = History().start().synced().intent().send().execute()
    fill: dict[str, Any] = {"symbol": "EURUSD", "side": "buy", "volume": lots, "price": 1.1}
    history.row("OrderSettled", order_id="O1", ticket=100, because="x", **fill)
    history.book = [held(100)]
    return history


def test_a_recorded_fill_has_the_lots_of_its_deals() -> None:
    assert said(settled(0.1).tell(facts.Agreed))[:1] != [2]
    sentences = [
        words for number, words in settled(0.05).tell(facts.Agreed).judged() if number == 2
    ]
    assert sentences == ["O1 is recorded with 0.05 lots, and its deals have 0.1"]


def test_the_lots_of_a_deal_that_was_taken_back_are_not_known() -> None:
    history = settled(0.05)
    history.tell(facts.DealStruck, login=LOGIN, ticket=1_000, identifier=100)
    assert not [n for n, _ in history.tell(facts.Agreed).judged() if n == 2]


def test_the_counted_deals_of_a_position_come_to_its_result() -> None:
    assert said(opened().look(booked=((100, -500, -500),))) == []
    assert said(opened().look(booked=((100, -500, 0),))) == [1]


def moved(history: History) -> History:
    """Take other stops into the book."""
    local = {"identifier": 100, "sl": 1.0}
    remote = {"identifier": 100, "sl": 1.05}
    history.tell(facts.PositionShown, login=LOGIN, position=held(sl=1.05))
    return history.row("PositionCorrected", local=local, remote=remote, fields=["sl"])


def test_a_yes_is_used_up_by_the_change_that_it_was_for() -> None:
    asking = msgspec.structs.replace(SCOPE, asks="protection")
    yes = {"bot": "A", "identifier": 100}
    once = moved(opened().tell(facts.Approved, **yes))
    assert [n for n, _ in once.judged(asking) if n == 8] == []
    assert [n for n, _ in moved(once).judged(asking) if n == 8] == [8]
    again = moved(opened().tell(facts.Approved, **yes)).tell(facts.Approved, **yes)
    assert [n for n, _ in moved(again).judged(asking) if n == 8] == []
