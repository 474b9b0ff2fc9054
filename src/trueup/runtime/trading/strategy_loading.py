"""Somebody's own strategy, by its name: found, made, called, and named where it goes wrong.

What a strategy's author has to mend is in the author's own file, so everything that goes wrong in
it becomes one sentence with that file and line: its module that cannot be imported, a class that
wants arguments, an exception on a tick, an answer that is no signal.
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
# The guide's modules stand beside the package in a checkout; an installed trueup has none of them.
GUIDES_MODULES: Final = {
    "src.strategy.reconciler": "trueup.runtime.sync.reconciler",
    "src.strategy.portfolio": "trueup.runtime.bot.portfolio",
    "src.main_paper_trading": "trueup.gateway.client.execution_gateway",
    "src.config": "trueup.settings",
}
_PACKAGE = Path(__file__).resolve().parents[2]
_IMPORTING = Path(importlib.__file__).resolve().parent


class OwnStrategy:
    """A strategy of somebody's own, whose mistakes are told with its own file and line."""

    def __init__(self, name: str, factory: Callable[[], Any]) -> None:
        self._name, self._factory = name, factory
        try:
            self._strategy: Strategy = factory()
        except (Exception, SystemExit) as error:
            what = "failed as it was made" if _was_entered(error) else MADE_ALONE
            raise StrategyError(
                f"The strategy {name} {what}: {_said(error, factory, '__init__')}."
            ) from error

    def on_tick(self, tick: Tick) -> int:
        """Return the strategy's signal; None is taken for 0.

        Raises:
            StrategyError: it raised, or returned what is no signal.
        """
        try:
            signal: Any = self._strategy.on_tick(tick)
            found = None if isinstance(signal, str) else whole_number(signal)
            is_signal = signal is None or found in SIGNALS
        except (Exception, SystemExit) as error:
            said = _said(error, self._factory, "on_tick")
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
    """Import what `package.module:Class` names, and return what makes it, without arguments.

    The current folder comes first among the places it is looked for in, as with `python -m`.

    Raises:
        SettingsError: there is no such module or class, or it has no `on_tick`.
    """
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise SettingsError(OPTION, name, VALID)
    if module.endswith(".py"):
        raise SettingsError(OPTION, name, f"leave out .py, as {module[:-3]}:{attribute}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    factory = getattr(_imported(name, module), attribute, None)
    if factory is None:
        raise SettingsError(OPTION, name, f"{module} has no {attribute}; {VALID}")
    if not isinstance(factory, type) or not callable(getattr(factory, "on_tick", None)):
        raise SettingsError(OPTION, name, "give a class that has on_tick(tick)")
    return lambda: OwnStrategy(name, factory)


def load_strategy(name: str) -> Strategy:
    """Make the strategy that `package.module:Class` names; it is called without arguments.

    Raises:
        SettingsError: there is no such class, or what it makes has no `on_tick`.
        StrategyError: it cannot be made.
    """
    return strategy_maker(name)()


def own_place(name: str, error: BaseException) -> str:
    """Return the last line of a strategy's own file that an error went through, empty for none."""
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
    """Say what to import for a module of the guide that is not there; empty for any other."""
    name = getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not name:
        return ""
    if not any(f"{module}.".startswith(f"{name}.") for module in GUIDES_MODULES):
        return ""
    pairs = ", ".join(f"{ours} for {theirs}" for theirs, ours in GUIDES_MODULES.items())
    return f". Only a checkout of trueup has a package src; import {pairs}"


def _said(error: BaseException, factory: Any = None, method: str = "") -> str:
    """Return what an error of somebody's code says, and where in that code it came from."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({_short(error.filename or '')}, line {error.lineno})"
    own = getattr(sys.modules.get(getattr(factory, "__module__", "")), "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_own(f.filename)]
    # The author's own file says more than the library that was called from it.
    inside = [frame for frame in frames if frame.filename == own] or frames
    if inside:
        where = f" ({_short(inside[-1].filename)}, line {inside[-1].lineno})"
    else:
        where = _begins(factory, method)
    text = str(error).rstrip(".")
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _was_entered(error: BaseException) -> bool:
    """Return whether a call came to a line of somebody's code before it failed."""
    return any(_is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _begins(factory: Any, method: str) -> str:
    """Return where a method of a class begins, for what never came to a line in it."""
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
    """Return a file's name as one would type it here."""
    path = Path(filename)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
