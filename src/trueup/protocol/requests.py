"""Decode requests, and encode replies, at the gateway's end of the guide's wire."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from trueup.core.book.terms import DATED, FILLINGS, HIGHEST_DEVIATION, TIMES
from trueup.core.claims import claimable
from trueup.core.gateway_record import BookAsked, RequestInDoubt
from trueup.core.model import Position
from trueup.core.scope import Scope
from trueup.errors import RemoteProtocolError
from trueup.protocol.claims import ClaimReply, ClaimRequest
from trueup.protocol.failures import Cause
from trueup.protocol.history import CURSOR, HistoryReply, HistoryRequest
from trueup.protocol.module_calls import CallReply, CallRequest, why_not_forwarded
from trueup.protocol.request_status import RequestStatusReply
from trueup.protocol.snapshot import (
    CAPABILITIES,
    HISTORY_LONGEST_SEC,
    NAMED_AT_ONCE,
    HelloReply,
    SnapshotReply,
    SnapshotRequest,
    UnchangedReply,
)
from trueup.protocol.text import DAMAGED, MARK, decode_json, why_unreadable, writable_json

ACTIONS = (
    *("GET_POSITIONS", "HELLO", "SNAPSHOT", "TICK", "PING", "BUY", "SELL", "MODIFY", "CANCEL"),
    *("MODIFY_ORDER", "CLOSE_BY", "HISTORY", "REQUEST_STATUS", "CALL", "CLAIM", "OPEN", "CLOSE"),
    *("GET_ACCOUNT", "SYNC_ALL"),
)
# The range of tickets that the official module accepts (Python integration).
TICKETS = range(2**64)
# The record stores a token as a signed integer of 64 bits.
FENCING_TOKENS = range(2**63)
TRADES = frozenset({"BUY", "SELL"})
TYPES = ("market", "limit", "stop", "stop_limit")
CHANGES = frozenset({"MODIFY", "CANCEL", "MODIFY_ORDER"})
DIALECT_ORDERS = frozenset({"OPEN", "CLOSE"})
ORDER_ID_LONGEST = 128
# Limits of names (characters) and of uuids (bytes of JSON): values that are echoed in a reply or
# kept in memory must stay small, whatever the client sends.
NAME_LONGEST = 128
UUID_BYTES_MOST = 1_024
COMMENT_LONGEST = 4_096
# The limit of names that the caller of a book chooses for the book and its orders.
OWN_NAME_LONGEST = 1_024
# Fields that do not affect the execution of an order by the broker.
NOT_PARAMETERS = frozenset(
    {
        *("order_id", "uuid", "session", "id", "ticket", "timestamp"),
        *("since_msc", "until_msc", "after", "scope"),
        *("function", "args", "named"),
        *("stream", "key", "journal", "book", "claim", "token", "release", "with_result"),
    }
)
# All actions that may change something at the broker.
ORDERS = TRADES | CHANGES | DIALECT_ORDERS | {"CLOSE_BY"}
# All actions that change nothing there. An action in neither set needs the right to trade.
QUERIES = frozenset(
    {
        *("GET_POSITIONS", "HELLO", "SNAPSHOT", "HISTORY", "TICK", "PING", "REQUEST_STATUS"),
        *("CALL", "GET_ACCOUNT", "SYNC_ALL"),
    }
)


class Request(msgspec.Struct):
    """Any request of the guide's wire; `action` names it.

    An order has `order_id`, `symbol`, `volume` (lots), and optionally `price`, `sl`, `tp` (prices,
    0.0 for none), `position` (the ticket to close), `magic`, `comment`, and `login` and `server`
    (the intended account; 0 and an empty text for any). BUY and SELL with `type` limit, stop or
    stop_limit place a pending order at `price`; a stop_limit order becomes a limit order at
    `stoplimit`. `deviation` (points), `type_filling`, `type_time` and `expiration` (seconds of the
    trade server's clock) are the terms of an order; see `core.book.terms`. MODIFY sets `sl` and
    `tp` of `position`; CANCEL deletes the pending `order`; MODIFY_ORDER sets `price`, `stoplimit`,
    `sl` and `tp` of the pending `order`, and, with `type_time`, when that order ends. CLOSE_BY
    closes the opposite positions `position` and `position_by` by each other.
    `stream`, `journal` and `key` name the book that sent the order and its caller's key; the record
    keeps them. `foreign` says that the book does not have the position. `by` names the person who
    asked for an order that its sender could not journal; see `snapshot.UNJOURNALLED`. `claim` is
    the name of the sender's claim (see `protocol.claims`), `release` belongs to CLAIM. `token` is
    the fencing token of the sender's `journal`, 0 for none; see `gateway.record.fences`. With
    `with_result` the reply has the fields of the module's own result. `since_msc`, `until_msc` and
    `after` belong to HISTORY, `function`, `args` and `named` to CALL.
    `ticket` and `timestamp` belong to the other dialect (see `protocol.dialect`).
    """

    action: str
    symbol: str = "*"
    order_id: str = ""
    volume: float = 0.0
    price: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    position: int = 0
    magic: int = 0
    comment: str = ""
    session: str = ""
    id: int = 0
    symbols: tuple[str, ...] = ()
    explain: tuple[int, ...] = ()
    explain_orders: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    order: int = 0
    login: int = 0
    server: str = ""
    type: str = "market"
    digest: str = ""
    since_msc: int = 0
    until_msc: int = 0
    after: str = ""
    stream: str = ""
    journal: str = ""
    key: str = ""
    book: BookAsked | None = None
    ticket: int = 0
    timestamp: object = None
    scope: Scope | None = None
    deviation: int | None = None
    type_filling: str = ""
    type_time: str = ""
    expiration: int = 0
    foreign: bool = False
    by: str = ""
    stoplimit: float = 0.0
    with_result: bool = False
    position_by: int = 0
    function: str = ""
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    claim: str = ""
    token: int = 0
    release: bool = False
    uuid: object = msgspec.UNSET


class PositionsReply(msgspec.Struct):
    """The reply to GET_POSITIONS; FAILED means not readable, not that there are no positions.

    `capabilities` lists the further requests that clients of ours can send; `cause` is why the
    list could not be read.
    """

    status: Literal["SUCCESS", "FAILED"]
    positions: list[Position] = []
    error: str | None = None
    capabilities: tuple[str, ...] = CAPABILITIES
    cause: Cause | msgspec.UnsetType = msgspec.UNSET


Status = Literal["FILLED", "PLACED", "DONE", "REJECTED", "UNKNOWN"]
"""The outcome of an order on the wire; on the bot's side it is `core.book.outcome`."""


class ModuleResult(msgspec.Struct, frozen=True):
    """The fields of an `OrderSendResult` of the module, without its `request`.

    `volume` is lots; `price`, `bid` and `ask` are prices, 0 if the terminal gave none.
    """

    retcode: int
    deal: int
    order: int
    volume: float
    price: float
    bid: float
    ask: float
    comment: str
    request_id: int
    retcode_external: int


class OrderReply(msgspec.Struct):
    """The reply to an order.

    Attributes:
        status: UNKNOWN means that the order may have been executed; PLACED that a pending order is
            working; DONE that a modification or cancellation was made.
        ticket: the ticket of the order, and of the position that the order opened.
        retcode: MetaTrader's return code.
        repeated: the order came before; this is its first outcome, and nothing was sent now.
        rest_works: the broker has filled only `filled_volume` lots so far, and works on the rest.
        result: the module's own result, if the request asked for it and the module gave one.
    """

    order_id: str
    status: Status
    ticket: int | None = None
    filled_price: float | None = None
    filled_volume: float | None = None
    error: str | None = None
    deal: int | None = None
    retcode: int | None = None
    repeated: bool | msgspec.UnsetType = msgspec.UNSET
    rest_works: bool | msgspec.UnsetType = msgspec.UNSET
    result: ModuleResult | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_final(self) -> bool:
        """Whether the outcome is known, and more executions cannot follow."""
        return self.status != "UNKNOWN" and self.rest_works is not True


class TickReply(msgspec.Struct):
    """The reply to TICK: the latest bid and ask; `time_msc` by the trade server's clock."""

    status: Literal["SUCCESS", "FAILED"]
    symbol: str
    bid: float | None = None
    ask: float | None = None
    time_msc: int | None = None
    error: str | None = None


class ErrorReply(msgspec.Struct):
    """The reply to a request that is unknown or cannot be answered.

    `cause` is why a snapshot could not be read.
    """

    status: Literal["ERROR", "FAILED"]
    error: str
    cause: Cause | msgspec.UnsetType = msgspec.UNSET


class PongReply(msgspec.Struct):
    """The reply to PING."""

    status: Literal["SUCCESS"]


Reply = (
    HelloReply
    | SnapshotReply
    | UnchangedReply
    | HistoryReply
    | PositionsReply
    | OrderReply
    | RequestStatusReply
    | TickReply
    | CallReply
    | ClaimReply
    | ErrorReply
    | PongReply
)
NotBegun = PositionsReply | OrderReply | TickReply | ErrorReply

_PARAMETERS = tuple(
    (field.name, field.default)
    for field in msgspec.structs.fields(Request)
    if field.name not in NOT_PARAMETERS
)
_OUR_ORDERS = ORDERS - DIALECT_ORDERS
_NAMES = {
    **dict.fromkeys(
        ("symbol", "session", "after", "digest", "server", "type", "claim"), NAME_LONGEST
    ),
    **dict.fromkeys(("stream", "journal", "key", "by"), OWN_NAME_LONGEST),
}
"""The names of a request, and the most characters of each."""
_decoder = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def decode_request(raw: bytes) -> Request:
    """Decode and check a request.

    Raises:
        RemoteProtocolError: the request is not valid; the message has the reason and the valid
            form.
    """
    try:
        request = decode_json(_decoder, raw)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"the request cannot be read: {error}") from None
    except (ValueError, RecursionError):
        raise RemoteProtocolError(f"the request cannot be read: {why_unreadable(raw)}") from None
    # Check names and sizes for unknown actions as well, because replies echo them.
    _check_names(request)
    _check_sizes(request)
    # A comment is for people, so a damaged character in it does no harm.
    request.comment = request.comment.replace(DAMAGED, MARK)
    if request.action not in ACTIONS:
        known = ", ".join(ACTIONS)
        raise RemoteProtocolError(
            f"action={request.action!r:.40} is not known: give one of {known}"
        )
    if request.action in _OUR_ORDERS:
        _check_order(request)
    elif request.action in DIALECT_ORDERS:
        _check_numbers(request)
    elif request.action == "SNAPSHOT":
        _check_snapshot(request)
    elif request.action == "HISTORY":
        _check_span(request)
    elif request.action == "TICK":
        _check_symbol(request, "TICK")
    elif request.action == "REQUEST_STATUS":
        _check_id(request)
    elif request.action == "CALL":
        _check_call(request)
    elif request.action == "CLAIM":
        _check_claim(request)
    return request


