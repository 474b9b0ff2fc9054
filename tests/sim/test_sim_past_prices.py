"""Bars, ticks and the depth of market: of the quotes that orders are filled at, and no others."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.sim_world import World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.timeframes import TIMEFRAMES
from trueup.sim.market import price_history
from trueup.sim.market.price_history import PriceHistory, bar_begin_sec

pytest.importorskip("numpy")

SYMBOL, SPREAD = "EURUSD", 0.0001
TWO_HOURS_MSC = 7_200_000
FRAMES = sorted(TIMEFRAMES)


@pytest.fixture
def world() -> World:
    return World()


def quoted(world: World, *bids: float, step_ms: int = 20_000) -> None:
    """Give the market these prices, one every `step_ms`."""
    for bid in bids:
        world.clock.advance(step_ms)
        world.terminal.quote(SYMBOL, bid, bid + SPREAD)


def rates(world: World, function: str, *args: Any) -> Any:
    found = getattr(world.terminal, function)(SYMBOL, *args)
    assert found is not None, world.terminal.last_error()
    return found


def test_a_bar_is_made_of_the_quotes_of_its_minute(world: World) -> None:
    # The world begins twenty seconds into a minute.
    quoted(world, 1.1, 1.3, 1.2, 1.15, 1.25, 1.05)
    first, second, third = rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_M1, 0, 10).tolist()
    assert first[1:] == (1.1, 1.1, 1.1, 1.1, 1, 10, 0)
    assert second[1:] == (1.3, 1.3, 1.15, 1.15, 3, 10, 0)
    assert third[1:] == (1.25, 1.25, 1.05, 1.05, 2, 10, 0)
    assert (third[0] - second[0], first[0] % 60) == (60, 0)


def test_the_newest_bar_ends_at_the_price_that_orders_are_filled_at(world: World) -> None:
    quoted(world, 1.1, 1.2345)
    tick = world.terminal.symbol_info_tick(SYMBOL)
    assert tick is not None
    (bar,) = rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_D1, 0, 1)
    last = rates(world, "copy_ticks_from", tick.time, 10, mt5.COPY_TICKS_ALL)[-1]
    assert bar["close"] == tick.bid == last["bid"]
    assert (last["time_msc"], last["ask"]) == (tick.time_msc, tick.ask)
    assert world.send(**bought()).price == tick.ask


def bought() -> dict[str, Any]:
    return {"action": mt5.TRADE_ACTION_DEAL, "symbol": SYMBOL, "volume": 0.1, "type_filling": 1}


def test_positions_count_back_from_the_bar_that_is_under_way(world: World) -> None:
    quoted(world, *(1.0 + minute / 100 for minute in range(10)), step_ms=60_000)
    newest = rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_M1, 0, 3)
    older = rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_M1, 2, 3)
    assert newest["close"].tolist() == [1.07, 1.08, 1.09]
    assert older["close"].tolist() == [1.05, 1.06, 1.07]
    assert len(rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_M1, 8, 10)) == 2


def test_dates_take_the_bars_that_began_by_then(world: World) -> None:
    quoted(world, *(1.0 + minute / 100 for minute in range(10)), step_ms=60_000)
    times = rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_M1, 0, 10)["time"].tolist()
    upto = rates(world, "copy_rates_from", mt5.TIMEFRAME_M1, times[4], 2)
    assert upto["time"].tolist() == times[3:5]
    moment = dt.datetime.fromtimestamp(times[4], dt.UTC)
    between = rates(world, "copy_rates_range", mt5.TIMEFRAME_M1, times[2], moment)
    assert between["time"].tolist() == times[2:5]
    assert len(rates(world, "copy_rates_range", mt5.TIMEFRAME_M1, times[4] + 1, times[5] - 1)) == 0


def test_ticks_say_which_side_moved(world: World) -> None:
    quoted(world, 1.1)
    world.terminal.quote(SYMBOL, 1.1, 1.2)
    world.terminal.quote(SYMBOL, 1.15, 1.2)
    flags = rates(world, "copy_ticks_range", 1, 2_000_000_000, mt5.COPY_TICKS_ALL)["flags"]
    both = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK
    assert flags.tolist() == [both, mt5.TICK_FLAG_ASK, mt5.TICK_FLAG_BID]
    trades = rates(world, "copy_ticks_range", 1, 2_000_000_000, mt5.COPY_TICKS_TRADE)
    assert len(trades) == 0


def test_ticks_are_counted_from_the_date_on(world: World) -> None:
    quoted(world, 1.1, 1.2, 1.3)
    every = rates(world, "copy_ticks_from", 1, 100, mt5.COPY_TICKS_INFO)
    later = rates(world, "copy_ticks_from", int(every["time"][1]), 1, mt5.COPY_TICKS_INFO)
    assert later["bid"].tolist() == [1.2]


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("copy_rates_from_pos", (mt5.TIMEFRAME_M1, -1, 1)),
        ("copy_rates_from_pos", (mt5.TIMEFRAME_M1, 0, 0)),
        ("copy_rates_from_pos", (7, 0, 1)),
        ("copy_rates_from", (mt5.TIMEFRAME_M1, 1, -1)),
        ("copy_ticks_from", (1, 0, mt5.COPY_TICKS_ALL)),
        ("copy_ticks_from", (1, 1, 3)),
    ],
)
def test_what_cannot_be_answered_is_none(
    world: World, function: str, args: tuple[int, ...]
) -> None:
    assert getattr(world.terminal, function)(SYMBOL, *args) is None
    assert world.terminal.last_error()[0] == mt5.RES_E_INVALID_PARAMS


@pytest.mark.parametrize("function", ["copy_rates_from_pos", "copy_ticks_from"])
def test_without_a_connection_there_is_none(world: World, function: str) -> None:
    world.terminal.shutdown()
    assert getattr(world.terminal, function)(SYMBOL, 1, 0, 1) is None
    assert world.terminal.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT


def test_a_terminal_without_its_link_shows_the_past_as_it_had_heard_it(world: World) -> None:
    quoted(world, 1.1)
    world.terminal.disconnect()
    quoted(world, 1.2, 1.3)
    assert rates(world, "copy_rates_from_pos", mt5.TIMEFRAME_D1, 0, 1)["close"].tolist() == [1.1]
    assert len(rates(world, "copy_ticks_from", 1, 9, mt5.COPY_TICKS_ALL)) == 1
    world.terminal.reconnect()
    assert len(rates(world, "copy_ticks_from", 1, 9, mt5.COPY_TICKS_ALL)) == 3


def test_the_depth_stands_around_the_quote(world: World) -> None:
    assert world.terminal.market_book_get(SYMBOL) is None
    quoted(world, 1.1)
    assert world.terminal.market_book_add(SYMBOL) is True
    levels = world.terminal.market_book_get(SYMBOL)
    assert levels is not None
    asks = [level.price for level in levels if level.type == mt5.BOOK_TYPE_SELL]
    bids = [level.price for level in levels if level.type == mt5.BOOK_TYPE_BUY]
    tick = world.terminal.symbol_info_tick(SYMBOL)
    assert tick is not None
    assert (min(asks), max(bids)) == (tick.ask, tick.bid)
    assert [level.price for level in levels] == sorted(asks + bids, reverse=True)
    assert world.terminal.market_book_release(SYMBOL) is True
    assert world.terminal.market_book_get(SYMBOL) is None
    assert world.terminal.market_book_add("NOSUCH") is False
    assert world.terminal.last_error()[0] == mt5.RES_E_NOT_FOUND


def test_a_month_begins_on_its_first_and_a_week_on_sunday() -> None:
    def begin(frame: int, *moment: int) -> dt.datetime:
        asked = dt.datetime(*moment, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]
        return dt.datetime.fromtimestamp(bar_begin_sec(frame, int(asked.timestamp())), dt.UTC)

    assert begin(mt5.TIMEFRAME_MN1, 2024, 2, 29, 23, 59) == dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
    assert begin(mt5.TIMEFRAME_W1, 2024, 3, 2, 23, 59) == dt.datetime(2024, 2, 25, tzinfo=dt.UTC)
    assert begin(mt5.TIMEFRAME_W1, 2024, 3, 3, 0, 0) == dt.datetime(2024, 3, 3, tzinfo=dt.UTC)
    assert begin(mt5.TIMEFRAME_H4, 2024, 3, 3, 7, 59) == dt.datetime(2024, 3, 3, 4, tzinfo=dt.UTC)
    assert begin(mt5.TIMEFRAME_D1, 2024, 3, 3, 7, 59) == dt.datetime(2024, 3, 3, tzinfo=dt.UTC)


def test_old_ticks_and_bars_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_history, "TICKS_KEPT", 3)
    monkeypatch.setattr(price_history, "BARS_KEPT", 2)
    past = PriceHistory()
    for minute in range(5):
        past.add(minute * 60_000, 1.0 + minute, 1.1 + minute, 1)
    assert [tick.bid for tick in past.ticks(0, 10**9)] == [3.0, 4.0, 5.0]
    assert [bar.close for bar in past.bars(mt5.TIMEFRAME_M1, 10**9)] == [5.0, 4.0]


quotes = st.lists(
    st.tuples(st.integers(0, 40 * 86_400_000), st.integers(1, 9)), min_size=1, max_size=30
)


@given(quotes, st.sampled_from(FRAMES))
def test_bars_of_every_frame_are_those_of_their_ticks(
    drawn: list[tuple[int, int]], frame: int
) -> None:
    past, expected = PriceHistory(), {}  # type: PriceHistory, dict[int, list[float]]
    for time_msc, price in sorted(drawn):
        past.add(time_msc, price, price + 1, 1)
        expected.setdefault(bar_begin_sec(frame, time_msc // 1_000), []).append(price)
    found = {
        bar.time_sec: (bar.open, bar.high, bar.low, bar.close, bar.ticks)
        for bar in past.bars(frame, 10**12)
    }
    assert found == {
        begin: (bids[0], max(bids), min(bids), bids[-1], len(bids))
        for begin, bids in expected.items()
    }
    assert list(found) == sorted(found, reverse=True)


def test_a_quote_older_than_the_last_one_leaves_the_past_sorted() -> None:
    past = PriceHistory()
    past.add(60_000, 1.0, 1.1, 1)
    past.add(59_999, 5.0, 5.1, 1)
    assert [tick.bid for tick in past.ticks(0, 10**9)] == [1.0]
    assert [bar.high for bar in past.bars(mt5.TIMEFRAME_M1, 10**9)] == [1.0]
