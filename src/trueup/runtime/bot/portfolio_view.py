"""A portfolio of one symbol within the book of an account: the guide's object, without a book."""

from __future__ import annotations

from collections.abc import Callable

from trueup.runtime.bot.part import Part
from trueup.runtime.bot.portfolio import PortfolioManager


class PortfolioView(PortfolioManager):
    """The positions and orders of one symbol and magic number within the book of an account.

    All portfolios of an account share one book, one journal and one reconciler; `Account.portfolio`
    makes them. The methods and attributes are those of `PortfolioManager`, for this symbol and
    magic number only. On a netting account the position of a symbol is shared by all magic numbers.
    The key of an order belongs to the portfolio: another portfolio may use the same key.

    Args:
        whole: the book of the account.
        part: the symbol and the magic number; None for all magic numbers of the symbol.
        reconciler: returns the account's reconciler, which `StateReconciler(view, ...)` stands for.
        intervals: the intervals (s) that the reconcilers of the account's portfolios were given.

    Raises:
        ValueError: the symbol or the magic number is not valid.
    """

    def __init__(
        self,
        whole: PortfolioManager,
        part: Part,
        reconciler: Callable[[], object],
        intervals: list[float],
    ) -> None:
        magic = whole.magic if part.magic is None else part.magic
        self.whole: PortfolioManager = whole
        """The book of the account."""
        self.reconciler: Callable[[], object] = reconciler
        self._identity = whole._identity.of_part(part.symbol, magic)
        self.symbol = self._identity.symbol
        self.magic = self._identity.magic
        self.stream, self.run_id = whole.stream, whole.run_id
        self.logger, self.clock, self.process = whole.logger, whole.clock, whole.process
        self._kept, self._owed, self._entries = whole._kept, whole._owed, whole._entries
        self._broker, self._crash, self._last = whole._broker, whole._crash, whole._last
        self._limits, self._modes = whole._limits, whole._modes
        self.intervals: list[float] = intervals
        """The intervals (s) that the reconcilers of the account's portfolios were given."""
        self._show(part)
        self.on_forced = whole._audit

    def close_journal(self) -> None:
        """Do nothing: the journal is the account's, and is closed with the account."""
