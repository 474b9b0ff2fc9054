"""What is said of an order in doubt, and which events end it, to the word."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.holds import HoldKind
from trueup.core.look.absence import Absence
from trueup.core.look.inputs import NO_STATEMENTS, Statement, Statements
from trueup.core.model import DealReason, Entry, History, HistoryOrder, Position, Side
from trueup.core.policy import Adopt, Policy
from trueup.core.sync.plan import Plan
from trueup.runtime.story.audit import entry

TOKEN = "tabcdefgh"
NOW_NS = make.NOW_NS + make.SECOND_NS


def past(ticket: int = 7, state: str = "filled", filled: float = 0.1, **more: Any) -> HistoryOrder:
    facts: dict[str, Any] = {"comment": TOKEN, "position": ticket}
    symbol = more.pop("symbol", "EURUSD")
    return HistoryOrder(ticket, symbol, Side.BUY, 0.1, filled, state, **(facts | more))


def doubtful(**more: Any) -> Book:
    book = make.bound_book()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, **({"token": TOKEN} | more))
    return book


def looked(
    *positions: Position,
    orders: Any = (),
    deals: Any = (),
    book: Book | None = None,
    **more: Any,
) -> Plan:
    """The plan of a reading whose history has these orders and deals."""
    seen = make.proven(*positions, history=History(120, orders, deals))
    return make.planned(book or doubtful(), seen, **more)


def waits(plan: Plan) -> str:
    """Why it goes on waiting."""
    (hold,) = (h for h in plan.holds if h.kind is HoldKind.DOUBT)
    assert not any(isinstance(event, events.OrderEvent) for event in plan.events)
    return hold.what.removeprefix("Order in doubt: BUY 0.10L EURUSD (A), ")


# It was filled.


def test_case_d_settles_it_with_what_was_done_and_at_which_price() -> None:
    book = doubtful()
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(7, volume=0.1)))
    deals = (make.deal(1, 7, Side.BUY, 0.1, price=1.06),)
    plan = looked(make.position(7, volume=0.1), orders=(past(),), deals=deals, book=book)
    settled, counted = plan.events
    assert settled == events.OrderSettled(
        at_ns=NOW_NS,
        order_id="A",
        ticket=7,
        volume=0.1,
        price=1.06,
        because="case D: it was filled and the answer was lost (by its token)",
    )
    # Its position was in the book as the list has it, so no difference brings its deals along.
    assert isinstance(counted, events.DealsRecorded)
    assert (counted.position.identifier, counted.deals) == (7, (1,))
    assert plan.holds == ()


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_orders_that_bear_its_token_the_first_is_it_in_whatever_order_they_are_told(
    *, is_reversed: bool
) -> None:
    orders = [past(7), past(9, position=7)]
    deals = (
        make.deal(1, 7, Side.BUY, 0.1, price=1.06),
        make.deal(2, 7, Side.BUY, 0.1, order=9, price=1.07),
    )
    told = tuple(reversed(orders)) if is_reversed else tuple(orders)
    plan = looked(make.position(7, volume=0.1), orders=told, deals=deals)
    (settled,) = (one for one in plan.events if isinstance(one, events.OrderSettled))
    assert (settled.ticket, settled.price) == (7, 1.06)


@pytest.mark.parametrize("comment", [TOKEN, ""], ids=["by its token", "by the record"])
def test_the_order_of_a_position_that_was_opened_again_is_the_one_that_the_record_has(
    comment: str,
) -> None:
    again = make.position(20, identifier=7, volume=0.1, comment=comment)
    said = RequestStatus("A", RequestState.SETTLED, status="FILLED", ticket=7, price=1.06)
    seen = make.proven(again, history=History(120), requests=(said,))
    plan = make.planned(doubtful(), seen)
    (settled,) = (one for one in plan.events if isinstance(one, events.OrderSettled))
    assert settled.ticket == 7


OPENED = make.deal(1, 7, Side.BUY, 0.1, magic=3, time_msc=5_500_500, price=1.05)
CLOSED = make.deal(
    2,
    7,
    Side.SELL,
    0.1,
    entry=Entry.OUT,
    order=70,
    price=1.06,
    profit=100.0,
    reason=DealReason.TAKE_PROFIT,
    time_msc=6_000_000,
)


def test_case_e_records_entry_and_exit_of_what_came_and_went() -> None:
    plan = looked(orders=(past(),), deals=(OPENED, CLOSED))
    because = "case E: it was filled and has closed since (by its token)"
    settled, adopted, closed = plan.events
    assert settled == events.OrderSettled(
        at_ns=NOW_NS, order_id="A", ticket=7, volume=0.1, price=1.05, because=because
    )
    position = Position(
        ticket=7,
        identifier=7,
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.1,
        price_open=1.05,
        magic=3,
        time=5_500,
        time_msc=5_500_500,
    )
    assert adopted == events.PositionAdopted(at_ns=NOW_NS, position=position)
    assert isinstance(closed, events.PositionClosed)
    assert (closed.position, closed.at_ns) == (position, NOW_NS)
    said = "closed by its take profit: 0.10 lots at 1.06, profit 100.00"
    assert closed.because.startswith(f"{because}; {said}")
    assert (closed.unproven, closed.realised_units) == (False, 10_000_000_000)
    assert closed.ended is not None
    book = doubtful().replay(plan.events)
    assert (book.holdings, book.in_doubt, book.realised) == ({}, {}, 100.0)


def test_what_is_in_the_book_already_is_not_recorded_a_second_time() -> None:
    book = doubtful()
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(7, volume=0.1)))
    plan = looked(orders=(past(),), deals=(OPENED, CLOSED), book=book, after_sec=20)
    assert isinstance(plan.events[0], events.OrderSettled)
    assert not any(isinstance(event, events.PositionAdopted) for event in plan.events)


def test_deals_that_close_without_an_entry_are_recorded_by_their_settlement_alone() -> None:
    """A cut history: nothing is made up about how it began."""
    other = make.deal(1, 7, Side.BUY, 0.1, entry=Entry.OUT_BY)
    plan = looked(orders=(past(),), deals=(other, CLOSED))
    assert [type(event).__name__ for event in plan.events] == ["OrderSettled"]


def test_executed_and_not_visible_yet_is_waited_for() -> None:
    assert waits(looked(orders=(past(),), deals=(OPENED,))) == (
        "case A: the broker cannot be seen in full "
        "(it was executed, and its position is not visible yet)"
    )


# It left no trace.


LEFT_MSC = make.NOW_NS // 1_000_000
AGAIN = {"A": Absence(make.NOW_NS, LEFT_MSC - 15_000, LEFT_MSC - 5_000)}
"""What the looks before came to, so that one more that shows nothing settles it."""


def test_what_shows_nowhere_is_waited_for() -> None:
    plan = looked(after_sec=99)
    nothing = "(nothing fits in the last 120 s of history)"
    assert waits(plan) == f"case F: it may still be working {nothing}"
    asked_ns = make.NOW_NS + 99 * make.SECOND_NS
    assert plan.absences == (("A", Absence(asked_ns, LEFT_MSC)),)


def test_what_has_shown_nowhere_for_long_enough_is_given_up() -> None:
    plan = looked(after_sec=10, absences=AGAIN)
    (event,) = plan.events
    nothing = "(nothing fits in the last 120 s of history)"
    assert isinstance(event, events.OrderCanceled)
    assert event.because == f"case G: a settled reading has no trace of it {nothing}"
    assert (event.order_id, event.at_ns) == ("A", make.NOW_NS + 10 * make.SECOND_NS)
    assert plan.holds == ()


def test_what_shows_or_cannot_be_seen_is_not_absent() -> None:
    assert looked(make.position(7, volume=0.1), orders=(past(),)).absences == ()
    unseen = make.proven(history=None)
    assert make.planned(doubtful(), unseen, absences=AGAIN).absences == ()


def test_what_the_history_says_was_refused_needs_no_grace_period() -> None:
    (event,) = looked(orders=(past(state="rejected", filled=0.0),), after_sec=1).events
    assert isinstance(event, events.OrderCanceled)
    assert "the history has it as rejected, by its token" in event.because


def test_an_order_that_was_sent_after_the_question_is_not_judged_by_its_answer() -> None:
    book = doubtful()
    plan = looked(book=book, after_sec=99, asked_version=book.version - 1)
    assert waits(plan).endswith("(it was sent after the broker was asked)")
    assert looked(book=book, after_sec=99, absences=AGAIN).events != ()


def test_a_refusal_that_the_gateways_record_kept_is_case_h() -> None:
    said = RequestStatus("A", RequestState.SETTLED, status="REJECTED", error="no money (10019)")
    seen = make.proven(history=History(120), requests=(said,))
    (event,) = make.planned(doubtful(), seen).events
    assert event == events.OrderRejected(
        at_ns=NOW_NS,
        order_id="A",
        error="no money (10019)",
        because=(
            "case H: refused, and the broker has nothing (the gateway's record has it as refused)"
        ),
    )


# A change, a cancellation, a pending order.


def test_a_change_that_took_effect_is_applied_and_has_no_volume() -> None:
    held = make.position(7, volume=0.1, sl=1.0)
    book = make.bound_book(held)
    make.put_in_doubt(book, "A", Side.BUY, 0.1, kind=OrderKind.MODIFY, position=7, sl=1.0)
    (event,) = looked(held, book=book).events
    assert event == events.OrderApplied(at_ns=NOW_NS, order_id="A", ticket=0)


def test_a_limit_order_that_works_is_applied_under_its_ticket() -> None:
    book = doubtful(kind=OrderKind.LIMIT, price=1.05)
    seen = make.proven(orders=(make.pending(50, comment=TOKEN),), history=History(120))
    event = make.planned(book, seen).events[0]
    assert event == events.OrderApplied(at_ns=NOW_NS, order_id="A", ticket=50)


# More than one fits.


def test_two_that_fit_are_listed_for_a_person() -> None:
    orders = (past(7, comment=""), past(8, comment=""))
    plan = looked(
        make.position(7, volume=0.1), make.position(8, volume=0.1), orders=orders, after_sec=99
    )
    assert waits(plan) == (
        "Order in doubt: BUY 0.10L EURUSD (A) fits 2 (order 7, order 8), or other orders fit the "
        "same one; say what it is with `trueup settle A`, or on_fill() in code"
    ).removeprefix("Order in doubt: BUY 0.10L EURUSD (A), ")


def test_a_person_names_the_pending_order_that_it_is_and_is_named_with_it() -> None:
    book = doubtful(kind=OrderKind.LIMIT, price=1.05)
    working = tuple(
        make.pending(ticket, volume=0.1, price_open=1.05, comment="") for ticket in (50, 51)
    )
    seen = make.proven(orders=working, history=History(120))
    assert "fits 2 (order 50, order 51)" in waits(make.planned(book, seen))
    told = {"A": Statement("Mary", NOW_NS, 51)}
    event = make.planned(book, seen, told=told).events[0]
    assert event == events.OrderApplied(at_ns=NOW_NS, order_id="A", ticket=51, by="Mary")
    assert entry(event)["details"] == "Order A took effect, assumed: Mary says so"


def test_a_word_is_not_heard_for_what_was_executed_and_does_not_show_in_full_yet() -> None:
    unseen = past(7, comment="", position=7), past(8, comment="", position=8)
    plan = looked(orders=unseen, told={"A": Statement("Mary", NOW_NS, 7)}, after_sec=99)
    assert "fits 2 (order 7, order 8)" in waits(plan)


# A wire with neither tokens nor history.


def guided(*positions: Position, book: Book, told: Statements = NO_STATEMENTS, **more: Any) -> Plan:
    return make.planned(book, make.snapshot(*positions, **more), after_sec=1, told=told)


def test_on_the_guides_wire_the_only_difference_that_fits_is_it() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    event = guided(make.position(7, volume=0.1), book=book).events[0]
    assert isinstance(event, events.OrderSettled)
    assert event.because == (
        "case D: it was filled and the answer was lost (the only difference that fits)"
    )
    assert (event.ticket, event.volume, event.price) == (7, 0.1, 1.0543)


def test_a_late_list_with_what_we_closed_a_moment_ago_settles_no_order_in_doubt() -> None:
    """On the guide's wire the list is all there is, and it may still have what our close ended."""
    book = make.book_of(make.position(7, volume=0.1))
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    book.apply(make.created("B", Side.SELL, 0.1, position=7))
    book.apply(events.SendStarted(at_ns=NOW_NS, order_id="B"))
    book.apply(make.filled("B", 9, Side.SELL, 0.1, 1.05))
    assert not book.holdings
    plan = guided(make.position(7, volume=0.1), book=book)
    assert not [one for one in plan.events if isinstance(one, events.OrderSettled)]
    assert "it may still be working (no difference fits)" in waits(plan)


