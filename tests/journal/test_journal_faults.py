"""Disks, files and servers that fail: what is said, that nothing is half written, that it mends."""

from __future__ import annotations

import builtins
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.journal.places import PostgresPlace, SqlitePlace, order, orders
from tests.support.posix_limits import files_limited_to, posix_only, without_root
from trueup.errors import JournalConflict, JournalError
from trueup.journal import open_journal, open_reader
from trueup.journal.backends import sqlite
from trueup.journal.backends.location import database_at, without_user
from trueup.journal.writing.store import StoredJournal

SPECIAL = "special characters of user and password as %XX, such as %40 for @ and %2F for /"


def refused(journal: StoredJournal, *numbers: int) -> str:
    """Append, and return the refusal and its remedy; the events are not in the journal."""
    before = journal.position
    with pytest.raises(JournalError) as error:
        journal.append(orders(*numbers))
    assert journal.position == before
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return error.value.with_remedy


def mended(journal: StoredJournal, *numbers: int) -> None:
    """The next append works by itself, and everything holds."""
    assert journal.append([order(99)]) == len(numbers) + 1
    assert list(journal.read()) == orders(*numbers, 99)
    assert journal.verify().sound


# SQLite.


@posix_only
def test_append_when_the_file_cannot_grow_writes_nothing(sqlite_place: SqlitePlace) -> None:
    with sqlite_place.open() as journal:
        journal.append(orders(1))
        with files_limited_to(64 * 1024):
            text = refused(journal, *range(2, 2000))
        assert "the disk failed" in text
        assert f"To do: see to the disk of {sqlite_place.path}: free space" in text
        mended(journal, 1)


def test_append_when_the_disk_is_full_writes_nothing(sqlite_place: SqlitePlace) -> None:
    with sqlite_place.open() as journal:
        journal.append(orders(1))
        journal._database.run("PRAGMA max_page_count=1")
        text = refused(journal, *range(2, 200))
        assert "the disk is full" in text
        assert text.endswith(f"To do: make room on the disk of {sqlite_place.path}.")
        journal._database.run("PRAGMA max_page_count=1000000")
        mended(journal, 1)


