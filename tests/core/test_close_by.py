"""A close-by in the book and in doubt: both positions shrink, the deals of both are the proof."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.doubt.close_by_traces import of_close_by
from trueup.core.doubt.trace import Trace
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.holds import HoldKind
from trueup.core.model import Deal, DealReason, Entry, Evidence, History, Position, Side, Snapshot
from trueup.core.quantity import from_units, to_units
from trueup.core.recovery import BrokerShows

OPEN, NO_TRACE, UNSEEN = BrokerShows.OPEN, BrokerShows.NO_TRACE, BrokerShows.UNSEEN
AT = make.NOW_NS + make.SECOND_NS
MSC = make.NOW_NS // 1_000_000
LOTS = st.integers(1, 100).map(lambda steps: from_units(steps * 1_000_000))


def rows(first: float = 0.3, second: float = 0.1) -> tuple[Position, Position]:
    return make.position(7, volume=first), make.position(8, volume=second, side=Side.SELL)


def sent(order_id: str = "A", volume: float = 0.1, **more: Any) -> list[Any]:
    wish = {"kind": OrderKind.CLOSE_BY, "position": 7, "position_by": 8, "by_desk": True} | more
    created = make.created(order_id, Side.SELL, volume, **wish)
    return [created, events.SendStarted(at_ns=make.NOW_NS, order_id=order_id)]


def filled(volume: float) -> events.Event:
    return make.filled("A", 50, Side.SELL, volume, 1.06)


# The book.


@given(
    first=LOTS,
    second=LOTS,
    held=st.sampled_from([(7, 8), (7,), (8,), ()]),
    foreign=st.booleans(),
    doubted=st.booleans(),
)
def test_what_the_book_has_of_the_two_shrinks_by_the_smaller_and_nothing_opens(
    first: float, second: float, held: tuple[int, ...], foreign: bool, doubted: bool
) -> None:
    both = rows(first, second)
    other = make.position(9, volume=0.5)
    book = make.bound_book(*[row for row in both if row.identifier in held], other)
    book.unexplained.clear()
    smaller = min(first, second)
    away = tuple(row for row in both if row.identifier not in held) if foreign else ()
    book.replay(sent(volume=smaller, foreign=away))
    if doubted:
        book.apply(events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply"))
    book.apply(filled(smaller))
    left = {
        row.identifier: to_units(row.volume) - to_units(smaller)
        for row in both
        if row.identifier in held
    }
    found = {key: to_units(one.position.volume) for key, one in book.holdings.items()}
    assert found == {key: units for key, units in left.items() if units} | {9: 50_000_000}
    # Open prices, sides and everything else of what stays are as they were.
    for row in both:
        if row.identifier in book.holdings:
            kept = book.holdings[row.identifier].position
            assert msgspec.structs.replace(kept, volume=row.volume) == row
    assert set(book.unexplained) == set(left)
    assert (book.unbooked, book.claims) == ({}, {})
    assert book.orders["A"].status is OrderStatus.FILLED
    # It is over with the last position that it changed.
    for key in [key for key in left if key in book.holdings]:
        assert "A" not in book.finished
        gone = events.PositionClosed(
            at_ns=AT, position=book.holdings[key].position, because="closed"
        )
        book.apply(gone)
    assert "A" in book.finished
    assert Book.restore(book.state()).state() == book.state()


def test_a_reply_after_a_sync_that_recorded_it_changes_no_volume() -> None:
    first, second = rows()
    book = make.bound_book(first, second).replay(sent())
    doubt = events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply")
    left = msgspec.structs.replace(first, volume=0.2)
    book.replay(
        [
            doubt,
            events.PositionClosed(at_ns=AT, position=second, because="closed"),
            events.PositionCorrected(at_ns=AT, local=first, remote=left, fields=("volume",)),
            filled(0.1),
        ]
    )
    assert [one.position for one in book.holdings.values()] == [left]
    assert (book.orders["A"].status, "A" in book.finished) == (OrderStatus.FILLED, True)


def test_one_that_a_sync_settles_leaves_the_volumes_to_its_corrections() -> None:
    first, second = rows()
    book = make.bound_book(first, second).replay(sent())
    book.apply(events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply"))
    settled = events.OrderSettled(
        at_ns=AT, order_id="A", ticket=50, volume=0.1, price=1.06, because="its deals"
    )
    book.apply(settled)
    assert [one.position for one in book.holdings.values()] == [first, second]
    assert (set(book.finished), book.in_doubt) == ({"A"}, {})


# In doubt.


def leg(ticket: int, position: int, **more: Any) -> Deal:
    side = Side.SELL if position == 7 else Side.BUY
    facts: dict[str, Any] = {
        "order": 50,
        "entry": Entry.OUT_BY,
        "time_msc": MSC + 500,
        "reason": DealReason.EXPERT,
    }
    return make.deal(ticket, position, side, 0.1, **(facts | more))


BOTH = (leg(1, 7, price=1.05), leg(2, 8))
CLOSE_BY = make.sent(
    kind=OrderKind.CLOSE_BY, position=7, position_by=8, action="SELL", server_time_msc=MSC
)
DONE = Trace(
    OPEN, "by the deals in both positions, order 50", 50, position=7, volume=0.1, price=1.05
)
MAY_NOT_TRADE = msgspec.structs.replace(make.ACCOUNT, trade_allowed=False)
HALF = "the broker shows a deal in one of the two positions only"
NOTHING = "no deals close both in the last 120 s of history"


def seen(*deals: Deal, **more: Any) -> Snapshot:
    return make.proven(*rows(), **({"history": History(120, (), deals)} | more))


def record(state: RequestState = RequestState.SETTLED, **more: Any) -> tuple[RequestStatus, ...]:
    return (RequestStatus("A", state, covered=True, **more),)


def in_other_place(deal: Deal, position: int) -> Deal:
    return msgspec.structs.replace(deal, position=position)


@pytest.mark.parametrize(
    ("snapshot", "trace"),
    [
        (seen(*BOTH), DONE),
        # The deals may be among those that were asked for, too.
        (seen(BOTH[0], deals=(BOTH[1],)), DONE),
        (seen(history=None, deals=BOTH), DONE),
        (seen(*BOTH, requests=record(status="FILLED", ticket=50)), DONE),
        (seen(*BOTH, requests=record(RequestState.PREPARED)), DONE),
        # Of other orders, other entries, and other positions.
        (seen(BOTH[0], leg(2, 8, order=51)), Trace(UNSEEN, HALF)),
        (
            seen(*(leg(t, p, entry=Entry.OUT) for t, p in ((1, 7), (2, 8)))),
            Trace(NO_TRACE, NOTHING),
        ),
        (seen(BOTH[0], in_other_place(BOTH[1], 9)), Trace(NO_TRACE, NOTHING)),
        (seen(in_other_place(BOTH[0], 9), in_other_place(BOTH[1], 10)), Trace(NO_TRACE, NOTHING)),
        (seen(BOTH[1]), Trace(UNSEEN, HALF)),
        # Of before, and of a person.
        (
            seen(*(msgspec.structs.replace(one, time_msc=MSC - 8_000_000) for one in BOTH)),
            Trace(
                NO_TRACE,
                "order 50 had closed the two positions before it was sent",
                is_final=True,
            ),
        ),
        (
            seen(BOTH[0], leg(2, 8, reason=DealReason.MOBILE)),
            Trace(NO_TRACE, "order 50 closed the two positions by hand", is_final=True),
        ),
        # What the record says.
        (
            seen(*BOTH, requests=record(status="REJECTED", error="10036")),
            Trace(
                NO_TRACE,
                "the gateway's record has it as refused",
                is_final=True,
                refusal="10036",
            ),
        ),
        (
            seen(requests=record(RequestState.PREPARED)),
            Trace(UNSEEN, "the gateway is still carrying it out"),
        ),
        (
            seen(requests=record(status="FILLED", ticket=50)),
            Trace(UNSEEN, "FILLED by the gateway's record; the broker does not show the deals yet"),
        ),
        # What proves no absence.
        (seen(history=None), Trace(UNSEEN, "the history could not be read")),
        (
            seen(account=MAY_NOT_TRADE),
            Trace(
                UNSEEN,
                "the account may not trade at this terminal now, which may be loading still",
            ),
        ),
        (seen(), Trace(NO_TRACE, NOTHING)),
    ],
)
def test_what_shows_of_a_close_by_to_the_word(snapshot: Snapshot, trace: Trace) -> None:
    assert snapshot.evidence is not None
    evidence: Evidence = snapshot.evidence
    assert of_close_by(CLOSE_BY, evidence, Book()) == trace


def test_a_history_that_lacks_another_order_proves_no_absence() -> None:
    snapshot = seen(time_offset_sec=0)
    assert snapshot.evidence is not None
    facts: dict[str, Any] = {"server_time_msc": MSC, "time_offset_sec": 0}
    other = make.sent("B", ticket=60, status=OrderStatus.FILLED, **facts)
    found = of_close_by(CLOSE_BY, snapshot.evidence, make.book_with(other))
    assert found == Trace(UNSEEN, "the history lacks order 60, which was done: it is not whole")


def test_its_positions_are_not_adopted_though_the_policy_calls_them_foreign() -> None:
    book = make.bound_book().replay(sent(foreign=rows()))
    book.apply(events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply"))
    policy = make.policy("GBPUSD")
    left = msgspec.structs.replace(rows()[0], volume=0.2)
    snapshot = make.proven(left, history=History(120, (), BOTH))
    found = make.planned(book, snapshot, policy=policy)
    assert [type(event).__name__ for event in found.events] == ["OrderSettled"]
    assert (found.foreign, found.questions) == (1, ())


def test_on_the_guides_wire_its_outcome_is_not_known() -> None:
    book = make.book_of(*rows()).replay(sent())
    book.apply(events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply"))
    found = make.planned(book, make.snapshot(*rows()))
    (hold,) = (hold for hold in found.holds if hold.kind is HoldKind.DOUBT)
    assert "a list does not show what closed them" in hold.what
