"""The entries of the book: positions, pending orders, closed positions and executed orders."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.core.deals import BookedDeal
from trueup.core.model import PendingOrder, Position


class Holding(msgspec.Struct, gc=False):
    """A position in the book.

    `version` is the book's version at the newest local fact about the position: a snapshot
    requested before that version must not judge the position. `touched_ns` is the time of our own
    latest change, 0 for never: the broker may show that change later. `realised_units` is the
    money of its deals so far, `deals` their tickets, and `booked` the counted deals (without those
    that an older version recorded by ticket only). `explained_units` is the volume (units of 1e-8
    lots, negative when short) of the position when its deals were last counted, or at its adoption;
    None if an older version saved the position without that volume. `mark` is the broker's latest
    quotation. `averaged` is the number of our fills that were averaged into the open price since
    the broker last sent an open price.
    """

    position: Position
    version: int
    order_ids: list[str]
    touched_ns: int = 0
    realised_units: int = 0
    deals: tuple[int, ...] = ()
    mark: Position | None = None
    averaged: int = 0
    booked: tuple[BookedDeal, ...] = ()
    explained_units: int | None = None


class Pending(msgspec.Struct, gc=False):
    """A pending order in the book, and the book's version at the newest local fact about it.

    `touched_ns` is the time of our own latest modification, 0 for never: the broker may show that
    modification later.
    """

    order: PendingOrder
    version: int
    touched_ns: int = 0


Owner = tuple[str, int]
"""A symbol and a strategy's magic number."""
UNKNOWN_OWNER: Owner = ("", 0)


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """The rest of a position that left the book; see `Book.closed`.

    `went_on_as` are the identifiers under which the broker opened the position again.
    `explained_units` comes from the holding: the volume that the awaited deals close, None if an
    older version saved the position without that volume. `owner` is under whom the realised result
    counts in `BookState.realised_by`.
    """

    version: int
    touched_ns: int
    realised_units: int
    deals: tuple[int, ...] = ()
    booked: tuple[BookedDeal, ...] = ()
    went_on_as: tuple[int, ...] = ()
    explained_units: int | None = None
    owner: Owner = UNKNOWN_OWNER


class Unbooked(msgspec.Struct, frozen=True, gc=False):
    """An executed order with deals that are not all counted yet; see `Book.unbooked`.

    `units` is the executed volume (1e-8 lots), 0 if not known. `position` is the identifier of the
    position that probably took the fill, 0 for none. `since_msc` is a time of the trade server's
    clock before which the order was not executed, 0 if not known.
    """

    symbol: str
    units: int = 0
    position: int = 0
    since_msc: int = 0


class UnbookedOrders(dict[int, Unbooked]):
    """Orders with uncounted deals, by ticket, with an index by the position that they closed."""

    def __init__(self, orders: Iterable[tuple[int, Unbooked]] = ()) -> None:
        super().__init__()
        self._closing: dict[int, set[int]] = {}
        for ticket, order in orders:
            self[ticket] = order

    def __setitem__(self, ticket: int, order: Unbooked) -> None:
        self.discard(ticket)
        super().__setitem__(ticket, order)
        if order.position:
            self._closing.setdefault(order.position, set()).add(ticket)

    def discard(self, ticket: int) -> None:
        """Remove an order, if present."""
        order = super().pop(ticket, None)
        if order is not None and order.position:
            closing = self._closing[order.position]
            closing.discard(ticket)
            if not closing:
                del self._closing[order.position]

    def of(self, position: Position) -> set[int]:
        """Return the tickets of the orders that opened a position, or closed it by its ticket."""
        keys = {position.identifier, position.ticket}
        named = (self._closing.get(key, set()) for key in keys)
        return {key for key in keys if key in self}.union(*named)


class Recent(msgspec.Struct, frozen=True, gc=False):
    """A position with recently counted deals, and the time (ns) of the count; see `Book.recent`."""

    position: Position
    at_ns: int


class Claim(msgspec.Struct, frozen=True, gc=False):
    """The lots that an order added to a symbol: units of 1e-8 lots, negative if sold."""

    symbol: str
    magic: int
    units: int
