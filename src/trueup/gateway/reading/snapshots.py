"""Read a snapshot of a terminal, with evidence that the snapshot is complete and consistent.

MetaTrader5 has no call that reads everything at once. So the account and the counts are read before
and after the lists, and the reading is repeated while the counts differ. Prices change meanwhile:
the positions' results belong to a single moment, so the account's floating result before and after
that moment is sent too. A reading is accepted at once if the results add up to either of the two.
If no reading does, a reading whose results lie between the two is preferred. The best reading is
sent with its counts and bounds, and the client judges any difference that is left.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, cast

import msgspec
from msgspec.structs import astuple

from trueup.core.account.trust import sum_tolerance
from trueup.core.model import (
    Deal,
    DealKind,
    History,
    PastOrder,
    PendingOrder,
    Position,
    SymbolSpec,
    UnknownSymbol,
)
from trueup.errors import TrueupError
from trueup.gateway.reading.row_digest import RowDigest
from trueup.gateway.reading.rows import (
    Values,
    account_of,
    deal_of,
    history_order_of,
    listed_order,
    listed_position,
    past_order_of,
    spec_of,
    terminal_of,
)
from trueup.gateway.reading.symbol_check import SymbolCheck
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Call, Error
from trueup.gateway.terminal.terminal import (
    AccountInfo,
    Terminal,
    TerminalInfo,
    TradeOrder,
    TradePosition,
)
from trueup.gateway.terminal.together import Made, make_calls
from trueup.protocol.failures import Cause
from trueup.protocol.rows import is_name
from trueup.protocol.snapshot import (
    AccountRow,
    SnapshotReply,
    SnapshotRequest,
    TerminalRow,
    UnchangedReply,
)

# As a rule the first reading adds up; in a market of 420 ticks a second, at 1 ms a call, the
# second.
ATTEMPTS = 4
SESSIONS_KEPT = 1_024
# Broker time differs from UTC by whole quarters of an hour. A quotation older than
# OFFSET_FRESH_SEC says nothing about that offset.
OFFSET_STEP_SEC = 900
OFFSET_FRESH_SEC = 60
OFFSET_LIMIT_SEC = 26 * 3600
# Clients may name hundreds of symbols without quotes; at most this many are asked for again.
WATCHED_MOST = 64
# How many unknown names per question are looked up in the list of all symbols.
SEARCHED_MOST = 20


_COUNTS = (Call("positions_total"), Call("orders_total"))
_ACCOUNT = Call("account_info")
# The account right after the positions, so that only the ticks of a single call lie in between.
_POSITIONS = (Call("positions_get"), _ACCOUNT, *_COUNTS, Call("terminal_info"))
READ = (_ACCOUNT, *_COUNTS, Call("orders_get"), *_POSITIONS)
"""The calls of one reading, in their order."""
# In a busy market the account is read again right before the positions.
READ_AGAIN = (_ACCOUNT, *_COUNTS, Call("orders_get"), _ACCOUNT, *_POSITIONS)


_State = tuple[int, str, bool]
"""A terminal's login and server, and whether the terminal is connected to its trade server."""


def _next_of(answers: Iterator[tuple[Call, Made]]) -> Any:
    """Return the value of the next call.

    Raises:
        CannotRead: the call failed.
    """
    call, (value, error) = next(answers)
    if value is None:
        raise CannotRead.by_call(call.function, error)
    return value


def _trades(deals: Iterable[Deal]) -> tuple[Deal, ...]:
    return tuple(deal for deal in deals if deal.kind is DealKind.TRADE)


def _others(deals: Iterable[Deal]) -> tuple[Deal, ...]:
    return tuple(deal for deal in deals if deal.kind is not DealKind.TRADE)


class CannotRead(TrueupError):
    """The terminal did not answer one of the calls that a reading needs."""

    def __init__(self, why: str, cause: Cause = Cause.TERMINAL) -> None:
        super().__init__(why)
        self.cause = cause

    @classmethod
    def by_call(cls, function: str, error: Error) -> CannotRead:
        """Return the failure of a call, by its name and the `last_error()` after the call."""
        code, text = error
        if code != mt5.RES_E_AUTH_FAILED:
            return cls(f"{function} failed: {error}")
        # `gateway.terminal.one_account` puts both accounts behind the module's own text.
        return cls(text.partition(", ")[2] or text, Cause.OTHER_ACCOUNT)


