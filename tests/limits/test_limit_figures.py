"""The day's start, the peak and the locks as a pure function of figures, deals and time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.limits.figures import (
    DAILY_LOSS,
    DEAL_BALANCE,
    DEAL_BONUS,
    DEAL_CREDIT,
    DRAWDOWN,
    Ledger,
    Money,
    MoneyDeal,
    Unexplained,
    deals_since_ns,
    deals_wanted_ns,
    next_events,
)
from trueup.core.limits.limits import Limits
from trueup.core.limits.times import reset_before

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
MIDNIGHT_NS = round(dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()) * SECOND_NS
BUY = 0


class World:
    """An account with a history of deals, and the book that follows it by the pure function."""

    def __init__(self, limits: Limits, balance: float = 1_000.0, now_ns: int = MIDNIGHT_NS) -> None:
        self.limits, self.book, self.now_ns = limits, Book(), now_ns
        self.balance, self.credit, self.floating = balance, 0.0, 0.0
        self.deals: list[MoneyDeal] = []
        self.history: list[events.Event] = []
        self.unread = ""
        # The money by which a judge counts: all that trades won or lost, and the floating result.
        self.traded = 0.0

    @property
    def money(self) -> Money:
        equity = round(self.balance + self.credit + self.floating, 2)
        return Money(self.balance, equity, self.credit, "USD")

    def deal(self, kind: int, amount: float, *, listed: bool = True) -> None:
        if kind == DEAL_CREDIT:
            self.credit = round(self.credit + amount, 2)
        else:
            self.balance = round(self.balance + amount, 2)
        if kind == BUY:
            self.traded = round(self.traded + amount, 2)
        if listed:
            number = len(self.deals) + 1
            self.deals.append(MoneyDeal(number, self.now_ns // 1_000_000, kind, amount))

    def look(self, *, is_last_try: bool = False, offset_sec: int | None = 0) -> bool:
        """Bring the book up to date; return whether the figures could be used."""
        noted, locks = self.book.figures, list(self.book.reached.values())
        wanted_ns = deals_wanted_ns(self.limits, noted, self.money, self.now_ns)
        ledger = None
        if wanted_ns is not None:
            since_msc = wanted_ns // 1_000_000
            shown = tuple(deal for deal in self.deals if deal.time_msc >= since_msc)
            ledger = Ledger(shown, since_msc, offset_sec)
        found = next_events(
            self.limits, noted, locks, self.money, ledger, self.now_ns, is_last_try=is_last_try
        )
        if isinstance(found, Unexplained):
            self.unread = found.why
            return False
        for event in found:
            self.book.apply(event)
        self.history += found
        # Judged once, all is said: what a second look at the same figures adds came too late.
        noted, locks = self.book.figures, list(self.book.reached.values())
        assert next_events(self.limits, noted, locks, self.money, ledger, self.now_ns) == []
        return True

    def restart(self) -> None:
        """End the program, and start it again with nothing but its journal or its checkpoint."""
        replayed = Book().replay(self.history)
        assert replayed.state() == self.book.state()
        self.book = Book.restore(self.book.state())
        assert self.book.state() == replayed.state()

    @property
    def noted(self) -> events.FiguresNoted:
        assert self.book.figures is not None
        return self.book.figures


@pytest.mark.parametrize("hours", [-30, -1, 0, 2])
def test_deals_for_an_entry_cover_the_last_figures_and_a_reset_that_nobody_saw(hours: int) -> None:
    world = World(Limits(daily_loss=100))
    day_ns, now_ns = 24 * HOUR_NS, MIDNIGHT_NS + 26 * HOUR_NS
    # Before the first figures, and after figures of today: the deals of a day.
    assert deals_since_ns(world.limits, None, now_ns) == MIDNIGHT_NS
    assert world.look()
    noted = world.book.figures
    assert noted is not None
    same_ns = MIDNIGHT_NS + HOUR_NS
    assert deals_since_ns(world.limits, noted, same_ns) == noted.at_ns - day_ns
    # A clock that was set back since.
    ahead = msgspec.structs.replace(noted, at_ns=same_ns + HOUR_NS)
    assert deals_since_ns(world.limits, ahead, same_ns) == same_ns - day_ns
    # Figures of any age, and a reset two hours ago: the earlier counts.
    noted = msgspec.structs.replace(noted, at_ns=now_ns + hours * HOUR_NS)
    earlier_ns = min(noted.at_ns, now_ns - 2 * HOUR_NS)
    assert deals_since_ns(world.limits, noted, now_ns) == earlier_ns - day_ns
    assert deals_wanted_ns(world.limits, noted, world.money, now_ns) == MIDNIGHT_NS


def test_the_first_figures_begin_the_day_and_the_peak() -> None:
    world = World(Limits(daily_loss=50, drawdown=80))
    assert world.look()
    assert (world.noted.day_ns, world.noted.day_equity) == (MIDNIGHT_NS, 1_000.0)
    assert (world.noted.peak_equity, world.noted.computed) == (1_000.0, False)
    # Nothing new, nothing written.
    world.look()
    assert len(world.history) == 1


def test_a_reason_is_told_once() -> None:
    world = World(Limits(daily_loss=50, drawdown=80))
    world.look()
    assert world.noted.because.startswith("first figures; the day since")
    # A higher peak, and then a day without a deal: neither tells the first figures again.
    world.floating = 5.0
    world.look()
    assert (world.noted.peak_equity, world.noted.because) == (1_005.0, "")
    world.deal(DEAL_BALANCE, 100.0)
    world.look()
    assert world.noted.because == "100.00 USD paid in or out is taken out"
    world.now_ns += 24 * HOUR_NS
    world.look()
    assert world.noted.because == "the day since 2026-01-06 00:00 UTC begins"
    assert len(world.history) == 4


def test_a_loss_at_the_limit_locks_until_the_reset_even_if_it_is_won_back() -> None:
    world = World(Limits(daily_loss=50, daily_loss_basis="balance", reset_hour=6))
    world.now_ns += 8 * HOUR_NS
    world.look()
    world.deal(BUY, -49.99)
    world.look()
    assert not world.book.reached
    world.deal(BUY, -0.01)
    world.look()
    lock = world.book.reached[DAILY_LOSS]
    assert lock.until == "the reset at 2026-01-06 06:00 UTC"
    assert lock.until_ns == MIDNIGHT_NS + 30 * HOUR_NS
    assert lock.reason == (
        "the account's balance fell by 50.00 USD since 2026-01-05 06:00 UTC (from 1000.00 USD to "
        "950.00 USD); the limit of a day is 50.00 USD"
    )
    world.deal(BUY, 500.0)
    world.restart()
    world.look()
    assert world.book.reached == {DAILY_LOSS: lock}
    world.now_ns = lock.until_ns - 1
    world.look()
    assert world.book.reached
    world.now_ns += 1
    world.look()
    assert not world.book.reached
    assert world.noted.day_balance == 1_450.0


def test_percentages_are_of_the_start_and_of_the_peak() -> None:
    world = World(Limits(daily_loss_percent=5, drawdown_percent=10), 2_000.0)
    world.look()
    world.floating = 500.0
    world.look()
    world.floating = 250.01
    world.look()
    assert not world.book.reached
    world.floating = 250.0
    world.look()
    assert set(world.book.reached) == {DRAWDOWN}
    assert world.book.reached[DRAWDOWN].until == "equity above 2250.00 USD"
    world.floating = 251.0
    world.look()
    assert not world.book.reached
    world.floating = -100.0
    world.look()
    assert set(world.book.reached) == {DRAWDOWN, DAILY_LOSS}


def test_a_balance_that_no_deal_explains_waits_and_then_counts_against_the_trader() -> None:
    world = World(Limits(daily_loss=50, daily_loss_basis="balance"))
    world.look()
    world.deal(BUY, -60.0)
    world.deal(DEAL_BALANCE, 100.0, listed=False)
    assert not world.look()
    assert world.unread.startswith("the balance changed by 40.00 USD, and the account's deals do")
    assert not world.look()
    # Money that came without a deal is no gain: the loss of 60 counts.
    assert world.look(is_last_try=True)
    assert set(world.book.reached) == {DAILY_LOSS}
    assert "100.00 USD without a deal counts as no gain" in world.noted.because
    # Money that went without a deal is a loss.
    other = World(Limits(daily_loss=50, daily_loss_basis="balance"))
    other.look()
    other.deal(DEAL_BALANCE, -60.0, listed=False)
    assert not other.look()
    assert other.look(is_last_try=True)
    assert set(other.book.reached) == {DAILY_LOSS}


@pytest.mark.parametrize("into", ["balance", "credit"])
def test_a_bonus_is_no_gain_wherever_the_broker_books_it(into: str) -> None:
    world = World(Limits(daily_loss=50))
    world.look()
    world.deals.append(MoneyDeal(1, world.now_ns // 1_000_000, DEAL_BONUS, 100.0))
    setattr(world, into, getattr(world, into) + 100.0)
    assert world.look()
    assert world.noted.day_equity == 1_100.0
    world.floating = -50.0
    world.look()
    assert set(world.book.reached) == {DAILY_LOSS}


def test_a_deal_that_is_listed_late_is_taken_out_when_it_comes() -> None:
    world = World(Limits(daily_loss=50))
    world.look()
    world.deal(DEAL_BALANCE, -100.0, listed=False)
    assert not world.look()
    world.deals.append(MoneyDeal(1, world.now_ns // 1_000_000, DEAL_BALANCE, -100.0))
    assert world.look()
    assert not world.book.reached
    assert world.noted.day_equity == 900.0


def test_an_unseen_start_is_computed_from_deals() -> None:
    world = World(Limits(daily_loss=50))
    world.look()
    world.now_ns += 23 * HOUR_NS
    world.deal(BUY, -40.0)
    world.now_ns += 3 * HOUR_NS
    world.deal(BUY, -30.0)
    world.deal(DEAL_BALANCE, 500.0)
    world.now_ns += HOUR_NS
    world.restart()
    # Without the server's clock the deals around the reset belong to neither day.
    assert not world.look(offset_sec=None)
    assert world.look()
    assert world.noted.computed
    assert "computed from deals" in world.noted.because
    # 1000 - 40 at the reset, and the deposit of the day moved that.
    assert (world.noted.day_balance, world.noted.day_equity) == (1_460.0, 1_460.0)
    assert not world.book.reached
    world.deal(BUY, -20.0)
    world.look()
    assert set(world.book.reached) == {DAILY_LOSS}


def test_deals_far_from_the_reset_need_no_server_clock() -> None:
    world = World(Limits(daily_loss=50))
    world.deal(BUY, -10.0)
    world.now_ns += 71 * HOUR_NS
    assert world.look(offset_sec=None)
    assert (world.noted.computed, world.noted.day_balance) == (True, 990.0)


def test_a_day_whose_loss_nobody_saw_is_locked_at_once_after_a_locked_day() -> None:
    """A program that was down sees the end of one lock and the reason of the next together."""
    world = World(Limits(daily_loss=50))
    world.look()
    world.deal(BUY, -60.0)
    world.look()
    assert world.book.reached[DAILY_LOSS].until == "the reset at 2026-01-06 00:00 UTC"
    world.now_ns += 30 * HOUR_NS
    world.deal(BUY, -60.0)
    world.look()
    assert world.book.reached[DAILY_LOSS].until == "the reset at 2026-01-07 00:00 UTC"
    kinds = [type(event).__name__ for event in world.history]
    assert kinds[-3:] == ["FiguresNoted", "LimitEnded", "LimitReached"]


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [("Europe/Prague", dt.date(2026, 3, 29), 23), ("Europe/Prague", dt.date(2026, 10, 25), 25)],
)
def test_a_lock_of_a_day_with_a_dst_change_ends_at_its_local_reset(
    zone: str, day: dt.date, length: int
) -> None:
    noon = dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC)
    limits = Limits(daily_loss=50, reset_zone=zone)
    world = World(limits, now_ns=round(noon.timestamp()) * SECOND_NS)
    world.look()
    world.floating = -60.0
    world.look()
    began_ns = reset_before(world.now_ns, 0, limits.reset_in)
    lock = world.book.reached[DAILY_LOSS]
    assert lock.until_ns - began_ns == length * HOUR_NS
    assert lock.until.endswith("00:00 Europe/Prague")


def test_a_negative_account_is_locked_and_computes() -> None:
    world = World(Limits(daily_loss_percent=5, drawdown_percent=10), -20.0)
    world.look()
    # A percentage of a debt leaves no room at all.
    assert set(world.book.reached) == {DAILY_LOSS, DRAWDOWN}
    other = World(Limits(drawdown_percent=10), 100.0)
    other.look()
    other.floating = -250.0
    other.look()
    assert "is 250.00 USD below its peak of 100.00 USD" in other.book.reached[DRAWDOWN].reason


def test_a_clock_that_is_set_back_over_the_reset_keeps_the_day() -> None:
    world = World(Limits(daily_loss=50))
    world.look()
    world.now_ns -= 30 * SECOND_NS
    world.look()
    assert len(world.history) == 1
    # A clock that leapt by a year and came back does not leave a day of the future.
    world.now_ns += 365 * 24 * HOUR_NS
    world.look()
    world.now_ns -= 365 * 24 * HOUR_NS
    world.look()
    assert world.noted.day_ns == reset_before(world.now_ns, 0, world.limits.reset_in)


def test_a_lock_after_a_set_back_clock_ends_with_the_day_that_has_begun() -> None:
    world = World(Limits(daily_loss=50))
    world.look()
    world.now_ns -= 30 * SECOND_NS
    world.floating = -60.0
    world.look()
    # Not at the reset that comes a second time.
    assert world.book.reached[DAILY_LOSS].until_ns == MIDNIGHT_NS + 24 * HOUR_NS


def test_a_removed_limit_ends_its_lock() -> None:
    world = World(Limits(daily_loss=50, drawdown=20))
    world.look()
    world.floating = -60.0
    world.look()
    assert set(world.book.reached) == {DAILY_LOSS, DRAWDOWN}
    world.limits = Limits(drawdown=20)
    world.look()
    assert set(world.book.reached) == {DRAWDOWN}
    world.limits = Limits(lots=1)
    world.look()
    assert not world.book.reached
    assert [type(e).__name__ for e in world.history[-2:]] == ["LimitEnded", "LimitEnded"]


amounts = st.integers(-30_000, 30_000).map(lambda cents: cents / 100)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), amounts),
        st.tuples(st.just("deposit"), amounts),
        st.tuples(st.just("credit"), amounts),
        st.tuples(st.just("float"), amounts),
        st.tuples(st.just("wait"), st.integers(1, 40 * 3600)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=40,
)
limit_sets = st.builds(
    Limits,
    daily_loss=st.sampled_from([50, 200]),
    daily_loss_basis=st.sampled_from(["equity", "balance"]),
    drawdown=st.sampled_from([None, 100]),
    drawdown_basis=st.sampled_from(["equity", "balance"]),
    reset_hour=st.integers(0, 23),
    reset_zone=st.sampled_from(["UTC", "Europe/Prague", "America/New_York"]),
)


def run(world: World, done: Sequence[tuple[str, float]]) -> None:
    for action, amount in done:
        world.now_ns += SECOND_NS
        if action == "trade":
            world.deal(BUY, amount)
        elif action == "deposit":
            world.deal(DEAL_BALANCE, amount)
        elif action == "credit":
            world.deal(DEAL_CREDIT, amount)
        elif action == "float":
            world.floating = amount
        elif action == "wait":
            world.now_ns += round(amount) * SECOND_NS
        elif action == "restart":
            world.restart()
        else:
            assert world.look(), world.unread


@given(limit_sets, steps)
@settings(max_examples=150, deadline=None)
def test_deposits_change_no_decision(limits: Limits, done: list[tuple[str, float]]) -> None:
    """The same trades without the deposits, the withdrawals and the credits are judged equally."""
    with_money, without = World(limits), World(limits)
    floating = 0.0
    for action, amount in [*done, ("look", 0)]:
        run(with_money, [(action, amount)])
        if action == "float":
            floating = amount
        same = ("float", floating) if action in ("deposit", "credit") else (action, amount)
        run(without, [same])
    assert set(with_money.book.reached) == set(without.book.reached)


@given(limit_sets, steps, st.sets(st.integers(0, 60)))
@settings(max_examples=150, deadline=None)
def test_restarts_change_nothing(
    limits: Limits, done: list[tuple[str, float]], ends: set[int]
) -> None:
    """A program that ends and starts anywhere writes the same journal as one that goes on."""
    steady, killed = World(limits), World(limits)
    for number, step in enumerate([*done, ("look", 0.0)]):
        if step[0] != "restart":
            run(steady, [step])
            run(killed, [step])
        if number in ends or step[0] == "restart":
            killed.restart()
    assert killed.history == steady.history
    # No lock is applied twice, and none ends that did not begin.
    for name in (DAILY_LOSS, DRAWDOWN):
        of_name = [e for e in killed.history if getattr(e, "limit", "") == name]
        kinds = [type(event) for event in of_name]
        assert kinds == [events.LimitReached, events.LimitEnded] * (len(kinds) // 2) + (
            [events.LimitReached] if len(kinds) % 2 else []
        )


@given(limit_sets, steps)
@settings(max_examples=150, deadline=None)
def test_a_day_lock_is_never_forgotten_within_its_day(
    limits: Limits, done: list[tuple[str, float]]
) -> None:
    world = World(limits)
    until_ns = 0
    for step in done:
        run(world, [step, ("look", 0.0)])
        if world.now_ns < until_ns:
            assert DAILY_LOSS in world.book.reached
        lock = world.book.reached.get(DAILY_LOSS)
        until_ns = lock.until_ns if lock is not None else 0
