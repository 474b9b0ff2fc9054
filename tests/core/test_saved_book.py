"""A book that was saved and restored is the book that it was: every attribute of everything in it.

`Book.state` cannot tell: it is made of the very bytes that a checkpoint keeps.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book import fills as filling
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Holding
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.terms import Terms
from trueup.core.deals import BookedDeal
from trueup.core.gateway_record import RecordMark
from trueup.core.model import Side
from trueup.core.tokens import magic_with_token, token_of

AT: dict[str, Any] = {"at_ns": make.NOW_NS}
MARK = RecordMark(id="r1", last=5)
GBPUSD: dict[str, Any] = {"symbol": "GBPUSD"}


def intent(order_id: str, side: Side = Side.BUY, **more: Any) -> events.Event:
    """An intent in which nothing is left out that can be said of it."""
    token = token_of(order_id)
    said: dict[str, Any] = {
        "magic": 7,
        "wire_magic": magic_with_token(7, token),
        "token": token,
        "key": f"key of {order_id}",
        "why": "a signal",
        "by_desk": True,
        "sl": 1.04,
        "tp": 1.06,
    }
    return make.created(order_id, side, 0.2, **(said | more))


def sent(order_id: str) -> events.Event:
    more: dict[str, Any] = {"record": MARK, "time_offset_sec": 7_200, "server_time_msc": 9}
    return events.SendStarted(**AT, order_id=order_id, **more)


def life() -> list[events.Event]:
    """The events of a netting account on which nothing is left out that can be in a book."""
    held, gone = make.position(90, **GBPUSD), make.position(91, **GBPUSD)
    share = events.Share(order=777, magic=8, units=-10_000_000)
    doubt: dict[str, Any] = {**AT, "error": "no reply"}
    return [
        make.bound(make.NETTING),
        # Filled, with deals that are recorded; then grown, with deals that are still to come.
        intent("A"),
        sent("A"),
        make.filled("A", 7, Side.BUY, 0.2, 1.0543),
        events.DealsRecorded(
            **AT,
            position=make.position(7, volume=0.2),
            deals=(1, 2),
            realised_units=-70_000_000,
            because="opened",
            shares=(share,),
            booked=(BookedDeal(1, -70_000_000, 20_000_000, order=7), BookedDeal(2, 0, 0)),
        ),
        intent("B"),
        sent("B"),
        make.filled("B", 70, Side.BUY, 0.2, 1.0544),
        # Adopted; one of the two is missing, and contradicts the journal.
        events.PositionAdopted(**AT, position=held),
        events.PositionMissing(**AT, position=held, because="not listed"),
        events.HaltRaised(**AT, symbol="GBPUSD", identifier=90, order_id="A", because="case C"),
        events.PositionAdopted(**AT, position=gone),
        events.PositionClosed(**AT, position=gone, because="by a person", realised_units=5),
        events.DealsRecorded(
            **AT, position=gone, deals=(3,), realised_units=123_000_000, because="closed"
        ),
        # An order about a position that the book does not have.
        intent("K", foreign=(make.position(95),), position=95),
        # Two in doubt, the younger one first; a pending order; a cancellation.
        intent(
            "C",
            position=7,
            terms=Terms(3, "IOC"),
            comment="breakout",
            stoplimit=1.05,
            position_by=8,
            by="Ada",
        ),
        intent("D", Side.SELL, target=50, kind=OrderKind.CANCEL),
        sent("D"),
        events.OrderInDoubt(**doubt, order_id="D"),
        sent("C"),
        events.OrderInDoubt(**doubt, order_id="C"),
        intent("E", kind=OrderKind.LIMIT),
        events.OrderApplied(**AT, order_id="E", ticket=50),
        intent("L", kind=OrderKind.MODIFY_ORDER, target=50, price=1.06, stoplimit=1.05),
        events.OrderApplied(**AT, order_id="L"),
        # Another one that was cancelled, and a position whose price moved.
        intent("I", kind=OrderKind.LIMIT),
        events.OrderApplied(**AT, order_id="I", ticket=51),
        intent("J", target=51, kind=OrderKind.CANCEL),
        events.OrderApplied(**AT, order_id="J"),
        events.PositionCorrected(
            **AT,
            local=held,
            remote=msgspec.structs.replace(held, price_open=1.1),
            fields=("price_open",),
        ),
        *(one for name in "FGH" for one in (intent(name), refused(name))),
        intent("I"),
        events.OrderCanceled(**AT, order_id="I", because="no trace", unproven=True),
        events.HistoryCompared(**AT, since_msc=1, until_msc=2, agreed=3),
        events.HistoryCompared(**AT, since_msc=2, until_msc=4, agreed=3, changed=1),
        events.LossFound(**AT, because="a backup", orders=2, record=RecordMark("r1", 9, 5)),
        events.OutcomeDelivered(**AT, order_id="H"),
        events.FiguresNoted(
            **AT, balance=1.0, credit=2.0, because="first", currency="USD", digits=3, deals_msc=4
        ),
        events.LimitReached(**AT, limit="daily loss", reason="a loss", until="a reset", until_ns=5),
        events.TradingPaused(**AT, by="Ada", mode=events.TradingMode.PAUSED, why="lunch"),
        make.proposed("proposal-1", key="waits"),
        make.proposed("proposal-2", key="ended"),
        events.ProposalEnded(
            **AT, proposal_id="proposal-2", end=events.ProposalEnd.APPROVED, by="Ada", order_id="A"
        ),
        # A key that another order had before.
        intent("M", key="key of K"),
    ]


def refused(order_id: str) -> events.Event:
    return events.OrderRejected(**AT, order_id=order_id, error="no money")


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    """A book in which something is in everything, and that has forgotten finished orders."""
    monkeypatch.setattr(filling, "FINISHED_KEPT", 3)
    book = Book().replay(life())
    assert {"A", "D", "H", "I"} <= book.orders.keys()
    assert "RECOVERY_91" not in book.orders
    return book


def in_order(value: Any) -> Any:
    """Return a value so that two are equal where also the order of what is in them is."""
    return list(value.items()) if isinstance(value, dict) else value


def without_marks(book: Book) -> Book:
    """Return a book without the broker's latest quotations, which are no part of it."""
    for holding in book.holdings.values():
        holding.mark = None
    return book


