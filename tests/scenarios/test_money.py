"""The realised result is the broker's to the cent, for everything that came from an order of ours.

Each test has a bot with a journal, a simulated broker and everything between them; what is right is
read off the broker's own ledger.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.money.stories import as_before
from tests.support.desk_world import BUY, COSTLY, HEDGING, NETTING, SELL, DeskWorld, figures
from tests.support.order_world import OrderWorld
from trueup.core.book.order import Order
from trueup.core.holds import HoldKind
from trueup.core.policy import Policy
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.sync.reconciler import SyncResult, SyncStatus
from trueup.sim.market.symbols import AccountSetup

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
DEARER = dataclasses.replace(COSTLY, name="EURUSD_DEC")


class MoneyWorld(OrderWorld):
    """A bot whose symbol costs something at both ends of a trade.

    `is_old` says that the gateway is one that does not know the newer fields of a snapshot.
    """

    def __init__(self, account: AccountSetup = HEDGING, **more: Any) -> None:
        self.is_old = more.pop("is_old", False)
        super().__init__(account, specs=(COSTLY, DEARER), **more)
        self.terminal.quote(DEARER.name, 1.2, 1.2001)

    def _carry(self, message: bytes) -> bytes | None:
        reply = super()._carry(message)
        if not self.is_old or reply is None or b'"SNAPSHOT"' not in message:
            return reply
        return json.dumps(as_before(json.loads(reply))).encode()

    def due(self) -> float:
        """The broker's result of all positions that there ever were."""
        return self.realised({d.position_id for d in self.ledger.deals.values()} - {0})

    def is_right(self) -> None:
        """Check that the book has the broker's result, and that nothing is still to come."""
        assert self.pm.realised == pytest.approx(self.due(), abs=1e-9)
        book = self.pm.book
        assert (book.unbooked, book.unexplained, book.missing, book.ending) == ({}, {}, {}, {})
        assert self.reconciler.holds == ()
        assert self.restrictions == ()
        assert self.reconciler.health.startswith("Everything agrees")

    @property
    def nets(self) -> bool:
        """Whether the account has one position for each symbol."""
        return self.ledger.setup.is_netting

    def audit(self) -> str:
        """What the audit trail says, all of it."""
        return "\n".join(str(e["details"]) for e in self.reconciler.get_audit_trail())

    def limit(self, volume: float = 0.5, price: float = 1.0950, **levels: float) -> Order:
        """Place a pending order of ours to buy."""
        wish: dict[str, Any] = {"limit": price, "magic": 7, **levels}
        return self.pm.submit("buy", volume, **wish)

    def newest(self) -> int:
        """The ticket of the newest trade."""
        return max(d.ticket for d in self.ledger.deals.values() if d.type in (BUY, SELL))


# A pending order that is filled and closed between two looks.


def look(world: MoneyWorld) -> SyncResult:
    return world.sync()


def turn(world: MoneyWorld) -> SyncResult:
    world.requote()
    results = world.turn(16)
    return next(result for result in results if result.explanations)


def come_back(world: MoneyWorld) -> SyncResult:
    """The process was dead meanwhile, and starts on its journal."""
    world.wait(2)
    world.restart()
    world.requote()
    return world.reconciler.startup_recovery()


WAYS = pytest.mark.parametrize("way", [look, turn, come_back])


@BOTH
@WAYS
@pytest.mark.parametrize("is_old", [False, True], ids=["", "old gateway"])
def test_a_pending_order_that_was_filled_and_stopped_out_unseen(
    account: AccountSetup, way: Callable[[MoneyWorld], SyncResult], is_old: bool
) -> None:
    world = MoneyWorld(account, is_old=is_old)
    order = world.limit(sl=1.0900)
    world.sync()
    world.quote(1.0940)
    world.quote(1.0890)
    result = way(world)
    assert figures(result)[:3] == ("SUCCESS", 1, 1)
    (said,) = (line for line in result.explanations if "closed" in line)
    assert said.startswith(
        f"Ticket {order.ticket}: opened and closed between two readings: closed by its stop loss: "
        "0.50 lots at 1.089, profit "
    )
    assert said.endswith("server time (case K)")
    assert world.due() < -250
    world.is_right()
    assert world.actions()[-3:] == ["ORDER", "RECOVERY", "CLOSED"]
    world.restart()
    world.sync()
    world.is_right()


