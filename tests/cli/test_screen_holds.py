"""What the live view and the loop make of holds, and of a journal that takes nothing."""

from __future__ import annotations

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import BUY
from tests.support.make import RefusingJournal
from trueup.cli.paper.screen import picture
from trueup.core.policy import Action, Policy
from trueup.errors import JournalError
from trueup.observe.live import Level
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices

ASKING = Policy(symbols=frozenset({"EURUSD"}), zombie=Action.ASK)


class BuyAlways:
    """A strategy that wants to buy at every price."""

    def on_tick(self, tick: object) -> int:
        """Buy."""
        return 1


def test_the_foot_names_the_command_that_releases_what_waits() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    (hold,) = world.broker.reconciler.holds
    seen = picture(world.loop, "", "")
    assert seen.level is Level.WAIT
    assert seen.foot.startswith(f"Waits for `trueup approve {hold.id}`. ")
    world.broker.person.open("EURUSD", BUY, 0.06)
    world.broker.sync()
    assert picture(world.loop, "", "").foot.startswith("2 wait for approval: `trueup plan`. ")


def test_while_the_journal_takes_nothing_no_order_is_sent_and_the_bot_goes_on() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    broker = world.broker
    prices = GatewayPrices(broker.gateway, "EURUSD")
    loop = TradingLoop(broker.pm, broker.reconciler, BuyAlways(), prices)
    loop.last_result = broker.sync()
    journal.refuse = JournalError("the disk is full")
    loop.turn()
    assert (broker.rows(), broker.pm.journal_trouble) == ({}, "the disk is full")
    seen = picture(loop, "", "")
    assert seen.level is Level.TROUBLE
    assert seen.health.startswith("No order is sent: the disk is full")

    journal.refuse = None
    broker.quote(1.2)
    loop.turn()
    assert len(broker.rows()) == 1
    assert broker.pm.journal_trouble == ""
