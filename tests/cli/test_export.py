"""`trueup export`: tables of a journal in CSV, in JSON and in a database, without a running bot."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scripts.data_page import data_page
from tests.cli.json_examples import Place, traded
from trueup.cli import app
from trueup.core.book.book import Book
from trueup.journal import open_reader
from trueup.runtime.data.columns import EXPORTED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("GTW_HOST", "GTW_PORT", "TRUEUP_HOME", "TRUEUP_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    traded(Place(tmp_path, monkeypatch))
    return tmp_path


def export(*arguments: str, journal: str = "bot.db") -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--journal", journal])


def book() -> Book:
    with open_reader("bot.db") as reader:
        return Book().replay(reader.read())


@pytest.mark.parametrize("table", ["trades", "deals", "orders", "pnl", "pnl --daily"])
def test_csv_and_json_have_the_same_rows(table: str, folder: Path) -> None:
    name = table.replace(" --", "_")
    printed = export(*table.split())
    assert printed.exit_code == 0, printed.output
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert list(rows[0]) == list(EXPORTED[name].names)
    entries = json.loads(export(*table.split(), "--json").stdout)
    assert [
        {key: "" if value is None else str(value) for key, value in entry.items()}
        for entry in ({k: v for k, v in entry.items() if k != "schema"} for entry in entries)
    ] == rows
    written = export(*table.split(), "--csv", "rows.csv")
    assert written.stdout == f"{len(rows)} rows written to rows.csv.\n"
    assert (folder / "rows.csv").read_text("utf-8") == printed.stdout


def test_the_results_are_the_books() -> None:
    entries = json.loads(export("pnl", "--json").stdout)
    assert sum(entry["realised_units"] for entry in entries) == book().realised_units
    trades = json.loads(export("trades", "--json").stdout)
    assert {trade["status"] for trade in trades} == {"closed", "open"}
    orders = {order["order_id"]: order for order in json.loads(export("orders", "--json").stdout)}
    assert all(trade["order_id"] in orders for trade in trades)
    assert {order["status"] for order in orders.values()} == {"FILLED", "IN_DOUBT"}


def test_a_database_is_beside_the_journal_or_where_one_says(folder: Path) -> None:
    stream = json.loads(export("trades", "--json").stdout)[0]["stream"]
    done = export("database")
    assert done.exit_code == 0, done.output
    said = done.stdout.splitlines()
    assert said[0].startswith(f"{stream}: ")
    assert said[0].endswith("USD.")
    assert said[1] == "Written to bot-data.db."
    assert export("database", "own.db", "--stream", stream).exit_code == 0
    for name in ("bot-data.db", "own.db"):
        with sqlite3.connect(folder / name) as database:
            ((units,),) = database.execute("SELECT SUM(realised_units) FROM pnl").fetchall()
            assert units == book().realised_units
        database.close()


def test_the_journal_is_no_target(folder: Path) -> None:
    before = (folder / "bot.db").read_bytes()
    done = export("database", "bot.db")
    assert done.exit_code == 2
    assert "bot.db is of another program, with journal" in done.stderr
    assert (folder / "bot.db").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("trades", "--csv", "no/such/file.csv"), 2, "give a file that can be written"),
        (("trades", "--csv", "a.csv", "--json"), 64, "--json is given as well: give one"),
        (("trades", "--stream", "x"), 2, "There is no stream 'x'"),
        (("database", "--stream", "x"), 2, "There is no stream 'x'"),
        (("database", "no/such/data.db"), 2, "it cannot be opened"),
        (("database", "postgresql://127.0.0.1:1/x"), 2, "PostgreSQL: "),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = export(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_page_is_the_one_that_make_docs_writes() -> None:
    assert data_page() == (ROOT / "docs/reference/data.md").read_text("utf-8"), "run `make docs`"
