"""The trading loop: prices to signals, signals to orders, with the book kept in sync meanwhile.

A turn waits no longer than the pace, except for the reply to an order. Two rules limit the risk:

* While the broker cannot be read, positions may be closed, and no position is opened.
* A signal against open positions closes them, ticket by ticket, and opens no position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from trueup.core.account.trust import Reason, Unknown
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Position, Side
from trueup.errors import JournalConflict, JournalError, NotSent, Refused
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.risk import oldest_first
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult, SyncStatus
from trueup.runtime.trading.prices import Prices
from trueup.runtime.trading.strategy import Strategy

log: Logger = logger("trueup.loop")

PACE_SEC = 0.25
# The longest delay until a change at the broker is noticed between two turns.
NAP_SEC = 0.01
SIGNAL = "the strategy's signal"


class TradingLoop:
    """Trade a symbol by a strategy.

    Args:
        pm: the book; its order desk sends the orders.
        reconciler: keeps the book in agreement with the broker.
        strategy: turns prices into signals.
        prices: the source of prices.
        volume: lots of an entry.
        pace_sec: seconds from a turn to the next turn.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        reconciler: StateReconciler,
        strategy: Strategy,
        prices: Prices,
        *,
        volume: float = 0.01,
        pace_sec: float = PACE_SEC,
    ) -> None:
        self.pm: PortfolioManager = pm
        self.reconciler: StateReconciler = reconciler
        self.tick: Tick | None = None
        self.last_result: SyncResult | None = None
        self._strategy, self._prices = strategy, prices
        self._volume = volume
        self.pace_sec: float = pace_sec
        self._stopped = False
        self.prices_unknown: str | None = None

    def run(
        self, duration_sec: float | None = None, after_turn: Callable[[], None] | None = None
    ) -> None:
        """Recover, then take turns until `stop`, or until `duration_sec` have passed."""
        clock = self.pm.clock
        began_ns = clock.waiting_ns()
        # Before the first signal: a strategy must not trade on a book from before a crash.
        self.last_result = self.reconciler.startup_recovery()
        self._refuse_real_money()
        while not self._stopped:
            turn_ns = clock.waiting_ns()
            if duration_sec is not None and turn_ns - began_ns >= duration_sec * 1e9:
                return
            self.turn()
            if after_turn is not None:
                after_turn()
            # The pace is from start to start: a slow order does not delay the next turn further.
            left_sec = self.pace_sec - (clock.waiting_ns() - turn_ns) / 1e9
            self._rest(left_sec)

    def _rest(self, seconds: float) -> None:
        """Let time pass, and keep syncing with the broker meanwhile."""
        clock = self.pm.clock
        end_ns = clock.waiting_ns() + round(seconds * 1e9)
        left_sec = seconds
        while left_sec > 0 and not self._stopped:
            clock.sleep(min(left_sec, NAP_SEC))
            self._sync()
            left_sec = (end_ns - clock.waiting_ns()) / 1e9

    def stop(self) -> None:
        """End `run` after the turn under way; may be called from a signal handler."""
        self._stopped = True

    def turn(self) -> None:
        """Sync if due, take the latest price, and trade the strategy's signal.

        Raises:
            JournalConflict: another process took the journal over, and trades instead.
            Refused: the account has or may have real money, and real money is not allowed.
        """
        self._sync()
        tick = self._latest()
        # The reply to a sync has usually arrived by now: use it before trading on the book.
        self._sync()
        if tick is None or tick == self.tick:
            return
        self.tick = tick
        signal = self._strategy.on_tick(tick)
        if signal:
            self._trade(signal, tick)

    def _sync(self) -> None:
        result = self.reconciler.sync_continuous()
        if result is not None:
            self.last_result = result
        self._refuse_real_money()
        if self.pm.is_fenced_out:
            raise JournalConflict(self.pm.journal_trouble)

    def _refuse_real_money(self) -> None:
        unknown = self.reconciler.unknown
        if unknown is not None and unknown.reason is Reason.REAL_MONEY:
            raise Refused(f"{unknown.sentence}: nothing was traded there.")

    def _latest(self) -> Tick | None:
        answer = self._prices.latest(round(self.pace_sec * 1000))
        if isinstance(answer, Unknown):
            if self.prices_unknown is None:
                log.warning("[PRICES] %s; waiting for prices", answer.sentence)
            self.prices_unknown = answer.sentence
            return None
        if answer is not None and self.prices_unknown is not None:
            log.info("[PRICES] Prices are back")
            self.prices_unknown = None
        return answer

    def _trade(self, signal: int, tick: Tick) -> None:
        side = Side.BUY if signal > 0 else Side.SELL
        price = tick.ask if side is Side.BUY else tick.bid
        against = self._positions_against(side)
        for position in against:
            if not _filled(partial(self.pm.close, position, price=price, why=SIGNAL)):
                return
        if not against and self._may_open(side) and self.pm.check_risk(signal):
            _filled(partial(self.pm.submit, side, self._volume, price=price, why=SIGNAL))

    def _positions_against(self, side: Side) -> list[Position]:
        """Return the positions that an order of this side closes, oldest first."""
        holdings = oldest_first(self.pm.book, self.pm.symbol)
        positions = [holding.position for holding in holdings]
        return [position for position in positions if position.side is not side]

    def _may_open(self, side: Side) -> bool:
        result = self.last_result
        if result is not None and result.status in (SyncStatus.SUCCESS, SyncStatus.PARTIAL):
            # The order desk itself refuses orders in symbols that a partial reading lacks.
            return True
        seen = (
            "the last reading failed" if result is None or not result.errors else result.errors[0]
        )
        log.warning("[ORDER] No new %s: %s", side.word, seen)
        return False


def _filled(ask: Callable[[], Intent]) -> bool:
    """Send an order; return whether the order was filled. A refusal is logged."""
    try:
        return ask().status is OrderStatus.FILLED
    except JournalError as error:
        log.error("[ORDER] %s", error)
    except (Refused, NotSent) as error:
        log.warning("[ORDER] %s", error)
    return False
