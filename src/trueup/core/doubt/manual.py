"""Manual resolution of an order in doubt, allowed only if neither broker nor record can decide.

No reading can end some doubts: the broker has a matching order, and no evidence shows whether that
order is ours. Then a person who has checked states which order it is, or that the order was never
executed. The statement is an assumption and stays marked as such. A statement is refused

* while the broker or the gateway's record shows the outcome of the order, or may still show it;
* for an order that cannot match: of another owner, symbol, side or volume;
* for an order that the broker is still executing, or does not show in full yet;
* that the order was never executed, if a comment shows the beginning of its token.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.doubt.lookalikes import why_unfit
from trueup.core.doubt.trace import Trace
from trueup.core.look.inputs import Statement
from trueup.core.model import Snapshot
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import begins


def hear(
    statement: Statement, order: Order, trace: Trace, snapshot: Snapshot, book: Book
) -> Trace | str:
    """Return the trace by a person's statement, or the reason to refuse the statement."""
    if not trace.needs_person:
        return f"{order.order_id} is not left to a person: {_why_not_manual(trace)}"
    if statement.ticket:
        return _matched(statement, order, trace, snapshot, book)
    return _never_executed(statement, order, trace)


def _why_not_manual(trace: Trace) -> str:
    if trace.shows is BrokerShows.UNSEEN:
        return f"{trace.words}. It waits for a reading that shows more."
    if trace.shows is BrokerShows.NO_TRACE:
        return f"{trace.words}. Syncs settle it by themselves."
    return f"the broker shows that it was executed, {trace.words}. Syncs settle it by themselves."


def _never_executed(statement: Statement, order: Order, trace: Trace) -> Trace | str:
    for candidate in trace.candidates:
        if begins(candidate.comment, order.token):
            return (
                f"Order {candidate.ticket} shows the beginning of the token of {order.order_id} "
                f"({candidate.comment}), so it cannot be said that this was never executed."
            )
    words = f"{statement.who} says that it was never executed, though it {trace.words}"
    return Trace(BrokerShows.NO_TRACE, words, is_final=True, by=statement.who)


def _matched(
    statement: Statement, order: Order, trace: Trace, snapshot: Snapshot, book: Book
) -> Trace | str:
    # A person may name the position instead of the order, so accept that number as well.
    meant = [match for match in trace.candidates if match.ticket == statement.ticket]
    meant = meant or [match for match in trace.candidates if match.position == statement.ticket]
    if len(meant) > 1:
        tickets = ", ".join(str(match.ticket) for match in meant)
        return (
            f"{statement.ticket} is the position of several orders that fit, name one: {tickets}."
        )
    if not meant:
        tickets = ", ".join(str(match.ticket) for match in trace.candidates)
        why = why_unfit(order, statement.ticket, snapshot, book)
        return f"{statement.ticket} cannot be {order.order_id}: {why}. What fits: {tickets}."
    (match,) = meant
    if match.shows is BrokerShows.UNSEEN:
        return f"Order {match.ticket} cannot be taken for {order.order_id} yet: {match.words}."
    words = f"{statement.who} says that it is order {match.ticket}; it {trace.words}"
    return msgspec.structs.replace(match, words=words, by=statement.who)


def not_in_doubt(order_id: str, book: Book) -> str:
    """Say why a statement about this order is refused: the order is not in doubt."""
    order = book.orders.get(order_id)
    if order is None:
        known = ", ".join(book.in_doubt) or "none"
        return f"The book has no order {order_id!r}. In doubt: {known}."
    ticket_text = f", ticket {order.ticket}" if order.ticket else ""
    why = f": {order.error}" if order.error else ""
    return f"{order_id} is {order.status.value}{ticket_text}, not in doubt{why}."
