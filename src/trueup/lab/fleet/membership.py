"""A node's membership at the simulated server: the statements of `doors.fleet.membership`.

`tests/fleet/test_membership_contract.py` shows that both do the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trueup.doors.fleet.membership import Membership, OwnedShard, Pause, Replaced, Resumer, View
from trueup.errors import JournalConflict
from trueup.journal.database.database import Database
from trueup.lab.fleet.server import Client, Server


class SimulatedMembership(Membership):
    """One process's membership.

    Args:
        server: the server.
        client: the process.
        name: the node's name.
        run: the name of the process.
        lease_sec: the node counts as dead so long after its last heartbeat.
    """

    def __init__(
        self, server: Server, client: Client, name: str, run: str, lease_sec: float
    ) -> None:
        unused: Any = None
        super().__init__(unused, name, run, lease_sec)
        self._server, self._client = server, client

    def join(self, host: str, process: int) -> str:
        """Become the node of this name; see `Membership.join`."""
        server = self._server
        is_ours = server.ask(
            self._client, lambda: server.join(self.name, self.run, host, process, self.lease_sec)
        )
        if is_ours:
            return ""
        holder = server.ask(self._client, lambda: server.holder(self.name))
        return "another process" if holder is None else f"process {holder[1]} on {holder[0]}"

    def beat(self, accounts: Iterable[int], report: str) -> View:
        """Send a heartbeat; see `Membership.beat`."""
        server, client, wanted = self._server, self._client, frozenset(accounts)
        beat = server.ask(client, lambda: server.beat(self.name, self.run))
        if beat is None:
            raise Replaced(f"Another process is node {self.name} now, or the node was removed.")
        is_drained, is_settled = beat
        # A statement each: between them the world goes on.
        loads = server.ask(client, lambda: server.loads(wanted))
        owned = server.ask(client, self._owned)
        pauses = server.ask(client, lambda: dict(server.pauses))
        return View(is_drained, is_settled, owned, loads, pauses)

    def _owned(self) -> dict[int, OwnedShard]:
        return {
            number: OwnedShard(shard.epoch, shard.pinned)
            for number, shard in self._server.shards.items()
            if (shard.node, shard.run) == (self.name, self.run)
        }

    def claim(
        self, accounts: Iterable[int], most: int, *, of_dead: bool, pinned_alone: bool = False
    ) -> dict[int, OwnedShard]:
        """Claim shards that no living node has; see `Membership.claim`."""
        server, wanted = self._server, frozenset(accounts)
        sent = server.send(self._client)
        looked_ns, server_ns = server.schedule.now_ns, server.now_ns
        seen = server.look(self.name, wanted, most, of_dead=of_dead, pinned_alone=pinned_alone)
        if seen:
            server.wait_for_locks()
        taken = server.take(self.name, self.run, seen, looked_ns, server_ns)
        server.answer(self._client, sent)
        return {number: OwnedShard(*found) for number, found in taken.items()}

    def give_back(self, number: int, epoch: int, *, as_dead: bool = False) -> None:
        """Give a shard back; see `Membership.give_back`."""
        server, dead = self._server, (number,) if as_dead else ()
        server.ask(self._client, lambda: server.give_back(self.name, self.run, number, epoch, dead))

    def resumers(self, ended: Mapping[str, Pause]) -> dict[str, Resumer]:
        """Return an empty mapping: the pauses of a simulation end by themselves."""
        self._server.ask(self._client, lambda: None)
        return {}

    def leave(self, as_dead: Iterable[int] = ()) -> None:
        """Give all shards back and end the membership; see `Membership.leave`."""
        server, dead = self._server, tuple(as_dead)
        server.ask(self._client, lambda: server.leave(self.name, self.run, dead))

    def permit(self, database: Database, number: int, epoch: int) -> None:
        """Check, within a transaction of the journal, that a shard is this node's.

        Raises:
            JournalConflict: another node has the shard.
        """
        if not self._server.is_of(number, epoch, self.name, self.run):
            raise JournalConflict(f"Shard {number} is no longer of node {self.name}.")
