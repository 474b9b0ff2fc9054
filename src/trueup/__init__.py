"""Keeps a trading process and its MetaTrader 5 account in agreement, through crashes."""

from __future__ import annotations

__version__ = "0.1.0"

if __name__ != "trueup":
    raise ImportError(f"Write `import trueup`, not `import {__name__}`: that is a second copy.")
