"""The journal's vocabulary: everything that can happen to a book.

A book is the fold of these events and of nothing else. `at_ns` is nanoseconds of UTC since 1970 by
the clock of the process that recorded the event. What is newer than what is never read from it:
that is the book's version.

Events are acyclic and many, so the garbage collector is told to pass them by (gc=False).
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
    """Something that happened to a book."""

    at_ns: int


class OrderEvent(Event, frozen=True):
    """Something that happened to one order of ours."""

    order_id: str


class OrderKind(enum.Enum):
    """What an order asks for."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    MODIFY = "modify"
    CANCEL = "cancel"


class OrderCreated(OrderEvent, frozen=True):
    """An intent: what is about to be asked of the broker, recorded before it leaves.

    `volume` is lots, `price` the market as the strategy saw it, or the level of a pending order.
    `position` is the identifier of the position that the order closes or modifies, or 0; `target`
    the ticket of the pending order that it cancels. `magic` is the strategy's, `wire_magic` what
    the broker is given. `key` is the caller's own name for the intent, `why` free text, `comment`
    the comment that the caller gave the order (the broker is given the token instead). `by_desk`
    says that our order desk sends it, and records when.
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

    `record` is how far the gateway's own record of requests reached then, as far as we knew,
    `time_offset_sec` the trade server's clock less UTC, as it was seen last, and `server_time_msc`
    a time that this clock had passed by then, 0 where none is known.
    """

    record: RecordMark | None = None
    time_offset_sec: int | None = None
    server_time_msc: int = 0


class OrderApplied(OrderEvent, frozen=True):
    """The broker did what a modification, a cancellation or a pending order asked.

    `ticket` is the pending order's, where one was placed. `by` is who said so, where nothing
    proves it.
    """

    ticket: int = 0
    by: str = ""


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
    """The broker said no, or the order never left; nothing happened.

    `because` is the evidence by which a sync found that out, empty where the answer itself said so.
    """

    error: str
    because: str = ""


class OrderInDoubt(OrderEvent, frozen=True):
    """The order left and no proven outcome came back."""

    error: str


class OrderCanceled(OrderEvent, frozen=True):
    """The order ended without effect, as far as anything shows; `because` says by which evidence.

    `by` is who said so, where nothing proves it. `unproven` says that nothing proves it: it was
    given up, and may have taken effect.
    """

    because: str
    by: str = ""
    unproven: bool = False


class OrderSettled(OrderEvent, frozen=True):
    """The broker shows that an order in doubt was executed.

    Its effect on positions is in the events beside it; `because` names the evidence. `price` is
    None where a list shows the effect and not at what price it came about. `by` is who said that
    this is the order, where nothing proves it.
    """

    ticket: int
    volume: float
    price: float | None
    because: str
    by: str = ""


class PositionAdopted(Event, frozen=True):
    """A zombie entered the book as the broker has it."""

    position: Position


class PositionMissing(Event, frozen=True):
    """A position left the broker's list, and its deals do not prove yet that it is closed."""

    position: Position
    because: str


class PositionFound(Event, frozen=True):
    """A position that was missing is in the broker's list again."""

    position: Position


class PositionClosed(Event, frozen=True):
    """A ghost left the book.

    `ended` is how, by its deals; `unproven` is true when only the absence from a list says so, or
    a person, who is named in `by` then.
    `realised_units` is its whole realised result in units of 1e-8 of the account's currency, and
    `booked` the deals that it is the sum of, `deals` their tickets. `went_on_as` are the
    identifiers under which the broker opened it again, by a rollover or a split; more than one
    where nothing tells which of them it is. `complete` are the tickets of orders of which the
    broker shows no more deals than are counted.
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
    """What the deals of one order brought to a position: units of 1e-8 lots, negative when sold.

    `order` is the order's ticket, `magic` the number that its deals have.
    """

    order: int
    magic: int
    units: int


class DealsRecorded(Event, frozen=True):
    """New or changed deals of a position, open or closed, were taken into its realised result.

    `realised_units` is the whole result of the position so far, so that recording twice changes
    nothing; `booked` are the deals that it is the sum of, `deals` their tickets. `shares` are what
    the orders of the new deals brought to a position that several strategies share. `ours` says
    that orders of ours made the new deals, and that their answers had said so: there was nothing to
    explain. `changed` are the tickets of deals that the broker changed after they were counted.
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
    """A pending order that we did not know entered the book as the broker has it."""

    order: PendingOrder


class PendingClosed(Event, frozen=True):
    """A pending order left the book; `because` says what became of it.

    `filled` is how many lots of it were executed in all, and `position` the identifier of the
    position that it went into; both 0 where nothing was. Its deals are still to be counted then.
    `ours` says that an order of ours cancelled it, and only its end was still to be told.
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
    """Journal and broker contradict each other about an order: somebody must look.

    No new orders in the symbol until the position `identifier` is gone.
    """

    symbol: str
    identifier: int
    order_id: str
    because: str


class AccountBound(Event, frozen=True):
    """The book belongs to this account from here on.

    `currency_digits` are the decimals of its money, None in journals that did not note them.
    `fifo_close` says that the oldest position of a symbol has to be closed first (MQL5 reference,
    ACCOUNT_FIFO_CLOSE). `trade_mode` is demo, contest or real, None where that is not known.
    `changed` names what the broker changed under the same login.
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

    Both are milliseconds of the trade server's clock. `agreed` counts the deals that both have
    alike, the others those that one side lacks, or that differ; `difference` is how much more the
    broker's brought, in units of 1e-8 of the account's currency.
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
        """Whether nothing was missing on either side, and nothing differed."""
        return not (self.missing_in_book or self.missing_at_broker or self.changed)


class LossFound(Event, frozen=True):
    """The journal lacks its newest events: a backup was put back, or the journal was deleted.

    `because` says what shows that. `orders` counts the orders that the gateway's record has and the
    journal lacked; the events beside this one take the newest of them into the book. `record` is
    how far that record reached. No entries until a person accepts the loss.
    """

    because: str
    orders: int = 0
    record: RecordMark | None = None


class LossAccepted(Event, frozen=True):
    """A person, named in `by`, has seen that the journal lacks events, and allows entries again."""

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
