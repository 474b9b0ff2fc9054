"""Proposals of assistants in a book: their words, ids and ends, and who is an assistant."""

from __future__ import annotations

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events, proposals
from trueup.core.book.book import Book
from trueup.core.book.events import ProposalEnd
from trueup.core.book.proposals import proposal_id, waiting, with_proposal_key
from trueup.core.book.wishes import OrderWish, WishAction, is_assistant, order_key
from trueup.core.model import Side

BUY = OrderWish(WishAction.OPEN, "EURUSD", Side.BUY, 0.1, sl=1.05, tp=1.2)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (BUY, "BUY 0.10L EURUSD, SL 1.05, TP 1.2"),
        (
            OrderWish(WishAction.OPEN, "EURUSD", Side.SELL, 0.1, limit=1.3),
            "SELL LIMIT 0.10L EURUSD @ 1.3",
        ),
        (
            OrderWish(WishAction.OPEN, "", Side.BUY, 1, stop=1.3),
            "BUY STOP 1.00L in the book's symbol @ 1.3",
        ),
        (OrderWish(WishAction.CLOSE, ticket=5), "close position 5"),
        (
            OrderWish(WishAction.CLOSE, "EURUSD", Side.SELL, 0.1, ticket=5),
            "close 0.10L of position 5 EURUSD (SHORT)",
        ),
        (OrderWish(WishAction.MODIFY, sl=1.05, ticket=5), "SL 1.05, TP none for 5"),
        (
            OrderWish(WishAction.MODIFY, "EURUSD", limit=1.01, tp=1.2, ticket=5),
            "price 1.01, SL none, TP 1.2 for 5 EURUSD",
        ),
        (OrderWish(WishAction.CANCEL, "EURUSD", ticket=9), "cancel pending order 9 EURUSD"),
    ],
)
def test_a_wish_in_words(wish: OrderWish, words: str) -> None:
    assert wish.words == words


def test_who_is_an_assistant_whatever_the_case_and_the_blanks() -> None:
    assert all(map(is_assistant, ("mcp:ada", "MCP:ada/desk", "  mcp:", "Mcp:x")))
    assert not any(map(is_assistant, ("ada", "", "amcp:", "mcp")))


def test_an_assistants_key_is_none_of_a_strategys() -> None:
    assert order_key("breakout") == "mcp:breakout"


def test_other_terms_another_key_and_another_time_have_another_id() -> None:
    other = msgspec.structs.replace(BUY, volume=0.2)
    ids = {
        proposal_id(BUY, "a", 1),
        proposal_id(other, "a", 1),
        proposal_id(BUY, "b", 1),
        proposal_id(BUY, "a", 2),
    }
    assert len(ids) == 4
    assert proposal_id(BUY, "a", 1) in ids
    assert all(len(one) == len("proposal-1f3a9c02") for one in ids)


def ended(name: str, end: ProposalEnd = ProposalEnd.EXPIRED) -> events.ProposalEnded:
    return events.ProposalEnded(at_ns=make.NOW_NS, proposal_id=name, end=end)


def test_a_proposal_waits_until_it_ends() -> None:
    first, second = make.proposed("proposal-1", key="a"), make.proposed("proposal-2", key="b")
    book = Book().replay([first, second])
    assert waiting(book.proposals) == [first, second]
    book.apply(ended("proposal-1", ProposalEnd.REJECTED))
    assert waiting(book.proposals) == [second]
    known = with_proposal_key(book.proposals, "a")
    assert known is not None
    assert known.ended == ended("proposal-1", ProposalEnd.REJECTED)
    assert with_proposal_key(book.proposals, "c") is None


def test_the_newest_proposal_of_a_key_counts() -> None:
    old = make.proposed("proposal-1", key="a")
    new = make.proposed("proposal-2", key="a", at_ns=make.NOW_NS + 1)
    book = Book().replay([old, new, ended("proposal-1")])
    known = with_proposal_key(book.proposals, "a")
    assert known is not None
    assert known.made == new


def test_a_book_forgets_the_oldest_ended_proposals_and_none_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposals, "ENDED_KEPT", 2)
    book = Book().replay(make.proposed(f"proposal-{number}") for number in range(5))
    book.replay(ended(f"proposal-{number}") for number in (3, 0, 1))
    assert list(book.proposals) == ["proposal-2", "proposal-4", "proposal-0", "proposal-1"]
    # The end of a proposal that the book does not have changes nothing.
    book.apply(ended("proposal-9"))
    assert len(book.proposals) == 4


def test_a_book_without_proposals_has_the_bytes_as_before() -> None:
    assert b"proposals" not in Book().state()
    assert b'"proposals"' in Book().replay([make.proposed("proposal-1")]).state()


def test_proposals_go_on_in_a_book_that_takes_over_and_end_with_the_account() -> None:
    other = Book().replay([make.bound(), make.proposed("proposal-1")])
    book = Book().replay([make.bound()])
    book.apply(
        events.StreamTakenOver(
            at_ns=make.NOW_NS, stream="EURUSD", position=1, hash="00", book=other.state().decode()
        )
    )
    assert list(book.proposals) == ["proposal-1"]
    book.apply(make.bound())
    assert list(book.proposals) == ["proposal-1"]
    book.apply(msgspec.structs.replace(make.bound(), login=9))
    assert not book.proposals
