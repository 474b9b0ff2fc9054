"""The journals at the simulated server: the contract of all journals, sessions, and failovers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from tests.fleet.test_membership_contract import ClientProcess
from tests.journal.contract import JournalContract
from tests.journal.places import NOW_NS, STREAM, orders
from trueup.errors import JournalConflict, JournalError
from trueup.journal import Journal
from trueup.journal.database.database import Database
from trueup.journal.writing.store import StoredJournal, open_to_write
from trueup.lab.fleet.journal import ServerDatabase
from trueup.lab.fleet.server import Server
from trueup.lab.fleet.tasks import TaskSchedule
from trueup.lab.system.schedule import MS


class Process(ClientProcess):
    """A process whose connection to the server can be cut."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"run of {name}")
        self.is_cut_from_database = False


class AtServer:
    """A server, and processes with journals at it."""

    def __init__(self, seed: int = 1) -> None:
        self.schedule = TaskSchedule(100_000)
        self.server = Server(self.schedule, random.Random(seed), 1)

    def open(self, process: Process, *, take_over: bool = False) -> StoredJournal:
        database = ServerDatabase(self.server, process, "a0", lambda: None)
        return open_to_write(
            database, STREAM, holder=process.name, take_over=take_over, now_ns=lambda: NOW_NS
        )


@pytest.fixture
def world() -> AtServer:
    return AtServer()


class TestJournalAtServer(JournalContract):
    @pytest.fixture
    def journal(self, world: AtServer) -> Iterator[Journal]:
        self.world, self.process = world, Process("n0")
        with world.open(self.process) as journal:
            yield journal

    def reopened(self, journal: Journal) -> Journal:
        journal.close()
        return self.world.open(self.process)


def test_second_writer_waits_for_the_session_of_the_first_or_ends_it(world: AtServer) -> None:
    first = world.open(Process("n0"))
    with pytest.raises(JournalConflict, match="is being written by"):
        world.open(Process("n1"))
    second = world.open(Process("n1"), take_over=True)
    second.append(orders(1))
    with pytest.raises(JournalConflict, match="was taken over by"):
        first.append(orders(2))
    assert list(second.read()) == orders(1)


def test_writer_that_was_cut_off_goes_on_unless_it_was_taken_over(world: AtServer) -> None:
    process = Process("n0")
    journal = world.open(process)
    process.is_cut_from_database = True
    with pytest.raises(JournalError):
        journal.append(orders(1))
    process.is_cut_from_database = False
    journal.append(orders(1))
    process.is_cut_from_database = True
    with pytest.raises(JournalError):
        journal.append(orders(2))
    world.open(Process("n1"), take_over=True).close()
    process.is_cut_from_database = False
    with pytest.raises(JournalConflict):
        journal.append(orders(2))


def test_who_may_not_become_the_writer_changes_nothing(world: AtServer) -> None:
    first = world.open(Process("n0"))

    def refuse(database: Database) -> None:
        raise JournalConflict("It is another's.")

    database = ServerDatabase(world.server, Process("n1"), "a0", lambda: None)
    with pytest.raises(JournalConflict, match=r"It is another's\."):
        open_to_write(
            database,
            STREAM,
            holder="n1",
            take_over=True,
            now_ns=lambda: NOW_NS,
            permit=refuse,
        )
    assert first.append(orders(1)) == 1


def test_failover_keeps_what_was_acknowledged_and_no_event_is_there_twice() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        world = AtServer(seed)
        journal = world.open(Process("n0"))
        journal.append(orders(1))
        fail_over = partial(world.server.fail_over, 100, 5_000 * MS)
        world.schedule.after(3 * random.Random(seed).random(), fail_over)
        outcome = "acknowledged"
        try:
            journal.append(orders(2))
        except JournalError:
            outcome = "unanswered"
        world.schedule.run(world.schedule.now_ns + 200 * MS)
        if outcome == "unanswered":
            journal.append(orders(2))
        outcomes[outcome] += 1
        with world.open(Process("n1"), take_over=True) as after:
            assert list(after.read()) == orders(1, 2)
            assert after.verify().sound
    assert outcomes["acknowledged"]
    assert outcomes["unanswered"]


def test_statement_under_way_at_a_failover_was_carried_out_or_not() -> None:
    seen: set[bool] = set()
    for seed in range(60):
        world, done = AtServer(seed), list[int]()
        fail_over = partial(world.server.fail_over, 1, 0)
        world.schedule.after(0.4 * random.Random(seed).random(), fail_over)
        with suppress(JournalError):
            world.server.ask(Process("n0"), partial(done.append, 1))
            continue
        seen.add(bool(done))
    assert seen == {True, False}
