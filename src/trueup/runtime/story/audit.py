"""The guide's log lines and audit entries of corrections."""

from __future__ import annotations

import datetime as dt
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, assert_never

from trueup.core.book import events
from trueup.core.model import describe, describe_at, describe_order
from trueup.core.quantity import format_lots, format_price
from trueup.logs import Logger, logger
from trueup.turns import Turn

AUDIT_ENTRIES_KEPT = 1000
# The steps of our own orders, which are not corrections.
ORDERS_OWN_STEPS = (
    events.OrderCreated,
    events.SendStarted,
    events.OrderFilled,
    events.OrderInDoubt,
)

log: Logger = logger("trueup.reconciler")


RECOVERED = frozenset({events.PositionAdopted, events.PositionClosed})
OWN_STEPS = (*ORDERS_OWN_STEPS, events.HistoryCompared)


AuditAction = Literal[
    "RECOVERY",
    "CLOSED",
    "DRIFT_FIX",
    "MISSING",
    "FOUND",
    "EXPLAINED",
    "SETTLED",
    "ORDER",
    "HALT",
    "BOUND",
    "COMPARED",
    "LOST",
]
"""The kinds of audit entries. The first three are those of the guide."""


class AuditEntry(TypedDict):
    """One correction of the book, for a person to read.

    `timestamp` is UTC. `ticket` is None where the correction is not about one position or order.
    `details` is a sentence. `before` and `after` describe the state; both are empty where the
    correction changed no state.
    """

    timestamp: dt.datetime
    action: AuditAction
    ticket: int | None
    details: str
    before: str
    after: str


class AuditTrail:
    """The last 1,000 corrections, oldest first; may be read from another thread."""

    def __init__(self) -> None:
        self._entries: deque[AuditEntry] = deque(maxlen=AUDIT_ENTRIES_KEPT)
        # Without turns, a deque that grows while another thread iterates raises an error there.
        self._turn = Turn()

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, history: Sequence[events.Event]) -> None:
        """Add an entry for each correction of a sync, and log the correction."""
        self.keep(history)
        if log.isEnabledFor(logging.WARNING):
            for event in history:
                if not is_own_step(event):
                    log_event(event)

    def keep(self, history: Sequence[events.Event]) -> None:
        """Add an entry for each correction, without a log line."""
        corrections = [event for event in history if not is_own_step(event)]
        added = [entry(event) for event in corrections[-AUDIT_ENTRIES_KEPT:]]
        with self._turn:
            self._entries.extend(added)

    def replace(self, entries: Iterable[AuditEntry]) -> None:
        """Replace all entries."""
        given = [AuditEntry(**item) for item in entries]
        with self._turn:
            self._entries.clear()
            self._entries.extend(given)

    def entries(self) -> list[AuditEntry]:
        """Return copies of the entries, oldest first."""
        with self._turn:
            return [AuditEntry(**item) for item in self._entries]


def is_own_step(event: events.Event) -> bool:
    """Return whether an event is no correction: a step of our own order, or a comparison."""
    if type(event) in RECOVERED:
        # A short cut for most events of a recovery; the tests below cost more.
        return False
    if isinstance(event, events.OrderRejected):
        return not event.because
    if isinstance(event, events.PendingClosed):
        # We cancelled the order ourselves, and no part of it had been filled: nothing to correct.
        return event.ours and not event.filled and not event.position
    return isinstance(event, OWN_STEPS)


def entry(event: events.Event) -> AuditEntry:
    """Return the guide's audit entry of an event."""
    action, ticket, details, before, after = _facts(events.as_any(event))
    return {
        "timestamp": dt.datetime.fromtimestamp(event.at_ns / 1e9, dt.UTC),
        "action": action,
        "ticket": ticket,
        "details": details,
        "before": before,
        "after": after,
    }


