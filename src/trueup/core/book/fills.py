"""Apply a fill to the positions of a book, and remove closed positions.

This follows MetaTrader 5 (MQL5 reference, "Netting and hedging"). A fill with the ticket of a
position reduces that position. Without a ticket, on an account of unknown or netting mode, a fill
reduces the opposite side, oldest position first, and opens a position with the rest. Reducing keeps
the open price.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.core.book import events
from trueup.core.book.holdings import Claim, Holding, Tombstone
from trueup.core.book.keys import drop_key
from trueup.core.book.order import Order
from trueup.core.book.realised import add_closed
from trueup.core.book.state import BookState
from trueup.core.deals import BookedDeal
from trueup.core.model import Position
from trueup.core.quantity import FINEST_STEP, add_lots, to_units

# The most finished orders kept in memory; the journal has all of them.
FINISHED_KEPT = 10_000
# The most tombstones; only a close during a running reading matters, and a reading takes seconds.
CLOSED_KEPT = 10_000


def apply_fill(book: BookState, event: events.OrderFilled, order: Order) -> None:
    """Apply a fill of an order of ours to the positions of a book."""
    if book.shares_positions:
        _net(book, event, order)
        return
    left = _reduce(book, event, order)
    if left > 0:
        _open(book, event, order, left)


def _net(book: BookState, event: events.OrderFilled, order: Order) -> None:
    """Apply a fill to the single position of the symbol, as a netting account does."""
    # The book has two positions in a symbol only if it missed the close of an earlier position. The
    # account's position is the newest, and never a position that left the broker's list.
    held = list(book.holdings_in(event.symbol))
    listed = [holding for holding in held if holding.position.identifier not in book.missing]
    candidates = listed or held
    holding = candidates[-1] if candidates else None
    if holding is None:
        _open(book, event, order, event.volume)
    elif holding.position.side is event.side:
        _grow(book, holding, event, order, event.volume)
    elif add_lots(event.volume, -holding.position.volume) <= 0:
        shrink(book, holding, event.volume, order)
    else:
        _reverse(book, holding, event, order)


def _reduce(book: BookState, event: events.OrderFilled, order: Order) -> float:
    """Reduce the positions that the fill closes; return the lots left to open."""
    left = event.volume
    for holding in _reducible(book, event, order):
        taken = min(left, holding.position.volume)
        shrink(book, holding, taken, order)
        left = add_lots(left, -taken)
        if left < FINEST_STEP:
            return 0.0
    return left


def _reducible(book: BookState, event: events.OrderFilled, order: Order) -> list[Holding]:
    named = book.holdings.get(order.position) or book.holdings.get(event.ticket)
    if named is not None:
        return [named]
    if not book.nets:
        return []
    return [
        holding
        for holding in book.holdings.values()
        if holding.position.symbol == event.symbol and holding.position.side is not event.side
    ]


def shrink(book: BookState, holding: Holding, volume: float, order: Order) -> None:
    """Reduce a position by `volume` lots; remove a position without lots left."""
    left = add_lots(holding.position.volume, -volume)
    holding.touched_ns = order.fill_ns or 0
    await_deals(book, holding.position)
    if left < FINEST_STEP:
        remove(book, holding)
        return
    holding.position = msgspec.structs.replace(holding.position, volume=left)
    holding.version = book.version
    link(holding, order)


def _reverse(book: BookState, holding: Holding, event: events.OrderFilled, order: Order) -> None:
    """Reverse a position: the identifier stays, the ticket is that of the reversing order."""
    holding.position = msgspec.structs.replace(
        holding.position,
        side=event.side,
        ticket=event.ticket,
        volume=add_lots(event.volume, -holding.position.volume),
        price_open=event.price,
    )
    # The open price is that of a single fill now, so the broker has rounded no average.
    holding.version, holding.touched_ns, holding.averaged = book.version, event.at_ns, 1
    await_deals(book, holding.position)
    link(holding, order)


def _grow(
    book: BookState, holding: Holding, event: events.OrderFilled, order: Order, volume: float
) -> None:
    local = holding.position
    total = add_lots(local.volume, volume)
    price = (local.price_open * local.volume + event.price * volume) / total
    holding.position = msgspec.structs.replace(local, volume=total, price_open=price)
    holding.version, holding.touched_ns = book.version, event.at_ns
    holding.averaged += 1
    await_deals(book, holding.position)
    link(holding, order)


def _open(book: BookState, event: events.OrderFilled, order: Order, volume: float) -> None:
    # MetaTrader gives a new position the ticket of its opening order as identifier.
    position = Position(
        ticket=event.ticket,
        identifier=event.ticket,
        symbol=event.symbol,
        side=event.side,
        volume=volume,
        price_open=event.price,
        price_current=event.price,
        magic=order.wire_magic,
        sl=order.sl,
        tp=order.tp,
    )
    book.holdings[event.ticket] = Holding(
        position,
        book.version,
        [order.order_id],
        touched_ns=event.at_ns,
        averaged=1,
        # No deal is counted yet, so the deals must explain the whole volume.
        explained_units=0,
    )
    await_deals(book, position)


def link(holding: Holding, order: Order) -> None:
    """Add an order to the orders of a position."""
    if order.order_id not in holding.order_ids:
        holding.order_ids.append(order.order_id)


def claim(book: BookState, order: Order, volume: float) -> None:
    """Add the lots of a fill to the claims of the strategy that sent the order."""
    if not book.shares_positions:
        return
    # If the deals came before the reply, they made a claim under the ticket already.
    book.claims.pop(str(order.ticket), None)
    units = order.side.sign * to_units(volume)
    book.claims[order.order_id] = Claim(order.symbol, order.magic, units)


def claim_by_deals(book: BookState, symbol: str, share: events.Share) -> None:
    """Add the lots of an order's deals to its strategy's claims; repetition changes nothing."""
    order = book.orders_by_ticket.get(share.order)
    if order is None or order.is_stand_in:
        book.claims[str(share.order)] = Claim(symbol, share.magic, share.units)
    else:
        book.claims[order.order_id] = Claim(symbol, order.magic, share.units)


def rebuild_claims(book: BookState) -> None:
    """Compute all claims again after a change of the account's margin mode.

    On a hedging account the magic number of each position names its strategy, so there are no
    claims; on a netting account claims name the strategies.
    """
    book.claims = {}
    if not book.shares_positions:
        return
    for holding in book.holdings.values():
        position, magic = holding.position, book.strategy_of(holding)
        # Use the key that the deals or the fill of the same order would use, so that they replace
        # this claim and do not add to it.
        order = book.orders_by_ticket.get(position.ticket)
        is_ours = order is not None and not order.is_stand_in
        key = order.order_id if order is not None and is_ours else str(position.ticket)
        if magic or is_ours:
            book.claims[key] = Claim(position.symbol, magic, to_units(position.net_volume))


def rename_symbol(book: BookState, before: str, now: str) -> None:
    """Move the claims of a symbol to its new name."""
    book.claims = {
        key: msgspec.structs.replace(claim, symbol=now) if claim.symbol == before else claim
        for key, claim in book.claims.items()
    }


def await_deals(book: BookState, position: Position) -> None:
    """Note that a position waits for its deals."""
    # The guide's wire has no deals to wait for; a book is bound only by a gateway with deals.
    if book.account is not None:
        book.unexplained[position.identifier] = position


def remove(book: BookState, holding: Holding) -> None:
    """Remove a position and its orders, and keep a tombstone for late readings."""
    identifier, symbol = holding.position.identifier, holding.position.symbol
    # Asked before the opening order may be dropped: its number may be the position's strategy.
    owner = symbol, book.strategy_of(holding)
    del book.holdings[identifier]
    for order_id in holding.order_ids:
        finish(book, order_id)
    book.missing.pop(identifier, None)
    book.halts.pop(identifier, None)
    add_closed(book, owner, holding.realised_units)
    # Insert the tombstone at the end, because the oldest tombstones are deleted first.
    book.closed.pop(identifier, None)
    book.closed[identifier] = Tombstone(
        book.version,
        holding.touched_ns,
        holding.realised_units,
        holding.deals,
        holding.booked,
        explained_units=holding.explained_units,
        owner=owner,
    )
    if len(book.closed) > CLOSED_KEPT:
        del book.closed[next(iter(book.closed))]
    # Without a position no strategy holds lots in the symbol, so old claims must not add up again.
    if not any(other.position.symbol == symbol for other in book.holdings.values()):
        book.claims = {k: claim for k, claim in book.claims.items() if claim.symbol != symbol}


def forget_claims(book: BookState, holding: Holding) -> None:
    """Remove what orders brought to a position that has ended.

    The book may already have the next position of the symbol. The counted deals say which orders
    belong to the old position: a fill may have been taken into it that belongs to the next.
    """
    keys = _claimed_by(book, holding.booked) if holding.booked else set(holding.order_ids)
    _forget(book, keys, holding)


def forget_ended_claims(book: BookState, booked: Iterable[BookedDeal]) -> None:
    """Remove what orders brought to a closed position, by the deals that are counted for it."""
    _forget(book, _claimed_by(book, booked))


def _forget(book: BookState, keys: set[str], ended: Holding | None = None) -> None:
    # The parts of a pending order can go into several positions, and one of them may be open.
    for holding in book.holdings.values() if keys & book.claims.keys() else ():
        if holding is not ended:
            keys -= _claimed_by(book, holding.booked)
    book.claims = {key: one for key, one in book.claims.items() if key not in keys}


def _claimed_by(book: BookState, booked: Iterable[BookedDeal]) -> set[str]:
    """Return the keys under which the orders of counted deals have their claims."""
    keys: set[str] = set()
    for deal in booked:
        order = book.orders_by_ticket.get(deal.order)
        keys |= {str(deal.order), "" if order is None else order.order_id}
    return keys


def finish(book: BookState, order_id: str) -> None:
    """Mark an order as finished; the oldest finished orders are dropped to bound the memory."""
    book.finished[order_id] = None
    if len(book.finished) <= FINISHED_KEPT:
        return
    oldest = next(iter(book.finished))
    del book.finished[oldest]
    # Each index that names the order must drop it too, or the order would stay in memory.
    gone = book.orders.pop(oldest, None)
    if gone is None:
        return
    if gone.key:
        drop_key(book, gone)
    if gone.ticket is not None and book.orders_by_ticket.get(gone.ticket) is gone:
        del book.orders_by_ticket[gone.ticket]
