"""The tables of a journal have the book's money to the cent, whatever the broker did to deals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.money.stories import Story, tell
from trueup.core.book.book import Book
from trueup.core.book.events import StreamTakenOver
from trueup.journal import Journal, MemoryJournal
from trueup.runtime.data.store import DataStore, in_memory

SEEDS = range(40)
STILL_OPEN = "status IN ('open', 'missing')"


def ask(store: DataStore, question: str) -> list[tuple[Any, ...]]:
    return list(store._connection.execute(question))


def agrees(store: DataStore, book: Book) -> None:
    """All sums of the tables are the book's, in whole units of 1e-8."""
    assert ask(store, "SELECT COALESCE(SUM(realised_units), 0) FROM trades") == [
        (book.realised_units,)
    ]
    assert ask(store, "SELECT COALESCE(SUM(realised_units), 0) FROM pnl") == [
        (book.realised_units,)
    ]
    closed = ask(
        store,
        "SELECT symbol, magic, SUM(realised_units) FROM trades"
        f" WHERE NOT {STILL_OPEN} GROUP BY 1, 2",
    )
    assert {(symbol, magic): units for symbol, magic, units in closed if units} == book.realised_by
    is_open = ask(store, f"SELECT position FROM trades WHERE {STILL_OPEN} ORDER BY 1")
    assert [position for (position,) in is_open] == sorted(book.holdings)


def journal_of(story: Story) -> Journal:
    journal = story.pm.journal
    assert journal is not None
    return journal


@pytest.mark.timeout(600)
def test_the_results_of_trades_are_the_books_and_those_of_their_deals() -> None:
    changed = 0
    for seed in SEEDS:
        story = tell(seed)
        assert not story.wrongs
        book = Book().replay(journal_of(story).read())
        with in_memory() as store:
            store.make("s", journal_of(story).records(), 1)
            agrees(store, book)
            # Each counted deal once: late ones are there, amended ones as they are now, cancelled
            # ones without money.
            by_deals = ask(
                store,
                "SELECT t.position, t.realised_units, (SELECT COALESCE(SUM(d.money_units), 0)"
                " FROM deals d WHERE d.position = t.position) FROM trades t",
            )
            assert [row for row in by_deals if row[1] != row[2]] == []
            assert ask(store, "SELECT COUNT(*), COUNT(DISTINCT deal) FROM deals")[0] == (
                (number := ask(store, "SELECT COUNT(DISTINCT deal) FROM deals")[0][0]),
                number,
            )
            assert ask(store, "SELECT COALESCE(SUM(money_units), 0) FROM pnl_daily") == [
                (book.realised_units,)
            ]
            orders = {order_id for (order_id,) in ask(store, "SELECT order_id FROM orders")}
            ours = {key for key, order in book.orders.items() if not order.is_stand_in}
            assert ours == orders
        changed += any("changed deal" in line or "cancelled deal" in line for line in story.audit)
    assert changed > 5


@pytest.mark.timeout(600)
def test_a_book_that_took_another_over_has_the_money_of_both() -> None:
    for seed in range(0, 20, 2):
        first, second = tell(seed), tell(seed + 1)
        before = Book().replay(journal_of(first).read())
        journal = MemoryJournal()
        taken = StreamTakenOver(
            at_ns=5, stream="old", position=9, hash="00", book=before.state().decode()
        )
        history = list(journal_of(second).read())
        journal.append([*history, taken])
        book = Book().replay(journal.read())
        with in_memory() as store:
            store.make("s", journal.records(), 1)
            agrees(store, book)


def test_a_book_without_a_journal_has_the_money_of_what_it_forgot() -> None:
    for seed in (1, 4, 9):
        book = Book().replay(journal_of(tell(seed)).read())
        while len(book.closed) > 1:
            book.closed.pop(next(iter(book.closed)))
        with in_memory() as store:
            store.make_of_book("s", book, 1)
            agrees(store, book)