@BOTH
@WAYS
def test_several_at_once(account: AccountSetup, way: Callable[[MoneyWorld], SyncResult]) -> None:
    world = MoneyWorld(account)
    for price in (1.0950, 1.0940, 1.0930):
        world.limit(0.1, price, sl=1.0900, tp=1.1100)
    world.sync()
    world.quote(1.0945)
    world.quote(1.0925)
    world.quote(1.0890)
    way(world)
    world.sync()
    assert world.ledger.positions == {}
    world.is_right()


@BOTH
def test_its_deals_come_later_than_the_lists(account: AccountSetup) -> None:
    world = MoneyWorld(account, deal_lag_ms=30_000, order_history_lag_ms=5_000)
    world.limit(sl=1.0900)
    world.sync()
    world.quote(1.0940)
    world.quote(1.0890)
    world.sync()
    assert [hold.kind for hold in world.reconciler.holds] == [HoldKind.MISSING]
    world.sync(10)
    assert world.reconciler.holds == ()
    assert world.pm.book.unbooked
    world.sync(30)
    world.is_right()


@BOTH
@pytest.mark.parametrize("is_old", [False, True], ids=["", "old gateway"])
@pytest.mark.parametrize("is_cancelled", ["", "by hand", "by us", "by us at once"])
def test_a_part_that_was_filled_and_stopped_out_counts_whatever_became_of_the_rest(
    account: AccountSetup, is_old: bool, is_cancelled: str
) -> None:
    world = MoneyWorld(account, is_old=is_old)
    order = world.limit(sl=1.0900)
    world.sync()
    world.terminal.broker.supply("EURUSD", 0.2)
    world.quote(1.0940)
    world.quote(1.0890)
    if is_cancelled == "by hand":
        world.person.cancel(order.ticket or 0)
    elif is_cancelled:
        if is_cancelled == "by us":
            world.sync()
        world.pm.cancel(order)
    for _ in range(2):
        world.sync()
    assert world.ledger.positions == {}
    assert bool(world.ledger.orders) is (not is_cancelled)
    world.is_right()
    if not is_cancelled:
        # The rest is filled: a position of the same ticket, that ends as well.
        world.terminal.broker.supply("EURUSD", None)
        world.requote()
        world.quote(1.0880)
        world.sync()
        world.sync()
        world.is_right()


@BOTH
def test_one_that_never_was_filled_leaves_no_word(account: AccountSetup) -> None:
    world = MoneyWorld(account)
    world.pm.cancel(world.limit())
    assert world.reconciler.detect_drift() is None
    for _ in range(2):
        assert world.sync().orders == []
    assert world.actions() == []
    world.is_right()


@BOTH
def test_one_whose_answer_was_lost_is_counted_too(account: AccountSetup) -> None:
    world = MoneyWorld(account)
    world.lose_replies(1)
    order = world.limit(sl=1.0900)
    assert order.status.value == "IN_DOUBT"
    world.quote(1.0940)
    world.quote(1.0890)
    world.restart()
    for _ in range(3):
        world.sync(6)
    world.is_right()


# Market orders whose position no look ever showed.


@WAYS
def test_a_second_entry_after_a_hand_closed_the_first(
    way: Callable[[MoneyWorld], SyncResult],
) -> None:
    world = MoneyWorld(NETTING)
    first = world.pm.submit("buy", 0.2)
    world.sync()
    world.person.close(first.ticket or 0)
    world.quote(1.1010)
    second = world.pm.submit("buy", 0.1)
    assert {p.identifier for p in world.ledger.positions.values()} == {second.ticket}
    world.person.close(second.ticket or 0)
    result = way(world)
    assert any(f"Ticket {second.ticket}: opened and closed" in s for s in result.explanations)
    world.is_right()


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_reversal_of_what_a_hand_had_turned_already(is_closed: bool) -> None:
    world = MoneyWorld(NETTING)
    world.pm.submit("buy", 0.2)
    world.sync()
    world.person.open("EURUSD", SELL, 0.5)
    world.quote(1.1010)
    world.pm.submit("sell", 0.3)
    if is_closed:
        world.person.close_all()
    world.sync()
    world.sync()
    assert world.book() == world.rows()
    world.is_right()


