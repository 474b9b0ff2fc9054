"""Types for the state of a broker: positions, orders, deals, account, terminal, and a snapshot.

The words are MetaTrader 5's (MQL5 reference, "Position Properties", "Order Properties", "Deal
Properties"). Volumes are lots, prices are prices of the symbol, money is the account's currency,
`*_msc` are milliseconds of the trade server's clock since 1970. Everything here is frozen.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from trueup.core.gateway_record import RecordMark, RequestStatus, SentOrders
from trueup.core.quantity import (
    FINEST_STEP,
    HIGHEST_PRICE,
    MOST_LOTS,
    format_lots,
    format_price,
    to_units,
)
from trueup.core.scope import Neighbour
from trueup.core.trade_modes import PLAY_MONEY

# Bounds that every decoder checks, whatever the source of a value; see `core.quantity`.
Ticket = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
LotsLeft = Annotated[float, msgspec.Meta(ge=0, lt=MOST_LOTS)]
Lots = Annotated[float, msgspec.Meta(ge=FINEST_STEP, lt=MOST_LOTS)]
# MetaTrader has 8 decimals at most (MQL5 reference, ACCOUNT_CURRENCY_DIGITS).
MoneyDigits = Annotated[int, msgspec.Meta(ge=0, le=16)]
Price = Annotated[float, msgspec.Meta(gt=-HIGHEST_PRICE, lt=HIGHEST_PRICE)]


class Side(enum.Enum):
    """The side of a position or an order, spelled as on the guide's wire."""

    sign: int
    """+1 for a buy, -1 for a sell."""
    word: str
    """LONG or SHORT, as the guide's log lines say it."""
    action: str
    """BUY or SELL, as an order on the guide's wire says it."""

    BUY = "buy"
    SELL = "sell"

    def __init__(self, value: str) -> None:
        # Attributes, not properties: a recovery of ten thousand positions reads each of them.
        is_buy = value == "buy"
        self.sign = 1 if is_buy else -1
        self.word = "LONG" if is_buy else "SHORT"
        self.action = "BUY" if is_buy else "SELL"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class MarginMode(enum.Enum):
    """How the account keeps positions (MQL5 reference, ENUM_ACCOUNT_MARGIN_MODE)."""

    NETTING = "netting"
    EXCHANGE = "exchange"
    HEDGING = "hedging"


class OrderType(enum.Enum):
    """The kinds of pending orders (MQL5 reference, ENUM_ORDER_TYPE)."""

    BUY_LIMIT = "buy_limit"
    SELL_LIMIT = "sell_limit"
    BUY_STOP = "buy_stop"
    SELL_STOP = "sell_stop"
    BUY_STOP_LIMIT = "buy_stop_limit"
    SELL_STOP_LIMIT = "sell_stop_limit"
    OTHER = "other"

    @property
    def side(self) -> Side:
        """The side of the deal that the order makes; SELL for an unknown kind."""
        return Side.BUY if self.value.startswith("buy") else Side.SELL


class Entry(enum.Enum):
    """The effect of a deal on its position (MQL5 reference, ENUM_DEAL_ENTRY).

    An unknown value is read as OUT, the safe reading: an opening deal must be known as such.
    """

    IN = "in"
    OUT = "out"
    IN_OUT = "inout"
    OUT_BY = "out_by"

    @classmethod
    def _missing_(cls, value: object) -> Entry:
        return cls.OUT


class DealKind(enum.Enum):
    """Whether a deal moved lots (MQL5 reference, ENUM_DEAL_TYPE).

    TRADE: a buy or a sell. CANCELED: a buy or a sell that the broker cancelled later
    (DEAL_TYPE_BUY_CANCELED, DEAL_TYPE_SELL_CANCELED): its profit is zero and its lots no longer
    count. CASH: any other type, known or unknown: the deal moves money of a position, and no lots.
    """

    TRADE = "trade"
    CANCELED = "canceled"
    CASH = "cash"

    @classmethod
    def _missing_(cls, value: object) -> DealKind:
        return cls.CASH


