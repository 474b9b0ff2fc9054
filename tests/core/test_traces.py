"""What a reading shows of an order in doubt, and in which words a person reads it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.doubt.lookalikes import Habits, habit
from trueup.core.doubt.trace import Trace
from trueup.core.doubt.traces import trace_of
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.model import (
    Account,
    Deal,
    DealReason,
    Entry,
    History,
    HistoryOrder,
    OrderType,
    Side,
    Snapshot,
)
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import magic_with_token

OPEN, CLOSED = BrokerShows.OPEN, BrokerShows.CLOSED
UNSEEN, NO_TRACE = BrokerShows.UNSEEN, BrokerShows.NO_TRACE
MSC = make.NOW_NS // 1_000_000
BY_TOKEN = "by its token"
BY_RECORD = "by the gateway's record, ticket 7"
MAY_NOT_TRADE = msgspec.structs.replace(make.ACCOUNT, trade_allowed=False)
IN_MAGIC = magic_with_token(3, make.TOKEN)
MARKED: dict[str, Any] = {"magic": 3, "wire_magic": IN_MAGIC}
NO_HABITS: Habits = frozenset()


def shown(
    *positions: Any,
    orders: tuple[HistoryOrder, ...] = (),
    deals: tuple[Deal, ...] = (),
    said: RequestStatus | None = None,
    **more: Any,
) -> Snapshot:
    facts = {
        "history": History(120, orders, deals),
        "requests": () if said is None else (said,),
        "time_offset_sec": 0,
    }
    return make.proven(*positions, **(facts | more))


def trace(
    seen: Snapshot,
    *rivals: Order,
    book: Book | None = None,
    habits: Habits = NO_HABITS,
    **order: Any,
) -> Trace:
    one = make.sent(**order)
    return trace_of(one, [one, *rivals], seen, book or make.book_with(one), habits)


def said(state: RequestState = RequestState.SETTLED, **more: Any) -> RequestStatus:
    facts: dict[str, Any] = {"status": "FILLED", "ticket": 7, "volume": 0.1, "price": 1.06}
    return RequestStatus("A", state, **(facts | more))


def opened(position: int = 7, **more: Any) -> Deal:
    return make.deal(1, position, Side.BUY, 0.1, **({"price": 1.06} | more))


def closed(position: int = 7, **more: Any) -> Deal:
    facts = {"entry": Entry.OUT, "order": 70, "price": 1.07}
    return make.deal(2, position, Side.SELL, 0.1, **(facts | more))


HELD = make.position(7, volume=0.1, price_open=1.06)
FILLED = make.past_order(7, comment=make.TOKEN)
# Another order of ours, which was answered: done, as order 9.
DONE = make.sent("B", ticket=9, status=OrderStatus.FILLED, server_time_msc=MSC, time_offset_sec=0)


def test_without_evidence_nothing_is_seen() -> None:
    assert trace(make.snapshot(HELD)) == Trace(UNSEEN, "this gateway shows no history")


# By the token.


@pytest.mark.parametrize(
    "bearer",
    [
        {"comment": make.TOKEN},
        {"comment": make.TOKEN[:6]},
        {"comment": "rewritten", "magic": IN_MAGIC},
    ],
    ids=["whole", "cut", "in the magic number"],
)
def test_a_token_in_comment_or_magic_number_is_the_order(bearer: dict[str, Any]) -> None:
    position = msgspec.structs.replace(HELD, **bearer)
    assert trace(shown(position), **MARKED) == Trace(
        OPEN, BY_TOKEN, ticket=7, position=7, volume=0.1, price=1.06
    )
    past = make.past_order(7, **bearer)
    assert trace(shown(HELD, orders=(past,), deals=(opened(),)), **MARKED) == Trace(
        OPEN, BY_TOKEN, ticket=7, position=7, volume=0.1, price=1.06
    )


def test_a_working_order_that_bears_its_token_is_open_and_a_market_order_is_waited_for() -> None:
    for bearer in ({"comment": make.TOKEN}, {"comment": "rewritten", "magic": IN_MAGIC}):
        seen = make.proven(history=History(120), orders=(make.pending(50, **bearer),))
        limit = trace(seen, kind=OrderKind.LIMIT, **MARKED)
        assert limit == Trace(OPEN, BY_TOKEN, ticket=50)
        assert trace(seen, **MARKED) == Trace(
            UNSEEN, "the broker still works on it, by its token", ticket=50
        )


@pytest.mark.parametrize(
    "answer", [None, said(status="PLACED", ticket=50)], ids=["token", "record"]
)
def test_an_order_of_which_a_part_was_filled_and_the_rest_works_is_found_as_what_it_is(
    answer: RequestStatus | None,
) -> None:
    part = make.position(50, volume=0.04, price_open=1.06, comment=make.TOKEN)
    token = make.TOKEN if answer is None else ""
    seen = make.proven(
        part,
        history=History(120),
        orders=(make.pending(50, volume=0.06, comment=token),),
        requests=() if answer is None else (answer,),
    )
    order: dict[str, Any] = MARKED if answer is None else {"token": ""}
    words = BY_TOKEN if answer is None else "by the gateway's record, ticket 50"
    limit = trace(seen, kind=OrderKind.LIMIT, **order)
    assert limit == Trace(OPEN, words, ticket=50)
    # The rest of a market order follows, at an exchange: how many lots it becomes is not known.
    told = "0.04 of 0.10 lots are filled, and the broker still works on the rest (order 50)"
    market = trace(seen, **order)
    assert market == Trace(UNSEEN, f"{told}, {words}", ticket=50, position=50)
    # Also where the part went into a position that was there.
    if answer is None:
        grown = make.position(7, volume=0.54, comment=make.TOKEN)
        more = msgspec.structs.replace(seen, positions=(grown,))
        found = trace(more, **order)
        assert (found.shows, found.ticket, found.position) == (UNSEEN, 50, 7)


def test_an_answered_order_that_no_list_has_is_not_the_broker_s_own_order_with_its_token() -> None:
    """The position of its first part was split, and its own row is late."""
    again = make.position(52, identifier=50, volume=0.06, comment=make.TOKEN)
    split = make.past_order(52, position=50, filled=0.06, comment=make.TOKEN)
    answer = said(RequestState.UNKNOWN, status="UNKNOWN", ticket=50, volume=0.0, price=None)
    seen = make.proven(again, history=History(120, (split,)), requests=(answer,))
    found = trace(seen, **MARKED)
    assert (found.shows, found.position) == (UNSEEN, 50)
    own = make.past_order(50, position=50, filled=0.04, comment=make.TOKEN, state="canceled")
    seen = make.proven(again, history=History(120, (own, split)), requests=(answer,))
    found = trace(seen, **MARKED)
    assert (found.shows, found.ticket, found.volume) == (OPEN, 50, 0.04)


def test_a_market_order_that_is_listed_with_no_lots_left_is_filled() -> None:
    """An exchange lists an order for a moment after its last deal."""
    whole = make.position(50, volume=0.1, price_open=1.06, comment=make.TOKEN)
    done = make.pending(50, volume=0.0, comment=make.TOKEN)
    seen = make.proven(whole, history=History(120), orders=(done,))
    found = Trace(OPEN, BY_TOKEN, ticket=50, position=50, volume=0.1, price=1.06)
    assert trace(seen, **MARKED) == found


@pytest.mark.parametrize(("age_msc", "volume"), [(9_999, 0.0), (10_000, 0.04)])
def test_a_part_of_an_order_that_no_list_has_yet_is_not_taken_for_the_whole(
    age_msc: int, volume: float
) -> None:
    """The list of orders is late: the rest may work, or be filled by now."""
    part = make.position(7, volume=0.04, price_open=1.06, comment=make.TOKEN)
    deal = make.deal(1, 7, Side.BUY, 0.04, price=1.06, time_msc=MSC)
    seen = shown(part, deals=(deal,), server_time_msc=MSC + age_msc)
    found = trace(seen, **MARKED)
    assert (found.shows, found.volume) == (OPEN if volume else UNSEEN, volume)


def test_the_broker_s_own_orders_with_a_token_are_not_taken_for_one_that_works() -> None:
    """Variation margin opened the position again in which a part of the order is."""
    again = make.position(52, identifier=7, volume=0.5, comment=make.TOKEN)
    own = tuple(make.past_order(ticket, position=7, comment=make.TOKEN) for ticket in (51, 52))
    pending = make.pending(50, volume=0.06, comment=make.TOKEN)
    seen = make.proven(again, history=History(120, own), orders=(pending,), account=make.NETTING)
    found = trace(seen, kind=OrderKind.LIMIT, **MARKED)
    assert found == Trace(OPEN, BY_TOKEN, ticket=50)
    # One that ended while the gateway read is in both lists, and has ended.
    ended = make.past_order(50, position=7, comment=make.TOKEN, state="canceled", filled=0.0)
    seen = make.proven(again, history=History(120, (ended, *own)), orders=(pending,))
    found = trace(seen, kind=OrderKind.LIMIT, **MARKED)
    assert (found.shows, found.is_final) == (NO_TRACE, True)


@pytest.mark.parametrize("magic", [3, IN_MAGIC])
def test_a_number_that_only_looks_like_a_token_s_is_no_token(magic: int) -> None:
    """Where no token was put into the magic number, its low half says nothing."""
    for seen in (
        shown(msgspec.structs.replace(HELD, magic=IN_MAGIC)),
        shown(orders=(make.past_order(7, magic=IN_MAGIC, by_program=False),)),
        make.proven(history=History(120), orders=(make.pending(50, magic=IN_MAGIC),)),
    ):
        found = trace(seen, magic=magic, wire_magic=magic)
        assert found == Trace(NO_TRACE, "nothing fits in the last 120 s of history")


def test_an_order_without_a_token_is_not_found_by_none() -> None:
    assert trace(shown(msgspec.structs.replace(HELD, comment="x")), token="").shows is NO_TRACE


def test_the_record_knows_the_ticket_of_the_order_whose_position_was_opened_again() -> None:
    again = make.position(20, identifier=7, volume=0.1, price_open=1.06, comment=make.TOKEN)
    found = Trace(OPEN, BY_TOKEN, ticket=7, position=7, volume=0.1, price=1.06)
    assert trace(shown(again, said=said())) == found
    # Its open price is that of the re-opening, and not that of the fill.
    assert trace(shown(again)) == msgspec.structs.replace(found, ticket=20, price=None)
    without = said(RequestState.UNKNOWN, status="", ticket=0)
    assert trace(shown(again, said=without)) == msgspec.structs.replace(found, ticket=20)


@pytest.mark.parametrize("account", [make.ACCOUNT, make.NETTING])
def test_variation_margin_moves_the_price_of_a_position_and_not_that_of_its_order(
    account: Account,
) -> None:
    moved = make.position(7, volume=0.1, price_open=1.05, comment=make.TOKEN)
    settled = make.deal(
        3, 7, Side.SELL, 0.0, reason=DealReason.VARIATION_MARGIN, entry=Entry.OUT, order=30
    )
    found = Trace(OPEN, BY_TOKEN, ticket=7, position=7, volume=0.1, price=1.06)
    assert trace(shown(moved, deals=(opened(), settled), account=account)) == found
    # Its own deals are enough, and so is the settlement to know that the price is another.
    assert trace(shown(moved, deals=(opened(),), account=account)) == found
    unknown = msgspec.structs.replace(found, price=None)
    assert trace(shown(moved, deals=(settled,), account=account)) == unknown
    of_another = msgspec.structs.replace(settled, position=8)
    as_shown = msgspec.structs.replace(found, price=1.05)
    assert trace(shown(moved, deals=(of_another,), account=account)) == as_shown


def test_an_order_without_a_ticket_is_not_the_one_that_opened_the_shared_position() -> None:
    """Seed 9052165: the position bears our token, and has the ticket of another order."""
    held = make.position(7, volume=0.4)
    book = make.bound_book(account=make.NETTING)
    book.replay([make.created("B", Side.BUY, 0.4), make.filled("B", 7, Side.BUY, 0.4, 1.05)])
    grown = msgspec.structs.replace(held, volume=0.5, comment=make.TOKEN)
    found = trace(shown(grown, account=make.NETTING), book=book)
    words = "it went into position 7, and does not show itself yet"
    assert (found.shows, found.words) == (UNSEEN, words)
    # By the record, or as soon as the order itself is shown, the ticket is known.
    found = trace(shown(grown, said=said(ticket=8), account=make.NETTING), book=book)
    assert (found.shows, found.ticket) == (OPEN, 8)
    itself = msgspec.structs.replace(FILLED, ticket=8, comment=make.TOKEN)
    found = trace(shown(grown, orders=(itself,), account=make.NETTING), book=book)
    assert (found.shows, found.ticket) == (OPEN, 8)


@pytest.mark.parametrize("shows", ["its order", "its deal", "its time"])
def test_nor_the_one_that_opened_what_a_stranger_had(shows: str) -> None:
    """Seed 21017111: somebody opened it by hand, our order added, and showed late."""
    opened_msc = MSC - 60_001 if shows == "its time" else MSC
    grown = make.position(7, volume=0.5, comment=make.TOKEN, time_msc=opened_msc)
    facts: dict[str, Any] = {
        "orders": (make.past_order(7, volume=0.4, filled=0.4),) if shows == "its order" else (),
        "deals": (make.deal(1, 7, Side.BUY, 0.4, magic=5),) if shows == "its deal" else (),
        "server_time_msc": MSC,
    }
    found = trace(shown(grown, account=make.NETTING, **facts), server_time_msc=MSC)
    words = "it went into position 7, and does not show itself yet"
    assert found == Trace(UNSEEN, words)
    # A position of a hedging account is that of its order alone.
    alone = msgspec.structs.replace(grown, volume=0.1)
    del facts["deals"]
    assert trace(shown(alone, **facts), server_time_msc=MSC).shows is OPEN


@pytest.mark.parametrize("account", [make.ACCOUNT, make.NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("history", [None, History(120)], ids=["unread", "late"])
def test_a_position_does_not_say_that_its_order_was_filled_in_full(
    account: Account, history: History | None
) -> None:
    """Seed 21010934: a part was filled and the rest cancelled, and the history was not read."""
    part = make.position(7, volume=0.04, price_open=1.06, comment=make.TOKEN)
    words = "it went into position 7, and its history is not visible yet"
    seen = make.proven(part, history=history, account=account)
    assert trace(seen, **MARKED) == Trace(UNSEEN, words, position=7)
    # The record knows it, and so do the deals.
    filled = Trace(OPEN, BY_TOKEN, ticket=7, position=7, volume=0.04, price=1.06)
    recorded = make.proven(part, history=history, account=account, requests=(said(volume=0.04),))
    known = trace(recorded, **MARKED)
    assert (known.shows, known.volume) == (OPEN, 0.04)
    deals = (make.deal(1, 7, Side.BUY, 0.04, price=1.06, magic=IN_MAGIC),)
    assert (
        trace(make.proven(part, history=history, account=account, deals=deals), **MARKED) == filled
    )
    # What is as large as it was asked for was filled in full.
    whole = msgspec.structs.replace(part, volume=0.1)
    full = trace(make.proven(whole, history=history, account=account), **MARKED)
    assert full == msgspec.structs.replace(filled, volume=0.1)


def test_the_price_of_a_fill_is_not_that_at_which_its_position_was_opened_again() -> None:
    """Seed 9040474: variation margin was settled, and the order itself showed late."""
    again = make.position(20, identifier=7, volume=0.1, price_open=1.07, comment=make.TOKEN)
    rolled = make.deal(3, 7, Side.BUY, 0.1, order=20, price=1.07, reason=DealReason.ROLLOVER)
    seen = shown(again, said=said(), deals=(opened(), closed(), rolled))
    assert trace(seen).price == opened().price
    assert trace(shown(again, said=said())).price == 1.06


def test_the_price_of_a_fill_is_not_that_of_the_shared_position_that_it_went_into() -> None:
    """Seed 3002783: the order itself showed late, and its deals or nothing have its price."""
    grown = make.position(7, volume=0.5, price_open=1.05, comment=make.TOKEN)
    answer = said(ticket=8)
    found = Trace(OPEN, BY_TOKEN, ticket=8, position=7, volume=0.1, price=None)
    assert trace(shown(grown, said=answer, account=make.NETTING)) == found
    own = opened(order=8, price=1.07)
    seen = shown(grown, said=answer, account=make.NETTING, deals=(own,))
    assert trace(seen) == msgspec.structs.replace(found, price=1.07)
    # The deals of the position are read apart, where it was asked for them.
    evidence = shown(grown, said=answer, account=make.NETTING).evidence
    assert evidence is not None
    apart = msgspec.structs.replace(evidence, deals=(own,))
    assert trace(msgspec.structs.replace(seen, evidence=apart)) == trace(seen)
    first = msgspec.structs.replace(HELD, comment=make.TOKEN)
    assert trace(shown(first, said=said(), account=make.NETTING)).price == 1.06


# By the gateway's record.


def test_the_ticket_of_the_record_finds_the_past_order_among_others() -> None:
    orders = (make.past_order(6), make.past_order(7), make.past_order(8))
    deals = [make.deal(n, n, Side.BUY, 0.1, price=1.06 + 0.01 * (n - 7)) for n in (6, 7, 8)]
    seen = shown(HELD, orders=orders, deals=tuple(deals), said=said(price=1.09))
    found = Trace(OPEN, BY_RECORD, ticket=7, position=7, volume=0.1, price=1.06)
    assert trace(seen) == found
    # The deals may come later than the order, and the answer had the price.
    seen = shown(HELD, orders=orders, said=said(price=1.09))
    assert trace(seen) == msgspec.structs.replace(found, price=1.09)


def test_the_ticket_of_the_record_finds_the_position() -> None:
    found = Trace(OPEN, BY_RECORD, ticket=7, position=7, volume=0.1, price=1.06)
    assert trace(shown(make.position(6), HELD, said=said())) == found
    # Also where it has another ticket now.
    again = make.position(20, identifier=7, volume=0.1, price_open=1.06)
    assert trace(shown(again, said=said())) == found


def test_the_position_that_an_order_closes_is_not_the_order() -> None:
    """Its ticket may be that of the position in the list; that shows no execution."""
    assert trace(shown(HELD, said=said()), position=7).shows is UNSEEN
    assert trace(shown(make.position(6), said=said()), position=6).shows is UNSEEN


def test_the_ticket_of_the_record_finds_the_working_order() -> None:
    orders = (make.pending(6), make.pending(7))
    seen = make.proven(history=History(120), orders=orders, requests=(said(status="PLACED"),))
    assert trace(seen, kind=OrderKind.LIMIT) == Trace(OPEN, BY_RECORD, ticket=7)
    found = Trace(UNSEEN, f"the broker still works on it, {BY_RECORD}", ticket=7)
    assert trace(seen) == found


@pytest.mark.parametrize(
    ("record", "history", "words"),
    [
        (said(), History(120), f"FILLED {BY_RECORD}; the broker does not show it yet"),
        (said(), None, f"FILLED {BY_RECORD}; the broker does not show it yet"),
        (
            said(RequestState.UNKNOWN, status=""),
            None,
            f"sent {BY_RECORD}; the broker does not show it yet",
        ),
    ],
)
def test_what_the_record_has_and_no_list_shows_yet_is_waited_for(
    record: RequestStatus, history: History | None, words: str
) -> None:
    """However well another order fits: the broker gave ours that ticket."""
    fitting = History(120, (make.past_order(8),)) if history else None
    assert trace(shown(said=record, history=fitting)) == Trace(UNSEEN, words)


def test_a_ticket_without_an_outcome_that_no_history_has_is_absent() -> None:
    record = said(RequestState.UNKNOWN, status="")
    other = make.past_order(8, comment=make.TOKEN[:4])
    words = "the broker shows nothing of ticket 7"
    assert trace(shown(orders=(other,), said=record)) == Trace(NO_TRACE, words)
    assert trace(shown(said=record), book=make.book_with(make.sent(), DONE)) == Trace(
        UNSEEN, "the history lacks order 9, which was done: it is not whole"
    )


def test_a_refusal_in_the_record_comes_before_what_bears_the_token() -> None:
    bearing = msgspec.structs.replace(HELD, comment=make.TOKEN)
    refused = said(status="REJECTED", error="10019 NO_MONEY")
    words = "the gateway's record has it as refused"
    assert trace(shown(bearing, said=refused)) == Trace(
        NO_TRACE, words, is_final=True, refusal="10019 NO_MONEY"
    )


def test_what_the_gateway_still_carries_out_is_waited_for() -> None:
    preparing = RequestStatus("A", RequestState.PREPARED)
    assert trace(shown(said=preparing)) == Trace(UNSEEN, "the gateway is still carrying it out")
    # It has a ticket only when it was answered.
    assert trace(shown(said=said(RequestState.UNKNOWN, status="", ticket=0))).shows is NO_TRACE


# By the only order that fits.


def test_the_only_order_that_fits_is_it_where_something_says_so() -> None:
    cut = make.TOKEN[:4]
    past = make.past_order(7, comment=cut)
    assert trace(shown(HELD, orders=(past,), deals=(opened(),))) == Trace(
        OPEN,
        "the only order that fits",
        ticket=7,
        position=7,
        volume=0.1,
        price=1.06,
        comment=cut,
    )
    working = make.pending(50, comment=cut)
    seen = make.proven(history=History(120), orders=(working,))
    assert trace(seen, kind=OrderKind.LIMIT) == Trace(
        OPEN, "the only order that fits", ticket=50, comment=cut
    )
    # The broker writes that on ours.
    habits = frozenset({habit(make.sent(), "server 7")})
    past = make.past_order(7, comment="server 9")
    seen = shown(HELD, orders=(past,), deals=(opened(),))
    assert trace(seen, habits=habits).shows is OPEN
    assert trace(seen).needs_person


def test_one_that_fits_without_a_sign_is_left_to_a_person() -> None:
    past = make.past_order(7, comment="my robot")
    candidate = Trace(
        OPEN,
        "if it is that one",
        ticket=7,
        position=7,
        volume=0.1,
        price=1.06,
        comment="my robot",
    )
    assert trace(shown(HELD, orders=(past,), deals=(opened(),))) == Trace(
        UNSEEN,
        "fits order 7, and nothing shows that this is ours",
        needs_person=True,
        candidates=(candidate,),
    )


def test_of_several_that_fit_a_person_reads_each() -> None:
    seen = shown(orders=(make.past_order(7, comment="x"), make.past_order(8)))
    found = trace(seen)
    assert (found.shows, found.needs_person) == (UNSEEN, True)
    assert found.words == "fits 2 (order 7, order 8), or other orders fit the same one"
    assert [(one.ticket, one.comment) for one in found.candidates] == [(7, "x"), (8, "")]
    assert {one.words for one in found.candidates} == {
        "it was executed, and its position is not visible yet"
    }


def test_a_candidate_that_still_works_is_told_as_working() -> None:
    working = make.pending(50, type=OrderType.OTHER, comment="x")
    (candidate,) = trace(make.proven(history=History(120), orders=(working,))).candidates
    assert candidate == Trace(
        UNSEEN, "the broker still works on it, if it is that one", ticket=50, comment="x"
    )


def test_one_that_fits_two_orders_in_doubt_is_left_to_a_person() -> None:
    found = trace(shown(orders=(make.past_order(7),)), make.sent("B"))
    assert found.words == "fits 1 (order 7), or other orders fit the same one"


# Absence.


def test_nothing_that_fits_is_no_trace_in_a_history_that_is_whole() -> None:
    nothing = Trace(NO_TRACE, "nothing fits in the last 120 s of history")
    assert trace(shown()) == nothing
    book = make.book_with(make.sent(), DONE)
    assert trace(shown(), book=book) == Trace(
        UNSEEN, "the history lacks order 9, which was done: it is not whole"
    )
    has_it = make.past_order(9, by_program=False)
    assert trace(shown(orders=(has_it,)), book=book) == nothing


def test_an_unread_history_or_a_terminal_that_may_be_loading_proves_no_absence() -> None:
    assert trace(shown(history=None)) == Trace(UNSEEN, "the history could not be read")
    assert trace(shown(account=MAY_NOT_TRADE)) == Trace(
        UNSEEN, "the account may not trade at this terminal now, which may be loading still"
    )


# What became of an order of the history.


@pytest.mark.parametrize("state", ["rejected", "canceled", "expired"])
def test_an_order_that_ended_without_a_fill_left_no_trace_for_good(state: str) -> None:
    past = make.past_order(7, comment=make.TOKEN, filled=0.0, state=state)
    assert trace(shown(orders=(past,))) == Trace(
        NO_TRACE, f"the history has it as {state}, by its token", ticket=7, is_final=True
    )


@pytest.mark.parametrize("filled", [0.01, 0.1, 2.0])
def test_a_part_that_was_filled_counts_however_the_rest_ended(filled: float) -> None:
    past = make.past_order(7, comment=make.TOKEN, filled=filled, volume=2.0, state="canceled")
    found = trace(shown(HELD, orders=(past,), deals=(opened(),)), volume=2.0)
    assert (found.shows, found.volume) == (OPEN, filled)


def test_what_was_done_and_not_told_how_much_counts_as_meant() -> None:
    past = make.past_order(7, comment=make.TOKEN, filled=0.0)
    found = trace(shown(HELD, orders=(past,)), volume=0.3)
    assert (found.shows, found.volume, found.price) == (OPEN, 0.3, None)


def test_the_price_is_the_average_of_its_own_deals_by_volume() -> None:
    deals = (
        make.deal(1, 7, Side.BUY, 0.03, price=1.0),
        make.deal(2, 7, Side.BUY, 0.01, price=1.1),
        make.deal(3, 7, Side.BUY, 0.5, price=2.0, order=8),
    )
    part = make.past_order(7, comment=make.TOKEN, filled=0.04, state="canceled")
    seen = shown(HELD, orders=(part,), deals=(*deals, deals[1]))
    assert (trace(seen).volume, trace(seen).price) == (0.04, 1.025)
    # The last of its deals is not visible yet.
    assert trace(shown(HELD, orders=(FILLED,), deals=deals)).price is None


def test_a_close_is_done_whether_its_position_is_still_there_or_not() -> None:
    close = make.past_order(11, comment=make.TOKEN, position=7, side=Side.SELL)
    deal = closed(order=11)
    for positions in ((), (HELD,)):
        seen = shown(*positions, orders=(close,), deals=(deal,))
        assert trace(seen, position=7, action="SELL") == Trace(
            OPEN, BY_TOKEN, ticket=11, position=7, volume=0.1, price=1.07
        )


def test_a_filled_order_that_is_still_listed_is_open() -> None:
    past = make.past_order(50, comment=make.TOKEN)
    seen = make.proven(history=History(120, (past,)), orders=(make.pending(50),))
    assert trace(seen, kind=OrderKind.LIMIT).shows is OPEN


def test_an_entry_has_closed_only_where_deals_prove_it() -> None:
    closed_since = Trace(CLOSED, BY_TOKEN, ticket=7, position=7, volume=0.1, price=1.06)
    assert trace(shown(orders=(FILLED,), deals=(opened(), closed()))) == closed_since
    assert trace(shown(orders=(FILLED,), deals=(opened(),))) == Trace(
        UNSEEN, "it was executed, and its position is not visible yet"
    )
    another = make.position(8)
    assert trace(shown(another, orders=(FILLED,), deals=(opened(), closed()))) == closed_since


@pytest.mark.parametrize(("after_ms", "is_waited_for"), [(0, True), (9_999, True), (10_000, False)])
def test_a_position_that_was_closed_to_be_opened_again_is_waited_for_ten_seconds(
    after_ms: int, *, is_waited_for: bool
) -> None:
    """By the trade server's clock; and from the last time that it was closed so."""
    rolled: dict[str, Any] = {"reason": DealReason.ROLLOVER, "time_msc": MSC - after_ms}
    seen = shown(orders=(FILLED,), deals=(opened(), closed(**rolled)))
    found = trace(seen)
    if is_waited_for:
        assert found == Trace(
            UNSEEN,
            "it was executed, and its position closed to be opened again, which is not visible yet",
        )
    else:
        assert found.shows is CLOSED


