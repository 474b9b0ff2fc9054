"""Functions that a program wants called with events of its book."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from trueup.core.book.events import Event
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.trading.own_code import call_own

Called = TypeVar("Called", bound=Callable[[Any], object])


class Callbacks:
    """Functions by the event that they wait for.

    Events are put in within the turn that commits them, and handed out outside of the turn: a
    function may send an order or sync. An event that was not handed out when the process ended is
    not handed out by the next process; the journal has the event.

    Args:
        pm: the book.
    """

    def __init__(self, pm: PortfolioManager) -> None:
        self._wanted: list[tuple[type[Event], Callable[[Any], object]]] = []
        self._waiting: deque[tuple[Callable[[Any], object], Event]] = deque()
        pm.watch(self._put)

    def on(self, kind: type[Event]) -> Callable[[Called], Called]:
        """Return a decorator: the function is called with each later event of a class.

        Raises:
            TypeError: `kind` is not a class of events.
        """
        # A caller without a type checker may give anything.
        given: Any = kind
        if not isinstance(given, type) or not issubclass(given, Event):
            raise TypeError(
                f"{kind!r:.60} is not a class of events: give a class of trueup.events, such as "
                "PositionRecovered."
            )

        def register(called: Called) -> Called:
            self._wanted.append((kind, called))
            return called

        return register

    def _put(self, history: Sequence[Event]) -> None:
        """Take the events that some function waits for."""
        for event in history:
            for kind, called in self._wanted:
                if isinstance(event, kind):
                    self._waiting.append((called, event))

    def deliver_next(self) -> bool:
        """Call the next function with its event; return False if no event waits.

        Raises:
            TrueupError: the function passed on an error of this package.
            StrategyError: the function failed otherwise; the message has its file and line.
        """
        try:
            called, event = self._waiting.popleft()
        except IndexError:
            return False
        name = getattr(called, "__name__", type(called).__name__)
        call_own(lambda: called(event), f"the function {name}", called)
        return True

    def deliver(self) -> None:
        """Call all functions whose event waits; raises as `deliver_next`."""
        while self.deliver_next():
            pass
