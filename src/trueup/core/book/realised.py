"""The one place where money enters a book: every deal, counted once.

`count_deals` takes the deals of a position into its realised result, whether it is open, closed, or
was never in the book. `expect_deals` notes that an order of ours was executed, so that its deals
are asked for until they are counted, whatever became of the position meanwhile.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.holdings import Recent, Tombstone, Unbooked
from trueup.core.book.state import BookState as Book
from trueup.core.deals import BookedDeal, Known
from trueup.core.model import Position
from trueup.core.quantity import to_units

# How long, after deals were counted, a broker may still change them: until the end of the trading
# day and its closing, when commissions are charged and mispriced trades are cancelled.
RECENT_NS = 24 * 3600 * 1_000_000_000
# How many positions are compared again at most, so that a question to the gateway stays small.
RECENT_KEPT = 256


def known_deals(book: Book, identifier: int) -> Known:
    """Return what a book has counted of a position's deals."""
    kept = book.holdings.get(identifier) or book.closed.get(identifier)
    return Known() if kept is None else Known(kept.deals, kept.booked, kept.realised_units)


def count_deals(
    book: Book,
    position: Position,
    deals: tuple[int, ...],
    booked: tuple[BookedDeal, ...],
    realised_units: int,
    at_ns: int,
) -> None:
    """Take the deals of a position into its realised result.

    Args:
        book: the book.
        position: the position as it was when its deals were read.
        deals: the tickets of all its deals.
        booked: the same deals with their money and lots; empty in journals of before.
        realised_units: what all of them brought, units of 1e-8 of the account's currency.
        at_ns: when they were counted (ns).
    """
    identifier = position.identifier
    holding = book.holdings.get(identifier)
    if holding is not None:
        holding.deals, holding.booked = deals, booked
        holding.realised_units = realised_units
        holding.explained_units = to_units(position.net_volume)
    else:
        grave = book.closed.get(identifier, Tombstone(book.version, 0, 0))
        book.realised_closed_units += realised_units - grave.realised_units
        book.closed[identifier] = msgspec.structs.replace(
            grave, deals=deals, booked=booked, realised_units=realised_units, explained_units=0
        )
    _find_orders(book, position, booked)
    _remember(book, position, at_ns)


def expect_deals(book: Book, ticket: int, wanted: Unbooked, *, in_parts: bool = False) -> None:
    """Note that an order was executed, and that its deals are still to be counted.

    `in_parts` says that they may have been counted already, and in several positions.
    """
    # The guide's wire has no deals to wait for; an account is bound only where there are some.
    if book.account is None or not ticket:
        return
    kept = (book.holdings.get(key) or book.closed.get(key) for key in (wanted.position, ticket))
    counted = [one.booked for one in kept if one is not None]
    if in_parts:
        counted += _lately_counted(book, wanted.symbol)
    if not _has_all(sum(counted, ()), ticket, wanted.units):
        book.unbooked[ticket] = wanted


def forget_order(book: Book, position: Position) -> None:
    """Expect no deals any more of the orders that made a position: nobody will ever show them."""
    for ticket in _orders_of(book, position):
        book.unbooked.discard(ticket)


def _find_orders(book: Book, position: Position, booked: tuple[BookedDeal, ...]) -> None:
    if not book.unbooked:
        return
    if not booked:
        # A journal of before does not say whose deals they were: all of this position, then.
        forget_order(book, position)
        return
    for ticket in {deal.order for deal in booked} & book.unbooked.keys():
        if _is_counted(book, ticket, booked):
            book.unbooked.discard(ticket)


def _orders_of(book: Book, position: Position) -> set[int]:
    found = book.unbooked.of(position)
    if book.nets:
        # Whatever was executed in the symbol went into its one position.
        orders = book.unbooked.items()
        found |= {ticket for ticket, order in orders if order.symbol == position.symbol}
    return found


def _is_counted(book: Book, ticket: int, booked: tuple[BookedDeal, ...]) -> bool:
    """Return whether all deals of an order are counted; they may be of several positions."""
    wanted = book.unbooked[ticket]
    if _has_all(booked, ticket, wanted.units):
        return True
    others = _lately_counted(book, wanted.symbol)
    return _has_all(sum((booked, *others), ()), ticket, wanted.units)


def _lately_counted(book: Book, symbol: str) -> list[tuple[BookedDeal, ...]]:
    """Return the counted deals of what is open in a symbol, and of what was closed lately."""
    graves = (book.closed.get(identifier) for identifier in book.recent)
    held = [holding.booked for holding in book.holdings_in(symbol)]
    return held + [grave.booked for grave in graves if grave is not None]


def _has_all(booked: tuple[BookedDeal, ...], ticket: int, units: int) -> bool:
    """Return whether deals of an order come to so many units; one that was cancelled is enough."""
    own = {deal.ticket: deal.lots for deal in booked if deal.order == ticket}
    return bool(own) and (0 in own.values() or abs(sum(own.values())) >= units)


def _remember(book: Book, position: Position, at_ns: int) -> None:
    book.recent.pop(position.identifier, None)
    book.recent[position.identifier] = Recent(position, at_ns)
    oldest, kept = next(iter(book.recent.items()))
    if len(book.recent) > RECENT_KEPT or at_ns - kept.at_ns > RECENT_NS:
        del book.recent[oldest]
