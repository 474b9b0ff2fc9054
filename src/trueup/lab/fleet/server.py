"""The simulated database server of a fleet: its clock, its rows, and the way to it.

A statement takes time to arrive, and its answer to come back. Within a statement nothing else
happens, as in a transaction that others wait for; only a claim looks first and locks later.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

import msgspec

from trueup.doors.fleet.membership import Pause
from trueup.journal.database.database import ConnectionLost
from trueup.lab.facts.facts import Fact
from trueup.lab.fleet import facts
from trueup.lab.system.disk import copy_of, empty_journal
from trueup.lab.system.schedule import MS, SECOND, Schedule

Found = TypeVar("Found")

FASTEST_NS, SPAN_NS = 200_000, 1_500_000
# How long a client waits for a server that is silent, in half of the cases; else it is told soon.
SILENCE_MS, RESET_MS = 1_200, 40
NAME = "the simulated database"


class Client(Protocol):
    """A process at the server."""

    name: str
    run: str
    """The name of the process, unique among all."""

    @property
    def database_cuts(self) -> int:
        """How often the process was cut off from the server."""

    @property
    def is_cut_from_database(self) -> bool:
        """Whether nothing arrives at the server, or from it."""

    def must_live(self) -> None:
        """Raise the exception that ends the process, if the process was killed."""


class NodeRow(msgspec.Struct):
    """A node; all times are the server's."""

    run: str
    host: str
    process: int
    lease_ns: int
    since_ns: int
    beat_ns: int
    drained_by: str = ""

    def is_alive(self, now_ns: int) -> bool:
        """Return whether the last heartbeat is younger than the lease."""
        return self.beat_ns >= now_ns - self.lease_ns


class ShardRow(msgspec.Struct):
    """A shard, and the node that has it."""

    node: str | None = None
    run: str | None = None
    epoch: int = 0
    pinned: str | None = None


