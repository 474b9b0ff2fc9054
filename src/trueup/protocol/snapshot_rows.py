"""Read the rows of a snapshot one by one, if they cannot all be decoded at once.

A malformed position or pending order is left out and named, and the others stay: such a *partial*
reading proves nothing absent. The digest covers all rows, the malformed ones as they were received.
So it also proves a partial list: a row that was changed on the way cannot pass for a row that is
malformed at the broker.

If data of a position cannot be read, it counts as not asked for: deals with a gap would add up to a
wrong result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from trueup.core.book.event_ids import row_id
from trueup.core.digest import (
    digest_of,
    order_hash,
    order_line,
    position_hash,
    position_line,
    raw_order_hash,
    raw_order_line,
    raw_position_hash,
    raw_position_line,
)
from trueup.core.model import FieldNote, PendingOrder, Position, RowFault
from trueup.protocol.rows import (
    UnreadableRow,
    is_sound,
    is_sound_order,
    order_fault,
    read_order,
    read_row,
    row_fault,
)
from trueup.protocol.text import brief

Row = TypeVar("Row")


class Lists(msgspec.Struct, frozen=True):
    """The result of reading positions and pending orders; the fields are those of `Snapshot`."""

    positions: list[Position]
    orders: tuple[PendingOrder, ...]
    faults: tuple[RowFault, ...]
    notes: tuple[FieldNote, ...]
    digest: str
    listed: tuple[int, int]


def read_lists(position_rows: Sequence[object], order_rows: Sequence[object]) -> Lists:
    """Read rows as received: positions and pending orders, or plain values."""
    found = _Found()
    for number, row in enumerate(position_rows, start=1):
        found.add_position(number, row)
    for number, row in enumerate(order_rows, start=1):
        found.add_order(number, row)
    # A position that is listed twice is a fault: the rows may contradict each other.
    positions, twice = each_once(found.positions)
    orders, orders_twice = _orders_once(found.orders)
    return Lists(
        positions,
        orders,
        (*found.faults, *twice, *orders_twice),
        tuple(found.notes),
        digest_of(found.total, len(position_rows) + len(order_rows)),
        (len(position_rows), len(order_rows)),
    )


def lines_of(position_rows: Sequence[object], order_rows: Sequence[object]) -> tuple[str, ...]:
    """Return the lines from which the digest of these rows is computed, for people to compare."""
    # As in `_Found`: a valid row gives a line of its values, any other row a line of its raw data.
    lines = []
    for row in position_rows:
        position = _converted(row, Position)
        if position is not None and is_sound(position):
            lines.append(position_line(position))
        else:
            lines.append(raw_position_line(_raw(row)))
    for row in order_rows:
        order = _converted(row, PendingOrder)
        if order is not None and is_sound_order(order):
            lines.append(order_line(order))
        else:
            lines.append(raw_order_line(_raw(row)))
    return tuple(lines)


class _Found:
    """The rows that were read so far; `total` is the sum of their hashes."""

    def __init__(self) -> None:
        self.positions: list[Position] = []
        self.orders: list[PendingOrder] = []
        self.faults: list[RowFault] = []
        self.notes: list[FieldNote] = []
        self.total = 0

    def add_position(self, number: int, row: object) -> None:
        """Read a row of positions."""
        position = _converted(row, Position)
        if position is not None and is_sound(position):
            self.total += position_hash(position)
            self.positions.append(position)
            return
        self.total += raw_position_hash(_raw(row))
        try:
            self.positions.append(read_row(row, self.notes))
        except UnreadableRow as error:
            self.faults.append(row_fault(row, f"Row {number}: {error}"))

    def add_order(self, number: int, row: object) -> None:
        """Read a row of pending orders."""
        order = _converted(row, PendingOrder)
        if order is not None and is_sound_order(order):
            self.total += order_hash(order)
            self.orders.append(order)
            return
        self.total += raw_order_hash(_raw(row))
        try:
            self.orders.append(read_order(row, self.notes))
        except UnreadableRow as error:
            self.faults.append(order_fault(row, f"Row {number} of the pending orders: {error}"))


def _converted(row: object, kind: type[Row]) -> Row | None:
    if isinstance(row, kind):
        return row
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError:
        return None


def _raw(row: object) -> Mapping[str, Any]:
    if isinstance(row, msgspec.Struct):
        row = msgspec.to_builtins(row)
    return row if isinstance(row, Mapping) else {}


def each_once(positions: Sequence[Position]) -> tuple[list[Position], list[RowFault]]:
    """Return the positions that are listed once, and a fault for each ticket listed otherwise."""
    # By both numbers: a ticket or an identifier that occurs twice makes all of its rows doubtful.
    identifiers = Counter(position.identifier for position in positions)
    tickets = Counter(position.ticket for position in positions)
    once = [p for p in positions if identifiers[p.identifier] == tickets[p.ticket] == 1]
    twice = sorted({p.ticket for p in positions} - {p.ticket for p in once})
    return once, [_listed_twice(ticket, positions) for ticket in twice]


def _listed_twice(ticket: int, positions: Sequence[Position]) -> RowFault:
    rows = [position for position in positions if position.ticket == ticket]
    symbols = {position.symbol for position in rows}
    # The fault's id must not depend on changing values: an approval would no longer match.
    raw = [(p.identifier, p.symbol, p.side.value, p.volume, p.price_open) for p in rows]
    return RowFault(
        f"Ticket {ticket} is in the list {_times(ticket, positions)}",
        symbols.pop() if len(symbols) == 1 else "",
        ticket,
        id=row_id([ticket, *sorted(raw)]),
    )


def _times(ticket: int, positions: Sequence[Position]) -> str:
    times = sum(position.ticket == ticket for position in positions)
    return f"{times} times" if times > 1 else "with an identifier that another ticket has"


def _orders_once(
    orders: Sequence[PendingOrder],
) -> tuple[tuple[PendingOrder, ...], list[RowFault]]:
    tickets = Counter(order.ticket for order in orders)
    once = tuple(order for order in orders if tickets[order.ticket] == 1)
    twice = {order.ticket: order for order in orders if tickets[order.ticket] > 1}
    return once, [
        # One fault per ticket, however often the ticket is listed.
        RowFault(
            f"Pending order {ticket} is in the list {tickets[ticket]} times",
            order.symbol,
            ticket,
            id=row_id([ticket, order.symbol, order.type.value]),
        )
        for ticket, order in twice.items()
    ]


def read_each(
    rows: object, kind: type[Row], name: str, notes: list[FieldNote]
) -> tuple[list[Row], list[object]]:
    """Return the readable and the unreadable rows of a further list.

    Args:
        rows: the list as received.
        kind: the type of its rows.
        name: the name of such a row in a note.
        notes: receives a note for each unreadable row.
    """
    good: list[Row] = []
    bad: list[object] = []
    for row in rows if isinstance(rows, list) else ():
        try:
            good.append(msgspec.convert(row, kind))
        except msgspec.ValidationError as error:
            bad.append(row)
            ticket = row.get("ticket") if isinstance(row, dict) else 0
            problem = f"this {name} cannot be read: {brief(error)}"
            notes.append(FieldNote(ticket if type(ticket) is int else 0, name, str(error), problem))
    return good, bad
