"""A machine that sleeps, one that is paused, a wall clock that is set: ages, dates and due times.

The broker's world goes on meanwhile, so the bot's clock and the broker's are two here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, DeskLink, DeskWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.holds import HoldKind
from trueup.core.policy import GRACE_SEC, Policy
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal import Journal
from trueup.journal.memory import MemoryJournal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult, SyncStatus
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup

HOUR = 3600.0


class ApartWorld(DeskWorld):
    """A `DeskWorld` whose bot has a machine, and clocks, of its own."""

    loses_orders = False

    def __init__(self, account: AccountSetup = HEDGING, **more: Any) -> None:
        self.own = ManualClock(1_700_000_000_000_000_000)
        super().__init__(account, **more)
        self.sync()

    def another_bot(
        self, policy: Policy | None = None, *, journal: Journal | None = None
    ) -> tuple[PortfolioManager, StateReconciler, ExecutionGateway]:
        gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry))
        pm = PortfolioManager("EURUSD", clock=self.own, journal=journal)
        return pm, StateReconciler(pm, gateway, 15, policy=policy), gateway

    def _carry(self, message: bytes) -> bytes | None:
        return None if self.loses_orders and b'"order_id"' in message else super()._carry(message)

    def lose_an_order(self) -> str:
        """Send an order that never reaches the gateway, and whose answer never comes."""
        self.loses_orders = True
        order = self.pm.submit("buy", 0.1)
        self.loses_orders = False
        assert order.status is OrderStatus.IN_DOUBT
        return order.order_id

    def wait(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.own.advance(seconds)
        self.alone(seconds)

    def alone(self, seconds: float) -> None:
        """Let time pass at the broker, and its price be told anew."""
        self.clock.advance(seconds)
        self.terminal.settle()
        self.requote()

    def sleep(self, seconds: float) -> None:
        """Let the bot's machine sleep."""
        self.own.suspend(seconds)
        self.alone(seconds)

    def pause(self, seconds: float) -> None:
        """Pause the bot's machine, a virtual one: none of its clocks goes on."""
        self.alone(seconds)

    def result(self, turns: int = 3) -> SyncResult | None:
        """Call `sync_continuous` as a loop does, without any time passing."""
        for _ in range(turns):
            result = self.reconciler.sync_continuous()
            if result is not None:
                return result
        return None


def wake(world: ApartWorld, seconds: float) -> None:
    """Pause the bot's machine, and set its wall clock right as it goes on."""
    world.pause(seconds)
    world.own.set_date(seconds)


GAPS = pytest.mark.parametrize("gap", [ApartWorld.sleep, wake], ids=["asleep", "paused"])


# Nothing old is handed out as current, and an overdue sync is made.


@GAPS
def test_after_a_gap_the_book_is_not_current_and_an_overdue_sync_is_made(
    gap: Callable[[ApartWorld, float], None],
) -> None:
    world = ApartWorld()
    ticket = world.trade(1).ticket
    world.sync(20)
    assert world.pm.is_current(1)
    gap(world, 8 * HOUR)
    assert not world.pm.is_current(8 * HOUR - 1)
    assert world.pm.is_current(8 * HOUR + 1)
    assert world.reconciler.health == "Everything agrees (checked 8 h ago)."
    world.person.close(ticket)
    result = world.result()
    assert result is not None
    assert (result.closed, world.pm.position) == (1, None)
    assert world.pm.is_current(1)
    assert world.reconciler.health == "Everything agrees (checked 0 s ago)."


def test_a_machine_that_is_paused_and_not_told_so_goes_on_as_if_nothing_had_been() -> None:
    """Nothing of its own can tell it; the next sync comes when it is due."""
    world = ApartWorld()
    world.pause(600)
    assert world.pm.is_current(1)
    assert world.result() is None
    world.wait(15)
    assert world.result() is not None


@GAPS
def test_new_journal_entries_have_the_date_of_now(
    gap: Callable[[ApartWorld, float], None],
) -> None:
    world = ApartWorld()
    gap(world, 8 * HOUR)
    order = world.pm.submit("buy", 0.1)
    assert order.fill_ns == order.entry_ns == world.clock.now_ns()
    assert world.pm.as_of is not None
    world.sync(0)
    assert world.pm.as_of.timestamp() == world.clock.now_ns() / 1e9
    assert world.reconciler.last_sync_time == world.clock.now_ns() / 1e9


