"""The simulated MetaTrader 5 terminal: stands where ``import MetaTrader5 as mt5`` would.

`SimulatedTerminal` has the official module's functions as methods and its constants as attributes,
with the module's argument rules, return conventions and error texts, over a `Broker` that keeps
the books. Between the two lies a `View`: what the terminal knows may lag behind what is true.

It is deterministic. Time is injected, prices are given with `quote`, chance is an injected
`random.Random`; there is no clock, thread or file.

Three kinds of behaviour can be chosen:

* `switches`: open questions and habits, see `Switches`;
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
    """The official module's functions; for constructor and controls see `TerminalProgram`."""

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
        """Open the pipe, starting the program and logging in if asked; an open one is closed."""
        self.pipe = Pipe.CLOSED
        credentials = parse_login("initialize", args, kwargs, positional=("path",))
        match self.faults.take_call("initialize"):
            case Fails(code, text):
                raise CallFailed(code, text)
            case Hang():
                self.faults.on_hang("initialize")
            case _:
                pass
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
            # It polls for a terminal that is ready, and gives up.
            raise CallFailed(mt5.RES_E_INTERNAL_FAIL_TIMEOUT)
        if login and not self.authorise(login, password, server):
            raise CallFailed(mt5.RES_E_AUTH_FAILED)
        self.settle()

    @module_call(failed=False)
    def login(self, /, *args: object, **kwargs: object) -> bool:
        """Log in to an account; False and -6 when the server refuses."""
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
        """Terminal version, build and its date; zeros without a pipe."""
        self.reach("version")
        return 500, self.build, "22 Nov 2025"

    def last_error(self) -> tuple[int, str]:
        """Code and text of the call before."""
        return self.error

    @module_call(failed=None)
    def terminal_info(self) -> TerminalInfo:
        """The terminal program."""
        self.reach("terminal_info")
        return rows.terminal_row(
            connected=self.view.shows_connected,
            trade_allowed=self.algo_trading,
            tradeapi_disabled=self.python_trading_disabled,
            build=self.build,
        )

    @module_call(failed=None)
    def account_info(self) -> AccountInfo:
        """The account that the terminal is logged in to."""
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
        """Number of the broker's symbols."""
        self.reach("symbols_total")
        return len(self.market.setups)

    @module_call(failed=None)
    def symbols_get(self, /, *args: object, **kwargs: object) -> tuple[SymbolInfo, ...] | bool:
        """The broker's symbols; False (not None) with bad arguments."""
        try:
            group = parse_symbol_group(args, kwargs)
        except BadArgument as bad:
            self.error = (mt5.RES_E_INVALID_PARAMS, bad.text)
            return False
        self.reach("symbols_get")
        names = [name for name in self.market.setups if group is None or matches_group(name, group)]
        return tuple(self._symbol_row(name) for name in names)

    @module_call(failed=None)
    def symbol_info(self, *args: object) -> SymbolInfo:
        """A symbol's specification; None and -4 for an unknown one."""
        name = parse_symbol(args)
        self.reach("symbol_info")
        return self._symbol_row(self._known(name))

    def _symbol_row(self, name: str) -> SymbolInfo:
        market, account = self.view.market, self.view.ledger.setup
        return rows.symbol_row(market, name, account, selected=self.shows_symbol(name))

    def _known(self, name: str) -> str:
        if name not in self.market.setups:
            raise CallFailed(mt5.RES_E_NOT_FOUND)
        return name

    @module_call(failed=None)
    def symbol_info_tick(self, *args: object) -> Tick:
        """A symbol's last price; zeros outside Market Watch."""
        name = parse_symbol(args)
        self.reach("symbol_info_tick")
        return rows.tick_row(self.view.market, self._known(name), self.shows_symbol(name))

    @module_call(failed=False)
    def symbol_select(self, *args: object) -> bool:
        """Put a symbol into Market Watch or take it out; one in use stays."""
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
        """Number of open positions that the terminal shows."""
        self.reach("positions_total")
        return len(self._shaped("positions_total", self.view.position_rows()))

    @module_call(failed=None)
    def positions_get(self, /, *args: object, **kwargs: object) -> tuple[TradePosition, ...]:
        """Open positions by ticket, else symbol, else group; unknown keywords are ignored."""
        return self._listed("positions_get", args, kwargs, self.view.position_rows)

    @module_call(failed=None)
    def orders_total(self) -> int:
        """Number of working orders that the terminal shows."""
        self.reach("orders_total")
        return len(self._shaped("orders_total", self.view.order_rows()))

    @module_call(failed=None)
    def orders_get(self, /, *args: object, **kwargs: object) -> tuple[TradeOrder, ...]:
        """Working orders by ticket, else symbol, else group; unknown keywords are ignored."""
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
        shown = self._shaped(function, everything())
        if query.ticket is not None:
            return tuple(row for row in shown if row.ticket == query.ticket)
        if query.symbol is not None:
            return tuple(row for row in shown if row.symbol == query.symbol)
        if query.group is not None:
            group = query.group
            return tuple(row for row in shown if matches_group(row.symbol, group))
        return shown

    # -- history -------------------------------------------------------------------------------

    @module_call(failed=None)
    def history_orders_total(self, *args: object) -> int:
        """Number of finished orders in a span of server time."""
        query = parse_span("history_orders_total", args)
        self._reach_history("history_orders_total", query)
        return len(self._shaped("history_orders_total", self._past_orders(query)))

    @module_call(failed=None)
    def history_orders_get(self, /, *args: object, **kwargs: object) -> tuple[TradeOrder, ...]:
        """Finished orders in a span (by the time they ended), or by ticket, or by position."""
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
        """Number of deals in a span of server time."""
        query = parse_span("history_deals_total", args)
        self._reach_history("history_deals_total", query)
        return len(self._shaped("history_deals_total", self._past_deals(query)))

    @module_call(failed=None)
    def history_deals_get(self, /, *args: object, **kwargs: object) -> tuple[TradeDeal, ...]:
        """Deals in a span of server time, or at most one by ticket, or those of a position."""
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
        """Judge a request without sending it; retcode 0 is success."""
        request = parse_request("order_check", args, kwargs)
        self.reach("order_check")
        return sending.check(self, request)

    @module_call(failed=None)
    def order_send(self, /, *args: object, **kwargs: object) -> OrderSendResult:
        """Send a request to the server; None leaves the reason in `last_error()`."""
        request = parse_request("order_send", args, kwargs)
        self.reach("order_send")
        return sending.send(self, request)

    @module_call(failed=None)
    def order_calc_margin(self, *args: object) -> float:
        """Margin of an order in the account's currency, nothing else being open."""
        action, symbol, (volume, price) = parse_calculation("order_calc_margin", args, prices=1)
        self.reach("order_calc_margin")
        self._calculable(action, symbol)
        account = self.view.ledger.setup
        per_lot = self.view.market.margin_per_lot(symbol, price, account.currency, account.leverage)
        return round(volume * per_lot, account.currency_digits)

    @module_call(failed=None)
    def order_calc_profit(self, *args: object) -> float:
        """Profit of a trade in the account's currency, at the current conversion rate."""
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
    """Return rows of which the first comes twice, or has another value in one of its fields."""
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
