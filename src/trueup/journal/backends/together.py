"""Become the writer of several streams in one transaction, as when a dead node's accounts move.

One opening alone asks about 25 statements. Openings that wait for the same session at the same time
are a group: the first that gets the session asks for all of them, with the statements of one. So a
group forms only where there is a queue, and nobody waits for it.

This is the way of a sound stream that nobody writes. Whatever is unusual leaves the stream to the
opening of a single stream (`writing.store`), which repairs or refuses it: a stream without a writer
so far, a lock that is not free, an overlapping stream, a tail that is not proven, a stream that has
ended, an error of the server. A group that fails has changed nothing, and its members open alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from trueup.core.book.events import StreamClosed
from trueup.core.claims import shared_by_streams
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends.server_session import ServerSession
from trueup.journal.database.database import Claim, Continued, Database, ReadAhead
from trueup.journal.database.migrate import ARCHIVES, is_current
from trueup.journal.journal import GENESIS, Checkpoint, Tip
from trueup.journal.rows.chain import BrokenChain, Row, checkpoint_digest, proven

# Earlier servers do not have the settings of `_TAKE`.
OLDEST: Final = 120_000
# So many streams are opened in a transaction at most: their appends wait for the same session.
GROUP_MOST: Final = 16
# So many events after the newest checkpoint are read with the opening, else page by page.
READ_AHEAD_MOST: Final = 500

# The lock of the account first, as for a single stream, but without waiting for it. Then how the
# server plans what follows in the transaction: for 16 partitions it plans longer than it looks into
# one, so plans are kept; and it would compile them (JIT), which takes seconds.
_TAKE: Final = """
SELECT key, CASE WHEN pg_try_advisory_xact_lock(account) THEN pg_try_advisory_lock(key) END,
    set_config('plan_cache_mode', 'force_generic_plan', true), set_config('jit', 'off', true)
FROM unnest(%s::bigint[], %s::bigint[]) AS t (account, key)
"""
_RELEASE: Final = "SELECT pg_advisory_unlock(key) FROM unnest(%s::bigint[]) AS key"
# With the names of all streams of the accounts: others than the wanted ones may overlap. Each limit
# makes the server look into an index for each wanted stream, whatever it knows about the table.
_WRITERS: Final = """
SELECT t.stream, w.token, w.position, w.hash, r.version_num, c.position, c.digest, c.state,
    (SELECT e.hash FROM journal_events e WHERE e.stream = t.stream AND e.position = 1),
    ARRAY(SELECT o.stream FROM journal_writers o WHERE split_part(o.stream, '/', 1) = ANY (%s))
FROM unnest(%s::text[]) AS t (stream)
CROSS JOIN LATERAL (
    SELECT token, position, hash FROM journal_writers WHERE stream = t.stream LIMIT 1
) w
LEFT JOIN LATERAL (
    SELECT position, digest, state FROM journal_checkpoints
    WHERE stream = t.stream ORDER BY position DESC LIMIT 1
) c ON TRUE
CROSS JOIN journal_revision r
"""
_ANCHORS: Final = """
SELECT DISTINCT ON (stream) stream, position, first_hash FROM journal_archives
WHERE stream = ANY (%s) ORDER BY stream, position DESC
"""
# From the given row on, and at least the last transaction with the row before it.
_ROWS: Final = f"""
SELECT t.stream, e.* FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS t (stream, tip, start)
LEFT JOIN LATERAL (
    SELECT b.position FROM journal_events b WHERE b.stream = t.stream AND b.batch <> t.tip
    ORDER BY b.position DESC LIMIT 1
) b ON TRUE
CROSS JOIN LATERAL (
    SELECT e.position, e.batch, e.at_ns, e.kind, e.payload, e.intent_id, e.hash
    FROM journal_events e
    WHERE e.stream = t.stream AND e.position >= least(t.start, coalesce(b.position, 0))
    ORDER BY e.position LIMIT {2 * READ_AHEAD_MOST}
) e
"""
# The fence: the row must still be as it was read.
_SIGN: Final = """
UPDATE journal_writers w SET token = t.token + 1, holder = t.holder, since_ns = t.since_ns
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bytea[], %s::text[], %s::bigint[])
    AS t (stream, token, position, hash, holder, since_ns)
