"""The reconciler: what the naive version gets wrong, and what it says about what it did."""

from __future__ import annotations

import datetime as dt
import logging
import math
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.model import Position
from trueup.errors import JournalError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import (
    RemotePosition,
    StateReconciler,
    SyncResult,
    SyncStatus,
    _counted,
    _interval,
    _seconds,
    _sentence,
)

ENTRY_KEYS = {"timestamp", "action", "ticket", "details", "before", "after"}


def holding(*rows: dict[str, Any]) -> PortfolioManager:
    pm = make.portfolio()
    for one in rows:
        assert pm.force_add_position(one)
    return pm


def counts(result: SyncResult) -> tuple[str, int, int, int]:
    return result.status.value, result.recovered, result.closed, len(result.drifts)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


# What the naive version gets wrong.


def test_any_number_of_positions_is_recovered_once_and_then_there_is_silence() -> None:
    rows = [make.row(n, type=("buy", "sell")[n % 2], volume=n / 100) for n in range(1, 201)]
    reconciler = make.reconciler_on(make.reply(*rows))
    assert counts(reconciler.startup_recovery()) == ("SUCCESS", 200, 0, 0)
    before = reconciler.portfolio.book.state()
    for _ in range(3):
        assert counts(reconciler.sync_positions()) == ("SUCCESS", 0, 0, 0)
        assert reconciler.detect_drift() is None
    assert reconciler.portfolio.book.state() == before
    assert len(reconciler.get_audit_trail()) == 200


def test_a_short_is_no_drift() -> None:
    short = make.row(7, type="sell", volume=0.3)
    reconciler = make.reconciler_on(make.reply(short), pm=holding(short))
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 0, 0, 0)
    assert reconciler.detect_drift() is None


def test_float_dust_is_no_drift() -> None:
    dusty = make.reply(make.row(volume=0.1 + 0.2))
    reconciler = make.reconciler_on(dusty, pm=holding(make.row(volume=0.3)))
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 0, 0, 0)


def test_a_drift_in_price_alone_is_corrected() -> None:
    reconciler = make.reconciler_on(make.reply(make.row(price_open=1.0544)), pm=holding(make.row()))
    result = reconciler.sync_positions()
    assert counts(result) == ("SUCCESS", 0, 0, 1)
    assert "price 1.0543 → 1.0544" in result.drifts[0]
    assert make.positions_of(reconciler.portfolio.book)[make.TICKET][2] == 1.0544


def test_a_side_that_flips_on_one_ticket_is_corrected() -> None:
    reconciler = make.reconciler_on(make.reply(make.row(type="sell")), pm=holding(make.row()))
    result = reconciler.sync_positions()
    assert counts(result) == ("SUCCESS", 0, 0, 1)
    assert "side LONG → SHORT" in result.drifts[0]
    assert reconciler.portfolio.position is not None
    assert reconciler.portfolio.position.net_volume == -0.01


def test_drifts_count_positions_and_not_fields() -> None:
    changed = make.row(volume=0.02, price_open=1.0544, type="sell")
    reconciler = make.reconciler_on(make.reply(changed), pm=holding(make.row()))
    assert len(reconciler.sync_positions().drifts) == 1


def test_the_cost_of_a_sync_is_not_quadratic() -> None:
    """Counted, not timed: each position of a list that agrees is looked up a bounded number."""
    looked_up = 0

    class Counting(dict[int, Any]):
        def get(self, key: int, default: Any = None) -> Any:
            nonlocal looked_up
            looked_up += 1
            return super().get(key, default)

        def values(self) -> Any:
            nonlocal looked_up
            looked_up += len(self)
            return super().values()

    rows = [make.row(n) for n in range(1, 501)]
    reconciler = make.reconciler_on(make.reply(*rows))
    reconciler.startup_recovery()
    book = reconciler.portfolio.book
    book.holdings = Counting(book.holdings)
    reconciler.sync_positions()
    assert looked_up <= 10 * len(rows)


