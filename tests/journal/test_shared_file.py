"""Many streams of a process in one SQLite file, over one connection."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.journal.many_writers import acknowledged, many_writers
from tests.journal.places import Place, SqlitePlace, WriterProcess, order, orders
from tests.journal.test_journal_forks import OPEN
from tests.support.forking import needs_fork, needs_proc, opened, program
from tests.support.posix_limits import files_limited_to, posix_only
from tests.support.processes import is_running, stopped
from trueup.errors import JournalConflict, JournalError
from trueup.journal import JournalAhead
from trueup.journal.backends import file_connection, sqlite
from trueup.journal.reading.reader import JournalReader
from trueup.journal.writing.store import StoredJournal

pytestmark = pytest.mark.timeout(300)
STREAMS, THREADS = 20, 4
NAMES = [f"account-{number}" for number in range(STREAMS)]


@pytest.fixture
def journals(sqlite_place: SqlitePlace) -> Iterator[list[StoredJournal]]:
    with ExitStack() as undo:
        yield [undo.enter_context(sqlite_place.open(name, holder="first.py")) for name in NAMES[:3]]


def committed(place: Place, stream: str) -> list[str]:
    """The intents of a stream as another connection sees them."""
    rows = place.sql(
        "SELECT intent_id FROM journal_events WHERE stream = ? ORDER BY position", stream
    )
    return [intent for (intent,) in rows]


def fails_once(
    monkeypatch: pytest.MonkeyPatch, journal: StoredJournal, name: str, act: Callable[[], None]
) -> None:
    """Do something else the next time a journal calls a method of its database."""

    def instead(*_: object) -> None:
        monkeypatch.undo()
        act()

    monkeypatch.setattr(journal._database, name, instead)


# -- open files --------------------------------------------------------------------------------


@needs_proc
def test_another_stream_costs_a_process_one_open_file(sqlite_place: SqlitePlace) -> None:
    few, many = 10, 50
    found = {}
    for streams in (few, many):
        with many_writers(sqlite_place.url, "bot.py", streams, THREADS) as writers:
            assert writers.opened == streams
            writers.tell("append 2")
            assert len(writers.lines() + writers.lines()) == 2 * streams
            names = found[streams] = opened(writers.process.pid)
        kinds = Counter(Path(name).suffix for name in names if "bot.db" in name)
        assert kinds == {".db": 1, ".db-wal": 1, ".db-shm": 1, ".lock": streams}
    assert len(found[many]) - len(found[few]) == many - few


@needs_proc
def test_the_last_stream_closes_the_file_and_the_others_only_their_locks(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    code = """
        journals = [journal(name) for name in ("a", "b", "c")]
        def told():
            paths = (f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd"))
            names = (os.path.basename(os.readlink(one)) for one in paths if os.path.exists(one))
            say(*sorted(name for name in names if name.startswith("bot.db")))
        for one in journals[:2]:
            one.close()
            one.close()
        told()
        say(journals[2].append(orders(1)))
        say(journal("a").append(orders(2)))
        del one
        journals[2].close()
        told()
        say(refusal(lambda: journals[2].append(orders(2))))
    """
    with program(OPEN + dedent(code), sqlite_place.url, cwd=tmp_path) as bot:
        before, one, two, after, refused = bot.lines()
    assert before == "bot.db bot.db-shm bot.db-wal bot.db.c.1.lock"
    assert (one, two) == ("1", "1")
    # A journal that was dropped without closing it lets go of the connection, too.
    assert after == "bot.db.a.2.lock"
    assert refused.startswith("JournalError: ")
    assert refused.endswith(" is closed.")
    assert not sqlite_place.path.with_name("bot.db-wal").exists()


# -- processes ---------------------------------------------------------------------------------


def test_a_second_process_is_refused_for_each_stream_by_name(
    sqlite_place: SqlitePlace,
) -> None:
    with many_writers(sqlite_place.url, "first.py", STREAMS, THREADS) as first:
        with many_writers(sqlite_place.url, "second.py", STREAMS, THREADS) as second:
            assert second.opened == 0
        assert len(second.refusals) == STREAMS
        for name in NAMES:
            (text,) = (text for text in second.refusals if f"Stream {name!r}" in text)
            assert text.startswith("JournalConflict: ")
            assert f"is being written by first.py (process {first.process.pid} on " in text
        first.tell("append 1")
        assert sorted(first.lines()) == sorted(f"{name} 1" for name in NAMES)


def test_a_process_that_is_killed_leaves_all_it_acknowledged_and_frees_all_streams(
    sqlite_place: SqlitePlace,
) -> None:
    with many_writers(sqlite_place.url, "first.py", STREAMS, THREADS) as first:
        assert first.opened == STREAMS
        first.tell("loop 0")
        said = [first.line() for _ in range(3 * STREAMS)] + first.kill()
    last = acknowledged(said)
    with ExitStack() as undo:
        for name in NAMES:
            journal = undo.enter_context(sqlite_place.open(name, holder="second.py"))
            assert journal.findings == ()
            assert last[name] <= journal.position <= last[name] + 1
            journal.append(orders(journal.position + 1))
            assert list(journal.read()) == orders(*range(1, journal.position + 1))
            assert journal.verify().sound


def test_one_stream_is_taken_over_and_the_others_go_on(
    sqlite_place: SqlitePlace, journals: list[StoredJournal]
) -> None:
    taken, *others = journals
    taken.append(orders(1))
    with WriterProcess(sqlite_place.url, taken.stream, "second.py", "take-over") as second:
        assert second.greeting == "open 1 2"
        with pytest.raises(JournalConflict, match=r"taken over by second\.py"):
            taken.append(orders(2))
        for journal in others:
            assert journal.append(orders(1)) == 1
        assert second.ask("append 1") == "2"
        taken.close()
        with pytest.raises(JournalConflict, match=r"written by second\.py"):
            sqlite_place.open(taken.stream)
        for journal in others:
            assert journal.append(orders(2)) == 2


def test_a_stream_of_a_paused_process_is_taken_over_and_its_other_streams_go_on(
    sqlite_place: SqlitePlace,
) -> None:
    with many_writers(sqlite_place.url, "paused.py", STREAMS, THREADS) as paused:
        paused.tell("append 1")
        assert sorted(paused.lines()) == sorted(f"{name} 1" for name in NAMES)
        with (
            stopped(paused.process.pid),
            sqlite_place.open(NAMES[7], holder="second.py", take_over=True) as taken,
        ):
            assert taken.append(orders(2)) == 2
        paused.tell("append 1")
        said = dict(line.split() for line in paused.lines())
    assert said == {name: "JournalConflict" if name == NAMES[7] else "2" for name in NAMES}


KEPT = """
    kept = [journal(name) for name in ("a", "b", "c")]
    for one in kept:
        one.append(orders(1))
    def helper():
        for one in kept:
            say(refusal(lambda: one.append(orders(2)))[:15])
            one.close()
        say(refusal(lambda: journal("d"))[:15])
        signal.pause()
    say(fork(helper))
    for one in kept:
        say(one.append(orders(2)))
    signal.pause()
"""


@needs_fork
@needs_proc
def test_a_helper_has_nothing_of_any_stream_and_all_start_again_beside_it(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    with program(OPEN + dedent(KEPT), sqlite_place.url, cwd=tmp_path) as bot:
        said = [bot.line() for _ in range(8)]
        assert said.count("JournalConflict") == 4
        (helper,) = (int(line) for line in said if line.isdigit() and line != "2")
        assert said.count("2") == 3
        assert not [one for one in opened(helper) if "bot.db" in one]
        bot.kill()
        for name in ("a", "b", "c"):
            with sqlite_place.open(name) as again:
                assert again.append(orders(3)) == 3
        assert is_running(helper)


HELD = """
    from trueup.journal.backends.file_connection import CONNECTIONS
    kept = [journal(name) for name in ("a", "b")]
    is_held, is_over = threading.Event(), threading.Event()
    def hold():
        with kept[0]._database.lock, CONNECTIONS._lock:
            is_held.set()
            is_over.wait()
    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    def helper():
        for one in kept:
            one.close()
        with open_journal("own.db", STREAM, now_ns=time.time_ns) as own:
            say(own.append(orders(1)))
    say(wait(fork(helper)))
    is_over.set()
    holder.join()
    say(kept[0].append(orders(1)))
"""


@needs_fork
def test_a_helper_waits_for_no_thread_that_it_does_not_have(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    with program(OPEN + dedent(HELD), sqlite_place.url, cwd=tmp_path) as bot:
        assert bot.lines() == ["1", "0", "1"]


# -- appends that fail -------------------------------------------------------------------------


def test_streams_that_append_at_once_never_mix_and_readers_see_whole_appends(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read over the connection itself and over others. SQLite would refuse two writers at once."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.0)
    appends, writers = 25, 6
    is_over = threading.Event()
    seen: dict[str, list[int]] = {}
    with ExitStack() as undo, ThreadPoolExecutor(3 * writers) as pool:
        undo.callback(is_over.set)
        names = [f"stream-{number}" for number in range(writers)]
        found = [undo.enter_context(sqlite_place.open(name)) for name in names]
        others = [undo.enter_context(sqlite_place.reader(name)) for name in names]

        def append(journal: StoredJournal) -> None:
            numbers = itertools.count(1)
            for _ in range(appends):
                journal.append(orders(next(numbers), next(numbers)))

        def look(name: str, journal: JournalReader) -> None:
            counts = seen[name] = list[int]()
            while not is_over.is_set():
                counts.append(len(list(journal.read())))

        looking = [
            pool.submit(look, f"{type(one).__name__} {one.stream}", one)
            for one in [*found, *others]
        ]
        for writing in [pool.submit(append, journal) for journal in found]:
            writing.result()
        is_over.set()
        for one in looking:
            one.result()
        for journal in found:
            assert list(journal.read()) == orders(*range(1, 2 * appends + 1))
            assert journal.verify().sound
    for counts in seen.values():
        assert counts == sorted(counts)
        assert all(count % 2 == 0 for count in counts)


def test_nobody_reads_what_another_stream_has_not_committed(
    sqlite_place: SqlitePlace, journals: list[StoredJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = journals
    seen: list[object] = []
    commit = first._database.commit

    def look_first() -> None:
        with sqlite_place.reader(first.stream) as reader, ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(lambda: list(reader.read())).result())
            # Over the same connection nobody gets in between.
            lock: Any = second._database.lock
            seen.append(pool.submit(lock.acquire, blocking=False).result())
        commit()

    fails_once(monkeypatch, first, "commit", look_first)
    assert first.append(orders(1)) == 1
    assert seen == [[], False]
    with sqlite_place.reader(first.stream) as reader:
        assert list(reader.read()) == orders(1)


def test_an_append_that_fails_leaves_nothing_to_the_append_of_another_stream(
    sqlite_place: SqlitePlace, journals: list[StoredJournal]
) -> None:
    first, second, _ = journals
    first.append(orders(1))
    with pytest.raises(JournalError, match="is in the journal already"):
        first.append(orders(2, 1))
    assert second.append(orders(2)) == 1
    assert committed(sqlite_place, first.stream) == ["order-1"]
    assert first.append(orders(2)) == 2
    assert all(journal.verify().sound for journal in journals)


@posix_only
def test_on_a_full_disk_all_streams_are_refused_and_all_go_on_afterwards(
    sqlite_place: SqlitePlace, journals: list[StoredJournal]
) -> None:
    for journal in journals:
        journal.append(orders(1))
    with files_limited_to(64 * 1024):
        for journal in journals:
            with pytest.raises(JournalError, match="the disk failed"):
                journal.append(orders(*range(2, 2000)))
    for journal in journals:
        assert journal.append(orders(2)) == 2
        assert list(journal.read()) == orders(1, 2)
        assert journal.verify().sound


def test_a_stream_that_fills_the_disk_takes_no_event_of_another(
    sqlite_place: SqlitePlace, journals: list[StoredJournal]
) -> None:
    first, second, third = journals
    for journal in journals:
        journal.append(orders(1))
    first._database.run("PRAGMA max_page_count=1")
    with pytest.raises(JournalError, match="the disk is full"):
        first.append(orders(*range(2, 200)))
    # What needs no new page still goes.
    assert second.append(orders(2)) == 2
    with pytest.raises(JournalError, match="the disk is full"):
        third.append(orders(*range(2, 200)))
    first._database.run("PRAGMA max_page_count=1000000")
    assert [journal.append(orders(3)) for journal in journals] == [2, 3, 2]
    assert committed(sqlite_place, second.stream) == ["order-1", "order-2", "order-3"]
    assert all(journal.verify().sound for journal in journals)


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_a_commit_without_an_answer_is_told_after_another_stream_has_written(
    sqlite_place: SqlitePlace,
    journals: list[StoredJournal],
    monkeypatch: pytest.MonkeyPatch,
    happens: bool,
    same: bool,
) -> None:
    first, second, _ = journals
    commit = first._database.commit

    def fail() -> None:
        if happens:
            commit()
        raise JournalError("The disk failed.")

    fails_once(monkeypatch, first, "commit", fail)
    with pytest.raises(JournalError, match="disk failed"):
        first.append(orders(1))
    assert second.append(orders(7)) == 1
    wanted = orders(1) if same else orders(2)
    if happens and not same:
        with pytest.raises(JournalAhead):
            first.append(wanted)
    first.append(wanted)
    expected = orders(1, 2) if happens and not same else wanted
    assert list(first.read()) == expected
    assert committed(sqlite_place, first.stream) == [one.order_id for one in expected]  # type: ignore[attr-defined]
    assert committed(sqlite_place, second.stream) == ["order-7"]
    assert first.verify().sound


# -- transactions that were left open ----------------------------------------------------------


def leave_open(journal: StoredJournal, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Append, and be interrupted before the commit and again before its transaction is undone."""

    def interrupt(*_: object) -> None:
        # Before the transaction began there is nothing to undo.
        if journal._database.in_transaction():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal._database, "commit", interrupt)
        patch.setattr(journal._database, "rollback", interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.append(orders(*numbers))
    assert journal._database.in_transaction()


@pytest.mark.parametrize("same", [True, False])
def test_a_transaction_that_was_left_open_is_never_taken_for_a_commit(
    place: Place, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Also with a single stream: its own open transaction shows it the events that it asks for."""
    with place.open() as journal:
        leave_open(journal, monkeypatch, 1)
        assert journal.append(orders(1 if same else 2)) == 1
        assert committed(place, journal.stream) == ["order-1" if same else "order-2"]
        assert journal.append(orders(3)) == 2
        assert journal.verify().sound


def test_the_opening_of_another_stream_commits_nothing_that_was_left_open(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as undo:
        first = undo.enter_context(place.open("first"))
        leave_open(first, monkeypatch, 1)
        # In PostgreSQL some of them have its session.
        for number in range(12):
            undo.enter_context(place.open(f"account-{number}"))
        assert committed(place, "first") == []
        assert first.append(orders(2)) == 1
        assert committed(place, "first") == ["order-2"]


def test_the_next_stream_undoes_a_transaction_that_was_left_open(
    sqlite_place: SqlitePlace, journals: list[StoredJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = journals
    leave_open(first, monkeypatch, 1, 2)
    assert second.append(orders(5)) == 1
    assert committed(sqlite_place, first.stream) == []
    assert committed(sqlite_place, second.stream) == ["order-5"]
    leave_open(first, monkeypatch, 1, 2)
    third.checkpoint(third.append(orders(6)), b"state")
    leave_open(first, monkeypatch, 1, 2)
    with sqlite_place.open("another") as another:
        another.append(orders(1))
        leave_open(first, monkeypatch, 1, 2)
    assert second.append(orders(6)) == 2
    assert first.append(orders(1)) == 1
    assert committed(sqlite_place, first.stream) == ["order-1"]
    assert all(journal.verify().sound for journal in journals)


def test_a_stream_that_is_closed_undoes_what_it_left_open_and_no_more(
    sqlite_place: SqlitePlace, journals: list[StoredJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = journals
    leave_open(first, monkeypatch, 1)
    second.close()
    assert first._database.in_transaction()
    first.close()
    # The third stream still has the connection, and keeps no other process waiting.
    sqlite_place.sql("BEGIN IMMEDIATE")
    with sqlite_place.open(first.stream) as again:
        assert again.append(orders(2)) == 1
        assert committed(sqlite_place, first.stream) == ["order-2"]


@pytest.mark.parametrize("when", ["begin", "change_many", "commit"])
@pytest.mark.parametrize("stream", ["same", "another"])
def test_the_handler_of_a_signal_that_appends_within_an_append_mixes_nothing(
    sqlite_place: SqlitePlace,
    journals: list[StoredJournal],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    stream: str,
) -> None:
    """The one in whose middle it runs is refused, or is whole."""
    first, second, _ = journals
    first.append(orders(1))
    inner = first if stream == "same" else second
    before = inner.position
    original = getattr(first._database, when)

    def with_handler(*arguments: Sequence[Any]) -> Any:
        monkeypatch.undo()
        # As soon as the transaction has begun, before its rows, and after them.
        result = original() if when == "begin" else None
        with suppress(JournalAhead):
            inner.append(orders(9))
        return result if when == "begin" else original(*arguments)

    monkeypatch.setattr(first._database, when, with_handler)
    with pytest.raises(JournalError):
        first.append(orders(2, 3))
    assert inner.append(orders(10)) == before + 2
    with suppress(JournalAhead):
        first.append(orders(4))
    for journal in journals:
        assert journal.verify().sound
    wanted = {
        "same": ["order-1", "order-9", "order-10", "order-4"],
        "another": ["order-1", "order-4"],
    }
    assert committed(sqlite_place, first.stream) == wanted[stream]


def test_a_handler_that_leaves_a_transaction_open_gets_no_rows_into_it(
    sqlite_place: SqlitePlace, journals: list[StoredJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = journals
    change_many = first._database.change_many

    def with_handler(*arguments: Any) -> None:
        monkeypatch.undo()
        leave_open(second, monkeypatch, 1)
        change_many(*arguments)

    monkeypatch.setattr(first._database, "change_many", with_handler)
    with pytest.raises(JournalError, match="another append in the same thread"):
        first.append(orders(1))
    assert third.append(orders(1)) == 1
    assert [committed(sqlite_place, one.stream) for one in journals] == [[], [], ["order-1"]]
    assert [one.append(orders(2)) for one in journals] == [1, 1, 2]
    assert all(journal.verify().sound for journal in journals)


# -- the file ----------------------------------------------------------------------------------


@posix_only
def test_a_stream_opens_the_file_in_its_place_while_others_have_one_that_was_moved(
    sqlite_place: SqlitePlace, journals: list[StoredJournal]
) -> None:
    first, second, _ = journals
    first.append(orders(1))
    path, elsewhere = sqlite_place.path, sqlite_place.path.parent / "elsewhere"
    elsewhere.mkdir()
    # With its log and its index, which another file of that name would use.
    for file in path.parent.glob("bot.db*"):
        file.rename(elsewhere / file.name)
    with sqlite_place.open("new") as new:
        assert new.append(orders(1)) == 1
        for journal in (first, second):
            with pytest.raises(JournalError, match="moved, replaced or deleted"):
                journal.append(orders(2))
    for file in elsewhere.iterdir():
        file.replace(path.parent / file.name)
    assert first.append(orders(2)) == 2
    assert second.append(orders(2)) == 1
    with sqlite_place.open("another") as another:
        assert another.append(orders(1)) == 1
    assert first.append(orders(3)) == 3
    assert first.verify().sound


@posix_only
def test_a_stream_that_joins_is_told_that_the_folder_became_read_only(
    sqlite_place: SqlitePlace, journals: list[StoredJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise JournalError("the folder is read-only")

    assert len(journals) == 3
    monkeypatch.setattr(file_connection.SharedFileDatabase, "_refuse_place", refuse)
    with pytest.raises(JournalError, match="read-only"):
        sqlite_place.open("another")
    monkeypatch.undo()
    assert journals[0].append([order(1)]) == 1