class DealReason(enum.Enum):
    """Why a deal was made (MQL5 reference, ENUM_DEAL_REASON); the value is text for a person.

    An unknown reason is read as OTHER, so that the deal itself still counts.
    """

    CLIENT = "by hand in the terminal"
    MOBILE = "by hand on the phone"
    WEB = "by hand in the browser"
    EXPERT = "by a program"
    STOP_LOSS = "by its stop loss"
    TAKE_PROFIT = "by its take profit"
    STOP_OUT = "by a stop out"
    ROLLOVER = "by a rollover"
    VARIATION_MARGIN = "by variation margin"
    SPLIT = "by a split"
    CORPORATE_ACTION = "by a corporate action"
    OTHER = "for a reason not known"

    @classmethod
    def _missing_(cls, value: object) -> DealReason:
        return cls.OTHER


class Position(msgspec.Struct, frozen=True, gc=False, rename={"side": "type"}):
    """One open position at the broker.

    `identifier` is POSITION_IDENTIFIER, which never changes; `ticket` may change. On a wire without
    identifiers the ticket is the identifier. `sl` and `tp` are 0.0 when they are not set. `profit`
    does not include `swap` and commission. `time_update_msc` is POSITION_TIME_UPDATE_MSC, the time
    of the last deal that changed the position; 0 if the gateway does not send that time.
    """

    ticket: Ticket
    symbol: Name
    side: Side
    volume: Lots
    price_open: Price
    profit: float = 0.0
    time: Natural = 0
    identifier: Natural = 0
    sl: Price = 0.0
    tp: Price = 0.0
    magic: Natural = 0
    comment: str = ""
    price_current: Price = 0.0
    swap: float = 0.0
    time_msc: Natural = 0
    reason: Natural = 0
    time_update_msc: Natural = 0

    @property
    def net_volume(self) -> float:
        """Lots, negative when short."""
        return self.side.sign * self.volume


class PendingOrder(msgspec.Struct, frozen=True, gc=False):
    """One pending order at the broker; `volume` is the part not yet filled (lots).

    `volume` is 0.0 for a short time while a filled order is still listed. `volume_initial` is the
    volume (lots) that the order was placed with, 0.0 if the gateway does not send that volume.
    """

    ticket: Ticket
    symbol: Name
    type: OrderType
    volume: LotsLeft
    price_open: Price
    sl: Price = 0.0
    tp: Price = 0.0
    price_stoplimit: Price = 0.0
    magic: Natural = 0
    comment: str = ""
    time_setup: int = 0
    volume_initial: float = 0.0


class Deal(msgspec.Struct, frozen=True, gc=False):
    """One execution. `position` is the identifier of the position opened, changed or closed by it.

    `profit`, `swap`, `commission` and `fee` are money; their sum over all deals of a position is
    its realised result (MQL5 reference, "Deal Properties"). `volume` is lots; a deal of 0 lots
    carries money alone, as variation margin does.
    """

    ticket: int
    order: int
    position: int
    symbol: str
    side: Side
    entry: Entry
    volume: float
    price: float
    reason: DealReason = DealReason.OTHER
    profit: float = 0.0
    swap: float = 0.0
    commission: float = 0.0
    fee: float = 0.0
    magic: int = 0
    time_msc: int = 0
    comment: str = ""
    kind: DealKind = DealKind.TRADE

    @property
    def units(self) -> int:
        """The volume that the deal added to its position (units of 1e-8 lots, negative if sold)."""
        return self.side.sign * to_units(self.volume) if self.kind is DealKind.TRADE else 0


class PastOrder(msgspec.Struct, frozen=True, gc=False):
    """The end of an order that is no longer active; `state` is MetaTrader's word in lower case.

    `position` is the identifier of the position that the order opened or changed, or 0. `filled` is
    the executed volume in lots, None if the gateway does not send that volume.
    """

    ticket: int
    state: str
    position: int = 0
    filled: float | None = None


