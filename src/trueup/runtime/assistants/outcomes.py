"""What became of an assistant's wish: filled, refused, in doubt, or waiting for a person."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from trueup.core.book.book import Book
from trueup.core.book.events import AT_ONCE, CHANGES, ProposalEnd
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.proposals import Proposal, with_proposal_key
from trueup.core.book.wishes import order_key
from trueup.core.dates import iso
from trueup.core.holds import Hold
from trueup.core.quantity import add_lots, format_lots
from trueup.runtime.bot.answers import order_words

AGAIN = "ask again with the same key"
NO_BOT = "not before a bot runs again on this journal: it asks the broker at its start"


class WishState(enum.Enum):
    """What became of a wish.

    WAITING: the bot has not carried it out yet. PROPOSED: it waits for a person. FILLED: executed.
    PLACED: a pending order is at the broker. DONE: a change or a cancellation was carried out.
    REFUSED: nothing was executed. IN_DOUBT: sent, and no proven outcome. The others are ends of a
    proposal whose order was never sent.
    """

    WAITING = "waiting"
    PROPOSED = "proposed"
    FILLED = "filled"
    PLACED = "placed"
    DONE = "done"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    VOID = "void"


class WishOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a wish; times are ISO 8601 in UTC."""

    key: str
    """The key of the wish."""
    state: WishState
    """What became of the wish."""
    wish: str = ""
    """The wish in words."""
    order_id: str = ""
    """The id of the order in the journal; empty if none was recorded."""
    ticket: int | None = None
    """The ticket at the broker; None if there is none, or none is known."""
    lots: float | None = None
    """The executed volume; None if nothing was executed, or it is not known."""
    price: float | None = None
    """The price of the execution; None if nothing was executed, or it is not known."""
    reason: str = ""
    """Why the wish was refused, is in doubt, or ended."""
    evidence: str = ""
    """What is known of an order in doubt so far."""
    known: str = ""
    """When the outcome of an order in doubt will be known, and what to do until then."""
    next_look: str | None = None
    """When the broker is read next; None if no bot runs, or the outcome is known."""
    proposal_id: str = ""
    """The id of the proposal, for a person's `trueup approve`; empty for a submitted order."""
    expires: str | None = None
    """Until when the proposal waits."""
    decided_by: str = ""
    """Who approved, rejected or withdrew the proposal."""


EXECUTED = frozenset({WishState.FILLED, WishState.PLACED, WishState.DONE})
"""The states of a wish that the broker has carried out."""

ENDS = {
    ProposalEnd.APPROVED: WishState.DONE,
    ProposalEnd.REJECTED: WishState.REJECTED,
    ProposalEnd.WITHDRAWN: WishState.WITHDRAWN,
    ProposalEnd.EXPIRED: WishState.EXPIRED,
    ProposalEnd.VOID: WishState.VOID,
}


def outcome_of(
    book: Book, key: str, holds: Iterable[Hold] = (), due_ns: int | None = None
) -> WishOutcome | None:
    """Return what became of the wish of a key, or None if the book has no such key.

    Args:
        book: the book of a running bot, or as read from a journal.
        key: the assistant's key.
        holds: what the bot's last sync found.
        due_ns: when the broker is read next, None without a running bot.
    """
    order = book.by_key.get(order_key(key))
    proposal = with_proposal_key(book.proposals, key)
    if order is None:
        return None if proposal is None else proposal_outcome(proposal)
    outcome = _of_order(key, order, holds, due_ns)
    if proposal is None:
        return outcome
    by = order.by if proposal.ended is None else proposal.ended.by
    return msgspec.structs.replace(
        outcome,
        wish=proposal.made.wish.words,
        proposal_id=proposal.made.proposal_id,
        decided_by=by,
    )


def proposal_outcome(proposal: Proposal) -> WishOutcome:
    """Return the state of a proposal whose order is not in the book."""
    made, ended = proposal.made, proposal.ended
    return WishOutcome(
        key=made.key,
        state=WishState.PROPOSED if ended is None else ENDS[ended.end],
        wish=made.wish.words,
        reason="" if ended is None else ended.because,
        proposal_id=made.proposal_id,
        expires=iso(made.expires_ns),
        decided_by="" if ended is None else ended.by,
        order_id="" if ended is None else ended.order_id,
    )


def _of_order(key: str, order: Order, holds: Iterable[Hold], due_ns: int | None) -> WishOutcome:
    outcome = WishOutcome(
        key=key,
        state=WishState.REFUSED,
        wish=f"{order_words(order)}, {order.symbol}",
        order_id=order.order_id,
        reason=order.error or "",
    )
    if order.status is OrderStatus.REJECTED:
        return outcome
    if order.status is OrderStatus.CANCELED and not order.unproven:
        return outcome
    if order.status is OrderStatus.FILLED:
        return _done(outcome, order)
    if order.status is OrderStatus.CANCELED:
        known = "the bot has given it up: a person has to look at the account"
        return msgspec.structs.replace(outcome, state=WishState.IN_DOUBT, known=known)
    return _doubtful(outcome, order, holds, due_ns)


def _done(outcome: WishOutcome, order: Order) -> WishOutcome:
    if order.kind in CHANGES:
        return msgspec.structs.replace(outcome, state=WishState.DONE)
    if order.kind not in AT_ONCE:
        return msgspec.structs.replace(outcome, state=WishState.PLACED, ticket=order.ticket)
    lots, part = order.filled_volume, ""
    if lots is not None and add_lots(lots, -order.volume) < 0:
        part = f"filled in part: {format_lots(lots)} of {format_lots(order.volume)} lots"
    return msgspec.structs.replace(
        outcome,
        state=WishState.FILLED,
        ticket=order.ticket,
        lots=lots,
        price=order.fill_price,
        reason=part,
    )


def _doubtful(
    outcome: WishOutcome, order: Order, holds: Iterable[Hold], due_ns: int | None
) -> WishOutcome:
    hold = next((one for one in holds if one.order_id == order.order_id), None)
    evidence = "the broker has not been asked about it yet" if hold is None else hold.evidence
    if due_ns is None:
        known = NO_BOT
    elif order.status is not OrderStatus.IN_DOUBT:
        known = f"as soon as the journal takes events again: {AGAIN}"
    elif hold is not None and hold.needs_person:
        known = f"when a person has looked and run `trueup settle {order.order_id}`"
    else:
        known = f"when a look at the broker proves it: {AGAIN}"
    return msgspec.structs.replace(
        outcome,
        state=WishState.IN_DOUBT,
        reason=order.error or "its outcome is not in the journal yet",
        evidence=evidence,
        known=known,
        next_look=None if due_ns is None else iso(due_ns),
    )
