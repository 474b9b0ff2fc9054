"""Journals and a gateway's record that an earlier release wrote, kept as it left them.

They come from one run of the simulated world of November 2026: 24 events of 14 kinds, three
checkpoints, and the record of the gateway that the orders went to. What reads them may change;
what they say may not.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.journal.places import NOW_NS, order
from tests.journal.postgres_server import PostgresServer
from trueup.core.book.book import Book
from trueup.core.book.saved import saved
from trueup.gateway.record.store import RequestStore
from trueup.journal import open_journal, open_reader
from trueup.runtime.bot.portfolio import PortfolioManager

KEPT = Path(__file__).parents[1] / "data" / "written_before"
STREAM = "EURUSD"
LOGIN, SERVER = 5000001, "Simulated-Demo"
TIP = "3824be6fbeaade6d54b26fd1ff7471f870513946987a82c33d8e143850dbe9c0"
STATUSES = {
    "ORD_0_10A1": "FILLED",
    "ORD_1_10A1": "CANCELED",
    "ORD_0_10A3": "FILLED",
    "ORD_1_10A3": "FILLED",
    "ORD_2_10A3": "FILLED",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of the journal, in each kind of database."""
    if request.param == "sqlite":
        return str(shutil.copy(KEPT / "journal.db", tmp_path / "journal.db"))
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = server.new_database()
    with psycopg.connect(database) as connection:
        connection.execute((KEPT / "journal.sql").read_bytes())
    return database


def test_old_journal_verifies_to_the_tip_that_it_had(url: str) -> None:
    with open_reader(url) as reader:
        verdict = reader.verify()
        assert verdict.sound, verdict.faults
        assert (verdict.tip.position, verdict.tip.hash.hex()) == (24, TIP)


def test_old_journal_and_its_checkpoint_come_to_the_same_book(url: str) -> None:
    whole = Book()
    with open_reader(url) as reader:
        for event in reader.read():
            whole.apply(event)
    with open_journal(url, STREAM, now_ns=lambda: NOW_NS) as journal:
        manager = PortfolioManager("EURUSD", journal=journal)
        assert state_of(manager.book) == state_of(whole)
        ((ticket, position),) = manager.get_local_positions().items()
        assert (ticket, position.net_volume, position.avg_entry_price) == (100010, 0.01, 1.0999)
        assert manager.realised == 0.08
        assert {key: order.status.value for key, order in manager.orders.items()} == STATUSES


def state_of(book: Book) -> dict[str, Any]:
    """What a checkpoint would keep of a book, without what that release did not keep yet."""
    state: dict[str, Any] = json.loads(saved(book))
    for _, tombstone in state["closed"]:
        del tombstone["explained_units"], tombstone["owner"]
    del state["realised_by"]
    return state


def test_old_journal_is_written_on(url: str) -> None:
    with open_journal(url, STREAM, now_ns=lambda: NOW_NS) as journal:
        assert journal.append([order(25)]) == 25
        assert journal.verify().sound
    with open_reader(url) as reader:
        assert reader.position == 25


def test_old_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    open_journal(tmp_path / "new.db", STREAM, now_ns=lambda: NOW_NS).close()
    assert tables(KEPT / "journal.db") == tables(tmp_path / "new.db")


def test_record_of_an_old_gateway_is_read_and_written_on(tmp_path: Path) -> None:
    path = Path(shutil.copy(KEPT / "requests.db", tmp_path / "requests.db"))
    store = RequestStore(path, "a later run", lambda: NOW_NS)
    try:
        assert store.mark().last == 4
        filled = store.find("ORD_2_10A3")
        assert filled is not None
        assert (filled.login, filled.server, filled.state) == (LOGIN, SERVER, "settled")
        (keyed,) = store.with_key(LOGIN, SERVER, "EURUSD, magic 7", "A 5")
        assert store.add(keyed._replace(order_id="ORD_9_20", key="A 6", number=0))
        assert store.mark().last == 5
    finally:
        store.close()


def tables(path: Path) -> list[tuple[str, str]]:
    """Return each table and index of a file with its statement, layout aside."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql <> '' ORDER BY 1")
        return [(name, "".join(sql.split())) for name, sql in rows]
    finally:
        connection.close()
