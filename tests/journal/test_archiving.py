"""Archived events: nothing lost, nothing doubled, and what is left proves itself."""

from __future__ import annotations

import contextlib
import functools
import gzip
import itertools
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.places import (
    NOW_NS,
    SOURCES,
    STREAM,
    Place,
    PostgresPlace,
    SqlitePlace,
    order,
    orders,
)
from tests.journal.test_journal_faults import open_up
from tests.money.stories import tell
from tests.support import forked
from tests.support.forking import needs_fork
from tests.support.posix_limits import files_limited_to, posix_only, without_root
from tests.support.servers import until
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.errors import EventsArchived, JournalConflict, JournalError
from trueup.journal import open_journal
from trueup.journal.backends.location import database_at
from trueup.journal.backends.salvage import salvage
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.database import migrate
from trueup.journal.database.database import FileDamaged
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.journal.writing import archiving
from trueup.journal.writing.archiving import Archived
from trueup.runtime.bot.portfolio import PortfolioManager

LATER_NS = 2 * NOW_NS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "archives"
    made.mkdir()
    return made


def archive(place: Place, before_ns: int, folder: Path, stream: str = STREAM) -> Archived | None:
    database = database_at(place.url)
    database.connect()
    try:
        return archiving.archive(database, stream, before_ns, folder, LATER_NS)
    finally:
        database.close()


def archived(place: Place, number: int, folder: Path) -> Archived:
    """Archive what is before the order of a number, which there must be."""
    done = archive(place, NOW_NS + number, folder)
    assert done is not None
    return done


def restore(place: Place, path: Path) -> Archived:
    database = database_at(place.url)
    database.connect()
    try:
        return archiving.restore(database, path)
    finally:
        database.close()


def filled(place: Place, count: int = 10) -> None:
    """Append transactions of three events each."""
    with place.open() as journal:
        for first in range(1, 3 * count, 3):
            journal.append(orders(first, first + 1, first + 2))


def test_archive_when_old_events_are_moved_keeps_the_rest_and_proves_both(
    place: Place, folder: Path
) -> None:
    filled(place)
    with place.reader() as reader:
        before = list(reader.records())
    done = archived(place, 20, folder)
    # The last transaction before the moment stays, for the saved book.
    assert (done.first, done.last) == (1, 15)
    assert place.sql("SELECT min(position), max(position), count(*) FROM journal_events") == [
        (16, 30, 15)
    ]
    with place.reader() as reader:
        assert reader.verify().sound
        verdict = reader.verify(archives=True)
        assert (verdict.sound, verdict.tip.hash) == (True, before[-1].hash)
        assert list(reader.records()) == before
        assert list(reader.records(7)) == before[7:]
        assert list(reader.records(15)) == before[15:]
        assert list(reader.read(since_ns=NOW_NS + 5, until_ns=NOW_NS + 25)) == orders(*range(5, 25))
    with place.open() as journal:
        assert journal.findings == ()
        assert journal.append(orders(31)) == 31
        assert journal.verify(archives=True).sound


def test_archive_of_an_archived_journal_goes_on_where_the_first_ended(
    place: Place, folder: Path
) -> None:
    filled(place)
    first, second = archived(place, 10, folder), archived(place, 40, folder)
    assert (first.last, second.first, second.last) == (6, 7, 27)
    with place.reader() as reader:
        assert reader.verify(archives=True).sound
        assert list(reader.read()) == orders(*range(1, 31))
        assert reader.position == 30
    # A journal that ends with the only transaction that is left is opened as any other.
    with place.open() as journal:
        assert (journal.position, journal.findings) == (30, ())
        assert journal.append(orders(31)) == 31


def test_overview_says_what_is_archived_of_each_stream(place: Place, folder: Path) -> None:
    filled(place)
    (before,) = overview(place.url).streams
    assert (before.events, before.archived, before.archives) == (30, 0, 0)
    archived(place, 10, folder)
    done = archived(place, 20, folder)
    (after,) = overview(place.url).streams
    assert (after.events, after.archived, after.archives) == (30, done.last, 2)


def test_archive_when_nothing_is_old_enough_changes_nothing(place: Place, folder: Path) -> None:
    filled(place)
    before = place.sql("SELECT version_num FROM journal_revision")
    assert archive(place, NOW_NS, folder) is None
    # One transaction alone has to stay.
    assert archive(place, NOW_NS + 4, folder) is None
    assert list(folder.iterdir()) == []
    assert place.sql("SELECT version_num FROM journal_revision") == before


