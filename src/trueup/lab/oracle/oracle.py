"""The oracle: what watches a simulated run and says which promises it broke."""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.facts.moments import Moment, Scope, Violation
from trueup.lab.oracle.base.checker import Fold
from trueup.lab.oracle.hearing import Hearing
from trueup.lab.oracle.judge import Judge
from trueup.sim.broker.ledger import Ledger

# The longest that a terminal of the world shows what was before, faults included.
SEES_LATE_NS = 30_000_000_000


class Oracle:
    """Judges one run: give it every moment, in order.

    Args:
        ledger: the broker's books of the account; what happens to them is heard from now on.
        scope: what the bots may act on.
        fold: makes an empty book that takes journal rows, so that a replay can be compared with the
            live book. It is the one thing that has to be the product's own (`folding.BookFold`);
            without one, promise 5 is not checked.
    """

    def __init__(
        self, ledger: Ledger, scope: Scope, fold: Callable[[], Fold] | None = None
    ) -> None:
        setup = ledger.setup
        known = facts.Scope(
            setup.login,
            scope.symbols,
            scope.magics,
            SEES_LATE_NS,
            netting=setup.margin_mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
            proves=scope.proves,
            asks=scope.asks,
        )
        self._judge = Judge(known, fold)
        self._hearing = Hearing(ledger, self._judge.take)

    def observe(self, moment: Moment) -> None:
        """Take note of a moment."""
        self._hearing.observe(moment)

    def verdicts(self) -> list[Violation]:
        """Return what did not hold so far, the earliest first."""
        return self._judge.verdicts()