UNREADABLE: dict[str, object] = {
    "none": None,
    "an exception": OSError("cable"),
    "an exception without words": RuntimeError(),
    "a timeout": TimeoutError("2 s"),
    "a text": "SUCCESS",
    "a number": 5,
    "a list": [make.row()],
    "a mock": MagicMock(),
    "a wrong status": {"status": "ERROR", "positions": [], "error": "boom"},
    "a failure": {"status": "FAILED", "positions": [], "error": "no link"},
    "no status": {"positions": []},
    "an error beside success": make.reply(error="lost"),
    "no positions": {"status": "SUCCESS", "error": None},
    "positions of null": {"status": "SUCCESS", "positions": None},
    "positions in an object": {"status": "SUCCESS", "positions": {}},
    "positions in a text": {"status": "SUCCESS", "positions": ""},
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("call", ["startup_recovery", "sync_positions", "sync_continuous"])
def test_an_unreadable_reading_changes_nothing_and_is_degraded(what: str, call: str) -> None:
    reconciler = make.reconciler_on(UNREADABLE[what], pm=holding(make.row(1), make.row(2)))
    before = reconciler.portfolio.book.state()
    result = getattr(reconciler, call)()
    assert counts(result) == ("DEGRADED", 0, 0, 0)
    assert "Gateway offline" in result.errors[0]
    assert reconciler.portfolio.book.state() == before
    assert reconciler.get_audit_trail() == []
    assert reconciler.get_status()["sync_count"] == 0
    assert reconciler.get_status()["last_sync_time"] is None


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("an exception", "OSError: cable"),
        ("an exception without words", "RuntimeError"),
        ("a wrong status", "boom"),
        ("a list", "list"),
        ("no positions", "None"),
    ],
)
def test_a_degraded_result_says_what_really_happened(what: str, words: str) -> None:
    assert words in make.reconciler_on(UNREADABLE[what]).sync_positions().errors[0]


@pytest.mark.parametrize("what", UNREADABLE)
def test_after_an_unreadable_reading_the_next_good_one_is_taken(what: str) -> None:
    reconciler = make.reconciler_on(UNREADABLE[what], make.reply(make.row()))
    reconciler.sync_positions()
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 1, 0, 0)


BAD_ROWS: dict[str, object] = {
    "no ticket": make.without(make.row(), "ticket"),
    "ticket null": make.row(None),
    "volume negative": make.row(9, volume=-0.01),
    "volume NaN": make.row(9, volume=math.nan),
    "volume infinite": make.row(9, volume=math.inf),
    "volume none": make.row(9, volume=None),
    "volume beyond every account": make.row(9, volume=1e305),
    "price beyond every market": make.row(9, price_open=1e305),
    "type unknown": make.row(9, type="hold"),
    "type missing": make.without(make.row(9), "type"),
    "no row": "row",
    "null": None,
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_row_that_cannot_be_believed_makes_the_reading_partial(what: str) -> None:
    """Its neighbours are recovered and corrected, it is named, and nothing is closed."""
    pm = holding(make.row(1), make.row(2))
    reading = make.reply(make.row(2, volume=0.05), BAD_ROWS[what], make.row(3))
    result = make.reconciler_on(reading, pm=pm).sync_positions()
    assert counts(result) == ("PARTIAL", 1, 0, 1)
    assert len(result.errors) == 1
    assert "Row 2" in result.errors[0]
    assert make.positions_of(pm.book) == {
        1: ("buy", 0.01, 1.0543),
        2: ("buy", 0.05, 1.0543),
        3: ("buy", 0.01, 1.0543),
    }


def test_a_duplicate_ticket_makes_the_reading_partial() -> None:
    pm = holding(make.row(1))
    reading = make.reply(make.row(2), make.row(3), make.row(2, volume=5.0))
    result = make.reconciler_on(reading, pm=pm).sync_positions()
    assert counts(result) == ("PARTIAL", 1, 0, 0)
    assert "2" in result.errors[0]
    assert set(pm.get_local_positions()) == {1, 3}


def test_a_held_ticket_whose_row_is_bad_stays_as_it_is() -> None:
    pm = holding(make.row(1, volume=0.03))
    make.reconciler_on(make.reply(make.row(1, volume=-5)), pm=pm).sync_positions()
    assert make.positions_of(pm.book) == {1: ("buy", 0.03, 1.0543)}


def test_a_ghost_is_closed_by_the_first_whole_reading_and_not_before() -> None:
    pm = holding(make.row(1))
    reconciler = make.reconciler_on(make.reply("bad"), None, make.reply(), pm=pm)
    assert counts(reconciler.sync_positions())[0] == "PARTIAL"
    assert counts(reconciler.sync_positions())[0] == "DEGRADED"
    assert pm.position is not None
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 0, 1, 0)
    assert pm.position is None


