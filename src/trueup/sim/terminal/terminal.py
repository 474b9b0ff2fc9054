"""The simulated MetaTrader 5 terminal, a replacement for ``import MetaTrader5 as mt5``.

`SimulatedTerminal` has the official module's functions as methods and its constants as attributes,
with the module's argument rules, return conventions and error texts. A `Broker` keeps the true
state. A `View` is the terminal's copy of that state; the copy can lag behind.

The terminal is deterministic. Time is injected, `quote` sets prices, and random numbers come from
an injected `random.Random`. The terminal uses no clock, thread or file.

Tests choose three kinds of behaviour:

* `switches`: open questions and broker habits, see `Switches`;
* `faults`: one-shot misbehaviour of single calls, see `TerminalFaults`;
* states: `disconnect`, `restart`, `break_pipe`, `switch_account`, `algo_trading`, ... of
  `TerminalProgram`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.market import steps_of
from trueup.sim.market.structs import (
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from trueup.sim.market.switches import DealTicketMeans, ListAnswer
from trueup.sim.terminal import rows, sending
from trueup.sim.terminal.arguments import (
    BadArgument,
    HistoryQuery,
    Unrepresentable,
    matches_group,
    parse_calculation,
    parse_history_query,
    parse_list_query,
    parse_login,
    parse_request,
    parse_span,
    parse_symbol,
    parse_symbol_group,
    parse_symbol_select,
)
from trueup.sim.terminal.market_data import MarketData
from trueup.sim.terminal.module_call import module_call
from trueup.sim.terminal.program import SUCCESS, CallFailed, Pipe
from trueup.sim.terminal.terminal_faults import (
    AnswersEmpty,
    AnswersOdd,
    AnswersPartial,
    AnswersStale,
    CallFault,
    Fails,
    Hang,
)

if TYPE_CHECKING:
    from trueup.gateway.terminal.terminal import Terminal

_SIDES = (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL)

_Listed = TypeVar("_Listed", TradePosition, TradeOrder)
_Row = TypeVar("_Row", TradePosition, TradeOrder, TradeDeal)


class SimulatedTerminal(MarketData):
    """The official module's functions; see `TerminalProgram` for constructor and controls."""

    error: tuple[int, str]
    pipe: Pipe

    def _shaped(self, function: str, found: Sequence[_Row]) -> tuple[_Row, ...]:
        """Apply the terminal's state and a queued fault to the rows of a list call."""
        fault = self.fault
        listed = _as_known(self.view.answer(), tuple(found))
        if fault is not None:
            shown = self._faulty(function, fault, listed)
            self.altered += shown != listed
            listed = shown
        self.last_answers[function] = listed
        return listed

    def _faulty(
        self, function: str, fault: CallFault, listed: tuple[_Row, ...]
    ) -> tuple[_Row, ...]:
        match fault:
            case AnswersEmpty():
                return ()
            case AnswersPartial(count):
                return listed[:count]
            case AnswersOdd():
                return _odd(listed, fault)
            case AnswersStale():
                return self.last_answers.get(function, ())
            case _:
                return listed

    # -- connection ----------------------------------------------------------------------------

    @module_call(failed=False)
    def initialize(self, /, *args: object, **kwargs: object) -> bool:
        """Open the pipe; start the program and log in if needed. An open pipe is closed first."""
        self.pipe = Pipe.CLOSED
        credentials = parse_login("initialize", args, kwargs, positional=("path",))
        match self.faults.take_call("initialize"):
            case Fails(code, text):
                raise CallFailed(code, text)
            case Hang():
                self.faults.on_hang("initialize")
            case _:
                pass
        # The official module starts a terminal that does not run.
        if not self.running:
            self.start()
        self._connect(credentials.login, credentials.password, credentials.server)
        if self.switches.initialize_waits_for_synchronisation and not self.view.is_synchronised:
            raise CallFailed(mt5.RES_E_INTERNAL_FAIL_TIMEOUT)
        self.pipe = Pipe.OPEN
        return True

    def _connect(self, login: int, password: str, server: str) -> None:
        self.settle()
        if not self.is_connected:
            # The module polls for a ready terminal until a timeout.
            raise CallFailed(mt5.RES_E_INTERNAL_FAIL_TIMEOUT)
        if login and not self.authorise(login, password, server):
            raise CallFailed(mt5.RES_E_AUTH_FAILED)
        self.settle()

    @module_call(failed=False)
    def login(self, /, *args: object, **kwargs: object) -> bool:
        """Log in to an account; False and -6 if the server refuses the login."""
        credentials = parse_login("login", args, kwargs, positional=("login", "password", "server"))
        if credentials.login == 0:
            raise BadArgument('Invalid "login" argument')
        self.reach("login")
        self._connect(credentials.login, credentials.password, credentials.server)
        return True

    def shutdown(self) -> bool:
        """Close the pipe; always True."""
        self.error = SUCCESS
        self.pipe = Pipe.CLOSED
        return True

    @module_call(failed=(0, 0, ""))
    def version(self) -> tuple[int, int, str]:
        """Return version, build and build date; zeros without a pipe."""
        self.reach("version")
        return 500, self.build, "22 Nov 2025"

    def last_error(self) -> tuple[int, str]:
        """Return code and text of the last call."""
        return self.error

    @module_call(failed=None)
    def terminal_info(self) -> TerminalInfo:
        """Return the state of the terminal program."""
        self.reach("terminal_info")
        return rows.terminal_row(
            connected=self.view.shows_connected,
            trade_allowed=self.algo_trading,
            tradeapi_disabled=self.python_trading_disabled,
            build=self.build,
        )

    @module_call(failed=None)
    def account_info(self) -> AccountInfo:
        """Return the account that the terminal is logged in to."""
        self.reach("account_info")
        view, account = self.view, self.view.ledger.setup
        allowed = account.trade_allowed and not view.investor
        allowed = allowed and view.shows_connected and view.is_synchronised
        shown = (account, view.figures(), view.ledger.commission_blocked, allowed)
        if self._account_row is None or self._account_row[0] != shown:
            self._account_row = (shown, rows.account_row(*shown))
        return self._account_row[1]

    # -- symbols -------------------------------------------------------------------------------

    @module_call(failed=None)
    def symbols_total(self) -> int:
        """Return the number of the broker's symbols."""
        self.reach("symbols_total")
        return len(self.view.market.setups)

    @module_call(failed=None)
    def symbols_get(self, /, *args: object, **kwargs: object) -> tuple[SymbolInfo, ...] | bool:
        """Return the broker's symbols; False (not None) for bad arguments."""
        try:
            group = parse_symbol_group(args, kwargs)
        except BadArgument as bad:
            self.error = (mt5.RES_E_INVALID_PARAMS, bad.text)
            return False
        self.reach("symbols_get")
        names = [
            name for name in self.view.market.setups if group is None or matches_group(name, group)
        ]
        return tuple(self._symbol_row(name) for name in names)

    @module_call(failed=None)
    def symbol_info(self, *args: object) -> SymbolInfo:
        """Return a symbol's specification; None and -4 for an unknown symbol."""
        name = parse_symbol(args)
        self.reach("symbol_info")
        return self._symbol_row(self._known(name))

    def _symbol_row(self, name: str) -> SymbolInfo:
        market, account = self.view.market, self.view.ledger.setup
        return rows.symbol_row(market, name, account, selected=self.shows_symbol(name))

    def _known(self, name: str) -> str:
        if name not in self.view.market.setups:
            raise CallFailed(mt5.RES_E_NOT_FOUND)
        return name

    @module_call(failed=None)
    def symbol_info_tick(self, *args: object) -> Tick:
        """Return a symbol's last price; zeros for a symbol outside Market Watch."""
        name = parse_symbol(args)
        self.reach("symbol_info_tick")
        return rows.tick_row(self.view.market, self._known(name), self.shows_symbol(name))

    @module_call(failed=False)
    def symbol_select(self, *args: object) -> bool:
        """Add a symbol to Market Watch or remove a symbol; a symbol in use stays."""
        name, enable = parse_symbol_select(args)
        self.reach("symbol_select")
        self._known(name)
        if enable:
            self.selected.add(name)
            return True
        self.selected.discard(name)
        if self.shows_symbol(name):
            self.selected.add(name)
            raise CallFailed(mt5.RES_E_FAIL)
        return True

    # -- positions and working orders ----------------------------------------------------------

    @module_call(failed=None)
    def positions_total(self) -> int:
        """Return the number of open positions that the terminal shows."""
        self.reach("positions_total")
        return len(self._shaped("positions_total", self.view.position_rows()))

    @module_call(failed=None)
    def positions_get(self, /, *args: object, **kwargs: object) -> tuple[TradePosition, ...]:
        """Return open positions by ticket, symbol or group; unknown keywords are ignored."""
        return self._listed("positions_get", args, kwargs, self.view.position_rows)

    @module_call(failed=None)
    def orders_total(self) -> int:
        """Return the number of working orders that the terminal shows."""
        self.reach("orders_total")
        return len(self._shaped("orders_total", self.view.order_rows()))

    @module_call(failed=None)
    def orders_get(self, /, *args: object, **kwargs: object) -> tuple[TradeOrder, ...]:
        """Return working orders by ticket, symbol or group; unknown keywords are ignored."""
        return self._listed("orders_get", args, kwargs, self.view.order_rows)

    def _listed(
        self,
        function: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        everything: Callable[[], tuple[_Listed, ...]],
    ) -> tuple[_Listed, ...]:
        query = parse_list_query(function, args, kwargs)
        self.reach(function)
        # The fault acts on the whole list; the filter of the query comes after the fault.
        return query.chosen(self._shaped(function, everything()))

    # -- history -------------------------------------------------------------------------------

    @module_call(failed=None)
    def history_orders_total(self, *args: object) -> int:
        """Return the number of finished orders in a span of server time."""
        query = parse_span("history_orders_total", args)
        self._reach_history("history_orders_total", query)
        return len(self._shaped("history_orders_total", self._past_orders(query)))

    @module_call(failed=None)
    def history_orders_get(self, /, *args: object, **kwargs: object) -> tuple[TradeOrder, ...]:
        """Return finished orders in a span of end times, or by ticket, or by position."""
        query = parse_history_query("history_orders_get", args, kwargs)
        self._reach_history("history_orders_get", query)
        return self._shaped("history_orders_get", self._past_orders(query))

    def _past_orders(self, query: HistoryQuery) -> list[TradeOrder]:
        past = self.view.history_order_rows()
        if query.span is not None:
            first, last = self._span(query.span)
            past = [row for row in past if first <= row.time_done <= last]
            return _of_group(past, query.group)
        if query.ticket is not None:
            return [row for row in past if row.ticket == query.ticket]
        wanted = query.position
        return [row for row in past if wanted and wanted in (row.position_id, row.position_by_id)]

    @module_call(failed=None)
    def history_deals_total(self, *args: object) -> int:
        """Return the number of deals in a span of server time."""
        query = parse_span("history_deals_total", args)
        self._reach_history("history_deals_total", query)
        return len(self._shaped("history_deals_total", self._past_deals(query)))

    @module_call(failed=None)
    def history_deals_get(self, /, *args: object, **kwargs: object) -> tuple[TradeDeal, ...]:
        """Return deals in a span of server time, at most one by ticket, or all of a position."""
        query = parse_history_query("history_deals_get", args, kwargs)
        self._reach_history("history_deals_get", query)
        return self._shaped("history_deals_get", self._past_deals(query))

    def _reach_history(self, function: str, query: HistoryQuery) -> None:
        try:
            self.reach(function)
        except CallFailed as failure:
            if query.is_lost:
                self.error = failure.error
                raise Unrepresentable(function, None) from None
            raise
        if query.is_lost:
            raise Unrepresentable(function, None)

    def _past_deals(self, query: HistoryQuery) -> list[TradeDeal]:
        if query.span is not None:
            first, last = self._span(query.span)
            past = [row for row in self.view.deal_rows() if first <= row.time <= last]
            return _of_group(past, query.group)
        if query.ticket is not None:
            by_deal = self.switches.deal_ticket_means is DealTicketMeans.DEAL
            return [
                row
                for row in self.view.deal_rows()
                if (row.ticket if by_deal else row.order) == query.ticket
            ][:1]
        return self.view.deal_rows(query.position) if query.position else []

    def _span(self, span: tuple[int, int]) -> tuple[int, int]:
        chance = self.switches.zero_date_reads_as
        first, last = span
        return first or chance, last or chance

    # -- trading -------------------------------------------------------------------------------

    @module_call(failed=None)
    def order_check(self, /, *args: object, **kwargs: object) -> OrderCheckResult:
        """Check a request without sending the request; retcode 0 is success."""
        request = parse_request("order_check", args, kwargs)
        self.reach("order_check")
        return sending.check(self, request)

    @module_call(failed=None)
    def order_send(self, /, *args: object, **kwargs: object) -> OrderSendResult:
        """Send a request to the server; for None, `last_error()` has the reason."""
        request = parse_request("order_send", args, kwargs)
        self.reach("order_send")
        return sending.send(self, request)

    @module_call(failed=None)
    def order_calc_margin(self, *args: object) -> float:
        """Return the margin of an order on an empty account, in the account's currency."""
        action, symbol, (volume, price) = parse_calculation("order_calc_margin", args, prices=1)
        self.reach("order_calc_margin")
        self._calculable(action, symbol)
        account = self.view.ledger.setup
        per_lot = self.view.market.margin_per_lot(symbol, price, account.currency, account.leverage)
        return round(volume * per_lot, account.currency_digits)

    @module_call(failed=None)
    def order_calc_profit(self, *args: object) -> float:
        """Return the profit of a trade in the account's currency, at the current rate."""
        action, symbol, (volume, price_open, price_close) = parse_calculation(
            "order_calc_profit", args, prices=2
        )
        self.reach("order_calc_profit")
        self._calculable(action, symbol)
        account = self.view.ledger.setup
        mark = self.view.market.mark(symbol, account.currency, account.currency_digits)
        try:
            steps = steps_of(volume, mark.step)
        except ValueError:
            raise CallFailed(mt5.RES_E_INVALID_PARAMS) from None
        return mark.profit(action == mt5.ORDER_TYPE_BUY, price_open, price_close, steps)

    def _calculable(self, action: int, symbol: str) -> None:
        self._known(symbol)
        if action not in _SIDES:
            raise CallFailed(mt5.RES_E_INVALID_PARAMS)


