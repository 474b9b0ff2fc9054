"""A whole plan on a reading with evidence: the account first, then doubts, then what differs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.gateway_record import RecordMark, RequestInDoubt, SentOrder
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import Lost
from trueup.core.model import History, HistoryOrder, Side
from trueup.core.policy import Adopt, Policy
from trueup.core.sync.plan import Plan, is_settled

EURUSD = frozenset({"EURUSD"})
P = make.position(7)
NOW_NS = make.NOW_NS + make.SECOND_NS


def kinds(plan: Plan) -> list[str]:
    return [type(event).__name__ for event in plan.events]


# First contact.


def test_the_first_proven_reading_binds_the_book_before_anything_enters_it() -> None:
    plan = make.planned(make.book_of(), make.proven(P))
    assert plan.events == (
        events.AccountBound(
            at_ns=NOW_NS,
            login=1,
            server="Demo",
            currency="USD",
            margin_mode=make.ACCOUNT.margin_mode,
            currency_digits=2,
        ),
        events.PositionAdopted(at_ns=NOW_NS, position=P),
    )


def test_an_empty_account_binds_too_and_is_bound_once() -> None:
    book = make.book_of()
    plan = make.planned(book, make.proven())
    assert kinds(plan) == ["AccountBound"]
    book.replay(plan.events)
    assert make.planned(book, make.proven()) == Plan()
    assert kinds(make.planned(book, make.proven(P))) == ["PositionAdopted"]


def test_a_wire_without_evidence_binds_nothing() -> None:
    assert make.planned(make.book_of(), make.snapshot()) == Plan()


# Nothing to do, and what is not nothing.


def test_a_book_that_agrees_has_an_empty_plan_with_the_foreign_counted() -> None:
    foreign = make.position(8, symbol="GBPUSD")
    plan = make.planned(make.bound_book(P), make.proven(P, foreign))
    assert plan == Plan(foreign=1)


def waiting() -> dict[str, Book]:
    """Books that agree with the list and wait for something all the same."""
    doubt = make.bound_book(P)
    make.put_in_doubt(doubt, "A", Side.BUY)
    missing = make.bound_book(P)
    missing.apply(events.PositionMissing(at_ns=make.NOW_NS, position=P, because="x"))
    halted = make.bound_book(P)
    halted.apply(
        events.HaltRaised(
            at_ns=make.NOW_NS, symbol="EURUSD", identifier=7, order_id="A", because="case C: x"
        )
    )
    return {
        "in doubt": doubt,
        "missing": missing,
        "halted": halted,
        "unexplained": make.bound_book(P, account=make.NETTING),
    }


@pytest.mark.parametrize("what", waiting())
def test_a_book_that_waits_for_something_is_not_settled_though_the_lists_agree(what: str) -> None:
    book = waiting()[what]
    account = make.NETTING if what == "unexplained" else make.ACCOUNT
    assert not is_settled(book, make.OURS)
    assert make.planned(book, make.proven(P, account=account)) != Plan()


def test_a_book_that_waits_for_nothing_is_settled_unless_stops_have_to_be_looked_for() -> None:
    book = make.bound_book(P)
    assert is_settled(book, make.OURS)
    assert not is_settled(book, Policy(symbols=EURUSD, expects_stop_loss=True))


def test_a_halt_is_shown_for_as_long_as_its_position_is_listed() -> None:
    book = waiting()["halted"]
    (hold,) = make.planned(book, make.proven(P)).holds
    until = "a person checks the position, and the position closes"
    assert hold == Hold("EURUSD", "case C: x", until, 7, HoldKind.HALT)
    assert make.planned(make.bound_book(), make.proven()).holds == ()


# Orders in doubt.


def doubtful(*entries_ns: int) -> Book:
    """A book with orders in doubt that were made at these times."""
    book = make.bound_book()
    for number, at_ns in enumerate(entries_ns):
        make.put_in_doubt(book, f"A{number}", Side.BUY, at_ns=at_ns)
    return book


def test_an_order_in_doubt_is_held_with_its_reason_and_its_history_is_asked_for() -> None:
    plan = make.planned(doubtful(make.NOW_NS), make.proven())
    seen = "the broker cannot be seen in full (the history could not be read)"
    said = f"Order in doubt: BUY 0.01L EURUSD (A0), case A: {seen}"
    until = "a sync that shows what became of it"
    (hold,) = plan.holds
    assert (hold.symbol, hold.what, hold.until) == ("EURUSD", said, until)
    assert (hold.kind, hold.order_id, hold.needs_person) == (HoldKind.DOUBT, "A0", False)
    assert hold.evidence in said
    assert plan.events == ()


def test_the_gateways_own_record_is_asked_about_it_by_name_and_from_where_it_was_sent() -> None:
    mark = RecordMark("r1", 5)
    book = make.bound_book()
    book.apply(make.created("A", Side.BUY))
    book.apply(events.SendStarted(at_ns=make.NOW_NS, order_id="A", record=mark))
    book.apply(events.OrderInDoubt(at_ns=make.NOW_NS, order_id="A", error="no reply"))
    assert make.planned(book, make.proven()).in_doubt == (RequestInDoubt("A", mark),)


@pytest.mark.parametrize(
    ("ages_sec", "wanted_sec"),
    [((0,), 3_660), ((90,), 3_750), ((90.9, 3), 3_750), ((3, 90), 3_750)],
)
def test_the_history_covers_the_oldest_order_in_doubt_and_a_server_s_clock_set_forward(
    ages_sec: tuple[float, ...], wanted_sec: int
) -> None:
    made_ns = [make.NOW_NS - round(age * make.SECOND_NS) for age in ages_sec]
    plan = make.planned(doubtful(*made_ns), make.proven(), after_sec=0)
    assert plan.history_age_sec == wanted_sec


def test_a_clock_that_went_back_asks_for_what_is_spare_at_least() -> None:
    plan = make.planned(doubtful(make.NOW_NS + 99 * make.SECOND_NS), make.proven(), after_sec=0)
    assert plan.history_age_sec == 3_660


def test_without_a_doubt_no_history_is_asked_for() -> None:
    assert make.planned(make.bound_book(), make.proven(P)).history_age_sec == 0


TOKEN = "tabcdefgh"


def found_by_token(policy: Policy, symbol: str = "EURUSD") -> Plan:
    """The plan for an order in doubt whose token the broker shows, with its position."""
    book = make.bound_book()
    make.put_in_doubt(book, "A", Side.BUY, 0.1, token=TOKEN, symbol=symbol)
    past = HistoryOrder(7, symbol, Side.BUY, 0.1, 0.1, "filled", comment=TOKEN, position=7)
    position = make.position(7, volume=0.1, symbol=symbol)
    other = make.position(8, volume=0.1)
    seen = make.proven(position, other, history=History(120, (past,)))
    return make.planned(book, seen, policy=policy)


def test_a_position_that_proves_to_be_our_order_is_ours_whatever_the_policy_names() -> None:
    plan = found_by_token(Policy(symbols=EURUSD, magics=frozenset({99}), adopt=Adopt.OURS))
    assert kinds(plan) == ["OrderSettled", "PositionAdopted"]
    # The other one stays foreign, and the one that is ours is no longer counted as that.
    assert plan.foreign == 1
    # Its deals say what it cost.
    assert plan.questions == (7,)


def test_a_position_that_proves_to_be_our_order_needs_no_yes() -> None:
    plan = found_by_token(Policy(symbols=EURUSD, magics=frozenset({99}), adopt=Adopt.ASK))
    assert kinds(plan) == ["OrderSettled", "PositionAdopted"]
    assert [(hold.kind, hold.identifier) for hold in plan.holds] == [(HoldKind.ASK, 8)]


def test_a_position_that_is_not_foreign_is_adopted_once() -> None:
    plan = found_by_token(Policy(symbols=EURUSD))
    assert kinds(plan) == ["OrderSettled", "PositionAdopted", "PositionAdopted"]
    assert plan.foreign == 0


def test_a_position_in_the_book_is_settled_and_not_adopted_again() -> None:
    """Its own sync adopted it before the order could be settled."""
    position = make.position(7, volume=0.1)
    book = make.bound_book(position)
    make.put_in_doubt(book, "A", Side.BUY, 0.1, token=TOKEN)
    past = HistoryOrder(7, "EURUSD", Side.BUY, 0.1, 0.1, "filled", comment=TOKEN, position=7)
    policy = Policy(symbols=EURUSD, magics=frozenset({99}), adopt=Adopt.OURS)
    seen = make.proven(position, history=History(120, (past,)))
    plan = make.planned(book, seen, policy=policy)
    assert kinds(plan) == ["OrderSettled"]
    assert plan.foreign == 0


# The order of a plan.


def test_a_stop_comes_first_then_what_is_new_then_what_changed_and_ended() -> None:
    here = [make.position(n, sl=1.0) for n in (1, 2, 3)]
    there = [make.position(1, sl=0.0), make.position(2, sl=1.0, volume=0.5), make.position(9)]
    book = make.bound_book(*here)
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=make.pending(50)))
    plan = make.planned(book, make.proven(*there, orders=(make.pending(51),)), after_sec=20)
    assert kinds(plan) == [
        "PositionCorrected",
        "PositionAdopted",
        "PositionCorrected",
        "PositionMissing",
        "PendingAdopted",
    ]
    assert [hold.kind for hold in plan.holds] == [HoldKind.MISSING, HoldKind.MISSING]
    # Each position and each order is asked about once.
    assert (plan.questions, plan.order_questions) == ((2, 3), (50,))


def test_a_missing_stop_is_held_before_everything_else_that_is_held() -> None:
    policy = Policy(symbols=EURUSD, expects_stop_loss=True)
    here = [make.position(n, sl=1.0) for n in (1, 2)]
    plan = make.planned(
        make.bound_book(*here), make.proven(make.position(1)), policy=policy, after_sec=20
    )
    assert [hold.kind for hold in plan.holds] == [HoldKind.UNPROTECTED, HoldKind.MISSING]


@pytest.mark.parametrize("name", ["approved", "is_final"])
def test_what_is_not_said_is_a_plan_that_nobody_approved_and_nothing_is_left_to_ask(
    name: str,
) -> None:
    said: dict[str, Any] = {"approved": {}, "is_final": True}
    args = {key: value for key, value in said.items() if key != name}
    book = make.bound_book(P)
    assert make.planned(book, make.proven(), **args) == make.planned(book, make.proven(), **said)


def answered_before(*ago_sec: float, offset_sec: int | None = 0, **more: Any) -> Plan:
    """The plan with an order in doubt of 100 s ago, and orders answered so long ago."""
    book = make.bound_book()
    for number, ago in enumerate(ago_sec):
        at_ns = make.NOW_NS - round(ago * make.SECOND_NS)
        name, ticket = f"F{number}", 90 + number
        book.apply(make.created(name, Side.BUY, at_ns=at_ns, token=TOKEN))
        fill = make.filled(name, ticket, Side.BUY, 0.01, 1.0543)
        book.apply(msgspec.structs.replace(fill, at_ns=at_ns))
    make.put_in_doubt(book, "A", Side.BUY, at_ns=make.NOW_NS - 100 * make.SECOND_NS)
    seen = make.proven(time_offset_sec=offset_sec, **more)
    return make.planned(book, seen, after_sec=0)


@pytest.mark.parametrize(
    ("ago_sec", "offset_sec", "wanted_sec"),
    [
        # It shows what the broker makes of the comment of an order of ours.
        (500.9, 0, 500),
        (101, 0, 101),
        (86_500, 0, 86_500),
        # Not one of another day, and none that the history has anyhow.
        (86_501, 0, 100),
        (100, 0, 100),
        (50, 0, 100),
        # What is older than the doubt is not known without the broker's clock.
        (500, None, 100),
    ],
)
def test_the_history_reaches_back_to_the_latest_answered_order_of_that_day(
    ago_sec: float, offset_sec: int | None, wanted_sec: int
) -> None:
    plan = answered_before(ago_sec, offset_sec=offset_sec)
    assert plan.history_age_sec == wanted_sec + 3_660


def test_the_age_of_an_order_in_doubt_is_told_by_the_trade_servers_clock() -> None:
    book, server_msc = make.bound_book(), make.NOW_NS // 1_000_000
    book.apply(make.created("A", Side.BUY))
    book.apply(
        events.SendStarted(at_ns=make.NOW_NS, order_id="A", server_time_msc=server_msc - 250_000)
    )
    book.apply(events.OrderInDoubt(at_ns=make.NOW_NS, order_id="A", error="no reply"))
    assert make.planned(book, make.proven(), after_sec=0).history_age_sec == 250 + 3_660
    untold = make.proven(server_time_msc=0)
    assert make.planned(book, untold, after_sec=0).history_age_sec == 3_660


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(OrderKind.CANCEL, (50,)), (OrderKind.MODIFY, ()), (OrderKind.MARKET, ())],
)
def test_the_end_of_what_a_cancellation_in_doubt_is_about_is_asked_for(
    kind: OrderKind, asked: tuple[int, ...]
) -> None:
    order = make.pending(50)
    book = make.bound_book(P)
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=order))
    position = 7 if kind is OrderKind.MODIFY else 0
    make.put_in_doubt(book, "C", Side.BUY, kind=kind, target=50, position=position)
    plan = make.planned(book, make.proven(P, orders=(order,)))
    assert plan.order_questions == asked


def test_a_loss_that_the_gateways_record_shows_is_in_the_plan() -> None:
    lost = Lost((SentOrder("A", "BUY", "EURUSD", volume=0.1),), 1, "bot")
    plan = make.planned(make.bound_book(P), make.proven(P), lost=lost)
    assert [type(event).__name__ for event in plan.events[:2]] == ["LossFound", "OrderCreated"]
    assert [hold.kind for hold in plan.holds if not hold.symbol] == [HoldKind.LOSS]


@pytest.mark.parametrize(
    ("settle_ms", "after_sec", "is_held"),
    [(None, 1.999999999, True), (None, 2, False), (300, 0.599999999, True), (300, 0.6, False)],
)
def test_without_deals_what_we_did_has_twice_the_time_to_show(
    settle_ms: int | None, after_sec: float, *, is_held: bool
) -> None:
    book = Book().replay([make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.0543))
    plan = make.planned(book, make.snapshot(), after_sec=after_sec, settle_ms=settle_ms)
    assert [hold.kind for hold in plan.holds] == ([HoldKind.SETTLING] if is_held else [])
    assert len(plan.events) == (not is_held)


def test_what_the_broker_changed_about_an_account_is_noted_once_with_what_it_was() -> None:
    book = make.bound_book(P)
    now = msgspec.structs.replace(make.ACCOUNT, fifo_close=True)
    plan = make.planned(book, make.proven(P, account=now))
    assert book.account is not None
    known = msgspec.structs.replace(book.account, at_ns=NOW_NS, fifo_close=True)
    (event,) = plan.events
    assert isinstance(event, events.AccountBound)
    assert len(event.changed) == 1
    assert msgspec.structs.replace(event, changed=()) == known
    book.replay(plan.events)
    assert make.planned(book, make.proven(P, account=now)) == Plan()