def test_other_symbols_are_not_ours() -> None:
    foreign = make.row(5, symbol="GBPUSD"), make.row(6, symbol="EURUSD.m")
    reconciler = make.reconciler_on(make.reply(make.row(1), *foreign))
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 1, 0, 0)
    assert set(reconciler.portfolio.get_local_positions()) == {1}
    assert reconciler.detect_drift() is None


@given(make.broker_lists(only_ours=True), make.broker_lists(), st.booleans())
def test_whatever_the_book_and_the_broker_have_one_sync_agrees_and_the_next_is_silent(
    local: list[Position], remote: list[Position], at_start: bool
) -> None:
    pm = holding(*map(as_row, local))
    reconciler = make.reconciler_on(make.reply(*map(as_row, remote)), pm=pm)
    here, there = make.wanted(local), make.wanted(remote)
    result = reconciler.startup_recovery() if at_start else reconciler.sync_positions()
    assert counts(result) == (
        "SUCCESS",
        len(there.keys() - here.keys()),
        len(here.keys() - there.keys()),
        sum(here[key] != there[key] for key in here.keys() & there.keys()),
    )
    assert make.positions_of(pm.book) == there
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 0, 0, 0)
    assert reconciler.detect_drift() is None


def as_row(one: Position) -> dict[str, Any]:
    return make.row(
        one.ticket,
        symbol=one.symbol,
        type=one.side.value,
        volume=one.volume,
        price_open=one.price_open,
        profit=one.profit,
    )


# An order in doubt, as the guide's user meets it.


def doubtful(pm: PortfolioManager, signal: int = 1) -> Any:
    order = pm.create_order(signal, 1.0543, 0.01)
    assert order is not None
    assert pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN", error="no reply"))
    return order


def test_an_order_in_doubt_that_was_filled_is_found_by_a_sync() -> None:
    pm = make.portfolio()
    order = doubtful(pm)
    reconciler = make.reconciler_on(make.reply(make.row(7)), pm=pm)
    reconciler.sync_positions()
    assert (order.status.value, order.ticket) == ("FILLED", 7)
    assert pm.position is not None
    assert pm.position.orders == [order]
    assert not pm.book.in_doubt


def test_an_order_in_doubt_is_given_up_by_whole_readings_over_the_grace_period() -> None:
    pm = make.portfolio()
    order = doubtful(pm)
    reconciler = make.reconciler_on(make.reply(), pm=pm)
    reconciler.sync_positions()
    assert order.status.value == "IN_DOUBT"
    for _ in range(2):
        assert order.status.value == "IN_DOUBT"
        make.clock_of(pm).advance(60)
        reconciler.sync_positions()
    assert order.status.value == "CANCELED"


def test_an_order_in_doubt_outlives_every_reading_that_is_none() -> None:
    pm = make.portfolio()
    order = doubtful(pm)
    reconciler = make.reconciler_on(None, make.reply("bad"), OSError("x"), pm=pm)
    for _ in range(5):
        make.clock_of(pm).advance(3600)
        reconciler.sync_positions()
    assert order.status.value == "IN_DOUBT"
    assert not pm.check_risk(1)


# What it says.


def test_startup_says_the_guides_lines(said: pytest.LogCaptureFixture) -> None:
    make.reconciler_on(make.reply(make.row())).startup_recovery()
    assert lines(said)[0] == "[STARTUP] Starting recovery process"
    assert "[RECOVERY] Zombie position recovered: Ticket 123456, LONG 0.01L" in lines(said)