def _odd(listed: tuple[_Row, ...], fault: AnswersOdd) -> tuple[_Row, ...]:
    """Return the rows with the first row doubled, or with another value in its field."""
    if not listed or not fault.field:
        return listed[:1] + listed
    first, *others = listed
    told = zip(first.__match_args__, first, strict=True)
    values = (fault.value if name == fault.field else value for name, value in told)
    odd: _Row = tuple.__new__(type(first), values)
    return (odd, *others)


def _as_known(answer: ListAnswer, listed: tuple[_Row, ...]) -> tuple[_Row, ...]:
    match answer:
        case ListAnswer.CURRENT | ListAnswer.CACHED:
            return listed
        case ListAnswer.EMPTY:
            return ()
        case ListAnswer.PARTIAL:
            return listed[: len(listed) // 2]
        case ListAnswer.NONE:
            raise CallFailed(mt5.RES_E_FAIL)


def _of_group(listed: list[_Row], group: str | None) -> list[_Row]:
    if group is None:
        return listed
    return [row for row in listed if matches_group(row.symbol, group)]


for _name, _value in mt5.MODULE_CONSTANTS.items():
    setattr(SimulatedTerminal, _name, _value)

if TYPE_CHECKING:

    def _is_a_terminal(simulated: SimulatedTerminal) -> Terminal:
        return simulated
