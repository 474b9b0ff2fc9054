"""The newest entries of a journal, and how far back a search goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.every_event import EVERY
from trueup.core.book import events
from trueup.doors.page.past import story
from trueup.doors.page.past.story import Search, newest, orders, steps
from trueup.journal import open_journal, open_reader
from trueup.journal.reading.reader import JournalReader

NOTE = next(one for one in EVERY if isinstance(one, events.PositionAdopted))


def written(path: Path, history: list[events.Event]) -> JournalReader:
    with open_journal(path, "book", now_ns=lambda: 1) as journal:
        journal.append(history)
    return open_reader(path, "book")


def test_the_newest_come_first_and_the_next_page_begins_where_this_one_ends(tmp_path: Path) -> None:
    with written(tmp_path / "j.db", [NOTE] * 250) as reader:
        first = newest(reader, Search())
        assert [row.position for row in first.rows] == [*range(250, 150, -1)]
        second = newest(reader, Search(before=first.older))
        assert [row.position for row in second.rows] == [*range(150, 50, -1)]
        third = newest(reader, Search(before=second.older))
        assert ([row.position for row in third.rows], third.older) == ([*range(50, 0, -1)], 0)


def test_a_search_without_a_find_goes_back_in_steps_and_says_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "FIRST_WINDOW", 10)
    monkeypatch.setattr(story, "SEARCHED", 80)
    with written(tmp_path / "j.db", [NOTE] * 200) as reader:
        found = newest(reader, Search(text="nowhere"))
        assert (found.rows, found.events, found.older) == ([], 200, 121)
        again = newest(reader, Search(text="nowhere", before=found.older))
        assert again.older == 41
        assert newest(reader, Search(text="nowhere", before=again.older)).older == 0


def test_an_order_is_found_however_far_back_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "FIRST_WINDOW", 10)
    created = next(one for one in EVERY if isinstance(one, events.OrderCreated))
    doubt = events.OrderInDoubt(created.at_ns + 1, created.order_id, "no answer")
    with written(tmp_path / "j.db", [created, *[NOTE] * 100, doubt]) as reader:
        assert [row.action for row in steps(reader, created.order_id)] == ["INTENT", "IN_DOUBT"]
        (row,) = orders(reader)
        assert (row.first.position, row.last.position, row.state) == (1, 102, "IN_DOUBT")
        assert steps(reader, "ORD_other") == []