def test_journal_with_an_archive_is_refused_by_a_release_that_knows_none(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(place)
    archived(place, 20, folder)
    monkeypatch.setattr(migrate, "HEAD", "0001")
    for attempt in (place.open, place.reader):
        with pytest.raises(JournalError, match="written by a newer trueup"):
            attempt()


def test_file_is_read_by_common_tools(place: Place, folder: Path) -> None:
    filled(place)
    done = archived(place, 20, folder)
    head, *rows, end = map(json.loads, gzip.decompress(done.file.read_bytes()).splitlines())
    assert (head["stream"], head["first"], end["last"]) == (STREAM, 1, 15)
    assert [row[0] for row in rows] == list(range(1, 16))
    assert json.loads(rows[0][4])["order_id"] == "order-1"
    assert done.file.stat().st_mode & 0o077 == 0 or sys.platform == "win32"


def test_restore_when_all_are_put_back_leaves_the_journal_as_it_was(
    place: Place, folder: Path
) -> None:
    filled(place)
    with place.reader() as reader:
        before = list(reader.records())
    first, second = archived(place, 10, folder), archived(place, 40, folder)
    for done in (second, first):
        assert restore(place, done.file)[:3] == done[:3]
    folder.rename(folder.with_name("elsewhere"))
    with place.reader() as reader:
        assert (reader.archived, reader.verify().sound) == ([], True)
        assert list(reader.records()) == before
    assert place.sql("SELECT count(*) FROM journal_events") == [(30,)]
    # Earlier releases know this journal again.
    assert place.sql("SELECT version_num FROM journal_revision") == [("0001",)]
    folder.with_name("elsewhere").rename(folder)
    for path in folder.iterdir():
        path.unlink()
    assert archived(place, 20, folder).last == 15


def test_reading_that_began_before_an_archiving_goes_on_in_the_file(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.journal.reading.table.PAGE", 4)
    filled(place)
    with place.reader() as reader:
        reading = reader.read()
        assert next(reading) == order(1)
        archived(place, 20, folder)
        assert list(reading) == orders(*range(2, 31))
        timed = reader.read(since_ns=NOW_NS + 16)
        assert next(timed) == order(16)
        archived(place, 29, folder)
        with pytest.raises(JournalError, match="were archived while they were read"):
            list(timed)


def test_proof_that_began_before_an_archiving_finds_no_damage(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.journal.reading.table.PAGE", 4)
    filled(place)
    moments = iter([20])

    def tell(_: int) -> None:
        for number in moments:
            archived(place, number, folder)

    with place.reader() as reader:
        assert reader.verify(tell) == reader.verify(archives=True)


# Stories of orders, positions, deals and doubts, with restarts; see tests/money.
@functools.cache
def history(seed: int) -> list[events.Event]:
    """Return the events of a story."""
    story = tell(seed)
    journal = story.pm.journal
    assert journal is not None
    return list(journal.read())


STREAMS = itertools.count()


@given(
    seed=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_fold_from_the_saved_book_of_an_archive_equals_the_fold_of_all(
    sqlite_place: SqlitePlace, folder: Path, seed: int, sizes: list[int], cuts: list[float]
) -> None:
    stream, story = f"stream-{next(STREAMS)}", history(seed)
    whole = Book().replay(story)
    with sqlite_place.open(stream) as journal:
        rest = iter(story)
        for size in itertools.cycle(sizes):
            batch = list(itertools.islice(rest, size))
            if not batch:
                break
            journal.append(batch)
        # What a bot had saved is dropped with its events; nothing else may be.
        journal.checkpoint(1, Book().replay(story[:1]).state())
        for cut in cuts:
            archive(sqlite_place, story[int(cut * (len(story) - 1))].at_ns + 1, folder, stream)
        with hidden(folder):
            saved = journal.latest_checkpoint()
            book = Book() if saved is None else Book.restore(saved.state)
            book.replay(journal.read(after=book.version))
            assert book.state() == whole.state()
            assert book.realised_by == whole.realised_by
        assert Book().replay(journal.read()).state() == whole.state()
        assert journal.verify(archives=True).sound


@contextlib.contextmanager
def hidden(folder: Path) -> Iterator[None]:
    """Have a folder elsewhere meanwhile."""
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    yield
    elsewhere.rename(folder)


def test_events_of_an_archive_that_is_elsewhere_are_named(place: Place, folder: Path) -> None:
    filled(place)
    done = archived(place, 20, folder)
    with hidden(folder), place.reader() as reader:
        with pytest.raises(EventsArchived, match="The events 1 to 15 of stream") as refused:
            list(reader.read())
        assert str(done.file) in str(refused.value)
        assert "trueup journal restore" in refused.value.with_remedy
        assert list(reader.read(15)) == orders(*range(16, 31))
        assert list(reader.read(since_ns=NOW_NS + 16)) == orders(*range(16, 31))
        assert reader.readable_after == 15
        saved = reader.beginning()
        assert saved is not None
        assert Book.restore(saved.state).version == saved.position == 18
        # The journal proves itself without the file, and says so if the file is asked for.
        assert reader.verify().sound
        (fault,) = reader.verify(archives=True).faults
        assert "cannot be read" in fault.because
    with place.reader() as reader:
        assert reader.readable_after == 0
        assert reader.beginning() is None


def test_bot_starts_from_an_archive_that_is_elsewhere(place: Place, folder: Path) -> None:
    story = history(1)
    with place.open("EURUSD") as journal:
        for event in story:
            journal.append([event])
        first = journal.first_hash
    with PortfolioManager("EURUSD", journal=place.open("EURUSD")) as before:
        state, journal_id, realised = before.book.state(), before.journal_id, before.realised
    assert archive(place, LATER_NS, folder, "EURUSD") is not None
    place.sql("DELETE FROM journal_checkpoints")
    ids = [event.order_id for event in story if isinstance(event, events.OrderCreated)]
    with hidden(folder), PortfolioManager("EURUSD", journal=place.open("EURUSD")) as after:
        assert after.book.state() == state
        assert (after.journal_id, after.realised) == (journal_id, realised)
        # An order of the archive is not taken for one that the journal lost.
        assert after.recorded_among([*ids, "another"]) == set(ids)
    with place.reader("EURUSD") as reader:
        assert reader.first_hash == first


@pytest.mark.parametrize("column", ["hash", "book", "first_position", "hash_before"])
def test_altered_anchor_is_found(place: Place, folder: Path, column: str) -> None:
    filled(place)
    archived(place, 10, folder)
    archived(place, 20, folder)
    value = 5 if column == "first_position" else bytes(32)
    place.sql(f"UPDATE journal_archives SET {column} = ? WHERE position = 15", value)
    said = {
        "book": (18, "the archive's saved book at position 18 is damaged", False),
        "hash_before": (7, "the archived events before it have another end", False),
        "first_position": (5, "the archived events before it have another end", False),
    }
    with place.reader() as reader:
        faults = reader.verify().faults
        assert faults
        if column in said:
            assert faults == (said[column],)


def test_missing_anchor_is_found(place: Place, folder: Path) -> None:
    filled(place)
    archived(place, 20, folder)
    place.sql("DELETE FROM journal_archives")
    with place.reader() as reader:
        assert "position 1 is missing" in reader.verify().faults[0].because


def damaged(done: Archived, how: str) -> None:
    """Damage a file."""
    text = gzip.decompress(done.file.read_bytes())
    match how:
        case "byte":
            text = text.replace(b"order-7", b"order-8")
        case "cut":
            text = text[: len(text) // 2]
        case "lines":
            lines = text.splitlines(keepends=True)
            text = b"".join(lines[:3] + lines[4:])
        case "version":
            text = text.replace(b'"version": 1', b'"version": 2')
        case "other":
            text = b'{"a": 1}\n'
        case "packed":
            done.file.write_bytes(gzip.compress(text, mtime=5))
            return
        case "bare":
            done.file.write_bytes(text)
            return
        case "half":
            done.file.write_bytes(done.file.read_bytes()[:-40])
            return
    done.file.write_bytes(gzip.compress(text, mtime=0))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("byte", "the event at position 7 was altered"),
        ("cut", "cannot be read"),
        ("lines", "the event at position 3 is missing"),
        ("version", "written by a newer trueup (archive format 2; this one knows 1)"),
        ("other", "is no archive of a journal, or is damaged: its first line cannot be read"),
        ("packed", "is not the file that was written: its SHA-256"),
        ("bare", "is no archive of a journal, or is damaged: it is no gzip file"),
        ("half", "cannot be read"),
    ],
)
def test_restore_of_a_damaged_file_says_so_and_changes_nothing(
    sqlite_place: SqlitePlace, folder: Path, how: str, said: str
) -> None:
    filled(sqlite_place)
    done = archived(sqlite_place, 20, folder)
    damaged(done, how)
    before = sqlite_place.sql("SELECT stream, position, hash FROM journal_events")
    with pytest.raises(JournalError) as refused:
        restore(sqlite_place, done.file)
    assert said in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sqlite_place.sql("SELECT stream, position, hash FROM journal_events") == before
    with sqlite_place.reader() as reader:
        assert reader.verify().sound
        assert said in reader.verify(archives=True).faults[0].because
        if how != "packed":
            with pytest.raises(JournalError):
                list(reader.read())


def test_restore_of_another_journal_s_file_or_an_older_one_is_refused(
    sqlite_place: SqlitePlace, folder: Path, tmp_path: Path
) -> None:
    filled(sqlite_place)
    first, second = archived(sqlite_place, 10, folder), archived(sqlite_place, 40, folder)
    with pytest.raises(
        JournalError, match=r"has earlier events .* put .*-7-27.jsonl.gz back first"
    ):
        restore(sqlite_place, first.file)
    with pytest.raises(JournalError, match="cannot be read: no such file"):
        restore(sqlite_place, folder / "none")
    restore(sqlite_place, second.file)
    for stream, words in (("other", "nothing is archived"), (STREAM, "is not the archive of")):
        path = tmp_path / f"{stream}.db"
        with open_journal(path, stream, now_ns=lambda: 1) as journal:
            for number in range(1, 60):
                journal.append([order(number + 100)])
        database = database_at(path)
        database.connect()
        there = tmp_path / stream
        there.mkdir()
        done = archiving.archive(database, stream, LATER_NS, there, LATER_NS)
        database.close()
        assert done is not None
        if stream == "other":
            sqlite_place.open("other").close()
        with pytest.raises(JournalError, match=words):
            restore(sqlite_place, done.file)
    assert restore(sqlite_place, first.file).last == 6


def test_file_in_place_of_another_stream_s_is_refused(
    sqlite_place: SqlitePlace, folder: Path
) -> None:
    filled(sqlite_place)
    with sqlite_place.open("other") as journal:
        for number in range(1, 20):
            journal.append([order(number)])
    done = archived(sqlite_place, 20, folder)
    other = archive(sqlite_place, LATER_NS, folder, "other")
    assert other is not None
    done.file.write_bytes(other.file.read_bytes())
    with sqlite_place.reader() as reader, pytest.raises(JournalError, match="of stream 'other'"):
        list(reader.read())


def test_file_with_another_end_is_refused_after_what_it_has(place: Place, folder: Path) -> None:
    filled(place)
    shorter = archived(place, 10, folder)
    content = shorter.file.read_bytes()
    restore(place, shorter.file)
    done = archived(place, 20, folder)
    done.file.write_bytes(content)
    said = (
        f"{done.file} is not the archive of the events 1 to 15 of stream {STREAM!r}, though its "
        "name or place says so."
    )
    with place.reader() as reader:
        reading = reader.read()
        assert list(itertools.islice(reading, 6)) == orders(*range(1, 7))
        with pytest.raises(JournalError) as refused:
            next(reading)
        assert str(refused.value) == said
        assert reader.verify(archives=True).faults == ((1, said.rstrip("."), False),)
    with pytest.raises(JournalError) as refused:
        restore(place, done.file)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("missing", r"^Nothing can be archived to .*missing: there is no such folder\.$"),
        ("file", r"^Nothing can be archived to .*file: it is a file\.$"),
        pytest.param(
            "/proc",
            "^Nothing was archived: /proc takes no file: ",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc"),
        ),
    ],
)
def test_folder_that_takes_no_file_is_named_and_nothing_changes(
    place: Place, tmp_path: Path, where: str, said: str
) -> None:
    filled(place)
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=said):
        archive(place, NOW_NS + 20, tmp_path / where)
    with place.reader() as reader:
        assert reader.archived == []
        assert len(list(reader.read())) == 30


