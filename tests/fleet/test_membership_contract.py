"""What a membership promises: the same at a real PostgreSQL and at the simulated server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fleet import test_membership
from trueup.doors.fleet.membership import Membership, OwnedShard, Pause, Replaced
from trueup.doors.fleet.tables import fleet_database
from trueup.errors import JournalConflict
from trueup.lab.fleet.membership import SimulatedMembership
from trueup.lab.fleet.server import Server
from trueup.lab.fleet.tasks import TaskSchedule

SHARDS, ALL, LEASE_SEC = test_membership.SHARDS, test_membership.ALL, test_membership.LEASE_SEC


class InPostgres(test_membership.World):
    """A fleet in a real database."""

    def attempt(self, name: str, run: str) -> tuple[Membership, str]:
        """Let a process try to join; return its membership, and who is the node already."""
        database = fleet_database(self.url)
        database.connect()
        self._undo.callback(database.close)
        made = Membership(database, name, run, LEASE_SEC)
        return made, made.join("there", 2)

    def drain(self, name: str, who: str) -> None:
        self.sql.execute("UPDATE fleet_nodes SET drained_by = %s WHERE name = %s", (who, name))

    def pin(self, number: int, name: str | None) -> None:
        query = "UPDATE fleet_shards SET pinned = %s WHERE number = %s"
        self.sql.execute(query, (name, number))

    def pause(self, account: str, who: str, why: str) -> None:
        query = "INSERT INTO fleet_pauses VALUES (%s, %s, %s, clock_timestamp())"
        self.sql.execute(query, (account, who, why))

    def is_permitted(self, node: Membership, number: int, epoch: int) -> bool:
        journal = fleet_database(self.url)
        journal.connect()
        try:
            with journal.writing():
                node.permit(journal, number, epoch)
        except JournalConflict:
            return False
        finally:
            journal.close()
        return True


class ClientProcess:
    """A process at the simulated server that nothing happens to."""

    database_cuts = 0
    is_cut_from_database = False

    def __init__(self, name: str, run: str) -> None:
        self.name, self.run = name, run

    def must_live(self) -> None:
        return


class InSimulation:
    """A fleet at the simulated server."""

    def __init__(self) -> None:
        self.server = Server(TaskSchedule(100_000), random.Random(1), SHARDS)

    def node(self, name: str, run: str = "") -> Membership:
        client = ClientProcess(name, run or f"run of {name}")
        made = SimulatedMembership(self.server, client, name, client.run, LEASE_SEC)
        assert made.join("here", 1) == ""
        return made

    def attempt(self, name: str, run: str) -> tuple[Membership, str]:
        made = SimulatedMembership(self.server, ClientProcess(name, run), name, run, LEASE_SEC)
        return made, made.join("there", 2)

    def pass_a_lease(self, *names: str) -> None:
        for name in names:
            self.server.nodes[name].beat_ns -= 2 * self.server.nodes[name].lease_ns

    def settle(self, *names: str) -> None:
        for name in names:
            self.server.nodes[name].since_ns -= 2 * self.server.nodes[name].lease_ns

    def owners(self) -> dict[int, str | None]:
        return {number: shard.node for number, shard in self.server.shards.items()}

    def drain(self, name: str, who: str) -> None:
        self.server.drain(name, who)

    def pin(self, number: int, name: str | None) -> None:
        self.server.pin(number, name)

    def pause(self, account: str, who: str, why: str) -> None:
        self.server.pauses[account] = Pause(who, why)

    def is_permitted(self, node: Membership, number: int, epoch: int) -> bool:
        unused = fleet_database("postgresql://nowhere/x")
        try:
            node.permit(unused, number, epoch)
        except JournalConflict:
            return False
        return True


World = InPostgres | InSimulation


@pytest.fixture(params=["postgres", "simulated"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "simulated":
        yield InSimulation()
        return
    url: str = request.getfixturevalue("url")
    with ExitStack() as undo:
        yield InPostgres(url, undo)


def claimed(node: Membership, most: int = SHARDS, *, of_dead: bool = True) -> set[int]:
    return set(node.claim(ALL, most, of_dead=of_dead))


def test_two_nodes_share_the_shards_and_nobody_gets_one_twice(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    assert claimed(first, 3) == {0, 1, 2}
    assert claimed(second) == {3, 4, 5, 6, 7}
    assert claimed(first) == set()
    assert sorted(world.owners().values(), key=str) == ["a"] * 3 + ["b"] * 5


def test_only_shards_with_accounts_are_claimed_and_counted(world: World) -> None:
    node = world.node("a")
    assert set(node.claim([2, 5], SHARDS, of_dead=True)) == {2, 5}
    assert node.beat([2, 3], "{}").loads == {"a": 1}


def test_shards_of_a_dead_node_are_claimed_with_a_greater_epoch(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    assert first.claim(ALL, SHARDS, of_dead=True) == {n: OwnedShard(1) for n in ALL}
    assert claimed(second) == set()
    world.pass_a_lease("a")
    assert second.beat(ALL, "{}").loads == {"b": 0}
    # A node that is not settled leaves the dead alone.
    assert claimed(second, of_dead=False) == set()
    assert second.claim(ALL, SHARDS, of_dead=True) == {n: OwnedShard(2, None, "a") for n in ALL}
    # The frozen node wakes: it has nothing, and gives nothing of another's back.
    view = first.beat(ALL, "{}")
    assert (view.owned, view.is_settled) == ({}, False)
    first.give_back(0, 1)
    assert set(world.owners().values()) == {"b"}


def test_node_is_settled_after_a_lease_without_a_break(world: World) -> None:
    node = world.node("a")
    assert not node.beat(ALL, "{}").is_settled
    world.settle("a")
    assert node.beat(ALL, "{}").is_settled
    # After an outage of the database every node seems to be dead: nobody may take from anybody.
    world.pass_a_lease("a")
    assert not node.beat(ALL, "{}").is_settled


def test_given_back_shard_is_free_at_once(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    claimed(first)
    first.give_back(3, 1)
    assert second.claim(ALL, SHARDS, of_dead=False) == {3: OwnedShard(2)}
    assert second.beat(ALL, "{}").owned == {3: OwnedShard(2)}
    # To give back by an earlier claim changes nothing.
    second.give_back(3, 1)
    assert world.owners()[3] == "b"


def test_shard_that_is_given_back_too_soon_after_a_dead_node_is_free_with_a_former(
    world: World,
) -> None:
    first, second = world.node("a"), world.node("b")
    claimed(first)
    first.give_back(3, 1, as_dead=True)
    assert set(first.beat(ALL, "{}").owned) == set(ALL) - {3}
    assert second.claim(ALL, SHARDS, of_dead=False) == {3: OwnedShard(2, None, "a")}
    first.leave([5])
    found = second.claim(ALL, SHARDS, of_dead=False)
    assert found[5] == OwnedShard(2, None, "a")
    assert found[6] == OwnedShard(2)


def test_node_that_leaves_gives_all_back(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    claimed(first)
    first.leave()
    assert claimed(second, of_dead=False) == set(ALL)
    with pytest.raises(Replaced):
        first.beat(ALL, "{}")


def test_second_process_of_a_name_waits_for_the_lease_of_the_first(world: World) -> None:
    first = world.node("a", "one")
    claimed(first)
    second, holder = world.attempt("a", "two")
    assert holder == "process 1 on here"
    world.pass_a_lease("a")
    assert second.join("there", 2) == ""
    with pytest.raises(Replaced):
        first.beat(ALL, "{}")
    # The shards of the first are free, as its run is over.
    assert second.claim(ALL, SHARDS, of_dead=False) == {n: OwnedShard(2, None, "a") for n in ALL}


def test_drained_node_is_drained_when_it_comes_back(world: World) -> None:
    first, second = world.node("a", "one"), world.node("b")
    world.drain("a", "anna")
    assert first.beat(ALL, "{}").is_drained
    assert second.beat(ALL, "{}").loads == {"b": 0}
    first.leave()
    assert world.node("a", "two").beat(ALL, "{}").is_drained
    world.drain("a", "")
    assert second.beat(ALL, "{}").loads == {"a": 0, "b": 0}


def test_pinned_shard_goes_to_its_node_alone_while_that_is_alive_and_not_drained(
    world: World,
) -> None:
    first, second = world.node("a"), world.node("b")
    world.pin(2, "b")
    world.pin(3, "b")
    world.pin(4, "somebody who is gone")
    assert claimed(first) == set(ALL) - {2, 3}
    found = second.claim(ALL, 1, of_dead=True, pinned_alone=True)
    assert found == {2: OwnedShard(1, "b")}
    world.drain("b", "anna")
    assert claimed(first) == {3}
    world.pass_a_lease("b")
    assert claimed(first) == {2}


def test_permit_needs_the_newest_claim_of_this_process(world: World) -> None:
    first, second = world.node("a", "one"), world.node("b")
    claimed(first)
    assert world.is_permitted(first, 4, 1)
    assert not world.is_permitted(first, 4, 2)
    assert not world.is_permitted(second, 4, 1)
    world.pass_a_lease("a")
    claimed(second)
    assert not world.is_permitted(first, 4, 1)
    assert world.is_permitted(second, 4, 2)


def test_pauses_are_told_with_each_heartbeat(world: World) -> None:
    node = world.node("a")
    world.pause("", "anna", "news")
    told = node.beat(ALL, "{}").pauses
    assert {name: pause[:2] for name, pause in told.items()} == {"": ("anna", "news")}
