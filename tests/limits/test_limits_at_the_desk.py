"""Risk limits at the order desk of a book, on a simulated account."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import msgspec
import pytest

from tests.support.account_world import AccountWorld
from tests.support.desk_world import BUY, HEDGING, NETTING
from trueup import Limits
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.account import Account
from trueup.doors.local_gateway import LocalGateway
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import open_reader
from trueup.runtime.control.last_known import last_known
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost

Open = Callable[[Limits], Account]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AccountWorld]:
    world = AccountWorld(tmp_path, HEDGING)
    yield world
    world.end()


@pytest.fixture
def netting(tmp_path: Path) -> Iterator[AccountWorld]:
    world = AccountWorld(tmp_path, NETTING)
    yield world
    world.end()


def opened(world: AccountWorld, limits: Limits) -> Account:
    account = world.account(limits=limits)
    account.sync()
    return account


def buy(account: Account, lots: float, symbol: str = "EURUSD", **wish: object) -> OrderStatus:
    return account.submit("buy", lots, symbol=symbol, **wish).status  # type: ignore[arg-type]


def kinds(world: AccountWorld) -> list[str]:
    with open_reader(world.journal) as reader:
        return [type(event).__name__ for event in reader.read()]


def test_lots_in_a_symbol_count_what_others_hold_and_refuse_in_that_symbol_alone(
    world: AccountWorld,
) -> None:
    world.person.open("EURUSD", BUY, 0.3)
    with opened(world, Limits(lots_per_symbol={"EURUSD": 0.5})) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
        with pytest.raises(
            Refused, match=r"0\.40 lots .* in EURUSD, and the order has 0\.20; .*0\.50"
        ):
            buy(account, 0.2)
        # The narrowest scope: another symbol stays free, and so does what fits.
        assert buy(account, 0.2, "GBPUSD") is OrderStatus.FILLED
        assert buy(account, 0.1) is OrderStatus.FILLED
        (reached,) = account.manager.restrictions
        assert (reached.symbol, reached.until) == ("EURUSD", "fewer lots")
        # How long it has refused counts from its beginning, not from the latest look.
        account.sync()
        before = account.manager.restrictions
        world.wait(60)
        account.sync()
        assert account.manager.restrictions == before
        assert "Entries in EURUSD are refused by a risk limit" in account.health
        assert account.status["limits"] == [account.health.split(". ", 1)[1]]


def test_pending_and_doubtful_lots_count(world: AccountWorld) -> None:
    with opened(world, Limits(lots=0.5)) as account:
        assert buy(account, 0.2, limit=1.05) is OrderStatus.FILLED
        with pytest.raises(
            Refused, match=r"0.20 lots are open, pending or in doubt in the account"
        ):
            buy(account, 0.4, "GBPUSD")
        world.terminal.faults.next_send(AnswerLost(executed=False))
        assert buy(account, 0.2, "GBPUSD") is OrderStatus.IN_DOUBT
        with pytest.raises(Refused, match=r"0.40 lots"):
            buy(account, 0.2, "USDJPY")


def test_open_positions(world: AccountWorld) -> None:
    world.person.open("GBPUSD", BUY, 0.1)
    with opened(world, Limits(positions=2)) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
        with pytest.raises(Refused, match=r"the account has 2 positions, .* the limit is 2"):
            buy(account, 0.1)
        # A close is no entry.
        for ticket in account.positions:
            assert account.close(ticket).status is OrderStatus.FILLED


def test_a_reversal_is_an_entry_for_its_excess(netting: AccountWorld) -> None:
    with opened(netting, Limits(lots_per_symbol=0.3)) as account:
        assert buy(account, 0.3) is OrderStatus.FILLED
        with pytest.raises(Refused, match=r"0\.40 of the order's 0\.70 would open"):
            account.submit("sell", 0.7, symbol="EURUSD")
        assert account.submit("sell", 0.6, symbol="EURUSD").status is OrderStatus.FILLED
        assert netting.open_lots == 0.3


def test_a_lock_lets_a_netting_position_be_reduced_by_an_opposite_order(
    netting: AccountWorld,
) -> None:
    with opened(netting, Limits(daily_loss=50)) as account:
        assert buy(account, 1.0) is OrderStatus.FILLED
        netting.terminal.quote("EURUSD", 1.09, 1.0901)
        account.sync()
        with pytest.raises(Refused, match="equity fell by"):
            buy(account, 0.1)
        with pytest.raises(Refused, match="equity fell by"):
            account.submit("sell", 1.1, symbol="EURUSD")
        assert account.submit("sell", 1.0, symbol="EURUSD").status is OrderStatus.FILLED


def test_a_daily_loss_refuses_entries_until_the_reset_and_says_it_everywhere(
    world: AccountWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with opened(world, Limits(daily_loss_percent=1)) as account:
        assert buy(account, 0.2) is OrderStatus.FILLED
        world.terminal.quote("EURUSD", 1.09, 1.0901)
        account.sync()
        (lock,) = account.manager.restrictions
        assert lock.symbol == ""
        assert lock.reason.startswith("the account's equity fell by 2")
        assert lock.until == "the reset at 2023-11-15 00:00 UTC"
        with pytest.raises(
            Refused, match=r"No entry: refused by a risk limit: .*2023-11-15 00:00 UTC"
        ):
            buy(account, 0.1, "GBPUSD")
        # The equity recovers, and the lock stays.
        world.terminal.quote("EURUSD", 1.12, 1.1201)
        account.sync()
        account.sync()
        with pytest.raises(Refused):
            buy(account, 0.1)
        # Closing, stops and cancellations pass.
        (ticket,) = account.positions
        assert account.modify(ticket, 1.0, 1.2).status is OrderStatus.FILLED
        assert account.close(ticket).status is OrderStatus.FILLED
        said = [record.message for record in caplog.records if "[LIMITS]" in record.message]
        assert sum("are refused by the limit of the daily loss" in line for line in said) == 1
        actions = [entry["action"] for entry in account.reconciler.get_audit_trail()]
        assert actions.count("LIMIT") == 2  # the day's start, and the lock
        assert "are refused by a risk limit: the account's equity fell" in account.health
        world.wait(24 * 3600)
        world.terminal.quote("EURUSD", 1.12, 1.1201)
        account.sync()
        account.sync()
        assert buy(account, 0.1) is OrderStatus.FILLED
    assert kinds(world).count("LimitReached") == 1
    assert kinds(world).count("LimitEnded") == 1


@pytest.mark.parametrize("name", ["5000002@Simulated-Demo", "5000001@Elsewhere"])
def test_the_money_of_another_account_is_never_noted(tmp_path: Path, name: str) -> None:
    """A person logs the terminal in elsewhere, between a reading and an entry."""
    poor = AccountSetup(login=HEDGING.login + 1, balance=1.0)
    world = AccountWorld(tmp_path, HEDGING, others=(poor,))
    with opened(world, Limits(drawdown=50)) as account:
        figures = account.manager.book.figures
        if name.endswith("@Elsewhere"):
            world.called.elsewhere = repeat(True)
        else:
            world.terminal.switch_account(poor.login)
        with pytest.raises(Refused, match=f"logged in to {name}"):
            buy(account, 0.1)
        assert account.manager.book.figures == figures
        assert account.manager.book.reached == {}
    world.end()


def test_a_lock_survives_the_end_of_the_program(
    world: AccountWorld, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(daily_loss=50)
    with opened(world, limits) as account:
        assert buy(account, 0.2) is OrderStatus.FILLED
        world.terminal.quote("EURUSD", 1.09, 1.0901)
        account.sync()
    (row,) = last_known(world.journal, None, 0).refused
    assert (row.by_limit, row.until) == (True, "the reset at 2023-11-15 00:00 UTC")
    reset_ns = round(dt.datetime(2023, 11, 15, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
    assert last_known(world.journal, None, reset_ns - 1).refused == [row]
    assert last_known(world.journal, None, reset_ns).refused == []
    world.terminal.quote("EURUSD", 1.12, 1.1201)
    for _ in range(3):
        caplog.clear()
        again = opened(world, limits)
        with again, pytest.raises(Refused, match=r"equity fell by 2.*2023-11-15 00:00 UTC"):
            buy(again, 0.1)
        # Each program logs the lock once, also the lock of a program before.
        said = [row.message for row in caplog.records if row.message.startswith("[LIMITS] Entries")]
        assert len(said) == 1
        assert "equity fell by 2" in said[0]
    assert kinds(world).count("LimitReached") == 1
    # Without the limit the lock ends, and says so.
    with opened(world, Limits()) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
    assert kinds(world).count("LimitEnded") == 1


def test_deposits_and_withdrawals_are_no_gain_and_no_loss(world: AccountWorld) -> None:
    with opened(world, Limits(daily_loss=50, drawdown=80)) as account:
        login = world.terminal.account_info().login  # type: ignore[union-attr]
        broker = world.terminal.broker
        broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, -500.0, "Withdrawal")
        account.sync()
        assert buy(account, 0.1) is OrderStatus.FILLED
        # A deposit hides no loss: neither at a sync, nor at the entry.
        world.terminal.quote("EURUSD", 1.0930, 1.0931)
        broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, 1_000.0, "Deposit")
        with pytest.raises(Refused, match="equity fell by 7"):
            buy(account, 0.1, "GBPUSD")
        broker.balance_operation(login, mt5.DEAL_TYPE_CREDIT, 300.0)
        world.terminal.quote("EURUSD", 1.0915, 1.0916)
        account.sync()
        assert [
            r.reason.split(" by ")[0].split(" is ")[0] for r in account.manager.restrictions
        ] == [
            "the account's equity fell",
            "the account's equity",
        ]


def test_a_day_that_began_unseen_is_computed_from_deals_and_says_so(
    world: AccountWorld, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(daily_loss=50)
    with opened(world, limits) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
    # The night: the reset passes, and a person loses 100 of the new day by hand.
    world.wait(24 * 3600)
    world.person.close(world.terminal.view.position_rows()[0].ticket)
    before = world.terminal.account_info().balance  # type: ignore[union-attr]
    ticket = world.person.open("EURUSD", BUY, 0.1)
    world.terminal.quote("EURUSD", 1.0900, 1.0901)
    world.person.close(world.terminal.view.position_rows()[0].ticket)
    lost = before - world.terminal.account_info().balance  # type: ignore[union-attr]
    assert lost > 50, ticket
    caplog.set_level(logging.INFO)
    with opened(world, limits) as account:
        # Until a price shows the trade server's clock, nobody can say which deals are today's.
        with pytest.raises(Refused, match="cannot be computed from deals before a price shows"):
            buy(account, 0.1)
        world.person.open("EURUSD", BUY, 0.01)
        world.terminal.quote("EURUSD", 1.0900, 1.0901)
        account.sync()
        account.sync()
        with pytest.raises(Refused, match="equity fell by"):
            buy(account, 0.1)
    assert "computed from deals" in caplog.text


def test_a_drawdown_ends_with_its_condition(world: AccountWorld) -> None:
    with opened(world, Limits(drawdown_percent=1, drawdown_basis="equity")) as account:
        assert buy(account, 0.2) is OrderStatus.FILLED
        world.terminal.quote("EURUSD", 1.11, 1.1101)
        account.sync()
        world.terminal.quote("EURUSD", 1.104, 1.1041)
        account.sync()
        with pytest.raises(Refused, match=r"below its peak of 10.* .until equity above 10"):
            buy(account, 0.1)
        world.terminal.quote("EURUSD", 1.109, 1.1091)
        assert buy(account, 0.1) is OrderStatus.FILLED


def test_spread(world: AccountWorld) -> None:
    with opened(world, Limits(spread=15)) as account:
        world.terminal.quote("EURUSD", 1.1, 1.1003)
        with pytest.raises(Refused, match="the spread of EURUSD is 30 points; the limit is 15"):
            buy(account, 0.1)
        world.terminal.quote("EURUSD", 1.1, 1.1001)
        assert buy(account, 0.1) is OrderStatus.FILLED


def test_trading_hours(world: AccountWorld) -> None:
    # The world's time is Tuesday, 2023-11-14, 22:13 UTC, which is 23:13 in Prague.
    limits = Limits(hours={"mon": "08:00-17:00"}, hours_zone="Europe/Prague")
    with (
        opened(world, limits) as account,
        pytest.raises(Refused, match=r"outside the trading hours.*until 2023-11-20 08:00 Europe"),
    ):
        buy(account, 0.1)


def test_a_book_without_limits_writes_what_it_wrote_before(world: AccountWorld) -> None:
    with world.account() as account:
        account.sync()
        assert buy(account, 0.1) is OrderStatus.FILLED
        assert account.manager.book.figures is None
        assert b"figures" not in account.manager.book.state()
        assert "limits" not in account.status
    assert not {"FiguresNoted", "LimitReached"} & set(kinds(world))
    assert events.FiguresNoted.__name__ == "FiguresNoted"


def test_a_market_of_the_past_has_its_own_clock(world: AccountWorld) -> None:
    """As `trueup paper` with recorded prices: the server's clock is years behind."""
    clock = ManualClock(world.clock.now_ns() + 8 * 365 * 86_400 * 1_000_000_000)
    gateway = LocalGateway(world.called, clock=clock)
    with Account(
        gateway, journal=world.journal, clock=clock, claims=False, limits=Limits(daily_loss=50)
    ) as account:
        account.sync()
        assert buy(account, 0.1) is OrderStatus.FILLED
        login = world.terminal.account_info().login  # type: ignore[union-attr]
        world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, -500.0, "Withdrawal")
        assert buy(account, 0.1) is OrderStatus.FILLED
        world.terminal.quote("EURUSD", 1.09, 1.0901)
        account.sync()
        with pytest.raises(Refused, match="equity fell by 2"):
            buy(account, 0.1)