@GAPS
def test_what_was_asked_before_a_gap_is_not_believed_after_it(
    gap: Callable[[ApartWorld, float], None],
) -> None:
    """The answer may have lain in a buffer, and be hours old."""
    world = ApartWorld()
    ticket = world.trade(1).ticket
    world.sync(20)
    world.wait(15)
    assert world.reconciler.sync_continuous() is None
    gap(world, HOUR)
    world.person.close(ticket)
    other = world.person.open("EURUSD", BUY, 0.2)
    before = len(world.requests)
    result = world.result(turns=5)
    assert result is not None
    assert len(world.requests) > before
    assert result.errors == []
    assert world.tickets() == {other}
    assert world.pm.is_current(0)


@pytest.mark.parametrize("times", [1, 2])
def test_a_machine_that_slept_while_it_waited_asks_again_and_believes_no_answer_of_before(
    times: int,
) -> None:
    world = ApartWorld()
    left, answer = times, world.desk.handle

    def slow(message: bytes) -> bytes:
        nonlocal left
        reply = answer(message)
        if left:
            left -= 1
            world.own.suspend(HOUR)
            world.person.open("EURUSD", BUY, 0.1)
        return reply

    world.desk.handle = slow  # type: ignore[method-assign,assignment]
    result = world.sync(20)
    if times == 1:
        assert (result.status.value, result.recovered) == ("SUCCESS", 1)
    else:
        assert result.status.value == "DEGRADED"
        assert result.errors == ["This machine slept, or stood still, while the broker was asked"]
        assert world.pm.book.holdings == {}
    assert world.sync(20).status.value == "SUCCESS"
    assert world.book() == world.rows()


# A wall clock that is set does nothing of all that.


@pytest.mark.parametrize("seconds", [-7200.0, -3.0, 0.5])
def test_a_wall_clock_that_is_set_back_changes_no_age_and_no_due_time(seconds: float) -> None:
    world = ApartWorld()
    world.own.set_date(seconds)
    world.wait(5)
    assert world.pm.is_current(5)
    assert not world.pm.is_current(4.9)
    assert world.reconciler.health == "Everything agrees (checked 5 s ago)."
    due = world.reconciler.get_status()["next_sync_due"]
    assert due == pytest.approx(world.own.now_ns() / 1e9 + 10)
    assert world.result() is None
    world.wait(9.9)
    assert world.result() is None
    world.wait(0.1)
    assert world.result() is not None


def test_a_wall_clock_that_is_set_forward_makes_a_sync_due_and_nothing_else() -> None:
    """It may as well be a machine that was paused: who does not know, looks."""
    world = ApartWorld()
    world.own.set_date(7200)
    assert not world.pm.is_current(7199)
    assert world.result() is not None
    assert world.pm.is_current(0)
    world.wait(14.9)
    assert world.result() is None


SET = pytest.mark.parametrize("seconds", [-7200.0, -0.5, 0.5, 7200.0])


@SET
@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
def test_a_settle_window_is_neither_ended_nor_prolonged_by_a_clock_that_is_set(
    account: AccountSetup, seconds: float
) -> None:
    world = ApartWorld(account, position_lag_ms=2_000)
    order = world.trade(1)
    world.own.set_date(seconds)
    result = world.sync(0.6)
    assert [hold.kind for hold in result.holds] == [HoldKind.SETTLING]
    assert world.tickets() == {order.ticket}
    # It ends a second after the fill, by the only clock that was not set.
    due = world.reconciler.get_status()["next_sync_due"]
    assert due == pytest.approx(world.own.now_ns() / 1e9 + 0.4)
    result = world.sync(0.5)
    assert [hold.kind for hold in result.holds] != [HoldKind.SETTLING]


@pytest.mark.parametrize("seconds", [-7200.0, -1.0, 0.0])
def test_a_settle_window_of_an_earlier_process_ends_within_itself(seconds: float) -> None:
    """The date of the fill may be later than ours: it counts from our beginning."""
    journal = MemoryJournal()
    world = ApartWorld(journal=journal, position_lag_ms=60_000)
    world.trade(1)
    world.own.set_date(seconds)
    world.start_bot(journal=journal)
    world.sync(0.1)
    if seconds < 0:
        assert world.kinds() == [HoldKind.SETTLING]
    world.sync(1.0)
    assert world.kinds() == [HoldKind.MISSING]


def test_a_hold_says_since_when_also_after_the_clock_was_set() -> None:
    world = ApartWorld(deal_lag_ms=3_600_000)
    ticket = world.person.open("EURUSD", BUY, 0.1)
    world.sync(20)
    world.person.close(ticket)
    world.sync(20)
    world.own.set_date(-7200)
    world.sync(30)
    (said,) = world.reconciler.get_status()["holds"]
    assert "left the broker's list 30 s ago" in said


# Waiting is not sleeping.


def in_doubt(world: ApartWorld) -> str:
    """An order in doubt, at a gateway that keeps no record of requests."""
    world.keeps_record = False
    world.start_bot()
    world.sync()
    return world.lose_an_order()


