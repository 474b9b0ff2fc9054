"""What a loop calls of a strategy beside `on_tick`, and of the functions that wait for events."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import msgspec
import pytest

from tests.paper.fake_broker import World
from tests.support import make
from trueup.core.book.events import OrderSettled, PendingClosed, PositionAdopted
from trueup.core.holds import Hold, HoldKind
from trueup.errors import JournalConflict, JournalError, Refused, StrategyError
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.sync.results import SyncResult, SyncStatus
from trueup.runtime.trading.callbacks import Callbacks
from trueup.runtime.trading.hooks import Hooks
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices


class Listening:
    """A strategy that buys at the first price, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_tick(self, tick: Tick) -> int:
        self.told.append("tick")
        return 1 if self.told.count("tick") == 1 else 0

    def on_sync(self, result: SyncResult) -> None:
        self.told.append("sync")

    def on_fill(self, order: Intent) -> None:
        self.told.append(f"fill {order.action} {order.ticket}")

    def on_hold(self, hold: Hold) -> None:
        self.told.append(f"hold {hold.identifier}")


def loop_of(world: World, strategy: object, callbacks: Callbacks | None = None) -> TradingLoop:
    """A loop over the world's book with another strategy."""
    prices = {"EURUSD": GatewayPrices(world.broker, "EURUSD")}
    world.loop = TradingLoop(world.pm, world.reconciler, strategy, prices, callbacks=callbacks)
    return world.loop


def test_a_strategy_is_told_of_syncs_and_fills_after_the_step_that_made_them() -> None:
    world, strategy = World(), Listening()
    loop = loop_of(world, strategy)
    loop.run(0)
    assert strategy.told == ["sync"]
    world.step()
    assert strategy.told == ["sync", "tick", "fill BUY 101"]


def test_a_function_gets_the_events_of_its_class_once_and_may_trade() -> None:
    world = World()
    callbacks = Callbacks(world.pm)
    found: list[int] = []

    @callbacks.on(PositionAdopted)
    def recovered(event: PositionAdopted) -> None:
        found.append(event.position.ticket)
        # Outside of the turn of the sync: an order may be sent here.
        world.pm.close(event.position, price=1.1)

    world.broker.hold(7, "buy", 0.01)
    loop_of(world, Listening(), callbacks).run(0)
    world.step(2)
    assert found == [7]
    assert world.broker.rows.keys() == {102}


def test_what_is_no_class_of_events_is_refused_by_name() -> None:
    with pytest.raises(
        TypeError, match=r"give a class of trueup\.events, such as PositionRecovered"
    ):
        Callbacks(World().pm).on(str)  # type: ignore[arg-type]


def test_a_hold_is_told_once_and_again_when_it_comes_back() -> None:
    world, strategy = World(), Listening()
    hooks = Hooks(strategy, world.pm, Callbacks(world.pm))
    hold = Hold("EURUSD", "Ticket 7 differs", "an approval", 7, HoldKind.ASK, id="drift-1")
    for holds in ((hold,), (hold,), (), (hold,)):
        hooks.after_sync(SyncResult(SyncStatus.SUCCESS, holds=holds))
    assert strategy.told == ["sync", "hold 7", "sync", "sync", "sync", "hold 7"]


def test_a_hold_is_another_by_all_that_names_it_and_not_by_what_ends_it() -> None:
    world, strategy = World(), Listening()
    hooks = Hooks(strategy, world.pm, Callbacks(world.pm))
    first = Hold("EURUSD", "Ticket 7 differs", "an approval", 7, HoldKind.ASK, id="drift-1")
    others: list[dict[str, Any]] = [
        {"symbol": "GOLD"},
        {"what": "Ticket 7 is gone"},
        {"identifier": 8},
        {"kind": HoldKind.MISSING},
        {"id": "drift-2"},
    ]
    for fields in ({}, {"until": "a deal"}, *others):
        hooks.after_sync(
            SyncResult(SyncStatus.SUCCESS, holds=(msgspec.structs.replace(first, **fields),))
        )
    assert [told for told in strategy.told if told != "sync"] == [
        *("hold 7", "hold 7", "hold 7", "hold 8", "hold 7", "hold 7"),
    ]


