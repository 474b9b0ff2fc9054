"""The trading loop, with a clock that is told the time and a gateway that does what it is told."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from tests.paper.fake_broker import Broker, World, started
from tests.support.make import RefusingJournal
from trueup.core.account.trust import Reason, Unknown
from trueup.core.book import events
from trueup.core.model import Side
from trueup.errors import JournalConflict, JournalError, NotSent, Refused
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.sync.reconciler import SyncStatus
from trueup.runtime.sync.results import SyncResult
from trueup.runtime.time.clock import moment
from trueup.runtime.trading.loop import TradingLoop, _filled
from trueup.runtime.trading.prices import GatewayPrices
from trueup.runtime.trading.stepped_loop import SteppedLoop


def test_a_signal_becomes_an_order_at_the_price_of_its_side_and_a_position() -> None:
    world = started(1)
    world.step()
    assert [(o["action"], o["price"], o["volume"]) for o in world.broker.sent] == [
        ("BUY", 1.1001, 0.01)
    ]
    assert world.pm.position is not None
    assert world.pm.position.net_volume == 0.01


def test_a_signal_against_the_position_names_its_ticket_and_opens_nothing() -> None:
    world = started(1, -1)
    world.step(2)
    assert world.broker.sent[1]["position"] == 101
    assert world.pm.position is None
    assert world.broker.rows == {}


def test_a_signal_against_several_tickets_closes_each_in_full_oldest_first() -> None:
    world = World(-1)
    world.broker.hold(1, "buy", 0.03)
    world.broker.hold(2, "buy", 0.01)
    world.loop.last_result = world.reconciler.startup_recovery()
    world.step()
    assert [(o["position"], o["volume"]) for o in world.broker.sent] == [(1, 0.03), (2, 0.01)]
    assert world.pm.position is None


def test_a_close_that_is_not_filled_ends_the_signal() -> None:
    """The market may be closed, or the outcome in doubt: the rest waits for the next signal."""
    world = started(-1, -1)
    world.broker.hold(7, "buy", 0.01)
    world.broker.hold(8, "buy", 0.02)
    world.loop.last_result = world.reconciler.sync_positions()
    world.broker.refusal = "Market closed"
    world.step()
    assert [order["position"] for order in world.broker.sent] == [7]
    world.broker.refusal = ""
    world.step()
    assert [order["position"] for order in world.broker.sent] == [7, 7, 8]


def test_an_exit_goes_at_the_price_of_its_side_and_each_order_says_why() -> None:
    world = started(1, -1)
    world.step(2)
    assert [order["price"] for order in world.broker.sent] == [1.1001, 1.1]
    whys = [order.why for order in world.pm.book.orders.values()]
    assert whys == ["the strategy's signal"] * 2
    world = started(-1)
    world.loop._volume = 0.05
    world.step()
    sold = [(order["action"], order["price"], order["volume"]) for order in world.broker.sent]
    assert sold == [("SELL", 1.1, 0.05)]


def test_a_signal_that_may_not_open_says_what_is_not_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    assert not world.loop._may_open(Side.BUY)
    assert caplog.messages == ["[ORDER] No new LONG: the last reading failed"]
    world.loop.last_result = SyncResult(SyncStatus.DEGRADED)
    assert not world.loop._may_open(Side.SELL)
    assert caplog.messages[-1] == "[ORDER] No new SHORT: the last reading failed"
    world.loop.last_result = SyncResult(SyncStatus.DEGRADED, errors=["Gateway offline", "more"])
    assert not world.loop._may_open(Side.BUY)
    assert caplog.messages[-1] == "[ORDER] No new LONG: Gateway offline"
    for status in (SyncStatus.SUCCESS, SyncStatus.PARTIAL):
        world.loop.last_result = SyncResult(status)
        assert world.loop._may_open(Side.BUY)


def test_an_order_that_is_not_sent_is_logged_with_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error in (NotSent("no line"), Refused("no entries now")):
        assert not _filled(partial(fails, error))
        last = caplog.records[-1]
        assert (last.levelname, last.message) == ("WARNING", f"[ORDER] {error}")
    assert not _filled(partial(fails, JournalError("the disk is full")))
    last = caplog.records[-1]
    assert (last.levelname, last.message) == ("ERROR", "[ORDER] the disk is full")


def fails(error: Exception) -> Intent:
    raise error


def test_a_paused_strategy_is_not_asked_and_the_price_is_kept() -> None:
    world = started(1)
    world.pm.pause("Ada")
    world.step()
    assert (world.strategy.seen, world.broker.sent) == ([], [])
    assert world.loop.tick == world.broker.tick
    world.pm.resume("Ada")
    world.step()
    assert len(world.broker.sent) == 1


def test_an_account_with_real_money_ends_the_loop_with_its_name() -> None:
    world = started()
    unknown = Unknown(Reason.REAL_MONEY, "The account 7@Real has real money")
    world.reconciler._unknown = unknown
    with pytest.raises(Refused) as refused:
        world.loop._synced(SyncResult(SyncStatus.DEGRADED))
    assert str(refused.value) == ("The account 7@Real has real money: nothing was traded there.")


def test_a_signal_on_the_same_side_is_refused_by_risk() -> None:
    world = started(1, 1)
    world.step(2)
    assert len(world.broker.sent) == 1


def test_an_order_whose_answer_the_journal_refuses_ends_nothing_and_is_recorded_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = RefusingJournal()
    world = World(1, 1, journal=journal)
    world.loop.last_result = world.reconciler.startup_recovery()
    journal.refuse, journal.kind = JournalError("the disk is full"), events.OrderFilled
    world.step(2)
    assert (len(world.broker.sent), world.pm.position) == (1, None)
    assert "the disk is full" in caplog.text
    journal.refuse = None
    world.step(25)
    assert world.pm.position is not None
    assert len(world.broker.sent) == 1


def test_another_process_that_took_the_journal_over_ends_the_loop() -> None:
    journal = RefusingJournal()
    world = World(1, journal=journal)
    world.loop.last_result = world.reconciler.startup_recovery()
    journal.refuse = JournalConflict("another process took over")
    with pytest.raises(JournalConflict, match="another process took over"):
        world.step(2)
    assert world.broker.sent == []


def test_nothing_is_traded_before_the_broker_has_been_seen() -> None:
    world = World(1, 1)
    world.broker.offline = True
    world.loop.last_result = world.reconciler.startup_recovery()
    world.step(2)
    assert world.broker.sent == []


def test_while_the_broker_is_not_seen_positions_may_be_closed_and_none_opened() -> None:
    world = started(1)
    world.step()
    world.broker.offline = True
    world.step(25)
    assert world.loop.last_result is not None
    assert world.loop.last_result.status is SyncStatus.DEGRADED
    world.strategy.signals = [-1, -1]
    world.step(2)
    assert [order["action"] for order in world.broker.sent] == ["BUY", "SELL"]


def test_a_gateway_that_comes_back_is_traded_with_again() -> None:
    world = started()
    world.broker.offline = True
    world.step(25)
    world.broker.offline = False
    world.step(50)
    assert world.loop.last_result is not None
    assert world.loop.last_result.status is SyncStatus.SUCCESS
    world.strategy.signals = [1]
    world.step()
    assert len(world.broker.sent) == 1


def test_a_position_closed_behind_its_back_leaves_the_book_at_the_next_sync() -> None:
    world = started(1)
    world.step()
    world.broker.rows.clear()
    world.step(25)
    assert world.pm.position is None


def test_the_strategy_sees_each_price_once() -> None:
    world = started()
    world.step()
    world.loop.turn()
    world.loop.turn()
    assert len(world.strategy.seen) == 1


def test_prices_that_stay_away_are_said_once_and_their_return_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trueup.loop")
    world = started()
    world.broker.tick = Unknown(Reason.OFFLINE, "Gateway offline - no price")
    world.loop.turn()
    world.loop.turn()
    world.broker.tick = None
    world.loop.turn()
    world.step()
    said = [line for line in caplog.messages if line.startswith("[PRICES]")]
    assert said == [
        "[PRICES] Gateway offline - no price; waiting for prices",
        "[PRICES] Prices are back",
    ]


def test_run_recovers_first_and_ends_after_its_duration() -> None:
    world = World()
    world.broker.hold(7, "sell", 0.02)
    turns: list[int] = []
    world.loop.run(duration_sec=2.0, after_turn=lambda: turns.append(1))
    assert len(turns) == 8
    assert list(world.pm.get_local_positions()) == [7]


def test_the_broker_is_listened_to_between_two_turns() -> None:
    """A change that a hint tells of is taken in at once, not when the next price is."""
    world = World(interval_sec=0.05)
    turns: list[int] = []
    world.loop.run(duration_sec=1.0, after_turn=lambda: turns.append(1))
    assert len(turns) == 4
    assert world.reconciler.sync_count >= 15


def test_commands_are_answered_while_the_loop_rests() -> None:
    """A second shell and the page need not wait for the next turn."""
    world = World()
    turns: list[int] = []
    rests: list[int] = []
    world.loop.run(1.0, lambda: turns.append(1), lambda: rests.append(len(turns)))
    assert len(turns) == 4
    assert {rests.count(turn) > 10 for turn in (1, 2, 3, 4)} == {True}


def test_run_ends_when_it_is_stopped() -> None:
    world = World()
    world.loop.run(after_turn=world.loop.stop)
    assert world.strategy.seen


def test_the_pace_is_from_start_to_start_and_a_rest_is_of_short_naps() -> None:
    world = World()
    pauses: list[float] = []
    sleep = world.clock.sleep

    def slept(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    world.clock.sleep = slept  # type: ignore[method-assign]
    # A turn that took longer leaves less of a rest.
    world.loop.run(0.5, lambda: world.clock.advance(0.2))
    assert sum(pauses) == pytest.approx(0.1)
    assert max(pauses) == pytest.approx(0.01)
    pauses.clear()
    world.loop.run(0.5, lambda: world.clock.advance(0.3))
    assert pauses == []


def test_a_stop_ends_the_rest_that_is_under_way() -> None:
    world = World()
    rests: list[int] = []

    def rest() -> None:
        rests.append(1)
        world.loop.stop()

    assert not world.loop.is_stopped
    world.loop.run(in_rest=rest)
    assert world.loop.is_stopped
    assert rests == [1]


class Slow:
    """Prices that come at once, after a part of the wait, or not at all."""

    def __init__(self, world: World, took_sec: float) -> None:
        self.world, self.took_sec, self.waits = world, took_sec, [-1]

    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        self.waits.append(wait_ms)
        self.world.clock.advance(self.took_sec)
        return Tick("EURUSD", 1.1, 1.1001, len(self.waits))


def test_all_prices_of_a_turn_are_waited_for_no_longer_than_the_pace() -> None:
    world = World()
    sources = {name: Slow(world, 0.2) for name in ("EURUSD", "GBPUSD", "USDJPY")}
    loop = TradingLoop(world.pm, world.reconciler, world.strategy, sources, pace_sec=0.25)
    loop.turn()
    assert [source.waits[-1] for source in sources.values()] == [250, 50, 0]


def test_why_there_is_no_price_is_told_until_there_is_one() -> None:
    world = started()
    assert world.loop.prices_unknown is None
    world.broker.tick = Unknown(Reason.OFFLINE, "Gateway offline")
    world.loop.turn()
    assert world.loop.prices_unknown == "Gateway offline"
    world.broker.tick = Unknown(Reason.OFFLINE, "Still offline")
    world.loop.turn()
    assert world.loop.prices_unknown == "Still offline"
    world.broker.tick = None
    world.loop.turn()
    assert world.loop.prices_unknown == "Still offline"
    world.step()
    assert world.loop.prices_unknown is None


class LocalFeed:
    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        return Tick("EURUSD", 2.0, 2.1, 5)


def test_a_gateway_that_tells_no_prices_is_replaced_by_the_local_feed_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trueup.loop")
    broker = Broker()
    broker.tick = Unknown(Reason.UNREADABLE, "The gateway does not tell prices: status 'error'")
    prices = GatewayPrices(broker, "EURUSD", LocalFeed)
    for _ in range(3):
        assert prices.latest(100) == Tick("EURUSD", 2.0, 2.1, 5)
    assert prices.is_local
    assert caplog.messages == [
        "[PRICES] The gateway does not tell prices: status 'error'. Signals come from the local "
        "feed from now on; the broker's prices may differ"
    ]


def test_an_offline_gateway_is_not_replaced() -> None:
    broker = Broker()
    broker.tick = Unknown(Reason.OFFLINE, "Gateway offline")
    prices = GatewayPrices(broker, "EURUSD", LocalFeed)
    assert isinstance(prices.latest(100), Unknown)
    assert not prices.is_local
    # Without a local feed there is nothing to replace the gateway by.
    broker.tick = Unknown(Reason.UNREADABLE, "The gateway does not tell prices")
    assert isinstance(GatewayPrices(broker, "EURUSD").latest(100), Unknown)


# The same loop in steps, for a thread that takes care of many accounts.


class Arrives:
    """Prices of one symbol that the test lets arrive, and what was waited for them."""

    def __init__(self) -> None:
        self.answer: Tick | Unknown | None = None
        self.waits: list[int] = []

    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        self.waits.append(wait_ms)
        return self.answer


class Stepped:
    """A stepped loop over two symbols, whose strategy notes what it is told."""

    def __init__(self) -> None:
        self.world = World()
        self.told: list[str] = []
        self.euro, self.pound = Arrives(), Arrives()
        self.world.reconciler.gateway = self.world.broker
        self.world.broker.timeout_ms = 2_000  # type: ignore[attr-defined]
        sources = {"EURUSD": self.euro, "GBPUSD": self.pound}
        self.loop = SteppedLoop(
            self.world.pm, self.world.reconciler, self, sources, account="the account"
        )
        self.loop.recover()

    def on_start(self, account: str) -> None:
        self.told.append(f"start with {account}")

    def on_tick(self, tick: Tick) -> int:
        self.told.append(tick.symbol)
        return 0

    def on_sync(self, result: SyncResult) -> None:
        self.told.append(result.status.value)

    def start(self) -> None:
        """Take the first step, with a price of each symbol, and forget what was told."""
        self.euro.answer, self.pound.answer = price("EURUSD", 1), price("GBPUSD", 1)
        assert self.loop.look()
        self.loop.tell()
        self.told.clear()
        self.euro.waits.clear()
        self.pound.waits.clear()


def price(symbol: str, number: int) -> Tick:
    return Tick(symbol, 1.1, 1.1001, number)


def test_a_stepped_loop_starts_its_strategy_once_and_waits_for_the_first_prices() -> None:
    stepped = Stepped()
    assert stepped.loop.look()
    assert stepped.told == []
    # The prices that have not arrived were asked for without waiting.
    assert (stepped.euro.waits, stepped.pound.waits) == ([0], [])
    stepped.euro.answer, stepped.pound.answer = price("EURUSD", 1), price("GBPUSD", 1)
    stepped.loop.tell()
    assert stepped.told == ["start with the account", "SUCCESS", "EURUSD", "GBPUSD"]
    assert (stepped.euro.waits, stepped.pound.waits) == ([0, 2_000], [2_000])
    assert not stepped.loop.awaits_price
    stepped.loop.tell()
    assert len(stepped.told) == 4


def test_prices_are_asked_for_once_in_a_pace_and_told_when_they_are_new() -> None:
    stepped = Stepped()
    stepped.start()
    loop, clock = stepped.loop, stepped.world.clock
    due_ns = loop.price_due_ns
    assert due_ns == clock.waiting_ns() + 250_000_000
    assert not loop.look()
    clock.advance(0.25)
    # The same prices are no news.
    assert not loop.look()
    assert (stepped.euro.waits, stepped.pound.waits) == ([0], [0])
    assert loop.price_due_ns == due_ns + 250_000_000
    stepped.pound.answer = price("GBPUSD", 2)
    clock.advance(0.25)
    assert loop.look()
    assert stepped.told == []
    loop.tell()
    assert stepped.told == ["GBPUSD"]
    seen = {feed.symbol: feed.seen for feed in loop.feeds}
    assert seen["GBPUSD"] == moment(clock)
    assert seen["EURUSD"] != moment(clock)


def test_a_price_under_way_is_not_given_up_before_the_gateways_timeout() -> None:
    stepped = Stepped()
    stepped.start()
    loop, clock = stepped.loop, stepped.world.clock
    stepped.euro.answer = None
    clock.advance(0.25)
    assert not loop.look()
    assert loop.awaits_price
    # The other symbol is not asked meanwhile.
    clock.advance(1.999)
    assert not loop.look()
    assert (set(stepped.euro.waits), stepped.pound.waits) == ({0}, [])
    clock.advance(0.001)
    assert loop.look()
    stepped.euro.waits.clear()
    stepped.euro.answer = Unknown(Reason.OFFLINE, "Gateway offline")
    loop.tell()
    assert stepped.euro.waits == [2_000]
    # The next symbol's time begins now.
    stepped.pound.answer = None
    assert not loop.look()
    stepped.pound.answer = price("GBPUSD", 2)
    assert loop.look()
    loop.tell()
    assert stepped.told == ["GBPUSD"]
    assert loop.prices_unknown == "Gateway offline"


def test_a_strategy_that_failed_is_told_nothing_until_it_is_resumed() -> None:
    stepped = Stepped()
    stepped.start()
    loop, world = stepped.loop, stepped.world
    result = SyncResult(SyncStatus.SUCCESS)
    world.pm.pause("the program")
    loop.has_failed = True
    loop._tell(result)
    assert loop.has_failed
    assert not loop.look()
    world.pm.resume("Ada")
    loop._tell(result)
    assert not loop.has_failed
    loop.tell()
    assert stepped.told == ["SUCCESS"]
    loop.is_listening = False
    loop._tell(result)
    loop.tell()
    assert stepped.told == ["SUCCESS"]


def test_a_loop_without_prices_asks_for_none() -> None:
    world = World()
    loop = SteppedLoop(world.pm, world.reconciler, world.strategy, {})
    world.broker.timeout_ms = 2_000  # type: ignore[attr-defined]
    loop.recover()
    assert loop.price_due_ns is None
    assert loop.look()
    loop.tell()
    assert not loop.awaits_price