@pytest.mark.parametrize("name", sorted(vars(Book())))
def test_every_attribute_of_a_book_outlives_a_checkpoint(book: Book, name: str) -> None:
    # One that the book of this test leaves empty would not be seen to be forgotten.
    assert vars(book)[name] != vars(Book())[name]
    again = Book.restore(book.state())
    assert in_order(vars(again)[name]) == in_order(vars(without_marks(book))[name])


def fields_of(kind: type[msgspec.Struct]) -> list[Any]:
    return [
        pytest.param(kind, field.name, field.default, id=f"{kind.__name__}.{field.name}")
        for field in msgspec.structs.fields(kind)
        if field.name != "mark"
    ]


@pytest.mark.parametrize(("kind", "name", "default"), [*fields_of(Holding), *fields_of(Order)])
def test_every_attribute_of_what_is_in_a_book_outlives_a_checkpoint(
    book: Book, kind: type[msgspec.Struct], name: str, default: Any
) -> None:
    def values(of: Book) -> list[Any]:
        rows = of.orders if kind is Order else of.holdings
        return [getattr(row, name) for row in rows.values()]

    assert any(value != default for value in values(book))
    assert values(Book.restore(book.state())) == values(book)


def test_a_restored_book_goes_on_like_the_one_that_was_replayed(book: Book) -> None:
    """What is one order under several names stays one."""
    again = Book.restore(book.state())
    settled = events.OrderSettled(
        **AT, order_id="C", ticket=71, volume=0.2, price=1.05, because="by its token"
    )
    corrected = events.PositionCorrected(
        **AT, local=make.position(7), remote=make.position(7), fields=("volume",)
    )
    for one in (book, again):
        one.replay([settled, corrected])
        assert one.orders["C"] is one.by_key["key of C"] is one.orders_by_ticket[71]
        assert one.orders["C"].status is OrderStatus.FILLED
        assert list(one.in_doubt) == ["D"]
    without_marks(book)
    assert {name: in_order(value) for name, value in vars(without_marks(again)).items()} == {
        name: in_order(value) for name, value in vars(book).items()
    }


# Books that older versions saved.

NEW: dict[str, Any] = {
    "changed": [],
    "unbooked": [],
    "ending": [],
    "recent": [],
    "booked": [],
    "explained_units": None,
    "averaged": 0,
    "went_on_as": [],
    "time_update_msc": 0,
    "volume_initial": 0.0,
}


def as_before(value: Any) -> Any:
    """Return what a book is saved as, without the names that are newer."""
    if isinstance(value, dict):
        names = {*NEW, "deals"} if "touched_ns" in value and "position" not in value else NEW
        # Pending orders have it since they are modified, the others always had it.
        names = {*names, "touched_ns"} if "order" in value else names
        return {key: as_before(one) for key, one in value.items() if key not in names}
    return [as_before(one) for one in value] if isinstance(value, list) else value


def test_a_book_that_an_older_version_saved_is_restored(book: Book) -> None:
    now = msgspec.json.decode(book.state())
    old = as_before(now)
    assert old != now
    again = Book.restore(msgspec.json.encode(old))
    assert again.realised == book.realised
    assert again.holdings.keys() == book.holdings.keys()
    assert (again.unbooked, again.ending, again.recent, again.changed_ns) == ({}, {}, {}, {})
    for holding in again.holdings.values():
        assert (holding.booked, holding.explained_units) == ((), None)
    # It goes on: the deals of what it holds are counted as a whole.
    again.apply(
        events.DealsRecorded(
            **AT,
            position=make.position(7, volume=0.4),
            deals=(1, 2, 3),
            realised_units=-140_000_000,
            because="added",
            booked=(BookedDeal(3, -70_000_000, 20_000_000, order=70),),
        )
    )
    assert again.realised_units == book.realised_units - 70_000_000