def test_an_entry_that_went_into_a_hands_position_which_has_gone_since() -> None:
    world = MoneyWorld(NETTING)
    world.person.open("EURUSD", BUY, 0.3)
    world.pm.submit("buy", 0.1)
    world.person.close_all()
    world.sync()
    world.sync()
    world.is_right()


@BOTH
def test_positions_of_others_that_come_and_go_between_two_looks_are_not_counted(
    account: AccountSetup,
) -> None:
    world = MoneyWorld(account)
    world.person.close(world.person.open("EURUSD", BUY, 0.3))
    world.sync()
    assert world.pm.realised == 0.0
    assert world.due() < 0.0


# What a broker changes after the trade.


def test_a_commission_that_is_charged_late(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.5)
    world.sync()
    login, broker = world.person.login, world.terminal.broker
    broker.charge_commission(login, world.newest(), -1.75)
    said = world.sync(15).explanations
    assert said == [
        f"Ticket {order.ticket}: the broker changed deal {world.newest()}: result -1.87 → -3.62 "
        "(now commission -3.62)"
    ]
    world.is_right()
    (line,) = (r for r in caplog.records if "the broker changed" in r.getMessage())
    assert (line.levelno, line.getMessage()) == (logging.WARNING, f"[EXPLAINED] {said[0]}")
    assert "the broker changed deal" in world.audit()
    # And on the exit, when the position is long gone.
    world.pm.close(order.ticket)
    world.sync()
    world.sync(3_000)
    broker.charge_commission(login, world.newest(), -0.5)
    for _ in range(2):
        world.sync(15)
    world.is_right()
    world.restart()
    world.sync()
    world.is_right()


@pytest.mark.parametrize("is_open", [True, False])
def test_what_was_changed_while_we_were_away(is_open: bool) -> None:
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.5)
    world.sync()
    if not is_open:
        world.pm.close(order.ticket)
        world.sync()
    world.terminal.broker.charge_commission(world.person.login, world.newest(), -1.75)
    world.wait(600)
    world.restart()
    world.sync()
    world.is_right()


@BOTH
def test_a_deal_that_is_amended_is_followed_by_its_next_look_and_for_a_day(
    account: AccountSetup,
) -> None:
    world = MoneyWorld(account)
    order = world.pm.submit("buy", 0.5)
    world.sync()
    world.quote(1.1050)
    world.pm.close(order.ticket)
    world.sync()
    broker, login = world.terminal.broker, world.person.login
    for after_sec in (15, 300, 3_600, 43_200, 40_000):
        before = world.ledger.deals[world.newest()]
        world.wait(after_sec)
        broker.amend_deal(login, before.ticket, price=1.1040, profit=before.profit - 12.5)
        # The balance moved by nothing that was counted, so it is looked for at once.
        world.sync()
        world.is_right()
    world.wait(86_401)
    world.sync()
    world.requests.clear()
    broker.amend_deal(login, world.newest(), profit=0.0)
    world.sync()
    assert world.pm.realised != world.due()


def test_a_change_that_the_balance_does_not_show_is_found_by_and_by() -> None:
    """A position without deals that count since: the balance is changed by the same amount."""
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.5)
    world.sync()
    world.pm.close(order.ticket)
    world.sync()
    world.sync(60)
    world.terminal.broker.charge_commission(world.person.login, world.newest(), -1.75)
    world.terminal.broker.balance_operation(world.person.login, mt5.DEAL_TYPE_BALANCE, 1.75)
    world.requests.clear()
    world.sync(1)
    assert len(world.requests) == 1
    world.sync(15)
    world.is_right()


