"""Turn the events of a journal into entries: the guide's audit trail, and the steps of orders.

`runtime.story.audit` makes the entries of corrections, in the same words as in the log and in
memory. That trail has no entries for the steps of orders; this module adds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import assert_never

import msgspec

from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus, advance
from trueup.core.quantity import format_lots, format_price
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.journal import Record
from trueup.observe.audit_text import Told
from trueup.runtime.story.audit import assumed_by, entry
from trueup.runtime.time.clock import iso

ACTIONS = (
    "INTENT",
    "SENT",
    "FILLED",
    "APPLIED",
    "REJECTED",
    "IN_DOUBT",
    "SETTLED",
    "RECOVERY",
    "CLOSED",
    "DRIFT_FIX",
    "MISSING",
    "FOUND",
    "EXPLAINED",
    "ORDER",
    "HALT",
    "BOUND",
    "COMPARED",
    "LOST",
)
# The possible actions of each class of event.
ACTIONS_OF: dict[type[events.Event], frozenset[str]] = {
    events.OrderCreated: frozenset({"INTENT"}),
    events.SendStarted: frozenset({"SENT"}),
    events.OrderFilled: frozenset({"FILLED"}),
    events.OrderApplied: frozenset({"APPLIED", "SETTLED"}),
    events.OrderRejected: frozenset({"REJECTED", "SETTLED"}),
    events.OrderInDoubt: frozenset({"IN_DOUBT"}),
    events.OrderSettled: frozenset({"SETTLED"}),
    events.OrderCanceled: frozenset({"SETTLED"}),
    events.PositionAdopted: frozenset({"RECOVERY"}),
    events.PositionClosed: frozenset({"CLOSED"}),
    events.PositionCorrected: frozenset({"DRIFT_FIX"}),
    events.PositionMissing: frozenset({"MISSING"}),
    events.PositionFound: frozenset({"FOUND"}),
    events.DealsRecorded: frozenset({"EXPLAINED"}),
    events.PendingAdopted: frozenset({"ORDER"}),
    events.PendingClosed: frozenset({"ORDER"}),
    events.PendingCorrected: frozenset({"ORDER"}),
    events.HaltRaised: frozenset({"HALT"}),
    events.AccountBound: frozenset({"BOUND"}),
    events.HistoryCompared: frozenset({"COMPARED"}),
    events.LossFound: frozenset({"LOST"}),
    events.LossAccepted: frozenset({"LOST"}),
}
REFUSED = decide(JournalSays.REFUSED, BrokerShows.NO_TRACE, settled=True)
OVER = frozenset({OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELED})
# After these events an order is over, whatever its state was before.
ENDS = (
    events.OrderFilled,
    events.OrderApplied,
    events.OrderRejected,
    events.OrderCanceled,
    events.OrderSettled,
)


class Teller:
    """Make entries of events in order, and remember the orders under way for later entries."""

    def __init__(self) -> None:
        self._orders: dict[str, tuple[events.OrderCreated, OrderStatus]] = {}

    def tell(self, record: Record) -> Told:
        """Return the entry of an event."""
        event = record.event
        order_id: str | None = getattr(event, "order_id", None)
        if isinstance(event, events.OrderEvent):
            action, ticket, details, before, after = self._order_facts(event)
        else:
            facts = entry(event)
            action, ticket, details = facts["action"], facts["ticket"], facts["details"]
            before, after = facts["before"], facts["after"]
        return Told(
            iso(record.at_ns), record.position, action, ticket, order_id, details, before, after
        )

    def follow(self, event: events.Event) -> None:
        """Remember an event without making an entry."""
        if isinstance(event, events.OrderCreated):
            self._orders[event.order_id] = (event, OrderStatus.PENDING)
        elif isinstance(event, ENDS):
            self._orders.pop(event.order_id, None)
        elif isinstance(event, events.OrderEvent):
            self._step(event)

    def _order_facts(self, event: events.OrderEvent) -> tuple[str, int | None, str, str, str]:
        created, before = self._step(event)
        after = self._orders[event.order_id][1].value if event.order_id in self._orders else ""
        self._forget(event.order_id)
        action, ticket, details = _told(event, created, before)
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


class Wanted(msgspec.Struct, frozen=True):
    """A filter of entries: by ticket, by actions; None and empty mean all."""

    ticket: int | None = None
    actions: frozenset[str] = frozenset()
    order_ids: Collection[str] = ()

    def may_take(self, event: events.Event) -> bool:
        """Return whether an event may pass the filter, before its entry is made."""
        if self.actions and not self.actions & ACTIONS_OF[type(event)]:
            return False
        if self.ticket is None:
            return True
        if isinstance(event, events.OrderEvent) and event.order_id in self.order_ids:
            return True
        return self.ticket in tickets_of(event)

    def takes(self, told: Told) -> bool:
        """Return whether an entry passes the filter, after `may_take`."""
        return not self.actions or told.action in self.actions


def story(records: Iterable[Record], wanted: Wanted) -> Iterator[Told]:
    """Yield the entries that pass a filter, oldest first."""
    teller = Teller()
    for record in records:
        if not wanted.may_take(record.event):
            # To make an entry costs more than all other work on an event.
            teller.follow(record.event)
            continue
        told = teller.tell(record)
        if wanted.takes(told):
            yield told


def orders_of(records: Iterable[Record], ticket: int) -> frozenset[str]:
    """Return the ids of the orders that name a ticket at the broker."""
    return frozenset(
        record.event.order_id
        for record in records
        if isinstance(record.event, events.OrderEvent) and ticket in tickets_of(record.event)
    )


def tickets_of(event: events.Event) -> frozenset[int]:
    """Return the tickets and identifiers that an event names."""
    return frozenset(_named(events.as_any(event)) - {0})


def _named(event: events.AnyEvent) -> set[int]:
    # Exhaustive: the type checker names an event class that is missing here.
    match event:
        case events.OrderCreated(position=position, target=target):
            return {position, target}
        case events.OrderFilled(ticket=t) | events.OrderSettled(ticket=t):
            return {t}
        case events.OrderApplied(ticket=t) | events.HaltRaised(identifier=t):
            return {t}
        case events.PositionCorrected(local=local, remote=remote):
            return {local.ticket, remote.ticket, remote.identifier}
        case events.PendingCorrected(remote=order) | events.PendingAdopted(order=order):
            return {order.ticket}
        case events.PendingClosed(order=order, position=position):
            return {order.ticket, position}
        # A position that the broker closed and opened again has several identifiers.
        case (
            events.PositionClosed(position=p, went_on_as=went_on_as)
            | events.DealsRecorded(position=p, went_on_as=went_on_as)
        ):
            return {p.ticket, p.identifier, *went_on_as}
        case (
            events.PositionAdopted(position=p)
            | events.PositionMissing(position=p)
            | events.PositionFound(position=p)
        ):
            return {p.ticket, p.identifier}
        case (
            events.SendStarted()
            | events.OrderRejected()
            | events.OrderInDoubt()
            | events.OrderCanceled()
            | events.AccountBound()
            | events.HistoryCompared()
            | events.LossFound()
            | events.LossAccepted()
        ):
            return set()
    assert_never(event)


def _told(
    event: events.OrderEvent, created: events.OrderCreated | None, before: OrderStatus | None
) -> tuple[str, int | None, str]:
    name = event.order_id
    match event:
        case events.OrderCreated(position=position, target=target):
            return "INTENT", position or target or None, f"{name}: {_full_wish(event)}"
        case events.SendStarted():
            return "SENT", None, f"{name} leaves for the broker"
        case events.OrderFilled(ticket=ticket, side=side, volume=volume, price=price):
            done = f"{side.action} {format_lots(volume)}L @ {format_price(price)}"
            return "FILLED", ticket, f"{name}: {done}"
    # The other events do not name the order's parameters, so they are added from its intent.
    about = f"{name} ({_wish(created)})" if created else name
    match event:
        case events.OrderRejected(error=error, because=because) if because:
            return "SETTLED", None, f"{about}: refused, {error}; {because}"
        case events.OrderRejected(error=error):
            # An order that was never sent was not refused by the broker.
            is_refused = before is OrderStatus.SENT
            case = f" (case {REFUSED.label})" if is_refused else ""
            return "REJECTED", None, f"{about}: {error}; nothing happened{case}"
        case events.OrderInDoubt(error=error):
            return "IN_DOUBT", None, f"{about}: {error}; may have been executed"
        case events.OrderApplied(ticket=ticket, by=by):
            action = "SETTLED" if before is OrderStatus.IN_DOUBT else "APPLIED"
            return action, ticket or None, f"{about} took effect{assumed_by(by)}"
        case events.OrderSettled(ticket=ticket, volume=volume, because=because):
            return "SETTLED", ticket, f"{about}: executed, {format_lots(volume)}L; {because}"
        case events.OrderCanceled(because=because):
            return "SETTLED", None, f"{about}: not executed; {because}"
    raise TypeError(f"{type(event).__name__} is no step of an order that can be told")


def _wish(created: events.OrderCreated) -> str:
    """Return an order's parameters as text, such as BUY 0.02L EURUSD at the market."""
    what = f"{created.side.action} {format_lots(created.volume)}L {created.symbol}"
    match created.kind:
        case OrderKind.CANCEL:
            return f"cancel pending order {created.target}"
        case OrderKind.MODIFY:
            levels = f"SL {_level(created.sl)}, TP {_level(created.tp)}"
            return f"set {levels} of {created.position}"
        case OrderKind.MARKET:
            return f"{what} closing {created.position}" if created.position else what
    return f"{what} {created.kind.value} {format_price(created.price)}"


def _full_wish(created: events.OrderCreated) -> str:
    said = [_wish(created)]
    if created.kind is not OrderKind.MODIFY:
        stops = (("SL", created.sl), ("TP", created.tp))
        said += [f"{name} {format_price(level)}" for name, level in stops if level]
    if created.kind is OrderKind.MARKET and created.price:
        said.append(f"market at {format_price(created.price)}")
    if created.magic:
        said.append(f"magic {created.magic}")
    if created.key:
        said.append(f"key {created.key!r}")
    wish = ", ".join(said)
    return f"{wish}. Why: {created.why}" if created.why else wish


def _level(price: float) -> str:
    return format_price(price) if price else "none"