def _check_names(request: Request) -> None:
    """Refuse names with a lost part: the rest could be the name of something else."""
    for name in ("order_id", "symbol", "uuid"):
        if DAMAGED in str(getattr(request, name)):
            raise RemoteProtocolError(f"{name} has a part of a character: give whole characters")


def _check_sizes(request: Request) -> None:
    """Refuse values that are too long, since replies echo them and the record keeps them."""
    # Each limit is far above the longest value of a real client or broker.
    if request.uuid is not msgspec.UNSET and echoed(request.uuid) is msgspec.UNSET:
        raise RemoteProtocolError(
            f"uuid has more than {UUID_BYTES_MOST} bytes as JSON: give a shorter one"
        )
    for name, most in _NAMES.items():
        _check_name(getattr(request, name), name, most)
    if request.token not in FENCING_TOKENS:
        raise RemoteProtocolError(
            f"token={request.token!r:.40} is not valid: give a whole number from 0 to 2**63 - 1"
        )
    if len(request.comment) > COMMENT_LONGEST:
        raise RemoteProtocolError(
            f"comment has {len(request.comment)} characters: give at most {COMMENT_LONGEST}, of "
            "which 29 reach the broker"
        )
    if echoed(request.timestamp) is msgspec.UNSET:
        raise RemoteProtocolError("timestamp is too long: give a time as ISO 8601")
    for doubt in request.in_doubt:
        _check_name("" if doubt.record is None else doubt.record.id, "a record's id in in_doubt")
    for symbol in request.symbols:
        _check_name(symbol, "a symbol in symbols")