def statuses(world: ApartWorld, order_id: str, *waits: float) -> list[OrderStatus]:
    """The order's status after each of some syncs."""
    found = []
    for seconds in waits:
        world.sync(seconds)
        found.append(world.pm.book.orders[order_id].status)
    return found


DOUBT, GONE = OrderStatus.IN_DOUBT, OrderStatus.CANCELED


@GAPS
def test_a_grace_period_that_the_machine_slept_through_proves_nothing(
    gap: Callable[[ApartWorld, float], None],
) -> None:
    world = ApartWorld()
    order_id = in_doubt(world)
    world.sync(0.1)
    gap(world, HOUR)
    half = GRACE_SEC / 2
    assert statuses(world, order_id, 0.1, half, half - 1) == [DOUBT, DOUBT, DOUBT]
    assert statuses(world, order_id, 2, half + 1)[-1] is GONE


@SET
def test_a_grace_period_is_neither_ended_nor_prolonged_by_a_clock_that_is_set(
    seconds: float,
) -> None:
    world = ApartWorld()
    order_id = in_doubt(world)
    world.sync(0.1)
    world.own.set_date(seconds)
    half = GRACE_SEC / 2
    assert statuses(world, order_id, half, half - 1) == [DOUBT, DOUBT]
    assert statuses(world, order_id, 2, half + 1)[-1] is GONE


@SET
def test_what_a_person_says_of_an_order_counts_once_whatever_the_clock_does(
    seconds: float,
) -> None:
    world = ApartWorld()
    order_id = in_doubt(world)
    world.sync(0.1)
    world.reconciler.settle(order_id, who="Mary")
    assert list(world.reconciler.statements) == [order_id]
    world.own.set_date(seconds)
    world.sync(0.1)
    assert dict(world.reconciler.statements) == {}


def test_the_time_an_order_left_by_the_servers_clock_is_never_later_than_it_was() -> None:
    """It begins the history in which the order is looked for."""
    world = ApartWorld()
    told = world.clock.now_ns() // 1_000_000
    world.sync(0)
    world.own.set_date(7200)
    world.sleep(60)
    order = world.pm.submit("buy", 0.1)
    (started,) = [
        event for event in [world.pm.book.orders[order.order_id]] if event.server_time_msc
    ]
    offset_ms = 7_200_000
    assert told <= started.server_time_msc - offset_ms <= world.clock.now_ns() // 1_000_000


def test_the_servers_clock_at_a_sending_is_that_of_a_reading_that_was_not_believed() -> None:
    """Seed 9016324: it was set back just before, and the order was looked for an hour too late."""
    world = ApartWorld()
    opened = world.pm.submit("buy", 0.1)
    assert opened.ticket is not None
    world.sync(20)
    for minutes, status in ((180, SyncStatus.SUCCESS), (120, SyncStatus.DEGRADED)):
        world.terminal.switches.server_offset_minutes = minutes
        world.sleep(1)
        world.quote(1.1)
        assert world.sync(0).status is status
    order = world.pm.close(opened.ticket)
    sent = world.pm.book.orders[order.order_id]
    now_msc = world.clock.now_ns() // 1_000_000 + 7_200_000
    assert sent.time_offset_sec == 7_200
    assert now_msc - 2_000 <= sent.server_time_msc <= now_msc


# The plain wire knows waiting too.


@SET
def test_on_the_plain_wire_a_doubt_lasts_its_grace_period_by_no_wall_clock(
    seconds: float,
) -> None:
    world = ApartWorld()
    world.knows_only_the_guide = True
    world.start_bot()
    world.sync(1)
    order_id = world.lose_an_order()
    world.own.set_date(seconds)
    third = GRACE_SEC / 3
    assert statuses(world, order_id, third, third, third - 1) == [DOUBT] * 3
    assert statuses(world, order_id, 2, *[GRACE_SEC / 2] * 3)[-1] is GONE


def test_journal_events_may_be_dated_before_those_that_came_first() -> None:
    """Order is the journal's position, never a date."""
    journal = MemoryJournal()
    world = ApartWorld(journal=journal)
    world.trade(1)
    world.own.set_date(-7200)
    world.sync(20)
    kept = list(journal.read())
    dates = [event.at_ns for event in kept]
    assert dates != sorted(dates)
    assert any(isinstance(event, events.DealsRecorded) for event in kept)
    world.start_bot(journal=journal)
    assert figures_of(world.sync(20)) == (0, 0, 0)


def figures_of(result: SyncResult) -> tuple[int, int, int]:
    """What a sync did."""
    return result.recovered, result.closed, len(result.drifts)
