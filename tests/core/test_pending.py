"""Pending orders of a reading: recovered, followed, and let go with the end that they came to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import step_id
from trueup.core.book.events import OrderKind
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import (
    Deal,
    DealReason,
    Entry,
    OrderType,
    PastOrder,
    PendingOrder,
    Position,
    RowFault,
    Side,
)
from trueup.core.policy import Action, Adopt, Policy
from trueup.core.sync.pending_orders import UNDER_WAY
from trueup.core.sync.plan import Plan

EURUSD = frozenset({"EURUSD"})
ORDER = make.pending(50)
NOW_NS = make.NOW_NS + make.SECOND_NS
ID = step_id("missing", ORDER)
MISSING = Hold(
    "EURUSD",
    "BUY LIMIT 0.10L @ 1.05 (ticket 50) left the list, its end not seen",
    "the order history that says what became of it, or a person who lets go of it: "
    f"trueup approve {ID}",
    50,
    HoldKind.MISSING,
    id=ID,
)


def book(*orders: PendingOrder) -> Book:
    return make.bound_book().replay(
        events.PendingAdopted(at_ns=make.NOW_NS, order=order) for order in orders
    )


def gone(*positions: Position, past: PastOrder | None = None, **more: Any) -> Plan:
    """The plan of a reading in which the order is no longer there."""
    past_orders = () if past is None else (past,)
    return make.planned(book(ORDER), make.proven(*positions, past_orders=past_orders), **more)


def ended(plan: Plan) -> str:
    """What became of the order, by the plan."""
    (event,) = (e for e in plan.events if isinstance(e, events.PendingClosed))
    assert (event.order, event.at_ns, event.ours) == (ORDER, NOW_NS, False)
    assert plan.holds == ()
    return event.because


def test_an_order_that_we_do_not_know_is_recovered() -> None:
    plan = make.planned(book(), make.proven(orders=(ORDER,)))
    assert plan == Plan((events.PendingAdopted(at_ns=NOW_NS, order=ORDER),))


@pytest.mark.parametrize(
    ("changes", "magic", "kind"),
    [
        ({"pending": Action.ASK}, 0, HoldKind.ASK),
        ({"pending": Action.ALERT}, 0, HoldKind.ALERT),
        ({"adopt": Adopt.ASK, "magics": frozenset({7})}, 0, HoldKind.ASK),
        ({"adopt": Adopt.ASK, "magics": frozenset({7})}, 7, None),
        ({"adopt": Adopt.ASK, "magics": frozenset({7}), "pending": Action.ALERT}, 0, "ALERT"),
        ({"adopt": Adopt.ALL, "magics": frozenset({7})}, 0, None),
    ],
)
def test_the_policy_says_whether_it_is_recovered(
    changes: dict[str, Any], magic: int, kind: Any
) -> None:
    order = make.pending(50, magic=magic)
    policy = Policy(symbols=EURUSD, **changes)
    plan = make.planned(book(), make.proven(orders=(order,)), policy=policy)
    wanted = HoldKind.ALERT if kind == "ALERT" else kind
    assert [hold.kind for hold in plan.holds] == ([] if kind is None else [wanted])
    assert [hold.what[:46] for hold in plan.holds] == (
        [] if kind is None else ["pending on ticket 50, BUY LIMIT 0.10L @ 1.05, "]
    )
    assert bool(plan.events) is (kind is None)


def test_what_changed_is_corrected_unless_it_changed_here_meanwhile() -> None:
    moved = make.pending(50, price_open=1.04, sl=1.0)
    local, seen = book(ORDER), make.proven(orders=(moved,))
    (event,) = make.planned(local, seen).events
    assert event == events.PendingCorrected(
        at_ns=NOW_NS, local=ORDER, remote=moved, fields=("price_open", "sl")
    )
    plan = make.planned(local, seen, asked_version=local.version - 1)
    said = "Pending order 50 changed here after the broker was asked"
    assert plan.holds == (Hold("EURUSD", said, "the next reading", 50, HoldKind.NEWER),)
    assert plan.events == ()


def test_one_that_changed_here_does_not_keep_the_others_from_being_corrected() -> None:
    first = make.pending(49)
    local = book(first, ORDER)
    local.apply(
        events.PendingCorrected(at_ns=make.NOW_NS, local=first, remote=first, fields=("sl",))
    )
    seen = make.proven(orders=(make.pending(49, sl=1.0), make.pending(50, sl=1.0)))
    plan = make.planned(local, seen, asked_version=local.version - 1)
    assert [event.local.ticket for event in plan.events if hasattr(event, "local")] == [50]
    assert [hold.identifier for hold in plan.holds] == [49]


def test_a_correction_that_waits_for_a_yes_is_about_what_the_broker_has() -> None:
    moved = make.pending(50, price_open=1.04)
    policy = Policy(symbols=EURUSD, pending=Action.ASK)
    (hold,) = make.planned(book(ORDER), make.proven(orders=(moved,)), policy=policy).holds
    assert hold.id == step_id("pending", moved)


# Gone from the list.


def test_without_a_known_end_it_is_missing_and_asked_about() -> None:
    plan = gone()
    assert (plan.events, plan.holds, plan.order_questions) == ((), (MISSING,), (50,))


def test_a_person_lets_go_of_it_only_when_its_end_was_asked_for() -> None:
    assert gone(approved={ID: "Mary"}, is_final=False).holds == (MISSING,)
    plan = gone(approved={ID: "Mary"})
    assert ended(plan) == "assumed ended: Mary let go of it, its end was not seen"
    assert plan.order_questions == ()


@pytest.mark.parametrize("state", ["canceled", "expired", "rejected"])
def test_the_order_history_says_how_it_ended(state: str) -> None:
    assert ended(gone(past=PastOrder(50, state))) == state


def test_the_history_says_into_which_position_it_went() -> None:
    assert ended(gone(past=PastOrder(50, "filled", 5))) == "filled: it went into position 5"
    assert ended(gone(past=PastOrder(50, "filled"))) == "filled"


@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_an_order_that_the_history_has_under_way_has_not_ended(state: str) -> None:
    assert gone(past=PastOrder(50, state)).holds == (MISSING,)


def test_the_end_of_another_order_says_nothing_about_it() -> None:
    assert gone(past=PastOrder(51, "canceled")).holds == (MISSING,)


def test_its_position_in_the_list_says_that_it_was_filled() -> None:
    assert ended(gone(make.position(50, volume=0.1))) == "filled: it is position 50 now"


def test_its_position_says_so_also_after_the_broker_has_opened_that_again() -> None:
    again = make.position(60, volume=0.1, identifier=50)
    assert ended(gone(again)) == "filled: it is position 50 now"
    # One that the order turned round has its ticket, and began before it.
    assert MISSING in gone(make.position(50, volume=0.1, identifier=40)).holds


def test_deals_that_the_same_reading_counts_prove_its_end() -> None:
    """Another order added to its position, so that the lots alone prove nothing."""
    local, row = own_limit(0.3, account=make.NETTING), make.position(50, volume=0.5)
    deals = (
        make.deal(901, 50, Side.BUY, 0.3, time_msc=1),
        make.deal(902, 50, Side.BUY, 0.2, time_msc=2, order=70),
    )
    seen = make.proven(row, deals=deals, explained=frozenset({50}), account=make.NETTING)
    plan = make.planned(local, seen)
    assert ended_as(plan) == ("filled: its deals were counted before", 0.0, 0)
    assert plan.holds == ()
    local.replay(plan.events)
    assert make.planned(local, seen).events == ()


def test_a_position_that_is_smaller_is_no_proof_that_all_of_it_was_filled() -> None:
    plan = gone(make.position(50, volume=0.04), make.position(51, volume=0.1))
    assert MISSING in plan.holds
    plan = gone(make.position(50, volume=0.04), past=PastOrder(50, "canceled"))
    assert ended(plan) == "canceled"


def test_what_was_filled_of_it_before_counts() -> None:
    """The book has 0.3 lots of it as a position already, and 0.1 were left to fill."""
    local = book(ORDER)
    local.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=make.position(50, volume=0.3)))
    plan = make.planned(local, make.proven(make.position(50, volume=0.4)))
    assert ended(plan) == "filled: it is position 50 now"
    still = make.planned(local, make.proven(make.position(50, volume=0.3)))
    assert still.holds == (MISSING,)


def test_one_that_changed_here_after_the_question_is_left_for_the_next_reading() -> None:
    local = book(ORDER)
    plan = make.planned(local, make.proven(), asked_version=local.version - 1)
    assert [hold.kind for hold in plan.holds] == [HoldKind.NEWER]
    assert plan.events == ()


def test_its_end_waits_for_a_yes_where_the_policy_says_so() -> None:
    policy = Policy(symbols=EURUSD, pending=Action.ASK)
    plan = gone(past=PastOrder(50, "canceled"), policy=policy)
    assert plan.events == ()
    assert [hold.id for hold in plan.holds] == [step_id("pending", ORDER)]


@pytest.mark.parametrize(
    ("lots", "order", "is_open", "has_ended"),
    [
        (0.1, 50, True, True),
        (0.1, 50, False, True),
        # A part of it is not its end, and deals of another order say nothing of it.
        (0.05, 50, True, False),
        (0.1, 51, True, False),
    ],
)
def test_its_counted_deals_say_that_it_was_filled_where_the_broker_has_archived_it(
    lots: float, order: int, *, is_open: bool, has_ended: bool
) -> None:
    """Seed 9015230: its end waited for a yes, while its position was counted."""
    whole = make.pending(50, volume_initial=0.1)
    position = make.position(50, volume=lots)
    local = book(whole).replay(
        [
            events.PositionAdopted(at_ns=make.NOW_NS, position=position),
            make.counting(position, make.deal(1, 50, Side.BUY, lots, order=order)),
        ]
    )
    if not is_open:
        local.apply(events.PositionClosed(at_ns=make.NOW_NS, position=position, because="closed"))
    plan = make.planned(local, make.proven(*([position] if is_open else [])))
    if not has_ended:
        assert [hold.kind for hold in plan.holds] == [HoldKind.MISSING]
        return
    local.replay(plan.events)
    (event,) = plan.events
    assert isinstance(event, events.PendingClosed)
    assert event.because == "filled: its deals were counted before"
    assert (local.pending, local.unbooked) == ({}, {})
    assert make.planned(local, make.proven(*([position] if is_open else []))) == Plan()


# What was executed of it is counted, whatever became of the position.


BUY_IT = make.deal(1, 50, Side.BUY, 0.1, commission=-0.5)
STOPPED = make.deal(
    2,
    50,
    Side.SELL,
    0.1,
    entry=Entry.OUT,
    order=60,
    price=1.04,
    profit=-100.0,
    reason=DealReason.STOP_LOSS,
    time_msc=1,
)


def told(*deals: Deal, past: PastOrder | None, **more: Any) -> Plan:
    """The plan of a reading without the order, with these deals of position 50."""
    positions = more.pop("positions", ())
    seen = make.proven(
        *positions,
        past_orders=() if past is None else (past,),
        deals=deals,
        explained=more.pop("explained", frozenset({50})),
        account=more.pop("account", make.ACCOUNT),
    )
    return make.planned(more.pop("local", None) or book(ORDER), seen, **more)


def kinds(plan: Plan) -> list[str]:
    return [type(event).__name__ for event in plan.events]


def test_one_that_was_filled_and_stopped_out_between_two_looks_is_entry_and_exit() -> None:
    local = book(ORDER)
    plan = told(BUY_IT, STOPPED, past=PastOrder(50, "filled", 50, 0.1), local=local)
    assert kinds(plan) == ["PendingClosed", "PositionAdopted", "PositionClosed"]
    assert (plan.holds, plan.questions) == ((), ())
    *_, exit_ = plan.events
    assert isinstance(exit_, events.PositionClosed)
    assert exit_.because.startswith(
        "opened and closed between two readings: closed by its stop loss: 0.10 lots at 1.04, profit"
    )
    local.replay(plan.events)
    assert (local.realised, local.holdings, local.pending) == (-100.5, {}, {})
    assert (local.unbooked, local.unexplained) == ({}, {})


@pytest.mark.parametrize("filled", [0.1, None])
def test_until_its_deals_are_there_they_are_asked_for(filled: float | None) -> None:
    local = book(ORDER)
    past = PastOrder(50, "filled", 50, filled)
    plan = told(past=past, explained=frozenset(), local=local)
    assert (kinds(plan), plan.questions) == (["PendingClosed"], (50,))
    local.replay(plan.events)
    assert set(local.unbooked) == {50}
    assert local.unbooked[50].units == (10_000_000 if filled else 0)
    later = told(past=None, explained=frozenset(), local=local)
    assert (later.events, later.questions, later.holds) == ((), (50,), ())
    entry = told(BUY_IT, past=None, local=local)
    assert (entry.events, entry.questions) == ((), (50,))
    local.replay(told(BUY_IT, STOPPED, past=None, local=local).events)
    assert (local.realised, local.unbooked) == (-100.5, {})


@pytest.mark.parametrize("state", ["canceled", "expired", "rejected"])
@pytest.mark.parametrize("filled", [0.04, None])
def test_a_part_that_was_filled_before_it_ended_is_counted(
    state: str, filled: float | None
) -> None:
    part = msgspec.structs.replace(BUY_IT, volume=0.04)
    out = msgspec.structs.replace(STOPPED, volume=0.04)
    plan = told(part, out, past=PastOrder(50, state, 50, filled))
    if state == "rejected" and filled is None:
        assert kinds(plan) == ["PendingClosed"]
        return
    assert kinds(plan) == ["PendingClosed", "PositionAdopted", "PositionClosed"]
    assert ended_as(plan) == (state, filled or 0.0, 50)


def ended_as(plan: Plan) -> tuple[str, float, int]:
    (event,) = (e for e in plan.events if isinstance(e, events.PendingClosed))
    return event.because, event.filled, event.position


@pytest.mark.parametrize("filled", [0.0, None])
def test_one_of_which_nothing_was_filled_leaves_nothing_to_count(filled: float | None) -> None:
    local = book(ORDER)
    plan = told(past=PastOrder(50, "canceled", 0, filled), explained=frozenset(), local=local)
    assert (kinds(plan), plan.questions) == (["PendingClosed"], ())
    local.replay(plan.events)
    assert local.unbooked == {}


def test_a_part_that_was_filled_while_the_rest_works_is_counted() -> None:
    local = book(make.pending(50, volume_initial=0.1))
    rest = make.pending(50, volume=0.06, volume_initial=0.1)
    part = msgspec.structs.replace(BUY_IT, volume=0.04)
    out = msgspec.structs.replace(STOPPED, volume=0.04)
    seen = make.proven(orders=(rest,), deals=(part, out), explained=frozenset({50}))
    plan = make.planned(local, seen)
    assert kinds(plan) == ["PendingCorrected", "PositionAdopted", "PositionClosed"]
    local.replay(plan.events)
    assert (local.realised, local.unbooked, set(local.pending)) == (-100.5, {}, {50})
    unread = make.planned(book(make.pending(50)), make.proven(orders=(rest,)))
    assert unread.questions == (50,)


def test_a_level_that_moved_is_no_execution() -> None:
    moved = make.pending(50, price_open=1.04)
    assert make.planned(book(ORDER), make.proven(orders=(moved,))).questions == ()


def test_on_a_netting_account_it_is_looked_for_where_it_went() -> None:
    """It went into a position that a hand had opened, and that is closed again."""
    local = make.bound_book(account=make.NETTING)
    local.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=ORDER))
    past = PastOrder(50, "filled", 5, 0.1)
    netting: dict[str, Any] = {"local": local, "account": make.NETTING}
    plan = told(past=past, explained=frozenset(), **netting)
    assert (kinds(plan), plan.questions) == (["PendingClosed"], (5,))
    deals = (
        make.deal(1, 5, Side.SELL, 0.1, order=5),
        make.deal(2, 5, Side.BUY, 0.1, entry=Entry.OUT, order=50, profit=-7.0, time_msc=1),
    )
    plan = told(*deals, past=past, explained=frozenset({5}), **netting)
    assert kinds(plan) == ["PendingClosed", "PositionAdopted", "PositionClosed"]
    local.replay(plan.events)
    assert (local.realised, local.unbooked) == (-7.0, {})


# One that an order of ours cancelled.


def canceled_by_us(account: Any = make.ACCOUNT) -> Book:
    """A book whose own pending order another order of ours has just cancelled."""
    local = Book().replay(
        [
            make.bound(account),
            make.created("A", Side.BUY, 0.1, kind=OrderKind.LIMIT, price=1.05),
            events.OrderApplied(at_ns=make.NOW_NS, order_id="A", ticket=50),
            make.created("B", Side.BUY, 0.1, kind=OrderKind.CANCEL, target=50),
            events.OrderApplied(at_ns=make.NOW_NS, order_id="B"),
        ]
    )
    assert (set(local.ending), local.pending) == ({50}, {})
    return local


def test_how_it_ended_is_asked_for_once_more() -> None:
    local = canceled_by_us()
    plan = told(past=None, local=local)
    assert (plan.events, plan.order_questions, plan.holds) == ((), (50,), ())
    plan = told(past=PastOrder(50, "canceled", 0, 0.0), local=local)
    (event,) = plan.events
    assert isinstance(event, events.PendingClosed)
    assert (event.because, event.ours, event.filled) == ("canceled", True, 0.0)
    local.replay(plan.events)
    assert told(past=None, local=local) == Plan()


def test_a_part_of_it_that_was_filled_before_is_counted() -> None:
    local = canceled_by_us()
    part = msgspec.structs.replace(BUY_IT, volume=0.04)
    out = msgspec.structs.replace(STOPPED, volume=0.04)
    plan = told(part, out, past=PastOrder(50, "canceled", 50, 0.04), local=local)
    assert kinds(plan) == ["PendingClosed", "PositionAdopted", "PositionClosed"]
    local.replay(plan.events)
    assert (local.realised, local.ending, local.unbooked) == (-100.5, {}, {})


def test_one_that_is_listed_all_the_same_is_taken_in_again() -> None:
    local = canceled_by_us()
    plan = make.planned(local, make.proven(orders=(ORDER,)))
    assert (kinds(plan), plan.order_questions) == (["PendingAdopted"], ())
    local.replay(plan.events)
    assert (set(local.pending), local.ending) == ({50}, {})


@pytest.mark.parametrize(("after_sec", "has_ended"), [(9.9, False), (10, True)])
def test_one_that_a_late_list_brought_back_ends_by_our_cancellation_where_nothing_shows_its_end(
    after_sec: float, *, has_ended: bool
) -> None:
    """Seed 9031116: the machine slept, and the broker archived the order meanwhile."""
    local = canceled_by_us()
    local.replay(make.planned(local, make.proven(orders=(ORDER,))).events)
    plan = make.planned(local, make.proven(), after_sec=after_sec)
    if not has_ended:
        assert ([hold.kind for hold in plan.holds], plan.order_questions) == (
            [HoldKind.MISSING],
            (50,),
        )
        return
    assert ended_as(plan) == ("canceled: our own cancellation took effect before", 0.0, 0)
    local.replay(plan.events)
    assert (local.pending, local.ending) == ({}, {})


def test_a_cancellation_that_this_reading_settles_needs_no_yes_for_the_end_of_its_order() -> None:
    """A second plan on the same reading would find an end that needs no approval."""
    local = book(ORDER)
    make.put_in_doubt(local, "A", Side.BUY, 0.1, kind=OrderKind.CANCEL, target=50)
    past = PastOrder(50, "canceled", 0, 0.0)
    snapshot = make.proven(past_orders=(past,))
    policy = Policy(symbols=EURUSD, pending=Action.ASK)
    plan = make.planned(local, snapshot, policy=policy)
    assert (kinds(plan), plan.holds) == (["OrderApplied", "PendingClosed"], ())
    local.replay(plan.events)
    assert (local.pending, local.ending) == ({}, {})
    assert make.planned(local, snapshot, policy=policy) == Plan()


def test_a_change_in_doubt_that_this_reading_settles_ends_no_pending_order_without_a_yes() -> None:
    local = make.bound_book(make.position(7, volume=0.1))
    local.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=ORDER))
    make.put_in_doubt(local, "A", Side.BUY, 0.1, kind=OrderKind.MODIFY, position=7, sl=1.0, tp=1.1)
    set_now = make.position(7, volume=0.1, sl=1.0, tp=1.1)
    past = PastOrder(50, "canceled", 0, 0.0)
    policy = Policy(symbols=EURUSD, pending=Action.ASK, protection=Action.ASK)
    plan = make.planned(local, make.proven(set_now, past_orders=(past,)), policy=policy)
    assert "PendingClosed" not in kinds(plan)


def test_where_there_is_no_order_history_nothing_is_awaited() -> None:
    local = Book().replay(
        [
            make.created("A", Side.BUY, 0.1, kind=OrderKind.LIMIT, price=1.05),
            events.OrderApplied(at_ns=make.NOW_NS, order_id="A", ticket=50),
            make.created("B", Side.BUY, 0.1, kind=OrderKind.CANCEL, target=50),
            events.OrderApplied(at_ns=make.NOW_NS, order_id="B"),
        ]
    )
    assert (local.ending, local.pending) == ({}, {})


# How much of it was executed, where no history tells.


def own_limit(volume: float = 0.3, sent_msc: int = 0, **more: Any) -> Book:
    """A book whose own pending order works as 50."""
    return make.bound_book(**more).replay(
        [
            make.created("A", Side.BUY, volume, kind=OrderKind.LIMIT, price=1.05),
            events.SendStarted(at_ns=make.NOW_NS, order_id="A", server_time_msc=sent_msc),
            events.OrderApplied(at_ns=make.NOW_NS, order_id="A", ticket=50),
        ]
    )


def of_volume(whole: float, left: float) -> Book:
    return book(make.pending(50, volume=left, volume_initial=whole))


def closed_by(plan: Plan) -> tuple[str, float, int]:
    (event,) = (e for e in plan.events if isinstance(e, events.PendingClosed))
    return event.because, event.filled, event.position


@pytest.mark.parametrize(
    ("local", "row", "filled"),
    [
        (own_limit(0.3), make.position(50, volume=0.3), 0.3),
        (of_volume(0.3, 0.3), make.position(50, volume=0.3), 0.3),
        # A stranger's, of which the list never said what was asked for.
        (of_volume(0.0, 0.3), make.position(50, volume=0.3), 0.0),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_what_was_asked_for_tells_how_much_was_filled(
    local: Book, row: Position, filled: float, *, is_listed: bool
) -> None:
    if is_listed:
        plan = make.planned(local, make.proven(row))
        assert closed_by(plan) == ("filled: it is position 50 now", filled, 50)
    else:
        past = PastOrder(50, "filled", 5)
        plan = make.planned(local, make.proven(past_orders=(past,)))
        assert closed_by(plan) == ("filled: it went into position 5", filled, 5)


def test_a_market_order_says_nothing_of_a_pending_order_with_its_ticket() -> None:
    local = book(make.pending(50, volume=0.3))
    local.apply(make.created("M", Side.BUY, 0.7))
    local.apply(make.filled("M", 50, Side.BUY, 0.7, 1.05))
    local.apply(events.PositionClosed(at_ns=1, position=local.holdings[50].position, because="x"))
    past = PastOrder(50, "filled", 5)
    plan = make.planned(local, make.proven(past_orders=(past,)))
    assert closed_by(plan) == ("filled: it went into position 5", 0.0, 5)


@pytest.mark.parametrize("filled", [0.0, None])
def test_one_that_ended_without_an_execution_went_into_nothing(filled: float | None) -> None:
    """Whatever position the broker names with it."""
    position = 50 if filled == 0.0 else 0
    plan = gone(past=PastOrder(50, "canceled", position, filled))
    assert closed_by(plan) == ("canceled", 0.0, 0)


def part_of(units: float, *, whole: float) -> Plan:
    """The plan where 0.1 of an order were executed, and deals of so many lots are there."""
    local = book(make.pending(50, volume=0.3, volume_initial=whole))
    rest = make.pending(50, volume=0.2, volume_initial=whole)
    part = msgspec.structs.replace(BUY_IT, volume=units)
    exit_ = msgspec.structs.replace(STOPPED, volume=units)
    seen = make.proven(orders=(rest,), deals=(part, exit_), explained=frozenset({50}))
    return make.planned(local, seen)


def test_a_part_is_asked_for_until_all_of_its_deals_are_there() -> None:
    assert part_of(0.1, whole=0.3).questions == ()
    assert part_of(0.04, whole=0.3).questions == (50,)
    # Of one that was filled in part before, all parts count.
    assert part_of(0.1, whole=0.4).questions == (50,)


def test_where_nothing_tells_how_much_any_deal_of_it_is_enough() -> None:
    part = msgspec.structs.replace(BUY_IT, volume=0.04)
    out = msgspec.structs.replace(STOPPED, volume=0.04)
    plan = told(part, out, past=PastOrder(50, "filled", 50))
    assert kinds(plan) == ["PendingClosed", "PositionAdopted", "PositionClosed"]
    assert plan.questions == ()


# Where its deals are looked for.

SERVER_MSC = make.NOW_NS // 1_000_000
NOWHERE = frozenset({5, 50})


def looked_for(local: Book, account: Any = make.NETTING, **more: Any) -> Plan:
    """The plan where an order says that it is filled, and no position has its deals."""
    past = more.pop("past", PastOrder(50, "filled", 5, 0.1))
    seen = make.proven(past_orders=(past,), account=account, explained=NOWHERE, **more)
    return make.planned(local, seen)


def netting(order: PendingOrder) -> Book:
    local = make.bound_book(account=make.NETTING)
    return local.replay([events.PendingAdopted(at_ns=make.NOW_NS, order=order)])


@pytest.mark.parametrize(
    ("local", "back_sec"),
    [
        # When it was placed, as the list says; or when it left, as we know of our own.
        (netting(make.pending(50, time_setup=SERVER_MSC // 1000 - 500)), 500),
        (own_limit(0.1, SERVER_MSC - 700_000, account=make.NETTING), 700),
        (netting(make.pending(50)), None),
    ],
)
def test_the_history_is_wanted_since_it_was_placed(local: Book, back_sec: int | None) -> None:
    wanted = 0 if back_sec is None else back_sec + 60 + 3_660
    assert looked_for(local).history_age_sec == wanted


def test_on_a_netting_account_it_may_be_in_any_position_of_its_symbol() -> None:
    mine, other = make.position(7, volume=0.2), make.position(8, symbol="GBPUSD")
    local = make.bound_book(mine, other, account=make.NETTING)
    local.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=ORDER))
    local.unexplained.clear()
    seen = make.proven(
        mine, other, past_orders=(PastOrder(50, "filled", 0, 0.1),), account=make.NETTING
    )
    plan = make.planned(local, seen, policy=make.policy("EURUSD", "GBPUSD"))
    # The history gives no position: its own number is a guess, and the symbol's position another.
    assert set(plan.questions) == {7, 50}


def test_an_order_whose_end_names_no_position_is_looked_for_under_its_own_number() -> None:
    past = PastOrder(50, "canceled", 0, 0.04)
    for account, local in ((make.ACCOUNT, book(ORDER)), (make.NETTING, netting(ORDER))):
        seen = make.proven(past_orders=(past,), account=account)
        plan = make.planned(local, seen)
        assert plan.questions == (50,)
        assert plan.order_questions == (() if account is make.ACCOUNT else (50,))


# A row that cannot be read may be it.


def test_one_that_may_be_unreadable_is_no_missing_one_and_nobody_lets_go_of_it() -> None:
    fault = RowFault("row 1: its price is no number", "EURUSD", 50)
    seen = msgspec.structs.replace(make.proven(), faults=(fault,))
    plan = make.planned(book(ORDER), seen, approved={ID: "Mary"})
    assert plan.events == ()
    assert plan.order_questions == (50,)
    said = (
        "Ticket 50 is not in the part of the list that can be read (row 1: its price is no number)"
    )
    hold = Hold("EURUSD", said, "a whole reading", 50, HoldKind.PARTIAL)
    assert hold in plan.holds
    assert MISSING not in plan.holds


# What raises in the rule of one order is that order's trouble alone.


@pytest.mark.parametrize("what", ["unknown", "differs", "gone", "cancelled"])
def test_an_order_that_cannot_be_judged_is_held_by_its_ticket(what: str) -> None:
    nan = make.pending(50, volume=float("nan"))
    policy = Policy(symbols=EURUSD, pending=Action.ASK)
    local, seen = make.bound_book(), make.proven(orders=(ORDER,))
    assert seen.evidence is not None
    odd = msgspec.structs.replace(seen.evidence, orders=(nan,))
    seen = msgspec.structs.replace(seen, evidence=odd)
    if what == "differs":
        local = book(ORDER)
    elif what == "gone":
        local, seen = book(nan), make.proven()
    elif what == "cancelled":
        local, seen = canceled_by_us(), make.proven(past_orders=(PastOrder(50, "filled", 50),))
        local.ending[50] = make.pending(50, volume_initial=float("nan"))
    (hold,) = make.planned(local, seen, policy=policy).holds
    assert (hold.kind, hold.identifier, hold.symbol) == (HoldKind.BROKEN, 50, "EURUSD")


# The guide's wire lists no pending orders.


@pytest.mark.parametrize(("asked_version", "is_closed"), [(2, True), (1, True), (0, False)])
def test_without_a_list_of_them_one_ends_where_its_position_shows(
    asked_version: int, *, is_closed: bool
) -> None:
    """Unless it changed here after the question; and no other ends with it."""
    local = Book().replay([events.PendingAdopted(at_ns=make.NOW_NS, order=ORDER)])
    local.replay([events.PendingAdopted(at_ns=make.NOW_NS, order=make.pending(51))])
    rows = make.snapshot(make.position(49), make.position(50, volume=0.1))
    plan = make.planned(local, rows, asked_version=asked_version)
    ends = tuple(e for e in plan.events if isinstance(e, events.PendingClosed))
    said = "filled: it is position 50 now"
    ended_now = events.PendingClosed(at_ns=NOW_NS, order=ORDER, because=said)
    assert ends == ((ended_now,) if is_closed else ())


def test_without_a_list_of_them_nothing_is_awaited_of_one_that_we_cancelled() -> None:
    local = canceled_by_us()
    plan = make.planned(local, make.snapshot(make.position(9)))
    assert (plan.order_questions, set(local.ending)) == ((), {50})


def test_without_a_list_of_them_one_ends_also_where_its_position_is_in_the_book() -> None:
    row = make.position(50, volume=0.1)
    local = Book().replay([events.PendingAdopted(at_ns=make.NOW_NS, order=ORDER)])
    local.apply(events.PositionAdopted(at_ns=make.NOW_NS, position=row))
    assert kinds(make.planned(local, make.snapshot(row))) == ["PendingClosed"]


# Stop-limit orders.

WAITING = make.pending(
    50, type=OrderType.BUY_STOP_LIMIT, price_open=1.12, price_stoplimit=1.115, volume=0.1
)
REACHED = make.pending(50, type=OrderType.BUY_LIMIT, price_open=1.115, volume=0.1)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize(
    ("listed", "is_its_way"),
    [
        (REACHED, True),
        (msgspec.structs.replace(REACHED, volume=0.04), True),
        (msgspec.structs.replace(REACHED, price_open=1.116), False),
        (msgspec.structs.replace(REACHED, sl=1.0), False),
        (msgspec.structs.replace(REACHED, type=OrderType.SELL_LIMIT), False),
        (msgspec.structs.replace(WAITING, price_open=1.115), False),
    ],
)
def test_a_stop_limit_order_that_reached_its_price_needs_no_approval(
    action: Action, listed: PendingOrder, *, is_its_way: bool
) -> None:
    policy = Policy(symbols=EURUSD, pending=action)
    plan = make.planned(book(WAITING), make.proven(orders=(listed,)), policy=policy)
    is_corrected = is_its_way or action is Action.APPLY
    assert kinds(plan)[:1] == (["PendingCorrected"] if is_corrected else [])
    assert bool([hold for hold in plan.holds if hold.identifier == 50]) is not is_corrected
