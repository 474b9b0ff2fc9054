"""A simulated account with a bot that is not ours, other hands, and a watch beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from trueup.core.book.events import Event
from trueup.doors.shadow.gateway import WatchingGateway
from trueup.doors.shadow.watch import ShadowWatch
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import open_reader
from trueup.observe.shadow.report import Kind, ShadowReport
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.records import Deal
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.testing import SimulatedGateway

BOT, OTHER = 7, 9
OTHER_LOGIN = 5_000_002
EURUSD = "EURUSD"
BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
PIP = 0.0001
NETTING = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)


class CountingGateway(SimulatedGateway):
    """A gateway that counts the actions that its clients ask for."""

    def __init__(self, terminal: SimulatedTerminal, clock: ManualClock) -> None:
        self.actions: Counter[str] = Counter()
        super().__init__(terminal, clock)

    def _alone(self, desk: Desk) -> Callable[[bytes], bytes]:
        handle = super()._alone(desk)

        def counted(raw: bytes) -> bytes:
            self.actions[msgspec.json.decode(raw)["action"]] += 1
            return handle(raw)

        return counted


class ShadowWorld:
    """The account, its gateway, and the watch.

    Args:
        folder: where the watch's journal is.
        account: the account.
    """

    def __init__(self, folder: Path, account: AccountSetup | None = None) -> None:
        self.clock = ManualClock()
        self.terminal = SimulatedTerminal(
            account=account or AccountSetup(),
            other_accounts=[AccountSetup(login=OTHER_LOGIN)],
            now_msc=lambda: self.clock.now_ns() // 1_000_000,
        )
        assert self.terminal.initialize()
        self.bid = 1.1
        self.price(0)
        # The terminal has synchronised with its server.
        self.clock.advance(5)
        self.price(0)
        self.gateway = CountingGateway(self.terminal, self.clock)
        self.journal = folder / "shadow.db"
        self.watch: ShadowWatch | None = None

    def price(self, pips: float) -> None:
        """Move the market."""
        self.bid = round(self.bid + pips * PIP, 5)
        self.terminal.quote(EURUSD, self.bid, round(self.bid + PIP, 5))

    def begin(
        self,
        magics: Iterable[int] = (BOT,),
        looks: int = 2,
        *,
        knows_clock: bool = True,
        timeout_ms: int = 20_000,
    ) -> ShadowWatch:
        """Start the watch, for the first time or again, and look twice."""
        client = WatchingGateway(self.gateway.host, self.gateway.port, timeout_ms)
        setup = self.terminal.ledger.setup
        account = f"{setup.login}@{setup.server}"
        server_msc = self.terminal.broker.clock.server_msc() if knows_clock else 0
        self.watch = ShadowWatch(
            client, account, self.journal, self.clock, tuple(magics), server_msc
        )
        self.look(looks)
        return self.watch

    def look(self, times: int = 1) -> None:
        """Let two seconds pass with a fresh price, and look."""
        for _ in range(times):
            self.clock.advance(2)
            with self.gateway.terminal():
                self.price(0)
            assert self.watch is not None
            self.watch.look()

    def end(self) -> None:
        """End the watch as a kill does: nothing is recorded any more."""
        if self.watch is not None:
            self.watch.close()
        self.watch = None

    def report(self) -> ShadowReport:
        """The report of now."""
        assert self.watch is not None
        return self.watch.report()

    def events(self) -> list[Event]:
        """What the watch's journal has."""
        with open_reader(self.journal) as reader:
            return list(reader.read())

    def close(self) -> None:
        """End the watch and the gateway."""
        self.end()
        self.gateway.stop()

    # The truth, by the trade server's own ledger.

    def deals_by_position(self, after: int = 0) -> dict[int, list[Deal]]:
        """The deals of each position, without those up to a ticket."""
        found: dict[int, list[Deal]] = {}
        for deal in self.terminal.ledger.deals.values():
            if deal.position_id and deal.ticket > after:
                found.setdefault(deal.position_id, []).append(deal)
        return found


def is_of_bot(deal: Deal) -> bool:
    """Whether the bot itself made a deal, by the ledger's own numbers."""
    return deal.reason == mt5.DEAL_REASON_EXPERT and deal.magic == BOT


def tickets(report: ShadowReport, kind: Kind) -> list[int]:
    """The tickets of the findings of a kind, in the order of their times."""
    return [one.ticket for one in report.of(kind)]
