"""Which order of the broker's may be taken for one in doubt whose token is nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.book.book import Book, Holding, Pending
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Tombstone
from trueup.core.book.order import Order
from trueup.core.doubt.lookalikes import (
    Fitting,
    Habits,
    fitting,
    habit,
    habits_of,
    latest_answer_ns,
    why_unfit,
)
from trueup.core.model import (
    Account,
    History,
    HistoryOrder,
    OrderType,
    PendingOrder,
    Side,
    Snapshot,
)
from trueup.core.tokens import magic_with_token, token_of

MSC = make.NOW_NS // 1_000_000
MINUTE_MSC, HOUR_SEC = 60_000, 3_600
ANOTHER_S = token_of("another bot's order")
NO_HABITS: Habits = frozenset()


def left(order_id: str = "A", **more: Any) -> Order:
    """An order that left when the trade server's clock, which is UTC, had passed `MSC`."""
    return make.sent(order_id, **({"server_time_msc": MSC, "time_offset_sec": 0} | more))


def shown(
    *orders: HistoryOrder,
    working: tuple[PendingOrder, ...] = (),
    account: Account = make.ACCOUNT,
    positions: Any = (),
    offset_sec: int | None = 0,
) -> Snapshot:
    return make.proven(
        *positions,
        history=History(120, orders),
        orders=working,
        account=account,
        time_offset_sec=offset_sec,
    )


def found(
    order: Order,
    seen: Snapshot,
    *rivals: Order,
    book: Book | None = None,
    habits: Habits = NO_HABITS,
) -> Fitting:
    return fitting(order, [order, *rivals], seen, book or make.book_with(order), habits)


def fits(order: Order, seen: Snapshot, book: Book | None = None) -> bool:
    """Whether the only order that a reading shows is a candidate."""
    return bool(found(order, seen, book=book).candidates)


# What fits at all.


def test_without_evidence_or_orders_nothing_fits() -> None:
    assert found(left(), make.snapshot()) == Fitting()
    assert found(left(), shown()) == Fitting()


