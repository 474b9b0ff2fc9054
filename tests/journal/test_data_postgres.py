"""The tables of a journal in PostgreSQL: the same rows as in SQLite, beside the journal's own."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from scripts.data_page import QUERIES
from tests.money.stories import tell
from tests.runtime.test_data_tables import LARGE, bound, counted, export, wish
from tests.support import make
from trueup.cli import app
from trueup.core.book import events
from trueup.core.deals import BookedDeal
from trueup.doors.data import Data
from trueup.journal import MemoryJournal, open_journal, open_reader
from trueup.runtime.data import columns
from trueup.runtime.data.store import SCHEMA, DataError, DataStore, in_memory, in_postgresql

SEEDS = (3, 11, 27)
TABLES = ("trades", "deals", "orders", "pnl", "pnl_daily")


@dataclasses.dataclass
class Server:
    """A database of its own, and what it answers."""

    url: str

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            connection.execute(f"SET search_path TO {SCHEMA}")
            return connection.execute(question).fetchall()


@pytest.fixture
def server(postgres_server: Any) -> Server:
    return Server(postgres_server.new_database())


def shown(store: DataStore) -> dict[str, list[dict[str, Any]]]:
    """All rows of a store, as Python has them."""
    data = Data(store, "s")
    return {name: [_plain(row) for row in data.rows(name)] for name in TABLES}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Round what floats may differ in, and make decimals numbers."""
    plain = {}
    for name, value in row.items():
        if name == "magic" or name.endswith("_units"):
            value = int(value)
        plain[name] = round(value, 8) if isinstance(value, float) else value
    return plain


def story(history: Sequence[events.Event]) -> MemoryJournal:
    journal = MemoryJournal()
    journal.append(history)
    return journal


@pytest.mark.parametrize("seed", SEEDS)
def test_both_databases_have_the_same_rows(seed: int, server: Server) -> None:
    journal = tell(seed).pm.journal
    assert journal is not None
    with in_memory() as here, in_postgresql(server.url) as there:
        for store in (here, there):
            store.make("s", journal.records(), make.NOW_NS)
        assert shown(there) == shown(here)
        assert shown(there)["trades"]


def test_odd_values_come_back_from_both(server: Server) -> None:
    position = make.position(5, magic=LARGE)
    journal = story(
        [
            *(bound(), wish("A\0B", why="a\nb\u2028", comment="→", magic=LARGE)),
            events.PositionAdopted(at_ns=1, position=position),
            counted(position, BookedDeal(1, 5, 0), BookedDeal(2, -3, 0, 0, 4_102_444_800_000)),
        ]
    )
    with in_postgresql(server.url) as store:
        store.make("s", journal.records(), make.NOW_NS)
        found = shown(store)
    assert found["orders"][0]["order_id"] == "A\\0B"
    assert {row["magic"] for row in found["deals"]} == {LARGE}
    assert server.ask("SELECT SUM(realised_units) FROM pnl") == [(2,)]


def test_the_tables_stand_beside_the_journal_in_its_own_database(server: Server) -> None:
    with open_journal(server.url, "EURUSD", now_ns=lambda: 1) as journal:
        journal.append([bound(), wish("A")])
    for order_ids in (["A"], ["A", "B"]):
        done = CliRunner().invoke(app, ["export", "database", "--journal", server.url])
        assert done.exit_code == 0, done.output
        assert f"schema {SCHEMA}" in done.stdout
        assert server.ask("SELECT order_id FROM orders ORDER BY 1") == [(i,) for i in order_ids]
        with open_journal(server.url, "EURUSD", now_ns=lambda: 1) as journal:
            journal.append([wish("B")]) if order_ids == ["A"] else None
    with open_reader(server.url) as reader:
        assert reader.verify().sound
    done = CliRunner().invoke(app, ["export", "orders", "--journal", server.url])
    assert [line.split(",")[3] for line in done.stdout.splitlines()] == ["order_id", "A", "B"]


def test_an_export_that_fails_leaves_the_earlier_rows(server: Server) -> None:
    def broken() -> Any:
        yield from story([bound(), wish("B")]).records()
        raise KeyboardInterrupt

    with in_postgresql(server.url) as store:
        store.make("s", story([bound(), wish("A")]).records(), 1)
        with pytest.raises(KeyboardInterrupt):
            store.make("s", broken(), 1)
    assert server.ask("SELECT order_id FROM orders") == [("A",)]


def test_another_schema_of_that_name_and_a_newer_one_are_left_alone(server: Server) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"CREATE TABLE {SCHEMA}.own (a int)")
    with pytest.raises(DataError, match="is of another program, with own: give a new one"):
        in_postgresql(server.url)
    with psycopg.connect(server.url) as connection:
        connection.execute(f"DROP TABLE {SCHEMA}.own")
    with in_postgresql(server.url) as store:
        store.make("s", story([bound()]).records(), 1)
        store._run("UPDATE exports SET version = %s", columns.VERSION + 1)
    with pytest.raises(DataError, match="written by a newer trueup"):
        in_postgresql(server.url)


def test_a_server_that_is_away_is_one_sentence_without_the_password() -> None:
    url = "postgresql://bot:secret@127.0.0.1:1/trades"
    with pytest.raises(DataError) as refused:
        in_postgresql(url)
    assert "secret" not in str(refused.value)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("query", QUERIES, ids=list(QUERIES))
def test_the_queries_of_the_page_run_on_both(query: str, server: Server, tmp_path: Any) -> None:
    journal = tell(SEEDS[0]).pm.journal
    assert journal is not None
    export(tmp_path / "data.db", list(journal.read()))
    with in_postgresql(server.url) as store:
        store.make("s", journal.records(), make.NOW_NS)
        there = store._run(QUERIES[query]).fetchall()
    with in_memory() as store:
        store.make("s", journal.records(), make.NOW_NS)
        here = store._run(QUERIES[query]).fetchall()
    assert here
    assert exact(here) == exact(there)


def exact(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """All values but floats, whose last digit may differ; PostgreSQL sums to decimals."""
    return [
        [int(value) if isinstance(value, decimal.Decimal) else value for value in row]
        for row in ([v for v in row if not isinstance(v, float)] for row in rows)
    ]
