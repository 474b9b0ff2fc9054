"""Save a book as bytes for a checkpoint, and restore the book from these bytes."""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.holdings import (
    Claim,
    Holding,
    Pending,
    Recent,
    Tombstone,
    Unbooked,
    UnbookedOrders,
)
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.state import BookState
from trueup.core.gateway_record import RecordMark
from trueup.core.model import PendingOrder, Position
from trueup.errors import JournalCorrupt


class _State(msgspec.Struct, frozen=True):
    """The saved form of a book; fields with a default are missing in books of older versions."""

    version: int
    account: events.AccountBound | None
    holdings: list[Holding]
    orders: list[Order]
    by_ticket: list[tuple[int, str]]
    finished: list[str]
    pending: list[Pending]
    closed: list[tuple[int, Tombstone]]
    claims: list[tuple[str, Claim]]
    missing: list[tuple[int, int]]
    halts: list[events.HaltRaised]
    unexplained: list[Position]
    realised_closed_units: int
    changed: list[tuple[int, int]] = []
    unbooked: list[tuple[int, Unbooked]] = []
    ending: list[PendingOrder] = []
    recent: list[Recent] = []
    compared: events.HistoryCompared | None = None
    agreed_msc: int = 0
    loss: events.LossFound | None = None
    recalled: RecordMark | None = None


_decode_state = msgspec.json.Decoder(_State).decode


def saved(book: BookState) -> bytes:
    """Return a whole book as bytes, without marks: equal books give equal bytes."""
    # Lists of pairs keep the order of the dicts, and JSON would turn integer keys into text.
    return msgspec.json.encode(
        _State(
            version=book.version,
            account=book.account,
            # Marks change with every quotation and are not in the journal, so a replay has none.
            holdings=[_without_mark(holding) for holding in book.holdings.values()],
            orders=list(book.orders.values()),
            by_ticket=[(ticket, o.order_id) for ticket, o in book.orders_by_ticket.items()],
            finished=list(book.finished),
            pending=list(book.pending.values()),
            closed=list(book.closed.items()),
            claims=list(book.claims.items()),
            missing=list(book.missing.items()),
            halts=list(book.halts.values()),
            unexplained=list(book.unexplained.values()),
            realised_closed_units=book.realised_closed_units,
            changed=list(book.changed_ns.items()),
            unbooked=list(book.unbooked.items()),
            ending=list(book.ending.values()),
            recent=list(book.recent.values()),
            compared=book.compared,
            agreed_msc=book.agreed_msc,
            loss=book.loss,
            recalled=book.recalled,
        )
    )


def fill_from(book: BookState, state: bytes) -> None:
    """Fill an empty book from the bytes `state`.

    Raises:
        JournalCorrupt: the bytes are not a saved book.
    """
    try:
        kept = _decode_state(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JournalCorrupt(f"the saved book cannot be read: {error}") from error
    book.version, book.account = kept.version, kept.account
    book.holdings = {h.position.identifier: h for h in kept.holdings}
    book.orders = {order.order_id: order for order in kept.orders}
    # Both dicts must share the same order objects, because events change the objects in place.
    try:
        book.orders_by_ticket = {ticket: book.orders[name] for ticket, name in kept.by_ticket}
    except KeyError as name:
        raise JournalCorrupt(f"the saved book has no order {name}, and its ticket") from None
    # Plans visit orders in the order of their doubts, so keep the same order as after a replay.
    in_doubt = (order for order in kept.orders if order.status is OrderStatus.IN_DOUBT)
    book.in_doubt = {o.order_id: o for o in sorted(in_doubt, key=lambda order: order.version)}
    book.by_key = {order.key: order for order in kept.orders if order.key}
    book.finished = dict.fromkeys(kept.finished)
    book.pending = {pending.order.ticket: pending for pending in kept.pending}
    book.closed = dict(kept.closed)
    book.claims = dict(kept.claims)
    book.missing = dict(kept.missing)
    book.halts = {halt.identifier: halt for halt in kept.halts}
    book.unexplained = {p.identifier: p for p in kept.unexplained}
    book.realised_closed_units = kept.realised_closed_units
    book.compared, book.agreed_msc = kept.compared, kept.agreed_msc
    book.loss, book.recalled = kept.loss, kept.recalled
    book.changed_ns = dict(kept.changed)
    book.unbooked = UnbookedOrders(kept.unbooked)
    book.ending = {order.ticket: order for order in kept.ending}
    book.recent = {recent.position.identifier: recent for recent in kept.recent}


def _without_mark(holding: Holding) -> Holding:
    return holding if holding.mark is None else msgspec.structs.replace(holding, mark=None)
