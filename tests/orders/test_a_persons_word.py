"""What a person says of an order in doubt: heard where only a person can tell."""

from __future__ import annotations

import pytest

from tests.orders.test_the_only_one_that_fits import BOTH, lose, robot, settle
from tests.support.desk_world import BUY, NETTING, SELL
from tests.support.order_world import OrderWorld
from trueup.core.book.events import OrderCanceled
from trueup.core.book.order import Order
from trueup.core.tokens import token_of
from trueup.errors import PlanOutdated, Refused
from trueup.journal import MemoryJournal
from trueup.sim.market.symbols import AccountSetup


@pytest.fixture(autouse=True)
def _no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's own record would have the ticket, or know that there is none."""
    monkeypatch.setattr(OrderWorld, "keeps_record", False)


def doubtful(world: OrderWorld, *, executed: bool = False) -> tuple[Order, int]:
    """Leave an order in doubt that another program's order fits, or our own without its token."""
    lost = lose(world, executed)
    if not executed:
        robot(world).open("EURUSD", BUY, 0.1)
    settle(world)
    assert world.status(lost) == "IN_DOUBT"
    return lost, max(order.ticket for order in world.past())


def said(world: OrderWorld) -> list[str]:
    """What the audit trail has of the orders that were settled."""
    trail = world.reconciler.get_audit_trail()
    return [entry["details"] for entry in trail if entry["action"] == "SETTLED"]


@BOTH
def test_what_was_never_executed_is_given_up_in_the_name_of_who_says_so(
    account: AccountSetup,
) -> None:
    world = OrderWorld(account)
    lost, ticket = doubtful(world)
    world.reconciler.settle(lost.order_id, who="Mary")
    assert world.status(lost) == "IN_DOUBT"
    world.sync(1)
    assert world.status(lost) == "CANCELED"
    assert said(world) == [
        f"Order {lost.order_id}: assumed, unproven: Mary says that it was never executed, though "
        f"it fits order {ticket}, and nothing shows that this is ours"
    ]
    assert not world.pm.entries_refused()
    assert world.agrees()
    world.restart()
    assert world.status(lost) == "CANCELED"
    assert world.agrees()


@BOTH
def test_the_named_one_is_the_order_at_the_broker_s_price_and_volume(account: AccountSetup) -> None:
    world = OrderWorld(account, comment_replaced_by="")
    lost, ticket = doubtful(world, executed=True)
    world.reconciler.settle(lost.order_id, ticket, "Mary")
    world.sync(1)
    assert (world.status(lost), lost.ticket, lost.filled_volume) == ("FILLED", ticket, 0.1)
    assert lost.fill_price == pytest.approx(world.deals()[-1].price)
    (why,) = said(world)
    assert f"assumed, unproven: Mary says that it is order {ticket}" in why
    assert not world.pm.entries_refused()
    assert world.agrees()
    (holding,) = world.pm.book.holdings.values()
    assert lost.order_id in holding.order_ids
    world.restart()
    assert world.status(lost) == "FILLED"


def test_the_journal_names_the_person() -> None:
    journal = MemoryJournal()
    world = OrderWorld(journal=journal)
    lost, _ = doubtful(world)
    world.reconciler.settle(lost.order_id, who="  Mary ")
    world.sync(1)
    assert [one.by for one in journal.read() if isinstance(one, OrderCanceled)] == ["Mary"]


def test_what_came_and_went_is_settled_with_its_exit() -> None:
    world = OrderWorld(comment_replaced_by="")
    lost = lose(world, executed=True)
    robot(world).close(max(order.ticket for order in world.past()))
    settle(world)
    assert world.status(lost) == "IN_DOUBT"
    world.reconciler.settle(lost.order_id, min(order.ticket for order in world.past()))
    world.sync(1)
    assert world.status(lost) == "FILLED"
    assert world.tickets() == set()
    assert world.agrees()
    assert world.pm.realised != 0


def test_of_two_that_fit_the_other_stays_a_stranger_s() -> None:
    world = OrderWorld(comment_replaced_by="")
    lost = lose(world, executed=True)
    ours = max(order.ticket for order in world.past())
    robot(world).open("EURUSD", BUY, 0.1)
    settle(world)
    world.reconciler.settle(lost.order_id, ours)
    world.sync(1)
    assert (world.status(lost), lost.ticket) == ("FILLED", ours)
    assert world.agrees()


@BOTH
def test_a_plan_that_was_looked_at_is_outdated_when_another_order_is_named_meanwhile(
    account: AccountSetup,
) -> None:
    """On a netting account both came to one position, so all else in the plan is the same."""
    world = OrderWorld(account, comment_replaced_by="")
    lost = lose(world, executed=True)
    ours = max(order.ticket for order in world.past())
    robot(world).open("EURUSD", BUY, 0.1)
    settle(world)
    world.reconciler.settle(lost.order_id, ours)
    looked_at = world.reconciler.plan()
    world.reconciler.settle(lost.order_id, max(order.ticket for order in world.past()))
    with pytest.raises(PlanOutdated):
        world.reconciler.apply(looked_at)
    assert world.status(lost) == "IN_DOUBT"
    world.reconciler.settle(lost.order_id, ours)
    world.reconciler.apply(looked_at)
    assert (world.status(lost), lost.ticket) == ("FILLED", ours)


def test_a_word_that_the_broker_contradicts_is_not_heard_and_does_not_last() -> None:
    world = OrderWorld()
    lost, ticket = doubtful(world)
    world.reconciler.settle(lost.order_id, ticket + 1)
    world.sync(1)
    assert world.status(lost) == "IN_DOUBT"
    assert world.reconciler.statements == {}


def test_a_word_waits_for_a_reading_that_is_believed() -> None:
    world = OrderWorld()
    lost, _ = doubtful(world)
    world.reconciler.settle(lost.order_id)
    world.lose_replies(2)
    world.sync(1)
    assert (world.status(lost), list(world.reconciler.statements)) == ("IN_DOUBT", [lost.order_id])
    world.sync(30)
    world.sync(30)
    assert (world.status(lost), world.reconciler.statements) == ("CANCELED", {})


def test_one_order_of_the_broker_s_is_not_two_of_ours() -> None:
    world = OrderWorld()
    first = world.pm.create_order(1, 1.1, 0.1)
    second = world.pm.create_order(1, 1.1, 0.1)
    assert first is not None
    assert second is not None
    for order in (first, second):
        world.pm.on_fill({"order_id": order.order_id, "status": "UNKNOWN"})
    world.reconciler.settle(first.order_id, 77)
    with pytest.raises(Refused, match=f"What was said of {first.order_id} waits"):
        world.reconciler.settle(second.order_id, 77)


def test_what_is_not_in_doubt_is_refused_and_named() -> None:
    world = OrderWorld(NETTING)
    done = world.pm.submit("buy", 0.1)
    with pytest.raises(Refused, match=f"{done.order_id} is FILLED, ticket {done.ticket}, not in"):
        world.reconciler.settle(done.order_id)
    with pytest.raises(Refused, match="The book has no order 'ORD_9'"):
        world.reconciler.settle("ORD_9")


def test_a_token_that_shows_later_halts_entries() -> None:
    """Case I: it was given up, and the broker has it."""
    world = OrderWorld()
    lost, _ = doubtful(world)
    world.reconciler.settle(lost.order_id)
    world.sync(1)
    robot(world).open("EURUSD", SELL, 0.1, comment=token_of(lost.order_id))
    world.sync(30)
    assert world.pm.book.halts
