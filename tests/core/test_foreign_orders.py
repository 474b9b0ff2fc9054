"""An order about a position that the book does not have changes the order, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Account, Entry, History, Position, Side, Snapshot
from trueup.core.policy import Adopt, Policy
from trueup.core.realised.agreement import Counted, compare, counted_in

AT = make.NOW_NS + make.SECOND_NS
FOREIGN = make.position(40, identifier=30, volume=0.3, magic=99)
OURS = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
# Everything in a book but its orders.
PARTS = sorted(
    vars(Book()).keys()
    - {"version", "orders", "orders_by_ticket", "in_doubt", "by_key", "finished"}
)


def closing(order_id: str, volume: float, row: Position = FOREIGN, **more: Any) -> list[Any]:
    """An order of ours, on its way, that closes lots of a position that the book does not have."""
    wish = {"position": row.identifier, "foreign": (row,), "magic": 99, "by_desk": True} | more
    created = make.created(order_id, row.side.opposite, volume, **wish)
    return [created, events.SendStarted(at_ns=make.NOW_NS, order_id=order_id)]


def endings(order_id: str, ticket: int, volume: float) -> list[list[Any]]:
    """Every way on which such an order ends as done."""
    filled = make.filled(order_id, ticket, Side.SELL, volume, 1.06)
    doubt = events.OrderInDoubt(at_ns=AT, order_id=order_id, error="no reply")
    settled = events.OrderSettled(
        at_ns=AT, order_id=order_id, ticket=ticket, volume=volume, price=1.06, because="listed"
    )
    return [[filled], [doubt, filled], [doubt, settled]]


def parts(book: Book) -> list[Any]:
    again = Book.restore(book.state())
    return [getattr(again, name) for name in PARTS]


@given(
    account=st.sampled_from([None, make.ACCOUNT, make.NETTING]),
    held=st.lists(st.sampled_from([7, 8, 9]), unique=True),
    side=st.sampled_from(Side),
    # Some gateways answer with the ticket of the closed position, others with a new one; and the
    # order may have another order's ticket, as the entry of a position in the book.
    ticket=st.sampled_from([40, 30, 77, 7]),
    volume=st.sampled_from([0.1, 0.3]),
    way=st.integers(0, 2),
    saved=st.booleans(),
)
def test_whatever_becomes_of_it_the_book_is_as_it_was(
    account: Account | None,
    held: list[int],
    side: Side,
    ticket: int,
    volume: float,
    way: int,
    saved: bool,
) -> None:
    rows = [make.position(key, side=side, volume=0.2) for key in held]
    book = make.book_of(*rows) if account is None else make.bound_book(*rows, account=account)
    book.unexplained.clear()
    before = parts(book)
    book.replay(closing("A", volume))
    if saved:
        book = Book.restore(book.state())
    book.replay(endings("A", ticket, volume)[way])
    assert parts(book) == before
    order = book.orders["A"]
    assert (order.status, order.filled_volume) == (OrderStatus.FILLED, volume)
    assert ("A" in book.finished, book.in_doubt) == (True, {})
    # A foreign position that is adopted later was not opened by the order that closed lots of it.
    book.apply(events.PositionAdopted(at_ns=AT, position=FOREIGN))
    assert book.orders[book.holdings[30].order_ids[0]].is_stand_in


@pytest.mark.parametrize("account", [make.ACCOUNT, make.NETTING], ids=["hedging", "netting"])
def test_its_position_is_not_adopted_by_the_sync_that_settles_it(account: Account) -> None:
    book = make.bound_book(account=account)
    doubt = events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply")
    book.replay([*closing("A", 0.1, token=make.TOKEN), doubt])
    left = msgspec.structs.replace(FOREIGN, volume=0.2)
    past = make.past_order(50, side=Side.SELL, position=30, comment=make.TOKEN, magic=99)
    deals = (
        make.deal(1, 30, Side.BUY, 0.3, magic=99),
        make.deal(2, 30, Side.SELL, 0.1, order=50, entry=Entry.OUT, magic=99),
    )
    seen = make.proven(left, account=account, history=History(60, (past,), deals))
    found = make.planned(book, seen, policy=OURS)
    assert [type(event) for event in found.events] == [events.OrderSettled]
    assert (found.questions, found.order_questions, found.foreign) == ((), (), 1)


def test_its_deals_are_the_others() -> None:
    """Neither from the journal nor from the book does a comparison count them as missing."""
    deals = [make.deal(2, 30, Side.SELL, 0.1, order=50, entry=Entry.OUT, magic=99)]
    history = [make.bound(), *closing("A", 0.1), *endings("A", 50, 0.1)[0]]
    from_journal = Counted()
    for event in history:
        from_journal.take(event)
    for counted in (from_journal, counted_in(Book().replay(history))):
        found = compare(counted, deals, 0, 0)
        assert (found.is_whole, found.of_others) == (True, 1)


# On the guide's wire.


@pytest.mark.parametrize(
    ("listed", "faults", "became"),
    [
        (msgspec.structs.replace(FOREIGN, volume=0.2), (), "OrderSettled"),
        (FOREIGN, (), ""),
        (msgspec.structs.replace(FOREIGN, volume=0.1), (), ""),
        (msgspec.structs.replace(FOREIGN, volume=0.2, side=Side.SELL), (), ""),
        (None, (), ""),
        (None, ("a row that nobody can read",), ""),
    ],
    ids=["done", "not done", "other lots", "turned round", "gone", "partial"],
)
def test_without_evidence_only_exactly_its_effect_settles_it(
    listed: Position | None, faults: tuple[str, ...], became: str
) -> None:
    book = Book().replay(closing("A", 0.1))
    book.apply(events.OrderInDoubt(at_ns=AT, order_id="A", error="no reply"))
    rows = () if listed is None else (listed,)
    seen: Snapshot = make.snapshot(*rows, faults=faults)
    found = make.planned(book, seen, policy=OURS)
    assert [type(event).__name__ for event in found.events] == ([became] if became else [])
    assert found.foreign == len(rows)


def test_a_modification_is_no_close() -> None:
    book = make.bound_book().replay(closing("A", 0.3, kind=OrderKind.MODIFY, sl=1.0, tp=1.2))
    before = parts(book)
    book.apply(events.OrderApplied(at_ns=AT, order_id="A"))
    assert parts(book) == before
