"""Who reads a journal's past, and what each does where old events are in an archive elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.places import NOW_NS, order, orders
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.doors.alerts.history import History
from trueup.doors.metrics.counting import Counting, journal_name
from trueup.doors.page.past import figures, landmarks, story
from trueup.errors import EventsArchived, JournalError
from trueup.journal import open_journal, open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.reading.reader import JournalReader
from trueup.journal.writing import archiving
from trueup.runtime.control.last_known import last_known
from trueup.runtime.doctor import journal as doctor
from trueup.runtime.story.story import last_entries

STREAM = "EURUSD"
COUNT, ARCHIVED = 40, 29


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of 40 orders, of which 29 are archived, with the file moved to another folder."""
    path, folder = tmp_path / "bot.db", tmp_path / "archives"
    folder.mkdir()
    with open_journal(path, STREAM, now_ns=lambda: NOW_NS) as journal:
        for number in range(1, COUNT + 1):
            journal.append([order(number)])
    database = database_at(path)
    database.connect()
    done = archiving.archive(database, STREAM, NOW_NS + 31, folder, 2 * NOW_NS)
    database.close()
    assert done is not None
    assert done.last == ARCHIVED
    folder.rename(tmp_path / "elsewhere")
    return path


@pytest.fixture
def reader(path: Path) -> Iterator[JournalReader]:
    with open_reader(path) as reader:
        yield reader


def test_status_has_the_whole_book(path: Path) -> None:
    status = last_known(path, STREAM, 2 * NOW_NS)
    assert len(status.in_doubt) == COUNT
    assert status.journal_trouble == ""


def test_doctor_proves_what_is_left(reader: JournalReader) -> None:
    assert doctor.damage_in(reader) == (
        "",
        f"whole, in order and unaltered after the archived {ARCHIVED}",
    )
    assert doctor.last_facts(reader).loss is None


def test_last_entries_are_those_that_are_left(reader: JournalReader) -> None:
    assert last_entries(reader) == ()
    assert reader.readable_after == ARCHIVED


@pytest.fixture
def damaged(path: Path) -> Path:
    """The same journal, with a damaged file at its place: whoever reads it is told so."""
    folder = (path.parent / "elsewhere").rename(path.parent / "archives")
    for file in folder.iterdir():
        file.write_bytes(b"damaged")
    return path


def test_last_entries_of_a_bot_need_no_archive(damaged: Path) -> None:
    """A bot asks after each change of its book, and an archive may have millions of events."""
    with open_reader(damaged) as reader:
        assert reader.readable_after == 0
        assert last_entries(reader) == ()
        assert reader.live_after == ARCHIVED


def test_first_entries_of_the_page_need_no_archive_and_the_older_ones_do(damaged: Path) -> None:
    with open_reader(damaged) as reader:
        found = story.newest(reader, story.Search())
        assert (len(found.rows), found.older) == (COUNT - ARCHIVED, ARCHIVED + 1)
        with pytest.raises(JournalError, match="damaged"):
            story.newest(reader, story.Search(before=found.older))


def test_page_shows_what_is_left_and_names_the_file_of_the_rest(reader: JournalReader) -> None:
    found = story.newest(reader, story.Search())
    assert (len(found.rows), found.older) == (COUNT - ARCHIVED, 0)
    assert len(story.orders(reader)) == COUNT - ARCHIVED
    assert len(story.steps(reader, "order-35")) == 1
    assert story.steps(reader, "no order") == []
    with pytest.raises(EventsArchived, match="events 1 to 29"):
        story.steps(reader, "order-3")


def test_page_has_both_books_from_the_saved_book_on(path: Path, reader: JournalReader) -> None:
    @contextlib.contextmanager
    def opened() -> Iterator[JournalReader]:
        with open_reader(path) as other:
            yield other

    kept = landmarks.Landmarks()
    books = kept.books(reader, opened, str(path), position=35, at_ns=NOW_NS + 35)
    assert books.position == 35
    with pytest.raises(EventsArchived):
        kept.books(reader, opened, str(path), position=20, at_ns=NOW_NS + 20)


def test_charts_begin_after_the_saved_book(reader: JournalReader) -> None:
    assert figures._begin(reader) == reader.beginning()
    assert len(figures._of_journal(reader)) == 3


def test_metrics_count_what_is_left_and_go_on(path: Path) -> None:
    key, counting = (journal_name(path), STREAM), Counting()
    counting.read([path], [key])
    assert [one.trouble for one in counting.journals] == [""]
    assert sum(counting.books[key].counts.values()) == COUNT - ARCHIVED
    with open_journal(path, STREAM, now_ns=lambda: NOW_NS) as journal:
        journal.append(orders(COUNT + 1))
    counting.read([path], [key])
    assert sum(counting.books[key].counts.values()) == COUNT - ARCHIVED + 1


def test_alerts_go_on_after_the_saved_book(path: Path) -> None:
    history = History(path, STREAM, 3)
    assert history.news("book") == []
    assert history.position == COUNT
    with open_journal(path, STREAM, now_ns=lambda: NOW_NS) as journal:
        doubt = events.OrderInDoubt(at_ns=NOW_NS, order_id="order-3", error="no answer")
        journal.append([doubt])
    (seen,) = history.news("book")
    assert list(seen.rows) == ["doubt"]
    history.close()


def test_saved_book_is_that_of_all_events(reader: JournalReader) -> None:
    saved = reader.beginning()
    assert saved is not None
    whole = Book().replay(orders(*range(1, COUNT + 1)))
    book = Book.restore(saved.state).replay(reader.read(after=saved.position))
    assert book.state() == whole.state()
