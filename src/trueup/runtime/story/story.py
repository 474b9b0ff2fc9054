"""The events of a journal told one by one: the audit trail of the guide, and the orders.

What a sync did is told by `runtime.story.audit`, in the same words as in the log and in memory. An
order's own steps have no entry there; here they do.
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
# Which of them an event can be told as.
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
# After these an order is over, wherever it was before.
ENDS = (
    events.OrderFilled,
    events.OrderApplied,
    events.OrderRejected,
    events.OrderCanceled,
    events.OrderSettled,
)


class Teller:
    """Tells events in their order, and remembers of the orders under way what they are."""

    def __init__(self) -> None:
        self._orders: dict[str, tuple[events.OrderCreated, OrderStatus]] = {}

    def tell(self, record: Record) -> Told:
        """Return the entry of one event."""
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
        """Take note of an event that is not told."""
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
            # Told from the middle of its story: what it was before is not known.
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
    """Which events are told: of one ticket, of some actions; None and empty for all."""

    ticket: int | None = None
    actions: frozenset[str] = frozenset()
    order_ids: Collection[str] = ()

    def may_take(self, event: events.Event) -> bool:
        """Return whether an event is told, as far as can be said before it is told."""
        if self.actions and not self.actions & ACTIONS_OF[type(event)]:
            return False
        if self.ticket is None:
            return True
        if isinstance(event, events.OrderEvent) and event.order_id in self.order_ids:
            return True
        return self.ticket in tickets_of(event)

    def takes(self, told: Told) -> bool:
        """Return whether an entry that may be told is told."""
        return not self.actions or told.action in self.actions


def story(records: Iterable[Record], wanted: Wanted) -> Iterator[Told]:
    """Tell the events that are wanted, oldest first."""
    teller = Teller()
    for record in records:
        if not wanted.may_take(record.event):
            # To tell an event takes longer than everything else that is done with it.
            teller.follow(record.event)
            continue
        told = teller.tell(record)
        if wanted.takes(told):
            yield told


def orders_of(records: Iterable[Record], ticket: int) -> frozenset[str]:
    """Return the ids of the orders that have to do with a ticket at the broker."""
    return frozenset(
        record.event.order_id
        for record in records
        if isinstance(record.event, events.OrderEvent) and ticket in tickets_of(record.event)
    )


def tickets_of(event: events.Event) -> frozenset[int]:
    """Return the tickets and identifiers that an event names."""
    return frozenset(_named(events.as_any(event)) - {0})


def _named(event: events.AnyEvent) -> set[int]:
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
    # What the others are about is said with them.
    about = f"{name} ({_wish(created)})" if created else name
    match event:
        case events.OrderRejected(error=error, because=because) if because:
            return "SETTLED", None, f"{about}: refused, {error}; {because}"
        case events.OrderRejected(error=error):
            # One that never left was not refused by the broker.
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
    """Say what an order asks for: BUY 0.02L EURUSD at the market."""
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