def _facts(event: events.AnyEvent) -> tuple[AuditAction, int | None, str, str, str]:
    match event:
        case events.PositionAdopted(position=position):
            details = f"Zombie position recovered: {describe_at(position)}"
            return "RECOVERY", position.ticket, details, "MISSING", describe_at(position)
        case events.PositionClosed(position=position, because=because, unproven=unproven):
            details = f"Ghost position removed{' (unproven)' * unproven}: {because}"
            return "CLOSED", position.ticket, details, describe_at(position), "FLAT"
        case events.PositionCorrected(local=local, remote=remote):
            details = drift_sentence(event)
            return "DRIFT_FIX", remote.ticket, details, describe_at(local), describe_at(remote)
        # The outcomes of an order in doubt; the reply to an order is not a correction.
        case events.OrderSettled(order_id=order_id, ticket=ticket, because=because):
            return "SETTLED", ticket, f"Order {order_id}: {because}", "IN_DOUBT", "FILLED"
        case events.OrderCanceled(order_id=order_id, because=because):
            return "SETTLED", None, f"Order {order_id}: {because}", "IN_DOUBT", "CANCELED"
        case events.OrderRejected(order_id=order_id, error=error, because=because):
            details = f"Order {order_id}: {because}: {error}"
            return "SETTLED", None, details, "IN_DOUBT", "REJECTED"
        # Not closed yet: the position stays in the book until its deals prove the end.
        case events.PositionMissing(position=position, because=because):
            details = f"Left the broker's list, {because}"
            return "MISSING", position.ticket, details, describe_at(position), "MISSING"
        case events.PositionFound(position=position):
            details = "In the broker's list again"
            return "FOUND", position.ticket, details, "MISSING", describe_at(position)
        case events.DealsRecorded(position=position, because=because):
            return "EXPLAINED", position.ticket, because, "", ""
        case events.PendingAdopted() | events.PendingClosed() | events.PendingCorrected():
            order = event.local if isinstance(event, events.PendingCorrected) else event.order
            return "ORDER", order.ticket, pending_sentence(event), "", ""
        case events.HaltRaised(identifier=identifier, because=because):
            return "HALT", identifier, because, "", ""
        case events.OrderApplied(order_id=order_id, by=by):
            details = f"Order {order_id} took effect{assumed_by(by)}"
            return "SETTLED", None, details, "IN_DOUBT", "FILLED"
        case events.AccountBound(login=login, server=server):
            return "BOUND", None, account_sentence(event), "", f"{login}@{server}"
        case events.HistoryCompared():
            return "COMPARED", None, compared_sentence(event), "", ""
        case events.LossFound(because=because):
            return "LOST", None, because, "", ""
        case events.LossAccepted(by=by):
            return "LOST", None, accepted_sentence(by), "", ""
        case (
            events.OrderCreated()
            | events.SendStarted()
            | events.OrderFilled()
            | events.OrderInDoubt()
        ):
            raise TypeError(f"{type(event).__name__} is not a correction")
    assert_never(event)


def compared_sentence(event: events.HistoryCompared) -> str:
    """Return the result of a history comparison as text: 12 deals agree, up to 2026-01-05."""
    until = dt.datetime.fromtimestamp(event.until_msc / 1000, dt.UTC)
    said = [f"{event.agreed} deal{'s' * (event.agreed != 1)} agree{'s' * (event.agreed == 1)}"]
    for count, what in (
        (event.missing_in_book, "missing in the book"),
        (event.missing_at_broker, "not shown by the broker any more"),
        (event.changed, "with other money or lots"),
    ):
        said += [f"{count} {what}"] if count else []
    return f"{', '.join(said)}, up to {until:%Y-%m-%d %H:%M} server time"


def accepted_sentence(who: str) -> str:
    """Return the sentence for a loss of journal events that a person has accepted."""
    return f"{who} accepts that the journal lacks events: entries are allowed again"


def account_sentence(event: events.AccountBound) -> str:
    """Return the sentence for the binding of a book, or for changes of its account."""
    name = f"{event.login}@{event.server}"
    if not event.changed:
        return f"The book belongs to {name}"
    oldest = "the oldest position of a symbol has to be closed first"
    said = {
        "currency": f"its money is {event.currency}",
        "currency_digits": f"its money has {event.currency_digits} decimals",
        "margin_mode": f"it keeps positions by {event.margin_mode.value}",
        "fifo_close": oldest if event.fifo_close else "positions may be closed in any order",
    }
    return f"The broker changed account {name}: now {', '.join(said[n] for n in event.changed)}"


def assumed_by(who: str) -> str:
    """Name the person who made an assumption; '' for a proven outcome."""
    return f", assumed: {who} says so" if who else ""


PendingEvent = events.PendingAdopted | events.PendingClosed | events.PendingCorrected


