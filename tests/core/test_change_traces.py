"""A change or a cancellation whose answer was lost: which of two opposite facts it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.terms import Terms
from trueup.core.doubt.change_traces import (
    of_cancellation,
    of_modification,
    of_modification_without_evidence,
    of_order_modification,
    of_pending_order_without_evidence,
)
from trueup.core.doubt.recorded_request import not_by_record
from trueup.core.doubt.trace import Trace
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.holds import HoldKind
from trueup.core.look.absence import Absence
from trueup.core.look.inputs import Statement
from trueup.core.model import Evidence, History, HistoryOrder, PastOrder, Side, Snapshot
from trueup.core.recovery import BrokerShows
from trueup.core.sync.plan import Plan

OPEN, NO_TRACE, UNSEEN = BrokerShows.OPEN, BrokerShows.NO_TRACE, BrokerShows.UNSEEN

HELD = make.position(7, volume=0.1)
MSC = make.NOW_NS // 1_000_000
SETTLED = {"A": Absence(make.NOW_NS - 20 * make.SECOND_NS, MSC - 20_000, MSC - 6_000)}
SETTLED_PLAIN = {"A": Absence(make.NOW_NS - 20 * make.SECOND_NS, 0, 0)}
MAY_NOT_TRADE = msgspec.structs.replace(make.ACCOUNT, trade_allowed=False)


def change_of_stops(**more: Any) -> Book:
    book = make.bound_book(HELD)
    wish = {"kind": OrderKind.MODIFY, "position": 7, "sl": 1.0, "tp": 1.1} | more
    make.put_in_doubt(book, "A", Side.BUY, 0.1, **wish)
    return book


def cancellation() -> Book:
    book = make.bound_book()
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=make.pending(50)))
    make.put_in_doubt(book, "A", Side.BUY, 0.1, kind=OrderKind.CANCEL, target=50)
    return book


def record(state: RequestState = RequestState.SETTLED, **more: Any) -> RequestStatus:
    return RequestStatus("A", state, covered=True, **more)


def past(state: str) -> HistoryOrder:
    filled = 0.1 if state == "filled" else 0.0
    return HistoryOrder(50, "EURUSD", Side.BUY, 0.1, filled, state)


def became(book: Book, seen: Snapshot, **more: Any) -> tuple[str, str]:
    """What becomes of order A, and because of what."""
    absences = SETTLED if seen.evidence is not None else SETTLED_PLAIN
    plan = make.planned(book, seen, absences=absences, **more)
    for event in plan.events:
        match event:
            case events.OrderApplied(order_id="A"):
                return "took effect", ""
            case events.OrderRejected(order_id="A", error=error):
                return "refused", error
            case events.OrderCanceled(order_id="A", because=because, unproven=unproven):
                return "not known" if unproven else "not executed", because
    return "in doubt", doubt(plan)


def doubt(plan: Plan) -> str:
    return next(hold.what for hold in plan.holds if hold.kind is HoldKind.DOUBT)


def seen(*positions: Any, **more: Any) -> Snapshot:
    return make.proven(*positions, **({"history": History(120)} | more))


# What the gateway's record says counts, whatever the lists show.


@pytest.mark.parametrize("lists", ["as before", "as meant", "otherwise", "gone"])
@pytest.mark.parametrize("loading", [False, True])
def test_a_change_that_the_record_has_as_done_took_effect(lists: str, loading: bool) -> None:
    """Also where its position was closed since, as by the very stop that was set."""
    rows = {
        "as before": (HELD,),
        "as meant": (make.position(7, volume=0.1, sl=1.0, tp=1.1),),
        "otherwise": (make.position(7, volume=0.1, sl=1.02),),
        "gone": (),
    }[lists]
    account = {"account": MAY_NOT_TRADE} if loading else {}
    snapshot = seen(*rows, requests=(record(status="DONE"),), **account)
    assert became(change_of_stops(), snapshot)[0] == "took effect"


@pytest.mark.parametrize("lists", ["as before", "as meant", "gone"])
def test_a_change_that_the_record_has_as_refused_was_refused(lists: str) -> None:
    rows = {
        "as before": (HELD,),
        "as meant": (make.position(7, volume=0.1, sl=1.0, tp=1.1),),
        "gone": (),
    }[lists]
    snapshot = seen(*rows, requests=(record(status="REJECTED", error="10016 INVALID_STOPS"),))
    assert became(change_of_stops(), snapshot) == ("refused", "10016 INVALID_STOPS")


@pytest.mark.parametrize("state", ["filled", "canceled", "expired", ""])
def test_a_cancellation_that_the_record_has_as_refused_did_not_take_effect(state: str) -> None:
    """The order leaves the list by being filled, too: the broker refused because it just had."""
    orders = (past(state),) if state else ()
    snapshot = seen(
        make.position(50, volume=0.1),
        history=History(120, orders),
        requests=(record(status="REJECTED", error="10035 INVALID_ORDER"),),
    )
    assert became(cancellation(), snapshot) == ("refused", "10035 INVALID_ORDER")


@pytest.mark.parametrize("state", ["filled", "canceled", ""])
def test_a_cancellation_that_the_record_has_as_done_took_effect(state: str) -> None:
    history = History(120, (past(state),) if state else ())
    snapshot = seen(history=history, requests=(record(status="DONE"),))
    assert became(cancellation(), snapshot)[0] == "took effect"


def test_a_cancellation_that_is_done_and_still_listed_is_waited_for() -> None:
    snapshot = seen(orders=(make.pending(50),), requests=(record(status="DONE"),))
    said, why = became(cancellation(), snapshot)
    assert (said, "still lists" in why) == ("in doubt", True)


@pytest.mark.parametrize("make_book", [change_of_stops, cancellation])
def test_what_the_gateway_is_carrying_out_is_waited_for(make_book: Any) -> None:
    said, why = became(make_book(), seen(requests=(record(RequestState.PREPARED),)))
    assert (said, "still carrying it out" in why) == ("in doubt", True)


@pytest.mark.parametrize("make_book", [change_of_stops, cancellation])
def test_what_the_gateway_withdrew_was_not_executed(make_book: Any) -> None:
    said, why = became(make_book(), seen(requests=(record(RequestState.WITHDRAWN),)))
    assert (said, "the gateway never saw it" in why) == ("not executed", True)


@pytest.mark.parametrize("make_book", [change_of_stops, cancellation])
def test_a_record_of_the_same_login_at_another_server_says_nothing(make_book: Any) -> None:
    other = record(status="DONE", login=make.ACCOUNT.login, server="Other")
    assert became(make_book(), seen(requests=(other,)))[0] == "not known"


# Without a word of the record.


def test_levels_as_meant_are_the_effect() -> None:
    held = make.position(7, volume=0.1, sl=1.0, tp=1.1)
    assert became(change_of_stops(), seen(held))[0] == "took effect"


def test_other_levels_for_longer_than_the_grace_period_are_no_effect() -> None:
    said, why = became(change_of_stops(), seen(HELD))
    assert (said, "has other levels" in why) == ("not executed", True)


def test_of_a_change_whose_position_is_gone_it_is_not_known_whether() -> None:
    said, why = became(change_of_stops(), seen())
    assert said == "not known"
    assert why.startswith("not known whether it took effect: the position is no longer open")
    assert "case G" not in why


def test_while_the_history_cannot_be_read_nothing_is_given_up() -> None:
    for book in (change_of_stops(), cancellation()):
        assert became(book, seen(history=None))[0] == "in doubt"
        assert became(book, seen(account=MAY_NOT_TRADE))[0] == "in doubt"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("canceled", "took effect"),
        ("filled", "not executed"),
        ("expired", "not executed"),
        ("rejected", "not executed"),
        ("partial", "not known"),
        ("", "not known"),
    ],
)
@pytest.mark.parametrize("told_by", ["history", "question"])
def test_a_cancellation_is_settled_by_how_the_order_ended(
    state: str, expected: str, told_by: str
) -> None:
    """Not being in the list proves nothing: an order leaves it by being filled, too."""
    if told_by == "history":
        snapshot = seen(history=History(120, (past(state),) if state else ()))
    else:
        snapshot = seen(past_orders=(PastOrder(50, state),) if state else ())
    assert became(cancellation(), snapshot)[0] == expected


def test_how_the_order_ended_is_asked_for() -> None:
    assert 50 in make.planned(cancellation(), seen()).order_questions


def test_an_order_that_works_longer_than_the_grace_period_was_not_cancelled() -> None:
    said, why = became(cancellation(), seen(orders=(make.pending(50),)))
    assert (said, "still works" in why) == ("not executed", True)


# A wire with neither record nor history.


def plain(kind: OrderKind, **more: Any) -> Book:
    book = make.book_of(HELD)
    make.put_in_doubt(book, "A", Side.BUY, 0.1, kind=kind, **more)
    return book


def test_on_the_guides_wire_of_a_change_it_is_not_known_whether() -> None:
    book = plain(OrderKind.MODIFY, position=7, sl=1.0)
    assert became(book, make.snapshot(HELD))[0] == "not known"
    assert became(book, make.snapshot())[0] == "not known"
    held = make.position(7, volume=0.1, sl=1.0)
    assert became(book, make.snapshot(held))[0] == "took effect"


def test_on_the_guides_wire_no_stops_in_a_list_are_no_proof_that_they_were_removed() -> None:
    """Many of its lists carry no stops."""
    book = plain(OrderKind.MODIFY, position=7)
    assert became(book, make.snapshot(HELD))[0] == "not known"


def test_on_the_guides_wire_of_a_cancellation_it_is_not_known_whether() -> None:
    assert became(plain(OrderKind.CANCEL, target=50), make.snapshot(HELD))[0] == "not known"


@pytest.mark.parametrize("kind", [OrderKind.LIMIT, OrderKind.STOP])
def test_on_the_guides_wire_a_pending_order_in_doubt_is_left_to_a_person(kind: OrderKind) -> None:
    """It may work there and be filled tomorrow: given up, it would double what comes next."""
    book = plain(kind, price=1.05)
    said, why = became(book, make.snapshot(HELD))
    assert (said, "lists no pending orders" in why) == ("in doubt", True)
    told = {"A": Statement("Mary", make.NOW_NS)}
    assert became(book, make.snapshot(HELD), told=told)[0] == "not known"
    # And filled meanwhile, it is found.
    rows = HELD, make.position(8, volume=0.1)
    assert became(book, make.snapshot(*rows))[0] == "took effect"


def test_on_the_guides_wire_a_pending_order_ends_when_its_position_is_listed() -> None:
    book = make.book_of()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, kind=OrderKind.LIMIT, price=1.05)
    book.apply(events.OrderApplied(at_ns=make.NOW_NS, order_id="A", ticket=50))
    quiet = make.planned(book, make.snapshot())
    assert (quiet.events, quiet.holds) == ((), ())
    plan = make.planned(book, make.snapshot(make.position(50, volume=0.1)))
    book.replay(plan.events)
    assert (book.pending, set(book.holdings)) == ({}, {50})


def test_an_entry_that_the_record_has_as_refused_is_refused_whatever_bears_its_token() -> None:
    """Then the position is shown as a contradiction, and not taken for the fill."""
    token = "tabcdefgh"
    book = make.bound_book()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, token=token)
    snapshot = seen(
        make.position(9, volume=0.1, comment=token),
        requests=(record(status="REJECTED", error="10006 REJECT"),),
    )
    assert became(book, snapshot) == ("refused", "10006 REJECT")


# Of the prices of a pending order.

MOVED = make.pending(50, price_open=1.06, sl=1.01)


def change_of_order(*, known: bool = True, **more: Any) -> Book:
    book = make.bound_book()
    if known:
        book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=make.pending(50)))
    wish = {"kind": OrderKind.MODIFY_ORDER, "target": 50, "price": 1.06, "sl": 1.01} | more
    make.put_in_doubt(book, "A", Side.BUY, 0.1, **wish)
    return book


UNKNOWN_END = "not known whether it took effect: the list does not show when a pending order ends"
DAY = {"terms": Terms(time="DAY")}


@pytest.mark.parametrize(
    ("wish", "listed", "end"),
    [
        ({}, MOVED, "took effect"),
        ({}, make.pending(50), "not executed"),
        ({}, msgspec.structs.replace(MOVED, tp=1.2), "not executed"),
        ({}, msgspec.structs.replace(MOVED, price_stoplimit=1.05), "not executed"),
        ({"stoplimit": 1.05}, msgspec.structs.replace(MOVED, price_stoplimit=1.05), "took effect"),
        # A stop-limit order became a limit order at its second price.
        ({"stoplimit": 1.05}, msgspec.structs.replace(MOVED, price_open=1.05), "took effect"),
        ({"stoplimit": 1.05}, MOVED, "not executed"),
        # Its end is in no list: only a price that moved with it shows that it was changed.
        (DAY, MOVED, "took effect"),
        (DAY | {"known": False}, MOVED, "not known"),
        (DAY | {"price": 1.05, "sl": 0.0}, make.pending(50), "not known"),
    ],
)
def test_a_modification_of_a_pending_order_is_settled_by_its_prices(
    wish: dict[str, Any], listed: Any, end: str
) -> None:
    found, why = became(change_of_order(**wish), seen(orders=(listed,)))
    assert found == end
    assert end != "not known" or why == UNKNOWN_END


def test_on_the_guides_wire_a_modification_of_a_pending_order_is_not_known() -> None:
    book = plain(OrderKind.MODIFY_ORDER, target=50, price=1.06)
    assert became(book, make.snapshot(HELD))[0] == "not known"


# In which words, and whether waiting can still change it.

CHANGE = make.sent(kind=OrderKind.MODIFY, position=7, sl=1.0, tp=1.1)
CANCELLATION = make.sent(kind=OrderKind.CANCEL, target=50)
AS_MEANT = make.position(7, volume=0.1, sl=1.0, tp=1.1)
BY_RECORD = "the gateway's record has it as done"
LOADING = "the account may not trade at this terminal now, which may be loading still"


def evidence_of(snapshot: Snapshot) -> Evidence:
    assert snapshot.evidence is not None
    return snapshot.evidence


@pytest.mark.parametrize(
    ("snapshot", "trace"),
    [
        (seen(requests=(record(status="DONE"),)), Trace(OPEN, BY_RECORD)),
        (seen(AS_MEANT), Trace(OPEN, "the position has the levels that were meant")),
        (seen(HELD), Trace(NO_TRACE, "the position has other levels")),
        (seen(account=MAY_NOT_TRADE), Trace(UNSEEN, LOADING)),
        (seen(history=None), Trace(UNSEEN, "the history could not be read")),
        (
            seen(),
            Trace(
                NO_TRACE,
                "the position is no longer open, and the gateway's record does not say",
                is_final=True,
                is_not_known=True,
            ),
        ),
    ],
)
def test_what_shows_of_a_change_to_the_word(snapshot: Snapshot, trace: Trace) -> None:
    assert of_modification(CHANGE, snapshot, evidence_of(snapshot)) == trace


@pytest.mark.parametrize(
    ("snapshot", "trace"),
    [
        (seen(requests=(record(status="DONE"),)), Trace(OPEN, BY_RECORD)),
        (
            seen(requests=(record(status="DONE"),), orders=(make.pending(50),)),
            Trace(UNSEEN, f"{BY_RECORD}, and the broker still lists the order"),
        ),
        (seen(orders=(make.pending(50),)), Trace(NO_TRACE, "the pending order still works")),
        (
            seen(past_orders=(PastOrder(50, "canceled"),)),
            Trace(OPEN, "the history has the pending order as canceled"),
        ),
        (
            seen(past_orders=(PastOrder(50, "filled"),)),
            Trace(NO_TRACE, "the history has the pending order as filled", is_final=True),
        ),
        (seen(account=MAY_NOT_TRADE), Trace(UNSEEN, LOADING)),
        (seen(history=None), Trace(UNSEEN, "the history could not be read")),
        (
            seen(),
            Trace(
                NO_TRACE,
                "the pending order works no longer, and neither record nor history says why",
                is_not_known=True,
            ),
        ),
    ],
)
def test_what_shows_of_a_cancellation_to_the_word(snapshot: Snapshot, trace: Trace) -> None:
    assert of_cancellation(CANCELLATION, evidence_of(snapshot)) == trace


def test_what_the_guide_s_wire_shows_to_the_word() -> None:
    assert of_modification_without_evidence(CHANGE, make.snapshot()) == Trace(
        NO_TRACE, "this gateway keeps no record, and its list does not say", is_not_known=True
    )
    assert of_pending_order_without_evidence() == Trace(
        NO_TRACE, "this gateway keeps no record, and lists no pending orders", is_not_known=True
    )


@pytest.mark.parametrize(
    ("said", "trace"),
    [
        (record(RequestState.PREPARED), Trace(UNSEEN, "the gateway is still carrying it out")),
        (
            record(RequestState.WITHDRAWN),
            Trace(NO_TRACE, "the gateway never saw it, and takes it no more", is_final=True),
        ),
        # A record that began after the order left does not know whether it had it.
        (RequestStatus("A", RequestState.WITHDRAWN), None),
        (
            record(status="REJECTED"),
            Trace(
                NO_TRACE,
                "the gateway's record has it as refused",
                is_final=True,
                refusal="the gateway's record has it as refused",
            ),
        ),
        (
            record(status="REJECTED", error="10016 INVALID_STOPS"),
            Trace(
                NO_TRACE,
                "the gateway's record has it as refused",
                is_final=True,
                refusal="10016 INVALID_STOPS",
            ),
        ),
        (record(status="DONE"), None),
        (record(RequestState.UNKNOWN), None),
    ],
)
def test_what_the_gateway_s_record_says_to_the_word(
    said: RequestStatus, trace: Trace | None
) -> None:
    assert not_by_record(CHANGE, evidence_of(seen(requests=(said,)))) == trace


@pytest.mark.parametrize(
    ("snapshot", "trace"),
    [
        (seen(requests=(record(status="DONE"),)), Trace(OPEN, BY_RECORD)),
        (seen(account=MAY_NOT_TRADE), Trace(UNSEEN, LOADING)),
        (seen(history=None), Trace(UNSEEN, "the history could not be read")),
        (
            seen(),
            Trace(
                NO_TRACE,
                "the pending order works no longer, and the gateway's record does not say",
                is_final=True,
                is_not_known=True,
            ),
        ),
    ],
)
def test_what_shows_of_a_modified_order_to_the_word(snapshot: Snapshot, trace: Trace) -> None:
    change = make.sent(kind=OrderKind.MODIFY_ORDER, target=50, entry_price=1.06, sl=1.01)
    assert of_order_modification(change, evidence_of(snapshot), Book()) == trace
