"""What each event of the journal does to a book, event by event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book import fills as filling
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Unbooked
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.deals import BookedDeal
from trueup.core.gateway_record import RecordMark
from trueup.core.model import MarginMode, OrderType, PendingOrder, Position, Side

AT = make.NOW_NS + make.SECOND_NS
P = make.position(7, volume=0.2)
ENTRY = BookedDeal(1, -70_000_000, 20_000_000, order=7)


def sent(order_id: str, side: Side = Side.BUY, volume: float = 0.2, **more: Any) -> list[Any]:
    """An order that has left, at a known time of the server's clock."""
    left = events.SendStarted(
        at_ns=make.NOW_NS,
        order_id=order_id,
        record=RecordMark("r", 5),
        time_offset_sec=7200,
        server_time_msc=4_000,
    )
    return [make.created(order_id, side, volume, **more), left]


def in_doubt(order_id: str, side: Side = Side.BUY, volume: float = 0.2, **more: Any) -> list[Any]:
    doubt = events.OrderInDoubt(at_ns=AT, order_id=order_id, error="no reply")
    return [*sent(order_id, side, volume, **more), doubt]


def settled(order_id: str, ticket: int, volume: float = 0.2) -> events.OrderSettled:
    return events.OrderSettled(
        at_ns=AT + 5, order_id=order_id, ticket=ticket, volume=volume, price=1.06, because="listed"
    )


def applied(order_id: str, ticket: int = 0) -> events.OrderApplied:
    return events.OrderApplied(at_ns=AT, order_id=order_id, ticket=ticket)


def modify(order_id: str, **more: Any) -> list[Any]:
    return sent(order_id, kind=OrderKind.MODIFY, position=7, **more)


# Orders.


def test_an_order_that_left_has_what_its_sending_said() -> None:
    book = Book().replay(sent("A", key="mine"))
    order = book.by_key["mine"]
    assert (order.status, order.version, order.record) == (OrderStatus.SENT, 2, RecordMark("r", 5))
    assert (order.time_offset_sec, order.server_time_msc) == (7200, 4_000)


def test_a_rejected_order_is_over_and_says_why() -> None:
    book = Book().replay(sent("A"))
    book.apply(events.OrderRejected(at_ns=AT, order_id="A", error="no money"))
    assert (book.orders["A"].status, book.orders["A"].error) == (OrderStatus.REJECTED, "no money")
    assert (set(book.finished), book.in_doubt) == ({"A"}, {})


def test_an_order_in_doubt_says_why_and_since_when() -> None:
    book = Book().replay(in_doubt("A"))
    order = book.in_doubt["A"]
    assert (order.error, order.doubt_ns, order.version) == ("no reply", AT, 3)
    assert not book.finished


def test_an_order_that_was_given_up_is_over_and_says_what_is_not_proven() -> None:
    book = Book().replay(in_doubt("A"))
    book.apply(events.OrderCanceled(at_ns=AT, order_id="A", because="given up", unproven=True))
    order = book.orders["A"]
    assert (order.status, order.error, order.unproven) == (OrderStatus.CANCELED, "given up", True)
    assert (set(book.finished), book.in_doubt) == ({"A"}, {})


def test_an_order_that_was_settled_has_its_fill_and_is_in_doubt_no_more() -> None:
    book = Book().replay([make.bound(), *in_doubt("A"), settled("A", 7)])
    order = book.orders["A"]
    assert (order.status, order.error, book.in_doubt) == (OrderStatus.FILLED, None, {})
    assert (order.ticket, order.filled_volume, order.fill_price) == (7, 0.2, 1.06)
    assert order.fill_ns == AT + 5
    assert book.orders_by_ticket == {7: order}
    assert book.unbooked == {7: Unbooked("EURUSD", 20_000_000, 7, 4_000)}
    assert set(book.finished) == {"A"}


def test_a_settled_order_has_its_part_in_the_position_that_a_list_showed_before() -> None:
    """Its deals are awaited, and it is not over before the position is."""
    book = Book().replay([make.bound(), *in_doubt("A")])
    book.apply(events.PositionAdopted(at_ns=AT, position=P))
    book.unexplained.clear()
    book.apply(settled("A", 7))
    assert book.holdings[7].order_ids == ["RECOVERY_7", "A"]
    assert book.unexplained == {7: P}
    assert not book.finished


def test_a_settled_close_is_no_part_of_the_position_whose_ticket_its_answer_had() -> None:
    book = make.bound_book(P).replay(in_doubt("A", Side.SELL, 0.1, position=7))
    book.apply(settled("A", 7, 0.1))
    assert book.holdings[7].order_ids == ["RECOVERY_7"]
    assert set(book.finished) == {"A"}


@pytest.mark.parametrize("answered", [True, False])
def test_on_a_netting_account_the_lots_of_an_order_are_its_strategys(*, answered: bool) -> None:
    book = Book().replay([make.bound(make.NETTING), *in_doubt("A", magic=3)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.06) if answered else settled("A", 7))
    assert {key: (c.magic, c.units) for key, c in book.claims.items()} == {"A": (3, 20_000_000)}