def pending_sentence(event: PendingEvent) -> str:
    """Return the change of a pending order as a sentence."""
    match event:
        case events.PendingAdopted(order=order):
            return f"Pending order {order.ticket} recovered: {describe_order(order)}"
        case events.PendingClosed(order=order, because=because):
            return f"Pending order {order.ticket}, {describe_order(order)}, ended: {because}"
        case events.PendingCorrected(remote=remote):
            return f"Pending order {remote.ticket} differed: {pending_drift_sentence(event)}"


def pending_drift_sentence(drift: events.PendingCorrected) -> str:
    """Return the differing fields of a pending order as text, after the order's description."""
    local, remote = drift.local, drift.remote
    before, after = describe_order(local), describe_order(remote)
    said = {
        "symbol": f"symbol {local.symbol} → {remote.symbol}",
        "price_stoplimit": f"limit price {_level(local.price_stoplimit)} → "
        f"{_level(remote.price_stoplimit)}",
        "sl": f"stop loss {_level(local.sl)} → {_level(remote.sl)}",
        "tp": f"take profit {_level(local.tp)} → {_level(remote.tp)}",
        "magic": f"magic {local.magic} → {remote.magic}",
    }
    first = after if before == after else f"{before} → {after}"
    return ", ".join([first, *(text for name, text in said.items() if name in drift.fields)])


def drift_sentence(drift: events.PositionCorrected) -> str:
    """Return the differing fields as text: volume 0.01L → 0.02L, price 1.0543 → 1.0544."""
    local, remote = drift.local, drift.remote
    said = {
        "volume": f"volume {format_lots(local.volume)}L → {format_lots(remote.volume)}L",
        "price_open": f"price {format_price(local.price_open)} → {format_price(remote.price_open)}",
        "symbol": f"symbol {local.symbol} → {remote.symbol}",
        "side": f"side {local.side.word} → {remote.side.word}",
        "ticket": f"ticket {local.ticket} → {remote.ticket}",
        "magic": f"magic {local.magic} → {remote.magic}",
        "sl": f"stop loss {_level(local.sl)} → {_level(remote.sl)}",
        "tp": f"take profit {_level(local.tp)} → {_level(remote.tp)}",
    }
    return ", ".join(text for name, text in said.items() if name in drift.fields)


def sentence(event: events.Event) -> str:
    """Return the difference that a correction would remove as a sentence, or ''."""
    return "" if is_own_step(event) else _sentence(events.as_any(event))


def _sentence(event: events.AnyEvent) -> str:
    # Not the words of the log lines, which say that the correction was made.
    match event:
        case events.PositionAdopted(position=position):
            return f"Zombie position: Ticket {position.ticket}, {describe(position)}"
        case events.PositionClosed(position=position) | events.PositionMissing(position=position):
            return f"Ghost position: Ticket {position.ticket}, {describe(position)}"
        case events.PositionCorrected(remote=remote):
            return f"Drift: Ticket {remote.ticket}: {drift_sentence(event)}"
        case (
            events.OrderCanceled(order_id=order_id)
            | events.OrderSettled(order_id=order_id)
            | events.OrderRejected(order_id=order_id)
        ):
            return f"Order in doubt that can be settled: {order_id}"
        case events.PendingAdopted() | events.PendingClosed() | events.PendingCorrected():
            return pending_sentence(event)
        case events.AccountBound(changed=changed) if changed:
            return account_sentence(event)
        case events.LossFound(because=because):
            return because
        case (
            events.PositionFound()
            | events.DealsRecorded()
            | events.HaltRaised()
            | events.OrderApplied()
            | events.AccountBound()
            | events.LossAccepted()
            | events.HistoryCompared()
            | events.OrderCreated()
            | events.SendStarted()
            | events.OrderFilled()
            | events.OrderInDoubt()
        ):
            return ""
    assert_never(event)


def _level(price: float) -> str:
    return format_price(price) if price else "none"


def log_event(event: events.Event) -> None:
    """Write the guide's log lines of a correction."""
    _log(events.as_any(event))


