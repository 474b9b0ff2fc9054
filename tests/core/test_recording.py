"""Deals into the realised result: recorded once they add up, asked for until then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind, Share
from trueup.core.deals import as_booked
from trueup.core.model import (
    DealKind,
    DealReason,
    Entry,
    PastOrder,
    Position,
    Side,
    SymbolSpec,
)
from trueup.core.policy import Action, Policy
from trueup.core.sync.plan import Plan

P = make.position(7, volume=0.2)
OPENED = make.deal(1, 7, Side.BUY, 0.2, commission=-0.7, fee=-0.05)
CLOSING = make.deal(2, 7, Side.SELL, 0.2, entry=Entry.OUT, order=70, price=1.06, profit=114.0)


def own_book(account: Any = make.ACCOUNT, **order: Any) -> Book:
    """A book whose order has just been filled as position 7."""
    book = Book().replay([make.bound(account), make.created("A", Side.BUY, 0.2, **order)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    return book


def looked(
    book: Book, *positions: Position, deals: Any = None, after_sec: float = 20, **evidence: Any
) -> Plan:
    account = make.ACCOUNT if not book.shares_positions else make.NETTING
    told = {} if deals is None else {"deals": deals, "explained": frozenset({7})}
    policy, rechecks = evidence.pop("policy", make.OURS), evidence.pop("rechecks", ())
    snapshot = make.proven(*positions, account=account, **told, **evidence)
    return make.planned(book, snapshot, after_sec=after_sec, policy=policy, rechecks=rechecks)


def recorded(plan: Plan) -> events.DealsRecorded:
    (event,) = (e for e in plan.events if isinstance(e, events.DealsRecorded))
    return event


def test_deals_of_our_own_entry_are_asked_for_and_recorded_once() -> None:
    book = own_book()
    asked = looked(book, P)
    assert (asked.events, asked.holds, asked.questions) == ((), (), (7,))
    event = recorded(looked(book, P, deals=(OPENED,)))
    assert event == events.DealsRecorded(
        at_ns=make.NOW_NS + 20 * make.SECOND_NS,
        position=book.holdings[7].position,
        deals=(1,),
        realised_units=-75_000_000,
        because="opened: 0.20 lots at 1.0543, commission -0.75 (case J)",
        ours=True,
        booked=(as_booked(OPENED),),
    )
    book.apply(event)
    assert book.realised == -0.75
    assert looked(book, P) == Plan()


def test_an_adopted_position_is_not_asked_about_on_a_hedging_account() -> None:
    assert looked(make.bound_book(P), P) == Plan()


def test_deals_that_do_not_add_up_to_the_list_are_not_recorded_yet() -> None:
    plan = looked(own_book(), P, deals=())
    assert (plan.events, plan.questions) == ((), (7,))


def test_deals_add_up_exactly_however_coarse_the_step_of_an_order_is() -> None:
    coarse = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=1)
    almost = make.deal(1, 7, Side.BUY, 0.24)
    assert looked(own_book(), P, deals=(almost,), specs=(coarse,)).questions == (7,)
    dusty = make.deal(1, 7, Side.BUY, 0.1 + 0.1 + 1e-12)
    assert recorded(looked(own_book(), P, deals=(dusty,), specs=(coarse,))).deals == (1,)


def test_nothing_is_asked_about_a_position_that_differs_or_is_gone() -> None:
    """A drift and a ghost have rules of their own, and ask for themselves."""
    drifted = make.position(7, volume=0.3)
    held = looked(own_book(), drifted, after_sec=0.5)
    assert (held.events, held.questions) == ((), ())
    gone = looked(own_book(), after_sec=0.5)
    assert (gone.events, gone.questions) == ((), ())


def test_one_that_is_gone_or_differs_or_waits_keeps_no_other_from_being_explained() -> None:
    book = Book().replay([make.bound()])
    for ticket in (5, 6, 7, 8):
        book.apply(make.created(f"A{ticket}", Side.BUY, 0.2))
        book.apply(make.filled(f"A{ticket}", ticket, Side.BUY, 0.2, 1.0543))
    # 5 is gone, 6 differs, the deals of 7 are not there yet, and those of 8 are.
    rows = make.position(6, volume=0.3), P, make.position(8, volume=0.2)
    last = make.deal(1, 8, Side.BUY, 0.2)
    seen = make.proven(*rows, deals=(last,), explained=frozenset({7, 8}))
    plan = make.planned(book, seen, after_sec=0.5)
    assert plan.questions == (7,)
    assert recorded(plan).position.identifier == 8
    seen = make.proven(*rows, deals=(OPENED, last), explained=frozenset({7, 8}))
    both = make.planned(book, seen, after_sec=0.5).events
    assert [e.position.identifier for e in both if isinstance(e, events.DealsRecorded)] == [7, 8]


def test_our_own_order_that_adds_is_told_without_what_was_told_before() -> None:
    book = own_book(make.NETTING)
    book.apply(recorded(looked(book, P, deals=(OPENED,))))
    book.apply(make.created("B", Side.BUY, 0.1))
    book.apply(make.filled("B", 71, Side.BUY, 0.1, 1.0543))
    more = make.deal(2, 7, Side.BUY, 0.1, order=71, commission=-0.35)
    plan = looked(book, make.position(7, volume=0.3), deals=(OPENED, more))
    assert recorded(plan).because == "added: 0.10 lots at 1.0543, commission -0.35 (case J)"
    assert recorded(plan).realised_units == -110_000_000


def closed_by_us(account: Any = make.ACCOUNT) -> Book:
    book = own_book(account)
    book.apply(make.created("B", Side.SELL, 0.2, position=7))
    book.apply(make.filled("B", 70, Side.SELL, 0.2, 1.06))
    return book


def test_our_own_exit_is_explained_when_its_deals_are_there_as_case_k() -> None:
    book = closed_by_us()
    assert looked(book).questions == (7,)
    event = recorded(looked(book, deals=(OPENED, CLOSING)))
    assert event.because.startswith("closed for a reason not known: 0.20 lots at 1.06, profit")
    assert event.because.endswith("server time (case K)")
    assert event.realised_units == 11_325_000_000
    book.apply(event)
    assert book.realised == 113.25
    assert looked(book) == Plan()


def test_an_exit_of_what_others_opened_has_no_case() -> None:
    book = make.bound_book(P)
    book.apply(make.created("B", Side.SELL, 0.2, position=7))
    book.apply(make.filled("B", 70, Side.SELL, 0.2, 1.06))
    assert recorded(looked(book, deals=(OPENED, CLOSING))).because.endswith("server time")


def test_what_came_back_after_our_close_is_a_zombie_and_asked_about_as_one() -> None:
    plan = looked(closed_by_us(), P)
    assert plan.questions == (7,)
    assert not any(isinstance(event, events.DealsRecorded) for event in plan.events)


def test_a_close_in_part_says_so_and_has_no_case() -> None:
    part = make.deal(2, 7, Side.SELL, 0.05, entry=Entry.OUT, order=71, price=1.06)
    book = own_book()
    book.apply(recorded(looked(book, P, deals=(OPENED,))))
    plan = looked(book, make.position(7, volume=0.15), deals=(OPENED, part))
    assert recorded(plan).because.startswith("closed in part for a reason not known: 0.05 lots")
    assert recorded(plan).because.endswith("server time")


def test_what_somebody_adds_is_told_as_that() -> None:
    book = make.bound_book(P, account=make.NETTING)
    more = make.deal(2, 7, Side.BUY, 0.1, order=71, price=1.0573, commission=-0.35)
    book.apply(recorded(looked(book, P, deals=(OPENED,))))
    plan = looked(book, make.position(7, volume=0.3, price_open=1.0553), deals=(OPENED, more))
    assert recorded(plan).because == "added: 0.10 lots at 1.0573, commission -0.35"
    assert recorded(plan).realised_units == -110_000_000


# What moved needs new deals: old ones that add up to the old volume prove nothing.


def counted_book(**changes: Any) -> Book:
    """A book whose own position has its entry counted."""
    book = own_book(changes.pop("account", make.ACCOUNT))
    local = make.position(7, volume=0.2, **changes)
    book.apply(recorded(looked(book, local, deals=(OPENED,))))
    return book


NEWER = (
    make.deal(3, 7, Side.BUY, 0.1, order=71, time_msc=5_000),
    make.deal(4, 7, Side.SELL, 0.1, entry=Entry.OUT, order=72, profit=9.0, time_msc=6_000),
)


@pytest.mark.parametrize(
    "row",
    [
        make.position(7, volume=0.2, price_open=1.0544),
        make.position(70, identifier=7, volume=0.2),
    ],
)
def test_a_price_or_a_ticket_that_moved_waits_for_its_deals(row: Position) -> None:
    book = counted_book()
    plan = looked(book, row, deals=(OPENED,))
    assert [type(event).__name__ for event in plan.events] == ["PositionCorrected"]
    assert (plan.questions, plan.holds) == ((7,), ())
    book.replay(plan.events)
    assert looked(book, row, deals=(OPENED,)).questions == (7,)
    event = recorded(looked(book, row, deals=(OPENED, *NEWER)))
    assert (event.deals, event.realised_units) == ((1, 3, 4), 825_000_000)
    book.apply(event)
    assert looked(book, row) == Plan()


def test_what_moved_and_is_explained_by_nothing_is_given_up_after_a_day() -> None:
    """A broker can set an open price anew and make no deal of it."""
    book, row = counted_book(), make.position(7, volume=0.2, price_open=1.0544)
    book.replay(looked(book, row, deals=(OPENED,)).events)
    assert looked(book, row, deals=(OPENED,), after_sec=86_419).questions == (7,)
    event = recorded(looked(book, row, deals=(OPENED,), after_sec=86_420))
    assert event.because == "its deals were recorded before"
    book.apply(event)
    assert looked(book, row) == Plan()


def test_a_change_whose_deals_were_counted_already_waits_for_no_others() -> None:
    """The list came later than the deals."""
    book = counted_book(account=make.NETTING)
    turned = make.deal(2, 7, Side.SELL, 0.4, entry=Entry.IN_OUT, order=70, time_msc=9_000)
    back = make.deal(3, 7, Side.BUY, 0.4, entry=Entry.IN_OUT, order=71, time_msc=9_500)
    deals = (OPENED, turned, back)
    book.apply(recorded(looked(book, P, deals=deals, rechecks=(7,))))
    row = make.position(71, identifier=7, volume=0.2)
    assert recorded(looked(book, row, deals=deals)).because == "its deals were recorded before"


def test_a_position_never_counted_is_not_explained_by_its_opening_alone() -> None:
    book = make.bound_book(P)
    row = make.position(7, volume=0.2, price_open=1.0544)
    assert looked(book, row, deals=(OPENED,)).questions == (7,)
    assert recorded(looked(book, row, deals=(OPENED, *NEWER))).deals == (1, 3, 4)


# The time of the last change tells of what leaves volume and price alike.


CHANGED = make.position(7, volume=0.2, time_update_msc=6_000)


def timed_book() -> Book:
    """A book whose own position was last changed by its opening, at 1 s of the server's time."""
    book = own_book()
    opened = msgspec.structs.replace(OPENED, time_msc=1_000)
    row = make.position(7, volume=0.2, time_update_msc=1_000)
    book.apply(recorded(looked(book, row, deals=(opened,))))
    assert book.holdings[7].position.time_update_msc == 1_000
    return book


