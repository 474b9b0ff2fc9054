"""Keep the tables in a SQLite file, or in a PostgreSQL database.

The tables are derived: they are made anew from the journal, one stream at a time, in one
transaction. So a reader sees either the earlier rows of a stream or the new ones.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from trueup.errors import TrueupError
from trueup.journal import Record
from trueup.private import make_private
from trueup.runtime.data import sql
from trueup.runtime.data.collector import Binding, Collector
from trueup.runtime.data.columns import TABLES, VERSION
from trueup.runtime.data.rows import Trade, Values
from trueup.sqlite_file import OwnedConnection, connected, explained

BUSY_SEC = 10.0
SCHEMA = "trueup_data"
"""The schema of the tables in PostgreSQL, beside those of a journal in the same database."""
_FIELDS = Trade.__struct_fields__


class DataError(TrueupError):
    """The tables could not be written or read; the message says why."""


class DataStore:
    """The tables in a database; use as a context manager.

    Args:
        connection: of sqlite3 or psycopg, in autocommit mode.
        dialect: the dialect of the database.
        name: the database's name in messages.
        explain: the text of an error of the driver.
    """

    def __init__(
        self,
        connection: Any,
        dialect: sql.Dialect,
        name: str,
        explain: Callable[[Exception], str],
    ) -> None:
        self._connection, self._dialect, self.name = connection, dialect, name
        self._explain = explain
        self._driver_error: type[Exception] = (
            sqlite3.Error if dialect is sql.SQLITE else _psycopg_error()
        )

    def make(self, stream: str, records: Iterable[Record], now_ns: int) -> Collector:
        """Make the tables of a stream from its records; return the fold.

        Raises:
            DataError: the tables cannot be written; the earlier rows stay.
            JournalError: the journal cannot be read; the earlier rows stay.
        """
        with self._writing(stream) as sink:
            collector = Collector(sink)
            collector.take_all(records)
            self._finish(sink, collector, now_ns)
            return collector

    def make_of_book(self, stream: str, book: Any, now_ns: int) -> Collector:
        """Make the tables of a book without a journal: of what the book still knows."""
        with self._writing(stream) as sink:
            collector = Collector(sink)
            collector.take_book(book)
            self._finish(sink, collector, now_ns)
            return collector

    def rows(self, name: str, columns: Iterable[str], order: str, stream: str) -> Iterator[Any]:
        """Yield the rows of a table or view of a stream.

        Raises:
            DataError: the tables cannot be read.
        """
        question = (
            f"SELECT {', '.join(columns)} FROM {name} WHERE stream = {self._dialect.mark}"
            f" ORDER BY {order}"
        )
        with self._errors():
            yield from self._connection.execute(question, (stream,))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self, stream: str) -> Iterator[_StreamSink]:
        """Write the rows of a stream in one transaction, after its earlier rows are deleted."""
        with self._errors():
            self._run("BEGIN")
            is_whole = False
            try:
                for name in TABLES:
                    self._run(f"DELETE FROM {name} WHERE stream = {self._dialect.mark}", stream)
                yield _StreamSink(self, stream)
                self._run("COMMIT")
                is_whole = True
            finally:
                if not is_whole:
                    with contextlib.suppress(self._driver_error):
                        self._run("ROLLBACK")

    def _finish(self, sink: _StreamSink, collector: Collector, now_ns: int) -> None:
        for link in sql.LINKS:
            self._run(link.format(mark=self._dialect.mark), sink.stream)
        book = collector.book
        row = {
            "currency": collector.currency,
            "events": collector.position,
            "last_event": collector.last_ns,
            "exported": now_ns,
            "realised": book.realised,
            "realised_units": book.realised_units,
            "version": VERSION,
        }
        sink.put("exports", collector.bound, [row])

    def _run(self, statement: str, *parameters: object) -> Any:
        return self._connection.execute(statement, parameters)

    def _put(self, name: str, rows: Iterable[Values]) -> None:
        table = TABLES[name]
        values = [sql.converted(self._dialect, table, row) for row in rows]
        if values:
            cursor = self._connection.cursor()
            cursor.executemany(sql.inserting(self._dialect, name), values)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._driver_error as error:
            raise DataError(f"{self.name}: {self._explain(error)}.") from error


class _StreamSink:
    """Takes the rows of one stream into a store."""

    def __init__(self, store: DataStore, stream: str) -> None:
        self._store, self.stream = store, stream
        self._mark = mark = store._dialect.mark
        self._one = f"stream = {mark} AND binding = {mark} AND position = {mark}"

    def put(self, table: str, bound: Binding, rows: Iterable[Values]) -> None:
        """Write rows; a row with the same key is replaced."""
        own = {"stream": self.stream, "account": bound.account, "binding": bound.number}
        self._store._put(table, ({**own, **row} for row in rows))

    def drop_deals(self, bound: Binding, position: int) -> None:
        """Delete the deals of a position."""
        self._store._run(
            f"DELETE FROM deals WHERE {self._one}", self.stream, bound.number, position
        )

    def trade(self, bound: Binding, position: int) -> Trade | None:
        """Return a trade that was written before."""
        found = self._store._run(
            f"SELECT {', '.join(_FIELDS)} FROM trades WHERE {self._one}",
            self.stream,
            bound.number,
            position,
        ).fetchone()
        return None if found is None else _trade(found)

    def name_account(self, account: str) -> None:
        """Give rows of no account to the account to which the book was bound first."""
        for name in ("orders", "deals", "trades"):
            self._store._run(
                f"UPDATE {name} SET account = {self._mark}"
                f" WHERE stream = {self._mark} AND account = ''",
                account,
                self.stream,
            )


def _trade(row: Iterable[Any]) -> Trade:
    values = dict(zip(_FIELDS, row, strict=True))
    for name in ("opened", "closed"):
        values[name] = sql.at_ns(values[name])
    values["magic"] = int(values["magic"])
    return Trade(**values)


def in_memory() -> DataStore:
    """Return a store of this process alone; a large one goes to a file that nobody else sees."""
    # SQLite opens a private file for the empty name, and writes to it what memory does not take.
    store = DataStore(connected("", BUSY_SEC), sql.SQLITE, "the tables", explained)
    with store._errors():
        for statement in sql.creating(sql.SQLITE):
            store._run(statement)
    return store


def in_file(path: Path) -> DataStore:
    """Open or create the tables in a SQLite file.

    Raises:
        DataError: the file is of another program, or cannot be written.
    """
    make_private(path)
    try:
        connection: OwnedConnection = connected(path, BUSY_SEC)  # type: ignore[assignment]
    except sqlite3.Error as error:
        raise DataError(f"{path}: {explained(error)}.") from error
    store = DataStore(connection, sql.SQLITE, str(path), explained)
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    _prepare(store, tables, "BEGIN IMMEDIATE")
    return store


def in_postgresql(url: str, schema: str = SCHEMA) -> DataStore:
    """Open or create the tables in a schema of a PostgreSQL database.

    Raises:
        DataError: the driver is not installed, or the database cannot be used.
    """
    try:
        import psycopg
        from psycopg import conninfo
    except ImportError as error:
        needed = "Tables in PostgreSQL need its driver: pip install 'psycopg[binary]'."
        raise DataError(needed) from error
    try:
        facts = conninfo.conninfo_to_dict(url)
        connection = psycopg.connect(url, autocommit=True)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute(f"SET search_path TO {schema}")
    except psycopg.Error as error:
        raise DataError(f"PostgreSQL: {_first_line(error)}.") from error
    name = f"PostgreSQL database {facts.get('dbname') or facts.get('user')!r}, schema {schema}"
    store = DataStore(connection, sql.POSTGRESQL, name, _first_line)
    tables = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"
    _prepare(store, tables, "BEGIN")
    return store


def _prepare(store: DataStore, tables: str, begin: str) -> None:
    """Create the tables, or create them anew if they are of another version.

    Raises:
        DataError: other tables are there, or the tables are of a newer release.
    """
    try:
        with store._errors():
            store._run(begin)
            found = {str(row[0]) for row in store._run(tables)}
            if found and "exports" not in found:
                has = ", ".join(sorted(found)[:3])
                raise DataError(f"{store.name} is of another program, with {has}: give a new one.")
            version = _version(store) if found else 0
            if version > VERSION:
                raise DataError(f"{store.name} was written by a newer trueup: give a new one.")
            if version < VERSION:
                for statement in (*sql.dropping(), *sql.creating(store._dialect)):
                    store._run(statement)
            store._run("COMMIT")
    except DataError:
        store.close()
        raise


def _version(store: DataStore) -> int:
    found = store._run("SELECT MAX(version) FROM exports").fetchone()
    return VERSION if found is None or found[0] is None else int(found[0])


def _psycopg_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
