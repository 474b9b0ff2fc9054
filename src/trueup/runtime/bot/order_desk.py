"""The order desk: each order is in the journal before it leaves, and leaves at most once.

    intent journalled and synced -> send journalled -> sent -> outcome journalled

The process may die between any two of these steps; the recovery table (`core.recovery`) says what
each moment means after the restart. A caller's key makes an order idempotent: the same key with the
same wish returns the first intent, also after a restart; with another wish it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Holding
from trueup.core.book.terms import PLAIN_TERMS, Terms
from trueup.core.gateway_record import RecordMark
from trueup.core.model import Side, SymbolSpec
from trueup.core.policy import Policy
from trueup.core.quantity import add_lots, format_lots
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.tokens import magic_with_token, token_of
from trueup.errors import JournalError, NotSent, Refused
from trueup.journal import JournalAhead
from trueup.runtime.bot.answers import OrderTaker, log_created, not_recorded, send, told_late
from trueup.runtime.bot.crash_points import CrashPoint, carry_on
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.order_checks import (
    SideWord,
    Wish,
    check_levels,
    check_magic,
    check_step,
    check_terms,
    check_texts,
    check_volume,
    must_repeat,
    on_tick,
    side_of,
    ticket_of,
    tickets_listed,
)
from trueup.runtime.bot.outcomes import UNSENT, OwedOutcomes
from trueup.runtime.bot.risk import CHANGES, Entries

Intent = Order
"""An order of ours: `status`, `error`, `ticket`, `key`, `why` and what was asked for."""

POSITION = "position with ticket"
# A wish that does not say otherwise opens something at the market.
PLAIN: dict[str, OrderKind | int] = {"kind": OrderKind.MARKET, "position": 0, "target": 0}


class NewOrder(NamedTuple):
    """An order that was decided on and is neither recorded nor sent yet.

    `wish` has the fields of `events.OrderCreated` that the caller's request gives; `gateway` is
    what the order is sent through.
    """

    gateway: OrderTaker
    key: str
    wish: Mapping[str, Any]


Decision = Intent | NewOrder
"""What a request comes to: the intent that its key named before, or a new order."""


class OrderDesk:
    """Sends the orders of one book.

    Args:
        kept: the book and its journal.
        identity: the names under which the book trades.
        entries: says whether a position may be opened now.
        owed: the outcomes that are not in the journal yet.
        crash: called at every crash point.
    """

    def __init__(
        self,
        kept: KeptBook,
        identity: Identity,
        entries: Entries,
        owed: OwedOutcomes,
        *,
        crash: Callable[[CrashPoint], None] = carry_on,
    ) -> None:
        self._kept, self._identity, self._entries, self._owed = kept, identity, entries, owed
        self._gateway: OrderTaker | None = None
        self.policy: Policy | None = None
        """Whose positions are ours, as the book's reconciler has it; None without one."""
        self._crash = crash
        # What the trade server's clock showed, and ours for waiting then (ns).
        self._server_clock: tuple[int, int] | None = None
        self._specs: dict[str, SymbolSpec] = {}
        self._seen_specs: tuple[SymbolSpec, ...] = ()

    @property
    def magic_token(self) -> bool:
        """Whether the low half of the magic number carries the order's token."""
        return self._identity.magic_token

    @property
    def _book(self) -> Book:
        # A book that is read anew from its journal is another object.
        return self._kept.book

    @property
    def gateway(self) -> OrderTaker | None:
        """What orders are sent through; entries wait until a reading was believed since it is."""
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: OrderTaker | None) -> None:
        self._gateway = gateway
        self._entries.sight.sends(gateway)

    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; see `PortfolioManager.submit`."""
        unknown = sorted(wish.keys() - Wish.__annotations__.keys())
        if unknown:
            raise TypeError(
                f"An order has no {unknown[0]}: give {', '.join(Wish.__annotations__)}."
            )
        limit, stop = wish.get("limit", 0.0), wish.get("stop", 0.0)
        sl, tp, price = wish.get("sl", 0.0), wish.get("tp", 0.0), wish.get("price", 0.0)
        magic, key, why = (
            wish.get("magic", self._identity.magic),
            wish.get("key", ""),
            wish.get("why", ""),
        )
        wanted, volume, magic = side_of(side), check_volume(volume), check_magic(magic)
        limit, stop, sl, tp, price = check_levels(limit=limit, stop=stop, sl=sl, tp=tp, price=price)
        symbol = self._symbol_of(wish, magic)
        check_step(volume, self._specs.get(symbol))
        limit, stop, sl, tp = self._on_ticks(symbol, limit, stop, sl, tp)
        key, why, comment = check_texts(key=key, why=why, comment=wish.get("comment", ""))
        if limit and stop:
            raise ValueError("limit and stop cannot both be given: give one.")
        kind = OrderKind.LIMIT if limit else OrderKind.STOP if stop else OrderKind.MARKET
        terms = check_terms(
            wish, is_pending=bool(limit or stop), time_offset_sec=self._time_offset_sec()
        )
        return self._ordered(
            key,
            lambda late: self._new(
                key,
                late,
                symbol=symbol,
                side=wanted,
                volume=volume,
                price=limit or stop or price,
                kind=kind,
                sl=sl,
                tp=tp,
                magic=magic,
                why=why,
                comment=comment,
                terms=terms,
                # A book may have got its magic number since the key was used first.
                implied=frozenset() if "magic" in wish else frozenset({"magic"}),
            ),
        )

    def close(
        self,
        position: Any,
        volume: float | None = None,
        *,
        key: str = "",
        why: str = "",
        price: float = 0.0,
    ) -> Intent:
        """Close a position, or `volume` lots of it; see `PortfolioManager.close`."""
        key, why = check_texts(key=key, why=why)
        (price,) = check_levels(price=price)
        lots = None if volume is None else check_volume(volume)
        ticket = ticket_of(position, POSITION, self._tickets())
        return self._ordered(key, lambda late: self._close(ticket, lots, key, why, price, late))

    def _close(
        self,
        ticket: int,
        volume: float | None,
        key: str,
        why: str,
        price: float,
        late: Sequence[Order],
    ) -> Decision:
        wish = {} if volume is None else {"volume": volume}
        known = self._repeated(key, kind=OrderKind.MARKET, position=self._named(ticket), **wish)
        if known is not None:
            return known
        holding = self._held(ticket, late)
        held = holding.position
        lots = held.volume if volume is None else volume
        if add_lots(lots, -held.volume) > 0:
            raise ValueError(
                f"volume={lots!r} is not valid: ticket {held.ticket} has "
                f"{format_lots(held.volume)} lots."
            )
        if lots != held.volume:
            # A whole position may be off the step, after a split or a change of the step itself.
            check_step(lots, self._specs.get(held.symbol))
        self._refuse_second_close(held.identifier)
        return self._new(
            key,
            late,
            symbol=held.symbol,
            side=held.side.opposite,
            volume=lots,
            price=price,
            position=held.identifier,
            magic=self._book.strategy_of(holding),
            wire_magic=held.magic,
            why=why,
        )

    def modify(
        self, position: Any, sl: float, tp: float, *, key: str = "", why: str = ""
    ) -> Intent:
        """Set both stops of a position; see `PortfolioManager.modify`."""
        sl, tp = check_levels(sl=sl, tp=tp)
        key, why = check_texts(key=key, why=why)
        ticket = ticket_of(position, POSITION, self._tickets())
        return self._ordered(key, lambda late: self._modify(ticket, sl, tp, key, why, late))

    def _modify(
        self, ticket: int, sl: float, tp: float, key: str, why: str, late: Sequence[Order]
    ) -> Decision:
        named = self._named(ticket)
        holding = self._book.holding_by_ticket(ticket)
        if holding is not None:
            sl, tp = self._on_ticks(holding.position.symbol, sl, tp)
        known = self._repeated(key, kind=OrderKind.MODIFY, position=named, sl=sl, tp=tp)
        if known is not None:
            return known
        held = self._held(ticket, late).position
        return self._new(
            key,
            late,
            symbol=held.symbol,
            side=held.side,
            volume=held.volume,
            price=0.0,
            kind=OrderKind.MODIFY,
            position=held.identifier,
            sl=sl,
            tp=tp,
            magic=held.magic,
            why=why,
        )

    def cancel(self, order: Any, *, key: str = "", why: str = "") -> Intent:
        """Cancel a pending order; see `PortfolioManager.cancel`."""
        key, why = check_texts(key=key, why=why)
        ticket = ticket_of(order, "pending order", self._book.pending)
        return self._ordered(key, lambda late: self._cancel(ticket, key, why, late))

    def _cancel(self, ticket: int, key: str, why: str, late: Sequence[Order]) -> Decision:
        known = self._repeated(key, kind=OrderKind.CANCEL, target=ticket)
        if known is not None:
            return known
        pending = self._book.pending.get(ticket)
        if pending is None:
            has = tickets_listed(self._book.pending)
            raise ValueError(
                f"No pending order {ticket} in the book; it has {has}.{told_late(late)}"
            )
        buys = pending.order.type.value.startswith("buy")
        return self._new(
            key,
            late,
            symbol=pending.order.symbol,
            side=Side.BUY if buys else Side.SELL,
            volume=pending.order.volume,
            price=pending.order.price_open,
            kind=OrderKind.CANCEL,
            target=pending.order.ticket,
            magic=pending.order.magic,
            why=why,
        )

    # What was decided by a book that has everything.

    def _ordered(self, key: str, decide: Callable[[Sequence[Order]], Decision]) -> Intent:
        """Bring the book up to date, decide, and send; the decision sees the late news.

        Args:
            key: the caller's key.
            decide: returns the decision, given the orders whose outcome is in the book only now.
        """
        late = self._catch_up(key)
        try:
            return self._carry_out(decide(late))
        except JournalAhead:
            # The book has followed the journal meanwhile: decide again from there, once.
            return self._carry_out(decide([*late, *self._catch_up(key)]))

    def _catch_up(self, key: str) -> list[Order]:
        """Record what is owed before anything is checked against the book.

        Returns:
            The orders that had left and whose outcome is in the book only now.
        """
        self._kept.follow()
        try:
            return self._owed.late()
        except JournalError as error:
            known = self._book.by_key.get(key) if key else None
            outcome = self._owed.of(known.order_id) if known is not None else None
            if known is not None and outcome is not None and outcome is not UNSENT:
                raise not_recorded(known, outcome, error) from error
            raise

    # The four steps.

    def _new(
        self,
        key: str,
        late: Sequence[Order],
        /,
        *,
        implied: frozenset[str] = frozenset(),
        **wish: Any,
    ) -> Decision:
        """Return a new order, or the intent that its key named before; refuse what may not leave.

        Args:
            key: the caller's key.
            late: the orders whose outcome is in the book only now.
            implied: the fields that the caller did not give, and that need not repeat.
            wish: the fields of the order.
        """
        said = {name: value for name, value in wish.items() if name not in implied}
        known = self._repeated(key, **{**PLAIN, **said})
        if known is not None:
            return known
        if self.gateway is None:
            raise NotSent("No gateway: make a StateReconciler with one, or set pm.desk.gateway.")
        self._refuse_entries(wish)
        self._refuse_unserved(wish.get("terms", PLAIN_TERMS))
        self._refuse_uninformed(late, wish)
        return NewOrder(self.gateway, key, wish)

    def _carry_out(self, decision: Decision) -> Intent:
        """Record a new order, send it and record its outcome: the four steps of this module."""
        if isinstance(decision, Order):
            return decision
        self._crash(CrashPoint.BEFORE_INTENT)
        order = self._record(decision.key, decision.wish)
        log_created(order)
        # An exception may come between any two steps and this process live on; what is owed then
        # says what became of the order.
        self._owed.note(order.order_id, UNSENT)
        self._crash(CrashPoint.AFTER_INTENT)
        self._record_send(order)
        self._crash(CrashPoint.AFTER_SEND_STARTED)
        message = self._message(order)
        self._owed.leaves(order)
        outcome = send(decision.gateway, message, order)
        self._crash(CrashPoint.BEFORE_OUTCOME)
        self._owed.note(order.order_id, outcome)
        try:
            self._owed.record()
        except JournalError as error:
            raise not_recorded(order, outcome, error) from error
        self._crash(CrashPoint.AFTER_OUTCOME)
        self._owed.returned()
        return order

    def _record_send(self, order: Order) -> None:
        started = events.SendStarted(
            at_ns=self._kept.clock.now_ns(),
            order_id=order.order_id,
            record=self._record_of(),
            time_offset_sec=self._time_offset_sec(),
            server_time_msc=self._server_time_msc(),
        )
        self._kept.commit([started])

    @property
    def owes(self) -> str:
        """The id of an order whose outcome is not in the journal yet, or an empty string."""
        return self._owed.first

    def record_owed(self) -> None:
        """Record the outcomes that are not in the journal yet.

        Raises:
            JournalError: the journal refuses them still.
        """
        with self._kept.turn:
            self._kept.follow()
            self._owed.record()
            self._owed.returned()

    def _repeated(self, key: str, **wish: Any) -> Intent | None:
        """Return the intent that a key named first, or None; refuse it with another wish."""
        known = self._book.by_key.get(key) if key else None
        if known is None:
            return None
        must_repeat(known, wish)
        return known

    def _record(self, key: str, wish: Mapping[str, Any]) -> Order:
        order_id = self._identity.next_order_id()
        token = token_of(order_id)
        magic = wish.get("magic", 0)
        wire_magic = wish.get("wire_magic", magic)
        if self.magic_token and "wire_magic" not in wish:
            wire_magic = magic_with_token(magic, token)
        created = events.OrderCreated(
            at_ns=self._kept.clock.now_ns(),
            order_id=order_id,
            token=token,
            key=key,
            by_desk=True,
            **{**wish, "wire_magic": wire_magic},
        )
        self._kept.commit([created])
        return self._book.orders[order_id]

    def _record_of(self) -> RecordMark | None:
        """Return how far the gateway's record reaches, where it is known to keep one."""
        mark = getattr(self.gateway, "record", None)
        return mark if isinstance(mark, RecordMark) else None

    def _time_offset_sec(self) -> int | None:
        """Return the trade server's clock less UTC, where the gateway told it."""
        offset_sec = getattr(self.gateway, "time_offset_sec", None)
        return offset_sec if isinstance(offset_sec, int) else None

    def see_server_clock(self, server_time_msc: int) -> None:
        """Note what the trade server's clock shows now, by a reading that was believed."""
        self._server_clock = server_time_msc, self._kept.clock.waiting_ns()

    def see_symbols(self, specs: tuple[SymbolSpec, ...]) -> None:
        """Note in which steps the broker trades symbols, by a reading that was believed."""
        if specs is not self._seen_specs:
            # An unchanged reading brings the very same ones.
            self._seen_specs = specs
            self._specs.update((spec.symbol, spec) for spec in specs)

    def _on_ticks(self, symbol: str, *prices: float) -> list[float]:
        """Return prices on the symbol's ticks, as far as these are known."""
        spec = self._specs.get(symbol)
        return list(prices) if spec is None else [on_tick(price, spec) for price in prices]

    def _server_time_msc(self) -> int:
        """Return a time that the trade server's clock has passed by now, 0 where none is known.

        How long ago it was read is told by the clock for waiting, which nobody sets. It leaves out
        the time asleep, and so never says more than has passed.
        """
        if self._server_clock is None:
            return 0
        time_msc, at_ns = self._server_clock
        return time_msc + (self._kept.clock.waiting_ns() - at_ns) // 1_000_000

    def _message(self, order: Order) -> dict[str, Any]:
        message: dict[str, Any] = {
            "order_id": order.order_id,
            "symbol": order.symbol,
            "action": order.action,
            "comment": order.token,
            "magic": order.wire_magic,
        }
        if self._book.bound is not None:
            # The terminal may be logged in to another account since it was last read; two servers
            # may have accounts of one number.
            message["login"] = self._book.bound.login
            message["server"] = self._book.bound.server
            # By these the gateway's record tells a later process what its journal has lost.
            if self._kept.journal is not None:
                message["stream"], message["journal"] = (
                    self._identity.book_name,
                    self._kept.journal_id,
                )
                message["key"] = order.key
        ticket = ticket_to_close(self._book, order)
        match order.kind:
            case OrderKind.CANCEL:
                return {**message, "action": "CANCEL", "order": order.target}
            case OrderKind.MODIFY:
                levels = {"sl": order.sl, "tp": order.tp}
                return {**message, "action": "MODIFY", "position": ticket, **levels}
            case _:
                # A market order has a price only where the caller saw one.
                price = {"price": order.entry_price} if order.entry_price else {}
                return {
                    **message,
                    **price,
                    "type": order.kind.value,
                    "volume": order.volume,
                    "position": ticket,
                    "sl": order.sl,
                    "tp": order.tp,
                    "confidence": 1.0,
                    **order.terms.wire,
                }

    def _refuse_entries(self, wish: Mapping[str, Any]) -> None:
        if wish.get("position") or wish.get("target"):
            return
        # What the broker does not have, the gateway refuses by name: an order that was asked for
        # then has its answer, and a symbol that came a moment ago is not refused by old knowledge.
        reason = self._entries.refused(wish["symbol"], but_by_gateway=True)
        if reason:
            raise Refused(f"No entry: {reason}")

    def _symbol_of(self, wish: Wish, magic: int) -> str:
        """Return an entry's symbol; refuse one that our policy would not take for ours once open.

        Raises:
            ValueError: the symbol, or the magic number, is outside the policy.
        """
        symbol = wish.get("symbol", self._identity.symbol)
        symbols = frozenset({self._identity.symbol}) if self.policy is None else self.policy.symbols
        if symbol == EVERY_SYMBOL or symbols.isdisjoint({symbol, EVERY_SYMBOL}):
            raise ValueError(
                f"symbol={symbol!r:.40} is not valid: the book's symbols are "
                f"{', '.join(sorted(symbols))} (Policy.symbols of its reconciler)."
            )
        if self.policy is not None:
            why = self.policy.why_not_ours(symbol, magic, magic_token=self.magic_token)
            if why:
                raise ValueError(f"magic={magic} is not valid: by the book's policy {why}.")
        return symbol

    def _refuse_unserved(self, terms: Terms) -> None:
        """Refuse terms that the gateway would leave out: the order would be another one."""
        if terms.wire and not getattr(self.gateway, "serves_terms", False):
            raise Refused(
                f"Nothing was sent: the gateway does not serve TERMS, so it would leave out "
                f"{', '.join(terms.wire)}. It takes a `trueup gateway` of this version or later."
            )

    def _refuse_uninformed(self, late: Sequence[Order], wish: Mapping[str, Any]) -> None:
        """Refuse, once, what was decided before the caller could know what became of an order.

        A caller that got an error for an order that had left asks for the same again. What is about
        another position than that order was is not held up.
        """
        position, target = wish.get("position", 0), wish.get("target", 0)
        for order in late:
            about = {order.position, order.target, order.ticket} - {0, None}
            is_entry_again = not (position or target) and order.kind not in CHANGES
            if is_entry_again or {position, target} & about:
                raise Refused(f"Nothing was sent now.{told_late([order])}")

    def _refuse_second_close(self, identifier: int) -> None:
        for order in self._book.in_doubt.values():
            if order.position == identifier and order.kind is OrderKind.MARKET:
                raise Refused(f"{order.order_id} may have closed it already: {order.error}")

    def _named(self, ticket: int) -> int:
        """Return the identifier of a position, or its ticket where the book has none."""
        holding = self._book.holding_by_ticket(ticket)
        return ticket if holding is None else holding.position.identifier

    def _tickets(self) -> Iterator[int]:
        return (holding.position.ticket for holding in self._book.holdings.values())

    def _held(self, ticket: int, late: Sequence[Order]) -> Holding:
        holding = self._book.holding_by_ticket(ticket)
        if holding is None:
            known = tickets_listed(self._tickets())
            raise ValueError(
                f"No {POSITION} {ticket} in the book; it has {known}.{told_late(late)}"
            )
        return holding


def ticket_to_close(book: Book, order: Order) -> int:
    """Return the ticket to name in an order that closes a position; 0 for an entry.

    `order.position` is the identifier of that position, and its ticket may have changed since.
    """
    holding = book.holdings.get(order.position)
    return order.position if holding is None else holding.position.ticket
