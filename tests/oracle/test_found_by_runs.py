"""What simulated runs have found in the product, each as a test of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.desk_world import BUY, DeskWorld
from trueup.core.book.events import Event, OrderCreated
from trueup.errors import JournalError
from trueup.journal import JournalAhead, MemoryJournal
from trueup.runtime.sync.reconciler import SyncStatus


class UnansweredJournal(MemoryJournal):
    """A journal whose commits can lack an answer, and be there all the same."""

    is_silent = False
    _is_ahead = False

    def append(self, history: Sequence[Event]) -> int:
        """Append, or say that it failed, or find out that it had not."""
        if self._is_ahead:
            self._is_ahead = False
            raise JournalAhead(self.position, "an earlier append is in the journal after all")
        position = super().append(history)
        if self.is_silent:
            self.is_silent, self._is_ahead = False, True
            raise JournalError("the disk gave no answer")
        return position


class FullDisk(MemoryJournal):
    """A journal that takes nothing while its disk is full."""

    is_full = False

    def append(self, history: Sequence[Event]) -> int:
        """Append, while there is room."""
        if self.is_full:
            raise JournalError("the disk is full")
        return super().append(history)


def test_a_correction_whose_commit_gave_no_answer_is_in_the_audit_trail_once_it_is_found() -> None:
    """A commit of a correction gives no answer, and the next one finds it on the disk."""
    journal = UnansweredJournal()
    world = DeskWorld(journal=journal)
    world.sync()
    ticket = world.terminal.robot(7).open("EURUSD", BUY, 0.1)
    journal.is_silent = True
    assert world.sync().status is SyncStatus.FAILED
    assert world.tickets() == set()
    assert "RECOVERY" not in world.actions()
    world.sync()
    assert world.tickets() == {ticket}
    assert world.actions() == ["RECOVERY"]
    world.sync()
    assert world.actions() == ["RECOVERY"]


def test_an_intent_whose_commit_gave_no_answer_is_no_correction_in_the_audit_trail() -> None:
    journal = UnansweredJournal()
    world = DeskWorld(journal=journal)
    world.sync()
    journal.is_silent = True
    try:
        world.pm.submit("buy", 0.1)
    except JournalError:
        world.terminal.robot(7).open("EURUSD", BUY, 0.1)
    world.sync()
    world.sync()
    assert any(isinstance(event, OrderCreated) for event in journal.read())
    assert world.actions() == ["RECOVERY"]


def test_what_was_left_unanswered_is_found_where_nothing_is_left_to_correct() -> None:
    """Seed 6037032: the position had gone again, so nothing was appended, and nobody found out."""
    journal = UnansweredJournal()
    world = DeskWorld(journal=journal)
    world.sync()
    robot = world.terminal.robot(7)
    ticket = robot.open("EURUSD", BUY, 0.1)
    journal.is_silent = True
    assert world.sync().status is SyncStatus.FAILED
    robot.close(ticket)
    assert world.sync().status is SyncStatus.FAILED
    assert world.tickets() == {ticket}
    assert world.sync().status is SyncStatus.SUCCESS
    assert world.tickets() == set()
    assert world.pm.journal_trouble == ""
    assert world.actions() == ["RECOVERY", "CLOSED"]


def test_a_journal_that_takes_something_again_is_noticed_without_anything_to_record() -> None:
    journal = FullDisk()
    world = DeskWorld(journal=journal)
    world.sync()
    journal.is_full = True
    with pytest.raises(JournalError):
        world.pm.submit("buy", 0.1)
    for _ in range(2):
        assert world.sync().status is SyncStatus.SUCCESS
        assert world.pm.journal_trouble != ""
    journal.is_full = False
    assert world.sync().status is SyncStatus.SUCCESS
    assert world.pm.journal_trouble == ""
