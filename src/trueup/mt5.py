"""The official module's functions and constants, with a journal and proven readings.

    import trueup.mt5 as mt5                              # was: import MetaTrader5 as mt5
    mt5.initialize(login=..., server=..., journal="bot.db")

The rest of a program stays as it is. `python -m trueup.mt5 SCRIPT` runs a program that is not
changed at all, and `install()` lets `import MetaTrader5` find this module.

| function | differs from the official module in |
| --- | --- |
| `initialize` | takes the further arguments of `trueup.doors.mt5.opening.Options` |
| `positions_get`, `orders_get`, `history_*`, `account_info` | None while nothing is proven |
| `order_send` | at most once; an outcome that was not given yet is given first |
| all others | nothing |
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trueup.doors.mt5.door import Door
from trueup.doors.mt5.rows import ROW_TYPES
from trueup.gateway.terminal.mt5_constants import MODULE_CONSTANTS

if TYPE_CHECKING:
    from trueup.doors.account import Account
    from trueup.gateway.terminal.mt5_constants import *  # noqa: F403

__version__ = "5.0.6231"
"""The version of the official module whose functions and constants these are."""
__author__ = "trueup"

_door = Door()

initialize = _door.initialize
login = _door.login
shutdown = _door.shutdown
version = _door.version
last_error = _door.last_error
terminal_info = _door.terminal_info
account_info = _door.account_info
symbols_total = _door.symbols_total
symbols_get = _door.symbols_get
symbol_info = _door.symbol_info
symbol_info_tick = _door.symbol_info_tick
symbol_select = _door.symbol_select
market_book_add = _door.market_book_add
market_book_get = _door.market_book_get
market_book_release = _door.market_book_release
copy_rates_from = _door.copy_rates_from
copy_rates_from_pos = _door.copy_rates_from_pos
copy_rates_range = _door.copy_rates_range
copy_ticks_from = _door.copy_ticks_from
copy_ticks_range = _door.copy_ticks_range
positions_total = _door.positions_total
positions_get = _door.positions_get
orders_total = _door.orders_total
orders_get = _door.orders_get
history_orders_total = _door.history_orders_total
history_orders_get = _door.history_orders_get
history_deals_total = _door.history_deals_total
history_deals_get = _door.history_deals_get
order_check = _door.order_check
order_send = _door.order_send
order_calc_margin = _door.order_calc_margin
order_calc_profit = _door.order_calc_profit

__all__ = [
    "account_info",
    "copy_rates_from",
    "copy_rates_from_pos",
    "copy_rates_range",
    "copy_ticks_from",
    "copy_ticks_range",
    "history_deals_get",
    "history_deals_total",
    "history_orders_get",
    "history_orders_total",
    "initialize",
    "install",
    "last_error",
    "login",
    "market_book_add",
    "market_book_get",
    "market_book_release",
    "order_calc_margin",
    "order_calc_profit",
    "order_check",
    "order_send",
    "orders_get",
    "orders_total",
    "positions_get",
    "positions_total",
    "shutdown",
    "symbol_info",
    "symbol_info_tick",
    "symbol_select",
    "symbols_get",
    "symbols_total",
    "terminal_info",
    "version",
]

globals().update(MODULE_CONSTANTS)
globals().update(ROW_TYPES)
# `from trueup.mt5 import *` gives what the official module gives.
__all__ += [*MODULE_CONSTANTS, *ROW_TYPES]  # noqa: PLE0604


def install() -> None:
    """Let `import MetaTrader5` find this module from now on."""
    sys.modules["MetaTrader5"] = sys.modules["trueup.mt5"]


def __getattr__(name: str) -> Any:
    """Return the account behind the functions as `trueup`."""
    if name != "trueup":
        raise AttributeError(f"module 'trueup.mt5' has no attribute {name!r}")
    account: Account = _door.account
    return account


if __name__ == "__main__":
    from trueup.doors.mt5.running import run_script

    # This copy of the module is `__main__`; programs import the other one.
    run_script(sys.argv[1:], lambda: import_module("trueup.mt5").install())
