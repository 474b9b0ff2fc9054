"""When an order left, how far to look back, and who may say that it is absent: by what clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.doubt.lookalikes import age_sec, lacking_in
from trueup.core.look.waited import by_dates
from trueup.core.model import Evidence, History, HistoryOrder, Side

LEFT_MSC = 1_700_000_000_000
HOUR_SEC = 3_600


def sent(order_id: str = "A", **more: Any) -> Order:
    """An order that left when the trade server's clock had passed `LEFT_MSC`."""
    facts: dict[str, Any] = {
        "server_time_msc": LEFT_MSC,
        "time_offset_sec": 0,
        "token": "tabcdefgh",
    }
    return Order(order_id, "EURUSD", "BUY", 0.1, 0.0, make.NOW_NS, **(facts | more))


def seen(after_ms: int, offset_sec: int | None = 0, history: History | None = None) -> Evidence:
    """What is seen so long after an order left."""
    evidence = make.proven().evidence
    assert evidence is not None
    return msgspec.structs.replace(
        evidence,
        server_time_msc=LEFT_MSC + after_ms,
        time_offset_sec=offset_sec,
        history=history,
    )


def test_an_order_s_age_is_told_by_the_server_s_clock_where_it_told_both_times() -> None:
    order, later_ns = sent(), make.NOW_NS + 7 * make.SECOND_NS
    assert age_sec(order, LEFT_MSC + 95_999, by_dates(later_ns)) == 95
    assert age_sec(order, LEFT_MSC + 7_200_000, by_dates(later_ns)) == 7_200
    assert age_sec(order, LEFT_MSC - 5_000, by_dates(later_ns)) == 0
    assert str(age_sec(order, 0, by_dates(later_ns + make.SECOND_NS - 1))) == "7"
    assert age_sec(sent(server_time_msc=0), LEFT_MSC, by_dates(later_ns)) == 7
    assert age_sec(order, 0, by_dates(make.NOW_NS - 1)) == 0


def done(**more: Any) -> Order:
    """An order that was answered: done, as order 7."""
    facts: dict[str, Any] = {"status": OrderStatus.FILLED, "ticket": 7}
    return sent(**(facts | more))


def book_of(*orders: Order) -> Book:
    book = Book()
    book.orders = {order.order_id: order for order in orders}
    return book


def history(*tickets: int, age: int = 120) -> History:
    shown = (HistoryOrder(t, "EURUSD", Side.BUY, 0.1, 0.1, "filled") for t in tickets)
    return History(age, tuple(shown), ())


def test_a_history_lacks_what_was_done_in_its_time_and_is_not_in_it() -> None:
    book = book_of(done())
    assert lacking_in(seen(120_000, history=history(6, 8)), book) is book.orders["A"]
    assert lacking_in(seen(120_000, history=history(6, 7, 8)), book) is None
    # A millisecond further on it is of before.
    assert lacking_in(seen(120_001, history=history(6, 8)), book) is None


def test_an_order_that_still_works_is_not_lacking() -> None:
    evidence = seen(1_000, history=history(6))
    working = msgspec.structs.replace(evidence, orders=(make.pending(7),))
    assert lacking_in(working, book_of(done())) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"server_time_msc": 0},
        {"kind": OrderKind.LIMIT},
        {"status": OrderStatus.REJECTED},
        {"ticket": None},
        {"doubt_ns": 1},
        {"token": ""},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_only_what_was_surely_done_and_when_makes_a_history_lack_it(
    changed: dict[str, Any],
) -> None:
    assert lacking_in(seen(1_000, history=history(6)), book_of(done(**changed))) is None


def test_an_undated_order_hides_no_other_and_the_first_too_old_ends_the_search() -> None:
    undated = done(order_id="B", server_time_msc=0, ticket=8)
    assert lacking_in(seen(1_000, history=history(6)), book_of(done(), undated)) is not None
    old = done(order_id="B", server_time_msc=LEFT_MSC - 500_000, ticket=8)
    assert lacking_in(seen(1_000, history=history(6)), book_of(done(), old)) is None


@pytest.mark.parametrize(("offset_sec", "lacks"), [(0, True), (-HOUR_SEC, False), (None, False)])
def test_an_order_may_be_dated_an_hour_back_where_the_server_s_clock_was_set_back(
    offset_sec: int | None, lacks: bool
) -> None:
    evidence = seen(1_000, offset_sec, history(6, age=HOUR_SEC))
    assert (lacking_in(evidence, book_of(done())) is not None) is lacks


def test_that_hour_is_an_hour_to_the_millisecond() -> None:
    evidence = seen(1_000, None, history(6, age=HOUR_SEC + 1))
    assert lacking_in(evidence, book_of(done())) is not None
    evidence = seen(1_001, None, history(6, age=HOUR_SEC + 1))
    assert lacking_in(evidence, book_of(done())) is None


def test_without_a_history_or_a_time_nothing_is_lacking() -> None:
    assert lacking_in(seen(1_000), book_of(done())) is None
    assert lacking_in(seen(-LEFT_MSC, history=history(6)), book_of(done())) is None
