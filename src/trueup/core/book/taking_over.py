"""Bring the book of another stream of the same account into a book.

Both books may know the same position: two bots of one symbol each adopt what the other opened. A
position counts once, so that of the receiving book stays, with its money.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.events import TradingMode
from trueup.core.book.fills import link
from trueup.core.book.holdings import Holding
from trueup.core.book.keys import add_key
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.realised import add_closed
from trueup.core.book.state import BookState


def take_over(book: BookState, other: BookState) -> None:
    """Move the positions, orders, keys, doubts and money of another book into a book.

    Versions count the events of one book. In this book everything of the other is as new as now: no
    reading that was requested before says anything about it.
    """
    known = book.holdings.keys() | book.closed.keys()
    book.account = book.account or other.account
    _orders(book, other)
    _positions(book, other, known)
    _money(book, other, known)
    for ticket, pending in other.pending.items():
        pending.version = book.version
        book.pending.setdefault(ticket, pending)
    for ticket, order in other.ending.items():
        book.ending.setdefault(ticket, order)
    for ticket, unbooked in other.unbooked.items():
        if ticket not in book.unbooked:
            book.unbooked[ticket] = unbooked
    book.claims = {**other.claims, **book.claims}
    book.loss = book.loss or other.loss
    # Both are of the same account. A lock of either book goes on to refuse entries.
    book.figures = book.figures or other.figures
    book.reached = {**other.reached, **book.reached}
    # A mode that a person set for either book goes on, and the stricter one holds.
    if book.paused is None or book.paused.mode is TradingMode.CLOSE_ONLY:
        book.paused = other.paused or book.paused
    book.proposals = {**other.proposals, **book.proposals}
    # The older of two agreements: up to there both books agreed with the broker.
    agreed = [msc for msc in (book.agreed_msc, other.agreed_msc) if msc]
    book.agreed_msc = min(agreed, default=0)


def _orders(book: BookState, other: BookState) -> None:
    for order_id, order in other.orders.items():
        if order_id in book.orders:
            # Both books have the same stand-in for the unknown order of a position.
            continue
        order.version = book.version
        book.orders[order_id] = order
        add_key(book, order)
        if order.status is OrderStatus.IN_DOUBT:
            book.in_doubt[order_id] = order
    for ticket, order in other.orders_by_ticket.items():
        before = book.orders_by_ticket.get(ticket)
        if before is None or (before.is_stand_in and not order.is_stand_in):
            book.orders_by_ticket[ticket] = book.orders[order.order_id]
    book.finished |= other.finished


def _positions(book: BookState, other: BookState, known: frozenset[int] | set[int]) -> None:
    for identifier, holding in other.holdings.items():
        mine = book.holdings.get(identifier)
        if mine is not None:
            _link_orders(book, mine, holding)
        elif identifier not in known:
            holding.version = book.version
            book.holdings[identifier] = holding
    for identifier, tombstone in other.closed.items():
        if identifier not in known:
            book.closed[identifier] = msgspec.structs.replace(tombstone, version=book.version)
    for identifier, position in other.unexplained.items():
        if identifier not in known:
            book.unexplained[identifier] = position
    for here, there in ((book.missing, other.missing), (book.changed_ns, other.changed_ns)):
        here.update({key: since_ns for key, since_ns in there.items() if key not in known})
    for identifier, halt in other.halts.items():
        # A halt lasts as long as its position, so without the position nothing would end it.
        if identifier in book.holdings:
            book.halts.setdefault(identifier, halt)
    recent = {**other.recent, **book.recent}
    book.recent = dict(sorted(recent.items(), key=lambda item: item[1].at_ns))


def _link_orders(book: BookState, mine: Holding, holding: Holding) -> None:
    """Give a position that both books have the orders of both, the known ones first."""
    for order_id in holding.order_ids:
        if order_id in book.orders:
            link(mine, book.orders[order_id])
    # The first order says which strategy opened the position, which a stand-in does not know.
    mine.order_ids.sort(key=lambda order_id: book.orders[order_id].is_stand_in)


def _money(book: BookState, other: BookState, known: frozenset[int] | set[int]) -> None:
    for owner, units in other.realised_by.items():
        add_closed(book, owner, units)
    for identifier, tombstone in other.closed.items():
        if identifier in known:
            add_closed(book, tombstone.owner, -tombstone.realised_units)
