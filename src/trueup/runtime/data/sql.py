"""The tables in SQL, for SQLite and for PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from trueup.runtime.data.columns import TABLES, Column, Kind, Table

Converter = Callable[[Any], Any]
_1970 = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_BEGIN = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the trade server's clock has no zone
# What SQLite's and PostgreSQL's integers hold. A magic number may be larger.
_LARGEST = 2**63 - 1


class Dialect(NamedTuple):
    """What differs between the databases.

    `magic` is the type of a magic number, which has up to 64 bits without a sign. `convert` makes a
    value of a kind fit for the driver, and `day` is the date of the column `time` as text.
    """

    mark: str
    types: Mapping[Kind, str]
    magic: str
    convert: Mapping[Kind, Converter]
    day: str


def _utc(at_ns: int) -> dt.datetime:
    return _1970 + dt.timedelta(microseconds=at_ns // 1_000)


def _server(time_msc: int) -> dt.datetime:
    return _BEGIN + dt.timedelta(milliseconds=time_msc)


def _text(time: dt.datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _fitting(number: int) -> int | str:
    return number if number <= _LARGEST else str(number)


SQLITE = Dialect(
    "?",
    {
        "text": "TEXT",
        "whole": "INTEGER",
        "number": "REAL",
        "flag": "INTEGER",
        "utc": "TEXT",
        "server": "TEXT",
    },
    # A column without a type keeps a number that is too large for an integer as text, exactly.
    "",
    {
        "whole": _fitting,
        "utc": lambda at_ns: _text(_utc(at_ns)),
        "server": lambda time_msc: _text(_server(time_msc)),
    },
    "substr(time, 1, 10)",
)
POSTGRESQL = Dialect(
    "%s",
    {
        "text": "text",
        "whole": "bigint",
        "number": "double precision",
        "flag": "boolean",
        "utc": "timestamp with time zone",
        "server": "timestamp without time zone",
    },
    "numeric(20)",
    {"utc": _utc, "server": _server, "text": lambda text: text.replace("\0", "\\0")},
    "to_char(time, 'YYYY-MM-DD')",
)
VIEWS = {
    "pnl": """\
CREATE VIEW pnl AS SELECT stream, account, binding, MAX(currency) AS currency, symbol, magic,
 SUM(CASE WHEN status = 'carried' THEN 0 ELSE 1 END) AS trades,
 SUM(CASE WHEN status IN ('open', 'missing') THEN 1 ELSE 0 END) AS open_trades,
 SUM(CASE WHEN status IN ('closed', 'unproven') AND realised_units > 0 THEN 1 ELSE 0 END) AS wins,
 SUM(CASE WHEN status IN ('closed', 'unproven') AND realised_units < 0 THEN 1 ELSE 0 END) AS losses,
 CAST(SUM(CASE WHEN status IN ('open', 'missing') THEN 0 ELSE realised_units END)
  AS {number}) / 100000000 AS realised_closed,
 CAST(SUM(CASE WHEN status IN ('open', 'missing') THEN realised_units ELSE 0 END)
  AS {number}) / 100000000 AS realised_open,
 CAST(SUM(realised_units) AS {number}) / 100000000 AS realised,
 CAST(SUM(realised_units) AS {whole}) AS realised_units
 FROM trades GROUP BY stream, account, binding, symbol, magic""",
    "pnl_daily": """\
CREATE VIEW pnl_daily AS
 SELECT stream, account, binding, symbol, magic, {day} AS day, COUNT(*) AS deals,
 CAST(SUM(money_units) AS {number}) / 100000000 AS money,
 CAST(SUM(money_units) AS {whole}) AS money_units
 FROM deals GROUP BY stream, account, binding, symbol, magic, {day}""",
}
# The order of ours behind a deal, and behind the opening of a position. An answer to a close may
# name the position's own ticket, so the first order counts.
LINKS = (
    "UPDATE deals SET order_id = (SELECT o.order_id FROM orders o WHERE o.stream = deals.stream"
    " AND o.binding = deals.binding AND o.ticket = deals.order_ticket"
    " ORDER BY o.created LIMIT 1) WHERE stream = {mark}",
    "UPDATE trades SET order_id = (SELECT o.order_id FROM orders o WHERE o.stream = trades.stream"
    " AND o.binding = trades.binding AND o.ticket = trades.position AND o.closes IS NULL"
    " ORDER BY o.created LIMIT 1) WHERE stream = {mark}",
)


def creating(dialect: Dialect) -> Iterator[str]:
    """Yield the statements that create the tables and views."""
    for name, table in TABLES.items():
        columns = [f"{column.name} {_type(dialect, column)}".strip() for column in table.columns]
        key = ", ".join(table.key)
        yield f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key}))"
    yield "CREATE INDEX orders_by_ticket ON orders (stream, ticket)"
    for statement in VIEWS.values():
        yield statement.format(
            day=dialect.day, number=dialect.types["number"], whole=dialect.types["whole"]
        )


def dropping() -> Iterator[str]:
    """Yield the statements that drop the tables and views."""
    yield from (f"DROP VIEW IF EXISTS {name}" for name in VIEWS)
    yield from (f"DROP TABLE IF EXISTS {name}" for name in TABLES)


def inserting(dialect: Dialect, name: str) -> str:
    """Return the statement that writes a row, or replaces the row with the same key.

    A replaced row keeps its binding: an order stays with the account that it was sent to.
    """
    table = TABLES[name]
    marks = ", ".join([dialect.mark] * len(table.columns))
    kept = {*table.key, "account", "binding"}
    changes = ", ".join(f"{n} = excluded.{n}" for n in table.names if n not in kept)
    return (
        f"INSERT INTO {name} ({', '.join(table.names)}) VALUES ({marks})"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"
    )


def converted(dialect: Dialect, table: Table, values: Mapping[str, Any]) -> list[Any]:
    """Return a row's values in the order of the columns, as the driver takes them."""
    return [_converted(dialect, column, values.get(column.name)) for column in table.columns]


def _converted(dialect: Dialect, column: Column, value: Any) -> Any:
    convert = dialect.convert.get(column.kind)
    return value if value is None or convert is None else convert(value)


def _type(dialect: Dialect, column: Column) -> str:
    return dialect.magic if column.name == "magic" else dialect.types[column.kind]


def at_ns(value: Any) -> int | None:
    """Return a time in UTC that was read from a table as nanoseconds since 1970."""
    if value is None:
        return None
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment - _1970) // dt.timedelta(microseconds=1) * 1_000
