"""aiomql as its README shows: `Config`, `MetaTrader`, `Order.send`, `Positions`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiomql import (
    Account,
    Config,
    ForexSymbol,
    History,
    MetaTrader,
    Order,
    OrderFilling,
    OrderType,
    Positions,
    TimeFrame,
    TradeAction,
)
from aiomql.core.exceptions import OrderError

SYMBOL = os.environ["PEERS_SYMBOL"]


class Peer:
    """The package, connected."""

    def __init__(self, mt5: Any, symbol: Any) -> None:
        self.mt5, self.symbol = mt5, symbol
        self.positions = Positions()

    async def open_one(self, wish: int = 0) -> tuple[str, Any]:
        """Buy 0.1 lots."""
        tick = await self.symbol.info_tick()
        if tick is None:
            return "failed", "no price"
        order = Order(
            symbol=SYMBOL,
            type=OrderType.BUY,
            volume=0.1,
            price=tick.ask,
            deviation=20,
            magic=7,
            comment="bot",
            type_filling=OrderFilling.IOC,
        )
        try:
            result = await order.send()
        except OrderError as error:
            return "failed", error
        is_done = result.retcode == 10009
        return "done" if is_done else "failed", f"{result.retcode} {result.comment}"

    async def shown(self) -> int:
        """Return how many positions the package shows."""
        return len(await self.positions.get_positions())

    def tour(self) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
        """Yield each kind of call."""
        mt5, symbol = self.mt5, self.symbol
        yield "version", mt5.version
        yield "terminal", lambda: _names(mt5.terminal_info())
        yield "account", self._account
        yield "symbols", lambda: _length(mt5.symbols_get())
        yield "symbol", lambda: _names(mt5.symbol_info(SYMBOL))
        yield "tick", lambda: _names(mt5.symbol_info_tick(SYMBOL))
        yield (
            "rates",
            lambda: _length(symbol.copy_rates_from_pos(timeframe=TimeFrame.M1, count=100)),
        )
        yield "ticks", self._ticks
        yield "book", self._book
        yield "check", self._check
        yield "margin", lambda: mt5.order_calc_margin(OrderType.BUY, SYMBOL, 0.1, 1.1)
        yield "profit", lambda: mt5.order_calc_profit(OrderType.BUY, SYMBOL, 0.1, 1.1, 1.2)
        yield "open", self.open_one
        yield "shown", self.shown
        yield "total", self.positions.get_total_positions
        yield "modify", self._modify
        yield "place pending", self._place
        yield "pending", lambda: _length(Order.get_pending_orders(symbol=SYMBOL))
        yield "change pending", self._change
        yield "cancel pending", self._cancel
        yield "pending left", lambda: _length(Order.get_pending_orders(symbol=SYMBOL))
        yield "close", self._close
        yield "shown at last", self.shown
        yield "history", self._history

    async def _account(self) -> Any:
        account = Account()
        await account.refresh()
        return account.login, account.server, account.currency, account.leverage

    async def _ticks(self) -> Any:
        ticks = await self.symbol.copy_ticks_from(
            date_from=datetime.now(UTC) - timedelta(minutes=5), count=10
        )
        return len(ticks), list(ticks.data.columns)

    async def _book(self) -> Any:
        added = await self.mt5.market_book_add(SYMBOL)
        rows = await self.mt5.market_book_get(SYMBOL)
        return added, len(rows), await self.mt5.market_book_release(SYMBOL)

    async def _check(self) -> Any:
        tick = await self.symbol.info_tick()
        order = Order(symbol=SYMBOL, type=OrderType.BUY, volume=0.1, price=tick.ask)
        check = await order.check()
        return check.retcode, check.comment, check.request.symbol

    async def _modify(self) -> Any:
        (position,) = await self.positions.get_positions(symbol=SYMBOL)
        request = {
            "action": TradeAction.SLTP,
            "symbol": SYMBOL,
            "position": position.ticket,
            "sl": 1.0,
            "tp": 1.3,
        }
        result = await Order.send_order(request=request)
        (position,) = await self.positions.get_positions(ticket=position.ticket)
        return result.retcode, position.sl, position.tp, position.comment, position.magic

    async def _place(self) -> Any:
        order = Order(
            symbol=SYMBOL,
            action=TradeAction.PENDING,
            type=OrderType.BUY_LIMIT,
            volume=0.1,
            price=1.01,
            magic=7,
            type_filling=OrderFilling.RETURN,
        )
        return (await order.send()).retcode

    async def _change(self) -> Any:
        (order,) = await Order.get_pending_orders(symbol=SYMBOL)
        request = {"action": TradeAction.MODIFY, "order": order.ticket, "price": 1.02}
        result = await Order.send_order(request=request)
        found = await Order.get_pending_order(ticket=order.ticket)
        return result.retcode, found.price_open

    async def _cancel(self) -> Any:
        (order,) = await Order.get_pending_orders(symbol=SYMBOL)
        return (await Order.cancel_order(order=order.ticket, symbol=SYMBOL)).retcode

    async def _close(self) -> Any:
        (position,) = await self.positions.get_positions(symbol=SYMBOL)
        is_closed, result = await self.positions.close_position(position=position)
        return is_closed, result.retcode

    async def _history(self) -> Any:
        now = datetime.now(UTC)
        history = History(date_from=now - timedelta(days=1), date_to=now + timedelta(days=1))
        await history.initialize()
        # The first deal is the deposit.
        return len(history.deals), len(history.orders)


async def _length(call: Awaitable[Any]) -> int:
    return len(await call)


async def _names(call: Awaitable[Any]) -> list[str]:
    return sorted((await call)._asdict())


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    """Connect as the README does."""
    Config(
        login=int(os.environ["PEERS_LOGIN"]),
        password=os.environ["PEERS_PASSWORD"],
        server=os.environ["PEERS_SERVER"],
    )
    async with MetaTrader() as mt5:
        symbol = ForexSymbol(name=SYMBOL)
        await symbol.initialize()
        yield Peer(mt5, symbol)
