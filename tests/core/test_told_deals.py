"""What a plan says of deals that it counts: the sentence of every kind, in the account's money."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.model import Deal, DealKind, DealReason, Entry, History, Position, Side
from trueup.core.sync.plan import Plan

# An account whose money has three decimals, as the dinars of Kuwait have.
KWD = msgspec.structs.replace(make.ACCOUNT, currency="KWD", currency_digits=3)
KWD_NETTING = msgspec.structs.replace(make.NETTING, currency="KWD", currency_digits=3)
P = make.position(7, volume=0.2)
AT_MSC = make.NOW_NS // 1_000_000
OPENED = make.deal(1, 7, Side.BUY, 0.2, commission=-0.7)
AT = "1970-01-01 00:00:00 server time"


def known(*deals: Deal, account: Any = KWD, position: Position = P) -> Book:
    """A book that has counted these deals."""
    book = make.bound_book(position, account=account)
    book.apply(make.counting(position, *deals))
    return book


def out(ticket: int, volume: float = 0.2, **changes: Any) -> Deal:
    facts = {"entry": Entry.OUT, "order": 70, "price": 1.06, "profit": 5.5, "swap": -0.25}
    return make.deal(ticket, 7, Side.SELL, volume, **(facts | changes))


def looked(book: Book, *rows: Position, deals: tuple[Deal, ...], **more: Any) -> Plan:
    account = KWD_NETTING if book.shares_positions else KWD
    history = more.pop("history", None)
    seen = make.proven(
        *rows, account=account, deals=deals, explained=frozenset({7}), history=history
    )
    return make.planned(book, seen, after_sec=20, **more)


def because(plan: Plan) -> str:
    """What is said of the one event that counts deals."""
    (event,) = (
        e for e in plan.events if isinstance(e, events.DealsRecorded | events.PositionClosed)
    )
    return event.because


MONEY = f"profit 5.500, swap -0.250, commission 0.000, {AT}"


def test_an_exit_is_told_in_the_accounts_money() -> None:
    plan = looked(known(OPENED), deals=(OPENED, out(2)))
    assert because(plan) == f"closed for a reason not known: 0.20 lots at 1.06, {MONEY}"


def test_an_exit_in_part_is_told_in_the_accounts_money() -> None:
    plan = looked(known(OPENED), make.position(7, volume=0.1), deals=(OPENED, out(2, 0.1)))
    assert because(plan) == f"closed in part for a reason not known: 0.10 lots at 1.06, {MONEY}"


def test_a_reversal_is_told_with_what_it_goes_on_as() -> None:
    turned = make.position(70, identifier=7, side=Side.SELL, volume=0.3, price_open=1.06)
    turning = out(2, 0.5, entry=Entry.IN_OUT)
    plan = looked(known(OPENED, account=KWD_NETTING), turned, deals=(OPENED, turning))
    assert because(plan) == (
        "closed by a reversal for a reason not known: 0.20 lots at 1.06, "
        f"{MONEY}; it goes on as SHORT 0.30L @ 1.06"
    )


def test_a_close_to_open_it_again_under_its_number_is_told_as_both() -> None:
    again = make.deal(3, 7, Side.BUY, 0.2, order=70, price=1.07, reason=DealReason.ROLLOVER)
    row = make.position(7, volume=0.2, price_open=1.07)
    rolled = (OPENED, out(2, reason=DealReason.ROLLOVER), again)
    assert because(looked(known(OPENED), row, deals=rolled)) == (
        f"closed and opened again by a rollover: 0.20 lots at 1.06, {MONEY}, as LONG 0.20L @ 1.07"
    )


@pytest.mark.parametrize("reason", [DealReason.ROLLOVER, DealReason.CLIENT])
def test_what_a_hand_added_after_it_closed_in_part_is_no_opening_again(reason: DealReason) -> None:
    """Only where the broker itself closed it, and an entry comes last, was it opened again."""
    added = make.deal(3, 7, Side.BUY, 0.1, order=71, price=1.07)
    deals = (OPENED, out(2, 0.1, reason=reason), added)
    if reason is DealReason.ROLLOVER:
        deals = (OPENED, added, out(4, 0.1, reason=reason))
    row = make.position(7, volume=0.2, price_open=1.062)
    plan = looked(known(OPENED), row, deals=deals)
    assert because(plan).startswith(f"closed in part {reason.value}: 0.10 lots at 1.06, profit")


def test_money_after_a_reversal_is_told_with_the_deal_that_closed() -> None:
    """A deal of no lots is no closing deal, whatever its entry says."""
    turned = make.position(70, identifier=7, side=Side.SELL, volume=0.3, price_open=1.06)
    money = out(3, 0.0, profit=1.0, swap=0.0, time_msc=5)
    turning = out(2, 0.5, entry=Entry.IN_OUT)
    plan = looked(known(OPENED, account=KWD_NETTING), turned, deals=(OPENED, turning, money))
    assert because(plan).endswith("; it goes on as SHORT 0.30L @ 1.06")


def test_an_entry_that_was_added_is_told_in_the_accounts_money() -> None:
    added = make.deal(2, 7, Side.BUY, 0.1, order=71, commission=-0.35, profit=-0.05)
    plan = looked(known(OPENED), make.position(7, volume=0.3), deals=(OPENED, added))
    assert because(plan) == ("added: 0.10 lots at 1.0543, commission -0.350, other money -0.050")


def test_money_without_a_trade_is_told_in_the_accounts_money() -> None:
    money = out(2, 0.0, swap=0.0, profit=-1.25)
    plan = looked(known(OPENED), P, deals=(OPENED, money), rechecks=(7,))
    assert because(plan) == (
        f"money without a trade: profit -1.250, swap 0.000, commission 0.000, {AT}"
    )


LATE = msgspec.structs.replace(OPENED, commission=-0.9)


def test_changes_and_news_are_told_one_after_the_other() -> None:
    plan = looked(known(OPENED), deals=(LATE, out(2)))
    assert because(plan).startswith("closed for a reason not known: 0.20 lots at 1.06, ")
    plan = looked(known(OPENED), make.position(7, volume=0.1), deals=(LATE, out(2, 0.1)))
    first, second = because(plan).split("; ")
    assert first == f"closed in part for a reason not known: 0.10 lots at 1.06, {MONEY}"
    assert second == ("the broker changed deal 1: result -0.700 → -0.900 (now commission -0.900)")
    (event,) = (e for e in plan.events if isinstance(e, events.DealsRecorded))
    assert event.changed == (1,)


def test_a_sum_of_before_that_differs_is_told_with_both() -> None:
    """A journal of before has the tickets alone."""
    book = make.bound_book(P, account=KWD)
    book.apply(
        events.DealsRecorded(
            at_ns=1, position=P, deals=(1,), realised_units=-50_000_000, because="before"
        )
    )
    plan = looked(book, P, deals=(OPENED,), rechecks=(7,))
    assert because(plan) == ("its deals come to -0.700 at the broker, and -0.500 were counted")


def test_what_the_broker_cancelled_is_told_beside_the_money_that_came_with_it() -> None:
    entry = make.deal(1, 7, Side.BUY, 0.2, kind=DealKind.CANCELED)
    money = out(2, 0.0, swap=0.0, profit=-1.25)
    plan = looked(make.bound_book(P, account=KWD), deals=(entry, money))
    assert because(plan) == (
        f"money without a trade: profit -1.250, swap 0.000, commission 0.000, {AT}; "
        "the broker cancelled deal 1 (BUY 0.20 lots at 1.0543)"
    )
    told = looked(make.bound_book(P, account=KWD), deals=(entry,))
    assert because(told) == "the broker cancelled deal 1 (BUY 0.20 lots at 1.0543)"


# Whether there was anything to tell: what our own answers had said already is not news.


def own_close(*, is_known: bool = True) -> Book:
    """A book whose own order closed half of a position."""
    book = known(OPENED) if is_known else make.bound_book(P, account=KWD)
    book.apply(make.created("B", Side.SELL, 0.1, position=7))
    book.apply(make.filled("B", 70, Side.SELL, 0.1, 1.06))
    return book


@pytest.mark.parametrize(
    ("deals", "volume", "is_ours"),
    [
        ((OPENED, out(2, 0.1)), 0.1, True),
        # A deal of ours that the broker changed is news.
        ((LATE, out(2, 0.1)), 0.1, False),
        # So is an exit that a hand made beside ours.
        ((OPENED, out(2, 0.1), out(3, 0.05, order=88)), 0.05, False),
        # An entry of a stranger beside our exit is not told of: the exits are.
        ((OPENED, out(2, 0.1), make.deal(3, 7, Side.BUY, 0.1, order=88)), 0.2, True),
    ],
)
def test_deals_are_ours_where_answers_had_told_of_every_exit(
    deals: tuple[Deal, ...], volume: float, *, is_ours: bool
) -> None:
    plan = looked(own_close(), make.position(7, volume=volume), deals=deals)
    (event,) = (e for e in plan.events if isinstance(e, events.DealsRecorded))
    assert event.ours is is_ours


def test_deals_that_nothing_new_are_told_of_are_not_called_ours() -> None:
    """Nothing but a sum differs: a journal of before counted it otherwise."""
    book = make.bound_book(P, account=KWD)
    book.apply(
        events.DealsRecorded(
            at_ns=1, position=P, deals=(1,), realised_units=-50_000_000, because="before"
        )
    )
    (event,) = looked(book, P, deals=(OPENED,), rechecks=(7,)).events
    assert isinstance(event, events.DealsRecorded)
    assert event.ours is False


# A position that closed to be opened again after the book had let it go.


def test_late_deals_of_a_closed_position_say_as_what_it_goes_on() -> None:
    book = known(OPENED)
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=P, because="x", unproven=True))
    rolled = out(2, reason=DealReason.ROLLOVER, time_msc=AT_MSC)
    again = make.deal(3, 9, Side.BUY, 0.2, order=9, reason=DealReason.ROLLOVER, time_msc=AT_MSC)
    late = History(60, deals=(rolled, again))
    plan = looked(book, deals=(OPENED, rolled), rechecks=(7,), history=late)
    (event,) = (e for e in plan.events if isinstance(e, events.DealsRecorded))
    assert event.went_on_as == (9,)
    assert event.because.endswith("; the broker opened it again as 9")
    waits = looked(book, deals=(OPENED, rolled), rechecks=(7,), has_asked_history=False)
    assert (waits.events, waits.rechecks) == ((), (7,))
    assert waits.history_age_sec == 60 + 3_660
