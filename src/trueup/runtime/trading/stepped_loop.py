"""The trading loop in steps, for a thread that takes care of many accounts and never waits.

`look` does what never waits: it asks and reads the broker, and takes prices that have arrived.
`tell` does what may wait: it calls the strategy, whose orders wait for the broker's reply. So a
thread of its own is needed only while there is something to tell.
"""

from __future__ import annotations

from collections import deque

from trueup.protocol.ticks import Tick
from trueup.runtime.sync.results import SyncResult
from trueup.runtime.time.clock import moment
from trueup.runtime.trading.loop import TradingLoop


class SteppedLoop(TradingLoop):
    """A trading loop whose steps somebody else takes; the arguments are those of `TradingLoop`.

    Only one thread at a time may use the object.
    """

    is_listening: bool = True
    """Whether the strategy has a method, or the program a function, that is told something."""
    has_failed: bool = False
    """Whether the strategy has failed, and was not resumed since."""
    _is_started = False
    _price_due_ns = 0
    # How many symbols are still to be asked in this round, and since when the first of them is.
    _left_in_round = 0
    _asked_ns = 0

    def recover(self) -> None:
        """Recover; waits for the gateway.

        Raises:
            Refused: the account has or may have real money, and real money is not allowed.
            JournalConflict: another process took the journal over.
        """
        self._news: deque[SyncResult | Tick] = deque()
        self._synced(self.reconciler.startup_recovery())

    def look(self) -> bool:
        """Sync if due and take the prices that have arrived, without waiting.

        Returns:
            Whether there is something to tell.

        Raises:
            JournalConflict: another process took the journal over, and trades instead.
            Refused: the account has or may have real money, and real money is not allowed.
        """
        self._clock_watch.look()
        self._sync()
        self._take_prices()
        return bool(self._news) or self._is_late or not self._is_started

    def tell(self) -> None:
        """Tell the strategy what `look` has found, and trade its signals; waits for replies."""
        if not self._is_started:
            self._is_started = True
            self._hooks.on_start(self._account)
            # The first prices are waited for: the connection for prices is made by this.
            self._begin_round()
            while self._left_in_round and self._ask_price(self._timeout_ms):
                pass
        if self._is_late:
            # The connection hangs, and only a question that is waited for gives it up.
            self._ask_price(self._timeout_ms)
        while self._news:
            news = self._news.popleft()
            if isinstance(news, SyncResult):
                self._hooks.after_sync(news)
            else:
                self._sync()
                self._take(news)

    @property
    def price_due_ns(self) -> int | None:
        """When prices are asked for next (ns, clock for waiting); None without prices."""
        return self._price_due_ns if self._feeds else None

    @property
    def awaits_price(self) -> bool:
        """Whether a price was asked for and has not arrived."""
        return self._left_in_round > 0

    @property
    def _timeout_ms(self) -> int:
        return int(self.reconciler.gateway.timeout_ms)

    @property
    def _is_late(self) -> bool:
        waited_ns = self.pm.clock.waiting_ns() - self._asked_ns
        return self._left_in_round > 0 and waited_ns >= self._timeout_ms * 1_000_000

    def _tell(self, result: SyncResult) -> None:
        # A strategy that failed would fail again at each sync: not until a person has resumed it.
        self.has_failed = self.has_failed and self.pm.is_paused
        if self.is_listening and not self.has_failed:
            self._news.append(result)

    def _take_prices(self) -> None:
        if not self._left_in_round and self.pm.clock.waiting_ns() >= self._price_due_ns:
            self._begin_round()
        while self._left_in_round and self._ask_price(0):
            pass

    def _begin_round(self) -> None:
        """Ask for the price of each symbol from now on."""
        self._asked_ns = self.pm.clock.waiting_ns()
        self._left_in_round = len(self._feeds)
        self._price_due_ns = self._asked_ns + round(self.pace_sec * 1e9)

    def _ask_price(self, wait_ms: int) -> bool:
        """Ask for the next symbol's price; return whether an answer came."""
        feed = self._feeds[0]
        answer = feed.ask(wait_ms)
        if answer is None:
            # This symbol stays the first to be asked: the price under way is not given up.
            return False
        self._feeds.rotate(-1)
        self._left_in_round -= 1
        self._asked_ns = self.pm.clock.waiting_ns()
        if isinstance(answer, Tick) and answer != feed.tick:
            feed.tick, feed.seen = answer, moment(self.pm.clock)
            self._news.append(answer)
        return True
