"""A stream in PostgreSQL is free as soon as its writer lets it go.

The server drops the lock of an ended session some time after the client has gone, and counts how
often a session took a lock. So a release must really release, and may not lean on the end of the
session.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.journal.conftest import server_programs
from tests.journal.cutting_proxy import CuttingProxy
from tests.journal.places import ENDED, NOW_NS, STREAM, PostgresPlace, orders
from tests.journal.postgres_server import PostgresServer
from tests.journal.test_shared_sessions import key_of
from tests.support.servers import until
from trueup.errors import JournalConflict, JournalError
from trueup.journal import open_journal
from trueup.journal.backends.postgres import PostgresDatabase, SessionClaim
from trueup.journal.writing.store import StoredJournal

THROUGH = pytest.mark.skipif(sys.platform == "win32", reason="the proxy is a Unix socket's")


def claim_of(journal: StoredJournal) -> SessionClaim:
    claim = journal._claim
    assert isinstance(claim, SessionClaim)
    return claim


def test_a_stream_that_was_let_go_is_free_while_its_connection_lives(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open() as first:
        first.append(orders(1))
        first.let_go()
        with postgres_place.open() as second:
            assert second.append(orders(2)) == 2


def test_a_stream_beside_that_was_let_go_is_free_while_the_connection_lives(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open("account") as account:
        beside = account.beside("EURUSD")
        account.become_writer_of(beside, 1)
        with pytest.raises(JournalConflict, match="is being written by"):
            postgres_place.open("EURUSD")
        beside.let_go()
        with postgres_place.open("EURUSD") as bot:
            assert bot.append(orders(1)) == 1
        assert account.append(orders(1)) == 1


def test_a_lock_that_was_confirmed_again_on_its_session_is_released_at_once(
    postgres_place: PostgresPlace,
) -> None:
    """As after an overlapping stream, which is asked about again with each append."""
    with postgres_place.open() as first:
        claim = claim_of(first)
        assert claim.renew()
        assert claim.renew()
        first.let_go()
        assert claim.holders() == []


def test_a_session_that_the_server_still_has_is_named_with_the_process_that_ended(
    postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.processes.PAUSE_SEC", 0)
    postgres_place.open().close()
    postgres_place.sql("UPDATE journal_writers SET holder = ?", ENDED)
    with postgres_place.connected() as session:
        session.execute("SELECT pg_advisory_xact_lock(%s)", (key_of(STREAM),))
        with pytest.raises(JournalConflict) as refused:
            postgres_place.open()
    assert (
        f"is being written by a session that the server has not ended yet, left behind by {ENDED}, "
        "since 2026-01-05 00:00:00 UTC, which has ended; stop that first"
    ) in str(refused.value)
    postgres_place.open().close()


@pytest.fixture
def proxy(postgres_place: PostgresPlace, tmp_path: Path) -> Iterator[CuttingProxy]:
    between = CuttingProxy(tmp_path, postgres_place.server.folder)
    yield between
    between.close()


def through(proxy: CuttingProxy, place: PostgresPlace) -> PostgresPlace:
    """Return the place as it is reached through the proxy."""
    far = copy.copy(place)
    far.url = place.url.replace(str(place.server.folder), str(proxy.folder))
    return far


def sessions(place: PostgresPlace) -> set[tuple[int, str]]:
    """Return the sessions that hold any stream, each with its start."""
    held = (
        "SELECT a.pid, a.backend_start::text FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND a.datname = current_database()"
    )
    return set(place.sql(held))


@THROUGH
def test_a_session_that_outlives_its_closed_journal_keeps_nobody_out(
    postgres_place: PostgresPlace, proxy: CuttingProxy
) -> None:
    far = through(proxy, postgres_place)
    with far.open() as first:
        first.append(orders(1))
        (old,) = sessions(postgres_place)
        # The network is gone: the server does not hear of the end, and keeps the session.
        proxy.cut_after(0, silently=True)
    proxy.pass_everything()
    assert sessions(postgres_place) == {old}
    with far.open() as second:
        assert second.append(orders(2)) == 2
        assert old not in sessions(postgres_place)


@THROUGH
@pytest.mark.parametrize("is_closed", [False, True])
def test_a_session_that_is_ending_and_still_has_the_lock_is_waited_for(
    postgres_place: PostgresPlace, proxy: CuttingProxy, is_closed: bool
) -> None:
    """The server releases the locks of an ended session one after the other."""
    far = through(proxy, postgres_place)
    with far.open() as journal, ThreadPoolExecutor(1) as pool:
        journal.append(orders(1))

        def appended() -> StoredJournal:
            journal.append(orders(2))
            return journal

        database = journal._database
        assert isinstance(database, PostgresDatabase)
        # By this lock the next session would know that the former has not ended.
        database.fetch("SELECT pg_advisory_unlock(%s)", database._session._key)
        (old,) = sessions(postgres_place)
        proxy.cut_after(0, silently=True)
        proxy.pass_everything()
        if is_closed:
            journal.close()
        going_on = pool.submit(far.open if is_closed else appended)
        # The new session, which has a lock of its own.
        until(lambda: going_on.done() or len(sessions(postgres_place)) == 2)
        assert old in sessions(postgres_place)
        proxy.let_the_server_know()
        with going_on.result() as after:
            assert after.append(orders(3)) == (2 if is_closed else 3)


@THROUGH
def test_the_session_of_another_program_is_not_ended_by_a_journal_opened_again(
    postgres_place: PostgresPlace, proxy: CuttingProxy
) -> None:
    far = through(proxy, postgres_place)
    with far.open() as first:
        proxy.cut_after(0, silently=True)
    del first
    proxy.pass_everything()
    postgres_place.end_sessions()
    with postgres_place.open(holder="second.py") as second:
        with pytest.raises(JournalConflict, match=r"second\.py"):
            far.open()
        assert second.append(orders(1)) == 1


@THROUGH
def test_an_opening_that_is_cut_anywhere_keeps_the_next_one_not_out(
    postgres_place: PostgresPlace, proxy: CuttingProxy
) -> None:
    far = through(proxy, postgres_place)
    proxy.cut_after(1 << 30, silently=True)
    far.open().close()
    total, step = proxy.passed, 97
    assert total > 1_000
    failed = 0
    for count in range(0, total, step):
        proxy.cut_after(count, silently=True)
        try:
            far.open().close()
        except JournalConflict:
            raise
        except JournalError:
            failed += 1
        proxy.pass_everything()
        far.open().close()
        proxy.let_the_server_know()
    assert failed > total // step // 2


def test_server_without_room_for_another_lock_is_told_with_the_setting() -> None:
    server = PostgresServer(server_programs(), "max_locks_per_transaction=10", "max_connections=8")
    try:
        url = server.new_database()
        with (
            open_journal(url, "first", now_ns=lambda: NOW_NS) as journal,
            psycopg.connect(url, autocommit=True) as other,
            contextlib.closing(PostgresDatabase(url)) as connected,
        ):
            connected.connect()
            fill_with_locks(other)
            for attempt in (
                lambda: open_journal(url, "second", now_ns=lambda: NOW_NS),
                lambda: connected.claim("second", 0, take_over=False),
            ):
                with pytest.raises(JournalError, match="no room for another lock") as refused:
                    attempt()
                assert "max_locks_per_transaction" in refused.value.with_remedy
            other.execute("SELECT pg_advisory_unlock_all()")
            assert journal.append(orders(1)) == 1
            with open_journal(url, "second", now_ns=lambda: NOW_NS) as added:
                assert added.append(orders(1)) == 1
    finally:
        server.remove()


def fill_with_locks(connection: psycopg.Connection[Any]) -> None:
    """Take locks until the server has no room; a statement that fails gives its own back."""
    taken = 0
    for step in (400, 20, 1):
        with contextlib.suppress(psycopg.errors.OutOfMemory):
            while True:
                connection.execute(
                    "SELECT pg_advisory_lock(n) FROM generate_series(%s::int, %s::int) n",
                    (taken, taken + step - 1),
                )
                taken += step
