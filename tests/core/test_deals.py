"""The deals of one position against what the book has of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.deals import (
    BookedDeal,
    Comparison,
    Known,
    as_booked,
    history_of,
    money_units,
)
from trueup.core.model import Deal, DealKind, Entry, Side
from trueup.core.quantity import to_units


def sold(ticket: int, volume: float, price: float, **changes: Any) -> Deal:
    return make.deal(ticket, 7, Side.SELL, volume, entry=Entry.OUT, price=price, **changes)


def test_a_history_has_each_deal_of_the_position_once_and_in_time() -> None:
    first = make.deal(5, 7, Side.BUY, 0.3, time_msc=1)
    second, third = sold(4, 0.1, 1.06, time_msc=2), sold(6, 0.2, 1.06, time_msc=2)
    stranger = make.deal(9, 8, Side.BUY, 1.0)
    history = history_of(7, [third, second, stranger, first, third])
    assert history.deals == (first, second, third)
    assert history.net_units == 0
    assert history.is_closed
    assert history_of(7, [first, second]).net_units == 20_000_000


def test_the_opening_order_comes_first_where_the_servers_clock_was_set_back() -> None:
    """Seed 3001087: the exit was an hour older than the entry, and neither was ever counted."""
    opened = make.deal(1, 7, Side.BUY, 0.3, order=7, time_msc=9_000)
    closed = sold(2, 0.3, 1.06, order=8, time_msc=5_000)
    assert history_of(7, [closed, opened]).deals == (opened, closed)
    # What moved no lots, or has no opening order beside it, proves nothing about the clock.
    cash = make.deal(3, 7, Side.BUY, 0.0, order=0, time_msc=1_000, kind=DealKind.CASH)
    assert history_of(7, [opened, cash]).deals == (cash, opened)
    first = sold(4, 0.1, 1.06, order=9, time_msc=4_000)
    assert history_of(7, [closed, first]).deals == (first, closed)


@pytest.mark.parametrize(("back_msc", "is_by_ticket"), [(1_800_000, False), (1_800_001, True)])
def test_tickets_show_the_sequence_where_the_clock_was_set_back_between_two_trades(
    back_msc: int, *, is_by_ticket: bool
) -> None:
    """Seed 9040855: the last exit was an hour older than the one before it."""
    opened = make.deal(1, 7, Side.BUY, 0.3, order=7, time_msc=1)
    part = sold(2, 0.1, 1.06, order=8, time_msc=5_000_000)
    last = sold(3, 0.2, 1.07, order=9, time_msc=5_000_000 - back_msc)
    # A charge moves no lots, so its time says nothing about the sequence of the trades.
    charge = make.deal(4, 7, Side.BUY, 0.0, order=0, time_msc=2, kind=DealKind.CASH)
    in_time = (opened, charge, last, part)
    by_ticket = (opened, part, last, charge)
    shown = [last, charge, part, opened]
    assert history_of(7, shown).deals == (by_ticket if is_by_ticket else in_time)
    assert history_of(7, [part, charge, opened]).deals == (opened, charge, part)


def test_no_deals_at_all_prove_nothing() -> None:
    empty = history_of(7, [])
    assert not empty.is_closed


def test_the_result_of_a_deal_is_all_its_money() -> None:
    deal = sold(2, 0.1, 1.06, profit=10.01, swap=-1.5, commission=-0.35, fee=-0.05)
    assert money_units(deal) == 811_000_000
    assert history_of(7, [deal, make.deal(1, 7, Side.BUY, 0.1, fee=-0.01)]).realised_units == (
        810_000_000
    )


OPENED = make.deal(1, 7, Side.BUY, 0.3, commission=-1.0, time_msc=1)
PART = sold(2, 0.1, 1.06, profit=5.0, time_msc=2)
REST = sold(3, 0.2, 1.07, profit=7.0, time_msc=3)
LOTS = 100_000_000


def known(*deals: Deal) -> Known:
    booked = tuple(map(as_booked, deals))
    tickets = tuple(deal.ticket for deal in deals)
    return Known(tickets, booked, sum(deal.money for deal in booked))


def compared(*shown: Deal, had: Known | None = None) -> Comparison:
    return Comparison(history_of(7, shown), known() if had is None else had)


def test_lots_and_money_of_a_deal_as_it_is_counted() -> None:
    assert as_booked(PART) == BookedDeal(2, 5 * LOTS, -to_units(0.1), order=7, time_msc=2)


@pytest.mark.parametrize("kind", [DealKind.CANCELED, DealKind.CASH])
def test_what_is_no_trade_moves_no_lots_and_counts_its_money(kind: DealKind) -> None:
    deal = sold(2, 0.1, 1.06, commission=-0.5, kind=kind)
    assert as_booked(deal) == BookedDeal(2, -LOTS // 2, 0, order=7)
    assert history_of(7, [OPENED, deal]).net_units == to_units(0.3)


def test_news_are_what_the_book_has_not() -> None:
    found = compared(OPENED, PART, REST, had=known(OPENED, PART))
    assert (found.news, found.changed, found.lacking) == ((REST,), (), frozenset())
    assert found.differs
    assert found.tickets == (1, 2, 3)
    assert found.booked == tuple(map(as_booked, (OPENED, PART, REST)))
    assert found.realised_units == 11 * LOTS
    assert not compared(OPENED, PART, had=known(OPENED, PART)).differs


def test_changed_is_what_has_other_money_or_other_lots() -> None:
    dearer = make.deal(1, 7, Side.BUY, 0.3, commission=-2.75, time_msc=1)
    found = compared(dearer, PART, had=known(OPENED, PART))
    ((before, now),) = [(change.before, change.now) for change in found.changed]
    assert (before, now) == (as_booked(OPENED), dearer)
    assert found.realised_units == to_units(2.25)
    gone = sold(2, 0.1, 1.06, profit=5.0, time_msc=2, kind=DealKind.CANCELED)
    assert [c.now for c in compared(OPENED, gone, had=known(OPENED, PART)).changed] == [gone]


def test_a_deal_whose_price_alone_was_amended_is_no_difference_in_money() -> None:
    amended = sold(2, 0.1, 1.05, profit=5.0, time_msc=2)
    assert not compared(OPENED, amended, had=known(OPENED, PART)).differs


def test_a_result_counted_without_its_deals_is_compared_as_a_whole() -> None:
    """Journals of before have the tickets and the sum alone."""
    had = Known((1, 2), (), 3 * LOTS)
    found = compared(OPENED, PART, had=had)
    assert (found.news, found.changed) == ((), ())
    assert found.differs
    assert found.realised_units == 4 * LOTS


# A history that has lost its beginning.


def test_what_is_archived_stays_counted() -> None:
    found = compared(REST, had=known(OPENED, PART))
    assert (found.news, found.lacking) == ((REST,), frozenset({1, 2}))
    assert found.realised_units == 11 * LOTS
    assert found.tickets == (1, 2, 3)
    assert found.booked == tuple(map(as_booked, (OPENED, PART, REST)))


def test_lots_that_are_open_are_those_of_all_deals_also_of_archived_ones() -> None:
    first, more = make.deal(1, 7, Side.BUY, 0.3), make.deal(2, 7, Side.BUY, 0.1)
    out = sold(3, 0.20000001, 1.06)
    assert compared(first, more, out, had=known(first)).all_units == 19_999_999
    assert compared(more, out, had=known(first)).all_units == 19_999_999
    assert compared(more, out, had=Known((1,))).all_units is None
    assert compared(first, more, out, had=Known((1,))).all_units == 19_999_999


def test_what_is_archived_stays_counted_where_only_tickets_were_kept() -> None:
    found = compared(REST, had=Known((1, 2), (), 4 * LOTS))
    assert found.realised_units == 11 * LOTS
    assert (found.tickets, found.booked) == ((1, 2, 3), (as_booked(REST),))


def test_the_part_that_is_still_shown_may_have_changed() -> None:
    dearer = sold(2, 0.1, 1.06, profit=5.0, commission=-0.5, time_msc=2)
    found = compared(dearer, REST, had=known(OPENED, PART))
    assert found.realised_units == to_units(10.5)


def test_counted_and_shown_deals_together_prove_what_is_open() -> None:
    """The entry was archived, then the broker cancelled the exit that had been counted."""
    opened, closed = make.deal(1, 7, Side.BUY, 0.3, order=7), sold(2, 0.3, 1.06, order=8)
    canceled = msgspec.structs.replace(closed, kind=DealKind.CANCELED)
    found = compared(canceled, had=known(opened, closed))
    assert found.continues_to(7, to_units(0.3))
    assert not found.continues_to(7, 0)
    again = compared(canceled, sold(3, 0.3, 1.07, order=9), had=known(opened, closed))
    assert again.continues_to(7, 0)
    # The sum needs the opening order, each counted deal, and a deal that is shown.
    assert not compared(canceled, had=known(closed)).continues_to(7, 0)
    assert not compared(canceled, had=Known((1, 2), (as_booked(opened),))).continues_to(7, 0)
    assert not compared(had=known(opened)).continues_to(7, to_units(0.3))


HELD = to_units(0.2)


def test_the_closing_deals_of_exactly_what_is_held_are_enough() -> None:
    found = compared(REST, had=known(OPENED, PART))
    assert not found.adds_up_to(0)
    assert found.leads(HELD, 0)
    assert not found.leads(to_units(0.3), 0)
    assert not found.leads(to_units(0.1), 0)


def test_a_whole_history_is_judged_as_a_whole() -> None:
    """The last deal closes as much as is held, and the position is open all the same."""
    found = compared(OPENED, sold(3, 0.15, 1.07))
    assert not found.leads(to_units(0.15), 0)
    assert found.adds_up_to(to_units(0.15))


def test_deals_that_were_counted_prove_nothing_new() -> None:
    assert not compared(REST, had=known(OPENED, REST)).leads(HELD, 0)


def test_of_a_position_never_counted_only_deals_since_it_was_seen_prove_anything() -> None:
    """0.2 lots are left of it, and the part that was closed before was 0.2 lots too."""
    before = sold(2, 0.2, 1.06, time_msc=2)
    assert not compared(before).leads(HELD, 0, since_msc=3)
    assert compared(before, sold(3, 0.2, 1.07, time_msc=3)).leads(HELD, 0, since_msc=3)


def test_old_deals_that_come_back_do_not_hide_the_new_ones() -> None:
    older = sold(2, 0.1, 1.06, time_msc=2)
    assert compared(older, REST).leads(HELD, 0, since_msc=3)


def test_what_was_open_before_the_first_deal_that_is_shown() -> None:
    assert compared(OPENED, PART).begun_with(HELD) == 0
    assert compared(REST).begun_with(0) == HELD
    assert compared(REST, had=known(OPENED, PART)).begun_with(0) == HELD


def test_no_history_is_no_lost_beginning() -> None:
    assert not history_of(7, []).lost_its_beginning
    assert not history_of(7, [OPENED]).lost_its_beginning
    assert history_of(7, [REST]).lost_its_beginning
    canceled = make.deal(1, 7, Side.BUY, 0.3, kind=DealKind.CANCELED)
    assert not history_of(7, [canceled]).lost_its_beginning
    charge = make.deal(9, 7, Side.SELL, 0.0, entry=Entry.OUT, time_msc=0)
    assert not history_of(7, [charge, OPENED]).lost_its_beginning
