"""Eighty streams of a process on a server that allows twenty connections."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from tests.journal.conftest import server_programs
from tests.journal.many_writers import ManyWriters, acknowledged, many_writers
from tests.journal.places import PostgresPlace, WriterProcess, make_tables, orders
from tests.journal.postgres_server import PostgresServer
from tests.support.processes import stopped
from tests.support.servers import until
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends import server_session
from trueup.journal.backends.postgres import PostgresDatabase, SessionClaim
from trueup.journal.backends.server_session import READING, WRITING
from trueup.journal.reading import table
from trueup.journal.writing.store import StoredJournal

pytestmark = pytest.mark.timeout(300)
STREAMS, THREADS, APPENDS, EACH = 80, 8, 5, 10
NAMES = [f"account-{number}" for number in range(STREAMS)]
OURS = "FROM pg_stat_activity WHERE application_name = 'trueup' AND datname = current_database()"
CUT = f"SELECT pg_terminate_backend(pid) {OURS}"


@pytest.fixture(scope="module")
def small_server() -> Iterator[PostgresServer]:
    server = PostgresServer(server_programs(), "max_connections=20")
    yield server
    server.remove()


@pytest.fixture
def small(small_server: PostgresServer) -> PostgresPlace:
    return PostgresPlace(small_server, small_server.new_journal(make_tables))


@pytest.fixture
def journals(small: PostgresPlace) -> Iterator[list[StoredJournal]]:
    with ExitStack() as opened, ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda name: small.open(name, holder="first.py"), NAMES))
        for journal in found:
            opened.enter_context(journal)
        yield found


def writing_all(
    place: PostgresPlace, holder: str
) -> contextlib.AbstractContextManager[ManyWriters]:
    """Run a process that writes all streams."""
    return many_writers(place.url, holder, STREAMS, THREADS)


def count_of(place: PostgresPlace) -> int:
    ((count,),) = place.sql(f"SELECT count(*) {OURS}")
    return int(count)


def append(journal: StoredJournal, number: int) -> None:
    """Append one event, again after a cut, as a bot does; nobody else writes, so no conflict."""
    for _ in range(50):
        try:
            journal.append(orders(number))
        except JournalConflict:
            raise
        except JournalError:
            continue
        return
    raise AssertionError(f"{journal.stream} could not append event {number}")


def append_everywhere(
    journals: list[StoredJournal], first: int, last: int, done: Callable[[], object] = lambda: None
) -> None:
    """Append events with these numbers to all streams, in threads that share them out.

    `done` is called after each.
    """

    def write(part: list[StoredJournal]) -> None:
        for number in range(first, last + 1):
            for journal in part:
                append(journal, number)
                done()

    with ThreadPoolExecutor(THREADS) as pool:
        parts = [journals[number::THREADS] for number in range(THREADS)]
        for writing in [pool.submit(write, part) for part in parts]:
            writing.result()


def all_are_whole(place: PostgresPlace, last: int) -> None:
    """No stream lost an event or has one twice, and each had one writer."""
    rows = place.sql("SELECT stream, position, intent_id FROM journal_events ORDER BY 1, 2")
    wanted = [(number, f"order-{number}") for number in range(1, last + 1)]
    assert sorted(rows) == sorted((name, *row) for name in NAMES for row in wanted)
    assert place.sql("SELECT DISTINCT token, position FROM journal_writers") == [(1, last)]


def test_all_streams_are_written_over_a_few_connections(
    small: PostgresPlace, journals: list[StoredJournal]
) -> None:
    append_everywhere(journals, 1, 2)
    assert count_of(small) <= WRITING + READING
    all_are_whole(small, 2)
    assert all(journal.verify().sound for journal in journals[::20])


def test_streams_whose_connections_are_cut_in_the_midst_lose_and_double_nothing(
    small: PostgresPlace, journals: list[StoredJournal]
) -> None:
    # After every few appends, however busy the machine is.
    turn = threading.Semaphore(0)
    cuts, most = [0], [0]

    def cut() -> None:
        with psycopg.connect(small.url, autocommit=True) as connection:
            for _ in range(STREAMS * APPENDS // EACH):
                for _ in range(EACH):
                    turn.acquire()
                found = connection.execute(CUT).fetchall()
                cuts.append(len(found))
                most.append(len(connection.execute(f"SELECT 1 {OURS}").fetchall()))

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut)
        append_everywhere(journals, 1, APPENDS, turn.release)
        cutting.result()
    assert sum(cuts) > STREAMS * APPENDS // EACH
    # Those that were told to end, and those that came after them.
    assert max(most) <= 2 * WRITING + READING
    all_are_whole(small, APPENDS)
    assert all(journal.verify().sound for journal in journals[::20])


def test_a_second_process_is_refused_for_each_stream_by_name(
    small: PostgresPlace, journals: list[StoredJournal]
) -> None:
    with writing_all(small, "second.py") as second:
        assert second.opened == 0
    named = {name for name in NAMES for text in second.refusals if f"'{name}'" in text}
    assert len(second.refusals) == STREAMS
    assert named == set(NAMES)
    assert all(text.startswith("JournalConflict: ") for text in second.refusals)
    assert all("is being written by first.py (process " in text for text in second.refusals)
    append_everywhere(journals, 1, 1)
    all_are_whole(small, 1)


def test_a_process_that_is_killed_leaves_all_it_acknowledged_and_frees_all_streams(
    small: PostgresPlace,
) -> None:
    with writing_all(small, "first.py") as first:
        assert first.opened == STREAMS
        first.tell("loop 0")
        said = [first.line() for _ in range(2 * STREAMS)] + first.kill()
    last = acknowledged(said)
    small.wait_until_left()
    with ExitStack() as opened:
        for name in NAMES:
            journal = opened.enter_context(small.open(name, holder="second.py"))
            assert journal.findings == ()
            assert last[name] <= journal.position <= last[name] + 1
            append(journal, journal.position + 1)
            assert [getattr(event, "order_id", "") for event in journal.read()] == [
                f"order-{number}" for number in range(1, journal.position + 1)
            ]


def test_one_stream_is_taken_over_and_the_others_go_on(
    small: PostgresPlace, journals: list[StoredJournal]
) -> None:
    append_everywhere(journals, 1, 1)
    taken = journals[7]
    beside = [one for one in journals if one._database.lock is taken._database.lock]
    assert len(beside) > STREAMS / WRITING / 2
    with WriterProcess(small.url, taken.stream, "second.py", "take-over") as second:
        assert second.greeting == "open 1 2"
        for journal in journals:
            if journal is taken:
                with pytest.raises(JournalConflict, match=r"taken over by second\.py"):
                    journal.append(orders(2))
            else:
                append(journal, 2)
        assert second.ask("append 1") == "2"
        with pytest.raises(JournalConflict, match=r"written by second\.py"):
            small.open(taken.stream)


def test_a_stream_of_a_paused_process_is_taken_over_and_its_other_streams_go_on(
    small: PostgresPlace,
) -> None:
    with writing_all(small, "paused.py") as paused:
        paused.tell("append 1")
        assert sorted(paused.lines()) == sorted(f"{name} 1" for name in NAMES)
        with stopped(paused.process.pid):
            taken = small.open(NAMES[7], holder="second.py", take_over=True)
        with taken:
            assert taken.append(orders(2)) == 2
            paused.tell("append 1")
            wanted = dict.fromkeys(NAMES, "2") | {NAMES[7]: "JournalConflict"}
            assert dict(line.split() for line in paused.lines()) == wanted
            assert list(taken.read())[1:] == orders(2)


# One lock for each stream, as every earlier release has it.


def key_of(stream: str) -> int:
    """The number of a stream's lock, which a release of any age has to know."""
    digest = hashlib.sha256(f"trueup journal {stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def test_an_earlier_release_excludes_us_and_we_exclude_it(small: PostgresPlace) -> None:
    lock, unlock = "SELECT pg_try_advisory_lock(%s)", "SELECT pg_advisory_unlock(%s)"
    key = (key_of("mine"),)
    with psycopg.connect(small.url, autocommit=True) as earlier, small.open("another"):
        earlier.execute(lock, key)
        with pytest.raises(JournalConflict, match="'mine'"):
            small.open("mine")
        earlier.execute(unlock, key)
        with small.open("mine"):
            assert earlier.execute(lock, key).fetchone() == (False,)
        # At once, although the session goes on for the other stream.
        assert earlier.execute(lock, key).fetchone() == (True,)


def test_a_stream_is_taken_over_from_an_earlier_release(small: PostgresPlace) -> None:
    with psycopg.connect(small.url, autocommit=True) as earlier, small.open("another") as another:
        earlier.execute("SELECT pg_advisory_lock(%s)", (key_of("mine"),))
        with small.open("mine", take_over=True) as mine:
            assert mine.append(orders(1)) == 1
        with pytest.raises(psycopg.OperationalError):
            earlier.execute("SELECT 1")
        append(another, 1)


def test_an_earlier_release_takes_one_stream_over_and_the_others_go_on(
    small: PostgresPlace,
) -> None:
    """It ends our session, and all streams of that session find another."""
    names = streams_of_one_session(3)
    with ExitStack() as opened, psycopg.connect(small.url, autocommit=True) as earlier:
        first, taken, last = (opened.enter_context(small.open(name)) for name in names)
        earlier.execute(CUT)
        earlier.execute("SELECT pg_advisory_lock(%s)", (key_of(taken.stream),))
        append(first, 1)
        with pytest.raises(JournalError, match="has not taken it over"):
            taken.append(orders(1))
        earlier.execute("UPDATE journal_writers SET token = 2 WHERE stream = %s", (taken.stream,))
        with pytest.raises(JournalConflict, match="taken over"):
            taken.append(orders(1))
        append(last, 1)
        assert is_locked(earlier, first.stream)
        assert is_locked(earlier, last.stream)


def test_all_locks_are_taken_again_at_the_first_use_of_a_new_session(small: PostgresPlace) -> None:
    """A stream that has nothing to write must not wait for others to take it."""
    with ExitStack() as opened, psycopg.connect(small.url, autocommit=True) as other:
        names = streams_of_one_session(5)
        journals = [opened.enter_context(small.open(name)) for name in names]
        other.execute(CUT)
        until(lambda: not any(is_locked(other, name) for name in names))
        append(journals[0], 1)
        assert all(is_locked(other, name) for name in names)


def is_locked(connection: psycopg.Connection[tuple[object, ...]], stream: str) -> bool:
    """Whether another session has the lock of a stream."""
    taking = "SELECT pg_try_advisory_lock(%s) AND pg_advisory_unlock(%s)"
    key = key_of(stream)
    return connection.execute(taking, (key, key)).fetchone() == (False,)


def streams_of_one_session(count: int) -> list[str]:
    """Names of streams that use the same session."""
    wanted = zlib.crc32(NAMES[0].encode()) % WRITING
    names = [name for name in NAMES if zlib.crc32(name.encode()) % WRITING == wanted]
    return names[:count]


# What is read, and what is left behind.


def test_a_process_with_one_stream_has_one_connection(small: PostgresPlace) -> None:
    with small.open() as journal:
        journal.append(orders(1, 2))
        assert list(journal.read()) == orders(1, 2)
        assert count_of(small) == 1
    assert until(lambda: count_of(small) == 0)


def test_the_last_stream_closes_all_connections(small: PostgresPlace) -> None:
    with ExitStack() as opened:
        for name in NAMES[:20]:
            journal = opened.enter_context(small.open(name))
            journal.append(orders(1))
            assert list(journal.read()) == orders(1)
        assert WRITING < count_of(small) <= WRITING + READING
    assert until(lambda: count_of(small) == 0)


def test_a_replay_goes_on_while_another_stream_of_its_session_is_written(
    small: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "PAGE", 2)
    replayed, other = streams_of_one_session(2)
    with small.open(replayed) as journal, small.open(other) as writing:
        for number in range(1, 21):
            journal.append(orders(number))
        reading = journal.read()
        assert next(reading) == orders(1)[0]
        # An append that takes for ever.
        with ThreadPoolExecutor(1) as pool, writing._database.lock:
            assert pool.submit(list, reading).result(30) == orders(*range(2, 21))


def test_a_replay_whose_idle_connection_was_cut_goes_on(small: PostgresPlace) -> None:
    first, other = streams_of_one_session(2)
    with small.open(first) as journal, small.open(other):
        journal.append(orders(1))
        assert list(journal.read()) == orders(1)
        small.sql(CUT)
        append(journal, 2)
        assert list(journal.read()) == orders(1, 2)


def test_a_request_for_a_lock_that_is_interrupted_leaves_no_lock(
    small: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = streams_of_one_session(2)
    fetch = PostgresDatabase.fetch

    def interrupted(self: PostgresDatabase, statement: str, *parameters: object) -> list[object]:
        rows = fetch(self, statement, *parameters)
        if "pg_try_advisory_lock" in statement:
            monkeypatch.undo()
            raise KeyboardInterrupt
        return rows

    with psycopg.connect(small.url, autocommit=True) as connection, small.open(first) as journal:
        monkeypatch.setattr(PostgresDatabase, "fetch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small.open(other)
        until(lambda: not is_locked(connection, other))
        append(journal, 1)
        assert is_locked(connection, first)


def test_a_take_over_within_a_process_that_fails_leaves_the_stream_to_its_writer(
    small: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(small.url, autocommit=True) as other, small.open("mine") as journal:
        journal.append(orders(1))
        monkeypatch.setattr(StoredJournal, "_sign", lambda *_: pytest.fail("the disk is full"))
        with pytest.raises(pytest.fail.Exception):
            small.open("mine", take_over=True)
        monkeypatch.undo()
        assert journal.append(orders(2)) == 2
        assert is_locked(other, "mine")


def test_a_server_without_room_for_all_locks_refuses_some_streams_and_keeps_the_others(
    small: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request for all locks at once fails; then each stream asks for its own."""
    monkeypatch.setattr(server_session, "_TAKE_ALL", "SELECT %s::bigint[] AND out_of_memory()")
    first, other = streams_of_one_session(2)
    with small.open(first) as journal, small.open(other) as beside:
        small.sql(CUT)
        append(journal, 1)
        append(beside, 1)
        for one in (journal, beside):
            claim = one._claim
            assert isinstance(claim, SessionClaim)
            assert claim.is_held_here
