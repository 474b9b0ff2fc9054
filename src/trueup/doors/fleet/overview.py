"""A fleet as a person looks at it: its nodes, the accounts that are asked for, and what was asked.

Everything is of one moment of the database, and all times and ages are by its server's clock. A row
of an account counts only under the claim that its shard has now: what a dead node told is not the
present.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, NamedTuple

from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.telling import Told
from trueup.journal.database.database import Database
from trueup.observe.status.findings import PATIENCE_SEC

ROWS_OF_A_PAGE: Final = 100
ACTS_SHOWN: Final = 10
NEEDING_SHOWN: Final = 10
NO_NODE: Final = "no node"
STATES: Final = (
    *(Told.NEEDS_PERSON.value, NO_NODE, Told.STOPPED.value),
    *(Told.RETRIES.value, Told.OPENING.value, Told.RUNS.value),
)
"""The states of accounts, the worst first."""
ALL, PAUSED, UNWELL = "all", "paused", "not running"
"""More that may be asked for: any state, any while paused, and any but the best."""
# More accounts than these are counted, and only those that do not run are listed.
LISTED_MOST: Final = 100

# As a person counts: what is tried again for too long is a person's, and a pause of the whole fleet
# is one of each account, also of those that are not open.
_SEEN: Final = f"""
WITH found AS (
    SELECT a.account, a.shard, coalesce(n.name, '') AS node, a.epoch = s.epoch AS is_told,
        CASE WHEN n.name IS NULL THEN '{NO_NODE}'
            WHEN a.epoch <> s.epoch THEN '{Told.OPENING.value}'
            WHEN a.state = '{Told.RETRIES.value}'
                AND a.since < clock_timestamp() - interval '{PATIENCE_SEC} seconds'
            THEN '{Told.NEEDS_PERSON.value}' ELSE a.state END AS state,
        a.sentence, coalesce(p.who, nullif(a.paused_by, ''), w.who, '') AS paused_by,
        CASE WHEN p.who IS NOT NULL THEN p.why WHEN a.paused_by <> '' THEN a.paused_why
            ELSE coalesce(w.why, '') END AS paused_why,
        p.who IS NOT NULL AS in_fleet, a.since, coalesce(s.pinned, '') AS pinned
    FROM fleet_accounts a JOIN fleet_shards s ON s.number = a.shard
    LEFT JOIN fleet_nodes n ON n.name = s.node AND n.run = s.run
        AND n.beat >= clock_timestamp() - n.lease
    LEFT JOIN fleet_pauses p ON p.account = a.account
    LEFT JOIN fleet_pauses w ON w.account = ''
)
"""
_COUNTS: Final = f"""{_SEEN}
SELECT state, count(*), count(*) FILTER (WHERE paused_by <> '') FROM found GROUP BY state
"""
_ROWS: Final = f"""{_SEEN}
SELECT account, shard, node, state, CASE WHEN is_told AND node <> '' THEN sentence ELSE '' END,
    paused_by, paused_why, in_fleet, since, pinned, count(*) OVER ()
FROM found
WHERE (%s = '' OR position(lower(%s) IN lower(account)) > 0
        OR position(lower(%s) IN lower(sentence)) > 0)
    AND (%s = '' OR state = %s OR (%s = '{PAUSED}' AND paused_by <> '')
        OR (%s = '{UNWELL}' AND state <> '{Told.RUNS.value}'))
    AND (%s = '' OR node = %s)
