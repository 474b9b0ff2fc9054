"""The SNAPSHOT exchange: one complete reading with everything that lets it be believed.

A gateway of ours says in its reply to GET_POSITIONS what else it can do (`capabilities`). A client
that reads SNAPSHOT there asks that from then on. A gateway of the guide says nothing, and is never
sent a request it may not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from trueup.core.digest import digest
from trueup.core.ids import row_id
from trueup.core.model import (
    Account,
    Deal,
    Evidence,
    History,
    PastOrder,
    PendingOrder,
    Position,
    RowFault,
    Snapshot,
    SymbolSpec,
    TerminalState,
)
from trueup.core.record import RecordMark, RequestInDoubt, RequestStatus
from trueup.core.trust import Reason, Unknown
from trueup.protocol.text import check_text, read_json, reason_of

VERSION = 1
# What a message that names no version is of; this stays 1 when VERSION does not.
UNNAMED_VERSION = 1
# One question names at most this many positions, orders and symbols; the client asks for the rest
# in later ones.
NAMED_AT_ONCE = 500
HISTORY_LONGEST_SEC = 31 * 86_400
CAPABILITIES = ("SNAPSHOT", "DEALS", "TICK", "REQUEST_STATUS", "HISTORY")


class SnapshotRequest(msgspec.Struct, tag_field="action", tag="SNAPSHOT", omit_defaults=True):
    """Ask for a snapshot.

    `session` is this client's own name for itself, `id` comes back in the reply. `symbols` are
    those whose granularity and time are wanted beside those with positions. `explain` are
    identifiers of positions whose deals, and `explain_orders` tickets of orders whose end, are
    wanted. With `history_age_sec` above 0 all orders and deals of that many seconds come too.
    `in_doubt` are orders whose sender does not know what became of them: the gateway's record
    answers for each, and withdraws those that never came. `digest` is that of the positions
    and orders which the client has already, empty where it wants them all the same: while it is
    still true, and nothing more is asked, the reply leaves them out.
    """

    session: str
    id: int
    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    digest: str = ""

    @property
    def asks_more(self) -> bool:
        """Whether deals, past orders, history or the outcome of orders are wanted."""
        return bool(self.explain or self.explain_orders or self.history_age_sec or self.in_doubt)


class SnapshotReply(msgspec.Struct, tag_field="status", tag="SUCCESS", omit_defaults=True):
    """A snapshot on the wire; the fields are those of `Evidence`, with the positions.

    `other_deals` are the deals of the explained positions that are no trades: a client that knows
    only `deals` would count their lots.
    """

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
    record: RecordMark | None = None
    requests: tuple[RequestStatus, ...] = ()
    version: int = UNNAMED_VERSION
    profit_bounds: tuple[float, float] | None = None
    other_deals: tuple[Deal, ...] = ()


class AccountRow(Account, array_like=True, frozen=True, gc=False):
    """An account as a row of its fields, in their order."""


class TerminalRow(TerminalState, array_like=True, frozen=True, gc=False):
    """A terminal's state as a row of its fields, in their order."""


class UnchangedReply(msgspec.Struct, tag_field="status", tag="UNCHANGED", omit_defaults=True):
    """A snapshot whose positions, orders and granularity the client has; `digest` says which.

    The evidence is that of a new reading. `counts` are the terminal's own of positions and orders,
    the same before and after the reading, and `floating` is what the gateway found the positions'
    profit and swap to add up to: with both, all that `core.trust` asks of a list is asked of one
    that is not sent.
    """

    id: int
    epoch: str
    sequence: int
    digest: str
    account: AccountRow
    terminal: TerminalRow
    counts: tuple[int, int]
    floating: float
    server_time_msc: int
    time_offset_sec: int | None = None
    version: int = UNNAMED_VERSION
    profit_bounds: tuple[float, float] | None = None


class HelloReply(msgspec.Struct):
    """What a gateway says of itself, and of what it lets the asking client do.

    `role` is read or trade, empty where a gateway does not say; `accounts` are the logins that it
    may see, None for any.
    """

    status: Literal["SUCCESS"]
    server: str
    version: int
    capabilities: tuple[str, ...]
    epoch: str
    role: str = ""
    accounts: tuple[int, ...] | None = None


_decoder = msgspec.json.Decoder(SnapshotReply | UnchangedReply)
_encoder = msgspec.json.Encoder()
UNTIL = "a snapshot that can be read"


def encode_snapshot_request(request: SnapshotRequest) -> bytes:
    """Return the bytes of a request."""
    return _encoder.encode(request)


