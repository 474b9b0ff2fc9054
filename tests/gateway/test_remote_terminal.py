"""The module's reading functions over the wire: as at the terminal itself, and page by page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, DeskLink, DeskWorld
from tests.support.manners import GuideGateway
from tests.support.servers import ZmqServer
from trueup.errors import Refused
from trueup.gateway.client import price_pages
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.remote_terminal import RemoteTerminal
from trueup.gateway.desk import module_calls
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import FUNCTIONS
from trueup.protocol.module_calls import FORWARDED, ROWS_MOST
from trueup.sim.terminal.terminal_faults import Fails

np = pytest.importorskip("numpy")

SYMBOL = "EURUSD"
# A second of the trade server's clock that begins the world's day, and the day after.
SINCE, UNTIL = 1_700_000_000, 1_700_100_000
CHECKED = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": SYMBOL,
    "volume": 0.1,
    "type": BUY,
    "price": 1.1001,
    "type_filling": mt5.ORDER_FILLING_FOK,
}
QUESTIONS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "symbols_get": (("*USD*",), {}),
    "symbol_info": ((SYMBOL,), {}),
    "symbol_info_tick": ((SYMBOL,), {}),
    "symbol_select": ((SYMBOL, True), {}),
    "market_book_add": ((SYMBOL,), {}),
    "market_book_get": ((SYMBOL,), {}),
    "market_book_release": ((SYMBOL,), {}),
    "copy_rates_from": ((SYMBOL, mt5.TIMEFRAME_M1, UNTIL, 5), {}),
    "copy_rates_from_pos": ((SYMBOL, mt5.TIMEFRAME_M1, 0, 5), {}),
    "copy_rates_range": ((SYMBOL, mt5.TIMEFRAME_M1, SINCE, UNTIL), {}),
    "copy_ticks_from": ((SYMBOL, SINCE, 5, mt5.COPY_TICKS_ALL), {}),
    "copy_ticks_range": ((SYMBOL, SINCE, UNTIL, mt5.COPY_TICKS_ALL), {}),
    "positions_get": ((), {"symbol": SYMBOL}),
    "orders_get": ((), {"group": "*"}),
    "history_orders_total": ((SINCE, UNTIL), {}),
    "history_orders_get": ((SINCE, UNTIL), {}),
    "history_deals_total": ((SINCE, UNTIL), {}),
    "history_deals_get": ((SINCE, UNTIL), {"group": "*"}),
    "order_check": ((CHECKED,), {}),
    "order_calc_margin": ((BUY, SYMBOL, 0.1, 1.1), {}),
    "order_calc_profit": ((BUY, SYMBOL, 0.1, 1.1, 1.2), {}),
}


def remote_of(world: DeskWorld, seen: list[dict[str, Any]] | None = None) -> RemoteTerminal:
    def handle(raw: bytes) -> bytes:
        if seen is not None:
            seen.append(json.loads(raw))
        return world.desk.handle(raw)

    return RemoteTerminal(DeskLink(handle), "the gateway", 1_000)


def traded() -> DeskWorld:
    world = DeskWorld()
    for step in range(6):
        world.wait(30)
        world.quote(1.1 + step / 1_000)
    world.person.open(SYMBOL, BUY, 0.2)
    world.person.place(SYMBOL, mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    return world


def plain(value: Any) -> Any:
    """What can be compared: a named tuple by its fields, an array by its rows."""
    if hasattr(value, "dtype"):
        return value.dtype.descr, value.tolist()
    if hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("function", sorted(FORWARDED))
def test_a_call_returns_what_the_terminal_returns(function: str) -> None:
    world = traded()
    args, named = QUESTIONS.get(function, ((), {}))
    here = partial(getattr(world.terminal, function), *args, **named)
    there = partial(getattr(remote := remote_of(world), function), *args, **named)
    expected = plain(here())
    assert (plain(there()), remote.last_error()) == (expected, world.terminal.last_error())
    world.terminal.shutdown()
    expected = plain(here())
    assert (plain(there()), remote.last_error()) == (expected, world.terminal.last_error())


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("symbol_info", ()),
        ("symbol_info", (7,)),
        ("copy_rates_from_pos", (SYMBOL, mt5.TIMEFRAME_M1, 0, "5")),
        ("copy_rates_range", (SYMBOL, 7, SINCE, UNTIL)),
        ("copy_ticks_from", (SYMBOL, SINCE)),
        ("positions_get", (1,)),
        # A whole number is no volume, also when it comes over the wire.
        ("order_check", ({**CHECKED, "volume": 1},)),
    ],
)
def test_bad_arguments_are_refused_by_the_terminal_itself(
    function: str, args: tuple[Any, ...]
) -> None:
    world = traded()
    remote = remote_of(world)
    answers = [getattr(remote, function)(*args), getattr(world.terminal, function)(*args)]
    assert answers == [None, None]
    assert remote.last_error() == world.terminal.last_error()
    assert remote.last_error()[0] == mt5.RES_E_INVALID_PARAMS


def test_what_the_module_raises_is_raised_here() -> None:
    with pytest.raises(SystemError, match="returned a result with an exception set"):
        remote_of(traded()).positions_get(ticket=-1)


def test_orders_and_logins_do_not_go_this_way() -> None:
    world = traded()
    remote = remote_of(world)
    others = {"initialize", "login", "shutdown", "order_send"}
    assert others == FUNCTIONS - FORWARDED
    with pytest.raises(Refused, match=r"order_send: .*PortfolioManager\.submit"):
        remote.order_send(CHECKED)
    with pytest.raises(Refused, match="the gateway's own"):
        remote.initialize()
    assert len(world.ledger.positions) == 1


@pytest.mark.parametrize("function", ["order_send", "initialize", "__init__", "broker", ""])
def test_the_gateway_makes_no_other_call(function: str) -> None:
    world = traded()
    raw = json.dumps({"action": "CALL", "id": 1, "function": function, "args": [CHECKED]})
    reply = json.loads(world.desk.handle(raw.encode()))
    assert reply["status"] == "ERROR"
    assert "is not served by CALL: give one of account_info, " in reply["error"]
    assert len(world.ledger.positions) == 1


@pytest.mark.parametrize("place", range(2))
def test_more_rows_than_a_page_are_refused_before_and_after_the_call(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_calls, "ROWS_MOST", 2)
    asked = [
        {"function": "copy_rates_from_pos", "args": [SYMBOL, 1, 0, ROWS_MOST + 1]},
        {"function": "copy_ticks_range", "args": [SYMBOL, SINCE, UNTIL, -1]},
    ][place]
    reply = json.loads(traded().desk.handle(json.dumps({"action": "CALL", **asked}).encode()))
    assert reply["status"] == ("ERROR", "FAILED")[place]
    said = (
        r"copy_rates_from_pos .* at a time",
        r"copy_ticks_range has \d+ rows, and a reply at most 2: ask for a shorter span, or for a "
        r"number of rows",
    )[place]
    assert re.fullmatch(said, reply["error"])


def test_as_many_rows_as_a_page_has_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_calls, "ROWS_MOST", 2)
    asked = {"function": "copy_rates_from_pos", "args": [SYMBOL, 1, 0, 2]}
    reply = json.loads(traded().desk.handle(json.dumps({"action": "CALL", **asked}).encode()))
    assert reply["status"] == "SUCCESS"


# Pages.


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_pages, "ROWS_MOST", 8)
    monkeypatch.setattr(price_pages, "FIRST_TICKS", 2)


quotes = st.lists(st.integers(0, 90_000), min_size=1, max_size=40)
dates = st.integers(-120, 1_000)
AT_ONCE: dict[str, Callable[[int, int, int], tuple[Any, ...]]] = {
    "copy_rates_from": lambda one, _, count: (SYMBOL, mt5.TIMEFRAME_M1, SINCE + one, count),
    "copy_rates_from_pos": lambda one, _, count: (SYMBOL, mt5.TIMEFRAME_M1, one % 9, count),
    "copy_rates_range": lambda one, two, _: (SYMBOL, 1, SINCE + one, SINCE + two),
    "copy_ticks_from": lambda one, _, count: (SYMBOL, SINCE + one, count, mt5.COPY_TICKS_ALL),
    "copy_ticks_range": lambda one, two, _: (SYMBOL, SINCE + one, SINCE + two, -1),
}


@given(st.sampled_from(sorted(AT_ONCE)), quotes, dates, dates, st.integers(1, 60))
def test_pages_make_up_what_one_call_returns(
    function: str, pauses: list[int], first: int, second: int, count: int
) -> None:
    world = DeskWorld()
    for number, pause_ms in enumerate(pauses):
        world.clock.advance(pause_ms / 1_000)
        world.quote(1.1 + number / 10_000)
    first, second = sorted((first, second))
    args = AT_ONCE[function](first, second, count)
    seen: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        # A page of 41 holds the ticks of any one second here.
        patch.setattr(price_pages, "ROWS_MOST", 8 if "rates" in function else 41)
        patch.setattr(price_pages, "FIRST_TICKS", 2)
        paged = getattr(remote_of(world, seen), function)(*args)
    assert plain(paged) == plain(getattr(world.terminal, function)(*args))
    counts = [call["args"][-1] for call in seen if call.get("function") == "copy_rates_from"]
    assert all(asked <= 8 for asked in counts)


def test_a_page_that_fails_fails_the_whole(small_pages: None) -> None:
    world = DeskWorld()
    for minute in range(30):
        world.wait(60)
        world.quote(1.1 + minute / 1_000)
    assert len(remote_of(world).copy_rates_from_pos(SYMBOL, 1, 0, 20)) == 20
    seen: list[dict[str, Any]] = []
    remote = remote_of(world, seen)
    world.terminal.faults.next_call("copy_rates_from", Fails(mt5.RES_E_FAIL))
    assert remote.copy_rates_from_pos(SYMBOL, 1, 0, 20) is None
    assert remote.last_error()[0] == mt5.RES_E_FAIL
    assert len(seen) == 3, "the capabilities, the first page, and the one that failed"


def test_a_second_with_more_ticks_than_a_page_is_not_cut_short(small_pages: None) -> None:
    world = DeskWorld()
    for tick in range(20):
        world.quote(1.1 + tick / 1_000)
    remote = remote_of(world)
    assert remote.copy_ticks_range(SYMBOL, 1, 2_000_000_000, mt5.COPY_TICKS_ALL) is None
    assert "more than 8 ticks in one second" in remote.last_error()[1]


# The connection.


def test_over_a_socket_a_restart_is_survived_and_silence_is_said() -> None:
    world = traded()
    with ZmqServer(world.desk.handle) as server:
        gateway = ExecutionGateway("127.0.0.1", server.port, 20_000)
        remote = gateway.terminal()
        assert remote.symbol_info(SYMBOL).name == SYMBOL
        port = server.port
    gateway.timeout_ms = 50
    silent = gateway.terminal()
    assert silent.symbol_info(SYMBOL) is None
    assert silent.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT
    with ZmqServer(world.desk.handle, port):
        assert remote.symbol_info(SYMBOL).name == SYMBOL
    for each in (remote, silent):
        each.shutdown()
    gateway.disconnect()


def test_a_reply_that_does_not_come_is_a_timeout() -> None:
    world = traded()

    def answers_once(raw: bytes) -> bytes | None:
        return None if b"CALL" in raw else world.desk.handle(raw)

    with ZmqServer(answers_once) as server:
        gateway = ExecutionGateway("127.0.0.1", server.port, 2_000)
        remote = gateway.terminal()
        assert remote.symbols_get() is None
        assert remote.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_TIMEOUT
        assert "gave no reply within 2000 ms" in remote.last_error()[1]
        remote.shutdown()
        gateway.disconnect()


def test_a_gateway_of_the_guide_is_not_sent_what_it_may_not_know() -> None:
    with GuideGateway() as guide:
        asked: list[bytes] = []
        answer = guide.answer

        def noted(raw: bytes) -> bytes | None:
            asked.append(raw)
            return answer(raw)

        guide.answer = noted
        gateway = ExecutionGateway("127.0.0.1", guide.port, 20_000)
        remote = gateway.terminal()
        assert remote.symbol_info(SYMBOL) is None
        assert "does not serve CALL" in remote.last_error()[1]
        assert [json.loads(raw)["action"] for raw in asked] == ["GET_POSITIONS"]
        remote.shutdown()
        gateway.disconnect()


SAID = {"status": "SUCCESS", "id": 1, "error": [1, "Success"]}


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        {"status": "SUCCESS"},
        {**SAID, "id": 99},
        {**SAID, "shape": "array", "value": "?"},
        {**SAID, "shape": "array", "value": "AAAA", "fields": ["x O"]},
        {**SAID, "shape": "rows", "value": [[1]], "fields": ["1x"]},
        {**SAID, "shape": "raised", "name": "SystemExit", "value": "x"},
    ],
)
def test_a_reply_that_is_none_is_no_answer_of_the_terminal(reply: object) -> None:
    answers = iter([b'{"status":"SUCCESS","capabilities":["CALL"]}', json.dumps(reply).encode()])
    remote = RemoteTerminal(DeskLink(lambda _: next(answers)), "the gateway", 1_000)
    assert remote.symbols_get() is None
    assert remote.last_error()[0] == mt5.RES_E_INTERNAL_FAIL
