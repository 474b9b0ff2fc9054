"""The official module's named tuples, as the types of all rows that come through the door."""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal.call_wire import row_type
from trueup.sim.market import structs

NAMES = (
    "Tick",
    "OrderSendResult",
    "TradePosition",
    "BookInfo",
    "AccountInfo",
    "TradeOrder",
    "OrderCheckResult",
    "SymbolInfo",
    "TerminalInfo",
    "TradeDeal",
    "TradeRequest",
)
ROW_TYPES: dict[str, type[Any]] = {
    name: row_type(name, getattr(structs, name).__match_args__) for name in NAMES
}
"""The eleven types by name; a newer module may add fields, and then has types of its own."""

for _type in ROW_TYPES.values():
    # Pickled rows go to other processes, which find the types where programs do.
    _type.__module__ = "trueup.mt5"
