"""Tables of an account: for pandas and polars, for notebooks, and in one line."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import pytest

import trueup
from tests.support import make
from tests.support.account_world import AccountWorld
from trueup.core.book import events
from trueup.core.model import Side
from trueup.core.sync.plan import Plan
from trueup.core.tables import table
from trueup.doors.account import Account
from trueup.doors.data import DEAL_COLUMNS, DEALS, data_of
from trueup.doors.frames import AUDIT, audit_rows, frame
from trueup.journal import MemoryJournal
from trueup.runtime.data.columns import EXPORTED
from trueup.runtime.sync.results import SyncResult, SyncStatus

AT: dict[str, Any] = {"at_ns": make.NOW_NS}
LIBRARIES = ("pandas", "polars")


@pytest.fixture
def world(tmp_path: Path) -> AccountWorld:
    return AccountWorld(tmp_path)


def traded(world: AccountWorld, **options: Any) -> Account:
    """Return an account with a closed and an open position."""
    account = world.account(**options)
    account.sync()
    seven = account.portfolio("EURUSD", magic=7)
    first = seven.submit("buy", 0.1)
    account.portfolio("GBPUSD").submit("sell", 0.2)
    world.quote("EURUSD", 1.2)
    seven.close(first.ticket)
    world.wait(5)
    account.sync()
    return account


def check(columns: dict[str, list[Any]], account: Account) -> None:
    """Check the columns of a table of deals against the account."""
    assert columns["symbol"] == ["EURUSD", "GBPUSD", "EURUSD"]
    assert columns["lots"] == [0.1, -0.2, -0.1]
    assert columns["magic"] == [7, 0, 7]
    assert sum(columns["money"]) == pytest.approx(account.realised)
    assert columns["deal"] == sorted(columns["deal"])
    assert all(isinstance(time, dt.datetime) for time in columns["time"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_table_of_deals_has_every_counted_deal(world: AccountWorld, library: Any) -> None:
    pytest.importorskip(library)
    with traded(world) as account:
        table = account.deals_frame(library)
        assert list(table.columns) == list(DEALS)
        check({name: list(table[name]) for name in DEALS}, account)
        audit = account.audit_frame(library)
        assert list(audit.columns) == list(AUDIT)
        assert next(iter(audit["action"])) == "BOUND"
        assert {"INTENT", "SENT", "FILLED"} <= set(audit["action"])
        assert next(iter(audit["time"])).utcoffset() == dt.timedelta()
    with world.account(journal=None) as empty:
        for made in (empty.deals_frame(library), empty.audit_frame(library)):
            assert len(made) == 0
        assert list(empty.deals_frame(library).columns) == list(DEALS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_not_installed_is_named_with_its_command(
    world: AccountWorld, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with world.account() as account:
        for make_table in (account.deals_frame, account.audit_frame):
            with pytest.raises(ImportError, match=f"needs {library}: pip install {library}"):
                make_table(library)
        with pytest.raises(ValueError, match="library='excel'"):
            account.deals_frame("excel")  # type: ignore[arg-type]


def deals(source: Any) -> dict[str, list[Any]]:
    """The columns of the table of deals, by the names of `deals_frame`."""
    with data_of("s", source) as data:
        found = list(data.rows("deals"))
    return {
        name: [row[column] for row in found]
        for name, column in zip(DEALS, DEAL_COLUMNS, strict=True)
    }


def test_the_rows_are_those_of_the_whole_journal_and_without_one_of_the_book(
    world: AccountWorld,
) -> None:
    with traded(world) as account:
        found = deals(account.manager.journal)
        check(found, account)
        assert all(found["order_id"])
        assert deals(account.manager.book) == found
    # Also those of streams that were taken over.
    journal = MemoryJournal()
    state = account.manager.book.state().decode()
    journal.append(
        [events.StreamTakenOver(**AT, stream="EURUSD", position=1, hash="00", book=state)]
    )
    assert deals(journal) == found


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_account_has_a_table_of_trades_of_orders_and_of_results(
    world: AccountWorld, library: Any
) -> None:
    pytest.importorskip(library)
    with traded(world) as account:
        trades, orders = account.trades_frame(library), account.orders_frame(library)
        assert list(trades.columns) == list(EXPORTED["trades"].names)
        assert list(trades["status"]) == ["closed", "open"]
        assert list(trades["order_id"]) == [list(orders["order_id"])[i] for i in (0, 1)]
        assert next(iter(trades["opened"])).utcoffset() == dt.timedelta()
        assert list(orders["status"]) == ["FILLED"] * 3
        results = account.pnl_frame(library)
        assert sum(results["realised"]) == pytest.approx(account.realised, abs=1e-8)
        assert set(zip(results["symbol"], results["magic"], strict=True)) == {
            ("EURUSD", 7),
            ("GBPUSD", 0),
        }
        days = account.pnl_frame(library, daily=True)
        assert sum(days["money"]) == pytest.approx(account.realised, abs=1e-8)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_journal_alone_has_the_same_tables(world: AccountWorld, library: Any) -> None:
    pytest.importorskip(library)
    with traded(world) as account:
        stream, realised = account.manager.stream, account.realised
        lives = [list(account.trades_frame(library)[name]) for name in ("position", "status")]
    # The bot has ended; its file is all that there is.
    with trueup.open_data(world.journal) as data:
        assert data.stream == stream
        trades = data.trades_frame(library)
        assert [list(trades[name]) for name in ("position", "status")] == lives
        assert sum(data.pnl_frame(library)["realised"]) == pytest.approx(realised, abs=1e-8)
        assert len(data.deals_frame(library)) == 3
        assert len(data.orders_frame(library)) == 3
        assert len(data.pnl_frame(library, daily=True)) == 2
        assert [row["status"] for row in data.rows("trades")] == ["closed", "open"]
        with pytest.raises(ValueError, match="table='bars' is not valid: give one of trades"):
            next(data.rows("bars"))
    with pytest.raises(trueup.JournalError, match="There is no stream 'x'"):
        trueup.open_data(world.journal, "x")


def test_the_audit_rows_are_those_of_the_journal_or_of_this_process(world: AccountWorld) -> None:
    with traded(world, journal=None) as account:
        assert list(audit_rows([], account.manager.journal)) == []
        entries = account.reconciler.get_audit_trail()
        rows = list(audit_rows(entries, None))
        assert [row[2] for row in rows] == [entry["action"] for entry in entries]
        assert all(len(row) == len(AUDIT) for row in rows)


class Recorder:
    """Stands in for a library: it keeps what a table is made of."""

    Int64, UInt64, Float64, String = "Int64", "UInt64", "Float64", "String"

    def __init__(self) -> None:
        self.schema: dict[str, Any] = {}

    def Datetime(self, unit: str, zone: str | None = None) -> str:
        return f"{unit} {zone}"

    def Series(self, values: list[Any], dtype: str, name: str) -> list[Any]:
        self.schema[name] = dtype
        return values

    def DataFrame(self, values: Any, schema: Any = None) -> Any:
        self.schema = schema or self.schema
        return values


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_column_has_a_type_also_in_an_empty_table(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, library, recorder)
    assert frame(library, DEALS, []) == {name: [] for name in DEALS}
    assert recorder.schema.keys() == DEALS.keys()
    assert recorder.schema["time"] == ("ms None" if library == "polars" else "datetime64[ms]")
    recorder.schema = {}
    frame(library, AUDIT, [])
    assert "UTC" in recorder.schema["time"]


def test_a_notebook_shows_the_book_and_escapes_every_text(world: AccountWorld) -> None:
    with traded(world) as account:
        pound = account.portfolio("GBPUSD")
        html = account._repr_html_()
        assert html.count("<table>") == 1
        assert "GBPUSD</td><td>SHORT 0.20L</td>" in html
        assert account.name in html
        assert "Everything agrees" in html
        pound.commit([make.created("<b>", Side.BUY, symbol="GBPUSD")])
        assert (
            "<td>&lt;b&gt;</td><td>GBPUSD</td><td>BUY</td><td>PENDING</td>" in pound._repr_html_()
        )
        assert "&lt;b&gt;" not in account.portfolio("EURUSD")._repr_html_()
        assert repr(account).startswith(f"Account({account.name}, positions=1, ")
    assert table("<x>", ("&",), [("'\"",)]) == (
        "<p><b>&lt;x&gt;</b></p>"
        "<table><tr><th>&amp;</th></tr><tr><td>&#x27;&quot;</td></tr></table>"
    )


def test_a_plan_and_a_result_are_one_line_and_a_table() -> None:
    history = (
        events.PositionAdopted(**AT, position=make.position(5)),
        events.PositionClosed(**AT, position=make.position(6), because="stop <loss>"),
        events.PendingAdopted(**AT, order=make.pending(7)),
        events.OrderCanceled(**AT, order_id="A", because="no trace"),
    )
    plan = Plan(events=history)
    names = "PositionAdopted, PositionClosed, PendingAdopted, OrderCanceled"
    assert repr(plan) == f"Plan(4 to change, 0 held, {names})"
    html = plan._repr_html_()
    assert "<td>PositionClosed</td><td>6 EURUSD LONG 0.01L @ 1.0543</td>" in html
    assert "stop &lt;loss&gt;" in html
    assert "<td>7 EURUSD BUY LIMIT 0.10L @" in html
    assert "<td>OrderCanceled</td><td>A</td><td>no trace</td>" in html
    result = SyncResult(SyncStatus.PARTIAL, errors=["<row>"], sync_time_ms=1.25).count(plan)
    assert repr(result) == "SyncResult(PARTIAL: +1 -1 ~0 drifts, orders=1, errors=1, 1.2 ms)"
    assert "<td>error</td><td>&lt;row&gt;</td>" in result._repr_html_()
    for one in (plan, result, make.sent("A")):
        assert "\n" not in repr(one)
    assert "stoplimit" not in repr(make.sent("A"))
