"""A simulated terminal whose rows are rewritten on their way to the gateway, as a broker can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.desk_world import DeskWorld
from trueup.gateway.desk.desk import Desk

Rewrite = Callable[[Any], Any]


def changed(row: Any, **fields: Any) -> Any:
    """A terminal's row with other values."""
    values = row._asdict()
    assert fields.keys() <= values.keys()
    return tuple.__new__(type(row), tuple({**values, **fields}.values()))


class Rewritten:
    """A terminal; `rewrites` change what its functions return, by their names."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self.rewrites: dict[str, Rewrite] = {}

    def __getattr__(self, name: str) -> Any:
        told = getattr(self._terminal, name)

        def call(*args: Any, **named: Any) -> Any:
            answer = told(*args, **named)
            rewrite = self.rewrites.get(name)
            return answer if rewrite is None or answer is None else rewrite(answer)

        return call


class RewrittenWorld(DeskWorld):
    """A `DeskWorld` whose gateway sees the terminal through `shown`."""

    def restart_gateway(self) -> None:
        """Start the gateway anew: a new epoch."""
        super().restart_gateway()
        self.shown = Rewritten(self.terminal)
        terminal: Any = self.shown
        self.desk = Desk(terminal, f"boot{self.boots}", self.clock.now_ns)

    def rewrite(self, **rewrites: Rewrite) -> None:
        """Change what the terminal's functions of these names return from now on."""
        self.shown.rewrites.update(rewrites)

    def show_truly(self) -> None:
        """Change nothing any more."""
        self.shown.rewrites.clear()
