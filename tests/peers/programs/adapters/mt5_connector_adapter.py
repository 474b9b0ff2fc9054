"""mt5-connector as its README shows: a NautilusTrader node with one strategy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from mt5connect.config import MT5Config
from mt5connect.factories import (
    MT5LiveDataClientFactory,
    MT5LiveExecClientFactory,
    build_mt5_node_config,
)
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy

SYMBOL = os.environ["PEERS_SYMBOL"]
WAIT_SEC = 40.0
# The client polls the terminal four times a second for fills.
FILL_SEC = 3.0


class OneOrderConfig(StrategyConfig, frozen=True):  # type: ignore[misc,call-arg]
    """The instrument of `OneOrder`."""

    instrument_id: str


class OneOrder(Strategy):  # type: ignore[misc]
    """Submits an order when told, and keeps the events of each order."""

    def __init__(self, config: OneOrderConfig) -> None:
        super().__init__(config)
        self.instrument_id = InstrumentId.from_str(config.instrument_id)
        self.started, self.told = asyncio.Event(), asyncio.Event()
        self.events: list[str] = []
        self.quotes = 0

    def on_start(self) -> None:
        """The node runs."""
        self.instrument = self.cache.instrument(self.instrument_id)
        self.subscribe_quote_ticks(self.instrument_id)
        self.started.set()

    def on_quote_tick(self, tick: Any) -> None:
        """A price."""
        self.quotes += 1

    def on_order_event(self, event: Any) -> None:
        """What became of an order."""
        reason = getattr(event, "reason", "")
        self.events.append(f"{type(event).__name__} {reason}".strip())
        self.told.set()

    def market(self, side: Any = OrderSide.BUY) -> Any:
        """Submit a market order of 0.1 lots."""
        order = self.order_factory.market(
            instrument_id=self.instrument_id, order_side=side, quantity=self.lots()
        )
        self.submit_order(order)
        return order

    def limit(self, price: float) -> Any:
        """Submit a limit order of 0.1 lots."""
        order = self.order_factory.limit(
            instrument_id=self.instrument_id,
            order_side=OrderSide.BUY,
            quantity=self.lots(),
            price=Price(price, self.instrument.price_precision),
        )
        self.submit_order(order)
        return order

    def lots(self) -> Any:
        """Return 0.1 lots."""
        return Quantity(Decimal("0.10"), self.instrument.size_precision)


class Peer:
    """The node, running."""

    def __init__(self, strategy: OneOrder) -> None:
        self.strategy = strategy

    async def events_of(self, act: Callable[[], Any], until: tuple[str, ...]) -> list[str]:
        """Act, and return the events until one of a kind, with the fill that may follow."""
        strategy = self.strategy
        strategy.events.clear()
        act()
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT_SEC
        while loop.time() < end:
            strategy.told.clear()
            if any(event.startswith(until) for event in strategy.events):
                break
            try:
                await asyncio.wait_for(strategy.told.wait(), 0.5)
            except TimeoutError:
                continue
        return list(strategy.events)

    async def open_one(self, wish: int = 0) -> tuple[str, Any]:
        """Buy 0.1 lots."""
        until = ("OrderAccepted", "OrderRejected", "OrderDenied", "OrderFilled")
        events = await self.events_of(self.strategy.market, until)
        is_taken = any(event.startswith(("OrderAccepted", "OrderFilled")) for event in events)
        if is_taken:
            await asyncio.sleep(FILL_SEC)
        text = "; ".join(self.strategy.events)
        refused = any(event.startswith(("OrderRejected", "OrderDenied")) for event in events)
        return "done" if is_taken else "failed" if refused else "unknown", text

    async def shown(self) -> int:
        """Return how many positions the strategy has, as the node reconciled them."""
        return len(self.strategy.cache.positions_open())

    def tour(self) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
        """Yield each kind of call."""
        yield "instruments", self._instruments
        yield "account", self._account
        yield "open", self.open_one
        yield "shown", self.shown
        yield "quotes", self._quotes
        yield "place pending and cancel", self._pending
        yield "fill reports", self._fills
        yield "close", self._close
        yield "shown at last", self.shown

    async def _instruments(self) -> Any:
        return sorted(str(one.id) for one in self.strategy.cache.instruments())

    async def _account(self) -> Any:
        (account,) = self.strategy.cache.accounts()
        return str(account.id), [str(one) for one in account.currencies()]

    async def _quotes(self) -> Any:
        return self.strategy.quotes > 0

    async def _pending(self) -> Any:
        placed: list[Any] = []
        until = ("OrderAccepted", "OrderRejected", "OrderDenied")
        events = await self.events_of(lambda: placed.append(self.strategy.limit(1.01)), until)
        client = _execution_client()
        before = len(await client.generate_order_status_reports(None))
        self.strategy.cancel_order(placed[0])
        await asyncio.sleep(FILL_SEC)
        after = len(await client.generate_order_status_reports(None))
        return events, before, after

    async def _fills(self) -> Any:
        return len(await _execution_client().generate_fill_reports(None))

    async def _close(self) -> Any:
        until = ("OrderAccepted", "OrderRejected", "OrderDenied", "OrderFilled")
        events = await self.events_of(lambda: self.strategy.market(OrderSide.SELL), until)
        await asyncio.sleep(FILL_SEC)
        return events


def _execution_client() -> Any:
    return _NODES[0].kernel.exec_engine._clients[next(iter(_NODES[0].kernel.exec_engine._clients))]


_NODES: list[Any] = []


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    """Build and run the node as the README does."""
    config = MT5Config(
        account=int(os.environ["PEERS_LOGIN"]),
        password=os.environ["PEERS_PASSWORD"],
        server=os.environ["PEERS_SERVER"],
        symbols=[SYMBOL],
    )
    node_config = build_mt5_node_config(config, logging_config=LoggingConfig(log_level="WARNING"))
    node = TradingNode(config=node_config, loop=asyncio.get_running_loop())
    _NODES.append(node)
    node.add_data_client_factory("MT5", MT5LiveDataClientFactory)
    node.add_exec_client_factory("MT5", MT5LiveExecClientFactory)
    strategy = OneOrder(OneOrderConfig(instrument_id=f"{SYMBOL}.MT5"))
    node.trader.add_strategy(strategy)
    node.build()
    running = asyncio.create_task(node.run_async())
    try:
        await asyncio.wait_for(strategy.started.wait(), 60)
        yield Peer(strategy)
    finally:
        await node.stop_async()
        running.cancel()
