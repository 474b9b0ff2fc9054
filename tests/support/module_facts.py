"""What the official module answers while no terminal is reached, as it was seen (5.0.6231).

The simulated terminal is held to it everywhere, and the module itself where it runs
(`tests/windows/test_real_module.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

NO_CONNECTION = (-10004, "No IPC connection")
# It compares the terminal's build first, and without a terminal that is 0.
NO_BUILD = (
    -5,
    "Terminal: Incompatible versions, please install the latest version of Terminal and Python "
    "module",
)
NOT_FOUND = (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
OPENS_NO_PIPE = (-10003, "IPC initialize failed, Pipe server didn't answer in 60 sec")
"""After 100 s, whatever `timeout` says: its own 60 s to start the program, and 40 s more."""


class Fact(NamedTuple):
    """One call, its answer, and what `last_error()` says then."""

    function: str
    arguments: tuple[Any, ...]
    answer: Any
    error: tuple[int, str]


WITHOUT_CONNECTION = (
    Fact("version", (), (0, 0, ""), NO_CONNECTION),
    Fact("terminal_info", (), None, NO_CONNECTION),
    Fact("account_info", (), None, NO_CONNECTION),
    Fact("symbols_total", (), None, NO_BUILD),
    Fact("symbols_get", (), None, NO_BUILD),
    Fact("symbols_get", ("*",), None, NO_BUILD),
    Fact("symbol_info", ("EURUSD",), None, NO_CONNECTION),
    Fact("symbol_info_tick", ("EURUSD",), None, NO_CONNECTION),
    Fact("symbol_select", ("EURUSD",), False, NO_CONNECTION),
    Fact("positions_total", (), None, NO_CONNECTION),
    Fact("positions_get", (), None, NO_CONNECTION),
    Fact("orders_get", (), None, NO_CONNECTION),
    Fact("history_orders_get", (1, 2), None, NO_CONNECTION),
    Fact("history_deals_get", (1, 2), None, NO_CONNECTION),
    Fact("history_deals_total", (1, 2), None, NO_CONNECTION),
    Fact("order_check", ({},), None, NO_CONNECTION),
    Fact("order_send", ({},), None, NO_CONNECTION),
    Fact("order_send", (None,), None, (-2, "Invalid arguments")),
    Fact("order_calc_margin", (0, "EURUSD", 1.0, 1.0), None, NO_CONNECTION),
    Fact("login", (1,), False, NO_CONNECTION),
)


def differences(module: Any) -> list[tuple[Fact, Any, Any]]:
    """Return the facts that a module without a connection contradicts, with what it does."""
    found = []
    for fact in WITHOUT_CONNECTION:
        answer = getattr(module, fact.function)(*fact.arguments)
        error = module.last_error()
        if (answer, error) != (fact.answer, fact.error):
            found.append((fact, answer, error))
    return found
