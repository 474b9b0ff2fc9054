"""Reconstruct both books as known at a moment, from the journal alone.

Our book is the fold of the events up to that moment. The journal has no snapshots of the broker, so
the broker's book is derived from the corrections of readings and from the replies to orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.model import Position, describe_at, describe_order
from trueup.journal import Record
from trueup.observe.audit_text import AuditRow
from trueup.observe.replay_text import Scene, SceneRow, SceneSide
from trueup.observe.status_text import DoubtRow
from trueup.runtime.story.story import AuditWriter
from trueup.runtime.time.clock import iso

READING, ANSWER = "reading", "answer"
Answered = events.OrderFilled | events.OrderApplied


class _Seen(NamedTuple):
    """A position as last told by the broker, with the time (ns) and the source."""

    position: Position
    at_ns: int
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


def replay(records: Iterable[Record], stream: str, at_ns: int, last: int) -> Scene:
    """Fold a journal up to and including a moment (ns of UTC), with entries for `last` events."""
    book, remote, newest = Book(), _Remote(), _Newest(last)
    position, newest_ns = 0, None
    for record in records:
        if record.at_ns > at_ns:
            break
        # The book first: whether a reply changed a position is read from the book.
        book.apply(record.event)
        remote.apply(record.event, book)
        newest.take(record)
        position, newest_ns = record.position, record.at_ns
    account = book.account
    # Plain values: the scene is printed as text or as JSON.
    return Scene(
        at=iso(at_ns),
        stream=stream,
        position=position,
        last_event=None if newest_ns is None else iso(newest_ns),
        account=book.bound.name if book.bound else None,
        margin_mode=account.margin_mode.value if account else "",
        realised=book.realised,
        currency=account.currency if account else "",
        currency_digits=account.currency_digits if account else None,
        rows=_rows(book, remote),
        pending=[f"{ticket} {describe_order(p.order)}" for ticket, p in book.pending.items()],
        in_doubt=[
            DoubtRow(o.order_id, o.action, o.volume, o.symbol, o.error or "", iso(o.doubt_ns))
            for o in book.in_doubt.values()
        ],
        missing=[_missing(book, identifier, ns) for identifier, ns in book.missing.items()],
        halts=[halt.because for halt in book.halts.values()],
        decisions=newest.told(),
    )


def _rows(book: Book, remote: _Remote) -> list[SceneRow]:
    rows = []
    for identifier in {**book.holdings, **remote.positions}:
        holding, seen = book.holdings.get(identifier), remote.positions.get(identifier)
        local = None if holding is None else holding.position
        shown = local or (seen.position if seen else None)
        if shown is not None:
            told = (iso(seen.at_ns), seen.by) if seen else ("", "")
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
