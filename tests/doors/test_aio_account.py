"""The account for asyncio: one thread, calls that may be cancelled, and events as they are made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.account_world import AccountWorld
from trueup import aio
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.aio.events import EventStream
from trueup.errors import BrokerUnknown, JournalConflict, NotSent, Refused, TrueupError
from trueup.journal import open_reader
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.sim.terminal.terminal_faults import Fails

Result = TypeVar("Result")


class SlowWorld(AccountWorld):
    """A world whose trade server keeps an order until it is told to answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.answer = threading.Event(), threading.Event()
        self.threads: set[int] = set()
        self.sends = 0
        bare = self.called._call

        def slow(function: str, *args: Any, **kwargs: Any) -> Any:
            self.threads.add(threading.get_ident())
            if function == "order_send":
                self.sends += 1
                self.begun.set()
                assert self.answer.wait(60)
            return bare(function, *args, **kwargs)

        self.called._call = slow  # type: ignore[method-assign]

    def open(self) -> aio.Account:
        """Return an account of asyncio, not open yet."""
        return aio.Account(self.gateway, journal=self.journal, clock=self.clock, claims=False)

    async def has_begun(self) -> None:
        """Wait until an order is with the trade server."""
        await asyncio.to_thread(self.begun.wait, 20)
        self.begun.clear()

    def recorded(self) -> list[events.Event]:
        """Return the events of the account's journal."""
        with open_reader(self.journal, "5000001@Simulated-Demo") as reader:
            return list(reader.read())


@pytest.fixture
def world(tmp_path: Path) -> SlowWorld:
    return SlowWorld(tmp_path)


def run(test: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(test, 60))


def test_orders_are_awaited_and_each_event_is_told_in_the_order_of_the_journal(
    world: SlowWorld,
) -> None:
    world.answer.set()
    told: list[events.Event] = []

    async def listen(account: aio.Account) -> None:
        told.extend([event async for event in account.events()])

    async def main() -> None:
        async with world.open() as account:
            listener = asyncio.create_task(listen(account))
            await asyncio.sleep(0)
            await account.sync()
            filled = await account.submit("buy", 0.1, symbol="EURUSD", key="k")
            limit = await account.submit("buy", 0.1, symbol="EURUSD", limit=1.05)
            assert (await account.modify(filled.ticket, 1.0, 0.0)).status is OrderStatus.FILLED
            moved = await account.modify_order(limit.ticket, price=1.04)
            assert moved.status is OrderStatus.FILLED
            assert (await account.cancel(limit.ticket)).status is OrderStatus.FILLED
            assert list(account.positions) == [filled.ticket]
            assert account.orders[filled.order_id] is filled
            part = await account.close(filled.ticket, 0.04)
            (rest,) = await account.close_all()
            assert (part.status, rest.volume) == (OrderStatus.FILLED, 0.06)
            world.clock.advance(5)
            assert not (await account.sync()).errors
            assert account.realised
            assert account.name == "5000001@Simulated-Demo"
            assert account.health.startswith("Everything agrees")
            assert account.status["portfolio_position"] == "FLAT"
            assert await account.run(lambda plain: plain.name) == account.name
        await listener

    run(main())
    assert told == world.recorded()
    assert any(isinstance(event, events.DealsRecorded) for event in told)
    # Everything that touched the terminal was one thread, and not the one of the loop.
    assert len(world.threads - {threading.get_ident()}) == 1


def test_a_cancelled_await_leaves_the_order_in_the_journal_with_its_outcome(
    world: SlowWorld,
) -> None:
    async def main() -> None:
        async with world.open() as account:
            await account.sync()
            sending = account.submit("buy", 0.1, symbol="EURUSD", key="once")
            waiting = asyncio.create_task(asyncio.wait_for(sending, 0.2))
            await world.has_begun()
            with pytest.raises(TimeoutError):
                await waiting
            # The loop was free meanwhile, and the order is on its way.
            (order,) = account.orders.values()
            assert order.status is OrderStatus.SENT
            world.answer.set()
            again = await account.submit("buy", 0.1, symbol="EURUSD", key="once")
            assert (again.order_id, again.status) == (order.order_id, OrderStatus.FILLED)

    run(main())
    assert (world.sends, world.open_lots) == (1, 0.1)
    assert [type(event).__name__ for event in world.recorded()][-3:] == [
        "OrderCreated",
        "SendStarted",
        "OrderFilled",
    ]


def test_a_call_that_has_not_begun_is_taken_back(world: SlowWorld) -> None:
    async def main() -> None:
        async with world.open() as account:
            await account.sync()
            first = asyncio.create_task(account.submit("buy", 0.1, symbol="EURUSD"))
            await world.has_begun()
            second = asyncio.create_task(account.submit("buy", 0.2, symbol="EURUSD"))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            world.answer.set()
            assert (await first).status is OrderStatus.FILLED
            assert len(account.orders) == 1

    run(main())
    assert (world.sends, world.open_lots) == (1, 0.1)