def test_a_year_without_the_program_is_read_in_a_few_calls(world: AccountWorld) -> None:
    with opened(world, Limits(drawdown=50)) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
    world.wait(86_400)
    login = world.terminal.account_info().login  # type: ignore[union-attr]
    world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, -500.0, "Withdrawal")
    world.wait(364 * 86_400)
    world.called.calls.clear()
    with opened(world, Limits(drawdown=50)) as account:
        assert account.manager.book.figures is not None
        assert "-500.00 USD paid in or out is taken out" in account.manager.book.figures.because
        assert world.called.calls.count("history_deals_get") <= 8
        assert not account.manager.restrictions


def test_money_that_no_deal_explains_waits_ten_seconds_and_then_counts(
    world: AccountWorld,
) -> None:
    with opened(world, Limits(daily_loss=50)) as account:
        assert buy(account, 0.1) is OrderStatus.FILLED
        # The broker rewrites the record of a deal that is counted, and takes 60 without a new one.
        ledger = world.terminal.broker.desks[world.person.login].ledger
        deal = next(iter(ledger.deals.values()))
        ledger.put_deal(msgspec.structs.replace(deal, profit=deal.profit - 60.0))
        with pytest.raises(Refused, match=r"the account's deals do not show why -60\.00 USD"):
            buy(account, 0.1)
        assert account.manager.restrictions[0].until == "figures that can be read"
        world.wait(11)
        with pytest.raises(Refused, match="equity fell by 6"):
            buy(account, 0.1)
        assert account.manager.book.figures is not None
        assert "-60.00 USD without a deal counts as a loss" in account.manager.book.figures.because
