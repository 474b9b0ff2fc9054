"""Count how late syncs begin, in few bytes: by ranges, each a quarter wider than the one before."""

from __future__ import annotations

from array import array
from typing import Final

_LEAST_MS: Final = 0.1
_GROWTH: Final = 1.25
# Up to 70 s.
_BOUNDS: Final = tuple(_LEAST_MS * _GROWTH**n for n in range(61))


class Lateness:
    """How late the syncs of an account, or of all accounts, began."""

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 * (len(_BOUNDS) + 1)))
        self.count: int = 0
        """The number of syncs."""
        self.most_ms: float = 0.0
        """The greatest lateness (ms)."""

    def note(self, late_ns: int) -> None:
        """Count a sync that began so late."""
        late_ms = max(0, late_ns) / 1e6
        low, high = 0, len(_BOUNDS)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if late_ms <= _BOUNDS[middle] else (middle + 1, high)
        self._counts[low] += 1
        self.count += 1
        self.most_ms = max(self.most_ms, late_ms)

    def within_ms(self, share: float) -> float:
        """Return the time (ms) within which this share of all syncs began; 0 without a sync."""
        left = share * self.count
        for bound, count in zip(_BOUNDS, self._counts, strict=False):
            left -= count
            if left <= 0:
                return min(bound, self.most_ms)
        return self.most_ms
