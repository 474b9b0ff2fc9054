"""What the book keeps of a position, a pending order, a position that has gone, and an order."""

from __future__ import annotations

import msgspec

from trueup.core.model import PendingOrder, Position


class Holding(msgspec.Struct, gc=False):
    """A position in the book.

    `version` is the book's version at the newest local fact about it: a snapshot asked for before
    that version may not judge it. `touched_ns` is when we last did something to it ourselves, 0 for
    never: the broker may show that a moment later. `realised_units` and `deals` are what its deals
    brought so far. `mark` is the broker's latest quotation of it. `averaged` is over how many fills
    of ours its open price was averaged here since the broker told one.
    """

    position: Position
    version: int
    order_ids: list[str]
    touched_ns: int = 0
    realised_units: int = 0
    deals: tuple[int, ...] = ()
    mark: Position | None = None
    averaged: int = 0


class Pending(msgspec.Struct, gc=False):
    """A pending order in the book, and the book's version at the newest local fact about it."""

    order: PendingOrder
    version: int


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a position that left the book; see `Book.closed`."""

    version: int
    touched_ns: int
    realised_units: int


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one order brought to a symbol: units of 1e-8 lots, negative when sold."""

    symbol: str
    magic: int
    units: int
