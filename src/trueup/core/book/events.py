"""The events of the journal: all changes of a book.

A book is the fold of these events and of nothing else. `at_ns` is nanoseconds of UTC since 1970 by
the clock of the process that recorded the event. To compare the age of facts, use the book's
version, never `at_ns`.

Events are numerous and never part of a cycle, so the garbage collector skips them (gc=False).
"""

from __future__ import annotations

import enum
from typing import cast

import msgspec

from trueup.core.book.terms import PLAIN_TERMS, Terms
from trueup.core.deals import BookedDeal
from trueup.core.explain import Exit
from trueup.core.gateway_record import RecordMark
from trueup.core.model import MarginMode, PendingOrder, Position, Side


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="event"):
    """A change of a book."""

    at_ns: int


class OrderEvent(Event, frozen=True):
    """A change of a single order of ours."""

    order_id: str


class OrderKind(enum.Enum):
    """The action that an order requests."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    MODIFY = "modify"
    CANCEL = "cancel"


class OrderCreated(OrderEvent, frozen=True):
    """An intent: an order that is about to be sent to the broker, recorded before it leaves.

    `volume` is lots, `price` the market price that the strategy saw, or the level of a pending
    order. `position` is the identifier of the position that the order closes or modifies, or 0;
    `target` is the ticket of the pending order that the order cancels. `magic` is the strategy's
    number, `wire_magic` the number sent to the broker. `key` is the caller's own name for the
    intent, `why` free text, `comment` the caller's comment (the broker gets the token instead).
    `by_desk` says that our order desk sends the order and records the sending.
    """

    symbol: str
    side: Side
    volume: float
    price: float
    position: int = 0
    magic: int = 0
    kind: OrderKind = OrderKind.MARKET
    sl: float = 0.0
    tp: float = 0.0
    target: int = 0
    wire_magic: int = 0
    token: str = ""
    key: str = ""
    why: str = ""
    by_desk: bool = False
    terms: Terms = PLAIN_TERMS
    comment: str = ""


class SendStarted(OrderEvent, frozen=True):
    """The order is about to leave this process: from here on it may reach the broker.

    `record` marks how far the gateway's record of requests reached then, as far as we knew,
    `time_offset_sec` is the latest known difference of the trade server's clock minus UTC, and
    `server_time_msc` a time that this clock had passed by then, 0 if not known.
    """

    record: RecordMark | None = None
    time_offset_sec: int | None = None
    server_time_msc: int = 0


class OrderApplied(OrderEvent, frozen=True):
    """The broker carried out a modification, a cancellation or the placing of a pending order.

    `ticket` is the ticket of a placed pending order, else 0. `by` names the person who reported
    this if nothing else proves it, else empty.
    """

    ticket: int = 0
    by: str = ""


class OrderFilled(OrderEvent, frozen=True):
    """The gateway reported the order as filled: `volume` lots at `price` under `ticket`.

    `side` and `symbol` repeat the order's, so that a reader understands the event alone.
    """

    ticket: int
    symbol: str
    side: Side
    volume: float
    price: float


class OrderRejected(OrderEvent, frozen=True):
    """The broker refused the order, or the order never left; it had no effect.

    `because` is the evidence by which a sync found the refusal, empty if the reply itself was the
    refusal.
    """

    error: str
    because: str = ""


class OrderInDoubt(OrderEvent, frozen=True):
    """The order left, and no proven outcome arrived."""

    error: str


class OrderCanceled(OrderEvent, frozen=True):
    """The order ended without a visible effect; `because` names the evidence.

    `by` names the person who reported this if nothing else proves it, else empty. `unproven` says
    that there is no proof: the order was given up and may have had an effect.
    """

    because: str
    by: str = ""
    unproven: bool = False


class OrderSettled(OrderEvent, frozen=True):
    """The broker shows that an order in doubt was executed.

    The effect on positions is in other events of the same plan; `because` names the evidence.
    `price` is None if a list shows the effect without the price of the execution. `by` names the
    person who matched the order if nothing else proves the match, else empty.
    """

    ticket: int
    volume: float
    price: float | None
    because: str
    by: str = ""


class PositionAdopted(Event, frozen=True):
    """A zombie entered the book, with the broker's values."""

    position: Position


class PositionMissing(Event, frozen=True):
    """A position left the broker's list, and its deals do not prove yet that it was closed."""

    position: Position
    because: str


class PositionFound(Event, frozen=True):
    """A missing position is in the broker's list again."""

    position: Position


class PositionClosed(Event, frozen=True):
    """A ghost left the book.

    `ended` is the exit by its deals. `unproven` is true if the only evidence is the absence from a
    list, or a person's statement; `by` then names that person. `realised_units` is the whole
    realised result of the position in units of 1e-8 of the account's currency, the sum of the deals
    `booked` with the tickets `deals`. `went_on_as` are the identifiers under which the broker
    opened the position again, by a rollover or a split; several if the right identifier is not
    known. `complete` are the tickets of orders without any uncounted deal at the broker.
    """

    position: Position
    because: str
    unproven: bool = False
    ended: Exit | None = None
    realised_units: int = 0
    by: str = ""
    deals: tuple[int, ...] = ()
    booked: tuple[BookedDeal, ...] = ()
    went_on_as: tuple[int, ...] = ()
    complete: tuple[int, ...] = ()


