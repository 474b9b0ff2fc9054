"""Argument rules and error texts of the official module, through the simulated functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.sim_world import FOREVER, START_MSC, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.arguments import matches_group, parse_span

NOW = START_MSC // 1000
SUCCESS = (1, "Success")


class NumpyLike:
    """As a numpy integer: `__index__` and `__int__`, but no `int`."""

    def __index__(self) -> int:
        return 100_001

    def __int__(self) -> int:
        return 100_001


class FloatSubclass(float):
    """As numpy.float64, which is a subclass of float."""


@pytest.fixture
def world() -> World:
    made = World()
    made.buy(0.1)
    made.sell(0.2, "GBPUSD")
    return made


@pytest.mark.parametrize("function", ["positions_get", "orders_get"])
def test_positional_arguments_are_refused(world: World, function: str) -> None:
    assert getattr(world.terminal, function)("EURUSD") is None
    assert world.terminal.last_error() == (-2, "Unnamed arguments not allowed")


@pytest.mark.parametrize("name", ["magic", "position", "identifier"])
def test_unknown_keyword_returns_everything(world: World, name: str) -> None:
    found = world.terminal.positions_get(**{name: 7})
    assert found is not None
    assert len(found) == 2
    assert world.terminal.last_error() == SUCCESS


@pytest.mark.parametrize("name", ["symbol", "ticket", "group"])
def test_explicit_none_is_refused(world: World, name: str) -> None:
    assert world.terminal.positions_get(**{name: None}) is None
    assert world.terminal.last_error() == (-2, f'Invalid "{name}" argument')


def test_ticket_wins_over_symbol_over_group(world: World) -> None:
    first, second = world.positions()
    assert world.position(ticket=first.ticket, symbol="GBPUSD", group="nothing") == first
    assert world.position(symbol="GBPUSD", group="nothing") == second


def test_ticket_must_be_a_python_int(world: World) -> None:
    assert world.terminal.positions_get(ticket=NumpyLike()) is None
    assert world.terminal.last_error() == (-2, 'Invalid "ticket" argument')
    assert world.terminal.positions_get(ticket=100_001.0) is None


@pytest.mark.parametrize("query", [{"ticket": 999}, {"symbol": "NOSUCH"}, {"group": "NO*"}])
def test_nothing_found_is_an_empty_tuple_and_success(world: World, query: dict[str, Any]) -> None:
    assert world.terminal.positions_get(**query) == ()
    assert world.terminal.last_error() == SUCCESS


@pytest.mark.parametrize("ticket", [-1, 2**64])
def test_ticket_out_of_range_is_a_system_error(world: World, ticket: int) -> None:
    with pytest.raises(SystemError, match="with an exception set"):
        world.terminal.positions_get(ticket=ticket)
    assert world.terminal.last_error() == (-2, 'Invalid "ticket" argument')


@pytest.mark.parametrize(("name", "most"), [("symbol", 29), ("group", 1997)])
def test_text_length_is_limited(world: World, name: str, most: int) -> None:
    assert world.terminal.positions_get(**{name: "A" * most}) == ()
    assert world.terminal.positions_get(**{name: "😀" * (most // 2)}) == ()
    assert world.terminal.positions_get(**{name: "A" * (most + 1)}) is None
    assert world.terminal.positions_get(**{name: "😀" * (most // 2 + 1)}) is None
    assert world.terminal.last_error() == (-2, f'Invalid "{name}" argument')


@pytest.mark.parametrize(
    ("group", "passing"),
    [
        ("*", {"EURUSD", "GBPUSD", "USDJPY", "EURJPY.m"}),
        ("EUR*", {"EURUSD", "EURJPY.m"}),
        ("*JPY*", {"USDJPY", "EURJPY.m"}),
        ("EURUSD", {"EURUSD"}),
        ("eurusd", set()),
        ("EURUSD,USDJPY", {"EURUSD", "USDJPY"}),
        ("EURUSD USDJPY", {"EURUSD", "USDJPY"}),
        ("!*EUR*", set()),
        ("*,!*EUR*", {"GBPUSD", "USDJPY"}),
        ("!*EUR*,*", {"GBPUSD", "USDJPY"}),
        ("E*D", {"EURUSD"}),
        ("", set()),
    ],
)
def test_group_filter(group: str, passing: set[str]) -> None:
    symbols = {"EURUSD", "GBPUSD", "USDJPY", "EURJPY.m"}
    assert {symbol for symbol in symbols if matches_group(symbol, group)} == passing


@pytest.mark.parametrize("function", ["history_orders_get", "history_deals_get"])
@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "Invalid arguments"),
        ((), {"date_from": 1, "date_to": 2}, "Invalid arguments"),
        ((), {"group": "*"}, "Invalid arguments"),
        ((1,), {}, "Invalid arguments"),
        ((1, 2, 3), {}, "Invalid arguments"),
        (("1", 2), {}, "Invalid arguments"),
        ((1, None), {}, "Invalid arguments"),
        ((1, datetime(2024, 1, 1, tzinfo=UTC).date()), {}, "Invalid arguments"),
        ((1, 2), {"group": None}, 'Invalid "group" argument'),
        ((), {"ticket": None}, 'Invalid "ticket" argument'),
        ((), {"position": 1.0}, 'Invalid "position" argument'),
    ],
)
def test_history_arguments_that_are_refused(
    world: World, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    assert getattr(world.terminal, function)(*args, **kwargs) is None
    assert world.terminal.last_error() == (-2, text)


def test_dates_make_history_ignore_ticket_and_position(world: World) -> None:
    everything = world.terminal.history_deals_get(1, FOREVER)
    assert world.terminal.history_deals_get(1, FOREVER, ticket=1, position=None) == everything
    assert len(everything or ()) == 3


def test_history_takes_int_float_and_datetime(world: World) -> None:
    server = NOW + 7200
    moments: list[Callable[[int], Any]] = [
        int,
        float,
        lambda seconds: datetime.fromtimestamp(seconds, UTC),
    ]
    for moment in moments:
        assert world.terminal.history_deals_total(moment(server), moment(server)) == 3
        assert world.terminal.history_deals_total(moment(server - 9), moment(server - 1)) == 0


def test_a_window_that_ends_before_the_server_clock_misses_the_deal(world: World) -> None:
    """Server time runs ahead of UTC; `to` must lie beyond the server's clock."""
    assert world.terminal.history_deals_get(NOW - 86_400, NOW) == ()


