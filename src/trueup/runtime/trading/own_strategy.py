"""A user's strategy in the trading loop: the methods that it has, and their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trueup.core.conversions import whole_number
from trueup.errors import StrategyError
from trueup.protocol.ticks import Tick
from trueup.runtime.trading.own_code import begins, call_own, error_of, failures, was_entered

MADE_ALONE: Final = "cannot be made without arguments"
SIGNALS: Final = (1, -1, 0)


class OwnStrategy:
    """A user's strategy; its errors are reported with its own file and line.

    Args:
        name: the strategy's name in messages.
        factory: the strategy's class.
        made: an instance of the class; by default one is made without arguments.

    Raises:
        StrategyError: the class cannot be made without arguments, or failed as it was made.
    """

    def __init__(self, name: str, factory: Callable[[], Any], made: object = None) -> None:
        self._whose = f"the strategy {name}"
        self._factory = factory
        self._strategy: Any = self._made() if made is None else made

    def _made(self) -> Any:
        try:
            return self._factory()
        except failures() as error:
            failure = "failed as it was made" if was_entered(error) else MADE_ALONE
            said = error_of(error, self._factory, "__init__")
            raise StrategyError(f"T{self._whose[1:]} {failure}: {said}.") from error

    def has(self, method: str) -> bool:
        """Return whether the strategy has a method."""
        return callable(getattr(self._strategy, method, None))

    def call(self, method: str, *args: object) -> Any:
        """Call a method and return its result; None if the strategy has no such method.

        Raises:
            TrueupError: the method passed on an error of this package, such as a refused order.
            StrategyError: the method failed otherwise.
        """
        called = getattr(self._strategy, method, None)
        if called is None:
            return None
        return call_own(lambda: called(*args), self._whose, self._factory, method)

    def on_tick(self, tick: Tick) -> int:
        """Return the strategy's signal; None counts as 0.

        Raises:
            TrueupError, StrategyError: as for `call`; the latter also for a result that is not a
                signal.
        """
        signal = self.call("on_tick", tick)
        # Checked as the user's code: a user's type may raise even when it is compared.
        found = call_own(lambda: _signal(signal), self._whose, self._factory, "on_tick")
        if found is None:
            where = begins(self._factory, "on_tick")
            raise StrategyError(
                f"T{self._whose[1:]} returned {signal!r:.60} from on_tick{where}: "
                "return 1 to buy, -1 to sell, 0 to hold."
            )
        return found


def own_strategy(strategy: object) -> OwnStrategy:
    """Return a strategy object as one whose errors are reported with file and line."""
    if isinstance(strategy, OwnStrategy):
        return strategy
    return OwnStrategy(type(strategy).__name__, type(strategy), strategy)


def _signal(value: Any) -> int | None:
    """Return a signal, 0 for None; None for a value that is not a signal."""
    if value is None:
        return 0
    found = None if isinstance(value, str) else whole_number(value)
    return found if found in SIGNALS else None
