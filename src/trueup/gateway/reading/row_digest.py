"""Compute the digest of a terminal's rows; hash only rows that changed since the last time.

A gateway computes the digest many times a second, mostly of unchanged rows. A row counts as changed
if one of the columns in the digest changed. `core.digest` defines these columns; the client
computes the same digest from its `Position` and `PendingOrder` objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from trueup.core.digest import (
    digest_of,
    order_hash,
    position_hash,
    raw_order_hash,
    raw_position_hash,
)
from trueup.gateway.reading.rows import listed_order, listed_position
from trueup.gateway.terminal.terminal import TradeOrder, TradePosition

# The first column identifies the row.
_position_columns = attrgetter(
    "identifier", "volume", "sl", "tp", "price_open", "ticket", "type", "magic", "symbol"
)
_order_columns = attrgetter(
    "ticket",
    "volume_current",
    "price_open",
    "price_stoplimit",
    "sl",
    "tp",
    "type",
    "magic",
    "symbol",
)

_Hashed = tuple[tuple[Any, ...], int]


class RowDigest:
    """Computes digests, and caches the hash of every row of the last digest."""

    def __init__(self) -> None:
        self._positions: dict[int, _Hashed] = {}
        self._orders: dict[int, _Hashed] = {}

    def of(self, positions: Sequence[TradePosition], orders: Sequence[TradeOrder]) -> str:
        """Return the digest of these rows."""
        self._positions, of_positions = _sum(
            positions,
            self._positions,
            _position_columns,
            _position_hash,
        )
        self._orders, of_orders = _sum(
            orders,
            self._orders,
            _order_columns,
            _order_hash,
        )
        return digest_of(of_positions + of_orders, len(positions) + len(orders))


def _position_hash(row: TradePosition) -> int:
    listed = listed_position(row)
    return raw_position_hash(listed) if isinstance(listed, dict) else position_hash(listed)


def _order_hash(row: TradeOrder) -> int:
    listed = listed_order(row)
    return raw_order_hash(listed) if isinstance(listed, dict) else order_hash(listed)


def _sum(
    rows: Iterable[Any],
    before: dict[int, _Hashed],
    columns_of: Callable[[Any], tuple[Any, ...]],
    hash_of: Callable[[Any], int],
) -> tuple[dict[int, _Hashed], int]:
    """Return the hash of each row, and their sum; reuse the hash of an unchanged row."""
    now: dict[int, _Hashed] = {}
    total = 0
    for row in rows:
        columns = columns_of(row)
        hashed = before.get(columns[0])
        if hashed is None or hashed[0] != columns:
            hashed = (columns, hash_of(row))
        now[columns[0]] = hashed
        total += hashed[1]
    return now, total
