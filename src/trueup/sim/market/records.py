"""The server's records: positions, orders, deals, and outcomes of requests.

Records are immutable; a change makes a new record. Volumes are whole volume steps, times are
milliseconds of the server's clock, money is in the account's currency.
"""

from __future__ import annotations

import enum

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5

BUYING_TYPES = frozenset(
    {
        mt5.ORDER_TYPE_BUY,
        mt5.ORDER_TYPE_BUY_LIMIT,
        mt5.ORDER_TYPE_BUY_STOP,
        mt5.ORDER_TYPE_BUY_STOP_LIMIT,
    }
)
PENDING_TYPES = frozenset(range(mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT + 1))
STOP_LIMIT_TYPES = frozenset({mt5.ORDER_TYPE_BUY_STOP_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT})


class Position(msgspec.Struct, frozen=True):
    """An open position. `identifier` never changes; `ticket` can change."""

    identifier: int
    ticket: int
    symbol: str
    type: int
    steps: int
    price_units: int
    """Open price in units of 10^-(digits+3), the precision of the server."""
    price_open: float
    time_msc: int
    time_update_msc: int
    magic: int
    reason: int
    comment: str = ""
    sl: float = 0.0
    tp: float = 0.0
    swap: float = 0.0
    external_id: str = ""

    @property
    def is_buy(self) -> bool:
        """Whether the position is long."""
        return self.type == mt5.POSITION_TYPE_BUY

    @property
    def closing_type(self) -> int:
        """The type of the order, and of the deal, that closes the position."""
        return mt5.ORDER_TYPE_SELL if self.is_buy else mt5.ORDER_TYPE_BUY


class Order(msgspec.Struct, frozen=True):
    """An order, working or in history."""

    ticket: int
    symbol: str
    type: int
    state: int
    steps_initial: int
    steps_current: int
    price_open: float
    time_setup_msc: int
    magic: int
    reason: int
    comment: str = ""
    type_time: int = mt5.ORDER_TIME_GTC
    type_filling: int = mt5.ORDER_FILLING_FOK
    time_expiration: int = 0
    """Server seconds; 0 if `type_time` needs no time."""
    time_done_msc: int = 0
    position_id: int = 0
    position_by_id: int = 0
    closes: int = 0
    """Identifier of the position that the order closes; 0 for an order that opens."""
    sl: float = 0.0
    tp: float = 0.0
    price_stoplimit: float = 0.0
    price_done: float = 0.0
    external_id: str = ""

    @property
    def is_buy(self) -> bool:
        """Whether the order buys, at the market or as a pending order."""
        return self.type in BUYING_TYPES

    @property
    def is_pending(self) -> bool:
        """Whether the order is a pending order."""
        return self.type in PENDING_TYPES


class Deal(msgspec.Struct, frozen=True):
    """An execution, or a balance operation (`type` 2 and above)."""

    ticket: int
    order: int
    time_msc: int
    type: int
    entry: int
    magic: int
    position_id: int
    reason: int
    symbol: str
    steps: int
    price: float
    commission: float
    swap: float
    profit: float
    fee: float
    comment: str = ""
    external_id: str = ""

    @property
    def result(self) -> float:
        """The effect of the deal on the balance."""
        return self.profit + self.swap + self.commission + self.fee


class Outcome(msgspec.Struct, frozen=True):
    """The answer of the server, or of the terminal itself, to a request."""

    retcode: int
    deal: int = 0
    order: int = 0
    steps: int = 0
    price: float = 0.0
    bid: float = 0.0
    ask: float = 0.0
    comment: str = ""
    local: bool = False
    """Refused by the terminal itself: every figure is zero, `request_id` too."""


class Refusal(Exception):
    """A request was not executed; `retcode` is the reason."""

    def __init__(self, retcode: int, comment: str | None = None) -> None:
        self.retcode = retcode
        self.comment: str = RETCODE_TEXTS.get(retcode, "") if comment is None else comment
        super().__init__(f"{retcode} {self.comment}")


class Channel(enum.Enum):
    """The kinds of messages from server to terminal; each kind has its own delay."""

    POSITION = "position"
    ORDER = "order"
    ORDER_HISTORY = "order history"
    DEAL = "deal"
    ACCOUNT = "account"


