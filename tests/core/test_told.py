"""What a person says of an order in doubt, and which answer the person reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.doubt.manual import hear, not_in_doubt
from trueup.core.doubt.trace import Trace
from trueup.core.look.inputs import Statement
from trueup.core.model import History, Snapshot
from trueup.core.recovery import BrokerShows

ORDER = make.sent()
NEVER = Statement("Mary", make.NOW_NS)
FITS = "fits 2 (order 7, order 8), or other orders fit the same one"
SEVEN = Trace(BrokerShows.OPEN, "if it is that one", ticket=7, position=70, volume=0.1, price=1.05)
EIGHT = msgspec.structs.replace(SEVEN, ticket=8, position=80)


def left_to_a_person(*candidates: Trace) -> Trace:
    return Trace(BrokerShows.UNSEEN, FITS, needs_person=True, candidates=candidates)


def answer(told: Statement, trace: Trace, snapshot: Snapshot | None = None) -> Trace | str:
    seen = make.proven(history=History(120)) if snapshot is None else snapshot
    return hear(told, ORDER, trace, seen, make.book_with(ORDER, make.sent("B", ticket=30)))


def is_it(ticket: int) -> Statement:
    return Statement("Mary", make.NOW_NS, ticket)


@pytest.mark.parametrize(
    ("shows", "said"),
    [
        (BrokerShows.UNSEEN, "WORDS. It waits for a reading that shows more."),
        (BrokerShows.NO_TRACE, "WORDS. Syncs settle it by themselves."),
        (
            BrokerShows.OPEN,
            "the broker shows that it was executed, WORDS. Syncs settle it by themselves.",
        ),
        (
            BrokerShows.CLOSED,
            "the broker shows that it was executed, WORDS. Syncs settle it by themselves.",
        ),
    ],
)
@pytest.mark.parametrize("told", [NEVER, is_it(7)])
def test_where_the_broker_tells_a_person_is_not_heard_and_reads_why(
    told: Statement, shows: BrokerShows, said: str
) -> None:
    assert answer(told, Trace(shows, "WORDS")) == f"A is not left to a person: {said}"


def test_never_executed_is_final_and_in_the_name_of_the_person() -> None:
    assert answer(NEVER, left_to_a_person(SEVEN, EIGHT)) == Trace(
        BrokerShows.NO_TRACE,
        f"Mary says that it was never executed, though it {FITS}",
        is_final=True,
        by="Mary",
    )


@pytest.mark.parametrize("comment", [make.TOKEN[:4], make.TOKEN[:5]])
def test_never_executed_is_not_heard_where_a_comment_begins_like_the_token(comment: str) -> None:
    cut = msgspec.structs.replace(EIGHT, comment=comment)
    assert answer(NEVER, left_to_a_person(SEVEN, cut)) == (
        f"Order 8 shows the beginning of the token of A ({comment}), "
        "so it cannot be said that this was never executed."
    )


@pytest.mark.parametrize("named", [8, 80], ids=["by its ticket", "by its position"])
def test_the_one_that_is_named_is_the_order_in_the_name_of_the_person(named: int) -> None:
    assert answer(is_it(named), left_to_a_person(SEVEN, EIGHT)) == msgspec.structs.replace(
        EIGHT, words=f"Mary says that it is order 8; it {FITS}", by="Mary"
    )


def test_a_ticket_comes_before_a_position_of_the_same_number() -> None:
    """On a netting account an order's ticket may be the identifier of another's position."""
    both = left_to_a_person(msgspec.structs.replace(EIGHT, position=7), SEVEN)
    heard = answer(is_it(7), both)
    assert isinstance(heard, Trace)
    assert heard.ticket == 7


def test_a_position_that_several_changed_names_none_of_them() -> None:
    shared = msgspec.structs.replace(EIGHT, position=70)
    assert answer(is_it(70), left_to_a_person(SEVEN, shared)) == (
        "70 is the position of several orders that fit, name one: 7, 8."
    )


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        (30, "it is B's"),
        (31, "it is in GBPUSD, and EURUSD was meant"),
        (32, "the broker shows no order of that ticket since it was sent"),
    ],
)
def test_what_cannot_be_the_order_is_not_heard_and_it_reads_why_and_what_could(
    ticket: int, why: str
) -> None:
    history = History(120, (make.past_order(31, symbol="GBPUSD"),))
    assert answer(is_it(ticket), left_to_a_person(SEVEN, EIGHT), make.proven(history=history)) == (
        f"{ticket} cannot be A: {why}. What fits: 7, 8."
    )


def test_what_the_broker_has_not_finished_with_is_not_heard_yet() -> None:
    working = Trace(BrokerShows.UNSEEN, "the broker still works on it", ticket=7)
    assert answer(is_it(7), left_to_a_person(working)) == (
        "Order 7 cannot be taken for A yet: the broker still works on it."
    )


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"status": OrderStatus.FILLED, "ticket": 7}, "A is FILLED, ticket 7, not in doubt."),
        (
            {"status": OrderStatus.REJECTED, "error": "10019 NO_MONEY"},
            "A is REJECTED, not in doubt: 10019 NO_MONEY.",
        ),
        (
            {"status": OrderStatus.CANCELED, "ticket": 7, "error": "case G"},
            "A is CANCELED, ticket 7, not in doubt: case G.",
        ),
    ],
)
def test_of_an_order_that_is_not_in_doubt_it_reads_what_became_of_it(
    order: dict[str, Any], said: str
) -> None:
    assert not_in_doubt("A", make.book_with(make.sent(**order))) == said


def test_of_an_order_that_the_book_does_not_have_it_reads_which_are_in_doubt() -> None:
    book = make.book_with(make.sent("B"))
    assert not_in_doubt("A", book) == "The book has no order 'A'. In doubt: none."
    book.in_doubt = {"B": make.sent("B"), "C": make.sent("C")}
    assert not_in_doubt("A", book) == "The book has no order 'A'. In doubt: B, C."
