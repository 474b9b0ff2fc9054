"""A run is judged in money: what the book counted, against the broker's own deals."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.oracle.histories import LOGIN, SCOPE, SEC, History, held, opened
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.oracle.base.truth import Truth


def ended(history: History, *results: tuple[int, int], **seen: Any) -> list[str]:
    """End a run with these results in the book, and return what is said about money."""
    total = sum(units for _, units in results)
    history.tell(facts.Healed).synced()
    history.look(**{"results": results, "realised_units": total, **seen}).tell(facts.Ended)
    return [said for number, said in history.judged() if number == 1]


def stopped() -> History:
    """A position of ours that its stop closed, and the book knows."""
    return opened().stopped().closed()


def deal(history: History, ticket: int, identifier: int, **fields: Any) -> History:
    """Let the broker book any deal."""
    known = {"order": 0, "symbol": "EURUSD", "buys": False, "units": 0, "price": 1.1}
    known |= {"entry": 0, "reason": 0, "result_units": 0}
    told = {**known, **fields}
    return history.tell(facts.DealBooked, login=LOGIN, ticket=ticket, identifier=identifier, **told)


def test_the_brokers_own_results_are_right() -> None:
    assert ended(stopped(), (100, -500)) == []


def test_a_result_that_is_a_cent_off_is_named_with_its_strategy_and_position() -> None:
    cent = 1_000_000
    (said,) = ended(stopped(), (100, -500 + cent))
    assert "for magic 7" in said
    assert "position 100" in said


def test_two_errors_in_one_strategy_that_cancel_out_are_an_error_in_all() -> None:
    history = stopped()
    assert ended(history, (100, -500), realised_units=-499) != []


def test_what_is_charged_on_a_deal_after_its_position_was_closed_is_due() -> None:
    late = {"entry": 1, "reason": mt5.DEAL_REASON_SL, "order": 600, "units": 10_000_000}
    history = deal(stopped(), 2_100, 100, result_units=-700, **late)
    assert ended(history, (100, -500)) != []


def test_a_position_that_an_order_of_ours_opened_and_no_look_ever_showed_is_due() -> None:
    history = opened().intent("O2", token="tbbbbbbbb").execute(101, "tbbbbbbbb").stopped(101)
    assert ended(history.stopped().closed(), (100, -500)) != []


def test_a_position_that_the_server_lied_about_is_due_only_if_the_book_had_it() -> None:
    history = opened().intent("O2", token="tbbbbbbbb").execute(101, "tbbbbbbbb").stopped(101)
    history.tell(facts.Faulted, kind="REFUSED_EXECUTED", what="a lie", order_id="O2")
    history.row("OrderRejected", order_id="O2", error="market closed")
    assert ended(history.stopped().closed(), (100, -500)) == []
    history = opened().intent("O2", token="tbbbbbbbb").execute(101, "tbbbbbbbb")
    history.tell(facts.Faulted, kind="REFUSED_EXECUTED", what="a lie", order_id="O2")
    history.row("PositionAdopted", position={"identifier": 101, "ticket": 101}).stopped(101)
    assert ended(history.stopped().closed(), (100, -500)) != []


def test_a_position_of_somebody_else_is_not_to_be_counted() -> None:
    history = deal(stopped(), 3_000, 700, result_units=-900)
    assert ended(history, (100, -500)) == []
    history = deal(stopped(), 3_000, 700, result_units=-900)
    assert ended(history, (100, -500), (700, -900)) != []


def test_the_position_as_which_a_rollover_goes_on_is_due() -> None:
    rollover = {"reason": mt5.DEAL_REASON_ROLLOVER, "units": 10_000_000}
    history = deal(opened(), 3_000, 100, entry=1, result_units=-300, **rollover)
    history.tell(facts.PositionLeft, login=LOGIN, identifier=100)
    history = deal(history, 3_001, 701, entry=0, result_units=-40, **rollover).closed()
    assert ended(history, (100, -300)) != []


def test_what_a_position_was_rolled_into_is_not_due_where_its_symbol_is_not_the_bots() -> None:
    rollover = {"reason": mt5.DEAL_REASON_ROLLOVER, "units": 10_000_000}
    history = deal(opened(), 3_000, 100, entry=1, result_units=-300, **rollover)
    history.tell(facts.PositionLeft, login=LOGIN, identifier=100)
    next_one = {**rollover, "symbol": "EURUSD_DEC"}
    history = deal(history, 3_001, 701, entry=0, result_units=-40, **next_one).closed()
    assert ended(history, (100, -300)) == []


def test_a_deal_that_was_struck_out_may_be_counted_or_not_and_no_other_money() -> None:
    def struck() -> History:
        history = deal(stopped(), 3_000, 100, result_units=-70)
        return history.tell(
            facts.DealStruck, login=LOGIN, ticket=3_000, identifier=100, result_units=-70
        )

    assert ended(struck(), (100, -500)) == []
    assert ended(struck(), (100, -570)) == []
    assert ended(struck(), (100, -569)) != []


def test_a_deal_that_was_struck_out_may_be_counted_as_it_was_before_it_was_amended() -> None:
    """Seed 9049420."""
    sums = {-570: True, -555: True, -500: True, -515: False, -625: False}
    for counted, is_right in sums.items():
        history = deal(stopped(), 3_000, 100, order=600, result_units=-55)
        deal(history, 3_000, 100, order=600, result_units=-70)
        history.tell(facts.DealStruck, login=LOGIN, ticket=3_000, identifier=100, result_units=-70)
        assert (ended(history, (100, counted)) == []) is is_right, counted


def adopted(history: History, result_units: int = -60) -> History:
    """Let somebody open a position under our number, at a cost, and the book adopt it."""
    history = deal(history, 3_000, 700, units=10_000_000, buys=True, result_units=result_units)
    return history.row("PositionAdopted", position={"identifier": 700, "ticket": 700})


def test_an_adopted_position_adds_nothing_or_all_until_it_has_a_new_deal_and_then_all() -> None:
    assert ended(adopted(stopped()), (100, -500)) == []
    assert ended(adopted(stopped()), (100, -500), (700, -60)) == []
    assert ended(adopted(stopped()), (100, -500), (700, -59)) != []
    history = deal(adopted(stopped()), 3_001, 700, entry=1, units=10_000_000, result_units=5)
    assert ended(history, (100, -500)) != []
    history = deal(adopted(stopped()), 3_001, 700, entry=1, units=10_000_000, result_units=5)
    assert ended(history, (100, -500), (700, -55)) == []


def explained(seconds: int, *results: int) -> list[str]:
    """What is said of an exit that is told so many seconds after its deal was amended last."""
    history = opened().stopped()
    for result_units in (*results, -570):
        history.deal(2_100, 600, closes=100, result_units=result_units)
    history.now_ns += (seconds - 1) * SEC
    return [said for number, said in history.closed().judged() if number == 7]


def test_what_the_broker_amends_while_a_look_is_under_way_the_next_one_shows() -> None:
    assert explained(1) == []
    # Also where a deal was amended twice since, or an exit was cancelled.
    assert explained(1, -550) == []
    (said,) = explained(12)
    assert "realised" in said


@pytest.mark.parametrize(("seconds", "is_wrong"), [(1, False), (12, True)])
def test_an_exit_that_is_cancelled_while_a_look_is_under_way_is_told_by_the_next_one(
    seconds: int, *, is_wrong: bool
) -> None:
    """Seed 9041135."""
    history = opened().stopped()
    fields: dict[str, Any] = {"login": LOGIN, "ticket": 2_100, "order": 600, "identifier": 100}
    fields |= {"symbol": "EURUSD", "buys": False, "units": 0, "price": 1.1, "entry": 1}
    history.tell(facts.DealBooked, **fields, reason=4, result_units=-500)
    history.now_ns += (seconds - 1) * SEC
    said = [said for number, said in history.closed().judged() if number == 7]
    assert bool(said) is is_wrong


@pytest.mark.parametrize(("seconds", "is_wrong"), [(1, False), (13, True)])
def test_the_rest_of_a_pending_order_opens_its_closed_position_again(
    seconds: int, *, is_wrong: bool
) -> None:
    """Seed 21008441: it is filled while a look that shows the close is under way."""
    history = opened().synced().stopped()
    history.deal(1_101, 100)
    history.tell(facts.PositionShown, login=LOGIN, position=held())
    history.now_ns += (seconds - 1) * SEC
    if is_wrong:
        history.synced()
    said = [number for number, _ in history.closed().judged() if number in (3, 7)]
    assert said == ([3, 7] if is_wrong else [])


def test_a_deal_that_is_told_again_opens_no_closed_position_and_has_its_new_symbol() -> None:
    """Seed 21027106: the symbol of a closed position got another name, and its own again."""
    truth = Truth(SCOPE)
    for fact in opened().stopped().facts:
        truth.take(fact)
    for deal in list(truth.deals[100].values()):
        truth.take(msgspec.structs.replace(deal, at_ns=deal.at_ns + SEC, symbol="EURUSD.m"))
    assert (truth.given_back_ns, truth.symbol_of[100]) == ({}, "EURUSD.m")


@pytest.mark.parametrize(("seconds", "is_wrong"), [(0, True), (1, False), (12, True)])
def test_the_reason_of_an_exit_is_that_of_its_last_deal_unless_one_was_cancelled_meanwhile(
    seconds: int, *, is_wrong: bool
) -> None:
    """Seed 21019795: the bot tells what it was shown before the last deal was cancelled."""
    history = opened().deal(2_100, 600, closes=100)
    if seconds:
        cancelled: dict[str, Any] = {"login": LOGIN, "ticket": 2_101, "order": 601}
        cancelled |= {"identifier": 100, "symbol": "EURUSD", "buys": False, "price": 1.1}
        cancelled |= {"entry": 1, "reason": 3, "result_units": 0}
        history.tell(facts.DealBooked, **cancelled, units=1)
        history.tell(facts.DealBooked, **cancelled, units=0)
        history.now_ns += (seconds - 1) * SEC
    history.row(
        "DealsRecorded",
        position={"identifier": 100, "ticket": 100, "symbol": "EURUSD"},
        deals=[1_000, 2_100, 2_101],
        realised_units=0,
        because="closed in part by a program: 0.10 lots at 1.1",
    )
    said = [said for number, said in history.judged() if number == 7 and "an exit" in said]
    assert bool(said) is is_wrong
