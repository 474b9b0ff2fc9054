"""What a broker has: positions, pending orders, deals, account, terminal, and a snapshot of them.

The words are MetaTrader 5's (MQL5 reference, "Position Properties", "Order Properties", "Deal
Properties"). Volumes are lots, prices are prices of the symbol, money is the account's currency,
`*_msc` are milliseconds of the trade server's clock since 1970. Everything here is frozen.
"""

from __future__ import annotations

import enum

import msgspec

from trueup.core.quantity import format_lots, format_price


class Side(enum.Enum):
    """The side of a position or an order, spelled as on the guide's wire."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def word(self) -> str:
        """LONG or SHORT, as the guide's log lines say it."""
        return "LONG" if self is Side.BUY else "SHORT"

    @property
    def action(self) -> str:
        """BUY or SELL, as an order on the guide's wire says it."""
        return "BUY" if self is Side.BUY else "SELL"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class MarginMode(enum.Enum):
    """How the account keeps positions (MQL5 reference, ENUM_ACCOUNT_MARGIN_MODE)."""

    NETTING = "netting"
    EXCHANGE = "exchange"
    HEDGING = "hedging"


class Position(msgspec.Struct, frozen=True, gc=False, rename={"side": "type"}):
    """One open position as the broker has it.

    `identifier` is POSITION_IDENTIFIER, which never changes; `ticket` may. On a wire without
    identifiers the ticket is the identifier. `sl` and `tp` are 0.0 when there is none. `profit`
    leaves out `swap` and commission.
    """

    ticket: int
    symbol: str
    side: Side
    volume: float
    price_open: float
    profit: float = 0.0
    time: int = 0
    identifier: int = 0
    sl: float = 0.0
    tp: float = 0.0
    magic: int = 0
    comment: str = ""
    price_current: float = 0.0
    swap: float = 0.0
    time_msc: int = 0
    reason: int = 0

    @property
    def net_volume(self) -> float:
        """Lots, negative when short."""
        return self.side.sign * self.volume


def describe(position: Position) -> str:
    """Write a position as the guide does: LONG 0.01L."""
    return f"{position.side.word} {format_lots(position.volume)}L"


def describe_at(position: Position) -> str:
    """Write a position with its open price: LONG 0.01L @ 1.0543."""
    return f"{describe(position)} @ {format_price(position.price_open)}"


class SymbolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """The broker's own granularity for a symbol: steps in lots, tick in price, stops in points."""

    symbol: str
    digits: int = 5
    volume_min: float = 0.01
    volume_max: float = 100.0
    volume_step: float = 0.01
    tick_size: float = 0.00001
    contract_size: float = 100_000.0
    stops_level: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """One complete reading of the broker.

    `faults` names the rows of the reading that cannot be believed; with any fault the reading is
    partial and proves nothing absent.
    """

    positions: tuple[Position, ...] | list[Position]
    faults: tuple[str, ...] = ()