def test_append_when_another_connection_holds_the_file_writes_nothing(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    with sqlite_place.open() as journal:
        journal.append(orders(1))
        other = sqlite3.connect(sqlite_place.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert f"To do: end the other program that has {sqlite_place.path} open" in (
            refused(journal, 2)
        )
        other.execute("ROLLBACK")
        other.close()
        mended(journal, 1)


def test_writer_of_another_file_waits_for_nobody(sqlite_place: SqlitePlace, tmp_path: Path) -> None:
    with (
        sqlite_place.open() as one,
        open_journal(tmp_path / "other.db", "one", now_ns=lambda: 1) as other,
        ThreadPoolExecutor(1) as pool,
        one._database.writing(),
    ):
        assert pool.submit(other.append, orders(1)).result(60) == 1


@posix_only
def test_append_when_the_file_was_moved_writes_nothing(sqlite_place: SqlitePlace) -> None:
    """SQLite itself would go on writing to a file that nobody can open any more."""
    elsewhere = sqlite_place.path.with_name("elsewhere.db")
    with sqlite_place.open() as journal:
        journal.append(orders(1))
        sqlite_place.path.rename(elsewhere)
        assert "moved, replaced or deleted" in refused(journal, 2)
        sqlite_place.path.touch()
        assert "moved, replaced or deleted" in refused(journal, 2)
        elsewhere.replace(sqlite_place.path)
        mended(journal, 1)


@posix_only
def test_file_that_cannot_be_written_is_refused_and_can_be_read(
    sqlite_place: SqlitePlace,
) -> None:
    with sqlite_place.open() as journal:
        journal.append(orders(1))
    folder = sqlite_place.path.parent
    open_up(folder)
    sqlite_place.path.chmod(0o444)
    folder.chmod(0o555)
    try:
        said = f"{sqlite_place.path} cannot be written: {{}} is read-only for this user; make it "
        said += "writable, or give another place."
        with without_root(), pytest.raises(JournalError) as refused_place:
            sqlite_place.open()
        assert str(refused_place.value) == said.format(f"the folder {folder}")
        # Without a log the file is whole, and no index can be made beside it.
        with without_root(), sqlite_place.reader() as reader:
            assert list(reader.read()) == orders(1)
        folder.chmod(0o777)
        with without_root():
            with pytest.raises(JournalError) as refused_place:
                sqlite_place.open()
            assert str(refused_place.value) == said.format("the file")
            with sqlite_place.reader() as reader:
                assert list(reader.read()) == orders(1)
    finally:
        folder.chmod(0o755)


@posix_only
def test_file_behind_a_folder_that_may_not_be_entered_is_refused(
    sqlite_place: SqlitePlace,
) -> None:
    folder = sqlite_place.path.parent
    open_up(folder)
    folder.chmod(0o600)
    try:
        with without_root(), pytest.raises(JournalError) as caught:
            sqlite_place.open()
        assert str(caught.value) == (
            f"{sqlite_place.path} cannot be looked at: this user may not enter a folder on the way "
            "to it; give another place, or the right to enter."
        )
    finally:
        folder.chmod(0o755)


def open_up(folder: Path) -> None:
    """Let other users into a folder of pytest's."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.geteuid() and place.name.startswith(
            ("pytest", "popen", "test_")
        ):
            place.chmod(0o755)


@pytest.mark.parametrize(
    ("make", "because"),
    [
        pytest.param(lambda p: p.mkdir(), "is a folder", id="folder"),
        pytest.param(lambda p: p.write_bytes(b"no database" * 99), "not a SQLite", id="text"),
        pytest.param(
            lambda p: sqlite3.connect(p).execute("CREATE TABLE mine (a)").connection.close(),
            "database of something else",
            id="foreign",
        ),
    ],
)
def test_path_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, make: Any, because: str
) -> None:
    path = tmp_path / "other.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(JournalError, match=because):
        open_journal(path, "account", now_ns=lambda: 1)
    with pytest.raises(JournalError, match=because):
        open_reader(path)
    assert [p.name for p in tmp_path.iterdir()] == ["other.db"]
    assert before == (path.read_bytes() if path.is_file() else b"")


def test_path_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no folder"):
        open_journal(tmp_path / "no" / "bot.db", "account", now_ns=lambda: 1)


def test_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    (tmp_path / "bot.db").touch()
    with open_journal(tmp_path / "bot.db", "account", now_ns=lambda: 1) as journal:
        assert journal.append(orders(1)) == 1


def test_reader_of_no_file_makes_none(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal"):
        open_reader(tmp_path / "bot.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["mysql://bot:secret@here/bot?via=http://x", "sqlite:///bot.db", "http://x"]
)
def test_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(JournalError) as refused_url:
        open_journal(url, "account", now_ns=lambda: 1)
    assert str(refused_url.value) == (
        f"{url.split(':')[0]}:// is no journal: give a file, as 'bot.db', or postgresql://."
    )


# PostgreSQL.


def test_append_after_the_session_was_ended_works(postgres_place: PostgresPlace) -> None:
    with postgres_place.open() as journal:
        journal.append(orders(1))
        postgres_place.end_sessions()
        mended(journal, 1)


def test_read_after_the_session_was_ended_works_the_second_time(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open() as journal, postgres_place.reader() as reader:
        journal.append(orders(1))
        postgres_place.end_sessions()
        with pytest.raises(JournalError, match="connection was lost"):
            list(reader.read())
        assert list(reader.read()) == orders(1)


def test_append_while_the_server_is_down_writes_nothing(postgres_place: PostgresPlace) -> None:
    with postgres_place.open() as journal:
        journal.append(orders(1))
        postgres_place.server.stop()
        try:
            for _ in range(2):
                text = refused(journal, 2)
                assert text.startswith(f"{journal._database.name} cannot be reached: ")
                assert "PostgreSQL database" in text
        finally:
            postgres_place.server.start()
        mended(journal, 1)


def test_append_after_another_took_over_while_the_connection_was_lost_is_refused(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open() as journal:
        journal.append(orders(1))
        postgres_place.end_sessions()
        with postgres_place.writer_process(holder="second.py") as second:
            for _ in range(2):
                with pytest.raises(JournalConflict, match=r"second\.py"):
                    journal.append(orders(2))
            assert second.ask("append 1") == "2"


def test_a_stream_whose_session_was_ended_still_has_its_writer_in_this_process(
    postgres_place: PostgresPlace,
) -> None:
    with postgres_place.open() as journal:
        journal.append(orders(1))
        postgres_place.end_sessions()
        with pytest.raises(JournalConflict, match="which is this process"):
            postgres_place.open()
        mended(journal, 1)


def test_append_while_another_session_locks_the_row_is_refused_in_time(
    postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.journal.backends.server_session.LOCK_MS", 50)
    with postgres_place.open() as journal:
        journal.append(orders(1))
        with postgres_place.connected() as other:
            other.execute("SELECT * FROM journal_writers FOR UPDATE")
            text = refused(journal, 2)
            assert "keeps it locked" in text
            assert text.endswith("To do: end that session: pg_locks names it.")
        mended(journal, 1)


def test_server_that_is_not_there_is_refused_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://bot:secret@/prices?host={tmp_path}"
    with pytest.raises(JournalError, match="cannot be reached") as error:
        open_journal(url, "account", now_ns=lambda: 1)
    assert "secret" not in error.value.with_remedy
    assert error.value.remedy.startswith("start the PostgreSQL server")
    assert "prices" in str(error.value)


def test_url_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(JournalError, match=r"^The journal's URL cannot be read: .*\.$"):
        open_journal("postgresql://bot@[::1/prices", "account", now_ns=lambda: 1)


@pytest.mark.parametrize(
    ("url", "because"),
    [
        # The driver's own reason, where no part of the password is in it.
        ("bot:secret@here/prices?nonsense=1", 'invalid URI query parameter: "nonsense"'),
        ("here/prices?nonsense=1", 'invalid URI query parameter: "nonsense"'),
        ("bot:sec%ret@here/prices", f"write {SPECIAL}"),
        ("bot:sec/ret@here/prices", f"write {SPECIAL}"),
        ("bot:sec@ret@here/prices", f"write {SPECIAL}"),
    ],
)
def test_url_that_cannot_be_read_is_explained_without_its_password(url: str, because: str) -> None:
    with pytest.raises(JournalError) as refused_url:
        open_journal(f"postgresql://{url}", "account", now_ns=lambda: 1)
    assert str(refused_url.value) == f"The journal's URL cannot be read: {because}."
    assert refused_url.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://bot:secret@here/prices", "'prices' on here"),
        ("postgres://bot@here", "'bot' on here"),
        ("postgresql+psycopg://?hostaddr=127.0.0.1", "'default' on 127.0.0.1"),
        ("postgresql:///prices", "'prices' on this machine"),
    ],
)
def test_database_is_called_after_its_name_and_its_server(url: str, name: str) -> None:
    assert database_at(url).name == f"PostgreSQL database {name}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://bot:secret@here:5433/prices", "postgresql://here:5433/prices"),
        ("postgres://here/prices/", "postgresql://here/prices"),
        ("postgresql+psycopg://here/XRP", "postgresql://here/XRP"),
        # Without a name the database is that of the user.
        ("postgresql://bot:secret@here", "postgresql://here/bot"),
        ("postgresql://here/?user=bot&password=secret", "postgresql://here/bot"),
        ("postgresql://other@here/?user=bot", "postgresql://here/bot"),
        ("postgresql://here/other?dbname=prices", "postgresql://here/prices"),
        (
            "postgresql://here/prices?passfile=p&sslmode=require&options=&sslpassword=x",
            "postgresql://here/prices?sslmode=require&options=",
        ),
    ],
)
def test_place_of_a_database_has_no_user_or_password(url: str, place: str) -> None:
    assert without_user(url) == place


def test_postgres_without_its_driver_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordinary = builtins.__import__

    def without_psycopg(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)
        return ordinary(name, *rest)

    monkeypatch.delitem(sys.modules, "trueup.journal.backends.postgres", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_psycopg)
    said = r"^A journal in PostgreSQL needs its driver: pip install 'psycopg\[binary\]'\.$"
    with pytest.raises(JournalError, match=said):
        open_journal("postgresql://bot@/prices", "account", now_ns=lambda: 1)


def test_postgres_commits_to_disk_whatever_the_server_does_by_itself(
    own_postgres_place: PostgresPlace,
) -> None:
    name = own_postgres_place.sql("SELECT current_database()")[0][0]
    own_postgres_place.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with own_postgres_place.open() as journal:
        assert journal._database.fetch("SHOW synchronous_commit") == [("on",)]


def test_sqlite_syncs_each_commit(sqlite_place: SqlitePlace) -> None:
    full = 2
    with sqlite_place.open() as journal:
        assert journal._database.fetch("PRAGMA journal_mode") == [("wal",)]
        assert journal._database.fetch("PRAGMA synchronous") == [(full,)]
