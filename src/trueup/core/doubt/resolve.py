"""Resolve the orders in doubt by the evidence in a snapshot.

Each order in doubt matches a row of the recovery table. This module finds the trace of the order at
the broker: by `core.doubt.traces` if the gateway has a history, by the differences alone if it has
none. Then the table decides, and the decision becomes events or a hold with its reason.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.diff import Drift, Ghost, Zombie
from trueup.core.book.events import OrderKind
from trueup.core.doubt.change_traces import (
    of_foreign_close_without_evidence,
    of_modification_without_evidence,
    of_pending_order_without_evidence,
)
from trueup.core.doubt.close_by_traces import of_close_by_without_evidence
from trueup.core.doubt.lookalikes import habits_of, is_another_order
from trueup.core.doubt.manual import hear
from trueup.core.doubt.trace import Trace
from trueup.core.doubt.traces import trace_of, undecided
from trueup.core.look.absence import Absence, update_absence
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import Position
from trueup.core.quantity import format_lots, to_units
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide

Difference = Zombie | Ghost | Drift


class Doubt(msgspec.Struct, frozen=True):
    """An order in doubt with its case of the recovery table and its trace in a snapshot.

    `absence` is the absence record after this snapshot, None if the snapshot shows a trace.
    """

    order: Order
    case: Case
    trace: Trace
    absence: Absence | None = None


def weigh(inputs: SyncInputs) -> tuple[Doubt, ...]:
    """Return the case and the trace of each order in doubt."""
    book, snapshot = inputs.book, inputs.snapshot
    if not book.in_doubt:
        return ()
    # In every symbol: a broker renames symbols, and a process may start with other symbols of ours.
    orders = list(book.in_doubt.values())
    # Each order is judged among all orders in doubt, because the same match may fit several.
    if snapshot.evidence is not None:
        habits = habits_of(book, snapshot)
        traces = [trace_of(order, orders, snapshot, book, habits) for order in orders]
    else:
        differences = _differences(inputs)
        traces = [_by_difference(order, orders, differences, inputs) for order in orders]
    return tuple(_doubt_of(o, t, inputs) for o, t in zip(orders, traces, strict=True))


def _doubt_of(order: Order, trace: Trace, inputs: SyncInputs) -> Doubt:
    # A snapshot requested before the sending cannot show the order.
    if order.version > inputs.asked_version:
        trace = Trace(BrokerShows.UNSEEN, "it was sent after the broker was asked")
    elif inputs.snapshot.faults and trace.shows is BrokerShows.NO_TRACE and not trace.is_final:
        # The unreadable row may be the position of this order.
        trace = Trace(BrokerShows.UNSEEN, "the reading is partial")
    # After the evidence, so that a person's statement never overrules a proof.
    statement = inputs.told.get(order.order_id)
    if statement is not None:
        answer = hear(statement, order, trace, inputs.snapshot, inputs.book)
        trace = answer if isinstance(answer, Trace) else trace
    absence = _absence(order, trace, inputs)
    settled = trace.is_final or (absence is not None and absence.is_settled)
    # A refusal in the gateway's record counts like the reply that was lost.
    says = JournalSays.REFUSED if trace.refusal else JournalSays.SENT
    return Doubt(order, decide(says, trace.shows, settled=settled), trace, absence)


def _absence(order: Order, trace: Trace, inputs: SyncInputs) -> Absence | None:
    if trace.shows is not BrokerShows.NO_TRACE:
        return None
    evidence = inputs.snapshot.evidence
    # The guide's wire has no quotation, so only our own clock can measure the grace period.
    server_time_msc = evidence.server_time_msc if evidence is not None else 0
    before, grace_ms = inputs.absences.get(order.order_id), inputs.policy.grace_period_ms
    return update_absence(before, inputs.waited.waiting_ns, server_time_msc, grace_ms)


def _differences(inputs: SyncInputs) -> list[Difference]:
    found = inputs.differences
    differences: list[Difference] = [*found.zombies, *found.drifts]
    if not inputs.snapshot.faults:
        # The unreadable row may be the position that seems closed.
        differences += found.ghosts
    return differences


def _by_difference(
    order: Order, orders: list[Order], differences: list[Difference], inputs: SyncInputs
) -> Trace:
    """Find the trace of an order on a wire without token and history.

    The trace is a difference with exactly the effect of the order: symbol, side, volume, and the
    position to close. Among two such differences only a person can decide.
    """
    if order.kind is OrderKind.MODIFY:
        return of_modification_without_evidence(order, inputs.snapshot)
    if order.kind in (OrderKind.CANCEL, OrderKind.MODIFY_ORDER):
        return of_pending_order_without_evidence()
    if order.kind is OrderKind.CLOSE_BY:
        return of_close_by_without_evidence()
    if order.is_foreign:
        return of_foreign_close_without_evidence(order, inputs.snapshot)
    book = inputs.book
    fitting = [difference for difference in differences if _fits(order, difference, book)]
    # Another order in doubt may have made the same difference: then the match proves nothing.
    rivals = [other for other in orders if any(_fits(other, d, book) for d in fitting)]
    traces_if_ours = [_of_difference(order, difference) for difference in fitting]
    if len(fitting) == 1 and len(rivals) == 1:
        return traces_if_ours[0]
    if fitting:
        return undecided(traces_if_ours, "ticket")
    if order.kind is not OrderKind.MARKET:
        # The order may be active there, invisible to us, and be filled tomorrow.
        words = "may work at the broker, and this gateway lists no pending orders"
        return Trace(BrokerShows.UNSEEN, words, needs_person=True)
    if not order.position and not inputs.policy.covers(order.symbol):
        # A position outside the policy is no difference, so no difference proves nothing.
        words = f"may have opened a position, and {order.symbol} is no symbol of this book"
        return Trace(BrokerShows.UNSEEN, words, needs_person=True)
    return Trace(BrokerShows.NO_TRACE, "no difference fits")


def _of_difference(order: Order, difference: Difference) -> Trace:
    found = _affected(difference)
    # Only a new position shows the price of the fill.
    price = found.price_open if isinstance(difference, Zombie) else None
    words = "the only difference that fits"
    if isinstance(difference, Ghost):
        words += ", unproven: somebody else may have closed the position"
    return Trace(
        BrokerShows.OPEN,
        words,
        ticket=found.ticket,
        position=found.identifier,
        volume=order.volume,
        price=price,
    )


def _fits(order: Order, difference: Difference, book: Book) -> bool:
    position = _affected(difference)
    # A late list still shows a position that we closed just before; an entry opens a new position.
    is_known = position.identifier in book.closed or is_another_order(order, position, book)
    if isinstance(difference, Zombie) and is_known:
        return False
    # The position to close is known by its identifier, whatever its symbol is called now.
    is_target = position.identifier == order.position
    if not is_target and (order.position or position.symbol != order.symbol):
        return False
    return difference.change == order.side.sign * to_units(order.volume)


def _affected(difference: Difference) -> Position:
    return difference.local if isinstance(difference, Ghost) else difference.remote


def resolved_because(doubt: Doubt) -> str:
    """Name the evidence by which a doubt ends."""
    if doubt.trace.by:
        return f"assumed, unproven: {doubt.trace.words}"
    return f"case {doubt.case.label}: {doubt.case.because} ({doubt.trace.words})"


def resolving_events(doubt: Doubt, inputs: SyncInputs) -> list[events.Event]:
    """Return the events that end a doubt; none while the doubt continues."""
    order, case, trace = doubt.order, doubt.case, doubt.trace
    because = resolved_because(doubt)
    at_ns, order_id = inputs.now_ns, order.order_id
    if case.decision is Decision.ABANDON:
        return [_given_up(doubt, because, inputs)]
    if case.decision is Decision.AGREE:
        refusal = trace.refusal
        return [
            events.OrderRejected(at_ns=at_ns, order_id=order_id, error=refusal, because=because)
        ]
    # All other decisions wait or halt, so the order stays in doubt.
    if case.decision not in (Decision.ADOPT, Decision.RECORD_BOTH):
        return []
    # A pending order or a change has no fill of its own to record.
    if order.kind not in events.AT_ONCE:
        return [
            events.OrderApplied(at_ns=at_ns, order_id=order_id, ticket=trace.ticket, by=trace.by)
        ]
    return [
        events.OrderSettled(
            at_ns=at_ns,
            order_id=order_id,
            ticket=trace.ticket,
            volume=trace.volume,
            price=trace.price,
            because=because,
            by=trace.by,
        )
    ]


def _given_up(doubt: Doubt, because: str, inputs: SyncInputs) -> events.OrderCanceled:
    """Return the event that gives up an order without a trace, marked unproven without a proof."""
    # A person's statement is an assumption and stays marked as such in the journal.
    trace, unproven = doubt.trace, bool(doubt.trace.by)
    if trace.is_not_known:
        because, unproven = f"not known whether it took effect: {trace.words}", True
    elif inputs.snapshot.evidence is None and not trace.by:
        # By a list alone: the order may still arrive, or its position may have closed already.
        because, unproven = f"{because}; unproven: this gateway has no record or history", True
    return events.OrderCanceled(
        at_ns=inputs.now_ns,
        order_id=doubt.order.order_id,
        because=because,
        by=trace.by,
        unproven=unproven,
    )


def waiting_sentence(doubt: Doubt) -> str:
    """Say why an order is still in doubt, and how the doubt can end."""
    order, trace = doubt.order, doubt.trace
    order_text = f"{order.action} {format_lots(order.volume)}L {order.symbol} ({order.order_id})"
    if trace.needs_person:
        ask = f"say what it is with `trueup settle {order.order_id}`, or on_fill() in code"
        return f"Order in doubt: {order_text} {trace.words}; {ask}"
    case = doubt.case
    return f"Order in doubt: {order_text}, case {case.label}: {case.because} ({trace.words})"
