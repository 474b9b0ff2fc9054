"""The guide's portfolio: what a strategy holds, asks and is told.

`PortfolioManager` is a small shell around the pure `Book`: each call checks what it was given,
turns it into events, and commits them. Nothing else changes the book.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from trueup.core.account.health import Restriction
from trueup.core.book import events
from trueup.core.book.book import Book, Order
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.conversions import whole_number
from trueup.core.model import Position as BrokerPosition
from trueup.core.model import Side, Snapshot
from trueup.core.quantity import format_lots
from trueup.journal import Journal
from trueup.logs import Logger, logger
from trueup.processes import Process, this_process
from trueup.protocol.orders import read_outcome
from trueup.runtime.bot.answers import create_fill_response, log_created
from trueup.runtime.bot.crash_points import CrashPoint, carry_on
from trueup.runtime.bot.forced import ForcedEvent, added, closed, log_forced, updated
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.kept_book import EVENTS_PER_CHECKPOINT, KeptBook
from trueup.runtime.bot.order_checks import SideWord, Wish, check_price, check_volume
from trueup.runtime.bot.order_desk import Intent, OrderDesk, ticket_to_close
from trueup.runtime.bot.outcomes import OwedOutcomes, record_outcome
from trueup.runtime.bot.risk import Entries, target_of, why_not
from trueup.runtime.bot.shown import LiveMapping, Shown
from trueup.runtime.bot.sight import Sight
from trueup.runtime.bot.views import (
    OrderRow,
    Position,
    PositionSummary,
    direction,
    order_row,
    view,
)
from trueup.runtime.time.clock import Clock, Moment, SystemClock, utc
from trueup.runtime.time.times import Times
from trueup.turns import Turn, in_turn

__all__ = ["Order", "OrderStatus", "PortfolioManager", "Position", "create_fill_response"]

log: Logger = logger("trueup.portfolio")

SIDES = {1: Side.BUY, -1: Side.SELL}


class PortfolioManager:
    """What this process believes it holds in one symbol, and every order it made.

    Args:
        symbol: the symbol, as the broker spells it.
        journal: where its events are kept: a SQLite file ("bot.db"), a postgresql:// URL, or an
            open journal; without one they end with the process.
        stream: the name of this book, in the journal and at the gateway; by default the symbol.
        clock: where the time comes from.
        magic: the magic number of this book: its orders carry it, and by it the broker and other
            programs know whose they are; 0 to 2**64 - 1, with `magic_token` below 2**32.
        run: a part of every order id that no other run has; drawn at random by default.
        magic_token: whether the low 32 bits of the magic number carry an order's token, which
            no broker rewrites; a strategy's own magic number then has 32 bits.
        crash: called at every crash point, for tests that die there.
        events_per_checkpoint: after how many events the whole book is saved, so that a restart
            replays no more than those; later where the book is larger than that.

    Raises:
        ValueError: `symbol` is empty, or `magic` is none.
        JournalConflict: another process writes this book; the message says which, since when.
        JournalError: the journal cannot be opened.

    Threads may share it: one that decides or changes something waits for its turn, and one that
    reads waits for nobody (`docs/operating/threads.md`). A process that is forked from this one may
    not use it.
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
    ) -> None:
        self._identity = Identity(
            symbol, magic, magic_token=magic_token, stream=stream, run=run or secrets.token_hex(4)
        )
        self.symbol: str = self._identity.symbol
        self.magic: int = self._identity.magic
        self.stream: str = self._identity.stream
        self.run_id: str = self._identity.run
        self.logger = log
        self.clock: Clock | SystemClock = clock or SystemClock()
        # From here to the desk each part knows those above it in this list, and none below.
        self._kept = KeptBook(journal, self.stream, self.clock, crash, events_per_checkpoint)
        self._owed = OwedOutcomes(self._kept)
        self._entries = Entries(self._kept, self._owed, self.symbol, self.clock)
        self.desk: OrderDesk = OrderDesk(
            self._kept, self._identity, self._entries, self._owed, crash=crash
        )
        self.sight: Sight = self._entries.sight
        self._kept.on_found = self._found
        self._shown_position = Shown(self._kept, self._view)
        self._shown_tickets = Shown(self._kept, self._views)
        self.seen: Moment | None = None
        """When the broker was last seen and believed: the moment of the question."""
        self._marked: Sequence[BrokerPosition] | None = None
        self._currency_digits: int | None = None
        self.on_forced: Callable[[Sequence[events.Event]], None] | None = None
        self.process: Process = this_process()
        """By which process other books are told of this one."""

    # What the strategy reads.

    @property
    def turn(self) -> Turn:
        """What a thread holds that decides by the book or changes it, or that makes several calls
        which no other thread is to come between: `with pm.turn: ...`."""
        return self._kept.turn

    @property
    def book(self) -> Book:
        """The book itself: read it, and leave changing it to this class."""
        return self._kept.book

    @property
    def journal_trouble(self) -> str:
        """Why the journal takes nothing now; empty while it does."""
        return self._kept.trouble

    @property
    def is_fenced_out(self) -> bool:
        """Whether another process took the journal over: nothing can be recorded or sent here."""
        return self._kept.is_fenced_out

    @property
    def restrictions(self) -> tuple[Restriction, ...]:
        """What the last sync left as reasons to open nothing."""
        return self._entries.restrictions

    @restrictions.setter
    def restrictions(self, restrictions: tuple[Restriction, ...]) -> None:
        self._entries.restrictions = restrictions

    @property
    def orders(self) -> Mapping[str, Order]:
        """All orders by order id, in the order they were made."""
        return LiveMapping(self.book.orders)

    @property
    def order_counter(self) -> int:
        """How many order ids this process has given out."""
        return self._identity.order_count

    @property
    def position(self) -> Position | None:
        """All open tickets of our symbol taken together, or None when flat."""
        return self._shown_position.read()

    @property
    def as_of(self) -> dt.datetime | None:
        """When the broker was last seen and believed, UTC; None before the first time."""
        return None if self.seen is None else utc(self.seen.date_ns)

    @property
    def as_of_ns(self) -> int | None:
        """The same as nanoseconds of UTC since 1970."""
        return None if self.seen is None else self.seen.date_ns

    @property
    def age_ns(self) -> int | None:
        """How long ago the broker was last seen and believed; None before the first time.

        Told by a clock that nobody sets, and that goes on while the machine sleeps.
        """
        return None if self.seen is None else self.clock.age_ns() - self.seen.age_ns

    @property
    def counted_ns(self) -> int:
        """The date, counted on from the last reading that was believed (ns).

        Ages are told by this date, and not by the wall clock: somebody may have set that since.
        """
        return self.clock.now_ns() if self.seen is None else self.seen.date_ns + (self.age_ns or 0)

    @property
    def times(self) -> Times:
        """What was written when, by the clocks that nobody sets."""
        return self._kept.times

    def is_current(self, max_age_sec: float) -> bool:
        """Return whether the broker was seen and believed within the last `max_age_sec` seconds.

        What is older is not handed out as current; it does not turn into flat either.
        """
        return self.age_ns is not None and self.age_ns <= float(max_age_sec) * 1e9

    @property
    def realised(self) -> float:
        """The realised result of all deals recorded, in the account's currency."""
        return self.book.realised

    @property
    def currency_digits(self) -> int | None:
        """The decimals of the account's money, as it was read last; None where nobody told."""
        account = self.book.account
        if self._currency_digits is None and account is not None:
            return account.currency_digits
        return self._currency_digits

    def get_local_positions(self) -> dict[int, Position]:
        """Return each open ticket's own position, by ticket."""
        return dict(self._shown_tickets.read())

    def ticket_to_close(self, order: Order) -> int:
        """Return the ticket to name in an order that closes a position; 0 for an entry.

        `order.position` is the identifier of that position, and its ticket may have changed since.
        """
        return ticket_to_close(self.book, order)

    def find_order_by_ticket(self, ticket: int) -> Order | None:
        """Return the order that has this ticket, or None."""
        found = whole_number(ticket)
        return None if found is None else self.book.orders_by_ticket.get(found)

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

    def get_order_history(self) -> list[OrderRow]:
        """Return every order as plain values, oldest first; times are ISO 8601 in UTC."""
        return [order_row(order) for order in list(self.book.orders.values())]

    # What the strategy asks.

    @in_turn
    def check_risk(self, signal: int) -> bool:
        """Return whether a signal (1 buy, -1 sell, 0 hold) may become an order.

        Flat passes both; long refuses a buy and passes a sell; short the reverse. While an order
        is in doubt no entry passes, and nothing on that order's side. Once the book has a gateway
        or a reconciler, no entry passes before a reading of the broker was believed.
        """
        side = _side_of_signal(signal)
        if side is None:
            log.info("[RISK] HOLD signal (%.40r): no order", signal)
            return False
        self.follow()
        net = self.position.net_volume if self.position is not None else 0.0
        reason = self._entries.owed() or why_not(
            side, net, self.book, self._entries.restricted(), self.symbol
        )
        if reason:
            log.warning("[RISK] BLOCKED: %s %s", side.action, reason)
            return False
        return True

    @in_turn
    def create_order(self, signal: int, price: float, volume: float = 0.01) -> Order | None:
        """Make an order of `volume` lots, or return None when risk refuses it.

        An order against the position names the ticket it closes, so that a hedging account does
        not open the opposite position instead. Where no single ticket has `volume` lots, the order
        closes the oldest one, with that one's volume: ask again for the rest. So its `volume` is
        what to send.

        Raises:
            ValueError: the price or the volume cannot be one.
        """
        price, volume = check_price(price), check_volume(volume)
        side = _side_of_signal(signal)
        if not self.check_risk(signal) or side is None:
            return None
        position, lots = target_of(self.book, side, volume, self.symbol)
        reason = self.entries_refused()
        if reason and not position:
            # It would close what is known and open the rest, and that rest is an entry.
            log.warning("[RISK] BLOCKED: %s %sL %s", side.action, format_lots(volume), reason)
            return None
        if lots != volume:
            log.info(
                "[ORDER] %s %sL closes ticket %d first, its %sL; ask again for the rest",
                side.action,
                format_lots(volume),
                self.book.holdings[position].position.ticket,
                format_lots(lots),
            )
        order_id = self.next_order_id()
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
        """Take a gateway's answer to an order into the book.

        `fill` has `order_id`, `ticket`, `filled_price`, `filled_volume` (lots), `status`
        (FILLED, REJECTED, CANCELED or UNKNOWN), `timestamp` and `error`. The same answer again
        changes nothing. An answer of unknown outcome, or a fill that does not say what was filled,
        leaves the order in doubt.

        Returns:
            Whether the answer was taken; False for an order we do not know, and for an answer
            that contradicts an earlier one.
        """
        self.follow()
        order = self.book.orders.get(str(fill.get("order_id")))
        if order is None:
            log.error("[FILL] Unknown order: %r", fill.get("order_id"))
            return False
        outcome = read_outcome(fill, order.kind, order.volume)
        return record_outcome(self._kept, order, outcome, self.clock.now_ns())

    # Orders that are journalled before they leave, and never in doubt twice.

    @in_turn
    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; journalled first, sent once.

        Args:
            side: "buy" or "sell".
            volume: lots.
            wish: stops, magic number, key and so on; see `Wish`.

        Returns:
            The intent; its `status` is FILLED, REJECTED, or IN_DOUBT until a sync settles it.

        Raises:
            ValueError: a value cannot be one; nothing is recorded or sent.
            Refused: entries are refused now, or the key was used for another wish.
            NotSent: no gateway is attached.
            OutcomeNotRecorded: it was sent, and what became of it is not in the journal yet; the
                error carries the order. Do not ask for it again.
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
    ) -> Intent:
        """Close a position (its ticket, or anything with a `ticket`), or `volume` lots of it.

        `key`, `why` and `price` are as in `Wish`. Closing is allowed while entries are refused.
        Raises as `submit` does.
        """
        return self.desk.close(position, volume, key=key, why=why, price=price)

    @in_turn
    def modify(
        self, position: Any, sl: float, tp: float, *, key: str = "", why: str = ""
    ) -> Intent:
        """Set stop loss and take profit of a position (prices; 0 removes). Raises as `submit`."""
        return self.desk.modify(position, sl, tp, key=key, why=why)

    @in_turn
    def cancel(self, order: Any, *, key: str = "", why: str = "") -> Intent:
        """Cancel a pending order (its ticket, or anything with a `ticket`). Raises as `submit`."""
        return self.desk.cancel(order, key=key, why=why)

    # What a reconciler, or a person, corrects by force.

    @in_turn
    def force_add_position(self, row: object) -> bool:
        """Take a position into the book as the broker has it.

        `row` is a mapping, a `RemotePosition` or a row of the official module. It has `ticket`,
        `symbol`, `type` ("buy" or "sell"), `volume` (lots), `price_open`, and may have `profit` and
        `time`. Returns False, with the reason in the log and the book
        unchanged, for a row that cannot be believed, is of another symbol, or is in the book.
        """
        return self._force(added(self.book, self.symbol, row, self.clock.now_ns()))

    @in_turn
    def force_close_position(self, ticket: int) -> bool:
        """Take a ticket out of the book; False when it is not there."""
        return self._force(closed(self.book, ticket, self.clock.now_ns()))

    @in_turn
    def force_update_position(self, ticket: int, row: object) -> bool:
        """Set a ticket to what the broker has; False when it is not there or cannot be believed.

        `row` is as for `force_add_position`; what it leaves out stays as it is.
        """
        return self._force(updated(self.book, self.symbol, ticket, row, self.clock.now_ns()))

    # The two ways into the book.

    def commit(self, history: Sequence[events.Event]) -> None:
        """Journal events and take them into the book: all of them, or none.

        Raises:
            JournalError: they could not be journalled; the book is as it was.
        """
        self._kept.commit(history)

    def find_out(self) -> None:
        """Ask a journal that took nothing whether it takes something now; without trouble, nothing.

        Raises:
            JournalAhead: it has what had seemed to fail, and the book followed.
        """
        self._kept.find_out()

    def follow(self) -> None:
        """Take into the book what is in the journal and not in the book, as after Ctrl-C."""
        self._kept.follow()

    @property
    def book_name(self) -> str:
        """The name of this book at the gateway; see `Identity.book_name`."""
        return self._identity.book_name

    @property
    def keeps_journal(self) -> bool:
        """Whether the book has a journal, which a later process can read."""
        return self._kept.journal is not None

    @property
    def journal_id(self) -> str:
        """The journal's own name, the same in each copy; empty without a journal or events.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._kept.journal_id

    def recorded(self) -> Iterator[events.Event] | None:
        """Yield every event of the journal, oldest first; None without one.

        Raises:
            JournalError: the journal cannot be read.
        """
        journal = self._kept.journal
        return None if journal is None else journal.read()

    def __enter__(self) -> PortfolioManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_journal()

    def close_journal(self) -> None:
        """Save the book and let go of the journal, as at the end of a `with` block."""
        self._kept.close()

    def next_order_id(self) -> str:
        """Return an order id that no other order of any run has."""
        return self._identity.next_order_id()

    @in_turn
    def mark(self, snapshot: Snapshot, asked: Moment) -> None:
        """Take the broker's quotations (current price, profit, swap) of what we hold.

        `asked` is when the snapshot was asked for.
        """
        self.seen = asked
        if snapshot.evidence is not None:
            self._currency_digits = snapshot.evidence.account.currency_digits
            self.desk.see_symbols(snapshot.evidence.specs)
        if snapshot.positions is self._marked:
            # The very list of the last time: only the account's figures are newer.
            return
        self._marked = snapshot.positions
        find = self.book.holdings.get
        with self._kept.changing():
            for remote in snapshot.positions:
                holding = find(remote.identifier)
                if holding is not None:
                    holding.mark = remote

    def _view(self) -> Position | None:
        holdings = list(self.book.holdings_in(self.symbol))
        return view(self.symbol, holdings, self.book.orders) if holdings else None

    def _views(self) -> dict[int, Position]:
        return {
            holding.position.ticket: view(holding.position.symbol, [holding], self.book.orders)
            for holding in self.book.holdings.values()
        }

    def _force(self, event: ForcedEvent | None) -> bool:
        if event is None:
            return False
        self.commit([event])
        self._audit([event])
        log_forced(event)
        return True

    def _found(self, history: Sequence[events.Event]) -> None:
        self._owed.note_found(history)
        self._audit(history)

    def _audit(self, history: Sequence[events.Event]) -> None:
        if self.on_forced is not None:
            self.on_forced(history)

    def entries_refused(self, *, but_by_gateway: bool = False) -> str:
        """Say why no position may be opened now, or return an empty string.

        Args:
            but_by_gateway: leave out what the gateway refuses by itself, as of now.
        """
        return self._entries.refused(but_by_gateway=but_by_gateway)


def _side_of_signal(signal: object) -> Side | None:
    """Return the side that a signal asks for, None for one that asks for nothing."""
    return None if isinstance(signal, str) else SIDES.get(whole_number(signal) or 0)
