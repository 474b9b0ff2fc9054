"""`mt5.trueup`: the account behind the functions, with its status, plan and holds."""

from __future__ import annotations

from pathlib import Path

from tests.support.door_world import BUY, DoorWorld, deal
from trueup.sim.terminal.terminal_faults import TimedOut


def test_the_account_says_what_agrees_what_waits_and_what_would_change(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.order_send(deal())
    account = world.door.account
    assert account.sync().holds == ()
    assert (account.health[:18], account.status["portfolio_position"]) == (
        "Everything agrees ",
        "OPEN",
    )
    world.person.open("EURUSD", BUY, 0.3)
    world.wait(5)
    # The position of another magic number is foreign: nothing to do.
    assert (account.plan().events, account.plan().foreign) == ((), 1)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=90_000))
    assert world.door.order_send(deal(volume=0.2)) is None
    account.sync()
    (hold,) = account.holds
    assert "in doubt" in hold.reason