def test_dates_are_cut_to_signed_32_bits() -> None:
    assert parse_span("f", (1.9, 2**31 - 1)).span == (1, 2**31 - 1)
    assert parse_span("f", (1, 2.0**31)).span == (1, -(2**31))
    # What C makes of these has no low bits.
    assert parse_span("f", (float("nan"), 1e20)).span == (0, 0)


@pytest.mark.parametrize("date", [2**31, -(2**31) - 1, 2**64])
def test_an_integer_that_is_no_long_of_c_is_asked_about_and_ends_in_a_system_error(
    world: World, date: int
) -> None:
    """The error is that of the question, which was asked."""
    for function in ("history_deals_get", "history_orders_get", "history_deals_total"):
        with pytest.raises(SystemError, match="with an exception set"):
            getattr(world.terminal, function)(1, date)
        assert world.terminal.last_error() == SUCCESS
    world.terminal.shutdown()
    with pytest.raises(SystemError):
        world.terminal.history_deals_get(1, date)
    assert world.terminal.last_error() == (-10004, "No IPC connection")


def test_a_local_time_before_the_second_day_of_1970_is_a_system_error(world: World) -> None:
    with pytest.raises(SystemError):
        world.terminal.history_deals_get(datetime(1960, 1, 1), 1)  # noqa: DTZ001
    assert world.terminal.last_error() == (-2, "Invalid arguments")
    assert world.terminal.history_deals_get(datetime(1960, 1, 1, tzinfo=UTC), 1) == ()


def test_a_date_of_zero_reads_as_chance(world: World) -> None:
    assert world.terminal.history_deals_get(0, FOREVER) == ()
    world.terminal.switches.zero_date_reads_as = 1
    assert len(world.terminal.history_deals_get(0, FOREVER) or ()) == 3