@posix_only
def test_folder_in_which_this_user_may_not_write_is_named(tmp_path: Path) -> None:
    open_up(tmp_path)
    tmp_path.chmod(0o555)
    try:
        with without_root(), pytest.raises(JournalError) as refused:
            archiving.writable(tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert str(refused.value) == (
        f"Nothing can be archived to {tmp_path}: this user may not write there."
    )


@posix_only
def test_disk_that_is_full_while_a_file_is_written_keeps_nothing_of_it(
    place: Place, folder: Path
) -> None:
    filled(place)
    database = database_at(place.url)
    database.connect()
    with files_limited_to(300), pytest.raises(JournalError) as refused:
        archiving.archive(database, STREAM, NOW_NS + 20, folder, LATER_NS)
    database.close()
    assert str(refused.value) == f"Nothing was archived: {folder} takes no file: file too large."
    assert list(folder.iterdir()) == []
    with place.reader() as reader:
        assert reader.archived == []
    assert archived(place, 20, folder).last == 15


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        ("EURUSD@Demo-Server=1_2.3", "EURUSD@Demo-Server=1_2.3"),
        ("x" * 80, "x" * 80),
        ("x" * 81, f"{'x' * 80}-{zlib.crc32(b'x' * 81):08x}"),
        ("1@s/magic=7;all", f"1@s_magic=7_all-{zlib.crc32(b'1@s/magic=7;all'):08x}"),
    ],
)
def test_file_is_named_after_its_stream_and_positions(
    sqlite_place: SqlitePlace, folder: Path, stream: str, name: str
) -> None:
    with sqlite_place.open(stream) as journal:
        for number in range(1, 6):
            journal.append([order(number)])
    for before_ns, positions in ((NOW_NS + 4, "1-2"), (LATER_NS, "3-4")):
        done = archive(sqlite_place, before_ns, folder, stream)
        assert done is not None
        assert done.file == folder.resolve() / f"{name}-{positions}.jsonl.gz"


