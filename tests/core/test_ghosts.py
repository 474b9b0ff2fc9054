"""A position that left the list: closed by its deals, missing without them, let go by a person."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import step_id
from trueup.core.deals import as_booked
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.waited import by_dates
from trueup.core.model import (
    DealKind,
    DealReason,
    Entry,
    History,
    PastOrder,
    Position,
    RowFault,
    Side,
    SymbolSpec,
)
from trueup.core.policy import Action, Policy
from trueup.core.sync.plan import Plan

P = make.position(7, volume=0.2, price_current=1.0543)
OPENED = make.deal(1, 7, Side.BUY, 0.2, commission=-0.7)
CLOSED = make.deal(
    2,
    7,
    Side.SELL,
    0.2,
    entry=Entry.OUT,
    order=70,
    price=1.06,
    profit=114.0,
    commission=-0.7,
    reason=DealReason.STOP_LOSS,
    time_msc=1_767_571_200_000,
)
SAID = (
    "closed by its stop loss: 0.20 lots at 1.06, profit 114.00, swap 0.00, commission -1.40, "
    "2026-01-05 00:00:00 server time"
)
ID = step_id("missing", P)
UNTIL = (
    "the deals that close it, its return to the list, or a person who lets go of it: "
    f"trueup approve {ID}"
)


def gone(*deals: Any, book: Book | None = None, **more: Any) -> Plan:
    """The plan of an empty list, with these deals of what was there."""
    evidence = more.pop("evidence", {})
    seen = make.proven(deals=deals, explained=frozenset({7}), **evidence)
    return make.planned(book or make.bound_book(P), seen, after_sec=20, **more)


def closed(plan: Plan) -> events.PositionClosed:
    (event,) = plan.events
    assert isinstance(event, events.PositionClosed)
    assert (event.position, event.at_ns) == (P, make.NOW_NS + 20 * make.SECOND_NS)
    return event


# Proven.


def test_deals_that_add_up_close_it_with_exit_and_result() -> None:
    plan = gone(OPENED, CLOSED)
    assert (plan.holds, plan.questions) == ((), ())
    event = closed(plan)
    assert (event.position, event.because, event.unproven, event.by) == (P, SAID, False, "")
    assert event.realised_units == 11_260_000_000
    assert event.ended is not None
    assert event.ended.deals == (1, 2)


def test_what_was_told_of_its_deals_before_is_not_told_again() -> None:
    book = make.bound_book(P)
    part = make.deal(3, 7, Side.SELL, 0.05, entry=Entry.OUT, profit=5.0)
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS, position=P, deals=(1, 3), realised_units=1, because="x"
        )
    )
    rest = msgspec.structs.replace(CLOSED, volume=0.15)
    event = closed(gone(OPENED, part, rest, book=book))
    assert event.because.startswith("closed by its stop loss: 0.15 lots at 1.06, profit 114.00")
    assert event.realised_units == 11_760_000_000


def test_all_deals_told_before_still_say_how_it_ended() -> None:
    book = make.bound_book(P)
    book.apply(
        events.DealsRecorded(
            at_ns=make.NOW_NS, position=P, deals=(1, 2), realised_units=1, because="x"
        )
    )
    assert closed(gone(OPENED, CLOSED, book=book)).because == SAID


def test_deals_that_end_it_and_do_not_say_how_close_it_all_the_same() -> None:
    odd = msgspec.structs.replace(CLOSED, entry=Entry.IN)
    event = closed(gone(OPENED, odd))
    assert (event.because, event.ended) == ("closed; its deals do not say how", None)


def test_what_is_left_open_is_left_open_however_coarse_the_step_of_an_order_is() -> None:
    coarse = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=1)
    almost = msgspec.structs.replace(CLOSED, volume=0.16)
    (hold,) = gone(OPENED, almost, evidence={"specs": (coarse,)}).holds
    assert hold.why == "its deals leave 0.04 lots open"


# A history that has lost its beginning, and a broker that changed it.


def counted(*deals: Any) -> Book:
    """A book of which these deals are counted."""
    book = make.bound_book(P)
    book.apply(make.counting(P, *deals))
    return book


PART = make.deal(3, 7, Side.SELL, 0.05, entry=Entry.OUT, profit=5.0)
GREW = make.deal(4, 7, Side.BUY, 0.05)


def test_the_closing_deal_of_what_is_held_is_enough_where_the_entry_is_archived() -> None:
    event = closed(gone(CLOSED))
    assert event.because == SAID.replace("-1.40", "-0.70")
    assert event.realised_units == 11_330_000_000
    assert (event.deals, event.booked) == ((2,), (as_booked(CLOSED),))


def test_what_was_counted_before_it_was_archived_stays_counted() -> None:
    book = counted(OPENED, GREW, PART)
    event = closed(gone(CLOSED, book=book))
    assert event.realised_units == 11_330_000_000 + 430_000_000
    assert event.deals == (1, 4, 3, 2)
    book.apply(event)
    assert book.realised == 117.6


def test_deals_that_close_something_else_than_what_is_held_are_not() -> None:
    for volume in (0.15, 0.25):
        other = msgspec.structs.replace(CLOSED, volume=volume)
        assert missing(gone(other, book=counted(OPENED, GREW, PART))).kind is HoldKind.MISSING


def test_a_counted_deal_that_was_cancelled_is_no_part_of_what_has_to_close() -> None:
    """Seed 9057026: the entry is archived, and the book still has the lots of a cancelled deal."""
    local = make.position(7, volume=0.25)
    book = make.bound_book(local)
    book.apply(make.counting(local, OPENED, GREW))
    canceled = msgspec.structs.replace(GREW, kind=DealKind.CANCELED)
    less = msgspec.structs.replace(CLOSED, volume=0.15)
    for deals in ((canceled,), (canceled, less), (CLOSED,)):
        assert [one.kind for one in gone(*deals, book=book).holds] == [HoldKind.MISSING]
    (event,) = gone(canceled, CLOSED, book=book).events
    assert isinstance(event, events.PositionClosed)
    assert event.because.startswith(SAID.replace("-1.40", "-0.70"))
    assert event.deals == (1, 4, 2)
    assert event.booked == (as_booked(OPENED), as_booked(canceled), as_booked(CLOSED))
    book.apply(event)
    assert book.realised == 112.6
    assert not book.holdings


def test_a_part_that_was_closed_before_we_came_does_not_close_the_rest() -> None:
    """0.2 lots are left of it, and 0.2 lots were closed before; the exit is not visible yet."""
    local = make.position(7, volume=0.2, time_update_msc=CLOSED.time_msc + 1)
    seen = make.proven(deals=(CLOSED,), explained=frozenset({7}))
    plan = make.planned(make.bound_book(local), seen, after_sec=20)
    assert [hold.identifier for hold in plan.holds] == [7]
    exit_ = msgspec.structs.replace(CLOSED, ticket=9, time_msc=CLOSED.time_msc + 2)
    seen = make.proven(deals=(CLOSED, exit_), explained=frozenset({7}))
    (event,) = make.planned(make.bound_book(local), seen, after_sec=20).events
    assert isinstance(event, events.PositionClosed)


def test_an_entry_that_the_broker_cancelled_closes_it_and_says_so() -> None:
    canceled = msgspec.structs.replace(OPENED, kind=DealKind.CANCELED, commission=0.0)
    event = closed(gone(canceled, book=counted(OPENED)))
    assert event.because == "the broker cancelled deal 1 (BUY 0.20 lots at 1.0543)"
    assert (event.ended, event.realised_units) == (None, 0)
    book = counted(OPENED)
    assert book.realised == -0.7
    book.apply(event)
    assert (book.realised, book.holdings) == (0.0, {})


def test_a_cancelled_entry_with_money_beside_it_says_both() -> None:
    canceled = msgspec.structs.replace(OPENED, kind=DealKind.CANCELED)
    charge = make.deal(8, 7, Side.SELL, 0.0, entry=Entry.OUT, profit=-3.0, time_msc=5)
    event = closed(gone(canceled, charge))
    assert event.because.startswith("money without a trade: profit -3.00, swap 0.00")
    assert event.because.endswith("; the broker cancelled deal 1 (BUY 0.20 lots at 1.0543)")


def test_an_exit_beside_a_cancelled_deal_says_both() -> None:
    canceled = msgspec.structs.replace(GREW, kind=DealKind.CANCELED)
    said = "; the broker cancelled deal 4 (BUY 0.05 lots at 1.0543)"
    assert closed(gone(OPENED, canceled, CLOSED)).because == SAID + said


# An order of ours.


def own_book(account: Any = make.ACCOUNT) -> Book:
    """A book whose position an order of ours opened, its entry recorded."""
    book = Book().replay([make.bound(account), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    return book


def test_the_exit_of_an_order_of_ours_is_case_k() -> None:
    event = closed(gone(OPENED, CLOSED, book=own_book()))
    assert event.because == f"{SAID} (case K)"


@pytest.mark.parametrize("action", [Action.ASK, Action.ALERT])
def test_a_ghost_is_not_closed_where_the_policy_does_not_say_so(action: Action) -> None:
    policy = Policy(symbols=frozenset({"EURUSD"}), ghost=action)
    plan = gone(OPENED, CLOSED, policy=policy)
    wanted = step_id("ghost", P)
    what = "ghost on ticket 7, LONG 0.20L @ 1.0543,"
    if action is Action.ASK:
        said, until = f"{what} waits for approval", f"trueup approve {wanted}"
        assert plan.holds == (Hold("EURUSD", said, until, 7, HoldKind.ASK, id=wanted),)
        released = gone(OPENED, CLOSED, policy=policy, approved={wanted: "Mary"})
        assert closed(released).because == SAID
    else:
        said = f"{what} is shown and not corrected, as the policy says"
        assert plan.holds == (Hold("EURUSD", said, "a person", 7, HoldKind.ALERT),)
    assert plan.events == ()


# Missing.


def missing(plan: Plan) -> Hold:
    """The one hold of a plan that keeps the position."""
    (hold,) = plan.holds
    assert (hold.symbol, hold.identifier, hold.id, hold.until) == ("EURUSD", 7, ID, UNTIL)
    assert hold.what == "0.20 lots (ticket 7) left the broker's list"
    assert plan.questions == (7,)
    return hold


@pytest.mark.parametrize(
    ("deals", "why"),
    [
        ((), "deal not visible yet"),
        ((OPENED,), "deal not visible yet"),
        (
            (msgspec.structs.replace(CLOSED, volume=0.05),),
            "the broker shows the end of its deals only, and they do not close what is held",
        ),
        (
            (OPENED, msgspec.structs.replace(CLOSED, volume=0.05)),
            "its deals leave 0.15 lots open",
        ),
    ],
)
def test_without_proof_it_is_missing_and_asked_for(deals: Any, why: str) -> None:
    plan = gone(*deals)
    hold = missing(plan)
    assert (hold.kind, hold.why, hold.until_ns) == (HoldKind.MISSING, why, 0)
    now_ns = make.NOW_NS + 20 * make.SECOND_NS
    assert hold.since_ns == now_ns
    assert plan.events == (events.PositionMissing(at_ns=now_ns, position=P, because=why),)
    assert plan.order_questions == ()


def test_deals_that_could_not_be_read_say_so() -> None:
    plan = make.planned(make.bound_book(P), make.proven(), after_sec=20)
    assert missing(plan).why == "its deals could not be read"


def test_it_is_missing_since_it_was_first_seen_to_be_and_told_once() -> None:
    book = make.bound_book(P)
    book.replay(gone(book=book).events)
    later = gone(book=book, now_sec=95)
    assert later.events == ()
    hold = missing(later)
    assert hold.since_ns == make.NOW_NS + 20 * make.SECOND_NS
    said = "0.20 lots (ticket 7) left the broker's list 75 s ago, deal not visible yet"
    assert hold.reason_at(make.NOW_NS + 95 * make.SECOND_NS) == said
    assert hold.reason == said.replace(" 75 s ago", "")


def test_it_is_found_again_when_it_is_listed() -> None:
    book = make.bound_book(P)
    book.replay(gone(book=book).events)
    plan = make.planned(book, make.proven(P), after_sec=20)
    now_ns = make.NOW_NS + 20 * make.SECOND_NS
    assert plan.events == (events.PositionFound(at_ns=now_ns, position=P),)
    assert plan.holds == ()


def test_what_is_found_again_does_not_hide_what_else_there_is() -> None:
    book = make.bound_book(P, make.position(8, volume=0.3))
    book.replay(gone(book=book).events)
    plan = make.planned(book, make.proven(P, make.position(8, volume=0.1)), after_sec=20)
    assert [type(event).__name__ for event in plan.events] == [
        "PositionCorrected",
        "PositionFound",
        "PositionFound",
    ]


def test_a_person_lets_go_of_it_only_when_its_deals_were_asked_for() -> None:
    asked = gone(approved={ID: "Mary"}, is_final=False)
    assert missing(asked).kind is HoldKind.MISSING
    event = closed(gone(approved={ID: "Mary"}))
    assert event.because == "assumed closed: Mary let go of it while missing, deal not visible yet"
    assert (event.unproven, event.by, event.ended) == (True, "Mary", None)
    assert closed(gone(OPENED, CLOSED, approved={ID: "Mary"})).because == SAID


def test_a_yes_to_another_difference_lets_go_of_nothing() -> None:
    other = step_id("missing", make.position(8))
    assert missing(gone(approved={other: "Mary"})).kind is HoldKind.MISSING


# A fill of ours that the broker knows nothing of.


@pytest.mark.parametrize(("waited_sec", "case"), [(9, "F"), (10, "L")])
def test_a_fill_without_a_trace_halts_after_the_grace_period(waited_sec: int, case: str) -> None:
    seen = make.proven(explained=frozenset({7}))
    plan = make.planned(own_book(), seen, after_sec=waited_sec)
    hold = missing(plan)
    if case == "F":
        assert (hold.kind, hold.why) == (HoldKind.MISSING, "deal not visible yet")
    else:
        why = "deal not visible yet; case L: a recorded fill left no trace"
        assert (hold.kind, hold.why) == (HoldKind.HALT, why)


def test_a_fill_of_this_very_moment_is_no_contradiction_where_windows_are_turned_off() -> None:
    plan = make.planned(own_book(), make.proven(explained=frozenset({7})), after_sec=0, settle_ms=0)
    assert missing(plan).kind is HoldKind.MISSING


@pytest.mark.parametrize("deals", [(), (OPENED,)])
def test_what_we_did_not_fill_or_what_has_deals_is_no_contradiction(deals: Any) -> None:
    book = own_book() if deals else make.bound_book(P)
    plan = gone(*deals, book=book)
    assert missing(plan).kind is HoldKind.MISSING


# A fill of ours that went into a position of the account.


def filled_into(position: int, **more: Any) -> Plan:
    """Our order 7 has no deals of its own, and the order history says where it went."""
    past = more.pop("past", PastOrder(7, "filled", position))
    evidence = {"past_orders": (past,), "account": more.pop("account", make.NETTING)}
    return gone(book=own_book(evidence["account"]), evidence=evidence, **more)


def test_a_netting_fill_that_went_into_another_position_is_closed_here() -> None:
    event = closed(filled_into(5))
    assert event.because == "its fill went into position 5, which the book did not know"
    assert (event.unproven, event.ended) == (False, None)
    policy = Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ASK)
    (hold,) = filled_into(5, policy=policy).holds
    assert hold.what == "ghost on ticket 7, LONG 0.20L @ 1.0543, waits for approval"
    assert closed(filled_into(5, policy=policy, approved={hold.id: "Mary"})) == event


@pytest.mark.parametrize("state", ["canceled", "partial"])
def test_a_netting_fill_in_part_that_went_into_another_position_is_closed_here(state: str) -> None:
    event = closed(filled_into(5, past=PastOrder(7, state, 5)))
    assert event.because == "its fill went into position 5, which the book did not know"


@pytest.mark.parametrize(
    "more",
    [
        {"position": 7},
        {"position": 0},
        {"position": 5, "past": PastOrder(7, "rejected", 5)},
        {"position": 5, "past": PastOrder(8, "filled", 5)},
        {"position": 5, "account": make.ACCOUNT},
    ],
)
def test_a_fill_that_went_nowhere_else_stays_missing(more: dict[str, Any]) -> None:
    plan = filled_into(**more)
    assert [hold.identifier for hold in plan.holds] == [7]
    # On a netting account the order itself is asked about too.
    asked = () if more.get("account") is make.ACCOUNT else (7,)
    assert plan.order_questions == asked


def test_a_netting_position_with_deals_of_its_own_needs_no_question_about_its_order() -> None:
    plan = gone(OPENED, book=own_book(make.NETTING), evidence={"account": make.NETTING})
    assert plan.order_questions == ()


# What is not judged.


def test_what_changed_here_after_the_question_is_left_for_the_next_reading() -> None:
    book = make.bound_book(P)
    plan = make.planned(book, make.proven(), asked_version=book.version - 1)
    said = "Ticket 7 changed here after the broker was asked"
    assert plan.holds == (Hold("EURUSD", said, "the next reading", 7, HoldKind.NEWER),)
    assert plan.events == ()


@pytest.mark.parametrize(
    ("after_sec", "kind"), [(0, "SETTLING"), (0.999, "SETTLING"), (1.0, "MISSING")]
)
def test_what_we_opened_a_moment_ago_may_not_be_listed_yet(after_sec: float, kind: str) -> None:
    plan = make.planned(own_book(), make.proven(), after_sec=after_sec)
    (hold,) = plan.holds
    assert hold.kind is HoldKind[kind]
    if kind == "SETTLING":
        assert hold == Hold(
            "EURUSD",
            "Ticket 7 was opened here and the broker does not list it yet",
            "a reading 1000 ms after we touched it",
            7,
            HoldKind.SETTLING,
            until_ns=make.NOW_NS + make.SECOND_NS,
        )


def test_a_learnt_settle_window_counts_and_a_window_of_nothing_is_none() -> None:
    slow = make.planned(own_book(), make.proven(), after_sec=1.0, settle_ms=2000)
    assert [hold.kind for hold in slow.holds] == [HoldKind.SETTLING]
    assert slow.holds[0].until == "a reading 2000 ms after we touched it"
    none = make.planned(own_book(), make.proven(), after_sec=0.0, settle_ms=0)
    assert [hold.kind for hold in none.holds] == [HoldKind.MISSING]


# A gateway without deals.


def test_on_the_guides_wire_it_is_closed_at_once_and_marked_unproven() -> None:
    event = closed(make.planned(make.book_of(P), make.snapshot(), after_sec=20))
    because = "absent from the broker's list; this gateway shows no deals, so unproven"
    assert (event.because, event.unproven, event.ended) == (because, True, None)


def test_on_the_guides_wire_too_the_policy_may_want_a_yes() -> None:
    policy = Policy(symbols=frozenset({"EURUSD"}), ghost=Action.ASK)
    (hold,) = make.planned(make.book_of(P), make.snapshot(), policy=policy).holds
    assert hold.what == "ghost on ticket 7, LONG 0.20L @ 1.0543, waits for approval"
    assert hold.id == step_id("ghost", P)


def test_on_the_guides_wire_a_list_with_unreadable_rows_closes_nothing() -> None:
    plan = make.planned(make.book_of(P), make.snapshot(faults=("row 3",)))
    said = "Ticket 7 is not in a list that has unreadable rows"
    assert plan.holds[0] == Hold("EURUSD", said, "a whole reading", 7, HoldKind.PARTIAL)
    assert [hold.kind for hold in plan.holds[1:]] == [HoldKind.UNREADABLE]
    assert plan.events == ()


def test_many_ghosts_are_each_decided_for_themselves() -> None:
    others: list[Position] = [make.position(n) for n in range(20, 25)]
    plan = gone(OPENED, CLOSED, book=make.bound_book(P, *others))
    assert [type(event).__name__ for event in plan.events].count("PositionMissing") == 5
    assert plan.questions == (20, 21, 22, 23, 24)


# A list that cannot be read in full, and what was counted before.


def test_one_that_may_be_unreadable_is_not_missing_and_nobody_lets_go_of_it() -> None:
    fault = RowFault("row 1: its price is no number", "EURUSD", 7)
    seen = msgspec.structs.replace(make.proven(), faults=(fault,))
    plan = make.planned(make.bound_book(P), seen, approved={ID: "Mary"})
    said = f"Ticket 7 is not in the part of the list that can be read ({fault})"
    assert Hold("EURUSD", said, "a whole reading", 7, HoldKind.PARTIAL) in plan.holds
    assert (plan.events, plan.questions) == ((), (7,))


def test_deals_that_the_broker_does_not_show_any_more_say_so() -> None:
    rest = make.deal(5, 7, Side.SELL, 0.05, entry=Entry.OUT)
    plan = gone(rest, book=counted(OPENED, GREW, PART))
    why = "the broker does not show all of its deals that were recorded before"
    assert missing(plan).why == why


def test_a_clock_that_was_set_does_not_change_since_when_it_is_missing() -> None:
    """It is counted back from now by how long the process has waited."""
    book = make.bound_book(P)
    book.replay(gone(book=book).events)
    since_ns = make.NOW_NS + 20 * make.SECOND_NS
    asked_ns = since_ns + 3600 * make.SECOND_NS
    noted = {since_ns: (asked_ns - 75 * make.SECOND_NS, asked_ns - 75 * make.SECOND_NS)}
    waited = msgspec.structs.replace(by_dates(asked_ns), noted=noted)
    plan = gone(book=book, waited=waited)
    assert missing(plan).since_ns == since_ns - 75 * make.SECOND_NS


@pytest.mark.parametrize("is_counted", [True, False])
def test_what_a_closed_position_goes_on_as_counts_if_it_did_itself(*, is_counted: bool) -> None:
    """What was adopted, and had no deal counted yet, begins to count with a new one."""
    rolled = msgspec.structs.replace(CLOSED, reason=DealReason.ROLLOVER)
    again = make.deal(
        3, 9, Side.BUY, 0.2, order=9, reason=DealReason.ROLLOVER, time_msc=CLOSED.time_msc
    )
    row = make.position(9, volume=0.2)
    book = counted(OPENED) if is_counted else make.bound_book(P)
    seen = make.proven(
        row,
        deals=(OPENED, rolled, again),
        explained=frozenset({7, 9}),
        history=History(4_000, deals=(rolled, again)),
    )
    plan = make.planned(book, seen, after_sec=20)
    exits = [event for event in plan.events if isinstance(event, events.PositionClosed)]
    assert [event.went_on_as for event in exits] == [(9,)]
    counts = [
        event.position.identifier
        for event in plan.events
        if isinstance(event, events.DealsRecorded)
    ]
    assert counts == ([9] if is_counted else [])


def test_a_fill_that_went_into_another_position_goes_on_as_that() -> None:
    book = Book().replay([make.bound(make.NETTING), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    past = PastOrder(7, "filled", 5, 0.2)
    seen = make.proven(account=make.NETTING, explained=frozenset({7}), past_orders=(past,))
    plan = make.planned(book, seen, after_sec=20)
    (event,) = (e for e in plan.events if isinstance(e, events.PositionClosed))
    assert event.went_on_as == (5,)
    assert event.because == "its fill went into position 5, which the book did not know"


# A history that begins with the exit, of a position that was opened a moment ago.

LATE_ENTRY = "the deal that opened it is not visible yet"


def opened_by_us(**changes: Any) -> Book:
    """A book whose order was filled as position 7 at NOW_NS."""
    book = Book().replay([make.bound(), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    held = book.holdings[7]
    held.position = msgspec.structs.replace(held.position, **changes)
    return book


@pytest.mark.parametrize(
    ("book", "after_sec", "server_time_msc", "is_late"),
    [
        (opened_by_us(), 9.999, 0, True),
        (opened_by_us(), 10, 0, False),
        # By the server's clock, where that tells both times.
        (opened_by_us(time_msc=50_000), 20, 59_999, True),
        (opened_by_us(time_msc=50_000), 5, 60_000, False),
        # What we did not touch was opened long ago, as far as anybody knows.
        (make.bound_book(P), 5, 0, False),
        # Where its entry was counted, it has been there.
        (counted(OPENED), 5, 0, False),
    ],
)
def test_an_exit_alone_proves_nothing_while_the_entry_may_still_come(
    book: Book, after_sec: float, server_time_msc: int, *, is_late: bool
) -> None:
    seen = make.proven(deals=(CLOSED,), explained=frozenset({7}), server_time_msc=server_time_msc)
    plan = make.planned(book, seen, after_sec=after_sec)
    assert [hold.why for hold in plan.holds] == ([LATE_ENTRY] if is_late else [])
    exits = [event for event in plan.events if isinstance(event, events.PositionClosed)]
    assert len(exits) == (not is_late)


def test_what_was_counted_is_closed_by_new_deals_however_old_the_list_says_they_are() -> None:
    """The time of a position's last change is no bound where its deals are known."""
    local = msgspec.structs.replace(P, time_update_msc=CLOSED.time_msc + 1)
    for exit_ in (CLOSED, msgspec.structs.replace(CLOSED, time_msc=0)):
        book = counted(OPENED)
        book.holdings[7].position = local
        plan = gone(exit_, book=book)
        assert [type(event).__name__ for event in plan.events] == ["PositionClosed"]


