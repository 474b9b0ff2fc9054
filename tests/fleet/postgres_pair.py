"""A PostgreSQL primary with a synchronous standby, which the tests promote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.journal.commit_proxy import SOCKET_NAME
from tests.journal.postgres_server import PostgresServer
from tests.support.servers import until

DEADLINE_SEC = 60.0


class Way:
    """A way of its own to one server or to a pair: sockets in a folder, which can be cut.

    Args:
        folder: an empty folder of this way.
        servers: the servers that it leads to.
    """

    def __init__(self, folder: Path, servers: tuple[PostgresServer, ...]) -> None:
        # Short: the path of a socket has 107 characters at most.
        self._links = [folder / str(number) / SOCKET_NAME for number in range(len(servers))]
        self._servers = list(servers)
        self._is_cut = False
        for link in self._links:
            link.parent.mkdir(parents=True)
        self.mend()

    def url(self, database: str, **more: str) -> str:
        """Return the URL of a database this way; of a pair, at whichever server takes writes."""
        words = {"host": ",".join(str(link.parent) for link in self._links), **more}
        if len(self._links) > 1:
            words["target_session_attrs"] = "read-write"
        return f"postgresql://trueup@/{database}?{'&'.join(f'{k}={v}' for k, v in words.items())}"

    def lead(self, number: int, server: PostgresServer) -> None:
        """Lead to another server in place of one."""
        self._servers[number] = server
        if not self._is_cut:
            self.mend()

    def cut(self) -> None:
        """Lead nowhere; connections there are go on."""
        self._is_cut = True
        for link in self._links:
            link.unlink(missing_ok=True)

    def mend(self) -> None:
        """Lead to the servers."""
        self._is_cut = False
        for link, server in zip(self._links, self._servers, strict=True):
            draft = link.with_name("draft")
            draft.symlink_to(server.folder / SOCKET_NAME)
            os.replace(draft, link)


class PostgresPair:
    """A primary and its standby, which can be changed; end both with `remove`.

    A commit is acknowledged once the standby has it. `fail_over` kills the primary and promotes the
    standby. Until `rebuild` has made another standby, the new primary acknowledges alone.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.servers: list[PostgresServer] = [PostgresServer(programs)]
        self._primary = 0
        self._ways: list[Way] = []
        try:
            self.servers.append(PostgresServer(programs, copy_of=self.servers[0]))
            self._acknowledge_in_pairs()
        except BaseException:
            self.remove()
            raise

    @property
    def primary(self) -> PostgresServer:
        """The server that takes writes."""
        return self.servers[self._primary]

    def new_database(self) -> str:
        """Make an empty database; return its URL at the primary of now."""
        return self.primary.new_database()

    def way(self, folder: Path) -> Way:
        """Return a way to the pair, which follows each change of the servers."""
        way = Way(folder, tuple(self.servers))
        self._ways.append(way)
        return way

    def fail_over(self, pause: Callable[[], object] = lambda: None) -> None:
        """Kill the primary; promote the standby after a pause without any database."""
        self.primary.stop()
        pause()
        self._primary = 1 - self._primary
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def rebuild(self) -> None:
        """Make a fresh standby of the new primary, in place of the dead server."""
        number = 1 - self._primary
        dead = self.servers[number]
        self.servers[number] = PostgresServer(self._programs, copy_of=self.primary)
        for way in self._ways:
            way.lead(number, self.servers[number])
        dead.remove()
        self._acknowledge_in_pairs()

    def remove(self) -> None:
        """Stop both, and leave nothing behind."""
        for server in reversed(self.servers):
            server.remove()

    def _acknowledge_in_pairs(self) -> None:
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        until(self._is_synchronous, DEADLINE_SEC, pause_sec=0.05)

    def _is_synchronous(self) -> bool:
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
            return rows == [("sync",)]
