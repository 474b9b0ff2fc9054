"""How a position leaves: what its exit says, and what it goes on as, followed to the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import step_id
from trueup.core.model import Deal, DealKind, DealReason, Entry, History, Position, Side
from trueup.core.policy import Action
from trueup.core.realised.leaving import as_opened
from trueup.core.sync.plan import Plan

P = make.position(7, volume=0.2)
AT_MSC = make.NOW_NS // 1_000_000 - 5_000
OPENED = make.deal(1, 7, Side.BUY, 0.2, time_msc=AT_MSC - 90_000)
AGAIN = make.position(9, volume=0.2)


def rolled(ticket: int, position: int, **changes: Any) -> Deal:
    """The deal by which a rollover closed a position."""
    facts = {"entry": Entry.OUT, "reason": DealReason.ROLLOVER, "time_msc": AT_MSC, "order": 70}
    return make.deal(ticket, position, Side.SELL, 0.2, **(facts | changes))


def reopened(ticket: int, position: int, **changes: Any) -> Deal:
    """The deal by which a rollover opened a position again."""
    facts = {"reason": DealReason.ROLLOVER, "time_msc": AT_MSC}
    return make.deal(ticket, position, Side.BUY, 0.2, **(facts | changes))


def counted(*deals: Deal, position: Position = P, account: Any = make.ACCOUNT) -> Book:
    book = make.bound_book(position, account=account)
    book.apply(make.counting(position, *deals))
    return book


def looked(
    book: Book, *rows: Position, read: dict[int, Any], late: Any = None, **more: Any
) -> Plan:
    """The plan of a reading; `read` are the deals of positions, `late` those of the account."""
    deals = tuple(deal for own in read.values() for deal in own)
    seen = make.proven(
        *rows,
        deals=deals,
        explained=frozenset(read),
        history=None if late is None else History(4_000, deals=late),
        server_time_msc=more.pop("server_time_msc", AT_MSC + 60_000),
        account=make.NETTING if book.shares_positions else make.ACCOUNT,
    )
    return make.planned(book, seen, after_sec=20, **more)


def kinds(plan: Plan) -> list[tuple[str, int]]:
    return [
        (type(event).__name__, event.position.identifier)
        for event in plan.events
        if hasattr(event, "position")
    ]


def exit_of(plan: Plan, identifier: int = 7) -> events.PositionClosed:
    (event,) = (
        e
        for e in plan.events
        if isinstance(e, events.PositionClosed) and e.position.identifier == identifier
    )
    return event


# A position that was turned round before it left.

TURN = make.deal(2, 7, Side.SELL, 0.5, entry=Entry.IN_OUT, order=70, price=1.06, time_msc=AT_MSC)
BACK = make.deal(3, 7, Side.BUY, 0.3, entry=Entry.OUT, order=71, price=1.05, time_msc=AT_MSC + 1)


@pytest.mark.parametrize("shown", [(OPENED, TURN, BACK), (TURN, BACK)])
def test_its_exit_has_the_lots_that_were_closed_and_not_those_that_were_opened(
    shown: tuple[Deal, ...],
) -> None:
    """Also where the broker has archived what opened it."""
    plan = looked(counted(OPENED, account=make.NETTING), read={7: shown})
    event = exit_of(plan)
    assert event.because.startswith("closed for a reason not known: 0.50 lots at 1.054, profit")
    assert event.ended is not None
    assert (event.ended.volume, event.ended.deals) == (0.5, (2, 3))
    assert event.deals == (1, 2, 3)


def test_a_rollover_is_told_where_the_broker_has_archived_what_opened_it() -> None:
    again = reopened(3, 9)
    plan = looked(counted(OPENED), AGAIN, read={7: (rolled(2, 7),), 9: (again,)}, late=(again,))
    event = exit_of(plan)
    assert event.went_on_as == (9,)
    assert event.because.endswith("; the broker opened it again as 9")


def test_one_that_goes_on_as_nothing_that_is_shown_says_so() -> None:
    both = (OPENED, rolled(2, 7))
    plan = looked(counted(OPENED), read={7: both}, late=both)
    assert exit_of(plan).because.endswith("; what it goes on as is not shown")
    assert exit_of(plan).went_on_as == ()


# What it goes on as.


def went_on(book: Book, *rows: Position, read: dict[int, Any], late: Any = None) -> Plan:
    """The plan where 7 was rolled into 9."""
    told = (reopened(3, 9),) if late is None else late
    return looked(book, *rows, read={7: (OPENED, rolled(2, 7))} | read, late=told)


def test_an_open_one_that_the_book_did_not_have_is_adopted_and_counts() -> None:
    plan = went_on(counted(OPENED), AGAIN, read={9: (reopened(3, 9),)})
    assert kinds(plan) == [("PositionAdopted", 9), ("PositionClosed", 7), ("DealsRecorded", 9)]


def test_one_that_is_not_adopted_in_this_look_does_not_count() -> None:
    """Other zombies that are adopted beside it are not it."""
    other = make.position(11, volume=0.2)
    policy = msgspec.structs.replace(make.OURS, zombie=Action.ASK)
    seen_other = step_id("zombie", other)
    book = counted(OPENED)
    plan = looked(
        book,
        AGAIN,
        other,
        read={7: (OPENED, rolled(2, 7)), 9: (reopened(3, 9),)},
        late=(reopened(3, 9),),
        policy=policy,
        approved={seen_other: "Mary"},
    )
    assert kinds(plan) == [("PositionAdopted", 11), ("PositionClosed", 7)]


@pytest.mark.parametrize("is_counted", [True, False])
def test_one_that_the_book_has_counts_if_the_old_one_did(*, is_counted: bool) -> None:
    book = counted(OPENED) if is_counted else make.bound_book(P)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=AGAIN))
    read = {9: (reopened(3, 9),)}
    plan = went_on(book, AGAIN, read=read)
    assert kinds(plan) == [("PositionClosed", 7)]
    assert plan.questions == ((9,) if is_counted else ())
    # It was there all the time, so the next look says whether this is all of it.
    book.replay(plan.events)
    later = looked(book, AGAIN, read=read)
    assert kinds(later) == ([("DealsRecorded", 9)] if is_counted else [])


def test_one_whose_deals_were_counted_before_is_not_counted_again() -> None:
    book = counted(OPENED)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=AGAIN))
    book.apply(make.counting(AGAIN, reopened(3, 9)))
    plan = went_on(book, AGAIN, read={9: (reopened(3, 9),)})
    assert kinds(plan) == [("PositionClosed", 7)]


OUT_OF_NINE = make.deal(
    5, 9, Side.SELL, 0.2, entry=Entry.OUT, order=90, profit=-20.0, time_msc=AT_MSC + 100
)


@pytest.mark.parametrize("is_counted", [True, False])
def test_one_that_no_look_showed_is_told_with_its_own_exit(*, is_counted: bool) -> None:
    book = counted(OPENED) if is_counted else make.bound_book(P)
    plan = went_on(book, read={9: (reopened(3, 9), OUT_OF_NINE)})
    assert kinds(plan) == [("PositionClosed", 7), ("PositionAdopted", 9), ("PositionClosed", 9)]
    said = "opened and closed between two readings: closed for a reason not known: 0.20 lots"
    assert exit_of(plan, 9).because.startswith(said)


def test_one_that_is_not_read_yet_is_asked_about() -> None:
    plan = went_on(counted(OPENED), read={}, late=(reopened(3, 9, order=90),))
    assert (kinds(plan), plan.questions) == ([("PositionClosed", 7)], (9,))
    open_still = went_on(counted(OPENED), read={9: (reopened(3, 9),)})
    assert (kinds(open_still), open_still.questions) == ([("PositionClosed", 7)], (9,))


def test_one_that_the_book_has_had_and_let_go_is_not_told_again() -> None:
    book = counted(OPENED)
    book.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=AGAIN))
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=AGAIN, because="x"))
    plan = went_on(book, read={9: (reopened(3, 9), OUT_OF_NINE)})
    assert kinds(plan) == [("PositionClosed", 7)]


def test_a_chain_that_no_look_showed_is_told_link_by_link() -> None:
    """7 went on as 9, and that as 11, which a stop closed; or which is open."""
    late = (
        reopened(3, 9),
        rolled(5, 9, time_msc=AT_MSC + 500_000),
        reopened(6, 11, time_msc=AT_MSC + 500_000),
    )
    last = make.deal(7, 11, Side.SELL, 0.2, entry=Entry.OUT, order=90, time_msc=AT_MSC + 600_000)
    read = {9: late[:2], 11: (late[2], last)}
    book = counted(OPENED)
    plan = looked(
        book,
        read={7: (OPENED, rolled(2, 7))} | read,
        late=late,
        server_time_msc=AT_MSC + 700_000,
    )
    assert kinds(plan) == [
        ("PositionClosed", 7),
        ("PositionAdopted", 9),
        ("PositionClosed", 9),
        ("PositionAdopted", 11),
        ("PositionClosed", 11),
    ]
    assert exit_of(plan, 9).went_on_as == (11,)
    row = make.position(11, volume=0.2)
    plan = looked(
        counted(OPENED),
        row,
        read={7: (OPENED, rolled(2, 7)), 9: late[:2], 11: (late[2],)},
        late=late,
        server_time_msc=AT_MSC + 700_000,
    )
    assert kinds(plan)[-1] == ("DealsRecorded", 11)


def test_one_that_came_and_went_waits_for_what_it_goes_on_as() -> None:
    late = (reopened(3, 9), rolled(5, 9, time_msc=AT_MSC + 500_000))
    plan = looked(
        counted(OPENED),
        read={7: (OPENED, rolled(2, 7)), 9: late},
        late=late,
        server_time_msc=AT_MSC + 501_000,
    )
    assert (kinds(plan), plan.questions) == ([("PositionClosed", 7)], (9,))


# As what a position came.


def came(*deals: Deal) -> tuple[float, float] | None:
    found = as_opened(deals)
    return None if found is None else (found.volume, found.price_open)


def bought(ticket: int, volume: float, price: float, **more: Any) -> Deal:
    return make.deal(ticket, 7, Side.BUY, volume, price=price, **more)


MONEY = make.deal(8, 7, Side.BUY, 0.0, profit=1.0)


@pytest.mark.parametrize(
    ("deals", "came_so"),
    [
        ((), None),
        ((bought(1, 0.2, 1.1),), (0.2, 1.1)),
        ((bought(1, 0.1, 1.1), bought(2, 0.3, 1.2)), (0.4, 1.175)),
        # What comes after a part of it was closed is no part of its beginning.
        ((bought(1, 0.2, 1.1), rolled(2, 7), bought(3, 0.3, 1.2)), (0.2, 1.1)),
        # Money moves no lots, and ends no beginning.
        ((MONEY, bought(1, 0.1, 1.1), MONEY, bought(2, 0.3, 1.2)), (0.4, 1.175)),
        (
            (bought(1, 0.1, 1.1, kind=DealKind.CASH), bought(2, 0.3, 1.2)),
            (0.3, 1.2),
        ),
        ((rolled(2, 7), bought(3, 0.3, 1.2)), None),
        ((MONEY,), None),
    ],
)
def test_it_came_as_the_deals_before_its_first_exit_opened_it(
    deals: tuple[Deal, ...], came_so: tuple[float, float] | None
) -> None:
    assert came(*deals) == came_so
