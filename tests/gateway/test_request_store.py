"""The file of the record: who may have it, what it refuses, and what it keeps."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.support.posix_limits import files_limited_to, posix_only, without_root
from trueup.core.gateway_record import BookAsked, RecordMark
from trueup.gateway.record import store as request_store
from trueup.gateway.record.store import (
    DAY_NS,
    KEPT_DAYS,
    ClaimRow,
    Entry,
    RequestStore,
    StoreRefused,
    StoreTrouble,
)
from trueup.runtime.time.clock import ManualClock

BEGAN_NS = 1_700_000_000_000_000_000


class Kept:
    """A store in a file, and its clock."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, ManualClock(BEGAN_NS)
        self.store = self.open()

    def open(self, boot: str = "boot1") -> RequestStore:
        self.store = RequestStore(self.path, boot, self.clock.now_ns)
        return self.store

    def reopen(self, boot: str = "boot2") -> RequestStore:
        self.store.close()
        return self.open(boot)

    def entry(self, order_id: str = "A", state: str = "prepared") -> Entry:
        now_ns = self.clock.now_ns()
        made = Entry(order_id, 7, "Demo", b"{}", b"{}", b"{}", "boot1", now_ns, state)
        return made if state == "prepared" else made._replace(reply=b"{}", ended_ns=now_ns)

    def add(self, *order_ids: str, state: str = "settled") -> None:
        for order_id in order_ids:
            assert self.store.add(self.entry(order_id, state))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "requests.db")
    yield made
    made.store.close()


def test_what_was_written_is_there_again(kept: Kept) -> None:
    entry = kept.entry()
    assert kept.store.add(entry)
    store = kept.reopen()
    assert store.find("A") == entry._replace(number=1)
    store.end("A", "settled", b'{"x":1}')
    found = kept.reopen().find("A")
    assert found is not None
    assert (found.state, found.reply, found.ended_ns) == ("settled", b'{"x":1}', BEGAN_NS)
    assert kept.store.unsettled() == []


def test_what_is_not_settled_is_listed_oldest_first_and_has_no_end(kept: Kept) -> None:
    kept.add("B", "A", "C", state="prepared")
    kept.store.end("B", "unknown", b"{}")
    kept.store.end("C", "settled", b"{}")
    found = kept.store.unsettled()
    assert [(one.order_id, one.state, one.ended_ns) for one in found] == [
        ("B", "unknown", None),
        ("A", "prepared", None),
    ]


def test_an_id_is_taken_once_and_an_outcome_is_final(kept: Kept) -> None:
    assert kept.store.add(kept.entry())
    assert not kept.store.add(kept.entry())
    kept.store.end("A", "settled", b"first")
    kept.store.end("A", "unknown", b"second")
    found = kept.store.find("A")
    assert found is not None
    assert found.reply == b"first"


def test_every_write_is_synced_before_it_is_acknowledged(kept: Kept) -> None:
    """A row that is lost with the power is an order that goes out twice."""
    connection = kept.store._open()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_acknowledged_after_an_interrupted_call_is_on_disk(
    kept: Kept, tmp_path: Path
) -> None:
    # At each line of a transaction: Ctrl-C may come between any two.
    claims = [ClaimRow("a", b"{}", "")]
    for line in itertools.count():
        lines = itertools.count()

        def interrupt(frame: FrameType, event: str, _: object) -> Any:
            if frame.f_code.co_name != "_transaction":
                return None
            if event == "line" and next(lines) == line:  # noqa: B023 - called in this round alone
                raise KeyboardInterrupt
            return interrupt

        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            kept.store.keep_claims(7, "Demo", claims)
            is_over = True
        except KeyboardInterrupt:
            is_over = False
        finally:
            sys.settrace(before)
        kept.add(f"after {line}")
        # As if the power failed now.
        copy = tmp_path / f"copy {line}"
        copy.mkdir()
        for path in tmp_path.glob("requests.db*"):
            shutil.copy(path, copy)
        left = RequestStore(copy / "requests.db", "boot2", kept.clock.now_ns)
        assert left.find(f"after {line}") is not None
        left.close()
        if is_over:
            break
    assert line >= 5