def test_long_archiving_tells_how_far_it_is_once_a_page(
    sqlite_place: SqlitePlace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "PAGE", 7)
    filled(sqlite_place)
    database, told, put_back = database_at(sqlite_place.url), list[int](), list[int]()
    database.connect()
    try:
        done = archiving.archive(database, STREAM, LATER_NS, folder, LATER_NS, told.append)
        assert done is not None
        archiving.restore(database, done.file, put_back.append)
    finally:
        database.close()
    assert (told, put_back) == ([9, 15, 21, 30], [7, 14, 21, 27])


def test_stream_that_is_not_there_is_refused_with_those_that_are(
    sqlite_place: SqlitePlace,
) -> None:
    database = database_at(sqlite_place.url)
    database.connect()
    try:
        for known in ("none yet", "'a'", "'a', 'b'"):
            with pytest.raises(JournalError) as refused:
                archiving.stream_names(database, "other")
            assert str(refused.value) == (
                f"There is no stream 'other' in {database.name}: it has {known}."
            )
            sqlite_place.open("b" if known == "'a'" else "a").close()
        assert archiving.stream_names(database, None) == ["a", "b"]
        assert archiving.stream_names(database, "b") == ["b"]
    finally:
        database.close()


def test_file_of_the_same_name_is_kept_unless_it_is_the_same(place: Place, folder: Path) -> None:
    filled(place)
    done = archived(place, 20, folder)
    restore(place, done.file)
    # As after a kill between file and anchor.
    assert archived(place, 20, folder) == done
    restore(place, done.file)
    done.file.write_bytes(b"something else")
    with pytest.raises(JournalError, match="is there already and has something else"):
        archived(place, 20, folder)
    assert done.file.read_bytes() == b"something else"
    with place.reader() as reader:
        assert reader.verify(archives=True).sound
        assert reader.archived == []


