"""Places for a journal, and hands to look at and damage what is in them from outside."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.journal.postgres_server import PostgresServer
from tests.support import forked
from tests.support.servers import until
from trueup.core.book import events
from trueup.core.model import Side
from trueup.journal import open_journal, open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.database.migrate import ensure_current
from trueup.journal.reading.reader import JournalReader
from trueup.journal.writing.store import StoredJournal
from trueup.processes import this_process

STREAM = "account-1234"
NOW_NS = 1_767_571_200_000_000_000
# A writer on this machine that no longer runs: no system gives such a number to a process.
ENDED = f"bot.py (process {10**9} on {this_process().host})"
WRITER = Path(__file__).with_name("writer_process.py")
SOURCES = Path(__file__).parents[2] / "src"


def order(number: int) -> events.Event:
    """Return an event that can be told from others by its number."""
    return events.OrderCreated(
        at_ns=NOW_NS + number,
        order_id=f"order-{number}",
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.01,
        price=1.1,
    )


def orders(*numbers: int) -> list[events.Event]:
    """Return an event for each number."""
    return [order(number) for number in numbers]


def make_tables(url: str) -> None:
    """Make an empty journal, and leave nobody connected."""
    database = database_at(url)
    database.connect()
    ensure_current(database)
    database.close()


class Place(ABC):
    """Where a journal is."""

    url: str

    def open(self, stream: str = STREAM, **options: Any) -> StoredJournal:
        """Open a stream for writing."""
        ticks = itertools.count(NOW_NS)
        return open_journal(self.url, stream, **{"now_ns": ticks.__next__, **options})

    def reader(self, stream: str | None = STREAM) -> JournalReader:
        """Open a stream for reading."""
        return open_reader(self.url, stream)

    @abstractmethod
    def wait_until_left(self) -> None:
        """Wait until what a killed process held is free."""

    def writer_process(self, *arguments: str, holder: str = "bot") -> WriterProcess:
        """Start a process that opens the stream and does as it is told."""
        return WriterProcess(self.url, STREAM, holder, *arguments)

    @abstractmethod
    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Run a statement from outside, as somebody with the password would; `?` is a parameter."""


class SqlitePlace(Place):
    """A SQLite file; `template` is one with the tables, which takes a moment to make."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.path = folder / "bot.db"
        self.url = str(self.path)
        shutil.copy(template, self.path)

    def wait_until_left(self) -> None:
        # The system lets go of a file's lock as it ends the process.
        return

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.execute("PRAGMA ignore_check_constraints=ON")
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()


class PostgresPlace(Place):
    """A PostgreSQL database with the tables, which is emptied first."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.server = server
        self.url = url
        self.end_sessions()
        tables = ("events", "writers", "checkpoints", "torn")
        emptied = [f"DELETE FROM journal_{table}" for table in tables]
        emptied.append("DROP TABLE IF EXISTS journal_archives")
        emptied.append("UPDATE journal_revision SET version_num = '0001'")
        self.sql("; ".join(emptied))

    def end_sessions(self) -> None:
        """End the sessions of everybody else."""
        others = (
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        # A session that was told to end has its locks until it has ended.
        until(lambda: not self.sql(f"SELECT pg_terminate_backend(pid){others}"))

    def wait_until_left(self) -> None:
        """Wait until no session has a stream's lock."""
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        until(lambda: self.sql(held) == [(0,)])

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        return self.server.run(self.url, statement.replace("?", "%s"), *parameters)

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection with a transaction that is undone at the end."""
        with psycopg.connect(self.url) as connection:
            yield connection
            connection.rollback()


class WriterProcess:
    """A process that writes a stream, told by lines; see `writer_process.py`."""

    def __init__(self, *arguments: str) -> None:
        self._process, self._told, self._said = forked.start_piped(
            [str(WRITER), *arguments],
            cwd=SOURCES,
            env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONUTF8": "1"},
        )
        self.pid = self._process.pid
        self.greeting = self.line()

    def line(self) -> str:
        """Return the next line it says; empty when it has ended."""
        return self._said.readline().rstrip("\n")

    def tell(self, command: str) -> None:
        """Give it a command without waiting for what it says."""
        self._told.write(f"{command}\n")

    def ask(self, command: str) -> str:
        """Give it a command and return what it says."""
        self.tell(command)
        return self.line()

    def kill(self) -> list[str]:
        """Kill it with no chance to tidy up; return what it still had said."""
        self._process.kill()
        self._process.wait()
        if self._said.closed:
            return []
        said = self._said.read().splitlines()
        self._said.close()
        # What it was told last may still be on its way to a pipe that nobody reads any more.
        with contextlib.suppress(BrokenPipeError):
            self._told.close()
        return said

    def __enter__(self) -> WriterProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
