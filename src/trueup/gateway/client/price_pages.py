"""Read any number of bars and ticks, page by page.

Bars are read from the newest backwards, ticks from the oldest forwards, as the module's own
functions count (MT5 reference, Python integration). The next page starts at a time, not at an
index: an index would shift when a new bar begins between two pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from trueup.errors import RemoteProtocolError
from trueup.gateway.terminal.timeframes import SECONDS, WEEK_SEC
from trueup.protocol.module_calls import ROWS_MOST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows: TypeAlias = "NDArray[np.void]"

Asked: TypeAlias = Callable[..., Any]
"""Makes a call of the terminal; returns a page, or None if the call failed."""
Paging: TypeAlias = Callable[[Asked, str, tuple[Any, ...]], Any]

FIRST_TICKS = 1_000
# After a full page the next page is larger by this factor, up to `ROWS_MOST`.
GROWTH = 4


def are_numbers(args: Sequence[Any]) -> bool:
    """Return whether the arguments of a `copy_*` function are a symbol and three numbers."""
    return len(args) == 4 and all(type(number) in (int, float) for number in args[1:])


def bars_back(asked: Asked, function: str, args: tuple[Any, ...]) -> Rows | None:
    """Return the bars of `copy_rates_from` or `copy_rates_from_pos`, or None if a page fails."""
    symbol, timeframe, start, count = args
    if count <= ROWS_MOST:
        return _page(asked(function, *args))
    newest = _page(asked(function, symbol, timeframe, start, ROWS_MOST))
    return _with_older(asked, newest, symbol, timeframe, lambda rows, _: rows >= count, count)


def bars_between(asked: Asked, function: str, args: tuple[Any, ...]) -> Rows | None:
    """Return the bars of `copy_rates_range`, or None if a page fails."""
    symbol, timeframe, first, last = args
    # The bars of the other timeframes are a week or longer.
    if (last - first) / SECONDS.get(timeframe, WEEK_SEC) < ROWS_MOST:
        return _page(asked(function, *args))
    newest = _page(asked("copy_rates_from", symbol, timeframe, last, ROWS_MOST))
    bars = _with_older(asked, newest, symbol, timeframe, lambda _, begin: begin <= first)
    return None if bars is None else bars[bars["time"] >= first]


def _with_older(
    asked: Asked,
    newest: Rows | None,
    symbol: str,
    timeframe: int,
    is_enough: Callable[[int, int], bool],
    count: int | None = None,
) -> Rows | None:
    """Return the newest `count` bars (all if None) of a page and the earlier pages.

    Args:
        asked: makes a call of the terminal.
        newest: the newest page, or None if that failed.
        symbol, timeframe: of the bars.
        is_enough: takes the number of bars so far and the time of the oldest; True ends reading.
        count: how many bars to return.
    """
    pages, rows, page = [], 0, newest
    while page is not None:
        pages.append(page)
        rows += len(page)
        # A page that is not full is the oldest page that the terminal has.
        if len(page) < ROWS_MOST or is_enough(rows, int(page["time"][0])):
            bars = _joined(pages[::-1])
            return bars if count is None else bars[-count:]
        # One second before the oldest bar, so that no bar is read twice.
        before = int(page["time"][0]) - 1
        page = _page(asked("copy_rates_from", symbol, timeframe, before, ROWS_MOST))
    return None


def ticks_on(asked: Asked, function: str, args: tuple[Any, ...]) -> Rows | None:
    """Return the ticks of `copy_ticks_from`, or None if a page fails."""
    symbol, first, count, flags = args
    if count <= ROWS_MOST:
        return _page(asked(function, *args))
    ticks = _with_later(asked, symbol, first, flags, lambda rows, _: rows >= count)
    return None if ticks is None else ticks[:count]


def ticks_between(asked: Asked, function: str, args: tuple[Any, ...]) -> Rows | None:
    """Return the ticks of `copy_ticks_range`, or None if a page fails."""
    del function  # Its pages have no size limit, so `copy_ticks_from` is called instead.
    symbol, first, last, flags = args
    ticks = _with_later(asked, symbol, first, flags, lambda _, end: end > last)
    # The module truncates dates to whole seconds; of the last second only its begin is included.
    return None if ticks is None else ticks[ticks["time_msc"] <= int(last) * 1_000]


def _with_later(
    asked: Asked, symbol: str, first: float, flags: int, is_enough: Callable[[int, int], bool]
) -> Rows | None:
    """Return the ticks from a second on, page after page.

    A full page may end within a second, but the next can start only at a whole second. So the ticks
    of the last second are dropped and read again with the next page.
    """
    pages: list[Rows] = []
    rows, size = 0, FIRST_TICKS
    while (page := _page(asked("copy_ticks_from", symbol, first, size, flags))) is not None:
        is_last = len(page) < size
        if not is_last:
            page, first = _whole_seconds(page)
        pages.append(page)
        rows += len(page)
        if is_last or (len(page) and is_enough(rows, int(page["time"][-1]))):
            return _joined(pages)
        # Pages grow, so that a short span reads few ticks and a long span needs few pages.
        size = min(size * GROWTH, ROWS_MOST)
    return None


def _whole_seconds(page: Rows) -> tuple[Rows, int]:
    """Return the ticks before the last second of a full page, and that second.

    Raises:
        RemoteProtocolError: even the largest page has only ticks of a single second.
    """
    last = int(page["time"][-1])
    whole = page[page["time"] < last]
    if not len(whole) and len(page) == ROWS_MOST:
        raise RemoteProtocolError(
            f"there are more than {ROWS_MOST} ticks in one second, which no page can hold"
        )
    return whole, last


def _page(answer: Any) -> Rows | None:
    # A failed call of these functions returns None.
    page: Rows | None = answer
    return page


def _joined(pages: Sequence[Rows]) -> Rows:
    import numpy as np

    return pages[0] if len(pages) == 1 else np.concatenate(pages)
