"""A position that the broker closed to open it again: as what it goes on, whatever became of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.deals import as_booked
from trueup.core.holds import HoldKind
from trueup.core.model import Deal, DealReason, Entry, History, Position, Side
from trueup.core.policy import Adopt, Policy
from trueup.core.realised.reopening import APART_MSC, Successor, moved_on, opened_by, successors
from trueup.core.sync.plan import Plan

P = make.position(7, volume=0.2)
AT_MSC = make.NOW_NS // 1_000_000 - 5_000
OPENED = make.deal(1, 7, Side.BUY, 0.2, commission=-0.7, time_msc=AT_MSC - 90_000)
AFTER_SEC = 20.0
REOPENINGS = (
    DealReason.ROLLOVER,
    DealReason.SPLIT,
    DealReason.VARIATION_MARGIN,
    DealReason.CORPORATE_ACTION,
)


def out(**changes: Any) -> Deal:
    """The deal that closed it."""
    facts = {"entry": Entry.OUT, "order": 70, "reason": DealReason.ROLLOVER, "time_msc": AT_MSC}
    volume = changes.pop("volume", 0.2)
    return make.deal(2, 7, Side.SELL, volume, **(facts | changes))


def opened_again(ticket: int = 3, position: int = 9, volume: float = 0.2, **changes: Any) -> Deal:
    """A deal that opened a position again."""
    facts: dict[str, Any] = {"reason": DealReason.ROLLOVER, "time_msc": AT_MSC, "order": position}
    side = changes.pop("side", Side.BUY)
    return make.deal(ticket, position, side, volume, **(facts | changes))


def looked(
    *rows: Position,
    late: tuple[Deal, ...] | None = (OPENED, out()),
    own: tuple[Deal, ...] = (OPENED, out()),
    book: Book | None = None,
    explained: frozenset[int] = frozenset({7}),
    deals: tuple[Deal, ...] = (),
    **more: Any,
) -> Plan:
    """The plan of a reading with these deals of the position, and of all positions lately."""
    history = None if late is None else History(4_000, deals=late)
    server_time_msc = more.pop("server_time_msc", AT_MSC + 5_000)
    seen = make.proven(
        *rows,
        deals=own + deals,
        explained=explained,
        history=history,
        server_time_msc=server_time_msc,
    )
    more.setdefault("after_sec", AFTER_SEC)
    return make.planned(book or make.bound_book(P), seen, **more)


def closed(plan: Plan, identifier: int = 7) -> events.PositionClosed:
    """The one event that lets a position go."""
    (event,) = (
        e
        for e in plan.events
        if isinstance(e, events.PositionClosed) and e.position.identifier == identifier
    )
    return event


# Which deals close a position to open it again.


def test_only_what_leaves_nothing_open_and_is_opened_nowhere_here_moved_on() -> None:
    again_here = make.deal(3, 7, Side.BUY, 0.2, reason=DealReason.ROLLOVER, time_msc=AT_MSC)
    part = out(volume=0.1)
    assert moved_on([OPENED, out()]) == (out(),)
    assert moved_on([OPENED, out(), again_here]) == ()
    assert moved_on([OPENED, part]) == ()
    assert moved_on([OPENED, out(reason=DealReason.CLIENT)]) == ()
    assert moved_on([]) == ()


def test_an_order_that_fills_again_after_a_rollover_does_not_hide_it() -> None:
    rest = make.deal(4, 7, Side.BUY, 0.1, time_msc=AT_MSC + 1)
    assert moved_on([OPENED, out(), rest]) == (out(),)


def test_money_without_lots_is_between_nothing() -> None:
    money = make.deal(3, 7, Side.SELL, 0.0, reason=DealReason.VARIATION_MARGIN, time_msc=AT_MSC)
    again_here = make.deal(4, 7, Side.BUY, 0.2, reason=DealReason.ROLLOVER, time_msc=AT_MSC)
    assert moved_on([OPENED, out(), money, again_here]) == ()


def test_where_the_beginning_is_archived_it_is_known_what_was_open() -> None:
    assert moved_on([out()]) == ()
    assert moved_on([out()], begun_with=20_000_000) == (out(),)


# The proof, and the link.


@pytest.mark.parametrize("reason", REOPENINGS)
def test_it_is_closed_by_its_deals_and_linked_by_the_history(reason: DealReason) -> None:
    own = (OPENED, out(reason=reason))
    again = make.position(9, volume=0.2)
    plan = looked(again, own=own, late=(opened_again(reason=reason),))
    event = closed(plan)
    assert event.went_on_as == (9,)
    assert event.because.endswith("server time; the broker opened it again as 9")
    assert f"closed {reason.value}: 0.20 lots" in event.because
    assert plan.holds == ()


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"volume": 0.8}, {"volume": 0.8}),  # a split
        ({"time_msc": AT_MSC + APART_MSC}, {}),  # rolled by hand, later
        ({}, {"volume": 0.1}),  # closed in part since
        ({}, {"volume": 0.5, "price_open": 1.2}),  # grown since
        ({"side": Side.SELL}, {"side": Side.SELL}),
    ],
)
def test_whatever_became_of_it_it_is_that(changes: dict[str, Any], row: dict[str, Any]) -> None:
    again = make.position(9, **({"volume": 0.2} | row))
    assert closed(looked(again, late=(opened_again(**changes),))).went_on_as == (9,)


@pytest.mark.parametrize(
    "other",
    [
        opened_again(reason=DealReason.EXPERT),
        opened_again(entry=Entry.OUT),
        opened_again(volume=0.0),
        opened_again(position=0),
        opened_again(position=7),
        opened_again(ticket=1),  # before it was closed
        opened_again(time_msc=AT_MSC - 1_001),
        opened_again(time_msc=AT_MSC + APART_MSC + 1),
    ],
)
def test_what_else_was_done_then_is_not_it(other: Deal) -> None:
    hold = looked(make.position(9, volume=0.2), late=(other,)).holds[0]
    assert (hold.identifier, hold.kind) == (7, HoldKind.MISSING)
    assert hold.why == "the broker closed it to open it again, and does not show that yet"


@pytest.mark.parametrize(
    "other",
    [
        {"time_msc": AT_MSC + 500},
        {"reason": DealReason.SPLIT},
        {"side": Side.SELL},
        {"magic": 5},
        {"symbol": "GBPUSD"},
        {"volume": 0.3},
    ],
)
def test_of_several_it_is_the_one_that_is_most_like_it(other: dict[str, Any]) -> None:
    wrong = opened_again(4, 10, **({"volume": 0.2} | other))
    for late in ((wrong, opened_again()), (opened_again(), wrong)):
        assert closed(looked(make.position(9, volume=0.2), late=late)).went_on_as == (9,)


def test_of_two_that_are_alike_both_are_followed_and_neither_is_named_as_the_one() -> None:
    rows = (make.position(9, volume=0.2), make.position(10, volume=0.2))
    event = closed(looked(*rows, late=(opened_again(), opened_again(4, 10))))
    assert event.went_on_as == (9, 10)
    assert event.because.endswith("; it goes on as one of 9, 10")


def test_the_next_contract_is_told_and_not_followed_where_it_is_out_of_scope() -> None:
    later = opened_again(symbol="GBPUSD", time_msc=AT_MSC + 2_000)
    event = closed(looked(make.position(9, symbol="GBPUSD"), late=(later,)))
    assert event.went_on_as == ()
    assert event.because.endswith(
        "; the broker opened it again as 9 in GBPUSD, which is outside this book's scope"
    )


@pytest.mark.parametrize(("magic", "followed"), [(3, (9,)), (4, ())])
def test_what_goes_on_under_a_name_that_the_broker_gave_its_symbol_is_still_ours(
    magic: int, followed: tuple[int, ...]
) -> None:
    """Seed 9017339: no policy has the name that a symbol had for some seconds."""
    local = make.position(7, volume=0.2, symbol="EURUSD.m", magic=3)
    own = tuple(
        msgspec.structs.replace(deal, symbol="EURUSD.m", magic=3) for deal in (OPENED, out())
    )
    late = (opened_again(symbol="EURUSD.m", magic=magic),)
    rows = make.position(9, volume=0.2, symbol="EURUSD.m", magic=magic)
    plan = looked(rows, own=own, late=late, book=make.bound_book(local))
    assert closed(plan).went_on_as == followed
    # So it is without the deals, by the list alone.
    rows = msgspec.structs.replace(rows, time_msc=AT_MSC)
    plan = looked(
        rows, own=own, late=None, book=make.bound_book(local), server_time_msc=AT_MSC + 70_000
    )
    assert closed(plan).went_on_as == followed


def test_ours_by_magic_is_followed_and_anothers_is_not() -> None:
    policy = Policy(
        symbols=frozenset({"EURUSD"}), magics=frozenset({3}), adopt=Adopt.OURS, settle_ms=0
    )
    local = make.position(7, volume=0.2, magic=3)
    own = (OPENED, out(magic=3))
    for magic, followed in ((3, (9,)), (4, ())):
        plan = looked(
            own=own,
            late=(opened_again(magic=magic),),
            book=make.bound_book(local),
            policy=policy,
            explained=frozenset({7, 9}),
        )
        assert closed(plan).went_on_as == followed


# Until it shows, and no longer.


def test_the_history_is_asked_for_before_anything_is_decided() -> None:
    plan = looked(late=None, has_asked_history=False, server_time_msc=AT_MSC + 600_000)
    assert plan.holds[0].identifier == 7
    assert plan.history_age_sec > 600 + APART_MSC // 1000


def test_a_history_that_is_never_as_long_as_that_is_asked_for_as_far_as_it_goes() -> None:
    years_msc = 3 * 365 * 86_400_000
    plan = looked(late=None, has_asked_history=False, server_time_msc=AT_MSC + years_msc)
    assert plan.history_age_sec == 31 * 86_400


@pytest.mark.parametrize(("heard_sec", "is_over"), [(9, False), (10, True)])
def test_a_price_of_ten_seconds_later_ends_the_waiting(heard_sec: int, is_over: bool) -> None:
    """The terminal has heard from its trade server since, and there is no other half."""
    plan = looked(server_time_msc=AT_MSC + heard_sec * 1000)
    if is_over:
        event = closed(plan)
        assert event.because.endswith("server time; what it goes on as is not shown")
        assert event.went_on_as == ()
    else:
        assert plan.holds[0].kind is HoldKind.MISSING


@pytest.mark.parametrize(("missing_sec", "is_over"), [(59, False), (60, True)])
def test_without_prices_a_minute_by_our_clock_ends_it(missing_sec: int, is_over: bool) -> None:
    """A contract that expired is quoted no more."""
    book = make.bound_book(P)
    book.apply(events.PositionMissing(at_ns=make.NOW_NS, position=P, because="x"))
    plan = looked(book=book, server_time_msc=0, after_sec=missing_sec)
    assert (not plan.holds) is is_over


@pytest.mark.parametrize(("missing_sec", "is_over"), [(59, False), (60, True)])
def test_a_history_without_the_exit_proves_nothing_for_a_minute(
    missing_sec: int, is_over: bool
) -> None:
    """Seed 21021511: the terminal came back, and showed a part of its history at first."""
    plan = looked(late=(OPENED,), server_time_msc=AT_MSC + 600_000)
    assert plan.holds[0].kind is HoldKind.MISSING
    # An exit from before that history is not in it, and is not waited for.
    plan = looked(late=(), server_time_msc=AT_MSC + 4_000_000)
    assert closed(plan).went_on_as == ()
    plan = looked(late=(), server_time_msc=AT_MSC + 3_999_999)
    assert plan.holds[0].kind is HoldKind.MISSING
    book = make.bound_book(P)
    book.apply(events.PositionMissing(at_ns=make.NOW_NS, position=P, because="x"))
    far = AT_MSC + 600_000
    plan = looked(book=book, late=(OPENED,), server_time_msc=far, after_sec=missing_sec)
    assert (not plan.holds) is is_over


@pytest.mark.parametrize("late", [None, (out(),)])
def test_without_the_deals_only_what_was_opened_in_that_second_is_it(late: Any) -> None:
    again = make.position(9, volume=0.2, time_msc=AT_MSC + 1000)
    plan = looked(again, late=late, server_time_msc=AT_MSC + 60_000)
    assert closed(plan).went_on_as == ((9,) if late is None else ())
    for row in (
        {"time_msc": AT_MSC + 1001},
        {"volume": 0.3},
        {"side": Side.SELL},
        {"symbol": "GBPUSD"},
    ):
        other = msgspec.structs.replace(again, **row)
        plan = looked(other, late=None, server_time_msc=AT_MSC + 60_000)
        assert closed(plan).went_on_as == ()


# What it goes on as counts on.


def counted_book() -> Book:
    """A book whose position an order of ours opened, its entry counted."""
    book = Book().replay([make.bound(), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS,
            position=P,
            deals=(1,),
            booked=(as_booked(OPENED),),
            realised_units=-70_000_000,
            because="opened",
        )
    )
    return book


def test_the_entry_of_what_ours_goes_on_as_counts_at_once() -> None:
    book = counted_book()
    again = opened_again(commission=-0.7)
    row = make.position(9, volume=0.2)
    plan = looked(row, late=(again,), deals=(again,), explained=frozenset({7, 9}), book=book)
    book.replay(plan.events)
    assert (book.realised, set(book.unexplained)) == (-1.4, set())
    # Where the history does not have all of its deals, they are asked for.
    moved = opened_again(order=90)
    assert looked(row, late=(moved,), book=counted_book()).questions == (9,)


def test_what_came_and_went_meanwhile_is_counted_too() -> None:
    book = counted_book()
    again = opened_again(commission=-0.7)
    stopped = make.deal(
        5, 9, Side.SELL, 0.2, entry=Entry.OUT, order=90, profit=-20.0, time_msc=AT_MSC + 100
    )
    first = looked(late=(again,), book=book)
    book.replay(first.events)
    assert set(book.unexplained) == {9}
    assert book.realised == -0.7
    second = looked(
        own=(),
        deals=(again, stopped),
        explained=frozenset({9}),
        book=book,
    )
    adopted, ended = second.events
    assert isinstance(adopted, events.PositionAdopted)
    assert isinstance(ended, events.PositionClosed)
    assert ended.because.startswith("opened and closed between two readings: closed for a reason")
    book.replay(second.events)
    assert (book.realised, book.unexplained, book.holdings) == (-21.4, {}, {})


def test_a_chain_of_rollovers_is_followed_to_its_end() -> None:
    """The middle one was adopted, and left, before the first was known to go on as it."""
    book = counted_book()
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(9, volume=0.2)))
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(11, volume=0.2)))
    middle = make.position(9, volume=0.2)
    book.apply(
        events.PositionClosed(
            at_ns=make.NOW_NS, position=middle, because="by a rollover", went_on_as=(11,)
        )
    )
    assert set(book.unexplained) == set()
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=P, because="x", went_on_as=(9,)))
    assert set(book.unexplained) == {11}


def test_what_a_closed_position_went_on_as_is_counted_by_the_same_reading() -> None:
    """Seed 9002811: our order closed a position in the book that had been rolled over before."""

    def closed_by_us() -> Book:
        sold = make.created("B", Side.SELL, 0.2, position=7)
        return counted_book().replay([sold, make.filled("B", 8, Side.SELL, 0.2, 1.06)])

    book = closed_by_us()
    assert not book.holdings
    again = opened_again(commission=-0.7)
    ended = make.deal(
        5, 9, Side.SELL, 0.2, entry=Entry.OUT, order=8, profit=-20.0, time_msc=AT_MSC + 100
    )
    plan = looked(
        late=(again, ended), deals=(again, ended), explained=frozenset({7, 8, 9}), book=book
    )
    recorded = [e for e in plan.events if isinstance(e, events.DealsRecorded)]
    assert [event.went_on_as for event in recorded if event.position.identifier == 7] == [(9,)]
    book.replay(plan.events)
    assert (book.realised, set(book.unexplained)) == (-21.4, set())
    # The deals of the successor are asked for, where the reading does not have them.
    assert 9 in looked(late=(again,), book=closed_by_us()).questions


def test_what_was_opened_a_second_before_may_be_it_and_no_earlier() -> None:
    """Two servers' clocks write the two halves."""
    early = opened_again(time_msc=AT_MSC - 1_000)
    assert closed(looked(make.position(9, volume=0.2), late=(early,))).went_on_as == (9,)


