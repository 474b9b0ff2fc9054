"""A journal that threads share: made in one, used in others, one after the other or at once."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.journal.places import Place, SqlitePlace, order, orders
from trueup.errors import JournalError
from trueup.journal import MemoryJournal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.time.clock import ManualClock

Result = TypeVar("Result")
THREADS, APPENDS = 4, 50


def elsewhere(call: Callable[[], Result]) -> Result:
    """What a call gives in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_a_journal_that_one_thread_opened_is_used_by_others(place: Place) -> None:
    journal = elsewhere(place.open)
    assert elsewhere(lambda: journal.append(orders(1, 2))) == 2
    elsewhere(lambda: journal.checkpoint(2, b"state"))
    assert list(journal.read()) == orders(1, 2)
    reader = elsewhere(place.reader)
    assert elsewhere(reader.verify).sound
    assert reader.position == 2
    elsewhere(reader.close)
    elsewhere(journal.close)
    with place.open() as again:
        assert again.position == 2


def test_asyncio_to_thread_may_take_another_thread_each_time(sqlite_place: SqlitePlace) -> None:
    async def main() -> int:
        with sqlite_place.open() as journal:
            for number in range(10):
                await asyncio.to_thread(journal.append, orders(number))
            return journal.position

    assert asyncio.run(main()) == 10


def test_threads_that_append_at_once_wait_for_each_other(place: Place) -> None:
    """And one that reads meanwhile sees whole appends alone."""
    seen: list[int] = []
    numbers = itertools.count()
    with place.open() as journal:
        is_over = threading.Event()

        def append() -> None:
            for _ in range(APPENDS):
                journal.append(orders(next(numbers), next(numbers)))

        def read() -> None:
            while not is_over.is_set():
                seen.append(len(list(journal.read())))

        with ThreadPoolExecutor(THREADS + 1) as pool:
            reading = pool.submit(read)
            for appending in [pool.submit(append) for _ in range(THREADS)]:
                appending.result()
            is_over.set()
            reading.result()
        assert journal.position == 2 * THREADS * APPENDS
        assert journal.verify().sound
    assert all(count % 2 == 0 for count in seen)
    assert seen == sorted(seen)


def test_a_journal_that_another_thread_closes_is_closed_by_name(sqlite_place: SqlitePlace) -> None:
    journal = sqlite_place.open()
    elsewhere(journal.close)
    with pytest.raises(JournalError, match="is closed"):
        journal.append([order(1)])


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_a_book_that_threads_change_at_once_is_what_its_journal_comes_to() -> None:
    journal, clock = MemoryJournal(), ManualClock()
    pm = PortfolioManager("EURUSD", journal=journal, clock=clock)
    numbers = itertools.count(1)

    def change() -> None:
        for _ in range(APPENDS):
            row = {"ticket": next(numbers), "symbol": "EURUSD", "type": "buy", "volume": 0.01}
            assert pm.force_add_position({**row, "price_open": 1.1})

    with ThreadPoolExecutor(THREADS) as pool:
        for changing in [pool.submit(change) for _ in range(THREADS)]:
            changing.result()
    again = PortfolioManager("EURUSD", journal=journal, clock=clock)
    assert list(pm.book.holdings) == list(again.book.holdings)
    assert pm.book.state() == again.book.state()
