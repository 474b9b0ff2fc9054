"""A journal that lacks its newest events: what is said, what is recalled, and who may accept it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.gateway_record import RecordMark, SentOrder
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import Lost, SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.look.waited import by_dates
from trueup.core.model import Side
from trueup.core.sync.loss import for_loss, hold_of, known_marks, loss_id
from trueup.core.sync.plan import Plan
from trueup.core.tokens import magic_with_token, token_of

NOW_NS = make.NOW_NS + make.SECOND_NS
MARK = RecordMark("r", 9)
TOKEN = token_of("A")
ENTRY = SentOrder(
    "A",
    "SELL",
    "EURUSD",
    volume=0.3,
    price=1.06,
    sl=1.1,
    tp=1.0,
    magic=magic_with_token(3, TOKEN),
    comment=TOKEN,
    key="mine",
    server_time_msc=77,
)


def lost(*orders: SentOrder, count: int = 0, is_new: bool = False) -> Lost:
    return Lost(orders, count or len(orders), "bot", is_new)


def taken_in(found: Lost | None, book: Book | None = None, *, bare: bool = False) -> Outcome:
    """What a loss comes to at a look that has the gateway's mark of its record."""
    seen = make.snapshot() if bare else make.proven(record=MARK)
    inputs = SyncInputs(
        book=book or make.bound_book(),
        snapshot=seen,
        policy=make.OURS,
        asked_version=0,
        asked_ns=NOW_NS,
        now_ns=NOW_NS,
        waited=by_dates(NOW_NS),
        lost=found,
    )
    outcome = Outcome()
    for_loss(inputs, outcome)
    return outcome


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            lost(ENTRY),
            "The journal lacks 1 order that it sent, by the gateway's record: an older copy of it "
            "was put back",
        ),
        (
            lost(ENTRY, count=12),
            "The journal lacks 12 orders that it sent, by the gateway's record: an older copy of "
            "it was put back",
        ),
        (
            lost(ENTRY, count=2, is_new=True),
            "The journal has sent nothing, and the gateway's record has 2 orders of stream 'bot': "
            "the journal was deleted, an older copy of it was put back, or another bot has a "
            "stream of the same name",
        ),
    ],
)
def test_a_loss_says_what_shows_it_and_bars_entries_everywhere(found: Lost, said: str) -> None:
    outcome = taken_in(found)
    loss = outcome.events[0]
    assert loss == events.LossFound(at_ns=NOW_NS, because=said, orders=found.count, record=MARK)
    assert isinstance(loss, events.LossFound)
    until = f"a person checks the open positions and runs `trueup approve {loss_id(loss)}`"
    assert outcome.holds == [Hold("", said, until, kind=HoldKind.LOSS, id=loss_id(loss))]


def test_a_loss_on_a_reading_without_evidence_has_no_mark() -> None:
    (loss,) = taken_in(lost(count=1), bare=True).events
    assert isinstance(loss, events.LossFound)
    assert loss.record is None


def test_without_a_loss_nothing_is_held() -> None:
    outcome = taken_in(None)
    assert (outcome.events, outcome.holds) == ([], [])


def test_each_loss_has_its_own_short_name_and_always_the_same() -> None:
    first = events.LossFound(at_ns=1, because="a", record=MARK)
    again = events.LossFound(at_ns=2, because="a", orders=3, record=MARK)
    others = [
        events.LossFound(at_ns=1, because="b", record=MARK),
        events.LossFound(at_ns=1, because="a", record=RecordMark("r", 10)),
        events.LossFound(at_ns=1, because="a \udc80", record=None),
    ]
    assert loss_id(first) == loss_id(again)
    assert len({loss_id(one) for one in (first, *others)}) == 4
    # What a person types: it stays the same from version to version.
    assert loss_id(first).startswith("loss-")
    assert len(loss_id(first)) == len("loss-1f3a9c02")
    assert hold_of(first).id == loss_id(first)


# What is recalled.


def recalled(sent: SentOrder, *positions: Any) -> Book:
    book = make.bound_book(*positions)
    return book.replay(taken_in(lost(sent), book).events)


def test_a_lost_order_is_in_doubt_as_it_was_sent() -> None:
    book = recalled(ENTRY)
    order = book.by_key["mine"]
    assert book.in_doubt == {"A": order}
    assert (order.symbol, order.side, order.volume, order.entry_price) == (
        "EURUSD",
        Side.SELL,
        0.3,
        1.06,
    )
    assert (order.sl, order.tp, order.kind, order.position) == (1.1, 1.0, OrderKind.MARKET, 0)
    assert (order.magic, order.wire_magic, order.token) == (3, ENTRY.magic, TOKEN)
    assert (order.entry_ns, order.doubt_ns, order.server_time_msc) == (NOW_NS, NOW_NS, 77)
    assert (order.status, order.by_desk) == (OrderStatus.IN_DOUBT, True)
    assert order.error == "the journal had lost it, and the gateway's record has it"