TIMED = msgspec.structs.replace(OPENED, time_msc=1_000)


def test_a_later_change_is_looked_for_and_nothing_is_held() -> None:
    plan = looked(timed_book(), CHANGED)
    assert plan == Plan(rechecks=(7,))
    early = looked(timed_book(), CHANGED, deals=(TIMED,), server_time_msc=15_999)
    assert early == Plan(rechecks=(7,))


def test_its_deals_are_counted_and_it_is_quiet_again() -> None:
    book = timed_book()
    event = recorded(looked(book, CHANGED, deals=(TIMED, *NEWER)))
    assert event.realised_units == 825_000_000
    book.apply(event)
    assert looked(book, CHANGED) == Plan()


def test_a_change_without_a_deal_is_waited_for_as_long_as_any_broker_is_late() -> None:
    """Some brokers change that time for a swap."""
    book = timed_book()
    event = recorded(looked(book, CHANGED, deals=(TIMED,), server_time_msc=16_000))
    assert (event.because, event.realised_units) == ("its deals were recorded before", -75_000_000)
    book.apply(event)
    assert looked(book, CHANGED) == Plan()


def test_half_of_its_deals_are_not_taken_for_all_of_them() -> None:
    deals = (TIMED, *NEWER)
    latest = make.position(7, volume=0.2, time_update_msc=9_000)
    half = looked(timed_book(), latest, deals=(TIMED, NEWER[0]), server_time_msc=10_000)
    assert half == Plan(rechecks=(7,))
    assert looked(timed_book(), latest, deals=deals, server_time_msc=10_000).events
    drifted = make.position(7, volume=0.2, price_open=1.06, time_update_msc=9_000)
    waits = looked(timed_book(), drifted, deals=deals, server_time_msc=18_999)
    assert waits.questions == (7,)
    late = recorded(looked(timed_book(), drifted, deals=deals, server_time_msc=19_000))
    assert late.deals == (1, 3, 4)


