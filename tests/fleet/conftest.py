"""What the tests of a fleet share: a database of their own on the server of the journal's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.postgres_pair import PostgresPair
from tests.journal.conftest import postgres_server
from tests.journal.postgres_server import PostgresServer, binaries

__all__ = ["postgres_server"]


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def postgres_pair() -> Iterator[PostgresPair]:
    """A pair of servers; skips the test where PostgreSQL has not the programs for that."""
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no PostgreSQL with pg_basebackup")
    pair = PostgresPair(programs)
    yield pair
    pair.remove()
