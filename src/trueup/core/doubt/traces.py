"""What a gateway with a history shows of an order in doubt.

Looked for in this order: the gateway's own record of the request, which has the lost answer, and
with it the ticket; then the token, in the comment or the magic number of a position, a pending
order or a past order; then, where a broker rewrote the comment, the only order that fits by magic,
side, volume, symbol and time, as far as `core.doubt.lookalikes` calls it ours. What only changes or
cancels something bears no token, and is `core.doubt.change_traces`.

Absence counts only in a history that covers the sending, and that has what we know was done, or in
a record that covers it. A terminal counts only while the account may trade on it, which it allows
last, after it has loaded everything (MT5 reference, "trading has been enabled" in a terminal's
journal).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.deals import history_of
from trueup.core.doubt.change_traces import of_cancellation, of_modification
from trueup.core.doubt.lookalikes import Habits, Shown, fitting, lacking_in
from trueup.core.doubt.said_by_record import not_by_record, recorded
from trueup.core.doubt.trace import MAY_BE_LOADING, Trace
from trueup.core.gateway_record import RequestState
from trueup.core.model import Deal, Evidence, HistoryOrder, PendingOrder, Position, Snapshot
from trueup.core.quantity import from_units, to_units
from trueup.core.realised.reopening import may_still_show, moved_on
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import bears

REFUSED_STATES = frozenset({"rejected", "canceled", "expired"})


def trace_of(
    order: Order, rivals: Sequence[Order], snapshot: Snapshot, book: Book, habits: Habits
) -> Trace:
    """Return what a snapshot with evidence shows of an order in doubt.

    `rivals` are all orders in doubt, with itself, and `habits` what the broker does to comments.
    """
    evidence = snapshot.evidence
    if evidence is None:
        return Trace(BrokerShows.UNSEEN, "this gateway shows no history")
    if order.kind is OrderKind.MODIFY:
        return of_modification(order, snapshot, evidence)
    if order.kind is OrderKind.CANCEL:
        return of_cancellation(order, evidence)
    refused = not_by_record(order, evidence)
    if refused is not None and refused.is_final:
        return refused
    return (
        _by_token(order, snapshot, evidence)
        or _by_record(order, snapshot, evidence, book)
        or _by_evidence(order, rivals, snapshot, evidence, book, habits)
    )


def nobodys(candidates: Sequence[Trace], what: str, is_alone: bool = False) -> Trace:
    """Return that some fit, and that only a person can say which one is the order, if any."""
    names = [f"{what} {candidate.ticket}" for candidate in candidates]
    said = f"fits {len(names)} ({', '.join(names)}), or other orders fit the same one"
    if is_alone:
        said = f"fits {names[0]}, and nothing shows that this is ours"
    return Trace(BrokerShows.UNSEEN, said, is_nobodys=True, candidates=tuple(candidates))


def _by_token(order: Order, snapshot: Snapshot, evidence: Evidence) -> Trace | None:
    if not order.token:
        return None
    in_magic = order.wire_magic != order.magic
    orders = evidence.history.orders if evidence.history else ()
    ours = [o for o in orders if bears(o.comment, o.magic, order.token, in_magic=in_magic)]
    if ours:
        # A rollover closes and opens a position by orders of its own, which bear the token too.
        first = min(ours, key=lambda past: past.ticket)
        return _of_past(order, first, snapshot, evidence, "by its token")
    for position in snapshot.positions:
        if bears(position.comment, position.magic, order.token, in_magic=in_magic):
            said = recorded(order, evidence)
            return _of_position(order, position, "by its token", said.ticket if said else 0)
    for pending in evidence.orders:
        if bears(pending.comment, pending.magic, order.token, in_magic=in_magic):
            return _of_working(order, pending, "by its token")
    return None


def _by_record(order: Order, snapshot: Snapshot, evidence: Evidence, book: Book) -> Trace | None:
    """Find what the gateway's record has of an order, by the ticket that the broker gave it."""
    said = recorded(order, evidence)
    if said is None or not said.ticket:
        return not_by_record(order, evidence)
    words = f"by the gateway's record, ticket {said.ticket}"
    for past in evidence.history.orders if evidence.history else ():
        if past.ticket == said.ticket:
            trace = _of_past(order, past, snapshot, evidence, words)
            return trace if trace.price else msgspec.structs.replace(trace, price=said.price)
    for position in snapshot.positions:
        if said.ticket in (position.ticket, position.identifier) and not order.position:
            return _of_position(order, position, words, said.ticket)
    for pending in evidence.orders:
        if pending.ticket == said.ticket:
            return _of_working(order, pending, words)
    if said.state is RequestState.SETTLED or evidence.history is None:
        words = f"{said.status or 'sent'} {words}; the broker does not show it yet"
        return Trace(BrokerShows.UNSEEN, words)
    # The broker gave it that ticket, so no other order is this one, however well it fits.
    return _absent(f"the broker shows nothing of ticket {said.ticket}", evidence, book)


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
    found = fitting(order, rivals, snapshot, book, habits)
    if found.ours is not None:
        return _of_shown(order, found.ours, snapshot, evidence, "the only order that fits")
    if found.candidates:
        words = "if it is that one"
        would_be = [_of_shown(order, c, snapshot, evidence, words) for c in found.candidates]
        return nobodys(would_be, "order", found.is_alone)
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    return _absent(f"nothing fits in the last {history.age_sec} s of history", evidence, book)