class HistoryOrder(msgspec.Struct, frozen=True, gc=False):
    """An order of the recent past from the broker's history.

    `volume` is the requested and `filled` the executed volume (lots); `position` is the identifier
    of the position that the order opened or changed, 0 for none; `by_program` says whether an API
    or an expert placed the order.
    """

    ticket: int
    symbol: str
    side: Side
    volume: float
    filled: float
    state: str
    magic: int = 0
    comment: str = ""
    position: int = 0
    by_program: bool = True
    time_setup_msc: int = 0


class History(msgspec.Struct, frozen=True):
    """All orders and deals of the last `age_sec` seconds of the trade server's clock.

    On the wire `other_deals` holds the deals that are not trades; the reader moves all to `deals`.
    """

    age_sec: int
    orders: tuple[HistoryOrder, ...] = ()
    deals: tuple[Deal, ...] = ()
    other_deals: tuple[Deal, ...] = ()


class Account(msgspec.Struct, frozen=True, gc=False):
    """The account's identity and figures; `profit` is the floating result, swap included.

    `trade_allowed` is false for a read-only login, and while a terminal has not synchronised yet.
    `fifo_close` is true if the oldest position of a symbol must be closed first. `trade_mode` is
    demo, contest or real (MQL5 reference, ENUM_ACCOUNT_TRADE_MODE), empty if the gateway does not
    send the mode.
    """

    login: int
    server: str
    currency: str
    margin_mode: MarginMode
    balance: float
    equity: float
    credit: float = 0.0
    margin: float = 0.0
    profit: float = 0.0
    currency_digits: MoneyDigits = 2
    trade_allowed: bool = True
    fifo_close: bool = False
    trade_mode: str = ""

    @property
    def name(self) -> str:
        """The account as people write it: login@server."""
        return f"{self.login}@{self.server}"

    @property
    def is_real(self) -> bool:
        """Whether the account has real money; true if the mode is not known."""
        return self.trade_mode not in PLAY_MONEY


class TerminalState(msgspec.Struct, frozen=True, gc=False):
    """The terminal's own state; `ping_us` is its last ping to the trade server, microseconds."""

    connected: bool
    trade_allowed: bool = True
    ping_us: int = 0
    build: int = 0


class SymbolSpec(msgspec.Struct, frozen=True, gc=False):
    """The broker's granularity for a symbol: `volume_step` in lots, `tick_size` in price."""

    symbol: str
    volume_step: float
    tick_size: float
    digits: int


class UnknownSymbol(msgspec.Struct, frozen=True, gc=False):
    """A requested symbol that the broker does not have.

    `alike` are similar names that the broker has, the most similar first.
    """

    symbol: str
    alike: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """A sentence for a person: the unknown symbol and the similar names."""
        similar = f"; similar names there: {', '.join(self.alike)}" if self.alike else ""
        return f"The broker does not have the symbol {self.symbol}{similar}"