def test_startup_of_a_short_says_so(said: pytest.LogCaptureFixture) -> None:
    make.reconciler_on(make.reply(make.row(7, type="sell", volume=1.5))).startup_recovery()
    assert "[RECOVERY] Zombie position recovered: Ticket 7, SHORT 1.50L" in lines(said)


def test_a_clean_startup_says_so(said: pytest.LogCaptureFixture) -> None:
    result = make.reconciler_on(make.reply()).startup_recovery()
    assert counts(result) == ("SUCCESS", 0, 0, 0)
    assert "[STARTUP] No recovery needed, clean state" in lines(said)


@pytest.mark.parametrize("seen", [None, make.reply("bad row")], ids=["unseen", "partial"])
def test_a_startup_that_did_not_see_everything_never_says_that_all_is_clean(
    seen: object, said: pytest.LogCaptureFixture
) -> None:
    make.reconciler_on(seen).startup_recovery()
    assert not [line for line in lines(said) if "clean state" in line]


def test_a_startup_whose_journal_refuses_never_says_that_all_is_clean(
    said: pytest.LogCaptureFixture,
) -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    journal.refuse = JournalError("disk full")
    result = make.reconciler_on(make.reply(make.row()), pm=pm).startup_recovery()
    assert result.status is SyncStatus.FAILED
    assert not [line for line in lines(said) if "clean state" in line]


def test_a_startup_that_closed_a_ghost_never_says_that_nothing_was_needed(
    said: pytest.LogCaptureFixture,
) -> None:
    result = make.reconciler_on(make.reply(), pm=holding(make.row())).startup_recovery()
    assert result.closed == 1
    assert not [line for line in lines(said) if "No recovery needed" in line]


def test_a_sync_says_the_guides_lines(said: pytest.LogCaptureFixture) -> None:
    pm = holding(make.row(1), make.row(2), make.row(3))
    reading = make.reply(make.row(2, volume=0.02, price_open=1.0544), make.row(3, volume=0.03))
    said.clear()
    make.reconciler_on(reading, pm=pm).sync_positions()
    assert lines(said)[0] == "[SYNC] Starting full synchronization"
    assert lines(said)[-1] == "[SYNC] Reconciliation complete: +0 -1 ~2 drifts"
    for line in (
        "[CLOSED] Ghost position removed (Ticket 1)",
        "[DRIFT_FIX] Ticket 2: volume 0.01L → 0.02L, price 1.0543 → 1.0544",
        "[DRIFT_FIX] Ticket 2: volume mismatch corrected",
        "[DRIFT_FIX] Volume 0.01L → 0.02L",
    ):
        assert lines(said).count(line) == 1


def test_a_sync_without_a_difference_says_the_guides_line(
    said: pytest.LogCaptureFixture,
) -> None:
    pm = holding(make.row())
    said.clear()

    class Slow:
        """Takes a tenth of a millisecond of the book's clock."""

        def get_positions(self) -> dict[str, Any]:
            make.clock_of(pm).advance(0.0001)
            return make.reply(make.row())

    result = StateReconciler(pm, Slow()).sync_positions()
    assert lines(said) == [
        "[SYNC] Starting full synchronization",
        "[SYNC] State Reconciled: Local matches Remote (0.1ms)",
    ]
    assert result.sync_time_ms == pytest.approx(0.1)


@pytest.mark.parametrize("seen", [None, make.reply("bad")], ids=["degraded", "partial"])
def test_what_was_not_seen_is_never_said_to_match(
    seen: object, said: pytest.LogCaptureFixture
) -> None:
    make.reconciler_on(seen).sync_positions()
    assert not [line for line in lines(said) if "matches" in line]


