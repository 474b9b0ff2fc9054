"""What the live view shows of a loop."""

from __future__ import annotations

import pytest

from tests.cli.bot_world import BotWorld
from tests.paper.fake_broker import World, started
from trueup.cli.paper.screen import picture
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.live import Level, Picture, Side
from trueup.observe.status_text import write_status
from trueup.sim.market.symbols import AccountSetup


def shown(world: World) -> Picture:
    return picture(world.loop, "at tcp://127.0.0.1:5555", "Ctrl-C ends this.")


def test_before_anything_was_read_nothing_is_claimed() -> None:
    seen = shown(World())
    assert (seen.level, seen.age_sec, seen.rows) == (Level.WAIT, None, [])
    assert seen.price == "No price yet"


def test_a_position_of_our_own_is_newer_than_the_reading_until_the_next_sync() -> None:
    world = started(1)
    world.step()
    (row,) = shown(world).rows
    assert (row.local, row.remote, row.is_newer) == (Side("LONG", 0.01, 1.1001), None, True)
    world.step(25)
    (row,) = shown(world).rows
    assert (row.local, row.is_newer) == (row.remote, False)
    assert shown(world).level is Level.OK


def test_the_broker_s_side_is_that_of_the_last_sync_and_its_age_is_said() -> None:
    world = World()
    world.broker.hold(7, "sell", 0.02)
    world.loop.last_result = world.reconciler.startup_recovery()
    world.broker.rows.clear()
    world.clock.advance(3)
    seen = shown(world)
    assert seen.age_sec == 3.0
    assert [row.remote for row in seen.rows] == [Side("SHORT", 0.02, 1.1)]
    assert seen.audit[-1][1] == "RECOVERY"
    assert "Next look in 2 s. Ctrl-C" in seen.foot


def test_positions_in_other_symbols_are_counted_and_not_listed() -> None:
    world = World()
    world.broker.hold(7, "sell", 0.02)
    world.broker.rows[7]["symbol"] = "XAUUSD"
    world.loop.last_result = world.reconciler.startup_recovery()
    seen = shown(world)
    assert (seen.rows, seen.foot.startswith("1 not ours. ")) == ([], True)


@pytest.mark.parametrize(
    ("mode", "word", "is_real"),
    [
        (mt5.ACCOUNT_TRADE_MODE_DEMO, "demo", False),
        (mt5.ACCOUNT_TRADE_MODE_CONTEST, "contest", False),
        (mt5.ACCOUNT_TRADE_MODE_REAL, "REAL", True),
    ],
)
def test_whose_money_it_is_stands_at_the_head(mode: int, word: str, is_real: bool) -> None:
    world = BotWorld(AccountSetup(trade_mode=mode))
    seen = picture(world.loop, "at tcp://127.0.0.1:5555", "")
    assert (seen.money, seen.is_real) == (word, is_real)
    assert f"5000001@Simulated-Demo ({word})" in write_status(world.status())


def test_what_no_gateway_tells_counts_as_real() -> None:
    world = World()
    assert shown(world).money == ""
    world.loop.last_result = world.reconciler.startup_recovery()
    seen = shown(world)
    assert (seen.money, seen.is_real) == ("REAL?", True)


def test_a_broker_that_cannot_be_seen_is_trouble_and_the_book_stays() -> None:
    world = started(1)
    world.step(25)
    world.broker.offline = True
    world.step(25)
    seen = shown(world)
    assert seen.level is Level.TROUBLE
    assert "Gateway offline" in seen.health
    assert len(seen.rows) == 1


def test_a_row_that_cannot_be_believed_is_trouble() -> None:
    world = started()
    world.broker.hold(7, "sideways", 0.02)
    world.step(25)
    seen = shown(world)
    assert seen.level is Level.TROUBLE
    assert "7" in seen.health


def test_a_sync_that_is_late_is_no_ok() -> None:
    world = started()
    world.clock.advance(8)
    assert shown(world).level is Level.WAIT


def test_an_order_in_doubt_is_shown() -> None:
    world = started()
    order = world.pm.create_order(1, 1.1, 0.01)
    assert order is not None
    world.pm.on_fill({"order_id": order.order_id, "status": "UNKNOWN", "error": "no reply"})
    seen = shown(world)
    assert seen.level is Level.WAIT
    assert seen.doubts == [f"BUY 0.01L {order.order_id}: no reply"]
