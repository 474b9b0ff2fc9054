"""The decisions of a node, with heartbeats in a real PostgreSQL and a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pytest

from tests.fleet.test_membership import LEASE_SEC, World
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.membership import Replaced, View
from trueup.doors.fleet.node import Node, ShardRight
from trueup.doors.fleet.shards import shard_of
from trueup.errors import JournalConflict, Refused
from trueup.runtime.time.clock import ManualClock

SHARDS = frozenset(range(8))
NONE: frozenset[int] = frozenset()


class Nodes(World):
    """The fleet, and its nodes by name."""

    def __init__(self, url: str, undo: ExitStack) -> None:
        super().__init__(url, undo)
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.nodes: dict[str, Node] = {}
        self.fleet = undo.enter_context(Fleet(url))

    def add(self, name: str) -> Node:
        node = self.nodes[name] = Node(self.node(name), len(SHARDS), self.clock)
        return node

    def turn(self, *names: str, busy: frozenset[int] = NONE) -> None:
        for name in names:
            self.nodes[name].turn(SHARDS, busy, "{}")

    def counts(self) -> dict[str, int]:
        return {name: len(node.owned) for name, node in self.nodes.items()}


@pytest.fixture
def world(url: str) -> Iterator[Nodes]:
    with ExitStack() as undo:
        yield Nodes(url, undo)


def test_single_node_takes_all_at_once_and_gives_a_new_one_its_share_step_by_step(
    world: Nodes,
) -> None:
    world.add("a")
    world.turn("a")
    assert world.counts() == {"a": 8}
    world.add("b")
    for given in range(1, 5):
        world.turn("a", "b")
        assert world.counts() == {"a": 8 - given, "b": given}
    # From then on nothing moves.
    before = world.owners()
    world.turn("a", "b", "a", "b")
    assert world.owners() == before
    world.add("c")
    for _ in range(8):
        world.turn("a", "b", "c")
    assert sorted(world.counts().values()) == [2, 3, 3]


def test_shard_is_given_back_only_once_its_accounts_are_closed(world: Nodes) -> None:
    first = world.add("a")
    world.turn("a", busy=SHARDS)
    right = ShardRight(first, 0, 1)
    assert right.why_not_now() == ""
    world.add("b")
    world.turn("b")
    world.turn("a", busy=SHARDS)
    # It is closed here already, and still this node's.
    assert world.counts()["a"] == 7
    assert right.why_not_now() == "shard 0 is no longer of node a"
    world.turn("b")
    assert world.counts()["b"] == 0
    world.turn("a", "b")
    assert world.counts() == {"a": 7, "b": 1}


def test_shards_of_a_dead_node_are_taken_by_the_settled_ones(world: Nodes) -> None:
    world.add("a"), world.add("b"), world.add("c")
    for _ in range(10):
        world.turn("a", "b", "c")
    world.pass_a_lease("c")
    world.turn("a", "b")
    assert sum(world.counts()[name] for name in "ab") < 8
    world.settle("a", "b")
    world.turn("a", "b")
    assert [world.counts()[name] for name in "ab"] == [4, 4]
    # It wakes: it finds out with its first heartbeat that it has nothing.
    assert world.counts()["c"] > 0
    world.turn("c")
    assert world.counts()["c"] == 0


def test_no_order_leaves_after_the_lease_or_without_the_claim(world: Nodes) -> None:
    node = world.add("a")
    world.turn("a")
    right = ShardRight(node, 3, node.owned[3].epoch)
    world.clock.advance(LEASE_SEC - 1)
    assert right.why_not_now() == ""
    world.clock.advance(5)
    assert right.why_not_now() == (
        "the lease of node a ended 4 seconds ago, so another node may have the account"
    )
    world.turn("a")
    assert right.why_not_now() == ""
    assert ShardRight(node, 3, 7).why_not_now() == "shard 3 is no longer of node a"


def test_the_lease_counts_from_the_question_of_a_heartbeat_and_not_from_its_answer(
    world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may note the heartbeat at once, and answer late."""
    node = world.add("a")
    world.turn("a")
    beat = node.membership.beat

    def late(accounts: Iterable[int], report: str) -> View:
        view = beat(accounts, report)
        world.clock.advance(LEASE_SEC - 1)
        return view

    monkeypatch.setattr(node.membership, "beat", late)
    world.turn("a")
    right = ShardRight(node, 3, node.owned[3].epoch)
    assert right.why_not_now() == ""
    world.clock.advance(2)
    assert right.why_not_now().startswith("the lease of node a ended 1 seconds ago")


def test_permit_of_a_node_that_lost_its_shard_is_refused_whatever_the_node_believes(
    world: Nodes,
) -> None:
    first, second = world.add("a"), world.add("b")
    world.turn("a")
    right = ShardRight(first, 3, 1)
    world.pass_a_lease("a")
    world.settle("b")
    world.turn("b")
    journal = second.membership._database
    with journal.writing(), pytest.raises(JournalConflict):
        right.permit(journal)
    with journal.writing():
        ShardRight(second, 3, second.owned[3].epoch).permit(journal)


def test_only_after_a_node_that_died_a_gateway_without_tokens_is_waited_for(world: Nodes) -> None:
    world.add("a")
    world.turn("a")
    assert ShardRight(world.nodes["a"], 3, 1).wait_sec(5) == 0
    second = world.add("b")
    world.pass_a_lease("a")
    world.settle("b")
    world.turn("b")
    right = ShardRight(second, 3, second.owned[3].epoch)
    assert right.former == "node a"
    assert right.wait_sec(5) == LEASE_SEC + 5
    world.clock.advance(LEASE_SEC + 6)
    assert right.wait_sec(5) < 0


