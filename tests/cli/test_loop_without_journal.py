"""What the loop makes of a journal that takes nothing."""

from __future__ import annotations

from tests.cli.bot_world import BotWorld
from tests.support.make import RefusingJournal
from trueup.core.policy import Action, Policy
from trueup.errors import JournalError
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices

ASKING = Policy(symbols=frozenset({"EURUSD"}), zombie=Action.ASK)


class BuyAlways:
    """A strategy that wants to buy at every price."""

    def on_tick(self, tick: object) -> int:
        """Buy."""
        return 1


def test_while_the_journal_takes_nothing_no_order_is_sent_and_the_bot_goes_on() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    broker = world.broker
    prices = GatewayPrices(broker.gateway, "EURUSD")
    loop = TradingLoop(broker.pm, broker.reconciler, BuyAlways(), {"EURUSD": prices})
    loop.last_result = broker.sync()
    journal.refuse = JournalError("the disk is full")
    loop.turn()
    assert (broker.rows(), broker.pm.journal_trouble) == ({}, "the disk is full")
    journal.refuse = None
    broker.quote(1.2)
    loop.turn()
    assert len(broker.rows()) == 1
    assert broker.pm.journal_trouble == ""
