"""Count deals in the realised result of the book; all money enters the book here, each deal once.

`count_deals` counts the deals of a position, whether the position is open, closed, or was never in
the book. `expect_deals` notes that an order of ours was executed, so that trueup asks for its deals
until they are counted, even if the position closes meanwhile.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.holdings import Owner, Recent, Tombstone, Unbooked
from trueup.core.book.state import BookState
from trueup.core.deals import BookedDeal, Known
from trueup.core.model import Position
from trueup.core.quantity import to_units

# How long a broker may still change counted deals: until the trading day is closed, when brokers
# charge commissions and cancel mispriced trades.
RECENT_NS = 24 * 3600 * 1_000_000_000
# The most positions to compare again, so that a question to the gateway stays small.
RECENT_KEPT = 256


def known_deals(book: BookState, identifier: int) -> Known:
    """Return the counted deals of a position."""
    kept = book.holdings.get(identifier) or book.closed.get(identifier)
    return Known() if kept is None else Known(kept.deals, kept.booked, kept.realised_units)


def count_deals(
    book: BookState,
    position: Position,
    deals: tuple[int, ...],
    booked: tuple[BookedDeal, ...],
    realised_units: int,
    at_ns: int,
) -> None:
    """Count the deals of a position in its realised result.

    Args:
        book: the book.
        position: the position at the time when its deals were read.
        deals: the tickets of all its deals.
        booked: the same deals with their money and lots; empty in older journals.
        realised_units: the money of all deals, in units of 1e-8 of the account's currency.
        at_ns: when the deals were counted (ns).
    """
    # Replace the earlier sums instead of adding to them, so that a repeated event changes nothing.
    identifier = position.identifier
    holding = book.holdings.get(identifier)
    if holding is not None:
        holding.deals, holding.booked = deals, booked
        holding.realised_units = realised_units
        holding.explained_units = to_units(position.net_volume)
    else:
        tombstone = book.closed.get(identifier)
        if tombstone is None:
            tombstone = Tombstone(book.version, 0, 0, owner=(position.symbol, position.magic))
        add_closed(book, tombstone.owner, realised_units - tombstone.realised_units)
        book.closed[identifier] = msgspec.structs.replace(
            tombstone, deals=deals, booked=booked, realised_units=realised_units, explained_units=0
        )
    # The deals may complete orders that still waited for them.
    _drop_counted_orders(book, position, booked)
    _remember(book, position, at_ns)


def add_closed(book: BookState, owner: Owner, units: int) -> None:
    """Add money (units of 1e-8) to the realised result of closed positions."""
    book.realised_closed_units += units
    total = book.realised_by.pop(owner, 0) + units
    if total:
        book.realised_by[owner] = total


def expect_deals(book: BookState, ticket: int, wanted: Unbooked, *, in_parts: bool = False) -> None:
    """Note that an order was executed and that its deals are not counted yet.

    `in_parts` says that some deals may have been counted already, in several positions.
    """
    # The guide's wire has no deals to wait for; a book is bound only by a gateway with deals.
    if book.account is None or not ticket:
        return
    kept = (book.holdings.get(key) or book.closed.get(key) for key in (wanted.position, ticket))
    counted = [entry.booked for entry in kept if entry is not None]
    if in_parts:
        counted += _recently_counted(book, wanted.symbol)
    if not _has_all(sum(counted, ()), ticket, wanted.units):
        book.unbooked[ticket] = wanted


def forget_order(book: BookState, position: Position) -> None:
    """Stop waiting for the deals of a position's orders, because no broker will show them."""
    for ticket in _orders_of(book, position):
        book.unbooked.discard(ticket)


def _drop_counted_orders(
    book: BookState, position: Position, booked: tuple[BookedDeal, ...]
) -> None:
    if not book.unbooked:
        return
    if not booked:
        # Older journals do not name the orders of deals, so take all orders of this position.
        forget_order(book, position)
        return
    for ticket in {deal.order for deal in booked} & book.unbooked.keys():
        if _is_counted(book, ticket, booked):
            book.unbooked.discard(ticket)


def _orders_of(book: BookState, position: Position) -> set[int]:
    found = book.unbooked.of(position)
    if book.nets:
        # A netting account has a single position per symbol, so each execution went into it.
        orders = book.unbooked.items()
        found |= {ticket for ticket, order in orders if order.symbol == position.symbol}
    return found


def _is_counted(book: BookState, ticket: int, booked: tuple[BookedDeal, ...]) -> bool:
    """Return whether all deals of an order are counted, in one position or in several."""
    wanted = book.unbooked[ticket]
    if _has_all(booked, ticket, wanted.units):
        return True
    others = _recently_counted(book, wanted.symbol)
    return _has_all(sum((booked, *others), ()), ticket, wanted.units)


def _recently_counted(book: BookState, symbol: str) -> list[tuple[BookedDeal, ...]]:
    """Return the counted deals of open positions in a symbol and of recently closed positions."""
    tombstones = (book.closed.get(identifier) for identifier in book.recent)
    held = [holding.booked for holding in book.holdings_in(symbol)]
    return held + [tombstone.booked for tombstone in tombstones if tombstone is not None]


def _has_all(booked: tuple[BookedDeal, ...], ticket: int, units: int) -> bool:
    """Return whether the deals of an order make up `units`; a cancelled deal is enough."""
    own = {deal.ticket: deal.lots for deal in booked if deal.order == ticket}
    return bool(own) and (0 in own.values() or abs(sum(own.values())) >= units)


def _remember(book: BookState, position: Position, at_ns: int) -> None:
    book.recent.pop(position.identifier, None)
    book.recent[position.identifier] = Recent(position, at_ns)
    oldest, kept = next(iter(book.recent.items()))
    if len(book.recent) > RECENT_KEPT or at_ns - kept.at_ns > RECENT_NS:
        del book.recent[oldest]
