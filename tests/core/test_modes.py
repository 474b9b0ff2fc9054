"""Which orders a person's mode refuses, and that it goes on in a book that takes over another."""

from __future__ import annotations

import itertools

import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import AT_ONCE, OrderKind, TradingMode, TradingPaused
from trueup.core.limits.modes import UNTIL_RESUMED, mode_words, refused_by_mode

PAUSED = TradingPaused(at_ns=make.NOW_NS, by="Ada", mode=TradingMode.PAUSED, why="lunch")
CLOSE_ONLY = TradingPaused(at_ns=make.NOW_NS, by="Ada", mode=TradingMode.CLOSE_ONLY)
ORDERS = [
    (kind, position, target, by)
    for kind, position, target, by in itertools.product(
        OrderKind, (0, 5), (0, 9), ("", "Ada", "mcp:ada")
    )
]


@pytest.mark.parametrize(("kind", "position", "target", "by"), ORDERS)
def test_each_order_by_each_mode(kind: OrderKind, position: int, target: int, by: str) -> None:
    about = {"position": position, "target": target}
    assert refused_by_mode(None, kind, **about, by=by) == ""
    is_entry = not position and not target
    assert bool(refused_by_mode(CLOSE_ONLY, kind, **about, by=by)) is is_entry
    is_persons_close = by == "Ada" and bool(position) and kind in AT_ONCE
    assert bool(refused_by_mode(PAUSED, kind, **about, by=by)) is not is_persons_close


def test_the_words_name_who_and_why() -> None:
    assert mode_words(PAUSED) == "trading is paused by Ada: lunch"
    assert mode_words(CLOSE_ONLY) == "only closes are allowed by Ada"
    refused = refused_by_mode(PAUSED, OrderKind.MARKET)
    assert refused == f"trading is paused by Ada: lunch (until {UNTIL_RESUMED})"


@pytest.mark.parametrize(
    ("mine", "theirs", "then"),
    [
        (None, None, None),
        (PAUSED, None, PAUSED),
        (None, CLOSE_ONLY, CLOSE_ONLY),
        (PAUSED, CLOSE_ONLY, PAUSED),
        (CLOSE_ONLY, PAUSED, PAUSED),
    ],
)
def test_the_stricter_mode_of_two_books_goes_on(
    mine: TradingPaused | None, theirs: TradingPaused | None, then: TradingPaused | None
) -> None:
    book, other = (Book().replay(filter(None, [mode])) for mode in (mine, theirs))
    book.apply(
        events.StreamTakenOver(
            at_ns=make.NOW_NS, stream="EURUSD", position=1, hash="00", book=other.state().decode()
        )
    )
    assert book.paused == then


def test_another_account_ends_no_mode() -> None:
    book = Book().replay([make.bound(), PAUSED])
    book.apply(
        events.AccountBound(
            at_ns=make.NOW_NS,
            login=9,
            server="Other",
            currency="USD",
            margin_mode=make.ACCOUNT.margin_mode,
        )
    )
    assert book.paused == PAUSED
    book.apply(events.TradingResumed(at_ns=make.NOW_NS, by="Bob"))
    assert book.paused is None


def test_a_book_without_a_mode_has_the_bytes_as_before() -> None:
    assert b"paused" not in Book().state()
    assert b'"paused"' in Book().replay([PAUSED]).state()
