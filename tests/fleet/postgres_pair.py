"""A PostgreSQL primary with a synchronous standby, which the tests promote."""

from __future__ import annotations

import psycopg

from tests.journal.postgres_server import PostgresServer
from tests.support.servers import until

DEADLINE_SEC = 60.0


class PostgresPair:
    """A primary and its standby; `fail_over` kills the first and promotes the second.

    A commit is acknowledged once the standby has it.
    """

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary, self.standby = primary, standby
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        until(self._is_synchronous, DEADLINE_SEC, pause_sec=0.05)

    def new_database(self) -> str:
        """Make an empty database; return a URL that leads to whichever server takes writes."""
        url = self.primary.new_database()
        hosts = f"host={self.primary.folder},{self.standby.folder}"
        return f"{url.partition('?')[0]}?{hosts}&target_session_attrs=read-write"

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby."""
        self.primary.stop()
        with psycopg.connect(self.standby.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def _is_synchronous(self) -> bool:
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
            return rows == [("sync",)]
