"""The prices of the past: every quote as a tick, and bars of the bid.

Bars of one minute are kept as the quotes come in; longer ones are made of them when asked for.
Times are those of the trade server's clock, in milliseconds since 1970.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5

TICKS_KEPT: Final = 200_000
BARS_KEPT: Final = 1_000_000
_MINUTE_SEC: Final = 60
_DAY_SEC: Final = 86_400
# 1970-01-01 was a Thursday, and a week of a chart begins on Sunday.
_WEEK_OFFSET_SEC: Final = 4 * _DAY_SEC
_WEEK_SEC: Final = 7 * _DAY_SEC

# Seconds of each timeframe whose bars begin at whole multiples of it since 1970. The constant of
# an hourly frame is 0x4000 plus its hours (MT5 reference, ENUM_TIMEFRAMES).
_MINUTE_FRAMES: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
_HOUR_FRAMES: Final = (1, 2, 3, 4, 6, 8, 12, 24)
_SECONDS: Final[dict[int, int]] = {
    **{minutes: minutes * _MINUTE_SEC for minutes in _MINUTE_FRAMES},
    **{mt5.TIMEFRAME_H1 - 1 + hours: hours * 3_600 for hours in _HOUR_FRAMES},
}
TIMEFRAMES: Final = frozenset({*_SECONDS, mt5.TIMEFRAME_W1, mt5.TIMEFRAME_MN1})


class PastTick(msgspec.Struct, frozen=True, gc=False):
    """One quote, and which of its two prices differ from the quote before (TICK_FLAG_*)."""

    time_msc: int
    bid: float
    ask: float
    flags: int


class PastBar(msgspec.Struct, gc=False):
    """Bid prices over one span, which began at `time_sec`, and the smallest spread in it."""

    time_sec: int
    open: float
    high: float
    low: float
    close: float
    ticks: int
    spread_points: int

    def extend(self, later: PastBar) -> None:
        """Take in a bar that follows inside the same span."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.ticks += later.ticks
        self.spread_points = min(self.spread_points, later.spread_points)


class PriceHistory:
    """The past of one symbol: the last `TICKS_KEPT` ticks and `BARS_KEPT` bars of one minute."""

    def __init__(self) -> None:
        self._ticks: deque[PastTick] = deque(maxlen=TICKS_KEPT)
        self._minutes: deque[PastBar] = deque(maxlen=BARS_KEPT)

    def add(self, time_msc: int, bid: float, ask: float, spread_points: int) -> None:
        """Take in a quote. One that is older than the last, as after a clock set back, is left out.

        Ticks and bars stay sorted by time that way, as a terminal's are.
        """
        flags = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK
        if self._ticks:
            last = self._ticks[-1]
            if time_msc < last.time_msc:
                return
            is_new_bid, is_new_ask = bid != last.bid, ask != last.ask
            flags = is_new_bid * mt5.TICK_FLAG_BID | is_new_ask * mt5.TICK_FLAG_ASK
        self._ticks.append(PastTick(time_msc, bid, ask, flags))
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

        The walk goes back from the newest minute, so a caller that stops early pays for the minutes
        of its own bars and no others.
        """
        pending: list[PastBar] = []
        begin_sec = 0
        for minute in reversed(self._minutes):
            if minute.time_sec * 1_000 > last_msc:
                continue
            if pending and minute.time_sec < begin_sec:
                yield _merged(pending, begin_sec)
                pending = []
            if not pending:
                begin_sec = bar_begin_sec(timeframe, minute.time_sec)
            pending.append(minute)
        if pending:
            yield _merged(pending, begin_sec)

    def last_bars(self, timeframe: int, last_msc: int, skip: int, count: int) -> list[PastBar]:
        """Return `count` bars, oldest first, without the `skip` newest of those by `last_msc`."""
        newest_first = islice(self.bars(timeframe, last_msc), skip, skip + count)
        return list(newest_first)[::-1]


def bar_begin_sec(timeframe: int, time_sec: int) -> int:
    """Return when the bar of a timeframe began that a moment lies in (both in seconds)."""
    if timeframe == mt5.TIMEFRAME_MN1:
        first = dt.datetime.fromtimestamp(time_sec, dt.UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return int(first.timestamp())
    if timeframe == mt5.TIMEFRAME_W1:
        return time_sec - (time_sec + _WEEK_OFFSET_SEC) % _WEEK_SEC
    return time_sec - time_sec % _SECONDS[timeframe]


def _merged(newest_first: list[PastBar], begin_sec: int) -> PastBar:
    oldest = newest_first[-1]
    merged = msgspec.structs.replace(oldest, time_sec=begin_sec)
    for minute in reversed(newest_first[:-1]):
        merged.extend(minute)
    return merged