@pytest.mark.parametrize("row", [{}, {"time_update_msc": 1_000}, {"time_update_msc": 900}])
def test_a_time_that_is_not_told_or_not_later_says_nothing(row: dict[str, Any]) -> None:
    assert looked(timed_book(), make.position(7, volume=0.2, **row)) == Plan()


def test_a_position_whose_time_was_never_told_says_nothing_by_the_first() -> None:
    book = counted_book()
    assert looked(book, CHANGED) == Plan()


def test_what_we_touched_a_moment_ago_or_changed_since_is_left_for_later() -> None:
    book = timed_book()
    assert make.planned(book, make.proven(CHANGED), after_sec=0.5) == Plan()
    asked = make.planned(book, make.proven(CHANGED), asked_version=1, after_sec=20)
    assert asked == Plan()


# What was counted is compared again.


def test_a_commission_charged_late_is_counted_and_said() -> None:
    book = counted_book()
    late = msgspec.structs.replace(OPENED, commission=-2.25)
    event = recorded(looked(book, P, deals=(late,), rechecks=(7,)))
    assert event.because == (
        "the broker changed deal 1: result -0.75 → -2.30 (now commission -2.30)"
    )
    assert (event.changed, event.ours, event.realised_units) == ((1,), False, -230_000_000)
    book.apply(event)
    assert book.realised == -2.3
    assert looked(book, P, deals=(late,), rechecks=(7,)) == Plan()


