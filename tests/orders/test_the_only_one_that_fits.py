"""An order whose answer was lost, and another program that trades the same under our magic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL
from tests.support.order_world import OrderWorld
from trueup.core.book.order import Order
from trueup.core.holds import HoldKind
from trueup.core.policy import GRACE_SEC
from trueup.core.tokens import begins, is_token, token_of
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.broker_side import BrokerSide
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import AnswerLost

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
ANOTHER_S = token_of("another bot's order")
# What a broker leaves of a token, and what then shows on an order of ours.
BROKERS: dict[str, dict[str, Any]] = {
    "keeps it": {},
    "empties it": {"comment_replaced_by": ""},
    "rewrites it": {"comment_replaced_by": "server 7"},
}


@pytest.fixture(autouse=True)
def _no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's own record would have the ticket, or know that there is none."""
    monkeypatch.setattr(OrderWorld, "keeps_record", False)


def lose(world: OrderWorld, executed: bool) -> Order:
    """Send an order whose answer is lost."""
    world.terminal.faults.next_send(AnswerLost(executed=executed, pipe_breaks=False))
    return world.pm.submit("buy", 0.1, magic=7)


def answered(world: OrderWorld, ago_sec: float = 600.0) -> None:
    """Let an order of ours be answered, and end: the broker shows what became of its token."""
    world.pm.close(world.pm.submit("buy", 0.1, magic=7))
    world.sync()
    world.wait(ago_sec)
    world.quote(1.10000)


def robot(world: OrderWorld) -> Person:
    """Another program under our magic number."""
    return Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)


def settle(world: OrderWorld) -> None:
    """Sync until long past the grace period."""
    for _ in range(5):
        world.sync(GRACE_SEC / 2 + 1)


def nobodys(world: OrderWorld, order: Order, *tickets: int) -> None:
    """Check that the order is left to a person, with what fits, and that nothing is lost by it."""
    assert world.status(order) == "IN_DOUBT"
    reason = world.hold(HoldKind.DOUBT).reason
    assert all(f"order {ticket}" in reason for ticket in tickets)
    assert "on_fill()" in reason
    assert world.pm.entries_refused()
    assert world.agrees()


@BOTH
@pytest.mark.parametrize("comment", ["", "my other robot", f"XX-{ANOTHER_S}", ANOTHER_S[:8]])
def test_another_program_s_order_is_never_taken_where_the_broker_keeps_comments(
    account: AccountSetup, comment: str
) -> None:
    world = OrderWorld(account)
    answered(world)
    lost = lose(world, executed=False)
    ticket = robot(world).open("EURUSD", BUY, 0.1, comment=comment)
    settle(world)
    order = next(one for one in world.past() if one.comment == comment)
    nobodys(world, lost, order.ticket)
    assert f"fits order {order.ticket}, and nothing shows that this is ours" in (
        world.hold(HoldKind.DOUBT).reason
    )
    assert ticket


@BOTH
@pytest.mark.parametrize("broker", ["keeps it", "empties it"])
def test_an_order_with_another_bot_s_token_is_another_s_and_holds_nothing_up(
    account: AccountSetup, broker: str
) -> None:
    world = OrderWorld(account, **BROKERS[broker])
    answered(world)
    world.terminal.switches.comment_replaced_by = None
    lost = lose(world, executed=False)
    robot(world).open("EURUSD", BUY, 0.1, comment=ANOTHER_S)
    settle(world)
    assert world.status(lost) == "CANCELED"
    assert world.agrees()


@pytest.mark.parametrize("comment", ["", "my other robot", "server"])
def test_where_the_broker_writes_something_else_on_ours_other_words_are_not_ours(
    comment: str,
) -> None:
    world = OrderWorld(comment_replaced_by="server 7")
    answered(world)
    world.terminal.switches.comment_replaced_by = None
    lost = lose(world, executed=False)
    ticket = robot(world).open("EURUSD", BUY, 0.1, comment=comment)
    settle(world)
    nobodys(world, lost, ticket)


@BOTH
@pytest.mark.parametrize("broker", ["empties it", "rewrites it"])
@pytest.mark.parametrize("seen", ["never", "three days ago", "an hour ago", "open now"])
def test_a_lost_order_without_its_token_is_ours_where_an_answered_one_lost_its_own(
    account: AccountSetup, broker: str, seen: str
) -> None:
    world = OrderWorld(account, **BROKERS[broker])
    if seen.endswith("ago"):
        answered(world, 3_600 if seen == "an hour ago" else 3 * 86_400)
    elif seen == "open now":
        world.pm.submit("buy", 0.2, magic=7)
        world.wait(2 * 86_400)
        world.quote(1.10000)
        world.sync()
    lost = lose(world, executed=True)
    settle(world)
    is_shown = seen == "an hour ago" or (seen == "open now" and account is HEDGING)
    if not is_shown:
        nobodys(world, lost, max(order.ticket for order in world.past()))
        return
    assert world.status(lost) == "FILLED"
    assert "the only order that fits" in world.settled_by(lost)
    assert world.agrees()


def test_numbers_in_what_a_broker_writes_may_differ() -> None:
    world = OrderWorld(comment_replaced_by="by server 7, 12:00")
    answered(world)
    world.terminal.switches.comment_replaced_by = "by server 11, 9:30"
    lost = lose(world, executed=True)
    settle(world)
    assert world.status(lost) == "FILLED"


def test_a_position_that_was_in_the_book_before_is_not_the_lost_order() -> None:
    """Though it was opened within the minute by which two clocks may be apart."""
    world = OrderWorld(comment_replaced_by="")
    answered(world)
    ticket = robot(world).open("EURUSD", BUY, 0.1)
    world.sync(1)
    lost = lose(world, executed=False)
    settle(world)
    assert world.status(lost) == "CANCELED"
    assert world.tickets() == {ticket}


