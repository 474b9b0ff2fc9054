"""A pending order that is filled in parts belongs to its strategy in full."""

from __future__ import annotations

import pytest

from tests.orders.test_order_doubts import COMMENTS, mend
from tests.support.desk_world import HEDGING, NETTING
from tests.support.order_world import OrderWorld
from trueup.core.book.strategies import strategy_rows
from trueup.core.policy import Adopt, Policy
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost


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


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("adopt", [Adopt.ALL, Adopt.ASK])
@pytest.mark.parametrize("shows", ["record", "token", "alone"])
def test_an_order_in_doubt_and_its_first_part_are_found_in_one_look(
    account: AccountSetup, adopt: Adopt, shows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", shows == "record")
    policy = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=adopt)
    # Where no comment is kept, it is the only order that fits.
    comments = COMMENTS["emptied" if shows == "alone" else "kept"]
    world = OrderWorld(account, policy=policy, **comments)
    # An answered order shows what the broker makes of comments.
    world.pm.submit("sell", 0.2, limit=1.2, magic=7)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=True))
    intent = world.pm.submit("buy", 0.3, limit=1.09, magic=7)
    assert world.status(intent) == "IN_DOUBT"
    mend(world)
    world.terminal.broker.supply("EURUSD", 0.1)
    world.quote(1.0899)
    world.sync(5)
    assert world.status(intent) == "FILLED"
    assert world.agrees()
    # The part is ours, so its deals count at once; nothing is left for another look.
    assert not world.reconciler.plan().events
    assert [one["action"] for one in world.reconciler.get_audit_trail()].count("EXPLAINED") == 1
    (row,) = strategy_rows(world.pm.book)
    assert (row.magic, row.net_volume) == (7, 0.1)