def test_a_netting_position_whose_deals_are_read_needs_no_question_about_its_order() -> None:
    """It was closed to be opened again, and that does not show yet."""
    rolled = msgspec.structs.replace(CLOSED, reason=DealReason.ROLLOVER)
    book = make.bound_book(P, account=make.NETTING)
    seen = make.proven(
        deals=(OPENED, rolled),
        explained=frozenset({7}),
        history=History(60, deals=()),
        account=make.NETTING,
        server_time_msc=CLOSED.time_msc + 1,
    )
    plan = make.planned(book, seen, after_sec=20)
    assert [hold.identifier for hold in plan.holds] == [7]
    assert (plan.questions, plan.order_questions) == ((7,), ())


def test_deals_that_leave_nothing_close_nothing_while_one_that_was_counted_is_not_shown() -> None:
    """A terminal whose link is gone unsaid shows the entry and a closing, and not the addition."""
    more = make.deal(3, 7, Side.BUY, 0.1, order=71)
    grown = make.position(7, volume=0.3, price_current=1.0543)
    book = make.bound_book(grown)
    book.apply(make.counting(grown, OPENED, more))
    plan = gone(OPENED, CLOSED, book=book)
    assert not any(isinstance(one, events.PositionClosed) for one in plan.events)
    assert [hold.identifier for hold in plan.holds] == [7]