def test_a_position_with_another_orders_token_is_not_what_an_order_in_doubt_opened() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    others = make.position(7, volume=0.1, comment="tmlk4cdpr")
    assert "no difference fits" in waits(guided(others, book=book))


def test_on_the_guides_wire_what_proves_to_be_our_order_needs_no_yes() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    policy = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({9}), adopt=Adopt.ASK)
    rows = make.position(7, volume=0.1), make.position(8, volume=0.2)
    plan = make.planned(book, make.snapshot(*rows), policy=policy)
    assert [type(event).__name__ for event in plan.events] == ["OrderSettled", "PositionAdopted"]
    assert [(hold.kind, hold.identifier) for hold in plan.holds] == [(HoldKind.ASK, 8)]


def test_a_close_in_doubt_is_settled_by_the_position_that_has_gone_and_not_by_its_price() -> None:
    book = make.book_of(make.position(7, volume=0.1))
    make.put_in_doubt(book, "A", Side.SELL, 0.1, position=7)
    event = guided(book=book).events[0]
    assert isinstance(event, events.OrderSettled)
    assert (event.ticket, event.volume, event.price) == (7, 0.1, None)


def test_two_differences_that_fit_are_listed_by_ticket() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    two = make.position(7, volume=0.1), make.position(8, volume=0.1)
    assert "fits 2 (ticket 7, ticket 8)" in waits(guided(*two, book=book))


