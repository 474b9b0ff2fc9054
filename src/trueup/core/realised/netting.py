"""On a netting account a symbol has one position, whatever ticket our fill took it under.

The book can lose such a position for a moment: an order of ours was in doubt, the next one closed
all that the book had, and the position lives on at the broker. A fill then stands in the book under
its own order's ticket, and the list shows the position under its identifier (MT5 reference,
POSITION_TICKET, POSITION_IDENTIFIER). Both are one position, and the book must not have it twice.
"""

from __future__ import annotations

from trueup.core.book.holdings import Holding
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import Position


def opened_by_us(symbol: str, inputs: SyncInputs) -> Holding | None:
    """Return a position of a symbol that our fill opened a moment ago and no reading shows yet.

    None on a hedging account, where a fill without a position's name opens a position of its own.
    """
    if not inputs.is_shared:
        return None
    unseen = (
        holding
        for holding in inputs.book.holdings_in(symbol)
        if holding.position.identifier not in inputs.listed
        and not holding.deals
        and (holding.version > inputs.asked_version or inputs.is_settling(holding.touched_ns))
        and inputs.own_order(holding.position.identifier) is not None
    )
    return next(unseen, None)


def shown_as(holding: Holding, inputs: SyncInputs) -> Position | None:
    """Return the listed position that our fills went into, None where nothing proves one.

    A reversal gives the position the ticket of its order, and each deal names its order.
    """
    if not inputs.is_shared:
        return None
    orders = (inputs.book.orders.get(order_id) for order_id in holding.order_ids)
    tickets = {order.ticket for order in orders if order is not None and not order.is_stand_in}
    return next(
        (row for row in inputs.snapshot.positions if _has(tickets, row, holding, inputs)), None
    )


def _has(tickets: set[int | None], remote: Position, holding: Holding, inputs: SyncInputs) -> bool:
    """Return whether a position of the list has fills that a position of the book was made of."""
    local = holding.position
    if remote.symbol != local.symbol or remote.identifier == local.identifier:
        return False
    if remote.ticket in tickets:
        return True
    history = inputs.history(remote.identifier)
    return history is not None and any(deal.order in tickets for deal in history.deals)
