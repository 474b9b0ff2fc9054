"""Zombies, drifts and protection on a reading with evidence: corrected, or held with a reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import step_id
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.model import Entry, Position, Side, SymbolSpec
from trueup.core.policy import Action, Adopt, Policy
from trueup.core.sync.plan import Plan

EURUSD = frozenset({"EURUSD"})
P = make.position(7, volume=0.2)
OPENED = make.deal(1, 7, Side.BUY, 0.2)
LONG_AFTER_SEC = LONGEST_MS / 1000


def own_book(account: Any = make.ACCOUNT) -> Book:
    """A book that holds what an order of ours filled at NOW_NS."""
    book = Book().replay([make.bound(account), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    return book


def just_closed(account: Any = make.ACCOUNT, order: int = 70) -> Book:
    """A book that let a position go by an order of ours at NOW_NS."""
    book = make.bound_book(P, account=account)
    book.apply(make.created("B", Side.SELL, 0.2, position=7))
    book.apply(make.filled("B", order, Side.SELL, 0.2, 1.06))
    assert not book.holdings
    return book


def seen(*positions: Position, deals: Any = None, **evidence: Any) -> Any:
    """A reading, with the deals of position 7 where they were asked for."""
    told = {} if deals is None else {"deals": deals, "explained": frozenset({7})}
    return make.proven(*positions, **told, **evidence)


# Zombies.


def test_the_deals_of_our_own_pending_order_that_was_filled_are_asked_for() -> None:
    book = make.bound_book()
    book.apply(make.created("L", Side.BUY, 0.2, kind=events.OrderKind.LIMIT))
    book.apply(events.OrderApplied(at_ns=make.NOW_NS, order_id="L", ticket=7))
    plan = make.planned(book, seen(P))
    assert plan.questions == (7,)
    assert plan.holds == ()


def test_a_zombie_is_adopted_without_a_question() -> None:
    plan = make.planned(make.bound_book(), seen(P))
    now_ns = make.NOW_NS + make.SECOND_NS
    assert plan == Plan((events.PositionAdopted(at_ns=now_ns, position=P),))


@pytest.mark.parametrize(
    ("changes", "row", "said"),
    [
        ({}, P, "adopted"),
        ({"zombie": Action.ASK}, P, "asked"),
        ({"zombie": Action.ALERT}, P, "shown"),
        ({"adopt": Adopt.ASK, "magics": frozenset({9})}, P, "asked"),
        ({"adopt": Adopt.ASK, "magics": frozenset({9}), "zombie": Action.ALERT}, P, "shown"),
        ({"adopt": Adopt.ASK, "magics": frozenset({9})}, make.position(7, magic=9), "adopted"),
        ({"adopt": Adopt.ALL, "magics": frozenset({9})}, P, "adopted"),
    ],
)
def test_the_policy_says_whether_a_zombie_is_adopted(
    changes: dict[str, Any], row: Position, said: str
) -> None:
    plan = make.planned(make.bound_book(), seen(row), policy=Policy(symbols=EURUSD, **changes))
    kinds = {"adopted": [], "asked": [HoldKind.ASK], "shown": [HoldKind.ALERT]}
    assert [hold.kind for hold in plan.holds] == kinds[said]
    assert bool(plan.events) is (said == "adopted")
    assert plan.foreign == 0


def test_a_yes_adopts_what_it_was_given_to_and_nothing_else() -> None:
    policy = Policy(symbols=EURUSD, zombie=Action.ASK)
    other = make.position(8, volume=0.3)
    wanted = step_id("zombie", P)
    plan = make.planned(make.bound_book(), seen(P, other), policy=policy, approved={wanted: "Mary"})
    assert [event.position for event in plan.events if hasattr(event, "position")] == [P]
    (hold,) = plan.holds
    assert (hold.identifier, hold.id) == (8, step_id("zombie", other))
    assert hold.what == "zombie on ticket 8, LONG 0.30L @ 1.0543, waits for approval"
    assert hold.until == f"trueup approve {hold.id}"


LISTED = "Ticket 7 was closed here and the broker still lists it"


def test_what_we_closed_a_moment_ago_is_held_until_its_window_ends() -> None:
    plan = make.planned(just_closed(), seen(P), after_sec=0.5)
    assert plan.holds == (
        Hold(
            "EURUSD",
            LISTED,
            "a reading 1000 ms after we touched it",
            7,
            HoldKind.SETTLING,
            until_ns=make.NOW_NS + make.SECOND_NS,
        ),
    )
    assert plan.events == ()


LATE = Hold("EURUSD", LISTED, "a list that agrees with what we did", 7, HoldKind.SETTLING)
CLOSING = make.deal(2, 7, Side.SELL, 0.2, entry=Entry.OUT, order=70, price=1.06)


@pytest.mark.parametrize("deals", [None, (), (OPENED,), (OPENED, CLOSING)])
def test_a_list_that_is_later_than_that_undoes_nothing_that_we_did(deals: Any) -> None:
    """The deals agree with us, or do not have our own last one yet, or were not asked for."""
    plan = make.planned(just_closed(), seen(P, deals=deals), after_sec=2)
    assert plan.holds == (LATE,)
    assert plan.questions == ((7,) if deals is None else ())
    assert not any(isinstance(event, events.PositionAdopted) for event in plan.events)


def test_what_deals_leave_open_contradicts_us_however_coarse_the_step_of_an_order_is() -> None:
    coarse = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=1)
    almost = make.deal(2, 7, Side.SELL, 0.16, entry=Entry.OUT, order=70)
    told = seen(P, deals=(OPENED, almost), specs=(coarse,))
    assert make.planned(just_closed(), told, after_sec=9999).holds == ()


def test_deals_that_prove_it_closed_outweigh_a_list_for_ever() -> None:
    plan = make.planned(just_closed(), seen(P, deals=(OPENED, CLOSING)), after_sec=9999)
    assert plan.holds == (LATE,)


@pytest.mark.parametrize(("after_sec", "is_late"), [(LONG_AFTER_SEC - 0.001, True), (10, False)])
def test_without_our_own_deal_a_list_is_late_for_as_long_as_any_broker_takes(
    after_sec: float, is_late: bool
) -> None:
    plan = make.planned(just_closed(), seen(P, deals=(OPENED,)), after_sec=after_sec)
    assert plan.holds == ((LATE,) if is_late else ())
    assert (len(plan.events) > 0) is not is_late
    # Deals that were not asked for say nothing either way, and are asked for.
    plan = make.planned(just_closed(), seen(P), after_sec=after_sec)
    assert (LATE in plan.holds) is is_late
    assert 7 in plan.questions


def test_deals_of_which_the_first_are_archived_do_not_prove_it_closed() -> None:
    """The rest comes to nothing by chance: a pending order had added as much as we closed."""
    book = make.bound_book(P)
    book.apply(make.counting(P, OPENED))
    book.apply(make.created("A", Side.SELL, 0.2, position=7))
    book.apply(make.filled("A", 70, Side.SELL, 0.2, 1.06))
    assert book.holdings == {}
    more = make.deal(3, 7, Side.BUY, 0.2, order=80)
    plan = make.planned(book, seen(P, deals=(more, CLOSING)), after_sec=20)
    assert plan.holds == ()
    assert [type(event).__name__ for event in plan.events] == ["PositionAdopted", "DealsRecorded"]
    book.replay(plan.events)
    assert set(book.holdings) == {7}
    # A list that is late still loses against the deals, archived ones among them.
    late = make.bound_book(P)
    late.apply(make.counting(P, OPENED))
    late.apply(make.created("A", Side.SELL, 0.2, position=7))
    late.apply(make.filled("A", 70, Side.SELL, 0.2, 1.06))
    assert make.planned(late, seen(P, deals=(CLOSING,)), after_sec=20).holds == (LATE,)


def test_a_position_that_somebody_opened_again_after_our_close_is_adopted() -> None:
    """Our own close is among the deals, and they leave a position open: somebody acted since."""
    again = make.deal(3, 7, Side.BUY, 0.2, order=80)
    plan = make.planned(just_closed(), seen(P, deals=(OPENED, CLOSING, again)), after_sec=2)
    assert plan.holds == ()
    adopted, recorded = plan.events
    assert isinstance(adopted, events.PositionAdopted)
    assert isinstance(recorded, events.DealsRecorded)
    assert recorded.deals == (1, 2, 3)


def test_what_was_closed_here_after_the_question_is_left_for_the_next_reading() -> None:
    book = just_closed()
    plan = make.planned(book, seen(P), asked_version=book.version - 1)
    said = "Ticket 7 changed here after the broker was asked"
    assert plan.holds == (Hold("EURUSD", said, "the next reading", 7, HoldKind.NEWER),)


# Drifts.


def changes(plan: Plan) -> list[tuple[tuple[str, ...], Position, Position]]:
    """Every correction of a plan: what differed, from what, to what."""
    corrected = [e for e in plan.events if isinstance(e, events.PositionCorrected)]
    assert all(event.at_ns > make.NOW_NS for event in corrected)
    return [(event.fields, event.local, event.remote) for event in corrected]


def test_a_stop_that_moved_comes_first_and_is_a_correction_of_its_own() -> None:
    local = make.position(7, volume=0.2, sl=1.0, tp=1.2)
    remote = make.position(7, volume=0.1, sl=0.0, tp=1.2)
    other = make.position(8, volume=0.3)
    plan = make.planned(make.bound_book(local), seen(remote, other))
    between = msgspec.structs.replace(local, sl=0.0)
    assert changes(plan) == [(("sl",), local, between), (("volume",), between, remote)]
    assert isinstance(plan.events[0], events.PositionCorrected)
    assert isinstance(plan.events[1], events.PositionAdopted)


@pytest.mark.parametrize("protection", [Action.ASK, Action.ALERT])
def test_a_stop_that_may_not_be_corrected_stays_as_it_is_while_the_rest_is(
    protection: Action,
) -> None:
    local = make.position(7, volume=0.2, sl=1.0, tp=1.2)
    remote = make.position(7, volume=0.1, sl=0.0, tp=1.3)
    policy = Policy(symbols=EURUSD, protection=protection)
    plan = make.planned(make.bound_book(local), seen(remote), policy=policy)
    assert changes(plan) == [(("volume",), local, msgspec.structs.replace(remote, sl=1.0, tp=1.2))]
    (hold,) = plan.holds
    said = "protection on ticket 7, LONG 0.10L, stop loss none, take profit 1.3,"
    assert hold.what.startswith(said)
    assert hold.id == (step_id("protection", remote) if protection is Action.ASK else "")


def test_both_stops_are_one_correction() -> None:
    local, remote = make.position(7, sl=1.0, tp=1.2), make.position(7, sl=1.1, tp=1.3)
    plan = make.planned(make.bound_book(local), seen(remote))
    assert changes(plan) == [(("sl", "tp"), local, remote)]


def test_what_changed_here_after_the_question_is_not_judged_whatever_differs() -> None:
    book = make.bound_book(P)
    remote = make.position(7, volume=0.1, sl=1.0)
    plan = make.planned(book, seen(remote), asked_version=book.version - 1)
    said = "Ticket 7 changed here after the broker was asked"
    assert plan.holds == (Hold("EURUSD", said, "the next reading", 7, HoldKind.NEWER),)
    assert plan.events == ()


def test_a_hold_names_the_identifier_and_the_sentence_the_ticket() -> None:
    swapped = make.position(9, identifier=7, volume=0.1)
    policy = Policy(symbols=EURUSD, drift=Action.ASK)
    (hold,) = make.planned(make.bound_book(P), seen(swapped), policy=policy).holds
    assert (hold.identifier, hold.what[:19]) == (7, "drift on ticket 9, ")


def test_a_drift_that_got_its_yes_is_explained_like_any_other() -> None:
    remote = make.position(7, volume=0.15)
    policy, wanted = Policy(symbols=EURUSD, drift=Action.ASK), step_id("drift", remote)
    told = seen(remote, deals=(OPENED, PART))
    plan = make.planned(make.bound_book(P), told, policy=policy, approved={wanted: "Mary"})
    assert [type(event).__name__ for event in plan.events] == ["PositionCorrected", "DealsRecorded"]


def test_a_drift_that_waits_for_a_yes_asks_for_no_deals() -> None:
    policy = Policy(symbols=EURUSD, drift=Action.ASK)
    remote = make.position(7, volume=0.1)
    plan = make.planned(make.bound_book(P), seen(remote), policy=policy)
    assert (plan.events, plan.questions) == ((), ())
    assert [hold.what for hold in plan.holds] == [
        "drift on ticket 7, LONG 0.10L @ 1.0543, waits for approval"
    ]


PART = make.deal(2, 7, Side.SELL, 0.05, entry=Entry.OUT, order=71, price=1.06, profit=28.5)


def test_a_volume_that_changed_is_explained_by_its_deals_or_they_are_asked_for() -> None:
    remote = make.position(7, volume=0.15)
    assert make.planned(make.bound_book(P), seen(remote)).questions == (7,)
    plan = make.planned(make.bound_book(P), seen(remote, deals=(OPENED, PART)))
    assert plan.questions == ()
    _, recorded = plan.events
    assert isinstance(recorded, events.DealsRecorded)
    assert (recorded.deals, recorded.realised_units) == ((1, 2), 2_850_000_000)
    assert recorded.because.startswith("closed in part for a reason not known: 0.05 lots at 1.06")


def test_a_stop_or_a_magic_number_that_changed_needs_no_deals() -> None:
    remote = make.position(7, volume=0.2, sl=1.0, magic=3)
    assert make.planned(make.bound_book(P), seen(remote)).questions == ()


def test_what_we_changed_a_moment_ago_is_held_until_its_window_ends() -> None:
    remote = make.position(7, volume=0.1)
    plan = make.planned(own_book(), seen(remote), after_sec=0.5)
    what = "Ticket 7 was changed here and the broker shows LONG 0.10L @ 1.0543"
    until = "a reading 1000 ms after we touched it"
    ends = make.NOW_NS + make.SECOND_NS
    assert plan.holds == (Hold("EURUSD", what, until, 7, HoldKind.SETTLING, until_ns=ends),)
    assert changes(plan) == []


@pytest.mark.parametrize(
    ("changed", "shown"),
    [({"volume": 0.1}, "LONG 0.10L"), ({"volume": 0.2, "side": Side.SELL}, "SHORT 0.20L")],
)
def test_a_volume_or_a_side_that_contradicts_us_and_the_deals_is_a_late_list(
    changed: dict[str, Any], shown: str
) -> None:
    remote = make.position(7, **changed)
    what = f"Ticket 7 was changed here and the broker shows {shown} @ 1.0543"
    late = Hold("EURUSD", what, "a list that agrees with what we did", 7, HoldKind.SETTLING)
    plan = make.planned(own_book(), seen(remote, deals=(OPENED,)), after_sec=2)
    assert plan.holds == (late,)
    assert changes(plan) == []
    # Deals that were not asked for yet say nothing either way.
    plan = make.planned(own_book(), seen(remote), after_sec=2)
    assert (plan.holds, plan.questions) == ((late,), (7,))


def test_a_price_that_differs_after_our_fill_is_the_brokers_at_once() -> None:
    """Only volume and side say that a list is late; a fill's price is often corrected."""
    remote = make.position(7, volume=0.2, price_open=1.0544)
    plan = make.planned(own_book(), seen(remote, deals=(OPENED,)), after_sec=2)
    assert [fields for fields, _, _ in changes(plan)] == [("price_open",)]


