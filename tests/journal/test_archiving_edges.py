"""Archived events beside other journals, old notes, other users and other systems."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journal.places import NOW_NS, SOURCES, STREAM, Place, SqlitePlace, orders
from tests.journal.test_archiving import LATER_NS, archived, filled, folder, restore
from trueup.errors import JournalError
from trueup.journal.backends.location import database_at
from trueup.journal.backends.lockfile import all_lock_files
from trueup.journal.database.database import Database
from trueup.journal.rows.chain import Row
from trueup.journal.writing import archiving
from trueup.runtime.bot.portfolio import PortfolioManager

__all__ = ["folder"]


def test_note_of_an_event_that_was_archived_since_is_no_other_history(
    sqlite_place: SqlitePlace, folder: Path
) -> None:
    """As where a journal comes back to a machine that has the lock files of long ago."""
    place = sqlite_place
    filled(place, 2)
    notes = {path: path.read_bytes() for path in all_lock_files(place.path)}
    assert notes
    filled_on(place, 7, 30)
    archived(place, 20, folder)
    for path in all_lock_files(place.path):
        path.unlink()
    for path, note in notes.items():
        path.write_bytes(note)
    with place.open() as journal:
        assert (journal.position, journal.findings, journal.lost) == (30, (), "")


def filled_on(place: Place, first: int, last: int) -> None:
    """Append an event for each number, in transactions of three."""
    with place.open() as journal:
        for number in range(first, last, 3):
            journal.append(orders(number, number + 1, number + 2))


def test_events_that_are_archived_between_two_looks_of_a_reader_are_read(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(place)
    moments = iter([20])
    with place.reader() as reader:
        look = reader._archived

        def look_and_archive(after: int) -> Iterator[Row]:
            yield from look(after)
            for number in moments:
                archived(place, number, folder)

        # The live row is gone as well since it was looked for.
        monkeypatch.setattr(reader._table, "live_tip", lambda _: None)
        monkeypatch.setattr(reader, "_archived", look_and_archive)
        assert list(reader.read(6)) == orders(*range(7, 31))


def test_reader_of_a_journal_that_is_half_restored_finds_every_event_once(
    place: Place, folder: Path
) -> None:
    """Some rows are in the table again, while the file has all of them."""
    filled(place)
    columns = "stream, position, batch, at_ns, kind, payload, intent_id, hash"
    rows = place.sql(f"SELECT {columns} FROM journal_events WHERE position <= 6")
    archived(place, 20, folder)
    for row in rows:
        place.sql(f"INSERT INTO journal_events ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
    with place.reader() as reader:
        for after in (0, 3, 6, 9, 15, 18):
            assert list(reader.read(after)) == orders(*range(after + 1, 31))
        assert reader.verify(archives=True).sound


def test_opening_from_a_checkpoint_asks_twice_whether_there_are_archives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to connect and once to prove the end: a fleet opens thousands of journals."""
    with PortfolioManager("EURUSD", journal=place.open("EURUSD")) as before:
        before.commit(orders(1, 2, 3))
    kind = type(database_at(place.url))
    asked, revision = list[None](), kind.revision

    def count(database: Database) -> str | None:
        asked.append(None)
        return revision(database)

    monkeypatch.setattr(kind, "revision", count)
    with PortfolioManager("EURUSD", journal=place.open("EURUSD")) as after:
        assert after.book.version >= 3
        assert after.journal_id
        assert len(asked) == 2


def test_archive_when_the_saved_book_was_altered_makes_no_other_from_it(
    place: Place, folder: Path
) -> None:
    filled(place)
    first = archived(place, 20, folder)
    ((book,),) = place.sql("SELECT book FROM journal_archives")
    altered = bytes(book).replace(b"0.01", b"0.02")
    assert altered != bytes(book)
    place.sql("UPDATE journal_archives SET book = ?", altered)
    with pytest.raises(JournalError, match=r"saved book of stream .* is damaged") as refused:
        archived(place, 29, folder)
    assert str(first.file) in refused.value.with_remedy
    with place.reader() as reader:
        assert [one.position for one in reader.archived] == [first.last]
    restore(place, first.file)
    archived(place, 29, folder)
    with place.reader() as reader:
        assert reader.verify(archives=True).sound


