"""SQLite's files cut, overwritten or removed: read up to the last whole transaction, and mended."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.journal.places import NOW_NS, STREAM, SqlitePlace, order, orders
from tests.support.posix_limits import files_limited_to, posix_only
from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.journal import open_journal, open_reader
from trueup.journal.backends import salvage
from trueup.journal.backends.backup import back_up

PAGE_BYTES = 4096


def fill(place: SqlitePlace, events: int) -> None:
    """One transaction for each event, and a file without a log beside it."""
    with place.open() as journal:
        journal._database.run("PRAGMA synchronous=OFF")
        for number in range(1, events + 1):
            journal.append(orders(number))
        journal.checkpoint(1, b"one")


def crashed(place: SqlitePlace) -> Path:
    """Leave what a killed process leaves after 40 appends, and return its log."""
    place.open().close()
    with place.writer_process() as writer:
        for _ in range(40):
            writer.ask("append 1")
        writer.kill()
    return place.path.with_name("bot.db-wal")


def test_log_when_removed_is_reported(sqlite_place: SqlitePlace) -> None:
    crashed(sqlite_place).unlink()
    with sqlite_place.reader() as reader:
        (lost,) = reader.verify().faults
        assert "positions 1 to 40 were acknowledged and are gone" in lost.because
    with sqlite_place.open() as journal:
        assert "position 40 was acknowledged" in journal.findings[0]
        assert journal.token == 3
        assert journal.append(orders(1)) == 1
        assert journal.verify().sound


@pytest.mark.parametrize("kept", [0, 31, 5_000, 70_000])
def test_log_when_cut_is_read_up_to_the_last_whole_transaction(
    sqlite_place: SqlitePlace, kept: int
) -> None:
    log = crashed(sqlite_place)
    assert log.stat().st_size > kept
    with log.open("rb+") as file:
        file.truncate(kept)
    with sqlite_place.open() as journal:
        assert "position 40 was acknowledged" in journal.findings[0]
        assert journal.position < 40
        assert len(list(journal.read())) == journal.position
        assert journal.verify().sound


def test_log_when_its_last_bytes_are_garbage_loses_the_last_transaction_only(
    sqlite_place: SqlitePlace,
) -> None:
    log = crashed(sqlite_place)
    with log.open("rb+") as file:
        file.seek(-100, 2)
        file.write(b"\xaa" * 100)
    with sqlite_place.open() as journal:
        assert "ends at position 39" in journal.findings[0]
        assert len(list(journal.read())) == 39


def cut(path: Path, pages: int) -> None:
    size = path.stat().st_size
    assert size % PAGE_BYTES == 0
    with path.open("rb+") as file:
        file.truncate(size - pages * PAGE_BYTES)


def last_page_of_events(path: Path) -> int:
    """Return the number of the page with the newest events."""
    connection = sqlite3.connect(path)
    query = "SELECT max(pageno) FROM dbstat WHERE name = 'journal_events' AND pagetype = 'leaf'"
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        # Not every SQLite counts pages; a page that grew last lies at the end.
        return path.stat().st_size // PAGE_BYTES
    finally:
        connection.close()


def overwrite(path: Path, page: int) -> None:
    with path.open("rb+") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xaa" * PAGE_BYTES)


def test_file_when_cut_is_salvaged_up_to_the_last_whole_transaction(
    sqlite_place: SqlitePlace, caplog: pytest.LogCaptureFixture
) -> None:
    fill(sqlite_place, 300)
    cut(sqlite_place.path, 1)
    with sqlite_place.reader() as reader:
        readable = len(list(reader.read()))
        assert 250 < readable < 300
        faults = reader.verify().faults
        assert any("damaged" in fault.because for fault in faults)
        # What SQLite itself finds is about the file, and not about an event.
        assert faults[-1].position == 0
    with caplog.at_level(logging.WARNING), sqlite_place.open() as journal:
        assert "position 300 was acknowledged" in journal.findings[1]
        assert journal.position == readable
        assert list(journal.read()) == orders(*range(1, readable + 1))
        assert journal.latest_checkpoint() == (1, b"one")
        assert journal.append(orders(301)) == readable + 1
        assert journal.verify().sound
        assert [(one.__dict__["event"], one.getMessage()) for one in caplog.records[-2:]] == [
            ("journal.salvaged", f"[JOURNAL] {journal.findings[0]}"),
            ("journal.mended", f"[JOURNAL] {journal.findings[1]}"),
        ]
    kept = sqlite_place.path.with_name("bot.db.damaged-1")
    assert journal.findings[0] == (
        f"{sqlite_place.path} was damaged; what could be read is in its place, and the damaged "
        f"file is {kept}."
    )
    assert kept.stat().st_size > PAGE_BYTES
    with sqlite_place.open() as again:
        assert again.findings == ()


def test_file_when_its_newest_page_is_overwritten_is_salvaged(sqlite_place: SqlitePlace) -> None:
    fill(sqlite_place, 300)
    overwrite(sqlite_place.path, last_page_of_events(sqlite_place.path))
    with sqlite_place.open() as journal:
        assert 250 < journal.position < 300
        assert journal.verify().sound


def test_file_when_a_page_in_the_middle_is_overwritten_is_left_to_a_person(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place, 300)
    overwrite(sqlite_place.path, last_page_of_events(sqlite_place.path) - 3)
    before = sqlite_place.path.read_bytes()
    with sqlite_place.reader() as reader, pytest.raises(JournalCorrupt):
        list(reader.read())
    with sqlite_place.open() as journal, pytest.raises(JournalCorrupt):
        list(journal.read())
    with pytest.raises(JournalCorrupt) as refused:
        salvage.salvage(sqlite_place.path)
    # The readable rows go on after the damage, and no acknowledged event is behind the last.
    said = re.fullmatch(
        rf"{re.escape(str(sqlite_place.path))} is damaged: the event at position (\d+) cannot be "
        r"read\. More than its end is gone \((\d+) acknowledged events\), so it was left as it is: "
        r"restore a copy, or move it aside to start anew\.",
        str(refused.value),
    )
    assert said is not None
    assert int(said[1]) + int(said[2]) == 301
    assert len(sqlite_place.path.read_bytes()) == len(before)
    salvage.salvage(sqlite_place.path, at_any_loss=True)
    with sqlite_place.open() as journal:
        assert 200 < journal.position < 300
        assert journal.verify().sound


def test_file_with_much_of_its_end_gone_is_left_to_a_person(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvage, "LARGEST_LOSS", 5)
    fill(sqlite_place, 300)
    cut(sqlite_place.path, 3)
    with pytest.raises(JournalCorrupt, match="More than its end is gone"):
        sqlite_place.open()
    assert not list(sqlite_place.path.parent.glob("*.damaged-*"))


def test_file_with_the_largest_loss_that_needs_no_person_is_salvaged(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_place, 300)
    cut(sqlite_place.path, 1)
    with sqlite_place.reader() as reader:
        lost = 300 - len(list(reader.read()))
    monkeypatch.setattr(salvage, "LARGEST_LOSS", lost - 1)
    with pytest.raises(JournalCorrupt, match=rf"\({lost} acknowledged events\)"):
        sqlite_place.open()
    monkeypatch.setattr(salvage, "LARGEST_LOSS", lost)
    with sqlite_place.open() as journal:
        assert journal.position == 300 - lost


def test_file_of_garbage_is_refused_and_left_alone(sqlite_place: SqlitePlace) -> None:
    fill(sqlite_place, 10)
    overwrite(sqlite_place.path, 1)
    before = sqlite_place.path.read_bytes()
    with pytest.raises(JournalError, match="not a SQLite database"):
        sqlite_place.open()
    assert sqlite_place.path.read_bytes() == before


def test_damaged_file_with_another_stream_being_written_is_not_touched(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place, 300)
    with sqlite_place.writer_process() as writer:
        writer.ask("append 1")
        with pytest.raises(JournalConflict, match="another process has it open"):
            salvage.salvage(sqlite_place.path)


def test_damaged_file_that_another_process_mends_is_not_mended_twice(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place, 300)
    mended = pytest.raises(JournalConflict, match="another process is mending it")
    with salvage._alone(sqlite_place.path), mended:
        salvage.salvage(sqlite_place.path)


@pytest.mark.parametrize("step", ["bot.db", "bot.db-wal", "bot.db.salvaged"])
def test_salvage_that_was_interrupted_is_finished_by_the_next_opening(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before a file is moved: the damaged one, its log, or the new one."""
    fill(sqlite_place, 300)
    cut(sqlite_place.path, 1)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == step:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        sqlite_place.open()
    monkeypatch.undo()
    with sqlite_place.open() as journal:
        assert 250 < journal.position < 300
        assert journal.verify().sound
    assert not sqlite_place.path.with_name("bot.db.salvaged").exists()


