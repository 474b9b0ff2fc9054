"""Split the lots of each symbol by strategy, that is by magic number.

On a hedging account every position has its strategy's magic number. On a netting account all
strategies of a symbol share a single position. There the claim of a strategy is the volume that its
own orders added, by their fills and by the magic numbers of their deals. Lots without a claim are a
separate row: traded by hand, by an expert that is not ours, or by a stop.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.book import Book
from trueup.core.quantity import from_units, to_units


class StrategyRow(msgspec.Struct, frozen=True):
    """The lots of a symbol (negative when short) under a single magic number.

    `magic` is None for lots that no strategy claims.
    """

    symbol: str
    magic: int | None
    net_volume: float


def strategy_rows(book: Book) -> tuple[StrategyRow, ...]:
    """Return a row for each symbol and magic number with lots, and the residual of each symbol.

    The rows of a symbol always add up to its net volume in the book.
    """
    rows: dict[tuple[str, int], int] = {}
    net: dict[str, int] = {}
    for claim in book.claims.values():
        key = (claim.symbol, claim.magic)
        rows[key] = rows.get(key, 0) + claim.units
    for holding in book.holdings.values():
        position = holding.position
        units = to_units(position.net_volume)
        net[position.symbol] = net.get(position.symbol, 0) + units
        # Claims exist on netting accounts only; elsewhere the position itself names its strategy.
        if not book.shares_positions:
            key = (position.symbol, book.strategy_of(holding))
            rows[key] = rows.get(key, 0) + units
    # The residual makes the rows add up, so a stop or a trade by hand cannot go unnoticed.
    residual = {
        symbol: units - sum(lots for key, lots in rows.items() if key[0] == symbol)
        for symbol, units in net.items()
    }
    claimed = [StrategyRow(s, m, from_units(lots)) for (s, m), lots in rows.items() if lots]
    unclaimed = [StrategyRow(s, None, from_units(lots)) for s, lots in residual.items() if lots]
    return (*claimed, *unclaimed)
