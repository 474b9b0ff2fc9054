"""The schema: made at once or by revisions, upgraded on open, refused when newer."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.journal.places import SOURCES, Place, PostgresPlace, SqlitePlace, make_tables, orders
from trueup.errors import JournalError
from trueup.journal import open_journal, open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.database import migrate

DIALECTS = ("sqlite", "postgresql")
LATER = "-- One more column.\nALTER TABLE journal_writers ADD COLUMN version TEXT;\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_urls(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Two databases of a kind, with nothing in them."""
    if request.param == "sqlite":
        return [str(tmp_path / "one.db"), str(tmp_path / "two.db")]
    server = request.getfixturevalue("postgres_server")
    return [server.new_database(), server.new_database()]


@pytest.fixture
def empty_url(empty_urls: list[str]) -> str:
    return empty_urls[0]


@pytest.fixture(params=["sqlite_place", "own_postgres_place"])
def own_place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    return found


def tables_of(place: Place) -> list[Any]:
    """Return all that a database says about its tables, in one comparable value."""
    if isinstance(place, SqlitePlace):
        rows = place.sql("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
        return [(kind, name, spaced(sql)) for kind, name, sql in rows]
    return [
        *place.sql(
            "SELECT table_name, column_name, data_type, is_nullable, character_maximum_length"
            " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
        ),
        *place.sql(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
        ),
        *place.sql(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        ),
    ]


def spaced(sql: str | None) -> str | None:
    """Return a statement without what is only layout."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.split())) if sql else sql


def test_tables_are_made_where_there_are_none(empty_url: str) -> None:
    for expected in (1, 2):
        with open_journal(empty_url, "account", now_ns=lambda: 1) as journal:
            assert journal.append(orders(expected)) == expected


def test_reader_makes_no_tables_where_there_are_none(empty_url: str) -> None:
    if "://" not in empty_url:
        Path(empty_url).touch()
    for _ in range(2):
        with pytest.raises(JournalError) as refused:
            open_reader(empty_url)
        assert str(refused.value) == f"There is no journal in {database_at(empty_url).name} yet."


def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """Make this the release after the next: one more migration, in a copy of the folder."""
    copy = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, copy)
    for dialect in DIALECTS:
        (copy / f"0003_later.{dialect}.sql").write_text(LATER + more, encoding="utf-8")
    monkeypatch.setattr(migrate, "MIGRATIONS", copy)
    monkeypatch.setattr(migrate, "HEAD", "0003")
    monkeypatch.setattr(migrate, "NEEDED", "0003")


def test_journal_of_an_older_release_is_upgraded_on_open(
    own_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_place.open() as journal:
        journal.append(orders(1, 2))
    later_release(tmp_path, monkeypatch)
    with pytest.raises(JournalError) as refused:
        own_place.reader()
    assert str(refused.value) == (
        f"{database_at(own_place.url).name} was written by an older trueup (schema 0001, now 0003);"
        " start the bot once with this release, and it is upgraded."
    )
    with own_place.open() as journal:
        assert list(journal.read()) == orders(1, 2)
        assert journal.append(orders(3)) == 3
        assert journal.verify().sound
    assert own_place.sql("SELECT version_num FROM journal_revision") == [("0003",)]
    assert own_place.sql("SELECT version FROM journal_writers") == [(None,)]
    with own_place.reader() as reader:
        assert reader.position == 3


def test_upgrade_that_fails_half_way_changes_nothing(
    own_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_place.open() as journal:
        journal.append(orders(1))
    before = tables_of(own_place)
    with monkeypatch.context() as later:
        later_release(tmp_path, later, more="SELECT 1 FROM nowhere;")
        with pytest.raises(JournalError, match="nowhere"):
            own_place.open()
    assert tables_of(own_place) == before
    with own_place.open() as journal:
        assert journal.append(orders(2)) == 2


def test_journal_of_a_newer_release_is_refused_and_left_alone(own_place: Place) -> None:
    with own_place.open() as journal:
        journal.append(orders(1))
    own_place.sql("UPDATE journal_revision SET version_num = '9999'")
    before = own_place.sql("SELECT * FROM journal_writers")
    for attempt in (own_place.open, own_place.reader):
        with pytest.raises(JournalError) as refused:
            attempt()
        assert str(refused.value) == (
            f"{database_at(own_place.url).name} was written by a newer trueup (schema 9999; this "
            "one knows 0002). Use that release, or a newer one; nothing was changed."
        )
    assert own_place.sql("SELECT * FROM journal_writers") == before


def test_journal_without_a_revision_is_refused_in_words(own_place: Place) -> None:
    own_place.open().close()
    own_place.sql("DELETE FROM journal_revision")
    for attempt in (own_place.open, own_place.reader):
        with pytest.raises(JournalError):
            attempt()


def test_reader_of_a_database_without_a_journal_is_refused(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "one.db").touch()
    with pytest.raises(JournalError, match="There is no journal"):
        open_reader(empty_url)


def test_each_migration_is_there_for_both_databases_and_the_newest_is_head() -> None:
    files = sorted(path.name for path in migrate.MIGRATIONS.iterdir())
    names = sorted({name.partition(".")[0] for name in files})
    assert files == sorted(f"{name}.{dialect}.sql" for name in names for dialect in DIALECTS)
    assert [name[:4] for name in names] == [f"{n:04d}" for n in range(1, len(names) + 1)]
    assert names[-1][:4] == migrate.HEAD


def test_both_databases_have_the_same_columns_and_conditions() -> None:
    for file in migrate.MIGRATIONS.glob("*.sqlite.sql"):
        ours = file.read_text(encoding="utf-8")
        other = file.with_name(file.name.replace("sqlite", "postgresql"))
        theirs = other.read_text(encoding="utf-8")
        as_theirs = ours.replace(" BLOB", " BYTEA").replace(" WITHOUT ROWID", "")
        assert re.sub("(?m)^--.*\n", "", as_theirs) == re.sub("(?m)^--.*\n", "", theirs)


def test_two_processes_that_open_a_new_journal_at_once_both_get_it(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_tables, [empty_url] * 4))
    with open_journal(empty_url, "account", now_ns=lambda: 1) as journal:
        assert journal.append(orders(1)) == 1


def test_opening_a_file_imports_no_driver_of_a_server(sqlite_place: SqlitePlace) -> None:
    program = (
        "import sys; from trueup.journal import open_journal, open_reader\n"
        f"with open_journal({sqlite_place.url!r}, 'account', now_ns=lambda: 1): pass\n"
        f"with open_reader({sqlite_place.url!r}) as r: r.verify()\n"
        "print('psycopg' in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_postgres_tables_stand_beside_others(own_postgres_place: PostgresPlace) -> None:
    own_postgres_place.sql("CREATE TABLE prices (a integer)")
    with own_postgres_place.open() as journal:
        assert journal.append(orders(1)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO journal_writers SELECT * FROM journal_writers",
        "UPDATE journal_events SET position = 1",
        "UPDATE journal_events SET kind = ''",
        "UPDATE journal_events SET position = 0",
        "UPDATE journal_events SET batch = 0",
        "UPDATE journal_events SET payload = NULL",
        "UPDATE journal_events SET intent_id = 'one intent'",
        "UPDATE journal_writers SET token = 0",
    ],
)
def test_database_itself_refuses_what_must_not_be(place: Place, change: str) -> None:
    with place.open() as journal:
        journal.append(orders(1, 2))
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        with_conditions(place, change)


def with_conditions(place: Place, statement: str) -> None:
    """Run a statement from outside; `place.sql` has SQLite look at no condition."""
    if isinstance(place, SqlitePlace):
        with contextlib.closing(sqlite3.connect(place.path)) as connection:
            connection.execute(statement)
    else:
        place.sql(statement)
