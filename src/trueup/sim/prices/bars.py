"""One bar of prices, and the error of a file that does not hold any."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from trueup.errors import TrueupError


class FeedError(TrueupError):
    """A file of prices cannot be used.

    The message names the file, the line, what is wrong there and what would be right.
    """

    def __init__(self, path: str, line: int, wrong: str, right: str) -> None:
        super().__init__(f"{path}, line {line}: {wrong}; {right}.")
        self.path: str = path
        self.line: int = line


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Bid prices over one span of time.

    `time_msc` is its beginning, in milliseconds of the trade server's clock since 1970.
    `digits` is the number of decimals that its prices are written with. `spread_points` is None
    where the source has no spread.
    """

    time_msc: int
    open: float
    high: float
    low: float
    close: float
    digits: int = 5
    spread_points: int | None = None

    def complaint(self) -> str | None:
        """Why this cannot be a bar, or None."""
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            return f"low {self.low} to high {self.high} does not hold open and close"
        return None


def period_msc(bars: Iterable[Bar]) -> int:
    """The length of these bars: the smallest distance between two, an hour for a lone one."""
    times = [bar.time_msc for bar in bars]
    return min((later - earlier for earlier, later in pairwise(times)), default=3_600_000)