def test_second_archiving_at_the_same_time_is_refused(place: Place, folder: Path) -> None:
    filled(place)
    database = database_at(place.url)
    database.connect()
    with database.maintaining(), pytest.raises(JournalConflict, match="wait until it has ended"):
        archived(place, 20, folder)
    database.close()
    archived(place, 20, folder)


def test_damaged_journal_is_not_archived(place: Place, folder: Path) -> None:
    filled(place)
    place.sql("UPDATE journal_events SET at_ns = 5 WHERE position = 8")
    with pytest.raises(JournalError, match="position 8 was altered"):
        archived(place, 20, folder)
    assert list(folder.iterdir()) == []
    assert place.sql("SELECT count(*) FROM journal_events") == [(30,)]


def test_events_that_no_book_comes_from_are_not_archived(place: Place, folder: Path) -> None:
    with place.open() as journal:
        sent = events.SendStarted(at_ns=NOW_NS, order_id="unknown")
        journal.append([sent])
        journal.append(orders(1))
    with pytest.raises(JournalError, match="does not follow from those before it"):
        archived(place, 20, folder)
    assert list(folder.iterdir()) == []


def test_damaged_file_of_an_archived_journal_is_mended_with_its_anchor(
    sqlite_place: SqlitePlace, folder: Path
) -> None:
    filled(sqlite_place)
    archived(sqlite_place, 20, folder)
    sqlite_place.sql("UPDATE journal_events SET at_ns = 5 WHERE position = 25")
    salvage(sqlite_place.path, at_any_loss=True)
    with sqlite_place.reader() as reader:
        assert reader.position == 24
        assert list(reader.read()) == orders(*range(1, 25))
        assert [one.position for one in reader.archived] == [15]