@pytest.mark.parametrize("answered", [True, False])
def test_a_close_that_is_told_after_its_position_left_is_nobodys_lots(*, answered: bool) -> None:
    book = make.bound_book(P, account=make.NETTING)
    book.replay(in_doubt("A", Side.SELL, 0.2, position=7))
    book.apply(events.PositionClosed(at_ns=AT, position=P, because="gone"))
    book.apply(make.filled("A", 8, Side.SELL, 0.2, 1.06) if answered else settled("A", 8))
    assert (book.claims, set(book.finished)) == ({}, {"RECOVERY_7", "A"})


def test_the_answer_to_an_entry_that_a_list_showed_before_changes_no_volume() -> None:
    book = Book().replay([make.bound(), *sent("A")])
    book.apply(events.PositionAdopted(at_ns=AT, position=P))
    book.unexplained.clear()
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.06))
    assert (book.holdings[7].position, book.unexplained) == (P, {7: P})
    assert book.holdings[7].order_ids == ["RECOVERY_7", "A"]


# Whose a ticket is.


def test_a_close_that_is_answered_with_its_positions_ticket_does_not_become_its_maker() -> None:
    book = Book().replay([make.bound(), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.06))
    book.replay(sent("B", Side.SELL, 0.1, position=7))
    book.apply(make.filled("B", 7, Side.SELL, 0.1, 1.07))
    assert book.orders_by_ticket[7].order_id == "A"
    adopted = make.bound_book(P).replay(sent("B", Side.SELL, 0.1, position=7))
    adopted.apply(make.filled("B", 7, Side.SELL, 0.1, 1.07))
    assert adopted.orders_by_ticket[7].order_id == "RECOVERY_7"


def test_an_order_of_ours_takes_the_place_of_the_one_that_stood_in_for_it() -> None:
    book = make.bound_book(P).replay([*in_doubt("A"), settled("A", 7)])
    assert book.orders_by_ticket[7].order_id == "A"


# What a fill is expected to show in the deals.


@pytest.mark.parametrize(
    ("account", "position", "into"),
    [(make.ACCOUNT, 0, 70), (make.ACCOUNT, 7, 7), (make.NETTING, 0, 0), (make.NETTING, 7, 7)],
)
def test_the_deals_of_a_fill_are_expected_where_it_can_have_gone(
    account: Any, position: int, into: int
) -> None:
    book = make.bound_book(P, account=account)
    book.replay(sent("A", Side.SELL, 0.1, position=position))
    book.apply(make.filled("A", 70, Side.SELL, 0.1, 1.06))
    assert book.unbooked == {70: Unbooked("EURUSD", 10_000_000, into, 4_000)}


# Modifications, cancellations and pending orders.


def test_a_modification_moves_the_stops_of_its_position_and_nothing_else() -> None:
    book = make.bound_book(P).replay([*modify("M", sl=1.01, tp=1.09), applied("M")])
    holding = book.holdings[7]
    assert holding.position == msgspec.structs.replace(P, sl=1.01, tp=1.09)
    assert (holding.version, holding.touched_ns) == (book.version, AT)
    order = book.orders["M"]
    assert (order.status, order.fill_ns, order.error) == (OrderStatus.FILLED, AT, None)
    assert set(book.finished) == {"M"}


def modify_order(order_id: str, **more: Any) -> list[Any]:
    prices = {"price": 1.06, "sl": 1.01, "tp": 1.2, "stoplimit": 1.055}
    return sent(order_id, kind=OrderKind.MODIFY_ORDER, target=50, **(prices | more))


def test_a_modification_of_a_pending_order_moves_its_prices_and_nothing_else() -> None:
    listed = make.pending(50, comment="x", volume_initial=0.3)
    book = make.bound_book().replay([events.PendingAdopted(at_ns=AT, order=listed)])
    book.replay([*modify_order("M"), applied("M", 50)])
    pending = book.pending[50]
    assert pending.order == msgspec.structs.replace(
        listed, price_open=1.06, price_stoplimit=1.055, sl=1.01, tp=1.2
    )
    assert (pending.version, pending.touched_ns) == (book.version, AT)
    assert (set(book.finished), book.orders_by_ticket) == ({"M"}, {})


def test_a_modification_does_not_undo_what_a_list_showed_of_the_order_after_it_left() -> None:
    listed, moved = make.pending(50), make.pending(50, price_open=1.07)
    book = make.bound_book().replay([events.PendingAdopted(at_ns=AT, order=listed)])
    book.replay(modify_order("M"))
    book.apply(
        events.PendingCorrected(at_ns=AT, local=listed, remote=moved, fields=("price_open",))
    )
    book.apply(applied("M", 50))
    assert book.pending[50].order == moved
    # Nor does it bring an order back that has ended, or one that was never the book's.
    gone = make.bound_book().replay([*modify_order("M"), applied("M", 50)])
    assert (gone.pending, gone.orders["M"].status) == ({}, OrderStatus.FILLED)


