"""The other dialect of this family of gateways: translate its requests, and spell its replies.

Its clients send a `uuid` with every request and find that `uuid` in the reply. Their actions are
PING, OPEN, CLOSE, GET_ACCOUNT, GET_POSITIONS and SYNC_ALL (luzhengheng/MT5,
`scripts/gateway/mt5_zmq_server.py`). PING and GET_POSITIONS exist in both dialects: a request with
a `uuid` is answered in this dialect.

`translate` turns OPEN and CLOSE into orders whose id is the `uuid`; from there on they are treated
like all orders. `spell` writes a reply in this dialect. A failure has status `error` (`ERROR` for
SYNC_ALL, as its clients expect), `error_code` and `error_msg`, and never a list: the original
gateway answers a failure with an empty list, which looks like an account without positions.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, assert_never

import msgspec
from msgspec.structs import asdict

from trueup.core.model import Position
from trueup.errors import RemoteProtocolError
from trueup.protocol.requests import (
    DIALECT_ORDERS,
    NotBegun,
    OrderReply,
    PongReply,
    PositionsReply,
    Request,
)

ONLY_HERE = frozenset({"OPEN", "CLOSE", "GET_ACCOUNT", "SYNC_ALL"})
IN_BOTH = frozenset({"PING", "GET_POSITIONS"})
UUID_LONGEST = 128

BAD_REQUEST, REFUSED = "BAD_REQUEST", "REFUSED"
CANNOT_READ, OUTCOME_UNKNOWN = "CANNOT_READ", "OUTCOME_UNKNOWN"


class DialectRequest(Request):
    """A translated request of this dialect; `asked` is the action as it was sent."""

    asked: str = ""


class AccountReply(msgspec.Struct):
    """The account's identity and figures; money in `currency`, `margin_level` in percent.

    `trade_mode` is demo, contest or real.
    """

    login: int
    server: str
    trade_mode: str
    currency: str
    leverage: int
    balance: float
    equity: float
    margin: float
    free_margin: float
    margin_level: float


class HoldingsReply(msgspec.Struct):
    """The account and all positions of a single reading; malformed rows are plain values."""

    account: AccountReply
    positions: list[Position | dict[str, Any]]


Answer = PongReply | NotBegun | AccountReply | HoldingsReply


def translate(request: Request) -> Request:
    """Translate a request of this dialect into the guide's; return any other unchanged.

    Raises:
        RemoteProtocolError: a field of an order is missing or not valid; nothing was done.
    """
    asked = request.action
    if asked == "OPEN":
        return _changed(request, action=_side(request), order_id=_uuid(request), type="market")
    if asked == "CLOSE":
        return _changed(request, order_id=_uuid(request), position=_ticket(request), type="market")
    if asked in ONLY_HERE or (asked in IN_BOTH and request.uuid is not msgspec.UNSET):
        return _changed(request, symbol=request.symbol or "*")
    return request


def _changed(request: Request, **fields: Any) -> DialectRequest:
    return DialectRequest(**{**asdict(request), **fields}, asked=request.action)


def _uuid(request: Request) -> str:
    uuid = request.uuid
    if not isinstance(uuid, str) or not 0 < len(uuid) <= UUID_LONGEST:
        shown = "missing" if uuid is msgspec.UNSET else f"{uuid!r:.40}"
        raise RemoteProtocolError(
            f"an order needs a uuid, a text of 1 to {UUID_LONGEST} characters that no other order "
            f"has; it is {shown}"
        )
    return uuid


def _side(request: Request) -> str:
    side = request.type.upper()
    if side not in ("BUY", "SELL"):
        raise RemoteProtocolError(f"type={request.type!r:.40} is not known: give BUY or SELL")
    if request.symbol in ("", "*"):
        raise RemoteProtocolError("OPEN needs a symbol")
    if request.volume <= 0:
        raise RemoteProtocolError(f"volume={request.volume!r} is not valid: give lots above 0")
    return side


def _ticket(request: Request) -> int:
    if not 0 < request.ticket < 2**64:
        raise RemoteProtocolError(
            f"ticket={request.ticket!r} is not valid: give the ticket of an open position"
        )
    if request.volume < 0:
        raise RemoteProtocolError(
            f"volume={request.volume!r} is not valid: give lots, or 0 for all of the position"
        )
    return request.ticket


def spell(answer: Answer, request: DialectRequest, now_ns: int) -> dict[str, Any]:
    """Return the fields of a reply in this dialect; `now_ns` is UTC since 1970."""
    now = _iso(now_ns)
    # A client of this dialect must never see a failure as an empty success.
    match answer:
        case PongReply():
            latency_ms = _latency_ms(request.timestamp, now_ns)
            return {"status": "ok", "server_time": now, "latency_ms": latency_ms}
        case OrderReply():
            return _spell_order(answer, request, now)
        case AccountReply():
            return {"status": "ok", **asdict(answer), "timestamp": now}
        case HoldingsReply():
            return _spell_holdings(answer, now)
        case PositionsReply() if answer.status == "SUCCESS":
            return {
                "status": "ok",
                "positions": list(map(_row, answer.positions)),
                "timestamp": now,
            }
        case _:
            return refusal(request.asked, CANNOT_READ, str(answer.error), now_ns)


def refusal(asked: object, code: str, error: str, now_ns: int) -> dict[str, Any]:
    """Return the fields of a refusal, with the reason why nothing was done."""
    # Each action has its own word for failure, which its clients compare with.
    status = "error"
    if asked in DIALECT_ORDERS:
        status = "REJECTED"
    elif asked == "SYNC_ALL":
        status = "ERROR"
    return {
        "status": status,
        "error_code": code,
        "error_msg": error,
        **({"message": error} if asked == "SYNC_ALL" else {}),
        "timestamp": _iso(now_ns),
    }


def _spell_order(reply: OrderReply, request: DialectRequest, now: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "ticket": reply.ticket,
        "deal": reply.deal,
        "retcode": reply.retcode,
        **({"repeated": True} if reply.repeated is True else {}),
    }

    def not_filled(code: str) -> dict[str, Any]:
        status = {"status": reply.status, "error_code": code, "error_msg": reply.error}
        return {**status, **facts, "timestamp": now}

    match reply.status:
        case "FILLED":
            # Clients read the price from a different field after CLOSE.
            price = "close_price" if request.asked == "CLOSE" else "price"
            return {
                "status": "FILLED",
                **facts,
                "volume": reply.filled_volume,
                price: reply.filled_price,
                "execution_time": now,
            }
        case "REJECTED":
            return not_filled(REFUSED)
        case "PLACED" | "DONE" | "UNKNOWN":
            # An unknown outcome must not look like a refusal: clients may repeat a refused order.
            # All orders of this dialect are market orders, so PLACED and DONE are unknown too.
            return not_filled(OUTCOME_UNKNOWN)
        case _:
            assert_never(reply.status)


def _spell_holdings(answer: HoldingsReply, now: str) -> dict[str, Any]:
    account = answer.account
    return {
        "status": "OK",
        "account": {
            "login": account.login,
            "server": account.server,
            "currency": account.currency,
            "balance": account.balance,
            "equity": account.equity,
            "margin_free": account.free_margin,
            "margin_used": account.margin,
            "margin_level": account.margin_level,
            "leverage": account.leverage,
        },
        "positions": [_sync_row(position) for position in answer.positions],
        "message": "Sync successful",
        "timestamp": now,
    }


def _row(position: Position | dict[str, Any]) -> dict[str, Any]:
    values = _values(position)
    return {
        "ticket": values["ticket"],
        "symbol": values["symbol"],
        "type": values["type"],
        "volume": values["volume"],
        "open_price": values["price_open"],
        "current_price": values["price_current"],
        "profit": values["profit"],
        **_more(values),
    }


def _sync_row(position: Position | dict[str, Any]) -> dict[str, Any]:
    values = _values(position)
    return {
        "symbol": values["symbol"],
        "ticket": values["ticket"],
        "volume": values["volume"],
        "profit": values["profit"],
        "price_current": values["price_current"],
        "price_open": values["price_open"],
        "type": values["type"],
        **_more(values),
    }


def _values(position: Position | dict[str, Any]) -> dict[str, Any]:
    """Return a position's fields; for a malformed row the values that the terminal returned."""
    if isinstance(position, dict):
        return position
    return {**msgspec.to_builtins(position), "type": position.side.action}


def _more(values: dict[str, Any]) -> dict[str, Any]:
    names = ("sl", "tp", "swap", "magic", "comment", "identifier")
    return {"time_open": values["time"], **{name: values[name] for name in names}}


def _latency_ms(sent: object, now_ns: int) -> float | None:
    """Return the gateway's clock minus the client's time of sending, or None without that time."""
    if not isinstance(sent, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(sent)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return round(now_ns / 1e6 - moment.timestamp() * 1e3, 3)
    except (ValueError, OverflowError):
        return None


def _iso(now_ns: int) -> str:
    moment = dt.datetime.fromtimestamp(now_ns / 1e9, dt.UTC)
    return moment.isoformat(timespec="milliseconds")
