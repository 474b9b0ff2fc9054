"""Recover orders that the journal lacks, after a backup was restored or the journal was deleted.

The orders sent since the backup are not in the book, nor are their keys, and the journal alone
cannot show the loss. Two other sources can: the note beside a SQLite file, which says how far the
journal reached, and the gateway's record of requests, which has each order of this book with its
stream, its journal and its key.

Orders that the record has and the journal lacks enter the book as orders in doubt. The rules for
lost replies then find the outcome of each order and count the money, and the keys of these orders
are known again. Entries wait until a person accepts the loss, because neither source is complete: a
record deletes rows after a month, and orders through another gateway are in another record.

An order with `by` was never in the journal: a person's close was sent while the journal took
nothing, and the process ended before the journal worked again. Such an order enters the book in the
same way, and is no loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.terms import PLAIN_TERMS, Terms
from trueup.core.gateway_record import RecordMark, SentOrder
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import Lost, SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Position, Side
from trueup.core.quantity import FINEST_STEP
from trueup.core.tokens import MAGIC_HALF, is_in_magic

IN_DOUBT = "the journal had lost it, and the gateway's record has it"
UNJOURNALLED = "it was sent while the journal took nothing, and the gateway's record has it"
CHANGES = {
    "MODIFY": OrderKind.MODIFY,
    "CANCEL": OrderKind.CANCEL,
    "MODIFY_ORDER": OrderKind.MODIFY_ORDER,
}
# The actions that name their kind of order; BUY and SELL name it by their type.
KINDS = {**CHANGES, "CLOSE_BY": OrderKind.CLOSE_BY}


def for_loss(inputs: SyncInputs, outcome: Outcome) -> None:
    """Add lost orders to the book, and hold entries until a person accepts the loss."""
    lost, loss = inputs.lost, inputs.book.loss
    if lost is not None:
        evidence = inputs.snapshot.evidence
        count = lost.count - sum(bool(sent.by) for sent in lost.orders)
        if count:
            loss = events.LossFound(
                at_ns=inputs.now_ns,
                because=_because(lost, count),
                orders=count,
                record=None if evidence is None else evidence.record,
            )
            # The loss comes first, so that a reader of the journal knows why the orders appear.
            outcome.events.append(loss)
        for sent in lost.orders:
            outcome.events += _recalled(sent, inputs)
    if loss is None:
        return
    # An approval names this loss only; a further loss must be accepted again.
    approver = inputs.approved.get(loss_id(loss))
    if approver is None:
        outcome.holds.append(hold_of(loss))
    else:
        outcome.events.append(events.LossAccepted(at_ns=inputs.now_ns, by=approver))


def hold_of(loss: events.LossFound) -> Hold:
    """Return the hold that stops entries until a person accepts a loss."""
    name = loss_id(loss)
    until = f"a person checks the open positions and runs `trueup approve {name}`"
    return Hold("", loss.because, until, kind=HoldKind.LOSS, id=name)


def loss_id(loss: events.LossFound) -> str:
    """Return the short id of a loss, such as loss-1f3a9c02; each loss has a different id."""
    text = f"{loss.because} {loss.record}"
    return f"loss-{hashlib.blake2b(text.encode(errors='replace'), digest_size=4).hexdigest()}"


def known_marks(book: Book) -> tuple[RecordMark, ...]:
    """Return the mark of the newest known order in each record that the book knows."""
    marks: dict[str, RecordMark] = {}
    sent = (order.record for order in book.orders.values())
    for mark in (*sent, book.recalled):
        if mark is not None and mark.last >= marks.get(mark.id, mark).last:
            marks[mark.id] = mark
    return tuple(marks.values())


def _strategy_of(sent: SentOrder) -> int:
    """Return the strategy's magic number of an order, without a token in its low half."""
    has_token = bool(sent.comment) and is_in_magic(sent.magic, sent.comment)
    return sent.magic // MAGIC_HALF if has_token else sent.magic


def _because(lost: Lost, count: int) -> str:
    orders = "1 order" if count == 1 else f"{count} orders"
    if lost.is_new:
        return (
            f"The journal has sent nothing, and the gateway's record has {orders} of stream "
            f"{lost.stream!r}: the journal was deleted, an older copy of it was put back, or "
            "another bot has a stream of the same name"
        )
    return (
        f"The journal lacks {orders} that it sent, by the gateway's record: an older copy of it "
        "was put back"
    )


