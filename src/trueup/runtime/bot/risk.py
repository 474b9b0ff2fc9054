"""Decide whether an order may be sent now: the guide's rule, orders in doubt, and restrictions.

An entry is refused if it could double a position or reverse a position by mistake. A close of a
known position is never refused, with two exceptions: an order in doubt on the same side may be that
very close, and a person may have paused the strategy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from trueup.core.account.health import Restriction
from trueup.core.book.book import Book, Holding, Order
from trueup.core.book.events import CHANGES
from trueup.core.limits.exposure import Entry
from trueup.core.model import Side
from trueup.core.quantity import add_lots, format_lots
from trueup.core.scope import EVERY_SYMBOL
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.modes import Modes
from trueup.runtime.bot.outcomes import OwedOutcomes
from trueup.runtime.bot.part import Part
from trueup.runtime.bot.sight import Sight
from trueup.runtime.bot.views import direction
from trueup.runtime.limits.watch import LimitWatch
from trueup.runtime.time.clock import Clock

UNTIL_SEEN = "a sync whose reading is believed"


def why_not(
    side: Side,
    net: float,
    book: Book,
    restrictions: Sequence[Restriction],
    symbol: str,
    magic: int | None = None,
) -> str:
    """Return the reason why no order of this side passes, or an empty string.

    `net` is the net volume (lots) of the positions with `magic`, or of all: long refuses a buy,
    short a sell.
    """
    if net * side.sign > 0:
        return f"while {direction(net)} {format_lots(net)}L"
    for order in _trades_in_doubt(book, symbol):
        if order.side is side or net == 0:
            return _in_doubt(order)
    if any(h.position.side is side.opposite for h in held_in(book, symbol, magic)):
        return ""
    return _restricted(restrictions, symbol)


def entries_refused(book: Book, restrictions: Sequence[Restriction], symbol: str) -> str:
    """Return the reason why no position may be opened now, or an empty string."""
    for order in _trades_in_doubt(book, symbol):
        return _in_doubt(order)
    return _restricted(restrictions, symbol)


class Entries:
    """Decides whether new positions are refused, and why.

    Args:
        kept: the book.
        owed: the outcomes that are not in the journal yet.
        sight: whether the broker was read.
        limits: the risk limits.
        modes: what a person allows.
        symbol: the symbol of the book.
        clock: the source of time.
    """

    def __init__(
        self,
        kept: KeptBook,
        owed: OwedOutcomes,
        sight: Sight,
        limits: LimitWatch,
        modes: Modes,
        symbol: str,
        clock: Clock,
    ) -> None:
        self._kept, self._owed, self._symbol, self._clock = kept, owed, symbol, clock
        self.sight: Sight = sight
        self._limits = limits
        self.modes: Modes = modes
        self.restrictions: tuple[Restriction, ...] = ()
        """The reasons of the last sync against new positions."""

    def refused(
        self,
        symbol: str = "",
        *,
        but_by_gateway: bool = False,
        but_by_limits: bool = False,
        but_by_person: bool = False,
    ) -> str:
        """Return the reason why no position may be opened now, or an empty string.

        Args:
            symbol: the symbol of the new position; by default the book's own.
            but_by_gateway: leave out the reasons that the gateway checks itself at the moment of
                the order.
            but_by_limits: leave out the risk limits, which judge each order again by its lots.
            but_by_person: leave out a person's mode, which does not end by waiting.
        """
        told = "" if but_by_person else self.modes.entries_refused()
        if told:
            return told
        restricted = [r for r in self._by_sync() if not (but_by_gateway and r.gateway_refuses)]
        symbol = symbol or self._symbol
        reason = self.owed() or entries_refused(self._book, restricted, symbol)
        if reason or but_by_limits:
            return reason
        return self._limits.standing(symbol)

    def refused_entry(self, entry: Entry, *, but_by_gateway: bool = False) -> str:
        """Return why this order may not open a position now, or an empty string.

        The risk limits judge the order by its lots, and may read the account. `but_by_gateway` is
        as for `refused`.

        Raises:
            JournalAhead: the journal has events that the book had not applied: decide again.
        """
        reason = self.refused(entry.symbol, but_by_gateway=but_by_gateway, but_by_limits=True)
        return reason or self._limits.refusal(entry)

    def restricted(self) -> tuple[Restriction, ...]:
        """Return all restrictions: by a person, before the first believed reading, and so on."""
        return (*self.modes.restrictions(), *self._by_sync(), *self.by_limits())

    def by_limits(self) -> tuple[Restriction, ...]:
        """Return the restrictions by risk limits."""
        return self._limits.restrictions()

    def _by_sync(self) -> tuple[Restriction, ...]:
        unseen = self.sight.why_not
        if not unseen:
            return self.restrictions
        unseen_now = Restriction("", unseen, self._clock.now_ns(), UNTIL_SEEN)
        return (unseen_now, *self.restrictions)

    def owed(self) -> str:
        """Name an order whose outcome is not in the journal yet, or return an empty string."""
        owed = self._owed.first
        return f"while {owed} is in doubt: its outcome is not in the journal yet" if owed else ""

    @property
    def _book(self) -> Book:
        # Not stored: the book is a new object after it was loaded again from its journal.
        return self._kept.book


class Target(NamedTuple):
    """The identifier of the position that an order closes, 0 for an entry, and the order's lots."""

    position: int
    volume: float