def test_what_somebody_did_after_us_is_taken_although_it_is_recent() -> None:
    remote = make.position(7, volume=0.15)
    plan = make.planned(own_book(), seen(remote, deals=(OPENED, PART)), after_sec=2)
    assert [fields for fields, _, _ in changes(plan)] == [("volume",)]
    assert plan.holds == ()


def test_our_own_deal_that_did_less_than_we_were_told_is_the_brokers_word() -> None:
    less = make.deal(1, 7, Side.BUY, 0.1)
    plan = make.planned(own_book(), seen(make.position(7, volume=0.1), deals=(less,)), after_sec=2)
    assert [fields for fields, _, _ in changes(plan)] == [("volume",)]
    assert plan.holds == ()


def test_after_as_long_as_any_broker_takes_the_list_is_believed() -> None:
    remote = make.position(7, volume=0.1)
    plan = make.planned(own_book(), seen(remote, deals=(OPENED,)), after_sec=10)
    assert [fields for fields, _, _ in changes(plan)] == [("volume",)]
    # Its deals contradict it, so they are still to come.
    assert plan.questions == (7,)


def test_on_a_hedging_account_only_orders_of_that_position_can_be_missing_among_its_deals() -> None:
    """Another order of ours, filled in the same moment, is no reason to doubt this list."""
    book = own_book()
    book.apply(make.created("C", Side.BUY, 0.3))
    book.apply(make.filled("C", 9, Side.BUY, 0.3, 1.0543))
    other = make.position(9, volume=0.3)
    remote = make.position(7, volume=0.15)
    plan = make.planned(book, seen(remote, other, deals=(OPENED, PART)), after_sec=2)
    assert [local.identifier for _, local, _ in changes(plan)] == [7]


