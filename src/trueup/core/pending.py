"""Pending orders: reconciled as positions are, with an order's own ways to end.

A pending order leaves the list when it is filled, cancelled, expired or rejected, and the order
history says which (MQL5 reference, ENUM_ORDER_STATE). One that became a position is neither a ghost
nor does its position make a zombie of it: the two share a ticket.
"""

from __future__ import annotations

from trueup.core import events
from trueup.core.diff import Diff
from trueup.core.holds import Hold, HoldKind
from trueup.core.ids import step_id
from trueup.core.look import Look, Outcome
from trueup.core.model import PastOrder, PendingOrder, describe_order
from trueup.core.policy import Action, Adopt
from trueup.core.quantity import add_lots, same

UNDER_WAY = frozenset({"started", "placed", "partial", "request_add", "request_modify"})


def for_pending(found: Diff, look: Look, outcome: Outcome) -> None:
    """Add what the pending orders of a look come to."""
    policy = look.policy
    if look.snapshot.evidence is None:
        _filled_unlisted(look, outcome)
    for order in found.pending_zombies:
        action = policy.pending
        if policy.adopt is Adopt.ASK and not policy.owns(order) and action is Action.APPLY:
            action = Action.ASK
        adopted = events.PendingAdopted(at_ns=look.now_ns, order=order)
        outcome.propose("pending", order, action, look, adopted)
    for drift in found.pending_drifts:
        if look.book.pending[drift.local.ticket].version > look.asked_version:
            outcome.holds.append(_newer(drift.local))
            continue
        corrected = events.PendingCorrected(
            at_ns=look.now_ns, local=drift.local, remote=drift.remote, fields=drift.fields
        )
        outcome.propose("pending", drift.remote, policy.pending, look, corrected)
    for order in found.pending_ghosts:
        _gone(order, look, outcome)


def _filled_unlisted(look: Look, outcome: Outcome) -> None:
    """End the orders that became positions, on a wire that lists no pending orders."""
    for position in look.snapshot.positions if look.book.pending else ():
        pending = look.book.pending.get(position.ticket)
        if pending is not None and pending.version <= look.asked_version:
            because = f"filled: it is position {position.ticket} now"
            outcome.events.append(
                events.PendingClosed(at_ns=look.now_ns, order=pending.order, because=because)
            )


def _gone(order: PendingOrder, look: Look, outcome: Outcome) -> None:
    if look.book.pending[order.ticket].version > look.asked_version:
        outcome.holds.append(_newer(order))
        return
    because = _became(order, look)
    if not because:
        _missing(order, look, outcome)
        return
    closed = events.PendingClosed(at_ns=look.now_ns, order=order, because=because)
    outcome.propose("pending", order, look.policy.pending, look, closed)


def _missing(order: PendingOrder, look: Look, outcome: Outcome) -> None:
    """Keep an order that left the list without a known end, unless a person lets go of it."""
    wanted = step_id("missing", order)
    who = look.let_go_by(wanted)
    if who:
        because = f"assumed ended: {who} let go of it, its end was not seen"
        outcome.events.append(events.PendingClosed(at_ns=look.now_ns, order=order, because=because))
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


def _became(order: PendingOrder, look: Look) -> str:
    """Say what became of an order that no longer works, or return an empty string."""
    if _is_filled(order, look):
        return f"filled: it is position {order.ticket} now"
    evidence = look.snapshot.evidence
    past = (
        next((o for o in evidence.past_orders if o.ticket == order.ticket), None)
        if evidence
        else None
    )
    return _ended_as(past)


def _is_filled(order: PendingOrder, look: Look) -> bool:
    """Return whether the position with the order's ticket has grown by all that was left of it.

    An order that was filled in part and then cancelled leaves a position with its ticket too.
    """
    holding = look.book.holdings.get(order.ticket)
    before = holding.position.volume if holding is not None else 0.0
    return any(
        position.ticket == order.ticket and same(position.volume, add_lots(before, order.volume))
        for position in look.snapshot.positions
    )


def _ended_as(past: PastOrder | None) -> str:
    if past is None or past.state in UNDER_WAY:
        return ""
    if past.state == "filled":
        return f"filled: it went into position {past.position}" if past.position else "filled"
    return past.state


def _newer(order: PendingOrder) -> Hold:
    reason = f"Pending order {order.ticket} changed here after the broker was asked"
    return Hold(order.symbol, reason, "the next reading", order.ticket, HoldKind.NEWER)
