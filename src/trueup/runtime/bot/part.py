"""A part of a book: the positions and orders of one symbol, perhaps of one magic number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trueup.core.book.book import Book, Holding, Order
from trueup.core.book.keys import with_key
from trueup.core.model import PendingOrder
from trueup.core.quantity import from_units
from trueup.core.scope import EVERY_SYMBOL


class Part(NamedTuple):
    """A symbol and a magic number; None for every magic number.

    On a netting account all strategies share the position of a symbol, so a position belongs to the
    part of each magic number. Orders always have a magic number of their own.
    """

    symbol: str = EVERY_SYMBOL
    magic: int | None = None

    def __str__(self) -> str:
        return self.symbol if self.magic is None else f"{self.symbol}, magic {self.magic}"

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole book."""
        return self.symbol == EVERY_SYMBOL and self.magic is None

    def has_order(self, order: Order) -> bool:
        """Return whether an order belongs to this part."""
        return self.has_symbol(order.symbol) and self.magic in (None, order.magic)

    def has_holding(self, book: Book, holding: Holding) -> bool:
        """Return whether a position of the book belongs to this part."""
        if not self.has_symbol(holding.position.symbol):
            return False
        is_shared = self.magic is None or book.shares_positions
        return is_shared or book.strategy_of(holding) == self.magic

    def has_pending(self, book: Book, row: PendingOrder) -> bool:
        """Return whether a pending order of the book belongs to this part."""
        if not self.has_symbol(row.symbol):
            return False
        return self.magic is None or book.strategy_of_pending(row) == self.magic

    def holdings(self, book: Book) -> list[Holding]:
        """Return the positions of this part, oldest first."""
        return [one for one in book.holdings.values() if self.has_holding(book, one)]

    def orders(self, book: Book) -> Iterator[Order]:
        """Yield the orders of this part, oldest first."""
        return (order for order in list(book.orders.values()) if self.has_order(order))

    def magic_of(self, magic: int) -> int:
        """Return the magic number of an order about a row: that of the portfolio that sends it.

        By this number the portfolio finds the order again, such as by its key.
        """
        return magic if self.magic is None else self.magic

    def with_key(self, book: Book, key: str) -> list[Order]:
        """Return the orders of this part with a key, newest first."""
        return [order for order in with_key(book, key) if self.has_order(order)]

    def realised(self, book: Book) -> float:
        """Return the realised result of this part, in the account's currency."""
        if self.is_whole:
            return book.realised
        units = sum(holding.realised_units for holding in self.holdings(book))
        for (symbol, magic), closed in list(book.realised_by.items()):
            is_shared = self.magic is None or book.shares_positions
            units += closed if self.has_symbol(symbol) and (is_shared or magic == self.magic) else 0
        return from_units(units)

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this part is of a symbol."""
        return EVERY_SYMBOL in (self.symbol, symbol) or symbol == self.symbol


WHOLE = Part()