def test_next_owner_waits_too_where_the_shard_of_a_dead_node_moves_on_before_it_is_judged(
    world: Nodes,
) -> None:
    world.add("a")
    world.turn("a")
    world.add("b")
    world.pass_a_lease("a")
    world.settle("b")
    world.turn("b")
    third = world.add("c")
    world.turn("c", "b", "c")
    (number,) = third.owned
    assert ShardRight(third, number, third.owned[number].epoch).wait_sec(5) == LEASE_SEC + 5
    # After all that could arrive, a shard that moves on needs no wait.
    world.clock.advance(LEASE_SEC + 100)
    world.turn("b", "c", "b", "c")
    assert len(third.owned) > 1
    newest = next(one for one in third.owned if one != number)
    assert ShardRight(third, newest, third.owned[newest].epoch).wait_sec(5) == 0


def test_shard_whose_claim_got_no_reply_counts_as_one_of_a_dead_node(world: Nodes) -> None:
    node = world.add("a")
    # As if the connection had broken after the commit.
    node.membership.claim(SHARDS, 8, of_dead=False)
    world.turn("a")
    right = ShardRight(node, 3, node.owned[3].epoch)
    assert right.former == "another node"
    assert right.wait_sec(5) == LEASE_SEC + 5


def test_drained_node_gives_all_back_and_takes_none(world: Nodes) -> None:
    world.add("a"), world.add("b")
    for _ in range(6):
        world.turn("a", "b")
    world.fleet.drain("a", "anna", "new disk")
    world.turn("a", "b")
    assert world.counts() == {"a": 0, "b": 8}
    world.turn("a")
    assert world.counts()["a"] == 0
    world.fleet.undrain("a", "anna")
    for _ in range(6):
        world.turn("a", "b")
    assert world.counts() == {"a": 4, "b": 4}
    with pytest.raises(Refused, match="There is no node 'z': the nodes are a, b"):
        world.fleet.drain("z", "anna", "")


def test_moved_shard_goes_to_its_node_stays_and_comes_back(world: Nodes) -> None:
    world.add("a"), world.add("b")
    for _ in range(6):
        world.turn("a", "b")
    number = min(world.nodes["a"].owned)
    name = next(f"x{n}" for n in range(999) if shard_of(f"x{n}", 8) == number)
    assert world.fleet.move(name, "b", "anna") == number
    for _ in range(6):
        world.turn("a", "b")
    assert number in world.nodes["b"].owned
    assert sum(world.counts().values()) == 8
    world.fleet.drain("b", "anna", "")
    world.turn("b", "a")
    assert number in world.nodes["a"].owned
    # There it stays while its node takes nothing.
    epoch = world.nodes["a"].owned[number].epoch
    world.turn("a", "b", "a")
    assert world.nodes["a"].owned[number].epoch == epoch
    world.fleet.undrain("b", "anna")
    for _ in range(6):
        world.turn("a", "b")
    assert number in world.nodes["b"].owned
    world.fleet.move(name, "", "anna")
    assert [row["moved_to"] for row in world.fleet.status()["owners"]] == [""] * 8


def test_node_that_leaves_is_replaced_at_once_and_a_replaced_one_stops(world: Nodes) -> None:
    world.add("a"), world.add("b")
    world.turn("a")
    world.nodes["a"].turn(SHARDS, NONE, "{}", is_leaving=True)
    world.turn("b")
    assert world.counts() == {"a": 0, "b": 4}
    world.nodes["a"].membership.leave()
    world.turn("b")
    assert world.counts()["b"] == 8
    with pytest.raises(Replaced):
        world.turn("a")


def test_pauses_reach_the_nodes_with_their_heartbeats(world: Nodes) -> None:
    node = world.add("a")
    assert world.fleet.pause("", "anna", "news")
    assert not world.fleet.pause("", "bert", "")
    world.turn("a")
    assert node.pauses[""].who == "anna"
    assert world.fleet.status()["pauses"][0]["why"] == "news"
    assert world.fleet.resume("", "anna")
    assert not world.fleet.resume("", "anna")
    world.turn("a")
    assert node.pauses == {}


def test_pause_ends_although_who_ended_it_cannot_be_read(world: Nodes) -> None:
    node = world.add("a")
    world.fleet.pause("x", "anna", "")
    world.turn("a")
    assert list(node.pauses) == ["x"]
    world.fleet.resume("x", "bert")
    world.sql.execute("DROP TABLE fleet_acts")
    world.turn("a")
    assert (node.pauses, node.resumed) == ({}, {})
    assert world.counts() == {"a": 8}


def test_who_ended_the_last_pause_of_an_account_is_named(world: Nodes) -> None:
    node = world.add("a")
    for name, who in (("x", "anna"), ("", "bert"), ("x", "carl")):
        world.fleet.pause(name, "dora", "")
        world.turn("a")
        assert world.fleet.resume(name, who, f"why of {who}")
        world.turn("a")
        found = node.resumer("x")
        assert found is not None
        assert found[1:] == (who, f"why of {who}")
    other = node.resumer("y")
    assert other is not None
    assert other.who == "bert"
