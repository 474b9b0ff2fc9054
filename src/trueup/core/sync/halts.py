"""Halt entries if journal and broker contradict each other about an order: cases C, I and L.

Entries in that symbol stop until a person has investigated. All else continues: the position is
adopted like any other, because the broker's state is the real state.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.diff import Diff
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Position
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.core.tokens import SHORTEST_CUT, TOKEN_CHARS, is_in_magic, tokens_in

NOT_AT_THE_BROKER = frozenset({OrderStatus.PENDING, OrderStatus.REJECTED, OrderStatus.CANCELED})
ENDED_UNDONE = (events.OrderRejected, events.OrderCanceled)
MADE_BY_AN_ORDER = frozenset({"volume", "side", "ticket"})


def halts(found: Diff, inputs: SyncInputs, outcome: Outcome) -> None:
    """Halt entries if the broker has an order that we did not send or that the broker refused."""
    listed = {position.identifier for position in inputs.snapshot.positions}
    outcome.holds += [
        # An unreadable row may be the position of the halt, so keep the halt.
        _halted(halt)
        for identifier, halt in inputs.book.halts.items()
        if identifier in listed or inputs.snapshot.faults
    ]
    # The index of marks covers all old orders, so build it only if there is a position to check.
    suspects = list(_suspects(found, inputs.book))
    # An order that this plan ends as refused counts as refused: once the position is adopted, no
    # later plan has a difference to halt.
    ending = {e.order_id: e for e in outcome.events if isinstance(e, ENDED_UNDONE)}
    marks = _marks(inputs.book, ending) if suspects else {}
    for remote in suspects if marks else ():
        order = _order_of(remote, marks)
        if order is not None:
            halt = _halt(order, ending.get(order.order_id), remote, inputs.now_ns)
            outcome.events.append(halt)
            outcome.holds.append(_halted(halt))


def _suspects(found: Diff, book: Book) -> Iterator[Position]:
    """Yield positions that an order opened or changed without an order in the book."""
    for zombie in found.zombies:
        if zombie.remote.identifier not in book.halts:
            yield zombie.remote
    for drift in found.drifts:
        if MADE_BY_AN_ORDER & set(drift.fields) and drift.local.identifier not in book.halts:
            yield drift.remote


def _marks(book: Book, ending: Container[str]) -> dict[str | int, Order]:
    """Return the orders that must not be at the broker, by the marks that they would have there.

    `ending` are the ids of the orders in doubt that the plan ends without an execution.
    """
    marks: dict[str | int, Order] = {}
    for order in book.orders.values():
        is_undone = order.status in NOT_AT_THE_BROKER or order.order_id in ending
        if len(order.token) != TOKEN_CHARS or not is_undone:
            continue
        for cut in range(SHORTEST_CUT, TOKEN_CHARS + 1):
            marks[order.token[:cut]] = order
        # A closing order carries its position's magic number, with the token of the opening order.
        if is_in_magic(order.wire_magic, order.token):
            marks[order.wire_magic] = order
    return marks


def _order_of(remote: Position, marks: dict[str | int, Order]) -> Order | None:
    shown = (remote.magic, remote.comment, *tokens_in(remote.comment))
    return next((marks[mark] for mark in shown if mark in marks), None)


def _halt(
    order: Order,
    ending: events.OrderRejected | events.OrderCanceled | None,
    remote: Position,
    now_ns: int,
) -> events.HaltRaised:
    # An order gets its version when it is about to leave, so 0 means never sent.
    says = JournalSays.REFUSED if order.version else JournalSays.PREPARED
    case = decide(says, BrokerShows.OPEN, settled=True)
    error = ending.error if isinstance(ending, events.OrderRejected) else order.error
    known = f", {error}" if error else ""
    because = f"case {case.label}: {case.because} (ticket {remote.ticket}, {order.order_id}{known})"
    return events.HaltRaised(
        at_ns=now_ns,
        symbol=remote.symbol,
        identifier=remote.identifier,
        order_id=order.order_id,
        because=because,
    )


def _halted(halt: events.HaltRaised) -> Hold:
    until = "a person checks the position, and the position closes"
    return Hold(halt.symbol, halt.because, until, halt.identifier, HoldKind.HALT)
