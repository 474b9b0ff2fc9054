"""A row that cannot be read may be ours: nothing is opened over it, and nothing "agrees"."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.account.health import health, restrictions
from trueup.core.holds import HoldKind
from trueup.core.model import RowFault, Snapshot
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler

BAD = {
    "volume": make.row(7, volume=0.0),
    "side": make.row(7, type="?"),
    "ticket": make.row(None),
    "symbol": make.row(7, symbol=""),
    "no object": 42,
}
FOREIGN = make.row(7, symbol="GBPUSD", volume=0.0)


def faulty(*faults: RowFault) -> Snapshot:
    return Snapshot((), faults)


def reconciled(*rows: object) -> tuple[PortfolioManager, StateReconciler]:
    pm = make.portfolio()
    reconciler = make.reconciler_on(make.reply(*rows), pm=pm)
    assert reconciler.sync_positions().status.value == "PARTIAL"
    return pm, reconciler


@pytest.mark.parametrize("what", BAD)
def test_a_row_that_may_be_ours_bars_entries_and_nothing_agrees(what: str) -> None:
    pm, reconciler = reconciled(make.row(1), BAD[what])
    (hold,) = reconciler.holds
    assert hold.kind is HoldKind.UNREADABLE
    assert hold.id in hold.until
    assert not pm.check_risk(1)
    assert "Row 2" in pm.entries_refused()
    assert "Row 2" in reconciler.health
    assert "1 row could not be read, and the rest agrees" in reconciler.health
    # Closing what is known goes on.
    assert pm.check_risk(-1)
    assert pm.create_order(-1, 1.0543, 0.01) is not None


def test_a_row_of_another_symbol_bars_nothing_and_yet_not_everything_agrees() -> None:
    pm, reconciler = reconciled(FOREIGN)
    assert reconciler.holds == ()
    assert pm.check_risk(1)
    assert reconciler.health.startswith("Partial reading: Row 1: ticket 7 in GBPUSD: volume is 0.0")
    assert "verything agrees" not in reconciler.health


def test_a_row_that_is_listed_twice_bars_entries_too() -> None:
    pm, reconciler = reconciled(make.row(7), make.row(7))
    assert not pm.check_risk(1)
    assert "2 times" in reconciler.health


def test_a_person_approves_exactly_this_row() -> None:
    pm, reconciler = reconciled(BAD["volume"])
    assert not reconciler.approve("row-00000000")
    assert reconciler.approve(reconciler.holds[0].id, "Mary")
    assert not pm.check_risk(1)
    for _ in range(3):
        assert reconciler.sync_positions().status.value == "PARTIAL"
        assert pm.check_risk(1)
        (hold,) = reconciler.holds
        assert (hold.kind, "Mary approved this row" in hold.reason) == (HoldKind.ALERT, True)
        assert "verything agrees" not in reconciler.health


def test_an_approval_ends_with_the_row() -> None:
    pm = make.portfolio()
    replies = [make.reply(BAD["volume"]), make.reply(BAD["volume"]), make.reply()]
    reconciler = make.reconciler_on(*replies, make.reply(BAD["volume"]), pm=pm)
    reconciler.sync_positions()
    assert reconciler.approve(reconciler.holds[0].id)
    for expected in (True, True, False):
        reconciler.sync_positions()
        assert pm.check_risk(1) is expected


def test_another_row_needs_another_approval() -> None:
    pm = make.portfolio()
    other = make.reply(make.row(7, volume=-1.0))
    reconciler = make.reconciler_on(make.reply(BAD["volume"]), other, pm=pm)
    reconciler.sync_positions()
    assert reconciler.approve(reconciler.holds[0].id)
    reconciler.sync_positions()
    assert not pm.check_risk(1)


def test_a_fault_without_an_id_cannot_be_approved() -> None:
    (hold,) = make.planned(make.book_of(), faulty(RowFault("a list cut short"))).holds
    assert (hold.id, "approve" in hold.until) == ("", False)


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (RowFault("x", symbol="EURUSD", id="row-1"), [HoldKind.UNREADABLE]),
        (RowFault("x", id="row-1"), [HoldKind.UNREADABLE]),
        (RowFault("x", symbol="GBPUSD", id="row-1"), []),
        (RowFault("x", symbol="EURUSD", id="row-2"), [HoldKind.ALERT]),
    ],
)
def test_which_rows_are_held(fault: RowFault, kinds: list[HoldKind]) -> None:
    plan = make.planned(make.book_of(), faulty(fault), approved={"row-2": "Mary"})
    assert [hold.kind for hold in plan.holds] == kinds


def test_a_row_of_an_unreadable_symbol_restricts_every_symbol() -> None:
    (hold,) = make.planned(make.book_of(), faulty(RowFault("x", id="row-1"))).holds
    (restriction,) = restrictions(None, (hold,), (), 0)
    assert (restriction.symbol, hold.scope) == ("", "Account")


def test_health_never_says_that_everything_agrees_over_a_fault() -> None:
    faults = (RowFault("Row 1: x"), RowFault("Row 2: y"))
    said: dict[str, Any] = {"checked_ns": 0, "now_ns": 0}
    assert health(None, (), **said, faults=faults) == (
        "Partial reading: Row 1: x; 2 rows could not be read, and the rest agrees (checked 0 s "
        "ago)."
    )
    assert health(None, (), **said) == "Everything agrees (checked 0 s ago)."
