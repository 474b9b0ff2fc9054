"""The words for events about our own orders."""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.quantity import format_lots, format_price
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.observe.event_words.words import (
    OE,
    WARNING,
    Actions,
    Block,
    Entry,
    Line,
    OrderAction,
    OrderWords,
    assumed_by,
    level,
)

REFUSED = decide(JournalSays.REFUSED, BrokerShows.NO_TRACE, settled=True)
Story = tuple[OrderAction, int | None, str]
"""A step in an order's own history: the kind of entry, the ticket, a sentence."""


class _OwnStep(OrderWords[OE]):
    """A step that an order of ours makes in the regular course: no correction of the book."""

    def is_correction(self, event: OE) -> bool:
        return False

    def entry(self, event: OE) -> None:
        return None

    def lines(self, event: OE) -> Iterable[Line]:
        # The order desk logs its own steps.
        return ()

    def difference(self, event: OE) -> str:
        return ""

    def tickets(self, event: OE) -> set[int]:
        return set()


class OfCreated(_OwnStep[events.OrderCreated]):
    """An intent was recorded."""

    actions: Actions = frozenset({"INTENT"})

    def step(self, event: events.OrderCreated, digits: int | None) -> Block:
        wish = f"{event.side.action} {format_lots(event.volume)}L {event.symbol}"
        return _block(event, "record", wish, "the book knows the order")

    def tickets(self, event: events.OrderCreated) -> set[int]:
        return {event.position, event.position_by, event.target}

    def told(self, event: events.OrderCreated, about: str, before: OrderStatus | None) -> Story:
        wish = f"{event.order_id}: {_full_wish(event)}"
        return "INTENT", event.position or event.target or None, wish


class OfSendStarted(_OwnStep[events.SendStarted]):
    """The order is about to be sent."""

    actions: Actions = frozenset({"SENT"})

    def step(self, event: events.SendStarted, digits: int | None) -> Block:
        then = "it may be executed from now on"
        return _block(event, "send", "recorded before it leaves", then)

    def told(self, event: events.SendStarted, about: str, before: OrderStatus | None) -> Story:
        return "SENT", None, f"{event.order_id} leaves for the broker"


class OfFilled(_OwnStep[events.OrderFilled]):
    """The gateway reported that the order was executed."""

    actions: Actions = frozenset({"FILLED"})

    def step(self, event: events.OrderFilled, digits: int | None) -> Block:
        proof = f"filled {format_lots(event.volume)}L at {format_price(event.price)}"
        return _block(event, "fill", proof, "the book holds it", event.ticket)

    def tickets(self, event: events.OrderFilled) -> set[int]:
        return {event.ticket}

    def told(self, event: events.OrderFilled, about: str, before: OrderStatus | None) -> Story:
        price = format_price(event.price)
        done = f"{event.side.action} {format_lots(event.volume)}L @ {price}"
        return "FILLED", event.ticket, f"{event.order_id}: {done}"


class OfInDoubt(_OwnStep[events.OrderInDoubt]):
    """The order was sent, and no proven outcome came back."""

    actions: Actions = frozenset({"IN_DOUBT"})

    def step(self, event: events.OrderInDoubt, digits: int | None) -> Block:
        return _block(event, "doubt", event.error, "it may have been executed, entries wait")

    def told(self, event: events.OrderInDoubt, about: str, before: OrderStatus | None) -> Story:
        return "IN_DOUBT", None, f"{about}: {event.error}; may have been executed"


class OfDelivered(_OwnStep[events.OutcomeDelivered]):
    """The caller was given the outcome."""

    actions: Actions = frozenset({"DELIVERED"})

    def step(self, event: events.OutcomeDelivered, digits: int | None) -> Block:
        return _block(event, "deliver", "its caller was answered", "the next one is a new order")

    def told(self, event: events.OutcomeDelivered, about: str, before: OrderStatus | None) -> Story:
        return "DELIVERED", None, f"{event.order_id}: its caller has been given the outcome"


