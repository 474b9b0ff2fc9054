"""`last_error()` for programs of one thread, of a pool of threads, and of several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.door_world import DoorWorld, deal
from trueup.doors.mt5.latest_error import LatestError
from trueup.gateway.terminal.call_wire import SUCCESS
from trueup.sim.terminal.terminal_faults import Fails, TimedOut

FAILED = (-1, "failed")


@pytest.fixture
def threads() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        yield one, other


def test_a_pool_of_threads_asks_for_the_error_in_any_of_them(
    tmp_path: Path, threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor]
) -> None:
    """`await to_thread(order_send)`, then `await to_thread(last_error)`, as async packages do."""
    world = DoorWorld(tmp_path)

    async def bot() -> tuple[Any, Any]:
        loop, (one, other) = asyncio.get_running_loop(), threads
        # Both threads have had a call that succeeded.
        await loop.run_in_executor(one, world.door.version)
        await loop.run_in_executor(other, world.door.symbol_info_tick, "EURUSD")
        world.terminal.faults.next_send(TimedOut(fill_after_ms=30_000))
        result = await loop.run_in_executor(one, world.door.order_send, deal())
        return result, await loop.run_in_executor(other, world.door.last_error)

    result, (code, text) = asyncio.run(bot())
    assert (result, code) == (None, -10005)
    assert "in doubt" in text


def test_a_thread_without_a_call_is_given_the_latest_one(
    tmp_path: Path, threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor]
) -> None:
    world = DoorWorld(tmp_path)
    world.terminal.faults.next_call("positions_get", *[Fails()] * 1_000)
    one, other = threads
    assert one.submit(world.door.positions_get).result() is None
    assert other.submit(world.door.last_error).result()[0] == -10005
    assert world.door.last_error()[0] == -10005


def test_calls_at_once_do_not_see_each_others_errors(
    threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
) -> None:
    latest, (one, other) = LatestError(), threads

    def begun() -> Callable[[], None]:
        call = latest.call()
        call.__enter__()

        def end() -> None:
            latest.error = FAILED
            call.__exit__(None, None, None)

        return end

    end = one.submit(begun).result()
    with latest.call():
        # The other thread's call began before this one has ended, and ends after it.
        pass
    one.submit(end).result()
    assert latest.asked() == SUCCESS
    assert one.submit(latest.asked).result() == FAILED
    # Whoever has had no call is given the latest.
    assert other.submit(latest.asked).result() == FAILED


def test_a_call_within_a_call_belongs_to_it() -> None:
    latest = LatestError()
    with latest.call():
        with latest.call():
            latest.error = FAILED
        # Not over yet: only the call that the program made is.
        assert latest.error == FAILED
    assert latest.asked() == FAILED
    with latest.call():
        assert latest.error == SUCCESS
    assert latest.asked() == SUCCESS