def test_a_modification_in_doubt_that_was_made_is_in_doubt_no_more() -> None:
    doubt = events.OrderInDoubt(at_ns=AT, order_id="M", error="no reply")
    book = make.bound_book(P).replay([*modify("M", sl=1.01), doubt, applied("M")])
    assert (book.orders["M"].error, book.in_doubt) == (None, {})


def test_a_modification_does_not_undo_what_a_list_showed_after_it_left() -> None:
    moved = msgspec.structs.replace(P, sl=1.02)
    book = make.bound_book(P).replay(modify("M", sl=1.01))
    book.apply(events.PositionCorrected(at_ns=AT, local=P, remote=moved, fields=("sl",)))
    version = book.version
    book.apply(applied("M"))
    assert (book.holdings[7].position, book.holdings[7].version) == (moved, version)
    assert set(book.finished) == {"M"}


def test_a_modification_as_old_as_the_position_is_made() -> None:
    book = make.bound_book(P).replay(
        [make.created("M", Side.BUY, kind=OrderKind.MODIFY, position=7, sl=1.01)]
    )
    book.orders["M"].version = book.holdings[7].version
    book.apply(applied("M"))
    assert book.holdings[7].position.sl == 1.01


def test_a_modification_of_what_is_gone_is_over_and_makes_no_pending_order() -> None:
    book = make.bound_book().replay([*modify("M", sl=1.01), applied("M", 7)])
    assert (book.pending, book.holdings, set(book.finished)) == ({}, {}, {"M"})


def test_a_pending_order_that_was_placed_is_in_the_book_as_it_was_asked_for() -> None:
    asked = {"kind": OrderKind.STOP, "sl": 1.1, "tp": 1.0, "wire_magic": 9, "token": "t"}
    book = make.bound_book().replay([*sent("L", Side.SELL, 0.3, **asked), applied("L", 50)])
    assert book.pending[50].order == PendingOrder(
        50, "EURUSD", OrderType.SELL_STOP, 0.3, 1.0543, sl=1.1, tp=1.0, magic=9, comment="t"
    )
    assert (book.pending[50].version, set(book.finished)) == (book.version, {"L"})
    assert book.orders_by_ticket[50] is book.orders["L"]
    assert book.orders["L"].ticket == 50


def test_a_pending_order_without_a_ticket_is_not_guessed_into_the_book() -> None:
    book = make.bound_book().replay([*sent("L", kind=OrderKind.LIMIT), applied("L")])
    assert (book.pending, book.orders_by_ticket, set(book.finished)) == ({}, {}, {"L"})


@pytest.mark.parametrize("is_bound", [True, False])
def test_a_cancelled_pending_order_is_asked_about_where_its_end_is_told(*, is_bound: bool) -> None:
    book = make.bound_book() if is_bound else Book()
    order = make.pending(50)
    book.apply(events.PendingAdopted(at_ns=AT, order=order))
    book.replay([*sent("C", kind=OrderKind.CANCEL, target=50), applied("C")])
    assert (book.pending, book.ending) == ({}, {50: order} if is_bound else {})
    assert set(book.finished) == {"C"}


def test_cancelling_what_is_gone_already_is_no_error() -> None:
    book = make.bound_book()
    book.replay([*sent("C", kind=OrderKind.CANCEL, target=50), applied("C")])
    assert (book.pending, book.ending, set(book.finished)) == ({}, {}, {"C"})


# Positions that a list showed, or did not.


def adopted(position: Position = P) -> events.PositionAdopted:
    return events.PositionAdopted(at_ns=AT, position=position)


@pytest.mark.parametrize(
    ("account", "is_awaited"), [(None, False), (make.ACCOUNT, False), (make.NETTING, True)]
)
def test_the_deals_of_a_strangers_position_are_awaited_where_it_may_be_shared(
    account: Any, *, is_awaited: bool
) -> None:
    book = Book() if account is None else make.bound_book(account=account)
    book.apply(adopted(msgspec.structs.replace(P, side=Side.SELL, time=1_000)))
    assert (set(book.unexplained) == {7}) is is_awaited
    holding = book.holdings[7]
    assert (holding.explained_units, holding.version) == (-20_000_000, book.version)
    assert holding.order_ids == ["RECOVERY_7"]
    order = book.orders_by_ticket[7]
    assert (order.action, order.entry_ns, order.fill_ns) == ("SELL", 1_000 * 10**9, AT)
    assert (order.fill_price, order.filled_volume, order.status.value) == (1.0543, 0.2, "FILLED")


def test_a_position_whose_ticket_changed_is_known_by_the_order_that_opened_it() -> None:
    book = Book().replay([make.bound(), *in_doubt("A"), settled("A", 7)])
    book.apply(adopted(msgspec.structs.replace(P, ticket=99)))
    assert book.holdings[7].order_ids == ["A"]
    assert (set(book.unexplained), set(book.orders)) == ({7}, {"A"})


