"""When counted deals are compared again: by their age, by the balance, and when somebody asks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.realised import RECENT_NS
from trueup.core.deals import BookedDeal
from trueup.core.look.waited import Waited, by_dates
from trueup.core.model import Snapshot
from trueup.runtime.sync import rechecks
from trueup.runtime.sync.rechecks import Rechecks

SEC = make.SECOND_NS
P = make.position(7, volume=0.2)


def seen(balance: float = 1_000.0, login: int = 1) -> Snapshot:
    account = msgspec.structs.replace(make.ACCOUNT, balance=balance, login=login)
    return make.proven(account=account)


def counted(identifier: int = 7, *, is_open: bool = False, at_ns: int = make.NOW_NS) -> Book:
    """A book that has counted the deals of a position."""
    position = make.position(identifier, volume=0.2)
    book = make.bound_book(*([position] if is_open else []))
    book.apply(recorded(position, at_ns=at_ns))
    return book


def recorded(position: Any, money: int = -70_000_000, at_ns: int = make.NOW_NS) -> Any:
    return events.DealsRecorded(
        at_ns=at_ns,
        position=position,
        deals=(1,),
        booked=(BookedDeal(1, money, 0),),
        realised_units=money,
        because="x",
    )


def test_at_the_first_look_of_a_process_everything_is_due_however_old() -> None:
    book = counted()
    watch = Rechecks()
    assert watch.due(book, seen(), by_dates(make.NOW_NS + 40 * RECENT_NS)) == (7,)
    assert watch.due(book, make.snapshot(), by_dates(make.NOW_NS)) == ()


def test_what_is_asked_for_is_due_later_the_older_it_is() -> None:
    book, watch = counted(), Rechecks()
    for age_sec, wait_sec in ((0, 15), (60, 15), (160, 20), (3_600, 450), (10_000, 900)):
        at_ns = make.NOW_NS + age_sec * SEC
        watch.done((7,), at_ns)
        assert watch.due(book, seen(), by_dates(at_ns + wait_sec * SEC - 1)) == ()
        assert watch.due(book, seen(), by_dates(at_ns + wait_sec * SEC)) == (7,)


@pytest.mark.parametrize("set_by_ns", [-400 * RECENT_NS, 0, 400 * RECENT_NS])
def test_the_wall_clock_may_be_set_meanwhile(set_by_ns: int) -> None:
    """The deals were counted by this process, which has noted its clock for ages beside it."""
    book, watch = counted(), Rechecks()
    began = (0, 0)
    noted = {make.NOW_NS: (1_000 * SEC, 1_000 * SEC)}

    def at(age_sec: int) -> Waited:
        return Waited(age_sec * SEC, age_sec * SEC, make.NOW_NS + set_by_ns, began, noted)

    watch.done((7,), 1_160 * SEC)
    assert watch.due(book, seen(), at(1_179)) == ()
    assert watch.due(book, seen(), at(1_180)) == (7,)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_closed_position_is_left_alone_after_a_day_and_an_open_one_is_not(is_open: bool) -> None:
    book, watch = counted(is_open=is_open), Rechecks()
    watch.done((7,), make.NOW_NS + RECENT_NS)
    later_ns = make.NOW_NS + RECENT_NS + 900 * SEC
    assert watch.due(book, seen(), by_dates(later_ns)) == ((7,) if is_open else ())


def test_an_open_position_that_was_counted_long_ago_is_due_every_quarter_of_an_hour() -> None:
    book, watch = counted(is_open=True), Rechecks()
    book.recent.clear()
    watch.done((7,), make.NOW_NS)
    assert watch.due(book, seen(), by_dates(make.NOW_NS + 900 * SEC - 1)) == ()
    assert watch.due(book, seen(), by_dates(make.NOW_NS + 900 * SEC)) == (7,)


def test_a_position_of_which_nothing_was_counted_is_never_due() -> None:
    assert Rechecks().due(make.bound_book(P), seen(), by_dates(make.NOW_NS)) == ()


def test_a_balance_that_moved_by_something_else_makes_everything_due() -> None:
    book, watch = counted(), Rechecks()
    watch.believed(book, seen())
    watch.done((7,), make.NOW_NS)
    watch.believed(book, seen(998.25))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == (7,)
    watch.done((7,), make.NOW_NS)
    watch.believed(book, seen(998.25))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()


def test_a_balance_that_moved_by_what_was_counted_says_nothing() -> None:
    book, watch = counted(), Rechecks()
    watch.believed(book, seen())
    watch.done((7,), make.NOW_NS)
    book.apply(recorded(P, -170_000_000))
    watch.believed(book, seen(999.0))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()


def test_deals_that_come_after_the_balance_bring_it_back() -> None:
    book, watch = counted(), Rechecks()
    watch.believed(book, seen())
    watch.believed(book, seen(999.0))
    watch.done((7,), make.NOW_NS)
    book.apply(recorded(P, -170_000_000))
    watch.believed(book, seen(999.0))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()


def test_another_account_has_another_balance() -> None:
    book, watch = counted(), Rechecks()
    watch.believed(book, seen())
    watch.done((7,), make.NOW_NS)
    watch.believed(book, seen(5.0, login=2))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()
    watch.believed(book, make.snapshot())


def test_whoever_finds_a_difference_can_ask_for_it() -> None:
    """Also of a position that the book never had."""
    book, watch = make.bound_book(), Rechecks()
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()
    watch.suspect((5,))
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == (5,)
    watch.done((5,), make.NOW_NS)
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == ()


def test_only_so_many_are_asked_for_in_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecks, "ASKED_MOST", 2)
    book = make.bound_book()
    for identifier in (1, 2, 3):
        book.apply(recorded(make.position(identifier)))
    watch = Rechecks()
    first = watch.due(book, seen(), by_dates(make.NOW_NS))
    assert first == (1, 2)
    watch.done(first, make.NOW_NS)
    assert watch.due(book, seen(), by_dates(make.NOW_NS)) == (3,)


def test_what_the_book_forgot_is_forgotten() -> None:
    book, watch = counted(), Rechecks()
    watch.done((7,), make.NOW_NS)
    book.recent.clear()
    watch.believed(book, seen())
    assert watch._checked_ns == {}


class Untouched(dict[int, Any]):
    """Holdings that may be looked up, and not gone through."""

    def _gone_through(self, *_: Any) -> Any:
        raise AssertionError("a sync that finds nothing changed went through all holdings")

    __iter__ = keys = values = items = _gone_through


def test_a_sync_of_an_unchanged_book_does_not_go_through_its_holdings() -> None:
    """With ten thousand positions that took six times as long as the sync."""
    book, watch = counted(is_open=True), Rechecks()
    at = by_dates(make.NOW_NS)
    assert watch.due(book, seen(), at) == (7,)
    watch.done((7,), make.NOW_NS)
    watch.believed(book, seen())
    assert watch.due(book, seen(), at) == ()
    book.holdings = Untouched(book.holdings)
    watch.done((), make.NOW_NS)
    watch.believed(book, seen())
    assert watch.due(book, seen(), at) == ()
