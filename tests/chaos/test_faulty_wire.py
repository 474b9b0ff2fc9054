"""Real processes and a wire that fails: the bot ends up agreeing with the broker's own ledger.

A bot and a gateway with its simulated terminal are processes; a proxy of ours between them fails in
the middle of an order, on this side of the broker or on the other. Whatever befalls the wire, no
order is executed twice, none is lost, and the journal folds into the live book.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.support.chaos_world import REPORT, SETTLE, WAIT, arrives, chaotic, opens
from tests.support.faulty_proxy import NetFault, When

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the bot's process is POSIX's")


@pytest.mark.parametrize("when", When)
def test_an_order_that_a_fault_strikes_is_executed_once_or_not_at_all(
    when: When, tmp_path: Path
) -> None:
    steps = [SETTLE]
    for fault in NetFault:
        steps += [WAIT, opens(fault.name), WAIT, SETTLE]
    steps += [opens("after", "sell"), REPORT]
    with chaotic(tmp_path, steps) as chaos:
        for number, fault in enumerate(NetFault, start=1):
            said = chaos.order(when, fault)
            assert said == ("FILLED" if fault is NetFault.DRIP else "IN_DOUBT"), fault
            assert chaos.proxy.struck >= number
        orders = chaos.end()["orders"]
    expected = {f.name: "FILLED" if arrives(when, f) else "CANCELED" for f in NetFault}
    assert {key: row[0] for key, row in orders.items()} == {**expected, "after": "FILLED"}


def live_through(chance: random.Random, folder: Path, orders: int) -> None:
    """Let faults strike order after order."""
    steps = [SETTLE]
    for number in range(orders):
        one = opens(f"k{number}", chance.choice(["buy", "sell"]), chance.randint(1, 5) / 100)
        steps += [WAIT, one, WAIT, SETTLE]
    with chaotic(folder, [*steps, REPORT]) as chaos:
        for _ in range(orders):
            chaos.order(chance.choice(list(When)), chance.choice(list(NetFault)))
            if chance.random() < 0.3:
                # While it settles, too: what it looks at breaks off.
                chaos.proxy.strike(chance.choice([NetFault.CUT, NetFault.RESET, NetFault.DRIP]))
        chaos.proxy.heal()
        report = chaos.end()
        assert len(report["orders"]) == orders
        assert chaos.proxy.struck >= orders


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_orders_over_a_wire_that_fails_again_and_again(seed: int, tmp_path: Path) -> None:
    live_through(random.Random(seed), tmp_path, 30)


def test_a_bot_that_is_shut_out_waits_and_agrees_when_it_is_let_in(tmp_path: Path) -> None:
    steps = [SETTLE, opens("first"), WAIT, {"do": "sync"}, WAIT, SETTLE, REPORT]
    with chaotic(tmp_path, steps) as chaos:
        assert chaos.bot.hear("status") == "FILLED"
        assert chaos.bot.hear("waiting")
        chaos.proxy.shut()
        chaos.terminal.person("open", side="sell", volume=0.05)
        chaos.bot.tell()
        status, recovered, closed = chaos.bot.hear("synced")
        assert (status, recovered, closed) == ("DEGRADED", 0, 0)
        assert chaos.bot.hear("waiting")
        chaos.proxy.heal()
        chaos.bot.tell()
        report = chaos.end()
    assert len(report["positions"]) == 2
