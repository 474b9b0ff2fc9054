"""A MetaTrader5 module made from the facts about the official one.

It has the functions, constants and row types of tests/data/mt5_api.json, and nothing else. A call
whose arguments that file does not know is an error of whoever calls. What a function answers comes
from a simulated terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from trueup.sim.terminal.terminal import SimulatedTerminal

FACTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8")
)
RULES = FACTS["request_field_rules"]
REQUEST_FIELDS = set(FACTS["namedtuples"]["TradeRequest"])
# Every integer of the module is a C integer of 64 bits, without a sign but for times.
INTEGERS = range(2**64)


def make_module(terminal: SimulatedTerminal) -> tuple[ModuleType, list[str]]:
    """Return the module, and the list in which it keeps the names of the functions called."""
    module, called = ModuleType("MetaTrader5"), list[str]()
    for name, value in FACTS["constants"].items():
        setattr(module, name, value)
    for name, details in FACTS["function_details"].items():
        setattr(module, name, _function(name, details, terminal, called))
    return module, called


def _function(
    name: str, details: dict[str, Any], terminal: SimulatedTerminal, called: list[str]
) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        check_arguments(name, details, args, kwargs)
        return getattr(terminal, name)(*args, **kwargs)

    return function


def check_arguments(
    name: str, details: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Fail where the module would refuse, or worse, silently ignore an argument."""
    if details["flags"] == "METH_NOARGS":
        assert not args, f"{name} takes no arguments"
        assert not kwargs, f"{name} takes no arguments"
        return
    assert len(args) <= len(details["positional"]), f"{name}{args}"
    if name in ("order_send", "order_check"):
        assert not kwargs
        check_request(*args)
        return
    assert set(kwargs) <= set(details["keywords"]), f"{name}{tuple(kwargs)}"
    for value in (*args, *kwargs.values()):
        assert value is not None, f"{name} was given None"
        assert type(value) is not int or value in INTEGERS, f"{name} was given {value}"
    if name.startswith("history_"):
        assert len(args) in (0, 2), f"{name} takes two dates or none"
        assert all(1 <= date < 2**31 for date in args), f"{name}{args}"
        assert args or "ticket" in kwargs or "position" in kwargs


def check_request(request: dict[str, Any]) -> None:
    """Fail where a request has a field that is ignored, or a value of a type that is refused."""
    assert type(request) is dict
    assert set(request) <= REQUEST_FIELDS, set(request) - REQUEST_FIELDS
    for field, value in request.items():
        if field in RULES["int_fields_python_int_only"]:
            assert type(value) is int, field
            assert value in INTEGERS, field
        elif field in RULES["float_fields_python_float_only"]:
            assert type(value) is float, field
        else:
            assert type(value) is str, field
            assert len(value) <= RULES["max_characters_comment_and_symbol"], field