def test_a_person_names_one_of_two_differences() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    two = make.position(7, volume=0.1), make.position(8, volume=0.1)
    event = guided(*two, book=book, told={"A": Statement("Mary", NOW_NS, 8)}).events[0]
    assert isinstance(event, events.OrderSettled)
    assert (event.ticket, event.volume, event.by) == (8, 0.1, "Mary")


def test_one_difference_for_two_orders_is_neither_ones() -> None:
    book = make.book_of()
    for order_id in ("A", "B"):
        make.put_in_doubt(book, order_id, Side.BUY, 0.1)
    plan = guided(make.position(7, volume=0.1), book=book)
    assert ["fits 1 (ticket 7)" in hold.what for hold in plan.holds] == [True, True]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "case F: it may still be working (no difference fits)"),
        (
            {"faults": ("row 3",)},
            "case A: the broker cannot be seen in full (the reading is partial)",
        ),
    ],
)
def test_without_a_fitting_difference_it_says_what_was_seen(more: Any, said: str) -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1)
    assert waits(guided(book=book, **more)) == said


def test_a_partial_reading_is_no_proof_that_a_close_was_done() -> None:
    """The row that cannot be read may be the very position that seems to have gone."""
    book = make.book_of(make.position(7, volume=0.1))
    make.put_in_doubt(book, "A", Side.SELL, 0.1, position=7)
    plan = guided(book=book, faults=("row 3",))
    assert not any(isinstance(event, events.OrderSettled) for event in plan.events)


