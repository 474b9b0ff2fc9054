"""Streams of accounts that are opened at the same time are opened with the statements of one."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.journal.cutting_proxy import CuttingProxy
from tests.journal.places import NOW_NS, PostgresPlace, WriterProcess, orders
from tests.journal.postgres_server import PostgresServer
from tests.journal.test_postgres_claims import THROUGH
from tests.journal.test_shared_sessions import key_of
from tests.support.servers import until
from trueup.core.book.book import Book
from trueup.core.book.events import StreamClosed
from trueup.core.claims import stream_of
from trueup.errors import JournalConflict, JournalCorrupt, JournalError
from trueup.journal.backends import together
from trueup.journal.backends.bot_streams import BotStreams
from trueup.journal.backends.postgres import PostgresDatabase, SessionClaim
from trueup.journal.backends.server_session import SESSIONS, ServerSession
from trueup.journal.database.database import Database
from trueup.journal.writing.store import StoredJournal

ACCOUNTS = [f"{5_000_000 + number}@Demo-Server" for number in range(60)]
# Liveness, begin, locks, writers, events, token, commit.
STATEMENTS = 7
HOLDERS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND (classid::bigint << 32) | objid::bigint = ?"
)


def session_of(place: PostgresPlace, stream: str) -> ServerSession:
    database = PostgresDatabase(place.url)
    return SESSIONS.of(database._address, database.name, stream)


def of_one_session(place: PostgresPlace, count: int) -> list[str]:
    """Return so many accounts' streams that share a session."""
    first = session_of(place, ACCOUNTS[0])
    return [name for name in ACCOUNTS if session_of(place, name) is first][:count]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that this process sends from now on."""
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        sent.append(str(query))
        return execute(self, query, *more, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    return sent


@pytest.fixture
def streams(postgres_place: PostgresPlace) -> Iterator[list[str]]:
    """Six streams of one session with three events each; the session stays connected."""
    names = of_one_session(postgres_place, 6)
    with postgres_place.open("keeps-the-session"), ExitStack() as kept:
        # A user of the same session, so that its connection lives.
        other = next(
            name
            for name in (f"bot-{number}" for number in range(100))
            if session_of(postgres_place, name) is session_of(postgres_place, names[0])
        )
        kept.enter_context(postgres_place.open(other))
        for name in names:
            with postgres_place.open(name) as journal:
                journal.append(orders(1, 2))
                journal.append(orders(3))
        yield names


@contextmanager
def opening(
    place: PostgresPlace, names: Sequence[str], **options: Any
) -> Iterator[list[Future[StoredJournal]]]:
    """Open streams of one session at the same time, while another thread has the session."""
    session = session_of(place, names[0])
    with ThreadPoolExecutor(len(names)) as pool, ExitStack() as opened:
        with session.lock:
            made = [pool.submit(place.open, name, **options.get(name, {})) for name in names]
            until(lambda: len(session.openings) == len(names))
        for one in made:
            if one.exception() is None:
                opened.enter_context(one.result())
        yield made


def test_one_opening_asks_seven_times_and_the_schema_not_at_all(
    postgres_place: PostgresPlace, streams: list[str], statements: list[str]
) -> None:
    with postgres_place.open(streams[0]) as journal:
        saved = journal.latest_checkpoint()
        assert saved is None
        assert list(journal.read()) == orders(1, 2, 3)
        assert journal.first_hash is not None
        assert len(statements) == STATEMENTS, statements
        assert not any("pg_tables" in one for one in statements)
        assert (journal.token, journal.append(orders(4))) == (2, 4)
        assert list(journal.read()) == orders(1, 2, 3, 4)


def test_streams_that_wait_together_are_opened_with_the_statements_of_one(
    postgres_place: PostgresPlace, streams: list[str], statements: list[str]
) -> None:
    with opening(postgres_place, streams) as made:
        journals = [one.result() for one in made]
        assert len(statements) == STATEMENTS, statements
        for journal in journals:
            assert (journal.token, journal.position) == (2, 3)
            assert list(journal.read()) == orders(1, 2, 3)
            assert journal.append(orders(4)) == 4
            with pytest.raises(JournalConflict, match="is being written by"):
                postgres_place.open(journal.stream)
    for name in streams:
        with postgres_place.reader(name) as reader:
            assert reader.verify().sound
    rows = postgres_place.sql("SELECT stream, token, position FROM journal_writers")
    assert {row for row in rows if row[0] in streams} == {(name, 2, 4) for name in streams}


def test_more_than_a_group_are_opened_in_groups(
    postgres_place: PostgresPlace,
    streams: list[str],
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(together, "GROUP_MOST", 4)
    with opening(postgres_place, streams) as made:
        assert all(one.result().token == 2 for one in made)
    begun = [one for one in statements if one.startswith("BEGIN")]
    assert len(begun) >= 2


def refuse(_: Database) -> None:
    raise JournalConflict("The shard is another's.")


def test_each_opening_of_a_group_is_refused_for_its_own_reason_and_the_others_are_not(
    postgres_place: PostgresPlace, streams: list[str]
) -> None:
    refused, damaged, torn, ended, held, sound = streams
    postgres_place.sql("UPDATE journal_writers SET hash = ? WHERE stream = ?", bytes(32), damaged)
    postgres_place.sql("DELETE FROM journal_events WHERE stream = ? AND position = 3", torn)
    with postgres_place.open(ended) as journal:
        journal.append([StreamClosed(at_ns=NOW_NS, by="another")])
    options = {refused: {"permit": refuse}}
    with (
        WriterProcess(postgres_place.url, held, "second.py"),
        opening(postgres_place, streams, **options) as made,
    ):
        assert "The shard is another's." in str(made[0].exception())
        assert "is not the one that was written here" in str(made[1].exception())
        # Repaired as by an opening alone, with the same words.
        assert "position 3 was acknowledged" in made[2].result().lost
        assert "its book goes on in" in str(made[3].exception())
        assert "is being written by second.py" in str(made[4].exception())
        assert made[5].result().append(orders(4)) == 4
        assert sound == made[5].result().stream
    # Who was refused has left no lock.
    with postgres_place.open(refused) as journal:
        assert journal.append(orders(4)) == 4


def test_overlapping_streams_of_a_group_do_not_open_together(
    postgres_place: PostgresPlace, streams: list[str]
) -> None:
    account = streams[0]
    parts = (stream_of(account, (number,)) for number in range(1, 60))
    part = next(
        one
        for one in parts
        if session_of(postgres_place, one) is session_of(postgres_place, account)
    )
    postgres_place.open(part).close()
    with opening(postgres_place, [account, part]) as made:
        errors = [one.exception() for one in made if one.exception() is not None]
        assert len(errors) == 1
        assert "shares every symbol" in str(errors[0])


def test_a_former_writer_whose_session_ended_is_fenced_out_by_the_token(
    postgres_place: PostgresPlace, streams: list[str]
) -> None:
    with WriterProcess(postgres_place.url, streams[0], "former.py") as former:
        assert former.ask("append 1") == "4"
        key = key_of(streams[0])
        postgres_place.sql(f"SELECT pg_terminate_backend(pid) {HOLDERS}", key)
        until(lambda: not postgres_place.sql(f"SELECT pid {HOLDERS}", key))
        with opening(postgres_place, streams[:3]) as made:
            journal = made[0].result()
            assert (journal.token, journal.position) == (3, 4)
            assert former.ask("append 1").startswith("JournalConflict")
            assert journal.append(orders(5)) == 5


def test_a_row_that_changes_between_reading_and_signing_leaves_the_group_undone(
    postgres_place: PostgresPlace, streams: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No statement of ours does that while the lock is held; the token decides all the same."""
    broken = together._SIGN.replace("w.token = t.token ", "w.token = t.token + 1 ")
    monkeypatch.setattr(together, "_SIGN", broken)
    with opening(postgres_place, streams[:2]) as made:
        # Each alone, step by step.
        assert [one.result().token for one in made] == [2, 2]
        assert [one.result().append(orders(4)) for one in made] == [4, 4]


