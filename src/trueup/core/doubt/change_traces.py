"""What shows of a change of stops, or of a cancellation, whose answer was lost.

Neither leaves a token or an order of its own at the broker. The gateway's record says what became
of it. Without a word of the record a list proves an effect, and never that there was none: a
position can end after its stops were changed, and a pending order leaves the list by being filled,
too. What nothing says is not known, and is called so.
"""

from __future__ import annotations

from trueup.core.book.order import Order
from trueup.core.doubt.said_by_record import is_done, not_by_record
from trueup.core.doubt.trace import MAY_BE_LOADING, Trace, untold
from trueup.core.model import Evidence, Position, Snapshot
from trueup.core.quantity import same
from trueup.core.recovery import BrokerShows

HISTORY_UNREAD = "the history could not be read"
BY_RECORD = "the gateway's record has it as done"
# MetaTrader's states of an order that works no longer, in lower case (ENUM_ORDER_STATE).
ENDED_BY_ITSELF = frozenset({"filled", "expired", "rejected"})


def of_modification(order: Order, snapshot: Snapshot, evidence: Evidence) -> Trace:
    """Return what a snapshot with evidence shows of a change of stops."""
    if is_done(order, evidence):
        # Whatever the levels are now: somebody may have changed them since, or the position ended.
        return Trace(BrokerShows.OPEN, BY_RECORD)
    said = not_by_record(order, evidence)
    if said is not None:
        return said
    position = _position_of(order, snapshot)
    if position is not None:
        return _by_levels(order, position)
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    if evidence.history is None:
        return Trace(BrokerShows.UNSEEN, HISTORY_UNREAD)
    words = "the position is no longer open, and the gateway's record does not say"
    return untold(words, is_final=True)


def of_modification_without_evidence(order: Order, snapshot: Snapshot) -> Trace:
    """Return what the guide's wire shows of a change of stops; many of its lists have no stops."""
    position = _position_of(order, snapshot)
    if position is not None and (order.sl or order.tp) and _has_levels(order, position):
        return _by_levels(order, position)
    return untold("this gateway keeps no record, and its list does not say")


def of_cancellation(order: Order, evidence: Evidence) -> Trace:
    """Return what a snapshot with evidence shows of a cancellation."""
    is_listed = any(pending.ticket == order.target for pending in evidence.orders)
    if is_done(order, evidence):
        if is_listed:
            return Trace(BrokerShows.UNSEEN, f"{BY_RECORD}, and the broker still lists the order")
        return Trace(BrokerShows.OPEN, BY_RECORD)
    said = not_by_record(order, evidence)
    if said is not None:
        return said
    if is_listed:
        return Trace(BrokerShows.NO_TRACE, "the pending order still works")
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
    return untold("the pending order works no longer, and neither record nor history says why")


def of_cancellation_without_evidence() -> Trace:
    """Return what the guide's wire shows of a cancellation: it lists no pending orders."""
    return untold("this gateway keeps no record, and lists no pending orders")


def _by_levels(order: Order, position: Position) -> Trace:
    if _has_levels(order, position):
        return Trace(BrokerShows.OPEN, "the position has the levels that were meant")
    return Trace(BrokerShows.NO_TRACE, "the position has other levels")


def _has_levels(order: Order, position: Position) -> bool:
    return same(position.sl, order.sl) and same(position.tp, order.tp)


def _position_of(order: Order, snapshot: Snapshot) -> Position | None:
    return next((p for p in snapshot.positions if p.identifier == order.position), None)


def _end_of(ticket: int, evidence: Evidence) -> str | None:
    """Return the state in which a pending order ended, None where nothing says."""
    past = evidence.history.orders if evidence.history else ()
    states = {one.ticket: one.state for one in past}
    states |= {one.ticket: one.state for one in evidence.past_orders}
    return states.get(ticket)
