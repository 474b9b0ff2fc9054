"""The CALL exchange: one call of a function of the official module that changes no account.

Market data, symbols, calculations and lists come as the module itself returns them. Orders do not
go this way: they have an exchange of their own, which sends each at most once.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec

from trueup.errors import RemoteProtocolError
from trueup.protocol.text import check_text, read_json, reason_of

CAPABILITY = "CALL"
# `symbol_select` and `market_book_*` change what the terminal shows, and nothing on the account.
FORWARDED = frozenset(
    {
        *("version", "terminal_info", "account_info"),
        *("symbols_total", "symbols_get", "symbol_info", "symbol_info_tick", "symbol_select"),
        *("market_book_add", "market_book_release", "market_book_get"),
        *("copy_rates_from", "copy_rates_from_pos", "copy_rates_range"),
        *("copy_ticks_from", "copy_ticks_range"),
        *("positions_total", "positions_get", "orders_total", "orders_get"),
        *("history_orders_total", "history_orders_get"),
        *("history_deals_total", "history_deals_get"),
        *("order_check", "order_calc_margin", "order_calc_profit"),
    }
)
# The place of the number of rows among the arguments of the functions that have one.
COUNT_PLACES = {"copy_rates_from": 3, "copy_rates_from_pos": 3, "copy_ticks_from": 2}
ROWS_MOST = 20_000
"""A reply has at most so many rows; of bars and ticks these are 1.6 MB. An order that comes
meanwhile waits for no more than that."""
ARGUMENTS_MOST = 8

Shape = Literal["plain", "row", "rows", "array", "raised"]


class CallRequest(msgspec.Struct, tag_field="action", tag="CALL", omit_defaults=True):
    """Ask for one call: `function` is one of `FORWARDED`, `args` and `named` are its arguments.

    Whole numbers and floats are told apart, as by the module: 1 is no volume and 1.0 is.
    """

    id: int
    function: str
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = {}


class CallReply(msgspec.Struct, tag_field="status", tag="SUCCESS", omit_defaults=True):
    """What the call returned; `error` is `last_error()` after it.

    By `shape` the `value` is: `plain`, as it stands; `row`, the values of one named tuple `name`
    with `fields`; `rows`, a list of those; `array`, the bytes of a numpy array in base64, whose
    `fields` are each a name, a space, and a type of numpy's; `raised`, the words of an exception
    `name`.
    """

    id: int
    error: tuple[int, str]
    shape: Shape = "plain"
    value: Any = None
    name: str = ""
    fields: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(CallReply)
_encoder = msgspec.json.Encoder()


def encode_call_request(request: CallRequest) -> bytes:
    """Write a request.

    Raises:
        TypeError: an argument is of a type that no function of the module takes.
    """
    return _encoder.encode(request)


def decode_call_reply(raw: bytes, wanted_id: int) -> CallReply:
    """Read the reply to the CALL with the id `wanted_id`.

    Raises:
        RemoteProtocolError: the gateway did not make the call, or its reply cannot be read.
    """
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
        if reply.shape == "array":
            reply.value = base64.b64decode(reply.value, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(_why_not(raw, str(error))) from None
    except (binascii.Error, TypeError, ValueError):
        raise RemoteProtocolError("the bytes of an array are not base64") from None
    if reply.id != wanted_id:
        raise RemoteProtocolError(f"the reply answers call {reply.id}, not {wanted_id}")
    return reply


def _why_not(raw: bytes, error: str) -> str:
    try:
        reply = read_json(raw)
    except (ValueError, RecursionError):
        return f"the reply is not JSON: {raw[:60]!r}"
    if not isinstance(reply, dict) or reply.get("status") == "SUCCESS":
        return f"a reply to CALL does not have its shape: {error}"
    return reason_of(reply)


def why_not_forwarded(request: CallRequest) -> str:
    """Say why a gateway does not make a call, or return an empty text."""
    if request.function not in FORWARDED:
        known = ", ".join(sorted(FORWARDED))
        return f"function={request.function!r:.40} is not served by CALL: give one of {known}"
    if len(request.args) + len(request.named) > ARGUMENTS_MOST:
        return f"{request.function} takes no more than {ARGUMENTS_MOST} arguments"
    place = COUNT_PLACES.get(request.function, len(request.args))
    count = request.args[place] if place < len(request.args) else 0
    if isinstance(count, int) and count > ROWS_MOST:
        return f"{request.function} for {count} rows: give at most {ROWS_MOST} at a time"
    return ""
