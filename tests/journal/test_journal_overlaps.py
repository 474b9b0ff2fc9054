"""Streams of one account whose scopes overlap have one writer together, with real processes."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from tests.journal.places import (
    ENDED,
    Place,
    PostgresPlace,
    SqlitePlace,
    WriterProcess,
    orders,
)
from tests.support.processes import stopped
from tests.support.servers import DEADLINE_SEC
from trueup.core.claims import shared_by_streams, stream_of
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends.location import database_at
from trueup.journal.backends.lockfile import claim_file
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.database.database import Database
from trueup.journal.writing.store import StoredJournal

ACCOUNT = "5000001@Demo-Server"
WHOLE = stream_of(ACCOUNT)
SEVEN, EIGHT = stream_of(ACCOUNT, (7,)), stream_of(ACCOUNT, (8,))
EURUSD = stream_of(ACCOUNT, (), ("EURUSD",))


@pytest.mark.parametrize(
    ("held", "wanted", "shared"),
    [
        (WHOLE, SEVEN, "every symbol, magic 7"),
        (SEVEN, WHOLE, "every symbol, magic 7"),
        (SEVEN, EURUSD, "EURUSD, magic 7"),
        (SEVEN, stream_of(ACCOUNT, (7, 8)), "every symbol, magic 7"),
    ],
)
def test_overlapping_stream_is_refused_by_name_until_its_writer_is_killed(
    place: Place, held: str, wanted: str, shared: str
) -> None:
    with WriterProcess(place.url, held, "trend.py") as writer:
        assert writer.greeting == "open 0 1"
        # Nor does taking over help: that is for the stream's own writer.
        with pytest.raises(JournalConflict):
            place.open(wanted, take_over=True)
        with pytest.raises(JournalConflict) as refused:
            place.open(wanted)
        text = str(refused.value)
        assert f"Stream {wanted!r} of " in text
        assert f"shares {shared} with stream {held!r}, which is being written by trend.py" in text
        assert f"(process {writer.pid} on " in text
        assert "UTC; stop that first, or give one of the two other magic numbers" in text
        # Who was refused has left nothing behind, and the writer writes on.
        assert writer.ask("append 2") == "2"
        writer.kill()
        place.wait_until_left()
        with place.open(wanted) as journal:
            assert journal.append(orders(1)) == 1


def test_paused_writer_excludes_too(place: Place) -> None:
    with (
        WriterProcess(place.url, SEVEN, "trend.py") as writer,
        stopped(writer.pid),
        pytest.raises(JournalConflict),
    ):
        place.open(WHOLE)


@pytest.mark.parametrize(
    "other",
    [EIGHT, stream_of("5000002@Demo-Server"), "EURUSD", f"{ACCOUNT}/notes", "account-1234"],
)
def test_other_streams_live_beside_it(place: Place, other: str) -> None:
    with place.open(SEVEN) as seven, place.open(other) as beside:
        assert (seven.append(orders(1)), beside.append(orders(2))) == (1, 1)


def test_stream_that_was_closed_or_never_had_a_writer_excludes_nobody(place: Place) -> None:
    place.open(WHOLE).close()
    with place.open(SEVEN), place.open(EIGHT):
        pass
    with place.open(WHOLE) as journal:
        assert journal.token == 2


def test_of_many_that_open_at_once_no_two_overlap(place: Place) -> None:
    streams = [WHOLE, SEVEN, EIGHT, EURUSD, stream_of(ACCOUNT, (7,), ("EURUSD",)), WHOLE]
    start, opened = threading.Barrier(len(streams)), list[StoredJournal]()

    def open_one(stream: str) -> None:
        start.wait(DEADLINE_SEC)
        try:
            opened.append(place.open(stream))
        except JournalConflict:
            return

    threads = [threading.Thread(target=open_one, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SEC)
    names = [journal.stream for journal in opened]
    for journal in opened:
        journal.close()
    assert names
    assert len(names) == len(set(names))
    assert not any(shared_by_streams(one, other) for one in names for other in names)


def test_postgres_writer_whose_connection_was_lost_waits_for_who_came_meanwhile(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open(SEVEN) as seven:
        seven.append(orders(1))
        postgres_place.end_sessions()
        with postgres_place.open(WHOLE) as whole:
            whole.append(orders(1))
            for _ in range(2):
                with pytest.raises(JournalError, match="which is being written by") as refused:
                    seven.append(orders(2))
                assert not isinstance(refused.value, JournalConflict)
        # It was never taken over from, so it goes on once the other has ended.
        assert seven.append(orders(2)) == 2


def test_overlapping_stream_of_a_process_that_has_ended_is_waited_for(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that it left behind has a copy of the lock for a moment."""
    sqlite_place.open(SEVEN).close()
    sqlite_place.sql("UPDATE journal_writers SET holder = ?", ENDED)
    claim = claim_file(sqlite_place.path, SEVEN, 1, take_over=False)
    assert claim is not None
    looks, is_held = list[str](), SqliteDatabase.is_held

    def look(database: SqliteDatabase, stream: str) -> bool:
        looks.append(stream)
        if len(looks) == 3:
            claim.release()
        return is_held(database, stream)

    monkeypatch.setattr(SqliteDatabase, "is_held", look)
    with sqlite_place.open(WHOLE) as journal:
        assert journal.append(orders(1)) == 1
    assert looks == [SEVEN] * 3


def test_postgres_streams_of_an_account_are_claimed_one_after_the_other(
    postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a lock of the account, whose number a release of any age has to know."""
    monkeypatch.setattr("trueup.journal.backends.server_session.LOCK_MS", 50)
    digest = hashlib.sha256(f"trueup account {ACCOUNT}".encode()).digest()
    with postgres_place.connected() as other:
        key = int.from_bytes(digest[:8], "big", signed=True)
        other.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        with pytest.raises(JournalError, match="another session keeps it locked"):
            postgres_place.open(SEVEN)
        # Nobody of another account waits for it.
        postgres_place.open(stream_of("5000002@Demo-Server")).close()
    postgres_place.open(SEVEN).close()


def test_opening_a_known_stream_reads_nothing_about_the_streams_of_other_accounts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        place.open(stream_of(f"{number}@Demo-Server")).close()
    kind, counts, asked = type(database_at(place.url)), list[int](), list[str]()
    fetch = kind.fetch

    def counted(database: Database, statement: str, *parameters: object) -> list[Any]:
        rows = fetch(database, statement, *parameters)
        counts.append(len(rows))
        asked.append(statement)
        return rows

    monkeypatch.setattr(kind, "fetch", counted)
    place.open(stream_of("7@Demo-Server")).close()
    assert 0 < max(counts) < 20
    # PostgreSQL takes longer to tell whether there are tables than to open a stream.
    assert sum("pg_tables" in statement for statement in asked) <= 1
