"""The SNAPSHOT exchange: a complete reading of the account, with the evidence to judge it.

A gateway of ours lists its further requests in its reply to GET_POSITIONS (`capabilities`). A
client that finds SNAPSHOT there uses that from then on. A gateway of the guide lists nothing, and
is never sent a request that it may not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from trueup.core.account.trust import Reason, Unknown
from trueup.core.digest import digest
from trueup.core.gateway_record import (
    BookAsked,
    RecordMark,
    RequestInDoubt,
    RequestStatus,
    SentOrders,
)
from trueup.core.model import (
    Account,
    Deal,
    Evidence,
    FieldNote,
    History,
    PastOrder,
    PendingOrder,
    Position,
    Snapshot,
    SymbolSpec,
    TerminalState,
    UnknownSymbol,
)
from trueup.core.scope import Neighbour, Scope
from trueup.protocol.failures import failure_of
from trueup.protocol.guide import needs_no_care
from trueup.protocol.rows import TOO_LARGE, is_sound_order
from trueup.protocol.snapshot_rows import Lists, read_each, read_lists
from trueup.protocol.text import (
    DAMAGED,
    brief,
    check_text,
    read_json,
    reason_of,
    why_unreadable,
)

VERSION = 1
# The version of a message that names none; stays 1 when VERSION changes.
UNNAMED_VERSION = 1
# A question names at most this many positions, orders and symbols; the client asks for the rest in
# later questions.
NAMED_AT_ONCE = 500
HISTORY_LONGEST_SEC = 31 * 86_400
# How many other books a book is told about at most.
NEIGHBOURS_MOST = 20
CAPABILITIES = (
    *("SNAPSHOT", "DEALS", "TICK", "REQUEST_STATUS", "HISTORY", "BOOK", "CALL", "TERMS"),
    *("MODIFY_ORDER", "STOP_LIMIT", "CLOSE_BY", "CLAIM"),
)


UNJOURNALLED = "UNJOURNALLED"
"""The capability of a gateway whose record of requests is on disk and keeps `by` of an order.

