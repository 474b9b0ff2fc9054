"""Turn the events of a journal into entries: the guide's audit trail, and the steps of orders.

`runtime.story.audit` makes the entries of corrections, in the same words as in the log and in
memory. That trail has no entries for the steps of orders; this module adds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from trueup.core.book import events
from trueup.core.book.fills import FINISHED_KEPT
from trueup.core.book.lifecycle import OrderStatus, advance
from trueup.core.dates import iso
from trueup.journal import Journal, Record
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import AuditRow
from trueup.observe.event_words.of_orders import wish_of
from trueup.observe.event_words.table import words_of
from trueup.observe.event_words.words import OrderWords
from trueup.observe.status.status import EventRow
from trueup.runtime.story.audit import entry

LAST = 5
"""How many events a status has."""
# A journal has up to five events for each order, of which a status shows one or two.
LOOKED_AT = 40
STEPS = frozenset({"INTENT", "SENT", "DELIVERED"})
OVER = frozenset({OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELED})
# These events name the order's ticket at the broker.
WITH_TICKET = (events.OrderFilled, events.OrderApplied, events.OrderSettled)
NO_ORDERS: Mapping[int, str] = MappingProxyType({})
# After these events an order is over, whatever its state was before.
ENDS = (
    events.OrderFilled,
    events.OrderApplied,
    events.OrderRejected,
    events.OrderCanceled,
    events.OrderSettled,
)


class AuditWriter:
    """Make entries of events in order, and remember the orders under way for later entries.

    Args:
        by_ticket: the ids of earlier orders of ours by their tickets at the broker.
    """

    def __init__(self, by_ticket: Mapping[int, str] = NO_ORDERS) -> None:
        self._orders: dict[str, tuple[events.OrderCreated, OrderStatus]] = {}
        self._by_ticket = dict(by_ticket)

    def row_of(self, record: Record) -> AuditRow:
        """Return the entry of an event."""
        event = record.event
        self._note_ticket(event)
        order_id = getattr(event, "order_id", "") or self._order_behind(event)
        if isinstance(event, events.OrderEvent):
            action, ticket, details, before, after = self._order_facts(event)
        else:
            facts = entry(event)
            action, ticket, details = facts["action"], facts["ticket"], facts["details"]
            before, after = facts["before"], facts["after"]
        return AuditRow(
            iso(record.at_ns), record.position, action, ticket, order_id, details, before, after
        )

    def follow(self, event: events.Event) -> None:
        """Remember an event without making an entry."""
        self._note_ticket(event)
        if isinstance(event, events.OrderCreated):
            self._orders[event.order_id] = (event, OrderStatus.PENDING)
        elif isinstance(event, ENDS):
            self._orders.pop(event.order_id, None)
        elif isinstance(event, events.OrderEvent):
            self._step(event)

    def _note_ticket(self, event: events.Event) -> None:
        """Remember the ticket of an order, by which later events of its position name it."""
        if isinstance(event, WITH_TICKET) and event.ticket:
            # The first stays: some gateways name a position also in the answer to its close.
            self._by_ticket.setdefault(event.ticket, event.order_id)
            if len(self._by_ticket) > FINISHED_KEPT:
                del self._by_ticket[next(iter(self._by_ticket))]

    def _order_behind(self, event: events.Event) -> str | None:
        """Return the order of ours that opened the position, or placed the order, of an event."""
        tickets = words_of(event).tickets(event)
        return next((self._by_ticket[t] for t in sorted(tickets) if t in self._by_ticket), None)

    def _order_facts(self, event: events.OrderEvent) -> tuple[str, int | None, str, str, str]:
        created, before = self._step(event)
        after = self._orders[event.order_id][1].value if event.order_id in self._orders else ""
        self._forget(event.order_id)
        about = f"{event.order_id} ({wish_of(created)})" if created else event.order_id
        words = words_of(event)
        if not isinstance(words, OrderWords):
            raise TypeError(f"{type(event).__name__} is no step of an order that can be told")
        action, ticket, details = words.told(event, about, before)
        if not after:
            # The entries begin after the order's intent, so the state before is not known.
            return action, ticket, details, "", ""
        return action, ticket, details, before.value if before else "", after

    def _step(
        self, event: events.OrderEvent
    ) -> tuple[events.OrderCreated | None, OrderStatus | None]:
        if isinstance(event, events.OrderCreated):
            self._orders[event.order_id] = (event, OrderStatus.PENDING)
            return event, None
        known = self._orders.get(event.order_id)
        if known is None:
            return None, None
        created, before = known
        self._orders[event.order_id] = (created, advance(before, type(event)))
        return created, before

    def _forget(self, order_id: str) -> None:
        if order_id in self._orders and self._orders[order_id][1] in OVER:
            del self._orders[order_id]


class AuditFilter(msgspec.Struct, frozen=True):
    """A filter of entries: by ticket, by actions; None and empty mean all."""

    ticket: int | None = None
    actions: frozenset[str] = frozenset()
    order_ids: Collection[str] = ()

    def may_pass(self, event: events.Event) -> bool:
        """Return whether an event may pass the filter, before its entry is made."""
        if self.actions and not self.actions & words_of(event).actions:
            return False
        if self.ticket is None:
            return True
        if isinstance(event, events.OrderEvent) and event.order_id in self.order_ids:
            return True
        return self.ticket in tickets_of(event)

    def passes(self, row: AuditRow) -> bool:
        """Return whether an entry passes the filter, after `may_pass`."""
        return not self.actions or row.action in self.actions


def last_entries(journal: Journal | JournalReader) -> tuple[EventRow, ...]:
    """Return the last events of a journal that matter to a person, the newest first.

    A running bot asks after each change of its book, so no archive is read: that takes seconds.

    Raises:
        JournalError: the journal cannot be read.
    """
    writer = AuditWriter()
    rows = []
    after = max(getattr(journal, "live_after", 0), journal.position - LOOKED_AT)
    for record in journal.records(after):
        is_order = isinstance(record.event, events.OrderEvent)
        if is_order or words_of(record.event).is_correction(record.event):
            rows.append(writer.row_of(record))
    return tuple(
        EventRow(at=row.timestamp, action=row.action, ticket=row.ticket, details=row.details)
        for row in reversed(rows)
        if row.action not in STEPS
    )[:LAST]


def story(
    records: Iterable[Record], wanted: AuditFilter, by_ticket: Mapping[int, str] = NO_ORDERS
) -> Iterator[AuditRow]:
    """Yield the entries that pass a filter, oldest first; `by_ticket` is as for `AuditWriter`."""
    writer = AuditWriter(by_ticket)
    for record in records:
        if not wanted.may_pass(record.event):
            # To make an entry costs more than all other work on an event.
            writer.follow(record.event)
            continue
        row = writer.row_of(record)
        if wanted.passes(row):
            yield row


def orders_of(records: Iterable[Record], ticket: int) -> frozenset[str]:
    """Return the ids of the orders that name a ticket at the broker."""
    return frozenset(
        record.event.order_id
        for record in records
        if isinstance(record.event, events.OrderEvent) and ticket in tickets_of(record.event)
    )


def tickets_of(event: events.Event) -> frozenset[int]:
    """Return the tickets and identifiers that an event names."""
    return frozenset(words_of(event).tickets(event) - {0})