def _named(ticket: int, sent: SentOrder, inputs: SyncInputs) -> Position | None:
    """Return the position with a ticket that a lost order named: in the book, or a foreign one.

    The record has the ticket of a foreign position only. The list has the whole row, if the
    position is still open.
    """
    listed = _listed(ticket, inputs)
    holding = inputs.book.holding_by_ticket(ticket)
    if holding is None and listed is not None:
        # The broker may have opened it again, under another ticket, since the copy was made.
        holding = inputs.book.holdings.get(listed.identifier)
    if holding is not None:
        return holding.position
    if not sent.foreign or not ticket:
        return None
    if listed is not None:
        return listed
    side = Side.SELL if sent.action == "BUY" else Side.BUY
    lots = max(sent.volume, FINEST_STEP)
    return Position(ticket, sent.symbol, side, lots, 0.0, identifier=ticket)


def _listed(ticket: int, inputs: SyncInputs) -> Position | None:
    return next((row for row in inputs.snapshot.positions if row.ticket == ticket), None)


def _identifier(ticket: int, named: Position | None, inputs: SyncInputs) -> int:
    """Return the identifier of the position with a ticket; the ticket, if nothing shows it."""
    row = named or _listed(ticket, inputs)
    if row is not None:
        return row.identifier
    # A position that has ended is in no list, but its ticket was that of an order with deals.
    evidence = inputs.snapshot.evidence
    deals = () if evidence is None or not ticket else evidence.deals
    return next((deal.position for deal in deals if deal.order == ticket), ticket)


def _side_of(sent: SentOrder, named: Position | None, inputs: SyncInputs) -> Side:
    """Return the side of a lost order; the record has none for a change or a close-by."""
    pending = inputs.book.pending.get(sent.order)
    if sent.action == "CLOSE_BY" and named is not None:
        return named.side.opposite
    if sent.action in CHANGES and named is not None:
        return named.side
    if sent.action in CHANGES and pending is not None:
        return pending.order.type.side
    return Side.SELL if sent.action == "SELL" else Side.BUY


def _recalled(sent: SentOrder, inputs: SyncInputs) -> Iterator[events.Event]:
    """Yield the events that add a lost order to the book as an order in doubt."""
    book, now_ns = inputs.book, inputs.now_ns
    named, named_by = (_named(t, sent, inputs) for t in (sent.position, sent.position_by))
    known = (row for row in (named, named_by) if row is not None)
    foreign = tuple(row for row in known if row.identifier not in book.holdings)
    terms = PLAIN_TERMS
    if sent.type_time:
        terms = Terms(time=sent.type_time, expiration=sent.expiration or None)
    order_id = sent.order_id
    # The gateway takes a key twice only if the first order under it was refused, so an order of the
    # book that may have been executed keeps its key.
    first = book.by_key.get(sent.key)
    is_free = first is None or first.status is OrderStatus.REJECTED
    # Repeat the events of a real sending, so that the rules treat the order like any other.
    yield events.OrderCreated(
        at_ns=now_ns,
        order_id=order_id,
        symbol=sent.symbol,
        side=_side_of(sent, named, inputs),
        volume=sent.volume,
        price=sent.price,
        position=_identifier(sent.position, named, inputs),
        magic=_strategy_of(sent),
        kind=KINDS.get(sent.action) or OrderKind(sent.type),
        sl=sent.sl,
        tp=sent.tp,
        target=sent.order,
        wire_magic=sent.magic,
        token=sent.comment,
        key=sent.key if is_free else "",
        by_desk=True,
        foreign=foreign,
        stoplimit=sent.stoplimit,
        terms=terms,
        position_by=_identifier(sent.position_by, named_by, inputs),
        by=sent.by,
    )
    yield events.SendStarted(at_ns=now_ns, order_id=order_id, server_time_msc=sent.server_time_msc)
    error = UNJOURNALLED if sent.by else IN_DOUBT
    yield events.OrderInDoubt(at_ns=now_ns, order_id=order_id, error=error)