def _check_name(value: str, name: str, most: int = NAME_LONGEST) -> None:
    if len(value) > most:
        raise RemoteProtocolError(f"{name} has {len(value)} characters: give at most {most}")


def echoed(uuid: object) -> object:
    """Return a uuid for the reply; UNSET if it is too large to be echoed."""
    try:
        size = len(_encoder.encode(uuid))
    except (TypeError, ValueError, RecursionError):
        return msgspec.UNSET
    return uuid if size <= UUID_BYTES_MOST else msgspec.UNSET


def snapshot_request(request: Request) -> SnapshotRequest:
    """Return the fields of a SNAPSHOT request as a `SnapshotRequest`."""
    return SnapshotRequest(
        session=request.session,
        id=request.id,
        symbols=request.symbols,
        explain=request.explain,
        explain_orders=request.explain_orders,
        history_age_sec=request.history_age_sec,
        in_doubt=request.in_doubt,
        digest=request.digest,
        book=request.book,
        scope=request.scope,
        claim=request.claim,
        journal=request.journal,
        token=request.token,
    )


def history_request(request: Request) -> HistoryRequest:
    """Return the fields of a HISTORY request as a `HistoryRequest`."""
    return HistoryRequest(
        request.id, request.since_msc, request.until_msc, request.symbols, request.after
    )