class Reading(msgspec.Struct):
    """One pass over the terminal, unfiltered.

    Attributes:
        account_first: read before everything else.
        account_before, account_after: read right before and right after the positions.
        account: of these two, the one that agrees with the positions; else the later.
        floating: the sum of the positions' results, swap included.
        adds_up: whether `floating` agrees with `account`.
    """

    account_first: AccountInfo
    account_before: AccountInfo
    account_after: AccountInfo
    terminal: TerminalInfo
    count_before: tuple[int, int]
    count_after: tuple[int, int]
    rows: tuple[TradePosition, ...]
    order_rows: tuple[TradeOrder, ...]
    account: AccountInfo
    floating: float
    adds_up: bool

    @property
    def positions(self) -> list[Position | Values]:
        """The open positions, malformed rows as plain values; built anew at every access."""
        return [listed_position(row) for row in self.rows]

    @property
    def orders(self) -> tuple[PendingOrder | Values, ...]:
        """The pending orders, malformed rows as plain values."""
        return tuple(listed_order(row) for row in self.order_rows)

    @property
    def is_of_one_account(self) -> bool:
        """Whether the terminal had the same account before and after its lists were read."""
        first, last = self.account_first, self.account_after
        return (first.login, first.server) == (last.login, last.server)

    @property
    def is_whole(self) -> bool:
        """Whether the list lengths equal the terminal's counts before and after."""
        counts = (len(self.rows), len(self.order_rows))
        return self.count_before == counts == self.count_after and self.is_of_one_account

    @property
    def profit_bounds(self) -> tuple[float, float]:
        """The account's floating result before and after the positions were read."""
        return self.account_before.profit, self.account_after.profit

    @property
    def rank(self) -> tuple[bool, bool, bool, float]:
        """Sort key, the best reading last: complete, adds up, within the bounds, then narrow
        bounds."""
        low, high = sorted(self.profit_bounds)
        return self.is_whole, self.adds_up, low <= self.floating <= high, low - high


def _add_up(
    rows: Sequence[TradePosition], accounts: tuple[AccountInfo, ...]
) -> tuple[AccountInfo, float, bool]:
    """Return the account that agrees with the positions, their total, and whether they agree.

    The account's floating result includes swap; a position's `profit` does not.
    """
    floating = _floating(rows)
    tolerance = sum_tolerance(accounts[0].currency_digits, len(rows))
    for account in accounts:
        if abs(floating - account.profit) <= tolerance:
            return account, floating, True
    return accounts[0], floating, False


def _floating(rows: Sequence[TradePosition]) -> float:
    """Return the sum of the positions' results with swap; NaN if a value is not a number."""
    try:
        return math.fsum(row.profit + row.swap for row in rows)
    except (TypeError, ValueError, OverflowError):
        return math.nan


class _Served(NamedTuple):
    """The last snapshot of a client: session number, sequence, and the terminal's state then."""

    begun: int
    served: int
    attached: int
    state: _State | None
    changes: int

    def has_missed(self, attached: int, state: _State | None, changes: int) -> bool:
        """Return whether the terminal changed in between although its state looks the same."""
        return attached != self.attached or (changes != self.changes and state == self.state)


