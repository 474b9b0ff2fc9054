"""Reconcile pending orders, like positions, with the states in which an order can end.

A pending order leaves the list when it is filled, cancelled, expired or rejected, and the order
history has the state (MQL5 reference, ENUM_ORDER_STATE). A filled order is not a ghost, and its
position is not a zombie: both have the same ticket. The executed volume is counted in each case,
because the order may have been filled in part before it was cancelled, and its position may already
be closed at the next snapshot.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.diff import Diff, PendingDrift
from trueup.core.book.event_ids import step_id
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Unbooked
from trueup.core.book.order import PENDING_TYPES
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome, settling, unread
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.model import OrderType, PastOrder, PendingOrder, describe_order
from trueup.core.policy import Action, Adopt
from trueup.core.quantity import add_lots, same, to_units
from trueup.core.realised.placing import placement
from trueup.core.realised.recording import EXECUTED

UNDER_WAY = frozenset(
    {"started", "placed", "partial", "request_add", "request_modify", "request_cancel"}
)


# The type that a stop-limit order has once its price was reached, and what changes then. A part may
# be filled at the same time.
LIMIT_OF = {
    OrderType.BUY_STOP_LIMIT: OrderType.BUY_LIMIT,
    OrderType.SELL_STOP_LIMIT: OrderType.SELL_LIMIT,
}
REACHING = frozenset({"type", "price_open", "price_stoplimit", "volume"})


class End(msgspec.Struct, frozen=True):
    """The end of a pending order: a sentence `because`, the executed lots, and the position.

    `filled` is None if the order was executed and the volume is not known.
    """

    because: str
    filled: float | None = 0.0
    position: int = 0


def for_pending(found: Diff, inputs: SyncInputs, outcome: Outcome) -> None:
    """Apply the rules for the pending orders of a snapshot."""
    # The guide's wire lists no pending orders, so only their positions show that they were filled.
    if inputs.snapshot.evidence is None:
        _filled_unlisted(inputs, outcome)
    for order in found.pending_zombies:
        outcome.guard(order, _unknown, order, inputs, outcome)
    for drift in found.pending_drifts:
        outcome.guard(drift.remote, _differs, drift, inputs, outcome)
    canceled = _canceled_here(inputs, outcome)
    for order in found.pending_ghosts:
        # Our own cancellation needs no approval, also if this very reading has settled it.
        rule = _canceled if order.ticket in canceled else _gone
        outcome.guard(order, rule, order, inputs, outcome)
    # A cancelled order that is listed again was handled above, and has no end to look for.
    listed = {order.ticket for order in found.pending_zombies}
    for order in inputs.book.ending.values() if inputs.snapshot.evidence else ():
        if order.ticket not in listed:
            outcome.guard(order, _canceled, order, inputs, outcome)


def _canceled_here(inputs: SyncInputs, outcome: Outcome) -> frozenset[int]:
    """Return the pending orders whose cancellation in doubt this plan settles as done."""
    settled = (
        inputs.book.orders[event.order_id]
        for event in outcome.events
        if isinstance(event, events.OrderApplied)
    )
    return frozenset(order.target for order in settled if order.kind is OrderKind.CANCEL)


def _unknown(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> None:
    policy = inputs.policy
    action = policy.pending
    if policy.adopt is Adopt.ASK and not policy.owns(order) and action is Action.APPLY:
        action = Action.ASK
    adopted = events.PendingAdopted(at_ns=inputs.now_ns, order=order)
    outcome.propose("pending", order, action, inputs, adopted)


def _differs(drift: PendingDrift, inputs: SyncInputs, outcome: Outcome) -> None:
    pending = inputs.book.pending[drift.local.ticket]
    if pending.version > inputs.asked_version:
        outcome.holds.append(_newer(drift.local))
        return
    # The list may be older than our own modification, so do not undo the modification by it.
    if inputs.is_settling(pending.touched_ns):
        sentence = (
            f"Pending order {drift.local.ticket} was modified here and the broker shows "
            f"{describe_order(drift.remote)}"
        )
        outcome.holds.append(settling(drift.local, sentence, pending.touched_ns, inputs))
        return
    corrected = events.PendingCorrected(
        at_ns=inputs.now_ns, local=drift.local, remote=drift.remote, fields=drift.fields
    )
    # Reaching its price is what a stop-limit order is for, so that needs no approval.
    action = Action.APPLY if _has_reached_its_price(drift) else inputs.policy.pending
    taken = outcome.propose("pending", drift.remote, action, inputs, corrected)
    if taken and drift.remote.volume < drift.local.volume:
        end = End("", _executed(drift.remote, drift.remote.volume, inputs))
        _count(drift.remote, end, inputs, outcome)


def _has_reached_its_price(drift: PendingDrift) -> bool:
    """Return whether a stop-limit order became a limit order at its second price."""
    local, remote = drift.local, drift.remote
    return (
        remote.type is LIMIT_OF.get(local.type)
        and REACHING.issuperset(drift.fields)
        and same(remote.price_open, local.price_stoplimit)
    )


def _filled_unlisted(inputs: SyncInputs, outcome: Outcome) -> None:
    """Close filled orders by their positions, on a wire that lists no pending orders."""
    for position in inputs.snapshot.positions if inputs.book.pending else ():
        pending = inputs.book.pending.get(position.ticket)
        if pending is not None and pending.version <= inputs.asked_version:
            because = f"filled: it is position {position.ticket} now"
            outcome.events.append(
                events.PendingClosed(at_ns=inputs.now_ns, order=pending.order, because=because)
            )


def _gone(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> None:
    if inputs.book.pending[order.ticket].version > inputs.asked_version:
        outcome.holds.append(_newer(order))
        return
    end = _became(order, inputs, outcome)
    if end is None:
        _missing(order, inputs, outcome)
        return
    closed = _closed(order, end, inputs)
    if outcome.propose("pending", order, inputs.policy.pending, inputs, closed):
        _count(order, end, inputs, outcome)


def _canceled(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> None:
    """Record the end of a pending order that an order of ours cancelled."""
    end = _ended_as(order, inputs)
    if end is None:
        outcome.order_questions.append(order.ticket)
        return
    outcome.events.append(_closed(order, end, inputs, ours=True))
    _count(order, end, inputs, outcome)


def _closed(
    order: PendingOrder, end: End, inputs: SyncInputs, *, ours: bool = False
) -> events.PendingClosed:
    return events.PendingClosed(
        at_ns=inputs.now_ns,
        order=order,
        because=end.because,
        filled=end.filled or 0.0,
        position=end.position,
        ours=ours,
    )


def _count(order: PendingOrder, end: End, inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the executed volume of an order, or ask for its deals."""
    if end.filled == 0.0 or inputs.snapshot.evidence is None:
        return
    into = end.position or (0 if inputs.book.nets else order.ticket)
    own = inputs.own_order(order.ticket)
    since_msc = order.time_setup * 1000 or (own.server_time_msc if own is not None else 0)
    wanted = Unbooked(order.symbol, to_units(end.filled or 0.0), into, since_msc)
    placement(order.ticket, wanted, inputs, outcome)