def test_a_position_that_was_missing_is_missing_no_more() -> None:
    book = make.bound_book(P)
    book.apply(events.PositionMissing(at_ns=AT, position=P, because="not listed"))
    assert book.missing == {7: AT}
    found = events.PositionFound(at_ns=AT + 1, position=P)
    book.replay([found, found])
    assert book.missing == {}


def corrected(remote: Position, *fields: str) -> events.PositionCorrected:
    return events.PositionCorrected(at_ns=AT, local=P, remote=remote, fields=fields)


@pytest.mark.parametrize(
    ("fields", "is_awaited"),
    [
        (("sl", "tp"), False),
        (("magic",), False),
        (("volume",), True),
        (("side",), True),
        (("price_open",), True),
        (("ticket", "sl"), True),
    ],
)
def test_what_only_deals_can_change_waits_for_them(
    fields: tuple[str, ...], *, is_awaited: bool
) -> None:
    remote = msgspec.structs.replace(P, volume=0.1, sl=1.0)
    book = make.bound_book(P).replay([corrected(remote, *fields)])
    assert book.unexplained == ({7: remote} if is_awaited else {})
    assert book.changed_ns == ({7: AT} if is_awaited else {})
    holding = book.holdings[7]
    assert (holding.position, holding.mark, holding.version) == (remote, remote, book.version)


def test_without_deals_a_change_waits_for_none() -> None:
    book = make.book_of(P).replay([corrected(make.position(7, volume=0.1), "volume")])
    assert (book.unexplained, book.changed_ns) == ({}, {})


@pytest.mark.parametrize(("price", "averaged"), [(1.06, 1), (1.07, 0)])
def test_a_price_that_the_broker_tells_is_no_average_of_ours(price: float, averaged: int) -> None:
    book = Book().replay([make.bound(), make.created("A", Side.BUY, 0.2)])
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.06))
    book.apply(corrected(make.position(7, volume=0.2, price_open=price), "price_open"))
    assert book.holdings[7].averaged == averaged


def test_a_symbol_with_another_name_takes_its_strategies_lots_along() -> None:
    book = Book().replay([make.bound(make.NETTING)])
    for name, ticket, symbol in (("A", 7, "EURUSD"), ("B", 8, "GBPUSD")):
        book.apply(make.created(name, Side.BUY, 0.2, symbol=symbol, magic=3))
        fill = make.filled(name, ticket, Side.BUY, 0.2, 1.06)
        book.apply(msgspec.structs.replace(fill, symbol=symbol))
    book.apply(corrected(make.position(7, volume=0.2, symbol="EURUSD.x"), "symbol"))
    assert {(c.symbol, c.magic, c.units) for c in book.claims.values()} == {
        ("EURUSD.x", 3, 20_000_000),
        ("GBPUSD", 3, 20_000_000),
    }


# How a position leaves.


def closed(**more: Any) -> events.PositionClosed:
    return events.PositionClosed(at_ns=AT, position=P, because="gone", **more)


@pytest.mark.parametrize(
    ("more", "is_awaited"), [({}, False), ({"unproven": True}, True), ({"by": "Mary"}, False)]
)
def test_a_close_that_nothing_proves_still_waits_for_its_deals(
    more: dict[str, Any], *, is_awaited: bool
) -> None:
    book = make.bound_book(P).replay([corrected(make.position(7, volume=0.1), "volume")])
    if "by" in more:
        more = {**more, "unproven": True}
    book.apply(closed(**more))
    assert (set(book.unexplained), set(book.changed_ns)) == (
        ({7}, {7}) if is_awaited else (set(), set())
    )
    # It left by itself, not by us: what a late list shows of it is not ours to explain away.
    assert (book.holdings, book.closed[7].touched_ns, book.touched_ns(7)) == ({}, 0, 0)


def test_a_close_of_what_the_book_does_not_have_changes_nothing() -> None:
    book = make.bound_book()
    book.apply(closed(booked=(ENTRY,), deals=(1,), realised_units=5))
    assert (book.realised_units, book.closed, book.unexplained) == (0, {}, {})


@pytest.mark.parametrize(("booked", "left"), [((ENTRY,), 0), ((), 20_000_000)])
def test_what_an_exit_counts_is_not_awaited_again(
    booked: tuple[BookedDeal, ...], left: int
) -> None:
    book = make.bound_book(P).replay([closed(booked=booked, deals=(1,), realised_units=5)])
    grave = book.closed[7]
    assert (grave.explained_units, grave.realised_units) == (left, 5 if booked else 0)


def test_a_closed_position_that_shows_again_keeps_its_counted_deals_and_their_money() -> None:
    book = make.bound_book(P).replay([closed(booked=(ENTRY,), deals=(1,), realised_units=5)])
    assert book.realised_units == 5
    book.apply(adopted())
    again = book.holdings[7]
    assert (again.deals, again.booked, again.realised_units) == ((1,), (ENTRY,), 5)
    # Once and not twice: the grave is gone.
    assert (book.closed, book.realised_units) == ({}, 5)


