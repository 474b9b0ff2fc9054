"""A desk that checks orders as the order desk does, and sends none.

A proposal waits for a person. So that no person is asked about an order that cannot be sent, the
proposal is checked at once by the rules that the order will meet.
"""

from __future__ import annotations

from trueup.core.book import events
from trueup.core.book.book import Order
from trueup.core.book.order import created_order
from trueup.runtime.bot.order_desk import Decision, Intent, OrderDesk


class CheckingDesk(OrderDesk):
    """Decides about orders of a book, and changes neither book nor broker.

    The methods return the order that would be recorded, without an order id, or the first order of
    a repeated key; they raise what the order desk would raise.
    """

    @classmethod
    def beside(cls, desk: OrderDesk) -> CheckingDesk:
        """Return a desk that decides as another desk decides now."""
        return cls(
            desk._kept, desk._identity, desk._entries, desk._owed, desk._broker, part=desk._part
        )

    def _catch_up(self, key: str) -> list[Order]:
        # The next order takes the outcomes that are owed: its caller has to hear of them.
        self._kept.follow()
        return []

    def _carry_out(self, decision: Decision) -> Intent:
        if isinstance(decision, Order):
            return decision
        return created_order(
            events.OrderCreated(
                at_ns=self._kept.clock.now_ns(), order_id="", key=decision.key, **decision.wish
            )
        )
