"""Call a user's own code, and report its errors with file and line.

The author has to repair an error in the author's own file. So every error becomes a sentence with
that file and line.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from trueup.errors import StrategyError, TrueupError
from trueup.logs import Logger, logger

log: Logger = logger("trueup.strategy")

Result = TypeVar("Result")
_PACKAGE = Path(__file__).resolve().parents[2]
_IMPORTING = Path(importlib.__file__).resolve().parent


def call_own(called: Callable[[], Result], whose: str, owner: Any, method: str = "") -> Result:
    """Call a user's code, and return its result.

    Args:
        called: calls the code.
        whose: the code's name in a message.
        owner: the user's class, or the user's function.
        method: the method of the class that is called.

    Raises:
        TrueupError: the code passed on an error of this package, such as a refused order.
        StrategyError: the code failed otherwise; the message has the code's file and line.
    """
    try:
        return called()
    except TrueupError:
        raise
    except failures() as error:
        said = error_of(error, owner, method)
        # The log gets the full traceback, the user a sentence.
        log.error("[STRATEGY] %s failed: %s", whose, said, exc_info=error)
        raise StrategyError(f"{whose[:1].upper()}{whose[1:]} failed: {said}.") from error


def failures() -> tuple[type[BaseException], ...]:
    """Return what a user's code may raise to fail; a person's Ctrl-C is no failure.

    Called in an `except` clause, so only once something was raised: asyncio takes long to import.
    """
    from asyncio import CancelledError

    return Exception, SystemExit, CancelledError


def own_place(name: str, error: BaseException) -> str:
    """Return the last line in the strategy's own file of an error's traceback, or ''."""
    own = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    last = frames[-1] if frames else None
    return f"{_short(last.filename)}, line {last.lineno}, in {last.name}" if last else ""


def error_of(error: BaseException, owner: Any = None, method: str = "") -> str:
    """Return an error's text, and its place in the user's code."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({_short(error.filename or '')}, line {error.lineno})"
    own = getattr(sys.modules.get(getattr(owner, "__module__", "")), "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_own(f.filename)]
    # The line in the author's own file helps more than a line in a library called from there.
    inside = [frame for frame in frames if frame.filename == own] or frames
    if inside:
        where = f" ({_short(inside[-1].filename)}, line {inside[-1].lineno})"
    else:
        where = begins(owner, method)
    text = str(error).rstrip(".")
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def was_entered(error: BaseException) -> bool:
    """Return whether a call reached a line of the user's code before it failed."""
    return any(_is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def begins(owner: Any, method: str) -> str:
    """Return the first line of a method, for an error outside the user's code."""
    code = getattr(getattr(owner, method, owner), "__code__", None)
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
