"""Recover orders that the journal lacks, after a backup was restored or the journal was deleted.

The orders sent since the backup are not in the book, nor are their keys, and the journal alone
cannot show the loss. Two other sources can: the note beside a SQLite file, which says how far the
journal reached, and the gateway's record of requests, which has each order of this book with its
stream, its journal and its key.

Orders that the record has and the journal lacks enter the book as orders in doubt. The rules for
lost replies then find the outcome of each order and count the money, and the keys of these orders
are known again. Entries wait until a person accepts the loss, because neither source is complete: a
record deletes rows after a month, and orders through another gateway are in another record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.gateway_record import RecordMark, SentOrder
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import Lost, SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Side
from trueup.core.tokens import MAGIC_HALF, is_in_magic

IN_DOUBT = "the journal had lost it, and the gateway's record has it"
CHANGES = {"MODIFY": OrderKind.MODIFY, "CANCEL": OrderKind.CANCEL}


def for_loss(inputs: SyncInputs, outcome: Outcome) -> None:
    """Add lost orders to the book, and hold entries until a person accepts the loss."""
    lost, loss = inputs.lost, inputs.book.loss
    if lost is not None:
        evidence = inputs.snapshot.evidence
        loss = events.LossFound(
            at_ns=inputs.now_ns,
            because=_because(lost),
            orders=lost.count,
            record=None if evidence is None else evidence.record,
        )
        # The loss comes first, so that a reader of the journal knows why the orders appear.
        outcome.events.append(loss)
        for sent in lost.orders:
            outcome.events += _recalled(sent, inputs.book, inputs.now_ns)
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


def _because(lost: Lost) -> str:
    orders = "1 order" if lost.count == 1 else f"{lost.count} orders"
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


def _recalled(sent: SentOrder, book: Book, now_ns: int) -> Iterator[events.Event]:
    """Yield the events that add a lost order to the book as an order in doubt."""
    # The record has no side for a change, so take the side of the position.
    holding = book.holding_by_ticket(sent.position)
    side = Side.SELL if sent.action == "SELL" else Side.BUY
    if sent.action in CHANGES and holding is not None:
        side = holding.position.side
    order_id = sent.order_id
    # Repeat the events of a real sending, so that the rules treat the order like any other.
    yield events.OrderCreated(
        at_ns=now_ns,
        order_id=order_id,
        symbol=sent.symbol,
        side=side,
        volume=sent.volume,
        price=sent.price,
        position=sent.position if holding is None else holding.position.identifier,
        magic=_strategy_of(sent),
        kind=CHANGES.get(sent.action) or OrderKind(sent.type),
        sl=sent.sl,
        tp=sent.tp,
        target=sent.order,
        wire_magic=sent.magic,
        token=sent.comment,
        key=sent.key,
        by_desk=True,
    )
    yield events.SendStarted(at_ns=now_ns, order_id=order_id, server_time_msc=sent.server_time_msc)
    yield events.OrderInDoubt(at_ns=now_ns, order_id=order_id, error=IN_DOUBT)