@pytest.mark.parametrize(
    ("magic", "comment", "strategy"),
    [
        (7, "", 7),
        (7, "by hand", 7),
        (magic_with_token(3, TOKEN), TOKEN, 3),
        (magic_with_token(3, TOKEN), "", magic_with_token(3, TOKEN)),
        (magic_with_token(3, TOKEN), token_of("B"), magic_with_token(3, TOKEN)),
    ],
)
def test_its_strategy_is_told_by_the_magic_number_where_that_carries_its_own_token(
    magic: int, comment: str, strategy: int
) -> None:
    order = recalled(SentOrder("A", "BUY", "EURUSD", magic=magic, comment=comment)).orders["A"]
    assert (order.magic, order.wire_magic, order.side) == (strategy, magic, Side.BUY)


MOVED = make.position(99, identifier=7, side=Side.SELL)


@pytest.mark.parametrize(
    ("sent", "kind", "side", "position"),
    [
        (SentOrder("A", "BUY", type="limit"), OrderKind.LIMIT, Side.BUY, 0),
        (SentOrder("A", "SELL", type="stop"), OrderKind.STOP, Side.SELL, 0),
        # A ticket can change; what it closes is known by its identifier.
        (SentOrder("A", "BUY", position=99), OrderKind.MARKET, Side.BUY, 7),
        (SentOrder("A", "BUY", position=98), OrderKind.MARKET, Side.BUY, 98),
        # A change has the side of what it changes, where that is known.
        (SentOrder("A", "MODIFY", position=99), OrderKind.MODIFY, Side.SELL, 7),
        (SentOrder("A", "MODIFY", position=98), OrderKind.MODIFY, Side.BUY, 98),
        (SentOrder("A", "CANCEL", order=50), OrderKind.CANCEL, Side.BUY, 0),
    ],
)
def test_what_it_asked_for_is_told_by_its_action(
    sent: SentOrder, kind: OrderKind, side: Side, position: int
) -> None:
    order = recalled(sent, MOVED).orders["A"]
    assert (order.kind, order.side, order.position) == (kind, side, position)
    assert order.target == sent.order


# A person accepts it.


def planned(book: Book, approved: dict[str, str]) -> Plan:
    return make.planned(book, make.proven(record=MARK), approved=approved)


def test_entries_wait_until_a_person_accepts_the_loss_by_its_name() -> None:
    book = make.bound_book()
    book.apply(events.LossFound(at_ns=1, because="a backup", record=MARK))
    assert book.loss is not None
    waits = planned(book, {"loss-00000000": "Mary"})
    assert (waits.holds, waits.events) == ((hold_of(book.loss),), ())
    accepted = planned(book, {loss_id(book.loss): "Mary"})
    assert accepted.events == (events.LossAccepted(at_ns=NOW_NS, by="Mary"),)
    assert accepted.holds == ()


# How far each record reached.


def left(order_id: str, record: RecordMark | None) -> list[events.Event]:
    sending = events.SendStarted(at_ns=1, order_id=order_id, record=record)
    return [make.created(order_id, Side.BUY), sending]


@pytest.mark.parametrize(
    ("marks", "recalled_to", "known"),
    [
        ([], None, set()),
        ([None], None, set()),
        ([("r", 3), None, ("r", 5), ("r", 4)], None, {("r", 5)}),
        ([("r", 3), ("s", 2), ("s", 1)], None, {("r", 3), ("s", 2)}),
        ([("r", 3)], ("r", 9), {("r", 9)}),
        ([("r", 3)], ("r", 2), {("r", 3)}),
        ([], ("r", 9), {("r", 9)}),
    ],
)
def test_a_record_is_known_as_far_as_the_newest_order_or_the_last_loss_says(
    marks: list[Any], recalled_to: Any, known: set[tuple[str, int]]
) -> None:
    book = Book()
    for number, mark in enumerate(marks):
        book.replay(left(f"O{number}", None if mark is None else RecordMark(*mark)))
    if recalled_to is not None:
        book.apply(events.LossFound(at_ns=1, because="x", record=RecordMark(*recalled_to)))
    assert {(mark.id, mark.last) for mark in known_marks(book)} == known


@pytest.mark.parametrize(("refused", "keeps"), [(False, "B"), (True, "A")])
def test_a_recalled_order_takes_no_key_of_an_order_that_may_have_been_executed(
    *, refused: bool, keeps: str
) -> None:
    """The gateway carries a key out twice only if the first order under it was refused."""
    book = make.bound_book()
    book.apply(make.created("B", Side.BUY, 0.1, key="mine"))
    if refused:
        book.apply(events.OrderRejected(at_ns=make.NOW_NS, order_id="B", error="no"))
    book.replay(taken_in(lost(ENTRY), book).events)
    assert book.by_key["mine"].order_id == keeps
    assert set(book.in_doubt) == {"A"}