def test_what_is_due_is_asked_for_and_not_called_missing() -> None:
    assert looked(counted_book(), P, rechecks=(7,)) == Plan(rechecks=(7,))


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_closed_position_is_compared_too(is_kept: bool) -> None:
    book = closed_by_us()
    book.apply(recorded(looked(book, deals=(OPENED, CLOSING))))
    if not is_kept:
        book.recent.clear()
    amended = msgspec.structs.replace(CLOSING, profit=CLOSING.profit - 25.0)
    plan = looked(book, deals=(OPENED, amended), rechecks=(7,))
    assert recorded(plan).because.startswith("the broker changed deal 2: result 114.00 → 89.00")
    book.replay(plan.events)
    assert book.realised == 88.25


def test_an_exit_that_the_broker_cancelled_counts_no_longer_whatever_the_list_says() -> None:
    book = closed_by_us()
    book.apply(recorded(looked(book, deals=(OPENED, CLOSING))))
    gone = msgspec.structs.replace(CLOSING, profit=0.0, kind=DealKind.CANCELED)
    plan = looked(book, deals=(OPENED, gone), rechecks=(7,))
    assert recorded(plan).because.startswith("the broker cancelled deal 2 (SELL 0.20 lots")
    book.replay(plan.events)
    assert book.realised == -0.75


def test_new_deals_have_to_explain_the_volume_also_then() -> None:
    book = counted_book()
    assert looked(book, P, deals=(OPENED, NEWER[0]), rechecks=(7,)) == Plan()
    assert recorded(looked(book, P, deals=(OPENED, *NEWER), rechecks=(7,))).deals == (1, 3, 4)


