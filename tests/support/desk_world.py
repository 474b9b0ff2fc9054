"""A bot and a simulated terminal in one process, joined by the real client and the real desk.

Everything is the product's own code but the wire: a link that hands bytes to the desk at once.
Time moves only when told, for the bot and for the broker together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trueup.core.policy import Policy
from trueup.gateway.client import ExecutionGateway
from trueup.gateway.desk import Desk
from trueup.runtime.clock import ManualClock
from trueup.runtime.portfolio import PortfolioManager
from trueup.runtime.reconciler import StateReconciler, SyncResult
from trueup.sim.person import Person
from trueup.sim.switches import Switches
from trueup.sim.symbols import DEFAULT_SYMBOLS, AccountSetup
from trueup.sim.terminal import SimulatedTerminal

BUY, SELL = 0, 1
HEDGING = AccountSetup()
NETTING = AccountSetup(margin_mode=0)


class DeskLink:
    """A `Link` to a function in this process; `before` may change or drop what passes."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._reply: bytes | None = None

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Hand a request over."""
        self._reply = self._answer(message)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply."""
        reply, self._reply = self._reply, None
        return reply

    def reset(self) -> None:
        """Forget the reply."""
        self._reply = None

    close = reset


class DeskWorld:
    """One account, its terminal, a gateway's desk, a bot's book and its reconciler."""

    def __init__(
        self,
        account: AccountSetup = HEDGING,
        *,
        policy: Policy | None = None,
        others: tuple[AccountSetup, ...] = (),
        symbol: str = "EURUSD",
        **switches: Any,
    ) -> None:
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.terminal = SimulatedTerminal(
            account=account,
            other_accounts=others,
            symbols=DEFAULT_SYMBOLS,
            now_msc=lambda: self.clock.now_ns() // 1_000_000,
            switches=Switches(**switches),
        )
        assert self.terminal.initialize()
        self.quote(1.10000)
        self.person = Person(self.terminal.broker, account.login)
        self.replies: list[Callable[[bytes], bytes | None]] = []
        self.requests: list[bytes] = []
        self.boots = 0
        self.restart_gateway()
        self.start_bot(symbol, policy)

    def restart_gateway(self) -> None:
        """Start the gateway anew: a new epoch."""
        self.boots += 1
        self.desk = Desk(self.terminal, f"boot{self.boots}", self.clock.now_ns)

    def start_bot(self, symbol: str = "EURUSD", policy: Policy | None = None) -> None:
        """Start a bot with an empty book."""
        self.gateway = ExecutionGateway(
            "127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry)
        )
        self.pm = PortfolioManager(symbol, clock=self.clock)
        self.reconciler = StateReconciler(self.pm, self.gateway, 15, policy=policy)

    def _carry(self, message: bytes) -> bytes | None:
        self.requests.append(message)
        reply = self.desk.handle(message)
        return self.replies.pop(0)(reply) if self.replies else reply

    def quote(self, bid: float, symbol: str = "EURUSD", spread: float = 0.0001) -> None:
        """Move the market; stops and pending orders are served."""
        self.terminal.quote(symbol, bid, round(bid + spread, 5))

    def sync(self, after_sec: float = 2.0) -> SyncResult:
        """Let time pass, then reconcile."""
        self.clock.advance(after_sec)
        self.terminal.settle()
        return self.reconciler.sync_positions()

    def trade(self, signal: int, volume: float = 0.1) -> Any:
        """Let the strategy trade through the gateway; return its order."""
        order = self.pm.create_order(signal, 1.1, volume)
        assert order is not None
        message = {
            "order_id": order.order_id,
            "symbol": order.symbol,
            "action": order.action,
            "volume": order.volume,
            "price": order.entry_price,
            "position": order.position,
            "magic": order.magic,
        }
        self.pm.on_fill({**self.gateway.send_order(message), "order_id": order.order_id})
        return order

    def tickets(self) -> set[int]:
        """Return the tickets in the book."""
        return set(self.pm.get_local_positions())