def decode_snapshot(
    raw: bytes, wanted_id: int, known: Snapshot | None = None
) -> Snapshot | Unknown:
    """Read the reply to the SNAPSHOT request with the id `wanted_id`.

    `known` is the snapshot whose digest went with the request. It is taken for what an unchanged
    reply leaves out, and its positions are then the same object.
    """
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _why_not(raw, str(error))
    if reply.version != VERSION:
        return other_version(reply.version)
    if reply.id != wanted_id:
        return _unreadable(f"the reply answers question {reply.id}, not {wanted_id}")
    if isinstance(reply, UnchangedReply):
        return _unchanged(reply, known)
    return snapshot_of(reply)


def snapshot_of(reply: SnapshotReply) -> Snapshot:
    """Return the snapshot that a reply brings."""
    own_digest = digest(reply.positions, reply.orders)
    return Snapshot(reply.positions, tuple(_faults(reply)), _evidence(reply), digest=own_digest)


def _unchanged(reply: UnchangedReply, known: Snapshot | None) -> Snapshot | Unknown:
    if known is None or known.evidence is None or known.digest != reply.digest:
        return _unreadable("the reply says that nothing changed, since a reading we do not have")
    account = Account(*astuple(reply.account))
    if not _is_finite(account) or not math.isfinite(reply.floating):
        return _unreadable("the account's figures are not numbers")
    evidence = Evidence(
        account=account,
        terminal=TerminalState(*astuple(reply.terminal)),
        epoch=reply.epoch,
        sequence=reply.sequence,
        digest=reply.digest,
        server_time_msc=reply.server_time_msc,
        count_before=reply.counts,
        count_after=reply.counts,
        orders=known.evidence.orders,
        specs=known.evidence.specs,
        time_offset_sec=reply.time_offset_sec,
        floating=reply.floating,
        profit_bounds=reply.profit_bounds,
    )
    return Snapshot(known.positions, (), evidence, digest=known.digest)


def _evidence(reply: SnapshotReply) -> Evidence:
    history = reply.history
    if history is not None and history.other_deals:
        deals = history.deals + history.other_deals
        history = msgspec.structs.replace(history, deals=deals, other_deals=())
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
        deals=reply.deals + reply.other_deals,
        explained=frozenset(reply.explained),
        past_orders=reply.past_orders,
        history=history,
        specs=reply.specs,
        time_offset_sec=reply.time_offset_sec,
        record=reply.record,
        requests=reply.requests,
        profit_bounds=reply.profit_bounds,
    )


def _faults(reply: SnapshotReply) -> Iterable[RowFault]:
    """Name what no terminal can have: the digest proves transport, not sense."""
    for position in reply.positions:
        if position.ticket <= 0 or position.identifier <= 0 or not position.symbol:
            what = f"ticket {position.ticket}: no ticket, no identifier or no symbol"
            yield _fault(position, what)
        elif not 0.0 < position.volume < math.inf:
            yield _fault(position, f"ticket {position.ticket}: volume is {position.volume}")
    if len({p.identifier for p in reply.positions}) != len(reply.positions):
        yield RowFault("an identifier is in the list twice")
    if len({order.ticket for order in reply.orders}) != len(reply.orders):
        yield RowFault("a pending order is in the list twice")
    if not _is_finite(reply.account):
        yield RowFault("the account's figures are not numbers")


def _fault(position: Position, what: str) -> RowFault:
    row = msgspec.to_builtins(position)
    return RowFault(what, position.symbol, position.ticket, id=row_id(row))


def _is_finite(account: Account) -> bool:
    figures = (account.balance, account.equity, account.credit, account.margin, account.profit)
    return all(map(math.isfinite, figures))


def _why_not(raw: bytes, error: str) -> Unknown:
    try:
        reply: Any = read_json(raw)
    except (ValueError, RecursionError):
        return _unreadable(f"the reply is not JSON: {raw[:60]!r}")
    if isinstance(reply, dict) and reply.get("version", UNNAMED_VERSION) != VERSION:
        return other_version(reply["version"])
    if not isinstance(reply, dict) or reply.get("status") in ("SUCCESS", "UNCHANGED"):
        return _unreadable(f"the snapshot does not have its shape: {error}")
    if reply.get("status") == "ERROR":
        sentence = f"The gateway does not know SNAPSHOT any more: {reply.get('error')}"
        return Unknown(Reason.NO_EVIDENCE, sentence, "a gateway that serves SNAPSHOT")
    return Unknown(Reason.UNREADABLE, f"The terminal could not be read: {reason_of(reply)}", UNTIL)


def other_version(theirs: object) -> Unknown:
    """Say that a gateway speaks another version of the protocol, so nothing it says is believed."""
    return Unknown(
        Reason.UNREADABLE,
        f"The gateway speaks version {theirs!r:.20} of the protocol, and this program version "
        f"{VERSION}: what it says is not believed",
        "the same trueup on both machines",
    )


def _unreadable(what: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"No usable reading: {what}", UNTIL)
