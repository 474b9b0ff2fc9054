"""Find the trace of an order that changes what exists, with a lost reply.

A modification of stops or a cancellation leaves no token and no order of its own at the broker. The
gateway's record has the outcome. Without the record, a list can prove an effect, but never the lack
of an effect: a position can close after its stops were changed, and a pending order can leave the
list because it was filled. Without any evidence the outcome is recorded as not known.

On the guide's wire the same applies to the close of a position that the book did not have: no
difference between book and list can show that close, so its lots in the list are compared with
those of the row by which the order was sent.
"""

from __future__ import annotations

from trueup.core.book.book import Book
from trueup.core.book.order import Order
from trueup.core.doubt.recorded_request import is_done, not_by_record
from trueup.core.doubt.trace import MAY_BE_LOADING, Trace, not_known
from trueup.core.model import Evidence, PendingOrder, Position, Snapshot
from trueup.core.quantity import add_lots, same
from trueup.core.recovery import BrokerShows

HISTORY_UNREAD = "the history could not be read"
BY_RECORD = "the gateway's record has it as done"
# MetaTrader's states of an order that is no longer active, in lower case (ENUM_ORDER_STATE).
ENDED_BY_ITSELF = frozenset({"filled", "expired", "rejected"})


def of_modification(order: Order, snapshot: Snapshot, evidence: Evidence) -> Trace:
    """Return the trace of a modification of stops in a snapshot with evidence."""
    if is_done(order, evidence):
        # Ignore the current levels: they may have been changed since, or the position was closed.
        return Trace(BrokerShows.OPEN, BY_RECORD)
    not_done = not_by_record(order, evidence)
    if not_done is not None:
        return not_done
    # The levels of an open position prove an effect without the record.
    position = _position_of(order, snapshot)
    if position is not None:
        return _by_levels(order, position)
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    if evidence.history is None:
        return Trace(BrokerShows.UNSEEN, HISTORY_UNREAD)
    words = "the position is no longer open, and the gateway's record does not say"
    return not_known(words, is_final=True)


def of_modification_without_evidence(order: Order, snapshot: Snapshot) -> Trace:
    """Return the trace of a modification on the guide's wire; many of its lists have no stops."""
    position = _position_of(order, snapshot)
    if position is not None and (order.sl or order.tp) and _has_levels(order, position):
        return _by_levels(order, position)
    return not_known("this gateway keeps no record, and its list does not say")


def of_cancellation(order: Order, evidence: Evidence) -> Trace:
    """Return the trace of a cancellation in a snapshot with evidence."""
    is_listed = any(pending.ticket == order.target for pending in evidence.orders)
    if is_done(order, evidence):
        # The list is late; wait, so that the book and the list do not contradict each other.
        if is_listed:
            return Trace(BrokerShows.UNSEEN, f"{BY_RECORD}, and the broker still lists the order")
        return Trace(BrokerShows.OPEN, BY_RECORD)
    not_done = not_by_record(order, evidence)
    if not_done is not None:
        return not_done
    if is_listed:
        return Trace(BrokerShows.NO_TRACE, "the pending order still works")
    # The order left the list: only its state in the history shows whether by our cancellation.
    state = _end_of(order.target, evidence)
    if state == "canceled":
        return Trace(BrokerShows.OPEN, "the history has the pending order as canceled")
    if state in ENDED_BY_ITSELF:
        words = f"the history has the pending order as {state}"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True)
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    if evidence.history is None:
        return Trace(BrokerShows.UNSEEN, HISTORY_UNREAD)
    return not_known("the pending order works no longer, and neither record nor history says why")


def of_order_modification(order: Order, evidence: Evidence, book: Book) -> Trace:
    """Return the trace of a modification of a pending order in a snapshot with evidence."""
    if is_done(order, evidence):
        return Trace(BrokerShows.OPEN, BY_RECORD)
    not_done = not_by_record(order, evidence)
    if not_done is not None:
        return not_done
    listed = next((row for row in evidence.orders if row.ticket == order.target), None)
    if listed is not None:
        if not _has_prices(order, listed):
            return Trace(BrokerShows.NO_TRACE, "the pending order has other prices")
        # The list does not show when an order ends. So without a change of a price, nothing shows
        # whether a change of that moment was made.
        before = book.pending.get(order.target)
        if order.terms.time is not None and (before is None or _has_prices(order, before.order)):
            return not_known("the list does not show when a pending order ends")
        return Trace(BrokerShows.OPEN, "the pending order has the prices that were meant")
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    if evidence.history is None:
        return Trace(BrokerShows.UNSEEN, HISTORY_UNREAD)
    words = "the pending order works no longer, and the gateway's record does not say"
    return not_known(words, is_final=True)


def of_pending_order_without_evidence() -> Trace:
    """Return the trace of a change of a pending order on the guide's wire, which lists none."""
    return not_known("this gateway keeps no record, and lists no pending orders")


def of_foreign_close_without_evidence(order: Order, snapshot: Snapshot) -> Trace:
    """Return the trace of a close of a foreign position on the guide's wire."""
    (before,) = order.foreign
    listed = next((p for p in snapshot.positions if p.identifier == order.position), None)
    # The reading may lack the row of the position, and nothing else here could show its end.
    if listed is None and snapshot.faults:
        return Trace(BrokerShows.UNSEEN, "the reading is partial")
    net_volume = 0.0 if listed is None else listed.net_volume
    if same(net_volume, before.net_volume):
        return Trace(BrokerShows.NO_TRACE, "the position has all its lots")
    if not same(net_volume, add_lots(before.net_volume, order.side.sign * order.volume)):
        return not_known("this gateway keeps no record, and the position has other lots")
    return Trace(
        BrokerShows.OPEN,
        "the list shows its effect, unproven: somebody else may have closed the lots",
        ticket=before.ticket,
        position=order.position,
        volume=order.volume,
    )


def _by_levels(order: Order, position: Position) -> Trace:
    if _has_levels(order, position):
        return Trace(BrokerShows.OPEN, "the position has the levels that were meant")
    return Trace(BrokerShows.NO_TRACE, "the position has other levels")


def _has_levels(order: Order, position: Position) -> bool:
    return same(position.sl, order.sl) and same(position.tp, order.tp)


def _has_prices(order: Order, listed: PendingOrder) -> bool:
    if not (same(listed.sl, order.sl) and same(listed.tp, order.tp)):
        return False
    # Once its price was reached, a stop-limit order is a limit order at its second price.
    if order.stoplimit and not listed.price_stoplimit:
        return same(listed.price_open, order.stoplimit)
    return same(listed.price_open, order.entry_price) and same(
        listed.price_stoplimit, order.stoplimit
    )


def _position_of(order: Order, snapshot: Snapshot) -> Position | None:
    return next((p for p in snapshot.positions if p.identifier == order.position), None)


def _end_of(ticket: int, evidence: Evidence) -> str | None:
    """Return the state in which a pending order ended, None if not known."""
    past = evidence.history.orders if evidence.history else ()
    states = {order.ticket: order.state for order in past}
    states |= {order.ticket: order.state for order in evidence.past_orders}
    return states.get(ticket)
