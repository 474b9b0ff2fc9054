"""Settle the orders in doubt by what a snapshot shows.

Each order in doubt is a row of the recovery table: what the broker shows of it is found here
(`core.doubt.traces` where the gateway has a history, by the differences alone where it has none),
the table decides, and the decision becomes events or stays a hold with its reason.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.diff import Drift, Ghost, Zombie
from trueup.core.book.events import OrderKind
from trueup.core.doubt.change_traces import (
    of_cancellation_without_evidence,
    of_modification_without_evidence,
)
from trueup.core.doubt.lookalikes import habits_of, is_anothers
from trueup.core.doubt.manual import hear
from trueup.core.doubt.trace import Trace
from trueup.core.doubt.traces import nobodys, trace_of
from trueup.core.look.absence import Absence, absent_again
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import Position
from trueup.core.quantity import format_lots, to_units
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide

Difference = Zombie | Ghost | Drift


class Doubt(msgspec.Struct, frozen=True):
    """What a snapshot says about one order in doubt: the case, and the trace it left.

    `absence` is what this look and those before it make of showing nothing, None where it shows
    something.
    """

    order: Order
    case: Case
    trace: Trace
    absence: Absence | None = None


def weigh(inputs: SyncInputs) -> tuple[Doubt, ...]:
    """Return one verdict for each order in doubt."""
    book, snapshot = inputs.book, inputs.snapshot
    if not book.in_doubt:
        return ()
    orders = [o for o in book.in_doubt.values() if inputs.policy.covers(o.symbol)]
    if snapshot.evidence is not None:
        habits = habits_of(book, snapshot)
        traces = [trace_of(order, orders, snapshot, book, habits) for order in orders]
    else:
        differences = _differences(inputs)
        traces = [_by_difference(order, orders, differences, inputs) for order in orders]
    return tuple(_verdict(o, t, inputs) for o, t in zip(orders, traces, strict=True))


def _verdict(order: Order, trace: Trace, inputs: SyncInputs) -> Doubt:
    if order.version > inputs.asked_version:
        trace = Trace(BrokerShows.UNSEEN, "it was sent after the broker was asked")
    elif inputs.snapshot.faults and trace.shows is BrokerShows.NO_TRACE and not trace.is_final:
        # The row that cannot be read may be this very order's position.
        trace = Trace(BrokerShows.UNSEEN, "the reading is partial")
    told = inputs.told.get(order.order_id)
    if told is not None:
        heard = hear(told, order, trace, inputs.snapshot, inputs.book)
        trace = heard if isinstance(heard, Trace) else trace
    absence = _absence(order, trace, inputs)
    settled = trace.is_final or (absence is not None and absence.is_settled)
    # An answer that the gateway kept for us is an answer.
    says = JournalSays.REFUSED if trace.refusal else JournalSays.SENT
    return Doubt(order, decide(says, trace.shows, settled=settled), trace, absence)


def _absence(order: Order, trace: Trace, inputs: SyncInputs) -> Absence | None:
    if trace.shows is not BrokerShows.NO_TRACE:
        return None
    evidence = inputs.snapshot.evidence
    # A wire without evidence shows no quotation either: our own clock has to do.
    server_time_msc = evidence.server_time_msc if evidence is not None else 0
    before, grace_ms = inputs.absences.get(order.order_id), inputs.policy.grace_period_ms
    return absent_again(before, inputs.waited.waiting_ns, server_time_msc, grace_ms)


def _differences(inputs: SyncInputs) -> list[Difference]:
    found = inputs.differences
    differences: list[Difference] = [*found.zombies, *found.drifts]
    if not inputs.snapshot.faults:
        # The row that cannot be read may be the very position that seems to have gone.
        differences += found.ghosts
    return differences


def _by_difference(
    order: Order, orders: list[Order], differences: list[Difference], inputs: SyncInputs
) -> Trace:
    """Find the trace of an order on a wire that carries neither token nor history.

    It is a difference that is exactly what the order would have made: symbol, side, volume, and
    the position it meant to close. With two of them nobody can say which one is ours.
    """
    if order.kind is OrderKind.MODIFY:
        return of_modification_without_evidence(order, inputs.snapshot)
    if order.kind is OrderKind.CANCEL:
        return of_cancellation_without_evidence()
    book = inputs.book
    fitting = [difference for difference in differences if _fits(order, difference, book)]
    rivals = [other for other in orders if any(_fits(other, d, book) for d in fitting)]
    would_be = [_of_difference(order, difference) for difference in fitting]
    if len(fitting) == 1 and len(rivals) == 1:
        return would_be[0]
    if fitting:
        return nobodys(would_be, "ticket")
    if order.kind is not OrderKind.MARKET:
        # It may work there, seen by nobody, and be filled tomorrow.
        words = "may work at the broker, and this gateway lists no pending orders"
        return Trace(BrokerShows.UNSEEN, words, is_nobodys=True)
    return Trace(BrokerShows.NO_TRACE, "no difference fits")


def _of_difference(order: Order, difference: Difference) -> Trace:
    found = _affected(difference)
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
    # A late list still has what we closed a moment ago, and an order that opens opens another one.
    is_known = position.identifier in book.closed or is_anothers(order, position, book)
    if isinstance(difference, Zombie) and is_known:
        return False
    return (
        position.symbol == order.symbol
        and (not order.position or position.identifier == order.position)
        and difference.change == order.side.sign * to_units(order.volume)
    )


def _affected(difference: Difference) -> Position:
    return difference.local if isinstance(difference, Ghost) else difference.remote


def resolved_because(doubt: Doubt) -> str:
    """Say by which evidence a doubt ends."""
    if doubt.trace.by:
        return f"assumed, unproven: {doubt.trace.words}"
    return f"case {doubt.case.label}: {doubt.case.because} ({doubt.trace.words})"


def resolving_events(doubt: Doubt, inputs: SyncInputs) -> list[events.Event]:
    """Return the events that end a doubt; none while it lasts."""
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
    if case.decision not in (Decision.ADOPT, Decision.RECORD_BOTH):
        return []
    if order.kind is not events.OrderKind.MARKET:
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
    """Return the end of an order without a trace, and how much that proves."""
    trace, unproven = doubt.trace, bool(doubt.trace.by)
    if trace.is_untold:
        because, unproven = f"not known whether it took effect: {trace.words}", True
    elif inputs.snapshot.evidence is None and not trace.by:
        # A list alone: an order that was lost may still come, or have come and gone.
        because, unproven = f"{because}; unproven: this gateway has no record or history", True
    return events.OrderCanceled(
        at_ns=inputs.now_ns,
        order_id=doubt.order.order_id,
        because=because,
        by=trace.by,
        unproven=unproven,
    )


def waiting_sentence(doubt: Doubt) -> str:
    """Say why an order is still in doubt and what would end it."""
    order, trace = doubt.order, doubt.trace
    what = f"{order.action} {format_lots(order.volume)}L {order.symbol} ({order.order_id})"
    if trace.is_nobodys:
        ask = f"say what it is with `trueup settle {order.order_id}`, or on_fill() in code"
        return f"Order in doubt: {what} {trace.words}; {ask}"
    return f"Order in doubt: {what}, case {doubt.case.label}: {doubt.case.because} ({trace.words})"
