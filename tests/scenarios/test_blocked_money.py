"""What a broker blocks until the day ends lowers the equity, and is no sign of a position."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.support.desk_world import DeskWorld, figures
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.sim.market.symbols import EURUSD, AccountSetup, Charged

COSTLY = dataclasses.replace(EURUSD, commission_per_lot=7.0, commission_charged=Charged.DAILY)
NETS = mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING
ACCOUNTS = {
    "commission": AccountSetup(blocks_commission=True),
    "gains": AccountSetup(blocks_gains=True, margin_mode=NETS),
    "both": AccountSetup(blocks_commission=True, blocks_gains=True, margin_mode=NETS),
}


@pytest.fixture(params=ACCOUNTS)
def flat(request: pytest.FixtureRequest) -> DeskWorld:
    """A bot that gained something today, and holds nothing any more."""
    world = DeskWorld(ACCOUNTS[request.param], specs=(COSTLY,), journal=MemoryJournal())
    world.sync()
    ticket = world.trade(1).ticket
    world.sync(20)
    world.quote(1.101)
    world.pm.close(ticket)
    account = world.terminal.account_info()
    assert account is not None
    assert account.equity < account.balance
    assert (account.profit, account.margin) == (0.0, 0.0)
    return world


def test_a_flat_account_is_believed_all_day(flat: DeskWorld) -> None:
    for _ in range(3):
        result = flat.sync(600)
        assert (result.status.value, result.errors) == ("SUCCESS", [])
    assert flat.pm.is_current(1)
    assert flat.pm.check_risk(1)
    assert flat.trade(1).status.value == "FILLED"
    assert figures(flat.sync(20)) == ("SUCCESS", 0, 0, 0)


def test_a_bot_that_starts_on_such_a_day_believes_it(flat: DeskWorld) -> None:
    flat.start_bot()
    assert flat.reconciler.startup_recovery().status.value == "SUCCESS"
    flat.turn(1)
    assert flat.turn(20)[-1].status.value == "SUCCESS"


def test_the_guides_wire_says_that_nothing_is_open(flat: DeskWorld) -> None:
    flat.knows_only_the_guide = True
    flat.start_bot()
    assert flat.sync().status.value == "SUCCESS"
    assert flat.gateway.get_positions()["status"] == "SUCCESS"


def test_the_other_dialect_says_so_too(flat: DeskWorld) -> None:
    reply = json.loads(flat.desk.handle(b'{"action": "SYNC_ALL", "magic_number": 0}'))
    assert reply["status"] == "OK"
    assert reply["positions"] == []


def test_the_other_dialect_calls_no_empty_list_whole_that_the_account_contradicts() -> None:
    world = DeskWorld()
    world.sync()
    world.trade(1)
    world.terminal.broker.switches.position_lag_ms = 0
    rows = world.terminal.positions_get
    world.desk.calls.terminal.positions_get = lambda **_: ()  # type: ignore[method-assign]
    world.desk.calls.terminal.positions_total = lambda: 0  # type: ignore[method-assign]
    reply = json.loads(world.desk.handle(b'{"action": "SYNC_ALL", "magic_number": 0}'))
    assert reply["status"] == "ERROR"
    assert "of margin" in json.dumps(reply)
    assert rows()
