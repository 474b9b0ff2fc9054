"""Several threads call one door: no order is lost or doubled, and readings wait for no order."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.door_world import DoorWorld, deal
from trueup.doors.mt5 import results
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.time.clock import ManualClock
from trueup.sim.terminal.terminal_faults import AnswerLost, TimedOut

DONE = mt5.TRADE_RETCODE_DONE


class Gated(ManualClock):
    """A clock whose sleeper waits until the test lets it go on."""

    def __init__(self, now_ns: int) -> None:
        super().__init__(now_ns)
        self.is_asleep, self.may_wake = threading.Event(), threading.Event()

    def sleep(self, seconds: float) -> None:
        if threading.current_thread().name == "sender":
            self.is_asleep.set()
            assert self.may_wake.wait(60)
        self.advance(seconds)


def in_thread(name: str, call: Any, *args: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call(*args)), name=name)
    thread.start()
    return thread, found


def test_a_reading_does_not_wait_for_an_order_in_doubt(tmp_path: Path) -> None:
    clock = Gated(1_700_000_000_000_000_000)
    world = DoorWorld(tmp_path, clock=clock)
    world.door.order_send(deal(volume=0.2))
    world.terminal.faults.next_send(TimedOut(fill_after_ms=1))
    sender, sent = in_thread("sender", world.door.order_send, deal())
    try:
        assert clock.is_asleep.wait(60)
        # The order is in doubt, and its thread waits; this thread reads.
        assert len(world.door.positions_get() or ()) >= 1
        assert world.door.symbol_info_tick("EURUSD").bid == 1.1
        assert not sent
    finally:
        clock.may_wake.set()
        sender.join(60)
    assert [result.retcode for result in sent] == [DONE]
    assert world.open_lots == 0.3


def test_orders_of_many_threads_are_each_sent_once(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.order_send(deal(volume=0.01))

    def trade(number: int) -> list[Any]:
        found = []
        for count in range(5):
            found.append(world.door.order_send(deal(volume=0.01, comment=f"{number}-{count}")))
            world.door.positions_get()
        return found

    threads = [in_thread(f"bot{number}", trade, number) for number in range(4)]
    for thread, _ in threads:
        thread.join(60)
    results = [result for _, (found,) in threads for result in found]
    assert {result.retcode for result in results} == {DONE}
    assert len({result.order for result in results}) == 20
    assert world.open_lots == 0.21


def test_another_threads_call_does_not_deliver_the_outcome(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    first = world.door.order_send(deal())
    # Only the thread that sent it proves, by its next call, that it got the result.
    thread, _ = in_thread("other", world.door.symbol_info, "EURUSD")
    thread.join(60)
    again = world.restart(magic=7).order_send(deal())
    assert again.order == first.order


def in_pool(world: DoorWorld, *requests: dict[str, Any]) -> list[Any]:
    """Send each order in a thread of its own that ends, as a pool of threads may do it."""
    results = []
    for request in requests:
        thread, found = in_thread("pool", world.door.order_send, request)
        thread.join(60)
        results += found
    return results


def test_equal_orders_of_a_pool_of_threads_are_all_sent(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.door.positions_get()
    results = in_pool(world, deal(), deal(), deal(volume=0.2), deal())
    assert [result.retcode for result in results] == [DONE] * 4
    assert len({result.order for result in results}) == 4
    assert world.open_lots == 0.5


def test_a_pool_of_threads_is_given_an_outcome_once(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=30_000))
    assert in_pool(world, deal()) == [None]
    world.wait(20)
    (late,), (new,) = in_pool(world, deal()), in_pool(world, deal())
    assert (late.retcode, new.retcode, late.order != new.order) == (DONE, DONE, True)
    assert world.open_lots == 0.2


def test_a_later_call_of_any_thread_delivers_the_outcome(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    (first,) = in_pool(world, deal())
    world.wait(1)
    thread, _ = in_thread("other", world.door.symbol_info, "EURUSD")
    thread.join(60)
    assert world.restart(magic=7).order_send(deal()).order != first.order


def test_the_end_of_the_door_delivers_what_all_threads_were_given(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path)
    (first,) = in_pool(world, deal())
    world.door.shutdown()
    assert world.open().order_send(deal()).order != first.order
    assert world.open_lots == 0.2


def test_an_interrupt_while_the_result_is_rebuilt_leaves_the_outcome_to_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DoorWorld(tmp_path)
    world.terminal.faults.next_send(AnswerLost(executed=True))

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "rebuilt", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world.door.order_send(deal())
    assert world.door.order_send(deal()).order == world.rows[0].ticket
    assert world.open_lots == 0.1
