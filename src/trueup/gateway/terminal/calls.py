"""Record which terminal call is under way, since calls block and other threads must report them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from trueup.gateway.terminal.terminal import Terminal

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


class _RecordedTerminal:
    def __init__(self, terminal: Terminal, calls: CallTracker, now_ns: Callable[[], int]) -> None:
        self._terminal, self._calls, self._now_ns = terminal, calls, now_ns

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function, calls, now_ns = getattr(self._terminal, name), self._calls, self._now_ns

        def recorded(*args: Any, **named: Any) -> Any:
            calls.now = (name, now_ns())
            try:
                return function(*args, **named)
            finally:
                calls.now = None

        # Later accesses find the attribute without `__getattr__`.
        setattr(self, name, recorded)
        return recorded
