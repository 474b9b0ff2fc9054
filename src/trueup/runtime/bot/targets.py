"""Find what an order closes, changes or cancels: in the book or, if allowed, only at the broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trueup.core.book.book import Book, Order
from trueup.core.model import PendingOrder, Position
from trueup.errors import Refused
from trueup.runtime.bot.answers import late_outcomes_text
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.last_reading import LastReading, with_identifier
from trueup.runtime.bot.order_checks import ticket_of, tickets_listed
from trueup.runtime.bot.part import WHOLE, Part

POSITION = "position with ticket"
PENDING = "pending order"


class Named(NamedTuple):
    """A position that a caller names by its ticket.

    `foreign` allows a position that the book does not have, and `row` is the broker's row of such a
    position, if the caller gave one.
    """

    ticket: int
    foreign: bool
    row: Position | None


class NamedPending(NamedTuple):
    """A pending order that a caller names; the fields are as in `Named`."""

    ticket: int
    foreign: bool
    row: PendingOrder | None


class Target(NamedTuple):
    """A position that an order closes or changes.

    `magic` is the strategy's magic number of the position, and `foreign` has the broker's row of a
    position that the book does not have.
    """

    position: Position
    magic: int
    foreign: tuple[Position, ...] = ()

    @property
    def owner(self) -> dict[str, Any]:
        """The fields of an order that say whose position the order is about."""
        # The journal has the strategy's magic number; the broker gets the position's own.
        owner = {"magic": self.magic, "wire_magic": self.position.magic}
        return {**owner, "foreign": self.foreign} if self.foreign else owner


class Targets:
    """The positions and pending orders that orders of a book may name.

    Args:
        kept: the book.
        last_reading: the broker's rows, for what the book does not have.
        part: the part of the book that orders may name; other parts are foreign.
    """

    def __init__(self, kept: KeptBook, last_reading: LastReading, part: Part = WHOLE) -> None:
        self._kept, self.last_reading, self._part = kept, last_reading, part

    @property
    def _book(self) -> Book:
        # Not stored: the book is a new object after it was loaded again from its journal.
        return self._kept.book

    def name(self, position: Any, *, foreign: bool) -> Named:
        """Return the position that a caller means by a ticket, or by an object with one."""
        ticket = ticket_of(position, POSITION, self._tickets())
        row = position if foreign and isinstance(position, Position) else None
        return Named(ticket, foreign, None if row is None else with_identifier(row))

    def name_pending(self, order: Any, *, foreign: bool) -> NamedPending:
        """Return the pending order that a caller means by a ticket, or by an object with one."""
        ticket = ticket_of(order, PENDING, self._pending_tickets())
        row = order if foreign and isinstance(order, PendingOrder) else None
        return NamedPending(ticket, foreign, row)

    def identifier_of(self, named: Named, key: str) -> int:
        """Return the identifier of a position, or the given ticket if no row has the ticket.

        `key` is the caller's key: its first order may have closed a position that is in no list any
        more and whose ticket was not its identifier.
        """
        found = self.found(named)
        if found is not None:
            return found.position.identifier
        rows = [row for first in self._part.with_key(self._book, key) for row in first.foreign]
        return next((r.identifier for r in rows if r.ticket == named.ticket), named.ticket)

    def _tickets(self) -> Iterator[int]:
        return (holding.position.ticket for holding in self._part.holdings(self._book))

    def _pending_tickets(self) -> Iterator[int]:
        book = self._book
        return (key for key, one in book.pending.items() if self._part.has_pending(book, one.order))

    def found(self, named: Named) -> Target | None:
        """Return the position that a caller names, in the book or, if allowed, at the broker."""
        holding = self._book.holding_by_ticket(named.ticket)
        if holding is None and named.row is not None:
            # The row may be older than a change of the ticket.
            holding = self._book.holdings.get(named.row.identifier)
        part = self._part
        if holding is not None:
            if not part.has_symbol(holding.position.symbol):
                return None
            # To this portfolio, a position of another portfolio of the account is foreign.
            if not (named.foreign or part.has_holding(self._book, holding)):
                return None
            return Target(holding.position, part.magic_of(self._book.strategy_of(holding)))
        row = named.row if named.foreign else None
        if row is None and named.foreign:
            row = self.last_reading.position(named.ticket, self._book)
        if row is None or not part.has_symbol(row.symbol):
            return None
        return Target(row, part.magic_of(row.magic), (row,))

    def target(self, named: Named, late: Sequence[Order]) -> Target:
        """Return the position that a caller names.

        Args:
            named: what the caller says.
            late: the orders whose outcome was recorded only as this call began.

        Raises:
            Refused: the book has it no more, which the caller could not know before this call.
            ValueError: neither the book nor, if allowed, the last believed reading has it.
        """
        found = self.found(named)
        if found is None:
            raise self._missing(POSITION, named, tickets_listed(self._tickets()), late)
        # The list may be older than our own close, and a second close would open the opposite
        # position on a netting account.
        closed = self._book.closed.get(found.position.identifier)
        if found.foreign and closed is not None and named.row is None:
            raise ValueError(
                f"Ticket {named.ticket} was closed in the book: a sync shows whether it is open."
            )
        return found

    def _missing(
        self, kind: str, named: Named | NamedPending, known: str, late: Sequence[Order]
    ) -> Exception:
        """Return the error for what the book does not have; `known` says what it has."""
        missing = f"No {kind} {named.ticket} in the book; it has {known}."
        if late:
            # The last reading may be older than these outcomes, so it says nothing here.
            return Refused(f"Nothing was sent now. {missing}{late_outcomes_text(late)}")
        return ValueError(f"{missing}{self._elsewhere(named)}")

    def _elsewhere(self, named: Named | NamedPending) -> str:
        """Say whether the broker has what the book does not have, for an error."""
        if named.foreign:
            return " Nor does the last believed reading list it: sync, or give the broker's row."
        is_position = isinstance(named, Named)
        ticket, reading = named.ticket, self.last_reading
        row = reading.position(ticket, self._book) if is_position else reading.order(ticket)
        if row is None:
            return ""
        return " The broker lists it, and it is not the book's: foreign=True acts on it."

    def found_pending(self, named: NamedPending) -> PendingOrder | None:
        """Return the pending order that a caller names, in the book or, if allowed, elsewhere."""
        pending, part = self._book.pending.get(named.ticket), self._part
        if pending is not None:
            is_ours = named.foreign or part.has_pending(self._book, pending.order)
            row = pending.order if is_ours else None
        elif named.row is not None or not named.foreign:
            row = named.row
        else:
            row = self.last_reading.order(named.ticket)
        return row if row is not None and part.has_symbol(row.symbol) else None

    def pending(self, named: NamedPending, late: Sequence[Order]) -> PendingOrder:
        """Return the pending order that a caller names.

        Args:
            named: what the caller says.
            late: the orders whose outcome was recorded only as this call began.

        Raises:
            Refused: the book has it no more, which the caller could not know before this call.
            ValueError: neither the book nor, if allowed, the last believed reading has it.
        """
        row = self.found_pending(named)
        if row is None:
            raise self._missing(PENDING, named, tickets_listed(self._pending_tickets()), late)
        return row
