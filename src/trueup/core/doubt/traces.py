"""Find the trace of an order in doubt on a gateway with a history.

The search has this order. First a final answer in the gateway's record of the request, which has
the lost reply. Then the token, in the comment or the magic number of a past order, a position or a
pending order. Then the ticket in the gateway's record. Then, if a broker rewrote the comment, the
only order that matches by magic, side, volume, symbol and time, if `core.doubt.lookalikes` decides
that it is ours. Modifications and cancellations carry no token; `core.doubt.change_traces` handles
them.

At an exchange the rest of a market order works on after a part was filled. Such an order stays in
doubt until the rest is filled, cancelled or expired, because only then its lots are known. Its
position is ours meanwhile, with the lots that the broker's list has.

Absence counts only in a history that covers the sending and contains all orders known to be
executed, or in a record that covers the sending. A terminal's answer counts only while the account
may trade on the terminal, because the terminal allows trading last, after it has loaded everything
(MT5 reference, "trading has been enabled" in a terminal's journal).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.book.realised import known_deals
from trueup.core.deals import Comparison, history_of
from trueup.core.doubt.absent import absent
from trueup.core.doubt.change_traces import (
    of_cancellation,
    of_modification,
    of_order_modification,
)
from trueup.core.doubt.close_by_traces import of_close_by
from trueup.core.doubt.lookalikes import (
    CLOCKS_APART_MSC,
    Habits,
    Shown,
    all_orders,
    bears_token_of,
    fitting,
)
from trueup.core.doubt.recorded_request import not_by_record, recorded
from trueup.core.doubt.trace import MAY_BE_LOADING, Trace, filled_in_part
from trueup.core.gateway_record import RequestState
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.model import (
    Deal,
    DealReason,
    Evidence,
    HistoryOrder,
    MarginMode,
    PendingOrder,
    Position,
    Snapshot,
)
from trueup.core.quantity import add_lots, from_units, same, to_units
from trueup.core.realised.reopening import may_still_show, moved_on, reopened_by
from trueup.core.recovery import BrokerShows

REFUSED_STATES = frozenset({"rejected", "canceled", "expired"})


def trace_of(
    order: Order, rivals: Sequence[Order], snapshot: Snapshot, book: Book, habits: Habits
) -> Trace:
    """Return the trace of an order in doubt in a snapshot with evidence.

    `rivals` are all orders in doubt, including this order; `habits` are the broker's known changes
    of comments.
    """
    evidence = snapshot.evidence
    if evidence is None:
        return Trace(BrokerShows.UNSEEN, "this gateway shows no history")
    if order.kind is OrderKind.MODIFY:
        return of_modification(order, snapshot, evidence)
    if order.kind is OrderKind.CANCEL:
        return of_cancellation(order, evidence)
    if order.kind is OrderKind.MODIFY_ORDER:
        return of_order_modification(order, evidence, book)
    if order.kind is OrderKind.CLOSE_BY:
        return of_close_by(order, evidence, book)
    # A final word of the record ends the search, so that no similar order can be taken for ours.
    refused = not_by_record(order, evidence)
    if refused is not None and refused.is_final:
        return refused
    return (
        _by_token(order, snapshot, evidence, book)
        or _by_record(order, snapshot, evidence, book)
        or _by_evidence(order, rivals, snapshot, evidence, book, habits)
    )


def undecided(candidates: Sequence[Trace], noun: str, is_alone: bool = False) -> Trace:
    """Return the trace of an order with matches among which only a person can decide."""
    names = [f"{noun} {candidate.ticket}" for candidate in candidates]
    words = f"fits {len(names)} ({', '.join(names)}), or other orders fit the same one"
    if is_alone:
        words = f"fits {names[0]}, and nothing shows that this is ours"
    return Trace(BrokerShows.UNSEEN, words, needs_person=True, candidates=tuple(candidates))


def _by_token(order: Order, snapshot: Snapshot, evidence: Evidence, book: Book) -> Trace | None:
    # Of an order in both lists the history counts: only it shows whether it was filled or refused.
    ours = [shown for shown in all_orders(evidence) if bears_token_of(order, shown)]
    request = recorded(order, evidence)
    ticket = request.ticket if request else 0
    if ticket:
        # The order itself may not show yet, and the broker's own orders for a split do.
        ours = [shown for shown in ours if shown.ticket == ticket]
    if ours:
        # The broker's own orders for a rollover carry the token too; the first order is ours.
        first = min(ours, key=lambda shown: shown.ticket)
        if isinstance(first, PendingOrder):
            return _of_working(order, first, snapshot, evidence, "by its token")
        return _of_past(order, first, snapshot, evidence, book, "by its token")
    for position in snapshot.positions:
        if bears_token_of(order, position):
            is_anothers = _is_anothers(order, position, evidence, book)
            if not ticket and is_anothers and evidence.history is not None:
                words = f"it went into position {position.identifier}, and does not show itself yet"
                return Trace(BrokerShows.UNSEEN, words)
            return _of_position(order, position, "by its token", evidence, ticket)
    return None


def _is_anothers(order: Order, position: Position, evidence: Evidence, book: Book) -> bool:
    """Return whether another order opened a shared position, which then has the ticket of that one.

    Only where none of the broker's orders that are shown bears the token of `order`.
    """
    opener = book.orders_by_ticket.get(position.ticket)
    if opener is not None:
        return opener != order
    if evidence.account.margin_mode is MarginMode.HEDGING:
        return False
    is_older = 0 < position.time_msc < order.server_time_msc - CLOCKS_APART_MSC
    deals = _deals_of(position.ticket, evidence)
    is_not_ours = any(deal.magic != order.wire_magic for deal in deals)
    is_shown = any(shown.ticket == position.ticket for shown in all_orders(evidence))
    return is_older or is_not_ours or is_shown


def _by_record(order: Order, snapshot: Snapshot, evidence: Evidence, book: Book) -> Trace | None:
    """Find the order at the broker by the ticket in the gateway's record."""
    request = recorded(order, evidence)
    if request is None or not request.ticket:
        return not_by_record(order, evidence)
    words = f"by the gateway's record, ticket {request.ticket}"
    for past in evidence.history.orders if evidence.history else ():
        if past.ticket == request.ticket:
            trace = _of_past(order, past, snapshot, evidence, book, words)
            # The deals may be late, but the record has the price of the fill.
            return trace if trace.price else msgspec.structs.replace(trace, price=request.price)
    # Before the positions: a part of it may have opened one already.
    for pending in evidence.orders:
        if pending.ticket == request.ticket:
            return _of_working(order, pending, snapshot, evidence, words)
    for position in snapshot.positions:
        if request.ticket in (position.ticket, position.identifier) and not order.position:
            return _of_position(order, position, words, evidence, request.ticket)
    # A known outcome proves the execution, so wait for the broker instead of giving up.
    if request.state is RequestState.SETTLED or evidence.history is None:
        words = f"{request.status or 'sent'} {words}; the broker does not show it yet"
        return Trace(BrokerShows.UNSEEN, words)
    # The broker gave the order this ticket, so no order with another ticket can be this order.
    return absent(f"the broker shows nothing of ticket {request.ticket}", evidence, book)


