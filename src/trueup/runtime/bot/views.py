"""Show the book as the guide does: plain values for reading."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict, TypeVar

from trueup.core.book.book import Holding, Order
from trueup.core.model import Position as BrokerPosition
from trueup.core.quantity import add_lots

Number = TypeVar("Number", int, float)


@dataclasses.dataclass(frozen=True)
class Position:
    """A position as the guide shows positions: one ticket of ours, or all tickets together.

    `net_volume` is lots, negative when short. `avg_entry_price` and `current_price` are prices.
    `unrealized_pnl` is money of the account. `current_price` and `unrealized_pnl` are as of the
    last sync with prices: any sync that was waited for, and otherwise one sync every 15 seconds.
    `sl` and `tp` are the prices of the stops, 0 for none; `ticket` and `magic` are the broker's
    numbers. Where several tickets differ, such a field is 0.
    """

    symbol: str
    net_volume: float
    avg_entry_price: float
    current_price: float
    unrealized_pnl: float
    orders: list[Order] = dataclasses.field(default_factory=list)
    ticket: int = 0
    magic: int = 0
    sl: float = 0.0
    tp: float = 0.0


Direction = Literal["LONG", "SHORT", "HEDGED"]


class PositionSummary(TypedDict):
    """The position of a book as plain values; the fields are those of `Position`.

    A FLAT book has `status` and `symbol` alone. `orders_count` counts the orders of ours that made
    the position.
    """

    status: Literal["FLAT", "OPEN"]
    symbol: str
    direction: NotRequired[Direction]
    net_volume: NotRequired[float]
    avg_entry_price: NotRequired[float]
    current_price: NotRequired[float]
    unrealized_pnl: NotRequired[float]
    orders_count: NotRequired[int]


class OrderRow(TypedDict):
    """An order as plain values.

    Volumes are lots. Times are ISO 8601 in UTC. A value that the order does not have yet is None.
    """

    order_id: str
    symbol: str
    action: str
    volume: float
    entry_price: float
    entry_time: str
    status: str
    ticket: int | None
    fill_price: float | None
    fill_time: str | None
    filled_volume: float | None
    error: str | None


def view(symbol: str, holdings: Sequence[Holding], orders: Mapping[str, Order]) -> Position:
    """Return one or more holdings of the book as one position."""
    quoted = [holding.mark or holding.position for holding in holdings]
    # Lots are added in whole units: a sum of floats would not come to exactly 0.
    net = 0.0
    for holding in holdings:
        net = add_lots(net, holding.position.net_volume)
    return Position(
        symbol=symbol,
        net_volume=net,
        avg_entry_price=_average_price([holding.position for holding in holdings], net),
        current_price=quoted[-1].price_current or quoted[-1].price_open,
        unrealized_pnl=math.fsum(row.profit for row in quoted),
        orders=[orders[name] for holding in holdings for name in holding.order_ids],
        ticket=_common([holding.position.ticket for holding in holdings]),
        magic=_common([holding.position.magic for holding in holdings]),
        sl=_common([holding.position.sl for holding in holdings]),
        tp=_common([holding.position.tp for holding in holdings]),
    )


def _common(values: Sequence[Number]) -> Number:
    """Return the value that all have; 0 if they differ."""
    return values[0] if all(value == values[0] for value in values) else type(values[0])(0)


def direction(net_volume: float) -> Direction:
    """Return the side of a net volume; HEDGED if both sides are equal."""
    return "LONG" if net_volume > 0 else "SHORT" if net_volume < 0 else "HEDGED"


def _average_price(positions: Sequence[BrokerPosition], net: float) -> float:
    """Return the volume-weighted open price of the larger side; of both sides if equal."""
    if len(positions) == 1:
        return positions[0].price_open
    outweighing = [p for p in positions if p.net_volume * net > 0] or list(positions)
    volume = math.fsum(p.volume for p in outweighing)
    return math.fsum(p.volume * p.price_open for p in outweighing) / volume


def order_row(order: Order) -> OrderRow:
    """Return an order as plain values; times are ISO 8601 in UTC."""
    return {
        "order_id": order.order_id,
        "symbol": order.symbol,
        "action": order.action,
        "volume": order.volume,
        "entry_price": order.entry_price,
        "entry_time": order.entry_time.isoformat(),
        "status": order.status.value,
        "ticket": order.ticket,
        "fill_price": order.fill_price,
        "fill_time": order.fill_time.isoformat() if order.fill_time else None,
        "filled_volume": order.filled_volume,
        "error": order.error,
    }
