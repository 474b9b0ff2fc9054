"""The same mode behind an account, its portfolios, asyncio, the official module and the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paper.fake_broker import started
from tests.support.account_world import AccountWorld
from tests.support.desk_world import HEDGING, NETTING
from tests.support.door_world import BUY, SELL, WORLDS, DoorWorld, deal
from trueup import Paused, PortfolioManager, StateReconciler, aio
from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.mt5.door import Door
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.control.last_known import last_known
from trueup.sim.market.symbols import AccountSetup


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AccountWorld]:
    world = AccountWorld(tmp_path)
    yield world
    world.end()


@pytest.fixture(autouse=True)
def _end_of_worlds() -> Iterator[None]:
    yield
    while WORLDS:
        WORLDS.pop().end()


def test_an_account_and_its_portfolios_have_one_mode(world: AccountWorld) -> None:
    with world.account() as account:
        view = account.portfolio("EURUSD")
        handle = StateReconciler(view, account.gateway, 15)
        handle.startup_recovery()
        ticket = view.submit("buy", 0.2).ticket
        account.close_only("Ada", why="the news")
        for pm in (account, view, account.portfolio("EURUSD", magic=0)):
            assert pm.paused is not None
            with pytest.raises(Paused, match="only closes are allowed by Ada: the news"):
                pm.submit("buy", 0.1, symbol="EURUSD")
        assert view.close(ticket, 0.1).status is OrderStatus.FILLED
        view.pause("Bob")
        for pm in (account, view):
            with pytest.raises(Paused, match="trading is paused by Bob"):
                pm.close(ticket)
        assert "Trading is paused by Bob." in account.health
        assert account.close(ticket, who="Bob").by == "Bob"
    # Another process starts as the last one ended, and a reader of the journal is told.
    mode = last_known(world.journal, None, 0).mode
    assert mode is not None
    assert (mode.mode, mode.by) == ("paused", "Bob")
    with world.account() as account:
        assert account.manager.is_paused
        assert account.resume("Ada") is True


def test_the_mode_of_a_bot_of_one_symbol_goes_over_to_the_account(
    world: AccountWorld, caplog: pytest.LogCaptureFixture
) -> None:
    pm, reconciler = world.bot("EURUSD")
    reconciler.sync_positions()
    pm.submit("buy", 0.1)
    pm.pause("Ada")
    pm.close_journal()
    caplog.clear()
    with world.account() as account:
        assert account.taken_over == ("EURUSD",)
        assert account.manager.is_paused
        assert "[PERSON] As before the restart, trading is paused by Ada" in caplog.text


def test_asyncio_has_the_same_mode(world: AccountWorld) -> None:
    async def life() -> None:
        options: dict[str, Any] = {"journal": world.journal, "clock": world.clock, "claims": False}
        async with aio.Account(world.gateway, **options) as account:
            await account.sync()
            first = await account.submit("buy", 0.2, symbol="EURUSD")
            told = await account.close_only("Ada")
            assert account.paused == told
            with pytest.raises(Paused):
                await account.submit("buy", 0.1, symbol="EURUSD")
            await account.pause("Ada", why="lunch")
            with pytest.raises(Paused):
                await account.close(first.ticket)
            with pytest.raises(Paused):
                await account.close_all()
            assert (await account.close(first.ticket, 0.1, who="Ada")).by == "Ada"
            (rest,) = await account.close_all(who="Ada")
            assert rest.status is OrderStatus.FILLED
            assert await account.resume("Ada") is True

    asyncio.run(life())


# Behind the official module.


def pause(door: Door, mode: str = "pause") -> None:
    session = door._session
    assert session is not None
    getattr(session.account, mode)("Ada", why="the news")


def test_the_module_answers_as_metatrader_does_where_only_closing_is_allowed(
    tmp_path: Path,
) -> None:
    world = DoorWorld(tmp_path, NETTING)
    ticket = world.door.order_send(deal(volume=0.3)).order
    pause(world.door, "close_only")
    began_ns = world.clock.waiting_ns()
    for request in (deal(), deal(SELL, 0.5), deal(action=mt5.TRADE_ACTION_PENDING, type=2)):
        result = world.door.order_send(request)
        assert result.retcode == mt5.TRADE_RETCODE_CLOSE_ONLY
        assert "only closes are allowed by Ada: the news" in result.comment
    # No call waits for a person.
    assert world.clock.waiting_ns() - began_ns < 1_000_000_000
    stops = {"action": mt5.TRADE_ACTION_SLTP, "position": ticket, "symbol": "EURUSD"}
    assert world.door.order_send({**stops, "sl": 1.05, "tp": 1.2}).retcode == 10009
    assert world.door.order_send(deal(SELL, 0.1)).retcode == 10009
    assert world.door.order_send(deal(SELL, 0.2, position=ticket)).retcode == 10009
    assert world.open_lots == 0


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
def test_the_module_answers_as_with_autotrading_off_while_paused(
    account: AccountSetup, tmp_path: Path
) -> None:
    world = DoorWorld(tmp_path, account)
    ticket = world.door.order_send(deal(volume=0.3)).order
    pending = world.door.order_send(
        deal(action=mt5.TRADE_ACTION_PENDING, type=mt5.ORDER_TYPE_BUY_LIMIT, price=1.05)
    ).order
    pause(world.door)
    for _ in range(2):
        stops = {"action": mt5.TRADE_ACTION_SLTP, "position": ticket, "symbol": "EURUSD"}
        for request in (
            deal(BUY),
            deal(SELL, 0.3, position=ticket),
            {**stops, "sl": 1.05, "tp": 1.2},
            {"action": mt5.TRADE_ACTION_REMOVE, "order": pending},
            {"action": mt5.TRADE_ACTION_MODIFY, "order": pending, "price": 1.04},
        ):
            result = world.door.order_send(request)
            assert result.retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT, request
            assert "trading is paused by Ada: the news" in result.comment
        assert world.open_lots == 0.3
        # The program is killed, and started again on its journal.
        world.restart()
    # The first order opens the program's book.
    assert world.door.order_send(deal()).retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    session = world.door._session
    assert session is not None
    session.account.resume("Ada")
    assert world.door.order_send(deal(SELL, 0.3, position=ticket)).retcode == 10009


# The trading loop.


def test_the_loop_asks_no_strategy_while_paused_and_goes_on_syncing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = started(1, -1, 1)
    world.step()
    world.pm.pause("Ada")
    count = world.reconciler.sync_count
    world.broker.hold(7, "buy", 0.02)
    world.step(40)
    assert len(world.strategy.seen) == len(world.broker.sent) == 1
    assert world.reconciler.sync_count > count
    assert set(world.pm.get_local_positions()) == {7, 101}
    world.pm.resume("Ada")
    world.step()
    assert len(world.strategy.seen) == 2


def test_the_loop_closes_and_opens_nothing_while_only_closes_are_allowed() -> None:
    world = started(1, -1, 1, 1)
    world.step()
    world.pm.close_only("Ada")
    world.step(4)
    assert [order["position"] for order in world.broker.sent] == [0, 101]
    assert world.pm.position is None


def test_a_book_without_a_gateway_is_refused_by_the_gateway_first() -> None:
    pm = PortfolioManager("EURUSD")
    pm.pause("Ada")
    assert pm.create_order(1, 1.1) is None