WHERE w.stream = t.stream AND w.token = t.token AND w.position = t.position AND w.hash = t.hash
RETURNING w.stream
"""


class Member:
    """An opening that may be done together with others.

    Args:
        stream: the stream.
        account: its account, which the names of all its streams begin with.
        keys: the numbers of the advisory locks: the account's, and the stream's.
        claim: the claim that is held once this process is the writer.
        holder: the name of this program.
        now_ns: the time of the opening.
        permit: called in the transaction; raises `JournalConflict` to refuse.
    """

    def __init__(
        self,
        stream: str,
        account: str,
        keys: tuple[int, int],
        claim: Claim,
        holder: str,
        now_ns: int,
        permit: Callable[[], None],
    ) -> None:
        self.stream, self.account, self.holder, self.now_ns = stream, account, holder, now_ns
        self.account_key, self.key = keys
        self.claim = claim
        self.is_decided: bool = False
        """Whether a group had this opening among it."""
        self.continued: Continued | None = None
        """What the opening came to; None leaves it to the opening of a single stream."""
        self._permit = permit

    def is_permitted(self) -> bool:
        """Return whether this process may become the writer."""
        try:
            self._permit()
        except JournalConflict:
            # The opening alone asks again, and names the reason.
            return False
        return True


def continue_together(
    session: ServerSession, database: Database, member: Member
) -> Continued | None:
    """Become the writer of a stream, with the streams whose openings wait for the same session.

    Args:
        session: the session of all of them.
        database: a user of the session, for the statements.
        member: this opening.
    """
    with contextlib.ExitStack() as undo:
        undo.callback(_withdraw, session, member)
        session.openings.append(member)
        with session.lock:
            # Members that another thread has decided meanwhile are no longer in the queue.
            while not member.is_decided:
                count = min(GROUP_MOST, len(session.openings))
                group = [session.openings.popleft() for _ in range(count)]
                try:
                    _become_writers(session, database, group)
                finally:
                    for one in group:
                        one.is_decided = True
        undo.pop_all()
    return member.continued


def _withdraw(session: ServerSession, member: Member) -> None:
    """Undo an opening whose thread was interrupted: nobody waits for it any more."""
    with session.lock:
        with contextlib.suppress(ValueError):
            session.openings.remove(member)
        member.claim.release()


def _become_writers(session: ServerSession, database: Database, group: Iterable[Member]) -> None:
    """Become the writer of all streams of a group that are sound and free."""
    # The server gives a session the same lock again, so a writer of this process has to be known.
    wanted = {
        one.key: one
        for one in group
        if session.claims.get(one.key) is None and one.key not in session.held
    }
    asked: list[int] = []
    is_over = False
    try:
        session.probe()
        with database.writing():
            members = [one for one in wanted.values() if one.is_permitted()]
            asked = [one.key for one in members]
            free = _taken(database, members)
            found = _continued(database, free)
            refused = {one.key for one in free} - {one.key for one, _ in found}
            # Before the commit: whoever opens alone must find the lock free.
            if refused:
                database.fetch(_RELEASE, list(refused))
        for one, continued in found:
            session.held.add(one.key)
            session.claims[one.key] = one.claim
            one.continued = continued
        is_over = True
    except JournalError:
        _release(session, database, asked)
        is_over = True
    finally:
        if not is_over:
            # Interrupted: nobody knows which locks the session has.
            session.end()


def _release(session: ServerSession, database: Database, keys: list[int]) -> None:
    """Release locks of a group that failed; a session that cannot release them is ended."""
    if not keys or not session.is_alive:
        return
    try:
        database.fetch(_RELEASE, keys)
    except JournalError:
        session.end()


def _taken(database: Database, members: Sequence[Member]) -> list[Member]:
    """Take the locks that are free, and return their members."""
    if not members:
        return []
    accounts = [one.account_key for one in members]
    rows = database.fetch(_TAKE, accounts, [one.key for one in members])
    taken = {key for key, is_taken, *_ in rows if is_taken}
    return [one for one in members if one.key in taken]


class _Known(NamedTuple):
    """The row of a writer, its newest checkpoint, and the streams of the group's accounts."""

    token: int
    position: int
    hash: bytes
    revision: str
    saved_at: int | None
    digest: bytes | None
    state: bytes | None
    first_hash: bytes | None
    names: list[str]

    @property
    def tip(self) -> Tip:
        """The end of the chain after the last append."""
        return Tip(self.position, self.hash)

    @property
    def start(self) -> int:
        """The position from which rows are read: that of the checkpoint, if it is not far."""
        saved_at = self.saved_at or 0
        return saved_at if self.position - saved_at <= READ_AHEAD_MOST else self.position


