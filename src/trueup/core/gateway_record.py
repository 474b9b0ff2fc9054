"""The gateway's record of requests: its answers, and when "never seen" is a proof.

A trueup gateway writes each request to a durable record before it calls the terminal, and again
when it knows the outcome. For an order in doubt the record has the lost reply. If the record never
had the order, the gateway withdraws the order at the same moment: should the request still arrive,
for example from a buffer, the gateway refuses it. Therefore "never seen" ends a doubt.

"Never seen" is no proof if the record began after the order was sent, lost its end, or has deleted
the rows of that time. So the bot notes the gateway's record, and how far the record reached, when
an order leaves. The clocks of two machines may differ, so no clock is used for this.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec


class RequestState(enum.Enum):
    """The state of a request in the gateway's record.

    PREPARED: the gateway is carrying out the request. UNKNOWN: the request was sent, or may have
    been sent, and its outcome is not known yet. WITHDRAWN: the request had not arrived when its
    sender asked, and is refused if it arrives. SETTLED: the outcome is known.
    """

    NEVER_SEEN = "never seen"
    WITHDRAWN = "withdrawn"
    PREPARED = "prepared"
    UNKNOWN = "sent, unknown"
    SETTLED = "outcome"


class RequestStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request in a gateway's record.

    `login` and `server` are the account of the request. `status` is the status of the reply to the
    order (FILLED, PLACED, DONE, REJECTED or UNKNOWN), `volume` (lots) and `price` are the fill,
    `retcode` is MetaTrader's, `error` the reason, empty without one. `covered` says that the record
    has every request that arrived since the mark in the question.
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

    `id` is new for each new record. `last` is the number of its newest request, 0 for none.
    `came_ns` is the arrival time of that request by the gateway's clock: a record that lost its end
    uses the number again, but never with the same time.
    """

    id: str
    last: int = 0
    came_ns: int = 0


class BookAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A book's question for its sent orders; a journal from a backup lacks the newest of them.

    `stream` is the name of the book. `journal` is the id of its journal; empty if the journal has
    sent no order yet, and then the question covers the orders of every journal of that `stream`.
    `marks` has the newest mark that the journal knows of each record; the journal has all orders
    before those marks.
    """

    stream: str
    journal: str = ""
    marks: tuple[RecordMark, ...] = ()


class SentOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order in a gateway's record, with the parameters from its sender.

    `action`, `type` and the other fields are those of an order on the wire. `position` and
    `position_by` are the tickets of the positions to close or change, `order` the ticket of the
    pending order to cancel or modify, `magic` the magic number sent to the broker.
    `server_time_msc` is a time that the trade server's clock had passed when the order was sent, 0
    if no quotation was needed. `foreign` says that the book did not have one of the positions. `by`
    names the person who asked for an order that its sender could not journal, else it is empty.
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
    foreign: bool = False
    by: str = ""
    stoplimit: float = 0.0
    type_time: Literal["", "GTC", "DAY", "SPECIFIED", "SPECIFIED_DAY"] = ""
    expiration: int = 0
    position_by: int = 0


class SentOrders(msgspec.Struct, frozen=True, omit_defaults=True):
    """A book's orders in a gateway's record: their total `count`, and the newest of them."""

    count: int = 0
    orders: tuple[SentOrder, ...] = ()


class RequestInDoubt(msgspec.Struct, frozen=True, omit_defaults=True, rename={"order_id": "id"}):
    """A request whose outcome its sender does not know.

    `record` marks how far the gateway's record reached before the request was sent, None if that
    was not known.
    """

    order_id: str
    record: RecordMark | None = None
