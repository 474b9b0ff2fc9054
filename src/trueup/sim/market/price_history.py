"""Price history of a symbol: every quote as a tick, and bars of the bid price.

The history stores bars of one minute as quotes arrive. Longer bars are computed on request from the
minute bars. Times are milliseconds of the trade server's clock since 1970.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.timeframes import SECONDS, WEEK_SEC

TICKS_KEPT: Final = 200_000
BARS_KEPT: Final = 1_000_000
_MINUTE_SEC: Final = 60
# 1970-01-01 was a Thursday, and a week of a chart begins on Sunday.
_WEEK_OFFSET_SEC: Final = 4 * 86_400


class PastTick(msgspec.Struct, frozen=True, gc=False):
    """One quote; `flags` (TICK_FLAG_*) mark the prices that differ from the previous quote."""

    time_msc: int
    bid: float
    ask: float
    flags: int


class PastBar(msgspec.Struct, gc=False):
    """Bid prices over one span that began at `time_sec`, with the smallest spread of the span."""

    time_sec: int
    open: float
    high: float
    low: float
    close: float
    ticks: int
    spread_points: int

    def extend(self, later: PastBar) -> None:
        """Merge a later bar of the same span into this bar."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.ticks += later.ticks
        self.spread_points = min(self.spread_points, later.spread_points)


class PriceHistory:
    """The history of one symbol: the last `TICKS_KEPT` ticks and `BARS_KEPT` bars of one minute."""

    def __init__(self) -> None:
        self._ticks: deque[PastTick] = deque(maxlen=TICKS_KEPT)
        self._minutes: deque[PastBar] = deque(maxlen=BARS_KEPT)

    def add(self, time_msc: int, bid: float, ask: float, spread_points: int) -> None:
        """Add a quote; ignore a quote older than the last quote, as after a clock was set back.

        So ticks and bars stay sorted by time, as in a real terminal.
        """
        # The first quote changes both prices.
        flags = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK
        if self._ticks:
            last = self._ticks[-1]
            if time_msc < last.time_msc:
                return
            is_new_bid, is_new_ask = bid != last.bid, ask != last.ask
            flags = is_new_bid * mt5.TICK_FLAG_BID | is_new_ask * mt5.TICK_FLAG_ASK
        self._ticks.append(PastTick(time_msc, bid, ask, flags))
        # All longer timeframes begin at whole minutes, so minute bars are enough.
        minute_sec = time_msc // 60_000 * _MINUTE_SEC
        bar = PastBar(minute_sec, bid, bid, bid, bid, 1, spread_points)
        if self._minutes and self._minutes[-1].time_sec == minute_sec:
            self._minutes[-1].extend(bar)
        else:
            self._minutes.append(bar)

    def ticks(self, first_msc: int, last_msc: int) -> Iterator[PastTick]:
        """Yield the ticks of a span, both ends included, oldest first."""
        for tick in self._ticks:
            if tick.time_msc > last_msc:
                return
            if tick.time_msc >= first_msc:
                yield tick

    def bars(self, timeframe: int, last_msc: int) -> Iterator[PastBar]:
        """Yield the bars of a timeframe that began by `last_msc`, newest first.

        The walk goes back from the newest minute, so a caller that stops early reads only the
        minutes of the yielded bars.
        """
        pending: list[PastBar] = []
        begin_sec = 0
        for minute in reversed(self._minutes):
            if minute.time_sec * 1_000 > last_msc:
                continue
            if pending and minute.time_sec < begin_sec:
                yield _merged(pending, begin_sec)
                pending = []
            # The newest minute of a bar decides the beginning of the bar.
            if not pending:
                begin_sec = bar_begin_sec(timeframe, minute.time_sec)
            pending.append(minute)
        if pending:
            yield _merged(pending, begin_sec)

    def last_bars(self, timeframe: int, last_msc: int, skip: int, count: int) -> list[PastBar]:
        """Return `count` bars by `last_msc`, oldest first, after skipping the `skip` newest."""
        newest_first = islice(self.bars(timeframe, last_msc), skip, skip + count)
        return list(newest_first)[::-1]


def bar_begin_sec(timeframe: int, time_sec: int) -> int:
    """Return the begin of the bar of a timeframe that contains a time (both in seconds)."""
    if timeframe == mt5.TIMEFRAME_MN1:
        first = dt.datetime.fromtimestamp(time_sec, dt.UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return int(first.timestamp())
    if timeframe == mt5.TIMEFRAME_W1:
        return time_sec - (time_sec + _WEEK_OFFSET_SEC) % WEEK_SEC
    return time_sec - time_sec % SECONDS[timeframe]


def _merged(newest_first: list[PastBar], begin_sec: int) -> PastBar:
    oldest = newest_first[-1]
    merged = msgspec.structs.replace(oldest, time_sec=begin_sec)
    for minute in reversed(newest_first[:-1]):
        merged.extend(minute)
    return merged
