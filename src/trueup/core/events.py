"""The journal's vocabulary: everything that can happen to a book.

A book is the fold of these events and of nothing else. `at_ns` is nanoseconds of UTC since 1970 by
the clock of the process that recorded the event. What is newer than what is never read from it:
that is the book's version.

Events are acyclic and many, so the garbage collector is told to pass them by (gc=False).
"""

from __future__ import annotations

import msgspec

from trueup.core.model import Position, Side


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="event"):
    """Something that happened to a book."""

    at_ns: int


class OrderEvent(Event, frozen=True):
    """Something that happened to one order of ours."""

    order_id: str


class OrderCreated(OrderEvent, frozen=True):
    """The strategy asked for an order: `volume` in lots, `price` as it saw the market.

    `position` is the identifier of the position that the order is meant to reduce, or 0.
    """

    symbol: str
    side: Side
    volume: float
    price: float
    position: int = 0


class OrderFilled(OrderEvent, frozen=True):
    """The gateway said the order is done: `volume` lots at `price` under `ticket`.

    `side` and `symbol` repeat the order's, so that the event reads alone.
    """

    ticket: int
    symbol: str
    side: Side
    volume: float
    price: float


class OrderRejected(OrderEvent, frozen=True):
    """The broker said no, or the order never left; nothing happened."""

    error: str


class OrderInDoubt(OrderEvent, frozen=True):
    """The order left and no proven outcome came back."""

    error: str


class OrderCanceled(OrderEvent, frozen=True):
    """The order ended without effect; `because` says by which evidence."""

    because: str


class OrderSettled(OrderEvent, frozen=True):
    """The broker shows that an order in doubt was executed.

    Its effect on positions is in the events beside it; `because` names the evidence.
    """

    ticket: int
    volume: float
    price: float
    because: str


class PositionAdopted(Event, frozen=True):
    """A zombie entered the book as the broker has it."""

    position: Position


class PositionClosed(Event, frozen=True):
    """A ghost left the book.

    `unproven` is true when only the absence from a list says so, and no deal of the broker.
    """

    position: Position
    because: str
    unproven: bool = False


class PositionCorrected(Event, frozen=True):
    """A drift was corrected: the book had `local`, the broker has `remote`, `fields` differed."""

    local: Position
    remote: Position
    fields: tuple[str, ...]


AnyEvent = (
    OrderCreated
    | OrderFilled
    | OrderRejected
    | OrderInDoubt
    | OrderCanceled
    | OrderSettled
    | PositionAdopted
    | PositionClosed
    | PositionCorrected
)
