"""Playback of a price feed at a multiple of real time."""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.account.trust import Reason, Unknown
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick
from trueup.runtime.time.clock import Clock
from trueup.sim.prices import FeedError, Quote

log: Logger = logger("trueup.feed")

# Nights and weekends have no prices: a gap longer than this market time passes in one second.
GAP_MSC = 3_600_000
GAP_PLAYED_AS_SEC = 1.0
# Largest number of quotes per call, so that a very high speed does not block the caller.
QUOTES_PER_CALL = 1_000


class Playback:
    """A feed in market time, which runs `speed` times as fast as the clock.

    The first quote is available at once. After the end or an error of the feed the last price
    stays.

    Raises:
        FeedError: the feed has no quote, or its first quote cannot be read.
    """

    def __init__(self, feed: Iterator[Quote], speed: float, clock: Clock) -> None:
        self._feed, self._speed, self._clock = feed, speed, clock
        first = next(feed, None)
        if first is None:
            raise FeedError("the feed", 1, "there is no price in it", "give a file with prices")
        self.last: Quote = first
        self._base_msc, self._base_ns = first.time_msc, clock.age_ns()
        self._coming: Quote | None = first

    def now_msc(self) -> int:
        """Return the market's time in milliseconds since 1970; never runs backwards."""
        played_ms = (self._clock.age_ns() - self._base_ns) / 1e6 * self._speed
        now_msc = self._base_msc + int(played_ms)
        if self._coming is not None:
            now_msc = min(now_msc, self._coming.time_msc)
        return max(now_msc, self.last.time_msc)

    def due(self) -> list[Quote]:
        """Return the quotes that became due since the last call, oldest first."""
        found: list[Quote] = []
        while self._coming is not None and len(found) < QUOTES_PER_CALL:
            played_ms = (self._clock.age_ns() - self._base_ns) / 1e6 * self._speed
            if self._coming.time_msc > self._base_msc + played_ms:
                break
            self.last = self._coming
            found.append(self.last)
            self._coming = self._next()
        return found

    def _next(self) -> Quote | None:
        try:
            coming = next(self._feed, None)
        except FeedError as error:
            log.error("[FEED] %s The last price stays", error)
            return None
        if coming is None:
            log.info("[FEED] The feed has ended; the last price stays")
        elif coming.time_msc - self.last.time_msc > GAP_MSC:
            self._base_ns = self._clock.age_ns() + round(GAP_PLAYED_AS_SEC * 1e9)
            self._base_msc = coming.time_msc
        return coming


class LocalPrices:
    """A feed that replaces the prices of a gateway without prices."""

    def __init__(self, playback: Playback, symbol: str) -> None:
        self._playback, self._symbol = playback, symbol

    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        """Return the latest price of the feed; never waits."""
        self._playback.due()
        quote = self._playback.last
        if not quote.is_live:
            return Unknown(Reason.OFFLINE, "No price in the local feed", "a price in the feed")
        return Tick(self._symbol, quote.bid, quote.ask, quote.time_msc)
