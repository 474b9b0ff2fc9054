"""Match an order in doubt to a broker order when our token is missing from its comment.

Brokers cut, extend and rewrite comments (MT5 reference, "comment, server side"), so an order can
lose its token. Another program may trade the same symbol, side and volume under the same magic
number at the same time. So a similar broker order is not ours by similarity alone. It is

* *another order*, and no candidate: if another order of ours has its ticket, if its comment is the
  token of another order and nothing else, if it was set up before our order left, or if its
  position was in the book before;
* *ours*: if it is the only candidate, no other order in doubt matches it, and there is evidence for
  the missing token: its comment is the beginning of the token; or the broker shows an answered
  order of ours, now, without its token and with the same comment (apart from numbers); or it closes
  the very position that our order should close, without any comment, on an account where positions
  are not shared;
* otherwise *undecided*: the order stays in doubt, and a person decides.
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

# The margin between two clocks, apart from their time zones.
CLOCKS_APART_MSC = 60_000
# The change of the trade server's clock by DST, forward in spring and back in autumn.
SUMMER_TIME_SEC = 3_600
_NUMBER = re.compile(r"\d+")

Shown = HistoryOrder | PendingOrder
Habits = frozenset[tuple[bool, str]]
"""Comments that the broker shows on our orders instead of the token; see `habits_of`."""


class Fitting(msgspec.Struct, frozen=True):
    """The match that is ours, if any, and all candidates for an order in doubt."""

    ours: Shown | None = None
    candidates: tuple[Shown, ...] = ()
    is_alone: bool = False


def habit(order: Order, comment: str) -> tuple[bool, str]:
    """Return a comment in the form for comparison, and whether our desk sent its order."""
    return order.by_desk, _NUMBER.sub("0", comment)


def habits_of(book: Book, snapshot: Snapshot) -> Habits:
    """Return the comments that the broker shows on answered orders of ours instead of the token.

    Orders that the caller sent without our desk are kept apart, because the caller may have given
    them a comment of his own.
    """
    evidence = snapshot.evidence
    if evidence is None:
        return frozenset()
    shown: list[tuple[int, str]] = [(row.ticket, row.comment) for row in all_orders(evidence)]
    if evidence.account.margin_mode is MarginMode.HEDGING:
        # A shared position has the comment of its latest trade, by any trader.
        shown += [(row.identifier, row.comment) for row in snapshot.positions]
    found = set()
    for ticket, comment in shown:
        order = book.orders_by_ticket.get(ticket)
        if order is None or not _was_answered(order):
            continue
        if not is_in_comment(comment, order.token):
            found.add(habit(order, comment))
    return frozenset(found)


def age_sec(order: Order, server_time_msc: int, waited: Waited) -> int:
    """Return the age (s) of an order's sending, by the trade server's clock if that is known."""
    age_ns = waited.age_of_ns(order.entry_ns)
    return elapsed_sec(order.server_time_msc, server_time_msc, age_ns)


def elapsed_sec(left_msc: int, server_time_msc: int, age_ns: int) -> int:
    """Return the age (s) of a sending, by the better of two clocks.

    Args:
        left_msc: a time that the trade server's clock had passed at the sending, 0 if not known;
            this is the better clock.
        server_time_msc: the trade server's clock now, 0 if not known.
        age_ns: the age by our own clock (ns).
    """
    if left_msc and server_time_msc:
        return max(0, server_time_msc - left_msc) // 1000
    return max(0, age_ns) // 1_000_000_000


def latest_answer_ns(book: Book) -> int:
    """Return the fill time (ns) of the latest answered order with a token, 0 for none."""
    answered = (order for order in reversed(book.orders.values()) if _was_answered(order))
    return next((order.fill_ns or 0 for order in answered), 0)


def lacking_in(evidence: Evidence, book: Book) -> Order | None:
    """Return an executed order of ours within the time of a history that the history lacks."""
    history = evidence.history
    if history is None or not evidence.server_time_msc:
        return None
    begin_msc = evidence.server_time_msc - history.age_sec * 1000
    shown = {row.ticket for row in all_orders(evidence)}
    # Newest first, because the search can stop at the first order before the history begins.
    for order in reversed(book.orders.values()):
        if not order.server_time_msc:
            continue
        if not _is_since(begin_msc, order, evidence.time_offset_sec):
            return None
        # Only a reply proves an execution; an order from a doubt may be a wrong match.
        is_done = order.kind is OrderKind.MARKET and order.status is OrderStatus.FILLED
        if is_done and _was_answered(order) and order.ticket not in shown:
            return order
    return None


def _is_since(begin_msc: int, order: Order, offset_sec: int | None) -> bool:
    set_back_msc = _set_back_sec(order, offset_sec) * 1000
    return order.server_time_msc - set_back_msc >= begin_msc


def _was_answered(order: Order) -> bool:
    """Return whether a reply gave us the ticket of an order with a token."""
    return bool(order.ticket and order.token) and not order.doubt_ns and not order.is_stand_in


def fitting(
    order: Order, rivals: Sequence[Order], snapshot: Snapshot, book: Book, habits: Habits
) -> Fitting:
    """Return the matches of an order in doubt; `rivals` are all orders in doubt, with `order`."""
    evidence = snapshot.evidence
    if evidence is None:
        return Fitting()
    # A broker order with the token of an order in doubt belongs to that order only.
    unnamed = [other for other in rivals if not _bearers(other, evidence)]
    taken = set[int]().union(*(_bearers(other, evidence) for other in rivals))
    found = [row for row in all_orders(evidence) if row.ticket not in taken]
    found = [row for row in found if _fits(order, row, book, evidence)]
    # If two orders in doubt match the same broker order, no evidence shows which order it is.
    similar = [o for o in unnamed if any(_fits(o, row, book, evidence) for row in found)]
    is_alone = len(found) == 1 == len(similar)
    ours = found[0] if is_alone and _may_be_ours(order, found[0], evidence, habits) else None
    return Fitting(ours, tuple(found), is_alone)


def why_unfit(order: Order, ticket: int, snapshot: Snapshot, book: Book) -> str:
    """Say why a broker order does not match an order in doubt."""
    known = book.orders_by_ticket.get(ticket)
    if known is not None and not known.is_stand_in:
        return f"it is {known.order_id}'s"
    shown = all_orders(snapshot.evidence) if snapshot.evidence else iter(())
    row = next((row for row in shown if row.ticket == ticket), None)
    if row is None:
        return "the broker shows no order of that ticket since it was sent"
    # The differences that a person sees at once come first.
    closes_same = isinstance(row, HistoryOrder) and 0 < order.position == row.position
    if row.symbol != order.symbol and not closes_same:
        return f"it is in {row.symbol}, and {order.symbol} was meant"
    if isinstance(row, HistoryOrder) and row.side is not order.side:
        return f"it is a {row.side.action}, and a {order.action} was meant"
    if not same(row.volume, order.volume):
        return f"it is of {format_lots(row.volume)}L, and {format_lots(order.volume)}L were meant"
    if row.magic != order.wire_magic:
        return f"its magic number is {row.magic}, and {order.wire_magic} was sent"
    if is_token(row.comment):
        return "its comment is the token of another order"
    if order.position and isinstance(row, HistoryOrder) and row.position != order.position:
        return f"it is about position {row.position}, and {order.position} was meant"
    return "it was there before, was made by hand, or is of another kind"


def all_orders(evidence: Evidence) -> Iterator[Shown]:
    """Yield all orders in the history and the list, each ticket once."""
    done = {row.ticket: row for row in (evidence.history.orders if evidence.history else ())}
    yield from done.values()
    yield from {row.ticket: row for row in evidence.orders if row.ticket not in done}.values()


def _may_be_ours(order: Order, shown: Shown, evidence: Evidence, habits: Habits) -> bool:
    """Return whether there is evidence why the only match does not carry our token."""
    if _seems_older(order, shown, evidence.time_offset_sec):
        return False
    if begins(shown.comment, order.token) or habit(order, shown.comment) in habits:
        return True
    is_shared = evidence.account.margin_mode is not MarginMode.HEDGING
    return bool(order.position) and not is_shared and not shown.comment


def _seems_older(order: Order, shown: Shown, offset_sec: int | None) -> bool:
    """Return whether a broker order seems older; only an unseen clock change could explain it."""
    if isinstance(shown, PendingOrder) or order.time_offset_sec is not None:
        return False
    if order.server_time_msc:
        return shown.time_setup_msc < order.server_time_msc - CLOCKS_APART_MSC
    return offset_sec is not None and shown.time_setup_msc < _by_our_clock_msc(order, offset_sec)


def bears_token_of(order: Order, row: Shown | Position) -> bool:
    """Return whether a broker order or a position carries the token of an order."""
    in_magic = order.wire_magic != order.magic
    return bool(order.token) and bears(row.comment, row.magic, order.token, in_magic=in_magic)


def _bearers(order: Order, evidence: Evidence) -> set[int]:
    """Return the tickets of the broker orders that carry the token of an order."""
    return {row.ticket for row in all_orders(evidence) if bears_token_of(order, row)}


def _fits(order: Order, shown: Shown, book: Book, evidence: Evidence) -> bool:
    if is_another_order(order, shown, book):
        return False
    # A broker may rename a symbol; the position to close has the same identifier afterwards.
    closes_same = isinstance(shown, HistoryOrder) and 0 < order.position == shown.position
    if shown.symbol != order.symbol and not closes_same:
        return False
    if isinstance(shown, PendingOrder):
        return _fits_working(order, shown, book)
    return _fits_past(order, shown, evidence.time_offset_sec)


def is_another_order(order: Order, shown: Shown | Position, book: Book) -> bool:
    """Return whether a broker order or a position is known to belong to another order."""
    known = book.orders_by_ticket.get(shown.ticket)
    if known is not None and not known.is_stand_in:
        return True
    if is_token(shown.comment) and shown.comment != order.token:
        return True
    kept = book.holdings.get(shown.ticket) or book.closed.get(shown.ticket)
    # No snapshot is read while our desk sends, so earlier entries of the book existed before.
    return order.by_desk and kept is not None and kept.version < order.version


def _fits_past(order: Order, past: HistoryOrder, offset_sec: int | None) -> bool:
    return (
        past.by_program
        and past.time_setup_msc >= earliest_msc(order, offset_sec)
        and past.side is order.side
        and past.magic == order.wire_magic
        and same(past.volume, order.volume)
        and (not order.position or past.position == order.position)
    )


def earliest_msc(order: Order, offset_sec: int | None) -> int:
    """Return the earliest time (ms, server's clock) at which the order can have reached the server.

    The server's own clock, as last seen before the sending, is the best source: our clock may have
    been wrong then. If neither that time nor a fresh quotation to compare both clocks is known,
    there is no bound, except for the beginning of the requested history.
    """
    if order.server_time_msc:
        set_back_msc = _set_back_sec(order, offset_sec) * 1000
        return order.server_time_msc - CLOCKS_APART_MSC - set_back_msc
    if offset_sec is None:
        return 0
    return _by_our_clock_msc(order, _least_offset_sec(order, offset_sec))


def _set_back_sec(order: Order, offset_sec: int | None) -> int:
    """Return how far (s) the server's clock may have been set back since an order left."""
    if offset_sec is None or order.time_offset_sec is None:
        return SUMMER_TIME_SEC
    return max(0, order.time_offset_sec - offset_sec)


def _least_offset_sec(order: Order, offset_sec: int) -> int:
    """Return the smallest possible offset (s) of the server's clock to UTC since an order left.

    The broker dated the order by that clock, and DST that began since then has changed the offset.
    """
    winter_sec, then_sec = offset_sec - SUMMER_TIME_SEC, order.time_offset_sec
    return winter_sec if then_sec is None else max(winter_sec, min(then_sec, offset_sec))


def _by_our_clock_msc(order: Order, offset_sec: int) -> int:
    """Return the sending time of an order by our clock, converted to the server's clock (ms)."""
    return order.entry_ns // 1_000_000 - CLOCKS_APART_MSC + offset_sec * 1000


def _fits_working(order: Order, working: PendingOrder, book: Book) -> bool:
    known = book.pending.get(working.ticket)
    return (
        (known is None or known.version > order.version)
        and _is_at_price(order, working)
        and working.magic == order.wire_magic
        # The list shows the unfilled rest, so the volume may be smaller than requested.
        and add_lots(working.volume, -order.volume) <= 0
    )


def _is_at_price(order: Order, working: PendingOrder) -> bool:
    """Return whether a working order has the type and the price of an order of ours."""
    wanted = PENDING_TYPES.get(order.kind, {}).get(order.side, OrderType.OTHER)
    if working.type is wanted:
        return order.kind is OrderKind.MARKET or (
            same(working.price_open, order.entry_price)
            and same(working.price_stoplimit, order.stoplimit)
        )
    # Once its price was reached, a stop-limit order is a limit order at its second price.
    is_limit = working.type is PENDING_TYPES[OrderKind.LIMIT][order.side]
    is_reached = order.kind is OrderKind.STOP_LIMIT and is_limit
    return is_reached and same(working.price_open, order.stoplimit)
