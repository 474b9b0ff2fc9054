"""The trading loop: prices to signals, signals to orders, with the book kept in sync meanwhile.

A turn waits no longer than the pace, except for the reply to an order. Two rules limit the risk:

* While the broker cannot be read, positions may be closed, and no position is opened.
* A signal against open positions closes them, ticket by ticket, and opens no position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from trueup.core.account.trust import Reason, Unknown
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Position, Side
from trueup.errors import JournalConflict, JournalError, NotSent, Refused, StrategyError
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.risk import oldest_first
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult, SyncStatus
from trueup.runtime.time.clock import Moment, moment
from trueup.runtime.time.clock_watch import ClockWatch
from trueup.runtime.trading.callbacks import Callbacks
from trueup.runtime.trading.hooks import Hooks
from trueup.runtime.trading.prices import Prices

log: Logger = logger("trueup.loop")

PACE_SEC = 0.25
# The longest delay until a change at the broker is noticed between two turns.
NAP_SEC = 0.01
SIGNAL = "the strategy's signal"


class TradingLoop:
    """Trade the symbols of a book by a strategy.

    The loop also calls the methods `on_sync`, `on_fill` and `on_hold` of a strategy that has them;
    see `Strategy`. A signal closes positions of the price's symbol, or opens one.

    Args:
        pm: the book; its order desk sends the orders.
        reconciler: keeps the book in agreement with the broker.
        strategy: turns prices into signals.
        prices: the source of prices of each symbol.
        portfolio: returns the part of the book for a symbol; by default the whole book.
        volume: lots of an entry.
        pace_sec: seconds from a turn to the next turn.
        callbacks: the functions that the program registered for events of the book.
        on_failure: called with each error of the strategy; by default the error is raised.
        account: given to the strategy's `on_start`; without, `on_start` is not called.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        reconciler: StateReconciler,
        strategy: object,
        prices: Mapping[str, Prices],
        *,
        portfolio: Callable[[str], PortfolioManager] | None = None,
        volume: float = 0.01,
        pace_sec: float = PACE_SEC,
        callbacks: Callbacks | None = None,
        on_failure: Callable[[StrategyError], object] | None = None,
        account: object = None,
    ) -> None:
        self.pm: PortfolioManager = pm
        self.reconciler: StateReconciler = reconciler
        self.tick: Tick | None = None
        """The latest price."""
        self.last_result: SyncResult | None = None
        self._hooks = Hooks(strategy, pm, callbacks or Callbacks(pm), on_failure)
        self._account = account
        self._portfolio = portfolio or (lambda _: pm)
        self._feeds = deque(Feed(symbol, source) for symbol, source in prices.items())
        self._volume = volume
        self.pace_sec: float = pace_sec
        self._clock_watch = ClockWatch(pm.clock)
        self._stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The prices of each symbol, by symbol."""
        return tuple(sorted(self._feeds, key=lambda feed: feed.symbol))

    @property
    def prices_unknown(self) -> str | None:
        """Why there is no price of a symbol; None while each symbol has a price."""
        return next((feed.unknown for feed in self._feeds if feed.unknown is not None), None)

    def run(
        self,
        duration_sec: float | None = None,
        after_turn: Callable[[], None] | None = None,
        in_rest: Callable[[], None] | None = None,
    ) -> None:
        """Recover, then take turns until `stop`, or until `duration_sec` have passed.

        Args:
            duration_sec: seconds until the end; None for no end.
            after_turn: called after each turn.
            in_rest: called again and again while the loop rests between two turns; must not wait.
        """
        clock = self.pm.clock
        began_ns = clock.waiting_ns()
        # Before the first signal: a strategy must not trade on a book from before a crash.
        self._synced(self.reconciler.startup_recovery())
        if self._account is not None:
            self._hooks.on_start(self._account)
        while not self._stopped:
            turn_ns = clock.waiting_ns()
            if duration_sec is not None and turn_ns - began_ns >= duration_sec * 1e9:
                return
            self.turn()
            if after_turn is not None:
                after_turn()
            # The pace is from start to start: a slow order does not delay the next turn further.
            left_sec = self.pace_sec - (clock.waiting_ns() - turn_ns) / 1e9
            self._rest(left_sec, in_rest)

    def _rest(self, seconds: float, in_rest: Callable[[], None] | None) -> None:
        """Let time pass, and keep syncing with the broker meanwhile."""
        clock = self.pm.clock
        end_ns = clock.waiting_ns() + round(seconds * 1e9)
        left_sec = seconds
        while left_sec > 0 and not self._stopped:
            clock.sleep(min(left_sec, NAP_SEC))
            self._sync()
            if in_rest is not None:
                in_rest()
            left_sec = (end_ns - clock.waiting_ns()) / 1e9

    def stop(self) -> None:
        """End `run` after the turn under way; may be called from a signal handler."""
        self._stopped = True

    def turn(self) -> None:
        """Sync if due, take the latest prices, and trade the strategy's signals.

        Raises:
            JournalConflict: another process took the journal over, and trades instead.
            Refused: the account has or may have real money, and real money is not allowed.
        """
        self._clock_watch.look()
        self._sync()
        for tick in self._new_prices():
            # The reply to a sync has usually arrived by now: use it before trading on the book.
            self._sync()
            self._take(tick)

    def _take(self, tick: Tick) -> None:
        """Give the strategy a price, and trade its signal."""
        self.tick = tick
        # Syncs and callbacks go on while a person has paused the strategy.
        signal = 0 if self.pm.is_paused else self._hooks.on_tick(tick)
        if signal:
            self._trade(signal, tick)
        self._hooks.deliver()

    def _sync(self) -> None:
        result = self.reconciler.sync_continuous()
        if result is not None:
            self._synced(result)
        if self.pm.is_fenced_out:
            raise JournalConflict(self.pm.journal_trouble)

    def _synced(self, result: SyncResult) -> None:
        self.last_result = result
        unknown = self.reconciler.unknown
        if unknown is not None and unknown.reason is Reason.REAL_MONEY:
            raise Refused(f"{unknown.sentence}: nothing was traded there.")
        self._tell(result)

    def _tell(self, result: SyncResult) -> None:
        self._hooks.after_sync(result)

    def _new_prices(self) -> Iterator[Tick]:
        """Yield the price of each symbol whose price has changed; wait at most the pace in all."""
        clock = self.pm.clock
        end_ns = clock.waiting_ns() + round(self.pace_sec * 1e9)
        for _ in range(len(self._feeds)):
            feed = self._feeds[0]
            left_ms = max(0, end_ns - clock.waiting_ns()) // 1_000_000
            answer = feed.ask(left_ms)
            if answer is None:
                # This symbol stays the first to be asked: the price under way is not given up.
                return
            self._feeds.rotate(-1)
            if isinstance(answer, Tick) and answer != feed.tick:
                feed.tick, feed.seen = answer, moment(clock)
                yield answer

    def _trade(self, signal: int, tick: Tick) -> None:
        side = Side.BUY if signal > 0 else Side.SELL
        price = tick.ask if side is Side.BUY else tick.bid
        part = self._portfolio(tick.symbol)
        against = self._positions_against(side, tick.symbol)
        for position in against:
            if not _filled(partial(part.close, position, price=price, why=SIGNAL)):
                return
        if not against and self._may_open(side) and part.check_risk(signal):
            _filled(partial(part.submit, side, self._volume, price=price, why=SIGNAL))

    def _positions_against(self, side: Side, symbol: str) -> list[Position]:
        """Return the positions that an order of this side closes, oldest first."""
        holdings = oldest_first(self.pm.book, symbol)
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


class Feed:
    """The prices of one symbol: the source, the last price that was used, and any trouble."""

    def __init__(self, symbol: str, source: Prices) -> None:
        self.symbol, self._source = symbol, source
        self.tick: Tick | None = None
        self.seen: Moment | None = None
        """When the last price arrived."""
        self.unknown: str | None = None

    def ask(self, wait_ms: int) -> Tick | Unknown | None:
        """Return the latest price, or None if no reply has come within `wait_ms`."""
        answer = self._source.latest(wait_ms)
        if isinstance(answer, Unknown):
            if self.unknown is None:
                log.warning("[PRICES] %s; waiting for prices", answer.sentence)
            self.unknown = answer.sentence
        elif answer is not None and self.unknown is not None:
            log.info("[PRICES] Prices are back")
            self.unknown = None
        return answer


def _filled(ask: Callable[[], Intent]) -> bool:
    """Send an order; return whether the order was filled. A refusal is logged."""
    try:
        return ask().status is OrderStatus.FILLED
    except JournalError as error:
        log.error("[ORDER] %s", error)
    except (Refused, NotSent) as error:
        log.warning("[ORDER] %s", error)
    return False
