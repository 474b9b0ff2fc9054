"""Call the methods of a strategy, and the functions that a program registered for events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from trueup.core.book import events
from trueup.core.holds import Hold
from trueup.errors import JournalConflict, JournalError, StrategyError, TrueupError
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.results import SyncResult
from trueup.runtime.trading.callbacks import Callbacks
from trueup.runtime.trading.own_strategy import own_strategy

log: Logger = logger("trueup.loop")


class Hooks:
    """Calls a strategy between the steps of a loop, never within a step.

    An order that a method asks for may be refused: a refusal is logged and ends that call alone.

    Args:
        strategy: an object with any of the methods of `strategy.METHODS`.
        pm: the book, whose events lead to `on_fill`.
        callbacks: the functions that the program registered for events of the book.
        on_failure: called with each error of the strategy; by default the error is raised.
    """

    def __init__(
        self,
        strategy: object,
        pm: PortfolioManager,
        callbacks: Callbacks,
        on_failure: Callable[[StrategyError], object] | None = None,
    ) -> None:
        self._strategy, self._pm = own_strategy(strategy), pm
        self._callbacks, self._on_failure = callbacks, on_failure
        self._held: frozenset[tuple[object, ...]] = frozenset()
        # A strategy may ask again at every price: the same refusal is logged once.
        self._refusal = ""
        if self._strategy.has("on_fill"):
            callbacks.on(events.OrderFilled)(self._filled)
            callbacks.on(events.OrderSettled)(self._filled)
            callbacks.on(events.PendingClosed)(self._pending_closed)

    def on_start(self, account: object) -> None:
        """Give the strategy its account."""
        self._asked(partial(self._strategy.call, "on_start", account))

    def on_tick(self, tick: Tick) -> int:
        """Return the strategy's signal for a price."""
        signal = self._asked(partial(self._strategy.on_tick, tick))
        if signal is not None:
            self._refusal = ""
        return signal or 0

    def after_sync(self, result: SyncResult) -> None:
        """Call what a finished sync leads to: events first, then `on_sync`, then `on_hold`."""
        self.deliver()
        self._asked(partial(self._strategy.call, "on_sync", result))
        known, self._held = self._held, frozenset(map(_name, result.holds))
        for hold in result.holds:
            # Seen once: a hold stays in the result of every sync until it ends.
            if _name(hold) not in known:
                self._asked(partial(self._strategy.call, "on_hold", hold))

    def deliver(self) -> None:
        """Call the functions that wait for events of the book."""
        while self._asked(self._callbacks.deliver_next):
            pass

    def _filled(self, event: events.OrderFilled | events.OrderSettled) -> None:
        # An order that was resolved as never executed is settled with a volume of 0.
        if event.volume:
            self._tell_fill(self._pm.orders.get(event.order_id))

    def _pending_closed(self, event: events.PendingClosed) -> None:
        if event.filled:
            self._tell_fill(self._pm.find_order_by_ticket(event.order.ticket))

    def _tell_fill(self, order: Intent | None) -> None:
        if order is not None:
            self._strategy.call("on_fill", order)

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Make a call of the user's code; None if it failed."""
        try:
            return call()
        except JournalConflict:
            raise
        except StrategyError as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)
        except TrueupError as error:
            self._log_refusal(error)
        return None

    def _log_refusal(self, error: TrueupError) -> None:
        is_known, self._refusal = str(error) == self._refusal, str(error)
        level = logging.ERROR if isinstance(error, JournalError) else logging.WARNING
        log.log(logging.DEBUG if is_known else level, "[ORDER] %s", error)


def _name(hold: Hold) -> tuple[object, ...]:
    """Return what tells one hold from another, whatever their ages."""
    return hold.kind, hold.symbol, hold.identifier, hold.id, hold.reason