def test_deals_that_the_broker_does_not_show_any_more_stay_counted() -> None:
    assert looked(counted_book(), P, deals=(), rechecks=(7,)) == Plan()


def test_a_position_that_differs_or_is_gone_is_not_compared_meanwhile() -> None:
    late = msgspec.structs.replace(OPENED, commission=-2.25)
    policy = Policy(symbols=frozenset({"EURUSD"}), drift=Action.ALERT, ghost=Action.ALERT)
    for rows in ((), (make.position(7, volume=0.3),)):
        plan = looked(counted_book(), *rows, deals=(late,), rechecks=(7,), policy=policy)
        assert not any(isinstance(event, events.DealsRecorded) for event in plan.events)


def test_a_result_counted_by_a_version_that_kept_no_deals_is_mended_as_a_whole() -> None:
    book = counted_book()
    book.holdings[7].booked = ()
    late = msgspec.structs.replace(OPENED, commission=-2.25)
    event = recorded(looked(book, P, deals=(late,), rechecks=(7,)))
    assert event.because == "its deals come to -2.30 at the broker, and -0.75 were counted"


def test_what_the_book_never_had_is_counted_when_it_is_asked_for() -> None:
    """For whoever finds in the broker's history what the book lacks."""
    plan = looked(make.bound_book(), deals=(OPENED, CLOSING), rechecks=(7,))
    assert [type(event).__name__ for event in plan.events] == ["PositionAdopted", "PositionClosed"]
    assert looked(make.bound_book(), deals=(OPENED,), rechecks=(7,)) == Plan()


# Money without a trade, and a reversal.


def test_variation_margin_is_money_and_no_trade() -> None:
    book = counted_book()
    money = make.deal(
        2,
        7,
        Side.SELL,
        0.0,
        entry=Entry.OUT,
        order=0,
        profit=100.0,
        reason=DealReason.VARIATION_MARGIN,
    )
    row = make.position(7, volume=0.2, price_open=1.06)
    event = recorded(looked(book, row, deals=(OPENED, money)))
    assert event.because.startswith("money without a trade by variation margin: profit 100.00")
    assert event.realised_units == 9_925_000_000


def test_a_reversal_is_told_by_what_it_closed_and_as_what_it_goes_on() -> None:
    book = counted_book(account=make.NETTING)
    turned = make.deal(2, 7, Side.SELL, 0.5, entry=Entry.IN_OUT, order=70, price=1.06, profit=114.0)
    row = make.position(70, identifier=7, side=Side.SELL, volume=0.3, price_open=1.06)
    said = recorded(looked(book, row, deals=(OPENED, turned))).because
    assert said.startswith("closed by a reversal for a reason not known: 0.20 lots at 1.06, profit")
    assert said.endswith("; it goes on as SHORT 0.30L @ 1.06")


def test_a_rollover_in_place_is_told_as_one() -> None:
    book = counted_book()
    out = make.deal(
        2, 7, Side.SELL, 0.2, entry=Entry.OUT, order=70, reason=DealReason.ROLLOVER, time_msc=5
    )
    again = make.deal(3, 7, Side.BUY, 0.2, order=71, reason=DealReason.ROLLOVER, time_msc=5)
    row = make.position(71, identifier=7, volume=0.2)
    said = recorded(looked(book, row, deals=(OPENED, out, again))).because
    assert said.startswith("closed and opened again by a rollover: 0.20 lots at 1.0543, profit")
    assert said.endswith(", as LONG 0.20L @ 1.0543")


# A fill of ours that went into another position, closed before anybody saw where.


def merged(*past: PastOrder, account: Any = make.NETTING) -> Plan:
    return looked(closed_by_us(account), deals=(), past_orders=past)


def test_deals_of_a_position_that_the_broker_never_made_are_not_waited_for() -> None:
    event = recorded(merged(PastOrder(7, "filled", 5)))
    assert event.because == "its fill went into position 5, which the book did not know"
    assert (event.deals, event.realised_units, event.position.identifier) == ((), 0, 7)
    assert event.at_ns == make.NOW_NS + 20 * make.SECOND_NS


