"""An account for asyncio: `from trueup.aio import Account`."""

from __future__ import annotations

from trueup.doors.aio.account import Account

__all__ = ["Account"]
