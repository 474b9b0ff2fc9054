"""Record which terminal call is under way, since calls block and other threads must report them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from trueup.gateway.terminal.call_wire import TOGETHER
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.terminal.together import makes_together

CallUnderWay = tuple[str, int]
"""The function of the call under way, and when the call began (ns, by the clock for ages)."""


class CallTracker:
    """Records the call under way.

    Attributes:
        now: the call under way, or None; may be read by another thread.
        terminal: the given terminal, with every call recorded.
    """

    def __init__(self, terminal: Terminal, now_ns: Callable[[], int]) -> None:
        self.now: CallUnderWay | None = None
        self.terminal: Terminal = cast(Terminal, _RecordedTerminal(terminal, self, now_ns))


def _shown(name: str, args: tuple[Any, ...]) -> str:
    """Return the name of a call for a person; of calls made together, that of the first."""
    return f"{args[0][0].function} and more" if name == TOGETHER and args[0] else name


class _RecordedTerminal:
    def __init__(self, terminal: Terminal, calls: CallTracker, now_ns: Callable[[], int]) -> None:
        self._terminal, self._calls, self._now_ns = terminal, calls, now_ns
        self.makes_calls_together = makes_together(terminal)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function, calls, now_ns = getattr(self._terminal, name), self._calls, self._now_ns

        def recorded(*args: Any, **named: Any) -> Any:
            calls.now = (_shown(name, args), now_ns())
            try:
                return function(*args, **named)
            finally:
                calls.now = None

        # Later accesses find the attribute without `__getattr__`.
        setattr(self, name, recorded)
        return recorded
