"""The book: what we believe we hold, as the fold of the journal's events.

`Book.apply` is the only thing that changes a book. Positions are keyed by identifier; marks
(current price, profit, swap) are the broker's latest quotation of a position and no part of the
fold, so they are set beside it and left out of `Book.state`.

How a fill changes positions follows MetaTrader 5 (MQL5 reference, "Netting and hedging"): a fill
that names the position it closes reduces that one; without a name, an account of unknown or
netting mode lets it reduce the opposite side, oldest position first, and open the rest. Reducing
keeps the open price.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trueup.core import events
from trueup.core.lifecycle import OrderStatus, advance
from trueup.core.model import Position, Side
from trueup.core.quantity import FINEST_STEP, add_lots


class Order(msgspec.Struct, gc=False):
    """One order of ours, as the guide knows it.

    `volume` and `filled_volume` are lots, prices are prices of the symbol. `position` is the
    identifier of the position the order is meant to reduce, or 0. `error` says why an order was
    rejected, cancelled or is in doubt.
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
    error: str | None = None

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


class Holding(msgspec.Struct, gc=False):
    """A position in the book.

    `version` is the book's version at the newest local fact about it: a snapshot asked for before
    that version may not judge it. `mark` is the broker's latest quotation of it.
    """

    position: Position
    version: int
    order_ids: list[str]
    mark: Position | None = None


# Only a close that is younger than a reading under way matters, and a reading takes seconds.
CLOSED_KEPT = 10_000