def target_of(
    book: Book, side: Side, volume: float, symbol: str, magic: int | None = None
) -> Target:
    """Return the target of an order of this side, so that no opposite position opens by mistake.

    Against several positions, or against a smaller position on a hedging account, one order cannot
    close all of `volume`. Then the order closes the oldest position, with at most its volume, and
    the next order closes the next. If a younger position has enough volume, the order closes that
    position instead, unless the account requires the oldest to be closed first (MQL5 reference,
    ACCOUNT_FIFO_CLOSE).
    """
    against = [h.position for h in oldest_first(book, symbol, magic) if h.position.side is not side]
    if not against:
        return Target(0, volume)
    # A position that is large enough lets one order do all of the work.
    is_fifo = book.account is not None and book.account.fifo_close
    for position in against[:1] if is_fifo else against:
        if add_lots(position.volume, -volume) >= 0:
            return Target(position.identifier, volume)
    oldest = against[0]
    if len(against) == 1 and book.nets:
        # On a netting account one order closes the position and opens the rest on the other side: a
        # reversal.
        return Target(0, volume)
    return Target(oldest.identifier, oldest.volume)


def oldest_first(book: Book, symbol: str, magic: int | None = None) -> list[Holding]:
    """Return the holdings of a symbol in the order in which the broker opened them.

    With a `magic`, only the holdings of that magic number.
    """
    return sorted(held_in(book, symbol, magic), key=_opened)


def held_in(book: Book, symbol: str, magic: int | None) -> list[Holding]:
    """Return the holdings of a symbol, with a `magic` only those of that number."""
    part = Part(symbol, magic)
    return [holding for holding in book.holdings_in(symbol) if part.has_holding(book, holding)]


def _opened(holding: Holding) -> tuple[float, int]:
    known = (holding.mark, holding.position)
    times = [
        position.time_msc or position.time * 1000 for position in known if position is not None
    ]
    # The opening time of the newest position may not be known yet, so no time sorts last.
    return next(filter(None, times), math.inf), holding.position.identifier


def _trades_in_doubt(book: Book, symbol: str) -> list[Order]:
    return [
        order
        for order in book.in_doubt.values()
        if order.kind not in CHANGES and symbol in (order.symbol, EVERY_SYMBOL)
    ]


def _in_doubt(order: Order) -> str:
    return f"while {order.order_id} is in doubt: {order.error}"


def _restricted(restrictions: Sequence[Restriction], symbol: str) -> str:
    for restriction in restrictions:
        if restriction.symbol in ("", symbol):
            return f"refused: {restriction.reason} (until {restriction.until})"
    return ""
