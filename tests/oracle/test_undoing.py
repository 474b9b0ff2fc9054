"""What a reading may take back, and what needs a yes, is judged by the journal and the broker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.oracle.histories import LOGIN, LOT, OURS, SCOPE, SEC, TOKEN, History, held
from trueup.lab.facts import facts
from trueup.lab.facts.facts import Scope
from trueup.lab.oracle.judge import Judge

NETTING = Scope(LOGIN, frozenset({"EURUSD"}), netting=True)
ASKING = msgspec.structs.replace(SCOPE, asks="protection")


def judged(history: History, scope: Scope = SCOPE) -> list[tuple[int, str]]:
    judge = Judge(scope)
    for fact in history.facts:
        judge.observe(fact)
    return [(one.invariant, one.sentence) for one in judge.verdicts()]


def row(identifier: int, **changes: Any) -> dict[str, Any]:
    """A position as a row of the journal has it."""
    return {"ticket": identifier, "identifier": identifier, "symbol": "EURUSD", **changes}


def closed_by_us(history: History) -> History:
    """Our order B closes position 100."""
    history.row(
        "OrderCreated", order_id="B", symbol="EURUSD", side="sell", volume=0.1, position=100
    )
    return history.row("OrderFilled", order_id="B", symbol="EURUSD", ticket=101, volume=0.1)


@pytest.mark.parametrize(("asked_ago", "is_wrong"), [(5, True), (1, False)])
def test_a_reading_of_before_our_own_fill_corrects_nothing(asked_ago: int, is_wrong: bool) -> None:
    history = History().start()
    history.tell(facts.PositionShown, login=LOGIN, position=held(units=2 * LOT))
    history.row("OrderCreated", order_id="B", symbol="EURUSD", side="buy", volume=0.1)
    history.row("OrderFilled", order_id="B", symbol="EURUSD", ticket=100, volume=0.1)
    history.row("PositionCorrected", local=row(100), remote=row(100), fields=["volume"])
    history.synced(asked_ns=history.now_ns - asked_ago * SEC)
    said = [text for _, text in judged(history) if "before its own fill" in text]
    assert bool(said) is is_wrong


@pytest.mark.parametrize(("later", "is_wrong"), [(1, True), (60, False)])
def test_a_late_list_does_not_bring_back_what_our_own_order_closed(
    later: int, is_wrong: bool
) -> None:
    history = closed_by_us(History().start())
    history.now_ns += later * SEC
    history.row("PositionAdopted", position=row(100))
    history.synced(asked_ns=history.now_ns)
    said = [text for _, text in judged(history) if "its own order had closed" in text]
    assert bool(said) is is_wrong


@pytest.mark.parametrize(("after_sec", "is_wrong"), [(2, False), (-2, True)])
def test_what_the_broker_gave_back_after_our_own_close_is_rightly_taken_in(
    after_sec: int, *, is_wrong: bool
) -> None:
    """Seed 9034219: somebody closed it again before the journal had it."""
    history = History().start()

    def cancel_a_deal() -> None:
        deal: dict[str, Any] = {"login": LOGIN, "ticket": 950, "order": 101, "identifier": 100}
        deal |= {"symbol": "EURUSD", "buys": False, "price": 1.1, "entry": 1, "reason": 3}
        for units in (LOT, 0):
            history.tell(facts.DealBooked, **deal, units=units, result_units=0)

    if after_sec < 0:
        cancel_a_deal()
    closed_by_us(history)
    if after_sec > 0:
        cancel_a_deal()
    history.row("PositionAdopted", position=row(100))
    history.synced(asked_ns=history.now_ns)
    said = [text for _, text in judged(history) if "its own order had closed" in text]
    assert bool(said) is is_wrong


def test_what_came_and_went_is_told_as_both_and_brings_nothing_back() -> None:
    history = closed_by_us(History().start())
    history.row("PositionAdopted", position=row(100))
    history.row("PositionClosed", position=row(100), because="x")
    history.synced(asked_ns=history.now_ns)
    assert not [text for _, text in judged(history) if "its own order had closed" in text]


@pytest.mark.parametrize(("says_yes", "is_wrong"), [(True, False), (False, True)])
def test_stops_that_wait_for_a_yes_are_taken_after_it(says_yes: bool, is_wrong: bool) -> None:
    history = History().start()
    if says_yes:
        history.tell(facts.Approved, bot="A", identifier=100)
    remote = row(100, sl=1.05)
    history.row("PositionCorrected", local=row(100), remote=remote, fields=["sl"])
    said = [text for number, text in judged(history, ASKING) if "without a yes" in text]
    assert bool(said) is is_wrong


@pytest.mark.parametrize(("lots", "is_wrong"), [(1, False), (2, True)])
def test_each_strategy_answers_for_the_lots_that_its_orders_brought(
    lots: int, is_wrong: bool
) -> None:
    history = History().start()
    history.row(
        "OrderCreated",
        order_id="A",
        token=TOKEN,
        symbol="EURUSD",
        side="buy",
        volume=0.1,
        magic=OURS,
        wire_magic=OURS,
    )
    history.tell(
        facts.Requested,
        login=LOGIN,
        action=1,
        symbol="EURUSD",
        buys=True,
        units=LOT,
        magic=OURS,
        comment=TOKEN,
        done=True,
        retcode=10009,
        order=100,
        position=0,
        sl=0.0,
        tp=0.0,
    )
    deal: dict[str, Any] = {"login": LOGIN, "ticket": 900, "order": 100, "identifier": 100}
    history.tell(
        facts.DealBooked,
        **deal,
        symbol="EURUSD",
        buys=True,
        units=LOT,
        price=1.1,
        entry=0,
        reason=3,
        result_units=0,
        magic=OURS,
        time_msc=0,
    )
    history.tell(facts.PositionShown, login=LOGIN, position=held())
    history.tell(
        facts.BookSeen,
        bot="A",
        version=history.position,
        positions=(held(),),
        results=(),
        strategies=(("EURUSD", OURS, lots * LOT),),
    )
    history.tell(facts.Agreed)
    said = [text for _, text in judged(history, NETTING) if "were brought by it" in text]
    assert bool(said) is is_wrong


def test_a_key_stands_for_one_intent_in_the_journal() -> None:
    history = History().start()
    for order_id in ("A", "B"):
        history.row(
            "OrderCreated", order_id=order_id, symbol="EURUSD", side="buy", volume=0.1, key="k"
        )
    (said,) = [text for number, text in judged(history) if number == 2]
    assert said == "key k is A in the journal, and B as well"