def test_the_longer_ago_the_less_often_it_is_compared() -> None:
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.5)
    world.sync()
    world.pm.close(order.ticket)
    world.sync()
    asked = []
    for _ in range(4 * 60 * 24):
        world.requests.clear()
        world.sync(15)
        asked.append(sum(b'"explain"' in request for request in world.requests))
    assert asked[:8] == [1] * 8
    assert 1 <= sum(asked[240:280]) <= 3
    assert sum(asked[4 * 60 * 6 : 4 * 60 * 24]) == pytest.approx(18 * 4, abs=3)
    for _ in range(80):
        world.requests.clear()
        world.sync(15)
    assert not any(b'"explain"' in request for request in world.requests)


@BOTH
@pytest.mark.parametrize("after_ms", [None, 0, 30_000])
def test_an_exit_that_the_broker_cancels_gives_the_position_back(
    account: AccountSetup, after_ms: int | None
) -> None:
    world = MoneyWorld(account)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    held = world.ledger.positions[order.ticket or 0]
    world.quote(1.1051)
    world.pm.close(order.ticket)
    world.sync()
    world.wait(60)
    world.terminal.broker.cancel_deal(world.person.login, world.newest(), after_ms)
    world.ledger.put_position(held)
    for _ in range(3):
        world.sync(30)
    assert world.book() == world.rows()
    assert "the broker cancelled deal" in world.audit()
    world.is_right()


@BOTH
def test_an_entry_that_the_broker_cancels_takes_the_position_away(account: AccountSetup) -> None:
    world = MoneyWorld(account)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.broker.cancel_deal(world.person.login, world.newest())
    world.ledger.drop_position(order.ticket or 0)
    result = world.sync(15)
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    assert "the broker cancelled deal" in result.explanations[0]
    world.is_right()
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_an_addition_that_the_broker_cancels_leaves_what_was_there() -> None:
    world = MoneyWorld(NETTING)
    first = world.pm.submit("buy", 0.2)
    world.sync()
    before = world.ledger.positions[first.ticket or 0]
    world.quote(1.1020)
    world.pm.submit("buy", 0.1)
    world.sync()
    world.wait(60)
    world.terminal.broker.cancel_deal(world.person.login, world.newest())
    world.ledger.put_position(before)
    world.sync()
    assert world.book() == world.rows()
    assert "the broker cancelled deal" in world.audit()
    world.is_right()


# Money without a trade.


@BOTH
@pytest.mark.parametrize("reopens", [True, False])
def test_variation_margin(account: AccountSetup, reopens: bool) -> None:
    world = MoneyWorld(account, variation_margin_reopens=reopens)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    for bid in (1.1050, 1.0980):
        world.quote(bid)
        world.terminal.broker.settle_variation_margin("EURUSD", bid)
        result = world.sync()
        assert result.status is SyncStatus.SUCCESS
        assert "by variation margin" in world.audit()
        assert world.book() == world.rows()
        world.is_right()
    world.pm.close(world.ledger.positions[order.ticket or 0].ticket)
    world.sync()
    world.is_right()


# A history that has lost its beginning.


@pytest.mark.parametrize("was_counted", [True, False])
def test_the_closing_deal_is_enough_where_the_entry_is_archived(was_counted: bool) -> None:
    world = MoneyWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    if was_counted:
        world.person.close(ticket, 0.1)
        world.sync()
    counted = world.pm.realised
    world.wait(90 * 86_400)
    world.terminal.switches.history_begins_msc = world.terminal.broker.clock.server_msc()
    world.quote(1.1200)
    world.sync()
    world.person.close(ticket)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    assert "closed by hand in the terminal" in result.explanations[0]
    exit_ = world.ledger.deals[world.newest()]
    assert world.pm.realised == pytest.approx(counted + exit_.result, abs=1e-9)
    assert world.reconciler.holds == ()
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_a_part_of_the_exit_is_not_enough_and_what_is_told_is_true() -> None:
    world = MoneyWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.wait(90 * 86_400)
    world.terminal.switches.history_begins_msc = world.terminal.broker.clock.server_msc()
    world.person.close(ticket, 0.1)
    world.terminal.faults.next_deal_lags(60_000)
    world.person.close(ticket, 0.2)
    (hold,) = world.sync().holds
    assert hold.why == (
        "the broker shows the end of its deals only, and they do not close what is held"
    )
    assert figures(world.sync(60)) == ("SUCCESS", 0, 1, 0)


