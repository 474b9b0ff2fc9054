"""Apply events to a book: a function for each class of event, and the table of these functions.

`core.book.fills` applies fills to positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.book.fills import (
    apply_fill,
    await_deals,
    claim,
    claim_by_deals,
    finish,
    forget_claims,
    forget_ended_claims,
    link,
    rebuild_claims,
    remove,
    rename_symbol,
    shrink,
)
from trueup.core.book.holdings import Holding, Pending, Unbooked, UnbookedOrders
from trueup.core.book.keys import add_key
from trueup.core.book.lifecycle import OrderStatus, advance
from trueup.core.book.order import PENDING_TYPES, Order, created_order, pending_of, recovery_order
from trueup.core.book.proposals import Proposal, end_proposal
from trueup.core.book.realised import add_closed, count_deals, expect_deals, forget_order
from trueup.core.book.saved import fill_from
from trueup.core.book.state import BookState
from trueup.core.book.taking_over import take_over
from trueup.core.model import PendingOrder, Position
from trueup.core.quantity import to_units

# Only a deal changes these fields of a position.
MADE_BY_DEALS = frozenset({"ticket", "side", "volume", "price_open"})


def _order_created(book: BookState, event: events.OrderCreated) -> None:
    book.orders[event.order_id] = created_order(event)
    add_key(book, book.orders[event.order_id])


def _send_started(book: BookState, event: events.SendStarted) -> None:
    order = _advance(book, event)
    order.version, order.record = book.version, event.record
    order.time_offset_sec, order.server_time_msc = event.time_offset_sec, event.server_time_msc


def _order_filled(book: BookState, event: events.OrderFilled) -> None:
    order = _advance(book, event)
    _record_fill(book, order, event.ticket, event.volume, event.price, event.at_ns)
    if order.kind is events.OrderKind.CLOSE_BY:
        _closed_by(book, order, event.volume)
        return
    if order.is_foreign:
        # The fill is in a position that the book does not have: nothing of it enters the book.
        finish(book, order.order_id)
        return
    _expect_fill(book, order, event.volume)
    if _is_position_gone(book, order):
        finish(book, order.order_id)
        return
    claim(book, order, event.volume)
    holding = book.holdings.get(event.ticket)
    if holding is not None and holding.position.side is event.side:
        # A sync adopted this position before the reply arrived, so the book has its volume already.
        link(holding, order)
        await_deals(book, holding.position)
        return
    if event.ticket in book.closed and not order.position and holding is None:
        # A sync recorded open and close of the position before the reply: do not open it again.
        finish(book, order.order_id)
        return
    apply_fill(book, event, order)
    _finish_unless_held(book, order)


def _closed_by(book: BookState, order: Order, volume: float) -> None:
    """Reduce the two positions that an order closed against each other, if the book has them."""
    # A close-by always ends one of the two. If that one has left the book, a sync has recorded the
    # close before the reply arrived, and corrects the other one too.
    is_recorded = any(
        identifier in book.closed and identifier not in book.holdings for identifier in order.named
    )
    for identifier in () if is_recorded else (order.position, order.position_by):
        holding = book.holdings.get(identifier)
        if holding is not None:
            shrink(book, holding, min(volume, holding.position.volume), order)
    held = (book.holdings.get(identifier) for identifier in order.named)
    if not any(one is not None and order.order_id in one.order_ids for one in held):
        finish(book, order.order_id)


def _expect_fill(book: BookState, order: Order, volume: float) -> None:
    """Wait for the deals of a fill; on a netting account they can be in any position."""
    into = order.position or (0 if book.nets else order.ticket or 0)
    wanted = Unbooked(order.symbol, to_units(volume), into, order.server_time_msc)
    expect_deals(book, order.ticket or 0, wanted)


def _is_position_gone(book: BookState, order: Order) -> bool:
    """Return whether the position that an order should close has left the book already.

    Then a sync recorded the close before the reply arrived, and the fill must not open a position.
    """
    return order.position in book.closed and order.position not in book.holdings


def _order_ended(book: BookState, event: events.OrderRejected | events.OrderInDoubt) -> None:
    order = _advance(book, event)
    order.error = event.error
    if order.status is OrderStatus.IN_DOUBT:
        order.doubt_ns, order.version = event.at_ns, book.version
        book.in_doubt[order.order_id] = order
    else:
        finish(book, order.order_id)


def _order_canceled(book: BookState, event: events.OrderCanceled) -> None:
    order = _advance(book, event)
    order.error, order.unproven = event.because, event.unproven
    finish(book, event.order_id)


def _order_settled(book: BookState, event: events.OrderSettled) -> None:
    order = _advance(book, event)
    _record_fill(book, order, event.ticket, event.volume, event.price, event.at_ns)
    order.error = None
    # The effect of a close-by is in the corrections of both positions.
    if order.is_foreign or order.kind is events.OrderKind.CLOSE_BY:
        finish(book, order.order_id)
        return
    _expect_fill(book, order, event.volume)
    if not _is_position_gone(book, order):
        claim(book, order, event.volume)
    holding = book.holdings.get(event.ticket)
    if holding is not None and not order.position:
        link(holding, order)
        await_deals(book, holding.position)
    _finish_unless_held(book, order)


def _outcome_delivered(book: BookState, event: events.OutcomeDelivered) -> None:
    order = book.orders.get(event.order_id)
    # An old order may have left the book's memory; then nobody asks for its outcome any more.
    if order is not None:
        order.delivered = True


def _order_applied(book: BookState, event: events.OrderApplied) -> None:
    left_at = book.orders[event.order_id].version
    order = _advance(book, event)
    order.fill_ns, order.error = event.at_ns, None
    holding = book.holdings.get(order.position)
    if order.kind is events.OrderKind.MODIFY and holding is not None:
        if holding.version > left_at:
            # The book has a newer fact about the position: its stops were changed again since.
            finish(book, order.order_id)
            return
        holding.position = msgspec.structs.replace(holding.position, sl=order.sl, tp=order.tp)
        holding.version, holding.touched_ns = book.version, event.at_ns
    elif order.kind is events.OrderKind.MODIFY_ORDER:
        _modify_pending(book, order, left_at)
    elif order.kind is events.OrderKind.CANCEL:
        pending = book.pending.pop(order.target, None)
        if pending is not None and book.account is not None:
            # A part may have been filled before the cancellation, which only the history shows.
            book.ending[order.target] = pending.order
    elif order.kind in PENDING_TYPES and event.ticket:
        order.ticket = event.ticket
        _index_ticket(book, event.ticket, order)
        book.pending[event.ticket] = Pending(pending_of(order, event.ticket), book.version)
    finish(book, order.order_id)


def _modify_pending(book: BookState, order: Order, left_at: int) -> None:
    """Give a pending order of the book the prices of a modification, unless it changed since."""
    pending = book.pending.get(order.target)
    if pending is None or pending.version > left_at:
        return
    pending.order = msgspec.structs.replace(
        pending.order,
        price_open=order.entry_price,
        price_stoplimit=order.stoplimit,
        sl=order.sl,
        tp=order.tp,
    )
    pending.version, pending.touched_ns = book.version, order.fill_ns or 0


def _position_adopted(book: BookState, event: events.PositionAdopted) -> None:
    position = event.position
    # The ticket may have changed; the identifier is the ticket of the opening order.
    known = book.orders_by_ticket
    order = known.get(position.ticket) or known.get(position.identifier)
    is_ours = order is not None and not order.is_stand_in
    if order is None:
        order = recovery_order(position, event.at_ns)
        book.orders[order.order_id] = book.orders_by_ticket[position.ticket] = order
    # A closed position that shows again keeps its counted deals, or they would count twice.
    tombstone = book.closed.pop(position.identifier, None)
    realised_units = tombstone.realised_units if tombstone else 0
    if tombstone is not None:
        add_closed(book, tombstone.owner, -realised_units)
    book.holdings[position.identifier] = Holding(
        position,
        book.version,
        [order.order_id],
        realised_units=realised_units,
        deals=tombstone.deals if tombstone else (),
        mark=position,
        booked=tombstone.booked if tombstone else (),
        explained_units=0 if tombstone and tombstone.deals else to_units(position.net_volume),
    )
    # Deals from before the adoption do not count, unless they can contain fills of our own orders.
    if is_ours or book.nets or (tombstone and tombstone.deals):
        await_deals(book, position)


def _position_missing(book: BookState, event: events.PositionMissing) -> None:
    book.missing[event.position.identifier] = event.at_ns


def _position_found(book: BookState, event: events.PositionFound) -> None:
    book.missing.pop(event.position.identifier, None)


def _position_closed(book: BookState, event: events.PositionClosed) -> None:
    position = event.position
    holding = book.holdings.get(position.identifier)
    if holding is None:
        return
    was_counted = bool(holding.deals) or position.identifier in book.unexplained
    # Without a proof the deals may still arrive, unless a person closed the position for good.
    if event.by or not event.unproven:
        book.unexplained.pop(position.identifier, None)
        book.changed_ns.pop(position.identifier, None)
    if event.by:
        forget_order(book, position)
    _count_exit(book, event)
    for ticket in event.complete:
        book.unbooked.discard(ticket)
    holding.touched_ns = 0
    if not _continues_here(book, event):
        forget_claims(book, holding)
        _forget_inherited_claims(book, position)
    remove(book, holding)
    if event.went_on_as:
        tombstone = book.closed[position.identifier]
        book.closed[position.identifier] = msgspec.structs.replace(
            tombstone, went_on_as=event.went_on_as
        )
    for identifier in event.went_on_as:
        _follow(book, position, identifier, was_counted=was_counted)


def _continues_here(book: BookState, event: events.PositionClosed) -> bool:
    """Return whether a closed position continues in the same symbol.

    In another symbol, as after a rollover into the next contract, the deals of the successor make
    claims of their own.
    """
    symbol = event.position.symbol
    successors = [book.holdings.get(identifier) for identifier in event.went_on_as]
    return any(one is None or one.position.symbol == symbol for one in successors)


def _forget_inherited_claims(book: BookState, position: Position) -> None:
    """Remove the claims of the positions that continued as this position, which has ended."""
    # The search reads all tombstones, so do without where no claim can be left.
    if not any(claim.symbol == position.symbol for claim in book.claims.values()):
        return
    ended, found = [position.identifier], {position.identifier}
    while ended:
        identifier = ended.pop()
        for before, tombstone in book.closed.items():
            is_one = identifier in tombstone.went_on_as and before not in found
            # Of several successors, another may be the one that goes on.
            if is_one and book.holdings.keys() & set(tombstone.went_on_as) <= found:
                forget_ended_claims(book, tombstone.booked)
                found.add(before)
                ended.append(before)


def _count_exit(book: BookState, event: events.PositionClosed) -> None:
    if event.booked or event.ended is not None:
        # Older journals have the tickets in the exit only.
        deals = event.deals or (event.ended.deals if event.ended else ())
        count_deals(book, event.position, deals, event.booked, event.realised_units, event.at_ns)
        # The deals explain the close of the whole volume.
        book.holdings[event.position.identifier].explained_units = 0


def _follow(book: BookState, position: Position, identifier: int, *, was_counted: bool) -> None:
    """Wait for the deals of a successor: a position as which another position continues.

    If the successor is open, its deals count from now on if the old position's deals counted;
    otherwise as for any adopted position. If no snapshot ever showed the successor, its deals count
    in any case.
    """
    holding, tombstone = book.holdings.get(identifier), book.closed.get(identifier)
    if holding is not None:
        if was_counted and not holding.deals:
            await_deals(book, holding.position)
    elif tombstone is None:
        unseen = msgspec.structs.replace(position, identifier=identifier, ticket=identifier)
        await_deals(book, unseen)
    else:
        for successor in tombstone.went_on_as:
            _follow(book, position, successor, was_counted=was_counted)


def _position_corrected(book: BookState, event: events.PositionCorrected) -> None:
    holding = book.holdings.get(event.remote.identifier)
    if holding is None:
        return
    if MADE_BY_DEALS & set(event.fields):
        await_deals(book, event.remote)
        if book.account is not None:
            book.changed_ns[event.remote.identifier] = event.at_ns
    if "symbol" in event.fields:
        rename_symbol(book, holding.position.symbol, event.remote.symbol)
    if event.remote.price_open != holding.position.price_open:
        holding.averaged = 0
    holding.position = holding.mark = event.remote
    holding.version = book.version


def _deals_recorded(book: BookState, event: events.DealsRecorded) -> None:
    identifier = event.position.identifier
    book.unexplained.pop(identifier, None)
    book.changed_ns.pop(identifier, None)
    if event.deals:
        count_deals(
            book, event.position, event.deals, event.booked, event.realised_units, event.at_ns
        )
    for ticket in event.complete:
        book.unbooked.discard(ticket)
    for successor in event.went_on_as:
        _follow(book, event.position, successor, was_counted=True)
    holding = book.holdings.get(identifier)
    if holding is None:
        # An order in doubt may have gone into a position that the book had closed already.
        forget_ended_claims(book, event.booked)
        return
    update_msc = event.position.time_update_msc
    if update_msc > holding.position.time_update_msc:
        holding.position = msgspec.structs.replace(holding.position, time_update_msc=update_msc)
    for share in event.shares:
        claim_by_deals(book, holding.position.symbol, share)


def _pending_adopted(book: BookState, event: events.PendingAdopted) -> None:
    book.pending[event.order.ticket] = Pending(event.order, book.version)
    book.ending.pop(event.order.ticket, None)


def _pending_closed(book: BookState, event: events.PendingClosed) -> None:
    ticket = event.order.ticket
    book.pending.pop(ticket, None)
    book.ending.pop(ticket, None)
    if event.filled or event.position:
        _expect_execution(book, event.order, to_units(event.filled), event.position)
    else:
        book.unbooked.discard(ticket)


def _pending_corrected(book: BookState, event: events.PendingCorrected) -> None:
    book.pending[event.remote.ticket] = Pending(event.remote, book.version)
    filled = to_units(event.local.volume) - to_units(event.remote.volume)
    if filled > 0:
        whole = to_units(event.remote.volume_initial)
        units = whole - to_units(event.remote.volume) if whole else filled
        _expect_execution(book, event.remote, units)


def _expect_execution(book: BookState, order: PendingOrder, units: int, position: int = 0) -> None:
    """Wait for the deals of a pending order of which `units` were executed in total."""
    into = position or (0 if book.nets else order.ticket)
    own = book.orders_by_ticket.get(order.ticket)
    since_msc = order.time_setup * 1000 or (own.server_time_msc if own is not None else 0)
    wanted = Unbooked(order.symbol, units, into, since_msc)
    expect_deals(book, order.ticket, wanted, in_parts=True)


def _halt_raised(book: BookState, event: events.HaltRaised) -> None:
    book.halts[event.identifier] = event


def _account_bound(book: BookState, event: events.AccountBound) -> None:
    if book.bound not in (None, Bound(event.login, event.server)):
        # Identifiers and money belong to an account; those of the old account mean nothing here.
        book.closed.clear()
        book.unexplained.clear()
        book.changed_ns.clear()
        book.unbooked = UnbookedOrders()
        book.ending.clear()
        book.recent.clear()
        book.claims.clear()
        book.realised_closed_units = 0
        book.realised_by.clear()
        book.compared, book.agreed_msc = None, 0
        book.figures = None
        book.reached.clear()
        book.proposals.clear()
    was_bound, was_shared = book.account is not None, book.shares_positions
    book.account = event
    if was_bound and was_shared != book.shares_positions:
        rebuild_claims(book)


def _history_compared(book: BookState, event: events.HistoryCompared) -> None:
    book.compared = event
    if event.is_whole:
        book.agreed_msc = event.until_msc


def _loss_found(book: BookState, event: events.LossFound) -> None:
    book.loss = event
    book.recalled = event.record or book.recalled


def _loss_accepted(book: BookState, event: events.LossAccepted) -> None:
    book.loss = None


def _stream_taken_over(book: BookState, event: events.StreamTakenOver) -> None:
    other = BookState()
    fill_from(other, event.book.encode())
    take_over(book, other)


def _stream_closed(book: BookState, event: events.StreamClosed) -> None:
    """Change nothing: readers see the book as it was when the stream ended."""


def _figures_noted(book: BookState, event: events.FiguresNoted) -> None:
    book.figures = event


def _limit_reached(book: BookState, event: events.LimitReached) -> None:
    book.reached[event.limit] = event


def _limit_ended(book: BookState, event: events.LimitEnded) -> None:
    book.reached.pop(event.limit, None)


def _trading_paused(book: BookState, event: events.TradingPaused) -> None:
    book.paused = event


def _trading_resumed(book: BookState, event: events.TradingResumed) -> None:
    book.paused = None


def _told(book: BookState, event: events.SyncAsked | events.BotStopped) -> None:
    """Change nothing: what a person tells the process changes no position and no order."""


def _proposal_made(book: BookState, event: events.ProposalMade) -> None:
    book.proposals[event.proposal_id] = Proposal(event)


def _proposal_ended(book: BookState, event: events.ProposalEnded) -> None:
    end_proposal(book.proposals, event)


def _wish_refused(book: BookState, event: events.WishRefused) -> None:
    """Change nothing: nothing was sent."""


def _watched(
    book: BookState, event: events.WatchBegan | events.BrokerSeen | events.ReadingsLost
) -> None:
    """Change nothing: a watch notes what no book has; see `observe.shadow`."""


def _advance(book: BookState, event: events.OrderEvent) -> Order:
    order = book.orders[event.order_id]
    order.status = advance(order.status, type(event))
    book.in_doubt.pop(order.order_id, None)
    return order


def _record_fill(
    book: BookState, order: Order, ticket: int, volume: float, price: float | None, at_ns: int
) -> None:
    order.ticket, order.filled_volume, order.fill_price = ticket, volume, price
    order.fill_ns = at_ns
    _index_ticket(book, ticket, order)


def _index_ticket(book: BookState, ticket: int, order: Order) -> None:
    """Index an order by its ticket, but never replace the order that opened a position.

    Some gateways answer a close with the ticket of the closed position.
    """
    # A foreign position has no order in the index that could be replaced, so compare its numbers.
    if any(ticket in (row.ticket, row.identifier) for row in order.foreign):
        return
    known = book.orders_by_ticket.get(ticket)
    if known is None or (known.is_stand_in and not order.position):
        book.orders_by_ticket[ticket] = order


def _finish_unless_held(book: BookState, order: Order) -> None:
    holding = book.holdings.get(order.ticket or 0) or book.holdings.get(order.position)
    if holding is None or order.order_id not in holding.order_ids:
        finish(book, order.order_id)


FOLD: dict[type[events.Event], Callable[[BookState, Any], None]] = {
    events.OrderCreated: _order_created,
    events.SendStarted: _send_started,
    events.OrderFilled: _order_filled,
    events.OrderApplied: _order_applied,
    events.OrderRejected: _order_ended,
    events.OrderInDoubt: _order_ended,
    events.OrderCanceled: _order_canceled,
    events.OrderSettled: _order_settled,
    events.OutcomeDelivered: _outcome_delivered,
    events.PositionAdopted: _position_adopted,
    events.PositionClosed: _position_closed,
    events.PositionMissing: _position_missing,
    events.PositionFound: _position_found,
    events.PositionCorrected: _position_corrected,
    events.DealsRecorded: _deals_recorded,
    events.PendingAdopted: _pending_adopted,
    events.PendingClosed: _pending_closed,
    events.PendingCorrected: _pending_corrected,
    events.HaltRaised: _halt_raised,
    events.AccountBound: _account_bound,
    events.HistoryCompared: _history_compared,
    events.LossFound: _loss_found,
    events.LossAccepted: _loss_accepted,
    events.StreamTakenOver: _stream_taken_over,
    events.StreamClosed: _stream_closed,
    events.FiguresNoted: _figures_noted,
    events.LimitReached: _limit_reached,
    events.LimitEnded: _limit_ended,
    events.TradingPaused: _trading_paused,
    events.TradingResumed: _trading_resumed,
    events.SyncAsked: _told,
    events.BotStopped: _told,
    events.ProposalMade: _proposal_made,
    events.ProposalEnded: _proposal_ended,
    events.WishRefused: _wish_refused,
    events.WatchBegan: _watched,
    events.BrokerSeen: _watched,
    events.ReadingsLost: _watched,
}
