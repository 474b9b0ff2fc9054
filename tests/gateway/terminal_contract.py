"""What every terminal behind the gateway must do: one suite, run against each of them.

A subclass gives a `terminal` that is initialised, connected and logged in to a **demo** account
that may trade, and a `symbol` that has prices. The suite trades the smallest volume and leaves the
account as it found it, other people's positions untouched. Statements are those of the MT5
reference, Python integration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import (
    OrderSendResult,
    SymbolInfo,
    Terminal,
    Tick,
    TradePosition,
)

FACTS = json.loads((Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8"))
MAGIC = 7_700_077
SUCCESS = (1, "Success")
# The server's clock may be hours ahead of UTC: a window must end beyond it.
A_DAY = 86_400
NO_TICKET = 2**64 - 1
UNTIL_SEEN = 200
"""How often a change is looked for before it counts as missing; see `wait_a_moment`."""


class TerminalContract:
    """Inherit, and give the fixtures `terminal` and `symbol`."""

    @pytest.fixture
    def terminal(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def symbol(self) -> str:
        return "EURUSD"

    @pytest.fixture(autouse=True)
    def demo_only(self, terminal: Terminal) -> None:
        account = terminal.account_info()
        assert account is not None
        assert account.trade_mode == mt5.ACCOUNT_TRADE_MODE_DEMO, "the contract trades"

    def wait_a_moment(self) -> None:
        """Let a few milliseconds pass; nothing to do where time is simulated."""

    # -- helpers -------------------------------------------------------------------------------

    def info(self, terminal: Terminal, symbol: str) -> SymbolInfo:
        found = terminal.symbol_info(symbol)
        assert found is not None
        return found

    def tick(self, terminal: Terminal, symbol: str) -> Tick:
        found = terminal.symbol_info_tick(symbol)
        assert found is not None
        return found

    def request(self, terminal: Terminal, symbol: str, **fields: Any) -> dict[str, Any]:
        info = self.info(terminal, symbol)
        ioc = info.filling_mode & mt5.SYMBOL_FILLING_IOC
        return {
            "action": mt5.TRADE_ACTION_DEAL,
            "symbol": symbol,
            "volume": info.volume_min,
            "type": mt5.ORDER_TYPE_BUY,
            "price": self.tick(terminal, symbol).ask,
            "deviation": 100,
            "magic": MAGIC,
            "comment": "contract",
            "type_filling": mt5.ORDER_FILLING_IOC if ioc else mt5.ORDER_FILLING_FOK,
        } | fields

    def send(self, terminal: Terminal, request: dict[str, Any]) -> OrderSendResult:
        result = terminal.order_send(request)
        assert result is not None, terminal.last_error()
        assert result.retcode == mt5.TRADE_RETCODE_DONE, result
        return result

    def eventually(self, look: Callable[[], bool]) -> None:
        """Lists and history may lag behind an answer."""
        for _ in range(UNTIL_SEEN):
            if look():
                return
            self.wait_a_moment()
        raise AssertionError("not seen in time")

    def listed(self, terminal: Terminal, ticket: int) -> tuple[TradePosition, ...]:
        found = terminal.positions_get(ticket=ticket)
        assert found is not None
        return found

    @pytest.fixture
    def position(self, terminal: Terminal, symbol: str) -> Iterator[TradePosition]:
        """A position of the smallest volume, closed afterwards if it is still open."""
        opened = self.send(terminal, self.request(terminal, symbol))
        self.eventually(lambda: bool(self.listed(terminal, opened.order)))
        yield self.listed(terminal, opened.order)[0]
        if self.listed(terminal, opened.order):
            self.close(terminal, self.listed(terminal, opened.order)[0])

    def close(self, terminal: Terminal, position: TradePosition) -> OrderSendResult:
        buys = position.type == mt5.POSITION_TYPE_BUY
        tick = self.tick(terminal, position.symbol)
        result = self.send(
            terminal,
            self.request(
                terminal,
                position.symbol,
                type=mt5.ORDER_TYPE_SELL if buys else mt5.ORDER_TYPE_BUY,
                price=tick.bid if buys else tick.ask,
                volume=position.volume,
                position=position.ticket,
            ),
        )
        self.eventually(lambda: not self.listed(terminal, position.ticket))
        return result

    # -- answers -------------------------------------------------------------------------------

    def test_nothing_found_is_empty_and_success(self, terminal: Terminal) -> None:
        for found in (
            terminal.positions_get(ticket=NO_TICKET),
            terminal.positions_get(symbol="NO.SUCH.SYMBOL"),
            terminal.orders_get(ticket=NO_TICKET),
            terminal.history_deals_get(position=NO_TICKET),
            terminal.history_orders_get(ticket=NO_TICKET),
        ):
            assert found == ()
            assert terminal.last_error() == SUCCESS

    @pytest.mark.parametrize("function", ["positions_get", "orders_get"])
    @pytest.mark.parametrize(
        ("args", "kwargs", "text"),
        [
            (("EURUSD",), {}, "Unnamed arguments not allowed"),
            ((), {"symbol": None}, 'Invalid "symbol" argument'),
            ((), {"ticket": 1.0}, 'Invalid "ticket" argument'),
            ((), {"ticket": None}, 'Invalid "ticket" argument'),
            ((), {"group": None}, 'Invalid "group" argument'),
        ],
    )
    def test_bad_list_arguments_are_none_and_told(
        self,
        terminal: Terminal,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        text: str,
    ) -> None:
        assert getattr(terminal, function)(*args, **kwargs) is None
        assert terminal.last_error() == (mt5.RES_E_INVALID_PARAMS, text)

    def test_unknown_keyword_is_ignored(self, terminal: Terminal) -> None:
        found: Any = getattr(terminal, "positions_get")(magic=1)  # noqa: B009
        assert found is not None
        assert len(found) == terminal.positions_total()

    def test_an_error_is_forgotten_with_the_next_call(self, terminal: Terminal) -> None:
        assert terminal.symbol_info("NO.SUCH.SYMBOL") is None
        assert terminal.last_error() != SUCCESS
        assert terminal.positions_total() is not None
        assert terminal.last_error() == SUCCESS

    def test_some_functions_fail_with_false(self, terminal: Terminal) -> None:
        call: Any = terminal.symbols_get
        assert call(1) is False
        assert terminal.last_error()[0] == mt5.RES_E_INVALID_PARAMS
        assert terminal.symbol_select("NO.SUCH.SYMBOL", True) is False
        assert terminal.last_error()[0] != mt5.RES_S_OK

    def test_the_version_is_of_the_terminal(self, terminal: Terminal) -> None:
        version, info = terminal.version(), terminal.terminal_info()
        assert version is not None
        assert info is not None
        assert type(version) is tuple
        assert (version[1], type(version[0]), type(version[2])) == (info.build, int, str)

    @pytest.mark.parametrize("function", ["account_info", "terminal_info", "positions_total"])
    def test_functions_without_arguments_take_none(self, terminal: Terminal, function: str) -> None:
        with pytest.raises(TypeError):
            getattr(terminal, function)(1)

    @pytest.mark.parametrize("function", ["positions_get", "orders_get"])
    def test_a_group_chooses_by_symbol_and_needs_something_to_choose(
        self, terminal: Terminal, function: str
    ) -> None:
        call: Any = getattr(terminal, function)
        assert {row.ticket for row in call(group="*")} == {row.ticket for row in call()}
        assert call(group="!*") == ()
        assert terminal.last_error() == SUCCESS

    def test_with_two_dates_history_ignores_ticket_and_position(self, terminal: Terminal) -> None:
        call: Any = terminal.history_deals_get
        assert call(1, 2, ticket=NO_TICKET, position=NO_TICKET) == ()
        assert call(1, 2_000_000_000, position=NO_TICKET) == call(1, 2_000_000_000)

    def test_dates_of_history_are_positional(self, terminal: Terminal) -> None:
        call: Any = terminal.history_deals_get
        assert call(date_from=1, date_to=2) is None
        assert terminal.last_error() == (mt5.RES_E_INVALID_PARAMS, "Invalid arguments")

    @pytest.mark.parametrize("field", ["volume", "price", "sl", "tp", "stoplimit"])
    def test_an_integer_is_no_float(self, terminal: Terminal, symbol: str, field: str) -> None:
        request = self.request(terminal, symbol) | {field: 1}
        assert terminal.order_send(request) is None
        assert terminal.last_error() == (
            mt5.RES_E_INVALID_PARAMS,
            f'Invalid "{field}" argument',
        )

    @pytest.mark.parametrize("field", ["action", "volume", "symbol", "comment", "magic"])
    def test_nothing_in_a_request_is_none(
        self, terminal: Terminal, symbol: str, field: str
    ) -> None:
        assert terminal.order_send(self.request(terminal, symbol) | {field: None}) is None
        assert terminal.last_error() == (
            mt5.RES_E_INVALID_PARAMS,
            f'Invalid "{field}" argument',
        )

    @pytest.mark.parametrize("field", ["magic", "deviation", "expiration"])
    def test_a_float_is_no_integer(self, terminal: Terminal, symbol: str, field: str) -> None:
        assert terminal.order_send(self.request(terminal, symbol) | {field: 1.0}) is None
        assert terminal.last_error()[0] == mt5.RES_E_INVALID_PARAMS

    def test_a_comment_has_29_characters(self, terminal: Terminal, symbol: str) -> None:
        request = self.request(terminal, symbol, comment="A" * 30)
        assert terminal.order_send(request) is None
        assert terminal.last_error()[0] == mt5.RES_E_INVALID_PARAMS

    def test_unknown_symbol_is_not_found(self, terminal: Terminal) -> None:
        assert terminal.symbol_info("NO.SUCH.SYMBOL") is None
        assert terminal.last_error()[0] == mt5.RES_E_NOT_FOUND

    def test_rows_have_the_official_fields(self, terminal: Terminal, symbol: str) -> None:
        for name, row in (
            ("TerminalInfo", terminal.terminal_info()),
            ("AccountInfo", terminal.account_info()),
            ("SymbolInfo", terminal.symbol_info(symbol)),
            ("Tick", terminal.symbol_info_tick(symbol)),
        ):
            assert row is not None
            assert list(row._asdict()) == FACTS["namedtuples"][name]

    def test_rows_are_read_by_name_and_by_index_and_stay_as_they_are(
        self, terminal: Terminal
    ) -> None:
        account = terminal.account_info()
        assert isinstance(account, tuple)
        row: Any = account
        assert row[0] == row.login == row._asdict()["login"]
        with pytest.raises((AttributeError, TypeError)):
            row.login = 1

    def test_account_figures_add_up(self, terminal: Terminal) -> None:
        account = terminal.account_info()
        assert account is not None
        floating = account.balance + account.credit + account.profit
        assert account.equity == pytest.approx(floating, abs=0.011)
        assert account.margin_free == pytest.approx(account.equity - account.margin, abs=0.011)

    def test_the_check_answers_0(self, terminal: Terminal, symbol: str) -> None:
        checked = terminal.order_check(self.request(terminal, symbol))
        assert checked is not None
        assert checked.retcode == 0
        assert list(checked._asdict()) == FACTS["namedtuples"]["OrderCheckResult"]

    def test_calculations(self, terminal: Terminal, symbol: str) -> None:
        ask = self.tick(terminal, symbol).ask
        margin = terminal.order_calc_margin(mt5.ORDER_TYPE_BUY, symbol, 1.0, ask)
        profit = terminal.order_calc_profit(mt5.ORDER_TYPE_BUY, symbol, 1.0, ask, ask * 1.01)
        assert margin is not None
        assert profit is not None
        assert margin > 0.0
        assert profit > 0.0

    # -- trading -------------------------------------------------------------------------------

    def test_bars_and_ticks_have_the_layouts_of_the_module(
        self, terminal: Terminal, symbol: str
    ) -> None:
        pytest.importorskip("numpy")
        day = self.tick(terminal, symbol).time + A_DAY
        bars = [
            terminal.copy_rates_from_pos(symbol, mt5.TIMEFRAME_M1, 0, 10),
            terminal.copy_rates_from(symbol, mt5.TIMEFRAME_H1, day, 10),
            terminal.copy_rates_range(symbol, mt5.TIMEFRAME_D1, 1, day),
        ]
        ticks = [
            terminal.copy_ticks_from(symbol, 1, 10, mt5.COPY_TICKS_ALL),
            terminal.copy_ticks_range(symbol, day - 2 * A_DAY, day, mt5.COPY_TICKS_INFO),
        ]
        for kind, arrays in (("rates", bars), ("ticks", ticks)):
            for array in arrays:
                assert array is not None, terminal.last_error()
                assert array.dtype.descr == [tuple(each) for each in FACTS["numpy_dtypes"][kind]]
                assert list(array["time"]) == sorted(array["time"])

    def test_bad_questions_for_prices_of_the_past_are_none(
        self, terminal: Terminal, symbol: str
    ) -> None:
        asked: Any = terminal
        assert asked.copy_rates_from_pos(symbol, mt5.TIMEFRAME_M1, 0) is None
        assert terminal.last_error() == (-2, "Invalid arguments")
        assert asked.copy_ticks_from(symbol, "yesterday", 1, mt5.COPY_TICKS_ALL) is None
        assert terminal.last_error() == (-2, "Invalid arguments")
        assert asked.copy_rates_from_pos("NOSUCH", mt5.TIMEFRAME_M1, 0, 1) is None
        assert terminal.last_error()[0] < 0

    def test_the_depth_of_market_is_shown_to_subscribers(
        self, terminal: Terminal, symbol: str
    ) -> None:
        assert terminal.market_book_add(symbol) is True
        for level in terminal.market_book_get(symbol) or ():
            assert list(level._asdict()) == FACTS["namedtuples"]["BookInfo"]
        assert terminal.market_book_release(symbol) is True
        asked: Any = terminal
        assert asked.market_book_add(symbol, 1) is None

    def test_a_position_carries_its_request(
        self, terminal: Terminal, position: TradePosition
    ) -> None:
        assert position.magic == MAGIC
        assert position.reason == mt5.POSITION_REASON_EXPERT
        assert position.type == mt5.POSITION_TYPE_BUY
        assert position.ticket == position.identifier
        assert position.price_current > 0.0
        for field in ("volume", "price_open", "sl", "tp", "swap", "profit"):
            assert type(getattr(position, field)) is float
        assert list(position._asdict()) == FACTS["namedtuples"]["TradePosition"]
        total, found = terminal.positions_total(), terminal.positions_get()
        assert found is not None
        assert total == len(found)

    def test_a_ticket_wins_over_a_symbol_and_a_symbol_over_a_group(
        self, terminal: Terminal, position: TradePosition
    ) -> None:
        found = terminal.positions_get(ticket=position.ticket, symbol="NO.SUCH.SYMBOL")
        assert [row.ticket for row in found or ()] == [position.ticket]
        assert terminal.positions_get(symbol="NO.SUCH.SYMBOL", group="*") == ()

    def test_the_answer_repeats_the_request_and_numbers_orders_and_deals_apart(
        self, terminal: Terminal, position: TradePosition
    ) -> None:
        closed = self.close(terminal, position)
        assert list(closed._asdict()) == FACTS["namedtuples"]["OrderSendResult"]
        assert list(closed.request._asdict()) == FACTS["namedtuples"]["TradeRequest"]
        assert closed.request.position == position.ticket
        assert closed.request.magic == MAGIC
        # The position has the ticket of its opening order; closing is another order.
        assert closed.order not in (0, position.ticket)
        orders = terminal.history_orders_get(ticket=position.ticket)
        assert [order.position_id for order in orders or ()] == [position.identifier]

    def test_a_closed_position_is_explained_by_its_deals(
        self, terminal: Terminal, position: TradePosition
    ) -> None:
        closed = self.close(terminal, position)

        def explained() -> bool:
            deals = terminal.history_deals_get(position=position.identifier)
            return deals is not None and len(deals) == 2

        self.eventually(explained)
        deals = terminal.history_deals_get(position=position.identifier)
        assert deals is not None
        first, last = sorted(deals, key=lambda deal: deal.ticket)
        assert list(first._asdict()) == FACTS["namedtuples"]["TradeDeal"]
        assert (first.entry, last.entry) == (mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT)
        assert first.volume == pytest.approx(last.volume)
        assert last.order == closed.order
        assert last.reason == mt5.DEAL_REASON_EXPERT
        orders = terminal.history_orders_get(ticket=closed.order)
        assert orders is not None
        assert list(orders[0]._asdict()) == FACTS["namedtuples"]["TradeOrder"]
        assert orders[0].position_id == position.identifier
        assert orders[0].state == mt5.ORDER_STATE_FILLED
        # The same deals lie in a window that ends beyond the server's clock.
        window = terminal.history_deals_get(first.time - 1, last.time + A_DAY)
        assert window is not None
        assert {first.ticket, last.ticket} <= {deal.ticket for deal in window}

    def test_closing_again_executes_nothing(
        self, terminal: Terminal, position: TradePosition
    ) -> None:
        self.close(terminal, position)
        again = terminal.order_send(
            self.request(
                terminal,
                position.symbol,
                type=mt5.ORDER_TYPE_SELL,
                price=self.tick(terminal, position.symbol).bid,
                position=position.ticket,
            )
        )
        assert again is not None
        assert again.retcode == mt5.TRADE_RETCODE_POSITION_CLOSED

    def test_levels_are_set_together(self, terminal: Terminal, position: TradePosition) -> None:
        info = self.info(terminal, position.symbol)
        away = max(info.trade_stops_level * 4, 2_000) * info.point
        request = {
            "action": mt5.TRADE_ACTION_SLTP,
            "symbol": position.symbol,
            "position": position.ticket,
            "sl": round(position.price_current - away, info.digits),
            "tp": 0.0,
        }
        result = self.send(terminal, request)
        assert (result.deal, result.order) == (0, 0)
        self.eventually(lambda: self.listed(terminal, position.ticket)[0].sl > 0.0)
        repeated = terminal.order_send(request)
        assert repeated is not None
        assert repeated.retcode == mt5.TRADE_RETCODE_NO_CHANGES
        changed = self.listed(terminal, position.ticket)[0]
        assert changed.tp == 0.0
        assert changed.time_update_msc == position.time_update_msc

    def test_a_pending_order_is_placed_and_removed(self, terminal: Terminal, symbol: str) -> None:
        info = self.info(terminal, symbol)
        away = max(info.trade_stops_level * 4, 5_000) * info.point
        placed = self.send(
            terminal,
            self.request(
                terminal,
                symbol,
                action=mt5.TRADE_ACTION_PENDING,
                type=mt5.ORDER_TYPE_BUY_LIMIT,
                price=round(self.tick(terminal, symbol).bid - away, info.digits),
                type_filling=mt5.ORDER_FILLING_RETURN,
            ),
        )
        assert placed.deal == 0
        self.eventually(lambda: bool(terminal.orders_get(ticket=placed.order)))
        found = terminal.orders_get(ticket=placed.order)
        assert found
        assert (found[0].magic, found[0].state) == (MAGIC, mt5.ORDER_STATE_PLACED)
        self.send(terminal, {"action": mt5.TRADE_ACTION_REMOVE, "order": placed.order})
        self.eventually(lambda: terminal.orders_get(ticket=placed.order) == ())
        self.eventually(lambda: bool(terminal.history_orders_get(ticket=placed.order)))
        past = terminal.history_orders_get(ticket=placed.order)
        assert past
        assert past[0].state == mt5.ORDER_STATE_CANCELED

    def test_a_wrong_volume_is_refused_without_effect(
        self, terminal: Terminal, symbol: str
    ) -> None:
        before = terminal.positions_total()
        step = self.info(terminal, symbol).volume_step
        result = terminal.order_send(self.request(terminal, symbol, volume=step * 1.5))
        assert result is not None
        assert result.retcode == mt5.TRADE_RETCODE_INVALID_VOLUME
        assert (result.deal, result.order) == (0, 0)
        assert terminal.positions_total() == before

    # Last: it takes the connection away.
    def test_without_connection_there_is_none_and_not_empty(self, terminal: Terminal) -> None:
        assert terminal.shutdown() is True
        calls: list[Callable[[], Any]] = [
            *(terminal.positions_get, terminal.positions_total, terminal.orders_get),
            *(terminal.account_info, terminal.terminal_info),
            lambda: terminal.history_deals_get(1, 2_000_000_000),
            lambda: terminal.order_send({"action": mt5.TRADE_ACTION_REMOVE}),
        ]
        for call in calls:
            assert call() is None
            assert terminal.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT
        # It looks for the terminal's build first, and there is none.
        assert terminal.symbols_get() is None
        assert terminal.last_error()[0] == mt5.RES_E_INVALID_VERSION
        assert terminal.version() in (None, (0, 0, ""))
        assert terminal.initialize() is True
        assert terminal.last_error() == SUCCESS
