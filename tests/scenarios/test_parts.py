"""A pending order that is filled in parts belongs to its strategy in full."""

from __future__ import annotations

from tests.support.desk_world import NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book.strategies import strategy_rows


def test_a_strategy_has_both_parts_of_its_order_when_two_looks_show_them() -> None:
    world = OrderWorld(NETTING)
    world.pm.submit("buy", 0.3, limit=1.09, magic=7)
    world.terminal.broker.supply("EURUSD", 0.1)
    world.quote(1.0899)
    world.sync(5)
    assert [(one.magic, one.net_volume) for one in strategy_rows(world.pm.book)] == [(7, 0.1)]
    world.terminal.broker.supply("EURUSD", None)
    world.quote(1.0899)
    world.sync(5)
    world.sync(5)
    assert world.agrees()
    assert [(one.magic, one.net_volume) for one in strategy_rows(world.pm.book)] == [(7, 0.3)]