def test_an_exit_that_has_all_of_an_order_ends_the_wait_for_it() -> None:
    book = make.bound_book(P).replay(sent("A", Side.SELL, 0.2, position=7))
    book.apply(make.filled("A", 70, Side.SELL, 0.1, 1.06))
    book.apply(closed(booked=(ENTRY,), deals=(1,), complete=(70, 71)))
    assert book.unbooked == {}


# What the broker closed only to open it again.


def rolled(*, counted: bool = True) -> list[events.Event]:
    """A position that a rollover closed; it goes on as 8."""
    entry = events.DealsRecorded(
        at_ns=AT, position=P, deals=(1,), booked=(ENTRY,), realised_units=-1, because="opened"
    )
    return [*([entry] if counted else []), closed(went_on_as=(8,))]


@pytest.mark.parametrize("counted", [True, False])
def test_an_open_successor_is_counted_from_now_on_if_its_forerunner_was(*, counted: bool) -> None:
    again = make.position(8, volume=0.2)
    book = make.bound_book(P, again).replay(rolled(counted=counted))
    assert book.unexplained == ({8: again} if counted else {})
    assert book.closed[7].went_on_as == (8,)


def test_a_successor_whose_deals_are_counted_is_not_awaited() -> None:
    again = make.position(8, volume=0.2)
    entry = events.DealsRecorded(
        at_ns=AT, position=again, deals=(3,), realised_units=0, because="opened"
    )
    book = make.bound_book(P, again).replay([entry, *rolled()])
    assert book.unexplained == {}


def test_a_successor_that_no_list_ever_showed_is_awaited_under_its_own_number() -> None:
    book = make.bound_book(P).replay(rolled(counted=False))
    assert book.unexplained == {8: make.position(8, volume=0.2)}


@pytest.mark.parametrize("is_exit", [True, False])
def test_a_successor_that_went_on_itself_is_followed_to_the_one_that_is_open(
    *, is_exit: bool
) -> None:
    """8 was rolled into 9 before this book heard that 7 had been rolled into 8."""
    middle, last = make.position(8, volume=0.2), make.position(9, volume=0.2)
    book = make.bound_book(P, middle, last)
    book.apply(
        events.PositionClosed(at_ns=AT, position=middle, because="rolled", went_on_as=(9, 10))
    )
    book.unexplained.clear()
    if is_exit:
        book.replay(rolled())
    else:
        book.apply(
            events.DealsRecorded(
                at_ns=AT, position=P, deals=(), realised_units=0, because="x", went_on_as=(8,)
            )
        )
    assert book.unexplained == {9: last, 10: make.position(10, volume=0.2)}


# Deals.


def recorded(position: Position = P, **more: Any) -> events.DealsRecorded:
    facts: dict[str, Any] = {"deals": (1,), "booked": (ENTRY,), "realised_units": -70_000_000}
    return events.DealsRecorded(at_ns=AT, position=position, because="x", **(facts | more))


def test_recorded_deals_are_awaited_no_more() -> None:
    book = make.bound_book(P).replay([corrected(make.position(7, volume=0.1), "volume")])
    assert (set(book.unexplained), set(book.changed_ns)) == ({7}, {7})
    book.replay([recorded(), recorded()])
    assert (book.unexplained, book.changed_ns, book.realised_units) == ({}, {}, -70_000_000)


def test_a_note_without_deals_counts_nothing() -> None:
    book = make.bound_book(P).replay([recorded()])
    book.apply(recorded(deals=(), booked=(), realised_units=0))
    assert (book.realised_units, book.holdings[7].deals) == (-70_000_000, (1,))


@pytest.mark.parametrize(("told", "kept"), [(50, 50), (40, 40), (30, 40)])
def test_the_time_of_the_last_change_never_goes_back(told: int, kept: int) -> None:
    book = make.bound_book(msgspec.structs.replace(P, time_update_msc=40))
    book.apply(recorded(msgspec.structs.replace(P, time_update_msc=told)))
    assert book.holdings[7].position == msgspec.structs.replace(P, time_update_msc=kept)


def test_shares_of_recorded_deals_are_their_strategies() -> None:
    book = make.bound_book(P, account=make.NETTING)
    book.apply(recorded(shares=(events.Share(70, 3, 5), events.Share(71, 4, -2))))
    assert {(c.symbol, c.magic, c.units) for c in book.claims.values()} == {
        ("EURUSD", 3, 5),
        ("EURUSD", 4, -2),
    }


# Pending orders.

PENDING = make.pending(50, time_setup=9, volume=0.3)


def with_pending(order: PendingOrder = PENDING, account: Any = make.ACCOUNT) -> Book:
    book = make.bound_book(account=account)
    book.apply(events.PendingAdopted(at_ns=AT, order=order))
    return book


