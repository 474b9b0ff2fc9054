"""An order whose journal fails, or whose caller is interrupted, between any two of its steps.

"Nothing was sent" is said only when nothing was; what left is never sent again by asking again; and
book and journal are the same afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.journal.places import Place
from tests.support.order_world import Died, OrderWorld
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.errors import JournalError, OutcomeNotRecorded, Refused
from trueup.journal.writing.store import StoredJournal
from trueup.runtime.bot.crash_points import CrashPoint

STEPS = ("intent", "send", "outcome")
DISK = JournalError("The disk failed.")


class KeptWorld(OrderWorld):
    """A bot whose journal's commits can be made to fail."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept = place.open("EURUSD")
        self._monkeypatch = monkeypatch
        super().__init__(journal=self.kept)

    def fail_commit(self, number: int, error: BaseException, *, happens: bool) -> None:
        """Make the commit of this number, from now on, fail: after it happened, or before."""
        database, counter = self.kept._database, itertools.count(1)
        commit = database.commit

        def failing() -> None:
            if next(counter) < number:
                commit()
                return
            self._monkeypatch.undo()
            if happens:
                commit()
            raise error

        self._monkeypatch.setattr(database, "commit", failing)

    def check(self, executed: int) -> None:
        """See that so many orders were executed, and that broker, book and journal agree."""
        assert len(self.entries()) == executed
        for _ in range(3):
            self.sync()
        assert self.agrees()
        assert Book().replay(self.kept.read()).state() == self.state()
        assert not self.pm.book.in_doubt
        statuses = [order.status for order in self.pm.book.orders.values()]
        assert OrderStatus.PENDING not in statuses
        assert OrderStatus.SENT not in statuses
        live = self.state()
        self.restart()
        assert self.state() == live


@pytest.fixture
def world(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptWorld]:
    made = KeptWorld(place, monkeypatch)
    yield made
    made.kept.close()


def asked_until_it_passes(world: KeptWorld, ask: Callable[[], Any]) -> list[str]:
    """Ask again after every error, as somebody does who knows no better; return the errors."""
    said = []
    for _ in range(4):
        try:
            ask()
        except (JournalError, Refused, KeyboardInterrupt, Died) as error:
            said.append(type(error).__name__)
            if isinstance(error, Refused):
                # It says what was sent, and to look at the book.
                assert "ORD_" in str(error)
                return said
        else:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("key", ["", "a"])
@pytest.mark.parametrize("step", STEPS)
def test_a_commit_that_failed_is_said_as_what_it_was(world: KeptWorld, step: str, key: str) -> None:
    world.fail_commit(STEPS.index(step) + 1, DISK, happens=False)
    with pytest.raises(JournalError, match="disk failed") as raised:
        world.pm.submit("buy", 0.1, key=key)
    left = isinstance(raised.value, OutcomeNotRecorded)
    assert left == (len(world.sent()) == 1) == (step == "outcome")
    if isinstance(raised.value, OutcomeNotRecorded):
        assert raised.value.order is next(iter(world.pm.orders.values()))
        assert raised.value.outcome["status"] == "FILLED"
        assert raised.value.order.order_id in str(raised.value)
        assert "was sent (FILLED, ticket" in str(raised.value)
        assert "is in doubt: its outcome is not in the journal yet" in world.pm.entries_refused()
    said = asked_until_it_passes(world, lambda: world.pm.submit("buy", 0.1, key=key))
    assert said == (["Refused"] if step == "outcome" and not key else [])
    # A key stays used by what never left.
    world.check(executed=0 if key and step == "send" else 1)


@pytest.mark.parametrize("key", ["", "a"])
@pytest.mark.parametrize("step", STEPS)
def test_a_commit_that_happened_is_found_out_at_once_and_nothing_is_raised(
    world: KeptWorld, step: str, key: str
) -> None:
    world.fail_commit(STEPS.index(step) + 1, DISK, happens=True)
    order = world.pm.submit("buy", 0.1, key=key)
    assert order.status is OrderStatus.FILLED
    assert world.pm.journal_trouble == ""
    world.check(executed=1)


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("key", ["", "a"])
@pytest.mark.parametrize("step", STEPS)
def test_an_interruption_inside_a_commit_sends_nothing_twice(
    world: KeptWorld, step: str, key: str, happens: bool
) -> None:
    world.fail_commit(STEPS.index(step) + 1, KeyboardInterrupt(), happens=happens)
    with pytest.raises(KeyboardInterrupt):
        world.pm.submit("buy", 0.1, key=key)
    asked_until_it_passes(world, lambda: world.pm.submit("buy", 0.1, key=key))
    never_left = key and (step == "send" or (step == "intent" and happens))
    world.check(executed=0 if never_left else 1)


