"""The one place where money enters a book, and what a book expects of the orders that it made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book import realised as money
from trueup.core.book.book import Book
from trueup.core.book.realised import known_deals
from trueup.core.deals import BookedDeal, Known
from trueup.core.explain import Exit
from trueup.core.model import Position, Side

P = make.position(7, volume=0.2)
ENTRY = BookedDeal(1, -70_000_000, 20_000_000, order=7)
EXIT = BookedDeal(2, 500_000_000, -20_000_000, order=70)


def recorded(
    *booked: BookedDeal, position: Position = P, at_ns: int = make.NOW_NS, **more: Any
) -> events.DealsRecorded:
    return events.DealsRecorded(
        at_ns=at_ns,
        position=position,
        deals=tuple(deal.ticket for deal in booked),
        booked=booked,
        realised_units=sum(deal.money for deal in booked),
        because="x",
        **more,
    )


def closed(*booked: BookedDeal, **more: Any) -> events.PositionClosed:
    return events.PositionClosed(
        at_ns=make.NOW_NS,
        position=P,
        because="closed",
        realised_units=sum(deal.money for deal in booked),
        deals=tuple(deal.ticket for deal in booked),
        booked=booked,
        **more,
    )


def filled(account: Any = make.ACCOUNT) -> Book:
    """A book whose order has just been filled as position 7."""
    book = Book().replay([make.bound(account), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    return book


@pytest.mark.parametrize("again", [1, 2, 3])
def test_counting_the_same_deals_again_changes_nothing(again: int) -> None:
    book = make.bound_book(P)
    for _ in range(again):
        book.apply(recorded(ENTRY))
    assert (book.realised, book.realised_units) == (-0.7, -70_000_000)
    assert known_deals(book, 7).booked == (ENTRY,)
    book.apply(closed(ENTRY, EXIT))
    for _ in range(again):
        book.apply(recorded(ENTRY, EXIT))
    assert book.realised == 4.3
    assert known_deals(book, 7).tickets == (1, 2)


def test_a_position_that_the_book_never_had_counts_too() -> None:
    book = make.bound_book()
    book.apply(recorded(ENTRY, EXIT))
    assert book.realised == 4.3
    assert known_deals(book, 8) == Known()


def test_a_position_that_is_back_goes_on_with_what_it_had() -> None:
    book = make.bound_book(P)
    book.apply(closed(ENTRY, EXIT))
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=P))
    assert book.realised == 4.3
    assert known_deals(book, 7).booked == (ENTRY, EXIT)
    assert set(book.unexplained) == {7}
    book.apply(recorded(ENTRY))
    assert book.realised == -0.7


# What is expected of an order that was executed.


def test_its_deals_are_expected_until_they_are_counted() -> None:
    book = filled()
    assert set(book.unbooked) == {7}
    book.apply(recorded(ENTRY))
    assert book.unbooked == {}


def test_a_part_of_them_is_not_all() -> None:
    book = filled()
    book.apply(recorded(msgspec.structs.replace(ENTRY, lots=10_000_000)))
    assert set(book.unbooked) == {7}


def test_deals_that_were_counted_before_the_answer_came_are_not_expected() -> None:
    book = Book().replay([make.bound(), make.created("A", Side.BUY, 0.2)])
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=P))
    book.apply(recorded(ENTRY))
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    assert book.unbooked == {}


def test_of_an_order_in_doubt_they_are_expected_when_it_is_settled() -> None:
    book = Book().replay([make.bound()])
    make.put_in_doubt(book, "A", Side.BUY, 0.2)
    assert book.unbooked == {}
    book.apply(
        events.OrderSettled(
            at_ns=make.NOW_NS, order_id="A", ticket=7, volume=0.2, price=1.05, because="x"
        )
    )
    assert book.unbooked[7].units == 20_000_000


def test_an_exit_told_after_its_effect_was_seen_is_not_expected_where_it_is_counted() -> None:
    book = make.bound_book(P)
    book.apply(make.created("B", Side.SELL, 0.2, position=7))
    book.apply(closed(ENTRY, EXIT))
    book.apply(make.filled("B", 70, Side.SELL, 0.2, 1.06))
    assert book.unbooked == {}


def test_what_the_broker_says_is_complete_is_expected_no_longer() -> None:
    book = filled()
    book.apply(recorded(msgspec.structs.replace(ENTRY, lots=10_000_000), complete=(7,)))
    assert book.unbooked == {}
    book = filled()
    part = msgspec.structs.replace(ENTRY, lots=10_000_000)
    book.apply(closed(part, msgspec.structs.replace(EXIT, lots=-10_000_000), complete=(7,)))
    assert book.unbooked == {}


def test_what_a_person_let_go_of_is_expected_no_longer() -> None:
    book = filled()
    book.apply(
        events.PositionClosed(at_ns=make.NOW_NS, position=P, because="x", unproven=True, by="Mary")
    )
    assert (book.unbooked, book.unexplained) == ({}, {})


def test_another_account_expects_nothing_of_this_ones() -> None:
    book = filled()
    book.apply(recorded(msgspec.structs.replace(ENTRY, lots=1)))
    book.apply(make.bound(msgspec.structs.replace(make.ACCOUNT, login=2)))
    assert (book.unbooked, book.recent, book.changed_ns, book.ending) == ({}, {}, {}, {})


# Journals of before, which kept the tickets of deals and no more.


def before(event: events.Event) -> Any:
    return msgspec.structs.replace(event, booked=())


@pytest.mark.parametrize("account", [make.ACCOUNT, make.NETTING])
def test_their_orders_are_expected_no_longer_once_their_deals_were_counted(account: Any) -> None:
    book = filled(account)
    book.apply(before(recorded(ENTRY)))
    assert (book.unbooked, book.realised) == ({}, -0.7)
    assert known_deals(book, 7) == Known((1,), (), -70_000_000)


def test_their_exits_count_as_they_did() -> None:
    book = filled()
    ended = Exit("by hand", 1.06, 0.2, 5.0, 0.0, 0.0, 0.0, 1, (2,))
    old = msgspec.structs.replace(closed(ENTRY, EXIT), booked=(), deals=(), ended=ended)
    book.apply(old)
    assert (book.realised, book.unbooked) == (4.3, {})
    assert known_deals(book, 7).tickets == (2,)


def test_a_close_that_says_nothing_of_deals_counts_nothing() -> None:
    book = filled()
    book.apply(recorded(ENTRY))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=P, because="gone", unproven=True))
    assert book.realised == -0.7


def test_a_correction_of_what_left_the_book_changes_nothing() -> None:
    book = make.bound_book()
    book.apply(events.PositionCorrected(at_ns=make.NOW_NS, local=P, remote=P, fields=("volume",)))
    assert book.holdings == {}


# What was counted lately.


def test_so_many_are_compared_again_and_no_longer_than_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(money, "RECENT_KEPT", 2)
    book = make.bound_book()
    for identifier in (1, 2, 3):
        book.apply(recorded(ENTRY, position=make.position(identifier)))
    assert list(book.recent) == [2, 3]
    book.apply(recorded(ENTRY, position=make.position(2)))
    assert list(book.recent) == [3, 2]
    later_ns = make.NOW_NS + money.RECENT_NS + 1
    book.apply(recorded(ENTRY, position=make.position(2), at_ns=later_ns))
    assert list(book.recent) == [2]
