"""Many streams in one file, each with a connection and a thread of its own in this process."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trueup.core.book.events import SyncAsked
from trueup.journal import open_journal, open_reader
from trueup.journal.backends import sqlite
from trueup.journal.backends.lockfile import lock_files

NOW_NS = 1_767_571_200_000_000_000
STREAMS, APPENDS = 16, 12


def test_the_writers_of_one_process_take_turns_and_none_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite gives up at once: whoever is not refused had the file to itself.
    monkeypatch.setattr(sqlite, "BUSY_S", 0.0)
    path = tmp_path / "books.db"
    journals = [
        open_journal(path, f"stream-{number}", now_ns=lambda: NOW_NS) for number in range(STREAMS)
    ]
    together = threading.Barrier(STREAMS)

    def write(number: int) -> None:
        together.wait(60)
        for count in range(APPENDS):
            event = SyncAsked(at_ns=NOW_NS + count, by=f"writer {number}", why="")
            journals[number].append([event])

    with ThreadPoolExecutor(STREAMS) as pool:
        for done in [pool.submit(write, number) for number in range(STREAMS)]:
            done.result(60)
    for journal in journals:
        journal.close()
    with open_reader(path, "stream-7") as reader:
        assert reader.verify().sound
        assert reader.position == APPENDS


def test_the_lock_of_a_stream_is_found_without_a_step_for_each_other_stream(tmp_path: Path) -> None:
    """Each of a thousand streams in a file took twice the time of each of five hundred to open."""

    def steps(count: int) -> int:
        for number in range(count):
            (tmp_path / f"bot.db.other{number}.1.lock").touch()
        calls: list[str] = []

        def note(_frame: object, event: str, _argument: object) -> None:
            if event == "call":
                calls.append(event)

        sys.setprofile(note)
        try:
            found = lock_files(tmp_path / "bot.db", "mine")
        finally:
            sys.setprofile(None)
        assert list(found) == [4]
        return len(calls)

    for name in ("bot.db.mine.4.lock", "bot.db.mine.x.lock", "bot.db.minesweeper.5.lock"):
        (tmp_path / name).touch()
    assert steps(3) == steps(300)
