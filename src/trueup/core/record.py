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


class RequestInDoubt(msgspec.Struct, frozen=True, omit_defaults=True, rename={"order_id": "id"}):
    """A request whose sender does not know what became of it.

    `record` is how far the gateway's record reached before it was sent, None if nobody knew.
    """

    order_id: str
    record: RecordMark | None = None
