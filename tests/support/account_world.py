"""An account on a simulated terminal in this process, its portfolios, and a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.desk_world import HEDGING, terminal_at
from tests.support.door_world import START_NS, Called
from trueup.doors.account import Account
from trueup.doors.local_gateway import LocalGateway
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person

PRICES = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 150.0}


class AccountWorld:
    """One simulated terminal, and the programs that trade on its account.

    Args:
        folder: for the journal.
        setup: the account.
        journal: a file or URL instead of `bot.db` in the folder.
    """

    def __init__(
        self,
        folder: Path,
        setup: AccountSetup = HEDGING,
        *,
        journal: str | Path = "",
        others: tuple[AccountSetup, ...] = (),
    ) -> None:
        self.clock = ManualClock(START_NS)
        self.terminal = terminal_at(self.clock, setup, others)
        for symbol, bid in PRICES.items():
            self.quote(symbol, bid)
        self.person = Person(self.terminal.broker, setup.login)
        self.called = Called(self.terminal)
        self.journal = journal or folder / "bot.db"
        self._gateways: list[LocalGateway] = []

    @property
    def gateway(self) -> LocalGateway:
        """A new gateway in this process."""
        gateway = LocalGateway(self.called, clock=self.clock)
        self._gateways.append(gateway)
        return gateway

    def end(self) -> None:
        """Close the gateways of the programs, as their end does."""
        while self._gateways:
            self._gateways.pop().disconnect()

    def account(self, **options: Any) -> Account:
        """Open the account's book."""
        options.setdefault("journal", self.journal)
        return Account(self.gateway, clock=self.clock, claims=False, **options)

    def bot(self, symbol: str, **options: Any) -> tuple[PortfolioManager, StateReconciler]:
        """Start a bot of one symbol, with a stream of its own in the same journal."""
        pm = PortfolioManager(symbol, journal=self.journal, clock=self.clock, **options)
        return pm, StateReconciler(pm, self.gateway, 15)

    def looks(self) -> int:
        """Return how many lists of positions the terminal was asked for since the last call."""
        count = self.called.calls.count("positions_get")
        self.called.calls.clear()
        return count

    def quote(self, symbol: str, bid: float) -> None:
        """Move the market of a symbol."""
        self.terminal.quote(symbol, bid, round(bid * 1.0001, 5))

    def wait(self, seconds: float) -> None:
        """Let time pass at the programs and at the broker."""
        self.clock.advance(seconds)
        self.terminal.settle()

    @property
    def open_lots(self) -> float:
        """The lots of all open positions at the broker."""
        rows = self.terminal.view.position_rows()
        return float(round(sum(row.volume for row in rows), 8))