@pytest.mark.parametrize("key", ["", "a"])
@pytest.mark.parametrize("point", [p for p in CrashPoint if "checkpoint" not in p.value])
def test_an_interruption_between_two_steps_sends_nothing_twice(
    world: KeptWorld, point: CrashPoint, key: str
) -> None:
    world.die_at(point)
    said = asked_until_it_passes(world, lambda: world.pm.submit("buy", 0.1, key=key))
    sent_first = point in (CrashPoint.BEFORE_OUTCOME, CrashPoint.AFTER_OUTCOME)
    if point is CrashPoint.AFTER_SEND:
        assert said == []
    elif sent_first and not key:
        assert said == ["Died", "Refused"]
    else:
        assert said == ["Died"]
    never_left = key and point in (CrashPoint.AFTER_INTENT, CrashPoint.AFTER_SEND_STARTED)
    world.check(executed=0 if never_left else 1)


@pytest.mark.parametrize("happens", [True, False])
def test_an_interruption_inside_a_sync_leaves_book_and_journal_the_same(
    world: KeptWorld, happens: bool
) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    world.person.close(ticket or 0)
    world.fail_commit(1, KeyboardInterrupt(), happens=happens)
    with pytest.raises(KeyboardInterrupt):
        world.sync()
    world.check(executed=1)
    closed = [e for e in world.kept.read() if type(e).__name__ == "PositionClosed"]
    assert len(closed) == 1


def test_an_interruption_while_the_book_takes_events_is_made_good(world: KeptWorld) -> None:
    """The journal has them, and the book half of them."""
    book, apply = world.pm.book, world.pm.book.apply
    counter = itertools.count(1)

    def interrupted(event: Any) -> None:
        if next(counter) == 2:
            book.version += 1
            raise KeyboardInterrupt
        apply(event)

    book.apply = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        world.pm.submit("buy", 0.1)
    asked_until_it_passes(world, lambda: world.pm.submit("buy", 0.1))
    world.check(executed=1)


@pytest.mark.parametrize("part", [None, 0.04])
def test_a_close_that_was_executed_and_raised_is_not_made_twice(
    world: KeptWorld, part: float | None
) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    world.fail_commit(3, DISK, happens=False)
    with pytest.raises(OutcomeNotRecorded) as raised:
        world.pm.close(ticket, part)
    assert raised.value.order.position == ticket
    # The book is brought up to date before the ticket and the volume are looked for in it. That is
    # no error of a strategy, which would pause it.
    with pytest.raises(Refused, match=raised.value.order.order_id) as refused:
        world.pm.close(ticket, part)
    # The list is older than the close.
    assert "foreign=True" not in str(refused.value)
    world.check(executed=1)
    left = sum(p.volume for p in world.terminal.positions_get() or ())
    assert left == pytest.approx(0.1 - (part or 0.1))


def test_a_cancellation_that_was_executed_and_raised_is_told_when_it_is_asked_for_again(
    world: KeptWorld,
) -> None:
    order = world.pm.submit("buy", 0.1, limit=1.05)
    world.sync()
    world.fail_commit(3, DISK, happens=False)
    with pytest.raises(OutcomeNotRecorded) as raised:
        world.pm.cancel(order.ticket)
    with pytest.raises(Refused, match=raised.value.order.order_id):
        world.pm.cancel(order.ticket)
    # From then on its caller can know.
    with pytest.raises(ValueError, match="No pending order"):
        world.pm.cancel(order.ticket)


def test_a_close_of_another_position_is_not_held_up(world: KeptWorld) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    world.fail_commit(3, DISK, happens=False)
    with pytest.raises(OutcomeNotRecorded):
        world.pm.submit("buy", 0.2)
    assert world.pm.close(ticket).status is OrderStatus.FILLED
    world.check(executed=2)


def test_the_order_that_the_error_carries_is_the_one_that_is_recorded_later(
    world: KeptWorld,
) -> None:
    world.fail_commit(3, DISK, happens=False)
    with pytest.raises(OutcomeNotRecorded) as raised:
        world.pm.submit("buy", 0.1)
    order = raised.value.order
    assert order.status is OrderStatus.SENT
    world.sync()
    assert order.status is OrderStatus.FILLED
    # After a sync the caller can know, and may ask for more.
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_writer_that_was_taken_over_says_what_became_of_its_last_append(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for happens in (True, False):
        world = KeptWorld(place, monkeypatch)
        journal: StoredJournal = world.kept
        world.fail_commit(1, DISK, happens=happens)
        before = journal.position
        with pytest.raises(JournalError, match="disk failed"):
            journal.append([_bound(world)])
        second = place.open("EURUSD", take_over=True)
        with pytest.raises(JournalError) as raised:
            journal.append([_bound(world)])
        is_there = f"up to position {before + 1}, is in the journal"
        assert (is_there in str(raised.value)) == happens
        assert second.position == before + happens
        second.close()
        journal.close()


def _bound(world: KeptWorld) -> Any:
    assert world.pm.book.account is not None
    return world.pm.book.account
