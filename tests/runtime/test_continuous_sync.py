"""`sync_continuous`: never waits, asks once an interval, backs off, and knows what is stale."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from tests.support import make
from tests.support.servers import ZmqServer, free_port, until
from trueup.errors import JournalError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult, SyncStatus

INTERVAL_SEC = 15.0
TIMEOUT_MS = 2_000
CALLS = 10_000


class NeverWaits(ZmqLink):
    """The real link, and whoever would wait for it is told."""

    def send(self, message: bytes, timeout_ms: int) -> None:
        assert timeout_ms == 0, "sync_continuous() waits for a connection"
        super().send(message, timeout_ms)

    def receive(self, timeout_ms: int) -> bytes | None:
        assert timeout_ms == 0, "sync_continuous() waits for an answer"
        return super().receive(timeout_ms)


def never_waiting(port: int) -> ExecutionGateway:
    return ExecutionGateway("127.0.0.1", port, TIMEOUT_MS, link=NeverWaits)


class Scripted:
    """A link that answers when told: `replies` has what the next `receive` finds."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.sent: list[bytes] = []
        self.replies: list[bytes] = []
        self.under_way = 0

    def send(self, message: bytes, timeout_ms: int) -> None:
        self.sent.append(message)
        self.under_way += 1

    def receive(self, timeout_ms: int) -> bytes | None:
        if not self.under_way or not self.replies:
            return None
        self.under_way -= 1
        return self.replies.pop(0)

    def reset(self) -> None:
        self.under_way = 0

    def close(self) -> None:
        self.reset()


class Desk:
    """A book, a reconciler and the link between the gateway and nothing."""

    def __init__(
        self, pm: PortfolioManager | None = None, interval_sec: float = INTERVAL_SEC
    ) -> None:
        self.pm = pm or make.portfolio()
        self.clock = make.clock_of(self.pm)
        links: list[Scripted] = []

        def link(endpoint: str) -> Scripted:
            links.append(Scripted(endpoint))
            return links[-1]

        gateway = ExecutionGateway("127.0.0.1", 1, TIMEOUT_MS, link=link)
        self.reconciler = StateReconciler(self.pm, gateway, sync_interval_sec=interval_sec)
        self.questions = links[0]

    def answer(self, *rows: object) -> None:
        # Somebody else's position, so that no list is empty: an empty one is asked for again.
        others = make.row(999, symbol="XAUUSD")
        self.questions.replies.append(make.as_bytes(make.reply(*rows, others)))

    def seen(self) -> Desk:
        """Let a first reading be believed, in which nothing is open; the next look is due."""
        self.answer()
        self.reconciler.startup_recovery()
        self.clock.advance(INTERVAL_SEC)
        return self

    def call(self) -> SyncResult | None:
        return self.reconciler.sync_continuous()

    def asked(self) -> int:
        return len(self.questions.sent)


def test_the_first_call_asks_and_a_later_one_returns_the_result() -> None:
    desk = Desk()
    assert desk.call() is None
    assert desk.asked() == 1
    assert desk.call() is None
    desk.answer(make.row())
    result = desk.call()
    assert result is not None
    assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 1)
    assert desk.call() is None
    assert desk.asked() == 1


def test_too_soon_is_none_and_the_interval_passed_asks_again() -> None:
    desk = Desk()
    desk.call()
    desk.answer()
    assert desk.call() is not None
    desk.clock.advance(INTERVAL_SEC - 0.001)
    assert desk.call() is None
    assert desk.asked() == 1
    desk.clock.advance(0.001)
    assert desk.call() is None
    assert desk.asked() == 2


def test_an_object_with_get_positions_is_called_inline() -> None:
    reconciler = make.reconciler_on(make.reply(make.row()))
    result = reconciler.sync_continuous()
    assert result is not None
    assert result.recovered == 1
    assert reconciler.sync_continuous() is None
    make.clock_of(reconciler.portfolio).advance(INTERVAL_SEC)
    assert reconciler.sync_continuous() is not None
    assert reconciler.gateway.get_positions.call_count == 2


def test_a_sync_by_hand_counts_for_the_interval() -> None:
    desk = Desk()
    desk.answer()
    desk.reconciler.sync_positions()
    assert desk.call() is None
    assert desk.asked() == 1


def test_against_a_real_gateway_that_never_answers_ten_thousand_calls_never_wait() -> None:
    """One question goes out in the interval, whatever the number of calls."""
    pm = make.portfolio()
    with ZmqServer(lambda _: None) as server, never_waiting(server.port) as gateway:
        reconciler = StateReconciler(pm, gateway, sync_interval_sec=INTERVAL_SEC)
        for _ in range(CALLS):
            assert reconciler.sync_continuous() is None
        until(lambda: reconciler.sync_continuous() is None and server.count() == 1)
        for _ in range(CALLS):
            assert reconciler.sync_continuous() is None
        assert server.count() == 1
        make.clock_of(pm).advance(TIMEOUT_MS / 1000)
        result = reconciler.sync_continuous()
        assert result is not None
        assert result.status is SyncStatus.DEGRADED
        assert "Gateway offline" in result.errors[0]
        assert "no reply" in result.errors[0]
        for _ in range(CALLS):
            assert reconciler.sync_continuous() is None
        make.clock_of(pm).advance(INTERVAL_SEC)
        until(lambda: reconciler.sync_continuous() is None and server.count() == 2)


