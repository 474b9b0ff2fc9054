"""What the tests of the table of accounts share: a server, and a database of their own on it."""

from __future__ import annotations

import pytest

from tests.journal.conftest import postgres_server
from tests.journal.postgres_server import PostgresServer

__all__ = ["postgres_server"]


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()