def test_what_is_held_is_never_said_to_match(said: pytest.LogCaptureFixture) -> None:
    """A position that was closed here while the broker was being asked."""
    pm = holding(make.row())

    class Meanwhile:
        def get_positions(self) -> dict[str, Any]:
            pm.force_close_position(make.TICKET)
            return make.reply(make.row())

    result = StateReconciler(pm, Meanwhile()).sync_positions()
    assert (result.recovered, pm.position) == (0, None)
    assert not [line for line in lines(said) if "matches" in line]
    assert [line for line in lines(said) if str(make.TICKET) in line and "after" in line]


def test_while_an_order_is_in_doubt_nothing_is_said_to_match(
    said: pytest.LogCaptureFixture,
) -> None:
    pm = make.portfolio()
    doubtful(pm)
    make.reconciler_on(make.reply(), pm=pm).sync_positions()
    assert not [line for line in lines(said) if "matches" in line]
    assert [line for line in lines(said) if "in doubt" in line]


def test_degradation_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """So it is seen without any configuration of logging."""
    make.reconciler_on(None).sync_positions()
    assert [
        record.levelname for record in caplog.records if "Gateway offline" in record.getMessage()
    ] == ["WARNING"]


@pytest.mark.parametrize(
    ("line", "remote"),
    [
        ("[RECOVERY] Zombie", make.reply(make.row(1), make.row(2))),
        ("[CLOSED] Ghost", make.reply()),
        ("[DRIFT_FIX] Ticket 1", make.reply(make.row(1, volume=0.02))),
    ],
)
def test_a_change_of_the_book_is_a_warning_and_carries_its_ticket(
    line: str, remote: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="trueup"):
        make.reconciler_on(remote, pm=holding(make.row(1))).sync_positions()
    [record] = [r for r in caplog.records if r.getMessage().startswith(line)]
    assert record.levelname == "WARNING"
    assert vars(record)["ticket"] in (1, 2)


# What it hands out.


def test_a_result_has_what_the_guide_names() -> None:
    result = make.reconciler_on(make.reply(make.row())).sync_positions()
    assert set(vars(result)) >= {
        "status",
        "recovered",
        "closed",
        "drifts",
        "errors",
        "timestamp",
        "sync_time_ms",
    }
    assert result.timestamp == dt.datetime.fromtimestamp(make.NOW_NS / 1e9, dt.UTC)
    assert result.errors == []
    assert result.sync_time_ms >= 0


def test_statuses_are_the_guides() -> None:
    assert [status.value for status in SyncStatus] == ["SUCCESS", "PARTIAL", "FAILED", "DEGRADED"]


def test_a_remote_position_has_the_fields_of_a_row() -> None:
    assert set(make.row()) <= set(vars(RemotePosition(**make.row())))


def test_the_journals_refusal_is_failed_and_the_book_is_as_it_was() -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    journal.refuse = JournalError("disk full")
    reconciler = make.reconciler_on(make.reply(make.row()), pm=pm)
    result = reconciler.sync_positions()
    assert counts(result) == ("FAILED", 0, 0, 0)
    assert result.errors == ["disk full"]
    assert pm.position is None
    assert reconciler.get_audit_trail() == []
    journal.refuse = None
    assert counts(reconciler.sync_positions()) == ("SUCCESS", 1, 0, 0)


def test_status_before_the_first_sync() -> None:
    reconciler = make.reconciler_on(make.reply())
    assert set(reconciler.get_status()) >= {
        "sync_count",
        "last_sync_time",
        "next_sync_due",
        "audit_trail_entries",
        "portfolio_position",
    }
    assert reconciler.get_status()["sync_count"] == 0
    assert reconciler.get_status()["last_sync_time"] is None
    assert reconciler.get_status()["audit_trail_entries"] == 0
    assert reconciler.get_status()["portfolio_position"] == "FLAT"


def test_status_after_a_sync() -> None:
    reconciler = make.reconciler_on(make.reply(make.row()))
    make.clock_of(reconciler.portfolio).advance(100)
    reconciler.sync_positions()
    status = reconciler.get_status()
    now_sec = make.NOW_NS / 1e9 + 100
    assert status["sync_count"] == 1
    assert status["last_sync_time"] == now_sec
    assert status["next_sync_due"] == now_sec + 15
    assert status["audit_trail_entries"] == 1
    assert status["portfolio_position"] == "OPEN"


