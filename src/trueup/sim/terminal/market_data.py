"""The module's functions for past bars, past ticks and the depth of market.

Bars and ticks are numpy arrays of the module's dtypes, so these functions need numpy (the official
module always requires numpy). Bars and ticks come from the same quotes as the fills of orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.timeframes import TIMEFRAMES
from trueup.sim.market.market import Mark
from trueup.sim.market.price_history import (
    BARS_KEPT,
    TICKS_KEPT,
    PastBar,
    PastTick,
    PriceHistory,
)
from trueup.sim.market.structs import BookInfo
from trueup.sim.terminal.arguments import BadArgument, parse_bars, parse_symbol, parse_ticks
from trueup.sim.terminal.module_call import module_call
from trueup.sim.terminal.program import CallFailed, TerminalProgram

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The layouts of the arrays (MT5 reference, Python integration; read from the compiled module).
RATES: Final = [
    ("time", "<i8"),
    ("open", "<f8"),
    ("high", "<f8"),
    ("low", "<f8"),
    ("close", "<f8"),
    ("tick_volume", "<u8"),
    ("spread", "<i4"),
    ("real_volume", "<u8"),
]
TICKS: Final = [
    ("time", "<i8"),
    ("bid", "<f8"),
    ("ask", "<f8"),
    ("last", "<f8"),
    ("volume", "<u8"),
    ("time_msc", "<i8"),
    ("flags", "<u4"),
    ("volume_real", "<f8"),
]
_COPY_FLAGS: Final = frozenset({mt5.COPY_TICKS_ALL, mt5.COPY_TICKS_INFO, mt5.COPY_TICKS_TRADE})
BOOK_LEVELS: Final = 5
BOOK_STEPS: Final = 1_000
"""Volume steps at each level of a market without a volume limit."""


class MarketData(TerminalProgram):
    """Bars, ticks and the depth of market of the symbols that the terminal knows."""

    error: tuple[int, str]

    @module_call(failed=None)
    def copy_rates_from(self, *args: object) -> NDArray[np.void]:
        """Return `count` bars up to a date, oldest first: symbol, timeframe, date, count."""
        symbol, timeframe, (date_sec, count) = parse_bars("copy_rates_from", args, dates=1)
        past, newest_msc = self._past("copy_rates_from", symbol, timeframe)
        last_msc = min(date_sec * 1_000, newest_msc)
        return _rates(past.last_bars(timeframe, last_msc, 0, _count(count, BARS_KEPT)))

    @module_call(failed=None)
    def copy_rates_from_pos(self, *args: object) -> NDArray[np.void]:
        """Return `count` bars up to bar number `start`, counted back from the current bar, 0."""
        symbol, timeframe, (start, count) = parse_bars("copy_rates_from_pos", args, dates=0)
        past, newest_msc = self._past("copy_rates_from_pos", symbol, timeframe)
        if start < 0:
            raise CallFailed(mt5.RES_E_INVALID_PARAMS)
        return _rates(past.last_bars(timeframe, newest_msc, start, _count(count, BARS_KEPT)))

    @module_call(failed=None)
    def copy_rates_range(self, *args: object) -> NDArray[np.void]:
        """Return the bars that began between two dates, both included."""
        symbol, timeframe, (first_sec, last_sec) = parse_bars("copy_rates_range", args, dates=2)
        past, newest_msc = self._past("copy_rates_range", symbol, timeframe)
        found: list[PastBar] = []
        for bar in past.bars(timeframe, min(last_sec * 1_000, newest_msc)):
            if bar.time_sec < first_sec:
                break
            found.append(bar)
        return _rates(found[::-1])

    @module_call(failed=None)
    def copy_ticks_from(self, *args: object) -> NDArray[np.void]:
        """Return the first `count` ticks from a date on: symbol, date, count, COPY_TICKS_*."""
        symbol, (date_sec, count), flags = parse_ticks("copy_ticks_from", args, dates=1)
        past, newest_msc = self._past("copy_ticks_from", symbol)
        ticks = _of_kind(past.ticks(date_sec * 1_000, newest_msc), flags)
        return _ticks(islice(ticks, _count(count, TICKS_KEPT)))

    @module_call(failed=None)
    def copy_ticks_range(self, *args: object) -> NDArray[np.void]:
        """Return the ticks between two dates: symbol, date, date, COPY_TICKS_*."""
        symbol, (first_sec, last_sec), flags = parse_ticks("copy_ticks_range", args, dates=2)
        past, newest_msc = self._past("copy_ticks_range", symbol)
        last_msc = min(last_sec * 1_000, newest_msc)
        return _ticks(_of_kind(past.ticks(first_sec * 1_000, last_msc), flags))

    def _past(
        self, function: str, symbol: str, timeframe: int = mt5.TIMEFRAME_M1
    ) -> tuple[PriceHistory, int]:
        """Return a symbol's price history, and the time of the terminal's last quote (ms)."""
        self.reach(function)
        market = self.view.market
        if symbol not in market.setups or timeframe not in TIMEFRAMES:
            raise CallFailed(mt5.RES_E_INVALID_PARAMS)
        return market.past[symbol], market.quotes[symbol].time_msc

    # -- depth of market -----------------------------------------------------------------------

    @module_call(failed=False)
    def market_book_add(self, *args: object) -> bool | None:
        """Subscribe to a symbol's depth of market; None with bad arguments."""
        symbol = self._book_symbol("market_book_add", args)
        if symbol is None:
            return None
        self.books.add(symbol)
        return True

    @module_call(failed=False)
    def market_book_release(self, *args: object) -> bool | None:
        """End the subscription; None with bad arguments."""
        symbol = self._book_symbol("market_book_release", args)
        if symbol is None:
            return None
        self.books.discard(symbol)
        return True

    def _book_symbol(self, function: str, args: tuple[object, ...]) -> str | None:
        try:
            symbol = parse_symbol(args)
        except BadArgument as bad:
            self.error = (mt5.RES_E_INVALID_PARAMS, bad.text)
            return None
        self.reach(function)
        if symbol not in self.market.setups:
            raise CallFailed(mt5.RES_E_NOT_FOUND)
        return symbol

    @module_call(failed=None)
    def market_book_get(self, *args: object) -> tuple[BookInfo, ...]:
        """Return the depth of a subscribed symbol: asks, then bids, each from the highest price.

        A symbol without `market_book_add` fails.
        """
        symbol = parse_symbol(args)
        self.reach("market_book_get")
        if symbol not in self.books:
            raise CallFailed(mt5.RES_E_NOT_FOUND)
        account = self.view.ledger.setup
        mark = self.view.market.mark(symbol, account.currency, account.currency_digits)
        if not mark.bid:
            return ()
        steps = self.view.market.liquidity_steps.get(symbol, BOOK_STEPS)
        return (*_levels(mark, mt5.BOOK_TYPE_SELL, steps), *_levels(mark, mt5.BOOK_TYPE_BUY, steps))


