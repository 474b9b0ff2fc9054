"""The order desk: journal each order before it is sent, and send it at most once.

    intent journalled and synced -> send journalled -> sent -> outcome journalled

The process may die between any two of these steps; the recovery table (`core.recovery`) lists the
meaning of each moment after the restart. A caller's key makes an order idempotent: the same key
with the same wish returns the first intent, also after a restart. The same key with another wish is
refused.
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
from trueup.runtime.bot.answers import (
    OrderTaker,
    late_outcomes_text,
    log_created,
    not_recorded,
    send,
)
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
"""An order of ours: `status`, `error`, `ticket`, `key`, `why` and the parameters of the order."""

POSITION = "position with ticket"
# The defaults of a wish: a market order that opens a position.
PLAIN: dict[str, OrderKind | int] = {"kind": OrderKind.MARKET, "position": 0, "target": 0}


class NewOrder(NamedTuple):
    """An order that passed all checks and is neither recorded nor sent yet.

    `gateway` is the gateway to send the order through. `wish` has the fields of
    `events.OrderCreated` that come from the caller's request.
    """

    gateway: OrderTaker
    key: str
    wish: Mapping[str, Any]


Decision = Intent | NewOrder
"""The result of a request: the intent that the same key named before, or a new order."""


class OrderDesk:
    """Sends the orders of one book.

    Args:
        kept: the book and its journal.
        identity: the names under which the book trades.
        entries: decides whether a position may be opened now.
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
        """The policy of the book's reconciler; None without a reconciler."""
        self._crash = crash
        # The trade server's clock at the latest reading (ms), and our clock for waiting then (ns).
        self._server_clock: tuple[int, int] | None = None
        self._specs: dict[str, SymbolSpec] = {}
        self._seen_specs: tuple[SymbolSpec, ...] = ()

    @property
    def magic_token(self) -> bool:
        """Whether the low half of the magic number carries the order's token."""
        return self._identity.magic_token

    @property
    def _book(self) -> Book:
        # Not stored: the book is a new object after it was loaded again from its journal.
        return self._kept.book

    @property
    def gateway(self) -> OrderTaker | None:
        """The gateway for orders; after a change, entries wait for a believed reading."""
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: OrderTaker | None) -> None:
        self._gateway = gateway
        self._entries.sight.sends(gateway)

    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; see `PortfolioManager.submit`."""
        # A misspelt stop loss must raise an error, not open a position without a stop.
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
        # Check every value before the key: a value that is not valid is refused each time in the
        # same way.
        wanted, volume, magic = side_of(side), check_volume(volume), check_magic(magic)
        limit, stop, sl, tp, price = check_levels(limit=limit, stop=stop, sl=sl, tp=tp, price=price)
        symbol = self._symbol_of(wish, magic)
        check_step(volume, self._specs.get(symbol))
        # Rounded before the order is recorded, so that the journal has the price that the broker
        # gets, and a repeated key compares equal.
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
                # The book may have got its magic number after the first use of the key, so a
                # default need not repeat.
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
        """Close a position, or `volume` lots of the position; see `PortfolioManager.close`."""
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
        # The key first: after a restart the position may be closed by this very order, and the
        # caller must get the first intent rather than an error.
        known = self._repeated(key, kind=OrderKind.MARKET, position=self._named(ticket), **wish)
        if known is not None:
            return known
        holding = self._held(ticket, late)
        held = holding.position
        lots = held.volume if volume is None else volume
        # More lots than the position has would open the opposite position on a netting account.
        if add_lots(lots, -held.volume) > 0:
            raise ValueError(
                f"volume={lots!r} is not valid: ticket {held.ticket} has "
                f"{format_lots(held.volume)} lots."
            )
        if lots != held.volume:
            # The volume of a whole position need not be a multiple of the step, for example after a
            # split or a change of the step.
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
            # The journal has the strategy's magic number; the broker gets the position's own.
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
        # The ticks must be applied before the key is compared: the first intent has rounded prices.
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
        # The key first: the first cancellation may have removed the order from the book.
        known = self._repeated(key, kind=OrderKind.CANCEL, target=ticket)
        if known is not None:
            return known
        pending = self._book.pending.get(ticket)
        if pending is None:
            has = tickets_listed(self._book.pending)
            raise ValueError(
                f"No pending order {ticket} in the book; it has {has}.{late_outcomes_text(late)}"
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

    # Decide from an up-to-date book.

    def _ordered(self, key: str, decide: Callable[[Sequence[Order]], Decision]) -> Intent:
        """Bring the book up to date, decide, and send.

        Args:
            key: the caller's key.
            decide: returns the decision, given the orders whose outcome came into the book only
                now.
        """
        late = self._catch_up(key)
        try:
            return self._carry_out(decide(late))
        except JournalAhead:
            # The book has applied new events from the journal, so decide once more from the new
            # state.
            return self._carry_out(decide([*late, *self._catch_up(key)]))

    def _catch_up(self, key: str) -> list[Order]:
        """Record owed outcomes, so that the checks see an up-to-date book.

        Returns:
            The orders that were sent and whose outcome came into the book only now.
        """
        self._kept.follow()
        try:
            return self._owed.late()
        except JournalError as error:
            # The caller asks again for an order that was sent and cannot be recorded: answer with
            # that order's error, so that the caller does not take the order as unsent.
            known = self._book.by_key.get(key) if key else None
            outcome = self._owed.of(known.order_id) if known is not None else None
            if known is not None and outcome is not None and outcome is not UNSENT:
                raise not_recorded(known, outcome, error) from error
            raise

    # The four steps of the module.

    def _new(
        self,
        key: str,
        late: Sequence[Order],
        /,
        *,
        implied: frozenset[str] = frozenset(),
        **wish: Any,
    ) -> Decision:
        """Return a new order, or the first intent of the key; refuse an order that may not be sent.

        Args:
            key: the caller's key.
            late: the orders whose outcome came into the book only now.
            implied: the fields that the caller did not give, and that need not repeat.
            wish: the fields of the order.
        """
        said = {name: value for name, value in wish.items() if name not in implied}
        # A repeated key sends nothing, so none of the refusals below applies to it.
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
        # An exception, such as Ctrl-C, may interrupt any step without ending the process. The owed
        # outcome then tells how far the order came.
        self._owed.note(order.order_id, UNSENT)
        self._crash(CrashPoint.AFTER_INTENT)
        self._record_send(order)
        self._crash(CrashPoint.AFTER_SEND_STARTED)
        # The message is built before the order counts as sent: an error here sends nothing.
        message = self._message(order)
        self._owed.leaves(order)
        outcome = send(decision.gateway, message, order)
        self._crash(CrashPoint.BEFORE_OUTCOME)
        self._owed.note(order.order_id, outcome)
        try:
            self._owed.record()
        except JournalError as error:
            # The order was sent, so the caller must not get a plain journal error and ask again.
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
            JournalError: the journal still refuses them.
        """
        with self._kept.turn:
            self._kept.follow()
            self._owed.record()
            self._owed.returned()

    def _repeated(self, key: str, **wish: Any) -> Intent | None:
        """Return the first intent of a key, or None; refuse the key with another wish."""
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
        # The token also goes into the magic number, which no broker rewrites, unless the order must
        # carry the magic number of its position.
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
        """Return how far the gateway's record reaches, or None if the gateway keeps none."""
        mark = getattr(self.gateway, "record", None)
        return mark if isinstance(mark, RecordMark) else None

    def _time_offset_sec(self) -> int | None:
        """Return the trade server's clock less UTC, or None if the gateway has not told."""
        offset_sec = getattr(self.gateway, "time_offset_sec", None)
        return offset_sec if isinstance(offset_sec, int) else None

    def see_server_clock(self, server_time_msc: int) -> None:
        """Note the trade server's clock from a believed reading."""
        self._server_clock = server_time_msc, self._kept.clock.waiting_ns()

    def see_symbols(self, specs: tuple[SymbolSpec, ...]) -> None:
        """Note the volume steps and ticks of symbols from a believed reading."""
        if specs is not self._seen_specs:
            # An unchanged reading has the same tuple again, which needs no work.
            self._seen_specs = specs
            self._specs.update((spec.symbol, spec) for spec in specs)

    def _on_ticks(self, symbol: str, *prices: float) -> list[float]:
        """Return prices on the symbol's ticks, if the ticks are known."""
        spec = self._specs.get(symbol)
        return list(prices) if spec is None else [on_tick(price, spec) for price in prices]

    def _server_time_msc(self) -> int:
        """Return a time that the trade server's clock has certainly passed, 0 if unknown.

        The time since the reading is measured by the clock for waiting, which no user can set. This
        clock leaves out time asleep, so the result is never later than the real time.
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
            # The gateway refuses the order if the terminal is logged in to another account by now.
            # The login alone does not do: two servers may have accounts with the same number.
            message["login"] = self._book.bound.login
            message["server"] = self._book.bound.server
            # With these names the gateway's record can tell a later process which orders its
            # journal has lost.
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
                # A market order has a price only if the caller gave one.
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
        # The gateway checks by itself whether the broker has the symbol. Its check is as of now,
        # while the reading here may be older than a symbol that was just added.
        reason = self._entries.refused(wish["symbol"], but_by_gateway=True)
        if reason:
            raise Refused(f"No entry: {reason}")

    def _symbol_of(self, wish: Wish, magic: int) -> str:
        """Return an entry's symbol; refuse an entry that would not be ours under the policy.

        Raises:
            ValueError: the symbol, or the magic number, is outside the policy.
        """
        symbol = wish.get("symbol", self._identity.symbol)
        # A book without a reconciler is of its own symbol, whatever the magic number.
        policy = self.policy or Policy(symbols=frozenset({self._identity.symbol}))
        if symbol == EVERY_SYMBOL or not policy.covers(symbol):
            raise ValueError(
                f"symbol={symbol!r:.40} is not valid: the book's symbols are "
                f"{', '.join(sorted(policy.symbols))} (Policy.symbols of its reconciler)."
            )
        # A position that the policy does not count as ours would be foreign to its own book.
        why = policy.why_not_ours(symbol, magic, magic_token=self.magic_token)
        if why:
            raise ValueError(f"magic={magic} is not valid: by the book's policy {why}.")
        return symbol

    def _refuse_unserved(self, terms: Terms) -> None:
        """Refuse terms that the gateway would drop: a different order would be sent."""
        if terms.wire and not getattr(self.gateway, "serves_terms", False):
            raise Refused(
                f"Nothing was sent: the gateway does not serve TERMS, so it would leave out "
                f"{', '.join(terms.wire)}. It takes a `trueup gateway` of this version or later."
            )

    def _refuse_uninformed(self, late: Sequence[Order], wish: Mapping[str, Any]) -> None:
        """Refuse, once, a request whose caller may not know the outcome of an earlier order.

        A caller that got an error for an order that was sent will ask for the same order again. A
        request about another position than the earlier order's is not refused.
        """
        position, target = wish.get("position", 0), wish.get("target", 0)
        for order in late:
            about = {order.position, order.target, order.ticket} - {0, None}
            is_entry_again = not (position or target) and order.kind not in CHANGES
            if is_entry_again or {position, target} & about:
                raise Refused(f"Nothing was sent now.{late_outcomes_text([order])}")

    def _refuse_second_close(self, identifier: int) -> None:
        for order in self._book.in_doubt.values():
            if order.position == identifier and order.kind is OrderKind.MARKET:
                raise Refused(f"{order.order_id} may have closed it already: {order.error}")

    def _named(self, ticket: int) -> int:
        """Return the identifier of a position, or the given ticket if the book does not have it."""
        holding = self._book.holding_by_ticket(ticket)
        return ticket if holding is None else holding.position.identifier

    def _tickets(self) -> Iterator[int]:
        return (holding.position.ticket for holding in self._book.holdings.values())

    def _held(self, ticket: int, late: Sequence[Order]) -> Holding:
        holding = self._book.holding_by_ticket(ticket)
        if holding is None:
            known = tickets_listed(self._tickets())
            raise ValueError(
                f"No {POSITION} {ticket} in the book; it has {known}.{late_outcomes_text(late)}"
            )
        return holding


def ticket_to_close(book: Book, order: Order) -> int:
    """Return the ticket to name in an order that closes a position; 0 for an entry.

    `order.position` is the identifier of that position, whose ticket may have changed since.
    """
    holding = book.holdings.get(order.position)
    return order.position if holding is None else holding.position.ticket
