"""The only order that fits: what may be taken for an order in doubt whose token is nowhere.

Brokers cut, extend and rewrite comments (MT5 reference, "comment, server side"), so an order can
lose its token; and another program may trade the same symbol, side and volume under the same magic
number at the same time. What fits is therefore not ours by that alone. It is

* *another's*, and no candidate: an order of ours that is not this one has its ticket, its comment
  is the token of another order and nothing else, it was set up before ours left, or its position
  was in the book before;
* *ours*, where it is the only candidate, no other order in doubt fits it, and something says why
  it has no token: it shows the token's beginning; or the broker shows an answered order of ours,
  now, without its token and with the same comment (numbers aside); or it closes the very position
  that ours was to close, with no comment at all, on an account where positions are not shared;
* otherwise *nobody's*: the order stays in doubt, and a person says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import PENDING_TYPES
from trueup.core.look.waited import Waited
from trueup.core.model import (
    Evidence,
    HistoryOrder,
    MarginMode,
    OrderType,
    PendingOrder,
    Position,
    Snapshot,
)
from trueup.core.quantity import add_lots, format_lots, same
from trueup.core.tokens import bears, begins, is_in_comment, is_token

# What is left between two clocks when their time zones are taken off.
CLOCKS_APART_MSC = 60_000
# How far the trade server's clock goes forward in spring, and back in autumn.
SUMMER_TIME_SEC = 3_600
_NUMBER = re.compile(r"\d+")

Shown = HistoryOrder | PendingOrder
Habits = frozenset[tuple[bool, str]]
"""Comments that the broker shows on orders of ours in place of their token; see `habits_of`."""


class Fitting(msgspec.Struct, frozen=True):
    """What fits an order in doubt: the one that is ours, if any, and what nobody can tell."""

    ours: Shown | None = None
    candidates: tuple[Shown, ...] = ()
    is_alone: bool = False


def habit(order: Order, comment: str) -> tuple[bool, str]:
    """Return a comment as it is compared, and whether it is of an order that our desk sent."""
    return order.by_desk, _NUMBER.sub("0", comment)


def habits_of(book: Book, snapshot: Snapshot) -> Habits:
    """Return which comments the broker shows, in place of its token, on an answered order of ours.

    Orders that the caller sent himself are apart from those of our desk: nobody knows whether he
    gave them a comment.
    """
    evidence = snapshot.evidence
    if evidence is None:
        return frozenset()
    shown: list[tuple[int, str]] = [(one.ticket, one.comment) for one in _all(evidence)]
    if evidence.account.margin_mode is MarginMode.HEDGING:
        # A shared position has the comment of whoever traded last.
        shown += [(one.identifier, one.comment) for one in snapshot.positions]
    found = set()
    for ticket, comment in shown:
        order = book.orders_by_ticket.get(ticket)
        if order is None or not _was_answered(order):
            continue
        if not is_in_comment(comment, order.token):
            found.add(habit(order, comment))
    return frozenset(found)


def age_sec(order: Order, server_time_msc: int, waited: Waited) -> int:
    """Return how long ago an order left: by the trade server's clock, where it told both times."""
    age_ns = waited.age_of_ns(order.entry_ns)
    return elapsed_sec(order.server_time_msc, server_time_msc, age_ns)


def elapsed_sec(left_msc: int, server_time_msc: int, age_ns: int) -> int:
    """Return how long ago something left, by the better of two clocks.

    Args:
        left_msc: a time that the trade server's clock had passed when it left, 0 where none is
            known; that is the better clock.
        server_time_msc: what the trade server's clock shows now, 0 where it is not known.
        age_ns: how long ago it left by ours (ns).
    """
    if left_msc and server_time_msc:
        return max(0, server_time_msc - left_msc) // 1000
    return max(0, age_ns) // 1_000_000_000


def latest_answer_ns(book: Book) -> int:
    """Return when the latest order that shows what becomes of a token was answered; 0 for never."""
    answered = (order for order in reversed(book.orders.values()) if _was_answered(order))
    return next((order.fill_ns or 0 for order in answered), 0)


