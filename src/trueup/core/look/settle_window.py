"""Learn the settle window: how long after our own change the broker may still show the old state.

The window begins at the policy's default and is learnt for each account. A difference that still
existed at some age and disappeared by itself before the next snapshot proves that the broker needed
at least that time. The window is then 1.5 times the longest of the latest such ages, within bounds.
"""

from __future__ import annotations

import msgspec

SAMPLES_KEPT = 50
MARGIN = 1.5
LONGEST_MS = 10_000


class SettleWindow(msgspec.Struct, frozen=True):
    """The settle window of an account: the default and the latest measured delays (ms)."""

    default_ms: int
    lags_ms: tuple[int, ...] = ()

    @property
    def window_ms(self) -> int:
        """How long (ms) to hold a difference after our own change."""
        if not self.lags_ms or not self.default_ms:
            return self.default_ms
        return max(self.default_ms, min(LONGEST_MS, round(max(self.lags_ms) * MARGIN)))


def learn(settling: SettleWindow, lag_ms: int) -> SettleWindow:
    """Return the window after another measured delay (ms)."""
    return SettleWindow(settling.default_ms, (*settling.lags_ms, max(0, lag_ms))[-SAMPLES_KEPT:])