def test_against_nobody_ten_thousand_calls_never_wait() -> None:
    pm = make.portfolio()
    with never_waiting(free_port()) as gateway:
        reconciler = StateReconciler(pm, gateway, sync_interval_sec=INTERVAL_SEC)
        for _ in range(CALLS):
            assert reconciler.sync_continuous() is None
        make.clock_of(pm).advance(TIMEOUT_MS / 1000)
        result = reconciler.sync_continuous()
        assert result is not None
        assert result.status is SyncStatus.DEGRADED
        assert "no connection" in result.errors[0]


def test_a_real_gateway_that_appears_is_found_without_waiting() -> None:
    pm, port = make.portfolio(), free_port()
    with never_waiting(port) as gateway:
        reconciler = StateReconciler(pm, gateway, sync_interval_sec=INTERVAL_SEC)
        assert reconciler.sync_continuous() is None
        with ZmqServer(lambda _: make.as_bytes(make.reply(make.row())), port) as server:
            result = until(reconciler.sync_continuous)
            assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 1)
            assert server.count() == 1


def test_a_question_that_is_given_up_is_left_for_good() -> None:
    """Its exchange ends, so its answer can never be taken for the next one's."""
    desk = Desk()
    desk.call()
    desk.clock.advance(TIMEOUT_MS / 1000)
    assert desk.questions.under_way == 1
    result = desk.call()
    assert result is not None
    assert result.status is SyncStatus.DEGRADED
    assert desk.questions.under_way == 0


def asks_at(desk: Desk, seconds: int) -> list[int]:
    """The seconds, of some, at which a question goes out when nobody ever answers."""
    moments = []
    for second in range(seconds):
        before = desk.asked()
        for _ in range(3):
            desk.call()
        moments += [second] * (desk.asked() - before)
        desk.clock.advance(1)
    return moments


def test_failures_back_off_to_a_minute_and_never_hammer() -> None:
    moments = asks_at(Desk(), 600)
    gaps = [second - first for first, second in itertools.pairwise(moments)]
    assert gaps[0] >= INTERVAL_SEC
    assert all(later >= sooner for sooner, later in itertools.pairwise(gaps))
    assert 60 <= gaps[-1] <= 60 + TIMEOUT_MS / 1000 + 1
    assert len(moments) < 600 / INTERVAL_SEC / 2


