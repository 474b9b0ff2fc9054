"""Membership and claims in a real PostgreSQL: locks, races and tables.

What the simulated server does as well is in `test_membership_contract.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.servers import until
from trueup.doors.fleet import membership as membership_module
from trueup.doors.fleet.membership import CLAIM, Membership
from trueup.doors.fleet.tables import ensure_tables, fleet_database
from trueup.errors import JournalConflict, JournalError, SettingsError

SHARDS = 8
ALL = range(SHARDS)
LEASE_SEC = 3_600.0


class World:
    """A fleet's database, and nodes that are memberships of this process."""

    def __init__(self, url: str, undo: ExitStack) -> None:
        self.url, self._undo = url, undo
        self.sql = undo.enter_context(psycopg.connect(url, autocommit=True))
        database = fleet_database(url)
        database.connect()
        undo.callback(database.close)
        assert ensure_tables(database, SHARDS) == SHARDS

    def node(self, name: str, run: str = "") -> Membership:
        database = fleet_database(self.url)
        database.connect()
        self._undo.callback(database.close)
        made = Membership(database, name, run or f"run of {name}", LEASE_SEC)
        assert made.join("here", 1) == ""
        return made

    def pass_a_lease(self, *names: str) -> None:
        """Let a lease pass for some nodes, without their heartbeats."""
        self.sql.execute(
            "UPDATE fleet_nodes SET beat = beat - 2 * lease WHERE name = ANY(%s)", (list(names),)
        )

    def settle(self, *names: str) -> None:
        """Let nodes have been alive for two leases."""
        self.sql.execute(
            "UPDATE fleet_nodes SET since = since - 2 * lease WHERE name = ANY(%s)", (list(names),)
        )

    def owners(self) -> dict[int, str | None]:
        return dict(self.sql.execute("SELECT number, node FROM fleet_shards").fetchall())


@pytest.fixture
def world(url: str) -> Iterator[World]:
    with ExitStack() as undo:
        yield World(url, undo)


def claimed(node: Membership, most: int = SHARDS, *, of_dead: bool = True) -> set[int]:
    return set(node.claim(ALL, most, of_dead=of_dead))


def test_permit_holds_the_claim_until_the_end_of_the_transaction(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    claimed(first)
    world.pass_a_lease("a")
    journal = fleet_database(world.url)
    journal.connect()
    with journal.writing():
        first.permit(journal, 4, 1)
        # The others are claimed meanwhile, and this one is not waited for.
        assert claimed(second) == set(ALL) - {4}
    assert claimed(second) == {4}
    with journal.writing(), pytest.raises(JournalConflict, match="Shard 4 is no longer of node a"):
        first.permit(journal, 4, 1)
    journal.close()


# The race: two nodes look at the same moment.

EPOCH_AGAIN = " AND seen.epoch = s.epoch"


def raced(world: World, monkeypatch: pytest.MonkeyPatch, claim: str) -> list[set[int]]:
    """Let two nodes claim one shard: the second looks before the first claims, and locks after."""
    first, second = world.node("a"), world.node("b")
    dead = world.node("dead")
    assert len(claimed(dead, 1)) == 1
    world.pass_a_lease("dead")
    # The look of the second waits for a lock after it began, so it sees the shard as it was then.
    look = "WHERE (SELECT pg_advisory_xact_lock_shared(42) IS NOT NULL) AND s.number = ANY (%s)"
    waiting = claim.replace("WHERE s.number = ANY (%s)", look)
    assert waiting != claim
    with psycopg.connect(world.url) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT pg_advisory_xact_lock(42)")
        monkeypatch.setattr(membership_module, "CLAIM", waiting)
        slow = pool.submit(lambda: set(second.claim([0], 1, of_dead=True)))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: world.sql.execute(waits).fetchone() == (1,))
        monkeypatch.setattr(membership_module, "CLAIM", claim)
        fast = set(first.claim([0], 1, of_dead=True))
        holder.rollback()
        return [fast, slow.result(20)]


def test_shard_that_was_claimed_after_the_look_is_not_claimed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raced(world, monkeypatch, CLAIM) == [{0}, set()]
    assert world.owners()[0] == "a"


def test_claim_by_the_anti_join_alone_would_give_the_shard_to_two_nodes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EPOCH_AGAIN in CLAIM
    assert raced(world, monkeypatch, CLAIM.replace(EPOCH_AGAIN, "")) == [{0}, {0}]


def test_many_nodes_that_claim_at_once_share_all_shards(world: World) -> None:
    nodes = [world.node(f"n{number}") for number in range(6)]
    for _ in range(10):
        barrier = threading.Barrier(len(nodes))

        def race(node: Membership, barrier: threading.Barrier = barrier) -> set[int]:
            barrier.wait()
            return claimed(node)

        with ThreadPoolExecutor(len(nodes)) as pool:
            got = list(pool.map(race, nodes))
        assert sum(map(len, got)) == len(set().union(*got))
        # What was skipped because another had it locked is claimed with the next heartbeat.
        got.append(claimed(nodes[0]))
        assert set().union(*got) == set(ALL)
        world.pass_a_lease(*(node.name for node in nodes))
        for node in nodes:
            node.beat(ALL, "{}")
        world.sql.execute("UPDATE fleet_shards SET node = NULL, run = NULL")


# The tables.


def test_tables_are_made_once_and_keep_their_number_of_shards(world: World) -> None:
    database = fleet_database(world.url)
    database.connect()
    assert ensure_tables(database) == SHARDS
    with pytest.raises(SettingsError, match="has 8 shards: leave the option out"):
        ensure_tables(database, 9)
    world.sql.execute("UPDATE fleet_revision SET revision = 99")
    with pytest.raises(JournalError, match="was made by a newer trueup"):
        ensure_tables(database)
    database.close()


def test_nodes_that_begin_together_make_the_tables_once(url: str) -> None:
    barrier = threading.Barrier(4)

    def begin(_: int) -> int:
        database = fleet_database(url)
        database.connect()
        barrier.wait()
        try:
            return ensure_tables(database)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(begin, range(4))) == {256}


def test_journal_in_a_file_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="share a journal in PostgreSQL"):
        fleet_database("books.db")
