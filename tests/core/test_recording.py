"""Deals into the realised result: recorded once they add up, asked for until then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core import events
from trueup.core.book import Book
from trueup.core.events import OrderKind, Share
from trueup.core.model import Entry, PastOrder, Position, Side, SymbolSpec
from trueup.core.plan import Plan
from trueup.core.policy import Policy

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
    policy = evidence.pop("policy", make.OURS)
    snapshot = make.proven(*positions, account=account, **told, **evidence)
    return make.planned(book, snapshot, after_sec=after_sec, policy=policy)


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


def test_a_price_corrected_without_a_new_deal_says_that_nothing_is_new() -> None:
    book = own_book()
    book.apply(recorded(looked(book, P, deals=(OPENED,))))
    plan = looked(book, make.position(7, volume=0.2, price_open=1.0544), deals=(OPENED,))
    assert recorded(plan).because == "its deals were recorded before"


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
    assert (plan.questions, plan.order_questions) == ((7,), (7,))
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