def test_books_of_one_name_archived_to_a_folder_at_once_keep_their_files_apart(
    sqlite_place: SqlitePlace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    one, other = sqlite_place, SqlitePlace(tmp_path / "other", sqlite_place.path)
    filled(one)
    filled_on(other, 4, 30)
    monkeypatch.setattr(archiving, "PAGE", 4)
    moments = iter([25])

    def tell(_: int) -> None:
        for number in moments:
            archived(other, number, folder)

    database = database_at(one.url)
    database.connect()
    try:
        cut = NOW_NS + 20
        assert archiving.archive(database, STREAM, cut, folder, LATER_NS, tell) is not None
    finally:
        database.close()
    for place in (one, other):
        with place.reader() as reader:
            assert reader.archived
            assert reader.verify(archives=True).sound


def test_file_of_a_killed_attempt_is_written_again_and_not_trusted_to_be_on_the_disk(
    place: Place, folder: Path
) -> None:
    filled(place)
    done = archived(place, 20, folder)
    restore(place, done.file)
    left = done.file.stat().st_ino
    assert archived(place, 20, folder) == done
    assert done.file.stat().st_ino != left


@pytest.mark.skipif(os.name != "posix", reason="folders are not synced there")
def test_archive_is_whole_on_the_disk_before_its_anchor(
    sqlite_place: SqlitePlace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are deleted after the anchor: without power the file alone has the events."""
    on_disk: dict[int, bytes] = {}
    names: set[str] = set()

    def sync(handle: int) -> None:
        number = os.fstat(handle).st_ino
        for one in folder.iterdir():
            if one.stat().st_ino == number:
                on_disk[number] = one.read_bytes()
        if folder.stat().st_ino == number:
            names.update(one.name for one in folder.iterdir())

    commit, committed = archiving._commit_anchor, list[Path]()

    def checked(*arguments: Any) -> None:
        file = arguments[4]
        assert file.name in names
        assert on_disk[file.stat().st_ino] == file.read_bytes()
        committed.append(file)
        commit(*arguments)

    filled(sqlite_place)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(archiving, "_commit_anchor", checked)
    assert archived(sqlite_place, 20, folder).file in committed


def test_files_of_another_system_are_found_by_their_names(place: Place, folder: Path) -> None:
    filled(place)
    done = archived(place, 20, folder)
    place.sql("UPDATE journal_archives SET file = ?", rf"D:\archives\{done.file.name}")
    with place.reader() as reader:
        assert reader.verify(archives=True, folder=folder).sound


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="there are no users of that kind there")
def test_file_that_this_user_may_not_reach_counts_as_one_that_is_elsewhere(
    sqlite_place: SqlitePlace, folder: Path
) -> None:
    filled(sqlite_place)
    done = archived(sqlite_place, 20, folder)
    folder.chmod(0)
    try:
        asked = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER, str(done.file)],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.chmod(0o700)
    assert (asked.stdout, asked.stderr) == ("15\n", "")


# Root may read everything, so it becomes somebody else.
AS_ANOTHER_USER = """
import os, sys
from trueup.journal.reading.anchors import Anchor, readable_after
if os.getuid() == 0:
    os.setuid(65534)
anchor = Anchor(15, b"", 1, b"", b"", 0, 0, sys.argv[1], b"", 18, b"")
print(readable_after([anchor]))
"""


class Between:
    """Moves events while a statement of a database is on its way, once."""

    def __init__(self, database: Database, statement: str, move: Callable[[], object]) -> None:
        self._fetch, self._statement, self._moves = database.fetch, statement, iter([move])

    def __call__(self, statement: str, *parameters: object) -> list[Any]:
        rows = self._fetch(statement, *parameters)
        if statement == self._statement:
            for move in self._moves:
                # Another process; a reader's moment ends no sooner for it.
                move()
        return rows


@pytest.mark.parametrize("asked", ["read", "orders", "first", "verify"])
def test_events_that_are_put_back_between_two_looks_are_found(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    filled(place)
    with place.reader() as reader:
        first = reader.first_hash
    done = archived(place, 20, folder)
    with place.reader() as reader:
        database = reader._database
        sql = database.statements
        looks = {"read": sql.page, "orders": sql.intents, "first": sql.page, "verify": sql.anchors}

        def begin() -> None:
            move = Between(database, looks[asked], lambda: restore(place, done.file))
            monkeypatch.setattr(database, "fetch", move)

        if asked == "read":
            # The file has been read to its end.
            reading = reader.read(3)
            assert [next(reading) for _ in range(12)] == orders(*range(4, 16))
            begin()
            assert list(reading) == orders(*range(16, 31))
            return
        begin()
        match asked:
            case "orders":
                assert reader.orders_among(["order-5", "order-30", "x"]) == {"order-5", "order-30"}
            case "first":
                assert reader.first_hash == first
            case "verify":
                assert reader.verify().sound