def test_closing_waits_for_the_calls_before_it_and_refuses_those_after(world: SlowWorld) -> None:
    async def main() -> None:
        account = await world.open()
        await account.sync()
        first = asyncio.create_task(account.submit("buy", 0.1, symbol="EURUSD"))
        await world.has_begun()
        second = asyncio.create_task(account.submit("buy", 0.2, symbol="GBPUSD"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(account.aclose())
        await asyncio.sleep(0)
        with pytest.raises(NotSent, match="not open"):
            await account.submit("buy", 0.4, symbol="EURUSD")
        # A closing that nobody waits for any more goes on.
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        world.answer.set()
        assert [(await task).status for task in (first, second)] == [OrderStatus.FILLED] * 2
        await account.aclose()
        for read in (lambda: account.positions, lambda: account.status):
            with pytest.raises(NotSent, match="not open"):
                read()
        with pytest.raises(NotSent, match="closed"):
            await account

    run(main())
    assert world.open_lots == pytest.approx(0.3)
    # The journal was let go: another program can open it.
    world.account().shut()


def test_an_error_is_that_of_the_account(
    world: SlowWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.answer.set()

    async def main() -> None:
        async with world.open() as account:
            with pytest.raises(Refused, match="no reading of the broker"):
                await account.submit("buy", 0.1, symbol="EURUSD")
            await account.sync()
            with pytest.raises(ValueError, match="side='bye'"):
                await account.submit("bye", 0.1, symbol="EURUSD")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="No position with ticket 5"):
                await account.close(5)
            # Nobody waits for this one, so the log has it.
            failing = asyncio.create_task(account.run(lambda _: slow_failure()))
            await asyncio.to_thread(begun.wait, 20)
            failing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await failing
            go_on.set()
            await account.sync()

    begun, go_on = threading.Event(), threading.Event()

    def slow_failure() -> None:
        begun.set()
        go_on.wait(60)
        raise Refused("too late")

    run(main())
    assert "A call that nobody waits for failed: too late" in caplog.text


def test_an_account_that_cannot_be_opened_holds_nothing(world: SlowWorld) -> None:
    async def main() -> None:
        with (
            PortfolioManager(journal=world.journal, stream="5000001@Simulated-Demo"),
            pytest.raises(JournalConflict, match="is being written"),
        ):
            await world.open()
        async with world.open() as account:
            assert account.positions == {}

    run(main())


def test_an_opening_that_is_cancelled_closes_what_it_opened(world: SlowWorld) -> None:
    begun, go_on = threading.Event(), threading.Event()
    bare = world.called._call

    def slow(function: str, *args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return bare(function, *args, **kwargs)

    async def main() -> None:
        account = world.open()
        world.called._call = slow  # type: ignore[method-assign]
        opening = asyncio.create_task(account._open())
        await asyncio.to_thread(begun.wait, 20)
        opening.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises(NotSent):
            await account.sync()

    run(main())
    world.account().shut()


def test_a_broker_that_cannot_be_read_is_said(world: SlowWorld) -> None:
    world.terminal.faults.next_call("account_info", *[Fails()] * 1_000)

    async def main() -> None:
        async with world.open():
            pytest.fail("it cannot be opened")

    with pytest.raises(BrokerUnknown, match="cannot be read"):
        run(main())


def test_a_reader_that_falls_behind_is_told_and_a_closed_loop_is_nobody() -> None:
    event = events.LossAccepted(at_ns=1, by="Ada")

    async def main() -> EventStream:
        stream = EventStream(asyncio.get_running_loop(), most=3)
        stream.put([event, event])
        stream.put([event, event])
        stream.put([event])
        reader = stream.read()
        assert [await anext(reader), await anext(reader)] == [event, event]
        with pytest.raises(TrueupError, match="More than 3 events"):
            await anext(reader)
        return stream

    run(main()).put([event])


def test_several_readers_get_every_event_until_they_leave(world: SlowWorld) -> None:
    world.answer.set()

    async def main() -> None:
        async with world.open() as account:
            await account.sync()

            async def first_of(kind: type[events.Event]) -> events.Event:
                async for event in account.events():
                    if isinstance(event, kind):
                        return event
                raise AssertionError

            readers = [
                asyncio.create_task(first_of(kind))
                for kind in (events.OrderCreated, events.OrderFilled)
            ]
            await asyncio.sleep(0)
            order = await account.submit("buy", 0.1, symbol="EURUSD")
            ids = [getattr(await reader, "order_id", "") for reader in readers]
            assert ids == [order.order_id] * 2

    run(main())
