"""The price bar of a feed, and the error for an unusable price file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from trueup.errors import TrueupError


class FeedError(TrueupError):
    """A file of prices cannot be used.

    The message names the file, the line, the fault in the line and a correct form.
    """

    def __init__(self, path: str, line: int, wrong: str, right: str) -> None:
        super().__init__(f"{path}, line {line}: {wrong}; {right}.")
        self.path: str = path
        self.line: int = line


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Bid prices over one span of time.

    `time_msc` is the begin of the bar, in milliseconds of the trade server's clock since 1970.
    `digits` is the number of decimals of the prices in the source. `spread_points` is None for a
    source without a spread.
    """

    time_msc: int
    open: float
    high: float
    low: float
    close: float
    digits: int = 5
    spread_points: int | None = None

    def complaint(self) -> str | None:
        """Return the reason why these prices are no bar, or None."""
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            return f"low {self.low} to high {self.high} does not hold open and close"
        return None


def period_msc(bars: Iterable[Bar]) -> int:
    """Return the length of bars: the smallest distance between two, or one hour for one bar."""
    times = [bar.time_msc for bar in bars]
    return min((later - earlier for earlier, later in pairwise(times)), default=3_600_000)
