"""What every journal keeps to, whatever it is kept in.

Each backend's test module inherits `JournalContract` and says how a stream is opened; `reopened`
closes a journal and opens it again, where that means anything.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import msgspec
import pytest

from tests.journal.places import NOW_NS, order, orders
from trueup.core.book import events
from trueup.errors import JournalError
from trueup.journal import Checkpoint, Journal, Tip
from trueup.journal.journal import GENESIS
from trueup.journal.rows import codec
from trueup.journal.rows.chain import row_hash

UNWRITABLE = "A OrderCreated cannot be journalled: "
THERE = r"An intent of this append is in the journal already\."
TIMES = (0, 2**63 - 1)


class JournalContract(ABC):
    """The tests; `journal` is an empty stream, open."""

    @abstractmethod
    def reopened(self, journal: Journal) -> Journal:
        """Close a journal and open it again."""

    def test_journal_when_new_is_empty_and_sound(self, journal: Journal) -> None:
        assert journal.position == 0
        assert list(journal.read()) == []
        assert journal.latest_checkpoint() is None
        assert journal.verify() == (GENESIS, ())

    def test_append_returns_the_position_after_the_last(self, journal: Journal) -> None:
        assert journal.append(orders(1, 2)) == 2
        assert journal.append(orders(3)) == 3
        assert journal.position == 3

    def test_append_of_nothing_changes_nothing(self, journal: Journal) -> None:
        journal.append(orders(1))
        assert journal.append([]) == 1
        assert list(journal.read()) == orders(1)

    def test_read_yields_what_was_appended_after_a_position(self, journal: Journal) -> None:
        journal.append(orders(1, 2, 3))
        journal.append(orders(4))
        assert list(journal.read()) == orders(1, 2, 3, 4)
        assert list(journal.read(2)) == orders(3, 4)
        assert list(journal.read(4)) == []
        assert list(journal.read(99)) == []

    def test_read_goes_on_while_events_are_appended(self, journal: Journal) -> None:
        journal.append(orders(1, 2))
        reading = journal.read()
        assert next(reading) == order(1)
        journal.append(orders(3))
        assert next(reading) == order(2)

    def test_journal_when_opened_again_has_everything(self, journal: Journal) -> None:
        journal.append(orders(1, 2))
        again = self.reopened(journal)
        assert again.append(orders(3)) == 3
        assert list(again.read()) == orders(1, 2, 3)
        assert again.verify().sound

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            pytest.param(
                events.Event(at_ns=1),
                "A Event is no event that the journal knows; ",
                id="no kind of the vocabulary",
            ),
            pytest.param(
                msgspec.structs.replace(order(2), price=math.nan),
                f"{UNWRITABLE}.*price.*; ",
                id="no number",
            ),
            pytest.param(
                msgspec.structs.replace(order(2), symbol="\ud800"),
                f"{UNWRITABLE}.*surrogates not allowed; ",
                id="no text",
            ),
            pytest.param(
                msgspec.structs.replace(order(2), at_ns=2**63),
                f"{UNWRITABLE}at_ns is {2**63}; ",
                id="no time",
            ),
            pytest.param(
                msgspec.structs.replace(order(2), at_ns=-1),
                f"{UNWRITABLE}at_ns is -1; ",
                id="before all time",
            ),
        ],
    )
    def test_append_with_one_impossible_event_writes_none(
        self, journal: Journal, bad: events.Event, said: str
    ) -> None:
        with pytest.raises(JournalError, match=rf"^{said}nothing was written\.$"):
            journal.append([order(1), bad])
        assert journal.position == 0
        assert list(journal.read()) == []
        assert journal.append(orders(3)) == 1

    def test_append_takes_the_first_and_the_last_time_there_is(self, journal: Journal) -> None:
        first, last = (msgspec.structs.replace(order(n), at_ns=ns) for n, ns in enumerate(TIMES))
        assert journal.append([first, last]) == 2
        assert [record.at_ns for record in journal.records()] == list(TIMES)

    def test_append_of_an_intent_that_is_there_writes_nothing(self, journal: Journal) -> None:
        """Not even with other words: an order's id is given once."""
        journal.append(orders(1, 2))
        again = msgspec.structs.replace(order(1), at_ns=NOW_NS + 9, volume=0.02)
        for batch in ([order(3), again], orders(4, 4)):
            with pytest.raises(JournalError, match=f"^{THERE}$"):
                journal.append(batch)
        assert journal.position == 2
        assert journal.append(orders(3, 4)) == 4

    def test_append_of_what_became_of_an_intent_is_free_to_repeat(self, journal: Journal) -> None:
        doubt = events.OrderInDoubt(at_ns=NOW_NS, order_id="order-1", error="no answer")
        assert journal.append([order(1), doubt, doubt]) == 3

    def test_records_carry_position_time_kind_and_hash(self, journal: Journal) -> None:
        journal.append(orders(1, 2))
        first, second = journal.records()
        assert first[:4] == (1, NOW_NS + 1, "OrderCreated", order(1))
        assert second[:4] == (2, NOW_NS + 2, "OrderCreated", order(2))
        assert list(journal.records(1)) == [second]
        assert journal.verify().tip == Tip(2, second.hash)

    def test_records_chain_each_hash_to_the_one_before(self, journal: Journal) -> None:
        journal.append(orders(1))
        first = next(iter(journal.records()))
        encoded = codec.encode(order(1))
        stream = getattr(journal, "stream", "memory")
        assert first.hash == row_hash(GENESIS.hash, stream, 1, 1, encoded)

    def test_checkpoint_that_is_newest_is_returned(self, journal: Journal) -> None:
        for number in range(1, 7):
            journal.append(orders(number))
            journal.checkpoint(number, b"state %d" % number)
        assert journal.latest_checkpoint() == Checkpoint(6, b"state 6")
        assert self.reopened(journal).latest_checkpoint() == Checkpoint(6, b"state 6")

    def test_checkpoint_of_a_position_again_takes_its_place(self, journal: Journal) -> None:
        journal.append(orders(1))
        journal.checkpoint(1, b"")
        journal.checkpoint(1, b"state")
        assert journal.latest_checkpoint() == Checkpoint(1, b"state")

    @pytest.mark.parametrize("position", [0, -1, 2])
    def test_checkpoint_of_no_position_is_refused(self, journal: Journal, position: int) -> None:
        journal.append(orders(1))
        said = rf"^There is no position {position} to keep a checkpoint of\.$"
        with pytest.raises(JournalError, match=said):
            journal.checkpoint(position, b"state")

    def test_journal_when_closed_refuses_everything(self, journal: Journal) -> None:
        with journal:
            journal.append(orders(1))
        journal.close()
        with pytest.raises(JournalError, match="closed"):
            journal.append(orders(2))
        with pytest.raises(JournalError, match="closed"):
            list(journal.read())
        with pytest.raises(JournalError, match="closed"):
            journal.verify()
