"""Decode the JSON columns of the record of requests.

SQLite has no checksums, so a failing disk can leave a row that differs from the written one. A
damaged row still proves that its request came, but no longer the outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from trueup.core.gateway_record import BookAsked, SentOrder
from trueup.gateway.record.store import Entry, StoreTrouble
from trueup.protocol.requests import OrderReply

Read = TypeVar("Read")


class SentMessage(msgspec.Struct, frozen=True):
    """The arguments of `order_send`, as far as they identify an order."""

    action: int | None = None
    symbol: str = ""
    type: int | None = None
    volume: float = 0.0
    price: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    magic: int = 0
    position: int = 0
    order: int = 0
    comment: str = ""
    stoplimit: float = 0.0
    position_by: int = 0


class Before(msgspec.Struct, frozen=True):
    """The state before sending; see `gateway.record.investigate.Sending`."""

    quote_msc: int
    orders: tuple[int, ...] | None


_reply = msgspec.json.Decoder(OrderReply).decode
_parameters = msgspec.json.Decoder(dict[str, Any]).decode
_message = msgspec.json.Decoder(SentMessage).decode
_before = msgspec.json.Decoder(Before).decode


def reply_in(entry: Entry) -> OrderReply | None:
    """Return the recorded reply to a request, or None.

    Raises:
        StoreTrouble: the row is damaged; the other functions here raise the same.
    """
    return None if entry.reply is None else _read(entry, entry.reply, _reply)


def parameters_in(entry: Entry) -> dict[str, Any]:
    """Return the parameters of the request."""
    return _read(entry, entry.parameters, _parameters)


def message_in(entry: Entry) -> SentMessage:
    """Return the message that was sent; an empty message if none was."""
    return SentMessage() if entry.message is None else _read(entry, entry.message, _message)


def before_in(entry: Entry) -> Before:
    """Return the recorded state before sending; an empty state if none was recorded."""
    return Before(0, None) if entry.before is None else _read(entry, entry.before, _before)


def sent_order(entry: Entry) -> SentOrder:
    """Return the order as its sender requested it."""
    given = {**parameters_in(entry), "order_id": entry.order_id, "key": entry.key}
    given["server_time_msc"] = before_in(entry).quote_msc
    try:
        return msgspec.convert(given, SentOrder)
    except msgspec.ValidationError as error:
        raise _damaged(entry, error) from error


def is_of_book(entry: Entry, asked: BookAsked) -> bool:
    """Return whether a book's question for its orders covers an order."""
    if asked.journal:
        return entry.journal == asked.journal
    return bool(entry.journal) and entry.stream == asked.stream


def check(entry: Entry) -> None:
    """Check that every column of a row can be decoded."""
    for read in (reply_in, parameters_in, message_in, before_in):
        read(entry)


def _read(entry: Entry, raw: bytes, decode: Callable[[bytes], Read]) -> Read:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise _damaged(entry, error) from error


def _damaged(entry: Entry, error: Exception) -> StoreTrouble:
    return StoreTrouble(f"the record of request {entry.order_id!r} is damaged ({error})")