def test_the_sync_count_counts_readings_that_were_believed() -> None:
    reconciler = make.reconciler_on(None, make.reply("bad"), make.reply())
    seen = []
    for _ in range(3):
        reconciler.sync_positions()
        seen.append(reconciler.get_status()["sync_count"])
    assert seen == [0, 1, 2]


# Drift, asked for and not acted on.


@pytest.mark.parametrize(
    ("remote", "words"),
    [
        (make.reply(make.row(1)), None),
        (make.reply(make.row(1), make.row(2)), "Ticket 2"),
        (make.reply(), "Ticket 1"),
        (make.reply(make.row(1, volume=0.02)), "volume 0.01L → 0.02L"),
        (make.reply(make.row(1, price_open=1.0544)), "price 1.0543 → 1.0544"),
        (make.reply(make.row(1, type="sell")), "side LONG → SHORT"),
        (make.reply(make.row(1), "bad"), "Row 2"),
        (None, "Gateway offline"),
        (OSError("cable"), "cable"),
    ],
)
def test_detect_drift_says_what_differs_and_changes_nothing(
    remote: object, words: str | None
) -> None:
    reconciler = make.reconciler_on(remote, pm=holding(make.row(1)))
    book, status = reconciler.portfolio.book.state(), reconciler.get_status()
    position = reconciler.portfolio.position
    drift = reconciler.detect_drift()
    if words is None:
        assert drift is None
    else:
        assert drift is not None
        assert words in drift
    assert reconciler.portfolio.book.state() == book
    assert reconciler.portfolio.position == position
    assert reconciler.get_status() == status
    assert reconciler.get_audit_trail() == []


def test_detect_drift_sees_an_order_that_can_be_settled_and_leaves_it_in_doubt() -> None:
    pm = make.portfolio()
    order = doubtful(pm)
    reconciler = make.reconciler_on(make.reply(make.row(7)), pm=pm)
    before = pm.book.state()
    assert order.order_id in (reconciler.detect_drift() or "")
    assert pm.book.state() == before


def test_quotations_are_taken_by_a_sync() -> None:
    pm = holding(make.row())
    make.reconciler_on(
        make.reply(make.row(profit=12.5, price_current=1.06)), pm=pm
    ).sync_positions()
    assert pm.position is not None
    assert (pm.position.unrealized_pnl, pm.position.current_price) == (12.5, 1.06)


# What it takes.


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, math.inf, True, "15", "soon"])
def test_an_interval_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="sync_interval_sec="):
        StateReconciler(make.portfolio(), make.gateway_saying(None), sync_interval_sec=bad)


def test_a_gateway_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="get_positions"):
        StateReconciler(make.portfolio(), object())


def test_a_mock_made_from_the_class_is_called_as_it_is() -> None:
    gateway = Mock(spec=ExecutionGateway)
    gateway.get_positions.return_value = make.reply(make.row())
    assert StateReconciler(make.portfolio(), gateway).sync_positions().recovered == 1


def test_a_keyboard_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        make.reconciler_on(KeyboardInterrupt()).sync_positions()


# The audit trail.


def test_audit_entries_have_the_guides_keys_and_actions() -> None:
    pm = holding(make.row(1), make.row(2))
    reading = make.reply(make.row(2, volume=0.02), make.row(3))
    reconciler = make.reconciler_on(reading, pm=pm)
    make.clock_of(pm).advance(5)
    reconciler.sync_positions()
    entries = {entry["action"]: entry for entry in reconciler.get_audit_trail()}
    assert {action: entry["ticket"] for action, entry in entries.items()} == {
        "RECOVERY": 3,
        "CLOSED": 1,
        "DRIFT_FIX": 2,
    }
    for entry in entries.values():
        assert set(entry) >= ENTRY_KEYS
        assert entry["timestamp"] == dt.datetime.fromtimestamp(make.NOW_NS / 1e9 + 5, dt.UTC)
        assert entry["details"]
        assert entry["before"] != entry["after"]
    assert "LONG 0.01L" in entries["RECOVERY"]["after"]
    assert "LONG 0.01L" in entries["CLOSED"]["before"]
    assert "0.01L" in entries["DRIFT_FIX"]["before"]
    assert "0.02L" in entries["DRIFT_FIX"]["after"]


