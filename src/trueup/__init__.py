"""Keeps a trading process and its MetaTrader 5 account in agreement, through crashes.

Import the public names from this module: the modules that define them may change from one release
to the next. `trueup.testing` has the names for a user's tests. Each name is imported at its first
use, so `import trueup` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.core.book.lifecycle import OrderStatus
    from trueup.core.holds import Hold
    from trueup.core.limits.limits import Limits
    from trueup.core.policy import Action, Adopt, Policy
    from trueup.doors.account import Account
    from trueup.doors.data import Data, open_data
    from trueup.doors.running.run import run
    from trueup.errors import (
        BrokerUnknown,
        ClaimRefused,
        FormerWriter,
        InvariantBroken,
        JournalConflict,
        JournalCorrupt,
        JournalError,
        KeysError,
        NotSent,
        OutcomeNotRecorded,
        OutcomeUnknown,
        Paused,
        ProtocolError,
        Refused,
        SettingsError,
        StrategyError,
        TrueupError,
    )
    from trueup.gateway.client.execution_gateway import ExecutionGateway
    from trueup.journal import open_journal, open_reader
    from trueup.protocol.ticks import Tick
    from trueup.runtime.bot.order_checks import Wish
    from trueup.runtime.bot.order_desk import Intent
    from trueup.runtime.bot.portfolio import PortfolioManager
    from trueup.runtime.bot.views import OrderRow, Position, PositionSummary
    from trueup.runtime.story.audit import AuditEntry
    from trueup.runtime.sync.reconciler import StateReconciler
    from trueup.runtime.sync.results import ReconcilerStatus, SyncResult, SyncStatus
    from trueup.runtime.trading.strategy import Strategy

__version__ = "0.1.0"

__all__ = [
    "Account",
    "Action",
    "Adopt",
    "AuditEntry",
    "BrokerUnknown",
    "ClaimRefused",
    "Data",
    "ExecutionGateway",
    "FormerWriter",
    "Hold",
    "Intent",
    "InvariantBroken",
    "JournalConflict",
    "JournalCorrupt",
    "JournalError",
    "KeysError",
    "Limits",
    "NotSent",
    "OrderRow",
    "OrderStatus",
    "OutcomeNotRecorded",
    "OutcomeUnknown",
    "Paused",
    "Policy",
    "PortfolioManager",
    "Position",
    "PositionSummary",
    "ProtocolError",
    "ReconcilerStatus",
    "Refused",
    "SettingsError",
    "StateReconciler",
    "Strategy",
    "StrategyError",
    "SyncResult",
    "SyncStatus",
    "Tick",
    "TrueupError",
    "Wish",
    "__version__",
    "open_data",
    "open_journal",
    "open_reader",
    "run",
]

_MODULES = {
    "Account": "doors.account",
    "Action": "core.policy",
    "Adopt": "core.policy",
    "AuditEntry": "runtime.story.audit",
    "Data": "doors.data",
    "ExecutionGateway": "gateway.client.execution_gateway",
    "Hold": "core.holds",
    "Intent": "runtime.bot.order_desk",
    "Limits": "core.limits.limits",
    "OrderRow": "runtime.bot.views",
    "OrderStatus": "core.book.lifecycle",
    "Policy": "core.policy",
    "PortfolioManager": "runtime.bot.portfolio",
    "Position": "runtime.bot.views",
    "PositionSummary": "runtime.bot.views",
    "ReconcilerStatus": "runtime.sync.results",
    "StateReconciler": "runtime.sync.reconciler",
    "Strategy": "runtime.trading.strategy",
    "SyncResult": "runtime.sync.results",
    "SyncStatus": "runtime.sync.results",
    "Tick": "protocol.ticks",
    "Wish": "runtime.bot.order_checks",
    "open_data": "doors.data",
    "open_journal": "journal",
    "open_reader": "journal",
    "run": "doors.running.run",
}

if __name__ != "trueup":
    raise ImportError(f"Write `import trueup`, not `import {__name__}`: that is a second copy.")


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'trueup' has no attribute {name!r}")
    # The names that the table leaves out are errors.
    value = getattr(import_module(f"trueup.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