def test_what_a_killed_process_leaves_is_read_as_it_was(kept: Kept, tmp_path: Path) -> None:
    kept.add("A", "B")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("requests.db*"):
        shutil.copy(path, copy)
    with_log = RequestStore(copy / "requests.db", "boot2", kept.clock.now_ns)
    assert [with_log.find(name) is not None for name in "ABC"] == [True, True, False]
    assert with_log.mark() == kept.store.mark()
    with_log.close()


# Who may have it.


def test_a_second_store_on_the_same_file_is_refused(kept: Kept) -> None:
    with pytest.raises(StoreRefused) as refused:
        RequestStore(kept.path, "boot2", kept.clock.now_ns)
    assert str(refused.value) == (
        f"{kept.path} is in use by another process, most likely another gateway; end that one, or "
        "give this one a file of its own with --store."
    )
    kept.add("A")


def test_a_second_process_is_refused_and_the_end_of_the_first_frees_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_store, "BUSY_S", 0.05)
    path = tmp_path / "requests.db"
    code = (
        "import sys; from pathlib import Path; "
        "from trueup.gateway.record.store import RequestStore; "
        "store = RequestStore(Path(sys.argv[1]), 'boot1', lambda: 1); "
        "print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"open"
        with pytest.raises(StoreRefused):
            RequestStore(path, "boot2", lambda: 2)
        other.kill()
        other.wait()
        RequestStore(path, "boot2", lambda: 2).close()


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE journal_events (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused) as refused:
        RequestStore(path, "boot", lambda: 1)
    assert str(refused.value) == (
        f"{path} is a database of something else; give the gateway's record of requests a file of "
        "its own with --store."
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"nothing to see here\n" * 100)
    with pytest.raises(StoreRefused, match="it is not a SQLite database"):
        RequestStore(path, "boot", lambda: 1)


def test_a_record_of_a_newer_release_is_refused(kept: Kept) -> None:
    kept.store.close()
    with sqlite3.connect(kept.path) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(StoreRefused) as refused:
        kept.open()
    assert str(refused.value) == (
        f"{kept.path} was written by a newer release of trueup; use that."
    )


# When it cannot be written.


def test_a_file_that_was_deleted_or_replaced_takes_nothing_more(kept: Kept) -> None:
    kept.add("A")
    if sys.platform == "win32":
        pytest.skip("Windows does not remove what is open")
    kept.path.unlink()
    with pytest.raises(StoreTrouble) as trouble:
        kept.store.add(kept.entry("B"))
    assert str(trouble.value) == (
        f"{kept.path} was moved, replaced or deleted while it was open; put it back, or start the "
        "gateway again."
    )
    with pytest.raises(StoreTrouble, match="was moved, replaced or deleted"):
        kept.store.end("A", "settled", b"{}")


def fill(kept: Kept) -> str:
    """Write until the store refuses, and return the id that it refused."""
    for number in range(10_000):
        try:
            kept.store.add(kept.entry(f"B{number}"))
        except StoreTrouble as trouble:
            assert "the disk failed" in str(trouble)
            return f"B{number}"
    raise AssertionError("the file grew without end")


@posix_only
def test_a_file_that_cannot_grow_takes_nothing_and_then_goes_on(kept: Kept) -> None:
    kept.add("first")
    with files_limited_to(20 * 1024):
        last = fill(kept)
        assert kept.store.find(last) is None
        assert kept.store.find("first") is not None
    kept.add(last)


@posix_only
def test_a_place_that_cannot_be_written_is_good_for_reading_alone_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    with without_root():
        store = RequestStore(folder / "requests.db", "boot", lambda: 1)
        (told,) = caplog.messages
        assert told.startswith(f"[RECORD] No order can be taken now: {folder / 'requests.db'}: ")
        entry = Entry("A", 7, "Demo", b"{}", b"{}", b"{}", "boot", 1, "prepared")
        with pytest.raises(StoreTrouble, match=r"it cannot be opened|folder cannot be made"):
            store.add(entry)
        with pytest.raises(StoreTrouble):
            store.find("A")
    folder.chmod(0o755)
    assert store.add(entry)
    store.close()


# What it keeps.


@pytest.fixture
def forgetful(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A store that keeps two requests whatever their age."""
    monkeypatch.setattr(request_store, "KEPT_LEAST", 2)
    return kept


def names(store: RequestStore) -> list[str]:
    return [entry.order_id for entry in store.since(0)]


def test_what_is_settled_goes_after_thirty_days_and_what_is_not_stays(forgetful: Kept) -> None:
    forgetful.add("A", "B")
    forgetful.add("C", state="prepared")
    forgetful.clock.advance((KEPT_DAYS - 1) * DAY_NS / 1e9)
    forgetful.add("D", "E")
    assert forgetful.store.drop_old() == 0
    forgetful.clock.advance(2 * DAY_NS / 1e9)
    assert forgetful.store.drop_old() == 2
    assert names(forgetful.store) == ["C", "D", "E"]
    forgetful.clock.advance(400 * DAY_NS / 1e9)
    assert forgetful.store.drop_old() == 0
    assert [entry.order_id for entry in forgetful.store.unsettled()] == ["C"]


def test_a_clock_that_leaps_ahead_does_not_empty_the_record(forgetful: Kept) -> None:
    forgetful.add("A", "B", "C")
    forgetful.clock.advance(10_000 * DAY_NS / 1e9)
    forgetful.store.drop_old()
    assert names(forgetful.store) == ["B", "C"]


def test_a_record_that_let_go_of_something_covers_only_what_came_after(forgetful: Kept) -> None:
    marks = [forgetful.store.mark()]
    for name in "ABCD":
        forgetful.add(name)
        forgetful.clock.advance(1)
        marks.append(forgetful.store.mark())
    forgetful.clock.advance((KEPT_DAYS + 1) * DAY_NS / 1e9)
    assert forgetful.store.drop_old() == 2
    covered = [False, False, False, True, True]
    assert [forgetful.store.covers(mark) for mark in marks] == covered
    store = forgetful.reopen()
    assert [store.covers(mark) for mark in marks] == covered


def test_numbers_go_on_when_the_newest_are_gone(
    forgetful: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_store, "KEPT_LEAST", 0)
    forgetful.add("A", "B")
    forgetful.clock.advance((KEPT_DAYS + 1) * DAY_NS / 1e9)
    assert forgetful.store.drop_old() == 2
    forgetful.reopen()
    forgetful.add("C")
    assert forgetful.store.mark().last == 3


# Which book sent what.

# The tables as they were before a request named its book.
EARLIER = """
CREATE TABLE record (id TEXT NOT NULL, began_ns INTEGER NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL UNIQUE,
    login INTEGER NOT NULL,
    server TEXT NOT NULL,
    parameters BLOB NOT NULL,
    message BLOB,
    before BLOB CHECK ((before IS NULL) = (message IS NULL)),
    boot TEXT NOT NULL,
    came_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'unknown', 'settled', 'withdrawn')),
    reply BLOB CHECK (reply IS NOT NULL OR state IN ('prepared', 'withdrawn')),
    ended_ns INTEGER CHECK ((ended_ns IS NULL) = (state IN ('prepared', 'unknown')))
);
CREATE INDEX requests_unsettled ON requests (number) WHERE ended_ns IS NULL;
CREATE INDEX requests_ended ON requests (ended_ns) WHERE ended_ns IS NOT NULL;
"""
EARLIER_ROW = (
    "INSERT INTO requests (order_id, login, server, parameters, message, before, boot, came_ns, "
    "state, reply, ended_ns) VALUES (?, 7, 'Demo', '{}', '{}', '{}', 'boot0', 5, 'settled', ?, 6)"
)


def asked(stream: str, journal: str = "", *marks: RecordMark) -> BookAsked:
    return BookAsked(stream, journal, marks)


def listed(found: tuple[int, list[Entry]]) -> tuple[int, list[str]]:
    count, entries = found
    return count, [entry.order_id for entry in entries]


def test_a_record_of_before_gets_its_columns_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(EARLIER)
        connection.execute("INSERT INTO record VALUES ('old', 1, 0)")
        connection.execute(f"PRAGMA application_id={request_store.APPLICATION_ID}")
        connection.execute("PRAGMA user_version=1")
        connection.execute(EARLIER_ROW, ("A", b'{"x":1}'))
    connection.close()
    for boot in ("boot1", "boot2"):
        store = RequestStore(path, boot, lambda: BEGAN_NS)
        found = store.find("A")
        assert found is not None
        assert (found.reply, found.stream, found.journal, found.key) == (b'{"x":1}', "", "", "")
        assert store.mark() == RecordMark("old", 1, 5)
        store.close()
    store = RequestStore(path, "boot3", lambda: BEGAN_NS)
    entry = Entry("B", 7, "Demo", b"{}", b"{}", b"{}", "boot3", 8, "prepared", stream="s")
    assert store.add(entry._replace(journal="j", key="k"))
    assert listed(store.sent_by(7, "Demo", asked("s", "j"), 10)) == (1, ["B"])
    store.close()
    # The release of before goes on with it, too.
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute(EARLIER_ROW, ("C", b"{}"))
    connection.close()
    store = RequestStore(path, "boot4", lambda: BEGAN_NS)
    assert store.find("C") is not None
    store.close()


def test_the_requests_of_a_book_are_those_of_its_stream_and_journal_after_its_mark(
    kept: Kept,
) -> None:
    def add(order_id: str, stream: str, journal: str, **more: Any) -> RecordMark:
        kept.clock.advance(1.0)
        entry = kept.entry(order_id)._replace(stream=stream, journal=journal, **more)
        assert kept.store.add(entry)
        return kept.store.mark()

    add("A", "s", "j1")
    mark = add("B", "s", "j1")
    add("C", "s", "j2")
    add("D", "s", "j1")
    add("E", "other", "j3")
    add("F", "s", "j1", login=8)
    add("G", "s", "")
    for _ in range(2):
        assert listed(kept.store.sent_by(7, "Demo", asked("s", "j1"), 10)) == (3, ["A", "B", "D"])
        assert listed(kept.store.sent_by(7, "Demo", asked("s", "j1", mark), 10)) == (1, ["D"])
        # A journal that sent nothing asks for all of its stream.
        everybody = ["A", "B", "C", "D"]
        assert listed(kept.store.sent_by(7, "Demo", asked("s"), 10)) == (4, everybody)
        assert listed(kept.store.sent_by(7, "Demo", asked("s"), 2)) == (4, ["C", "D"])
        # The marks of another record, and of one that has lost its end, say nothing.
        for strange in (RecordMark("x", 2, mark.came_ns), RecordMark(mark.id, 2, 1)):
            found = kept.store.sent_by(7, "Demo", asked("s", "j1", strange), 10)
            assert listed(found) == (3, ["A", "B", "D"])
        kept.reopen()


def test_the_requests_under_a_key_are_those_of_its_stream(kept: Kept) -> None:
    for order_id, stream, key in (("A", "s", "k"), ("B", "s", "x"), ("C", "t", "k")):
        assert kept.store.add(kept.entry(order_id)._replace(stream=stream, key=key))
    assert [e.order_id for e in kept.store.with_key(7, "Demo", "s", "k")] == ["A"]
    assert kept.store.with_key(8, "Demo", "s", "k") == []
