"""The order desk: journal each order before it is sent, and send it at most once.

    intent journalled and synced -> send journalled -> sent -> outcome journalled

The process may die between any two of these steps; the recovery table (`core.recovery`) lists the
meaning of each moment after the restart. A caller's key makes an order idempotent: the same key
with the same wish returns the first intent, also after a restart. The same key with another wish is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.events import AT_ONCE, CHANGES, OrderKind
from trueup.core.book.keys import with_key
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.terms import PLAIN_TERMS, Terms
from trueup.core.limits.exposure import Entry
from trueup.core.model import SymbolSpec
from trueup.core.policy import Policy
from trueup.core.quantity import add_lots, format_lots
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.tokens import magic_with_token, token_of
from trueup.errors import JournalError, NotSent, Refused
from trueup.journal import JournalAhead
from trueup.logs import about_order
from trueup.runtime.bot.answers import (
    OrderTaker,
    late_outcomes_text,
    log_created,
    log_sending,
    not_recorded,
    send,
)
from trueup.runtime.bot.broker_side import BrokerSide
from trueup.runtime.bot.crash_points import CrashPoint, carry_on
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.last_reading import LastReading
from trueup.runtime.bot.order_checks import (
    CloseTerms,
    OrderChanges,
    SideWord,
    Wish,
    check_changes,
    check_close_terms,
    check_levels,
    check_magic,
    check_pair,
    check_step,
    check_terms,
    check_texts,
    check_volume,
    must_repeat,
    side_of,
)
from trueup.runtime.bot.order_message import message_of
from trueup.runtime.bot.outcomes import UNSENT, OwedOutcomes
from trueup.runtime.bot.part import WHOLE, Part
from trueup.runtime.bot.risk import Entries, oldest_first
from trueup.runtime.bot.targets import Named, NamedPending, Targets
from trueup.runtime.bot.unjournalled import Unjournalled, UnjournalledCloses

Intent = Order
"""An order of ours: `status`, `error`, `ticket`, `key`, `why` and the parameters of the order."""

# The capability of the gateway that a kind of order needs, if the guide's wire does not have it.
CAPABILITY_OF = {
    OrderKind.MODIFY_ORDER: "MODIFY_ORDER",
    OrderKind.STOP_LIMIT: "STOP_LIMIT",
    OrderKind.CLOSE_BY: "CLOSE_BY",
}
# The defaults of a wish: a market order that opens a position.
PLAIN: dict[str, OrderKind | int] = {"kind": OrderKind.MARKET, "position": 0, "target": 0}


# What a close says that is about the whole position.
PLAIN_CLOSE: dict[str, Any] = {"price": 0.0, "comment": "", "terms": PLAIN_TERMS}


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
        broker: what the book has seen of the broker.
        part: the part of the book whose orders this desk sends.
        crash: called at every crash point.
    """

    def __init__(
        self,
        kept: KeptBook,
        identity: Identity,
        entries: Entries,
        owed: OwedOutcomes,
        broker: BrokerSide,
        *,
        part: Part = WHOLE,
        crash: Callable[[CrashPoint], None] = carry_on,
    ) -> None:
        self._kept, self._identity, self._entries, self._owed = kept, identity, entries, owed
        self._broker = broker
        self._part = part
        self._crash = crash
        self._targets = Targets(kept, broker.last_reading, part)
        self.unjournalled: UnjournalledCloses = UnjournalledCloses(
            kept, identity, owed, broker, crash
        )

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
        return self._broker.gateway

    @gateway.setter
    def gateway(self, gateway: OrderTaker | None) -> None:
        self._broker.gateway = gateway

    @property
    def policy(self) -> Policy | None:
        """The policy of the book's reconciler; None without a reconciler."""
        return self._broker.policy

    @policy.setter
    def policy(self, policy: Policy | None) -> None:
        self._broker.policy = policy

    @property
    def last_reading(self) -> LastReading:
        """The broker's rows, for orders about what the book does not have."""
        return self._broker.last_reading

    def see_server_clock(self, server_time_msc: int) -> None:
        """Note the trade server's clock from a believed reading."""
        self._broker.see_server_clock(server_time_msc)

    def see_symbols(self, specs: tuple[SymbolSpec, ...]) -> None:
        """Note the volume steps and ticks of symbols from a believed reading."""
        self._broker.see_symbols(specs)

    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; see `PortfolioManager.submit`."""
        # A misspelt stop loss must raise an error, not open a position without a stop.
        unknown = sorted(wish.keys() - Wish.__annotations__.keys())
        if unknown:
            raise TypeError(
                f"An order has no {unknown[0]}: give {', '.join(Wish.__annotations__)}."
            )
        limit, stop = wish.get("limit", 0.0), wish.get("stop", 0.0)
        stoplimit = wish.get("stoplimit", 0.0)
        sl, tp, price = wish.get("sl", 0.0), wish.get("tp", 0.0), wish.get("price", 0.0)
        magic, key, why = (
            wish.get("magic", self._identity.magic),
            wish.get("key", ""),
            wish.get("why", ""),
        )
        # Check every value before the key: a value that is not valid is refused each time in the
        # same way.
        wanted, volume, magic = side_of(side), check_volume(volume), check_magic(magic)
        limit, stop, stoplimit, sl, tp, price = check_levels(
            limit=limit, stop=stop, stoplimit=stoplimit, sl=sl, tp=tp, price=price
        )
        symbol = self._symbol_of(wish, magic)
        check_step(volume, self._broker.specs.get(symbol))
        # Rounded before the order is recorded, so that the journal has the price that the broker
        # gets, and a repeated key compares equal.
        limit, stop, stoplimit, sl, tp = self._broker.on_ticks(
            symbol, limit, stop, stoplimit, sl, tp
        )
        key, why, comment, by = check_texts(
            key=key, why=why, comment=wish.get("comment", ""), who=wish.get("who", "")
        )
        if limit and stop:
            raise ValueError("limit and stop cannot both be given: give one.")
        if stoplimit and not stop:
            raise ValueError("stoplimit is only for a stop order: give stop too.")
        kind = OrderKind.LIMIT if limit else OrderKind.STOP if stop else OrderKind.MARKET
        kind = OrderKind.STOP_LIMIT if stoplimit else kind
        terms = check_terms(
            wish, is_pending=bool(limit or stop), time_offset_sec=self._broker.time_offset_sec
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
                stoplimit=stoplimit,
                sl=sl,
                tp=tp,
                magic=magic,
                why=why,
                comment=comment,
                terms=terms,
                by=by,
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
        foreign: bool = False,
        who: str = "",
        **terms: Unpack[CloseTerms],
    ) -> Intent:
        """Close a position, or `volume` lots of the position; see `PortfolioManager.close`."""
        comment = terms.get("comment", "")
        key, why, comment, by = check_texts(key=key, why=why, comment=comment, who=who)
        (price,) = check_levels(price=price)
        lots = None if volume is None else check_volume(volume)
        wanted = check_close_terms(terms)
        named = self._targets.name(position, foreign=foreign)
        more = {"price": price, "why": why, "comment": comment, "terms": wanted, "by": by}
        return self._ordered(key, lambda late: self._close(named, lots, key, more, late))

    def _close(
        self,
        named: Named,
        volume: float | None,
        key: str,
        more: Mapping[str, Any],
        late: Sequence[Order],
    ) -> Decision:
        wish = {} if volume is None else {"volume": volume}
        # The key first: after a restart the position may be closed by this very order, and the
        # caller must get the first intent rather than an error.
        identifier = self._targets.identifier_of(named, key)
        known = self._repeated(
            key, kind=OrderKind.MARKET, position=identifier, terms=more["terms"], **wish
        )
        if known is not None:
            return known
        target = self._targets.target(named, late)
        held = target.position
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
            check_step(lots, self._broker.specs.get(held.symbol))
        self._refuse_second_close(held.identifier)
        return self._new(
            key,
            late,
            symbol=held.symbol,
            side=held.side.opposite,
            volume=lots,
            position=held.identifier,
            **target.owner,
            **more,
        )

    def modify(
        self,
        position: Any,
        sl: float,
        tp: float,
        *,
        key: str = "",
        why: str = "",
        foreign: bool = False,
        who: str = "",
    ) -> Intent:
        """Set both stops of a position; see `PortfolioManager.modify`."""
        sl, tp = check_levels(sl=sl, tp=tp)
        key, why, by = check_texts(key=key, why=why, who=who)
        named, said = self._targets.name(position, foreign=foreign), {"why": why, "by": by}
        return self._ordered(key, lambda late: self._modify(named, sl, tp, key, said, late))

    def _modify(
        self,
        named: Named,
        sl: float,
        tp: float,
        key: str,
        said: Mapping[str, Any],
        late: Sequence[Order],
    ) -> Decision:
        identifier = self._targets.identifier_of(named, key)
        found = self._targets.found(named)
        # The ticks must be applied before the key is compared: the first intent has rounded prices.
        if found is not None:
            sl, tp = self._broker.on_ticks(found.position.symbol, sl, tp)
        known = self._repeated(key, kind=OrderKind.MODIFY, position=identifier, sl=sl, tp=tp)
        if known is not None:
            return known
        target = self._targets.target(named, late)
        held = target.position
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
            **said,
            **target.owner,
        )

    def close_unjournalled(self, position: Any, *, key: str, why: str, who: str) -> Unjournalled:
        """Close a position without the journal; see `PortfolioManager.close_unjournalled`."""
        key, why, who = check_texts(key=key, why=why, who=who)
        target = self._targets.target(self._targets.name(position, foreign=False), ())
        self._refuse_second_close(target.position.identifier)
        return self.unjournalled.send(target, self._message, key=key, why=why, who=who)

    def close_all(
        self, symbol: str | None = None, magic: int | None = None, *, why: str = "", who: str = ""
    ) -> list[Intent]:
        """Close the positions of the book; see `PortfolioManager.close_all`."""
        why, by = check_texts(why=why, who=who)
        magic = None if magic is None else check_magic(magic)
        # The outcomes of earlier orders first, so that no position is closed that is gone. Whoever
        # closes everything decides anew, so no late outcome stands in the way.
        self._catch_up("")
        if symbol is not None:
            self._check_known(symbol)
        intents = [self._close_one(key, why, by) for key in self.to_close(symbol, magic)]
        # The book may be another object by now, with other objects of the same orders.
        return [self._book.orders.get(i.order_id, i) for i in intents if i is not None]

    def _check_known(self, symbol: str) -> None:
        """Refuse a symbol that the book cannot have: a misspelt one would close nothing."""
        held = {holding.position.symbol for holding in self._part.holdings(self._book)}
        policy = self.policy or Policy(symbols=frozenset({self._identity.symbol}))
        if symbol in held or (policy.covers(symbol) and self._part.has_symbol(symbol)):
            return
        names = policy.symbols if self._part.is_whole else {self._part.symbol}
        known = ", ".join(sorted(held | names))
        raise ValueError(f"symbol={symbol!r:.40} is not valid: the book's symbols are {known}.")

    def to_close(self, symbol: str | None = None, magic: int | None = None) -> list[int]:
        """Return the identifiers of the positions to close, in each symbol the oldest first."""
        # Some accounts refuse to close a newer position first (MQL5 reference, ACCOUNT_FIFO_CLOSE).
        book, part = self._book, self._part
        symbols = dict.fromkeys(holding.position.symbol for holding in part.holdings(book))
        return [
            holding.position.identifier
            for name in symbols
            if symbol in (None, name)
            for holding in oldest_first(book, name, part.magic)
            if magic in (None, book.strategy_of(holding))
        ]

    def _close_one(self, identifier: int, why: str, by: str) -> Intent | None:
        """Close a whole position, or return the order in doubt that may have closed it already.

        None if the position has left the book meanwhile.
        """
        try:
            return self._close_now(identifier, why, by)
        except JournalAhead:
            # The book has applied new events from the journal, so decide from the new state.
            self._catch_up("")
            return self._close_now(identifier, why, by)

    def _close_now(self, identifier: int, why: str, by: str) -> Intent | None:
        holding = self._book.holdings.get(identifier)
        if holding is None:
            return None
        doubtful = self.closing(identifier)
        if doubtful is not None:
            return doubtful
        named = Named(holding.position.ticket, foreign=False, row=None)
        more = {**PLAIN_CLOSE, "why": why, "by": by}
        return self._carry_out(self._close(named, None, "", more, ()))

    def close_by(
        self,
        position: Any,
        other: Any,
        *,
        key: str = "",
        why: str = "",
        foreign: bool = False,
    ) -> Intent:
        """Close two opposite positions by each other; see `PortfolioManager.close_by`."""
        key, why = check_texts(key=key, why=why)
        both = (
            self._targets.name(position, foreign=foreign),
            self._targets.name(other, foreign=foreign),
        )
        return self._ordered(key, lambda late: self._close_by(*both, key, why, late))

    def _close_by(
        self, first: Named, second: Named, key: str, why: str, late: Sequence[Order]
    ) -> Decision:
        # The key first: the first intent has closed at least one of the two positions.
        known = self._repeated(
            key,
            kind=OrderKind.CLOSE_BY,
            position=self._targets.identifier_of(first, key),
            position_by=self._targets.identifier_of(second, key),
        )
        if known is not None:
            return known
        target, by = self._targets.target(first, late), self._targets.target(second, late)
        check_pair(target.position, by.position, is_hedging=not self._book.shares_positions)
        for identifier in (target.position.identifier, by.position.identifier):
            self._refuse_second_close(identifier)
        owner = target.owner
        if target.foreign or by.foreign:
            owner["foreign"] = (*target.foreign, *by.foreign)
        return self._new(
            key,
            late,
            symbol=target.position.symbol,
            side=target.position.side.opposite,
            volume=min(target.position.volume, by.position.volume),
            price=0.0,
            kind=OrderKind.CLOSE_BY,
            position=target.position.identifier,
            position_by=by.position.identifier,
            why=why,
            **owner,
        )

    def modify_order(
        self,
        order: Any,
        *,
        key: str = "",
        why: str = "",
        foreign: bool = False,
        who: str = "",
        **changes: Unpack[OrderChanges],
    ) -> Intent:
        """Change prices or the end of a pending order; see `PortfolioManager.modify_order`."""
        levels, expiry = check_changes(changes)
        terms = PLAIN_TERMS
        if expiry:
            offset_sec = self._broker.time_offset_sec
            terms = check_terms(expiry, is_pending=True, time_offset_sec=offset_sec)
        key, why, by = check_texts(key=key, why=why, who=who)
        named, said = self._targets.name_pending(order, foreign=foreign), {"why": why, "by": by}
        return self._ordered(
            key, lambda late: self._modify_order(named, levels, terms, key, said, late)
        )

    def _modify_order(
        self,
        named: NamedPending,
        levels: Mapping[str, float],
        terms: Terms,
        key: str,
        said: Mapping[str, Any],
        late: Sequence[Order],
    ) -> Decision:
        row = self._targets.found_pending(named)
        # The ticks must be applied before the key is compared: the first intent has rounded prices.
        if row is not None:
            rounded = self._broker.on_ticks(row.symbol, *levels.values())
            levels = dict(zip(levels, rounded, strict=True))
        known = self._repeated(
            key, kind=OrderKind.MODIFY_ORDER, target=named.ticket, terms=terms, **levels
        )
        if known is not None:
            return known
        pending = self._targets.pending(named, late)
        # The broker overwrites every price, so those that stay are said again.
        prices: dict[str, Any] = {
            "price": pending.price_open,
            "stoplimit": pending.price_stoplimit,
            "sl": pending.sl,
            "tp": pending.tp,
            **levels,
        }
        return self._new(
            key,
            late,
            symbol=pending.symbol,
            side=pending.type.side,
            volume=pending.volume,
            kind=OrderKind.MODIFY_ORDER,
            target=pending.ticket,
            magic=self._part.magic_of(pending.magic),
            wire_magic=pending.magic,
            terms=terms,
            **said,
            **prices,
        )

    def cancel(
        self, order: Any, *, key: str = "", why: str = "", foreign: bool = False, who: str = ""
    ) -> Intent:
        """Cancel a pending order; see `PortfolioManager.cancel`."""
        key, why, by = check_texts(key=key, why=why, who=who)
        named, said = self._targets.name_pending(order, foreign=foreign), {"why": why, "by": by}
        return self._ordered(key, lambda late: self._cancel(named, key, said, late))

    def _cancel(
        self, named: NamedPending, key: str, said: Mapping[str, Any], late: Sequence[Order]
    ) -> Decision:
        # The key first: the first cancellation may have removed the order from the book.
        known = self._repeated(key, kind=OrderKind.CANCEL, target=named.ticket)
        if known is not None:
            return known
        pending = self._targets.pending(named, late)
        return self._new(
            key,
            late,
            symbol=pending.symbol,
            side=pending.type.side,
            volume=pending.volume,
            price=pending.price_open,
            kind=OrderKind.CANCEL,
            target=pending.ticket,
            magic=self._part.magic_of(pending.magic),
            wire_magic=pending.magic,
            **said,
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
            known = next(iter(self._part.with_key(self._book, key)), None)
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
        self._refuse_by_person(wish)
        self._refuse_entries(wish)
        self._refuse_unserved(wish)
        self._refuse_uninformed(late, wish)
        return NewOrder(self.gateway, key, wish)

    def _carry_out(self, decision: Decision) -> Intent:
        """Record a new order, send it and record its outcome: the four steps of this module."""
        if isinstance(decision, Order):
            return decision
        self._crash(CrashPoint.BEFORE_INTENT)
        order = self._record(decision.key, decision.wish)
        with about_order(order.order_id):
            return self._sent(decision, order)

    def _sent(self, decision: NewOrder, order: Order) -> Intent:
        """Send an order that was recorded, and record its outcome."""
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
        log_sending(order)
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
            record=self._broker.record,
            time_offset_sec=self._broker.time_offset_sec,
            server_time_msc=self._broker.server_time_msc,
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
            self._entries.modes.record_owed()

    def _repeated(self, key: str, **wish: Any) -> Intent | None:
        """Return the first intent of a key, or None; refuse the key with another wish."""
        refusal: Refused | None = None
        for known in self._part.with_key(self._book, key):
            try:
                must_repeat(known, wish)
            except Refused as error:
                # Another portfolio of the account may have used the same key for this very wish.
                refusal = refusal or error
            else:
                return known
        if refusal is not None:
            raise refusal
        return None

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

    def _message(self, order: Order) -> dict[str, Any]:
        bound, sender = self._book.bound, dict[str, Any]()
        if bound is not None:
            # The gateway refuses the order if the terminal is logged in to another account by now.
            # The login alone does not do: two servers may have accounts with the same number.
            sender |= {"login": bound.login, "server": bound.server}
            # With these names the gateway's record can tell a later process which orders its
            # journal has lost.
            if self._kept.journal is not None:
                sender |= {"stream": self._identity.book_name, "journal": self._kept.journal_id}
                sender["key"] = self._wire_key(order)
        return message_of(order, self._book, sender)

    def _wire_key(self, order: Order) -> str:
        """Return the key for the gateway, which takes a key of a book for one order only."""
        others = [one for one in with_key(self._book, order.key) if one is not order]
        # A refused order had no effect, and the gateway takes its key again.
        if all(one.status is OrderStatus.REJECTED for one in others):
            return order.key
        return f"{order.key} ({order.symbol}, magic {order.magic})"

    def _refuse_by_person(self, wish: Mapping[str, Any]) -> None:
        self._entries.modes.refuse(
            wish.get("kind", OrderKind.MARKET),
            position=wish.get("position", 0),
            target=wish.get("target", 0),
            by=wish.get("by", ""),
        )

    def _refuse_entries(self, wish: Mapping[str, Any]) -> None:
        if wish.get("position") or wish.get("target"):
            return
        is_pending = wish.get("kind", OrderKind.MARKET) is not OrderKind.MARKET
        entry = Entry(wish["symbol"], wish["side"], wish["volume"], is_pending)
        # The gateway checks by itself whether the broker has the symbol. Its check is as of now,
        # while the reading here may be older than a symbol that was just added.
        reason = self._entries.refused_entry(entry, but_by_gateway=True)
        if reason:
            raise Refused(f"No entry: {reason}")

    def _symbol_of(self, wish: Wish, magic: int) -> str:
        """Return an entry's symbol; refuse an entry that would not be ours under the policy.

        Raises:
            ValueError: the symbol, or the magic number, is outside the policy.
        """
        symbol, part = wish.get("symbol", self._identity.symbol), self._part
        if not part.is_whole and (symbol != part.symbol or part.magic not in (None, magic)):
            raise ValueError(
                f"symbol={symbol!r:.40} with magic={magic} is not valid: this portfolio is of "
                f"{part}; ask the account for a portfolio of the other one."
            )
        # A book without a reconciler is of its own symbol, whatever the magic number.
        policy = self.policy or Policy(symbols=frozenset({self._identity.symbol}))
        if symbol == EVERY_SYMBOL:
            raise ValueError("symbol is missing: the book has several; give one, as 'EURUSD'.")
        if not policy.covers(symbol):
            raise ValueError(
                f"symbol={symbol!r:.40} is not valid: the book's symbols are "
                f"{', '.join(sorted(policy.symbols))} (Policy.symbols of its reconciler)."
            )
        # A position that the policy does not count as ours would be foreign to its own book.
        why = policy.why_not_ours(symbol, magic, magic_token=self.magic_token)
        if why:
            raise ValueError(f"magic={magic} is not valid: by the book's policy {why}.")
        return symbol

    def _refuse_unserved(self, wish: Mapping[str, Any]) -> None:
        """Refuse an order that the gateway does not know, or whose terms it would drop."""
        needed = CAPABILITY_OF.get(wish.get("kind", OrderKind.MARKET), "")
        serves = getattr(self.gateway, "serves", None)
        if needed and not (serves is not None and serves(needed)):
            raise Refused(
                f"Nothing was sent: the gateway does not serve {needed}. It takes a `trueup "
                "gateway` of this version or later."
            )
        terms: Terms = wish.get("terms", PLAIN_TERMS)
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
        named = {position, target, wish.get("position_by", 0)}
        for order in late:
            about = {*order.named, order.target, order.ticket} - {0, None}
            is_entry_again = not (position or target) and order.kind not in CHANGES
            if is_entry_again or named & about:
                raise Refused(f"Nothing was sent now.{late_outcomes_text([order])}")

    def _refuse_second_close(self, identifier: int) -> None:
        order = self.closing(identifier)
        if order is not None:
            raise Refused(f"{order.order_id} may have closed it already: {order.error}")

    def closing(self, identifier: int) -> Order | None:
        """Return an order in doubt that may have closed a position, or None."""
        in_doubt = self._book.in_doubt.values()
        trades = (order for order in in_doubt if order.kind in AT_ONCE)
        return next((order for order in trades if identifier in order.named), None)
