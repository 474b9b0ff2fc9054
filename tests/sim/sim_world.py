"""A simulated terminal with a clock that the test moves, and requests in short."""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.structs import OrderSendResult, TradePosition
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup, SymbolSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

# 2023-11-14 22:13:20 UTC: at the server (UTC+2) a quarter past midnight on Wednesday.
START_MSC = 1_700_000_000_000
HEDGING = AccountSetup()
NETTING = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)
FOREVER = 2_000_000_000


class Clock:
    """True UTC, in milliseconds; stands still unless told."""

    def __init__(self) -> None:
        self.now_msc = START_MSC

    def __call__(self) -> int:
        return self.now_msc

    def advance(self, milliseconds: int) -> None:
        self.now_msc += milliseconds


class World:
    """A terminal, initialised, with its clock."""

    def __init__(
        self,
        account: AccountSetup = HEDGING,
        *,
        symbols: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        others: tuple[AccountSetup, ...] = (),
        **switches: Any,
    ) -> None:
        self.clock = Clock()
        self.terminal = SimulatedTerminal(
            account=account,
            other_accounts=others,
            symbols=symbols,
            now_msc=self.clock,
            switches=Switches(**switches),
        )
        assert self.terminal.initialize()

    def send(self, **fields: Any) -> OrderSendResult:
        """Send a request that gets an answer."""
        result = self.terminal.order_send(fields)
        assert result is not None, self.terminal.last_error()
        return result

    def deal(
        self, side: int, volume: float, symbol: str = "EURUSD", **fields: Any
    ) -> OrderSendResult:
        """Trade at the market with IOC filling."""
        order: dict[str, Any] = {
            "action": mt5.TRADE_ACTION_DEAL,
            "symbol": symbol,
            "volume": volume,
            "type": side,
            "type_filling": mt5.ORDER_FILLING_IOC,
        }
        return self.send(**(order | fields))

    def buy(self, volume: float, symbol: str = "EURUSD", **fields: Any) -> OrderSendResult:
        return self.deal(mt5.ORDER_TYPE_BUY, volume, symbol, **fields)

    def sell(self, volume: float, symbol: str = "EURUSD", **fields: Any) -> OrderSendResult:
        return self.deal(mt5.ORDER_TYPE_SELL, volume, symbol, **fields)

    def pending(
        self, kind: int, price: float, volume: float = 0.1, **fields: Any
    ) -> OrderSendResult:
        order: dict[str, Any] = {
            "action": mt5.TRADE_ACTION_PENDING,
            "symbol": "EURUSD",
            "volume": volume,
            "type": kind,
            "price": price,
            "type_filling": mt5.ORDER_FILLING_RETURN,
        }
        return self.send(**(order | fields))

    def position(self, **query: Any) -> TradePosition:
        """The one position that the terminal shows."""
        found = self.terminal.positions_get(**query)
        assert found is not None
        assert len(found) == 1, found
        return found[0]

    def positions(self) -> tuple[TradePosition, ...]:
        found = self.terminal.positions_get()
        assert found is not None
        return found