def _by_evidence(
    order: Order,
    rivals: Sequence[Order],
    snapshot: Snapshot,
    evidence: Evidence,
    book: Book,
    habits: Habits,
) -> Trace:
    history = evidence.history
    if history is None:
        return Trace(BrokerShows.UNSEEN, "the history could not be read")
    # Only without token and record: similarity is the weakest evidence.
    found = fitting(order, rivals, snapshot, book, habits)
    if found.ours is not None:
        return _of_shown(order, found.ours, snapshot, evidence, book, "the only order that fits")
    if found.candidates:
        words = "if it is that one"
        traces_if_ours = [
            _of_shown(order, c, snapshot, evidence, book, words) for c in found.candidates
        ]
        return undecided(traces_if_ours, "order", found.is_alone)
    # A loading terminal shows an incomplete history, in which an absence proves nothing.
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    return absent(f"nothing fits in the last {history.age_sec} s of history", evidence, book)


def _of_shown(
    order: Order, shown: Shown, snapshot: Snapshot, evidence: Evidence, book: Book, words: str
) -> Trace:
    if isinstance(shown, PendingOrder):
        trace = _of_working(order, shown, snapshot, evidence, words)
    else:
        trace = _of_past(order, shown, snapshot, evidence, book, words)
    return msgspec.structs.replace(trace, ticket=shown.ticket, comment=shown.comment)


def _of_position(
    order: Order,
    position: Position,
    words: str,
    evidence: Evidence,
    ticket: int,
    volume: float = 0.0,
) -> Trace:
    """Return the trace of an order that went into this position.

    `ticket` and `volume` (lots) are those of the order, 0 if they are not known.

    A position has the ticket of its first order until the broker opens the position again: then it
    has another ticket and keeps its comment.
    """
    ticket = ticket or position.ticket
    price: float | None = position.price_open
    own = _deals_of(ticket, evidence)
    request = recorded(order, evidence)
    # The open price of a shared position averages the fills of all orders that went into it.
    is_whole = same(position.volume, order.volume)
    is_opened = ticket == position.identifier and is_whole
    is_shared = evidence.account.margin_mode is not MarginMode.HEDGING
    # A position that the broker has opened again has the price of that, and another ticket.
    is_reopened = position.ticket != position.identifier
    # Variation margin gives a position the price at which it is settled, and its deals keep theirs.
    is_settled = any(
        deal.position == position.identifier and deal.reason is DealReason.VARIATION_MARGIN
        for deal in _deals(evidence)
    )
    is_told_by_deals = is_settled or same(_volume(own), position.volume)
    if (is_shared and not is_opened) or is_reopened or is_told_by_deals:
        price = _price(own)
    if is_reopened and price is None:
        price = request.price if request is not None else None
    if not volume and request is not None:
        volume = request.volume
    # The order may have been filled in part, and the rest cancelled.
    if not volume:
        volume = order.volume if (is_opened if is_shared else is_whole) else _volume(own)
        if order.kind is OrderKind.MARKET and _may_have_more(volume, order, own, evidence):
            words = f"it went into position {position.identifier}, and its history is not visible"
            return Trace(BrokerShows.UNSEEN, f"{words} yet", position=position.identifier)
    return Trace(
        BrokerShows.OPEN,
        words,
        ticket=ticket,
        position=position.identifier,
        volume=volume,
        price=price,
    )


