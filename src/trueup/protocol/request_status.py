"""REQUEST_STATUS on the wire: the state of an order in a gateway's own record."""

from __future__ import annotations

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.gateway_record import RecordMark, RequestStatus
from trueup.protocol.text import brief, decode_json, read_json, reason_of, why_unreadable

_UNTIL = "a gateway that answers REQUEST_STATUS"


class RequestStatusReply(msgspec.Struct):
    """The reply: the order's state in the record, and the record's mark."""

    status: str
    request: RequestStatus
    record: RecordMark


_decoder = msgspec.json.Decoder(RequestStatusReply)


def encode_status_request(order_id: str) -> bytes:
    """Return the bytes of a question for the outcome of an order."""
    return msgspec.json.encode({"action": "REQUEST_STATUS", "order_id": order_id})


def decode_status(raw: bytes, order_id: str) -> RequestStatus | Unknown:
    """Decode a reply to REQUEST_STATUS; Unknown if the reply does not tell the order's state."""
    try:
        reply = decode_json(_decoder, raw)
    except (ValueError, RecursionError):
        return _why_not(raw)
    if reply.request.order_id != order_id:
        words = f"The reply is about order {reply.request.order_id!r:.60}, not {order_id!r:.60}"
        return Unknown(Reason.UNREADABLE, words, _UNTIL)
    return reply.request


def _why_not(raw: bytes) -> Unknown:
    try:
        reply = read_json(raw)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict) and reply.get("status") == "FAILED":
        words = f"The gateway's record cannot be read: {reason_of(reply)}"
        return Unknown(Reason.UNREADABLE, words, _UNTIL)
    shown = why_unreadable(raw) if reply is None else brief(reply)
    words = f"The gateway does not tell the outcome of an order: {shown}"
    return Unknown(Reason.NO_EVIDENCE, words, _UNTIL)
