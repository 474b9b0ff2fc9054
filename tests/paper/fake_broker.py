"""A trading loop and everything around it, with time, prices and broker in the test's hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.core.account.trust import Unknown
from trueup.journal import Journal
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices


class Broker:
    """A gateway object that fills what it is sent, keeps positions, and can be cut off."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.offline = False
        self.refusal = ""
        self.tick: Tick | Unknown | None = Tick("EURUSD", 1.1, 1.1001, 1)

    def get_positions(self) -> dict[str, Any]:
        if self.offline:
            raise TimeoutError
        return {"status": "SUCCESS", "positions": list(self.rows.values()), "error": None}

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self.sent.append(dict(order))
        ticket = 100 + len(self.sent)
        if self.refusal:
            return {"order_id": order["order_id"], "status": "REJECTED", "error": self.refusal}
        if order["position"]:
            del self.rows[order["position"]]
        else:
            side = order["action"].lower()
            self.hold(ticket, side, order["volume"], order["price"])
        return {
            "order_id": order["order_id"],
            "status": "FILLED",
            "ticket": ticket,
            "filled_price": order["price"],
            "filled_volume": order["volume"],
            "error": None,
        }

    def hold(self, ticket: int, side: str, volume: float, price: float = 1.1) -> None:
        self.rows[ticket] = {
            "ticket": ticket,
            "symbol": "EURUSD",
            "type": side,
            "volume": volume,
            "price_open": price,
        }

    def get_tick(self, symbol: str, wait_ms: int | None = None) -> Tick | Unknown | None:
        return self.tick


class Says:
    """A strategy that gives the signals of a list, then holds."""

    def __init__(self, *signals: int) -> None:
        self.signals = list(signals)
        self.seen: list[Tick] = []

    def on_tick(self, tick: Tick) -> int:
        self.seen.append(tick)
        return self.signals.pop(0) if self.signals else 0


class World:
    """A loop and everything around it; `step` gives it a new price and takes one turn."""

    def __init__(
        self, *signals: int, interval_sec: float = 5.0, journal: Journal | None = None
    ) -> None:
        self.clock = ManualClock()
        self.broker = Broker()
        self.pm = PortfolioManager(clock=self.clock, journal=journal)
        self.reconciler = StateReconciler(self.pm, self.broker, interval_sec)
        self.strategy = Says(*signals)
        prices = GatewayPrices(self.broker, "EURUSD")
        self.loop = TradingLoop(self.pm, self.reconciler, self.strategy, {"EURUSD": prices})
        self.moment = 0

    def step(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.moment += 1
            self.broker.tick = Tick("EURUSD", 1.1, 1.1001, self.moment)
            self.loop.turn()
            self.clock.advance(0.25)


def started(*signals: int) -> World:
    world = World(*signals)
    world.loop.last_result = world.reconciler.startup_recovery()
    return world