def _may_have_more(volume: float, order: Order, own: Sequence[Deal], evidence: Evidence) -> bool:
    """Return whether an order that shows in no list yet may have more lots than its deals show."""
    if same(volume, order.volume):
        return False
    newest_msc = max((deal.time_msc for deal in own), default=evidence.server_time_msc)
    return evidence.server_time_msc - newest_msc < LONGEST_MS


def _of_working(
    order: Order, working: PendingOrder, snapshot: Snapshot, evidence: Evidence, words: str
) -> Trace:
    if order.kind is not OrderKind.MARKET:
        return Trace(BrokerShows.OPEN, words, ticket=working.ticket)
    ticket, filled = working.ticket, add_lots(order.volume, -working.volume)
    held = snapshot.positions
    into = [row for row in held if row.identifier == ticket or bears_token_of(order, row)]
    # An exchange lists a filled order for a moment, with no lots left.
    if into and not working.volume:
        return _of_position(order, into[0], words, evidence, ticket, order.volume)
    state = "the broker still works on it"
    if working.volume and filled > 0:
        state = filled_in_part(ticket, filled, order.volume)
    # With the ticket, because the position of a first part is ours.
    return Trace(
        BrokerShows.UNSEEN,
        f"{state}, {words}",
        ticket=ticket,
        position=into[0].identifier if into else 0,
    )


def _of_past(
    order: Order,
    past: HistoryOrder,
    snapshot: Snapshot,
    evidence: Evidence,
    book: Book,
    words: str,
) -> Trace:
    # No part was executed and the state is final, so no further waiting is needed.
    if past.filled <= 0 and past.state in REFUSED_STATES:
        words = f"the history has it as {past.state}, {words}"
        return Trace(BrokerShows.NO_TRACE, words, ticket=past.ticket, is_final=True)
    deals = evidence.history.deals if evidence.history else ()
    own = _deals_of(past.ticket, evidence)
    volume = from_units(to_units(past.filled or order.volume))
    trace = Trace(
        BrokerShows.OPEN,
        words,
        ticket=past.ticket,
        position=past.position,
        volume=volume,
        # The last of several deals may still be on its way.
        price=_price(own) if add_lots(_volume(own), -volume) >= 0 else None,
    )
    # A closing order has an effect even if its position is closed now; an open position is a proof.
    is_open = any(p.identifier == past.position for p in snapshot.positions)
    if order.position or is_open or past.position in _pending_tickets(evidence):
        return trace
    # The position is in no list: only its deals can prove that it was closed since. The broker may
    # have archived its first deals after the book counted them.
    history = history_of(past.position, deals)
    known = Comparison(history, known_deals(book, past.position))
    if not history.is_closed and (not history.deals or known.all_units != 0):
        return Trace(BrokerShows.UNSEEN, "it was executed, and its position is not visible yet")
    # After a rollover the successor carries the order's result, so wait until it can show.
    outs = moved_on(history.deals)
    is_shown = bool(outs) and reopened_by(outs[-1], past.position, deals)
    if outs and not is_shown and may_still_show(outs[-1], evidence.server_time_msc, 0):
        words = "it was executed, and its position closed to be opened again, which is not visible"
        return Trace(BrokerShows.UNSEEN, f"{words} yet")
    return msgspec.structs.replace(trace, shows=BrokerShows.CLOSED)


def _pending_tickets(evidence: Evidence) -> set[int]:
    return {pending.ticket for pending in evidence.orders}


def _deals(evidence: Evidence) -> Sequence[Deal]:
    """Return the visible deals, each once."""
    shown = (*(evidence.history.deals if evidence.history else ()), *evidence.deals)
    return tuple({deal.ticket: deal for deal in shown}.values())


def _deals_of(ticket: int, evidence: Evidence) -> Sequence[Deal]:
    """Return the visible deals of an order, each once."""
    return tuple(deal for deal in _deals(evidence) if deal.order == ticket)


def _volume(deals: Sequence[Deal]) -> float:
    return from_units(sum(to_units(deal.volume) for deal in deals))


def _price(deals: Sequence[Deal]) -> float | None:
    """Return the volume-weighted price of deals, or None without any."""
    volume = sum(to_units(deal.volume) for deal in deals)
    if not volume:
        return None
    return from_units(to_units(sum(d.price * to_units(d.volume) for d in deals) / volume))
