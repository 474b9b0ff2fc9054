"""Any moment of a long journal: the same books as by a fold of the whole journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.page_journal import event_of, state_of
from tests.paper.deadline import wait_for
from trueup.doors.page.past import landmarks
from trueup.doors.page.past.landmarks import Landmarks, NotYet
from trueup.journal import open_journal, open_reader
from trueup.journal.reading.reader import JournalReader
from trueup.observe.replay_text import Scene
from trueup.runtime.story.replay import replay

EVENTS = 401
END_NS = 2**63 - 1


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "EVERY", 50)
    monkeypatch.setattr(landmarks, "NEAR", 60)


def written(path: Path, *, first: int = 0, checkpoint: int = 0) -> Path:
    with open_journal(path, "book", now_ns=lambda: 1) as journal:
        for number in range(EVENTS):
            # The open positions differ from moment to moment, and the dates too.
            journal.append([event_of(first + number if number else 0)])
        if checkpoint:
            journal.checkpoint(checkpoint, state_of(checkpoint))
    return path


class Looker:
    """Somebody who looks at moments of one journal."""

    def __init__(self, path: Path) -> None:
        self.path, self.landmarks = path, Landmarks()

    @contextmanager
    def opened(self) -> Iterator[JournalReader]:
        with open_reader(self.path, "book") as reader:
            yield reader

    def look(self, position: int, at_ns: int = END_NS) -> Scene:
        with self.opened() as reader:
            books = self.landmarks.books(
                reader, self.opened, str(self.path), position=position, at_ns=at_ns
            )
            return books.scene("book", 7, [])

    def look_patiently(self, position: int, at_ns: int = END_NS) -> Scene:
        found: list[Scene] = []
        said = [""]

        def is_there() -> bool:
            try:
                found.append(self.look(position, at_ns))
            except NotYet as error:
                said[0] = str(error)
            return bool(found)

        wait_for(is_there, lambda: said[0])
        return found[0]

    def fold(self, position: int) -> Scene:
        with self.opened() as reader:
            records = (one for one in reader.records() if one.position <= position)
            return replay(records, "book", END_NS, 0)


def same(one: Scene, other: Scene) -> bool:
    return (one.position, one.rows, one.realised, one.last_event, one.in_doubt) == (
        other.position,
        other.rows,
        other.realised,
        other.last_event,
        other.in_doubt,
    )


def test_every_moment_is_the_same_by_landmarks_as_by_the_whole_journal(tmp_path: Path) -> None:
    looker = Looker(written(tmp_path / "j.db"))
    with pytest.raises(NotYet, match="reads the journal for the first time: 0 of 401 events"):
        looker.look(EVENTS)
    for position in (1, 49, 50, 51, 60, 99, 100, 203, 350, 400, EVENTS):
        assert same(looker.look_patiently(position), looker.fold(position)), position
    for position in (75, 300):
        at_ns = event_of(position - 1).at_ns
        assert same(looker.look_patiently(EVENTS, at_ns), looker.fold(position)), position


def test_a_moment_near_the_bots_checkpoint_needs_no_fold(tmp_path: Path) -> None:
    looker = Looker(written(tmp_path / "j.db", checkpoint=380))
    # The position that is open after event 396 was opened after the checkpoint.
    for position in (380, 396, EVENTS):
        seen, folded = looker.look(position), looker.fold(position)
        assert [(row.ticket, row.local, row.remote) for row in seen.rows] == [
            (row.ticket, row.local, row.remote) for row in folded.rows
        ]
        assert (seen.position, seen.realised) == (folded.position, folded.realised)
    with pytest.raises(NotYet):
        looker.look(379)


def test_another_journal_at_the_same_place_is_read_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "j.db")
    looker = Looker(path)
    before = looker.look_patiently(300)
    path.unlink()
    written(path, first=40)
    after = looker.look_patiently(300)
    assert same(after, looker.fold(300))
    assert not same(after, before)
