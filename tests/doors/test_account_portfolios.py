"""Portfolios of one account: views of one book, kept by one reconciler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.account_world import AccountWorld
from tests.support.desk_world import NETTING
from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.account import Account
from trueup.errors import Refused
from trueup.runtime.bot.answers import create_fill_response
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.terminal.terminal_faults import AnswerLost

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


@pytest.fixture
def world(tmp_path: Path) -> AccountWorld:
    return AccountWorld(tmp_path)


@pytest.fixture
def account(world: AccountWorld) -> Iterator[Account]:
    with world.account() as account:
        yield account


def test_three_symbols_cost_one_look(
    world: AccountWorld, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the watcher, which looks at the terminal as often for one symbol as for three.
    monkeypatch.setattr(account.gateway, "hint", lambda now_ns: "")
    account.sync()
    world.looks()
    account.sync()
    one_look = world.looks()
    world.wait(60)
    pairs = [account.portfolio(symbol) for symbol in SYMBOLS]
    handles = [StateReconciler(pm, account.gateway, 15) for pm in pairs]
    results = [handle.startup_recovery() for handle in handles]
    assert world.looks() == one_look
    assert [result.status for result in results] == [SyncStatus.SUCCESS] * 3
    # The loop of a bot with three symbols: nothing before the interval, then one look for all.
    assert [handle.sync_continuous() for handle in handles] == [None] * 3
    world.wait(16)
    got = [0, 0, 0]
    for _ in range(3):
        for number, handle in enumerate(handles):
            got[number] += handle.sync_continuous() is not None
    assert (world.looks(), got) == (one_look, [1, 1, 1])


def test_a_handle_asks_again_where_its_portfolio_has_the_result_already(
    world: AccountWorld, account: Account
) -> None:
    handle = StateReconciler(account.portfolio("EURUSD"), account.gateway)
    first = handle.startup_recovery()
    assert handle.startup_recovery() is not first
    assert handle.sync_positions() is account.reconciler.latest
    assert handle.sync_continuous() is None
    other = StateReconciler(account.portfolio("GBPUSD"), account.gateway)
    world.wait(60)
    world.looks()
    other.startup_recovery()
    assert world.looks() > 0


def test_a_handle_is_the_accounts_reconciler(account: Account) -> None:
    view = account.portfolio("EURUSD", magic=7)
    handle = StateReconciler(view, account.gateway, 60)
    StateReconciler(account.portfolio("GBPUSD"), account.gateway, 20)
    assert isinstance(handle, StateReconciler)
    assert handle.portfolio is view
    handle.sync_positions()
    assert handle.get_status() == account.status
    assert (handle.sync_interval, account.reconciler.sync_interval) == (20, 20)
    handle.sync_interval = 5
    assert account.reconciler.sync_interval == 5
    assert handle.health == account.health
    assert handle.get_audit_trail() == account.reconciler.get_audit_trail()


@pytest.mark.parametrize("given", ["gateway", "policy", "account", "real_money", "interval"])
def test_a_handle_refuses_what_belongs_to_the_account(
    world: AccountWorld, account: Account, given: str
) -> None:
    view, other = account.portfolio("EURUSD"), world.account(journal=None)
    values = {
        "gateway": (other.gateway, {}),
        "policy": (account.gateway, {"policy": world.account(journal=None, magics=[7])}),
        "account": (account.gateway, {"account": "1@Elsewhere"}),
        "real_money": (account.gateway, {"real_money": False}),
        "interval": (account.gateway, {"sync_interval_sec": -1}),
    }
    gateway, more = values[given]
    with pytest.raises(ValueError, match=given):
        StateReconciler(view, gateway, **more)  # type: ignore[arg-type]


def test_each_portfolio_has_its_own_positions_orders_and_money(
    world: AccountWorld, account: Account
) -> None:
    account.sync()
    seven, nine = (account.portfolio("EURUSD", magic=magic) for magic in (7, 9))
    pound, whole = account.portfolio("GBPUSD"), account.portfolio("EURUSD")
    mine = seven.submit("buy", 0.1)
    nine.submit("sell", 0.3)
    pound.submit("buy", 0.2)
    limit = seven.submit("buy", 0.1, limit=1.05)
    summary = seven.get_position_summary()
    assert (summary["net_volume"], summary["symbol"], summary["orders_count"]) == (0.1, "EURUSD", 1)
    assert nine.position is not None
    assert nine.position.net_volume == -0.3
    assert whole.position is not None
    assert whole.position.net_volume == -0.2
    assert list(seven.get_local_positions()) == [mine.ticket]
    assert len(whole.get_local_positions()) == 2
    assert list(seven.orders) == [mine.order_id, limit.order_id]
    assert [row["order_id"] for row in seven.get_order_history()] == list(seven.orders)
    assert len(pound.orders) == 1
    assert len(account.orders) == 4
    assert mine.ticket is not None
    assert seven.find_order_by_ticket(mine.ticket) is mine
    assert nine.find_order_by_ticket(mine.ticket) is None
    account.sync()
    assert [intent.magic for intent in nine.close_all()] == [9]
    with pytest.raises(ValueError, match="book's symbols are GBPUSD"):
        pound.close_all("EURUSD")
    assert len(account.positions) == 2
    for pm in (seven, pound):
        for ticket in pm.get_local_positions():
            pm.close(ticket)
    world.wait(5)
    account.sync()
    parts = [pm.realised for pm in (seven, nine, pound)]
    assert all(parts)
    assert sum(parts) == pytest.approx(account.realised)
    assert whole.realised == pytest.approx(seven.realised + nine.realised)
    assert seven.is_current(1)
    assert seven.as_of_ns == account.manager.as_of_ns
    assert seven.get_position_summary() == {"status": "FLAT", "symbol": "EURUSD"}


def test_a_portfolio_acts_on_its_own_rows_alone(world: AccountWorld, account: Account) -> None:
    account.sync()
    seven, nine = (account.portfolio("EURUSD", magic=magic) for magic in (7, 9))
    ticket, limit = seven.submit("buy", 0.1).ticket, seven.submit("buy", 0.1, limit=1.05).ticket
    account.sync()
    acts: tuple[Callable[[], object], ...] = (
        lambda: nine.close(ticket),
        lambda: nine.modify(ticket, 1.0, 0.0),
        lambda: nine.cancel(limit),
        lambda: nine.modify_order(limit, price=1.04),
        lambda: account.portfolio("GBPUSD").close(ticket, foreign=True),
        lambda: nine.submit("buy", 0.1, magic=7),
        lambda: nine.submit("buy", 0.1, symbol="GBPUSD"),
    )
    for act in acts:
        with pytest.raises(ValueError, match=r"is not valid|in the book; it has none"):
            act()
    assert nine.force_close_position(ticket or 0) is False
    assert nine.force_update_position(ticket or 0, {"volume": 0.2}) is False
    assert world.open_lots == 0.1
    assert seven.modify(ticket, 1.0, 0.0).status is OrderStatus.FILLED
    # A position of another portfolio is closed as foreign, and leaves the account's book.
    closed = nine.close(ticket, foreign=True, key="k")
    assert (closed.status, closed.magic, closed.is_foreign) == (OrderStatus.FILLED, 9, False)
    assert nine.close(ticket, foreign=True, key="k") is closed
    assert seven.get_local_positions() == {}
    assert seven.cancel(limit).status is OrderStatus.FILLED


def test_two_portfolios_may_use_one_key(account: Account, world: AccountWorld) -> None:
    account.sync()
    seven, nine = (account.portfolio("EURUSD", magic=magic) for magic in (7, 9))
    first, second = seven.submit("buy", 0.1, key="monday"), nine.submit("buy", 0.1, key="monday")
    assert first.order_id != second.order_id
    assert [first.status, second.status] == [OrderStatus.FILLED] * 2
    assert seven.submit("buy", 0.1, key="monday") is first
    assert nine.submit("buy", 0.1, key="monday") is second
    with pytest.raises(Refused, match="key='monday' was used"):
        seven.submit("sell", 0.1, key="monday")
    # The account itself knows both wishes.
    assert account.submit("buy", 0.1, key="monday", symbol="EURUSD", magic=7) is first
    with pytest.raises(Refused, match="key='monday' was used"):
        account.submit("buy", 0.1, key="monday", symbol="GBPUSD")
    account.shut()
    with world.account() as again:
        nine = again.portfolio("EURUSD", magic=9)
        assert nine.submit("buy", 0.1, key="monday").order_id == second.order_id
    assert world.open_lots == 0.2


def test_the_guides_orders_work_through_a_portfolio(account: Account) -> None:
    pm = account.portfolio("EURUSD", magic=7)
    reconciler = StateReconciler(pm, account.gateway)
    assert pm.create_order(1, 1.1) is None  # no entry before the first believed reading
    reconciler.startup_recovery()
    order = pm.create_order(1, 1.1, 0.1)
    assert order is not None
    assert (order.symbol, order.magic, pm.order_counter) == ("EURUSD", 7, 1)
    response = create_fill_response(order.order_id, 555, 1.1, 0.1)
    assert account.portfolio("GBPUSD").on_fill(response) is False
    assert pm.on_fill(response) is True
    assert pm.check_risk(1) is False
    assert pm.check_risk(-1) is True
    # Another strategy of the same symbol is flat.
    assert account.portfolio("EURUSD", magic=9).check_risk(1) is True
    closing = pm.create_order(-1, 1.1, 0.1)
    assert closing is not None
    assert closing.position == 555


def test_forced_rows_enter_the_accounts_book(account: Account) -> None:
    pm = account.portfolio("EURUSD")
    row = {"ticket": 5, "symbol": "EURUSD", "type": "buy", "volume": 0.1, "price_open": 1.1}
    assert pm.force_add_position(row) is True
    assert pm.force_add_position({**row, "ticket": 6, "symbol": "GBPUSD"}) is False
    assert list(account.positions) == list(pm.get_local_positions()) == [5]
    assert pm.force_close_position(5) is True
    assert [entry["action"] for entry in account.reconciler.get_audit_trail()] == [
        "RECOVERY",
        "CLOSED",
    ]


def test_while_an_order_is_in_doubt_no_portfolio_of_its_symbol_opens(
    world: AccountWorld, account: Account
) -> None:
    account.sync()
    seven, nine = (account.portfolio("EURUSD", magic=magic) for magic in (7, 9))
    world.terminal.faults.next_send(AnswerLost(executed=True))
    doubt = seven.submit("buy", 0.1)
    assert doubt.status is OrderStatus.IN_DOUBT
    with pytest.raises(Refused, match="in doubt"):
        nine.submit("buy", 0.1)
    assert nine.entries_refused()
    # The account's book is of every symbol, so a doubt in any of them counts.
    assert doubt.order_id in account.manager.entries_refused()
    assert account.manager.entries_refused("GBPUSD") == ""
    assert account.portfolio("GBPUSD").submit("buy", 0.1).status is OrderStatus.FILLED
    StateReconciler(nine, account.gateway).sync_positions()
    assert seven.orders[doubt.order_id].status is OrderStatus.FILLED
    assert account.manager.entries_refused() == ""


def test_on_a_netting_account_magic_numbers_share_the_position(tmp_path: Path) -> None:
    world = AccountWorld(tmp_path, NETTING)
    with world.account() as account:
        account.sync()
        seven, nine = (account.portfolio("EURUSD", magic=magic) for magic in (7, 9))
        opened = seven.submit("buy", 0.1)
        assert nine.position is not None
        assert nine.check_risk(1) is False
        closed = nine.close(opened.ticket, key="out")
        assert nine.close(opened.ticket, key="out") is closed
        assert closed.order_id in nine.orders
        assert seven.position is None


def test_a_portfolio_leaves_the_journal_to_the_account(account: Account) -> None:
    with account.portfolio("EURUSD") as pm:
        assert isinstance(pm, PortfolioManager)
    account.sync()
    assert account.submit("buy", 0.1, symbol="EURUSD").status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("symbol", "magic", "why"),
    [("GBPUSD", 7, "symbols are EURUSD"), ("EURUSD", 9, "magic=9"), ("*", 7, "symbol='\\*'")],
)
def test_a_portfolio_outside_the_scope_is_refused(
    world: AccountWorld, symbol: str, magic: int, why: str
) -> None:
    with (
        world.account(magics=[7], symbols=["EURUSD"]) as account,
        pytest.raises(ValueError, match=why),
    ):
        account.portfolio(symbol, magic=magic)
