"""The trade modes of accounts: whether the money is real."""

from __future__ import annotations

PLAY_MONEY = frozenset({"demo", "contest"})
"""The trade modes of accounts without real money."""


def describe_mode(trade_mode: str) -> str:
    """Write the trade mode of an account: demo, contest, REAL, or that the mode is not known."""
    if not trade_mode:
        return "demo or REAL is not told, so it counts as REAL"
    return trade_mode if trade_mode in PLAY_MONEY else "REAL"