def test_an_interruption_within_a_group_leaves_no_lock_and_no_opening_waiting(
    postgres_place: PostgresPlace, streams: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = together._continued
    interrupted = threading.Event()

    def interrupt(*values: Any) -> Any:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return original(*values)

    monkeypatch.setattr(together, "_continued", interrupt)
    with opening(postgres_place, streams[:3]) as made:
        errors = [one.exception() for one in made]
        assert [type(one) for one in errors if one is not None] == [KeyboardInterrupt]
        opened = [one.result() for one in made if one.exception() is None]
        assert [one.append(orders(4)) for one in opened] == [4, 4]
    for name in streams[:3]:
        postgres_place.open(name).close()


def test_an_opening_that_is_interrupted_in_the_queue_is_not_done_by_others(
    postgres_place: PostgresPlace, streams: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(postgres_place, streams[0])

    class Interrupting:
        def __enter__(self) -> bool:
            monkeypatch.undo()
            raise KeyboardInterrupt

        def __exit__(self, *_: object) -> None:
            """Never entered."""

    monkeypatch.setattr(session, "lock", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        together.continue_together(session, *waiting(postgres_place, session, streams[0]))
    assert not session.openings
    with WriterProcess(postgres_place.url, streams[0], "second.py") as second:
        assert second.greeting == "open 3 2"


def waiting(
    place: PostgresPlace, session: ServerSession, stream: str
) -> tuple[PostgresDatabase, together.Member]:
    database = PostgresDatabase(place.url)
    database.connect_to_write(stream)
    claim = SessionClaim(database, session, stream)
    keys = key_of(stream), claim.key
    return database, together.Member(stream, stream, keys, claim, "me", NOW_NS, lambda: None)


def test_a_database_that_was_made_anew_gets_its_tables(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    place = PostgresPlace.__new__(PostgresPlace)
    place.server, place.url = postgres_server, url
    name = ACCOUNTS[0]
    place.open(name).close()
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        database = url.partition("@/")[2].partition("?")[0]
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {database}".encode())
    with place.open(name) as journal:
        assert journal.append(orders(1)) == 1


def test_the_book_that_was_read_ahead_is_the_book_of_the_journal(
    postgres_place: PostgresPlace, streams: list[str], statements: list[str]
) -> None:
    with postgres_place.open(streams[0]) as journal:
        book = Book().replay(journal.read())
        journal.checkpoint(book.version, book.state())
        book.replay(orders(4, 5))
        journal.append(orders(4, 5))
    statements.clear()
    with postgres_place.open(streams[0]) as journal:
        saved = journal.latest_checkpoint()
        assert saved is not None
        found = Book.restore(saved.state).replay(journal.read(after=saved.position))
        assert len(statements) == STATEMENTS
        assert (saved.position, found.state()) == (3, book.state())
        first = journal.first_hash
    with postgres_place.reader(streams[0]) as reader:
        assert (reader.first_hash, reader.latest_checkpoint()) == (first, saved)


def test_what_was_read_ahead_is_not_used_after_a_checkpoint_or_an_append(
    postgres_place: PostgresPlace, streams: list[str]
) -> None:
    with postgres_place.open(streams[0]) as journal:
        journal.append(orders(4))
        assert list(journal.read()) == orders(1, 2, 3, 4)
    with postgres_place.open(streams[0]) as journal:
        journal.checkpoint(2, b"state")
        saved = journal.latest_checkpoint()
        assert saved is not None
        assert saved.position == 2


def test_a_damaged_checkpoint_is_warned_of_and_the_one_before_is_used(
    postgres_place: PostgresPlace, streams: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with postgres_place.open(streams[0]) as journal:
        journal.checkpoint(2, b"two")
        journal.checkpoint(3, b"three")
    postgres_place.sql("UPDATE journal_checkpoints SET state = 'x' WHERE position = 3")
    with postgres_place.open(streams[0]) as journal:
        saved = journal.latest_checkpoint()
        assert saved is not None
        assert (saved.position, saved.state) == (2, b"two")
    assert "The checkpoint at position 3 is damaged" in caplog.text


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_long_rest_is_read_as_by_any_opening(
    postgres_place: PostgresPlace, streams: list[str], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(together, "READ_AHEAD_MOST", most)
    with postgres_place.open(streams[0]) as journal:
        assert list(journal.read()) == orders(1, 2, 3)
        assert list(journal.read(after=1)) == orders(2, 3)


def test_a_rewritten_history_is_refused(postgres_place: PostgresPlace, streams: list[str]) -> None:
    postgres_place.sql(
        "UPDATE journal_events SET hash = ? WHERE stream = ? AND position = 2",
        bytes(32),
        streams[0],
    )
    with pytest.raises(JournalCorrupt), postgres_place.open(streams[0]) as journal:
        list(journal.read())


@THROUGH
def test_openings_that_are_cut_anywhere_keep_the_next_ones_not_out(
    postgres_place: PostgresPlace, streams: list[str], tmp_path: Path
) -> None:
    proxy = CuttingProxy(tmp_path, postgres_place.server.folder)
    far = copy.copy(postgres_place)
    far.url = postgres_place.url.replace(str(postgres_place.server.folder), str(proxy.folder))
    try:
        with far.open("keeps-tables-known"):
            proxy.cut_after(1 << 30, silently=True)
            far.open(streams[0]).close()
            total = proxy.passed
            for count in range(0, total, 211):
                proxy.cut_after(count, silently=True)
                try:
                    far.open(streams[0]).close()
                except JournalConflict:
                    raise
                except JournalError:
                    pass
                proxy.pass_everything()
                with far.open(streams[0]) as journal:
                    assert list(journal.read()) == orders(1, 2, 3)
                proxy.let_the_server_know()
    finally:
        proxy.close()


# The streams of bots of one symbol, which an account takes over.


def test_names_are_asked_again_only_when_a_stream_was_added(
    postgres_place: PostgresPlace, streams: list[str]
) -> None:
    names, asked = BotStreams(), []

    def fetch(statement: str) -> list[Any]:
        asked.append(statement)
        return postgres_place.sql(statement)

    before = names.names(fetch)
    assert not set(before) & set(streams)
    assert names.names(fetch) == before
    assert len(asked) == 3
    odd = f"{ACCOUNTS[0]}/notes"
    for name in ("EURUSD", odd):
        postgres_place.open(name).close()
    assert set(names.names(fetch)) == {*before, "EURUSD", odd}


def test_an_answer_serves_only_those_who_asked_before_it_was_looked_for() -> None:
    names, looks = BotStreams(), []
    may_end, has_begun = threading.Event(), threading.Event()

    def fetch(statement: str) -> list[Any]:
        if "count" in statement:
            looks.append(statement)
            if len(looks) == 1:
                has_begun.set()
                assert may_end.wait(60)
            return [(len(looks),)]
        return [(f"bot {len(looks)}",)]

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(names.names, fetch)
        assert has_begun.wait(60)
        # These asked while the first look was under way, which may have missed their stream.
        later = [pool.submit(names.names, fetch) for _ in range(2)]
        may_end.set()
        assert first.result() == ("bot 1",)
        assert all(one.result() != ("bot 1",) for one in later)