class OfApplied(OrderWords[events.OrderApplied]):
    """The broker made the change, or placed the pending order."""

    actions: Actions = frozenset({"APPLIED", "SETTLED"})

    def entry(self, event: events.OrderApplied) -> Entry:
        details = f"Order {event.order_id} took effect{assumed_by(event.by)}"
        return Entry("SETTLED", None, details, "IN_DOUBT", "FILLED")

    def lines(self, event: events.OrderApplied) -> Iterable[Line]:
        return (_settled(f"Order {event.order_id} took effect{assumed_by(event.by)}"),)

    def step(self, event: events.OrderApplied, digits: int | None) -> Block:
        proof = f"{event.by} says so" if event.by else "the broker shows its effect"
        return _block(event, "settle", proof, "took effect, no longer in doubt", event.ticket)

    def difference(self, event: events.OrderApplied) -> str:
        return ""

    def tickets(self, event: events.OrderApplied) -> set[int]:
        return {event.ticket}

    def told(self, event: events.OrderApplied, about: str, before: OrderStatus | None) -> Story:
        action: OrderAction = "SETTLED" if before is OrderStatus.IN_DOUBT else "APPLIED"
        return action, event.ticket or None, f"{about} took effect{assumed_by(event.by)}"


class OfRejected(OrderWords[events.OrderRejected]):
    """The broker refused the order, or the order was never sent."""

    actions: Actions = frozenset({"REJECTED", "SETTLED"})

    def is_correction(self, event: events.OrderRejected) -> bool:
        # An event without evidence is the gateway's answer to the order, not a correction.
        return bool(event.because)

    def entry(self, event: events.OrderRejected) -> Entry:
        details = f"Order {event.order_id}: {event.because}: {event.error}"
        return Entry("SETTLED", None, details, "IN_DOUBT", "REJECTED")

    def lines(self, event: events.OrderRejected) -> Iterable[Line]:
        return (_settled(f"Order {event.order_id} was refused, {event.error}: {event.because}"),)

    def step(self, event: events.OrderRejected, digits: int | None) -> Block:
        then = f"not executed: {event.error}"
        return _block(event, "settle", event.because or event.error, then)

    def difference(self, event: events.OrderRejected) -> str:
        return _can_be_settled(event)

    def tickets(self, event: events.OrderRejected) -> set[int]:
        return set()

    def told(self, event: events.OrderRejected, about: str, before: OrderStatus | None) -> Story:
        if event.because:
            return "SETTLED", None, f"{about}: refused, {event.error}; {event.because}"
        # An order that was never sent was not refused by the broker.
        case = f" (case {REFUSED.label})" if before is OrderStatus.SENT else ""
        return "REJECTED", None, f"{about}: {event.error}; nothing happened{case}"


class OfCanceled(OrderWords[events.OrderCanceled]):
    """The order ended without effect, as far as known."""

    actions: Actions = frozenset({"SETTLED"})

    def entry(self, event: events.OrderCanceled) -> Entry:
        details = f"Order {event.order_id}: {event.because}"
        return Entry("SETTLED", None, details, "IN_DOUBT", "CANCELED")

    def lines(self, event: events.OrderCanceled) -> Iterable[Line]:
        # "Given up" is a person's decision; "not executed" is proven.
        became = "is given up" if event.unproven else "was not executed"
        return (_settled(f"Order {event.order_id} {became}: {event.because}"),)

    def step(self, event: events.OrderCanceled, digits: int | None) -> Block:
        return _block(event, "settle", event.because, "not executed, no longer in doubt")

    def difference(self, event: events.OrderCanceled) -> str:
        return _can_be_settled(event)

    def tickets(self, event: events.OrderCanceled) -> set[int]:
        return set()

    def told(self, event: events.OrderCanceled, about: str, before: OrderStatus | None) -> Story:
        return "SETTLED", None, f"{about}: not executed; {event.because}"


