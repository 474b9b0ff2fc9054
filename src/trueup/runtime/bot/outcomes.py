"""The outcomes of orders on their way into the journal and the book.

An order that is about to leave is noted here, with the outcome that an interruption at this very
moment would leave it with. So whatever comes between two steps (a full disk, Ctrl-C), the order is
not forgotten: its outcome is recorded with the next order or sync.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.book import events
from trueup.core.book.lifecycle import may_advance
from trueup.core.book.order import Order
from trueup.core.book.outcome import (
    NEVER_LEFT,
    Canceled,
    OrderOutcome,
    Unknown,
    in_doubt,
    order_event,
)
from trueup.errors import NotEncodable
from trueup.journal import JournalAhead
from trueup.logs import Logger, logger
from trueup.runtime.bot.answers import log_fill, repeats
from trueup.runtime.bot.kept_book import KeptBook

log: Logger = logger("trueup.portfolio")

# Recorded where nothing better came: the recording failed, or the process was interrupted.
UNSENT: OrderOutcome = Canceled(NEVER_LEFT)
UNANSWERED: OrderOutcome = Unknown("it was interrupted while it was sent")


def record_outcome(kept: KeptBook, order: Order, outcome: OrderOutcome, now_ns: int) -> bool:
    """Take an order's outcome into journal and book; return whether the book agrees with it.

    Raises:
        JournalError: the outcome could not be journalled; the book is as it was.
    """
    event = order_event(order, outcome, now_ns)
    if not may_advance(order.status, type(event)):
        return repeats(order, event)
    try:
        kept.commit([event])
    except NotEncodable as error:
        # What the gateway said cannot be kept; that it said something can.
        log.error("[FILL] %s: %s", order.order_id, error)
        event = in_doubt(order, "the gateway's answer cannot be recorded as it is", now_ns)
        kept.commit([event])
    log_fill(order, event)
    return True


class OwedOutcomes:
    """Outcomes that are not in the journal yet, by order id, oldest first.

    Args:
        kept: the book that they belong in.
    """

    def __init__(self, kept: KeptBook) -> None:
        self._kept = kept
        self._owed: dict[str, OrderOutcome] = {}
        self._unreturned: Order | None = None

    def note(self, order_id: str, outcome: OrderOutcome) -> None:
        """Note what is known of an order's outcome by now."""
        self._owed[order_id] = outcome

    def leaves(self, order: Order) -> None:
        """Note that an order is about to leave, and that its caller is to be given it."""
        self._unreturned = order
        self.note(order.order_id, UNANSWERED)

    def returned(self) -> None:
        """Note that the caller has it, or has the book since a sync."""
        self._unreturned = None

    def late(self) -> list[Order]:
        """Record every outcome that is owed; return the orders that had left without their caller.

        Raises:
            JournalError: the journal refuses them still.
        """
        left = self.record()
        if self._unreturned is not None and self._unreturned not in left:
            left.append(self._unreturned)
        self._unreturned = None
        return left

    def note_found(self, found: Sequence[events.Event]) -> None:
        """Note intents that were journalled by an append that had seemed to fail: none left."""
        for event in found:
            if isinstance(event, events.OrderCreated):
                self._owed.setdefault(event.order_id, UNSENT)

    def of(self, order_id: str) -> OrderOutcome | None:
        """Return the outcome that is owed of an order, or None."""
        return self._owed.get(order_id)

    @property
    def first(self) -> str:
        """The id of an order whose outcome is owed, or an empty string."""
        return next(iter(self._owed), "")

    def record(self) -> list[Order]:
        """Record every outcome that is owed; return the orders among them that had left.

        Raises:
            JournalError: the journal refuses them still.
        """
        left = []
        for order_id, outcome in list(self._owed.items()):
            try:
                order = self._take(order_id, outcome)
            except JournalAhead:
                # The book has what an earlier append wrote, this very outcome perhaps.
                order = self._take(order_id, outcome)
            del self._owed[order_id]
            if outcome is not UNSENT and order is not None:
                left.append(order)
        return left

    def _take(self, order_id: str, outcome: OrderOutcome) -> Order | None:
        # The book may be read anew here, with other objects as orders.
        self._kept.follow()
        order = self._kept.book.orders.get(order_id)
        if order is None:
            log.error("[FILL] Unknown order: %r", order_id)
            return None
        record_outcome(self._kept, order, outcome, self._kept.clock.now_ns())
        return order
