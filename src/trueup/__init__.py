"""Keeps a trading process and its MetaTrader 5 account in agreement, through crashes.

This is the public face: import these names from here. Where they are defined may change from one
release to the next. `trueup.testing` has what a user's tests need. Each name is imported when it is
first used, so `import trueup` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.core.book.lifecycle import OrderStatus
    from trueup.core.policy import Action, Adopt, Policy
    from trueup.errors import (
        BrokerUnknown,
        InvariantBroken,
        JournalConflict,
        JournalCorrupt,
        JournalError,
        KeysError,
        NotSent,
        OutcomeNotRecorded,
        OutcomeUnknown,
        ProtocolError,
        Refused,
        SettingsError,
        TrueupError,
    )
    from trueup.gateway.client.execution_gateway import ExecutionGateway
    from trueup.journal import open_journal, open_reader
    from trueup.protocol.ticks import Tick
    from trueup.runtime.bot.portfolio import PortfolioManager
    from trueup.runtime.sync.reconciler import StateReconciler
    from trueup.runtime.sync.results import SyncResult, SyncStatus
    from trueup.runtime.trading.strategy import Strategy

__version__ = "0.1.0"

__all__ = [
    "Action",
    "Adopt",
    "BrokerUnknown",
    "ExecutionGateway",
    "InvariantBroken",
    "JournalConflict",
    "JournalCorrupt",
    "JournalError",
    "KeysError",
    "NotSent",
    "OrderStatus",
    "OutcomeNotRecorded",
    "OutcomeUnknown",
    "Policy",
    "PortfolioManager",
    "ProtocolError",
    "Refused",
    "SettingsError",
    "StateReconciler",
    "Strategy",
    "SyncResult",
    "SyncStatus",
    "Tick",
    "TrueupError",
    "__version__",
    "open_journal",
    "open_reader",
]

_MODULES = {
    "Action": "core.policy",
    "Adopt": "core.policy",
    "ExecutionGateway": "gateway.client.execution_gateway",
    "OrderStatus": "core.book.lifecycle",
    "Policy": "core.policy",
    "PortfolioManager": "runtime.bot.portfolio",
    "StateReconciler": "runtime.sync.reconciler",
    "Strategy": "runtime.trading.strategy",
    "SyncResult": "runtime.sync.results",
    "SyncStatus": "runtime.sync.results",
    "Tick": "protocol.ticks",
    "open_journal": "journal",
    "open_reader": "journal",
}

if __name__ != "trueup":
    raise ImportError(f"Write `import trueup`, not `import {__name__}`: that is a second copy.")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'trueup' has no attribute {name!r}")
    # The names that the table leaves out are errors.
    value = getattr(import_module(f"trueup.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
