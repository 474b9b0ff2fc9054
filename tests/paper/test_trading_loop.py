"""The trading loop, with a clock that is told the time and a gateway that does what it is told."""

from __future__ import annotations

import logging

import pytest

from tests.paper.fake_broker import Broker, World, started
from tests.support.make import RefusingJournal
from trueup.core.account.trust import Reason, Unknown
from trueup.core.book import events
from trueup.errors import JournalConflict, JournalError
from trueup.protocol.ticks import Tick
from trueup.runtime.sync.reconciler import SyncStatus
from trueup.runtime.trading.prices import GatewayPrices


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
    assert len(caplog.messages) == 1
    assert "local feed" in caplog.messages[0]


def test_an_offline_gateway_is_not_replaced() -> None:
    broker = Broker()
    broker.tick = Unknown(Reason.OFFLINE, "Gateway offline")
    assert isinstance(GatewayPrices(broker, "EURUSD", LocalFeed).latest(100), Unknown)