A bot whose journal takes nothing may send a person's close through such a gateway: the record can
tell a later process of it.
"""


class SnapshotRequest(msgspec.Struct, tag_field="action", tag="SNAPSHOT", omit_defaults=True):
    """Ask for a snapshot.

    Attributes:
        session: this client's name, unique among all clients.
        id: returned in the reply.
        symbols: symbols whose trading steps and quotation times are wanted, besides those with
            positions.
        explain: identifiers of positions whose deals are wanted.
        explain_orders: tickets of orders whose final state is wanted.
        history_age_sec: above 0, all orders and deals of that many seconds are wanted too.
        in_doubt: orders whose outcome their sender does not know. The gateway's record answers for
            each, and withdraws those that never came.
        digest: the digest of the positions and orders that the client has, empty to get them in any
            case. If the digest is still right and nothing else is asked for, the reply leaves
            them out.
        book: asks for the orders of that book in the gateway's record.
        scope: the book that asks, and which positions it counts as its own; its symbols are
            `symbols`. Without a scope the reply names no other books; a scope without a `run`
            belongs to no book and asks for all books.
        claim: the name of the sender's claim, which this request renews (see `protocol.claims`).
        journal: the id of the sender's journal; empty without one.
        token: the sender's fencing token of that journal, 0 for none. The gateway records the token
            before it replies, and refuses requests with an older token from then on.
    """

    session: str
    id: int
    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    digest: str = ""
    book: BookAsked | None = None
    scope: Scope | None = None
    claim: str = ""
    journal: str = ""
    token: int = 0

    @property
    def asks_more(self) -> bool:
        """Whether deals, past orders, history, or data of the record are wanted."""
        of_terminal = self.explain or self.explain_orders or self.history_age_sec
        return bool(of_terminal or self.in_doubt or self.book)


class SnapshotReply(msgspec.Struct, tag_field="status", tag="SUCCESS", omit_defaults=True):
    """A snapshot on the wire; the fields are those of `Evidence`, with the positions.

    Attributes:
        other_deals: deals of the explained positions that are not trades. They are separate because
            a client that knows only `deals` would count their lots.
        unknown_symbols: those of `symbols`, and of the positions, that the broker does not have.
        neighbours: the other books that asked recently for a symbol of the asking book.
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
    sent: SentOrders | None = None
    unknown_symbols: tuple[UnknownSymbol, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


class AccountRow(Account, array_like=True, frozen=True, gc=False):
    """An account as an array of its fields, in their order."""


class TerminalRow(TerminalState, array_like=True, frozen=True, gc=False):
    """A terminal's state as an array of its fields, in their order."""


class UnchangedReply(msgspec.Struct, tag_field="status", tag="UNCHANGED", omit_defaults=True):
    """A snapshot without the positions, orders and trading steps that the client has already.

    The evidence is that of a new reading. With `counts` and `floating` the client applies the same
    checks (`core.account.trust`) as to a full list.

    Attributes:
        digest: identifies the lists that the client has.
        counts: the terminal's counts of positions and orders, equal before and after the reading.
        floating: the sum of the positions' profit and swap, by the gateway.
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
    """The properties of a gateway, and the rights of the asking client.

    Attributes:
        role: read or trade; empty if the gateway does not tell.
        accounts: the logins that the client may see; None for any.
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
    """Decode the reply to the SNAPSHOT request with the id `wanted_id`.

    `known` is the snapshot whose digest was sent with the request. It supplies the lists that an
    unchanged reply leaves out; the positions are then the same object.
    """
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _decode_slowly(raw, wanted_id, known, str(error))
    return _answer(reply, wanted_id, known)


def _answer(
    reply: SnapshotReply | UnchangedReply,
    wanted_id: int,
    known: Snapshot | None,
    lists: Lists | None = None,
) -> Snapshot | Unknown:
    """Return the snapshot of a reply; `lists` are its rows if they were read row by row."""
    # A reply of another version, or to another question, must never be taken for this reading.
    if reply.version != VERSION:
        return other_version(reply.version)
    if reply.id != wanted_id:
        return _unreadable(f"the reply answers question {reply.id}, not {wanted_id}")
    if isinstance(reply, UnchangedReply):
        return _unchanged(reply, known)
    if not _is_finite(reply.account):
        return _unreadable("the account's figures are not numbers")
    snapshot = snapshot_of(reply, lists)
    if snapshot.digest != reply.digest and any(fault.fields for fault in snapshot.faults):
        # The gateway computed its digest from another row, so this row changed on the way.
        return _unreadable(f"the snapshot does not have its shape: {snapshot.faults[0]}")
    return snapshot


def _decode_slowly(
    raw: bytes, wanted_id: int, known: Snapshot | None, error: str
) -> Snapshot | Unknown:
    """Decode a reply row by row; `error` says why it could not be decoded at once."""
    try:
        fields: Any = read_json(raw, DAMAGED)
    except (ValueError, RecursionError):
        return _unreadable(f"the reply cannot be read: {why_unreadable(raw)}")
    if isinstance(fields, dict) and fields.get("version", UNNAMED_VERSION) != VERSION:
        return other_version(fields["version"])
    if not isinstance(fields, dict) or fields.get("status") not in ("SUCCESS", "UNCHANGED"):
        return _why_not(fields, error)
    # Convert all but the two main lists, so that only the affected rows of those are lost.
    positions, orders = fields.get("positions"), fields.get("orders", [])
    notes: list[FieldNote] = []
    try:
        if fields["status"] == "UNCHANGED":
            return _answer(msgspec.convert(fields, UnchangedReply), wanted_id, known)
        if not isinstance(positions, list) or not isinstance(orders, list):
            return _unreadable(f"the snapshot does not have its shape: {error}")
        further = _further(fields, notes)
        rest = {**fields, **further, "positions": [], "orders": []}
        reply = msgspec.convert(rest, SnapshotReply)
    except msgspec.ValidationError as wrong:
        return _unreadable(f"the snapshot does not have its shape: {wrong}")
    lists = read_lists(positions, orders)
    lists = msgspec.structs.replace(lists, notes=(*lists.notes, *notes))
    return _answer(reply, wanted_id, known, lists)


def _further(fields: Mapping[str, Any], notes: list[FieldNote]) -> dict[str, Any]:
    """Return the readable part of the lists other than positions and orders.

    Deals with a gap would add up to a wrong result, and a history with a gap proves nothing.
    """
    found: dict[str, Any] = {}
    lost: list[object] = []
    for name, kind, word in _LISTS:
        if name in fields:
            found[name], bad = read_each(fields[name], kind, word, notes)
            lost += bad if kind is Deal else ()
    if lost:
        # A position with an unreadable deal counts as not explained, and is asked for again.
        positions = {row.get("position") if isinstance(row, dict) else None for row in lost}
        are_known = all(type(position) is int for position in positions)
        explained = fields.get("explained", []) if are_known else []
        found["explained"] = [position for position in explained if position not in positions]
    history = fields.get("history")
    try:
        found["history"] = msgspec.convert(history, History | None)
    except msgspec.ValidationError as error:
        found["history"] = None
        problem = f"the history cannot be read: {brief(error)}"
        notes.append(FieldNote(0, "history", str(error), problem))
    return found


_LISTS: tuple[tuple[str, type, str], ...] = (
    ("deals", Deal, "deal"),
    ("past_orders", PastOrder, "past order"),
    ("specs", SymbolSpec, "symbol"),
    ("requests", RequestStatus, "request"),
    ("unknown_symbols", UnknownSymbol, "unknown symbol"),
    ("neighbours", Neighbour, "neighbour"),
)


def snapshot_of(reply: SnapshotReply, lists: Lists | None = None) -> Snapshot:
    """Return the snapshot of a reply; `lists` are its rows if they were read row by row."""
    if lists is None and not _is_whole(reply):
        lists = read_lists(reply.positions, reply.orders)
    if lists is None:
        own_digest = digest(reply.positions, reply.orders)
        return Snapshot(reply.positions, (), _evidence(reply), digest=own_digest)
    return Snapshot(
        lists.positions,
        lists.faults,
        msgspec.structs.replace(_evidence(reply), orders=lists.orders),
        digest=lists.digest,
        notes=lists.notes,
        listed=lists.listed,
    )


def _is_whole(reply: SnapshotReply) -> bool:
    """Return whether all rows of a reply are valid, and each is listed once."""
    try:
        identifiers = {position.identifier for position in reply.positions}
        tickets = {position.ticket for position in reply.positions}
        orders = {order.ticket for order in reply.orders}
        return (
            len(identifiers) == len(tickets) == len(reply.positions)
            and 0 not in identifiers
            and max(identifiers, default=0) < TOO_LARGE
            and max(tickets, default=0) < TOO_LARGE
            and len(orders) == len(reply.orders)
            and needs_no_care(reply.positions)
            and all(map(is_sound_order, reply.orders))
        )
    except AttributeError:
        # On the gateway's side, a reply has its malformed rows as plain values.
        return False


def _unchanged(reply: UnchangedReply, known: Snapshot | None) -> Snapshot | Unknown:
    # Without the snapshot that the digest refers to, there are no lists to complete the reply.
    if known is None or known.evidence is None or known.digest != reply.digest:
        return _unreadable("the reply says that nothing changed, since a reading we do not have")
    account = Account(*astuple(reply.account))
    if not _is_finite(account) or not math.isfinite(reply.floating):
        return _unreadable("the account's figures are not numbers")
    # Lists from the known snapshot, evidence from the new reading.
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
        unknown_symbols=known.evidence.unknown_symbols,
        neighbours=known.evidence.neighbours,
    )
    return Snapshot(known.positions, (), evidence, digest=known.digest)