def test_file_whose_revision_is_damaged_is_mended_as_far_as_it_can_be_read(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(sqlite_place)

    def damaged(_: object) -> str:
        raise FileDamaged("the page of the revision")

    sqlite_place.sql("UPDATE journal_events SET at_ns = 5 WHERE position = 25")
    with sqlite_place.reader() as reader, monkeypatch.context() as patched:
        patched.setattr(SqliteDatabase, "revision", damaged)
        assert len(list(itertools.islice(reader.read(), 24))) == 24


def kill_at_statements(place: Place, folder: Path, first: int, every: int) -> None:
    """Kill an archiving, and putting back, at each of so many statements; look at what is left."""
    filled(place)
    with place.reader() as reader:
        tip = reader.verify().tip.hash.hex()
    process = Path(__file__).with_name("archiving_process.py")
    words = [place.url, STREAM, str(folder), str(NOW_NS + 20), tip, str(first), str(every)]
    done = forked.run(
        [str(process), *words],
        cwd=SOURCES,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONUTF8": "1"},
        timeout=110,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(("whole", "done 0"))] == [], done.stderr
    kills = [
        line for line in lines if line.startswith(("archive ", "restore ")) and "done" not in line
    ]
    assert {line.split()[0] for line in kills} == {"archive", "restore"}
    assert len(kills) > 40 / every


@needs_fork
@pytest.mark.parametrize("part", [1, 2, 3])
def test_process_when_killed_at_any_statement_loses_and_doubles_nothing(
    sqlite_place: SqlitePlace, folder: Path, part: int
) -> None:
    kill_at_statements(sqlite_place, folder, part, 3)


@needs_fork
def test_process_when_killed_at_some_statements_on_a_server_loses_and_doubles_nothing(
    postgres_place: PostgresPlace, folder: Path
) -> None:
    # The statements are the same, and each of them takes much longer.
    kill_at_statements(postgres_place, folder, 5, 10)


@needs_fork
@pytest.mark.soak
@pytest.mark.parametrize("part", range(1, 16))
def test_process_when_killed_at_every_statement_on_a_server_loses_and_doubles_nothing(
    postgres_place: PostgresPlace, folder: Path, part: int
) -> None:
    kill_at_statements(postgres_place, folder, part, 15)


def test_bot_that_writes_meanwhile_is_not_kept_from_it(place: Place, folder: Path) -> None:
    with place.writer_process() as writer:
        writer.tell("loop 3")

        def is_archived() -> bool:
            # A writer that never pauses may keep a SQLite file locked for longer than we wait.
            with contextlib.suppress(JournalError):
                return archive(place, time.time_ns(), folder) is not None
            return False

        for _ in range(3):
            until(is_archived)
        said = writer.kill()
    place.wait_until_left()
    # The last line may be cut by the kill.
    assert [line for line in said[:-1] if not line.isdigit()] == []
    acknowledged = max(int(line) for line in said[:-1])
    with place.reader() as reader:
        assert len(reader.archived) >= 3
        assert reader.position >= acknowledged
        assert reader.verify(archives=True).sound
        seen = [record.position for record in reader.records()]
        assert seen == list(range(1, reader.position + 1))
    with place.open() as journal:
        assert journal.findings == ()
        assert whole_of(journal).version == journal.position


def whole_of(reader: JournalReader) -> Book:
    """Return the book of a stream, by its saved book."""
    saved = reader.latest_checkpoint()
    assert saved is not None
    book = Book.restore(saved.state)
    return book.replay(reader.read(after=book.version))