def settled(order_id: str, volume: float) -> OrderSettled:
    return OrderSettled(1, order_id, ticket=101, volume=volume, price=1.1, because="its token")


def test_each_kind_of_fill_is_told_and_an_order_that_was_never_executed_is_not() -> None:
    world, strategy = World(), Listening()
    callbacks = Callbacks(world.pm)
    hooks = Hooks(strategy, world.pm, callbacks)
    world.reconciler.startup_recovery()
    sent = world.pm.submit("buy", 0.01, price=1.1)
    hooks.deliver()
    assert strategy.told == ["fill BUY 101"]
    strategy.told.clear()
    for event in (
        settled(sent.order_id, 0.0),
        settled("another bot's", 0.1),
        settled(sent.order_id, 0.01),
        PendingClosed(1, make.pending(101), "cancelled"),
        PendingClosed(1, make.pending(4711), "filled", 0.01),
        PendingClosed(1, make.pending(101), "filled", 0.01),
    ):
        callbacks._put([event])
        hooks.deliver()
        strategy.told.append("|")
    assert strategy.told == ["|", "|", "fill BUY 101", "|", "|", "|", "fill BUY 101", "|"]


class Asks:
    """A strategy whose `on_tick` runs a function."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.count = 0

    def on_tick(self, tick: Tick) -> None:
        self.count += 1
        if self.error is not None:
            raise self.error


def test_a_refused_order_ends_the_call_and_not_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    world, strategy = World(), Asks(Refused("no entries now"))
    loop_of(world, strategy).run(0)
    world.step(3)
    assert strategy.count == 3

    # A night of the same refusal is one line.
    def lines() -> int:
        return sum("no entries now" in record.message for record in caplog.records)

    assert lines() == 1
    strategy.error = Refused("no entries now, for another reason")
    world.step()
    assert lines() == 2


def test_a_refusal_is_told_once_until_a_price_is_taken_without_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "trueup.loop")
    world, strategy = World(), Asks(Refused("no entries now"))
    hooks = Hooks(strategy, world.pm, Callbacks(world.pm))

    def logged(error: Exception | None) -> list[tuple[str, str]]:
        caplog.clear()
        strategy.error = error
        assert hooks.on_tick(Tick("EURUSD", 1.1, 1.1001, 1)) == 0
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    refused = Refused("no entries now")
    assert logged(refused) == [("WARNING", "[ORDER] no entries now")]
    assert logged(refused) == [("DEBUG", "[ORDER] no entries now")]
    assert logged(JournalError("full")) == [("ERROR", "[ORDER] full")]
    assert logged(refused) == [("WARNING", "[ORDER] no entries now")]
    assert logged(None) == []
    assert logged(refused) == [("WARNING", "[ORDER] no entries now")]


def test_a_journal_that_another_process_has_taken_ends_the_strategy() -> None:
    world = World()
    hooks = Hooks(Asks(JournalConflict("taken")), world.pm, Callbacks(world.pm))
    with pytest.raises(JournalConflict, match="taken"):
        hooks.on_tick(Tick("EURUSD", 1.1, 1.1001, 1))
    # Nobody has asked for the failures of the strategy.
    hooks = Hooks(Asks(ZeroDivisionError("none")), world.pm, Callbacks(world.pm))
    with pytest.raises(StrategyError, match="ZeroDivisionError: none"):
        hooks.on_tick(Tick("EURUSD", 1.1, 1.1001, 1))


def test_a_function_that_fails_is_named_with_its_line() -> None:
    world = World()
    callbacks = Callbacks(world.pm)

    @callbacks.on(OrderSettled)
    def on_settled(event: OrderSettled) -> None:
        raise ValueError("no")

    def with_more(more: int, event: OrderSettled) -> None:
        raise ValueError("no")

    callbacks.on(OrderSettled)(partial(with_more, 1))
    callbacks._put([settled("A", 0.1)])
    for name in ("on_settled", "partial"):
        with pytest.raises(StrategyError) as failed:
            callbacks.deliver_next()
        assert str(failed.value).startswith(f"The function {name} failed: ValueError: no (")
        assert "test_strategy_hooks.py, line " in str(failed.value)
    assert callbacks.deliver_next() is False

    @callbacks.on(OrderSettled)  # type: ignore[type-var]
    def takes_nothing() -> None:
        """Cannot be called with an event, so no line of it is reached."""

    callbacks._put([settled("A", 0.1)])
    line = takes_nothing.__code__.co_firstlineno
    for _ in range(2):
        with pytest.raises(StrategyError):
            callbacks.deliver_next()
    with pytest.raises(StrategyError, match=rf"test_strategy_hooks\.py, line {line}\)"):
        callbacks.deliver_next()
    with pytest.raises(TypeError) as refused:
        callbacks.on(print)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "<built-in function print> is not a class of events: give a class of trueup.events, such "
        "as PositionRecovered."
    )


def test_a_failure_of_the_strategy_reaches_the_one_who_asked_for_it() -> None:
    world, strategy = World(), Asks(ZeroDivisionError("none"))
    failures: list[StrategyError] = []
    prices = {"EURUSD": GatewayPrices(world.broker, "EURUSD")}
    world.loop = TradingLoop(
        world.pm, world.reconciler, strategy, prices, on_failure=failures.append
    )
    world.loop.run(0)
    world.step()
    assert "the strategy asks failed" in str(failures[0]).lower()
    assert "test_strategy_hooks.py, line " in str(failures[0])


class ByName:
    """Prices of one symbol that the test sets."""

    def __init__(self, symbol: str) -> None:
        self.tick: Tick | None = Tick(symbol, 1.1, 1.1001, 1)
        self.waits: list[int] = []

    def latest(self, wait_ms: int) -> Tick | None:
        self.waits.append(wait_ms)
        return self.tick


class Notes:
    """A strategy that notes the symbols of its prices."""

    def __init__(self) -> None:
        self.symbols: list[str] = []

    def on_tick(self, tick: Tick) -> int:
        self.symbols.append(tick.symbol)
        return 0


def test_a_price_that_comes_again_is_as_old_as_when_it_came_first() -> None:
    """A market that stands still must not look fresh because the gateway answers."""
    world = World()
    loop_of(world, Notes()).run(0)
    world.step()
    (feed,) = world.loop.feeds
    came = feed.seen
    world.clock.advance(60)
    world.loop.turn()
    assert feed.seen == came
    world.step()
    assert feed.seen != came


def test_each_symbol_gives_each_price_once_and_a_late_one_is_not_given_up() -> None:
    world, strategy = World(), Notes()
    euro, pound = ByName("EURUSD"), ByName("GBPUSD")
    loop = TradingLoop(
        world.pm, world.reconciler, strategy, {"EURUSD": euro, "GBPUSD": pound}, pace_sec=0.25
    )
    loop.turn()
    loop.turn()
    assert strategy.symbols == ["EURUSD", "GBPUSD"]
    # The answer for the euro is late: the pound is not asked before it has come.
    euro.tick, pound.tick = None, Tick("GBPUSD", 1.2, 1.2001, 2)
    loop.turn()
    asked = len(pound.waits)
    loop.turn()
    assert len(pound.waits) == asked
    euro.tick = Tick("EURUSD", 1.3, 1.3001, 3)
    loop.turn()
    assert strategy.symbols == ["EURUSD", "GBPUSD", "EURUSD", "GBPUSD"]
    assert max(euro.waits) <= 250
