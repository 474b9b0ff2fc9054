"""What a person asks of a fleet: its state, and drain, move, pause and resume.

Each is a row in the tables, which the nodes read with their next heartbeat. So they work while a
node is away, and a node that comes back obeys them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self

from trueup.doors.fleet.shards import shard_of
from trueup.doors.fleet.tables import fleet_database, number_of_shards, tells_accounts
from trueup.errors import Refused
from trueup.journal.database.database import Database

_NODES: Final = """
SELECT n.name, n.host, n.process,
    CASE WHEN n.beat < clock_timestamp() - n.lease THEN 'lost'
        WHEN n.drained_by <> '' THEN 'drained' ELSE 'alive' END,
    extract(epoch FROM n.lease)::float8,
    extract(epoch FROM clock_timestamp() - n.beat)::float8, n.drained_by, n.drained_why, n.report,
    (SELECT count(*) FROM fleet_shards s WHERE s.node = n.name AND s.run = n.run)
FROM fleet_nodes n ORDER BY n.name
"""
_SHARDS: Final = """
SELECT s.number, s.epoch, coalesce(s.pinned, ''), s.pinned_by,
    CASE WHEN n.beat >= clock_timestamp() - n.lease THEN n.name ELSE '' END
FROM fleet_shards s LEFT JOIN fleet_nodes n ON n.name = s.node AND n.run = s.run
WHERE s.node IS NOT NULL OR s.pinned IS NOT NULL ORDER BY s.number
"""
_PAUSES: Final = "SELECT account, who, why, at::text FROM fleet_pauses ORDER BY account"
_DRAIN: Final = (
    "UPDATE fleet_nodes SET drained_by = %s, drained_why = %s WHERE name = %s RETURNING name"
)
_PIN: Final = (
    "UPDATE fleet_shards SET pinned = %s, pinned_by = %s WHERE number = %s RETURNING number"
)
_PAUSE: Final = (
    "INSERT INTO fleet_pauses (account, who, why, at) VALUES (%s, %s, %s, clock_timestamp())"
    " ON CONFLICT (account) DO NOTHING RETURNING account"
)
_RESUME: Final = "DELETE FROM fleet_pauses WHERE account = %s RETURNING account"
_ACT: Final = (
    "INSERT INTO fleet_acts (at, verb, account, node, who, why)"
    " VALUES (clock_timestamp(), %s, %s, %s, %s, %s)"
)


class Fleet:
    """The fleet of a journal, for a person's commands; close it after use.

    Args:
        journal: the URL of the journal.

    Raises:
        SettingsError: the journal is no PostgreSQL database.
        NoFleet: the database has no fleet.
        JournalError: the database cannot be reached, or a newer trueup made the fleet.
    """

    def __init__(self, journal: str | Path) -> None:
        self.database: Database = fleet_database(journal)
        """The database, connected."""
        self.database.connect()
        with contextlib.ExitStack() as undo:
            undo.callback(self.database.close)
            self.shards: int = number_of_shards(self.database)
            """The number of shards."""
            self.tells_accounts: bool = tells_accounts(self.database)
            """Whether the tables have the accounts and acts: those of an earlier release do not."""
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def status(self) -> dict[str, Any]:
        """Return nodes, shards and pauses as plain values, as of one moment."""
        with self.database.reading():
            nodes, pauses = self.nodes(), self.pauses()
            shards = [_shard(*row) for row in self.database.fetch(_SHARDS)]
        return {
            "shards": self.shards,
            "owned": sum(bool(shard["node"]) for shard in shards),
            "refused_orders": sum(node["refused_orders"] for node in nodes),
            "same_accounts": same_accounts(nodes),
            "nodes": nodes,
            "owners": shards,
            "pauses": pauses,
        }

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes by name, as plain values."""
        return [_node(*row) for row in self.database.fetch(_NODES)]

    def pauses(self) -> list[dict[str, Any]]:
        """Return the pauses by account; the empty name is for all."""
        return [
            {"account": account, "who": who, "why": why, "since": since}
            for account, who, why, since in self.database.fetch(_PAUSES)
        ]

    def drain(self, node: str, who: str, why: str) -> None:
        """Have a node give all its shards back, and take none until `undrain`.

        Raises:
            Refused: there is no such node.
        """
        with self.database.writing():
            self._node_changed(_DRAIN, who, why, node)
            self._note("drain", who, why, node=node)

    def undrain(self, node: str, who: str, why: str = "") -> None:
        """Let a node take shards again.

        Raises:
            Refused: there is no such node.
        """
        with self.database.writing():
            self._node_changed(_DRAIN, "", "", node)
            self._note("undrain", who, why, node=node)

    def move(self, account: str, node: str, who: str, why: str = "") -> int:
        """Have a node run the shard of an account; return the shard's number.

        The shard stays there while the node is alive. An empty node ends that.

        Raises:
            Refused: there is no such node.
        """
        if node:
            self._known(node)
        number = shard_of(account, self.shards)
        with self.database.writing():
            self.database.fetch(_PIN, node or None, who if node else "", number)
            self._note("move", who, why, account, node)
        return number

    def pause(self, account: str, who: str, why: str) -> bool:
        """Pause the strategy of an account, or of all under the empty name; return if it is new."""
        with self.database.writing():
            is_new = bool(self.database.fetch(_PAUSE, account, who, why))
            if is_new:
                self._note("pause", who, why, account)
        return is_new

    def resume(self, account: str, who: str, why: str = "") -> bool:
        """End a pause of the fleet; return whether there was one."""
        with self.database.writing():
            is_changed = bool(self.database.fetch(_RESUME, account))
            if is_changed:
                self._note("resume", who, why, account)
        return is_changed

    def _note(self, verb: str, who: str, why: str, account: str = "", node: str = "") -> None:
        if self.tells_accounts:
            self.database.change(_ACT, verb, account, node, who, why)

    def _node_changed(self, statement: str, *values: object) -> None:
        if not self.database.fetch(statement, *values):
            self._refuse(str(values[-1]))

    def _known(self, node: str) -> None:
        if not any(row[0] == node for row in self.database.fetch(_NODES)):
            self._refuse(node)

    def _refuse(self, node: str) -> None:
        names = ", ".join(_names(self.database.fetch(_NODES))) or "none"
        raise Refused(f"There is no node {node!r:.60}: the nodes are {names}.")