def test_what_was_opened_within_a_second_comes_before_what_was_opened_later() -> None:
    late = (
        opened_again(time_msc=AT_MSC + 1_000),
        opened_again(4, 10, time_msc=AT_MSC + 1_001),
    )
    assert closed(looked(make.position(9, volume=0.2), late=late)).went_on_as == (9,)


def test_of_two_symbols_of_ours_it_is_the_same_one() -> None:
    late = (opened_again(4, 10, symbol="GBPUSD"), opened_again())
    plan = looked(make.position(9, volume=0.2), late=late, policy=make.policy("EURUSD", "GBPUSD"))
    assert closed(plan).went_on_as == (9,)


def test_a_second_rollover_of_one_number_is_followed_also_after_the_first_was() -> None:
    """An order of ours filled the same number again in between."""
    rest = make.deal(4, 7, Side.BUY, 0.2, time_msc=AT_MSC + 1)
    second = out(time_msc=AT_MSC + 100_000)
    second = msgspec.structs.replace(second, ticket=5)
    late = (
        opened_again(),
        opened_again(6, 11, time_msc=AT_MSC + 100_000),
    )
    deals = (OPENED, out(), rest, second)
    both = closed(looked(own=deals, late=late, server_time_msc=AT_MSC + 200_000))
    assert both.went_on_as == (9, 11)
    book = make.bound_book(P)
    booked = tuple(map(as_booked, deals[:3]))
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS,
            position=P,
            deals=(1, 2, 4),
            booked=booked,
            realised_units=sum(deal.money for deal in booked),
            because="counted before",
        )
    )
    plan = looked(own=deals, late=late, book=book, server_time_msc=AT_MSC + 200_000)
    assert closed(plan).went_on_as == (11,)