def summer_time_begins(world: OrderWorld) -> None:
    world.terminal.switches.server_offset_minutes += 60
    world.wait(1)
    world.quote(1.10000)


@BOTH
@pytest.mark.parametrize("broker", ["empties it", "rewrites it"])
@pytest.mark.parametrize("dies", [False, True])
def test_an_executed_order_is_not_given_up_when_summer_time_begins(
    account: AccountSetup, broker: str, dies: bool
) -> None:
    """Its broker dated it by the clock of before, which seems an hour before it left."""
    world = OrderWorld(account, **BROKERS[broker])
    answered(world)
    world.sync()
    lost = lose(world, executed=True)
    summer_time_begins(world)
    if dies:
        world.restart()
    settle(world)
    assert world.status(lost) == "FILLED"
    assert world.agrees()


@BOTH
def test_where_nothing_shows_that_it_is_ours_it_stays_in_doubt_when_summer_time_begins(
    account: AccountSetup,
) -> None:
    world = OrderWorld(account, comment_replaced_by="")
    lost = lose(world, executed=True)
    summer_time_begins(world)
    settle(world)
    nobodys(world, lost, max(order.ticket for order in world.past()))


def came_and_went(world: OrderWorld, ago_sec: float) -> int:
    """Let another program trade what the book never sees; return its opening order."""
    other = robot(world)
    ticket = other.open("EURUSD", BUY, 0.1)
    other.close(ticket)
    world.wait(ago_sec)
    world.quote(1.10000)
    return ticket


@pytest.mark.parametrize("summer_time", [False, True])
def test_what_is_older_by_the_clock_of_then_holds_nothing_up(summer_time: bool) -> None:
    world = OrderWorld(comment_replaced_by="")
    answered(world)
    came_and_went(world, 600)
    world.sync()
    lost = lose(world, executed=False)
    if summer_time:
        summer_time_begins(world)
    settle(world)
    assert world.status(lost) == "CANCELED"
    assert world.agrees()


@pytest.mark.parametrize("ago_sec", [600, 4_200])
def test_where_nobody_knew_the_clock_of_then_an_hour_s_older_order_may_be_ours(
    ago_sec: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a person's to say; before that hour, no change of the clock explains it."""
    # As in a journal of an earlier release: an entry waits for a reading, which tells the clock.
    monkeypatch.setattr(BrokerSide, "server_time_msc", 0)
    monkeypatch.setattr(BrokerSide, "time_offset_sec", None)
    world = OrderWorld(comment_replaced_by="")
    answered(world)
    ticket = came_and_went(world, ago_sec)
    lost = lose(world, executed=False)
    settle(world)
    if ago_sec == 600:
        nobodys(world, lost, ticket)
    else:
        assert world.status(lost) == "CANCELED"


@pytest.mark.parametrize("order_is_first", [True, False])
def test_a_position_that_has_gone_before_is_not_the_lost_order(order_is_first: bool) -> None:
    world = OrderWorld(comment_replaced_by="")
    answered(world)
    lost = lose(world, executed=False) if order_is_first else None
    other = robot(world)
    ticket = other.open("EURUSD", BUY, 0.1)
    if not order_is_first:
        world.sync(1)
    other.close(ticket)
    if lost is None:
        world.sync(1)
        lost = lose(world, executed=False)
    settle(world)
    # In the first case it is as if ours had come and gone: the broker shows the very same.
    assert world.status(lost) == ("FILLED" if order_is_first else "CANCELED")


@pytest.mark.parametrize("comment", ["", "my other robot", ANOTHER_S])
@BOTH
def test_a_close_of_the_very_position_needs_no_more_where_positions_are_not_shared(
    account: AccountSetup, comment: str
) -> None:
    world = OrderWorld(account)
    opened = world.pm.submit("buy", 0.3, magic=7)
    world.sync(60)
    world.quote(1.10000)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    closing = world.pm.close(opened, 0.1)
    robot(world).request(
        action=mt5.TRADE_ACTION_DEAL,
        symbol="EURUSD",
        type=SELL,
        volume=0.1,
        price=1.1,
        type_filling=mt5.ORDER_FILLING_IOC,
        position=opened.ticket if account is HEDGING else 0,
        comment=comment,
    )
    settle(world)
    if comment == ANOTHER_S:
        assert world.status(closing) == "CANCELED"
    elif comment or account is NETTING:
        nobodys(world, closing, max(order.ticket for order in world.past()))
    else:
        assert world.status(closing) == "FILLED"
    assert world.agrees()


def test_what_a_person_says_ends_it() -> None:
    world = OrderWorld()
    lost = lose(world, executed=False)
    ticket = robot(world).open("EURUSD", BUY, 0.1)
    settle(world)
    nobodys(world, lost, ticket)
    answer = {"order_id": lost.order_id, "status": "CANCELED", "error": "that one is not ours"}
    assert world.pm.on_fill(answer)
    world.sync()
    assert world.reconciler.holds == ()
    assert not world.pm.entries_refused()
    assert world.agrees()


def test_what_is_a_token_and_what_begins_one() -> None:
    token = token_of("ORD_1")
    assert is_token(token)
    assert not any(map(is_token, ("", token[:8], token + "a", "T" + token[1:], "t12345678")))
    assert begins(token[:4], token)
    assert begins(token, token)
    assert not any(begins(cut, token) for cut in ("", token[:3], token[1:5], token + "x"))
    # Only a token is recognised by its beginning: an order's own id may begin like many others.
    assert not begins("ORD_", "ORD_1_abcd")