def pending_closed(**more: Any) -> events.PendingClosed:
    return events.PendingClosed(at_ns=AT, order=PENDING, because="x", **more)


@pytest.mark.parametrize(
    ("account", "more", "wanted"),
    [
        (make.ACCOUNT, {"filled": 0.1}, Unbooked("EURUSD", 10_000_000, 50, 9_000)),
        (make.ACCOUNT, {"filled": 0.1, "position": 7}, Unbooked("EURUSD", 10_000_000, 7, 9_000)),
        (make.ACCOUNT, {"position": 7}, Unbooked("EURUSD", 0, 7, 9_000)),
        (make.NETTING, {"filled": 0.1}, Unbooked("EURUSD", 10_000_000, 0, 9_000)),
        (make.NETTING, {"filled": 0.1, "position": 7}, Unbooked("EURUSD", 10_000_000, 7, 9_000)),
    ],
)
def test_the_deals_of_what_was_executed_of_it_are_expected(
    account: Any, more: dict[str, Any], wanted: Unbooked
) -> None:
    book = with_pending(account=account).replay([pending_closed(**more)])
    assert (book.pending, book.unbooked) == ({}, {50: wanted})


def test_one_of_which_nothing_was_executed_is_expected_to_have_no_deals() -> None:
    book = with_pending()
    book.unbooked[50] = Unbooked("EURUSD", 1, 50)
    book.apply(pending_closed())
    assert (book.pending, book.unbooked) == ({}, {})


def test_the_deals_of_our_own_are_not_looked_for_before_it_left() -> None:
    """Where the list does not say when it was placed, our own clock of the server does."""
    asked = sent("L", kind=OrderKind.LIMIT)
    book = make.bound_book().replay([*asked, applied("L", 50)])
    order = book.pending[50].order
    book.apply(events.PendingClosed(at_ns=AT, order=order, because="x", filled=0.1))
    assert book.unbooked[50].since_msc == 4_000
    strangers = with_pending(make.pending(51))
    strangers.apply(events.PendingClosed(at_ns=AT, order=make.pending(51), because="x", filled=0.1))
    assert strangers.unbooked[51].since_msc == 0


def rest(volume: float, **more: Any) -> events.PendingCorrected:
    remote = msgspec.structs.replace(PENDING, volume=volume, **more)
    return events.PendingCorrected(at_ns=AT, local=PENDING, remote=remote, fields=("volume",))


@pytest.mark.parametrize(
    ("event", "units"),
    [
        (rest(0.2), 10_000_000),
        (rest(0.2, volume_initial=0.5), 30_000_000),
        (rest(0.29999999), 1),
    ],
)
def test_a_pending_order_of_which_less_is_left_was_executed_in_part(
    event: events.PendingCorrected, units: int
) -> None:
    """All that was executed counts: of what was asked for at first, where that is told."""
    book = with_pending().replay([event])
    assert book.unbooked == {50: Unbooked("EURUSD", units, 50, 9_000)}
    assert (book.pending[50].order, book.pending[50].version) == (event.remote, book.version)


@pytest.mark.parametrize("volume", [0.3, 0.4])
def test_a_pending_order_of_which_as_much_is_left_was_not_executed(volume: float) -> None:
    book = with_pending().replay([rest(volume, volume_initial=0.5, sl=1.0)])
    assert book.unbooked == {}


def test_parts_that_are_counted_in_other_positions_are_not_expected_again() -> None:
    """On a netting account parts of one order can be in several positions, closed ones too."""
    book = make.bound_book(P, account=make.NETTING)
    book.apply(events.PendingAdopted(at_ns=AT, order=PENDING))
    part = BookedDeal(1, 0, 10_000_000, order=50)
    book.apply(recorded(booked=(part,), realised_units=0))
    book.apply(rest(0.2))
    assert book.unbooked == {}


def test_a_pending_order_that_is_listed_again_is_not_ending() -> None:
    book = with_pending()
    book.replay([*sent("C", kind=OrderKind.CANCEL, target=50), applied("C")])
    book.apply(events.PendingAdopted(at_ns=AT, order=PENDING))
    assert (book.ending, book.pending[50].version) == ({}, book.version)
    book.replay([pending_closed(), pending_closed()])
    assert (book.pending, book.ending) == ({}, {})


# The account, its history, and what the journal lacks.


def lived_book() -> Book:
    """A book of account 1 that has something of everything."""
    book = make.bound_book(P, make.position(8), account=make.NETTING)
    book.replay([recorded(), corrected(make.position(7, volume=0.1), "volume")])
    book.apply(recorded(shares=(events.Share(70, 3, 5),)))
    book.apply(corrected(make.position(7, volume=0.1), "volume"))
    book.apply(events.PositionClosed(at_ns=AT, position=make.position(8), because="gone"))
    book.apply(events.PendingAdopted(at_ns=AT, order=PENDING))
    book.replay([*sent("C", kind=OrderKind.CANCEL, target=50), applied("C")])
    book.unbooked[70] = Unbooked("EURUSD", 1, 7)
    book.apply(events.HistoryCompared(at_ns=AT, since_msc=1, until_msc=2, agreed=3))
    book.realised_closed_units = 5
    return book