def test_without_settle_windows_nothing_is_recent() -> None:
    remote = make.position(7, volume=0.1)
    policy = Policy(symbols=EURUSD, settle_ms=0)
    plan = make.planned(own_book(), seen(remote), after_sec=0.1, policy=policy)
    assert [fields for fields, _, _ in changes(plan)] == [("volume",)]


def test_on_the_guides_wire_the_settle_window_is_twice_as_long_and_nothing_is_asked() -> None:
    """No deal can say there that the list is late."""
    book = make.book_of()
    book.apply(make.created("A", Side.BUY, 0.2))
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    late = make.snapshot(make.position(7, volume=0.1))
    for after_sec in (0.1, 1.999):
        plan = make.planned(book, late, after_sec=after_sec)
        assert [hold.kind for hold in plan.holds] == [HoldKind.SETTLING]
        assert (plan.events, plan.questions) == ((), ())
    plan = make.planned(book, late, after_sec=2.0)
    assert [fields for fields, _, _ in changes(plan)] == [("volume",)]
    assert plan.questions == ()


def test_on_the_guides_wire_what_we_closed_is_not_brought_back_by_a_late_list() -> None:
    book = make.book_of(make.position(7))
    book.apply(make.created("A", Side.SELL, 0.01, position=7))
    book.apply(make.filled("A", 8, Side.SELL, 0.01, 1.0543))
    late = make.snapshot(make.position(7))
    plan = make.planned(book, late, after_sec=0.6)
    assert (plan.events, [hold.kind for hold in plan.holds]) == ((), [HoldKind.SETTLING])
    assert len(make.planned(book, late, after_sec=2.0).events) == 1