@pytest.mark.parametrize(("order", "ticket"), [(90, 90), (0, 9)])
def test_what_a_deal_opened_is_told_as_it_was_then(order: int, ticket: int) -> None:
    """Some brokers make the deals of a rollover without an order."""
    deal = opened_again(
        order=order, side=Side.SELL, volume=0.3, price=1.07, magic=5, comment="rolled"
    )
    assert opened_by(deal) == Position(
        ticket,
        "EURUSD",
        Side.SELL,
        0.3,
        1.07,
        identifier=9,
        magic=5,
        comment="rolled",
        time=AT_MSC // 1000,
        time_msc=AT_MSC,
    )


def test_without_the_deals_what_was_opened_then_in_the_list_is_told_with_its_symbol() -> None:
    again = make.position(9, volume=0.2, time_msc=AT_MSC)
    look = make.look_at(make.proven(again))
    assert successors(P, out(), look) == (Successor(9, "EURUSD", is_ours=True),)


def test_of_several_that_fit_each_is_named_in_one_order_whatever_the_listing() -> None:
    deals = opened_again(3, 9), opened_again(4, 11)
    told = [closed(looked(late=late)).went_on_as for late in (deals, deals[::-1])]
    assert told == [(9, 11), (9, 11)]

    rows = [make.position(key, volume=0.2, time_msc=AT_MSC) for key in (9, 11)]
    looks = [make.look_at(make.proven(*order)) for order in (rows, rows[::-1])]
    first, second = (successors(P, out(), look) for look in looks)
    assert first == second
    assert [one.identifier for one in first] == [9, 11]
