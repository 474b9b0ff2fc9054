"""Settle the orders in doubt by what a snapshot shows.

An order in doubt is settled by the recovery table. On a wire that carries no token, its trace is a
difference between book and broker that is exactly what the order would have made: same symbol,
same side, same volume, and for an order that closes, the position it meant. Only a single fitting
difference counts; with two nobody can say which one is ours, and a person must.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trueup.core import events
from trueup.core.book import Book, Order
from trueup.core.diff import Diff, Drift, Ghost, Zombie
from trueup.core.model import Position, Snapshot
from trueup.core.policy import Policy
from trueup.core.quantity import format_lots, to_units
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide

Difference = Zombie | Ghost | Drift


class Doubt(msgspec.Struct, frozen=True):
    """What a snapshot says about one order in doubt: the case, and the difference that fits it."""

    order: Order
    case: Case
    trace: Difference | None
    candidates: int


def weigh(
    book: Book,
    diff: Diff,
    snapshot: Snapshot,
    policy: Policy,
    *,
    asked_ns: int,
    asked_version: int,
) -> tuple[Doubt, ...]:
    """Return one verdict for each order in doubt."""
    if not book.in_doubt:
        return ()
    differences: list[Difference] = [*diff.zombies, *diff.drifts]
    if not snapshot.faults:
        # The row that cannot be read may be the very position that seems to have gone.
        differences += diff.ghosts
    orders = [o for o in book.in_doubt.values() if o.symbol in policy.symbols]
    return tuple(
        _weigh(o, orders, differences, snapshot, policy, asked_ns)
        if o.version <= asked_version
        else Doubt(o, decide(JournalSays.SENT, BrokerShows.UNSEEN, settled=False), None, 0)
        for o in orders
    )


def _weigh(
    order: Order,
    orders: Sequence[Order],
    differences: Iterable[Difference],
    snapshot: Snapshot,
    policy: Policy,
    asked_ns: int,
) -> Doubt:
    fitting = [difference for difference in differences if _fits(order, difference)]
    rivals = [other for other in orders if any(_fits(other, d) for d in fitting)]
    settled = asked_ns - order.doubt_ns >= policy.grace_period_ms * 1_000_000
    shows = _shows(len(fitting), len(rivals), snapshot)
    case = decide(JournalSays.SENT, shows, settled=settled)
    trace = fitting[0] if shows is BrokerShows.OPEN else None
    return Doubt(order, case, trace, len(fitting))


def _shows(fitting: int, rivals: int, snapshot: Snapshot) -> BrokerShows:
    if fitting == 1 and rivals == 1:
        return BrokerShows.OPEN
    if fitting or snapshot.faults:
        return BrokerShows.UNSEEN
    return BrokerShows.NO_TRACE


def _fits(order: Order, difference: Difference) -> bool:
    position = affected(difference)
    return (
        position.symbol == order.symbol
        and (not order.position or position.identifier == order.position)
        and difference.change == order.side.sign * to_units(order.volume)
    )


def affected(difference: Difference) -> Position:
    """Return the position a difference is about, as the broker has it where it does."""
    return difference.local if isinstance(difference, Ghost) else difference.remote


def settling_event(doubt: Doubt, at_ns: int) -> events.OrderEvent | None:
    """Return the event that ends a doubt, or None while it lasts."""
    order, case = doubt.order, doubt.case
    if case.decision is Decision.ABANDON:
        because = f"case {case.label}: {case.because}"
        return events.OrderCanceled(at_ns=at_ns, order_id=order.order_id, because=because)
    if doubt.trace is None:
        return None
    position = affected(doubt.trace)
    return events.OrderSettled(
        at_ns=at_ns,
        order_id=order.order_id,
        ticket=position.ticket,
        volume=order.volume,
        price=position.price_open if isinstance(doubt.trace, Zombie) else None,
        because=f"case {case.label}: {case.because}",
    )


def waiting_sentence(doubt: Doubt) -> str:
    """Say why an order is still in doubt and what would end it."""
    order = doubt.order
    what = f"{order.action} {format_lots(order.volume)}L {order.symbol} ({order.order_id})"
    if doubt.candidates:
        return (
            f"Order in doubt: {what} fits {doubt.candidates} differences, or other orders fit the "
            "same one; tell the book its fill with on_fill()"
        )
    return f"Order in doubt: {what}, case {doubt.case.label}: {doubt.case.because}"
