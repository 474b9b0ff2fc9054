"""A person's word on an order in doubt: heard where nobody else can tell, and only there.

Some doubts no reading ends: something at the broker fits, and nothing shows whether it is ours.
Then a person who has looked says which one it is, or that it was never executed. That is an
assumption and stays marked as one. It is not heard

* while the broker or the gateway's record says what became of the order, or may still do so;
* for what cannot be the order: another's, in another symbol, on the other side, of other lots;
* for what the broker has not finished with, or does not show in full yet;
* that it was never executed, where a comment shows the beginning of its token.
"""

from __future__ import annotations

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.doubt.lookalikes import why_unfit
from trueup.core.doubt.trace import Trace
from trueup.core.look.inputs import Told
from trueup.core.model import Snapshot
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import begins


def hear(told: Told, order: Order, trace: Trace, snapshot: Snapshot, book: Book) -> Trace | str:
    """Return what a word makes of an order in doubt, or say why it is not heard."""
    if not trace.is_nobodys:
        return f"{order.order_id} is not left to a person: {_known(trace)}"
    return _one(told, order, trace, snapshot, book) if told.ticket else _none(told, order, trace)


def _known(trace: Trace) -> str:
    if trace.shows is BrokerShows.UNSEEN:
        return f"{trace.words}. It waits for a reading that shows more."
    if trace.shows is BrokerShows.NO_TRACE:
        return f"{trace.words}. Syncs settle it by themselves."
    return f"the broker shows that it was executed, {trace.words}. Syncs settle it by themselves."


def _none(told: Told, order: Order, trace: Trace) -> Trace | str:
    for candidate in trace.candidates:
        if begins(candidate.comment, order.token):
            return (
                f"Order {candidate.ticket} shows the beginning of the token of {order.order_id} "
                f"({candidate.comment}), so it cannot be said that this was never executed."
            )
    words = f"{told.who} says that it was never executed, though it {trace.words}"
    return Trace(BrokerShows.NO_TRACE, words, is_final=True, by=told.who)


def _one(told: Told, order: Order, trace: Trace, snapshot: Snapshot, book: Book) -> Trace | str:
    meant = [one for one in trace.candidates if one.ticket == told.ticket]
    meant = meant or [one for one in trace.candidates if one.position == told.ticket]
    if len(meant) > 1:
        tickets = ", ".join(str(one.ticket) for one in meant)
        return f"{told.ticket} is the position of several orders that fit, name one: {tickets}."
    if not meant:
        tickets = ", ".join(str(one.ticket) for one in trace.candidates)
        why = why_unfit(order, told.ticket, snapshot, book)
        return f"{told.ticket} cannot be {order.order_id}: {why}. What fits: {tickets}."
    (one,) = meant
    if one.shows is BrokerShows.UNSEEN:
        return f"Order {one.ticket} cannot be taken for {order.order_id} yet: {one.words}."
    words = f"{told.who} says that it is order {one.ticket}; it {trace.words}"
    return msgspec.structs.replace(one, words=words, by=told.who)


def not_in_doubt(order_id: str, book: Book) -> str:
    """Say why there is nothing to say of an order that is not in doubt."""
    order = book.orders.get(order_id)
    if order is None:
        known = ", ".join(book.in_doubt) or "none"
        return f"The book has no order {order_id!r}. In doubt: {known}."
    what = f", ticket {order.ticket}" if order.ticket else ""
    why = f": {order.error}" if order.error else ""
    return f"{order_id} is {order.status.value}{what}, not in doubt{why}."
