"""The digest of a terminal's rows, hashing only those that changed since the last time.

A gateway makes the digest many times a second, of rows that are mostly the same as before. Only the
columns that go into it are compared; `core.digest` says which those are, and makes the same of the
finished positions at the client.
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

# The first column is what a row is known by.
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
    """Makes digests, and remembers the hash of every row of the last one."""

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
    """Return the hash of each row, and their sum; what has the columns of before is not hashed."""
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
