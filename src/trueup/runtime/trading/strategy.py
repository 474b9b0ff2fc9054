"""What a strategy is to the trading loop, and a small one to try the loop with."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from trueup.protocol.ticks import Tick


class Strategy(Protocol):
    """Anything that turns prices into signals."""

    def on_tick(self, tick: Tick) -> int:
        """Return 1 to buy, -1 to sell, 0 to hold. Called once for each new price, in order."""


class MovingAverageCross:
    """Buys when the fast average of the price is above the slow one, sells when it is below.

    An example to run the loop with, and no advice: nothing says that it earns money, and it does
    not. It gives one signal for each side, when the side changes; the first side it sees, after
    `slow` prices, counts as a change. Within `band` (a price difference) of each other the
    averages have no side, so that a restless price is not traded at every touch.
    """

    def __init__(self, fast: int = 8, slow: int = 24, band: float = 0.0001) -> None:
        if not 0 < fast < slow or band < 0:
            raise ValueError(f"give 0 < fast < slow and band >= 0, not {fast}, {slow}, {band}")
        self._fast, self._band = fast, band
        self._prices: deque[float] = deque(maxlen=slow)
        self._side = 0

    def on_tick(self, tick: Tick) -> int:
        """Return 1 or -1 when the side changes, else 0."""
        self._prices.append(tick.mid)
        if len(self._prices) < (self._prices.maxlen or 0):
            return 0
        recent = list(self._prices)[-self._fast :]
        gap = sum(recent) / len(recent) - sum(self._prices) / len(self._prices)
        side = 0 if abs(gap) < self._band else 1 if gap > 0 else -1
        if side in (0, self._side):
            return 0
        self._side = side
        return side