def test_until_the_order_history_says_where_it_went_both_are_asked_about() -> None:
    plan = merged()
    # So is our order that closed it: it may have gone elsewhere too.
    assert (plan.questions, plan.order_questions) == ((7, 70), (7, 70))
    hedging = merged(account=make.ACCOUNT)
    assert (hedging.questions, hedging.order_questions) == ((7,), ())


def test_an_open_position_needs_no_question_about_its_order() -> None:
    plan = looked(own_book(make.NETTING), P)
    assert (plan.questions, plan.order_questions) == ((7,), ())


# Whose lots they are, where strategies share a position.


def placed(magic: int = 2) -> Book:
    """A netting book with 0.2 lots, and a limit order of a strategy that has the ticket 60."""
    book = make.bound_book(P, account=make.NETTING)
    book.apply(recorded(looked(book, P, deals=(OPENED,))))
    book.apply(make.created("L", Side.BUY, 0.1, kind=OrderKind.LIMIT, magic=magic, wire_magic=99))
    book.apply(events.OrderApplied(at_ns=make.NOW_NS, order_id="L", ticket=60))
    return book


MORE = make.position(7, volume=0.3)
IN_TWO = (
    make.deal(2, 7, Side.BUY, 0.04, order=60, magic=99),
    make.deal(3, 7, Side.BUY, 0.06, order=60, magic=99),
)


def test_our_limit_order_that_filled_in_two_deals_is_its_strategys() -> None:
    book = placed()
    event = recorded(looked(book, MORE, deals=(OPENED, *IN_TWO)))
    assert event.shares == (Share(60, 99, 10_000_000),)
    assert isinstance(event.shares[0].units, int)
    book.replay(looked(book, MORE, deals=(OPENED, *IN_TWO)).events)
    claim = book.claims["L"]
    assert (claim.symbol, claim.magic, claim.units) == ("EURUSD", 2, 10_000_000)
    # Its deals again are the same claim.
    book.apply(event)
    assert list(book.claims) == ["L"]


@pytest.mark.parametrize(
    ("magic", "magics", "share"),
    [
        (4, frozenset(), 4),
        (4, frozenset({4}), 4),
        (4 * 2**32 + 12345, frozenset({4}), 4),
        (5, frozenset({4}), None),
        (0, frozenset(), None),
        (0, frozenset({4}), None),
    ],
)
def test_an_order_that_we_do_not_know_is_its_magic_numbers_where_the_policy_has_it(
    magic: int, magics: frozenset[int], share: int | None
) -> None:
    sold = make.deal(2, 7, Side.SELL, 0.05, entry=Entry.OUT, order=61, magic=magic)
    policy = Policy(symbols=frozenset({"EURUSD"}), magics=magics)
    less = make.position(7, volume=0.15)
    event = recorded(looked(placed(), less, deals=(OPENED, sold), policy=policy))
    wanted = () if share is None else (Share(61, share, -5_000_000),)
    assert event.shares == wanted


def test_our_limit_order_is_its_strategys_whatever_magic_numbers_the_policy_names() -> None:
    policy = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({4}))
    event = recorded(looked(placed(), MORE, deals=(OPENED, *IN_TWO), policy=policy))
    assert event.shares == (Share(60, 99, 10_000_000),)


def test_a_market_order_of_ours_was_counted_by_its_fill() -> None:
    book = own_book(make.NETTING, magic=3)
    deal = make.deal(1, 7, Side.BUY, 0.2, magic=3)
    event = recorded(looked(book, P, deals=(deal,)))
    assert event.shares == ()
    assert [(claim.magic, claim.units) for claim in book.claims.values()] == [(3, 20_000_000)]


def test_on_a_hedging_account_nothing_is_shared() -> None:
    book = make.bound_book(P)
    less = make.position(7, volume=0.15)
    sold = make.deal(2, 7, Side.SELL, 0.05, entry=Entry.OUT, order=61, magic=4)
    assert recorded(looked(book, less, deals=(OPENED, sold))).shares == ()
    assert own_book(magic=3).claims == {}


