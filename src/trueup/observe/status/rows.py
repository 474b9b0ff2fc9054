"""The rows of a status that come from the book and the last believed reading."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping

from trueup.core.book.book import Book
from trueup.core.book.diff import Diff, diff
from trueup.core.book.events import AT_ONCE
from trueup.core.book.order import Order
from trueup.core.dates import iso
from trueup.core.model import OrderType, PendingOrder, Position, Snapshot
from trueup.core.policy import Policy
from trueup.observe.status.status import BookRow, FillRow, ForeignRow, Side, Verdict

FILLS = 3
LOOKED_AT = 200
# Differences first; equal rows last.
_RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}
_RANK[Verdict.AGREES] = len(_RANK)


class Books:
    """Both books, ticket by ticket.

    Args:
        book: our book.
        snapshot: the last believed reading, None if there is none.
        policy: which rows at the broker are ours; None for a book without a bot.
    """

    def __init__(self, book: Book, snapshot: Snapshot | None, policy: Policy | None) -> None:
        self._book = book
        self._snapshot = snapshot
        self._positions: Mapping[int, Position] = {}
        self._orders: Mapping[int, PendingOrder] = {}
        self._found = Diff()
        self._policy = policy
        if snapshot is None or policy is None:
            return
        self._positions = {row.identifier or row.ticket: row for row in snapshot.positions}
        orders = snapshot.evidence.orders if snapshot.evidence is not None else ()
        self._orders = {row.ticket: row for row in orders if row.type is not OrderType.OTHER}
        self._found = diff(book.holdings, snapshot, policy, book.pending)

    @property
    def order_tickets(self) -> frozenset[int]:
        """The tickets of pending orders on either side."""
        positions = {*self._book.holdings, *self._positions}
        return frozenset({*self._book.pending, *self._orders} - positions)

    def rows(self) -> list[BookRow]:
        """Return a row for each ticket of ours, differences first."""
        rows = [*self._of_positions(), *self._of_orders()]
        return sorted(rows, key=lambda row: (_RANK[row.verdict], row.ticket))

    def foreign(self) -> list[ForeignRow]:
        """Return the rows at the broker that are not ours."""
        known = {*self._book.holdings, *self._book.pending}
        rows: list[Position | PendingOrder] = [*self._positions.values(), *self._orders.values()]
        return [
            ForeignRow(ticket=row.ticket, symbol=row.symbol, row=side_of(row), magic=row.magic)
            for row in rows
            if self._policy is not None
            and self._policy.is_foreign(row)
            and row.ticket not in known
            and (isinstance(row, PendingOrder) or row.identifier not in known)
        ]

    def position(self, identifier: int) -> tuple[Position | None, Position | None]:
        """Return a position in the book and at the broker."""
        holding = self._book.holdings.get(identifier)
        return None if holding is None else holding.position, self._positions.get(identifier)

    def order(self, ticket: int) -> tuple[PendingOrder | None, PendingOrder | None]:
        """Return a pending order in the book and at the broker."""
        pending = self._book.pending.get(ticket)
        return None if pending is None else pending.order, self._orders.get(ticket)

    def _of_positions(self) -> Iterator[BookRow]:
        drifts = {drift.local.identifier: list(drift.fields) for drift in self._found.drifts}
        zombies = [zombie.remote for zombie in self._found.zombies]
        for identifier in dict.fromkeys(
            [*self._book.holdings, *(row.identifier or row.ticket for row in zombies)]
        ):
            ours, remote = self.position(identifier)
            shown = remote or ours
            assert shown is not None
            yield BookRow(
                ticket=shown.ticket,
                identifier=identifier,
                symbol=shown.symbol,
                ours=None if ours is None else side_of(ours),
                broker=None if remote is None else side_of(remote),
                verdict=self._verdict(identifier, ours, remote, is_different=identifier in drifts),
                fields=drifts.get(identifier, []),
                profit=None if remote is None else remote.profit,
                price=None if remote is None else remote.price_current or None,
                magic=shown.magic,
            )

    def _verdict(
        self,
        identifier: int,
        ours: Position | None,
        remote: Position | None,
        *,
        is_different: bool,
    ) -> Verdict:
        if self._snapshot is None:
            return Verdict.NOT_ASKED
        holding = self._book.holdings.get(identifier)
        if remote is None:
            # Opened here after the reading: the reading cannot have the position.
            is_newer = holding is not None and holding.mark is None
            return Verdict.UNSEEN if is_newer else Verdict.ONLY_BOOK
        if ours is None:
            is_closed = identifier in self._book.closed
            return Verdict.UNSEEN if is_closed else Verdict.ONLY_BROKER
        return Verdict.DIFFERS if is_different else Verdict.AGREES

    def _of_orders(self) -> Iterator[BookRow]:
        drifts = {drift.local.ticket: list(drift.fields) for drift in self._found.pending_drifts}
        zombies = [row.ticket for row in self._found.pending_zombies]
        lists_orders = self._snapshot is not None and self._snapshot.evidence is not None
        for ticket in dict.fromkeys([*self._book.pending, *zombies]):
            ours, remote = self.order(ticket)
            shown = remote or ours
            assert shown is not None
            verdict = Verdict.DIFFERS if ticket in drifts else Verdict.AGREES
            if ours is None:
                verdict = Verdict.ONLY_BROKER
            elif remote is None:
                verdict = Verdict.ONLY_BOOK if lists_orders else Verdict.NOT_ASKED
            yield BookRow(
                ticket=ticket,
                identifier=ticket,
                symbol=shown.symbol,
                pending=True,
                ours=None if ours is None else side_of(ours),
                broker=None if remote is None else side_of(remote),
                verdict=verdict,
                fields=drifts.get(ticket, []),
                magic=shown.magic,
            )


def side_of(row: Position | PendingOrder) -> Side:
    """Return a row of either book as plain values."""
    word = row.side.word if isinstance(row, Position) else row.type.value.replace("_", " ").upper()
    return Side(word, row.volume, row.price_open, row.sl, row.tp)


def fills(book: Book) -> list[FillRow]:
    """Return the last executed orders, the newest first."""
    # The oldest orders come first, and a book may have very many of them.
    newest = itertools.islice(reversed(book.orders.values()), LOOKED_AT)
    done = (order for order in newest if _is_fill(order))
    last = heapq.nlargest(FILLS, done, key=lambda order: order.fill_ns or 0)
    return [
        FillRow(
            at=iso(order.fill_ns or 0),
            order_id=order.order_id,
            action=order.action,
            symbol=order.symbol,
            lots=order.filled_volume or order.volume,
            price=order.fill_price,
            ticket=order.ticket,
        )
        for order in last
    ]


def _is_fill(order: Order) -> bool:
    return order.fill_ns is not None and order.kind in AT_ONCE and not order.is_stand_in
