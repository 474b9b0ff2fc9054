"""A bot, its control desk and a broker in one process, with time in the test's hand."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.desk_world import HEDGING, DeskWorld
from trueup.core.policy import Policy
from trueup.journal import Journal
from trueup.observe.status.earlier import read_status
from trueup.observe.status.facts import BotFacts
from trueup.observe.status.status import Decision, Held, Status
from trueup.runtime.control.commands.bot_commands import BotCommands
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup, SymbolSetup

FACTS = BotFacts(pid=4711, started="2026-01-05T14:00:00+00:00", gateway="at tcp://127.0.0.1:5555")


class Idle:
    """A strategy that does nothing."""

    def on_tick(self, tick: object) -> int:
        """Hold."""
        return 0


class BotWorld:
    """A `DeskWorld` with a trading loop and a control desk; `tell` gives it a command."""

    def __init__(
        self,
        account: AccountSetup = HEDGING,
        *,
        policy: Policy | None = None,
        others: tuple[AccountSetup, ...] = (),
        specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        journal: Journal | None = None,
    ) -> None:
        self.broker = DeskWorld(account, policy=policy, others=others, specs=specs, journal=journal)
        self.start()

    def start(self) -> None:
        """Start the loop and the control desk of the bot, and let the bot recover."""
        world = self.broker
        self.loop = TradingLoop(
            world.pm,
            world.reconciler,
            Idle(),
            {"EURUSD": GatewayPrices(world.gateway, "EURUSD")},
        )
        _, _, self.second = world.another_bot()
        self.desk = BotCommands(self.loop, self.second, FACTS)
        self.loop.last_result = world.reconciler.startup_recovery()

    def tell(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command once."""
        raw = msgspec.json.encode({"command": command, **fields})
        return msgspec.json.decode(self.desk.handle(raw), type=dict[str, Any])

    def turn(self, turns: int = 1) -> None:
        """Let the loop and the desk take turns."""
        for _ in range(turns):
            self.broker.wait(0.25)
            self.loop.turn()
            self.desk.turn()

    def look(self, command: str, turns: int = 20) -> dict[str, Any]:
        """Give a command that takes a look, and ask again after each turn."""
        answer = self.tell(command)
        for _ in range(turns):
            if "wait" not in answer:
                return answer
            self.turn()
            answer = self.tell(command, look=answer["wait"])
        return answer

    def held(self) -> list[Decision | Held]:
        """The differences that are left alone, those first that wait for a person."""
        status = self.status()
        return [*status.to_decide, *status.held]

    def status(self) -> Status:
        """What the desk says of the bot."""
        return read_status(self.tell("status")["status"])