def test_without_settle_windows_the_guides_wire_is_taken_as_it_is() -> None:
    book = make.book_of()
    book.apply(make.created("A", Side.BUY, 0.2))
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    policy = Policy(symbols=EURUSD, settle_ms=0)
    plan = make.planned(book, make.snapshot(), after_sec=0.1, policy=policy)
    assert [type(event) for event in plan.events] == [events.PositionClosed]


# A stop loss that is expected.


def test_every_position_of_ours_without_a_stop_loss_is_shown_where_one_is_expected() -> None:
    policy = Policy(symbols=EURUSD, magics=frozenset({3}), expects_stop_loss=True)
    bare = make.position(7, magic=3)
    rows = (bare, make.position(8, magic=3, sl=1.0), make.position(9, magic=4))
    plan = make.planned(make.bound_book(*rows), seen(*rows), policy=policy)
    said = "Ticket 7, LONG 0.01L, has no stop loss"
    until = "a stop loss at the broker"
    assert plan.holds == (Hold("EURUSD", said, until, 7, HoldKind.UNPROTECTED),)
    quiet = msgspec.structs.replace(policy, expects_stop_loss=False)
    assert make.planned(make.bound_book(*rows), seen(*rows), policy=quiet).holds == ()


class CountedHoldings(dict[int, Any]):
    """The holdings of a book, which count how often all of them are looked through."""

    looks = 0

    def values(self) -> Any:
        self.looks += 1
        return super().values()


@pytest.mark.parametrize("is_new", [True, False], ids=["zombies", "drifts"])
def test_the_whole_book_is_not_looked_through_for_each_row_on_the_guides_wire(
    is_new: bool,
) -> None:
    """Ten thousand rows beside ten thousand positions took ten seconds."""

    def looks(count: int) -> int:
        book = make.book_of(*(make.position(ticket) for ticket in range(1, count + 1)))
        book.holdings = holdings = CountedHoldings(book.holdings)
        first = count + 1 if is_new else 1
        rows = [make.position(ticket, volume=0.07) for ticket in range(first, first + count)]
        kept = [make.position(ticket) for ticket in range(1, count + 1)] if is_new else []
        plan = make.planned(book, make.snapshot(*rows, *kept))
        assert len(plan.events) == count
        return holdings.looks

    assert looks(3) == looks(30)
