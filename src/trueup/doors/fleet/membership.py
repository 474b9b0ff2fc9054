"""A node's membership in a fleet: heartbeats, claims of shards, and giving them back.

PostgreSQL decides everything: who is alive (by the server's clock alone), and who has a shard. No
node leads. A claim is a compare-and-set on the row of the shard: a statement first looks for shards
without a living owner, as of its own start, and then locks each row with the epoch that it saw. A
row that another node has claimed since then has a greater epoch, and PostgreSQL compares the epoch
again after it has locked the row. The join with the nodes alone would not do: an anti-join is not
evaluated again, so two nodes that look at the same moment would both claim.

A claim is a right to open the journals of the shard's accounts, and `permit` checks it in the very
transaction that makes a program the writer. So the fencing tokens of the journals have the order of
the claims. The lease is a courtesy: what a node does after its lease, the tokens make harmless.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from trueup.errors import JournalConflict
from trueup.journal.database.database import Database

FORGET_AFTER: Final = "1 day"
_IS_ALIVE: Final = "beat >= clock_timestamp() - lease"
_JOIN: Final = f"""
INSERT INTO fleet_nodes AS n (name, run, host, process, lease, since, beat)
VALUES (%s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET run = excluded.run, host = excluded.host,
    process = excluded.process, lease = excluded.lease, since = excluded.since,
    beat = excluded.beat, report = '{{}}'
WHERE n.run = excluded.run OR NOT (n.{_IS_ALIVE.replace("- lease", "- n.lease")})
RETURNING name
"""
_HOLDER: Final = "SELECT host, process FROM fleet_nodes WHERE name = %s"
# A series of heartbeats that was interrupted for a lease begins anew.
_BEAT: Final = f"""
UPDATE fleet_nodes SET beat = clock_timestamp(), report = %s,
    since = CASE WHEN {_IS_ALIVE} THEN since ELSE clock_timestamp() END
WHERE name = %s AND run = %s
RETURNING drained_by <> '', since <= clock_timestamp() - lease
"""
_OWNED: Final = "SELECT number, epoch, pinned FROM fleet_shards WHERE node = %s AND run = %s"
_NODES: Final = f"""
SELECT n.name, n.drained_by <> '',
    (SELECT count(*) FROM fleet_shards s
     WHERE s.node = n.name AND s.run = n.run AND s.number = ANY (%s))
FROM fleet_nodes n WHERE n.{_IS_ALIVE.replace("- lease", "- n.lease")}
"""
_PAUSES: Final = "SELECT account, who, why, at FROM fleet_pauses"
CLAIM: Final = """
WITH seen AS MATERIALIZED (
    SELECT s.number, s.epoch
    FROM fleet_shards s
    LEFT JOIN fleet_nodes n ON n.name = s.node AND n.run = s.run
    LEFT JOIN fleet_nodes p ON p.name = s.pinned
    WHERE s.number = ANY (%s)
        AND (s.node IS NULL OR n.name IS NULL OR (%s AND n.beat < clock_timestamp() - n.lease))
        AND (p.name IS NULL OR p.name = %s OR p.drained_by <> ''
            OR p.beat < clock_timestamp() - p.lease)
        AND (%s OR s.pinned = %s)
    ORDER BY s.number LIMIT %s
), locked AS (
    SELECT s.number, s.node
    FROM fleet_shards s JOIN seen ON seen.number = s.number AND seen.epoch = s.epoch
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE fleet_shards s
SET node = %s, run = %s, epoch = s.epoch + 1, since = clock_timestamp()
FROM locked WHERE locked.number = s.number
RETURNING s.number, s.epoch, s.pinned, coalesce(locked.node, '')
"""
# The name of a node without a run: the shard is free, and its next owner has a dead one before it.
_FREED: Final = (
    "UPDATE fleet_shards SET node = CASE WHEN number = ANY (%s) THEN node END, run = NULL"
)
_GIVE_BACK: Final = f"{_FREED} WHERE node = %s AND run = %s AND number = %s AND epoch = %s"
_GIVE_ALL_BACK: Final = f"{_FREED} WHERE node = %s AND run = %s"
_LEAVE: Final = "DELETE FROM fleet_nodes WHERE name = %s AND run = %s AND drained_by = ''"
# A drained node stays known, so that it is drained when it comes back.
_END: Final = (
    "UPDATE fleet_nodes SET beat = clock_timestamp() - 2 * lease WHERE name = %s AND run = %s"
)
_FORGET: Final = (
    f"DELETE FROM fleet_nodes WHERE beat < clock_timestamp() - interval '{FORGET_AFTER}'"
)
# A row of an older claim never replaces one of a newer: a node that was frozen may still tell.
_TELL: Final = """
INSERT INTO fleet_accounts AS a
    (account, shard, epoch, state, sentence, paused_by, paused_why, since)
SELECT t.*, clock_timestamp()
FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS t (account, shard, epoch, state, sentence, paused_by, paused_why)
JOIN fleet_shards s ON s.number = t.shard AND s.epoch = t.epoch AND s.node = %s AND s.run = %s
ON CONFLICT (account) DO UPDATE SET shard = excluded.shard, epoch = excluded.epoch,
    state = excluded.state, sentence = excluded.sentence, paused_by = excluded.paused_by,
    paused_why = excluded.paused_why,
    since = CASE WHEN a.state = excluded.state THEN a.since ELSE excluded.since END
WHERE a.epoch <= excluded.epoch
RETURNING account
"""
_FORGET_ACCOUNTS: Final = """
DELETE FROM fleet_accounts a USING fleet_shards s
WHERE s.number = a.shard
    AND NOT EXISTS (SELECT FROM fleet_nodes n WHERE n.name = s.node AND n.run = s.run
        AND NOT (n.name = %s AND n.run = %s) AND n.beat >= clock_timestamp() - n.lease)
    AND NOT EXISTS (SELECT FROM unnest(%s::text[]) AS t (account) WHERE t.account = a.account)
RETURNING a.account
"""
_RESUMERS: Final = """
SELECT DISTINCT ON (a.account) a.account, a.number, a.who, a.why
FROM unnest(%s::text[], %s::timestamptz[]) AS t (account, at)
JOIN fleet_acts a ON a.account = t.account AND a.verb = 'resume' AND a.at >= t.at
ORDER BY a.account, a.number DESC
"""
# Locked until the end of the transaction: no other node claims the shard meanwhile.
_PERMIT: Final = (
    "SELECT number FROM fleet_shards"
    " WHERE number = %s AND epoch = %s AND node = %s AND run = %s FOR SHARE"
)


class OwnedShard(NamedTuple):
    """A shard of this node: the epoch of its claim, and the node that a person wants it at.

    `former` is the node that had it and did not give it back; empty for none.
    """

    epoch: int
    pinned: str | None = None
    former: str = ""


class Pause(NamedTuple):
    """Who has paused, why, and when by the server's clock."""

    who: str
    why: str
    at: dt.datetime | None = None


class Resumer(NamedTuple):
    """Who has ended a pause, and why; `number` grows from act to act."""

    number: int
    who: str
    why: str


class View(NamedTuple):
    """What a heartbeat has found.

    Attributes:
        is_drained: whether a person drains this node.
        is_settled: whether this node has been alive for a whole lease without a break. Before that
            it claims no shard of a node that seems to be dead: after an outage of the database all
            nodes do.
        owned: the shards of this node by number.
        loads: the number of shards of each living node, this one included, that takes shards.
        pauses: the pauses by account; the empty name is for all.
    """

    is_drained: bool
    is_settled: bool
    owned: Mapping[int, OwnedShard]
    loads: Mapping[str, int]
    pauses: Mapping[str, Pause]


class AccountRow(NamedTuple):
    """What a node tells of an account: its state (`Told`), and why it is so.

    `shard` and `epoch` are the claim under which the account runs.
    """

    account: str
    shard: int
    epoch: int
    state: str
    sentence: str = ""
    paused_by: str = ""
    paused_why: str = ""


class Replaced(JournalConflict):
    """Another process is the node of this name now."""


class Membership:
    """One process's membership; a single thread uses it, except `permit`.

    Args:
        database: the database, connected, for this object alone.
        name: the node's name.
        run: the name of this process, unique among all.
        lease_sec: the node counts as dead so long after its last heartbeat.
    """

    def __init__(self, database: Database, name: str, run: str, lease_sec: float) -> None:
        self._database, self.name, self.run = database, name, run
        self.lease_sec: float = lease_sec

    @property
    def _me(self) -> tuple[str, str]:
        return self.name, self.run

    def join(self, host: str, process: int) -> str:
        """Become the node of this name; return '', or the living process that is the node already.

        Raises:
            JournalError: the database cannot be reached.
        """
        self._database.restore()
        lease = dt.timedelta(seconds=self.lease_sec)
        if self._database.fetch(_JOIN, *self._me, host, process, lease):
            self._database.fetch(f"{_FORGET} RETURNING name")
            return ""
        rows = self._database.fetch(_HOLDER, self.name)
        return "".join(f"process {pid} on {where}" for where, pid in rows) or "another process"

    def beat(self, accounts: Iterable[int], report: str) -> View:
        """Send a heartbeat, and return what the fleet is like.

        Args:
            accounts: the shards that have accounts.
            report: what this node tells about itself, JSON.

        Raises:
            Replaced: this process is no longer the node.
            JournalError: the database cannot be reached.
        """
        self._database.restore()
        rows = self._database.fetch(_BEAT, report, *self._me)
        if not rows:
            raise Replaced(f"Another process is node {self.name} now, or the node was removed.")
        ((is_drained, is_settled),) = rows
        nodes = self._database.fetch(_NODES, list(accounts))
        owned = self._database.fetch(_OWNED, *self._me)
        pauses = self._database.fetch(_PAUSES)
        return View(
            is_drained,
            is_settled,
            {number: OwnedShard(epoch, pinned) for number, epoch, pinned in owned},
            {name: load for name, drained, load in nodes if not drained},
            {account: Pause(*pause) for account, *pause in pauses},
        )

    def claim(
        self, accounts: Iterable[int], most: int, *, of_dead: bool, pinned_alone: bool = False
    ) -> dict[int, OwnedShard]:
        """Claim shards that no living node has; return them by number.

        Args:
            accounts: the shards that have accounts.
            most: how many to claim at most.
            of_dead: claim those of dead nodes as well.
            pinned_alone: claim only those that a person wants here.

        Raises:
            JournalError: the database cannot be reached; it may have taken the claims.
        """
        rows = self._database.fetch(
            CLAIM,
            list(accounts),
            of_dead,
            self.name,
            not pinned_alone,
            self.name,
            most,
            *self._me,
        )
        return {number: OwnedShard(*found) for number, *found in rows}

    def give_back(self, number: int, epoch: int, *, as_dead: bool = False) -> None:
        """Give a shard back, if it is still this node's by that claim.

        Args:
            number: the shard.
            epoch: the claim.
            as_dead: let its next owner find a dead node before it, as this one did.

        Raises:
            JournalError: the database cannot be reached.
        """
        dead = [number] if as_dead else []
        self._database.fetch(f"{_GIVE_BACK} RETURNING number", dead, *self._me, number, epoch)

    def tell(self, rows: Sequence[AccountRow]) -> None:
        """Tell the fleet's tables of accounts of shards that are this node's.

        Raises:
            JournalError: the database cannot be reached.
        """
        # In one order, so that two nodes never wait for each other.
        columns = [list(column) for column in zip(*sorted(rows), strict=True)]
        if columns:
            self._database.fetch(_TELL, *columns, *self._me)

    def forget_accounts(self, names: Iterable[str]) -> None:
        """Forget the accounts that are not among `names`, except those of another living node.

        Raises:
            JournalError: the database cannot be reached.
        """
        self._database.fetch(_FORGET_ACCOUNTS, *self._me, list(names))

    def resumers(self, ended: Mapping[str, Pause]) -> dict[str, Resumer]:
        """Return who has ended these pauses, and why, by account; the empty name is for all.

        A pause that an earlier release ended is not among them.

        Raises:
            JournalError: the database cannot be reached.
        """
        began = [pause.at for pause in ended.values()]
        rows = self._database.fetch(_RESUMERS, list(ended), began)
        return {account: Resumer(*act) for account, *act in rows}

    def leave(self, as_dead: Iterable[int] = ()) -> None:
        """Give all shards back and end the membership; `as_dead` as for `give_back`.

        Raises:
            JournalError: the database cannot be reached; the lease ends the membership.
        """
        self._database.restore()
        with self._database.writing():
            self._database.change(_GIVE_ALL_BACK, list(as_dead), *self._me)
            self._database.change(_LEAVE, *self._me)
            self._database.change(_END, *self._me)

    def permit(self, database: Database, number: int, epoch: int) -> None:
        """Check, within a transaction, that a shard is this node's, and keep it so until its end.

        Raises:
            JournalConflict: another node has the shard.
        """
        if not database.fetch(_PERMIT, number, epoch, *self._me):
            raise JournalConflict(f"Shard {number} is no longer of node {self.name}.")