# Positions that the broker closes to open them again.


@BOTH
@WAYS
@pytest.mark.parametrize("became", ["open", "grown", "part", "closed", "again"])
def test_a_rollover_under_another_identifier_is_followed_whatever_became_of_it(
    account: AccountSetup, way: Callable[[MoneyWorld], SyncResult], became: str
) -> None:
    world = MoneyWorld(account, reopening_changes_identifier=True)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    broker, login = world.terminal.broker, world.person.login
    world.quote(1.1010)
    broker.reopen(login, order.ticket or 0, 1.1010, mt5.DEAL_REASON_ROLLOVER)
    (after,) = world.ledger.positions
    if became == "grown" and world.nets:
        world.person.open("EURUSD", BUY, 0.1)
    elif became == "part":
        world.person.close(after, 0.05)
    elif became == "closed":
        world.person.close(after)
    elif became == "again":
        world.wait(2)
        broker.reopen(login, after, 1.1012, mt5.DEAL_REASON_ROLLOVER)
    result = way(world)
    world.sync()
    assert any(f"the broker opened it again as {after}" in s for s in result.explanations)
    assert world.book() == world.rows()
    world.is_right()


def test_a_roll_into_the_next_contract_is_told_and_never_holds() -> None:
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.broker.roll(
        world.person.login, order.ticket or 0, DEARER.name, price_out=1.1, price_in=1.2
    )
    (after,) = world.ledger.positions
    (said,) = world.sync().explanations
    assert said.endswith(
        f"the broker opened it again as {after} in EURUSD_DEC, which is outside this book's scope"
    )
    assert world.pm.position is None
    assert world.pm.realised == world.realised([order.ticket or 0])
    assert world.reconciler.holds == ()


def test_a_roll_within_the_scope_is_adopted_and_counted() -> None:
    scope = Policy(symbols=frozenset({"EURUSD", DEARER.name}))
    world = MoneyWorld(policy=scope)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.broker.roll(
        world.person.login, order.ticket or 0, DEARER.name, price_out=1.1, price_in=1.2
    )
    world.sync()
    assert world.book() == world.rows()
    world.is_right()


def test_where_prices_have_ended_it_is_let_go_after_a_minute() -> None:
    """The symbol of a contract that expired is quoted no more, and its successor nowhere."""
    world = MoneyWorld(reopening_changes_identifier=True)
    order = world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.broker.reopen(
        world.person.login, order.ticket or 0, 1.1, mt5.DEAL_REASON_ROLLOVER
    )
    (after,) = world.ledger.positions
    for deal in world.ledger.deals_of(after):
        world.ledger.delete_deal(deal.ticket)
    world.ledger.drop_position(after)
    world.wait(1)
    assert world.reconciler.sync_positions().holds[0].kind is HoldKind.MISSING
    world.wait(60)
    result = world.reconciler.sync_positions()
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    assert result.explanations[0].endswith("what it goes on as is not shown")


@BOTH
@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("reason", [mt5.DEAL_REASON_SPLIT, mt5.DEAL_REASON_CORPORATE_ACTION])
def test_a_split(account: AccountSetup, anew: bool, reason: int) -> None:
    world = MoneyWorld(account, reopening_changes_identifier=anew)
    world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.broker.split("EURUSD", 4, 1, reason)
    world.quote(0.2750)
    world.sync()
    assert world.book() == world.rows()
    assert [h.position.volume for h in world.pm.book.holdings.values()] == [0.8]
    word = "by a split" if reason == mt5.DEAL_REASON_SPLIT else "by a corporate action"
    assert word in world.audit()
    assert "not known" not in world.audit()
    world.is_right()


# Changes that leave volume and price alike.


