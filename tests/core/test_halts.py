"""By what a position shows that it comes from an order that cannot be at the broker."""

from __future__ import annotations

from typing import Any

from tests.support import make
from trueup.core import events
from trueup.core.book import Book
from trueup.core.model import Side
from trueup.core.plan import Plan
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