def _executed(order: PendingOrder, left: float, inputs: SyncInputs) -> float | None:
    """Return the executed lots of an order with `left` lots unfilled, None if not known."""
    own = inputs.own_order(order.ticket)
    is_own = own is not None and own.kind in PENDING_TYPES
    whole = order.volume_initial or (own.volume if own is not None and is_own else 0.0)
    return add_lots(whole, -left) if whole else None


def _missing(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> None:
    """Keep an order that left the list without a known end, unless a person releases it."""
    # The unreadable row may be this order: then it is not missing at all.
    fault = inputs.may_be_unread(order)
    if fault is not None:
        outcome.order_questions.append(order.ticket)
        outcome.holds.append(unread(order, fault))
        return
    wanted = step_id("missing", order)
    approver = inputs.released_by(wanted)
    # A person may end the order, because a broker may never show its end.
    if approver:
        because = f"assumed ended: {approver} let go of it, its end was not seen"
        outcome.events.append(
            events.PendingClosed(at_ns=inputs.now_ns, order=order, because=because)
        )
        return
    outcome.order_questions.append(order.ticket)
    outcome.holds.append(
        Hold(
            order.symbol,
            f"{describe_order(order)} (ticket {order.ticket}) left the list, its end not seen",
            "the order history that says what became of it, or a person who lets go of it: "
            f"trueup approve {wanted}",
            order.ticket,
            HoldKind.MISSING,
            id=wanted,
        )
    )


def _became(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> End | None:
    """Return the end of an order that is no longer active, or None while no end is shown."""
    if _is_filled(order, inputs):
        because = f"filled: it is position {order.ticket} now"
        return End(because, _executed(order, 0.0, inputs), order.ticket)
    end = _ended_as(order, inputs)
    # The broker may have archived the order since, while its end waited for an approval.
    if end is None and _is_counted(order, inputs, outcome):
        end = End("filled: its deals were counted before")
    # A late list may have brought an order back after our cancellation took effect.
    if end is None and _was_canceled_here(order, inputs):
        end = End("canceled: our own cancellation took effect before")
    return end


def _was_canceled_here(order: PendingOrder, inputs: SyncInputs) -> bool:
    """Return whether an order of ours cancelled a pending order, and its end should show by now."""
    canceled_ns = [
        own.fill_ns
        for own in inputs.book.orders.values()
        if own.kind is OrderKind.CANCEL and own.target == order.ticket and own.fill_ns
    ]
    return bool(canceled_ns) and inputs.waited.age_of_ns(max(canceled_ns)) >= LONGEST_MS * 1_000_000


def _is_counted(order: PendingOrder, inputs: SyncInputs, outcome: Outcome) -> bool:
    """Return whether the counted deals of the order's own position fill the whole order.

    The rules for positions may have counted them in this very plan.
    """
    book = inputs.book
    kept = book.holdings.get(order.ticket) or book.closed.get(order.ticket)
    counted = kept.booked if kept is not None else ()
    for event in outcome.events:
        if isinstance(event, events.DealsRecorded) and event.position.identifier == order.ticket:
            counted = event.booked
    own = [deal for deal in counted if deal.order == order.ticket]
    whole = _executed(order, 0.0, inputs)
    return whole is not None and abs(sum(deal.lots for deal in own)) >= to_units(whole)


def _is_filled(order: PendingOrder, inputs: SyncInputs) -> bool:
    """Return whether the position that the order opened has grown by the order's whole volume.

    A partly filled and then cancelled order leaves a position with its ticket too. The identifier
    of a position is the ticket of its order, also when the broker has opened it again since.
    """
    holding = inputs.book.holdings.get(order.ticket)
    before = holding.position.volume if holding is not None else 0.0
    opened = inputs.listed.get(order.ticket)
    return opened is not None and same(opened.volume, add_lots(before, order.volume))


def _ended_as(order: PendingOrder, inputs: SyncInputs) -> End | None:
    past = inputs.past_order(order.ticket)
    if past is None or past.state in UNDER_WAY:
        return None
    into = past.position
    if past.state == "filled":
        filled = _executed(order, 0.0, inputs) if past.filled is None else past.filled
        because = f"filled: it went into position {into}" if into else "filled"
        return End(because, filled, into or order.ticket)
    if not _was_executed(past):
        return End(past.state)
    return End(past.state, past.filled, into)


def _was_executed(past: PastOrder) -> bool:
    """Return whether any part of an order was executed before the order ended."""
    if past.filled is not None:
        return past.filled > 0
    # An order names a position from its first execution on.
    return past.state in EXECUTED and past.position != 0


def _newer(order: PendingOrder) -> Hold:
    reason = f"Pending order {order.ticket} changed here after the broker was asked"
    return Hold(order.symbol, reason, "the next reading", order.ticket, HoldKind.NEWER)