RETCODE_TEXTS: dict[int, str] = {
    mt5.TRADE_RETCODE_REQUOTE: "Requote",
    mt5.TRADE_RETCODE_REJECT: "Request rejected",
    mt5.TRADE_RETCODE_CANCEL: "Request canceled",
    mt5.TRADE_RETCODE_PLACED: "Order placed",
    mt5.TRADE_RETCODE_DONE: "Request executed",
    mt5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    mt5.TRADE_RETCODE_ERROR: "Request processing error",
    mt5.TRADE_RETCODE_TIMEOUT: "Request timed out",
    mt5.TRADE_RETCODE_INVALID: "Invalid request",
    mt5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    mt5.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    mt5.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    mt5.TRADE_RETCODE_TRADE_DISABLED: "Trade disabled",
    mt5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    mt5.TRADE_RETCODE_NO_MONEY: "No money",
    mt5.TRADE_RETCODE_PRICE_CHANGED: "Price changed",
    mt5.TRADE_RETCODE_PRICE_OFF: "No prices",
    mt5.TRADE_RETCODE_INVALID_EXPIRATION: "Invalid expiration",
    mt5.TRADE_RETCODE_ORDER_CHANGED: "Order changed",
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS: "Too many requests",
    mt5.TRADE_RETCODE_NO_CHANGES: "No changes",
    mt5.TRADE_RETCODE_SERVER_DISABLES_AT: "AutoTrading disabled by server",
    mt5.TRADE_RETCODE_CLIENT_DISABLES_AT: "AutoTrading disabled by client",
    mt5.TRADE_RETCODE_LOCKED: "Request locked",
    mt5.TRADE_RETCODE_FROZEN: "Order or position frozen",
    mt5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
    mt5.TRADE_RETCODE_CONNECTION: "No connection",
    mt5.TRADE_RETCODE_ONLY_REAL: "Only real accounts allowed",
    mt5.TRADE_RETCODE_LIMIT_ORDERS: "Orders limit reached",
    mt5.TRADE_RETCODE_LIMIT_VOLUME: "Volume limit reached",
    mt5.TRADE_RETCODE_INVALID_ORDER: "Invalid or prohibited order type",
    mt5.TRADE_RETCODE_POSITION_CLOSED: "Position doesn't exist",
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Invalid close volume",
    mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST: "Close order already exists",
    mt5.TRADE_RETCODE_LIMIT_POSITIONS: "Positions limit reached",
    mt5.TRADE_RETCODE_REJECT_CANCEL: "Activation rejected, order canceled",
    mt5.TRADE_RETCODE_LONG_ONLY: "Only long positions allowed",
    mt5.TRADE_RETCODE_SHORT_ONLY: "Only short positions allowed",
    mt5.TRADE_RETCODE_CLOSE_ONLY: "Only position closing allowed",
    mt5.TRADE_RETCODE_FIFO_CLOSE: "Only FIFO closing allowed",
    mt5.TRADE_RETCODE_HEDGE_PROHIBITED: "Opposite positions prohibited",
}
"""Server texts differ by broker and build; never parse these texts."""

LOCAL_RETCODES = frozenset(
    {
        mt5.TRADE_RETCODE_INVALID,
        mt5.TRADE_RETCODE_INVALID_VOLUME,
        mt5.TRADE_RETCODE_INVALID_PRICE,
        mt5.TRADE_RETCODE_INVALID_STOPS,
        mt5.TRADE_RETCODE_TRADE_DISABLED,
        mt5.TRADE_RETCODE_PRICE_OFF,
        mt5.TRADE_RETCODE_INVALID_EXPIRATION,
        mt5.TRADE_RETCODE_SERVER_DISABLES_AT,
        mt5.TRADE_RETCODE_CLIENT_DISABLES_AT,
        mt5.TRADE_RETCODE_INVALID_FILL,
        mt5.TRADE_RETCODE_CONNECTION,
        mt5.TRADE_RETCODE_INVALID_ORDER,
        mt5.TRADE_RETCODE_LONG_ONLY,
        mt5.TRADE_RETCODE_SHORT_ONLY,
        mt5.TRADE_RETCODE_CLOSE_ONLY,
    }
)
"""Refused by the terminal before anything is sent: the result is all zeros, `request_id` too."""