def kept(book: Book) -> dict[str, Any]:
    names = "closed unexplained changed_ns unbooked ending recent claims realised_closed_units"
    names += " compared agreed_msc"
    return {name: getattr(book, name) for name in names.split()}


@pytest.mark.parametrize("changes", [{"login": 2}, {"server": "Other"}])
def test_nothing_of_another_account_is_kept(changes: dict[str, Any]) -> None:
    book = lived_book()
    assert all(kept(book).values())
    account = msgspec.structs.replace(make.NETTING, **changes)
    book.apply(make.bound(account))
    assert not any(kept(book).values()), kept(book)
    assert book.compared is None
    assert book.account == make.bound(account)
    # The new one starts like a book of its own.
    book.unbooked[1] = Unbooked("EURUSD", 1, 7)
    assert book.unbooked.of(P) == {1}


def test_the_same_account_again_keeps_all_of_it() -> None:
    book = lived_book()
    before = kept(book)
    book.apply(make.bound(msgspec.structs.replace(make.NETTING, currency_digits=3)))
    assert kept(book) == before
    assert book.account is not None
    assert book.account.currency_digits == 3


def own_and_strangers() -> Book:
    """A netting account with our position 7, a stranger's 8 without a magic, a robot's 9."""
    book = Book().replay([make.bound(make.NETTING), make.created("A", Side.SELL, 0.2, magic=3)])
    book.apply(make.filled("A", 7, Side.SELL, 0.2, 1.06))
    for number, (symbol, magic) in {8: ("GBPUSD", 0), 9: ("USDJPY", 5)}.items():
        book.apply(adopted(make.position(number, symbol=symbol, magic=magic)))
    return book


def test_a_margin_mode_that_changes_counts_anew_whose_the_positions_are() -> None:
    book = own_and_strangers()
    hedging = msgspec.structs.replace(make.NETTING, margin_mode=MarginMode.HEDGING)
    book.apply(make.bound(hedging))
    assert book.claims == {}
    book.apply(make.bound(make.NETTING))
    assert {key: (c.symbol, c.magic, c.units) for key, c in book.claims.items()} == {
        "A": ("EURUSD", 3, -20_000_000),
        "9": ("USDJPY", 5, 1_000_000),
    }


def test_an_account_that_is_bound_for_the_first_time_counts_nothing_anew() -> None:
    book = make.book_of(make.position(9, magic=5)).replay([make.bound(make.NETTING)])
    assert book.claims == {}
    book = own_and_strangers()
    before = dict(book.claims)
    exchange = msgspec.structs.replace(make.NETTING, margin_mode=MarginMode.EXCHANGE)
    book.apply(make.bound(exchange))
    assert book.claims == before


def test_only_a_comparison_that_found_nothing_moves_the_time_of_agreement() -> None:
    whole = events.HistoryCompared(at_ns=AT, since_msc=1, until_msc=20, agreed=3)
    torn = events.HistoryCompared(at_ns=AT, since_msc=1, until_msc=30, agreed=3, changed=1)
    book = make.bound_book().replay([whole, torn])
    assert (book.compared, book.agreed_msc) == (torn, 20)


def test_a_loss_stands_until_a_person_accepts_it() -> None:
    mark = RecordMark("r", 9)
    first = events.LossFound(at_ns=AT, because="a backup", orders=2, record=mark)
    second = events.LossFound(at_ns=AT, because="once more")
    book = Book().replay([first, second])
    assert (book.loss, book.recalled) == (second, mark)
    book.apply(events.LossAccepted(at_ns=AT, by="Mary"))
    assert (book.loss, book.recalled) == (None, mark)


def test_a_halt_stands_at_its_position_until_that_is_gone() -> None:
    book = make.bound_book(P)
    halt = events.HaltRaised(at_ns=AT, symbol="EURUSD", identifier=7, order_id="A", because="x")
    book.apply(halt)
    assert book.halts == {7: halt}
    book.apply(closed())
    assert book.halts == {}


# Orders that are over: the newest are kept.


def test_the_oldest_finished_orders_are_forgotten_with_their_keys_and_tickets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "FINISHED_KEPT", 2)
    book = Book()
    for number in range(1, 5):
        name, ticket = f"L{number}", 50 + number
        book.replay([*sent(name, kind=OrderKind.LIMIT, key=f"k{number}"), applied(name, ticket)])
    assert list(book.finished) == list(book.orders) == ["L3", "L4"]
    assert (set(book.by_key), set(book.orders_by_ticket)) == ({"k3", "k4"}, {53, 54})


