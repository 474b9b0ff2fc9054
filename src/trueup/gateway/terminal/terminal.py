"""The function surface of the official MetaTrader5 module, as a protocol.

Names, arguments and return values are those of the module, so that a gateway can use the module
itself, the simulated terminal, or a wrapper around either (MT5 reference, Python integration).
Every caller must keep two results apart:

* ``None`` (``False`` for `initialize`, `login`, `symbol_select`, and for `symbols_get` with bad
  arguments): the call failed, and `last_error()` says why. The account's content is unknown.
* ``()``: the call succeeded and nothing matched.

`last_error()` describes the latest call of this process; read it immediately after the call.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from trueup.gateway.terminal.terminal_rows import (
    AccountInfo,
    BookInfo,
    OrderCheckResult,
    OrderSendResult,
    Row,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
    TradeRequest,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AccountInfo",
    "BookInfo",
    "Moment",
    "OrderCheckResult",
    "OrderSendResult",
    "Row",
    "SymbolInfo",
    "Terminal",
    "TerminalInfo",
    "Tick",
    "TradeDeal",
    "TradeOrder",
    "TradePosition",
    "TradeRequest",
]

Moment = int | float | datetime
"""Seconds of the server clock, or a datetime; truncated to whole seconds in 32 bits, never 0."""


class Terminal(Protocol):
    """One terminal with one account at a time; every call blocks and has no timeout."""

    def initialize(
        self,
        path: str = ...,
        *,
        login: int = ...,
        password: str = ...,
        server: str = ...,
        timeout: int = ...,
        portable: bool = ...,
    ) -> bool: ...

    def login(
        self, login: int, password: str = ..., server: str = ..., *, timeout: int = ...
    ) -> bool: ...

    def shutdown(self) -> bool | None: ...

    def version(self) -> tuple[int, int, str] | None: ...

    def last_error(self) -> tuple[int, str]: ...

    def terminal_info(self) -> TerminalInfo | None: ...

    def account_info(self) -> AccountInfo | None: ...

    def symbols_total(self) -> int | None: ...

    def symbols_get(self, group: str = ...) -> tuple[SymbolInfo, ...] | bool | None: ...

    def symbol_info(self, symbol: str, /) -> SymbolInfo | None: ...

    def symbol_info_tick(self, symbol: str, /) -> Tick | None: ...

    def symbol_select(self, symbol: str, enable: bool = ..., /) -> bool: ...

    def market_book_add(self, symbol: str, /) -> bool | None: ...

    def market_book_release(self, symbol: str, /) -> bool | None: ...

    def market_book_get(self, symbol: str, /) -> tuple[BookInfo, ...] | None: ...

    def copy_rates_from(
        self, symbol: str, timeframe: int, date_from: Moment, count: int, /
    ) -> NDArray[np.void] | None: ...

    def copy_rates_from_pos(
        self, symbol: str, timeframe: int, start_pos: int, count: int, /
    ) -> NDArray[np.void] | None: ...

    def copy_rates_range(
        self, symbol: str, timeframe: int, date_from: Moment, date_to: Moment, /
    ) -> NDArray[np.void] | None: ...

    def copy_ticks_from(
        self, symbol: str, date_from: Moment, count: int, flags: int, /
    ) -> NDArray[np.void] | None: ...

    def copy_ticks_range(
        self, symbol: str, date_from: Moment, date_to: Moment, flags: int, /
    ) -> NDArray[np.void] | None: ...

    def positions_total(self) -> int | None: ...

    def positions_get(
        self, *, symbol: str = ..., ticket: int = ..., group: str = ...
    ) -> tuple[TradePosition, ...] | None: ...

    def orders_total(self) -> int | None: ...

    def orders_get(
        self, *, symbol: str = ..., ticket: int = ..., group: str = ...
    ) -> tuple[TradeOrder, ...] | None: ...

    def history_orders_total(self, date_from: Moment, date_to: Moment, /) -> int | None: ...

    def history_orders_get(
        self, *dates: Moment, group: str = ..., ticket: int = ..., position: int = ...
    ) -> tuple[TradeOrder, ...] | None: ...

    def history_deals_total(self, date_from: Moment, date_to: Moment, /) -> int | None: ...

    def history_deals_get(
        self, *dates: Moment, group: str = ..., ticket: int = ..., position: int = ...
    ) -> tuple[TradeDeal, ...] | None: ...

    def order_check(self, request: dict[str, Any], /) -> OrderCheckResult | None: ...

    def order_send(self, request: dict[str, Any], /) -> OrderSendResult | None: ...

    def order_calc_margin(
        self, action: int, symbol: str, volume: float, price: float, /
    ) -> float | None: ...

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float, /
    ) -> float | None: ...