def lacking_in(evidence: Evidence, book: Book) -> Order | None:
    """Return an order of ours that was done in the time that a history is of, and is not in it."""
    history = evidence.history
    if history is None or not evidence.server_time_msc:
        return None
    begin_msc = evidence.server_time_msc - history.age_sec * 1000
    shown = {one.ticket for one in _all(evidence)}
    for order in reversed(book.orders.values()):
        if not order.server_time_msc:
            continue
        if not _is_since(begin_msc, order, evidence.time_offset_sec):
            return None
        is_done = order.kind is OrderKind.MARKET and order.status is OrderStatus.FILLED
        if is_done and _was_answered(order) and order.ticket not in shown:
            return order
    return None


def _is_since(begin_msc: int, order: Order, offset_sec: int | None) -> bool:
    set_back_msc = _set_back_sec(order, offset_sec) * 1000
    return order.server_time_msc - set_back_msc >= begin_msc


def _was_answered(order: Order) -> bool:
    """Return whether an answer gave us the ticket of an order that was sent with a token."""
    return bool(order.ticket and order.token) and not order.doubt_ns and not order.is_stand_in


def fitting(
    order: Order, rivals: Sequence[Order], snapshot: Snapshot, book: Book, habits: Habits
) -> Fitting:
    """Return what fits an order in doubt; `rivals` are all orders in doubt, with itself."""
    evidence = snapshot.evidence
    if evidence is None:
        return Fitting()
    # What bears the token of one order in doubt is no other's.
    unnamed = [other for other in rivals if not _bearers(other, evidence)]
    taken = set[int]().union(*(_bearers(other, evidence) for other in rivals))
    found = [one for one in _all(evidence) if one.ticket not in taken]
    found = [one for one in found if _fits(order, one, book, evidence)]
    # Only one of two orders that look alike can be this one, and nobody can say which.
    alike = [o for o in unnamed if any(_fits(o, one, book, evidence) for one in found)]
    is_alone = len(found) == 1 == len(alike)
    ours = found[0] if is_alone and _may_be_ours(order, found[0], evidence, habits) else None
    return Fitting(ours, tuple(found), is_alone)


def why_unfit(order: Order, ticket: int, snapshot: Snapshot, book: Book) -> str:
    """Say why an order of the broker's is none that fits an order in doubt."""
    known = book.orders_by_ticket.get(ticket)
    if known is not None and not known.is_stand_in:
        return f"it is {known.order_id}'s"
    shown = _all(snapshot.evidence) if snapshot.evidence else iter(())
    one = next((one for one in shown if one.ticket == ticket), None)
    if one is None:
        return "the broker shows no order of that ticket since it was sent"
    if one.symbol != order.symbol:
        return f"it is in {one.symbol}, and {order.symbol} was meant"
    if isinstance(one, HistoryOrder) and one.side is not order.side:
        return f"it is a {one.side.action}, and a {order.action} was meant"
    if not same(one.volume, order.volume):
        return f"it is of {format_lots(one.volume)}L, and {format_lots(order.volume)}L were meant"
    if one.magic != order.wire_magic:
        return f"its magic number is {one.magic}, and {order.wire_magic} was sent"
    if is_token(one.comment):
        return "its comment is the token of another order"
    if order.position and isinstance(one, HistoryOrder) and one.position != order.position:
        return f"it is about position {one.position}, and {order.position} was meant"
    return "it was there before, was made by hand, or is of another kind"


def _all(evidence: Evidence) -> Iterator[Shown]:
    """Yield every order that is shown, each once however often it is."""
    done = {one.ticket: one for one in (evidence.history.orders if evidence.history else ())}
    yield from done.values()
    yield from {one.ticket: one for one in evidence.orders if one.ticket not in done}.values()


def _may_be_ours(order: Order, one: Shown, evidence: Evidence, habits: Habits) -> bool:
    """Return whether something says why the only order that fits does not bear our token."""
    if _seems_older(order, one, evidence.time_offset_sec):
        return False
    if begins(one.comment, order.token) or habit(order, one.comment) in habits:
        return True
    is_shared = evidence.account.margin_mode is not MarginMode.HEDGING
    return bool(order.position) and not is_shared and not one.comment