def test_forgetting_an_order_leaves_the_ticket_to_the_one_that_has_it_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "FINISHED_KEPT", 0)
    book = Book().replay([make.created("A", Side.BUY, 0.2), make.filled("A", 7, Side.BUY, 0.2, 1)])
    book.replay([*sent("B", Side.SELL, 0.1, position=7), make.filled("B", 7, Side.SELL, 0.05, 1)])
    book.finished["B"] = None
    filling.finish(book, "B")
    filling.finish(book, "nobody")
    assert set(book.orders) == {"A"}
    assert book.orders_by_ticket[7].order_id == "A"


def test_only_so_many_closed_positions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "CLOSED_KEPT", 2)
    rows = [make.position(number) for number in (1, 2, 3)]
    book = make.bound_book(*rows)
    for row in rows:
        book.apply(events.PositionClosed(at_ns=AT, position=row, because="gone"))
    assert list(book.closed) == [2, 3]


def test_a_filled_order_has_its_fill() -> None:
    book = Book().replay([*sent("A"), make.filled("A", 7, Side.BUY, 0.1, 1.06)])
    order = book.orders["A"]
    assert (order.ticket, order.filled_volume, order.fill_price) == (7, 0.1, 1.06)
    assert (order.fill_ns, order.status) == (make.NOW_NS, OrderStatus.FILLED)


def test_results_of_positions_that_left_add_up() -> None:
    book = make.bound_book(P, make.position(8, volume=0.2))
    eight = msgspec.structs.replace(closed(), position=make.position(8, volume=0.2))
    exits = (closed(), eight)
    for number, event in enumerate(exits):
        counted = (BookedDeal(90 + number, 5, 0),)
        book.apply(
            msgspec.structs.replace(event, booked=counted, deals=(90 + number,), realised_units=5)
        )
    assert (book.realised_units, book.realised_closed_units) == (10, 10)
    # A list shows it again: what it brought is its own once more, and counts once.
    book.apply(adopted(make.position(8, volume=0.2)))
    assert (book.realised_units, book.realised_closed_units) == (10, 5)
    assert (book.holdings[8].deals, book.holdings[8].explained_units) == ((91,), 0)
    assert book.holdings[8].mark == make.position(8, volume=0.2)
    assert list(book.closed) == [7]


def test_a_missing_position_that_closed_is_missing_no_more() -> None:
    book = make.bound_book(P)
    book.replay([events.PositionMissing(at_ns=AT, position=P, because="not listed"), closed()])
    assert book.missing == {}


def test_an_order_that_ended_while_we_cancelled_it_is_asked_about_no_more() -> None:
    book = with_pending()
    book.replay([*sent("C", kind=OrderKind.CANCEL, target=50), applied("C")])
    assert book.ending == {50: PENDING}
    book.apply(pending_closed())
    assert book.ending == {}


def test_deals_of_our_pending_order_are_its_strategys_lots_in_the_symbol() -> None:
    book = make.bound_book(P, account=make.NETTING)
    book.replay([*sent("L", kind=OrderKind.LIMIT, magic=3), applied("L", 50)])
    book.apply(recorded(shares=(events.Share(50, 9, 5),)))
    assert {key: (c.symbol, c.magic, c.units) for key, c in book.claims.items()} == {
        "L": ("EURUSD", 3, 5)
    }


# What a book answers.


def test_a_new_book_knows_nothing() -> None:
    book = Book()
    assert (book.version, book.realised_units, book.agreed_msc, book.touched_ns(7)) == (0, 0, 0, 0)
    assert (book.account, book.bound, book.loss, book.compared, book.recalled) == (None,) * 5
    assert (book.nets, book.shares_positions) == (True, False)


def test_a_position_is_found_by_the_ticket_that_it_has_now() -> None:
    """On a netting account the ticket changes, and another position's identifier is the same."""
    moved = make.position(99, identifier=7)
    book = make.book_of(make.position(6), moved, make.position(8))
    assert book.holding_by_ticket(99) is book.holdings[7]
    assert book.holding_by_ticket(8) is book.holdings[8]
    assert book.holding_by_ticket(7) is None
    assert book.holding_by_ticket(5) is None


@pytest.mark.parametrize(
    ("shown", "strategy"), [((3 << 32) | 99, 3), ((4 << 32) | 99, (4 << 32) | 99), (0, 0)]
)
def test_a_magic_number_with_a_token_is_told_as_its_strategys(shown: int, strategy: int) -> None:
    """As long as it is the number that our order carried: a broker may show another."""
    book = Book().replay(sent("A", magic=3, wire_magic=(3 << 32) | 99))
    book.apply(make.filled("A", 7, Side.BUY, 0.2, 1.06))
    holding = book.holdings[7]
    holding.position = msgspec.structs.replace(holding.position, magic=shown)
    assert book.strategy_of(holding) == strategy
    holding.order_ids = ["forgotten since"]
    assert book.strategy_of(holding) == shown
    holding.order_ids = []
    assert book.strategy_of(holding) == shown
