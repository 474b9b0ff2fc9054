"""docs/reference/data.md, from the columns of the tables."""

from __future__ import annotations

from collections.abc import Iterator

from trueup.runtime.data.columns import EXPORTED, TABLES, VERSION, Table
from trueup.runtime.data.store import SCHEMA

HEAD = """\
# Trades, deals, orders and results as tables

<!-- Written by `make docs` from src/trueup/runtime/data/columns.py. Change it there. -->

The journal has every fact of a book, as events. These tables are the same facts in rows: a trade is
a position, a deal is a deal at the broker, an order is an order of yours, and the results (`pnl`)
are per strategy. They are made from the journal whenever you ask, so they are right also after
deals that came late, that the broker amended, or that it cancelled: the results of all strategies
add up to the book's `realised`, to the cent. No bot need run.
"""
WAYS = {
    "a file for a spreadsheet": "`trueup export trades --csv trades.csv`; `deals`, `orders`, `pnl` "
    "and `pnl --daily` likewise",
    "JSON": "`trueup export trades --json` ([schemas](json.md))",
    "SQL in a file": "`trueup export database trades.db`, then any program that reads SQLite",
    "SQL in PostgreSQL": "`trueup export database postgresql://HOST/DATABASE`; a journal in "
    "PostgreSQL goes into its own database without an argument. The tables are in the schema "
    f"`{SCHEMA}`",
    "pandas or polars, from a journal": '`trueup.open_data("bot.db").trades_frame()`; '
    "`deals_frame()`, `orders_frame()`, `pnl_frame()` likewise",
    "the same from a running account": "`account.trades_frame()` and the others",
}
NOTES = f"""\
```python
import trueup

# The stream that was opened last; a second argument names another.
with trueup.open_data("bot.db") as data:
    for trade in data.rows("trades"):
        print(trade["symbol"], trade["magic"], trade["realised"])
```

`trueup export database` writes all streams of a journal, each in one transaction: a reader sees the
earlier rows or the new ones. Run it again, for example every minute, to bring the tables up to
date. A million events take about half a minute.

* Times in UTC have their zone (in SQLite `2026-01-05T14:02:10.678+00:00`). Times of deals are by
  the trade server's clock, and have none.
* Money is in the account's currency. Columns that end with `_units` are the same money in units of
  1e-8 as whole numbers, for exact sums.
* `magic` is your strategy's own number, without an order's token. In SQLite, a number above
  9223372036854775807 is text.
* On a netting account a position is one trade of the strategy that opened it.
* A journal of an older release may lack the money of single deals (then it is empty); the results
  of trades have it.
* The tables have version {VERSION}. Columns are only added, at the end; tables of an older version
  are made anew.
"""
QUERIES = {
    "Results of each strategy": """\
SELECT symbol, magic, trades, wins, losses, realised
FROM pnl ORDER BY realised DESC, symbol, magic""",
    "Results of each month": """\
SELECT substr(day, 1, 7) AS month, magic, SUM(money_units) AS units
FROM pnl_daily GROUP BY 1, 2 ORDER BY 1, 2""",
    "The ten worst trades": """\
SELECT position, symbol, magic, side, reason, realised_units
FROM trades WHERE status = 'closed' ORDER BY realised_units, position LIMIT 10""",
    "An order with its deals": """\
SELECT o.order_id, o.side, o.status, d.deal, d.money_units
FROM orders o JOIN deals d ON d.stream = o.stream AND d.order_id = o.order_id
ORDER BY d.deal""",
    "Orders that were refused": """\
SELECT status, COUNT(*) AS orders FROM orders GROUP BY status ORDER BY status""",
}
"""SQL that the page shows, which a test runs in both databases."""
KINDS = {
    "text": "text",
    "whole": "whole number",
    "number": "number",
    "flag": "true or false",
    "utc": "time, UTC",
    "server": "time, server",
}


def data_page() -> str:
    """Return the page: the ways, the tables, and queries."""
    named = {**EXPORTED, "exports": TABLES["exports"]}
    ways = "\n".join(f"| {wish} | {way} |" for wish, way in WAYS.items())
    parts = [HEAD, f"| you want | do |\n| --- | --- |\n{ways}\n", NOTES]
    parts += [part for name, table in named.items() for part in _section(name, table)]
    parts.append("## Queries\n\nThey run in SQLite and in PostgreSQL.\n")
    parts += [f"{about}:\n\n```sql\n{query};\n```\n" for about, query in QUERIES.items()]
    return "\n".join(parts)


def _section(name: str, table: Table) -> Iterator[str]:
    yield f"## `{name}`\n\n{table.about}\n"
    rows = [f"| `{c.name}` | {KINDS[c.kind]} | {c.meaning} |" for c in table.columns]
    yield "\n".join(["| column | kind | meaning |", "| --- | --- | --- |", *rows]) + "\n"
    yield f"A row is identified by {', '.join(f'`{key}`' for key in table.key)}.\n"
