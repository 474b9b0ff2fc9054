"""Reconstruct both books as known at a moment, from the journal alone.

Our book is the fold of the events up to that moment. The journal has no snapshots of the broker, so
the broker's book is derived from the corrections of readings and from the replies to orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.dates import iso
from trueup.core.model import Position, describe_at, describe_order
from trueup.journal import Record
from trueup.journal.journal import Checkpoint
from trueup.observe.audit_text import AuditRow
from trueup.observe.replay_text import DoubtRow, Scene, SceneRow, SceneSide
from trueup.runtime.story.story import AuditWriter

READING, ANSWER = "reading", "answer"
Answered = events.OrderFilled | events.OrderApplied


class _Seen(NamedTuple):
    """A position as last told by the broker; the time (ns) and the source, if they are known."""

    position: Position
    at_ns: int | None
    by: str


class _Remote:
    """The broker's book, derived from events."""

    def __init__(self) -> None:
        self.positions: dict[int, _Seen] = {}

    def apply(self, event: events.Event, book: Book) -> None:
        """Apply an event; the book must have applied the event already."""
        at_ns = event.at_ns
        match event:
            case events.PositionAdopted(position=p) | events.PositionFound(position=p):
                self.positions[p.identifier] = _Seen(p, at_ns, READING)
            case events.PositionCorrected(remote=p):
                self.positions[p.identifier] = _Seen(p, at_ns, READING)
            case events.PositionClosed(position=p) | events.PositionMissing(position=p):
                self.positions.pop(p.identifier, None)
            case events.OrderFilled() | events.OrderApplied():
                self._answered(event, book)

    def _answered(self, event: Answered, book: Book) -> None:
        for identifier in self._changed(event, book):
            holding = book.holdings.get(identifier)
            if holding is None:
                self.positions.pop(identifier, None)
            elif holding.version == book.version:
                self.positions[identifier] = _Seen(holding.position, event.at_ns, ANSWER)

    def _changed(self, event: Answered, book: Book) -> list[int]:
        """Return the identifiers of the positions that a reply may have changed."""
        if book.nets and isinstance(event, events.OrderFilled):
            return [*self.positions, *book.holdings]
        return [event.ticket, book.orders[event.order_id].position]


class _Newest:
    """Keep the newest events; entries are made at the end, since they cost more than the fold."""

    def __init__(self, count: int) -> None:
        self._records: deque[Record] = deque()
        self._count, self._audit = count, AuditWriter()

    def take(self, record: Record) -> None:
        """Add the next event, and drop the oldest."""
        self._records.append(record)
        if len(self._records) > self._count:
            self._audit.follow(self._records.popleft().event)

    def told(self) -> list[AuditRow]:
        """Return the entries of the newest events."""
        return [self._audit.row_of(record) for record in self._records]


class Replay:
    """Both books while a journal is folded, event after event.

    `position` is the place of the last event, 0 before the first; `newest_ns` is its time, and
    `latest_ns` the latest time of all events so far (ns of UTC), None before the first.
    """

    def __init__(self) -> None:
        self._book, self._remote = Book(), _Remote()
        self.position: int = 0
        self.newest_ns: int | None = None
        self.latest_ns: int | None = None

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, at_ns: int) -> Replay:
        """Return the books of a checkpoint.

        The broker's side of a position is what our book took over last, without its time.

        Args:
            saved: the checkpoint.
            at_ns: the time of its last event (ns of UTC).
        """
        made = cls()
        made._book = Book.restore(saved.state)
        made.position, made.newest_ns, made.latest_ns = saved.position, at_ns, at_ns
        for identifier, holding in made._book.holdings.items():
            if identifier not in made._book.missing:
                made._remote.positions[identifier] = _Seen(holding.position, None, "")
        return made

    @classmethod
    def restore(cls, saved: bytes) -> Replay:
        """Return the books that `state` returned."""
        found = _decode(saved)
        made = cls()
        made._book = Book.restore(found.book)
        made._remote.positions = {seen.position.identifier: seen for seen in found.remote}
        made.position, made.newest_ns = found.position, found.newest_ns
        made.latest_ns = found.latest_ns
        return made

    def state(self) -> bytes:
        """Return both books as bytes."""
        remote = list(self._remote.positions.values())
        state = self._book.state()
        kept = _Kept(state, remote, self.position, self.newest_ns, self.latest_ns)
        return msgspec.json.encode(kept)

    def apply(self, record: Record) -> None:
        """Apply the next event."""
        # The book first: whether a reply changed a position is read from the book.
        self._book.apply(record.event)
        self._remote.apply(record.event, self._book)
        self.position, self.newest_ns = record.position, record.at_ns
        self.latest_ns = max(record.at_ns, self.latest_ns or 0)

    def scene(self, stream: str, at_ns: int, decisions: list[AuditRow]) -> Scene:
        """Return both books as plain values, to be printed as text or as JSON."""
        book, account = self._book, self._book.account
        return Scene(
            at=iso(at_ns),
            stream=stream,
            position=self.position,
            last_event=None if self.newest_ns is None else iso(self.newest_ns),
            account=book.bound.name if book.bound else None,
            margin_mode=account.margin_mode.value if account else "",
            realised=book.realised,
            currency=account.currency if account else "",
            currency_digits=account.currency_digits if account else None,
            rows=_rows(book, self._remote),
            pending=[f"{ticket} {describe_order(p.order)}" for ticket, p in book.pending.items()],
            in_doubt=[
                DoubtRow(o.order_id, o.action, o.volume, o.symbol, o.error or "", iso(o.doubt_ns))
                for o in book.in_doubt.values()
            ],
            missing=[_missing(book, identifier, ns) for identifier, ns in book.missing.items()],
            halts=[halt.because for halt in book.halts.values()],
            decisions=decisions,
        )


class _Kept(msgspec.Struct, frozen=True):
    """The saved form of a `Replay`."""

    book: bytes
    remote: list[_Seen]
    position: int
    newest_ns: int | None
    latest_ns: int | None


_decode = msgspec.json.Decoder(_Kept).decode


def replay(records: Iterable[Record], stream: str, at_ns: int, last: int) -> Scene:
    """Fold a journal up to and including a moment (ns of UTC), with entries for `last` events."""
    books, newest = Replay(), _Newest(last)
    for record in records:
        if record.at_ns > at_ns:
            break
        books.apply(record)
        newest.take(record)
    return books.scene(stream, at_ns, newest.told())


def _rows(book: Book, remote: _Remote) -> list[SceneRow]:
    rows = []
    for identifier in {**book.holdings, **remote.positions}:
        holding, seen = book.holdings.get(identifier), remote.positions.get(identifier)
        local = None if holding is None else holding.position
        shown = local or (seen.position if seen else None)
        if shown is not None:
            told = (iso(seen.at_ns), seen.by) if seen and seen.at_ns is not None else ("", "")
            sides = (_side(local), _side(seen.position if seen else None))
            rows.append(SceneRow(shown.ticket, shown.symbol, *sides, *told))
    return rows


def _side(position: Position | None) -> SceneSide | None:
    if position is None:
        return None
    p = position
    return SceneSide(p.side.word, p.volume, p.price_open, p.sl, p.tp)


def _missing(book: Book, identifier: int, since_ns: int) -> str:
    holding = book.holdings.get(identifier)
    what = "" if holding is None else f", {describe_at(holding.position)}"
    return f"{identifier}{what}: not in the broker's list since {iso(since_ns)[11:19]}, no proof"
