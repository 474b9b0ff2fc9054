"""A desk that checks orders: the refusals of the order desk, and nothing recorded or sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.modes.test_modes_at_the_desk import EACH, at_work
from tests.support.account_world import AccountWorld
from tests.support.desk_world import HEDGING
from tests.support.order_world import ChoosyJournal, OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.limits.limits import Limits
from trueup.errors import NotSent, OutcomeNotRecorded, Paused, Refused
from trueup.runtime.bot.checking_desk import CheckingDesk
from trueup.runtime.bot.portfolio import PortfolioManager


def checking(world: OrderWorld) -> CheckingDesk:
    return CheckingDesk.beside(world.pm.desk)


@pytest.mark.parametrize("ask", EACH)
def test_each_order_is_returned_as_the_desk_would_record_it(ask: str) -> None:
    world, ticket, order = at_work()
    before, sent, ids = world.pm.book.version, len(world.sent()), world.pm.order_counter
    desk: Any = checking(world)
    checked = EACH[ask](desk, ticket, order)
    assert (checked.order_id, checked.status) == ("", OrderStatus.PENDING)
    assert world.pm.book.version == before
    assert (len(world.sent()), world.pm.order_counter) == (sent, ids)
    made = EACH[ask](world.pm, ticket, order)
    for name in ("symbol", "action", "volume", "kind", "position", "target", "sl", "tp", "magic"):
        assert getattr(checked, name) == getattr(made, name), name


def test_what_the_desk_refuses_is_refused() -> None:
    world, ticket, _ = at_work()
    desk = checking(world)
    with pytest.raises(ValueError, match=r"steps of 0.01 lots; give 0.01 or 0.02"):
        desk.submit("buy", 0.015)
    with pytest.raises(ValueError, match="the book's symbols are EURUSD"):
        desk.submit("buy", 0.1, symbol="GBPUSD")
    with pytest.raises(ValueError, match=r"has 0\.30 lots"):
        desk.close(ticket, 0.4)
    with pytest.raises(ValueError, match="No position with ticket 99 in the book"):
        desk.close(99)
    world.pm.pause("Ada")
    with pytest.raises(Paused):
        desk.submit("buy", 0.1)
    world.pm.resume("Ada")
    world.pm.desk.gateway = None
    with pytest.raises(NotSent):
        desk.submit("buy", 0.1)


def test_a_risk_limit_refuses(tmp_path: Path) -> None:
    world = AccountWorld(tmp_path, HEDGING)
    with world.account(limits=Limits(lots=0.2)) as account:
        account.sync()
        desk = CheckingDesk.beside(account.manager.desk)
        assert desk.submit("buy", 0.2, symbol="EURUSD").volume == 0.2
        with pytest.raises(Refused, match="No entry: refused by a risk limit"):
            desk.submit("buy", 0.3, symbol="EURUSD")
    world.end()


def test_a_repeated_key_returns_the_first_order_and_refuses_other_terms() -> None:
    world = OrderWorld(HEDGING)
    first = world.pm.submit("buy", 0.1, key="mcp:a")
    assert checking(world).submit("buy", 0.1, key="mcp:a") is first
    with pytest.raises(Refused, match="was used for"):
        checking(world).submit("buy", 0.2, key="mcp:a")


def test_a_check_leaves_an_owed_outcome_to_the_one_who_asked() -> None:
    """A strategy that got an error asks again, and must still be told of its first order."""
    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    journal.refuses = (events.OrderFilled,)
    with pytest.raises(OutcomeNotRecorded):
        world.pm.submit("buy", 0.1)
    journal.refuses = ()
    with pytest.raises(Refused, match="its outcome is not in the journal yet"):
        checking(world).submit("buy", 0.1)
    with pytest.raises(Refused, match="was sent before"):
        world.pm.submit("buy", 0.1)
    assert len(world.sent()) == 1


# An assistant has the rights of a strategy, whatever it names.

NAMED: dict[str, Callable[[PortfolioManager, int, int, str], Any]] = {
    "submit": lambda pm, ticket, order, who: pm.submit("buy", 0.1, who=who),
    "close": lambda pm, ticket, order, who: pm.close(ticket, 0.1, who=who),
    "modify": lambda pm, ticket, order, who: pm.modify(ticket, 1.05, 1.2, who=who),
    "modify order": lambda pm, ticket, order, who: pm.modify_order(order, price=1.04, who=who),
    "cancel": lambda pm, ticket, order, who: pm.cancel(order, who=who),
}


@pytest.mark.parametrize("ask", NAMED)
def test_every_order_has_the_name_of_the_one_who_asked(ask: str) -> None:
    world, ticket, order = at_work()
    made = NAMED[ask](world.pm, ticket, order, "mcp:ada/desk")
    assert (made.by, made.status) == ("mcp:ada/desk", OrderStatus.FILLED)


@pytest.mark.parametrize("ask", NAMED)
def test_a_pause_refuses_each_order_of_an_assistant(ask: str) -> None:
    world, ticket, order = at_work()
    world.pm.pause("Ada")
    for who in ("mcp:ada/desk", " MCP:ada"):
        with pytest.raises(Paused):
            NAMED[ask](world.pm, ticket, order, who)