@pytest.mark.parametrize(
    "other",
    [
        {"side": Side.SELL},
        {"volume": 0.2},
        {"magic": 8},
        {"by_program": False},
        {"comment": ANOTHER_S},
        {"time_setup_msc": MSC - MINUTE_MSC - 1},
        {"position": 9},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_one_thing_is_no_candidate(other: dict[str, Any]) -> None:
    order = left(position=7)
    assert fits(order, shown(make.past_order(11, position=7)))
    assert not fits(order, shown(make.past_order(11, **({"position": 7} | other))))


def test_only_the_order_that_closes_the_position_meant_may_have_another_symbol() -> None:
    """The broker may have renamed the symbol; an entry in another symbol is another order."""
    elsewhere = shown(make.past_order(11, position=7, symbol="EURUSD.m"))
    assert fits(left(position=7), elsewhere)
    assert not fits(left(), elsewhere)
    assert not fits(left(position=9), elsewhere)


def test_an_entry_fits_whatever_position_it_came_to() -> None:
    """On a netting account it comes to the one that was there."""
    assert fits(left(), shown(make.past_order(11, position=99)))


def test_each_order_is_one_however_often_it_is_shown() -> None:
    """A filled order may still be in the list for a moment."""
    past = make.past_order(7)
    twice = shown(past, past, working=(make.pending(7, type=OrderType.OTHER),))
    assert found(left(), twice).candidates == (past,)


def test_what_a_token_names_is_the_named_one_s_and_no_other_s() -> None:
    """Two orders that look alike left; one was found by its token, so the other is the rest."""
    named = left("B", token=token_of("B"))
    seen = shown(make.past_order(7), make.past_order(8, comment=token_of("B")))
    assert found(left(), seen, named) == Fitting(None, (make.past_order(7),), True)
    in_number = left("B", token=token_of("B"), wire_magic=magic_with_token(1, token_of("B")))
    past = make.past_order(8, magic=in_number.wire_magic)
    twin = left(wire_magic=in_number.wire_magic)
    assert found(twin, shown(past), in_number).candidates == ()


def test_a_token_in_a_magic_number_counts_only_where_one_was_put_there() -> None:
    magic = magic_with_token(1, make.TOKEN)
    plain = left(magic=magic, wire_magic=magic)
    assert found(plain, shown(make.past_order(7, magic=magic))).candidates
    assert not found(left(wire_magic=magic), shown(make.past_order(7, magic=magic))).candidates


def test_an_order_that_has_no_token_names_nothing() -> None:
    assert found(left(token=""), shown(make.past_order(7, comment="x"))).candidates


def test_of_two_that_fit_and_of_two_that_one_fits_nobody_can_tell() -> None:
    one, two = make.past_order(7, comment=make.TOKEN[:4]), make.past_order(8)
    assert found(left(), shown(one)) == Fitting(one, (one,), True)
    assert found(left(), shown(one, two)) == Fitting(None, (one, two), False)
    assert found(left(), shown(one), left("B")) == Fitting(None, (one,), False)
    # An order in doubt that is otherwise is no rival.
    assert found(left(), shown(one), left("B", volume=0.2)) == Fitting(one, (one,), True)
    both = shown(one, two)
    assert found(left(), both, left("B")) == Fitting(None, (one, two), False)


# What is known to be another's.


def book_with_ticket(known: Order) -> Book:
    return make.book_with(left(), known)


def test_an_order_of_ours_that_has_the_ticket_is_it() -> None:
    seen = shown(make.past_order(7))
    assert not fits(left(), seen, book_with_ticket(left("B", ticket=7)))
    assert fits(left(), seen, book_with_ticket(left("B", ticket=8)))
    # The stand-in of an adopted position is no order of ours.
    assert fits(left(), seen, book_with_ticket(left("RECOVERY_7", ticket=7)))


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("kept", "by_desk", "is_candidate"),
    [(4, True, False), (5, True, True), (6, True, True), (4, False, True)],
)
def test_what_the_book_had_before_our_desk_sent_was_there_before(
    kept: int, *, by_desk: bool, is_candidate: bool, gone: bool
) -> None:
    """Who sends himself may have read the broker meanwhile, so there it proves nothing."""
    order = left(by_desk=by_desk, version=5)
    book = make.book_with(order)
    if gone:
        book.closed[7] = Tombstone(kept, 0, 0)
    else:
        book.holdings[7] = Holding(make.position(7), kept, [])
    assert fits(order, shown(make.past_order(7)), book) is is_candidate
    assert fits(order, shown(make.past_order(8)), book)


# Since when.


@pytest.mark.parametrize(
    ("order", "offset_sec", "earliest_msc"),
    [
        # By the trade server's clock, which may be a minute apart from itself.
        ({}, 0, MSC - MINUTE_MSC),
        # It went forward since, and back since.
        ({}, HOUR_SEC, MSC - MINUTE_MSC),
        ({}, -HOUR_SEC, MSC - MINUTE_MSC - HOUR_SEC * 1000),
        # Nobody knows whether it was set back.
        ({}, None, MSC - MINUTE_MSC - HOUR_SEC * 1000),
        ({"time_offset_sec": None}, 0, MSC - MINUTE_MSC - HOUR_SEC * 1000),
        # By our own clock, where the server's was not known: as the server's shows that moment.
        ({"server_time_msc": 0}, 0, MSC - MINUTE_MSC),
        ({"server_time_msc": 0, "time_offset_sec": 7_200}, 7_200, MSC - MINUTE_MSC + 7_200_000),
        # Summer time began since: what the broker dated before keeps its winter date.
        ({"server_time_msc": 0, "time_offset_sec": 7_200}, 10_800, MSC - MINUTE_MSC + 7_200_000),
        # It ended since.
        ({"server_time_msc": 0, "time_offset_sec": 10_800}, 7_200, MSC - MINUTE_MSC + 7_200_000),
        # Clocks that are further apart than summer and winter are not believed.
        ({"server_time_msc": 0, "time_offset_sec": 0}, 7_200, MSC - MINUTE_MSC + 3_600_000),
        ({"server_time_msc": 0, "time_offset_sec": None}, 0, MSC - MINUTE_MSC - 3_600_000),
        # A part of a millisecond, which the broker does not date.
        ({"server_time_msc": 0, "entry_ns": make.NOW_NS + 999_999}, 0, MSC - MINUTE_MSC),
    ],
)
def test_what_was_set_up_before_it_can_have_left_is_no_candidate(
    order: dict[str, Any], offset_sec: int | None, earliest_msc: int
) -> None:
    for early_msc, is_candidate in ((0, True), (1, False)):
        past = make.past_order(7, time_setup_msc=earliest_msc - early_msc)
        assert fits(left(**order), shown(past, offset_sec=offset_sec)) is is_candidate


def test_without_any_clock_the_history_that_was_asked_for_has_to_do() -> None:
    order = left(server_time_msc=0, time_offset_sec=None)
    assert fits(order, shown(make.past_order(7, time_setup_msc=0), offset_sec=None))


# Working orders.


def works(order: Order, book: Book | None = None, **more: Any) -> bool:
    return fits(order, shown(working=(make.pending(50, **more),)), book)


@pytest.mark.parametrize(
    ("kind", "action", "type_of"),
    [
        (OrderKind.LIMIT, "BUY", OrderType.BUY_LIMIT),
        (OrderKind.LIMIT, "SELL", OrderType.SELL_LIMIT),
        (OrderKind.STOP, "BUY", OrderType.BUY_STOP),
        (OrderKind.STOP, "SELL", OrderType.SELL_STOP),
        (OrderKind.STOP_LIMIT, "BUY", OrderType.BUY_STOP_LIMIT),
        (OrderKind.STOP_LIMIT, "SELL", OrderType.SELL_STOP_LIMIT),
        (OrderKind.MARKET, "BUY", OrderType.OTHER),
    ],
)
def test_a_working_order_fits_the_kind_and_side_that_were_meant(
    kind: OrderKind, action: str, type_of: OrderType
) -> None:
    for one in OrderType:
        assert works(left(kind=kind, action=action), type=one) is (one is type_of)


@pytest.mark.parametrize(
    ("changed", "is_candidate"),
    [
        ({}, True),
        ({"volume": 0.04}, True),
        ({"volume": 0.11}, False),
        ({"magic": 8}, False),
        ({"price_open": 1.06}, False),
        ({"symbol": "GBPUSD"}, False),
    ],
)
def test_what_is_left_of_a_working_order_may_be_less_and_nothing_else_may_differ(
    changed: dict[str, Any], *, is_candidate: bool
) -> None:
    assert works(left(kind=OrderKind.LIMIT), **changed) is is_candidate


@pytest.mark.parametrize(
    ("changed", "is_candidate"),
    [
        ({"type": OrderType.BUY_STOP_LIMIT, "price_stoplimit": 1.04}, True),
        ({"type": OrderType.BUY_STOP_LIMIT, "price_stoplimit": 1.03}, False),
        # It became a limit order at its second price.
        ({"type": OrderType.BUY_LIMIT, "price_open": 1.04}, True),
        ({"type": OrderType.BUY_LIMIT, "price_open": 1.05}, False),
        ({"type": OrderType.SELL_LIMIT, "price_open": 1.04}, False),
        ({"type": OrderType.BUY_STOP, "price_open": 1.04}, False),
    ],
)
def test_a_stop_limit_order_fits_as_what_it_was_and_as_what_it_becomes(
    changed: dict[str, Any], *, is_candidate: bool
) -> None:
    order = left(kind=OrderKind.STOP_LIMIT, stoplimit=1.04)
    assert works(order, **changed) is is_candidate
    limit = left(kind=OrderKind.LIMIT, stoplimit=1.04)
    assert not works(limit, type=OrderType.BUY_LIMIT, price_open=1.04)


def test_a_market_order_that_still_works_has_no_price_to_compare() -> None:
    assert works(left(), type=OrderType.OTHER, price_open=0.0)


@pytest.mark.parametrize(("version", "is_candidate"), [(4, False), (5, False), (6, True)])
def test_a_working_order_that_the_book_had_when_ours_left_is_another_s(
    version: int, *, is_candidate: bool
) -> None:
    order = left(kind=OrderKind.LIMIT, version=5)
    book = make.book_with(order)
    book.pending[50] = Pending(make.pending(50), version)
    assert works(order, book) is is_candidate
    book.pending[51] = book.pending.pop(50)
    assert works(order, book)


# When the only one that fits is ours.


def is_ours(order: Order, seen: Snapshot, habits: Habits = NO_HABITS) -> bool:
    both = found(order, seen, habits=habits)
    assert both.is_alone
    return both.ours is not None


@pytest.mark.parametrize(
    ("comment", "ours"),
    [(make.TOKEN[:4], True), (make.TOKEN[:3], False), ("", False), ("my other robot", False)],
)
def test_the_beginning_of_its_token_says_that_it_is_ours(comment: str, *, ours: bool) -> None:
    assert is_ours(left(), shown(make.past_order(7, comment=comment))) is ours
    working = (make.pending(50, comment=comment),)
    assert is_ours(left(kind=OrderKind.LIMIT), shown(working=working)) is ours


@pytest.mark.parametrize(
    ("comment", "ours"), [("by server 7, 12:00", True), ("by server", False), ("", False)]
)
def test_what_the_broker_writes_on_answered_orders_of_ours_says_that_it_is_ours(
    comment: str, *, ours: bool
) -> None:
    """Numbers aside, and of the same sender."""
    habits = frozenset({habit(left(), "by server 11, 9:30")})
    seen = shown(make.past_order(7, comment=comment))
    assert is_ours(left(), seen, habits) is ours
    assert not is_ours(left(by_desk=False), seen, habits)


@pytest.mark.parametrize(
    ("account", "position", "comment", "ours"),
    [
        (make.ACCOUNT, 7, "", True),
        (make.ACCOUNT, 7, "by hand", False),
        (make.ACCOUNT, 0, "", False),
        (make.NETTING, 7, "", False),
    ],
)
def test_what_closes_the_very_position_without_a_word_is_ours_where_none_is_shared(
    account: Account, position: int, comment: str, *, ours: bool
) -> None:
    past = make.past_order(11, position=7, comment=comment)
    assert is_ours(left(position=position), shown(past, account=account)) is ours


@pytest.mark.parametrize(
    ("order", "offset_sec", "setup_msc", "ours"),
    [
        # It left by the server's clock, which may have been set back since, unseen by us.
        ({"time_offset_sec": None}, 0, MSC - MINUTE_MSC, True),
        ({"time_offset_sec": None}, 0, MSC - MINUTE_MSC - 1, False),
        # We saw that it was set back by an hour.
        ({}, -HOUR_SEC, MSC - MINUTE_MSC - 1, True),
        # By our clock.
        ({"server_time_msc": 0, "time_offset_sec": None}, 0, MSC - MINUTE_MSC, True),
        ({"server_time_msc": 0, "time_offset_sec": None}, 0, MSC - MINUTE_MSC - 1, False),
        # By none.
        ({"server_time_msc": 0, "time_offset_sec": None}, None, 0, True),
    ],
)
def test_what_seems_older_is_a_candidate_and_not_ours_by_itself(
    order: dict[str, Any], offset_sec: int | None, setup_msc: int, *, ours: bool
) -> None:
    past = make.past_order(7, comment=make.TOKEN[:4], time_setup_msc=setup_msc)
    assert is_ours(left(**order), shown(past, offset_sec=offset_sec)) is ours


def test_a_working_order_is_never_too_old() -> None:
    """When it was set up is not told to the millisecond; the book knows what was there before."""
    order = left(kind=OrderKind.LIMIT, time_offset_sec=None)
    assert is_ours(order, shown(working=(make.pending(50, comment=make.TOKEN[:4]),)))


# What becomes of our comments at this broker.

ANSWERED: dict[str, Any] = {"ticket": 7, "fill_ns": 5}


def habits(seen: Snapshot, *orders: Order) -> set[tuple[bool, str]]:
    return set(habits_of(make.book_with(*orders), seen))


def test_a_comment_in_place_of_a_token_is_a_habit_numbers_aside() -> None:
    order, by_hand = left(**ANSWERED), left("B", ticket=8, by_desk=False)
    seen = shown(
        make.past_order(6, comment="a stranger's"),
        make.past_order(7, comment="server 12, 9:30"),
        make.past_order(8, comment=""),
    )
    assert habits(seen, order, by_hand) == {(True, "server 0, 0:0"), (False, "")}
    assert habits(make.snapshot(), order) == set()


@pytest.mark.parametrize("comment", [make.TOKEN, make.TOKEN[:6], f"{make.TOKEN} sl"])
def test_a_comment_that_kept_the_token_is_no_habit(comment: str) -> None:
    assert habits(shown(make.past_order(7, comment=comment)), left(**ANSWERED)) == set()


def test_a_token_in_the_magic_number_does_not_say_what_becomes_of_comments() -> None:
    magic = magic_with_token(1, make.TOKEN)
    seen = shown(make.past_order(7, comment="gone", magic=magic))
    assert habits(seen, left(**ANSWERED, wire_magic=magic)) == {(True, "gone")}


@pytest.mark.parametrize(
    "changed",
    [{"ticket": None}, {"token": ""}, {"doubt_ns": 1}, {"order_id": "RECOVERY_7"}],
    ids=lambda changed: next(iter(changed)),
)
def test_only_an_answered_order_with_a_token_shows_a_habit(changed: dict[str, Any]) -> None:
    order = left(**(ANSWERED | changed))
    assert habits(shown(make.past_order(7, comment="gone")), order) == set()
    assert latest_answer_ns(make.book_with(order)) == 0


@pytest.mark.parametrize(
    ("account", "expected"),
    [(make.ACCOUNT, {(True, "gone"), (True, "first")}), (make.NETTING, {(True, "first")})],
)
def test_a_position_shows_a_habit_where_positions_are_not_shared(
    account: Account, expected: set[tuple[bool, str]]
) -> None:
    """A shared position has the comment of whoever traded last."""
    positions = (make.position(70, identifier=7, comment="gone"),)
    seen = shown(make.past_order(8, comment="first"), account=account, positions=positions)
    assert habits(seen, left(**ANSWERED), left("B", ticket=8)) == expected


def test_the_latest_answer_is_the_newest_of_our_answered_orders() -> None:
    first, second = left(**ANSWERED), left("B", ticket=8, fill_ns=9)
    assert latest_answer_ns(make.book_with()) == 0
    assert latest_answer_ns(make.book_with(first, second, left("C"))) == 9
    assert latest_answer_ns(make.book_with(second, first)) == 5
    # A pending order that works is answered, and not filled.
    assert latest_answer_ns(make.book_with(left(ticket=7))) == 0


# Why a ticket that a person names does not fit.


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"symbol": "GBPUSD", "position": 9}, "it is in GBPUSD, and EURUSD was meant"),
        (
            {"symbol": "GBPUSD"},
            "it was there before, was made by hand, or is of another kind",
        ),
        ({"side": Side.SELL}, "it is a SELL, and a BUY was meant"),
        ({"volume": 0.25}, "it is of 0.25L, and 0.10L were meant"),
        ({"magic": 8}, "its magic number is 8, and 0 was sent"),
        ({"comment": ANOTHER_S}, "its comment is the token of another order"),
        ({"position": 9}, "it is about position 9, and 7 was meant"),
        ({}, "it was there before, was made by hand, or is of another kind"),
    ],
)
def test_why_an_order_of_the_history_does_not_fit(changed: dict[str, Any], why: str) -> None:
    seen = shown(make.past_order(10), make.past_order(11, **({"position": 7} | changed)))
    assert why_unfit(left(position=7), 11, seen, make.book_with()) == why


def test_why_a_working_order_does_not_fit() -> None:
    seen = shown(working=(make.pending(50, type=OrderType.SELL_LIMIT),))
    why = "it was there before, was made by hand, or is of another kind"
    assert why_unfit(left(position=7), 50, seen, make.book_with()) == why
    assert why_unfit(left(), 50, seen, make.book_with()) == why


def test_an_entry_is_about_no_position() -> None:
    why = "it was there before, was made by hand, or is of another kind"
    assert why_unfit(left(), 11, shown(make.past_order(11)), make.book_with()) == why


def test_why_another_order_of_ours_and_what_is_not_shown_do_not_fit() -> None:
    nothing = "the broker shows no order of that ticket since it was sent"
    known = make.book_with(left("B", ticket=11), left("RECOVERY_12", ticket=12))
    for seen in (shown(make.past_order(11)), make.snapshot()):
        assert why_unfit(left(), 11, seen, known) == "it is B's"
        assert why_unfit(left(), 12, seen, known) == nothing
        assert why_unfit(left(), 13, seen, known) == nothing
