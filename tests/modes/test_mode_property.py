"""In no mode, after no sequence of requests, does an order leave that the mode refuses.

The judge reads what reached the gateway, and the broker's own ledger; it shares no code with the
order desk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL
from tests.support.order_world import OrderWorld
from trueup.errors import TrueupError
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost

Act = Callable[[OrderWorld, int], Any]


def positions(world: OrderWorld) -> list[int]:
    return sorted(world.pm.get_local_positions())


def one(world: OrderWorld, number: int) -> int:
    held = positions(world)
    return held[number % len(held)] if held else 1


def pending(world: OrderWorld, number: int) -> int:
    waiting = sorted(world.pm.book.pending)
    return waiting[number % len(waiting)] if waiting else 1


def by_the_guide(world: OrderWorld, number: int) -> None:
    order = world.pm.create_order(1 if number % 2 else -1, 1.1, 0.1 * (1 + number % 3))
    if order is not None:
        world.gateway.send_order(
            {
                "order_id": order.order_id,
                "symbol": order.symbol,
                "action": order.action,
                "volume": order.volume,
                "price": order.entry_price,
                "position": world.pm.ticket_to_close(order),
                "magic": order.magic,
            }
        )


def lost_answer(world: OrderWorld, number: int) -> None:
    world.terminal.faults.next_send(AnswerLost(executed=bool(number % 2), pipe_breaks=False))


ACTS: dict[str, Act] = {
    "pause": lambda world, _: world.pm.pause("Ada"),
    "close only": lambda world, _: world.pm.close_only("Ada"),
    "resume": lambda world, _: world.pm.resume("Ada"),
    "restart": lambda world, _: world.restart(),
    "sync": lambda world, _: world.sync(),
    "buy": lambda world, n: world.pm.submit("buy", 0.1 * (1 + n % 3)),
    "sell": lambda world, n: world.pm.submit("sell", 0.1 * (1 + n % 3)),
    "limit": lambda world, _: world.pm.submit("buy", 0.1, limit=1.0),
    "stop": lambda world, _: world.pm.submit("buy", 0.1, stop=1.2),
    "close": lambda world, n: world.pm.close(one(world, n)),
    "part": lambda world, n: world.pm.close(one(world, n), 0.1),
    "close by": lambda world, n: world.pm.close_by(one(world, n), one(world, n + 1)),
    "close all": lambda world, _: world.pm.close_all(),
    "modify": lambda world, n: world.pm.modify(one(world, n), 1.0, 1.3 + n / 1000),
    "modify order": lambda world, n: world.pm.modify_order(pending(world, n), sl=0.9 + n / 1000),
    "cancel": lambda world, n: world.pm.cancel(pending(world, n)),
    "a person's close": lambda world, n: world.pm.close(one(world, n), who="Ada"),
    "a hand buys": lambda world, _: world.person.open("EURUSD", BUY, 0.1),
    "a hand sells": lambda world, _: world.person.open("EURUSD", SELL, 0.1),
    "the guide's way": by_the_guide,
    "an answer is lost": lost_answer,
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 20)), max_size=25)
MODES = {"pause": "paused", "close only": "close only", "resume": ""}
CHANGES = ("MODIFY", "MODIFY_ORDER", "CANCEL")


def judge(mode: str, act: str, sent: list[dict[str, Any]]) -> None:
    for order in sent:
        closes = bool(order.get("position")) and order["action"] not in CHANGES
        if mode == "paused":
            assert closes, order
            assert act == "a person's close", (act, order)
        elif mode == "close only":
            assert closes or order["action"] in CHANGES, order


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@given(steps=STEPS)
def test_no_refused_order_leaves(account: AccountSetup, steps: list[tuple[str, int]]) -> None:
    world, mode = OrderWorld(account), ""
    for act, number in steps:
        before, deals = len(world.sent()), len(world.entries())
        with contextlib.suppress(TrueupError, ValueError):
            ACTS[act](world, number)
        mode = MODES.get(act, mode)
        judge(mode, act, world.sent()[before:])
        if mode and not act.startswith("a hand"):
            # By the broker's ledger, too: no deal opened a position, or a larger one.
            assert len(world.entries()) == deals, act
        assert (world.pm.paused is not None) is bool(mode)