def _evidence(reply: SnapshotReply) -> Evidence:
    # On the wire deals that are not trades are separate, for the sake of older clients.
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
        sent=reply.sent,
        profit_bounds=reply.profit_bounds,
        unknown_symbols=reply.unknown_symbols,
        neighbours=reply.neighbours,
    )


def _is_finite(account: Account) -> bool:
    figures = (account.balance, account.equity, account.credit, account.margin, account.profit)
    return all(map(math.isfinite, figures))


def _why_not(reply: object, error: str) -> Unknown:
    """Return why a reply is not a snapshot; `error` is the decoder's reason."""
    if not isinstance(reply, dict):
        return _unreadable(f"the snapshot does not have its shape: {error}")
    if reply.get("status") == "ERROR":
        sentence = f"The gateway does not know SNAPSHOT any more: {brief(reply.get('error'))}"
        return Unknown(Reason.NO_EVIDENCE, sentence, "a gateway that serves SNAPSHOT")
    return failure_of(reply) or Unknown(
        Reason.UNREADABLE, f"The terminal could not be read: {reason_of(reply)}", UNTIL
    )


def other_version(theirs: object) -> Unknown:
    """Return that a gateway speaks another version of the protocol, so no reply is trusted."""
    return Unknown(
        Reason.UNREADABLE,
        f"The gateway speaks version {theirs!r:.20} of the protocol, and this program version "
        f"{VERSION}: what it says is not believed",
        "the same trueup on both machines",
    )


def _unreadable(problem: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"No usable reading: {problem}", UNTIL)
