"""Load a user's strategy by name, and report its errors with file and line.

The author has to repair an error in the author's own file. So every error becomes a sentence with
that file and line: a module that cannot be imported, a class that needs arguments, an exception in
`on_tick`, a return value that is not a signal.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, Final

from trueup.core.conversions import whole_number
from trueup.errors import SettingsError, StrategyError
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick
from trueup.runtime.trading.strategy import Strategy

log: Logger = logger("trueup.strategy")

OPTION: Final = "--strategy"
VALID: Final = "give module:Class, importable from this folder, such as my_strategies:Breakout"
MADE_ALONE: Final = "cannot be made without arguments"
SIGNALS: Final = (1, -1, 0)
# The guide's modules exist only in a checkout, beside the package, not in an installed trueup.
GUIDES_MODULES: Final = {
    "src.strategy.reconciler": "trueup.runtime.sync.reconciler",
    "src.strategy.portfolio": "trueup.runtime.bot.portfolio",
    "src.main_paper_trading": "trueup.gateway.client.execution_gateway",
    "src.config": "trueup.settings",
}
_PACKAGE = Path(__file__).resolve().parents[2]
_IMPORTING = Path(importlib.__file__).resolve().parent


class OwnStrategy:
    """A user's strategy; its errors are reported with its own file and line."""

    def __init__(self, name: str, factory: Callable[[], Any]) -> None:
        self._name, self._factory = name, factory
        try:
            self._strategy: Strategy = factory()
        except (Exception, SystemExit) as error:
            failure = "failed as it was made" if _was_entered(error) else MADE_ALONE
            raise StrategyError(
                f"The strategy {name} {failure}: {_said(error, factory, '__init__')}."
            ) from error

    def on_tick(self, tick: Tick) -> int:
        """Return the strategy's signal; None counts as 0.

        Raises:
            StrategyError: `on_tick` raised, or returned a value that is not a signal.
        """
        # Checked inside: a user's type may raise even when it is compared.
        try:
            signal: Any = self._strategy.on_tick(tick)
            found = None if isinstance(signal, str) else whole_number(signal)
            is_signal = signal is None or found in SIGNALS
        except (Exception, SystemExit) as error:
            said = _said(error, self._factory, "on_tick")
            # The log gets the full traceback, the user a sentence.
            log.error("[STRATEGY] %s failed: %s", self._name, said, exc_info=error)
            raise StrategyError(f"The strategy {self._name} failed: {said}.") from error
        if not is_signal:
            where = _begins(self._factory, "on_tick")
            raise StrategyError(
                f"The strategy {self._name} returned {signal!r:.60} from on_tick{where}: "
                "return 1 to buy, -1 to sell, 0 to hold."
            )
        return found or 0


def strategy_maker(name: str) -> Callable[[], Strategy]:
    """Import the class `package.module:Class`, and return a function that makes its instances.

    The current folder is searched first, as with `python -m`.

    Raises:
        SettingsError: there is no such module or class, or the class has no `on_tick`.
    """
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise SettingsError(OPTION, name, VALID)
    if module.endswith(".py"):
        raise SettingsError(OPTION, name, f"leave out .py, as {module[:-3]}:{attribute}")
    # The `trueup` program, unlike `python -m`, does not have the current folder in its path.
    if "" not in sys.path:
        sys.path.insert(0, "")
    factory = getattr(_imported(name, module), attribute, None)
    if factory is None:
        raise SettingsError(OPTION, name, f"{module} has no {attribute}; {VALID}")
    if not isinstance(factory, type) or not callable(getattr(factory, "on_tick", None)):
        raise SettingsError(OPTION, name, "give a class that has on_tick(tick)")
    return lambda: OwnStrategy(name, factory)


def load_strategy(name: str) -> Strategy:
    """Return an instance of the class `package.module:Class`, made without arguments.

    Raises:
        SettingsError: there is no such class, or the class has no `on_tick`.
        StrategyError: the class cannot be instantiated.
    """
    return strategy_maker(name)()


def own_place(name: str, error: BaseException) -> str:
    """Return the last line in the strategy's own file of an error's traceback, or ''."""
    own = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    last = frames[-1] if frames else None
    return f"{_short(last.filename)}, line {last.lineno}, in {last.name}" if last else ""


def _imported(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            valid = f"there is no module {error.name} here ({Path.cwd()}); {VALID}"
        else:
            mend = f"mend the module, which cannot be imported: {_said(error)}"
            valid = f"{mend}{_instead(error)}"
        raise SettingsError(OPTION, name, valid) from error


def _instead(error: BaseException) -> str:
    """Return a hint for a missing module of the guide, or ''."""
    name = getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not name:
        return ""
    if not any(f"{module}.".startswith(f"{name}.") for module in GUIDES_MODULES):
        return ""
    pairs = ", ".join(f"{ours} for {theirs}" for theirs, ours in GUIDES_MODULES.items())
    return f". Only a checkout of trueup has a package src; import {pairs}"


def _said(error: BaseException, factory: Any = None, method: str = "") -> str:
    """Return an error's text, and its place in the user's code."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({_short(error.filename or '')}, line {error.lineno})"
    own = getattr(sys.modules.get(getattr(factory, "__module__", "")), "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_own(f.filename)]
    # The line in the author's own file helps more than a line in a library called from there.
    inside = [frame for frame in frames if frame.filename == own] or frames
    if inside:
        where = f" ({_short(inside[-1].filename)}, line {inside[-1].lineno})"
    else:
        where = _begins(factory, method)
    text = str(error).rstrip(".")
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _was_entered(error: BaseException) -> bool:
    """Return whether a call reached a line of the user's code before it failed."""
    return any(_is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _begins(factory: Any, method: str) -> str:
    """Return the first line of a method, for an error outside the user's code."""
    code = getattr(getattr(factory, method, None), "__code__", None)
    if not isinstance(code, CodeType):
        return ""
    return f" ({_short(code.co_filename)}, line {code.co_firstlineno})"


def _is_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    return not path.is_relative_to(_PACKAGE) and not path.is_relative_to(_IMPORTING)


def _short(filename: str) -> str:
    """Return a file's path relative to the current folder if possible."""
    path = Path(filename)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
