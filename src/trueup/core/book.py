"""The book: what we believe we hold, as the fold of the journal's events.

It is one class, and longer than most modules here, because it is one fold.

`Book.apply` is the only thing that changes a book. Positions are keyed by identifier; marks
(current price, profit, swap) are the broker's latest quotation of a position and no part of the
fold, so they are set beside it and left out of `Book.state`.

How a fill changes positions follows MetaTrader 5 (MQL5 reference, "Netting and hedging"): a fill
that names the position it closes reduces that one; without a name, an account of unknown or
netting mode lets it reduce the opposite side, oldest position first, and open the rest. Reducing
keeps the open price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from trueup.core import events
from trueup.core.holding import Holding, Pending, Tombstone
from trueup.core.lifecycle import OrderStatus, advance
from trueup.core.model import MarginMode, Position
from trueup.core.order import PENDING_TYPES, Order, created_order, pending_of, recovery_order
from trueup.core.quantity import FINEST_STEP, add_lots, from_units, to_units
from trueup.core.trust import Bound
from trueup.errors import JournalCorrupt

__all__ = ["Book", "Holding", "Order", "Pending", "Tombstone"]


class _State(msgspec.Struct, frozen=True):
    """A book as it is saved."""

    version: int
    account: events.AccountBound | None
    holdings: list[Holding]
    orders: list[Order]
    by_ticket: list[tuple[int, str]]
    finished: list[str]
    pending: list[Pending]
    closed: list[tuple[int, Tombstone]]
    claims: list[tuple[str, int, int]]
    missing: list[tuple[int, int]]
    halts: list[events.HaltRaised]
    unexplained: list[Position]
    realised_closed_units: int


_decode_state = msgspec.json.Decoder(_State).decode

# Orders that are over and done with; the journal has all of them.
FINISHED_KEPT = 10_000
# What a deal changes about a position, and nothing else does.
MADE_BY_DEALS = frozenset({"ticket", "side", "volume", "price_open"})

# Only a close that is younger than a reading under way matters, and a reading takes seconds.
CLOSED_KEPT = 10_000


class Book:
    """Positions by identifier and orders by id; `version` counts the events applied.

    `closed` keeps a tombstone of the positions that left last: a snapshot asked for before that
    may still show the position, and is not to bring it back. `claims` are the lots, in units of
    1e-8, that fills brought to each symbol and magic number: on a netting account several
    strategies share one position. `missing` says since when (ns) a position is not in the broker's
    list without a proof that it closed. `halts` are contradictions that stop entries, by position.
    `unexplained` are positions, open or closed, whose volume changed and whose deals are still to
    come.
    """

    def __init__(self) -> None:
        self.version = 0
        self.holdings: dict[int, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.orders_by_ticket: dict[int, Order] = {}
        self.in_doubt: dict[str, Order] = {}
        self.by_key: dict[str, Order] = {}
        self._finished: dict[str, None] = {}
        self.closed: dict[int, Tombstone] = {}
        self.pending: dict[int, Pending] = {}
        self.account: events.AccountBound | None = None
        self.claims: dict[tuple[str, int], int] = {}
        self.halts: dict[int, events.HaltRaised] = {}
        self.missing: dict[int, int] = {}
        self.unexplained: dict[int, Position] = {}
        self._realised_closed_units = 0

    def apply(self, event: events.Event) -> None:
        """Take one event into the book.

        Raises:
            IllegalTransition: the event does not fit the state of the order it speaks of.
        """
        self.version += 1
        _APPLY[type(event)](self, event)

    def replay(self, history: Iterable[events.Event]) -> Book:
        """Apply every event of a journal, oldest first, and return the book."""
        for event in history:
            self.apply(event)
        return self

    @property
    def bound(self) -> Bound | None:
        """The account this book belongs to, or None before the first proven snapshot."""
        return Bound(self.account.login, self.account.server) if self.account else None

    @property
    def nets(self) -> bool:
        """Whether a fill may reduce the opposite side without naming the position it closes."""
        return self.account is None or self.account.margin_mode is not MarginMode.HEDGING

    @property
    def realised(self) -> float:
        """The realised result of all deals recorded, in the account's currency."""
        open_units = sum(holding.realised_units for holding in self.holdings.values())
        return from_units(self._realised_closed_units + open_units)

    def holdings_in(self, symbol: str) -> Iterator[Holding]:
        """Yield the holdings of a symbol, oldest first."""
        return (h for h in self.holdings.values() if h.position.symbol == symbol)

    def touched_ns(self, identifier: int) -> int:
        """Return when we last did something to a position ourselves (ns), 0 for never."""
        kept = self.holdings.get(identifier) or self.closed.get(identifier)
        return kept.touched_ns if kept is not None else 0

    def strategy_of(self, holding: Holding) -> int:
        """Return the strategy's number of a position, where its magic number carries a token."""
        magic = holding.position.magic
        opened_by = self.orders.get(holding.order_ids[0]) if holding.order_ids else None
        is_ours = opened_by is not None and opened_by.wire_magic == magic
        return opened_by.magic if opened_by is not None and is_ours else magic

    def holding_by_ticket(self, ticket: int) -> Holding | None:
        """Return the holding that has this ticket now, or None."""
        holding = self.holdings.get(ticket)
        if holding is not None and holding.position.ticket == ticket:
            return holding
        return next((h for h in self.holdings.values() if h.position.ticket == ticket), None)

    def state(self) -> bytes:
        """Return the whole fold as bytes: equal books give equal bytes, marks left out."""
        return msgspec.json.encode(
            _State(
                version=self.version,
                account=self.account,
                holdings=[_without_mark(holding) for holding in self.holdings.values()],
                orders=list(self.orders.values()),
                by_ticket=[(ticket, o.order_id) for ticket, o in self.orders_by_ticket.items()],
                finished=list(self._finished),
                pending=list(self.pending.values()),
                closed=list(self.closed.items()),
                claims=[(symbol, magic, lots) for (symbol, magic), lots in self.claims.items()],
                missing=list(self.missing.items()),
                halts=list(self.halts.values()),
                unexplained=list(self.unexplained.values()),
                realised_closed_units=self._realised_closed_units,
            )
        )

    @classmethod
    def restore(cls, state: bytes) -> Book:
        """Return the book that `state` came from.

        Raises:
            JournalCorrupt: the bytes are no book's.
        """
        try:
            saved = _decode_state(state)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalCorrupt(f"the saved book cannot be read: {error}") from error
        book = cls()
        book.version, book.account = saved.version, saved.account
        book.holdings = {h.position.identifier: h for h in saved.holdings}
        book.orders = {order.order_id: order for order in saved.orders}
        book.orders_by_ticket = {ticket: book.orders[name] for ticket, name in saved.by_ticket}
        book.in_doubt = {o.order_id: o for o in saved.orders if o.status is OrderStatus.IN_DOUBT}
        book.by_key = {order.key: order for order in saved.orders if order.key}
        book._finished = dict.fromkeys(saved.finished)
        book.pending = {pending.order.ticket: pending for pending in saved.pending}
        book.closed = dict(saved.closed)
        book.claims = {(symbol, magic): lots for symbol, magic, lots in saved.claims}
        book.missing = dict(saved.missing)
        book.halts = {halt.identifier: halt for halt in saved.halts}
        book.unexplained = {p.identifier: p for p in saved.unexplained}
        book._realised_closed_units = saved.realised_closed_units
        return book

    # One method an event, called through _APPLY.

    def _order_created(self, event: events.OrderCreated) -> None:
        self.orders[event.order_id] = created_order(event)
        if event.key:
            self.by_key[event.key] = self.orders[event.order_id]

    def _send_started(self, event: events.SendStarted) -> None:
        self._advance(event).version = self.version

    def _order_filled(self, event: events.OrderFilled) -> None:
        order = self._advance(event)
        self._record_fill(order, event.ticket, event.volume, event.price, event.at_ns)
        holding = self.holdings.get(event.ticket)
        if holding is not None and holding.position.side is event.side:
            # A sync saw this position before the answer came: its volume is in the book already.
            self._link(holding, order)
            return
        self._claim(order, event.volume)
        if self.account is not None and self.nets:
            self._net(event, order)
        else:
            left = self._reduce(order, event)
            if left > 0:
                self._open(event, order, left)
        self._finish_unless_held(order)

    def _order_ended(self, event: events.OrderRejected | events.OrderInDoubt) -> None:
        order = self._advance(event)
        order.error = event.error
        if order.status is OrderStatus.IN_DOUBT:
            order.doubt_ns, order.version = event.at_ns, self.version
            self.in_doubt[order.order_id] = order
        else:
            self._finish(order.order_id)

    def _order_canceled(self, event: events.OrderCanceled) -> None:
        self._advance(event).error = event.because
        self._finish(event.order_id)

    def _order_settled(self, event: events.OrderSettled) -> None:
        order = self._advance(event)
        self._record_fill(order, event.ticket, event.volume, event.price, event.at_ns)
        self._claim(order, event.volume)
        order.error = None
        holding = self.holdings.get(event.ticket)
        if holding is not None and not order.position:
            self._link(holding, order)
        self._finish_unless_held(order)

    def _order_applied(self, event: events.OrderApplied) -> None:
        order = self._advance(event)
        order.fill_ns, order.error = event.at_ns, None
        holding = self.holdings.get(order.position)
        if order.kind is events.OrderKind.MODIFY and holding is not None:
            holding.position = msgspec.structs.replace(holding.position, sl=order.sl, tp=order.tp)
            holding.version, holding.touched_ns = self.version, event.at_ns
        elif order.kind is events.OrderKind.CANCEL:
            self.pending.pop(order.target, None)
        elif order.kind in PENDING_TYPES and event.ticket:
            order.ticket = event.ticket
            self._own(event.ticket, order)
            self.pending[event.ticket] = Pending(pending_of(order, event.ticket), self.version)
        self._finish(order.order_id)

    def _position_adopted(self, event: events.PositionAdopted) -> None:
        position = event.position
        order = self.orders_by_ticket.get(position.ticket)
        if order is None:
            order = recovery_order(position, event.at_ns)
            self.orders[order.order_id] = self.orders_by_ticket[position.ticket] = order
        grave = self.closed.pop(position.identifier, None)
        realised_units = grave.realised_units if grave else 0
        self._realised_closed_units -= realised_units
        self.holdings[position.identifier] = Holding(
            position,
            self.version,
            [order.order_id],
            realised_units=realised_units,
            mark=position,
        )

    def _position_missing(self, event: events.PositionMissing) -> None:
        self.missing[event.position.identifier] = event.at_ns

    def _position_found(self, event: events.PositionFound) -> None:
        self.missing.pop(event.position.identifier, None)

    def _position_closed(self, event: events.PositionClosed) -> None:
        holding = self.holdings.get(event.position.identifier)
        if holding is not None:
            if event.ended is not None:
                holding.realised_units = event.realised_units
            if not event.unproven:
                self.unexplained.pop(event.position.identifier, None)
            holding.touched_ns = 0
            self._remove(holding)

    def _position_corrected(self, event: events.PositionCorrected) -> None:
        holding = self.holdings[event.remote.identifier]
        if MADE_BY_DEALS & set(event.fields):
            self._await_deals(event.remote)
        holding.position = holding.mark = event.remote
        holding.version = self.version

    def _deals_recorded(self, event: events.DealsRecorded) -> None:
        identifier = event.position.identifier
        if event.is_complete:
            self.unexplained.pop(identifier, None)
        holding = self.holdings.get(identifier)
        if holding is not None:
            holding.deals, holding.realised_units = event.deals, event.realised_units
            return
        grave = self.closed.get(identifier, Tombstone(self.version, 0, 0))
        self._realised_closed_units += event.realised_units - grave.realised_units
        self.closed[identifier] = msgspec.structs.replace(
            grave, realised_units=event.realised_units
        )

    def _pending_adopted(self, event: events.PendingAdopted) -> None:
        self.pending[event.order.ticket] = Pending(event.order, self.version)

    def _pending_closed(self, event: events.PendingClosed) -> None:
        self.pending.pop(event.order.ticket, None)

    def _pending_corrected(self, event: events.PendingCorrected) -> None:
        self.pending[event.remote.ticket] = Pending(event.remote, self.version)

    def _halt_raised(self, event: events.HaltRaised) -> None:
        self.halts[event.identifier] = event

    def _account_bound(self, event: events.AccountBound) -> None:
        if self.bound not in (None, Bound(event.login, event.server)):
            # Identifiers are an account's own: what is left of the other's has no meaning here.
            self.closed.clear()
            self.unexplained.clear()
        self.account = event

    def _advance(self, event: events.OrderEvent) -> Order:
        order = self.orders[event.order_id]
        order.status = advance(order.status, type(event))
        self.in_doubt.pop(order.order_id, None)
        return order

    def _record_fill(
        self, order: Order, ticket: int, volume: float, price: float | None, at_ns: int
    ) -> None:
        order.ticket, order.filled_volume, order.fill_price = ticket, volume, price
        order.fill_ns = at_ns
        self._own(ticket, order)

    def _own(self, ticket: int, order: Order) -> None:
        """Note whose ticket it is; some gateways answer a close with its position's."""
        known = self.orders_by_ticket.get(ticket)
        if known is None or (known.is_stand_in and not order.position):
            self.orders_by_ticket[ticket] = order

    def _link(self, holding: Holding, order: Order) -> None:
        if order.order_id not in holding.order_ids:
            holding.order_ids.append(order.order_id)

    def _claim(self, order: Order, volume: float) -> None:
        key = (order.symbol, order.magic)
        self.claims[key] = self.claims.get(key, 0) + order.side.sign * to_units(volume)

    def _reduce(self, order: Order, event: events.OrderFilled) -> float:
        """Reduce what the fill closes; return the lots left to open."""
        left = event.volume
        for holding in self._reducible(order, event):
            taken = min(left, holding.position.volume)
            self._shrink(holding, taken, order)
            left = add_lots(left, -taken)
            if left < FINEST_STEP:
                return 0.0
        return left

    def _reducible(self, order: Order, event: events.OrderFilled) -> list[Holding]:
        named = self.holdings.get(order.position) or self.holdings.get(event.ticket)
        if named is not None:
            return [named]
        if not self.nets:
            return []
        return [
            holding
            for holding in self.holdings.values()
            if holding.position.symbol == event.symbol and holding.position.side is not event.side
        ]

    def _shrink(self, holding: Holding, volume: float, order: Order) -> None:
        left = add_lots(holding.position.volume, -volume)
        holding.touched_ns = order.fill_ns or 0
        self._await_deals(holding.position)
        if left < FINEST_STEP:
            self._remove(holding)
            return
        holding.position = msgspec.structs.replace(holding.position, volume=left)
        holding.version = self.version
        self._link(holding, order)

    def _finish_unless_held(self, order: Order) -> None:
        holding = self.holdings.get(order.ticket or 0) or self.holdings.get(order.position)
        if holding is None or order.order_id not in holding.order_ids:
            self._finish(order.order_id)

    def _finish(self, order_id: str) -> None:
        """Count an order as over; the oldest of those are forgotten, so that memory is bounded."""
        self._finished[order_id] = None
        if len(self._finished) <= FINISHED_KEPT:
            return
        oldest = next(iter(self._finished))
        del self._finished[oldest]
        gone = self.orders.pop(oldest, None)
        if gone is None:
            return
        self.by_key.pop(gone.key, None)
        if gone.ticket is not None and self.orders_by_ticket.get(gone.ticket) is gone:
            del self.orders_by_ticket[gone.ticket]

    def _await_deals(self, position: Position) -> None:
        # The guide's wire has no deals to wait for; an account is bound only where there are some.
        if self.account is not None:
            self.unexplained[position.identifier] = position

    def _remove(self, holding: Holding) -> None:
        identifier, symbol = holding.position.identifier, holding.position.symbol
        del self.holdings[identifier]
        for order_id in holding.order_ids:
            self._finish(order_id)
        self.missing.pop(identifier, None)
        self.halts.pop(identifier, None)
        self._realised_closed_units += holding.realised_units
        self.closed.pop(identifier, None)
        self.closed[identifier] = Tombstone(
            self.version, holding.touched_ns, holding.realised_units
        )
        if len(self.closed) > CLOSED_KEPT:
            del self.closed[next(iter(self.closed))]
        if not any(other.position.symbol == symbol for other in self.holdings.values()):
            self.claims = {key: lots for key, lots in self.claims.items() if key[0] != symbol}

    def _net(self, event: events.OrderFilled, order: Order) -> None:
        """Take a fill into the account's one position of the symbol, as a netting account does."""
        holding = next(
            (h for h in self.holdings.values() if h.position.symbol == event.symbol), None
        )
        if holding is None:
            self._open(event, order, event.volume)
        elif holding.position.side is event.side:
            self._grow(holding, event, order, event.volume)
        elif add_lots(event.volume, -holding.position.volume) <= 0:
            self._shrink(holding, event.volume, order)
        else:
            self._reverse(holding, event, order)

    def _reverse(self, holding: Holding, event: events.OrderFilled, order: Order) -> None:
        """Turn a position around: the identifier stays, the ticket is the reversing order's."""
        holding.position = msgspec.structs.replace(
            holding.position,
            side=event.side,
            ticket=event.ticket,
            volume=add_lots(event.volume, -holding.position.volume),
            price_open=event.price,
        )
        holding.version, holding.touched_ns = self.version, event.at_ns
        self._await_deals(holding.position)
        self._link(holding, order)

    def _grow(
        self, holding: Holding, event: events.OrderFilled, order: Order, volume: float
    ) -> None:
        local = holding.position
        total = add_lots(local.volume, volume)
        price = (local.price_open * local.volume + event.price * volume) / total
        holding.position = msgspec.structs.replace(local, volume=total, price_open=price)
        holding.version, holding.touched_ns = self.version, event.at_ns
        self._link(holding, order)

    def _open(self, event: events.OrderFilled, order: Order, volume: float) -> None:
        position = Position(
            ticket=event.ticket,
            identifier=event.ticket,
            symbol=event.symbol,
            side=event.side,
            volume=volume,
            price_open=event.price,
            price_current=event.price,
            magic=order.wire_magic,
            sl=order.sl,
            tp=order.tp,
        )
        self.holdings[event.ticket] = Holding(
            position, self.version, [order.order_id], touched_ns=event.at_ns
        )


def _without_mark(holding: Holding) -> Holding:
    return msgspec.structs.replace(holding, mark=None)


_APPLY: dict[type[events.Event], Callable[[Book, Any], None]] = {
    events.OrderCreated: Book._order_created,
    events.SendStarted: Book._send_started,
    events.OrderFilled: Book._order_filled,
    events.OrderApplied: Book._order_applied,
    events.OrderRejected: Book._order_ended,
    events.OrderInDoubt: Book._order_ended,
    events.OrderCanceled: Book._order_canceled,
    events.OrderSettled: Book._order_settled,
    events.PositionAdopted: Book._position_adopted,
    events.PositionClosed: Book._position_closed,
    events.PositionMissing: Book._position_missing,
    events.PositionFound: Book._position_found,
    events.PositionCorrected: Book._position_corrected,
    events.DealsRecorded: Book._deals_recorded,
    events.PendingAdopted: Book._pending_adopted,
    events.PendingClosed: Book._pending_closed,
    events.PendingCorrected: Book._pending_corrected,
    events.HaltRaised: Book._halt_raised,
    events.AccountBound: Book._account_bound,
}
