"""The tables of a journal, event by event: what becomes of each, and what databases take."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from tests.support.every_event import EVERY
from trueup.core.book import events, fills
from trueup.core.book.book import Book
from trueup.core.deals import BookedDeal
from trueup.core.model import MarginMode, Position, Side
from trueup.journal import MemoryJournal
from trueup.runtime.data import collector, columns, sql
from trueup.runtime.data.store import DataError, DataStore, in_file, in_memory

AT: dict[str, Any] = {"at_ns": make.NOW_NS}
LARGE = 2**64 - 1


def made(history: Sequence[events.Event]) -> DataStore:
    journal = MemoryJournal()
    journal.append(history)
    store = in_memory()
    store.make("s", journal.records(), make.NOW_NS)
    return store


def rows(store: DataStore, table: str) -> list[dict[str, Any]]:
    listed = (columns.TABLES.get(table) or columns.VIEWS[table]).names
    return [
        dict(zip(listed, row, strict=True))
        for row in store.rows(table, listed, columns.ORDER_BY.get(table, "1"), "s")
    ]


def bound(login: int = 1) -> events.AccountBound:
    return events.AccountBound(
        **AT, login=login, server="S", currency="USD", margin_mode=MarginMode.HEDGING
    )


def wish(order_id: str, **changes: Any) -> events.OrderCreated:
    facts = {"symbol": "EURUSD", "side": Side.BUY, "volume": 0.2, "price": 1.1, "magic": 7}
    return events.OrderCreated(**AT, order_id=order_id, **{**facts, **changes})


def filled(order_id: str, ticket: int, side: Side = Side.BUY, **changes: Any) -> events.OrderFilled:
    facts = {"symbol": "EURUSD", "side": side, "volume": 0.2, "price": 1.1}
    return events.OrderFilled(**AT, order_id=order_id, ticket=ticket, **{**facts, **changes})


def counted(position: Position, *deals: BookedDeal, because: str = "") -> events.DealsRecorded:
    return events.DealsRecorded(
        **AT,
        position=position,
        deals=tuple(deal.ticket for deal in deals),
        realised_units=sum(deal.money for deal in deals),
        because=because,
        booked=deals,
    )


def gone(position: Position, *deals: BookedDeal, unproven: bool = False) -> events.PositionClosed:
    return events.PositionClosed(
        **AT,
        position=position,
        because="by hand",
        unproven=unproven,
        realised_units=sum(deal.money for deal in deals),
        deals=tuple(deal.ticket for deal in deals),
        booked=deals,
    )


ENTRY = BookedDeal(101, -35_000_000, 20_000_000, 5, 1_767_621_600_000)
EXIT = BookedDeal(102, 250_000_000, -20_000_000, 6, 1_767_625_200_000)
SENT = events.SendStarted(**AT, order_id="A")


def test_an_order_its_position_and_their_deals() -> None:
    position = make.position(5, magic=7, volume=0.2)
    history = [bound(), wish("A", key="morning", why="cross"), SENT, filled("A", 5)]
    with made(history) as store:
        (trade,) = rows(store, "trades")
        assert (trade["position"], trade["order_id"], trade["status"]) == (5, "A", "open")
        assert (trade["symbol"], trade["magic"], trade["side"]) == ("EURUSD", 7, "BUY")
        assert (trade["realised"], trade["deals"], trade["closed"]) == (0.0, 0, None)
        (order,) = rows(store, "orders")
        assert (order["status"], order["ticket"], order["filled"]) == ("FILLED", 5, 0.2)
        assert (order["order_key"], order["why"], order["account"]) == ("morning", "cross", "1@S")
        assert rows(store, "deals") == []
    history += [
        wish("B", side=Side.SELL, position=5),
        events.SendStarted(**AT, order_id="B"),
        filled("B", 6, Side.SELL),
        counted(position, ENTRY, EXIT, because="closed by our order"),
    ]
    with made(history) as store:
        (trade,) = rows(store, "trades")
        assert (trade["status"], trade["deals"]) == ("closed", 2)
        assert (trade["realised"], trade["realised_units"]) == (2.15, 215_000_000)
        assert trade["reason"] == "closed by our order"
        entry, exit_ = rows(store, "deals")
        assert (entry["order_id"], exit_["order_id"]) == ("A", "B")
        assert (entry["lots"], exit_["lots"], exit_["money"]) == (0.2, -0.2, 2.5)
        assert (entry["time"], exit_["magic"]) == ("2026-01-05T14:00:00.000", 7)
        (result,) = rows(store, "pnl")
        assert (result["trades"], result["open_trades"], result["wins"]) == (1, 0, 1)
        assert (result["realised"], result["realised_closed"]) == (2.15, 2.15)
        assert [day["day"] for day in rows(store, "pnl_daily")] == ["2026-01-05"]
        (export,) = rows(store, "exports")
        assert (export["events"], export["realised"], export["currency"]) == (8, 2.15, "USD")


def test_late_amended_and_cancelled_deals_replace_what_was_counted() -> None:
    position = make.position(5, magic=7)
    history = [
        bound(),
        events.PositionAdopted(**AT, position=position),
        gone(position, unproven=True),
    ]
    with made(history) as store:
        assert rows(store, "trades")[0]["status"] == "unproven"
    # Late: after the close.
    history.append(counted(position, ENTRY, EXIT))
    with made(history) as store:
        assert rows(store, "trades")[0]["status"] == "closed"
        assert rows(store, "pnl")[0]["realised_units"] == 215_000_000
    # Amended.
    history.append(counted(position, ENTRY, BookedDeal(102, 100_000_000, -20_000_000, 6)))
    with made(history) as store:
        assert [deal["money"] for deal in rows(store, "deals")] == [1.0, -0.35]
        assert rows(store, "pnl")[0]["realised_units"] == 65_000_000
    # Cancelled: the broker's history no longer has it.
    history.append(counted(position, ENTRY))
    with made(history) as store:
        assert [deal["deal"] for deal in rows(store, "deals")] == [101]
        assert rows(store, "trades")[0]["realised"] == -0.35
        assert rows(store, "pnl")[0]["losses"] == 1


def test_a_position_that_is_shown_again_is_open_with_its_money() -> None:
    position = make.position(5, magic=7)
    history = [bound(), events.PositionAdopted(**AT, position=position), gone(position, ENTRY)]
    again = events.PositionAdopted(**AT, position=position)
    with made([*history, again]) as store:
        (trade,) = rows(store, "trades")
        assert (trade["status"], trade["closed"], trade["realised"]) == ("open", None, -0.35)
        (result,) = rows(store, "pnl")
        assert (result["realised_open"], result["realised_closed"]) == (-0.35, 0.0)
    missing = events.PositionMissing(**AT, position=position, because="not shown")
    with made([*history, again, missing]) as store:
        assert rows(store, "trades")[0]["status"] == "missing"


def test_another_account_begins_anew_and_the_old_one_keeps_its_rows() -> None:
    position = make.position(5, magic=7)
    history = [
        *(bound(1), wish("A"), events.PositionAdopted(**AT, position=position)),
        *(gone(position, ENTRY, EXIT), bound(2)),
        *(events.PositionAdopted(**AT, position=position), counted(position, ENTRY)),
    ]
    with made(history) as store:
        results = {row["account"]: row["realised"] for row in rows(store, "pnl")}
        assert results == {"1@S": 2.15, "2@S": -0.35}
        assert [row["account"] for row in rows(store, "orders")] == ["1@S"]
        (export,) = rows(store, "exports")
        assert (export["account"], export["realised"]) == ("2@S", -0.35)


def test_an_account_that_comes_back_begins_anew_too() -> None:
    position = make.position(5, magic=7)
    adopted = events.PositionAdopted(**AT, position=position)
    there = [bound(1), adopted, gone(position, ENTRY, EXIT)]
    with made([*there, bound(2), bound(1), adopted, counted(position, ENTRY)]) as store:
        found = {(row["binding"], row["account"]): row["realised"] for row in rows(store, "pnl")}
        assert found == {(1, "1@S"): 2.15, (3, "1@S"): -0.35}
        (export,) = rows(store, "exports")
        assert (export["binding"], export["realised"]) == (3, -0.35)


def test_what_came_before_the_book_was_bound_belongs_to_its_account() -> None:
    with made([wish("A"), bound()]) as store:
        assert rows(store, "orders")[0]["account"] == "1@S"
    position = make.position(5, magic=7)
    adopted = events.PositionAdopted(**AT, position=position)
    with made([wish("A"), adopted, counted(position, ENTRY), bound()]) as store:
        for table in ("orders", "deals", "trades"):
            assert [row["account"] for row in rows(store, table)] == ["1@S"]


def test_rows_that_were_written_before_the_book_was_bound_get_its_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "BATCH", 1)
    position = make.position(5, magic=7)
    adopted = events.PositionAdopted(**AT, position=position)
    with made([wish("A"), adopted, counted(position, ENTRY), bound()]) as store:
        for table in ("orders", "deals", "trades"):
            assert [row["account"] for row in rows(store, table)] == ["1@S"]


def test_the_tables_of_a_book_without_a_journal_have_what_it_knows() -> None:
    position = make.position(5, magic=7)
    book = Book().replay(
        [bound(), events.PositionAdopted(**AT, position=position), counted(position, ENTRY)]
    )
    # Money of positions that the book has forgotten is a row of its own.
    book.realised_by["EURUSD", 7] = book.realised_by.get(("EURUSD", 7), 0) + 5
    with in_memory() as store:
        store.make_of_book("s", book, make.NOW_NS)
        found = rows(store, "trades")
        assert [(row["position"], row["status"], row["account"]) for row in found][-1] == (
            *(5, "open", "1@S"),
        )
        assert sum(row["realised_units"] for row in found) == book.realised_units + 5
        assert [row["realised"] for row in found] == [row["realised_units"] / 1e8 for row in found]
        assert store.name == "the tables"


def test_a_position_was_opened_when_the_book_took_it() -> None:
    adopted = events.PositionAdopted(**AT, position=make.position(5, magic=7))
    with made([bound(), adopted]) as store:
        (trade,) = rows(store, "trades")
        assert (trade["opened"], trade["closed"]) == ("2026-01-05T00:00:00.000+00:00", None)


def test_a_deal_of_an_older_release_has_no_time_and_perhaps_no_money() -> None:
    position = make.position(5, magic=7)
    old = events.DealsRecorded(
        **AT,
        position=position,
        deals=(2, 3),
        realised_units=1,
        because="x",
        booked=(BookedDeal(3, 5, 0),),
    )
    with made([bound(), events.PositionAdopted(**AT, position=position), old]) as store:
        found = [(row["deal"], row["time"], row["money"]) for row in rows(store, "deals")]
        assert found == [(2, None, None), (3, None, 5e-8)]
        assert rows(store, "trades")[0]["realised_units"] == 1


def test_every_kind_of_event_is_taken() -> None:
    journal = MemoryJournal()
    journal.append([bound(), *EVERY[:4]])
    with in_memory() as store:
        store.make("s", journal.records(), 1)
        assert rows(store, "orders")[0]["status"] == "FILLED"


def test_a_large_magic_number_and_a_far_time_fit() -> None:
    early, late = BookedDeal(1, 1, 0, 0, 0), BookedDeal(2, 1, 0, 0, 4_102_444_800_000)
    position = make.position(5, magic=LARGE)
    history = [
        bound(),
        events.PositionAdopted(**AT, position=position),
        counted(position, early, late),
    ]
    with made(history) as store:
        assert {int(row["magic"]) for row in rows(store, "deals")} == {LARGE}
        assert int(rows(store, "pnl")[0]["magic"]) == LARGE


def test_all_is_there_that_the_book_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "BATCH", 20)
    monkeypatch.setattr(fills, "FINISHED_KEPT", 50)
    monkeypatch.setattr(fills, "CLOSED_KEPT", 50)
    history: list[events.Event] = [bound()]
    for number in range(1, 200):
        position = make.position(10 * number, magic=7)
        deal = BookedDeal(10 * number + 1, number, 0)
        history += [
            wish(f"A{number}"),
            events.SendStarted(**AT, order_id=f"A{number}"),
            filled(f"A{number}", position.identifier),
            gone(position, deal),
        ]
    # The book has forgotten this one: its row is read from the table.
    history += [counted(make.position(10, magic=7), BookedDeal(11, 1, 0), BookedDeal(12, 5, 0))]
    book = Book().replay(history)
    assert len(book.closed) < 100
    with made(history) as store:
        found, orders = rows(store, "trades"), rows(store, "orders")
        assert len(found) == len(orders) == 199
        assert sum(row["realised_units"] for row in found) == book.realised_units
        assert {row["order_id"] for row in found} == {row["order_id"] for row in orders}


Step = st.tuples(
    st.sampled_from(["adopt", "close", "count", "bind", "miss", "find", "take over"]),
    st.integers(1, 4),
    st.lists(st.integers(-(10**9), 10**9), max_size=3),
    st.booleans(),
)


@given(st.lists(Step, max_size=40), st.integers(1, 7))
def test_the_sum_over_all_trades_is_the_books_result_whatever_happens(
    steps: list[tuple[str, int, list[int], bool]], kept: int
) -> None:
    """Also where the book forgets closed positions, is bound anew, or takes another over."""
    history: list[events.Event] = [bound()]
    other = Book()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fills, "CLOSED_KEPT", kept)
        for name, number, money, flag in steps:
            position = make.position(number, magic=number % 2)
            deals = [BookedDeal(100 * number + i, units, 0) for i, units in enumerate(money)]
            match name:
                case "adopt":
                    history.append(events.PositionAdopted(**AT, position=position))
                case "close":
                    history.append(gone(position, *deals, unproven=flag))
                case "count":
                    history.append(counted(position, *deals))
                case "miss":
                    lost = events.PositionMissing(**AT, position=position, because="x")
                    history.append(lost)
                case "find":
                    history.append(events.PositionFound(**AT, position=position))
                case "bind":
                    history.append(bound(number))
                case _:
                    other.replay([bound(), *history[1:3]])
                    state = other.state().decode()
                    taken = events.StreamTakenOver(
                        **AT, stream="x", position=1, hash="00", book=state
                    )
                    history.append(taken)
        book = Book().replay(history)
        with made(history) as store:
            binding = rows(store, "exports")[0]["binding"]
            found = [row for row in rows(store, "pnl") if row["binding"] == binding]
            assert sum(row["realised_units"] for row in found) == book.realised_units
            shown = rows(store, "trades")
            is_open = [
                row["position"]
                for row in shown
                if row["status"] in ("open", "missing") and row["binding"] == binding
            ]
            assert sorted(is_open) == sorted(book.holdings)


# The database.


def export(path: Path, history: Sequence[events.Event], stream: str = "s") -> None:
    journal = MemoryJournal()
    journal.append(history)
    with in_file(path) as store:
        store.make(stream, journal.records(), make.NOW_NS)


def test_a_file_is_brought_up_to_date_and_has_several_books(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    export(path, [bound(), wish("A")])
    export(path, [bound(), wish("A")], "t")
    export(path, [bound(), wish("A"), wish("B")])
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT stream, COUNT(*) FROM orders GROUP BY 1 ORDER BY 1")
        assert found.fetchall() == [("s", 2), ("t", 1)]
        assert database.execute("SELECT COUNT(*) FROM exports").fetchone() == (2,)
    database.close()


def test_an_export_that_fails_leaves_the_earlier_rows(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    export(path, [bound(), wish("A")])

    def broken() -> Any:
        journal = MemoryJournal()
        journal.append([bound(), wish("B")])
        yield from journal.records()
        raise KeyboardInterrupt

    with in_file(path) as store:
        with pytest.raises(KeyboardInterrupt):
            store.make("s", broken(), 1)
        assert [row["order_id"] for row in rows(store, "orders")] == ["A"]


def test_a_file_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE journal_events (position INTEGER)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"other\.db is of another program, with journal_events"):
        in_file(path)
    assert path.read_bytes() == before
    (tmp_path / "text").write_text("no database, by any means", "utf-8")
    with pytest.raises(DataError, match="it is not a SQLite database"):
        in_file(tmp_path / "text")
    with pytest.raises(DataError, match="it cannot be opened"):
        in_file(tmp_path / "no" / "data.db")


@pytest.mark.parametrize(("version", "is_newer"), [(columns.VERSION + 1, True), (0, False)])
def test_tables_of_another_version_are_made_anew_or_left_alone(
    version: int, is_newer: bool, tmp_path: Path
) -> None:
    path = tmp_path / "data.db"
    export(path, [bound(), wish("A")])
    with sqlite3.connect(path) as database:
        database.execute("UPDATE exports SET version = ?", (version,))
    database.close()
    if is_newer:
        with pytest.raises(DataError, match="written by a newer trueup: give a new one"):
            in_file(path)
        return
    export(path, [bound(), wish("B")], "t")
    with in_file(path) as store:
        assert [row[0] for row in store.rows("orders", ["order_id"], "1", "t")] == ["B"]
        assert list(store.rows("orders", ["order_id"], "1", "s")) == []


def test_a_file_that_another_process_writes_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "data.db"
    export(path, [bound(), wish("A")])
    monkeypatch.setattr("trueup.runtime.data.store.BUSY_SEC", 0.01)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataError, match="another process or connection keeps it locked"):
            export(path, [bound(), wish("B")])
    writer.close()


def test_times_come_back_from_text() -> None:
    assert sql.at_ns(None) is None
    assert sql.at_ns("2026-01-05T14:00:00.250+00:00") == 1_767_621_600_250_000_000
    moment = dt.datetime(2026, 1, 5, 14, tzinfo=dt.UTC)
    assert sql.at_ns(moment) == 1_767_621_600_000_000_000