def test_several_streams_are_salvaged_together(sqlite_place: SqlitePlace) -> None:
    with sqlite_place.open("a-stream-before") as other:
        other.append(orders(1, 2, 3))
    fill(sqlite_place, 300)
    cut(sqlite_place.path, 1)
    sqlite_place.open().close()
    with sqlite_place.open("a-stream-before") as other:
        assert list(other.read()) == orders(1, 2, 3)
        assert other.findings == ()


def test_file_that_was_removed_begins_anew_and_says_what_was_lost(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place, 3)
    sqlite_place.path.unlink()
    ticks = itertools.count(NOW_NS)
    with open_journal(sqlite_place.path, STREAM, now_ns=ticks.__next__) as journal:
        assert "position 3 was acknowledged" in journal.findings[0]
        assert journal.append([order(1)]) == 1


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(b"", id="never written"),
        pytest.param(b"\xff" * 99, id="garbage"),
        pytest.param(b"0000000000000000", id="cut"),
        pytest.param(f"{9:020d} {bytes(32).hex()} 00000000\n".encode(), id="of another check"),
    ],
)
def test_note_that_does_not_prove_itself_says_nothing(
    sqlite_place: SqlitePlace, note: bytes
) -> None:
    fill(sqlite_place, 3)
    sqlite_place.path.with_name(f"bot.db.{STREAM}.1.lock").write_bytes(note)
    with sqlite_place.open() as journal:
        assert journal.findings == ()
        assert journal.append(orders(4)) == 4


