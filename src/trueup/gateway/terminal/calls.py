"""Which call a terminal is in: calls block, and somebody else must be able to say in which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from trueup.gateway.terminal.terminal import Terminal

CallUnderWay = tuple[str, int]
"""A call under way: its function, and when it began, by the clock for ages (ns)."""


class Calls:
    """Notes the call under way.

    `terminal` is the given terminal with every call noted; `now` may be read by another thread.
    """

    def __init__(self, terminal: Terminal, now_ns: Callable[[], int]) -> None:
        self.now: CallUnderWay | None = None
        self.terminal: Terminal = cast(Terminal, _Noted(terminal, self, now_ns))


class _Noted:
    def __init__(self, terminal: Terminal, calls: Calls, now_ns: Callable[[], int]) -> None:
        self._terminal, self._calls, self._now_ns = terminal, calls, now_ns

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function, calls, now_ns = getattr(self._terminal, name), self._calls, self._now_ns

        def noted(*args: Any, **named: Any) -> Any:
            calls.now = (name, now_ns())
            try:
                return function(*args, **named)
            finally:
                calls.now = None

        # The next call finds it without asking.
        setattr(self, name, noted)
        return noted
