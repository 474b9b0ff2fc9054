"""The CALL exchange: call a function of the official module that changes no account.

Market data, symbols, calculations and lists are returned as the module returns them. Orders are not
sent by CALL: they have an exchange of their own, which sends each order at most once.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec

from trueup.errors import RemoteProtocolError
from trueup.protocol.text import check_text, read_json, reason_of

CAPABILITY = "CALL"
# `symbol_select` and `market_book_*` change the terminal's display, and nothing on the account.
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
# The index of the argument with the number of rows, for functions that have such an argument.
COUNT_PLACES = {"copy_rates_from": 3, "copy_rates_from_pos": 3, "copy_ticks_from": 2}
ROWS_MOST = 20_000
"""The most rows in a reply; 1.6 MB of bars or ticks. So an order that arrives meanwhile waits only
for a reply of this size."""
ARGUMENTS_MOST = 8

Shape = Literal["plain", "row", "rows", "array", "raised"]


class CallRequest(msgspec.Struct, tag_field="action", tag="CALL", omit_defaults=True):
    """Ask for a call: `function` is one of `FORWARDED`, `args` and `named` are its arguments.

    Integers and floats are different, as in the module: 1.0 is a valid volume, 1 is not.
    """

    id: int
    function: str
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = {}


class CallReply(msgspec.Struct, tag_field="status", tag="SUCCESS", omit_defaults=True):
    """The result of a call.

    Attributes:
        error: `last_error()` after the call.
        shape: the meaning of `value`. `plain`: the result itself; `row`: the values of a named
            tuple `name` with `fields`; `rows`: a list of these; `array`: the bytes of a numpy array
            in base64, each of whose `fields` is a name, a space, and a numpy type; `raised`: the
            text of an exception `name`.
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
    """Encode a request.

    Raises:
        TypeError: an argument has a type that no function of the module takes.
    """
    return _encoder.encode(request)


def decode_call_reply(raw: bytes, wanted_id: int) -> CallReply:
    """Decode the reply to the CALL with the id `wanted_id`.

    Raises:
        RemoteProtocolError: the gateway did not make the call, or its reply is not valid.
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
    """Return why a gateway does not make a call, or an empty text."""
    if request.function not in FORWARDED:
        known = ", ".join(sorted(FORWARDED))
        return f"function={request.function!r:.40} is not served by CALL: give one of {known}"
    if len(request.args) + len(request.named) > ARGUMENTS_MOST:
        return f"{request.function} takes no more than {ARGUMENTS_MOST} arguments"
    # A longer reply would keep the terminal, and so the orders of other clients, waiting.
    place = COUNT_PLACES.get(request.function, len(request.args))
    count = request.args[place] if place < len(request.args) else 0
    if isinstance(count, int) and count > ROWS_MOST:
        return f"{request.function} for {count} rows: give at most {ROWS_MOST} at a time"
    return ""