class Share(msgspec.Struct, frozen=True, gc=False):
    """The lots that the deals of an order added to a position: units of 1e-8, negative if sold.

    `order` is the order's ticket, `magic` the magic number of its deals.
    """

    order: int
    magic: int
    units: int


class DealsRecorded(Event, frozen=True):
    """New or changed deals of a position, open or closed, were counted in its realised result.

    `realised_units` is the whole result of the position so far, so that recording twice changes
    nothing: the sum of the deals `booked` with the tickets `deals`. `shares` are the lots that the
    orders of the new deals added to a position that several strategies share. `ours` says that
    orders of ours made the new deals and that the replies to these orders had reported them, so
    there is nothing to explain. `changed` are the tickets of deals that the broker changed after
    they were counted.
    `went_on_as` and `complete` are as in `PositionClosed`.
    """

    position: Position
    deals: tuple[int, ...]
    realised_units: int
    because: str
    shares: tuple[Share, ...] = ()
    ours: bool = False
    booked: tuple[BookedDeal, ...] = ()
    changed: tuple[int, ...] = ()
    went_on_as: tuple[int, ...] = ()
    complete: tuple[int, ...] = ()


class PositionCorrected(Event, frozen=True):
    """A drift was corrected: the book had `local`, the broker has `remote`, `fields` differed."""

    local: Position
    remote: Position
    fields: tuple[str, ...]


class PendingAdopted(Event, frozen=True):
    """An unknown pending order entered the book, with the broker's values."""

    order: PendingOrder


class PendingClosed(Event, frozen=True):
    """A pending order left the book; `because` says how the order ended.

    `filled` is the total executed volume in lots, and `position` the identifier of the position
    that the fill went into; both 0 without a fill. After a fill the deals are still to be counted.
    `ours` says that an order of ours cancelled the pending order before, and only the confirmation
    of its end was missing.
    """

    order: PendingOrder
    because: str
    filled: float = 0.0
    position: int = 0
    ours: bool = False


class PendingCorrected(Event, frozen=True):
    """A pending order differed in `fields` and was corrected."""

    local: PendingOrder
    remote: PendingOrder
    fields: tuple[str, ...]


class HaltRaised(Event, frozen=True):
    """Journal and broker contradict each other about an order: a person must investigate.

    No new orders in the symbol until the position `identifier` is closed.
    """

    symbol: str
    identifier: int
    order_id: str
    because: str


class AccountBound(Event, frozen=True):
    """The book belongs to this account from now on.

    `currency_digits` are the decimals of its money, None in journals without them. `fifo_close`
    says that the oldest position of a symbol must be closed first (MQL5 reference,
    ACCOUNT_FIFO_CLOSE). `trade_mode` is demo, contest or real, None if not known. `changed` names
    the properties that the broker changed under the same login.
    """

    login: int
    server: str
    currency: str
    margin_mode: MarginMode
    currency_digits: int | None = None
    fifo_close: bool = False
    changed: tuple[str, ...] = ()
    trade_mode: str | None = None


class HistoryCompared(Event, frozen=True):
    """The deals of the book were compared with the broker's, from `since_msc` up to `until_msc`.

    Both are milliseconds of the trade server's clock. `agreed` counts the deals that are equal on
    both sides; `missing_in_book`, `missing_at_broker` and `changed` count the other deals.
    `difference` is the money of the broker's deals minus the book's, in units of 1e-8 of the
    account's currency.
    """

    since_msc: int
    until_msc: int
    agreed: int
    missing_in_book: int = 0
    missing_at_broker: int = 0
    changed: int = 0
    difference: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether no deal was missing on either side and no deal differed."""
        return not (self.missing_in_book or self.missing_at_broker or self.changed)


class LossFound(Event, frozen=True):
    """The journal lacks its newest events: a backup was restored, or the journal was deleted.

    `because` names the evidence. `orders` counts the orders that the gateway's record has and the
    journal lacked; other events of the same plan add the newest of these orders to the book.
    `record` marks how far that record reached. No entries until a person accepts the loss.
    """

    because: str
    orders: int = 0
    record: RecordMark | None = None


class LossAccepted(Event, frozen=True):
    """The person `by` has accepted that the journal lacks events, and allows entries again."""

    by: str


AnyEvent = (
    OrderCreated
    | OrderFilled
    | OrderRejected
    | OrderInDoubt
    | SendStarted
    | OrderApplied
    | OrderCanceled
    | OrderSettled
    | PositionAdopted
    | PositionMissing
    | PositionFound
    | PositionClosed
    | PositionCorrected
    | DealsRecorded
    | PendingAdopted
    | PendingClosed
    | PendingCorrected
    | HaltRaised
    | AccountBound
    | HistoryCompared
    | LossFound
    | LossAccepted
)


def as_any(event: Event) -> AnyEvent:
    """Return the same event, typed as the union of all: a `match` over it must name each class."""
    return cast("AnyEvent", event)