class Book:
    """Positions by identifier and orders by id; `version` counts the events applied.

    `closed` keeps the version at which an identifier left the book, for the newest ones: a
    snapshot asked for before that may still show the position, and is not to bring it back.
    """

    def __init__(self) -> None:
        self.version = 0
        self.holdings: dict[int, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.orders_by_ticket: dict[int, Order] = {}
        self.in_doubt: dict[str, Order] = {}
        self.closed: dict[int, int] = {}

    def apply(self, event: events.Event) -> None:
        """Take one event into the book.

        Raises:
            IllegalTransition: the event does not fit the state of the order it speaks of.
        """
        self.version += 1
        _APPLY[type(event)](self, event)

    def replay(self, history: Iterable[events.Event]) -> Book:
        """Apply every event of a journal, oldest first, and return the book."""
        for event in history:
            self.apply(event)
        return self

    def holding_by_ticket(self, ticket: int) -> Holding | None:
        """Return the holding that has this ticket now, or None."""
        holding = self.holdings.get(ticket)
        if holding is not None and holding.position.ticket == ticket:
            return holding
        return next((h for h in self.holdings.values() if h.position.ticket == ticket), None)

    def state(self) -> bytes:
        """Return the whole fold as bytes: equal books give equal bytes, marks left out."""
        holdings = [(h.position, h.version, h.order_ids) for h in self.holdings.values()]
        return msgspec.json.encode((self.version, holdings, list(self.orders.values())))

    # One method an event, called through _APPLY.

    def _order_created(self, event: events.OrderCreated) -> None:
        self.orders[event.order_id] = Order(
            order_id=event.order_id,
            symbol=event.symbol,
            action=event.side.action,
            volume=event.volume,
            entry_price=event.price,
            entry_ns=event.at_ns,
            position=event.position,
        )

    def _order_filled(self, event: events.OrderFilled) -> None:
        order = self._advance(event)
        self._record_fill(order, event.ticket, event.volume, event.price, event.at_ns)
        if event.ticket in self.holdings:
            # A sync saw this position before the answer came: its volume is in the book already.
            self._link(self.holdings[event.ticket], order)
            return
        left = self._reduce(order, event)
        if left > 0:
            self._open(event, order, left)

    def _order_ended(self, event: events.OrderRejected | events.OrderInDoubt) -> None:
        order = self._advance(event)
        order.error = event.error
        if order.status is OrderStatus.IN_DOUBT:
            self.in_doubt[order.order_id] = order

    def _order_canceled(self, event: events.OrderCanceled) -> None:
        self._advance(event).error = event.because

    def _order_settled(self, event: events.OrderSettled) -> None:
        order = self._advance(event)
        self._record_fill(order, event.ticket, event.volume, event.price, event.at_ns)
        order.error = None

    def _position_adopted(self, event: events.PositionAdopted) -> None:
        position = event.position
        order = self.orders_by_ticket.get(position.ticket)
        if order is None:
            order = _recovery_order(position, event.at_ns)
            self.orders[order.order_id] = self.orders_by_ticket[position.ticket] = order
        holding = Holding(position, self.version, [order.order_id], mark=position)
        self.holdings[position.identifier] = holding

    def _position_closed(self, event: events.PositionClosed) -> None:
        self._remove(event.position.identifier)

    def _position_corrected(self, event: events.PositionCorrected) -> None:
        holding = self.holdings[event.remote.identifier]
        holding.position = holding.mark = event.remote
        holding.version = self.version

    def _advance(self, event: events.OrderEvent) -> Order:
        order = self.orders[event.order_id]
        order.status = advance(order.status, type(event))
        self.in_doubt.pop(order.order_id, None)
        return order

    def _record_fill(
        self, order: Order, ticket: int, volume: float, price: float, at_ns: int
    ) -> None:
        order.ticket, order.filled_volume, order.fill_price = ticket, volume, price
        order.fill_ns = at_ns
        self.orders_by_ticket[ticket] = order

    def _link(self, holding: Holding, order: Order) -> None:
        if order.order_id not in holding.order_ids:
            holding.order_ids.append(order.order_id)

    def _reduce(self, order: Order, event: events.OrderFilled) -> float:
        """Reduce what the fill closes; return the lots left to open."""
        left = event.volume
        for holding in self._reducible(order, event):
            taken = min(left, holding.position.volume)
            self._shrink(holding, taken, order)
            left = add_lots(left, -taken)
            if left < FINEST_STEP:
                return 0.0
        return left

    def _reducible(self, order: Order, event: events.OrderFilled) -> list[Holding]:
        if order.position in self.holdings:
            return [self.holdings[order.position]]
        return [
            holding
            for holding in self.holdings.values()
            if holding.position.symbol == event.symbol and holding.position.side is not event.side
        ]

    def _shrink(self, holding: Holding, volume: float, order: Order) -> None:
        left = add_lots(holding.position.volume, -volume)
        if left < FINEST_STEP:
            self._remove(holding.position.identifier)
            return
        holding.position = msgspec.structs.replace(holding.position, volume=left)
        holding.version = self.version
        self._link(holding, order)

    def _remove(self, identifier: int) -> None:
        self.holdings.pop(identifier, None)
        self.closed.pop(identifier, None)
        self.closed[identifier] = self.version
        if len(self.closed) > CLOSED_KEPT:
            del self.closed[next(iter(self.closed))]

    def _open(self, event: events.OrderFilled, order: Order, volume: float) -> None:
        position = Position(
            ticket=event.ticket,
            identifier=event.ticket,
            symbol=event.symbol,
            side=event.side,
            volume=volume,
            price_open=event.price,
            price_current=event.price,
        )
        self.holdings[event.ticket] = Holding(position, self.version, [order.order_id])


def _recovery_order(position: Position, at_ns: int) -> Order:
    """Return the order that stands for a position whose own order we do not know."""
    return Order(
        order_id=f"RECOVERY_{position.ticket}",
        symbol=position.symbol,
        action=position.side.action,
        volume=position.volume,
        entry_price=position.price_open,
        entry_ns=position.time * 1_000_000_000 or at_ns,
        status=OrderStatus.FILLED,
        ticket=position.ticket,
        fill_price=position.price_open,
        filled_volume=position.volume,
        fill_ns=at_ns,
    )


_APPLY: dict[type[events.Event], Callable[[Book, Any], None]] = {
    events.OrderCreated: Book._order_created,
    events.OrderFilled: Book._order_filled,
    events.OrderRejected: Book._order_ended,
    events.OrderInDoubt: Book._order_ended,
    events.OrderCanceled: Book._order_canceled,
    events.OrderSettled: Book._order_settled,
    events.PositionAdopted: Book._position_adopted,
    events.PositionClosed: Book._position_closed,
    events.PositionCorrected: Book._position_corrected,
}