def test_at_most_one_question_goes_out_in_any_interval() -> None:
    per_interval = Counter(moment // int(INTERVAL_SEC) for moment in asks_at(Desk(), 300))
    assert max(per_interval.values()) == 1


def test_after_a_success_the_interval_is_the_ordinary_one_again() -> None:
    desk = Desk()
    asks_at(desk, 200)
    desk.questions.reset()
    desk.clock.advance(120)
    until(lambda: desk.call() or desk.questions.under_way)
    desk.answer()
    result = desk.call()
    assert result is not None
    assert result.status is SyncStatus.SUCCESS
    due_in = desk.reconciler.get_status()["next_sync_due"] - desk.clock.now_ns() / 1e9
    assert 0 < due_in <= INTERVAL_SEC


def test_an_inline_gateway_that_fails_is_not_asked_again_at_once() -> None:
    reconciler = make.reconciler_on(OSError("cable"))
    for _ in range(100):
        reconciler.sync_continuous()
    assert reconciler.gateway.get_positions.call_count == 1


def test_a_journal_that_refuses_does_not_make_it_hammer_the_gateway() -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    journal.refuse = JournalError("disk full")
    reconciler = make.reconciler_on(make.reply(make.row()), pm=pm)
    results = [reconciler.sync_continuous() for _ in range(5)]
    assert [r.status for r in results if r is not None] == [SyncStatus.FAILED]
    assert reconciler.gateway.get_positions.call_count == 1


# An interval of 0: due at every call.


def test_an_interval_of_nothing_asks_again_at_every_call_and_one_question_at_a_time() -> None:
    desk = Desk(interval_sec=0)
    for number in range(1, 6):
        assert desk.call() is None
        assert desk.asked() == number
        for _ in range(10):
            assert desk.call() is None
        assert (desk.asked(), desk.questions.under_way) == (number, 1)
        desk.answer()
        assert desk.call() is not None


def test_an_interval_of_nothing_syncs_an_inline_gateway_at_every_call() -> None:
    gateway = make.gateway_saying(make.reply(make.row()))
    reconciler = StateReconciler(make.portfolio(), gateway, sync_interval_sec=0)
    assert all(reconciler.sync_continuous() is not None for _ in range(5))
    assert gateway.get_positions.call_count == 5


def test_an_interval_of_nothing_does_not_hammer_a_gateway_that_fails() -> None:
    gateway = make.gateway_saying(None)
    reconciler = StateReconciler(make.portfolio(), gateway, sync_interval_sec=0)
    clock = make.clock_of(reconciler.portfolio)
    for _ in range(6_000):
        reconciler.sync_continuous()
        clock.advance(0.01)
    # One minute: after 0.1, 0.2, 0.4, ... seconds.
    assert gateway.get_positions.call_count == 10


# Readings that are older than what the book knows.


def test_what_changed_here_since_the_question_is_held() -> None:
    desk = Desk()
    desk.pm.force_add_position(make.row(1))
    desk.call()
    desk.pm.force_add_position(make.row(2))
    desk.pm.force_update_position(1, {"volume": 0.05})
    desk.answer(make.row(1))
    result = desk.call()
    assert result is not None
    assert (result.recovered, result.closed, result.drifts) == (0, 0, [])
    assert {t: p.net_volume for t, p in desk.pm.get_local_positions().items()} == {1: 0.05, 2: 0.01}


def test_what_was_closed_here_since_the_question_is_not_brought_back() -> None:
    desk = Desk()
    desk.pm.force_add_position(make.row(1))
    desk.call()
    desk.pm.force_close_position(1)
    desk.answer(make.row(1))
    assert desk.call() is not None
    assert desk.pm.position is None


def test_a_fill_since_the_question_is_no_ghost() -> None:
    desk = Desk().seen()
    desk.call()
    order = desk.pm.create_order(1, 1.05, 0.01)
    assert order is not None
    desk.pm.on_fill(make.filling(order.order_id, 7))
    desk.answer()
    result = desk.call()
    assert result is not None
    assert result.closed == 0
    assert set(desk.pm.get_local_positions()) == {7}


def test_what_was_held_is_acted_on_by_the_next_reading() -> None:
    desk = Desk()
    desk.call()
    desk.pm.force_add_position(make.row(2))
    desk.answer()
    desk.call()
    desk.clock.advance(INTERVAL_SEC)
    desk.call()
    desk.answer()
    result = desk.call()
    assert result is not None
    assert result.closed == 1


def test_an_order_made_since_the_question_is_not_settled_by_its_answer() -> None:
    """The position was there before the order was sent."""
    desk = Desk().seen()
    desk.call()
    order = desk.pm.create_order(1, 1.0543, 0.01)
    assert order is not None
    desk.pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN"))
    desk.answer(make.row(7))
    desk.call()
    assert order.status.value == "IN_DOUBT"


@pytest.mark.parametrize("by_hand", ["sync_positions", "startup_recovery"])
def test_an_older_reading_never_closes_what_a_newer_one_has_shown(by_hand: str) -> None:
    """A question is under way; somebody syncs by hand; then the older answer is looked at."""
    desk = Desk()
    desk.pm.force_add_position(make.row(1))
    desk.call()
    desk.answer()  # to the question under way: a moment in which nothing was open
    desk.answer(make.row(1))  # to the one by hand, which is newer
    getattr(desk.reconciler, by_hand)()
    before = desk.pm.book.state()
    desk.call()
    assert desk.pm.book.state() == before
    assert set(desk.pm.get_local_positions()) == {1}


def test_an_older_reading_never_brings_back_what_a_newer_one_has_not() -> None:
    desk = Desk()
    desk.call()
    desk.answer(make.row(9))
    desk.answer()
    desk.reconciler.sync_positions()
    desk.call()
    assert desk.pm.position is None


def test_a_look_at_drift_does_not_lose_the_question_under_way() -> None:
    desk = Desk()
    desk.call()
    desk.answer(make.row(1))
    desk.answer(make.row(1))
    assert desk.reconciler.detect_drift() is not None
    assert desk.pm.position is None
    result = desk.call()
    assert result is not None
    assert result.recovered == 1


def test_a_look_at_drift_does_not_turn_an_invitation_into_a_reading() -> None:
    """A gateway that offers proof is not believed without it, in whatever order it is asked."""
    desk = Desk()
    desk.pm.force_add_position(make.row(1))
    invitation = make.as_bytes(make.reply(capabilities=["SNAPSHOT"]))
    desk.call()
    desk.questions.replies += [invitation, invitation]
    desk.reconciler.detect_drift()
    desk.call()
    assert set(desk.pm.get_local_positions()) == {1}


def test_the_result_that_comes_late_says_how_long_it_took() -> None:
    desk = Desk()
    desk.call()
    desk.clock.advance(0.25)
    desk.answer()
    result = desk.call()
    assert result is not None
    assert result.sync_time_ms == pytest.approx(250)
    assert desk.reconciler.get_status()["last_sync_time"] == make.NOW_NS / 1e9


def test_an_unreadable_answer_degrades_and_the_next_question_goes_out() -> None:
    desk = Desk()
    desk.call()
    desk.questions.replies.append(b"not JSON")
    result = desk.call()
    assert result is not None
    assert result.status is SyncStatus.DEGRADED
    desk.clock.advance(INTERVAL_SEC)
    desk.call()
    desk.answer(make.row(3))
    found: Any = desk.call()
    assert found.recovered == 1