def test_note_that_lags_behind_is_no_fault(sqlite_place: SqlitePlace) -> None:
    """The machine may lose power after a commit and before the note is on its disk."""
    fill(sqlite_place, 3)
    lock = sqlite_place.path.with_name(f"bot.db.{STREAM}.1.lock")
    lagging = lock.read_bytes()
    with sqlite_place.open() as journal:
        journal.append(orders(4, 5))
    sqlite_place.path.with_name(f"bot.db.{STREAM}.2.lock").write_bytes(lagging)
    with sqlite_place.open() as journal:
        assert journal.findings == ()
        assert journal.position == 5
        assert journal.verify().sound


# Lock files.


def test_lock_file_that_cannot_be_removed_is_left_to_the_next_writer(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a paused process has it open."""

    def refused(path: Path) -> None:
        raise PermissionError(13, "used by another process", str(path))

    with sqlite_place.open() as first:
        first.append(orders(1))
        monkeypatch.setattr(Path, "unlink", refused)
        with sqlite_place.open(take_over=True) as second:
            assert (second.token, second.append(orders(2))) == (2, 2)
        monkeypatch.undo()
    with sqlite_place.open() as third:
        assert (third.token, third.position) == (3, 2)
    names = sorted(path.name for path in sqlite_place.path.parent.iterdir())
    assert names == ["bot.db", f"bot.db.{STREAM}.3.lock"]


# Copies.


def test_copy_beside_a_writer_has_what_is_still_in_the_log(sqlite_place: SqlitePlace) -> None:
    copy = sqlite_place.path.with_name("copy.db")
    with sqlite_place.open() as journal:
        journal.append(orders(1, 2))
        back_up(sqlite_place.path, copy)
        journal.append(orders(3))
    assert copy.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    with open_reader(copy) as reader:
        assert list(reader.read()) == orders(1, 2)
        assert reader.verify().sound


def test_copy_is_on_the_disk_before_it_is_called_made(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test can cut the power; what is synced is the copy, and a failure is told."""
    copy, synced = sqlite_place.path.with_name("copy.db"), list[int]()
    sqlite_place.open().close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
        back_up(sqlite_place.path, copy)
    assert synced == [copy.stat().st_ino]
    copy.unlink()

    def failed(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failed)
    said = (
        rf"^{re.escape(f'{sqlite_place.path} cannot be copied to {copy}')}: Input/output error\.$"
    )
    with pytest.raises(JournalError, match=said):
        back_up(sqlite_place.path, copy)
    assert not copy.exists()


def test_copy_does_not_replace_a_file(sqlite_place: SqlitePlace) -> None:
    copy = sqlite_place.path.with_name("copy.db")
    copy.write_bytes(b"earlier")
    with pytest.raises(JournalError) as refused:
        back_up(sqlite_place.path, copy)
    assert str(refused.value) == (
        f"{copy} is there already: give a new name, so that no copy is lost."
    )
    assert copy.read_bytes() == b"earlier"


@posix_only
def test_copy_that_does_not_fit_on_the_disk_is_told_and_not_left(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place, 100)
    copy = sqlite_place.path.with_name("copy.db")
    with files_limited_to(2 * PAGE_BYTES), pytest.raises(JournalError) as refused:
        back_up(sqlite_place.path, copy)
    said = f"{sqlite_place.path} cannot be copied to {copy}: {sqlite_place.path}: the disk failed"
    assert str(refused.value).startswith(said)
    assert refused.value.remedy.startswith(f"see to the disk of {sqlite_place.path}: free space")
    assert not copy.exists()


def test_copy_of_no_journal_is_refused_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal"):
        back_up(tmp_path / "bot.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
