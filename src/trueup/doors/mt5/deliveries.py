"""Outcomes of orders that the program has not been given yet, and the notes of their delivery."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.doors.account import Account
from trueup.doors.mt5 import requests
from trueup.errors import JournalError
from trueup.logs import Logger, about_order, logger
from trueup.sim.market.structs import TradeRequest

log: Logger = logger("trueup.mt5")

ARRIVES_NS = 1_000_000_000
"""Another thread's call shows that a result arrived only so long after its return: the thread that
sent the order may not have noted the result yet when the program is killed."""


class Deliveries:
    """Knows which outcomes the program has been given, also after a restart.

    A result that a call returned has arrived once the same thread calls again. Async programs hand
    each call to a pool of threads, where the same thread may never call again: there a later call
    of any thread shows the arrival, and so does the end of the door.

    Args:
        account: the account's book.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._clock = account.manager.clock
        # Orders whose outcome the program has not been given, oldest first.
        self._undelivered: dict[str, None] = {
            order.order_id: None
            for order in account.orders.values()
            if order.key.startswith(requests.KEY_PREFIX) and not order.delivered
        }
        self.shown: set[int] = set()
        """Tickets that the program was shown before its first order opened its book."""
        # Orders whose outcome a call returned: its thread, and when, by the clock for waiting (ns).
        self._returned: dict[str, tuple[int, int]] = {}

    def expect(self, order: Order) -> None:
        """Note an order of the program, whose outcome must be delivered."""
        self._undelivered[order.order_id] = None

    def orders(self) -> Iterator[Order]:
        """Yield the orders whose outcome no call has returned to the program, oldest first."""
        known = self._account.orders
        for order_id in list(self._undelivered):
            order = known.get(order_id)
            if order is not None and order_id not in self._returned:
                yield order

    def of_request(self, request: TradeRequest) -> Order | None:
        """Return an order that wants the same, and whose outcome the program has not been given."""
        prefix = requests.key_prefix(request)
        return next((order for order in self.orders() if order.key.startswith(prefix)), None)

    def returns(self, order_id: str) -> None:
        """Note that the outcome of an order is returned by the present call of this thread."""
        self._returned[order_id] = threading.get_ident(), self._clock.waiting_ns()

    def note_arrival(self, *, is_last: bool = False) -> None:
        """Note which results arrived, since this thread calls again; all of them at the last."""
        thread, now_ns = threading.get_ident(), self._clock.waiting_ns()
        for order_id, (other, at_ns) in list(self._returned.items()):
            if not (is_last or thread == other or now_ns - at_ns >= ARRIVES_NS):
                continue
            # Of two threads that come here at once, one records the delivery.
            is_mine = self._undelivered.pop(order_id, False) is None
            self._returned.pop(order_id, None)
            if is_mine:
                self._record(order_id)

    def _record(self, order_id: str) -> None:
        manager = self._account.manager
        delivered = events.OutcomeDelivered(at_ns=self._clock.now_ns(), order_id=order_id)
        try:
            with manager.turn:
                manager.commit([delivered])
        except JournalError as error:
            # Without the note the outcome is given once more after a restart, which is safe.
            with about_order(order_id):
                log.warning("[MT5] The delivery of %s is not recorded: %s", order_id, error)

    def note_shown(
        self, rows: Iterable[Any], lists_symbol: Callable[[str], bool] = lambda symbol: False
    ) -> None:
        """Note the orders whose effect the program sees in the rows that it is given.

        Args:
            rows: positions, orders or deals.
            lists_symbol: whether the rows are all open positions of a symbol.
        """
        opens_later = not self._account.manager.keeps_journal
        if not (self._undelivered or opens_later):
            return
        names = ("identifier", "ticket", "order")
        shown = {getattr(row, name, 0) for row in rows for name in names}
        if opens_later:
            self.shown |= shown
        self.note_tickets(shown)
        # On a netting account the next order of the program may be equal to its close, or to what
        # it added to a position, and be meant as another one.
        holdings = self._account.manager.book.holdings.items()
        added = {deal.order for key, one in holdings if key in shown for deal in one.booked}
        for order in self.orders():
            is_close = bool(order.named) and lists_symbol(order.symbol)
            if order.status is OrderStatus.FILLED and (is_close or order.ticket in added):
                self.returns(order.order_id)

    def note_tickets(self, shown: Set[int]) -> None:
        """Note the orders whose effect has one of the tickets that the program is shown."""
        for order in self.orders():
            if order.status is not OrderStatus.IN_DOUBT and order.ticket in shown:
                self.returns(order.order_id)
