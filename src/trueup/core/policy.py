"""Whose positions these are, and how long we wait before we believe an absence."""

from __future__ import annotations

import msgspec

from trueup.core.model import Position


class Policy(msgspec.Struct, frozen=True):
    """What the reconciler may act on.

    `symbols` are ours; a position in any other symbol is foreign: counted, never adopted, changed
    or closed. An order in doubt that shows no trace is given up no sooner than `grace_period_ms`
    after it was sent: MetaTrader 5 can fill late, after its own timeout (retcode 10012).
    """

    symbols: frozenset[str]
    grace_period_ms: int = 10_000

    def covers(self, position: Position) -> bool:
        """Return whether a position is ours to reconcile."""
        return position.symbol in self.symbols