ORDER BY array_position(%s::text[], state), account LIMIT %s OFFSET %s
"""
_ACCOUNT: Final = f"""{_SEEN}
SELECT account, shard, node, state, sentence, paused_by, paused_why, in_fleet, since, pinned
FROM found WHERE account = %s
"""
_ACTS: Final = (
    "SELECT at, verb, account, node, who, why FROM fleet_acts ORDER BY number DESC LIMIT %s"
)


class Wanted(NamedTuple):
    """Which accounts are asked for: a part of a name or sentence, a state, a node, a page.

    `state` may also be `ALL`, `PAUSED` or `UNWELL`. Pages count from 1. Empty texts ask for all; of
    many accounts then only those that do not run are listed.
    """

    find: str = ""
    state: str = ""
    node: str = ""
    page: int = 1


class AccountLine(NamedTuple):
    """An account: its node (empty for none), its state and why it is so, and who paused it.

    `in_fleet` says that the pause is the fleet's, for this account alone. `since` is ISO 8601.
    `pinned` is the node that a person wants it at, empty for any.
    """

    account: str
    shard: int
    node: str
    state: str
    sentence: str
    paused_by: str
    paused_why: str
    in_fleet: bool
    since: str
    pinned: str


class ActLine(NamedTuple):
    """What a person has asked: when (ISO 8601), the verb, what it is about, who and why."""

    at: str
    verb: str
    account: str
    node: str
    who: str
    why: str


class FleetView(NamedTuple):
    """A fleet at a moment.

    Attributes:
        at: the server's time, ISO 8601.
        nodes: the nodes by name, as `trueup fleet status` has them.
        pauses: the pauses of the fleet; the empty account is for all.
        tells_accounts: whether the tables have accounts and acts.
        counts: how many accounts are in each state, the worst first.
        paused: how many accounts are paused.
        wanted: what was asked for, with the state that was listed.
        rows: the accounts of the page that was asked for.
        found: how many there are on all pages.
        needing: the first accounts that need a person, whatever was asked for.
        acts: the newest acts.
    """

    at: str
    nodes: tuple[dict[str, Any], ...]
    pauses: tuple[dict[str, Any], ...] = ()
    tells_accounts: bool = False
    counts: dict[str, int] = {}  # noqa: RUF012 - never changed
    paused: int = 0
    wanted: Wanted = Wanted()
    rows: tuple[AccountLine, ...] = ()
    found: int = 0
    needing: tuple[AccountLine, ...] = ()
    acts: tuple[ActLine, ...] = ()

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.found // ROWS_OF_A_PAGE))


def view_of(fleet: Fleet, wanted: Wanted) -> FleetView:
    """Read a fleet, as of one moment.

    Raises:
        JournalError: the database cannot be reached.
    """
    database = fleet.database
    with database.reading():
        ((now,),) = database.fetch("SELECT clock_timestamp()")
        view = FleetView(_iso(now), tuple(fleet.nodes()), tuple(fleet.pauses()))
        return _with_accounts(view, database, wanted) if fleet.tells_accounts else view


def _with_accounts(view: FleetView, database: Database, wanted: Wanted) -> FleetView:
    counts, paused = dict.fromkeys(STATES, 0), 0
    for state, count, of_them in database.fetch(_COUNTS):
        counts[state], paused = count, paused + of_them
    is_searched = any(wanted[:3])
    if not is_searched and sum(counts.values()) > LISTED_MOST:
        wanted = wanted._replace(state=UNWELL)
    rows = _rows(database, wanted)
    needs = Wanted(state=Told.NEEDS_PERSON.value)
    needing = _rows(database, needs, NEEDING_SHOWN) if counts[needs.state] else []
    acts = [ActLine(_iso(at), *rest) for at, *rest in database.fetch(_ACTS, ACTS_SHOWN)]
    return view._replace(
        tells_accounts=True,
        counts=counts,
        paused=paused,
        wanted=wanted,
        rows=tuple(_line(*row[:-1]) for row in rows),
        found=rows[0][-1] if rows else 0,
        acts=tuple(acts),
        needing=tuple(_line(*row[:-1]) for row in needing),
    )


def _rows(database: Database, wanted: Wanted, most: int = ROWS_OF_A_PAGE) -> list[Any]:
    find, state, node = (text.replace("\0", "") for text in wanted[:3])
    state = "" if state == ALL else state
    given = (*[find] * 3, *[state] * 4, node, node, list(STATES), most)
    skipped = ROWS_OF_A_PAGE * (wanted.page - 1)
    rows = database.fetch(_ROWS, *given, skipped)
    # A page that is no more, as after accounts have gone: the first instead.
    return rows if rows or not skipped else database.fetch(_ROWS, *given, 0)


def _line(*row: Any) -> AccountLine:
    return AccountLine._make([*row[:-2], _iso(row[-2]), row[-1]])


def account_of(fleet: Fleet, name: str) -> AccountLine | None:
    """Return an account by its name, None if no node has told it.

    Raises:
        JournalError: the database cannot be reached.
    """
    rows = fleet.database.fetch(_ACCOUNT, name.replace("\0", ""))
    return _line(*rows[0]) if rows else None


def accounts_of_shard(fleet: Fleet, number: int) -> int:
    """Return how many accounts a shard has.

    Raises:
        JournalError: the database cannot be reached.
    """
    statement = "SELECT count(*) FROM fleet_accounts WHERE shard = %s"
    return int(fleet.database.fetch(statement, number)[0][0])


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()
