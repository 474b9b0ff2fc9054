"""Proven readings of an account: handed out only if a believed reading shows the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from trueup.core.book.order import Order
from trueup.core.holds import HoldKind
from trueup.core.model import PendingOrder, Position, Snapshot
from trueup.core.tokens import tokens_in
from trueup.doors.account import Account
from trueup.doors.local_gateway import LocalGateway
from trueup.doors.mt5.requests import CannotSay
from trueup.errors import NotSent
from trueup.gateway.reading.rows import pending_of, position_of
from trueup.gateway.reading.snapshots import Reading
from trueup.gateway.terminal.call_wire import Call
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.terminal.together import make_calls
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.terminal.arguments import HistoryQuery
from trueup.turns import Turn

Found = TypeVar("Found")
Listed = TypeVar("Listed", Position, PendingOrder)
SHARED_MS = 50
"""A reading younger than this is shared by several calls, if nothing of ours was sent since."""
DEALS_WITHIN_NS = 10_000_000_000
"""How long after its execution an order is waited for in the history."""
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 0.02, 0.5


class Waits(msgspec.Struct, frozen=True):
    """How long calls wait: `read_ms` for a proven reading, `resolve_ms` for an order in doubt."""

    read_ms: int = 2_000
    resolve_ms: int = 15_000


def positions_in(snapshot: Snapshot | None) -> Sequence[Position]:
    """Return the positions of a reading; none without a reading."""
    return () if snapshot is None else snapshot.positions


def orders_in(snapshot: Snapshot | None) -> Sequence[PendingOrder]:
    """Return the pending orders of a reading; none without a reading, or without evidence."""
    return () if snapshot is None or snapshot.evidence is None else snapshot.evidence.orders


class Readings:
    """Reads an account; thread-safe.

    Args:
        account: the account's book.
        terminal: the terminal, for lists and single values.
    """

    def __init__(self, account: Account, terminal: Terminal) -> None:
        self._account, self._terminal = account, terminal
        self._clock = account.manager.clock
        self._turn = Turn()
        self.why: str = ""
        """Why the latest reading is not proven."""
        # The latest believed reading and its time by the clock for waiting (ns).
        self._reading: tuple[Snapshot, int] | None = None
        self.comments: dict[str, str] = {
            order.token: order.comment for order in account.orders.values()
        }
        """The program's comments by the tokens that stand in their place at the broker."""

    def forget(self) -> None:
        """Share the latest reading no more: something of ours was sent."""
        self._reading = None

    def learn_comment(self, order: Order) -> None:
        """Remember the program's comment of an order."""
        self.comments[order.token] = order.comment

    def learn_comments(self, comments: Mapping[str, str]) -> None:
        """Remember comments of orders that are not in the book."""
        self.comments = {**comments, **self.comments}

    def look(self) -> Snapshot | None:
        """Return a believed reading of this moment, or None; `why` has the reason."""
        with self._turn:
            if self._reading is not None:
                snapshot, at_ns = self._reading
                if self._clock.waiting_ns() - at_ns < SHARED_MS * 1_000_000:
                    return snapshot
            return self._look_again()

    def _look_again(self) -> Snapshot | None:
        asked_ns = self._clock.waiting_ns()
        result = self._account.reconciler.refresh()
        if result.status is not SyncStatus.SUCCESS:
            self._reading, self.why = None, "; ".join(result.errors)
            return None
        snapshot = self._account.reconciler.remote
        assert snapshot is not None
        self._reading = snapshot, asked_ns
        return snapshot

    def until(self, found: Callable[[], Found | None], budget_ms: int) -> Found | None:
        """Repeat a question until it has an answer or the time is over."""
        end_ns = self._clock.waiting_ns() + budget_ms * 1_000_000
        pause_sec = FIRST_PAUSE_SEC
        while True:
            value = found()
            left_ns = end_ns - self._clock.waiting_ns()
            if value is not None or left_ns <= 0:
                return value
            self._clock.sleep(min(pause_sec, left_ns / 1e9))
            pause_sec = min(2 * pause_sec, LONGEST_PAUSE_SEC)
            # The wait was for a newer reading.
            self.forget()

    def positions(self) -> tuple[Any, ...] | None:
        """Return the account's open positions, or None without proof."""
        snapshot = self.look()
        if snapshot is None:
            return None
        # A position of ours that is not in the list, and whose end no deal explains, may be open:
        # it left the list, or the terminal does not list it yet.
        listed = {position.identifier for position in snapshot.positions}
        for identifier in self._account.manager.book.holdings:
            if identifier not in listed:
                self._lacks(f"position {identifier}")
                return None
        if self._is_behind():
            return None
        reading = self._reading_here()
        rows = self._terminal.positions_get() if reading is None else reading.rows
        return self._if_same(rows, snapshot.positions, position_of, _position_figures)

    def orders(self) -> tuple[Any, ...] | None:
        """Return the account's pending orders, or None without proof."""
        snapshot = self.look()
        if snapshot is None or snapshot.evidence is None:
            return None
        listed = orders_in(snapshot)
        tickets = {order.ticket for order in listed}
        for ticket in self._account.manager.book.pending:
            if ticket not in tickets:
                self._lacks(f"pending order {ticket}")
                return None
        if self._is_behind():
            return None
        reading = self._reading_here()
        rows = self._terminal.orders_get() if reading is None else reading.order_rows
        return self._if_same(rows, listed, pending_of, _order_figures)

    def _lacks(self, missing: str) -> None:
        """Note that a position or an order of ours is not in the list."""
        self.why = f"{missing} is not in the broker's list, and nothing there explains that"
        self.forget()

    def up_to_date(self) -> bool | None:
        """Return True, or None if the latest reading lacks what the program has just changed."""
        return None if self.look() is not None and self._is_behind() else True

    def _is_behind(self) -> bool:
        """Return whether the reading does not show yet what the program has just changed.

        A program that reads its list right after an order decides by that list.
        """
        for hold in self._account.reconciler.holds:
            if hold.kind is HoldKind.SETTLING:
                self.why = hold.reason
                self.forget()
                return True
        return False

    def _reading_here(self) -> Reading | None:
        """Return the rows behind the latest snapshot, if the gateway is in this process."""
        gateway = self._account.gateway
        return gateway.latest_reading if isinstance(gateway, LocalGateway) else None

    def _if_same(
        self,
        rows: Any,
        believed: Iterable[Listed],
        read: Callable[[Any], Listed],
        figures: Callable[[Listed], tuple[Any, ...]],
    ) -> tuple[Any, ...] | None:
        """Return the terminal's rows if they are those of the believed reading.

        Args:
            rows: the terminal's rows.
            believed: the rows of the believed reading.
            read: reads one of the terminal's rows, as the gateway does.
            figures: the figures that must be equal; the others change with every quotation.
        """
        if rows is None:
            self.why = f"the terminal gave no list: {self._terminal.last_error()}"
        elif Counter(figures(read(row)) for row in rows) != Counter(map(figures, believed)):
            # The market moved between the two readings, or one of them is wrong: look again.
            self.why = "the terminal's list and its snapshot differ"
        else:
            return tuple(self.with_own_words(row) for row in rows)
        self.forget()
        return None

    def history(self, function: str, asked: Call, query: HistoryQuery) -> tuple[Any, ...] | None:
        """Return rows of the history, or None without proof.

        Args:
            function: what is listed: deals or orders.
            asked: the program's call.
            query: the program's call as it was understood.
        """
        snapshot = self.look()
        if snapshot is None:
            return None
        calls = [asked]
        # The terminal counts spans alone, and no groups within them.
        if query.span is not None and query.group is None:
            calls.append(Call(f"history_{function}_total", asked.args[:2]))
        made = self._of_own_account(calls)
        if made is None:
            return None
        rows, *counts = made
        # A list that was cut or came empty differs from the terminal's own count.
        if counts and counts[0] != len(rows):
            self.why = "the terminal's history and its count differ"
            return None
        # An open position is in the history from its first deal on: a history without it is late,
        # or another account's.
        missing = _opened_within(snapshot.positions, query) - {row.position_id for row in rows}
        if missing:
            self.why = f"the terminal's history lacks position {min(missing)}, which is open"
            return None
        late = self._late_orders(query) - {row.order for row in rows} if function == "deals" else ()
        if late:
            self.why = f"the deals of order {min(late)} are not in the terminal's history yet"
            return None
        return tuple(self.with_own_words(row) for row in rows)

    def _late_orders(self, query: HistoryQuery) -> set[int]:
        """Return orders just executed whose deals belong in the answer to a query.

        A program that computes the result of a close right after it needs the closing deal. A
        broker that shows no deal for longer does not hold the answer back.
        """
        if query.ticket is not None or query.group is not None:
            return set()
        book, late = self._account.manager.book, set()
        for ticket, wanted in book.unbooked.items():
            order = book.orders_by_ticket.get(ticket)
            filled_ns = 0 if order is None else order.fill_ns or 0
            if self._clock.now_ns() - filled_ns >= DEALS_WITHIN_NS:
                continue
            second = (wanted.since_msc or filled_ns // 1_000_000) // 1_000
            first, last = query.span or (second, second)
            if query.position in (None, wanted.position, ticket) and first <= second <= last:
                late.add(ticket)
        return late

    def counted(self, asked: Call) -> int | None:
        """Return a count of the history, or None without proof."""
        if self.look() is None:
            return None
        # Nothing else tells the number, so the terminal must say it twice.
        counts = self._of_own_account([asked, asked])
        if counts is None:
            return None
        if counts[0] == counts[1]:
            return int(counts[0])
        self.why = f"the terminal counted {counts[0]} and {counts[1]}"
        return None

    def _of_own_account(self, calls: Sequence[Call]) -> list[Any] | None:
        """Make calls between two looks at the account; None unless both show ours."""
        account = Call("account_info")
        bracketed = (account, *calls, account)
        made = list(make_calls(self._terminal, bracketed))
        for call, (value, error) in zip(bracketed, made, strict=True):
            if value is None:
                self.why = f"{call.function} failed: {error}"
                return None
        values = [value for value, _ in made]
        if self._is_own(values[0]) and self._is_own(values[-1]):
            return values[1:-1]
        return None

    def _is_own(self, row: Any) -> bool:
        """Return whether an account's row is of this account."""
        if f"{row.login}@{row.server}" == self._account.name:
            return True
        self.why = f"the terminal is logged in to {row.login}@{row.server} now"
        return False

    def own_account(self, *args: Any, **kwargs: Any) -> Any:
        """Return the account's row, or None unless it is this session's account."""
        if self.look() is None:
            return None
        row = self._terminal.account_info(*args, **kwargs)
        return row if row is not None and self._is_own(row) else None

    def with_own_words(self, row: Any) -> Any:
        """Return a row of an order of ours with the comment that the program gave.

        At the broker the comment of our orders is a token.
        """
        for token in tokens_in(row.comment):
            if token in self.comments:
                return row._replace(comment=row.comment.replace(token, self.comments[token]))
        return row

    def position(self, ticket: int) -> Position:
        """Return an open position of the account.

        Raises:
            CannotSay: the broker lists no such position.
            NotSent: the account cannot be read.
        """
        return self._listed("position", ticket, positions_in)

    def pending(self, ticket: int) -> PendingOrder:
        """Return a pending order of the account.

        Raises:
            CannotSay: the broker lists no such order.
            NotSent: the account cannot be read.
        """

        return self._listed("pending order", ticket, orders_in)

    def _listed(
        self, what: str, ticket: int, rows_of: Callable[[Snapshot], Iterable[Listed]]
    ) -> Listed:
        # The reading that calls share may be older than a row of another program, so a row that is
        # not there is looked for once more.
        for _ in range(2):
            snapshot = self.look()
            if snapshot is None:
                raise NotSent(f"the account cannot be read: {self.why}")
            for row in rows_of(snapshot):
                if row.ticket == ticket:
                    return row
            self.forget()
        raise CannotSay(f"no {what} {ticket} is listed")


def _opened_within(positions: Iterable[Position], query: HistoryQuery) -> set[int]:
    """Return the identifiers of open positions that the answer to a query must have."""
    if query.position is not None:
        return {query.position} & {position.identifier for position in positions}
    if query.span is None or query.group is not None:
        return set()
    first, last = query.span
    return {p.identifier for p in positions if p.time and first <= p.time <= last}


def _position_figures(row: Position) -> tuple[Any, ...]:
    figures = (row.volume, row.price_open, row.sl, row.tp)
    return (row.ticket, row.identifier, row.symbol, row.side, row.magic, *figures)


def _order_figures(row: PendingOrder) -> tuple[Any, ...]:
    return (row.ticket, row.symbol, row.magic, row.volume, row.price_open, row.sl, row.tp)
