"""Make the last entries of a story without reading the whole journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.journal import Record
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import AuditRow
from trueup.runtime.story.story import NO_ORDERS, AuditFilter, story

# An order has up to five events, so a few more than the wanted entries are mostly enough.
FIRST_WINDOW = 200
WIDER = 8


class Known(NamedTuple):
    """The orders of ours up to a position of the journal, by their tickets at the broker."""

    position: int = 0
    by_ticket: Mapping[int, str] = NO_ORDERS


def known_orders(reader: JournalReader) -> Known:
    """Return the orders of the newest checkpoint.

    Raises:
        JournalError: the journal cannot be read.
    """
    saved = reader.latest_checkpoint()
    if saved is None:
        return Known()
    orders = Book.restore(saved.state).orders_by_ticket
    ours = {ticket: order.order_id for ticket, order in orders.items() if not order.is_stand_in}
    return Known(saved.position, ours)


def newest_rows(
    read: Callable[[int], Iterable[Record]],
    end: int,
    count: int,
    wanted: AuditFilter,
    known: Known | None = None,
) -> list[AuditRow]:
    """Return the last entries that pass a filter, oldest first, as the whole story has them.

    The entry of an order's step needs the order's intent. So more of the journal is read until the
    intent of each step is there, in the worst case the whole journal.

    Args:
        read: yields the records after a position.
        end: the position of the last record.
        count: the most entries.
        wanted: the filter; it must not be by ticket, since a later event names a ticket's orders.
        known: earlier orders, for the ids of the orders behind positions; None leaves these out.
    """
    window = FIRST_WINDOW + count
    by_ticket = NO_ORDERS if known is None else known.by_ticket
    while True:
        after = max(0, min(end - window, end if known is None else known.position))
        without_intent: set[int] = set()
        told = story(_noting(read(after), without_intent), wanted, by_ticket)
        rows = deque(told, maxlen=count)
        is_whole = len(rows) == count and without_intent.isdisjoint(row.position for row in rows)
        if is_whole or after == 0:
            return list(rows)
        window *= WIDER


def _noting(records: Iterable[Record], without_intent: set[int]) -> Iterator[Record]:
    """Yield records, and note the positions of steps of orders whose intent was not among them."""
    begun: set[str] = set()
    for record in records:
        event = record.event
        if isinstance(event, events.OrderCreated):
            begun.add(event.order_id)
        elif isinstance(event, events.OrderEvent) and event.order_id not in begun:
            without_intent.add(record.position)
        yield record
