"""Match a position of the book with the single position of its symbol on a netting account.

The book can lose such a position for a moment: an order of ours was in doubt, the next order closed
all lots that the book had, and the position continues at the broker. The book then has a fill under
the ticket of its order, while the list shows the position under its identifier (MT5 reference,
POSITION_TICKET, POSITION_IDENTIFIER). Both are the same position, which must not count twice.
"""

from __future__ import annotations

from trueup.core.book.holdings import Holding
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import Position


def opened_by_us(symbol: str, inputs: SyncInputs) -> Holding | None:
    """Return a position of a symbol that our fill opened just now and no reading shows yet.

    None on a hedging account, where a fill without the ticket of a position opens a new position.
    """
    if not inputs.is_shared:
        return None
    # A position with counted deals is proven to be another position, so skip it.
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
    """Return the listed position that our fills went into, None without a proof.

    A reversal gives the position the ticket of the reversing order, and each deal names its order.
    """
    if not inputs.is_shared or holding.deals:
        # A position with deals of its own is one that the broker made.
        return None
    orders = (inputs.book.orders.get(order_id) for order_id in holding.order_ids)
    tickets = {order.ticket for order in orders if order is not None and not order.is_stand_in}
    return next(
        (row for row in inputs.snapshot.positions if _has(tickets, row, holding, inputs)), None
    )


def _has(tickets: set[int | None], remote: Position, holding: Holding, inputs: SyncInputs) -> bool:
    """Return whether a listed position contains fills of a position in the book."""
    local = holding.position
    if remote.symbol != local.symbol or remote.identifier == local.identifier:
        return False
    if remote.ticket in tickets:
        return True
    history = inputs.history(remote.identifier)
    return history is not None and any(deal.order in tickets for deal in history.deals)
