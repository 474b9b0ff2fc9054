"""REQUEST_STATUS on the wire: what a gateway's own record has of one order."""

from __future__ import annotations

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.gateway_record import RecordMark, RequestStatus
from trueup.protocol.text import brief, decode_json, read_json, reason_of, why_unreadable

_UNTIL = "a gateway that answers REQUEST_STATUS"


class RequestStatusReply(msgspec.Struct):
    """The reply: what the record has, and how far it reaches."""

    status: str
    request: RequestStatus
    record: RecordMark


_decoder = msgspec.json.Decoder(RequestStatusReply)


def encode_status_request(order_id: str) -> bytes:
    """Return the bytes that ask what became of an order."""
    return msgspec.json.encode({"action": "REQUEST_STATUS", "order_id": order_id})


def decode_status(raw: bytes, order_id: str) -> RequestStatus | Unknown:
    """Read a reply to REQUEST_STATUS; Unknown where it does not say what became of the order."""
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
    words = f"The gateway does not tell what became of an order: {shown}"
    return Unknown(Reason.NO_EVIDENCE, words, _UNTIL)
