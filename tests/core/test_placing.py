"""Orders of ours that were executed: their deals are counted, whatever position they went into."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.holdings import Unbooked
from trueup.core.holds import BLOCKS_ENTRIES, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.waited import by_dates
from trueup.core.model import Deal, DealKind, DealReason, Entry, History, PastOrder, Position, Side
from trueup.core.realised.placing import row_of
from trueup.core.sync.plan import Plan, plan

P = make.position(7, volume=0.2)
OPENED = make.deal(1, 7, Side.BUY, 0.2, commission=-0.7)


def bought(ticket: int = 8, volume: float = 0.1, account: Any = make.NETTING) -> Book:
    """A book with position 7, to which our order has just brought some more, as we think."""
    book = make.bound_book(P, account=account)
    book.apply(make.created("A", Side.BUY, volume))
    book.apply(make.filled("A", ticket, Side.BUY, volume, 1.0543))
    return book


def looked(book: Book, *rows: Position, read: Any = None, **more: Any) -> Plan:
    """The plan of a reading; `read` are the deals of the positions that were asked about."""
    account = make.NETTING if book.nets else make.ACCOUNT
    read = read or {}
    deals = tuple(deal for own in read.values() for deal in own)
    after_sec = more.pop("after_sec", 20)
    facts = {"explained": frozenset(read), "account": account}
    seen = make.proven(*rows, deals=deals, **(facts | more))
    return make.planned(book, seen, after_sec=after_sec)


def kinds(plan: Plan) -> list[tuple[str, int]]:
    return [
        (type(event).__name__, event.position.identifier)
        for event in plan.events
        if hasattr(event, "position")
    ]


BY_HAND = make.deal(2, 7, Side.SELL, 0.2, entry=Entry.OUT, order=70, reason=DealReason.CLIENT)
SECOND = make.deal(3, 8, Side.BUY, 0.1, commission=-0.5, time_msc=1)
STOPPED = make.deal(4, 8, Side.SELL, 0.1, entry=Entry.OUT, order=80, profit=-30.0, time_msc=2)


def test_a_second_entry_after_a_hand_closed_the_first_is_found_where_it_went() -> None:
    book = bought()
    first = looked(book)
    assert first.questions == (7,)
    # Its deals show that our order did not go into it, so it is looked for.
    second = looked(book, read={7: (OPENED, BY_HAND)})
    assert (second.questions, second.order_questions) == ((8,), (8,))
    third = looked(book, read={7: (OPENED, BY_HAND), 8: (SECOND, STOPPED)})
    assert kinds(third) == [("PositionClosed", 7), ("PositionAdopted", 8), ("PositionClosed", 8)]
    book.replay(third.events)
    assert (book.realised, book.unbooked, book.unexplained) == (-31.2, {}, {})


def test_while_it_is_not_found_it_is_asked_for_and_nothing_is_held() -> None:
    book = bought()
    book.replay(looked(book, read={7: (OPENED, BY_HAND)}).events)
    plan = looked(book)
    assert (plan.events, plan.holds, plan.questions) == ((), (), (8,))
    half = looked(book, read={8: (SECOND,)})
    assert (half.events, half.questions) == ((), (8,))


def test_an_entry_that_went_into_the_position_we_thought_asks_for_nothing_else() -> None:
    book = bought()
    more = make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=1)
    row = make.position(7, volume=0.3)
    assert looked(book, row).questions == (7,)
    done = looked(book, row, read={7: (OPENED, more)})
    assert (kinds(done), done.questions, done.order_questions) == ([("DealsRecorded", 7)], (), ())
    book.replay(done.events)
    assert looked(book, row) == Plan()


def test_a_late_deal_of_ours_is_waited_for_though_the_old_ones_add_up() -> None:
    """A hand closed as much as we had bought, so the volume is as before."""
    book = bought()
    row = make.position(7, volume=0.2)
    asked = looked(book, row, read={7: (OPENED,)})
    book.replay(asked.events)
    assert set(book.unbooked) == {8}
    both = (
        make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=1),
        make.deal(4, 7, Side.SELL, 0.1, entry=Entry.OUT, order=70, profit=9.0, time_msc=2),
    )
    book.replay(looked(book, row, read={7: (OPENED, *both)}).events)
    assert (book.realised, book.unbooked) == (8.3, {})


def test_it_says_itself_which_position_it_went_into() -> None:
    """A hand had opened one before us, and closed all of it."""
    book = make.bound_book(account=make.NETTING)
    book.apply(make.created("A", Side.BUY, 0.1))
    book.apply(make.filled("A", 8, Side.BUY, 0.1, 1.0543))
    past = PastOrder(8, "filled", 5, 0.1)
    plan = looked(book, read={8: ()}, past_orders=(past,))
    assert 5 in plan.questions
    hands = (
        make.deal(1, 5, Side.BUY, 0.3, order=5),
        make.deal(2, 5, Side.BUY, 0.1, order=8, time_msc=1),
        make.deal(3, 5, Side.SELL, 0.4, entry=Entry.OUT, order=60, profit=12.0, time_msc=2),
    )
    plan = looked(book, read={8: (), 5: hands}, past_orders=(past,))
    book.replay(plan.events)
    assert (book.realised, book.unbooked, book.holdings) == (12.0, {}, {})


# Parts of one order in several positions.


FIRST_PART = make.deal(5, 6, Side.BUY, 0.04, order=8, time_msc=1)
OF_SIX = (
    make.deal(4, 6, Side.SELL, 0.04, order=6),
    msgspec.structs.replace(FIRST_PART, entry=Entry.OUT, profit=3.0),
)
REST = make.deal(7, 8, Side.BUY, 0.06, order=8, time_msc=2)


def parted() -> Book:
    """A book whose pending order was filled in two parts, as the order history says."""
    book = make.bound_book(account=make.NETTING)
    order = make.pending(8, time_setup=make.NOW_NS // 1_000_000_000 - 600)
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=order))
    book.apply(
        events.PendingClosed(
            at_ns=make.NOW_NS, order=order, because="filled", filled=0.1, position=8
        )
    )
    return book


def test_of_parts_in_several_positions_the_history_of_the_account_tells() -> None:
    book = parted()
    past = (PastOrder(8, "filled", 8, 0.1),)
    row = make.position(8, volume=0.06)
    plan = looked(book, row, read={8: (REST,)}, past_orders=past)
    assert plan.history_age_sec > 600
    late = History(4_000, deals=(*OF_SIX, REST))
    plan = looked(book, row, read={8: (REST,)}, past_orders=past, history=late)
    assert kinds(plan)[-2:] == [("PositionAdopted", 6), ("PositionClosed", 6)]
    book.replay(plan.events)
    assert (book.realised, book.unbooked) == (3.0, {})


def test_a_part_that_was_counted_before_is_not_looked_for_again() -> None:
    book = parted()
    past = (PastOrder(8, "filled", 8, 0.1),)
    late = History(4_000, deals=(*OF_SIX, REST))
    book.replay(looked(book, read={8: (REST,)}, past_orders=past, history=late).events)
    assert set(book.unbooked) == {8}
    out = make.deal(9, 8, Side.SELL, 0.06, entry=Entry.OUT, order=90, profit=-1.0, time_msc=3)
    book.replay(looked(book, read={8: (REST, out)}, past_orders=past).events)
    assert (book.realised, book.unbooked) == (2.0, {})


def test_no_more_is_waited_for_than_the_broker_says_was_executed() -> None:
    """The fill that we were told of was larger."""
    book = bought(volume=0.15)
    past = (PastOrder(8, "filled", 7, 0.1),)
    more = make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=1)
    row = make.position(7, volume=0.3)
    plan = looked(book, row, read={7: (OPENED, more)}, past_orders=past, after_sec=30)
    (*_, event) = plan.events
    assert isinstance(event, events.DealsRecorded)
    assert event.complete == (8,)
    book.replay(plan.events)
    assert book.unbooked == {}


def test_an_order_whose_deal_the_broker_cancelled_is_counted_with_that() -> None:
    book = bought()
    gone = make.deal(3, 7, Side.BUY, 0.1, order=8, kind=DealKind.CANCELED, time_msc=1)
    plan = looked(book, P, read={7: (OPENED, gone)})
    book.replay(plan.events)
    assert book.unbooked == {}


# What is not asked.


@pytest.mark.parametrize("rows", [(), (make.position(8, volume=0.1),)])
def test_on_a_hedging_account_it_is_known_where_it_went(rows: Any) -> None:
    book = bought(account=make.ACCOUNT)
    assert set(book.holdings) == {7, 8}
    plan = looked(book, P, *rows)
    assert (plan.questions, plan.order_questions) == ((8,), ())


def test_orders_that_nothing_is_found_of_keep_none_from_being_asked_about() -> None:
    book = make.bound_book(account=make.NETTING)
    tickets = tuple(range(1_000, 1_200))
    for ticket in tickets:
        order = make.pending(ticket)
        book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=order))
        book.apply(
            events.PendingClosed(at_ns=make.NOW_NS, order=order, because="filled", position=ticket)
        )
    assert looked(book).questions == tickets


def test_on_the_guides_wire_there_are_no_deals_to_wait_for() -> None:
    book = Book()
    book.apply(make.created("A", Side.BUY, 0.1))
    book.apply(make.filled("A", 8, Side.BUY, 0.1, 1.0543))
    assert book.unbooked == {}
    assert make.planned(book, make.snapshot(), after_sec=20).questions == ()


# What raises in the rule of one position is that position's trouble alone.


def broken(deal: Deal) -> Deal:
    """A deal with which no rule can do anything."""
    return msgspec.structs.replace(deal, volume=float("nan"))


def test_what_raises_becomes_a_hold_with_its_reason_and_the_others_go_on() -> None:
    book = make.bound_book(P, make.position(9, volume=0.2))
    out = make.deal(6, 9, Side.SELL, 0.2, entry=Entry.OUT, order=90, profit=4.0)
    nine = (make.deal(5, 9, Side.BUY, 0.2), out)
    plan = looked(book, read={7: (broken(OPENED),), 9: nine})
    (hold,) = plan.holds
    assert (hold.kind, hold.identifier, hold.symbol) == (HoldKind.BROKEN, 7, "EURUSD")
    assert hold.what.startswith(
        "Ticket 7 could not be judged, ValueError: cannot convert float NaN"
    )
    assert hold.what.endswith(")")
    assert ".py line " in hold.what
    assert kinds(plan) == [("PositionClosed", 9)]
    book.replay(plan.events)
    assert (book.realised, set(book.holdings)) == (4.0, {7})


@pytest.mark.parametrize(
    "what", ["zombie", "drift", "unexplained", "unbooked", "recheck", "updated"]
)
def test_no_rule_of_a_position_ends_the_sync(what: str) -> None:
    book, rechecks = bought(account=make.ACCOUNT), tuple[int, ...]()
    rows: tuple[Position, ...] = (P, make.position(8, volume=0.1))
    if what == "zombie":
        book, rows = make.bound_book(account=make.NETTING), (P,)
    elif what == "drift":
        rows = (make.position(7, volume=0.1), rows[1])
    elif what == "unbooked":
        book.unexplained.clear()
    elif what == "recheck":
        recorded = looked(book, *rows, read={8: (make.deal(1, 8, Side.BUY, 0.1),)})
        book.replay(recorded.events)
        rechecks = (8,)
    elif what == "updated":
        book = make.bound_book(make.position(7, volume=0.2, time_update_msc=1))
        rows = (make.position(7, volume=0.2, time_update_msc=2),)
    read = {7: (broken(OPENED),), 8: (broken(make.deal(1, 8, Side.BUY, 0.1)),)}
    deals = tuple(deal for own in read.values() for deal in own)
    account = make.NETTING if book.nets else make.ACCOUNT
    seen = make.proven(*rows, deals=deals, explained=frozenset(read), account=account)
    asked_ns = make.NOW_NS + 20 * make.SECOND_NS
    found = plan(
        SyncInputs(
            book=book,
            snapshot=seen,
            policy=make.OURS,
            asked_version=book.version,
            asked_ns=asked_ns,
            now_ns=asked_ns,
            rechecks=rechecks,
            waited=by_dates(asked_ns),
        )
    )
    assert {hold.kind for hold in found.holds} == {HoldKind.BROKEN}
    assert not any(isinstance(event, events.DealsRecorded) for event in found.events)


def test_entries_wait_while_a_position_cannot_be_judged() -> None:
    assert HoldKind.BROKEN in BLOCKS_ENTRIES


def test_what_cannot_be_judged_is_held_by_its_number_and_in_its_symbol() -> None:
    """Where only an order is known, by the number of that; where nothing is, in no symbol."""
    book = bought(account=make.ACCOUNT)
    book.unexplained.clear()
    book.unbooked[8] = Unbooked("GBPUSD", 10_000_000, 9)
    rows = (P, make.position(8, volume=0.1))
    nan = {key: (broken(make.deal(1, key, Side.BUY, 0.1, order=8)),) for key in (7, 9, 11)}
    deals = tuple(deal for own in nan.values() for deal in own)
    seen = make.proven(*rows, deals=deals, explained=frozenset(nan))
    found = make.planned(
        book, seen, policy=make.policy("EURUSD", "GBPUSD"), after_sec=20, rechecks=(7, 11)
    )
    assert [(hold.kind, hold.identifier, hold.symbol) for hold in found.holds] == [
        (HoldKind.BROKEN, 8, "GBPUSD"),
        (HoldKind.BROKEN, 7, "EURUSD"),
        (HoldKind.BROKEN, 11, ""),
    ]
    row = row_of(8, Unbooked("GBPUSD"))
    assert (row.ticket, row.identifier, row.symbol) == (8, 8, "GBPUSD")


# What is compared again.

STOPS = msgspec.structs.replace(P, sl=1.0)


def counted_book(*deals: Deal, position: Position = STOPS, account: Any = make.NETTING) -> Book:
    book = make.bound_book(position, account=account)
    book.apply(make.counting(position, *deals))
    book.unexplained.clear()
    return book


def recorded(plan: Plan) -> list[tuple[int, Position]]:
    found = [e for e in plan.events if isinstance(e, events.DealsRecorded)]
    return [(event.position.identifier, event.position) for event in found]


LATE = msgspec.structs.replace(OPENED, commission=-2.0)


def rechecked(book: Book, *rows: Position, deals: tuple[Deal, ...]) -> Plan:
    seen = make.proven(*rows, deals=deals, explained=frozenset({7}), account=make.NETTING)
    return make.planned(book, seen, after_sec=20, rechecks=(7,))


def test_an_open_position_is_compared_again_also_long_after_it_was_counted() -> None:
    book = counted_book(OPENED)
    book.recent.clear()
    assert recorded(rechecked(book, STOPS, deals=(LATE,))) == [(7, STOPS)]


def test_a_closed_position_is_told_as_the_book_had_it_last() -> None:
    book = counted_book(OPENED)
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=STOPS, because="x"))
    book.apply(make.counting(STOPS, OPENED, BY_HAND))
    assert recorded(rechecked(book, deals=(LATE, BY_HAND))) == [(7, STOPS)]


def test_what_is_awaited_already_is_not_asked_about_twice() -> None:
    book = counted_book(OPENED)
    book.unexplained[7] = STOPS
    seen = make.proven(STOPS, account=make.NETTING)
    plan = make.planned(book, seen, after_sec=20, rechecks=(7,))
    assert (plan.questions, plan.rechecks) == ((7,), ())


# An order of which the deals are in a position that the book has let go.

BACK = (
    make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=3),
    make.deal(4, 7, Side.SELL, 0.1, entry=Entry.OUT, order=71, profit=9.0, time_msc=4),
)


def let_go(units: int = 10_000_000) -> Book:
    """A book whose position 7 is closed and counted, and whose order 8 may have gone into it."""
    book = counted_book(OPENED)
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=STOPS, because="x"))
    book.apply(make.counting(STOPS, OPENED, BY_HAND))
    book.unexplained.clear()
    book.unbooked[8] = Unbooked("EURUSD", units, 7)
    return book


def test_a_closed_position_that_an_order_went_into_counts_that() -> None:
    book = let_go()
    plan = looked(book, read={7: (OPENED, BY_HAND, *BACK)})
    assert recorded(plan) == [(7, STOPS)]
    assert plan.questions == ()
    book.replay(plan.events)
    assert (book.realised, book.unbooked) == (8.3, {})
    # The entry alone leaves something open: its exit is still to come.
    early = looked(let_go(), read={7: (OPENED, BY_HAND, BACK[0])})
    assert (early.events, early.questions) == ((), (7,))


def test_a_closed_position_counts_that_also_where_its_first_deals_are_archived() -> None:
    book = let_go()
    plan = looked(book, read={7: (BY_HAND, *BACK)})
    assert recorded(plan) == [(7, STOPS)]
    book.replay(plan.events)
    assert (book.realised, book.unbooked) == (8.3, {})
    early = looked(let_go(), read={7: (BY_HAND, BACK[0])})
    assert (early.events, early.questions) == ((), (7,))


@pytest.mark.parametrize("own", [(OPENED, BY_HAND), (LATE, BY_HAND)])
def test_a_position_that_an_order_did_not_go_into_is_left_alone(own: tuple[Deal, ...]) -> None:
    plan = looked(let_go(), read={7: own})
    assert plan.events == ()
    assert set(plan.questions) == {7, 8}


def test_a_closed_position_that_may_go_on_as_another_waits_for_that() -> None:
    rolled = msgspec.structs.replace(
        BACK[1], reason=DealReason.ROLLOVER, time_msc=make.NOW_NS // 1_000_000
    )
    plan = looked(let_go(), read={7: (OPENED, BY_HAND, BACK[0], rolled)})
    assert plan.events == ()


def test_deals_that_were_counted_before_their_order_was_known_end_the_wait_for_it() -> None:
    """The answer told of more than the broker did."""
    row = make.position(7, volume=0.3)
    more = make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=1)
    book = counted_book(OPENED, more, position=row)
    book.unbooked[8] = Unbooked("EURUSD", 15_000_000, 7)
    past = (PastOrder(8, "filled", 7, 0.1),)
    plan = looked(book, row, read={7: (OPENED, more)}, past_orders=past)
    (event,) = plan.events
    assert isinstance(event, events.DealsRecorded)
    assert event.complete == (8,)
    book.replay(plan.events)
    assert book.unbooked == {}


def test_the_event_that_has_the_orders_deals_says_that_they_are_all() -> None:
    """Whatever else is counted in the same look, before or after it."""
    row = make.position(7, volume=0.3)
    more = make.deal(3, 7, Side.BUY, 0.1, order=8, time_msc=1)
    book = counted_book(OPENED, position=row)
    book.unexplained[7] = row
    book.unexplained[9] = make.position(9, symbol="EURUSD")
    book.unbooked[8] = Unbooked("EURUSD", 15_000_000, 7)
    nine = (
        make.deal(5, 9, Side.BUY, 0.2, time_msc=2),
        make.deal(6, 9, Side.SELL, 0.2, entry=Entry.OUT, order=90, time_msc=3),
    )
    past = (PastOrder(8, "filled", 7, 0.1),)
    plan = looked(book, row, read={7: (OPENED, more), 9: nine}, past_orders=past)
    assert [(kind, number) for kind, number in kinds(plan)] == [
        ("DealsRecorded", 7),
        ("PositionAdopted", 9),
        ("PositionClosed", 9),
    ]
    assert plan.holds == ()
    complete = [getattr(event, "complete", None) for event in plan.events]
    assert complete == [(8,), None, ()]


# Parts in an open position, in the one that the order names, and in others.


def test_parts_in_an_open_position_and_in_a_closed_one_both_count() -> None:
    row = make.position(7, volume=0.24)
    book = counted_book(OPENED, position=row)
    book.unbooked[8] = Unbooked("EURUSD", 10_000_000)
    part = make.deal(5, 7, Side.BUY, 0.04, order=8, time_msc=1)
    out = make.deal(9, 8, Side.SELL, 0.06, entry=Entry.OUT, order=90, profit=-1.0, time_msc=3)
    past = (PastOrder(8, "filled", 8, 0.1),)
    plan = looked(book, row, read={7: (OPENED, part), 8: (REST, out)}, past_orders=past)
    assert kinds(plan) == [("DealsRecorded", 7), ("PositionAdopted", 8), ("PositionClosed", 8)]
    assert plan.questions == ()


def test_deals_that_are_counted_are_not_counted_again_before_those_of_its_other_position() -> None:
    """The last deal of the other position is late, so nothing of that one is counted yet."""
    row, other = make.position(7, volume=0.24), make.position(8, volume=0.08)
    part = make.deal(5, 7, Side.BUY, 0.04, order=8, time_msc=1)
    book = counted_book(OPENED, part, position=row)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=other))
    book.unbooked[8] = Unbooked("EURUSD", 10_000_000)
    past = (PastOrder(8, "filled", 8, 0.1),)
    read = {7: (OPENED, part), 8: (REST,)}
    assert looked(book, row, other, read=read, past_orders=past).events == ()
    late = make.deal(9, 8, Side.BUY, 0.02, order=90, time_msc=3)
    plan = looked(book, row, other, read={**read, 8: (REST, late)}, past_orders=past)
    assert ("DealsRecorded", 8) in kinds(plan)
    book.replay(plan.events)
    assert book.unbooked == {}


PAST = (PastOrder(8, "filled", 8, 0.1),)
OUT_OF_EIGHT = make.deal(9, 8, Side.SELL, 0.06, entry=Entry.OUT, order=90, profit=-1.0, time_msc=3)


def test_the_history_is_wanted_since_a_little_before_the_order_was_placed() -> None:
    plan = looked(parted(), read={8: (REST,)}, past_orders=PAST)
    assert plan.history_age_sec == 600 + 60 + 3_660


@pytest.mark.parametrize(
    ("read", "more"),
    [
        # Until the order itself says how it ended, that is asked for.
        ({8: (REST,)}, {}),
        # All of it is where it says.
        (
            {8: (make.deal(7, 8, Side.BUY, 0.1, order=8), OUT_OF_EIGHT)},
            {"past_orders": PAST},
        ),
        # The history is there already.
        ({8: (REST,)}, {"past_orders": PAST, "history": History(4_000, deals=(REST,))}),
    ],
)
def test_the_history_is_not_wanted_where_it_would_tell_nothing_new(
    read: dict[int, Any], more: dict[str, Any]
) -> None:
    assert looked(parted(), read=read, **more).history_age_sec == 0


def test_a_part_that_is_older_than_the_history_counts_beside_one_that_is_in_it() -> None:
    late = History(4_000, deals=OF_SIX)
    read = {8: (REST, OUT_OF_EIGHT)}
    plan = looked(parted(), read=read, past_orders=PAST, history=late)
    assert {key for kind, key in kinds(plan) if kind == "PositionClosed"} == {6, 8}


def test_the_positions_of_other_orders_in_the_history_are_not_asked_about() -> None:
    other = make.deal(20, 99, Side.BUY, 0.1, order=98, time_msc=5)
    late = History(4_000, deals=(*OF_SIX, REST, other))
    plan = looked(parted(), read={8: (REST,)}, past_orders=PAST, history=late)
    assert 99 not in plan.questions


@pytest.mark.parametrize(
    ("more", "is_waited_for"),
    [({}, False), ({"volume": 0.04}, True), ({"kind": DealKind.CANCELED}, False)],
)
def test_a_part_is_waited_for_unless_the_broker_cancelled_it(
    more: dict[str, Any], *, is_waited_for: bool
) -> None:
    book = counted_book(OPENED, position=P)
    book.unbooked[8] = Unbooked("EURUSD", 10_000_000, 7)
    deal = msgspec.structs.replace(BACK[0], **more)
    out = msgspec.structs.replace(BACK[1], **more)
    plan = looked(book, P, read={7: (OPENED, deal, out)})
    assert (plan.questions != ()) is is_waited_for
