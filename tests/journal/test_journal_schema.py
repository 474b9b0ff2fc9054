"""The schema: made at once or by revisions, upgraded on open, refused when newer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.journal.places import SOURCES, Place, PostgresPlace, SqlitePlace, make_tables, orders
from trueup.errors import JournalError
from trueup.journal import open_journal, open_reader, queries, revision, statements, upgrade
from trueup.journal.location import database_at
from trueup.journal.statements import Statements

LATER = '''
"""A later revision: one more column."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("journal_writers", sa.Column("version", sa.Text, nullable=True))
    {more}
'''


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


def reflected(url: str) -> Any:
    """Return all that a database says about its tables, in one comparable value."""
    engine = upgrade.engine_for(database_at(url))
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {
        table: (
            inspector.get_columns(table),
            inspector.get_pk_constraint(table),
            sorted(inspector.get_check_constraints(table), key=str),
            inspector.get_indexes(table),
            inspector.get_table_options(table),
        )
        for table in sorted(inspector.get_table_names())
    }
    if engine.dialect.name == "sqlite":
        # What reflection does not tell, such as a table without a rowid.
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name")
            found["sqlite"] = [tuple(row) for row in rows]
    return plain(found)


def plain(value: object) -> object:
    """Return a value in which objects that compare by identity are replaced by their text."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value)


def migrated(url: str, to: str) -> None:
    with upgrade.engine_for(database_at(url)).begin() as connection:
        upgrade.migrate(connection, to)


def test_schema_from_scratch_is_the_schema_that_revisions_lead_to(empty_urls: list[str]) -> None:
    by_revisions, from_scratch = empty_urls
    migrated(by_revisions, "head")
    make_tables(from_scratch)
    assert reflected(by_revisions) == reflected(from_scratch)
    assert "journal_events" in str(reflected(from_scratch))


def test_tables_are_made_where_there_are_none(empty_url: str) -> None:
    for expected in (1, 2):
        with open_journal(empty_url, "account", now_ns=lambda: 1) as journal:
            assert journal.append(orders(expected)) == expected


def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """Make this the release after the next: one more revision, in a copy of the folder."""
    copy = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "0002_later.py").write_text(LATER.format(more=more), encoding="utf-8")
    monkeypatch.setattr(upgrade, "MIGRATIONS", copy)
    monkeypatch.setattr(upgrade, "HEAD", "0002")
    monkeypatch.setattr(revision, "HEAD", "0002")


def test_journal_of_an_older_release_is_upgraded_on_open(
    own_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_place.open() as journal:
        journal.append(orders(1, 2))
    later_release(tmp_path, monkeypatch)
    with pytest.raises(JournalError, match="start the bot once"):
        own_place.reader()
    with own_place.open() as journal:
        assert list(journal.read()) == orders(1, 2)
        assert journal.append(orders(3)) == 3
        assert journal.verify().sound
    assert own_place.sql("SELECT version_num FROM journal_revision") == [("0002",)]
    assert own_place.sql("SELECT version FROM journal_writers") == [(None,)]
    with own_place.reader() as reader:
        assert reader.position == 3


def test_upgrade_that_fails_half_way_changes_nothing(
    own_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_place.open() as journal:
        journal.append(orders(1))
    before = reflected(own_place.url)
    with monkeypatch.context() as later:
        later_release(tmp_path, later, more='op.execute("SELECT 1 FROM nowhere")')
        with pytest.raises(JournalError, match="nowhere"):
            own_place.open()
    assert reflected(own_place.url) == before
    with own_place.open() as journal:
        assert journal.append(orders(2)) == 2


def test_journal_of_a_newer_release_is_refused_and_left_alone(own_place: Place) -> None:
    with own_place.open() as journal:
        journal.append(orders(1))
    own_place.sql("UPDATE journal_revision SET version_num = '9999'")
    before = own_place.sql("SELECT * FROM journal_writers")
    for attempt in (own_place.open, own_place.reader):
        with pytest.raises(JournalError, match=r"a newer trueup \(schema 9999") as refused:
            attempt()
        assert "\n" not in str(refused.value)
    assert own_place.sql("SELECT * FROM journal_writers") == before


def test_reader_of_a_database_without_a_journal_is_refused(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "one.db").touch()
    with pytest.raises(JournalError, match="There is no journal"):
        open_reader(empty_url)


def test_head_is_the_newest_revision_and_all_are_numbered_in_order() -> None:
    names = sorted(path.name for path in (upgrade.MIGRATIONS / "versions").glob("*.py"))
    numbers = [name[:4] for name in names]
    assert numbers == [f"{n:04d}" for n in range(1, len(names) + 1)]
    assert numbers[-1] == revision.HEAD


def test_statements_are_what_the_queries_compile_to() -> None:
    kept = Path(queries.__file__).with_name("statements.py").read_text(encoding="utf-8")
    assert kept == queries.render(), (
        "run: python -c 'import trueup.journal.queries as q; q.write()'"
    )


def test_statements_of_both_dialects_take_the_same_parameters() -> None:
    for name in Statements._fields:
        ours = getattr(statements.SQLITE, name)
        theirs = re.sub(r"%s(::\w+)?", "?", getattr(statements.POSTGRESQL, name))
        assert re.sub(r"\s+", " ", theirs) == ours


def test_opening_a_current_journal_imports_neither_sqlalchemy_nor_alembic(
    sqlite_place: SqlitePlace,
) -> None:
    program = (
        "import sys; from trueup.journal import open_journal, open_reader\n"
        f"with open_journal({sqlite_place.url!r}, 'account', now_ns=lambda: 1): pass\n"
        f"with open_reader({sqlite_place.url!r}) as r: r.verify()\n"
        "print(sorted(m for m in sys.modules if m in ('sqlalchemy', 'alembic', 'psycopg')))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")


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
    engine = upgrade.engine_for(database_at(place.url))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text(change))
