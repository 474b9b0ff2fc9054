"""Read the story of a book from its journal: the newest entries, an order's steps, one moment.

The newest entries are read from the end of the journal, so a journal of years costs no more than
one of a day. A search goes back in steps, and says how far it went.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from trueup.core.book import events
from trueup.doors.page.past.landmarks import Landmarks
from trueup.doors.watch import Place
from trueup.errors import JournalError
from trueup.journal import Record, open_reader
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import AuditRow
from trueup.observe.replay_text import Scene
from trueup.observe.status.status import Status
from trueup.runtime.story.story import AuditFilter, AuditWriter, orders_of, story

ON_A_SCREEN = 100
FIRST_WINDOW = 2_000
WIDER = 8
# A search reads so many events before it asks whether to go on.
SEARCHED = 16_000
ORDERS = 50
EXPLAINED = 10
END_NS = 2**63 - 1


class Search(NamedTuple):
    """What is wanted: a text, a ticket, an action, and only events before a position; 0 for all."""

    text: str = ""
    ticket: int | None = None
    action: str = ""
    before: int = 0

    def fits(self, row: AuditRow) -> bool:
        """Return whether an entry has the text."""
        words = f"{row.action} {row.details} {row.order_id or ''} {row.ticket or ''}"
        return self.text.lower() in words.lower()


class Found(NamedTuple):
    """The entries, the newest first, the number of events, and where an older search begins.

    `older` is 0 if everything was read.
    """

    rows: list[AuditRow]
    events: int
    older: int


class OrderRow(NamedTuple):
    """An order of the journal: the entry of its intent, and its latest entry."""

    first: AuditRow
    last: AuditRow
    state: str


@contextmanager
def journal_of(status: Status, place: Place) -> Iterator[JournalReader]:
    """Open the journal of a book for reading.

    Raises:
        JournalError: the book has no journal, or the journal cannot be read.
    """
    if not status.journal and not status.stream:
        raise JournalError("This book has no journal: its story ends with the bot, in its log.")
    where = status.journal_file or place.journal
    with open_reader(where, status.stream or place.stream) as reader:
        yield reader


def newest(reader: JournalReader, wanted: Search, count: int = ON_A_SCREEN) -> Found:
    """Return the newest entries that fit."""
    end, begin = reader.position, reader.readable_after
    before = wanted.before or end + 1
    # An archive is read from its beginning, which takes seconds: only for who asks for older ones.
    floor = reader.live_after if reader.live_after < before - 1 else begin
    window = FIRST_WINDOW
    while True:
        after = max(floor, before - 1 - window)
        rows = _rows(reader, after, before, wanted)
        if len(rows) > count:
            return Found(rows[:count], end, rows[count - 1].position)
        if after <= floor or window >= SEARCHED:
            return Found(rows, end, after + 1 if after > begin else 0)
        window = min(window * WIDER, SEARCHED)


def _rows(reader: JournalReader, after: int, before: int, wanted: Search) -> list[AuditRow]:
    """Return the entries between two positions that fit, the newest first."""
    ids: frozenset[str] = frozenset()
    if wanted.ticket is not None:
        # A later event may name the ticket of an earlier order.
        ids = orders_of(reader.records(after), wanted.ticket)
    actions = frozenset([wanted.action] if wanted.action else [])
    fits = AuditFilter(wanted.ticket, actions, ids)
    told = story(_until(reader.records(after), before), fits)
    return [row for row in told if wanted.fits(row)][::-1]


def _until(records: Iterator[Record], before: int) -> Iterator[Record]:
    return itertools.takewhile(lambda record: record.position < before, records)


def orders(reader: JournalReader) -> list[OrderRow]:
    """Return the newest orders, the newest first."""
    window, end, begin = FIRST_WINDOW, reader.position, reader.readable_after
    while True:
        after = max(begin, end - window)
        found = _orders(reader, after)
        if len(found) >= ORDERS or after <= begin or window >= SEARCHED:
            return found[::-1][:ORDERS]
        window = min(window * WIDER, SEARCHED)


def _orders(reader: JournalReader, after: int) -> list[OrderRow]:
    writer, found = AuditWriter(), dict[str, OrderRow]()
    for record in reader.records(after):
        event = record.event
        if not isinstance(event, events.OrderEvent):
            continue
        row = writer.row_of(record)
        if isinstance(event, events.OrderCreated):
            found[event.order_id] = OrderRow(row, row, row.after)
        elif event.order_id in found:
            known = found[event.order_id]
            found[event.order_id] = OrderRow(known.first, row, row.after)
    return list(found.values())


def steps(reader: JournalReader, order_id: str) -> list[AuditRow]:
    """Return the entries of an order, the oldest first; empty if the journal has no such order."""
    window, end, begin = FIRST_WINDOW, reader.position, reader.readable_after
    while True:
        after = max(begin, end - window)
        rows = _steps(reader, after, order_id)
        # The intent is the first event of an order.
        if rows and rows[0].action == INTENT:
            return rows
        if after <= begin:
            # Where the order is in an archive that is elsewhere, the reading says so.
            is_archived = not rows and begin and reader.orders_among([order_id])
            return _steps(reader, 0, order_id) if is_archived else rows
        window *= WIDER


def _steps(reader: JournalReader, after: int, order_id: str) -> list[AuditRow]:
    writer, rows = AuditWriter(), []
    for record in reader.records(after):
        event = record.event
        if isinstance(event, events.OrderEvent) and event.order_id == order_id:
            rows.append(writer.row_of(record))
    return rows


INTENT = "INTENT"


class Scenes:
    """Both books of a journal at any moment.

    Args:
        status: the book's status.
        place: the journal of the page.
        landmarks: the books in between that are kept.
    """

    def __init__(self, status: Status, place: Place, landmarks: Landmarks) -> None:
        self._status, self._place, self._landmarks = status, place, landmarks

    def at_event(self, reader: JournalReader, position: int) -> Scene:
        """Return both books as they were known after an event.

        Raises:
            NotYet: the journal is long, and being read for the first time.
            JournalError: the journal has no such event.
        """
        record = next(iter(reader.records(position - 1)), None) if position > 0 else None
        if record is None:
            raise JournalError(f"The journal has no event {position}: it has {reader.position}.")
        return self._scene(reader, position, END_NS, record.at_ns)

    def at_moment(self, reader: JournalReader, at_ns: int) -> Scene:
        """Return both books as they were known at a moment (ns of UTC).

        Raises:
            NotYet: the journal is long, and being read for the first time.
        """
        return self._scene(reader, reader.position, at_ns, at_ns)

    def _scene(self, reader: JournalReader, position: int, at_ns: int, shown_ns: int) -> Scene:
        def opened() -> AbstractContextManager[JournalReader]:
            return journal_of(self._status, self._place)

        place = self._status.journal_file or str(self._place.journal)
        books = self._landmarks.books(reader, opened, place, position=position, at_ns=at_ns)
        after = max(0, books.position - FIRST_WINDOW)
        told = _rows(reader, after, books.position + 1, Search())
        return books.scene(reader.stream, shown_ns, told[:EXPLAINED][::-1])
