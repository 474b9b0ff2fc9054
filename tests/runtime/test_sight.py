"""Nothing is opened before the broker was seen; a book without a gateway is a ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support import make
from tests.support.desk_world import BUY
from tests.support.order_world import OrderWorld
from trueup.core.account.trust import Bound
from trueup.errors import JournalError, Refused
from trueup.runtime.bot.order_checks import Wish
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.sight import Sight
from trueup.runtime.sync.reconciler import StateReconciler

OFFLINE = {"status": "FAILED", "positions": [], "error": "no terminal"}


class Gateway:
    """A gateway object that lists what it is told to, and fills what it is sent."""

    def __init__(self, *rows: dict[str, Any], reply: object = None) -> None:
        self.reply = make.reply(*rows) if reply is None else reply
        self.sent: list[dict[str, Any]] = []

    def get_positions(self) -> object:
        return self.reply

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self.sent.append(dict(order))
        return make.filling(str(order["order_id"]), 100 + len(self.sent))


class Taker:
    """A gateway that takes orders and cannot be read."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self.sent.append(dict(order))
        return make.filling(str(order["order_id"]), 900 + len(self.sent))


def opens(pm: PortfolioManager) -> bool:
    """Whether an entry passes, by every door; nothing is left behind."""
    passes = pm.check_risk(1)
    assert passes == pm.check_risk(-1) == (not pm.entries_refused())
    if not passes:
        assert pm.create_order(1, 1.0543) is None
        wishes: tuple[Wish, ...] = ({}, {"limit": 1.0}, {"stop": 1.1})
        for wish in wishes:
            with pytest.raises(Refused, match="No entry: refused: no reading of the broker"):
                pm.submit("buy", 0.01, **wish)
        assert not pm.orders
    return passes


def test_a_book_alone_is_a_ledger_and_opens_what_the_guide_says() -> None:
    pm = make.portfolio()
    assert pm.check_risk(1)
    assert pm.create_order(1, 1.0543) is not None


@pytest.mark.parametrize("belongs_by", ["a reconciler", "a gateway"])
@pytest.mark.parametrize("has_journal", [True, False])
def test_a_book_with_a_gateway_opens_nothing_before_a_reading_was_believed(
    belongs_by: str, has_journal: bool
) -> None:
    pm = make.portfolio(make.RefusingJournal() if has_journal else None)
    gateway = Gateway()
    if belongs_by == "a gateway":
        pm.desk.gateway = gateway
    else:
        StateReconciler(pm, gateway)
    assert not opens(pm)
    assert gateway.sent == []
    StateReconciler(pm, gateway).sync_positions()
    assert opens(pm)


@pytest.mark.parametrize("startup", [True, False], ids=["startup_recovery", "sync_continuous"])
def test_what_was_not_believed_opens_nothing_and_says_why(startup: bool) -> None:
    pm, gateway = make.portfolio(), Gateway(reply=OFFLINE)
    reconciler = StateReconciler(pm, gateway)
    result = reconciler.startup_recovery() if startup else reconciler.sync_continuous()
    assert result is not None
    assert result.status.value == "DEGRADED"
    assert not opens(pm)
    assert "no terminal" in pm.entries_refused()
    gateway.reply = make.reply()
    make.clock_of(pm).advance(60)
    reconciler.sync_continuous()
    assert opens(pm)


def test_what_the_journal_did_not_take_was_not_seen() -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    reconciler = StateReconciler(pm, Gateway(make.row()))
    journal.refuse = JournalError("the disk is full")
    assert reconciler.startup_recovery().status.value == "FAILED"
    assert pm.entries_refused()
    journal.refuse = None
    reconciler.sync_positions()
    assert not pm.entries_refused()


def test_looking_without_taking_over_is_not_enough() -> None:
    """The book knows no more than before."""
    pm = make.portfolio()
    reconciler = StateReconciler(pm, Gateway(make.row()))
    assert "Zombie" in str(reconciler.detect_drift())
    assert reconciler.plan().events
    assert not opens(pm)


def test_what_is_known_may_be_closed_before_the_broker_was_seen() -> None:
    world = OrderWorld()
    ticket = world.pm.submit("buy", 0.2).ticket
    world.pm.submit("sell", 0.1, limit=1.2)
    world.sync()
    world.restart()
    assert not world.pm.check_risk(1)
    assert world.pm.check_risk(-1)
    assert world.pm.close(ticket, 0.1).status.value == "FILLED"
    assert world.pm.modify(ticket, 1.05, 0.0).status.value == "FILLED"
    assert world.pm.cancel(next(iter(world.pm.book.pending))).status.value == "FILLED"
    order = world.pm.create_order(-1, 1.1, 0.1)
    assert order is not None
    assert order.position == ticket


def test_a_close_that_would_open_the_rest_waits_too() -> None:
    pm = make.portfolio()
    pm.force_add_position(make.row(5, volume=0.02))
    StateReconciler(pm, Gateway(make.row(5, volume=0.02)))
    assert pm.create_order(-1, 1.0543, 0.05) is None
    assert pm.create_order(-1, 1.0543, 0.02) is not None


