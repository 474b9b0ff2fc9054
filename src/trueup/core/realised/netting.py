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


def changed_here(symbol: str, inputs: SyncInputs) -> bool:
    """Return whether a fill of ours may have changed the position of a symbol after the question.

    Such a fill went into the single position of the symbol, whatever the book calls that position.
    So a reading that is older than the fill shows other lots. False on an account that is known to
    be a hedging one. The guide's wire does not say which kind an account is.
    """
    is_unknown = inputs.snapshot.evidence is None and inputs.book.nets
    if not inputs.is_shared and not is_unknown:
        return False
    # The last position that left the book: by our own fill if it left after the question.
    closed = next(reversed(inputs.book.closed.values()), None)
    if closed is not None and closed.version > inputs.asked_version:
        return True
    return symbol in inputs.changed_symbols


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
    """Return the listed position that our opening fill went into, None without a proof.

    The identifier of a position of ours is the ticket of the order that opened it here. A reversal
    gives the position the ticket of the reversing order, and each deal names its order. So if
    another position has that ticket, or a deal of that order, the broker made no second position.
    A pending order can fill in parts: the first part opened a position, a rollover ended that
    position, and a later part went into its successor. Deals of its own prove the first position.
    """
    own = inputs.history(holding.position.identifier)
    if not inputs.is_shared or holding.deals or (own is not None and own.deals):
        return None
    listed = inputs.snapshot.positions
    return next((row for row in listed if _has(row, holding.position, inputs)), None)


def _has(remote: Position, local: Position, inputs: SyncInputs) -> bool:
    """Return whether a listed position contains the fill that opened a position of the book."""
    if remote.symbol != local.symbol or remote.identifier == local.identifier:
        return False
    if remote.ticket == local.identifier:
        return True
    history = inputs.history(remote.identifier)
    return history is not None and any(deal.order == local.identifier for deal in history.deals)
