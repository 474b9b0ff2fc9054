"""The book of one stream enters the book of another: everything goes over, and counts once."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_saved_book import life
from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.keys import with_key
from trueup.core.model import Side
from trueup.core.realised.agreement import Counted, counted_in

AT: dict[str, Any] = {"at_ns": make.NOW_NS}


def taking(*books: Book, into: Book | None = None) -> Book:
    """Return a book that took over these books, one after the other."""
    book = into or Book()
    for number, other in enumerate(books):
        book.apply(over(other, f"stream{number}"))
    return book


def over(other: Book, stream: str = "EURUSD") -> events.StreamTakenOver:
    state = other.state().decode()
    return events.StreamTakenOver(**AT, stream=stream, position=1, hash="00", book=state)


def closed(identifier: int, units: int, symbol: str = "EURUSD", magic: int = 7) -> events.Event:
    row = make.position(identifier, symbol=symbol, magic=magic)
    deals: dict[str, Any] = {"deals": (identifier,), "realised_units": units}
    return events.DealsRecorded(**AT, position=row, because="closed", **deals)


def test_an_empty_book_that_takes_a_book_over_is_that_book() -> None:
    """Everything that a book can have, in the order it had; only versions are of this book."""
    whole = Book().replay(life())
    book = taking(whole)
    halts, compared = list(whole.halts), book.compared
    for name, value in vars(book).items():
        if name in ("version", "halts", "compared", "recalled", "in_doubt"):
            # A comparison and a record belong to the stream that made them.
            continue
        mine, theirs = unversioned(value), unversioned(vars(Book.restore(whole.state()))[name])
        assert mine == theirs, name
    assert (list(book.halts), compared, book.recalled) == (halts, None, None)
    # All doubts are equally new now, so they go in the order of their orders, as in a checkpoint.
    assert list(book.in_doubt) == ["C", "D"]
    assert {one.version for one in book.in_doubt.values()} == {book.version}
    assert {one.version for one in book.holdings.values()} == {book.version}
    again = Book.restore(book.state())
    assert again.state() == book.state()


def unversioned(value: Any) -> Any:
    """Return a value without the versions in it."""
    rows = [(str(key), one) for key, one in value.items()] if isinstance(value, dict) else value
    raw = msgspec.to_builtins(rows)

    def cut(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: cut(one) for key, one in part.items() if key != "version"}
        return list(map(cut, part)) if isinstance(part, list | tuple) else part

    return cut(raw)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.integers(-5, 5), st.sampled_from("XY"))),
        max_size=4,
    )
)
def test_each_position_counts_once_whatever_the_streams_know(
    streams: list[list[tuple[int, int, str]]],
) -> None:
    """Of a position in several streams, the first stream's money stays."""
    wanted: dict[int, int] = {}
    books = []
    for stream in streams:
        book = Book().replay([make.bound()])
        book.replay(closed(key, units, symbol) for key, units, symbol in stream)
        books.append(book)
        for key, tombstone in book.closed.items():
            wanted.setdefault(key, tombstone.realised_units)
    whole = taking(*books)
    assert whole.realised_units == sum(wanted.values()) == sum(whole.realised_by.values())
    assert set(whole.closed) == set(wanted)


def test_a_position_that_is_open_in_one_and_closed_in_the_other_stays_as_the_first_has_it() -> None:
    held = make.bound_book(make.position(5))
    gone = Book().replay([make.bound(), closed(5, 70)])
    book = taking(held, gone)
    assert (list(book.holdings), book.closed, book.realised_units) == ([5], {}, 0)
    book = taking(gone, held)
    assert (book.holdings, list(book.closed), book.realised_units) == ({}, [5], 70)


def test_money_keeps_its_owner() -> None:
    book = taking(
        Book().replay([make.bound(), closed(1, 10), closed(2, 20, magic=9)]),
        Book().replay([make.bound(), closed(3, 5), closed(2, 99, magic=9)]),
    )
    assert book.realised_by == {("EURUSD", 7): 15, ("EURUSD", 9): 20}


def test_a_doubt_and_its_key_go_over_and_a_key_of_two_streams_names_both() -> None:
    first, second = make.bound_book(), make.bound_book()
    make.put_in_doubt(first, "A", Side.BUY, key="k")
    make.put_in_doubt(second, "B", Side.SELL, key="k")
    book = taking(first, second)
    assert list(book.in_doubt) == ["A", "B"]
    assert [order.order_id for order in with_key(book, "k")] == ["B", "A"]
    assert book.orders["A"] is book.in_doubt["A"]


def test_the_order_that_opened_a_position_goes_before_a_stand_in() -> None:
    adopted = make.bound_book(make.position(5))
    opened = Book().replay([make.bound(), make.created("A", Side.BUY)])
    opened.apply(make.filled("A", 5, Side.BUY, 0.01, 1.0543))
    for books in ((adopted, opened), (opened, adopted)):
        book = taking(*books)
        assert book.holdings[5].order_ids[0] == "A"
        assert book.orders_by_ticket[5].order_id == "A"


def test_the_older_of_two_agreements_holds_and_a_loss_waits_for_a_person() -> None:
    books = [make.bound_book() for _ in range(3)]
    for book, until in zip(books, (0, 300, 200), strict=True):
        if until:
            book.apply(events.HistoryCompared(**AT, since_msc=1, until_msc=until, agreed=1))
    books[2].apply(events.LossFound(**AT, because="a backup"))
    whole = taking(*books)
    assert (whole.agreed_msc, whole.loss is not None) == (200, True)


def test_the_counted_deals_of_a_journal_have_those_of_the_streams_before() -> None:
    book = Book().replay([make.bound(), closed(1, 10)])
    counted = Counted()
    for event in (over(book), closed(2, 5)):
        counted.take(event)
    assert set(counted.positions) == {1, 2}
    assert counted.account == book.account
    assert counted.began_ns == counted_in(book).began_ns


def test_a_checkpoint_of_before_has_its_money_under_nobodys_name() -> None:
    book = Book().replay([make.bound(), closed(1, 10)])
    state = msgspec.json.decode(book.state())
    del state["realised_by"]
    for _, tombstone in state["closed"]:
        del tombstone["owner"]
    old = Book.restore(msgspec.json.encode(state))
    assert (old.realised_units, old.realised_by) == (10, {("", 0): 10})
    old.apply(events.PositionAdopted(**AT, position=make.position(1)))
    assert old.realised_by == {}
    assert old.realised_units == 10
