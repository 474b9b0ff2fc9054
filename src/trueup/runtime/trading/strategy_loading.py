"""Load a user's strategy by name; every error is a sentence with the user's file and line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from trueup.errors import SettingsError
from trueup.runtime.trading.own_code import error_of, failures
from trueup.runtime.trading.own_strategy import OwnStrategy

OPTION: Final = "--strategy"
VALID: Final = "give module:Class, importable from this folder, such as my_strategies:Breakout"
# The guide's modules exist only in a checkout, beside the package, not in an installed trueup.
GUIDES_MODULES: Final = {
    "src.strategy.reconciler": "trueup.runtime.sync.reconciler",
    "src.strategy.portfolio": "trueup.runtime.bot.portfolio",
    "src.main_paper_trading": "trueup.gateway.client.execution_gateway",
    "src.config": "trueup.settings",
}


def strategy_maker(
    name: str, methods: Sequence[str] = ("on_tick",), option: str = OPTION
) -> Callable[[], OwnStrategy]:
    """Import the class `package.module:Class`, and return a function that makes its instances.

    The current folder is searched first, as with `python -m`.

    Args:
        name: the class.
        methods: the class must have one of these methods.
        option: where the name was given, for an error.

    Raises:
        SettingsError: there is no such module or class, or the class has none of the methods.
    """
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise SettingsError(option, name, VALID)
    if module.endswith(".py"):
        raise SettingsError(option, name, f"leave out .py, as {module[:-3]}:{attribute}")
    # The `trueup` program, unlike `python -m`, does not have the current folder in its path.
    if "" not in sys.path:
        sys.path.insert(0, "")
    factory = getattr(_imported(name, module, option), attribute, None)
    if factory is None:
        raise SettingsError(option, name, f"{module} has no {attribute}; {VALID}")
    has_one = any(callable(getattr(factory, method, None)) for method in methods)
    if not isinstance(factory, type) or not has_one:
        raise SettingsError(option, name, f"give a class that has {' or '.join(methods)}")
    return lambda: OwnStrategy(name, factory)


def load_strategy(
    name: str, methods: Sequence[str] = ("on_tick",), option: str = OPTION
) -> OwnStrategy:
    """Return an instance of the class `package.module:Class`, made without arguments.

    Raises:
        SettingsError: as for `strategy_maker`.
        StrategyError: the class cannot be instantiated.
    """
    return strategy_maker(name, methods, option)()


def _imported(name: str, module: str, option: str) -> Any:
    try:
        return importlib.import_module(module)
    except failures() as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            valid = f"there is no module {error.name} here ({Path.cwd()}); {VALID}"
        else:
            mend = f"mend the module, which cannot be imported: {error_of(error)}"
            valid = f"{mend}{_instead(error)}"
        raise SettingsError(option, name, valid) from error


def _instead(error: BaseException) -> str:
    """Return a hint for a missing module of the guide, or ''."""
    name = getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not name:
        return ""
    if not any(f"{module}.".startswith(f"{name}.") for module in GUIDES_MODULES):
        return ""
    pairs = ", ".join(f"{ours} for {theirs}" for theirs, ours in GUIDES_MODULES.items())
    return f". Only a checkout of trueup has a package src; import {pairs}"