def same_accounts(nodes: Iterable[dict[str, Any]]) -> bool:
    """Return whether all living nodes have the same accounts in their lists."""
    files = {node["accounts_file"] for node in nodes if node["state"] != "lost"}
    return len(files - {0}) <= 1


def _names(rows: list[Any]) -> Iterator[str]:
    yield from (str(row[0]) for row in rows)


def _node(
    name: str,
    host: str,
    process: int,
    state: str,
    lease_sec: float,
    silent_sec: float,
    drained_by: str,
    drained_why: str,
    report: str,
    shards: int,
) -> dict[str, Any]:
    told = json.loads(report)
    return {
        "name": name,
        "host": host,
        "process": process,
        "state": state,
        "lease_sec": lease_sec,
        "silent_sec": round(silent_sec, 1),
        "drained_by": drained_by,
        "drained_why": drained_why,
        "shards": shards,
        "running": told.get("running", 0),
        "believed": told.get("believed", 0),
        "not_running": told.get("waiting", 0) + told.get("stopped", 0),
        "refused_orders": told.get("refused_orders", 0),
        "accounts_file": told.get("accounts", 0),
        "tells_accounts": bool(told.get("tells_accounts")),
        "troubles": [
            {"account": account, "trouble": text}
            for account, text in told.get("troubles", {}).items()
        ],
    }


def _shard(number: int, epoch: int, pinned: str, pinned_by: str, node: str) -> dict[str, Any]:
    return {
        "shard": number,
        "node": node,
        "epoch": epoch,
        "moved_to": pinned,
        "moved_by": pinned_by,
    }
