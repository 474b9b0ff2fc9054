"""Read a stream, while its writer runs or after.

Nothing here changes the journal. Rows are proven while they are read. A damaged last transaction is
left out with a warning, since the next writer will set that transaction aside. Damage before the
last transaction is an error that names the first damaged position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from trueup.core.book.events import AccountBound, Event, StreamClosed
from trueup.core.book.saved import account_in
from trueup.errors import JournalCorrupt, JournalError
from trueup.journal.database.database import Database
from trueup.journal.database.migrate import require_current
from trueup.journal.journal import Checkpoint, Fault, Record, Tip, Verdict
from trueup.journal.reading.anchors import Anchor, archived_rows, faults_of, readable_after
from trueup.journal.reading.table import EventTable
from trueup.journal.rows.chain import BrokenChain, Row, checkpoint_digest
from trueup.journal.rows.codec import LARGEST_NS, decode
from trueup.logs import Logger, logger

log: Logger = logger("trueup.journal")


class JournalReader:
    """A stream of a journal, open for reading.

    Threads may share a reader and take turns; a forked process may not use the reader.
    """

    def __init__(self, database: Database, stream: str) -> None:
        self._database = database
        self._sql = database.statements
        self._table = EventTable(database, stream)

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self._table.stream

    @property
    def position(self) -> int:
        """The position of the last proven event; 0 for an empty stream."""
        self._ready()
        return self._end().position

    @property
    def holder(self) -> str:
        """The last writer of the stream, whether that process still runs or not."""
        self._ready()
        writer = self._table.writer()
        return "" if writer is None else writer.holder

    @property
    def successor(self) -> str:
        """The stream that took the book of this stream over; '' if this stream has not ended."""
        self._ready()
        return successor_of(self._table)

    @property
    def account(self) -> str:
        """The account that the stream was bound to last, as login@server; '' for none.

        The rows are not proven.
        """
        self._ready()
        saved = self.latest_checkpoint()
        bound = None if saved is None else account_in(saved.state)
        after = 0 if saved is None else saved.position
        row = self._table.newest_of(AccountBound.__name__, after)
        event = bound if row is None else decode(row.position, row.kind, row.payload)
        return f"{event.login}@{event.server}" if isinstance(event, AccountBound) else ""

    @property
    def first_hash(self) -> bytes | None:
        """The hash of the first event, the same in every copy of the stream; None without events.

        The row is not proven.
        """
        self._ready()
        first = self._table.live_tip(1)
        if first is not None:
            return first.hash
        anchor = self._table.anchors.last()
        if anchor is not None:
            return anchor.first_hash
        # It may have been put back in between.
        first = self._table.live_tip(1)
        return None if first is None else first.hash

    @property
    def archived(self) -> list[Anchor]:
        """What was archived of the stream, the oldest first."""
        self._ready()
        return self._table.anchors.all()

    @property
    def live_after(self) -> int:
        """The position after which the events are in the journal itself; 0 without an archive."""
        self._ready()
        return self._table.begin().position

    @property
    def readable_after(self) -> int:
        """The position after which every event can be read; 0 unless an archive is elsewhere."""
        return readable_after(self.archived)

    def beginning(self) -> Checkpoint | None:
        """Return the saved book from which a fold must start; None if every event can be read."""
        after = self.readable_after
        anchors = self._table.anchors
        return next((anchors.saved(one) for one in anchors.all() if one.position == after), None)

    def hash_at(self, position: int) -> bytes | None:
        """Return the hash of the event at a position, not proven; None for no such row."""
        self._ready()
        tip = self._table.tip_at(position)
        return None if tip is None else tip.hash

    def orders_among(self, order_ids: Collection[str]) -> set[str]:
        """Return those of these orders whose intents are in the stream, archived or not."""
        self._ready()
        intents, stream = self._sql.intents, self.stream
        # Of a single moment, or an order that is put back in between is at neither place.
        with self._database.reading_events():
            live = {one for one in order_ids if self._database.fetch(intents, stream, one)}
            return live | self._table.anchors.orders_among(order_ids)

    def read(
        self,
        after: int = 0,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> Iterator[Event]:
        """Yield events, oldest first; see `records`."""
        for record in self.records(after, since_ns=since_ns, until_ns=until_ns, kinds=kinds):
            yield record.event

    def records(
        self,
        after: int = 0,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> Iterator[Record]:
        """Yield the events after a position with position, time, kind and hash, oldest first.

        Args:
            after: the position before the first event.
            since_ns: only events at or after this time, in nanoseconds of UTC.
            until_ns: only events before this time, in nanoseconds of UTC.
            kinds: only events of these kinds.

        Without a range of time the hash chain is proven on the way. With a range, rows outside are
        skipped, so the chain cannot be proven. Events that are appended meanwhile are left out.

        Archived events are read from their files, where these are still at their places.

        Raises:
            EventsArchived: events that were asked for are in an archive, and its file is elsewhere.
            JournalCorrupt: a row was altered or is missing, or does not decode.
            JournalError: an event is of a newer trueup, or the journal cannot be read.
        """
        self._ready()
        # A range of time leaves out rows, and a chain with gaps proves nothing.
        if since_ns is None and until_ns is None:
            rows = self._proven(after)
        else:
            end = LARGEST_NS if until_ns is None else until_ns
            rows = self._between(since_ns or 0, end, after)
        for row in rows:
            if kinds is None or row.kind in kinds:
                event = decode(row.position, row.kind, row.payload)
                yield Record(row.position, row.at_ns, row.kind, event, row.hash)

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the newest valid checkpoint, or None; warn about each damaged checkpoint."""
        self._ready()
        for position in self._checkpoints():
            state = self._checkpoint(position)
            if state is not None:
                return Checkpoint(position, state)
            if position not in self._checkpoints():
                # Dropped meanwhile by the writer, or by an archiving.
                continue
            log.warning(
                "[JOURNAL] The checkpoint at position %s is damaged: an earlier one, or the events "
                "themselves, will do",
                position,
                extra={"event": "journal.checkpoint_damaged", "position": position},
            )
        anchor = self._table.anchors.last()
        if anchor is None or not self._has_book(anchor):
            return None
        return self._table.anchors.saved(anchor)

    def verify(
        self,
        tell: Callable[[int], None] | None = None,
        *,
        archives: bool = False,
        folder: Path | None = None,
    ) -> Verdict:
        """Prove the whole journal: every row, the chain, the noted tips, the checkpoints.

        What was archived is proven with `archives`; without, the rest is proven from its end on.

        Args:
            tell: is told the position of the last proven event from time to time.
            archives: prove the files of the archived events as well.
            folder: where these files are; by default where they were written.

        Raises:
            JournalError: the journal cannot be read at all.
        """
        self._ready()
        # Before the rows: an append meanwhile would otherwise look like a lost end.
        known = self._known_tips()
        tip, damage = self._table.prove(tell)
        anchors = self._table.anchors.all()
        faults = list(faults_of(self.stream, anchors, folder, with_files=archives))
        if damage is not None:
            faults.append(Fault(damage.position, damage.because))
        begin = self._table.begin().position
        # The chain alone cannot show a lost end or a rewritten history: both leave a valid chain.
        for acknowledged in known:
            if acknowledged.position > tip.position:
                faults.append(_lost(tip.position + 1, acknowledged.position))
            elif begin <= acknowledged.position and not self._has(acknowledged):
                faults.append(_rewritten(acknowledged.position))
        faults += self._checkpoint_faults(anchors[-1:])
        faults += [Fault(0, finding) for finding in self._database.check()]
        return Verdict(tip, tuple(faults))

    def _checkpoint_faults(self, anchors: list[Anchor]) -> Iterator[Fault]:
        for position in self._checkpoints():
            if self._checkpoint(position) is None and position in self._checkpoints():
                yield Fault(position, f"the checkpoint at position {position} is damaged")
        for anchor in anchors:
            if not self._has_book(anchor) and self._table.anchors.last() == anchor:
                position = anchor.book_position
                yield Fault(position, f"the archive's saved book at position {position} is damaged")

    def close(self) -> None:
        """Close the connection; closing twice does no harm."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ready(self) -> None:
        self._database.restore()

    def _proven(self, after: int) -> Iterator[Row]:
        # Where an event is in the table, those after it are as well. Looking there costs less than
        # the question for what was archived.
        start = self._table.live_tip(after) if after > 0 else None
        while True:
            if start is None:
                for row in self._archived(after):
                    yield row
                    after = row.position
                start, begin = self._table.places(after)
                if start is None:
                    if after < begin.position:
                        # Archived since the look at the files.
                        continue
                    return
            try:
                for transaction in self._table.transactions(start):
                    yield from transaction
                    after = transaction[-1].position
                return
            except BrokenChain as broken:
                # Rows that were archived meanwhile are read from their file.
                if after >= self._table.begin().position:
                    self._refuse_damage(broken)
                    return
                start = None

    def _archived(self, after: int) -> Iterator[Row]:
        anchors = self._table.anchors.all()
        return archived_rows(self.stream, anchors, after)

    def _refuse_damage(self, broken: BrokenChain) -> None:
        """Refuse a broken chain, unless only the last transaction is damaged."""
        _, damage = self._table.prove()
        if damage is None or not damage.torn:
            raise JournalCorrupt(f"{self._database.name}: {broken.because}.") from broken
        self._warn_torn(damage.because)

    def _between(self, since_ns: int, until_ns: int, after: int) -> Iterator[Row]:
        end = self._end().position
        anchors = self._table.anchors.all()
        # Files are opened only where one of their events may be in the range.
        wanted = [one for one in anchors if one.newest_ns >= since_ns and one.position > after]
        for row in archived_rows(self.stream, wanted, after):
            if since_ns <= row.at_ns < until_ns:
                yield row
        begin = anchors[-1].position if anchors else 0
        yield from self._table.rows_between(since_ns, until_ns, end, max(after, begin))
        if self._table.begin().position > max(after, begin):
            raise JournalError(
                f"Events of stream {self.stream!r} were archived while they were read: read again."
            )

    def _end(self) -> Tip:
        """Return the end of the last complete transaction.

        Raises:
            JournalCorrupt: the journal is damaged before its last transaction.
        """
        tip = self._table.tail()
        if tip is not None:
            return tip
        tip, damage = self._table.prove()
        if damage is not None:
            if not damage.torn:
                raise JournalCorrupt(f"{self._database.name}: {damage.because}.")
            self._warn_torn(damage.because)
        return tip

    def _warn_torn(self, because: str) -> None:
        log.warning(
            "[JOURNAL] %s: %s; reading ends before its transaction",
            self._database.name,
            because,
            extra={"event": "journal.torn"},
        )

    def _known_tips(self) -> list[Tip]:
        """Return the acknowledged tips: in the writer's row, and in the writer's note."""
        writer = self._table.writer()
        tips = [None if writer is None else writer.tip, self._database.note(self.stream)]
        return sorted({tip for tip in tips if tip is not None and tip.position > 0})

    def _checkpoints(self) -> list[int]:
        return [row[0] for row in self._database.fetch(self._sql.checkpoints, self.stream)]

    def _checkpoint(self, position: int) -> bytes | None:
        """Return the state of a checkpoint if its digest is valid, else None."""
        rows = self._database.fetch(self._sql.checkpoint, self.stream, position)
        return self._valid(position, *rows[0]) if rows else None

    def _has(self, tip: Tip) -> bool:
        return self._table.tip_at(tip.position) == tip

    def _has_book(self, anchor: Anchor) -> bool:
        """Return whether the saved book of an anchor is valid."""
        book = self._table.anchors.book(anchor)
        return self._valid(anchor.book_position, anchor.book_digest, book) is not None

    def _valid(self, position: int, digest: bytes, state: object) -> bytes | None:
        tip = self._table.tip_at(position)
        if tip is None:
            return None
        if not isinstance(state, bytes) or checkpoint_digest(self.stream, tip, state) != digest:
            return None
        return state


def successor_of(table: EventTable) -> str:
    """Return the stream that took the book of a stream over; '' if the stream has not ended."""
    # The kind first: another last event may be of a newer release, and need not decode.
    last = table.last_row()
    if last is None or last.kind != StreamClosed.__name__:
        return ""
    event = decode(last.position, last.kind, last.payload)
    return event.by if isinstance(event, StreamClosed) else ""


def _lost(first: int, last: int) -> Fault:
    because = f"the events at positions {first} to {last} were acknowledged and are gone"
    return Fault(first, because, is_loss=True)


def _rewritten(position: int) -> Fault:
    return Fault(position, f"the event at position {position} is not the one acknowledged")


def open_to_read(database: Database, stream: str | None) -> JournalReader:
    """Connect, and find the stream; without a name, the only one there is.

    Raises:
        JournalError: the journal cannot be opened, or has no such stream.
    """
    database.connect()
    try:
        require_current(database)
        return JournalReader(database, _chosen(database, stream))
    except JournalError:
        database.close()
        raise


def _chosen(database: Database, stream: str | None) -> str:
    names = [str(row[0]) for row in database.fetch(database.statements.streams)]
    if stream is None and len(names) == 1:
        return names[0]
    if stream in names:
        return str(stream)
    known = ", ".join(map(repr, names)) or "none yet"
    asked = "Say which stream" if stream is None else f"There is no stream {stream!r}"
    raise JournalError(f"{asked} of {database.name} to read: it has {known}.")