def _levels(mark: Mark, kind: int, steps: int) -> Sequence[BookInfo]:
    is_sell = kind == mt5.BOOK_TYPE_SELL
    best, away = (mark.ask, 1) if is_sell else (mark.bid, -1)
    lots = steps * mark.step
    # Levels lie one point apart, from the best price outwards.
    levels = [
        BookInfo(
            (
                kind,
                round(best + away * level * mark.setup.point, mark.setup.digits),
                round(lots),
                lots,
            )
        )
        for level in range(BOOK_LEVELS)
    ]
    return levels[::-1] if is_sell else levels


def _count(count: int, most: int) -> int:
    if count <= 0:
        raise CallFailed(mt5.RES_E_INVALID_PARAMS)
    return min(count, most)


def _of_kind(ticks: Iterable[PastTick], flags: int) -> Iterable[PastTick]:
    if flags not in _COPY_FLAGS:
        raise CallFailed(mt5.RES_E_INVALID_PARAMS)
    # The market of a retail broker has no last price, so no tick is a trade.
    return () if flags == mt5.COPY_TICKS_TRADE else ticks


def _rates(bars: Iterable[PastBar]) -> NDArray[np.void]:
    rows = [(b.time_sec, b.open, b.high, b.low, b.close, b.ticks, b.spread_points, 0) for b in bars]
    return _array(rows, RATES)


def _ticks(ticks: Iterable[PastTick]) -> NDArray[np.void]:
    rows = [(t.time_msc // 1_000, t.bid, t.ask, 0.0, 0, t.time_msc, t.flags, 0.0) for t in ticks]
    return _array(rows, TICKS)


def _array(rows: list[tuple[Any, ...]], dtype: list[tuple[str, str]]) -> NDArray[np.void]:
    try:
        import numpy as np
    except ImportError:
        raise ImportError(
            "Prices of the past are numpy arrays, and numpy is not installed: pip install numpy"
        ) from None
    return np.array(rows, dtype=dtype)
