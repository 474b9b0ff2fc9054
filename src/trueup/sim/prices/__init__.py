"""Where the simulated terminal's prices come from: real bars, a random walk, or a person's file.

A feed is an iterator of quotes with times that never go back. The same arguments give the same
quotes, on every machine and every Python.
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
    """The quotes that `spec` asks for: `bars`, `random`, or the path of a file.

    `bars` walks the packaged hourly EURUSD bars and begins again after the last one, with times
    that go on; it never ends. `random` never ends either. A file is MetaTrader 5's own export of
    bars or ticks, a chart's "Save as", what pandas or numpy saved of `copy_rates_*` or
    `copy_ticks_*`, or our plain `time,open,high,low,close,tick_volume`; the feed ends with it.

    `start` is how many bars, or ticks where there are no bars, to pass over. `spread_points` is
    the distance of ask from bid; None takes the file's own where it has one, and 10 elsewhere.
    A file of ticks has its own spread always.

    Raises FeedError when the file cannot be read, here for its heading and while iterating for
    the rows, and ValueError for arguments that make no sense.
    """
    if start < 0 or ticks_per_bar < 4 or (spread_points is not None and spread_points < 0):
        raise ValueError("a feed needs start >= 0, ticks_per_bar >= 4 and spread_points >= 0")
    if spec == "random":
        return islice(random_walk(seed, spread_points), start, None)
    if spec == "bars":
        bars = repeat(packaged_bars(), start)
        return walk_bars(bars, seed, ticks_per_bar, spread_points)
    table = open_table(Path(spec))
    if table.has_ticks:
        return islice(table.ticks(), start, None)
    return walk_bars(islice(table.bars(), start, None), seed, ticks_per_bar, spread_points)
