"""By what a position shows that it comes from an order that cannot be at the broker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import RowFault, Side
from trueup.core.sync.plan import Plan
from trueup.core.tokens import magic_with_token, token_of

OPENER = magic_with_token(7, token_of("OPENER"))


def after_refusal(book: Book, wire_magic: int, shown: Any, **wish: Any) -> Plan:
    """The plan for a position that is shown after an order was refused."""
    wish = {"token": token_of("A"), "magic": 7, "wire_magic": wire_magic} | wish
    book.apply(make.created("A", Side.SELL, 0.1, **wish))
    book.apply(events.SendStarted(at_ns=make.NOW_NS, order_id="A"))
    book.apply(events.OrderRejected(at_ns=make.NOW_NS, order_id="A", error="no"))
    return make.planned(book, make.proven(shown), after_sec=20)


def halted(plan: Plan) -> list[str]:
    return [event.order_id for event in plan.events if isinstance(event, events.HaltRaised)]


def test_a_refused_order_is_known_by_its_token_in_the_magic_number() -> None:
    magic = magic_with_token(7, token_of("A"))
    plan = after_refusal(make.bound_book(), magic, make.position(9, magic=magic))
    assert halted(plan) == ["A"]


def test_a_refused_close_is_not_known_by_the_magic_number_of_its_position() -> None:
    held = make.position(9, volume=0.2, magic=OPENER)
    reduced = make.position(9, volume=0.1, magic=OPENER)
    plan = after_refusal(make.bound_book(held), OPENER, reduced, position=9)
    assert [type(event).__name__ for event in plan.events] == ["PositionCorrected"]
    assert plan.holds == ()


def test_a_plain_magic_number_is_no_mark_of_one_order() -> None:
    plan = after_refusal(make.bound_book(), 7, make.position(9, magic=7))
    assert halted(plan) == []


# What is said, and what is halted.

TOKEN = token_of("A")


def halted_by(error: str, *, left: bool, held: bool = False) -> Plan:
    """The plan for a position with the token of an order that cannot be at the broker."""
    seen = make.position(9, identifier=8, symbol="EURUSD", volume=0.2, comment=TOKEN)
    book = make.bound_book(make.position(8, volume=0.1)) if held else make.bound_book()
    book.apply(make.created("A", Side.BUY, 0.2, token=TOKEN))
    if left:
        book.apply(events.SendStarted(at_ns=make.NOW_NS, order_id="A"))
    if error:
        book.apply(events.OrderRejected(at_ns=make.NOW_NS, order_id="A", error=error))
    return make.planned(book, make.proven(seen), after_sec=20)


@pytest.mark.parametrize(
    ("error", "left", "said"),
    [
        ("no money", True, "case I: refused, and the broker has it (ticket 9, A, no money)"),
        (
            "never left",
            False,
            "case C: the broker has an order we did not send (ticket 9, A, never left)",
        ),
        ("", False, "case C: the broker has an order we did not send (ticket 9, A)"),
    ],
)
@pytest.mark.parametrize("held", [False, True])
def test_a_contradiction_halts_entries_in_its_symbol_and_says_which(
    error: str, said: str, *, left: bool, held: bool
) -> None:
    plan = halted_by(error, left=left, held=held)
    now_ns = make.NOW_NS + 20 * make.SECOND_NS
    (halt,) = (event for event in plan.events if isinstance(event, events.HaltRaised))
    assert halt == events.HaltRaised(
        at_ns=now_ns, symbol="EURUSD", identifier=8, order_id="A", because=said
    )
    until = "a person checks the position, and the position closes"
    assert Hold("EURUSD", said, until, 8, HoldKind.HALT) in plan.holds


@pytest.mark.parametrize(("cut", "is_known"), [(TOKEN[:4], False), (TOKEN[:-1], True)])
def test_a_token_that_a_broker_cut_at_its_end_is_known_if_enough_of_it_is_left(
    cut: str, *, is_known: bool
) -> None:
    plan = after_refusal(make.bound_book(), 7, make.position(9, comment=cut))
    assert halted(plan) == (["A"] if is_known else [])


def test_a_position_that_is_halted_already_is_not_halted_again() -> None:
    book = make.bound_book()
    first = after_refusal(book, 7, make.position(9, comment=TOKEN))
    book.replay(first.events)
    grown = make.position(9, volume=0.5, comment=TOKEN)
    again = make.planned(book, make.proven(grown), after_sec=20)
    assert halted(again) == []
    assert [hold.kind for hold in again.holds] == [HoldKind.HALT]


def test_a_halt_stands_while_the_row_that_it_is_about_may_be_unreadable() -> None:
    book = make.bound_book()
    book.replay(after_refusal(book, 7, make.position(9, comment=TOKEN)).events)
    fault = RowFault("row 1", "EURUSD", 9)
    unreadable = msgspec.structs.replace(make.proven(), faults=(fault,))
    kinds = [hold.kind for hold in make.planned(book, unreadable, after_sec=20).holds]
    assert HoldKind.HALT in kinds
    gone = [hold.kind for hold in make.planned(book, make.proven(), after_sec=20).holds]
    assert HoldKind.HALT not in gone


def test_a_moved_stop_is_no_sign_of_an_order() -> None:
    """What an order makes is a position, a volume, a side or a ticket."""
    held = make.position(9, comment=TOKEN)
    moved = msgspec.structs.replace(held, sl=1.0)
    assert halted(after_refusal(make.bound_book(held), 7, moved)) == []


@pytest.mark.parametrize("status", ["filled", "in doubt"])
def test_an_order_that_may_be_at_the_broker_halts_nothing(status: str) -> None:
    book = make.bound_book()
    book.apply(make.created("A", Side.BUY, 0.01, token=TOKEN))
    if status == "filled":
        book.apply(make.filled("A", 5, Side.BUY, 0.01, 1.0))
    else:
        book.apply(events.OrderInDoubt(at_ns=make.NOW_NS, order_id="A", error="no reply"))
    seen = make.proven(make.position(9, comment=TOKEN))
    assert halted(make.planned(book, seen, after_sec=20)) == []


def test_a_halt_takes_nothing_else_that_is_held_away() -> None:
    book = make.bound_book()
    book.replay(after_refusal(book, 7, make.position(9, comment=TOKEN)).events)
    make.put_in_doubt(book, "B", Side.BUY)
    plan = make.planned(book, make.proven(make.position(9, comment=TOKEN)), after_sec=20)
    assert [hold.kind for hold in plan.holds] == [HoldKind.DOUBT, HoldKind.HALT]


def refused_by_the_record(*shown: Any, held: bool = False) -> Plan:
    """The plan for an order in doubt that the gateway's record has as refused."""
    book = make.bound_book(make.position(8, volume=0.1)) if held else make.bound_book()
    book.apply(make.created("A", Side.BUY, 0.2, token=TOKEN))
    book.apply(events.SendStarted(at_ns=make.NOW_NS, order_id="A"))
    book.apply(events.OrderInDoubt(at_ns=make.NOW_NS, order_id="A", error="no reply"))
    refusal = RequestStatus("A", RequestState.SETTLED, status="REJECTED", error="rejected (10006)")
    return make.planned(book, make.proven(*shown, requests=(refusal,)), after_sec=20)


@pytest.mark.parametrize("held", [False, True])
def test_a_refusal_that_only_the_record_has_halts_in_the_look_that_finds_it(*, held: bool) -> None:
    """Seed 9001145: the next look has no difference left, once the position is adopted."""
    seen = make.position(9, identifier=8, volume=0.2, comment=TOKEN)
    plan = refused_by_the_record(seen, held=held)
    (halt,) = (e for e in plan.events if isinstance(e, events.HaltRaised))
    assert halt.because == "case I: refused, and the broker has it (ticket 9, A, rejected (10006))"
    kinds = [type(event).__name__ for event in plan.events]
    assert kinds.index("OrderRejected") < kinds.index("HaltRaised")


def test_a_refusal_of_the_record_without_a_position_halts_nothing() -> None:
    assert halted(refused_by_the_record()) == []
    assert halted(refused_by_the_record(make.position(9, volume=0.2))) == []
