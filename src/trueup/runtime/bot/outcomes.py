"""Keep the outcomes of orders until they are in the journal and in the book.

Before an order is sent, its outcome in case of an interruption at this moment is noted here. So no
order is forgotten if a step fails, because of a full disk or Ctrl-C: the outcome is recorded with
the next order or sync.
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
from trueup.logs import Logger, about_order, logger
from trueup.runtime.bot.answers import log_fill, repeats
from trueup.runtime.bot.kept_book import KeptBook

log: Logger = logger("trueup.portfolio")

# Outcomes to record after an interruption: before the order was sent, and before its reply came.
UNSENT: OrderOutcome = Canceled(NEVER_LEFT)
UNANSWERED: OrderOutcome = Unknown("it was interrupted while it was sent")


def record_outcome(kept: KeptBook, order: Order, outcome: OrderOutcome, now_ns: int) -> bool:
    """Journal an order's outcome and apply it to the book; return whether the book agrees with it.

    Raises:
        JournalError: the outcome could not be journalled; the book is unchanged.
    """
    with about_order(order.order_id):
        return _recorded(kept, order, outcome, now_ns)


def _recorded(kept: KeptBook, order: Order, outcome: OrderOutcome, now_ns: int) -> bool:
    event = order_event(order, outcome, now_ns)
    # The order has its outcome already. A repeated answer is harmless, a contradiction is logged.
    if not may_advance(order.status, type(event)):
        return repeats(order, event)
    try:
        kept.commit([event])
    except NotEncodable as error:
        # The answer itself cannot be stored. Record the order as in doubt, so that the next sync
        # finds its outcome.
        log.error("[FILL] %s: %s", order.order_id, error)
        event = in_doubt(order, "the gateway's answer cannot be recorded as it is", now_ns)
        kept.commit([event])
    log_fill(order, event)
    return True


class OwedOutcomes:
    """Outcomes that are not in the journal yet, by order id, oldest first.

    Args:
        kept: the book of the orders.
    """

    def __init__(self, kept: KeptBook) -> None:
        self._kept = kept
        self._owed: dict[str, OrderOutcome] = {}
        # The intents of orders that left while the journal took nothing, by order id.
        self._unjournalled: dict[str, tuple[events.OrderCreated, events.SendStarted]] = {}
        self._unreturned: Order | None = None

    def note(self, order_id: str, outcome: OrderOutcome) -> None:
        """Note the currently known outcome of an order."""
        self._owed[order_id] = outcome

    def leaves_unjournalled(
        self, created: events.OrderCreated, started: events.SendStarted
    ) -> None:
        """Note that an order is about to be sent which the journal could not take."""
        self._unjournalled[created.order_id] = created, started
        self.note(created.order_id, UNANSWERED)

    def unjournalled(self, identifier: int) -> str:
        """Return the id of an order about a position that the journal lacks, or ''."""
        for order_id, (created, _) in self._unjournalled.items():
            if created.position == identifier:
                return order_id
        return ""

    def leaves(self, order: Order) -> None:
        """Note that an order is about to be sent and must be returned to its caller."""
        self._unreturned = order
        self.note(order.order_id, UNANSWERED)

    def returned(self) -> None:
        """Note that the caller has the order, or that a sync has brought the book up to date."""
        self._unreturned = None

    def late(self) -> list[Order]:
        """Record every owed outcome; return the sent orders that their callers did not get.

        Raises:
            JournalError: the journal still refuses them.
        """
        left = self.record()
        if self._unreturned is not None and self._unreturned not in left:
            left.append(self._unreturned)
        self._unreturned = None
        return left

    def note_found(self, found: Sequence[events.Event]) -> None:
        """Note intents whose append seemed to fail but is in the journal: none was sent."""
        for event in found:
            if isinstance(event, events.OrderCreated):
                self._owed.setdefault(event.order_id, UNSENT)

    def of(self, order_id: str) -> OrderOutcome | None:
        """Return the owed outcome of an order, or None."""
        return self._owed.get(order_id)

    @property
    def first(self) -> str:
        """The id of an order whose outcome is owed, or an empty string."""
        return next(iter(self._owed), "")

    def record(self) -> list[Order]:
        """Record every owed outcome; return those of the orders that were sent.

        Raises:
            JournalError: the journal still refuses them.
        """
        left = []
        for order_id, outcome in list(self._owed.items()):
            try:
                order = self._take(order_id, outcome)
            except JournalAhead:
                # The book now has the events of an earlier append, perhaps with this outcome: try
                # again from there.
                order = self._take(order_id, outcome)
            del self._owed[order_id]
            was_told = self._unjournalled.pop(order_id, None) is not None
            # The caller need not hear of an order that never left, or whose outcome it was told.
            if outcome is not UNSENT and order is not None and not was_told:
                left.append(order)
        return left

    def _take(self, order_id: str, outcome: OrderOutcome) -> Order | None:
        # This may load the book again, with new order objects, so get the order afterwards.
        self._kept.follow()
        intent = self._unjournalled.get(order_id)
        if intent is not None and order_id not in self._kept.book.orders:
            self._kept.commit(intent)
        order = self._kept.book.orders.get(order_id)
        if order is None:
            log.error("[FILL] Unknown order: %r", order_id)
            return None
        record_outcome(self._kept, order, outcome, self._kept.clock.now_ns())
        return order
