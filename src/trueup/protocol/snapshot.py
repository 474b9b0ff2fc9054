"""The SNAPSHOT exchange: one complete reading with everything that lets it be believed.

A gateway of ours says in its reply to GET_POSITIONS what else it can do (`capabilities`). A client
that reads SNAPSHOT there asks that from then on. A gateway of the guide says nothing, and is never
sent a request it may not know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from trueup.core.model import (
    Account,
    Deal,
    Evidence,
    History,
    PastOrder,
    PendingOrder,
    Position,
    Snapshot,
    SymbolSpec,
    TerminalState,
)
from trueup.core.trust import Reason, Unknown

VERSION = 1
CAPABILITIES = ("SNAPSHOT", "DEALS", "TICK")


class SnapshotRequest(msgspec.Struct, tag_field="action", tag="SNAPSHOT", omit_defaults=True):
    """Ask for a snapshot.

    `session` is this client's own name for itself, `id` comes back in the reply. `symbols` are
    those whose granularity and time are wanted beside those with positions. `explain` are
    identifiers of positions whose deals, and `explain_orders` tickets of orders whose end, are
    wanted. With `history_age_sec` above 0 all orders and deals of that many seconds come too.
    """

    session: str
    id: int
    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0


class SnapshotReply(msgspec.Struct, omit_defaults=True):
    """A snapshot on the wire; the fields are those of `Evidence`, with the positions."""

    status: Literal["SUCCESS"]
    id: int
    epoch: str
    sequence: int
    digest: str
    account: Account
    terminal: TerminalState
    positions: list[Position]
    count_before: tuple[int, int]
    count_after: tuple[int, int]
    server_time_msc: int
    time_offset_sec: int | None = None
    orders: tuple[PendingOrder, ...] = ()
    deals: tuple[Deal, ...] = ()
    explained: tuple[int, ...] = ()
    past_orders: tuple[PastOrder, ...] = ()
    history: History | None = None
    specs: tuple[SymbolSpec, ...] = ()
    version: int = VERSION


class HelloReply(msgspec.Struct):
    """What a gateway says of itself."""

    status: Literal["SUCCESS"]
    server: str
    version: int
    capabilities: tuple[str, ...]
    epoch: str


_decoder = msgspec.json.Decoder(SnapshotReply)
_encoder = msgspec.json.Encoder()
UNTIL = "a snapshot that can be read"


def encode_snapshot_request(request: SnapshotRequest) -> bytes:
    """Return the bytes of a request."""
    return _encoder.encode(request)


def decode_snapshot(raw: bytes, wanted_id: int) -> Snapshot | Unknown:
    """Read the reply to the SNAPSHOT request with the id `wanted_id`."""
    try:
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _why_not(raw, str(error))
    if reply.id != wanted_id:
        return _unreadable(f"the reply answers question {reply.id}, not {wanted_id}")
    return Snapshot(reply.positions, tuple(_faults(reply)), _evidence(reply))


def _evidence(reply: SnapshotReply) -> Evidence:
    return Evidence(
        account=reply.account,
        terminal=reply.terminal,
        epoch=reply.epoch,
        sequence=reply.sequence,
        digest=reply.digest,
        server_time_msc=reply.server_time_msc,
        count_before=reply.count_before,
        count_after=reply.count_after,
        orders=reply.orders,
        deals=reply.deals,
        explained=frozenset(reply.explained),
        past_orders=reply.past_orders,
        history=reply.history,
        specs=reply.specs,
        time_offset_sec=reply.time_offset_sec,
    )


def _faults(reply: SnapshotReply) -> Iterable[str]:
    """Name what no terminal can have: the digest proves transport, not sense."""
    for position in reply.positions:
        if position.ticket <= 0 or position.identifier <= 0 or not position.symbol:
            yield f"ticket {position.ticket}: no ticket, no identifier or no symbol"
        elif not 0.0 < position.volume < math.inf:
            yield f"ticket {position.ticket}: volume is {position.volume}"
    if len({p.identifier for p in reply.positions}) != len(reply.positions):
        yield "an identifier is in the list twice"
    if len({order.ticket for order in reply.orders}) != len(reply.orders):
        yield "a pending order is in the list twice"
    account = reply.account
    figures = (account.balance, account.equity, account.credit, account.margin, account.profit)
    if not all(map(math.isfinite, figures)):
        yield "the account's figures are not numbers"


def _why_not(raw: bytes, error: str) -> Unknown:
    try:
        reply: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return _unreadable(f"the reply is not JSON: {raw[:60]!r}")
    if not isinstance(reply, dict) or reply.get("status") == "SUCCESS":
        return _unreadable(f"the snapshot does not have its shape: {error}")
    if reply.get("status") == "ERROR":
        sentence = f"The gateway does not know SNAPSHOT any more: {reply.get('error')}"
        return Unknown(Reason.NO_EVIDENCE, sentence, "a gateway that serves SNAPSHOT")
    return Unknown(
        Reason.UNREADABLE, f"The terminal could not be read: {reply.get('error')}", UNTIL
    )


def _unreadable(what: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"No usable reading: {what}", UNTIL)