def call_request(request: Request) -> CallRequest:
    """Return a request for a call of the module as such."""
    return CallRequest(request.id, request.function, request.args, request.named)


def claim_request(request: Request) -> ClaimRequest:
    """Return the fields of a CLAIM request as a `ClaimRequest`."""
    assert request.scope is not None
    scope = claimable(request.scope)
    return ClaimRequest(scope, request.journal, request.release, request.token)


def parameters_of(request: Request) -> dict[str, Any]:
    """Return an order's parameters: two requests with the same id must agree in them."""
    asked = ((name, getattr(request, name), default) for name, default in _PARAMETERS)
    return {name: value for name, value, default in asked if value != default}


def _check_order(request: Request) -> None:
    if request.action in TRADES and request.type not in TYPES:
        raise RemoteProtocolError(
            f"type={request.type!r:.40} is not known: give one of {', '.join(TYPES)}"
        )
    _check_id(request)
    _check_numbers(request)
    if request.action in TRADES:
        _check_symbol(request, request.action)
        _check_stoplimit(request)
        _check_terms(request)
    elif request.action == "MODIFY_ORDER":
        _check_modification(request)
    elif request.action == "CLOSE_BY":
        _check_pair(request)
    if request.action in TRADES and request.type != "market" and request.position:
        # MetaTrader would accept the order, and it would open a second position.
        raise RemoteProtocolError(
            f"position={request.position} is only for orders at the market: a {request.type} order "
            "opens something new; to close at a price give the position a stop or a target (MODIFY)"
        )


def _check_pair(request: Request) -> None:
    first, second = request.position, request.position_by
    if not first or not second or first == second:
        raise RemoteProtocolError(
            f"position={first} with position_by={second} is not valid: give the tickets of two "
            "opposite positions"
        )


def _check_stoplimit(request: Request) -> None:
    """Refuse a stop-limit order without its second price, and that price on another order."""
    is_valid = request.stoplimit > 0 if request.type == "stop_limit" else not request.stoplimit
    if not is_valid:
        raise RemoteProtocolError(
            f"stoplimit={request.stoplimit} is not valid for type {request.type}: a stop_limit "
            "order has one above 0, and no other order has one"
        )


def _check_modification(request: Request) -> None:
    """Refuse a modification of a pending order that lacks the price, or has terms of a deal."""
    if not request.price > 0:
        raise RemoteProtocolError(
            f"price={request.price} is not valid: MODIFY_ORDER sets the price, so give one above 0"
        )
    if request.deviation is not None or request.type_filling:
        raise RemoteProtocolError("deviation and type_filling cannot be modified: leave them out")
    _check_terms(request)


def _check_terms(request: Request) -> None:
    """Refuse terms that the gateway would have to guess at, or to leave out."""
    for name, words in (("type_filling", FILLINGS), ("type_time", TIMES)):
        word = getattr(request, name)
        if word and word not in words:
            raise RemoteProtocolError(
                f"{name}={word!r:.40} is not known: give one of {', '.join(words)}"
            )
    if request.deviation is not None and request.deviation not in range(HIGHEST_DEVIATION + 1):
        raise RemoteProtocolError(
            f"deviation={request.deviation} is not valid: give points, 0 or above"
        )
    is_market = request.action in TRADES and request.type == "market"
    if is_market and (request.type_time or request.expiration):
        raise RemoteProtocolError("type_time and expiration are only for limit and stop orders")
    if (request.type_time in DATED) != (request.expiration > 0):
        raise RemoteProtocolError(
            f"type_time={request.type_time!r} with expiration={request.expiration} is not valid: "
            "SPECIFIED and SPECIFIED_DAY have an expiration in seconds, the others have none"
        )


def _check_symbol(request: Request, action: str) -> None:
    if request.symbol in ("", "*"):
        raise RemoteProtocolError(
            f"{action} needs a symbol: give its name, as the broker spells it"
        )


def _check_id(request: Request) -> None:
    if not request.order_id:
        raise RemoteProtocolError("an order needs an order_id")
    _check_length(request.order_id, "order_id")


def _check_length(order_id: str, name: str) -> None:
    if len(order_id) > ORDER_ID_LONGEST:
        raise RemoteProtocolError(
            f"{name} has {len(order_id)} characters: give at most {ORDER_ID_LONGEST}"
        )