class OfSettled(OrderWords[events.OrderSettled]):
    """The broker shows that an order in doubt was executed."""

    actions: Actions = frozenset({"SETTLED"})

    def entry(self, event: events.OrderSettled) -> Entry:
        details = f"Order {event.order_id}: {event.because}"
        return Entry("SETTLED", event.ticket, details, "IN_DOUBT", "FILLED")

    def lines(self, event: events.OrderSettled) -> Iterable[Line]:
        text = f"Order {event.order_id} was filled as ticket {event.ticket}: {event.because}"
        return (_settled(text, event.ticket),)

    def step(self, event: events.OrderSettled, digits: int | None) -> Block:
        then = f"executed, {format_lots(event.volume)}L, no longer in doubt"
        return _block(event, "settle", event.because, then, event.ticket)

    def difference(self, event: events.OrderSettled) -> str:
        return _can_be_settled(event)

    def tickets(self, event: events.OrderSettled) -> set[int]:
        return {event.ticket}

    def told(self, event: events.OrderSettled, about: str, before: OrderStatus | None) -> Story:
        done = f"{about}: executed, {format_lots(event.volume)}L; {event.because}"
        return "SETTLED", event.ticket, done


def _settled(text: str, ticket: int | None = None) -> Line:
    return Line(WARNING, "order.settled", ticket, f"[SETTLED] {text}")


def _can_be_settled(event: events.OrderEvent) -> str:
    return f"Order in doubt that can be settled: {event.order_id}"


def _block(
    event: events.OrderEvent, change: str, evidence: str, consequence: str, ticket: int = 0
) -> Block:
    """Return the step of a plan for an order of ours, named by its order id."""
    return Block("~", ticket, "Order", f"{change} {event.order_id}", evidence, consequence)


def wish_of(created: events.OrderCreated) -> str:
    """Return an order's parameters as text, such as BUY 0.02L EURUSD at the market."""
    entry = f"{created.side.action} {format_lots(created.volume)}L {created.symbol}"
    position = f"foreign {created.position}" if created.foreign else created.position
    match created.kind:
        case OrderKind.CANCEL:
            return f"cancel pending order {created.target}"
        case OrderKind.CLOSE_BY:
            foreign = {row.identifier for row in created.foreign}
            first, second = (
                f"foreign {one}" if one in foreign else f"{one}"
                for one in (created.position, created.position_by)
            )
            return f"close {format_lots(created.volume)}L {created.symbol} of {first} by {second}"
        case OrderKind.MODIFY_ORDER:
            prices = [format_price(created.price)]
            prices += [f"then limit {format_price(created.stoplimit)}"] if created.stoplimit else []
            prices += [f"SL {level(created.sl)}", f"TP {level(created.tp)}"]
            return f"set {', '.join(prices)} of pending order {created.target}{_until(created)}"
        case OrderKind.MODIFY:
            levels = f"SL {level(created.sl)}, TP {level(created.tp)}"
            return f"set {levels} of {position}"
        # A market order without a position opens one, and then the plain words do.
        case OrderKind.MARKET:
            return f"{entry} closing {position}" if created.position else entry
    if created.kind is OrderKind.STOP_LIMIT:
        limit = format_price(created.stoplimit)
        return f"{entry} stop {format_price(created.price)}, then limit {limit}"
    return f"{entry} {created.kind.value} {format_price(created.price)}"


def _until(created: events.OrderCreated) -> str:
    """Return when a pending order is to end, by the trade server's clock, as text."""
    terms = created.terms
    if terms.time is None:
        return ""
    return f", until {terms.time}" + (f" {terms.expiration}" if terms.expiration else "")


def _full_wish(created: events.OrderCreated) -> str:
    said = [wish_of(created)]
    # The words of a modification already have both stops.
    if created.kind not in (OrderKind.MODIFY, OrderKind.MODIFY_ORDER):
        stops = (("SL", created.sl), ("TP", created.tp))
        said += [f"{name} {format_price(level)}" for name, level in stops if level]
    # The price of a pending order is already in its words; that of a market order is the market as
    # the caller saw it.
    if created.kind is OrderKind.MARKET and created.price:
        said.append(f"market at {format_price(created.price)}")
    if created.magic:
        said.append(f"magic {created.magic}")
    if created.key:
        said.append(f"key {created.key!r}")
    if created.by:
        said.append(f"asked for by {created.by}")
    wish = ", ".join(said)
    return f"{wish}. Why: {created.why}" if created.why else wish
