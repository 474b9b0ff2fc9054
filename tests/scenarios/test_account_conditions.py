"""What the broker changes about an account under the same login is known at the next reading."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk_world import HEDGING, NETTING, DeskWorld
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.strategies import strategy_rows
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.sim.market.symbols import AccountSetup

NETS = mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING
HEDGES = mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING


def started(account: AccountSetup) -> tuple[DeskWorld, MemoryJournal]:
    """A bot that has seen its account."""
    journal = MemoryJournal()
    world = DeskWorld(account, journal=journal)
    world.sync()
    return world, journal


def change(world: DeskWorld, **conditions: Any) -> None:
    """Let the broker change the account's conditions; the login stays."""
    world.terminal.broker.change_account(world.ledger.setup.login, **conditions)


def notice(world: DeskWorld, journal: MemoryJournal, how: str) -> None:
    """See the change: at a sync, without being asked to, or when the bot comes back."""
    if how == "turning":
        assert world.turn(20)
        return
    if how == "away":
        world.start_bot(journal=journal)
    world.sync()


HOW = pytest.mark.parametrize("how", ["syncing", "turning", "away"])


@HOW
@pytest.mark.parametrize(
    ("account", "mode", "nets"), [(NETTING, HEDGES, False), (HEDGING, NETS, True)]
)
def test_fills_are_taken_as_the_account_keeps_positions_now(
    account: AccountSetup, mode: int, nets: bool, how: str
) -> None:
    world, journal = started(account)
    world.turn(1)
    change(world, margin_mode=mode)
    notice(world, journal, how)
    assert world.pm.book.nets is nets
    world.pm.submit("buy", 0.2, magic=1)
    world.pm.submit("sell", 0.05, magic=2)
    assert world.book().keys() == world.rows().keys()
    assert [row[3] for row in world.book().values()] == [row[3] for row in world.rows().values()]
    world.sync(20)
    assert (world.book(), world.reconciler.holds) == (world.rows(), ())
    rows = {row.magic: row.net_volume for row in strategy_rows(world.pm.book)}
    assert rows == {1: 0.2, 2: -0.05}


@HOW
def test_the_change_is_told_once_and_a_replay_knows_it(how: str) -> None:
    world, journal = started(NETTING)
    change(world, margin_mode=HEDGES, fifo_close=True)
    notice(world, journal, how)
    world.sync()
    (entry,) = [
        entry for entry in world.reconciler.get_audit_trail() if "changed" in entry["details"]
    ]
    assert entry["details"] == (
        "The broker changed account 5000001@Simulated-Demo: now it keeps positions by hedging, "
        "the oldest position of a symbol has to be closed first"
    )
    bound = [event for event in journal.read() if isinstance(event, events.AccountBound)]
    assert [event.changed for event in bound] == [(), ("margin_mode", "fifo_close")]
    replayed = Book().replay(journal.read())
    assert replayed.state() == world.state()
    assert Book.restore(world.state()).state() == world.state()
    assert replayed.account is not None
    assert (replayed.nets, replayed.account.fifo_close) == (False, True)


def test_a_person_is_told_before_anything_is_corrected() -> None:
    world, _ = started(NETTING)
    change(world, margin_mode=HEDGES)
    assert world.reconciler.detect_drift() == (
        "The broker changed account 5000001@Simulated-Demo: now it keeps positions by hedging"
    )
    assert world.pm.book.nets


def test_what_strategies_hold_is_counted_anew_when_the_mode_changes_back_and_forth() -> None:
    world, _ = started(HEDGING)
    world.pm.submit("buy", 0.2, magic=1)
    world.sync(20)
    for mode in (NETS, HEDGES, NETS):
        change(world, margin_mode=mode)
        world.sync(20)
        rows = {row.magic: row.net_volume for row in strategy_rows(world.pm.book)}
        assert rows == {1: 0.2}
    world.pm.submit("sell", 0.05, magic=2)
    world.sync(20)
    rows = {row.magic: row.net_volume for row in strategy_rows(world.pm.book)}
    assert rows == {1: 0.2, 2: -0.05}


def test_a_journal_of_before_is_no_change_of_the_broker() -> None:
    """Neither the decimals nor the order of closing were noted once."""
    world, _ = started(HEDGING)
    bound = world.pm.book.account
    assert bound is not None
    older = events.AccountBound(1, bound.login, bound.server, bound.currency, bound.margin_mode)
    journal = MemoryJournal()
    journal.append([older])
    world.start_bot(journal=journal)
    world.sync()
    assert list(journal.read()) == [older]
