"""Turn the corrections that a person or a foreign reconciler forces on the book into events.

A row that cannot be read, or that names a position which is not in the book, gives no event. The
log then has the reason, and the book stays unchanged.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book, Holding
from trueup.core.conversions import whole_number
from trueup.core.model import FieldNote, Position, describe, describe_at
from trueup.logs import Logger, logger
from trueup.protocol.rows import UnreadableRow, fields_of, read_row

FORCED = "closed in the book by force_close_position()"
ForcedEvent = events.PositionAdopted | events.PositionClosed | events.PositionCorrected

log: Logger = logger("trueup.portfolio")


def added(book: Book, symbol: str, row: object, now_ns: int) -> events.PositionAdopted | None:
    """Return the event that adds the position in a row to the book, or None."""
    position = _believable(row, symbol)
    if position is None:
        return None
    if position.identifier in book.holdings:
        log.error("[RECONCILE] Ticket %s is in the book already", position.ticket)
        return None
    return events.PositionAdopted(at_ns=now_ns, position=position)


def closed(book: Book, ticket: object, now_ns: int) -> events.PositionClosed | None:
    """Return the event that removes a ticket from the book as unproven, or None."""
    holding = _holding(book, ticket)
    if holding is None:
        log.warning("[RECONCILE] No position with ticket %.40r to close", ticket)
        return None
    return events.PositionClosed(
        at_ns=now_ns, position=holding.position, because=FORCED, unproven=True
    )


def updated(
    book: Book, symbol: str, ticket: object, row: object, now_ns: int
) -> events.PositionCorrected | None:
    """Return the event that sets a ticket to the values of a row, or None.

    A field that the row does not have keeps its value.
    """
    holding = _holding(book, ticket)
    if holding is None:
        log.warning("[RECONCILE] No position with ticket %.40r to update", ticket)
        return None
    local, fields = holding.position, fields_of(row)
    if fields is None:
        log.error("[RECONCILE] Refused: %.60r is not a position", row)
        return None
    # Fill in the missing fields from the book, so that the whole position is checked like any other
    # row.
    remote = _believable({**msgspec.to_builtins(local), **fields}, symbol)
    if remote is None:
        return None
    # A changed ticket would be another position under the same identifier.
    if remote.ticket != local.ticket:
        log.error("[RECONCILE] Ticket %s cannot become ticket %s", local.ticket, remote.ticket)
        return None
    return events.PositionCorrected(at_ns=now_ns, local=local, remote=remote, fields=tuple(fields))


def log_forced(event: ForcedEvent) -> None:
    """Log a forced correction."""
    match event:
        case events.PositionAdopted(position=p):
            log.warning("[RECONCILE] Added ticket %s, %s", p.ticket, describe_at(p))
        case events.PositionClosed(position=p):
            log.warning("[RECONCILE] Closed ticket %s, %s", p.ticket, describe(p))
        case events.PositionCorrected(local=p, remote=remote):
            log.warning("[RECONCILE] Updated ticket %s to %s", p.ticket, describe_at(remote))


def _holding(book: Book, ticket: object) -> Holding | None:
    found = whole_number(ticket)
    return None if found is None else book.holding_by_ticket(found)


def _believable(row: object, symbol: str) -> Position | None:
    notes: list[FieldNote] = []
    try:
        position = read_row(row, notes)
    except UnreadableRow as error:
        log.error("[RECONCILE] Refused: %s", error)
        return None
    for note in notes:
        log.warning("[RECONCILE] %s", note)
    if position.symbol != symbol:
        log.error("[RECONCILE] Refused: %s is not %s", position.symbol, symbol)
        return None
    return position
