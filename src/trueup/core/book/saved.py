"""Save a book as bytes for a checkpoint, and restore the book from these bytes."""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.holdings import (
    UNKNOWN_OWNER,
    Claim,
    Holding,
    Pending,
    Recent,
    Tombstone,
    Unbooked,
    UnbookedOrders,
)
from trueup.core.book.keys import add_key
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.proposals import Proposal
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
    realised_by: list[tuple[str, int, int]] | None = None


class _Limited(_State, frozen=True):
    """The saved form of a book with risk limits; a book without them has the bytes as before."""

    figures: events.FiguresNoted | None = None
    reached: list[events.LimitReached] = []


class _Paused(_Limited, frozen=True):
    """The saved form of a book that a person restricts; any other book has the bytes as before."""

    paused: events.TradingPaused | None = None


class _Proposing(_Paused, frozen=True):
    """The saved form of a book with proposals; any other book has the bytes as before."""

    proposals: list[Proposal] = []


_decode_state = msgspec.json.Decoder(_Proposing).decode


def saved(book: BookState) -> bytes:
    """Return a whole book as bytes, without marks: equal books give equal bytes."""
    # Lists of pairs keep the order of the dicts, and JSON would turn integer keys into text.
    state = _state_of(book)
    # Each form has the fields of the form before, so that a book without them keeps its bytes.
    is_limited = book.figures is not None or bool(book.reached)
    if is_limited or book.paused is not None or book.proposals:
        reached = list(book.reached.values())
        state = _Limited(**msgspec.structs.asdict(state), figures=book.figures, reached=reached)
    if book.paused is not None or book.proposals:
        state = _Paused(**msgspec.structs.asdict(state), paused=book.paused)
    if book.proposals:
        proposals = list(book.proposals.values())
        state = _Proposing(**msgspec.structs.asdict(state), proposals=proposals)
    return msgspec.json.encode(state)


def _state_of(book: BookState) -> _State:
    return _State(
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
        realised_by=[(*owner, units) for owner, units in book.realised_by.items()],
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
    for order in kept.orders:
        add_key(book, order)
    book.finished = dict.fromkeys(kept.finished)
    book.pending = {pending.order.ticket: pending for pending in kept.pending}
    book.closed = dict(kept.closed)
    book.claims = dict(kept.claims)
    book.missing = dict(kept.missing)
    book.halts = {halt.identifier: halt for halt in kept.halts}
    book.unexplained = {p.identifier: p for p in kept.unexplained}
    book.realised_closed_units = kept.realised_closed_units
    if kept.realised_by is not None:
        book.realised_by = {(symbol, magic): units for symbol, magic, units in kept.realised_by}
    elif kept.realised_closed_units:
        # An older version did not save the owners.
        book.realised_by = {UNKNOWN_OWNER: kept.realised_closed_units}
    book.compared, book.agreed_msc = kept.compared, kept.agreed_msc
    book.loss, book.recalled = kept.loss, kept.recalled
    book.figures = kept.figures
    book.reached = {lock.limit: lock for lock in kept.reached}
    book.paused = kept.paused
    book.proposals = {one.made.proposal_id: one for one in kept.proposals}
    book.changed_ns = dict(kept.changed)
    book.unbooked = UnbookedOrders(kept.unbooked)
    book.ending = {order.ticket: order for order in kept.ending}
    book.recent = {recent.position.identifier: recent for recent in kept.recent}


class _Bound(msgspec.Struct, frozen=True):
    """The account alone; decoding skips the rest of a saved book."""

    account: events.AccountBound | None


_decode_bound = msgspec.json.Decoder(_Bound).decode


def account_in(state: bytes) -> events.AccountBound | None:
    """Return the account of the book that was saved as `state`, without restoring the book.

    Raises:
        JournalCorrupt: the bytes are not a saved book.
    """
    try:
        return _decode_bound(state).account
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JournalCorrupt(f"the saved book cannot be read: {error}") from error


def _without_mark(holding: Holding) -> Holding:
    return holding if holding.mark is None else msgspec.structs.replace(holding, mark=None)
