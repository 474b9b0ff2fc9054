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
from trueup.core.book.wishes import OrderWish
from trueup.core.deals import BookedDeal
from trueup.core.explain import Exit
from trueup.core.gateway_record import RecordMark
from trueup.core.model import Deal, MarginMode, PendingOrder, Position, Side


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
    STOP_LIMIT = "stop_limit"
    MODIFY = "modify"
    CANCEL = "cancel"
    MODIFY_ORDER = "modify_order"
    CLOSE_BY = "close_by"


CHANGES = frozenset({OrderKind.MODIFY, OrderKind.CANCEL, OrderKind.MODIFY_ORDER})
"""The orders that change what exists and trade nothing."""
AT_ONCE = frozenset({OrderKind.MARKET, OrderKind.CLOSE_BY})
"""The orders that trade as soon as the broker has them."""


class TradingMode(enum.Enum):
    """What a person leaves to the strategy of a book.

    CLOSE_ONLY: no entries. PAUSED: no orders at all. Without a mode every order is allowed.
    """

    CLOSE_ONLY = "close_only"
    PAUSED = "paused"


class OrderCreated(OrderEvent, frozen=True):
    """An intent: an order that is about to be sent to the broker, recorded before it leaves.

    `volume` is lots, `price` the market price that the strategy saw, or the level of a pending
    order. `position` is the identifier of the position that the order closes or modifies, or 0, and
    `position_by` that of the opposite position by which it is closed, or 0. `target` is the ticket
    of the pending order that the order cancels or modifies, and `stoplimit` the price of a limit
    order that a stop order becomes, 0 for none. `magic` is the strategy's number, `wire_magic` the
    number sent to the broker. `key` is the caller's own name for the intent, `why` free text,
    `comment` the caller's comment (the broker gets the token instead). `by` names the person or
    the assistant who asked for the order, empty for an order of the strategy.
    `by_desk` says that our order desk sends the order and records the sending. `foreign` has the
    broker's rows of the positions that the order names and the book did not have: the order changes
    these positions at the broker, and nothing of them enters the book.
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
    foreign: tuple[Position, ...] = ()
    stoplimit: float = 0.0
    position_by: int = 0
    by: str = ""


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


class OutcomeDelivered(OrderEvent, frozen=True):
    """The program that asked for an order has been given the order's outcome.

    Only a door whose callers have no key of their own records this event. An outcome that was not
    delivered is given to the next caller who asks for the same order.
    """


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


class StreamTakenOver(Event, frozen=True):
    """The book of another stream of the same account entered this book, and that stream ended.

    `stream` is its name, `position` and `hash` (hexadecimal) its end in its own hash chain. `book`
    is the whole book as `core.book.saved` writes a book, with `positions` open positions and
    `in_doubt` orders in doubt.
    """

    stream: str
    position: int
    hash: str
    book: str
    positions: int = 0
    in_doubt: int = 0


class StreamClosed(Event, frozen=True):
    """This stream ended: its book entered the book of stream `by`, which goes on with it."""

    by: str


class FiguresNoted(Event, frozen=True):
    """The account's money by which risk limits are judged: the start of the day, and the peak.

    Each event has the whole state. `because` says what is new, empty for a new peak alone.
    `balance` and `credit` are the account's at `at_ns`, in `currency` with `digits` decimals.
    `deals_msc` (trade server's clock) and the tickets `deals` at that time are the newest deals
    that the state contains: operations on the balance up to there are taken out.

    `day_ns` is the reset (ns of UTC) at which the day began, 0 without a limit on a day's loss.
    `day_balance` and `day_equity` are the figures at the reset, and `peak_balance` and
    `peak_equity` the highest figures, each moved by every operation since. `computed` says that
    nobody read the figures at the reset, and that they come from deals. `has_peak` says that there
    is a peak.
    """

    balance: float
    credit: float
    because: str = ""
    currency: str = ""
    digits: int = 2
    deals_msc: int = 0
    deals: tuple[int, ...] = ()
    day_ns: int = 0
    day_balance: float = 0.0
    day_equity: float = 0.0
    computed: bool = False
    has_peak: bool = False
    peak_balance: float = 0.0
    peak_equity: float = 0.0


class LimitReached(Event, frozen=True):
    """A risk limit is reached: entries are refused, closing stays allowed.

    `limit` is the name of the limit, `reason` the figures, `until` when it ends. `until_ns` is the
    end (ns of UTC) if the date alone ends it, else 0.
    """

    limit: str
    reason: str
    until: str
    until_ns: int = 0


class LimitEnded(Event, frozen=True):
    """A risk limit that was reached no longer refuses entries."""

    limit: str
    because: str


class TradingPaused(Event, frozen=True):
    """The person `by` allows fewer orders of the strategy from now on, until a person resumes.

    A later event of this class replaces an earlier one. `why` is the person's reason, or empty.
    """

    by: str
    mode: TradingMode
    why: str = ""


class TradingResumed(Event, frozen=True):
    """The person `by` allows every order of the strategy again; `why` is the reason, or empty."""

    by: str
    why: str = ""


class SyncAsked(Event, frozen=True):
    """The person `by` asked the bot to compare book and broker at once; `why` may be empty."""

    by: str
    why: str = ""


class BotStopped(Event, frozen=True):
    """The person `by` ended the process of the bot; positions stay open. `why` may be empty."""

    by: str
    why: str = ""


class ProposalEnd(enum.Enum):
    """How a proposal ended.

    APPROVED: a person approved the proposal, and its order was recorded. REJECTED: by a person.
    WITHDRAWN: by the assistant. EXPIRED: no person decided in time. VOID: what the proposal is
    about has changed.
    """

    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    VOID = "void"


class ProposalMade(Event, frozen=True):
    """The assistant `by` proposed an order, which waits for a person until `expires_ns`.

    `key` is the assistant's own name for the wish, and `why` its reason, or empty. `asked` is the
    wish in the assistant's words, and `wish` the same with everything that the words leave out.
    Nothing is sent before a person approves the proposal.
    """

    proposal_id: str
    by: str
    key: str
    wish: OrderWish
    asked: OrderWish
    expires_ns: int
    why: str = ""


class ProposalEnded(Event, frozen=True):
    """A proposal no longer waits for a person.

    `by` names who approved, rejected or withdrew it, empty if nobody did. `because` is the reason,
    or empty. `order_id` is the order of an approved proposal.
    """

    proposal_id: str
    end: ProposalEnd
    by: str = ""
    because: str = ""
    order_id: str = ""


class WishRefused(Event, frozen=True):
    """The assistant `by` submitted or proposed an order and was refused: nothing was sent.

    `key` is the assistant's own name for the wish, `because` the reason. `proposed` says that the
    order was only proposed.
    """

    by: str
    key: str
    wish: OrderWish
    because: str
    proposed: bool = False


class CashDeal(msgspec.Struct, frozen=True, gc=False):
    """A deal that moved money of the account and belongs to no position.

    `what` is its kind in words, such as "balance" or "credit", `money` is in the account's
    currency, and `time_msc` a time of the trade server's clock.
    """

    ticket: int
    what: str
    money: float
    time_msc: int
    comment: str = ""


class SwapMoved(msgspec.Struct, frozen=True, gc=False):
    """The swap of an open position is `after` now and was `before`, in the account's currency."""

    identifier: int
    ticket: int
    symbol: str
    before: float
    after: float


class WatchBegan(Event, frozen=True):
    """A watch began to look at the account, beside a bot that is not ours; it sends no order.

    `gateway` is the address of the gateway.
    """

    gateway: str


class BrokerSeen(Event, frozen=True):
    """A watch has read the broker, and saw what a book alone does not keep.

    `deals` are the account's deals that no look had seen before, `cash` those that belong to no
    position, and `swaps` the changes of swap. `server_msc` is a time that the trade server's clock
    had passed at this look and `covered_msc` at the look before, whose deals were all read; 0 if
    not known. `offset_sec` is that clock less UTC, None if not known. At the first look alone,
    `begin_msc` is the time by that clock from which on deals count, and `known` are the tickets of
    the deals that were there already.
    """

    server_msc: int = 0
    covered_msc: int = 0
    offset_sec: int | None = None
    deals: tuple[Deal, ...] = ()
    cash: tuple[CashDeal, ...] = ()
    swaps: tuple[SwapMoved, ...] = ()
    begin_msc: int = 0
    known: tuple[int, ...] = ()


class ReadingsLost(Event, frozen=True):
    """A watch gets no reading that it believes: the last one was at `since_ns` (UTC), 0 for none.

    `reason` is the word of `core.account.trust.Reason`, `because` a sentence.
    """

    since_ns: int
    reason: str
    because: str


AnyEvent = (
    OrderCreated
    | OrderFilled
    | OrderRejected
    | OrderInDoubt
    | SendStarted
    | OrderApplied
    | OrderCanceled
    | OrderSettled
    | OutcomeDelivered
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
    | StreamTakenOver
    | StreamClosed
    | FiguresNoted
    | LimitReached
    | LimitEnded
    | TradingPaused
    | TradingResumed
    | SyncAsked
    | BotStopped
    | ProposalMade
    | ProposalEnded
    | WishRefused
    | WatchBegan
    | BrokerSeen
    | ReadingsLost
)


def as_any(event: Event) -> AnyEvent:
    """Return the same event, typed as the union of all: a `match` over it must name each class."""
    return cast("AnyEvent", event)