def _log(event: events.AnyEvent) -> None:
    # The lines of the guide to the letter; further events in the same style.
    match event:
        case events.PositionAdopted(position=position):
            _say(
                logging.WARNING,
                "position.recovered",
                position.ticket,
                f"[RECOVERY] Zombie position recovered: Ticket {position.ticket}, "
                f"{describe(position)}",
            )
        # Two lines: the guide's, and the reason that the guide does not show.
        case events.PositionClosed(position=position, because=because):
            text = f"[CLOSED] Ghost position removed (Ticket {position.ticket})"
            _say(logging.WARNING, "position.closed", position.ticket, text)
            text = f"[EXPLAINED] Ticket {position.ticket}: {because}"
            _say(logging.INFO, "position.explained", position.ticket, text)
        case events.PositionMissing(position=position, because=because):
            text = f"[MISSING] Ticket {position.ticket} left the broker's list: {because}"
            _say(logging.WARNING, "position.missing", position.ticket, text)
        case events.PositionFound(position=position):
            text = f"[FOUND] Ticket {position.ticket} is in the broker's list again"
            _say(logging.WARNING, "position.found", position.ticket, text)
        case events.DealsRecorded(position=position, because=because, ours=ours, changed=changed):
            # Deals of our own orders are expected, so they are information. A deal that the broker
            # changed after we had counted it is a warning.
            tag, name = ("DEALS", "deals") if ours else ("EXPLAINED", "explained")
            text = f"[{tag}] Ticket {position.ticket}: {because}"
            level = logging.WARNING if changed else logging.INFO
            _say(level, f"position.{name}", position.ticket, text)
        case events.PendingAdopted() | events.PendingClosed() | events.PendingCorrected():
            _say(logging.WARNING, "order.corrected", None, f"[ORDER] {pending_sentence(event)}")
        case events.HaltRaised(identifier=identifier, because=because):
            _say(logging.ERROR, "halt.raised", identifier, f"[HALT] {because}")
        case events.OrderApplied(order_id=order_id, by=by):
            text = f"[SETTLED] Order {order_id} took effect{assumed_by(by)}"
            _say(logging.WARNING, "order.settled", None, text)
        # The first binding is expected, a change by the broker is not.
        case events.AccountBound(changed=()):
            text = f"[BOUND] This book is of {event.login}@{event.server}"
            _say(logging.INFO, "account.bound", None, text)
        case events.AccountBound():
            text = f"[ACCOUNT] {account_sentence(event)}"
            _say(logging.WARNING, "account.changed", None, text)
        case events.LossFound(because=because):
            _say(logging.ERROR, "journal.loss_found", None, f"[LOST] {because}")
        case events.LossAccepted(by=by):
            _say(logging.WARNING, "journal.loss_accepted", None, f"[LOST] {accepted_sentence(by)}")
        case events.PositionCorrected():
            _log_drift(event)
        case events.OrderSettled(order_id=order_id, ticket=ticket, because=because):
            text = f"[SETTLED] Order {order_id} was filled as ticket {ticket}: {because}"
            _say(logging.WARNING, "order.settled", ticket, text)
        case events.OrderRejected(order_id=order_id, error=error, because=because):
            text = f"[SETTLED] Order {order_id} was refused, {error}: {because}"
            _say(logging.WARNING, "order.settled", None, text)
        # "Given up" is a person's decision; "not executed" is proven.
        case events.OrderCanceled(order_id=order_id, because=because, unproven=unproven):
            became = "is given up" if unproven else "was not executed"
            text = f"[SETTLED] Order {order_id} {became}: {because}"
            _say(logging.WARNING, "order.settled", None, text)
        case (
            events.OrderCreated()
            | events.SendStarted()
            | events.OrderFilled()
            | events.OrderInDoubt()
            | events.HistoryCompared()
        ):
            # Not corrections: these events are logged where they happen.
            return
        case _:
            assert_never(event)


def _log_drift(drift: events.PositionCorrected) -> None:
    ticket = drift.remote.ticket
    local, remote = format_lots(drift.local.volume), format_lots(drift.remote.volume)
    if "volume" in drift.fields:
        text = f"[DRIFT_FIX] Volume {local}L → {remote}L"
        _say(logging.INFO, "position.drifted", ticket, text)
    text = f"[DRIFT_FIX] Ticket {ticket}: {drift_sentence(drift)}"
    _say(logging.WARNING, "position.corrected", ticket, text)
    if "volume" in drift.fields:
        text = f"[DRIFT_FIX] Ticket {ticket}: volume mismatch corrected"
        _say(logging.INFO, "position.corrected", ticket, text)


def _say(level: int, event: str, ticket: int | None, text: str) -> None:
    if not log.isEnabledFor(level):
        return
    # The record is made here, since a logger spends a third of the cost on looking up its caller,
    # and the caller of these lines is always this function.
    record = logging.LogRecord(log.name, level, __file__, 0, text, None, None, "_say")
    record.event, record.ticket = event, ticket
    log.handle(record)
