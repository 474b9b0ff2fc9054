"""A journal as tables, without a running bot: `trueup.open_data`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from trueup.core.book.book import Book
from trueup.doors.frames import Library, frame
from trueup.errors import JournalError
from trueup.journal import Journal, open_reader
from trueup.journal.overview import overview
from trueup.runtime.data.columns import EXPORTED, ORDER_BY, Kind
from trueup.runtime.data.store import DataStore, in_memory
from trueup.runtime.time.clock import SystemClock

_TIMES = ("utc", "server")
# The table of deals has other names in SQL, where `order` is a word of the language.
DEALS: Mapping[str, Kind] = {
    "time": "server",
    "deal": "whole",
    "order": "whole",
    "position": "whole",
    "symbol": "text",
    "magic": "whole",
    "lots": "number",
    "money": "number",
    "order_id": "text",
}
DEAL_COLUMNS = tuple("order_ticket" if name == "order" else name for name in DEALS)
"""The columns of `Account.deals_frame`, and the columns in SQL that they come from."""


class Data:
    """Trades, deals, orders and results of one book, as they were when this was made.

    Close it, or use it as a context manager. docs/reference/data.md has the columns.

    Args:
        store: the tables.
        stream: the book's name in them.
    """

    def __init__(self, store: DataStore, stream: str) -> None:
        self._store = store
        self.stream: str = stream
        """The stream of the journal."""

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table by the names of its columns.

        Args:
            table: trades, deals, orders, pnl or pnl_daily.

        Raises:
            ValueError: there is no such table.
        """
        if table not in EXPORTED:
            raise ValueError(
                f"table={table!r:.40} is not valid: give one of {', '.join(EXPORTED)}."
            )
        columns = EXPORTED[table].columns
        for row in self._store.rows(
            table, (column.name for column in columns), ORDER_BY[table], self.stream
        ):
            yield {c.name: _value(c.kind, v) for c, v in zip(columns, row, strict=True)}

    def trades_frame(self, library: Library = "pandas") -> Any:
        """Return the positions, open and closed, as a table of pandas or polars.

        Raises:
            ImportError: the library is not installed.
        """
        return self._frame("trades", library)

    def deals_frame(self, library: Library = "pandas") -> Any:
        """Return the counted deals as a table of pandas or polars.

        Raises:
            ImportError: the library is not installed.
        """
        return self._frame("deals", library)

    def orders_frame(self, library: Library = "pandas") -> Any:
        """Return the orders as a table of pandas or polars.

        Raises:
            ImportError: the library is not installed.
        """
        return self._frame("orders", library)

    def pnl_frame(self, library: Library = "pandas", *, daily: bool = False) -> Any:
        """Return the results of each strategy, or of each day, as a table of pandas or polars.

        Raises:
            ImportError: the library is not installed.
        """
        return self._frame("pnl_daily" if daily else "pnl", library)

    def close(self) -> None:
        """Let the tables go."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self, table: str, library: Library) -> Any:
        kinds = {column.name: column.kind for column in EXPORTED[table].columns}
        return frame(library, kinds, (tuple(row.values()) for row in self.rows(table)))


def open_data(journal: str | Path, stream: str | None = None) -> Data:
    """Make the tables of a journal's stream, while its bot runs or after.

    Args:
        journal: a SQLite file, or a `postgresql://` URL.
        stream: the stream; by default the one that was opened last.

    Raises:
        JournalError: the journal cannot be read, or has no such stream.
    """
    if stream is None:
        newest = overview(journal).newest
        stream = None if newest is None else newest.name
    with open_reader(journal, stream) as reader:
        return data_of(reader.stream, reader)


def data_of(stream: str, source: Journal | Any | Book) -> Data:
    """Make the tables of a journal, or of a book that has none.

    Args:
        stream: the book's name in the tables.
        source: a journal, a reader of one, or a book.

    Raises:
        JournalError: the journal cannot be read.
    """
    store, now_ns = in_memory(), SystemClock().now_ns()
    try:
        if isinstance(source, Book):
            store.make_of_book(stream, source, now_ns)
        else:
            store.make(stream, source.records(), now_ns)
    except JournalError:
        store.close()
        raise
    return Data(store, stream)


def _value(kind: Kind, value: Any) -> Any:
    """Return a value as Python has it: a time as a datetime, a whole number as an int."""
    if isinstance(value, str) and kind in _TIMES:
        return dt.datetime.fromisoformat(value)
    return int(value) if isinstance(value, str) and kind == "whole" else value
