"""Count the lots and positions of an account: what is open, pending, under way or in doubt.

The rows are those of the latest believed reading, with other programs' positions in it. What the
book knows better, because an order of ours was executed after the reading, replaces the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import PendingOrder, Position, Side
from trueup.core.quantity import to_units

OPENING = frozenset({OrderKind.MARKET, OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT})
UNDER_WAY = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.IN_DOUBT})


class Seen(msgspec.Struct, frozen=True):
    """The rows of the latest believed reading, and the book's version when it was requested.

    `unread` says which row could not be read, empty if the reading is whole.
    """

    positions: Sequence[Position] = ()
    orders: Sequence[PendingOrder] = ()
    version: int = 0
    unread: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A request that may open a position: `volume` lots; `is_pending` for a pending order."""

    symbol: str
    side: Side
    volume: float
    is_pending: bool = False


class Exposure(msgspec.Struct):
    """The lots and positions of an account.

    `units` has the lots of each symbol, both sides added, and `net` bought less sold lots of the
    open positions, both in 1e-8 lots. `slots` counts open positions, pending orders and orders
    under way; on a netting account a symbol counts once.
    """

    units: dict[str, int]
    net: dict[str, int]
    slots: int
    symbols: frozenset[str]
    is_netting: bool

    @property
    def all_units(self) -> int:
        """The lots of the account (1e-8)."""
        return sum(self.units.values())

    def after(self, entry: Entry) -> Exposure:
        """Return the exposure if an entry is executed or placed."""
        opened = self.opened_by(entry)
        closed = to_units(entry.volume) - opened
        units = {**self.units, entry.symbol: self.units.get(entry.symbol, 0) + opened - closed}
        is_new = not self.is_netting or entry.symbol not in self.symbols
        return Exposure(
            units, self.net, self.slots + is_new, self.symbols | {entry.symbol}, self.is_netting
        )

    def opened_by(self, entry: Entry) -> int:
        """Return how many lots (1e-8) of an order open; the others close.

        On a netting account a market order first closes the opposite position. A pending order
        may be executed after that position is gone, so all of its lots count.
        """
        wanted = to_units(entry.volume)
        if not self.is_netting or entry.is_pending:
            return wanted
        against = -self.net.get(entry.symbol, 0) * entry.side.sign
        return max(0, wanted - max(0, against))


def exposure(book: Book, seen: Seen) -> Exposure:
    """Return the exposure of the account of a book."""
    units: dict[str, int] = {}
    net: dict[str, int] = {}
    symbols: list[str] = []
    slots = 0
    for row in _positions(book, seen):
        units[row.symbol] = units.get(row.symbol, 0) + to_units(row.volume)
        net[row.symbol] = net.get(row.symbol, 0) + to_units(row.net_volume)
        symbols.append(row.symbol)
        slots += 1
    for symbol, volume in (*_pending(book, seen), *_under_way(book)):
        units[symbol] = units.get(symbol, 0) + to_units(volume)
        symbols.append(symbol)
        slots += 1
    # Orders under way may reduce the position too, and a second reduction would open the other
    # side: only lots that no such order can take are closed by a new one.
    for order in opening_orders(book):
        if order.kind is OrderKind.MARKET and net.get(order.symbol, 0) * order.side.sign < 0:
            left = abs(net[order.symbol]) - to_units(order.volume)
            net[order.symbol] = -order.side.sign * max(0, left)
    is_netting = book.shares_positions
    return Exposure(
        units,
        net,
        len(set(symbols)) if is_netting else slots,
        frozenset(symbols),
        is_netting,
    )


def opening_orders(book: Book) -> list[Order]:
    """Return the orders that may open a position and whose outcome is not known yet."""
    return [
        order
        for order in list(book.orders.values())
        if order.status in UNDER_WAY and order.kind in OPENING and not order.position
    ]


def _positions(book: Book, seen: Seen) -> Iterator[Position]:
    held = {h.position.identifier: h for h in list(book.holdings.values())}
    listed = {row.identifier or row.ticket: row for row in seen.positions}
    own_symbols = {holding.position.symbol for holding in held.values()}
    in_symbol = {row.symbol: row for row in seen.positions if book.shares_positions}
    for identifier, holding in held.items():
        row = listed.get(identifier) or in_symbol.get(holding.position.symbol)
        # A correction that waits for approval has left the book as it was: the greater counts.
        if row is not None and holding.version <= seen.version:
            yield max(row, holding.position, key=lambda one: one.volume)
        else:
            yield holding.position
    for identifier, row in listed.items():
        tombstone = book.closed.get(identifier)
        is_gone = tombstone is not None and tombstone.version > seen.version
        # A reversal gives the symbol's one position another identifier.
        is_replaced = book.shares_positions and row.symbol in own_symbols
        if identifier not in held and not is_gone and not is_replaced:
            yield row


def _pending(book: Book, seen: Seen) -> Iterator[tuple[str, float]]:
    own = {ticket: pending.order for ticket, pending in list(book.pending.items())}
    for row in own.values():
        yield row.symbol, row.volume
    for row in seen.orders:
        # `ending` has the orders that we cancelled and that the next reading will not show.
        if row.ticket not in own and row.ticket not in book.ending:
            yield row.symbol, row.volume


def _under_way(book: Book) -> Iterator[tuple[str, float]]:
    for order in opening_orders(book):
        yield order.symbol, order.volume