def _seems_older(order: Order, one: Shown, offset_sec: int | None) -> bool:
    """Return whether it is older, unless the server's clock was changed since, unseen by us."""
    if isinstance(one, PendingOrder) or order.time_offset_sec is not None:
        return False
    if order.server_time_msc:
        return one.time_setup_msc < order.server_time_msc - CLOCKS_APART_MSC
    return offset_sec is not None and one.time_setup_msc < _by_our_clock_msc(order, offset_sec)


def _bearers(order: Order, evidence: Evidence) -> set[int]:
    """Return the tickets of the orders that bear the token of an order."""
    if not order.token:
        return set()
    in_magic = order.wire_magic != order.magic
    return {
        one.ticket
        for one in _all(evidence)
        if bears(one.comment, one.magic, order.token, in_magic=in_magic)
    }


def _fits(order: Order, one: Shown, book: Book, evidence: Evidence) -> bool:
    if is_anothers(order, one, book) or one.symbol != order.symbol:
        return False
    if isinstance(one, PendingOrder):
        return _fits_working(order, one, book)
    return _fits_past(order, one, evidence.time_offset_sec)


def is_anothers(order: Order, one: Shown | Position, book: Book) -> bool:
    """Return whether it is known to be another order than this one, or what another one opened."""
    known = book.orders_by_ticket.get(one.ticket)
    if known is not None and not known.is_stand_in:
        return True
    if is_token(one.comment) and one.comment != order.token:
        return True
    kept = book.holdings.get(one.ticket) or book.closed.get(one.ticket)
    # Nothing is read while our desk sends: what the book had by then was there before.
    return order.by_desk and kept is not None and kept.version < order.version


def _fits_past(order: Order, past: HistoryOrder, offset_sec: int | None) -> bool:
    return (
        past.by_program
        and past.time_setup_msc >= _earliest_msc(order, offset_sec)
        and past.side is order.side
        and past.magic == order.wire_magic
        and same(past.volume, order.volume)
        and (not order.position or past.position == order.position)
    )


def _earliest_msc(order: Order, offset_sec: int | None) -> int:
    """Return the earliest time by the server's clock at which an order can have come to it.

    That clock itself is the best witness, as far as we had seen it: ours may have been wrong when
    the order left, and be right now. Without it, and without a fresh quotation by which to compare
    the two, the window that was asked for has to do.
    """
    if order.server_time_msc:
        set_back_msc = _set_back_sec(order, offset_sec) * 1000
        return order.server_time_msc - CLOCKS_APART_MSC - set_back_msc
    if offset_sec is None:
        return 0
    return _by_our_clock_msc(order, _least_offset_sec(order, offset_sec))


def _set_back_sec(order: Order, offset_sec: int | None) -> int:
    """Return how far the server's clock may have been set back since an order left."""
    if offset_sec is None or order.time_offset_sec is None:
        return SUMMER_TIME_SEC
    return max(0, order.time_offset_sec - offset_sec)


def _least_offset_sec(order: Order, offset_sec: int) -> int:
    """Return the least that the server's clock may have been apart from UTC since an order left.

    By that clock the broker dated the order, and a summer time that began since has moved it.
    """
    winter_sec, then_sec = offset_sec - SUMMER_TIME_SEC, order.time_offset_sec
    return winter_sec if then_sec is None else max(winter_sec, min(then_sec, offset_sec))


def _by_our_clock_msc(order: Order, offset_sec: int) -> int:
    """Return when an order left, by our clock, as the server's shows that moment."""
    return order.entry_ns // 1_000_000 - CLOCKS_APART_MSC + offset_sec * 1000


def _fits_working(order: Order, working: PendingOrder, book: Book) -> bool:
    wanted = PENDING_TYPES.get(order.kind, {}).get(order.side, OrderType.OTHER)
    known = book.pending.get(working.ticket)
    return (
        (known is None or known.version > order.version)
        and working.type is wanted
        and working.magic == order.wire_magic
        # What is left of it: a part may be filled.
        and add_lots(working.volume, -order.volume) <= 0
        and (order.kind is OrderKind.MARKET or same(working.price_open, order.entry_price))
    )
