"""How long the accounts of a fleet are without an owner, and without a reading, by account.

Both ends of a time are noted where they happen: the database has when a shard was claimed, and a
gateway when the new owner read the account first, which is known by its fencing token. So events
may overlap: an account that another event meets before it was read counts for the later one alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from tests.fleet.fleet_world import FleetWorld
from tests.support.fleet_gateways import Readings
from trueup.doors.fleet.shards import shard_of
from trueup.doors.fleet.tables import SHARDS

_SHARDS = """
SELECT s.number, s.epoch, coalesce(extract(epoch FROM s.since), 0)::float8,
    CASE WHEN n.beat >= clock_timestamp() - n.lease THEN n.name ELSE '' END
FROM fleet_shards s LEFT JOIN fleet_nodes n ON n.name = s.node AND n.run = s.run
"""
_NODES = """
SELECT name, process, beat >= clock_timestamp() - lease, extract(epoch FROM beat)::float8
FROM fleet_nodes
"""


class Ownership(NamedTuple):
    """Who has a shard: by which claim, since when (seconds since 1970), and the living node."""

    epoch: int
    since: float
    node: str


class Member(NamedTuple):
    """A node by its row: its process, whether it is alive, and its last heartbeat."""

    process: int
    is_alive: bool
    beat: float


class Look(NamedTuple):
    """A look at the whole fleet: the accounts, the nodes, and when each account was read."""

    owners: Mapping[str, Ownership]
    members: Mapping[str, Member]
    readings: Mapping[str, Readings]

    def at(self, node: str) -> list[str]:
        """Return the accounts of a node."""
        return [name for name, owner in self.owners.items() if owner.node == node]


class Looker:
    """Looks at a fleet over a connection of its own."""

    def __init__(self, world: FleetWorld) -> None:
        self._world = world
        self._connection: psycopg.Connection[Any] | None = None

    def look(self) -> Look | None:
        """Return a look; None while the database is away."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._world.url, autocommit=True)
            shards = {n: Ownership(*row) for n, *row in self._connection.execute(_SHARDS)}
            members = {name: Member(*row) for name, *row in self._connection.execute(_NODES)}
        except psycopg.Error:
            self.close()
            return None
        names = self._world.names
        owners = {name: shards[shard_of(name, SHARDS)] for name in names}
        readings = dict(zip(names, self._world.gateways.readings(), strict=True))
        return Look(owners, members, readings)

    def close(self) -> None:
        """Close the connection; the next look makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Takeover:
    """What becomes of the accounts that an event meets.

    Args:
        kind: the kind of the event.
        accounts: the accounts.
        look: how they were at the event.
        is_claimed: whether they get another owner; if not, they are only to be read again.
    """

    def __init__(
        self, kind: str, accounts: Iterable[str], look: Look, *, is_claimed: bool = True
    ) -> None:
        self.kind, self._is_claimed = kind, is_claimed
        self._began = time.time()
        self._left = {
            name: (look.owners[name].epoch, max(look.readings[name].first, default=0))
            for name in accounts
        }
        self._claims: dict[str, float] = {}
        self.recovered: list[float] = []
        """Seconds from the event to the first reading by a new owner, for each account."""

    @property
    def left(self) -> list[str]:
        """The accounts that were not read yet."""
        return list(self._left)

    @property
    def claimed(self) -> list[float]:
        """Seconds from the event to the claim, for each account."""
        return [at - self._began for at in self._claims.values()]

    def is_over(self, _: Look) -> bool:
        """Whether all accounts were read."""
        return not self._left

    def forget(self, accounts: Iterable[str]) -> None:
        """Leave accounts to a later event."""
        for name in accounts:
            if self._left.pop(name, None) is not None:
                self._claims.pop(name, None)

    def see(self, look: Look) -> None:
        """Note what has become of the accounts."""
        for name, (epoch, token) in list(self._left.items()):
            owner, reading = look.owners[name], look.readings[name]
            if not self._is_claimed:
                read_at = reading.last if reading.last > self._began else None
            else:
                if owner.epoch > epoch:
                    self._claims.setdefault(name, owner.since)
                begun = self._claims.get(name, math.inf)
                first = [at for by, at in reading.first.items() if by > token and at >= begun]
                read_at = min(first, default=None)
            if read_at is not None:
                self.recovered.append(read_at - self._began)
                del self._left[name]


class Times:
    """The times of all events by kind, and their table."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.takeovers: list[Takeover] = []
        self.others: dict[str, list[float]] = {}
        """Seconds until the nodes are as before, of the events that move no accounts."""

    def count(self, kind: str) -> None:
        """Count an event."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def note(self, kind: str, seconds: float) -> None:
        """Note how long an event that moves no accounts took."""
        self.others.setdefault(kind, []).append(seconds)

    def table(self) -> str:
        """Return the times as a table."""
        head = f"{'event':<24}{'count':>6}{'accounts':>9}"
        columns = "".join(f"{what:>11} p50    p99    max" for what in ("claimed", "recovered"))
        lines = [f"{head}{columns}  (seconds)"]
        for kind, count in sorted(self.counts.items()):
            of_kind = [one for one in self.takeovers if one.kind == kind]
            claimed = [sec for one in of_kind for sec in one.claimed]
            recovered = [sec for one in of_kind for sec in one.recovered]
            recovered += self.others.get(kind, [])
            accounts = len(recovered) if of_kind else "-"
            lines.append(
                f"{kind:<24}{count:>6}{accounts:>9}{_cells(claimed)}{_cells(recovered)}".rstrip()
            )
        return "\n".join(lines)


def _cells(seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{'-':>15}{'-':>7}{'-':>7}"
    ranked = sorted(seconds)

    def share(part: float) -> float:
        return ranked[math.ceil(part * len(ranked)) - 1]

    return f"{share(0.5):>15.1f}{share(0.99):>7.1f}{ranked[-1]:>7.1f}"
