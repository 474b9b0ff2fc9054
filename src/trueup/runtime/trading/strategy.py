"""The interface of a strategy, and a small example strategy."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from trueup.protocol.ticks import Tick

METHODS = ("on_tick", "on_sync", "on_fill", "on_hold")
"""The methods of a strategy that the trading loop calls, if the strategy has them."""


class Strategy(Protocol):
    """A strategy: turns prices into signals, or sends orders itself.

    A strategy of `trueup.run` may have more methods, and needs only one of all:

    | method | called |
    | --- | --- |
    | `on_start(account)` | once, before the first price, with the `Account` for its orders |
    | `on_tick(tick)` | with each new price (`Tick`) of each symbol, in order |
    | `on_sync(result)` | after each comparison with the broker (`SyncResult`) |
    | `on_fill(order)` | after an order of ours was executed (`Intent`) |
    | `on_hold(hold)` | once for each difference that is left alone (`Hold`) |

    All are called by the thread of the loop, one after the other. A refused order
    (`trueup.Refused`, `trueup.NotSent`) that a method does not catch is logged and ends that call;
    any other error is the strategy's own failure.
    """

    def on_tick(self, tick: Tick) -> int | None:
        """Return 1 to buy, -1 to sell, 0 or None to hold. Called once for each new price."""


class MovingAverageCross:
    """Buy if the fast average of the price is above the slow average, sell if it is below.

    This is an example to run the loop with, and no advice: the strategy does not earn money. The
    strategy gives a signal only when the side changes; the first side, after `slow` prices, counts
    as a change. While the averages differ by less than `band` (a price difference) there is no
    side, so that small moves back and forth are not traded.
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
