"""The guide's portfolio: the positions and orders of one strategy, and the orders it sends.

`PortfolioManager` is a small shell around the pure `Book`: each call checks its arguments, turns
them into events, and commits the events. Nothing else changes the book.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from trueup.core.account.health import Restriction
from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.events import TradingMode, TradingPaused
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.conversions import whole_number
from trueup.core.limits.exposure import Entry
from trueup.core.limits.limits import Limits
from trueup.core.model import Position as BrokerPosition
from trueup.core.model import Side, Snapshot
from trueup.core.quantity import format_lots, format_money, format_price
from trueup.core.tables import table
from trueup.journal import Journal
from trueup.logs import Logger, logger
from trueup.processes import Process, this_process
from trueup.protocol.orders import read_outcome
from trueup.runtime.bot.answers import create_fill_response, log_created
from trueup.runtime.bot.broker_side import BrokerSide
from trueup.runtime.bot.crash_points import CrashPoint, carry_on
from trueup.runtime.bot.forced import ForcedEvent, added, closed, log_forced, updated
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.kept_book import EVENTS_PER_CHECKPOINT, KeptBook
from trueup.runtime.bot.modes import Modes
from trueup.runtime.bot.noting import note
from trueup.runtime.bot.order_checks import (
    CloseTerms,
    OrderChanges,
    SideWord,
    Wish,
    check_price,
    check_volume,
)
from trueup.runtime.bot.order_desk import Intent, OrderDesk
from trueup.runtime.bot.order_message import ticket_to_close
from trueup.runtime.bot.outcomes import OwedOutcomes, record_outcome
from trueup.runtime.bot.part import WHOLE, Part
from trueup.runtime.bot.risk import Entries, held_in, target_of, why_not
from trueup.runtime.bot.shared_copy import LiveMapping, SharedCopy
from trueup.runtime.bot.sight import Sight
from trueup.runtime.bot.unjournalled import Unjournalled
from trueup.runtime.bot.views import (
    OrderRow,
    Position,
    PositionSummary,
    direction,
    order_row,
    view,
)
from trueup.runtime.limits.setting import limits_setting
from trueup.runtime.limits.watch import LimitWatch
from trueup.runtime.time.clock import Clock, Moment, SystemClock, utc
from trueup.runtime.time.times import Times
from trueup.turns import Turn, in_turn

__all__ = ["Order", "OrderStatus", "PortfolioManager", "Position", "create_fill_response"]

log: Logger = logger("trueup.portfolio")

SIDES = {1: Side.BUY, -1: Side.SELL}


class LastMark:
    """The last believed reading, as far as a book keeps it beside its positions."""

    def __init__(self) -> None:
        self.seen: Moment | None = None
        self.positions: Sequence[BrokerPosition] | None = None
        self.currency_digits: int | None = None


class PortfolioManager:
    """The positions that this process holds in one symbol as far as it knows, and all its orders.

    Args:
        symbol: the symbol, as the broker spells it.
        journal: the journal for the events: a SQLite file ("bot.db"), a postgresql:// URL, or an
            open journal. Without a journal the events end with the process.
        stream: the name of this book, in the journal and at the gateway; by default the symbol.
        clock: the source of time.
        magic: the magic number of this book. Its orders carry the number, by which the broker and
            other programs recognise them; 0 to 2**64 - 1, with `magic_token` below 2**32.
        run: the part of every order id that is unique to this run; random by default.
        magic_token: whether the low 32 bits of the magic number carry an order's token, which no
            broker rewrites; a strategy's own magic number then has 32 bits.
        crash: called at every crash point, for tests of crashes.
        events_per_checkpoint: the number of events after which the whole book is saved, so that a
            restart replays at most that many; a book that is larger than this number is saved less
            often.
        limits: risk limits for entries; by default those of the settings (the table [limits] of
            `trueup.toml`, or the file that TRUEUP_LIMITS names). `Limits()` is no limit.

    Raises:
        SettingsError: the limits of the settings cannot be used.
        ValueError: `symbol` is empty, or `magic` is not valid.
        JournalConflict: another process writes this book; the message names the process and since
            when it writes.
        JournalError: the journal cannot be opened.

    Threads may share the object: a thread that decides or changes something waits for its turn, and
    a thread that only reads never waits (`docs/operating/threads.md`). A process that is forked
    from this process must not use the object.
    """

    def __init__(
        self,
        symbol: str = "EURUSD",
        *,
        journal: Journal | str | Path | None = None,
        stream: str | None = None,
        clock: Clock | None = None,
        magic: int = 0,
        run: str | None = None,
        magic_token: bool = False,
        crash: Callable[[CrashPoint], None] = carry_on,
        events_per_checkpoint: int = EVENTS_PER_CHECKPOINT,
        limits: Limits | None = None,
    ) -> None:
        # First, so that limits that cannot be used leave no journal open.
        limits = limits_setting() if limits is None else limits
        self._identity = Identity(
            symbol, magic, magic_token=magic_token, stream=stream, run=run or secrets.token_hex(4)
        )
        self.symbol: str = self._identity.symbol
        self.magic: int = self._identity.magic
        self.stream: str = self._identity.stream
        self.run_id: str = self._identity.run
        self.logger = log
        self.clock: Clock | SystemClock = clock or SystemClock()
        # From here to the desk, each part uses only parts that are created before it.
        self._kept = KeptBook(journal, self.stream, self.clock, crash, events_per_checkpoint)
        self._owed = OwedOutcomes(self._kept)
        sight = Sight()
        self._broker = BrokerSide(self.clock, sight)
        self._limits = LimitWatch(limits, self._kept, self._broker, self.clock, self._audit)
        self.on_forced: Callable[[Sequence[events.Event]], None] | None = None
        self._modes = Modes(self._kept, self._audit)
        self._entries = Entries(
            self._kept, self._owed, sight, self._limits, self._modes, self.symbol, self.clock
        )
        self._crash = crash
        self._kept.on_found = self._found
        self._last = LastMark()
        self._show(WHOLE)
        self.process: Process = this_process()
        """The process that other books see as the owner of this book."""

    def _show(self, part: Part) -> None:
        """Make what belongs to this part of the book: its order desk, and copies for readers."""
        self._part = part
        self.desk: OrderDesk = OrderDesk(
            self._kept,
            self._identity,
            self._entries,
            self._owed,
            self._broker,
            part=part,
            crash=self._crash,
        )
        self.sight: Sight = self._entries.sight
        # Readers in other threads get copies, so that they never see half a change.
        self._position_copy = SharedCopy(self._kept, self._view)
        self._tickets_copy = SharedCopy(self._kept, self._views)

    # Values that the strategy reads.

    @property
    def turn(self) -> Turn:
        """The lock of a thread that decides from the book or changes the book.

        Hold the turn for several calls without interruption by another thread: `with pm.turn: ...`.
        """
        return self._kept.turn

    @property
    def book(self) -> Book:
        """The book itself, for reading; only this class changes the book."""
        return self._kept.book

    @property
    def journal_trouble(self) -> str:
        """The reason why the journal accepts no events now, or an empty string."""
        return self._kept.trouble

    @property
    def journal_remedy(self) -> str:
        """What a person can do about `journal_trouble`, or an empty string if that is not known."""
        return self._kept.remedy

    @property
    def is_fenced_out(self) -> bool:
        """Whether another process took over the journal: nothing can be recorded or sent here."""
        return self._kept.is_fenced_out

    @property
    def restrictions(self) -> tuple[Restriction, ...]:
        """The reasons of a person, of the last sync and of risk limits against new positions."""
        return (
            *self._modes.restrictions(),
            *self._entries.restrictions,
            *self._entries.by_limits(),
        )

    @restrictions.setter
    def restrictions(self, restrictions: tuple[Restriction, ...]) -> None:
        self._entries.restrictions = restrictions

    @property
    def limits(self) -> Limits:
        """The risk limits of the book; `Limits()` for none."""
        return self._limits.limits

    @property
    def has_limits(self) -> bool:
        """Whether a risk limit is set."""
        return not self._limits.is_off

    @property
    def limits_reached(self) -> tuple[Restriction, ...]:
        """The risk limits that refuse every entry of their symbol, or of the account."""
        return self._entries.by_limits()

    @in_turn
    def see_for_limits(self, snapshot: Snapshot, asked_version: int) -> None:
        """Judge the risk limits by a believed reading; `asked_version` as for `LastReading`."""
        self._limits.see(snapshot, asked_version)

    @property
    def orders(self) -> Mapping[str, Order]:
        """All orders by order id, oldest first."""
        if self._part.is_whole:
            return LiveMapping(self.book.orders)
        return {order.order_id: order for order in self._part.orders(self.book)}

    @property
    def order_counter(self) -> int:
        """The number of order ids that this process has created."""
        return self._identity.order_count

    @property
    def position(self) -> Position | None:
        """All open tickets of our symbol as one position, or None when flat."""
        return self._position_copy.read()

    @property
    def seen(self) -> Moment | None:
        """The time of the question behind the last believed reading."""
        return self._last.seen

    @seen.setter
    def seen(self, seen: Moment | None) -> None:
        self._last.seen = seen

    @property
    def as_of(self) -> dt.datetime | None:
        """The time of the last believed reading, UTC; None before the first."""
        return None if self.seen is None else utc(self.seen.date_ns)

    @property
    def as_of_ns(self) -> int | None:
        """The time of the last believed reading as nanoseconds of UTC since 1970."""
        return None if self.seen is None else self.seen.date_ns

    @property
    def age_ns(self) -> int | None:
        """The age of the last believed reading; None before the first.

        Measured by a clock that no user can set, and that runs on while the machine sleeps.
        """
        return None if self.seen is None else self.clock.age_ns() - self.seen.age_ns

    @property
    def counted_ns(self) -> int:
        """The date of the last believed reading plus its age (ns).

        Ages are computed with this date rather than the wall clock, which may have been set
        meanwhile.
        """
        return self.clock.now_ns() if self.seen is None else self.seen.date_ns + (self.age_ns or 0)

    @property
    def times(self) -> Times:
        """The time of each written event, by the clocks that no user can set."""
        return self._kept.times

    def is_current(self, max_age_sec: float) -> bool:
        """Return whether the last believed reading is at most `max_age_sec` seconds old.

        An older reading is not shown as current; the book does not become flat either.
        """
        return self.age_ns is not None and self.age_ns <= float(max_age_sec) * 1e9

    @property
    def realised(self) -> float:
        """The realised result of all counted deals, in the account's currency."""
        return self._part.realised(self.book)

    @property
    def currency_digits(self) -> int | None:
        """The decimals of the account's currency, by the last reading; None if unknown."""
        account = self.book.account
        if self._last.currency_digits is None and account is not None:
            return account.currency_digits
        return self._last.currency_digits

    def get_local_positions(self) -> dict[int, Position]:
        """Return each open ticket as a position of its own, by ticket."""
        return dict(self._tickets_copy.read())

    def ticket_to_close(self, order: Order) -> int:
        """Return the ticket to name in an order that closes a position; 0 for an entry.

        `order.position` is the identifier of that position, whose ticket may have changed since.
        """
        return ticket_to_close(self.book, order)

    def find_order_by_ticket(self, ticket: int) -> Order | None:
        """Return the order that has this ticket, or None."""
        found = whole_number(ticket)
        order = None if found is None else self.book.orders_by_ticket.get(found)
        return order if order is not None and self._part.has_order(order) else None

    def get_position_summary(self) -> PositionSummary:
        """Return the position as plain values; `status` is FLAT or OPEN."""
        position = self.position
        if position is None:
            return {"status": "FLAT", "symbol": self.symbol}
        return {
            "status": "OPEN",
            "symbol": position.symbol,
            "direction": direction(position.net_volume),
            "net_volume": position.net_volume,
            "avg_entry_price": position.avg_entry_price,
            "current_price": position.current_price,
            "unrealized_pnl": position.unrealized_pnl,
            "orders_count": len(position.orders),
        }

    def _repr_html_(self) -> str:
        """Return the open positions and the orders under way as tables, for a notebook."""
        held = [
            (
                ticket,
                one.symbol,
                f"{direction(one.net_volume)} {format_lots(abs(one.net_volume))}L",
                format_price(one.avg_entry_price),
                format_price(one.current_price),
                format_money(one.unrealized_pnl, self.currency_digits),
            )
            for ticket, one in self.get_local_positions().items()
        ]
        waiting = [
            (order.order_id, order.symbol, order.action, order.status.value, order.error or "")
            for order in self._part.orders(self.book)
            if order.status in (OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.IN_DOUBT)
        ]
        realised = format_money(self.realised, self.currency_digits)
        title = f"Book {self.stream}: {len(held)} positions, realised {realised}"
        heads = ("ticket", "symbol", "volume", "entry", "price", "profit")
        orders = table("Orders under way", ("order", "symbol", "side", "status", "why"), waiting)
        return table(title, heads, held) + (orders if waiting else "")

    def get_order_history(self) -> list[OrderRow]:
        """Return every order as plain values, oldest first; times are ISO 8601 in UTC."""
        return [order_row(order) for order in self._part.orders(self.book)]

    # Decisions for the strategy.

    @in_turn
    def check_risk(self, signal: int) -> bool:
        """Return whether a signal (1 buy, -1 sell, 0 hold) may become an order.

        Flat passes both; long refuses a buy and passes a sell; short the reverse. While an order is
        in doubt, no entry passes, and no order on its side. Once the book has a gateway or a
        reconciler, no entry passes before the first believed reading.
        """
        side = _side_of_signal(signal)
        if side is None:
            log.info("[RISK] HOLD signal (%.40r): no order", signal)
            return False
        self.follow()
        net = self.position.net_volume if self.position is not None else 0.0
        # An order with an unrecorded outcome may have changed the position, so nothing passes
        # before its outcome is recorded.
        reason = (
            self._modes.orders_refused()
            or self._entries.owed()
            or why_not(
                side, net, self.book, self._entries.restricted(), self.symbol, self._part.magic
            )
        )
        if reason:
            log.warning("[RISK] BLOCKED: %s %s", side.action, reason)
            return False
        return True

    @in_turn
    def create_order(self, signal: int, price: float, volume: float = 0.01) -> Order | None:
        """Create an order of `volume` lots, or return None when risk refuses the order.

        An order against the position names the ticket that it closes, so that a hedging account
        does not open the opposite position instead. If no single ticket has `volume` lots, the
        order closes the oldest ticket with that ticket's volume: ask again for the rest. So send
        the `volume` of the returned order.

        Raises:
            ValueError: the price or the volume is not valid.
        """
        price, volume = check_price(price), check_volume(volume)
        side = _side_of_signal(signal)
        if not self.check_risk(signal) or side is None:
            return None
        position, lots = target_of(self.book, side, volume, self.symbol, self._part.magic)
        reason = ""
        if not position:
            reason = self._entries.refused_entry(Entry(self.symbol, side, lots))
        if reason:
            # Such an order may open a position, at least with its rest, and that is an entry.
            log.warning("[RISK] BLOCKED: %s %sL %s", side.action, format_lots(volume), reason)
            return None
        # The caller asked for more than this order closes, so the log says how to get the rest.
        if lots != volume:
            log.info(
                "[ORDER] %s %sL closes ticket %d first, its %sL; ask again for the rest",
                side.action,
                format_lots(volume),
                self.book.holdings[position].position.ticket,
                format_lots(lots),
            )
        order_id = self.next_order_id()
        # Journalled before the caller can send the order, so that a crash after the sending leaves
        # an order to look for.
        self.commit(
            [
                events.OrderCreated(
                    at_ns=self.clock.now_ns(),
                    order_id=order_id,
                    symbol=self.symbol,
                    side=side,
                    volume=lots,
                    price=price,
                    position=position,
                    magic=self.magic,
                    token=order_id,
                )
            ]
        )
        log_created(self.book.orders[order_id])
        return self.book.orders[order_id]

    @in_turn
    def on_fill(self, fill: Mapping[str, Any]) -> bool:
        """Record a gateway's answer to an order in the book.

        `fill` has `order_id`, `ticket`, `filled_price`, `filled_volume` (lots), `status` (FILLED,
        REJECTED, CANCELED or UNKNOWN), `timestamp` and `error`. A repeated answer changes nothing.
        An answer with an unknown outcome, or a fill without its figures, leaves the order in doubt.

        Returns:
            Whether the answer was recorded; False for an order that is not in the book, and for an
            answer that contradicts an earlier answer.
        """
        self.follow()
        order = self.book.orders.get(str(fill.get("order_id")))
        if order is None or not self._part.has_order(order):
            log.error("[FILL] Unknown order: %r", fill.get("order_id"))
            return False
        outcome = read_outcome(fill, order.kind, order.volume)
        return record_outcome(self._kept, order, outcome, self.clock.now_ns())

    # Orders that are journalled before they are sent.

    @in_turn
    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; journalled first, sent once.

        Args:
            side: "buy" or "sell".
            volume: lots.
            wish: stops, magic number, key and so on; see `Wish`.

        Returns:
            The intent; its `status` is FILLED, REJECTED, or IN_DOUBT until a sync finds the
            outcome.

        Raises:
            ValueError: a value is not valid; nothing is recorded or sent.
            Paused: a person paused trading, or allows only closes.
            Refused: entries are refused now, or the key was used for another wish.
            NotSent: no gateway is attached.
            OutcomeNotRecorded: the order was sent, and its outcome is not in the journal yet; the
                error carries the order. Do not ask for the order again.
            JournalError, of any other kind: the intent could not be journalled, so nothing was
                sent.
        """
        return self.desk.submit(side, volume, **wish)

    @in_turn
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
        """Close a position (its ticket, or an object with a `ticket`), or `volume` lots of it.

        `key`, `why`, `price` and the terms are as in `Wish`. A close is allowed while entries are
        refused. `who` names the person who asks for the close, empty for the strategy: a person's
        close is also allowed while trading is paused. Raises as `submit` does.

        `foreign` also allows a position that is not in the book: the broker's row of the position
        (`core.model.Position`), or the ticket of a position in the last believed reading. The order
        is journalled and its outcome is found like that of any other order, but the position stays
        foreign: nothing of it enters the book.
        """
        return self.desk.close(
            position, volume, key=key, why=why, price=price, foreign=foreign, who=who, **terms
        )

    @in_turn
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
        """Set stop loss and take profit of a position (prices; 0 removes). Raises as `submit`.

        `foreign` is as for `close`, `who` as in `Wish`.
        """
        return self.desk.modify(position, sl, tp, key=key, why=why, foreign=foreign, who=who)

    @in_turn
    def close_all(
        self, symbol: str | None = None, magic: int | None = None, *, why: str = "", who: str = ""
    ) -> list[Intent]:
        """Close every position of the book, or those of a symbol, or of a strategy's magic number.

        Returns one intent for each position, in each symbol the oldest first. A refusal by the
        broker stops none of the others. Where an order in doubt may have closed a position
        already, that order is in the list and nothing is sent for the position. Call again after a
        sync to close what is left.

        On a netting account all strategies share the position of a symbol: `magic` is that of the
        position. `who` is as for `close`.

        Raises:
            ValueError: `symbol` is none of the book's, or `magic` is not valid.
            NotSent: no gateway is attached.
            JournalError: an intent could not be journalled, so that order was not sent. What was
                sent before is in the journal; a call after the trouble closes the rest.
        """
        return self.desk.close_all(symbol, magic, why=why, who=who)

    @in_turn
    def close_unjournalled(
        self, position: Any, *, key: str, who: str, why: str = ""
    ) -> Unjournalled:
        """Close a position for a person while the journal takes nothing.

        Only on a hedging account, and only through a gateway whose record of requests is on disk
        (`runtime.bot.unjournalled`). Intent and outcome are journalled when the journal
        works again, also by a later process, and the book changes only then.

        Args:
            position: as for `close`; it is closed in full.
            key: the name of the wish, by which nothing is sent twice.
            who: the person's name.
            why: the person's reason.

        Raises:
            ValueError: the book has no such position, or a value is no text.
            Refused: nothing was sent; the message says how to close in the terminal instead.
        """
        return self.desk.close_unjournalled(position, key=key, why=why, who=who)

    @in_turn
    def close_by(
        self,
        position: Any,
        other: Any,
        *,
        key: str = "",
        why: str = "",
        foreign: bool = False,
    ) -> Intent:
        """Close a position by an opposite position (tickets, or objects with a `ticket`).

        One order closes the smaller volume in both, so the spread is not paid again. Only hedging
        accounts have this. `key` and `why` are as in `Wish`, `foreign` as for `close`; a
        foreign position stays foreign, and one of the book shrinks in the book. Raises as `submit`.
        """
        return self.desk.close_by(position, other, key=key, why=why, foreign=foreign)

    @in_turn
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
        """Change a pending order (its ticket, or an object with a `ticket`). Raises as `submit`.

        `changes` are the new `price`, `stoplimit`, `sl` and `tp` (prices; 0 removes a stop) and
        `expires`; what is not given stays. `foreign` is as for `cancel`, `who` as in `Wish`.
        """
        return self.desk.modify_order(order, key=key, why=why, foreign=foreign, who=who, **changes)

    @in_turn
    def cancel(
        self, order: Any, *, key: str = "", why: str = "", foreign: bool = False, who: str = ""
    ) -> Intent:
        """Cancel a pending order (its ticket, or an object with a `ticket`). Raises as `submit`.

        `foreign` also allows a pending order that is not in the book: the broker's row
        (`core.model.PendingOrder`), or the ticket of a row in the last believed reading. `who` is
        as in `Wish`.
        """
        return self.desk.cancel(order, key=key, why=why, foreign=foreign, who=who)

    # What a person tells the strategy.

    @property
    def paused(self) -> TradingPaused | None:
        """The mode that a person has set, with who and why; None while every order is allowed."""
        return self._modes.paused

    @property
    def is_paused(self) -> bool:
        """Whether a person has paused trading, so that the strategy sends nothing."""
        return self.paused is not None and self.paused.mode is TradingMode.PAUSED

    @in_turn
    def pause(self, who: str, *, why: str = "") -> TradingPaused:
        """Send nothing that the strategy asks for, until `resume`; also after a restart.

        Entries, closes and changes are refused (`Paused`); syncs go on, and so do closes that name
        a person (`close(..., who=...)`). The mode is of the whole book: a portfolio of an account
        pauses the account. While the journal takes nothing, the mode is kept in memory and
        journalled later.

        Args:
            who: the person's name.
            why: the person's reason, for the log and the audit trail.

        Raises:
            ValueError: a value is no text.
            JournalConflict: another process took the journal over.
        """
        return self._modes.set(TradingMode.PAUSED, who, why)

    @in_turn
    def close_only(self, who: str, *, why: str = "") -> TradingPaused:
        """Refuse entries until `resume`; closes, changes and cancellations pass.

        An order without a position counts as an entry, also if it would reduce a netting position:
        use `close`. The rest is as for `pause`.

        Raises:
            ValueError: a value is no text.
            JournalConflict: another process took the journal over.
            JournalError: trading was paused, and the journal takes nothing: trading stays paused.
        """
        return self._modes.set(TradingMode.CLOSE_ONLY, who, why)

    @in_turn
    def resume(self, who: str, *, why: str = "") -> bool:
        """Allow every order again; return whether a mode was set. The arguments are as for `pause`.

        Raises:
            ValueError: a value is no text.
            JournalError: the journal takes nothing; the mode stays.
        """
        return self._modes.resume(who, why)

    @in_turn
    def note_stop(self, who: str, *, why: str = "") -> None:
        """Journal that a person ends this process; the arguments are as for `pause`.

        Raises:
            ValueError: a value is no text.
            JournalError: the journal takes nothing.
        """
        self._modes.note_stop(who, why)

    @in_turn
    def note_sync(self, who: str, *, why: str = "") -> None:
        """Journal that a person asks for a sync; raises as `note_stop`."""
        self._modes.note_sync(who, why)

    @in_turn
    def note(self, event: events.Event) -> None:
        """Journal what a person or an assistant told the bot, with a log line and an audit entry.

        Raises:
            JournalError: the journal takes nothing.
        """
        note(self._kept, self._audit, event)

    # Forced corrections by a person or a foreign reconciler.

    @in_turn
    def force_add_position(self, row: object) -> bool:
        """Add a position to the book as the broker has it.

        `row` is a mapping, a `RemotePosition` or a row of the official module. It has `ticket`,
        `symbol`, `type` ("buy" or "sell"), `volume` (lots), `price_open`, and may have `profit` and
        `time`. A row that cannot be read, has another symbol, or is in the book already, changes
        nothing: the method returns False, and the log has the reason.
        """
        return self._force(added(self.book, self.symbol, row, self.clock.now_ns()))

    @in_turn
    def force_close_position(self, ticket: int) -> bool:
        """Remove a ticket from the book; False if the book does not have the ticket."""
        return self._has(ticket) and self._force(closed(self.book, ticket, self.clock.now_ns()))

    @in_turn
    def force_update_position(self, ticket: int, row: object) -> bool:
        """Set a ticket to the broker's values; False if it is missing or the row unreadable.

        `row` is as for `force_add_position`; a field that the row does not have keeps its value.
        """
        now_ns = self.clock.now_ns()
        return self._has(ticket) and self._force(
            updated(self.book, self.symbol, ticket, row, now_ns)
        )

    # The two ways of events into the book.

    def watch(self, called: Callable[[Sequence[events.Event]], None]) -> None:
        """Call a function, within the turn, with the events that the book has just applied."""
        self._kept.watchers.append(called)

    def commit(self, history: Sequence[events.Event]) -> None:
        """Journal events and apply them to the book: all of them, or none.

        Raises:
            JournalError: the events could not be journalled; the book is unchanged.
        """
        self._kept.commit(history)

    def find_out(self) -> None:
        """Test whether a journal that failed works again; do nothing without trouble.

        Raises:
            JournalAhead: events whose append seemed to fail are in the journal, and the book has
                applied them.
        """
        self._kept.find_out()

    def follow(self) -> None:
        """Apply events that are in the journal and not yet in the book, as after Ctrl-C."""
        self._kept.follow()

    @property
    def book_name(self) -> str:
        """The name of this book at the gateway; see `Identity.book_name`."""
        return self._identity.book_name

    @property
    def journal(self) -> Journal | None:
        """The journal of the book; None for a book in memory only."""
        return self._kept.journal

    @property
    def keeps_journal(self) -> bool:
        """Whether the book has a journal that a later process can read."""
        return self._kept.journal is not None

    @property
    def journal_id(self) -> str:
        """The journal's own name, the same in each copy; empty without a journal or events.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._kept.journal_id

    @property
    def journal_token(self) -> int:
        """The fencing token of this writer of the journal; 0 for a journal without tokens."""
        return int(getattr(self._kept.journal, "token", 0))

    @in_turn
    def raise_token(self, least: int) -> None:
        """Raise the journal's token; see `StoredJournal.raise_token`.

        Raises:
            JournalConflict: another process writes the journal now.
            JournalError: the token may not have been raised.
        """
        raise_token = getattr(self._kept.journal, "raise_token", None)
        if raise_token is not None:
            raise_token(least)

    def recorded(self) -> Iterator[events.Event] | None:
        """Yield every event of the journal, oldest first; None without a journal.

        Raises:
            JournalError: the journal cannot be read.
        """
        journal = self._kept.journal
        return None if journal is None else journal.read()

    def recorded_among(self, order_ids: Collection[str]) -> set[str]:
        """Return those of these orders that are in the journal, archived or not.

        Raises:
            JournalError: the journal cannot be read.
        """
        journal = self._kept.journal
        if journal is None:
            return set()
        stored = getattr(journal, "orders_among", None)
        if stored is not None:
            return set(stored(order_ids))
        intents = (event for event in journal.read() if isinstance(event, events.OrderCreated))
        return {event.order_id for event in intents} & set(order_ids)

    def __enter__(self) -> PortfolioManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_journal()

    def close_journal(self) -> None:
        """Save the book and close the journal, as at the end of a `with` block."""
        self._limits.close()
        self._kept.close()

    def next_order_id(self) -> str:
        """Return an order id that no other order of any run has."""
        return self._identity.next_order_id()

    @in_turn
    def mark(self, snapshot: Snapshot, asked: Moment) -> None:
        """Update the broker's quotations (current price, profit, swap) of our positions.

        `asked` is the time when the snapshot was asked for.
        """
        self._last.seen = asked
        if snapshot.evidence is not None:
            self._last.currency_digits = snapshot.evidence.account.currency_digits
            self.desk.see_symbols(snapshot.evidence.specs)
        if snapshot.positions is self._last.positions:
            # The same list object as last time: only the account's figures are newer.
            return
        self._last.positions = snapshot.positions
        find = self.book.holdings.get
        # Marks are no events: they are not journalled, but readers must not see half of them.
        with self._kept.changing():
            for remote in snapshot.positions:
                holding = find(remote.identifier)
                if holding is not None:
                    holding.mark = remote

    def _view(self) -> Position | None:
        holdings = held_in(self.book, self.symbol, self._part.magic)
        return view(self.symbol, holdings, self.book.orders) if holdings else None

    def _views(self) -> dict[int, Position]:
        return {
            holding.position.ticket: view(holding.position.symbol, [holding], self.book.orders)
            for holding in self._part.holdings(self.book)
        }

    def _has(self, ticket: object) -> bool:
        """Return whether a ticket is of this part of the book; log it if it is of another part."""
        found = whole_number(ticket)
        holding = None if found is None else self.book.holding_by_ticket(found)
        if holding is None or self._part.has_holding(self.book, holding):
            # A ticket that the book does not have is named by the caller's own log line.
            return True
        log.warning("[RECONCILE] No position with ticket %.40r in %s", ticket, self._part)
        return False

    def _force(self, event: ForcedEvent | None) -> bool:
        if event is None:
            return False
        self.commit([event])
        self._audit([event])
        log_forced(event)
        return True

    def _found(self, history: Sequence[events.Event]) -> None:
        self._owed.note_found(history)
        self._modes.note_found(history)
        self._audit(history)

    def _audit(self, history: Sequence[events.Event]) -> None:
        if self.on_forced is not None:
            self.on_forced(history)

    def entries_refused(
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
        return self._entries.refused(
            symbol or self.symbol,
            but_by_gateway=but_by_gateway,
            but_by_limits=but_by_limits,
            but_by_person=but_by_person,
        )


def _side_of_signal(signal: object) -> Side | None:
    """Return the side of a signal, None for a signal without a side."""
    return None if isinstance(signal, str) else SIDES.get(whole_number(signal) or 0)
