"""What the book keeps of a position, a pending order, a position that has gone, and an order."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.core.deals import BookedDeal
from trueup.core.model import PendingOrder, Position


class Holding(msgspec.Struct, gc=False):
    """A position in the book.

    `version` is the book's version at the newest local fact about it: a snapshot asked for before
    that version may not judge it. `touched_ns` is when we last did something to it ourselves, 0 for
    never: the broker may show that a moment later. `realised_units` is what its deals brought so
    far, `deals` their tickets, and `booked` each of them as it was counted (those that a version
    recorded which kept the tickets alone are not in it). `explained_units` is the volume (units of
    1e-8 lots, negative when short) that the position had when its deals were counted last, or at
    its adoption; None where a version saved it that did not keep that. `mark` is the broker's
    latest quotation of it. `averaged` is over how many fills of ours its open price was
    averaged here since the broker told one.
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
    """A pending order in the book, and the book's version at the newest local fact about it."""

    order: PendingOrder
    version: int


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a position that left the book; see `Book.closed`.

    `went_on_as` are the identifiers under which the broker opened it again. `explained_units` is
    that of the holding: what the deals that are still to come close, None where a version saved it
    that did not keep that.
    """

    version: int
    touched_ns: int
    realised_units: int
    deals: tuple[int, ...] = ()
    booked: tuple[BookedDeal, ...] = ()
    went_on_as: tuple[int, ...] = ()
    explained_units: int | None = None


class Unbooked(msgspec.Struct, frozen=True, gc=False):
    """An order that was executed, and whose deals are not all counted yet; see `Book.unbooked`.

    `units` is how much of it was executed (1e-8 lots), 0 where that is not known. `position` is the
    identifier of the position that it is thought to have gone into, 0 for none. `since_msc` is a
    time of the trade server's clock before which it was not executed, 0 where none is known.
    """

    symbol: str
    units: int = 0
    position: int = 0
    since_msc: int = 0


class UnbookedOrders(dict[int, Unbooked]):
    """Orders whose deals are not all counted yet, by ticket, and by the position they closed."""

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
        """Take an order out, if it is here."""
        order = super().pop(ticket, None)
        if order is not None and order.position:
            closing = self._closing[order.position]
            closing.discard(ticket)
            if not closing:
                del self._closing[order.position]

    def of(self, position: Position) -> set[int]:
        """Return the orders that made a position, or closed it by name."""
        keys = {position.identifier, position.ticket}
        named = (self._closing.get(key, set()) for key in keys)
        return {key for key in keys if key in self}.union(*named)


class Recent(msgspec.Struct, frozen=True, gc=False):
    """A position whose deals were counted lately, and when (ns); see `Book.recent`."""

    position: Position
    at_ns: int


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one order brought to a symbol: units of 1e-8 lots, negative when sold."""

    symbol: str
    magic: int
    units: int