def _check_snapshot(request: Request) -> None:
    """Refuse more than a reply can carry: a partial answer would be taken for the whole."""
    marks = 0 if request.book is None else len(request.book.marks)
    if marks > NAMED_AT_ONCE:
        raise RemoteProtocolError(f"book has {marks} marks: give at most {NAMED_AT_ONCE}")
    for name in ("symbols", "explain", "explain_orders", "in_doubt"):
        _check_count(request, name)
    if not 0 <= request.history_age_sec <= HISTORY_LONGEST_SEC:
        raise RemoteProtocolError(
            f"history_age_sec={request.history_age_sec} is not valid: give 0 to "
            f"{HISTORY_LONGEST_SEC} ({HISTORY_LONGEST_SEC // 86_400} days)"
        )
    # Each id is looked up in the record, and each ticket passed to MetaTrader5.
    for doubt in request.in_doubt:
        if not doubt.order_id:
            raise RemoteProtocolError("in_doubt has an order without an id")
        _check_length(doubt.order_id, "an id in in_doubt")
    for name in ("explain", "explain_orders"):
        for ticket in getattr(request, name):
            if ticket not in TICKETS:
                raise RemoteProtocolError(
                    f"{name} has {ticket}, which is not a whole number from 0 to 2**64 - 1"
                )


def _check_count(request: Request, name: str) -> None:
    count = len(getattr(request, name))
    if count > NAMED_AT_ONCE:
        raise RemoteProtocolError(f"{name} has {count} entries: give at most {NAMED_AT_ONCE}")


def _check_span(request: Request) -> None:
    _check_count(request, "symbols")
    for name in ("since_msc", "until_msc"):
        if getattr(request, name) not in TICKETS:
            raise RemoteProtocolError(
                f"{name}={getattr(request, name)} is not valid: give milliseconds of the trade "
                "server's clock since 1970"
            )
    if request.after and not CURSOR.fullmatch(request.after):
        raise RemoteProtocolError(
            f"after={request.after!r:.60} is not valid: give `next` of the page before, as it came"
        )


def _check_call(request: Request) -> None:
    why = why_not_forwarded(call_request(request))
    if why:
        raise RemoteProtocolError(why)


def _check_claim(request: Request) -> None:
    if request.scope is None:
        raise RemoteProtocolError("CLAIM needs a scope: give what is claimed, and by whom")
    if any(DAMAGED in name for name in (request.scope.run, *request.scope.symbols)):
        raise RemoteProtocolError("scope has a part of a character: give whole characters")
    try:
        claimable(request.scope)
    except ValueError as error:
        raise RemoteProtocolError(f"the scope cannot be claimed: {error}") from None


def _check_numbers(request: Request) -> None:
    for name in ("volume", "price", "sl", "tp", "stoplimit"):
        if not math.isfinite(getattr(request, name)):
            raise RemoteProtocolError(f"{name} is not a number")
    for name in ("position", "position_by", "magic", "order"):
        if getattr(request, name) not in TICKETS:
            raise RemoteProtocolError(f"{name} is not a whole number from 0 to 2**64 - 1")


def not_begun(request: Request, why: str, *, came_before: bool = False) -> NotBegun:
    """Return the reply to a request that was not begun: nothing was read, no order was sent.

    With `came_before`, an earlier order with this id may have been sent.
    """
    if came_before:
        words = f"{why}; the same id came before, or may have: see REQUEST_STATUS"
        return OrderReply(request.order_id, "UNKNOWN", error=words)
    if request.action in ORDERS:
        return OrderReply(request.order_id, "REJECTED", error=f"not sent: {why}")
    if request.action == "GET_POSITIONS":
        return PositionsReply("FAILED", error=why, cause=Cause.TERMINAL)
    if request.action == "TICK":
        return TickReply("FAILED", request.symbol, error=why)
    return ErrorReply("FAILED", why)


def encode_reply(reply: Reply | dict[str, Any], uuid: object = msgspec.UNSET) -> bytes:
    """Encode a reply; the `uuid` of the request, if any, is returned in the reply."""
    whole: object = reply
    if uuid is not msgspec.UNSET:
        row: dict[str, Any] = msgspec.to_builtins(reply)
        whole = {"uuid": uuid, **row}
    try:
        return _encoder.encode(whole)
    except UnicodeEncodeError:
        # Half a character in a text must not cost the whole reply.
        return _encoder.encode(writable_json(msgspec.to_builtins(whole)))
