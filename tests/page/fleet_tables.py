"""A fleet in a real PostgreSQL, whose nodes are memberships of the test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import psycopg

from trueup.doors.fleet.membership import AccountRow, Membership, OwnedShard
from trueup.doors.fleet.shards import shard_of
from trueup.doors.fleet.tables import ensure_tables, fleet_database

SHARDS = 16
LEASE_SEC = 3_600.0


class FleetTables:
    """The tables; close it with `undo`."""

    def __init__(self, url: str, undo: ExitStack) -> None:
        self.url, self._undo = url, undo
        self.sql = undo.enter_context(psycopg.connect(url, autocommit=True))
        database = fleet_database(url)
        database.connect()
        ensure_tables(database, SHARDS)
        database.close()
        self.nodes: dict[str, Membership] = {}
        self.owned: dict[str, Mapping[int, OwnedShard]] = {}

    def join(self, *names: str) -> None:
        """Let nodes join, and share the shards."""
        for name in names:
            database = fleet_database(self.url)
            database.connect()
            self._undo.callback(database.close)
            self.nodes[name] = Membership(database, name, f"run of {name}", LEASE_SEC)
            assert self.nodes[name].join(f"host-of-{name}", 4711) == ""
        for place, name in enumerate(names):
            share = range(place, SHARDS, len(names))
            self.owned[name] = self.nodes[name].claim(share, SHARDS, of_dead=False)

    def tell(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Let the nodes tell of accounts by name: state, sentence, who paused, and why."""
        by_node: dict[str, list[AccountRow]] = {name: [] for name in self.nodes}
        for account, (state, *rest) in rows.items():
            number = shard_of(account, SHARDS)
            name = next(name for name, owned in self.owned.items() if number in owned)
            epoch = self.owned[name][number].epoch
            by_node[name].append(AccountRow(account, number, epoch, state, *rest))
        for name, told in by_node.items():
            self.nodes[name].tell(told)
            self.beat(name, running=sum(row.state == "runs" for row in told), of=len(told))

    def beat(self, name: str, *, running: int, of: int, tells: bool = True) -> None:
        """Let a node send a heartbeat with its report."""
        report = {
            "running": running,
            "waiting": of - running,
            "accounts": 99,
            "tells_accounts": tells,
        }
        self.nodes[name].beat(range(SHARDS), json.dumps(report))

    def lose(self, name: str) -> None:
        """Let a node's lease end."""
        self.sql.execute("UPDATE fleet_nodes SET beat = beat - 2 * lease WHERE name = %s", (name,))

    def acts(self) -> list[tuple[str, ...]]:
        """What persons have asked: the verb, what about, who and why."""
        rows = self.sql.execute(
            "SELECT verb, account || node, who, why FROM fleet_acts ORDER BY number"
        )
        return [tuple(row) for row in rows.fetchall()]
