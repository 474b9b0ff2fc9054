"""Fold a journal, and write the rows of its tables as they come about.

The book itself is the fold, so the tables cannot differ from it: the money of a trade is what its
events changed in the book's realised result, whatever came late, was amended or was cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.holdings import Owner
from trueup.core.book.realised import known_deals
from trueup.core.book.state import BookState
from trueup.core.quantity import from_units
from trueup.journal import Record
from trueup.runtime.data.rows import CARRIED, CLOSED, UNPROVEN, Trade, Values, deal_values
from trueup.runtime.data.rows import order_values as values_of

# Events between two writes of changed rows: few enough that the book still has all their orders.
BATCH = 1_000
CHANGES_POSITIONS = (events.OrderFilled, events.OrderApplied, events.OrderSettled)
Moving = (
    events.PositionAdopted
    | events.PositionMissing
    | events.PositionFound
    | events.PositionClosed
    | events.DealsRecorded
)


class Binding(NamedTuple):
    """An account to which the book is bound, and the number of this binding, from 1."""

    account: str = ""
    number: int = 1


class Sink(Protocol):
    """Takes the rows of one stream."""

    def put(self, table: str, bound: Binding, rows: Iterable[Values]) -> None:
        """Write rows; a row with the same key is replaced."""

    def drop_deals(self, bound: Binding, position: int) -> None:
        """Delete the deals of a position."""

    def trade(self, bound: Binding, position: int) -> Trade | None:
        """Return a trade that was written before."""

    def name_account(self, account: str) -> None:
        """Give rows of no account to the account to which the book was bound first."""


class Collector:
    """Makes the tables of one stream.

    Args:
        sink: takes the rows.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.book: Book = Book()
        self.bound: Binding = Binding()
        self.position: int = 0
        self.last_ns: int | None = None
        self._trades: dict[int, Trade] = {}
        self._changed: set[int] = set()
        self._orders: set[str] = set()
        self._carried: dict[Owner, int] = {}

    def take_all(self, records: Iterable[Record]) -> None:
        """Fold all records, and write every row."""
        for count, record in enumerate(records, start=1):
            self.take(record.event)
            self.position, self.last_ns = record.position, record.at_ns
            if count % BATCH == 0:
                self.write()
        self.write()

    def take(self, event: events.Event) -> None:
        """Apply an event, and note the rows that it changes."""
        book = self.book
        match event:
            case events.AccountBound():
                self._bind(event)
            case events.StreamTakenOver():
                known = {*book.holdings, *book.closed}
                self.write()
                book.apply(event)
                if book.bound is not None and not self.bound.account:
                    self._name(book.bound.name)
                self._take_state(Book.restore(event.book.encode()), known, event.at_ns)
            case (
                events.PositionAdopted(position=row)
                | events.PositionMissing(position=row)
                | events.PositionFound(position=row)
                | events.PositionClosed(position=row)
                | events.DealsRecorded(position=row)
            ):
                before = book.realised_units
                book.apply(event)
                self._move(event, row.identifier, book.realised_units - before)
            case events.PositionCorrected(remote=row):
                book.apply(event)
                self._note(row.identifier, event.at_ns)
            case events.OrderEvent():
                self._step(event)
            case _:
                book.apply(event)

    def take_book(self, book: Book) -> None:
        """Take the state of a book that has no journal: what it still knows."""
        self.book = book
        self.bound = Binding(book.bound.name if book.bound is not None else "")
        self._take_state(book, set(), None)

    def write(self) -> None:
        """Write all rows that have changed."""
        book, sink, bound = self.book, self._sink, self.bound
        found = (book.orders.get(order_id) for order_id in self._orders)
        sink.put("orders", bound, [values_of(order) for order in found if order is not None])
        for identifier in self._changed:
            trade = self._trades[identifier]
            owner: Values = {"symbol": trade.symbol, "magic": trade.magic}
            known = known_deals(book, identifier)
            sink.drop_deals(bound, identifier)
            sink.put("deals", bound, deal_values(identifier, owner, known))
        currency = {"currency": self.currency}
        trades = [{**self._trades[key].values(), **currency} for key in self._changed]
        sink.put("trades", bound, [*trades, *self._carried_rows()])
        self._orders.clear()
        self._changed.clear()
        # What the book has forgotten is read from the sink if it ever changes again.
        kept = book.holdings.keys() | book.closed.keys()
        self._trades = {key: trade for key, trade in self._trades.items() if key in kept}

    @property
    def currency(self) -> str | None:
        """The account's currency, None while the book is bound to no account."""
        return self.book.account.currency if self.book.account is not None else None

    def _bind(self, event: events.AccountBound) -> None:
        account = f"{event.login}@{event.server}"
        # Rows so far belong to the account before; identifiers have no meaning in another.
        is_other = self.bound.account not in ("", account)
        self.write()
        if not self.bound.account:
            self._name(account)
        self.book.apply(event)
        if is_other:
            # Of an account to which it was bound before, too: its money begins anew.
            self.bound = Binding(account, self.bound.number + 1)
            self._trades.clear()
            self._carried.clear()
            # A sync lets all positions go before this event. What stays goes on with its money.
            for identifier, holding in self.book.holdings.items():
                self._note(identifier, event.at_ns)
                self._trades[identifier].realised_units = holding.realised_units

    def _name(self, account: str) -> None:
        """Give the rows that were made before the book was bound to the account."""
        self._sink.name_account(account)
        self.bound = self.bound._replace(account=account)

    def _step(self, event: events.OrderEvent) -> None:
        """Apply a step of an order, which may open, change and close positions."""
        book = self.book
        order = book.orders.get(event.order_id)
        symbol = order.symbol if order is not None else ""
        near = {holding.position.identifier for holding in book.holdings_in(symbol)}
        book.apply(event)
        self._orders.add(event.order_id)
        if not isinstance(event, CHANGES_POSITIONS):
            return
        near |= {holding.position.identifier for holding in book.holdings_in(symbol)}
        for identifier in near:
            self._note(identifier, event.at_ns)

    def _move(self, event: Moving, identifier: int, units: int) -> None:
        """Note what an event about a position changed, and the money that it brought."""
        trade = self._note(identifier, event.at_ns)
        if trade is None:
            # Deals of a position that was never in the book, or a close of one that had left.
            if not units and identifier not in self.book.closed:
                return
            trade = self._trade(identifier, event.at_ns)
            trade.symbol, trade.magic = event.position.symbol, event.position.magic
            trade.status, trade.side = CLOSED, event.position.side.action
        trade.realised_units += units
        if isinstance(event, events.PositionClosed):
            trade.status = UNPROVEN if event.unproven else CLOSED
            trade.closed = trade.closed or event.at_ns
            trade.reason = event.because
            trade.price_close = event.ended.price if event.ended is not None else trade.price_close
        elif isinstance(event, events.DealsRecorded):
            trade.reason = event.because
            if trade.status == UNPROVEN and self.book.closed.get(identifier) is not None:
                trade.status = CLOSED

    def _note(self, identifier: int, at_ns: int | None) -> Trade | None:
        """Bring the row of a position up to date; None if the book does not know the position."""
        book = self.book
        holding, gone = book.holdings.get(identifier), book.closed.get(identifier)
        if holding is None and gone is None:
            return None
        trade = self._trade(identifier, at_ns)
        if holding is not None:
            trade.take_holding(book, holding)
        elif gone is not None:
            trade.take_tombstone(gone)
            trade.closed = trade.closed or at_ns
        return trade

    def _trade(self, identifier: int, at_ns: int | None) -> Trade:
        self._changed.add(identifier)
        trade = self._trades.get(identifier) or self._sink.trade(self.bound, identifier)
        if trade is None:
            trade = Trade(identifier, opened=at_ns)
        self._trades[identifier] = trade
        return trade

    def _take_state(self, other: BookState, known: set[int], at_ns: int | None) -> None:
        """Take the positions, orders and money of a book that is not known event by event.

        Args:
            other: that book.
            known: the identifiers of positions whose money has come already.
            at_ns: when the book came, None if not known.
        """
        self._orders |= {key for key, order in other.orders.items() if not order.is_stand_in}
        money = {key: gone.realised_units for key, gone in other.closed.items()}
        money |= {key: holding.realised_units for key, holding in other.holdings.items()}
        for identifier in money.keys() - known:
            self._note(identifier, at_ns)
            # Added, because the book may have forgotten a position that the tables have.
            self._trades[identifier].realised_units += money[identifier]
        # Of the others only their sum is known.
        carried = dict(other.realised_by)
        for gone in other.closed.values():
            carried[gone.owner] = carried.get(gone.owner, 0) - gone.realised_units
        for owner, units in carried.items():
            self._carried[owner] = self._carried.get(owner, 0) + units
        # At once: the book forgets its oldest orders with the next one that ends.
        self.write()

    def _carried_rows(self) -> Iterable[Values]:
        for number, ((symbol, magic), units) in enumerate(self._carried.items()):
            if units:
                yield {
                    # A key of its own, which no position has; owners are only ever added.
                    "position": -number,
                    "symbol": symbol,
                    "magic": magic,
                    "status": CARRIED,
                    "deals": 0,
                    "currency": self.currency,
                    "realised_units": units,
                    "realised": from_units(units),
                }