def test_our_own_exit_is_counted_by_one_rule_and_asks_for_nothing_more() -> None:
    plan = looked(closed_by_us(), deals=(OPENED, CLOSING))
    assert [type(event).__name__ for event in plan.events] == ["DealsRecorded"]
    assert (plan.questions, plan.order_questions, plan.holds) == ((), (), ())


def test_a_closed_position_that_is_awaited_waits_for_what_it_goes_on_as() -> None:
    """It left unproven, and its deals say now that the broker opened it again."""
    book = own_book()
    book.apply(events.PositionClosed(at_ns=make.NOW_NS, position=P, because="x", unproven=True))
    rolled = msgspec.structs.replace(
        CLOSING, reason=DealReason.ROLLOVER, time_msc=make.NOW_NS // 1_000_000
    )
    told = make.proven(deals=(OPENED, rolled), explained=frozenset({7}))
    plan = make.planned(book, told, after_sec=20, has_asked_history=False)
    assert (plan.events, plan.holds) == ((), ())
    assert plan.history_age_sec == 60 + 3_660


THEIRS = tuple(msgspec.structs.replace(deal, magic=5) for deal in NEWER)
SHARES = (Share(71, 5, 10_000_000), Share(72, 5, -10_000_000))


def test_what_strategies_brought_to_a_shared_position_counts_however_it_was_found() -> None:
    """By the time of the last change, or because it was compared again."""
    book = own_book(make.NETTING)
    row = make.position(7, volume=0.2, time_update_msc=1_000)
    book.apply(recorded(looked(book, row, deals=(TIMED,))))
    assert recorded(looked(book, CHANGED, deals=(TIMED, *THEIRS))).shares == SHARES
    again = looked(book, row, deals=(TIMED, *THEIRS), rechecks=(7,))
    assert recorded(again).shares == SHARES


# Where the broker has archived what opened a position.


def archived(*deals: Any, volume: float = 0.3, **local: Any) -> Plan:
    """The plan of a list that shows more of a position whose entry is archived."""
    book = make.bound_book(make.position(7, volume=0.2, **local))
    row = make.position(7, volume=volume, price_open=1.06, **(local | {"time_update_msc": 0}))
    return looked(book, row, deals=deals)


GREW = make.deal(5, 7, Side.BUY, 0.1, order=70, price=1.07, time_msc=5_000)
EARLIER = make.deal(4, 7, Side.SELL, 0.1, entry=Entry.OUT, order=69, time_msc=1_000)


def test_the_newest_deals_from_what_was_adopted_to_what_is_listed_are_enough() -> None:
    plan = archived(EARLIER, GREW)
    assert recorded(plan).deals == (4, 5)
    assert plan.questions == ()


def test_deals_that_lead_somewhere_else_are_not() -> None:
    assert archived(EARLIER, GREW, volume=0.4).questions == (7,)


def test_deals_of_before_it_was_adopted_are_not() -> None:
    """The list had told of a later change already."""
    assert archived(EARLIER, GREW, time_update_msc=5_001).questions == (7,)
    assert archived(EARLIER, GREW, time_update_msc=5_000).questions == ()


def test_a_book_of_before_that_kept_no_volume_has_no_beginning_to_lead_from() -> None:
    book = make.bound_book(make.position(7, volume=0.2))
    book.holdings[7].explained_units = None
    row = make.position(7, volume=0.3, price_open=1.06)
    assert looked(book, row, deals=(EARLIER, GREW)).questions == (7,)


@pytest.mark.parametrize(("after_sec", "is_late"), [(9.999, True), (10, False)])
def test_what_we_opened_a_moment_ago_may_lack_its_first_deal(
    after_sec: float, *, is_late: bool
) -> None:
    """Deals of one position can show in any order."""
    book = own_book()
    book.holdings[7].explained_units = 10_000_000
    plan = looked(book, P, deals=(EARLIER, GREW), after_sec=after_sec)
    assert len(plan.events) == (not is_late)