# What makes it begin anew.


def seen() -> tuple[PortfolioManager, StateReconciler, Gateway]:
    pm, gateway = make.portfolio(), Gateway()
    reconciler = StateReconciler(pm, gateway)
    reconciler.startup_recovery()
    assert opens(pm)
    return pm, reconciler, gateway


def test_a_second_reconciler_of_the_same_gateway_changes_nothing() -> None:
    pm, _, gateway = seen()
    StateReconciler(pm, gateway)
    assert opens(pm)


def test_a_reconciler_of_another_gateway_begins_anew() -> None:
    pm, first, _ = seen()
    second = StateReconciler(pm, Gateway(make.row(7)))
    assert not opens(pm)
    first.sync_positions()
    assert not opens(pm)
    second.sync_positions()
    assert not pm.entries_refused()


def test_a_gateway_that_was_swapped_begins_anew() -> None:
    pm, first, gateway = seen()
    pm.desk.gateway = other = Gateway()
    assert not opens(pm)
    assert "since its gateway was changed" in pm.entries_refused()
    # Nobody reads the new one, which takes the orders from now on.
    first.sync_positions()
    assert opens(pm)
    StateReconciler(pm, other)
    assert opens(pm)
    pm.desk.gateway = gateway
    assert not opens(pm)


def test_the_same_gateway_again_is_no_swap() -> None:
    pm, _, gateway = seen()
    pm.desk.gateway = gateway
    assert opens(pm)


def test_a_gateway_that_only_takes_orders_is_seen_through_the_one_that_is_read() -> None:
    pm, reader = make.portfolio(), Gateway()
    pm.desk.gateway = taker = Taker()
    reconciler = StateReconciler(pm, reader)
    assert not opens(pm)
    reconciler.sync_positions()
    assert pm.submit("buy", 0.01).ticket == 901
    assert (len(taker.sent), reader.sent) == (1, [])


def test_a_book_that_is_bound_to_another_account_begins_anew() -> None:
    world = OrderWorld()
    assert not world.pm.entries_refused()
    world.tamper(*[_another_account] * 3)
    world.sync()
    assert "logged in to 9@Elsewhere" in world.pm.entries_refused()
    world.heal_wire()
    world.tamper(_another_account)
    bound = world.reconciler.bind_to_terminal_account()
    # The reading after the binding is of the first account again: a wrong one now.
    assert bound.status.value == "FAILED"
    assert world.pm.entries_refused()


def test_a_rebound_book_opens_nothing_before_its_new_account_was_seen() -> None:
    """What was seen of the old account says nothing of the new one, and no reading came yet."""
    world = OrderWorld()
    world.tamper(_another_account, *[dict.clear] * 9)
    assert world.reconciler.bind_to_terminal_account().status.value != "SUCCESS"
    assert world.pm.book.bound == Bound(9, "Elsewhere")
    assert "believed since the book was bound to its account" in world.pm.entries_refused()
    assert not world.pm.check_risk(1)


def _another_account(reply: dict[str, Any]) -> None:
    reply["account"] |= {"login": 9, "server": "Elsewhere"}


def test_after_a_restart_nothing_is_opened_until_the_broker_was_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = OrderWorld()
    world.person.open("EURUSD", BUY, 0.1)
    world.restart()
    caplog.set_level(logging.WARNING)
    assert not world.pm.check_risk(1)
    assert "[RISK] BLOCKED: BUY refused: no reading of the broker has been believed yet" in (
        caplog.text
    )
    with pytest.raises(Refused):
        world.pm.submit("buy", 0.1)
    assert world.sent() == []
    world.sync()
    assert not world.pm.check_risk(1)  # long: the guide's rule
    assert not world.pm.entries_refused()


@pytest.mark.parametrize(
    ("story", "may_open"),
    [
        (lambda s: None, True),
        (lambda s: s.sends("a"), False),
        (lambda s: s.reads("a"), False),
        (lambda s: (s.reads("a"), s.believed("a")), True),
        (lambda s: (s.sends("a"), s.reads("b"), s.believed("b")), True),
        (lambda s: (s.sends("a"), s.reads("a"), s.reads("b"), s.believed("b")), False),
        (lambda s: (s.reads("a"), s.believed("a"), s.sends("b")), False),
        (lambda s: (s.reads("a"), s.believed("a"), s.sends("b"), s.believed("a")), True),
        (lambda s: (s.reads("a"), s.believed("a"), s.reads("b"), s.reads("a")), False),
        (lambda s: (s.reads("a"), s.believed("a"), s.forget()), False),
        (lambda s: (s.sends("a"), s.reads("a"), s.believed("a"), s.sends(None)), True),
    ],
)
def test_which_gateways_have_to_be_seen(story: Callable[[Sight], object], may_open: bool) -> None:
    sight = Sight()
    story(sight)
    assert (not sight.why_not) == may_open