class Stream:
    """The tables of an account's journal, and the session that has its lock."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection = copy_of(empty_journal())
        self.holder: Session | None = None


class Session:
    """A connection to the server; the server forgets it with its end."""

    def __init__(self, client: Client) -> None:
        self.client, self.is_alive = client, True


class Sent:
    """A statement that has arrived: whether its answer can come back."""

    def __init__(self, failovers: int, cuts: int) -> None:
        self.way = failovers, cuts


class Server:
    """The server.

    Args:
        schedule: the world's time.
        chance: draws the times on the way, and what happens to statements under way.
        shards: the number of shards.
        observe: takes the facts.
        claim_ms: how long a claim takes at most, between its look and its lock.
    """

    def __init__(
        self,
        schedule: Schedule,
        chance: random.Random,
        shards: int,
        observe: Callable[[Fact], None] = lambda _: None,
        claim_ms: int = 2,
    ) -> None:
        self.schedule, self.observe = schedule, observe
        self._chance, self._claim_ms = chance, claim_ms
        self.skew_ns = 0
        """The server's clock minus the world's."""
        self.down_until_ns = 0
        self.failovers = 0
        self.nodes: dict[str, NodeRow] = {}
        self.shards: dict[int, ShardRow] = {number: ShardRow() for number in range(shards)}
        self.pauses: dict[str, Pause] = {}
        self.streams: dict[str, Stream] = {}
        self.sessions: list[Session] = []

    @property
    def now_ns(self) -> int:
        """The server's clock."""
        return self.schedule.now_ns + self.skew_ns

    def stream(self, account: str) -> Stream:
        """Return the tables of an account's journal."""
        return self.streams.setdefault(account, Stream())

    # The way.

    def ask(self, client: Client, act: Callable[[], Found]) -> Found:
        """Carry out a statement that is a transaction of its own, and return its result.

        Raises:
            ConnectionLost: no answer came; the statement may have been carried out.
        """
        sent = self.send(client)
        result = act()
        self.answer(client, sent)
        return result

    def reach(self, client: Client) -> None:
        """Make sure that the server can be reached.

        Raises:
            ConnectionLost: it cannot.
        """
        client.must_live()
        if client.is_cut_from_database or self.schedule.now_ns < self.down_until_ns:
            self._be_silent(client)

    def send(self, client: Client) -> Sent:
        """Let a statement arrive; call `answer` once it was carried out.

        Raises:
            ConnectionLost: it did not arrive.
        """
        self.reach(client)
        sent = Sent(self.failovers, client.database_cuts)
        self._fly(client)
        if not self._is_open(client, sent) and self._chance.random() < 0.5:
            self.observe(facts.Lost(self.schedule.now_ns, client.name, is_done=False))
            self._be_silent(client)
        # Otherwise it had arrived just before, and only the answer is lost.
        return sent

    def answer(self, client: Client, sent: Sent) -> None:
        """Let the answer to a statement come back.

        Raises:
            ConnectionLost: it did not.
        """
        self._fly(client)
        if not self._is_open(client, sent):
            self.observe(facts.Lost(self.schedule.now_ns, client.name, is_done=True))
            self._be_silent(client)

    def _is_open(self, client: Client, sent: Sent) -> bool:
        return sent.way == (self.failovers, client.database_cuts)

    def _fly(self, client: Client) -> None:
        wait_ns = FASTEST_NS + int(self._chance.random() * SPAN_NS)
        self.schedule.run(self.schedule.now_ns + wait_ns)
        client.must_live()

    def _be_silent(self, client: Client) -> None:
        wait_ms = SILENCE_MS if self._chance.random() < 0.5 else RESET_MS
        self.schedule.run(self.schedule.now_ns + wait_ms * MS)
        client.must_live()
        raise ConnectionLost(f"{NAME}: the connection was lost.")

    # Sessions.

    def session(self, client: Client) -> Session:
        """Return a new session; the former one of the same use is to be ended by its user."""
        made = Session(client)
        self.sessions.append(made)
        return made

    def end(self, session: Session) -> None:
        """End a session, and release its locks."""
        session.is_alive = False
        with contextlib.suppress(ValueError):
            self.sessions.remove(session)
        for stream in self.streams.values():
            if stream.holder is session:
                stream.holder = None

    def end_sessions(self, client: Client) -> None:
        """End the sessions of a process that has ended."""
        for session in [one for one in self.sessions if one.client is client]:
            self.end(session)

    def fail_over(self, down_ms: int, skew_ns: int) -> None:
        """Let the standby take over: everything acknowledged is there, and every session has ended.

        A statement under way was carried out or not, and gets no answer: what was not acknowledged
        nobody has seen. The clock of the other machine is another one.
        """
        self.failovers += 1
        self.down_until_ns = self.schedule.now_ns + down_ms * MS
        self.skew_ns = skew_ns
        for session in list(self.sessions):
            self.end(session)

    # Membership, as the statements in `doors.fleet.membership` have it.

    def join(self, name: str, run: str, host: str, process: int, lease_sec: float) -> bool:
        """Make a process the node, unless another living process is."""
        row, now_ns = self.nodes.get(name), self.now_ns
        if row is not None and row.run != run and row.is_alive(now_ns):
            return False
        if row is not None and row.run != run:
            self.observe(facts.NodeGone(self.schedule.now_ns, name, row.run))
        drained_by = "" if row is None else row.drained_by
        lease_ns = round(lease_sec * SECOND)
        self.nodes[name] = NodeRow(run, host, process, lease_ns, now_ns, now_ns, drained_by)
        self._tell_beat(name)
        return True

    def beat(self, name: str, run: str) -> tuple[bool, bool] | None:
        """Take a heartbeat; return whether the node is drained and settled, None if it is gone."""
        row, now_ns = self.nodes.get(name), self.now_ns
        if row is None or row.run != run:
            return None
        if not row.is_alive(now_ns):
            row.since_ns = now_ns
        row.beat_ns = now_ns
        self._tell_beat(name)
        return bool(row.drained_by), row.since_ns <= now_ns - row.lease_ns

    def _tell_beat(self, name: str) -> None:
        row = self.nodes[name]
        beat = facts.Beat(self.schedule.now_ns, name, row.run, row.beat_ns, row.lease_ns)
        self.observe(beat)

    def loads(self, accounts: frozenset[int]) -> dict[str, int]:
        """Return the shards with accounts of each living node that is not drained."""
        now_ns = self.now_ns
        return {
            name: sum(
                (shard.node, shard.run) == (name, row.run)
                for number, shard in self.shards.items()
                if number in accounts
            )
            for name, row in self.nodes.items()
            if row.is_alive(now_ns) and not row.drained_by
        }

    def look(
        self, name: str, accounts: frozenset[int], most: int, *, of_dead: bool, pinned_alone: bool
    ) -> list[tuple[int, int]]:
        """Return the shards that a claim finds, each with its epoch: the first half of a claim."""
        found = [
            (number, shard.epoch)
            for number, shard in sorted(self.shards.items())
            if number in accounts
            and self._is_free(shard, of_dead=of_dead)
            and self._may_have(shard, name)
            and (not pinned_alone or shard.pinned == name)
        ]
        return found[:most]

    def _is_free(self, shard: ShardRow, *, of_dead: bool) -> bool:
        if shard.node is None:
            return True
        owner = self.nodes.get(shard.node)
        if owner is None or owner.run != shard.run:
            return True
        return of_dead and not owner.is_alive(self.now_ns)

    def _may_have(self, shard: ShardRow, name: str) -> bool:
        pinned = None if shard.pinned is None else self.nodes.get(shard.pinned)
        is_elsewhere = pinned is not None and shard.pinned != name
        return (
            not is_elsewhere
            or bool(pinned and pinned.drained_by)
            or not (pinned and pinned.is_alive(self.now_ns))
        )

    def wait_for_locks(self) -> None:
        """Let time pass between the look of a claim and its locks."""
        wait_ns = int(self._chance.random() * self._claim_ms * MS)
        self.schedule.run(self.schedule.now_ns + wait_ns)

    def take(
        self,
        name: str,
        run: str,
        seen: list[tuple[int, int]],
        looked_ns: int,
        looked_server_ns: int,
    ) -> dict[int, tuple[int, str | None, str]]:
        """Claim the shards that a look has found: the second half of a claim.

        Returns:
            Epoch, pin and former owner of each claimed shard.
        """
        taken: dict[int, tuple[int, str | None, str]] = {}
        for number, epoch in seen:
            shard = self.shards[number]
            if not self.is_as_seen(shard, epoch):
                continue
            former = shard.node or ""
            shard.node, shard.run, shard.epoch = name, run, shard.epoch + 1
            taken[number] = shard.epoch, shard.pinned, former
            self.observe(
                facts.Claimed(
                    self.schedule.now_ns,
                    node=name,
                    run=run,
                    shard=number,
                    epoch=shard.epoch,
                    looked_ns=looked_ns,
                    server_ns=looked_server_ns,
                )
            )
        return taken

    def is_as_seen(self, shard: ShardRow, epoch: int) -> bool:
        """Return whether nobody has claimed a shard since a look; asked once it is locked."""
        return shard.epoch == epoch

    def give_back(
        self, name: str, run: str, number: int, epoch: int | None, as_dead: Collection[int]
    ) -> None:
        """Give a shard back, if it is still the node's by that claim."""
        shard = self.shards[number]
        if (shard.node, shard.run) == (name, run) and epoch in (None, shard.epoch):
            shard.node, shard.run = shard.node if number in as_dead else None, None
            self.observe(facts.GivenBack(self.schedule.now_ns, name, run, number))

    def leave(self, name: str, run: str, as_dead: Collection[int]) -> None:
        """Give all shards back and end a membership; a drained node stays known."""
        for number in self.shards:
            self.give_back(name, run, number, None, as_dead)
        row = self.nodes.get(name)
        if row is None or row.run != run:
            return
        if row.drained_by:
            row.beat_ns = self.now_ns - 2 * row.lease_ns
        else:
            del self.nodes[name]
        self.observe(facts.NodeGone(self.schedule.now_ns, name, run))

    def is_of(self, number: int, epoch: int, name: str, run: str) -> bool:
        """Return whether a shard is a node's by a claim."""
        shard = self.shards[number]
        return (shard.epoch, shard.node, shard.run) == (epoch, name, run)

    # What a person asks of the fleet, as `doors.fleet.fleet` has it.

    def drain(self, name: str, who: str) -> None:
        """Have a node give all its shards back, and take none; with an empty name no longer."""
        if name in self.nodes:
            self.nodes[name].drained_by = who

    def pin(self, number: int, name: str | None) -> None:
        """Have a node run a shard; None for any node."""
        self.shards[number].pinned = name

    def holder(self, name: str) -> tuple[str, int] | None:
        """Return host and process of the node of a name."""
        row = self.nodes.get(name)
        return None if row is None else (row.host, row.process)
