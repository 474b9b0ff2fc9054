"""Accounts: all books of a folder, the worst first; and the charts, with what they lack."""

from __future__ import annotations

import html
import re

import pytest

from tests.page.folder import Folder
from trueup.doors.page.past.figures import charts
from trueup.doors.page.samples import MINUTES_KEPT, SAMPLE_SEC, SAMPLES_KEPT, Sample, Samples
from trueup.doors.watch import Seen
from trueup.observe.status.status import Money, State, Status

pytestmark = pytest.mark.timeout(300)


def test_books_are_listed_with_the_worst_first_and_each_can_be_opened(folder: Folder) -> None:
    first = folder.bot("first.log")
    first.child.kill()
    first.child.wait()
    folder.run("terminal", "--stop")
    folder.bot("second.log")
    page = folder.page().reader
    _, text = page.get("/accounts")
    assert "<h1>2 books: 1 needs person, 1 agrees</h1>" in text
    assert "Both books are flat. Nothing is yours to do." in text
    assert "No bot runs, and its book is flat. One action is yours." in text
    (ended,) = re.findall(r'href="(/\?book=[^"]*)">[^<]*</a> <span class="bad">', text)
    # The book of the journal has the sentence that the list has.
    _, now = page.get(html.unescape(ended))
    assert "<h1>No bot runs, and its book is flat. One action is yours.</h1>" in now
    assert "No bot answers, so nothing" in page.get(html.unescape(f"/approve{ended[1:]}"))[1]


def test_a_book_that_another_folder_writes_is_not_called_dead(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Folder(tmp_path_factory.mktemp("other"))
    try:
        shared = str(folder.folder / "shared.db")
        other.bot("bot.log", "--journal", shared)
        folder.bot("bot.log", "--journal", shared)
        text = folder.page("--journal", shared).reader.get("/accounts")[1]
        assert "writes this book: the page of its own folder tells its state." in text
        assert "No bot runs" not in text
    finally:
        other.clean()


def test_charts_say_what_they_lack_and_begin_with_the_page(folder: Folder) -> None:
    bot = folder.start("bot.log", "paper", "--strategy", "once:BuyOnce")
    ticket = bot.ticket()
    page = folder.page().reader
    page.wait_for("/books", str(ticket))
    folder.run("trade", "close", str(ticket))
    text = html.unescape(page.wait_for("/figures", 'Realised</h2><p class="dim">Now'))
    for title in ("Equity", "Age of the reading", "Time of a sync", "Realised", "Drifts"):
        assert title in text
    assert "the time of a sync and the share of answers are not in the journal" in text
    assert "The bot answered, of what the page asked" in text
    bot.child.kill()
    bot.child.wait()
    assert page.get("/figures")[0] == 200


def seen(at_sec: float, source: str = "bot") -> Seen:
    status = Status(
        state=State.AGREES,
        sentence="",
        works="",
        basis="",
        source=source,
        now="",
        stream="book",
        money=Money(equity=at_sec),
    )
    return Seen(1, round(at_sec * 1e9), (status,))


def test_samples_are_one_in_some_seconds_and_tell_how_often_the_bot_answered() -> None:
    samples = Samples()
    for second in range(420):
        samples.note(seen(1_020.0 + second, "journal" if second >= 240 else "bot"))
    kept = samples.of("book")
    assert [one.at_sec for one in kept] == [1_020 + SAMPLE_SEC * n for n in range(84)]
    # An hour is not covered yet, so nothing is said of it.
    assert samples.answered("book", 1_440.0) == [
        ("last 5 minutes", "40.0 %"),
        ("since 1970-01-01 00:17", "57.1 %"),
    ]
    assert samples.answered("another book", 1_440.0) == []
    # A clock that was set back keeps its samples coming.
    samples.note(seen(5.0))
    assert samples.of("book")[-1].at_sec == 5.0


def test_a_week_of_answers_is_kept_in_little_memory() -> None:
    samples = Samples()
    for minute in range(11_000):
        samples.note(seen(60.0 * minute, "journal" if minute % 10 == 0 else "bot"))
    shares = dict(samples.answered("book", 60.0 * 10_999))
    assert (shares["last 1 day"], shares["last 1 week"]) == ("90.0 %", "90.0 %")
    assert len(samples.of("book")) == 11_000 <= SAMPLES_KEPT
    assert len(samples.of("book")) > MINUTES_KEPT


def test_a_chart_of_very_many_points_keeps_the_last() -> None:
    (equity, age, sync) = charts(None, [Sample(n, True, n, None, n + 1) for n in range(10_001)])
    assert (len(equity["of"]) <= 2_000, equity["of"][-1], age["of"]) == (True, 10_000, [])
    assert sync["of"][-1] == 10_001
