"""The timeframes of bars, and the length of their bars (MT5 reference, ENUM_TIMEFRAMES)."""

from __future__ import annotations

from typing import Final

from trueup.gateway.terminal import mt5_constants as mt5

WEEK_SEC: Final = 7 * 86_400
# The constant of an hourly timeframe is 0x4000 plus its hours.
_MINUTE_FRAMES: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
_HOUR_FRAMES: Final = (1, 2, 3, 4, 6, 8, 12, 24)
SECONDS: Final[dict[int, int]] = {
    **{minutes: minutes * 60 for minutes in _MINUTE_FRAMES},
    **{mt5.TIMEFRAME_H1 - 1 + hours: hours * 3_600 for hours in _HOUR_FRAMES},
}
"""Seconds of each timeframe with bars that begin at whole multiples of the timeframe since 1970."""
TIMEFRAMES: Final = frozenset({*SECONDS, mt5.TIMEFRAME_W1, mt5.TIMEFRAME_MN1})