class Evidence(msgspec.Struct, frozen=True):
    """The evidence that a trueup gateway sends with the positions, by which a snapshot is judged.

    Identity: `sequence` counts the snapshots served to this client in this `epoch`; a restart of
    the gateway starts a new epoch.

    Completeness: `count_before` and `count_after` are the terminal's own counts of positions and
    pending orders, before and after the reading. `floating` is the sum of profit and swap of the
    positions as the gateway computed that sum; the gateway sends the sum when it leaves out the
    positions because the client has them already, and None when it sends the positions themselves.
    `profit_bounds` are the account's floating result right before and right after the positions
    were read, None from a gateway that sends a single figure.

    Time: `time_offset_sec` is the trade server's clock minus UTC, None while no fresh quotation
    shows the difference.

    History: `explained` lists the identifiers whose deals were requested and could be read; `deals`
    has those deals, and `past_orders` the requested past orders. `history` is None unless the
    history was requested and could be read.

    The gateway's record: `record` marks how far the record reaches, `requests` has the state of the
    requests that the client asked about, and `sent` the orders of the asking book; `sent` is None
    if the client did not ask for them or the gateway does not answer that.

    `unknown_symbols` are the requested symbols that the broker does not have, as far as the gateway
    reports them. `neighbours` are the other books that ask this gateway for a symbol of ours.
    """

    account: Account
    terminal: TerminalState
    epoch: str
    sequence: int
    digest: str
    server_time_msc: int
    count_before: tuple[int, int]
    count_after: tuple[int, int]
    orders: tuple[PendingOrder, ...] = ()
    deals: tuple[Deal, ...] = ()
    explained: frozenset[int] = frozenset()
    past_orders: tuple[PastOrder, ...] = ()
    history: History | None = None
    specs: tuple[SymbolSpec, ...] = ()
    time_offset_sec: int | None = None
    floating: float | None = None
    record: RecordMark | None = None
    requests: tuple[RequestStatus, ...] = ()
    sent: SentOrders | None = None
    profit_bounds: tuple[float, float] | None = None
    unknown_symbols: tuple[UnknownSymbol, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


class RowFault(msgspec.Struct, frozen=True):
    """A row of a reading that was left out because its values cannot be trusted.

    Args:
        what: a sentence for a person: the row, its unreadable value, and a valid value.
        symbol: the row's symbol, empty if the symbol cannot be read.
        ticket: the row's ticket, 0 if the ticket cannot be read.
        fields: the names of the fields that cannot be read, as the wire spells them.
        id: the id by which a person approves the row; see `core.book.event_ids.row_id`. Empty if
            there is nothing to approve.
    """

    what: str
    symbol: str = ""
    ticket: int = 0
    fields: tuple[str, ...] = ()
    id: str = ""

    def __str__(self) -> str:
        """Return the sentence for a person."""
        return self.what


class FieldNote(msgspec.Struct, frozen=True):
    """An unreadable field without which the row can still be used.

    Args:
        ticket: the row's ticket.
        field: the name of the field, as the wire spells it.
        kind: the type of the unreadable value.
        what: for a person: the unreadable value, a valid value, and the value used instead.
    """

    ticket: int
    field: str
    kind: str
    what: str

    def __str__(self) -> str:
        """Return the sentence for a person."""
        return f"Ticket {self.ticket}: {self.what}"


class Snapshot(msgspec.Struct, frozen=True):
    """One complete reading of the broker.

    `faults` are the rows that were left out of the reading. With any fault the reading is partial,
    and a missing row does not prove that a position or an order is gone. An unreadable field in a
    row that is kept is not a fault; `notes` has those fields. `evidence` is None on the guide's
    wire. `digest` is the receiver's own digest of positions and pending orders, the rows left out
    included; empty if no digest was computed yet. `listed` counts the received rows of positions
    and of pending orders, the rows left out included; None means that no row was left out.
    """

    positions: tuple[Position, ...] | list[Position]
    faults: tuple[RowFault, ...] = ()
    evidence: Evidence | None = None
    capabilities: tuple[str, ...] = ()
    digest: str = ""
    notes: tuple[FieldNote, ...] = ()
    listed: tuple[int, int] | None = None


def describe(position: Position) -> str:
    """Write a position as the guide does: LONG 0.01L."""
    return f"{position.side.word} {format_lots(position.volume)}L"


def describe_at(position: Position) -> str:
    """Write a position with its open price: LONG 0.01L @ 1.0543."""
    return f"{describe(position)} @ {format_price(position.price_open)}"


def describe_order(order: PendingOrder) -> str:
    """Write a pending order: BUY LIMIT 0.01L @ 1.0543."""
    kind = order.type.value.replace("_", " ").upper()
    return f"{kind} {format_lots(order.volume)}L @ {format_price(order.price_open)}"