def _continued(database: Database, free: Sequence[Member]) -> list[tuple[Member, Continued]]:
    """Sign as the writer of all sound streams, whose locks are taken, and return them."""
    if not free:
        return []
    streams = [one.stream for one in free]
    rows = database.fetch(_WRITERS, [one.account for one in free], streams)
    known = {str(stream): _Known(*row) for stream, *row in rows}
    anchors: dict[str, tuple[int, bytes]] = {}
    if any(one.revision >= ARCHIVES for one in known.values()):
        anchors = {name: (end, first) for name, end, first in database.fetch(_ANCHORS, streams)}
    simple = {
        name: known[name]
        for name in streams
        if name in known
        and is_current(known[name].revision)
        and not any(shared_by_streams(name, other) for other in known[name].names)
    }
    tips, starts = (
        [getattr(one, what) for one in simple.values()] for what in ("position", "start")
    )
    events = database.fetch(_ROWS, list(simple), tips, starts)
    tails = {
        name: [Row(*row) for _, *row in rows] for name, rows in groupby(events, key=itemgetter(0))
    }
    sound = [
        (one, simple[one.stream], ahead)
        for one in free
        if one.stream in simple
        and (ahead := _proven_end(one.stream, simple[one.stream], tails, anchors)) is not None
    ]
    if not sound:
        return []
    columns = [
        (one.stream, row.token, row.position, row.hash, one.holder, one.now_ns)
        for one, row, _ in sound
    ]
    signed = database.fetch(_SIGN, *(list(column) for column in zip(*columns, strict=True)))
    if len(signed) != len(sound):
        raise JournalError(f"{database.name}: a writer's row changed under its lock.")
    return [
        (one, Continued(one.claim, row.token + 1, row.tip, ahead.whole()))
        for one, row, ahead in sound
    ]


class _Ahead(NamedTuple):
    """What was read ahead of a stream; without a first hash it is not used."""

    checkpoint: Checkpoint | None
    rows: list[Row]
    first_hash: bytes | None

    def whole(self) -> ReadAhead | None:
        if self.first_hash is None:
            return None
        return ReadAhead(self.checkpoint, self.rows, self.first_hash)


def _proven_end(
    stream: str,
    known: _Known,
    tails: Mapping[str, list[Row]],
    anchors: Mapping[str, tuple[int, bytes]],
) -> _Ahead | None:
    """Prove a stream to its acknowledged end; return what was read, or None if it is not sound."""
    rows = tails.get(stream)
    if not rows:
        return None
    first = rows[0]
    archived, archived_hash = anchors.get(stream, (0, None))
    if first.position == 1:
        before, rest = GENESIS, rows
    else:
        before, rest = Tip(first.position, first.hash), rows[1:]
        # The row before must end its own transaction, and must be the one that was asked for.
        if first.position != first.batch or first.position > known.start:
            return None
    # What is archived in part, and what has ended, is for the opening alone.
    if first.position < archived or not rest or rest[-1].kind == StreamClosed.__name__:
        return None
    try:
        if proven(stream, rest, before) != known.tip:
            return None
    except BrokenChain:
        return None
    return _read_ahead(stream, known, rows, archived_hash or known.first_hash)


def _read_ahead(stream: str, known: _Known, rows: list[Row], first_hash: bytes | None) -> _Ahead:
    """Return the checkpoint and the rows after it, if both are here and the checkpoint is sound."""
    nothing = _Ahead(None, [], None)
    first = rows[0].position
    if known.saved_at is None:
        return _Ahead(None, rows, first_hash) if first == 1 else nothing
    index = known.saved_at - first
    if not 0 <= index < len(rows):
        return nothing
    tip = Tip(rows[index].position, rows[index].hash)
    state = known.state
    if state is None or checkpoint_digest(stream, tip, state) != known.digest:
        # The opening of the book warns of it, and looks for an earlier one.
        return nothing
    return _Ahead(Checkpoint(known.saved_at, state), rows[index + 1 :], first_hash)