# A symbol outside the policy: it was renamed, or the process has other symbols than before.


def test_an_order_in_a_symbol_outside_the_policy_is_given_up_when_it_is_absent() -> None:
    book = make.bound_book()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, symbol="GBPUSD", token=TOKEN)
    plan = looked(book=book)
    assert "(nothing fits in the last 120 s of history)" in plan.holds[0].what
    (event,) = looked(book=book, after_sec=10, absences=AGAIN).events
    assert isinstance(event, events.OrderCanceled)


def test_the_position_of_an_order_in_doubt_is_ours_in_a_symbol_outside_the_policy() -> None:
    book = make.bound_book()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, symbol="GBPUSD", token=TOKEN)
    opened = make.position(7, volume=0.1, symbol="GBPUSD")
    plan = looked(opened, book=book, orders=(past(symbol="GBPUSD"),))
    assert [type(event).__name__ for event in plan.events] == ["OrderSettled", "PositionAdopted"]
    assert plan.foreign == 0


@pytest.mark.parametrize("comment", [TOKEN, "tabc"], ids=["token", "cut"])
def test_a_close_in_doubt_is_found_after_the_broker_renamed_the_symbol(comment: str) -> None:
    """Seeds 1000878 and 1001562: an order went out under a name that the symbol had for seconds."""
    held = make.position(7, volume=0.2, side=Side.SELL, symbol="EURUSD.m")
    book = make.bound_book(held)
    more = {"position": 7, "symbol": "EURUSD.m", "token": TOKEN}
    make.put_in_doubt(book, "A", Side.BUY, 0.1, **more)
    now = make.position(7, volume=0.1, side=Side.SELL)
    done = past(8, comment=comment, position=7, by_program=True)
    event = looked(now, book=book, orders=(done,)).events[0]
    assert isinstance(event, events.OrderSettled)
    assert (event.ticket, event.volume) == (8, 0.1)


def test_on_the_guides_wire_a_close_in_doubt_is_found_after_the_symbol_was_renamed() -> None:
    book = make.book_of(make.position(7, volume=0.2, side=Side.SELL, symbol="EURUSD.m"))
    make.put_in_doubt(book, "A", Side.BUY, 0.1, position=7, symbol="EURUSD.m")
    event = guided(make.position(7, volume=0.1, side=Side.SELL), book=book).events[0]
    assert isinstance(event, events.OrderSettled)


def test_on_the_guides_wire_an_entry_in_a_symbol_outside_the_policy_is_left_to_a_person() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, symbol="GBPUSD")
    plan = guided(make.position(7, volume=0.1, symbol="GBPUSD"), book=book)
    assert plan.events == ()
    assert "GBPUSD is no symbol of this book; say what it is" in plan.holds[0].what
    told = {"A": Statement("Mary", NOW_NS)}
    (event,) = guided(book=book, told=told).events
    assert isinstance(event, events.OrderCanceled)
