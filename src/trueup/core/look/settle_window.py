"""How long after our own activity the broker may still show what was before.

The window begins at the policy's default and is learnt for each account: a difference that was
still there at some age, and had gone by itself at the next look, proves that the broker took at
least that long. The window is then made half as long again as the longest such age among the latest
ones, within bounds.
"""

from __future__ import annotations

import msgspec

SAMPLES_KEPT = 50
MARGIN = 1.5
LONGEST_MS = 10_000


class Settling(msgspec.Struct, frozen=True):
    """The settle window of one account: its default, and what was measured lately (ms)."""

    default_ms: int
    lags_ms: tuple[int, ...] = ()

    @property
    def window_ms(self) -> int:
        """How long to hold a difference on what we touched ourselves."""
        if not self.lags_ms or not self.default_ms:
            return self.default_ms
        return max(self.default_ms, min(LONGEST_MS, round(max(self.lags_ms) * MARGIN)))


def learn(settling: Settling, lag_ms: int) -> Settling:
    """Return the window with one more lag (ms) measured."""
    return Settling(settling.default_ms, (*settling.lags_ms, max(0, lag_ms))[-SAMPLES_KEPT:])
