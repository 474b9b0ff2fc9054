"""The order of ours in the book, and the forms that it takes at the broker."""

from __future__ import annotations

import datetime as dt

import msgspec

from trueup.core.book.events import OrderCreated, OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.terms import PLAIN_TERMS, Terms
from trueup.core.gateway_record import RecordMark
from trueup.core.model import OrderType, PendingOrder, Position, Side

PENDING_TYPES = {
    OrderKind.LIMIT: {Side.BUY: OrderType.BUY_LIMIT, Side.SELL: OrderType.SELL_LIMIT},
    OrderKind.STOP: {Side.BUY: OrderType.BUY_STOP, Side.SELL: OrderType.SELL_STOP},
    OrderKind.STOP_LIMIT: {
        Side.BUY: OrderType.BUY_STOP_LIMIT,
        Side.SELL: OrderType.SELL_STOP_LIMIT,
    },
}

STAND_IN = "RECOVERY_"
# A name of its own, as a recovery makes ten thousand orders; see `core.look.outcome`.
_FILLED = OrderStatus.FILLED


class Order(msgspec.Struct, gc=False, repr_omit_defaults=True):
    """An order of ours, with the guide's fields and more.

    `volume` and `filled_volume` are lots, prices are prices of the symbol. `position` is the
    identifier of the position that the order should reduce, or 0. `error` says why the order was
    rejected, was cancelled or is in doubt. `version` and `doubt_ns` are the book's version and the
    time when the order came into doubt: a reading requested before then proves nothing about the
    order. Of the moment when the order left, `record` is how far the gateway's record of requests
    reached, `time_offset_sec` the trade server's clock minus UTC, and `server_time_msc` a time that
    this clock had passed, or 0. `unproven` says of a cancelled order that there is no proof that it
    had no effect. `delivered` says that the caller has been given the outcome, if the caller needs
    that note; see `events.OutcomeDelivered`. All other fields come from the intent; see
    `events.OrderCreated`.
    """

    order_id: str
    symbol: str
    action: str
    volume: float
    entry_price: float
    entry_ns: int
    status: OrderStatus = OrderStatus.PENDING
    ticket: int | None = None
    fill_price: float | None = None
    filled_volume: float | None = None
    fill_ns: int | None = None
    position: int = 0
    magic: int = 0
    error: str | None = None
    version: int = 0
    doubt_ns: int = 0
    kind: OrderKind = OrderKind.MARKET
    sl: float = 0.0
    tp: float = 0.0
    target: int = 0
    wire_magic: int = 0
    token: str = ""
    key: str = ""
    why: str = ""
    by_desk: bool = False
    record: RecordMark | None = None
    time_offset_sec: int | None = None
    server_time_msc: int = 0
    unproven: bool = False
    terms: Terms = PLAIN_TERMS
    comment: str = ""
    foreign: tuple[Position, ...] = ()
    stoplimit: float = 0.0
    delivered: bool = False
    position_by: int = 0
    by: str = ""

    @property
    def is_stand_in(self) -> bool:
        """Whether this order stands for the unknown order that opened a position."""
        return self.order_id.startswith(STAND_IN)

    @property
    def is_foreign(self) -> bool:
        """Whether the order names a position that the book did not have."""
        return bool(self.foreign)

    @property
    def named(self) -> frozenset[int]:
        """The identifiers of the positions that the order closes or modifies."""
        return frozenset({self.position, self.position_by}) - {0}

    @property
    def side(self) -> Side:
        """The order's side."""
        return Side.BUY if self.action == "BUY" else Side.SELL

    @property
    def entry_time(self) -> dt.datetime:
        """When the order was created, UTC."""
        return _utc(self.entry_ns)

    @property
    def fill_time(self) -> dt.datetime | None:
        """When the order's fill was recorded, UTC; None before."""
        return None if self.fill_ns is None else _utc(self.fill_ns)


def _utc(at_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ns / 1e9, dt.UTC)


def created_order(event: OrderCreated) -> Order:
    """Return the order for an intent."""
    return Order(
        order_id=event.order_id,
        symbol=event.symbol,
        action=event.side.action,
        volume=event.volume,
        entry_price=event.price,
        entry_ns=event.at_ns,
        position=event.position,
        magic=event.magic,
        kind=event.kind,
        sl=event.sl,
        tp=event.tp,
        target=event.target,
        # An intent without a number of its own for the wire uses the strategy's number there.
        wire_magic=event.wire_magic or event.magic,
        token=event.token,
        key=event.key,
        why=event.why,
        by_desk=event.by_desk,
        terms=event.terms,
        comment=event.comment,
        foreign=event.foreign,
        stoplimit=event.stoplimit,
        position_by=event.position_by,
        by=event.by,
    )


def recovery_order(position: Position, at_ns: int) -> Order:
    """Return an order that stands for the unknown order that opened a position."""
    return Order(
        order_id=f"{STAND_IN}{position.ticket}",
        symbol=position.symbol,
        action=position.side.action,
        volume=position.volume,
        entry_price=position.price_open,
        # The broker's time of the opening is better than the time of the adoption.
        entry_ns=position.time * 1_000_000_000 or at_ns,
        status=_FILLED,
        ticket=position.ticket,
        fill_price=position.price_open,
        filled_volume=position.volume,
        fill_ns=at_ns,
    )


def pending_of(order: Order, ticket: int) -> PendingOrder:
    """Return the pending order at the broker for an order of ours."""
    return PendingOrder(
        ticket=ticket,
        symbol=order.symbol,
        type=PENDING_TYPES[order.kind][order.side],
        volume=order.volume,
        price_open=order.entry_price,
        price_stoplimit=order.stoplimit,
        sl=order.sl,
        tp=order.tp,
        magic=order.wire_magic,
        comment=order.token,
    )
