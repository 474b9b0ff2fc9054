"""What makes its caller wait is done so rarely that waiting takes a tenth of the time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support import make
from tests.support.servers import free_port
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.duty import DutyCycle
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock


class Slow:
    """A gateway object whose list takes its time, by the test's clock."""

    def __init__(self, clock: ManualClock, took_sec: float) -> None:
        self.clock, self.took_sec, self.calls = clock, took_sec, 0

    def get_positions(self) -> dict[str, Any]:
        self.calls += 1
        self.clock.advance(self.took_sec)
        return make.reply()


@pytest.mark.parametrize("took_sec", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("interval_sec", [0.01, 1.0])
def test_a_slow_list_is_asked_for_so_rarely_that_a_loop_goes_on(
    took_sec: float, interval_sec: float
) -> None:
    clock = ManualClock()
    pm, slow = PortfolioManager(clock=clock), Slow(clock, took_sec)
    reconciler = StateReconciler(pm, slow, interval_sec)
    began_ns, turns, longest = clock.now_ns(), 0, 0.0
    while clock.now_ns() - began_ns < 200e9:
        at_ns = clock.now_ns()
        reconciler.sync_continuous()
        longest = max(longest, (clock.now_ns() - at_ns) / 1e9)
        clock.advance(0.01)
        turns += 1
    waited_sec = slow.calls * took_sec
    assert slow.calls > 2
    assert waited_sec <= 200 / 10 + took_sec
    assert longest == pytest.approx(took_sec)
    assert reconciler.get_status()["next_sync_due"] >= (clock.now_ns() - 10 * 0.01e9) / 1e9 - 30


def test_a_quick_list_is_asked_for_at_every_interval() -> None:
    clock = ManualClock()
    quick = Slow(clock, 0.0)
    reconciler = StateReconciler(PortfolioManager(clock=clock), quick, 0.5)
    for _ in range(100):
        reconciler.sync_continuous()
        clock.advance(0.5)
    assert quick.calls == 100


def test_whoever_asks_by_hand_is_answered_at_once() -> None:
    clock = ManualClock()
    slow = Slow(clock, 5.0)
    reconciler = StateReconciler(PortfolioManager(clock=clock), slow, 1)
    for _ in range(3):
        reconciler.sync_positions()
    assert slow.calls == 3


# `detect_drift` before a gateway that does not answer.


def test_a_health_check_before_a_dead_port_waits_once_and_then_says_the_same_with_its_age() -> None:
    pm = PortfolioManager()
    with ExecutionGateway("127.0.0.1", free_port(), 400) as gateway:
        reconciler = StateReconciler(pm, gateway, 15)
        began = time.perf_counter()
        first = reconciler.detect_drift()
        assert first is not None
        assert first.startswith("Gateway offline")
        waited = time.perf_counter() - began
        took = []
        for _ in range(21):
            began = time.perf_counter()
            again = reconciler.detect_drift()
            took.append(time.perf_counter() - began)
            assert again is not None
            assert again.startswith(f"{first} (")
            assert "asked again in" in again
        # Most of them, since a busy machine may hold any single one up.
        assert sorted(took)[10] < waited / 4


def scripted(*readings: object) -> tuple[StateReconciler, ManualClock]:
    """A reconciler whose gateway cannot be reached, and then answers."""
    clock = ManualClock()
    answers = list(readings)

    class Link:
        def __init__(self, endpoint: str) -> None:
            self.endpoint = endpoint

        def send(self, message: bytes, timeout_ms: int) -> None:
            pass

        def receive(self, timeout_ms: int) -> bytes | None:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            clock.advance(2.0 if answer is None and timeout_ms else 0.0)
            return None if answer is None else make.as_bytes(answer)

        def reset(self) -> None:
            pass

        close = reset

    gateway = ExecutionGateway("127.0.0.1", 1, 2_000, link=Link)
    return StateReconciler(PortfolioManager(clock=clock), gateway, 15), clock


def test_a_gateway_that_comes_back_is_asked_again_after_a_while() -> None:
    reconciler, clock = scripted(None, make.reply())
    assert "gave no reply within 2000 ms" in str(reconciler.detect_drift())
    assert "asked again in 15 s" in str(reconciler.detect_drift())
    clock.advance(14.9)
    assert "asked again in less than 1 s" in str(reconciler.detect_drift())
    clock.advance(0.1)
    assert reconciler.detect_drift() is None
    assert reconciler.detect_drift() is None


def test_a_sync_that_is_believed_ends_the_rest() -> None:
    reconciler, _ = scripted(None, make.reply())
    assert reconciler.detect_drift() is not None
    assert reconciler.sync_positions().status.value == "SUCCESS"
    assert reconciler.detect_drift() is None


def test_an_object_that_fails_at_once_is_asked_every_time() -> None:
    reconciler = make.reconciler_on(OSError("x"), make.reply())
    assert "Gateway offline" in str(reconciler.detect_drift())
    assert reconciler.detect_drift() is None


def test_a_rest_is_nine_times_as_long_as_the_call_within_its_bounds() -> None:
    clock = ManualClock()
    duty = DutyCycle(clock)
    for took_sec, bounds, rest_sec in (
        (0.01, {}, 0.0),
        (0.1, {}, 0.9),
        (2.0, {"most_ns": 5_000_000_000}, 5.0),
        (0.0, {"least_ns": 1_000_000_000}, 1.0),
    ):
        duty.begin()
        clock.advance(took_sec)
        duty.end(**bounds)
        assert duty.rest_ns() == pytest.approx(rest_sec * 1e9)
    duty.reset()
    assert duty.rest_ns() == 0