def test_what_was_counted_is_led_on_by_new_deals_whatever_their_time() -> None:
    """The time of the last change is a bound only where nothing was counted."""
    for at_msc in (5_000, 0):
        grew = msgspec.structs.replace(GREW, time_msc=at_msc)
        book = make.bound_book(make.position(7, volume=0.2))
        book.apply(recorded(looked(book, P, deals=(OPENED,), rechecks=(7,))))
        local = make.position(7, volume=0.2, time_update_msc=5_001)
        book.holdings[7].position = local
        row = make.position(7, volume=0.3, price_open=1.07)
        assert recorded(looked(book, row, deals=(grew,))).deals == (1, 5)


def both_counted(second_price: float = 1.0573) -> tuple[Book, tuple[Any, ...]]:
    """A book that has counted an entry, and what somebody added and took away again."""
    added = make.deal(3, 7, Side.BUY, 0.1, order=71, price=second_price, time_msc=5_000)
    deals = (OPENED, added, NEWER[1])
    book = counted_book()
    book.apply(recorded(looked(book, P, deals=deals, rechecks=(7,))))
    return book, deals


@pytest.mark.parametrize(
    ("row", "is_explained"),
    [
        # The price of one of the deals, or the time of the newest, is where it comes from.
        ({"price_open": 1.0573}, True),
        ({"price_open": 1.06, "time_update_msc": 6_000}, True),
        ({"price_open": 1.06}, False),
        ({"price_open": 1.06, "time_update_msc": 6_001}, False),
    ],
)
def test_a_price_that_moved_is_explained_by_deals_that_were_counted_before(
    row: dict[str, Any], *, is_explained: bool
) -> None:
    """The list came later than they did; but something of it has to be theirs."""
    book, deals = both_counted()
    moved = make.position(7, volume=0.2, **row)
    plan = looked(book, moved, deals=deals, server_time_msc=6_002)
    assert plan.questions == (() if is_explained else (7,))


def test_an_exit_that_the_broker_cancelled_is_counted_anew_where_the_entry_is_archived() -> None:
    book = own_book()
    book.replay(looked(book, P, deals=(OPENED,)).events)
    book.replay(looked(book, deals=(OPENED, CLOSING), after_sec=40).events)
    assert (book.holdings, book.realised) == ({}, 113.25)
    canceled = msgspec.structs.replace(CLOSING, kind=DealKind.CANCELED, profit=0.0)
    plan = looked(book, P, deals=(canceled,), after_sec=60)
    assert recorded(plan).changed == (2,)
    book.replay(plan.events)
    assert (list(book.holdings), book.realised, book.unexplained) == ([7], -0.75, {})


PART = make.deal(3, 7, Side.BUY, 0.1, order=7, time_msc=make.NOW_NS // 1_000_000)
PART_CLOSED = make.deal(4, 7, Side.SELL, 0.1, entry=Entry.OUT, order=70, profit=5.0)


@pytest.mark.parametrize(
    ("heard_sec", "deals", "is_counted"),
    [
        (10, (PART, PART_CLOSED), True),
        # What is lacking in the sum may be late, the list as well.
        (9.9, (PART, PART_CLOSED), False),
        (10, (PART,), False),
        # An exit alone may be that of the deal that is lacking: archived, and not deleted.
        (10, (PART_CLOSED,), False),
        (10, (), False),
    ],
)
def test_a_closed_position_is_counted_without_a_deal_that_the_server_has_deleted(
    heard_sec: float, deals: Any, is_counted: bool
) -> None:
    """Seed 9008440: the rest of a pending order opened the same position again, and was closed."""
    book = own_book()
    book.replay(looked(book, P, deals=(OPENED,)).events)
    book.replay(
        [
            make.created("B", Side.SELL, 0.2, position=7),
            make.filled("B", 70, Side.SELL, 0.2, 1.06),
        ]
    )
    now_msc = make.NOW_NS // 1_000_000 + round(1_000 * heard_sec)
    plan = looked(book, deals=deals, server_time_msc=now_msc)
    if not is_counted:
        assert plan.events == ()
        assert 7 in plan.questions
        return
    book.replay(plan.events)
    assert (book.realised, 7 in book.unexplained) == (4.25, False)
