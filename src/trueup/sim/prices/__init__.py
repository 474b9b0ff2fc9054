"""Price feeds of the simulated terminal: packaged bars, a random walk, or a user's file.

A feed is an iterator of quotes with times that never go back. The same arguments give the same
quotes, on every machine and every Python version.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trueup.sim.market.market import Quote
from trueup.sim.prices.bars import Bar, FeedError
from trueup.sim.prices.files import open_table, packaged_bars
from trueup.sim.prices.walk import random_walk, repeat, walk_bars

__all__ = ["Bar", "FeedError", "Quote", "open_feed", "packaged_bars"]


def open_feed(
    spec: str = "bars",
    *,
    seed: int = 0,
    start: int = 0,
    ticks_per_bar: int = 12,
    spread_points: int | None = None,
) -> Iterator[Quote]:
    """Return the quotes of the feed `spec`: `bars`, `random`, or the path of a file.

    `bars` walks the packaged hourly EURUSD bars. After the last bar the feed starts again with the
    first bar, and the times go on. The feeds `bars` and `random` never end. A file feed ends with
    the file. A file can be MetaTrader 5's own export of bars or ticks, a chart's "Save as", the
    result of `copy_rates_*` or `copy_ticks_*` saved by pandas or numpy, or our plain
    `time,open,high,low,close,tick_volume`.

    `start` is the number of bars to skip, or of ticks in a feed without bars. `spread_points` is
    ask minus bid in points; None uses the spread of the file, or 10 for a feed without a spread. A
    file of ticks always uses its own spread.

    Raises:
        FeedError: the file cannot be read; raised here for the heading, and during the iteration
            for the rows.
        ValueError: an argument is out of range.
    """
    # A bar needs four quotes: open, high, low and close.
    if start < 0 or ticks_per_bar < 4 or (spread_points is not None and spread_points < 0):
        raise ValueError("a feed needs start >= 0, ticks_per_bar >= 4 and spread_points >= 0")
    if spec == "random":
        return islice(random_walk(seed, spread_points), start, None)
    if spec == "bars":
        bars = repeat(packaged_bars(), start)
        return walk_bars(bars, seed, ticks_per_bar, spread_points)
    # Read the heading now, so that the caller learns of a wrong file before the first quote.
    table = open_table(Path(spec))
    if table.has_ticks:
        return islice(table.ticks(), start, None)
    return walk_bars(islice(table.bars(), start, None), seed, ticks_per_bar, spread_points)
