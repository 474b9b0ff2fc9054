"""`trueup export`: a journal as tables, in CSV, in JSON, or in a database for SQL.

The commands read the journal itself, so they need no running bot, and change nothing in it.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from trueup.cli.inspect.reading import StreamOption, journal_of, reading
from trueup.cli.shared.journal_place import JournalOption, warn_of_password
from trueup.cli.shared.json_document import JsonOption, print_list
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.quantity import format_money
from trueup.doors.data import Data
from trueup.errors import SettingsError
from trueup.journal import open_reader
from trueup.journal.backends.location import is_file, refuse_unknown_kind
from trueup.journal.overview import overview
from trueup.runtime.data.collector import Collector
from trueup.runtime.data.columns import EXPORTED
from trueup.runtime.data.store import DataStore, in_file, in_memory, in_postgresql
from trueup.runtime.time.clock import SystemClock

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write trades, deals, orders and results as tables.",
)

CsvOption = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the CSV to a file, instead of printing it."),
]


@app.command()
def trades(
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """Write the positions, open and closed, with their results.

    Without --csv and --json, CSV is printed. docs/reference/data.md has the columns.
    """
    _export("trades", csv_file, journal, stream, as_json=as_json)


@app.command()
def deals(
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """Write the counted deals, as they are now.

    Without --csv and --json, CSV is printed. docs/reference/data.md has the columns.
    """
    _export("deals", csv_file, journal, stream, as_json=as_json)


@app.command()
def orders(
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """Write the orders, from their intents on.

    Without --csv and --json, CSV is printed. docs/reference/data.md has the columns.
    """
    _export("orders", csv_file, journal, stream, as_json=as_json)


@app.command()
def pnl(
    daily: Annotated[
        bool, typer.Option("--daily", help="The money of the deals on each day, instead.")
    ] = False,
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """Write the results of each strategy.

    All rows of an account together are the realised result of its book. Without --csv and --json,
    CSV is printed. docs/reference/data.md has the columns.
    """
    _export("pnl_daily" if daily else "pnl", csv_file, journal, stream, as_json=as_json)


@app.command()
def database(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[FILE|postgresql://...]",
            help="A SQLite file, or a PostgreSQL database. By default a file beside the journal, "
            "or the database of the journal itself.",
        ),
    ] = "",
    journal: JournalOption = None,
    stream: Annotated[
        str | None, typer.Option(help="Only this book of the journal; by default all of them.")
    ] = None,
) -> None:
    """Write all tables into a database, for SQL.

    The tables of a book are made anew each time, in one transaction. In PostgreSQL they are in the
    schema trueup_data. Run the command again to bring them up to date.
    """
    refuse_unknown_kind(target)
    warn_of_password("the target", target, "put it into PGPASSWORD or ~/.pgpass")
    place = journal_of(journal)
    names = [stream] if stream is not None else [found.name for found in overview(place).streams]
    with _store(target or _beside(place)) as store:
        for name in names:
            with (
                open_reader(place, name) as reader,
                progress(f"Exporting {name}", reader.position) as shown,
            ):
                records = shown.watch(reader.records())
                made = store.make(reader.stream, records, SystemClock().now_ns())
            say(f"{name}: {made.position} events, realised {_realised(made)}.")
        say(f"Written to {store.name}.")


def _store(target: str) -> DataStore:
    return in_file(Path(target)) if is_file(target) else in_postgresql(target)


def _beside(place: str | Path) -> str:
    """Return where the tables of a journal are by default."""
    if not is_file(place):
        return str(place)
    return str(Path(place).with_name(f"{Path(place).stem}-data.db"))


def _realised(made: Collector) -> str:
    account = made.book.account
    digits = None if account is None else account.currency_digits
    return format_money(made.book.realised, digits, made.currency or "")


def _export(
    table: str, csv_file: Path | None, journal: str | None, stream: str | None, *, as_json: bool
) -> None:
    if as_json and csv_file is not None:
        raise SettingsError("--csv", str(csv_file), "--json is given as well: give one")
    with (
        reading(journal, stream) as reader,
        progress("Reading the journal", reader.position) as shown,
        in_memory() as store,
    ):
        store.make(reader.stream, shown.watch(reader.records()), SystemClock().now_ns())
        shown.end()
        rows = map(_plain, Data(store, reader.stream).rows(table))
        if as_json:
            print_list(f"export {table.replace('_', '-')}", rows)
        else:
            with _opened(csv_file) as out:
                count = _write_csv(out, table, rows)
            if csv_file is not None:
                say(f"{count} rows written to {csv_file}.")


def _write_csv(out: TextIO, table: str, rows: Iterator[dict[str, Any]]) -> int:
    """Write a header and rows; return the number of rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(EXPORTED[table].names)
    count = 0
    for row in rows:
        writer.writerow("" if value is None else value for value in row.values())
        count += 1
    return count


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Open a file for CSV, or take stdout.

    Raises:
        SettingsError: the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            yield out
    except OSError as error:
        valid = f"give a file that can be written ({(error.strerror or str(error)).lower()})"
        raise SettingsError("--csv", str(path), valid) from error


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text."""
    return {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, dt.datetime) else value
        for name, value in row.items()
    }