@pytest.mark.parametrize("ahead_sec", [0, 3_600])
def test_a_position_whose_successor_is_shown_is_waited_for_no_longer(ahead_sec: int) -> None:
    """Seed 9037154: the trade server's clock was set back by an hour after the rollover."""
    out_msc = MSC + 1_000 * ahead_sec
    rolled: dict[str, Any] = {"reason": DealReason.ROLLOVER, "time_msc": out_msc}
    again = make.deal(3, 9, Side.BUY, 0.1, **rolled)
    shown_now = (opened(), closed(**rolled), again)
    assert trace(shown(orders=(FILLED,), deals=shown_now)).shows is CLOSED
    assert trace(shown(orders=(FILLED,), deals=shown_now[:2])).shows is UNSEEN


def test_the_last_time_that_it_was_closed_to_be_opened_again_counts() -> None:
    day_msc = 86_400_000
    first = closed(reason=DealReason.ROLLOVER, time_msc=MSC - day_msc)
    again = make.deal(3, 7, Side.BUY, 0.1, time_msc=MSC - day_msc // 2)
    last = make.deal(
        4, 7, Side.SELL, 0.1, entry=Entry.OUT, reason=DealReason.ROLLOVER, time_msc=MSC
    )
    deals = (opened(), first, again, last)
    assert trace(shown(orders=(FILLED,), deals=deals)).shows is UNSEEN
    ended = msgspec.structs.replace(last, reason=DealReason.STOP_LOSS)
    assert trace(shown(orders=(FILLED,), deals=(*deals[:3], ended))).shows is CLOSED


def test_a_position_that_was_closed_is_known_though_its_counted_entry_is_archived() -> None:
    """Seed 3004074: an order reduced a netting position, and a stop closed the rest."""
    held = make.position(7, volume=0.2, side=Side.SELL)
    book = make.bound_book(held, account=make.NETTING)
    book.apply(make.counting(held, make.deal(1, 7, Side.SELL, 0.2, order=7)))
    own = make.deal(2, 7, Side.BUY, 0.1, entry=Entry.OUT, order=8, price=1.06)
    rest = make.deal(3, 7, Side.BUY, 0.1, entry=Entry.OUT, order=9)
    filled = msgspec.structs.replace(FILLED, ticket=8)
    seen = shown(orders=(filled,), deals=(own, rest), account=make.NETTING)
    found = trace(seen, book=book)
    assert (found.shows, found.ticket, found.price) == (CLOSED, 8, 1.06)
    assert trace(shown(orders=(filled,), deals=(own,)), book=book).shows is UNSEEN
    assert trace(shown(orders=(filled,)), book=book).shows is UNSEEN
    assert trace(seen).shows is UNSEEN
