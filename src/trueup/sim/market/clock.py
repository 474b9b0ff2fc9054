"""The server's clock: injected UTC plus the offset of the broker's wall clock."""

from __future__ import annotations

from collections.abc import Callable

from trueup.sim.market.switches import Switches

DAY_MSC = 86_400_000
_MINUTE_MSC = 60_000


class ServerClock:
    """Server time as epoch milliseconds of the broker's wall clock, DST jumps included."""

    def __init__(self, now_msc: Callable[[], int], switches: Switches) -> None:
        self._now_msc = now_msc
        self._switches = switches
        self.pinned_msc: int | None = None
        """UTC time of the scheduled event that runs now; None between events."""

    def utc_msc(self) -> int:
        """Return the true UTC time now."""
        return self._now_msc() if self.pinned_msc is None else self.pinned_msc

    def offset_msc(self, utc_msc: int) -> int:
        """Return server time minus UTC at a UTC time."""
        minutes = self._switches.server_offset_minutes
        for jump_msc, later_minutes in self._switches.dst_jumps:
            if utc_msc < jump_msc:
                break
            minutes = later_minutes
        return minutes * _MINUTE_MSC

    def server_msc(self) -> int:
        """Return the server time now."""
        now = self.utc_msc()
        return now + self.offset_msc(now)


def day_of(server_msc: int) -> int:
    """Return the number of the server day that contains a server time."""
    return server_msc // DAY_MSC


def day_of_week(day: int) -> int:
    """Return the weekday of a server day; Sunday is 0 (as in SYMBOL_SWAP_ROLLOVER3DAYS)."""
    # Day 0 of the epoch was a Thursday.
    return (day + 4) % 7
