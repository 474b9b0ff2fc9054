"""The digest of a terminal's rows, hashing only those that changed since the last time.

A gateway makes the digest many times a second, of rows that are mostly the same as before. Only the
columns that go into it are compared; `core.digest` says which those are, and makes the same of the
finished positions at the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trueup.core.digest import digest_of, order_hash, position_hash
from trueup.gateway.rows import pending_of, position_of
from trueup.gateway.terminal import TradeOrder, TradePosition

_Hashed = tuple[tuple[Any, ...], int]


class RowDigest:
    """Makes digests, and remembers the hash of every row of the last one."""

    def __init__(self) -> None:
        self._positions: dict[int, _Hashed] = {}
        self._orders: dict[int, _Hashed] = {}

    def of(self, positions: Sequence[TradePosition], orders: Sequence[TradeOrder]) -> str:
        """Return the digest of these rows."""
        total = self._sum_positions(positions) + self._sum_orders(orders)
        return digest_of(total, len(positions) + len(orders))

    def _sum_positions(self, rows: Sequence[TradePosition]) -> int:
        before, now, total = self._positions, {}, 0
        for row in rows:
            columns = (
                row.identifier,
                row.volume,
                row.sl,
                row.tp,
                row.price_open,
                row.ticket,
                row.type,
                row.magic,
                row.symbol,
            )
            hashed = before.get(row.identifier)
            if hashed is None or hashed[0] != columns:
                hashed = (columns, position_hash(position_of(row)))
            now[row.identifier] = hashed
            total += hashed[1]
        self._positions = now
        return total

    def _sum_orders(self, rows: Sequence[TradeOrder]) -> int:
        before, now, total = self._orders, {}, 0
        for row in rows:
            columns = (
                row.ticket,
                row.volume_current,
                row.price_open,
                row.price_stoplimit,
                row.sl,
                row.tp,
                row.type,
                row.magic,
                row.symbol,
            )
            hashed = before.get(row.ticket)
            if hashed is None or hashed[0] != columns:
                hashed = (columns, order_hash(pending_of(row)))
            now[row.ticket] = hashed
            total += hashed[1]
        self._orders = now
        return total