def _absent(words: str, evidence: Evidence, book: Book) -> Trace:
    """Return that the broker shows nothing of an order, unless it shows less than we know."""
    lacking = lacking_in(evidence, book)
    if lacking is None:
        return Trace(BrokerShows.NO_TRACE, words)
    said = f"the history lacks order {lacking.ticket}, which was done: it is not whole"
    return Trace(BrokerShows.UNSEEN, said)


def _of_shown(
    order: Order, one: Shown, snapshot: Snapshot, evidence: Evidence, words: str
) -> Trace:
    if isinstance(one, PendingOrder):
        trace = _of_working(order, one, words)
    else:
        trace = _of_past(order, one, snapshot, evidence, words)
    return msgspec.structs.replace(trace, ticket=one.ticket, comment=one.comment)


def _of_position(order: Order, position: Position, words: str, ticket: int) -> Trace:
    """Return what an open position shows of an order with this ticket, 0 where nothing tells it.

    A position has the ticket of its first order until the broker opens it again: then it has
    another ticket, and the comment that it had.
    """
    return Trace(
        BrokerShows.OPEN,
        words,
        ticket=ticket or position.ticket,
        position=position.identifier,
        volume=order.volume,
        price=position.price_open,
    )


def _of_working(order: Order, working: PendingOrder, words: str) -> Trace:
    if order.kind is OrderKind.MARKET:
        return Trace(BrokerShows.UNSEEN, f"the broker still works on it, {words}")
    return Trace(BrokerShows.OPEN, words, ticket=working.ticket)


def _of_past(
    order: Order, past: HistoryOrder, snapshot: Snapshot, evidence: Evidence, words: str
) -> Trace:
    if past.filled <= 0 and past.state in REFUSED_STATES:
        said = f"the history has it as {past.state}, {words}"
        return Trace(BrokerShows.NO_TRACE, said, ticket=past.ticket, is_final=True)
    deals = evidence.history.deals if evidence.history else ()
    own = [deal for deal in deals if deal.order == past.ticket]
    trace = Trace(
        BrokerShows.OPEN,
        words,
        ticket=past.ticket,
        position=past.position,
        volume=past.filled or order.volume,
        price=_price(own),
    )
    is_open = any(p.identifier == past.position for p in snapshot.positions)
    if order.position or is_open or past.position in _pending_tickets(evidence):
        return trace
    history = history_of(past.position, deals)
    if not history.is_closed:
        return Trace(BrokerShows.UNSEEN, "it was executed, and its position is not visible yet")
    outs = moved_on(history.deals)
    if outs and may_still_show(outs[-1], evidence.server_time_msc, 0):
        said = "it was executed, and its position closed to be opened again, which is not visible"
        return Trace(BrokerShows.UNSEEN, f"{said} yet")
    return msgspec.structs.replace(trace, shows=BrokerShows.CLOSED)


def _pending_tickets(evidence: Evidence) -> set[int]:
    return {pending.ticket for pending in evidence.orders}


def _price(deals: Sequence[Deal]) -> float | None:
    """Return the volume-weighted price of deals, or None without any."""
    volume = sum(to_units(deal.volume) for deal in deals)
    if not volume:
        return None
    return from_units(to_units(sum(d.price * to_units(d.volume) for d in deals) / volume))