def test_a_ghost_without_deals_is_marked_unproven() -> None:
    reconciler = make.reconciler_on(make.reply(), pm=holding(make.row()))
    reconciler.sync_positions()
    [entry] = reconciler.get_audit_trail()
    assert "unproven" in entry["details"]


def test_the_audit_trail_keeps_the_last_thousand() -> None:
    pm = holding(make.row())
    replies = [make.reply(make.row(volume=n / 100)) for n in range(2, 1302)]
    reconciler = make.reconciler_on(*replies, pm=pm)
    for _ in replies:
        reconciler.sync_positions()
    trail = reconciler.get_audit_trail()
    assert len(trail) == 1000
    assert reconciler.get_status()["audit_trail_entries"] == 1000
    assert "13.01L" in trail[-1]["after"]
    assert "3.02L" in trail[0]["after"]


def test_one_sync_of_more_than_a_thousand_keeps_the_last_thousand() -> None:
    reconciler = make.reconciler_on(make.reply(*map(make.row, range(1, 2502))))
    assert reconciler.startup_recovery().recovered == 2501
    trail = reconciler.get_audit_trail()
    assert [entry["ticket"] for entry in trail] == list(range(1502, 2502))


def test_the_trail_that_is_handed_out_is_a_copy() -> None:
    reconciler = make.reconciler_on(make.reply(make.row()))
    reconciler.sync_positions()
    reconciler.get_audit_trail()[0]["details"] = "FORGED"
    reconciler.get_audit_trail().clear()
    [entry] = reconciler.get_audit_trail()
    assert entry["details"] != "FORGED"


@given(st.lists(make.broker_lists(), max_size=5))
def test_every_change_of_the_book_by_a_sync_has_an_entry(readings: list[list[Position]]) -> None:
    pm = make.portfolio()
    held = make.wanted([])
    expected = 0
    for reading in readings:
        there = make.wanted(reading)
        expected += sum(held.get(k) != there.get(k) for k in held.keys() | there.keys())
        held = there
    if not readings:
        return
    reconciler = make.reconciler_on(*(make.reply(*map(as_row, r)) for r in readings), pm=pm)
    for _ in readings:
        reconciler.sync_positions()
    assert len(reconciler.get_audit_trail()) == expected


def test_what_is_forced_by_hand_is_in_the_audit_trail_too() -> None:
    """The guide: all state changes."""
    reconciler = make.reconciler_on(make.reply())
    pm = reconciler.portfolio
    assert pm.force_add_position(make.row(1))
    assert pm.force_update_position(1, {"volume": 0.05})
    assert pm.force_close_position(1)
    actions = [entry["action"] for entry in reconciler.get_audit_trail()]
    assert actions == ["RECOVERY", "DRIFT_FIX", "CLOSED"]


# Small words.


def test_counts_and_seconds_in_words() -> None:
    assert [_counted(count, "position") for count in (0, 1, 2)] == [
        *("0 positions", "1 position", "2 positions"),
    ]
    second = 1_000_000_000
    assert [_seconds(ns) for ns in (second - 1, second, 2 * second)] == [
        *("less than 1 s", "1 s", "2 s"),
    ]
    assert [_sentence(words) for words in ("a pause.", "A pause", "")] == [
        *("A pause.", "A pause.", "."),
    ]


def test_an_interval_prints_as_it_was_given() -> None:
    given = [_interval(value) for value in (15, 0, 0.5, 15.0)]
    assert list(map(repr, given)) == ["15", "0", "0.5", "15.0"]
    for wrong in (-1, "soon", float("nan")):
        with pytest.raises(ValueError, match="give a number of seconds, 0 or above") as refused:
            _interval(wrong)
        assert str(refused.value).startswith(f"sync_interval_sec={wrong!r} is not valid")
