"""What a gateway's own record says of a request, and when its silence is a proof.

A gateway of ours writes each request to a durable record before it asks the terminal, and again
when it knows the outcome. Asked about an order in doubt, the record gives the lost answer; and what
it never had it withdraws there and then: should the request still come, from the depth of some
buffer, it is refused. Only so is "never seen" the end of a doubt and no mere absence so far.

It is no proof from a record that began later than the order, lost its end, or has let go of that
time. So the bot notes which record the gateway had, and how far it reached, when the order leaves;
clocks of two machines prove nothing about each other and are not asked.
"""

from __future__ import annotations

import enum

import msgspec


class RequestState(enum.Enum):
    """What a record has of one request.

    PREPARED: the gateway is carrying it out. UNKNOWN: it was sent, or may have been, and the
    outcome is not known yet. WITHDRAWN: it had not come when its sender asked, and is refused if
    it comes.
    """

    NEVER_SEEN = "never seen"
    WITHDRAWN = "withdrawn"
    PREPARED = "prepared"
    UNKNOWN = "sent, unknown"
    SETTLED = "outcome"


class RequestStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request as a gateway's record has it.

    `login` and `server` are the account it went to. `status` is that of the reply to the order
    (FILLED, PLACED, DONE, REJECTED or UNKNOWN), `volume` (lots) and `price` what was filled,
    `retcode` MetaTrader's, `error` the reason where there is one. `covered` says that the record
    has everything that came since the mark in the question.
    """

    order_id: str
    state: RequestState
    login: int = 0
    server: str = ""
    status: str = ""
    ticket: int = 0
    volume: float = 0.0
    price: float | None = None
    retcode: int = 0
    error: str = ""
    covered: bool = False


class RecordMark(msgspec.Struct, frozen=True):
    """How far a gateway's record reached at some moment.

    `id` is new for each new record; `last` is the number of the newest request in it, 0 for none,
    and `came_ns` when that came, by the gateway's clock: a record that lost its end gives the
    number again, and never with the same time.
    """

    id: str
    last: int = 0
    came_ns: int = 0


class BookAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which book asks for the orders that it sent: a journal from a backup lacks the newest.

    `journal` is the id of its journal, empty where the journal has sent nothing yet: then the
    orders of every journal of that `stream` are meant, which is the name of the book. `marks` are
    how far the records reached, one for each, that the journal knows of: what came before is in it.
    """

    stream: str
    journal: str = ""
    marks: tuple[RecordMark, ...] = ()


class SentOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order in a gateway's record, as its sender asked for it.

    `action` is BUY, SELL, MODIFY or CANCEL, `type` market, limit or stop; `position` is the ticket
    that it closes or changes, `order` the pending order that it cancels, `magic` what the broker
    was given. `server_time_msc` is a time that the trade server's clock had passed when it was
    sent, 0 where no quotation was needed.
    """

    order_id: str
    action: str
    symbol: str = ""
    type: str = "market"
    volume: float = 0.0
    price: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    position: int = 0
    order: int = 0
    magic: int = 0
    comment: str = ""
    key: str = ""
    server_time_msc: int = 0


class SentOrders(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway's record has of a book: `count` orders in all, and the newest of them."""

    count: int = 0
    orders: tuple[SentOrder, ...] = ()


class RequestInDoubt(msgspec.Struct, frozen=True, omit_defaults=True, rename={"order_id": "id"}):
    """A request whose sender does not know what became of it.

    `record` is how far the gateway's record reached before it was sent, None if nobody knew.
    """

    order_id: str
    record: RecordMark | None = None