REQUEST: dict[str, Any] = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": "EURUSD",
    "volume": 0.1,
    "type": mt5.ORDER_TYPE_BUY,
    "type_filling": mt5.ORDER_FILLING_IOC,
}


@pytest.mark.parametrize("field", ["volume", "price", "stoplimit", "sl", "tp"])
@pytest.mark.parametrize("value", [1, 0, None, "1.0"])
def test_a_request_float_must_be_a_float(world: World, field: str, value: Any) -> None:
    assert world.terminal.order_send(REQUEST | {field: value}) is None
    assert world.terminal.last_error() == (-2, f'Invalid "{field}" argument')


@pytest.mark.parametrize(
    "field",
    ["action", "magic", "order", "deviation", "type", "type_filling", "type_time", "expiration",
     "position", "position_by"],
)  # fmt: skip
@pytest.mark.parametrize("value", [1.0, None, NumpyLike(), datetime(2024, 1, 1, tzinfo=UTC)])
def test_a_request_integer_must_be_a_python_int(world: World, field: str, value: Any) -> None:
    assert world.terminal.order_send(REQUEST | {field: value}) is None
    assert world.terminal.last_error() == (-2, f'Invalid "{field}" argument')


@pytest.mark.parametrize("field", ["comment", "symbol"])
def test_request_texts_hold_29_characters(world: World, field: str) -> None:
    assert world.terminal.order_send(REQUEST | {field: "A" * 29}) is not None
    assert world.terminal.order_send(REQUEST | {field: "A" * 30}) is None
    assert world.terminal.last_error() == (-2, f'Invalid "{field}" argument')


@pytest.mark.parametrize("field", ["magic", "position", "action"])
@pytest.mark.parametrize("value", [-1, 2**64])
def test_request_integer_out_of_range_is_a_system_error(
    world: World, field: str, value: int
) -> None:
    before = dict(world.terminal.ledger.deals)
    with pytest.raises(SystemError):
        world.terminal.order_send(REQUEST | {field: value})
    assert world.terminal.last_error() == (-2, f'Invalid "{field}" argument')
    # What was wrong first is said, and nothing was sent.
    assert world.terminal.ledger.deals == before


def test_a_request_is_one_dict_or_keywords_not_both(world: World) -> None:
    assert world.terminal.order_send(**REQUEST) is not None
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((REQUEST,), {"magic": 1}, "Unnamed arguments not allowed"),
        ((), {}, "Invalid number of arguments"),
        ((REQUEST, REQUEST), {}, "Invalid number of arguments"),
        ((None,), {}, "Invalid arguments"),
    ]
    for args, kwargs, text in refused:
        assert world.terminal.order_send(*args, **kwargs) is None
        assert world.terminal.last_error() == (-2, text)


def test_float_subclass_passes_and_unknown_keys_are_ignored(world: World) -> None:
    result = world.terminal.order_send(REQUEST | {"volume": FloatSubclass(0.1), "colour": None})
    assert result is not None
    assert result.retcode == mt5.TRADE_RETCODE_DONE
    assert type(result.request.volume) is float


def test_missing_fields_are_zero_or_empty(world: World) -> None:
    result = world.send(action=99)
    assert result.retcode == mt5.TRADE_RETCODE_INVALID
    assert result.request == (99, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, "", 0, 0)


@pytest.mark.parametrize(
    "function",
    ["shutdown", "version", "last_error", "terminal_info", "account_info", "symbols_total",
     "positions_total", "orders_total"],
)  # fmt: skip
def test_functions_without_arguments_raise_when_given_some(world: World, function: str) -> None:
    with pytest.raises(TypeError):
        getattr(world.terminal, function)(1)


@pytest.mark.parametrize(
    ("function", "keyword"),
    [("symbol_info", "symbol"), ("symbol_info_tick", "symbol"), ("symbol_select", "symbol"),
     ("history_deals_total", "date_from"), ("history_orders_total", "date_from"),
     ("order_calc_margin", "action"), ("order_calc_profit", "action")],
)  # fmt: skip
def test_positional_functions_raise_when_given_keywords(
    world: World, function: str, keyword: str
) -> None:
    with pytest.raises(TypeError):
        getattr(world.terminal, function)(**{keyword: "EURUSD"})