@BOTH
@pytest.mark.parametrize("is_old", [False, True], ids=["", "old gateway"])
def test_an_addition_and_a_part_close_between_two_looks(
    account: AccountSetup, is_old: bool
) -> None:
    """The price is the same, so that only the time of the last change tells, or a comparison."""
    world = MoneyWorld(account, is_old=is_old)
    order = world.pm.submit("buy", 0.12)
    world.sync()
    if world.nets:
        world.person.open("EURUSD", BUY, 0.13)
        world.person.close(order.ticket or 0, 0.13)
    else:
        broker, login = world.terminal.broker, world.person.login
        world.terminal.switches.reopening_changes_ticket = False
        broker.reopen(login, order.ticket or 0, 1.1001, mt5.DEAL_REASON_ROLLOVER)
    before = world.rows()
    assert world.book() == before
    world.sync(1)
    if is_old:
        # The balance has moved by more than was counted.
        world.sync(15)
    world.is_right()
    assert world.book() == before


def test_a_time_that_moves_without_a_deal_is_looked_into_once() -> None:
    world = MoneyWorld()
    order = world.pm.submit("buy", 0.12)
    world.sync()
    held = world.ledger.positions[order.ticket or 0]
    now_msc = world.terminal.broker.clock.server_msc()
    world.ledger.put_position(replace(held, time_update_msc=now_msc + 1))
    for _ in range(4):
        world.sync(5)
    assert world.reconciler.holds == ()
    world.requests.clear()
    world.sync(1)
    assert len(world.requests) == 1
    assert world.pm.book.holdings[order.ticket or 0].position.time_update_msc == now_msc + 1


# A reversal, in words.


def test_a_reversal_tells_the_closing_part_alone() -> None:
    world = MoneyWorld(NETTING)
    world.pm.submit("buy", 0.2)
    world.sync()
    world.quote(1.1100)
    world.person.open("EURUSD", SELL, 0.5)
    said = world.sync().explanations[0]
    assert "closed by a reversal by hand in the terminal: 0.20 lots at 1.11, profit" in said
    assert said.endswith("; it goes on as SHORT 0.30L @ 1.11")
    world.quote(1.1050)
    world.person.open("EURUSD", BUY, 0.3)
    said = world.sync().explanations[0]
    assert "closed by hand in the terminal: 0.30 lots at 1.1051, profit" in said
    world.is_right()


# Without deals.


def test_on_the_guides_wire_nothing_is_awaited_and_what_goes_is_unproven() -> None:
    world = DeskWorld()
    world.knows_only_the_guide = True
    world.sync()
    order = world.pm.create_order(1, 1.1, 0.2)
    assert order is not None
    world.pm.on_fill(
        {"order_id": order.order_id, "status": "FILLED", "ticket": 77, "filled_price": 1.1}
    )
    world.sync(20)
    book = world.pm.book
    assert (book.unbooked, book.ending, book.recent, book.changed_ns) == ({}, {}, {}, {})
    assert "unproven" in world.reconciler.get_audit_trail()[-1]["details"]
    assert world.pm.realised == 0.0


# What raises in one position's rule.


def test_the_sync_and_the_next_start_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MoneyWorld()
    first, second = world.pm.submit("buy", 0.1), world.pm.submit("buy", 0.2)
    world.sync()
    world.person.close(first.ticket or 0)
    world.person.close(second.ticket or 0)

    def breaks(self: Any, net_units: int) -> bool:
        if self.history.deals[0].position == first.ticket:
            raise ZeroDivisionError("division by zero")
        return bool(self.history.net_units == net_units)

    with monkeypatch.context() as patched:
        patched.setattr("trueup.core.deals.Comparison.adds_up_to", breaks)
        for is_started_anew in (False, True):
            if is_started_anew:
                world.restart()
            result = world.sync()
            assert result.status is SyncStatus.SUCCESS
            (hold,) = (h for h in result.holds if h.kind is HoldKind.BROKEN)
            assert hold.identifier == first.ticket
            assert "could not be judged, ZeroDivisionError: division by zero (" in hold.what
            assert world.tickets() == {first.ticket}
            assert not world.pm.check_risk(1)
        assert "could not be judged" in world.reconciler.health
    world.sync()
    world.is_right()