class Snapshots:
    """Makes snapshots of one terminal, and numbers them for each client.

    Args:
        terminal: the terminal to read.
        boot: this gateway's name, new at every start.
        now_ns: nanoseconds of UTC since 1970.
        pace: seconds of the trade server's clock per second of ours; above 1 if a simulation
            plays its market fast.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        symbols: tells which symbols the broker does not have.
    """

    def __init__(
        self,
        terminal: Terminal,
        boot: str,
        now_ns: Callable[[], int],
        pace: float = 1.0,
        attachments: Callable[[], int] = lambda: 1,
        symbols: SymbolCheck | None = None,
    ) -> None:
        self._terminal = terminal
        self._attachments = attachments
        self._symbols = symbols or SymbolCheck(terminal, now_ns, attachments)
        # The terminal's state at the latest reading by any caller, and how often it changed.
        self._state: _State | None = None
        self._changes = 0
        self._pace = max(1.0, pace)
        self._boot = boot
        self._now_ns = now_ns
        self._served: OrderedDict[str, _Served] = OrderedDict()
        self._sessions_begun = 0
        self._watched: tuple[str, ...] = ()
        self._digest = RowDigest()
        self.digest: str = ""
        """The digest of the latest reading, empty before the first."""
        self.latest: Reading | None = None
        """The reading behind the latest snapshot, for callers in the same process."""

    def make(self, request: SnapshotRequest) -> SnapshotReply | UnchangedReply:
        """Return a snapshot, or a short reply if the client's digest is still right.

        Raises:
            CannotRead: a call failed; the message has its name and `last_error()`.
        """
        attached = self._attachments()
        # Read deals before the list, so that a deal in the reply is never newer than the list. A
        # close in between is in neither, and the next question finds it in both.
        explained, deals = self._deals(request.explain)
        self.latest = reading = self.read()
        # A row without a valid symbol name has no symbol data to ask for.
        listed = (row.symbol for row in reading.rows if is_name(row.symbol))
        symbols = dict.fromkeys((*request.symbols, *listed))
        server_time_msc = self._server_time_msc(symbols)
        self._refuse_other(attached)
        self.note(reading.account, reading.terminal)
        epoch, sequence = self._number(request.session, attached)
        self.digest = self._digest.of(reading.rows, reading.order_rows)
        # A partial reading is never called unchanged, even with the same digest.
        is_same = request.digest == self.digest and not request.asks_more
        if is_same and reading.is_whole and math.isfinite(reading.floating):
            return UnchangedReply(
                id=request.id,
                epoch=epoch,
                sequence=sequence,
                digest=self.digest,
                account=AccountRow(*astuple(account_of(reading.account))),
                terminal=TerminalRow(*astuple(terminal_of(reading.terminal))),
                counts=reading.count_after,
                floating=reading.floating,
                profit_bounds=reading.profit_bounds,
                server_time_msc=server_time_msc,
                time_offset_sec=self._offset_sec(server_time_msc),
            )
        specs, unknown = self._specs(symbols)
        # After the list: an order that has left the list is a past order by now.
        past_orders = tuple(self._past_orders(request.explain_orders))
        history = self._history(request.history_age_sec, server_time_msc)
        self._refuse_other(attached)
        return SnapshotReply(
            id=request.id,
            epoch=epoch,
            sequence=sequence,
            digest=self.digest,
            account=account_of(reading.account),
            profit_bounds=reading.profit_bounds,
            terminal=terminal_of(reading.terminal),
            # The encoder also takes rows as plain values; only the client needs objects.
            positions=cast(list[Position], reading.positions),
            count_before=reading.count_before,
            count_after=reading.count_after,
            server_time_msc=server_time_msc,
            time_offset_sec=self._offset_sec(server_time_msc),
            orders=cast(tuple[PendingOrder, ...], reading.orders),
            deals=_trades(deals),
            other_deals=_others(deals),
            explained=tuple(explained),
            past_orders=past_orders,
            history=history,
            specs=tuple(specs),
            # While disconnected, the terminal may still list the symbols of an earlier day.
            unknown_symbols=tuple(unknown) if reading.terminal.connected else (),
        )

    def _refuse_other(self, attached: int) -> None:
        """Refuse to go on with a new attachment: it may be another terminal's, with other parts."""
        if self._attachments() != attached:
            raise CannotRead("the gateway reconnected to the terminal while reading")

    def note(self, account: AccountInfo, terminal: TerminalInfo) -> None:
        """Store the terminal's state after any reading; see `_number`."""
        self._symbols.note_account(account.login, account.server)
        state = account.login, account.server, terminal.connected
        if state != self._state:
            self._state = state
            self._changes += 1

    def note_link(self, terminal: TerminalInfo) -> None:
        """Store whether the terminal has its trade server, where the account was not read."""
        if self._state is not None and terminal.connected != self._state[2]:
            self._state = (*self._state[:2], terminal.connected)
            self._changes += 1

    def look(self) -> str:
        """Read only the lists; return their digest, or an empty text if they cannot be read."""
        rows, orders = self._terminal.positions_get(), self._terminal.orders_get()
        if rows is None or orders is None:
            return ""
        self.digest = self._digest.of(rows, orders)
        return self.digest

    def read(self) -> Reading:
        """Return the first reading that is complete and adds up, else the best of `ATTEMPTS`.

        Raises:
            CannotRead: a call failed; the message has its name and `last_error()`.
        """
        best = self._read_once()
        for _ in range(ATTEMPTS - 1):
            if best.is_whole and best.adds_up:
                break
            best = max(self._read_once(again=True), best, key=attrgetter("rank"))
        if not best.is_of_one_account:
            raise CannotRead("the account changed while it was read")
        return best

    def _read_once(self, *, again: bool = False) -> Reading:
        calls = READ_AGAIN if again else READ
        made = make_calls(self._terminal, calls)
        need = partial(_next_of, zip(calls, made, strict=True))
        account_first = account_before = need()
        count_before = need(), need()
        orders = need()
        if again:
            account_before = need()
        rows, account_after = need(), need()
        count_after = need(), need()
        state = need()
        return Reading(
            account_first,
            account_before,
            account_after,
            state,
            count_before,
            count_after,
            rows,
            orders,
            *_add_up(rows, (account_after, account_before)),
        )

    def _deals(self, identifiers: Iterable[int]) -> tuple[list[int], list[Deal]]:
        explained: list[int] = []
        deals: list[Deal] = []
        for identifier in identifiers:
            rows = self._terminal.history_deals_get(position=identifier)
            if rows is not None:
                explained.append(identifier)
                deals += [deal_of(row) for row in rows]
        return explained, deals

    def _past_orders(self, tickets: Iterable[int]) -> Iterable[PastOrder]:
        for ticket in tickets:
            rows = self._terminal.history_orders_get(ticket=ticket)
            yield from (past_order_of(row) for row in rows or ())

    def _history(self, age_sec: int, server_time_msc: int) -> History | None:
        """Return recent orders and deals, or None if not requested or not readable."""
        if not age_sec or not server_time_msc:
            return None
        # The quotation may be old. The window ends a day later, so newer deals are inside.
        server_age_sec = math.ceil(age_sec * self._pace)
        begin = max(1, server_time_msc // 1000 - server_age_sec)
        end = server_time_msc // 1000 + 86_400
        orders = self._terminal.history_orders_get(begin, end)
        deals = self._terminal.history_deals_get(begin, end)
        # Half of the history would look like orders without deals.
        if orders is None or deals is None:
            return None
        # Balance operations belong to no position.
        of_positions = [deal_of(row) for row in deals if row.position_id]
        return History(
            age_sec,
            tuple(history_order_of(row) for row in orders),
            _trades(of_positions),
            _others(of_positions),
        )

    def _specs(self, symbols: Iterable[str]) -> tuple[list[SymbolSpec], list[UnknownSymbol]]:
        """Return the trading steps of symbols, and the symbols that the broker does not have."""
        specs: list[SymbolSpec] = []
        unknown: list[UnknownSymbol] = []
        for symbol in symbols:
            row = self._terminal.symbol_info(symbol)
            if row is not None:
                specs.append(spec_of(row))
                continue
            may_search = len(unknown) < SEARCHED_MOST
            missing = self._symbols.unknown(symbol, may_search=may_search)
            if missing is not None:
                unknown.append(missing)
        return specs, unknown

    def _server_time_msc(self, symbols: Iterable[str]) -> int:
        # Use the latest quotation of current and earlier symbols: when a position and its symbol
        # leave the list, the server time must not jump back to an older quotation.
        wanted = dict.fromkeys((*symbols, *self._watched))
        calls = [Call("symbol_info_tick", (symbol,)) for symbol in wanted]
        asked = zip(wanted, make_calls(self._terminal, calls), strict=True)
        ticks = {symbol: tick for symbol, (tick, _) in asked if tick is not None}
        self._watched = tuple(itertools.islice(ticks, WATCHED_MOST))
        return max((tick.time_msc for tick in ticks.values()), default=0)

    def _offset_sec(self, server_time_msc: int) -> int | None:
        apart_sec = server_time_msc / 1000 - self._now_ns() / 1e9
        steps = round(apart_sec / OFFSET_STEP_SEC)
        is_fresh = math.fabs(apart_sec - steps * OFFSET_STEP_SEC) < OFFSET_FRESH_SEC
        offset_sec = steps * OFFSET_STEP_SEC
        return offset_sec if is_fresh and abs(offset_sec) <= OFFSET_LIMIT_SEC else None

    def _number(self, session: str, attached: int) -> tuple[str, int]:
        """Return the epoch and the next sequence number of a client.

        After a restart, a login to another account, or a lost trade server, a terminal may list its
        positions late. A client that was told about such a change reads twice by itself. For every
        other client a new epoch begins, which makes the client read twice.
        """
        before = self._served.get(session)
        if before is None or before.has_missed(attached, self._state, self._changes):
            self._sessions_begun += 1
            before = _Served(self._sessions_begun, 0, attached, self._state, self._changes)
        now = _Served(before.begun, before.served + 1, attached, self._state, self._changes)
        self._served[session] = now
        self._served.move_to_end(session)
        if len(self._served) > SESSIONS_KEPT:
            # A client that returns after its entry was dropped gets a new epoch and reads twice.
            self._served.popitem(last=False)
        return f"{self._boot}.{now.begun}", now.served