def test_symbols_get_answers_false_to_bad_arguments(world: World) -> None:
    assert world.terminal.symbols_get(group=None) is False
    assert world.terminal.last_error() == (-2, 'Invalid "group" argument')
    assert world.terminal.symbols_get(7) is False
    found = world.terminal.symbols_get("*USD*,!XAU*")
    assert isinstance(found, tuple)
    assert [symbol.name for symbol in found] == ["EURUSD", "GBPUSD", "USDJPY"]


def test_every_call_but_last_error_resets_the_error(world: World) -> None:
    world.terminal.positions_get(symbol=None)
    assert world.terminal.last_error()[0] == -2
    assert world.terminal.last_error()[0] == -2
    world.terminal.positions_total()
    assert world.terminal.last_error() == SUCCESS


def test_unknown_symbol_is_not_found(world: World) -> None:
    for call in (world.terminal.symbol_info, world.terminal.symbol_info_tick):
        assert call("NOSUCH") is None
        assert world.terminal.last_error() == (-4, "Terminal: Not found")
        assert call(7) is None
        assert world.terminal.last_error() == (-2, "Invalid arguments")
        assert call() is None
    assert world.terminal.symbol_select("NOSUCH") is False
    assert world.terminal.symbol_select("EURUSD", "anything that is true") is True
    assert world.terminal.symbol_select() is False


def test_calculations_take_integers_for_floats_and_no_float_for_an_integer(world: World) -> None:
    assert world.terminal.order_calc_margin(0, "EURUSD", 1, 1.1) == 1100.0
    assert world.terminal.order_calc_margin(2**32, "EURUSD", 1, 1.1) == 1100.0
    assert world.terminal.order_calc_margin(0, "EURUSD", 1.0) is None
    assert world.terminal.order_calc_margin(5, "EURUSD", 1.0, 1.1) is None
    assert world.terminal.order_calc_margin(0, "NOSUCH", 1.0, 1.1) is None
    assert world.terminal.order_calc_margin(0, 5, 1.0, 1.1) is None
    assert world.terminal.last_error() == (-2, "Invalid arguments")
    assert world.terminal.order_calc_profit(0, "EURUSD", 1.0, 1.1, 1.2) == 10_000.0
    assert world.terminal.order_calc_profit(1, "EURUSD", 0.001, 1.1, 1.2) is None
    for wrong in [(0.0, "EURUSD", 1.0, 1.1), (0, "EURUSD", "1", 1.1), (0, "EURUSD", 10**400, 1.1)]:
        with pytest.raises(SystemError):
            world.terminal.order_calc_margin(*wrong)
        assert world.terminal.last_error() == (-2, "Invalid arguments")


def test_of_several_mistakes_in_a_login_one_is_named(world: World) -> None:
    said: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "Invalid 1st unnamed argument": ((None,), {"password": 1}),
        "Invalid 2nd unnamed argument": ((5, 1), {}),
        'Invalid "server" argument': ((5,), {"password": 1, "server": 1, "timeout": "x"}),
        'Invalid "password" argument': ((5, "p"), {"password": "x" * 254}),
        'Invalid "timeout" argument': ((), {"timeout": "x"}),
        'Invalid "login" argument': ((), {"password": "p"}),
        "Invalid number of arguments": ((5, "p", "s", 1_000), {}),
    }
    for text, (args, kwargs) in said.items():
        assert world.terminal.login(*args, **kwargs) is False
        assert world.terminal.last_error() == (-2, text)
    with pytest.raises(SystemError):
        world.terminal.login(5, timeout=2**32)
    assert world.terminal.last_error() == (-2, 'Invalid "timeout" argument')


@given(st.text(alphabet="AB*!, ", max_size=8), st.text(alphabet="AB", max_size=4))
def test_an_exclusion_wins_in_any_order(group: str, symbol: str) -> None:
    assert not matches_group(symbol, f"{group},!*")
    assert not matches_group(symbol, f"!*,{group}")
