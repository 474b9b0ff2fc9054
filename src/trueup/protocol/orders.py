"""Encode orders for the guide's wire, and decode the outcome in a reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, assert_never

import msgspec

from trueup.core.book import outcome as outcomes
from trueup.core.book.events import AT_ONCE, OrderKind
from trueup.core.book.order import PENDING_TYPES
from trueup.core.book.outcome import OrderOutcome
from trueup.core.conversions import number, number_or_text, plain, whole_number
from trueup.core.doubt.trace import filled_in_part
from trueup.core.quantity import is_price, is_volume
from trueup.errors import LocalProtocolError, OutcomeUnknown
from trueup.protocol.text import brief, read_json, why_unreadable

SETTLED_STATUS = frozenset({"FILLED", "PLACED", "DONE", "REJECTED"})
# The orders that need neither a volume nor a price.
OF_TICKETS = frozenset({"MODIFY", "CANCEL", "MODIFY_ORDER", "CLOSE_BY"})
# Replies of gateways of the guide's family to an unknown action. The text must begin so, because
# the broker's own words further on may look similar.
NOT_UNDERSTOOD = re.compile(
    r"\W*(?:error\W+)?(?:"
    r"(?:unknown|unsupported|unrecogni[sz]ed|unhandled|undefined|no such)\s+"
    r"(?:(?:request|message|order)\s+)?(?:action|command|cmd|request|method|type)\b"
    r"|invalid\s+(?:action|command|cmd|method)\b"
    r"|(?:action|command|cmd|method)\b[^.;]{0,60}?\b"
    r"(?:not\s+(?:known|supported|recogni[sz]ed|implemented|found)|unknown|unsupported)\b"
    r")",
    re.IGNORECASE,
)
# The journal keeps the broker's error text, as a single line of at most this many characters.
ERROR_LONGEST = 500
TICKETS = range(1, 2**64)
# A pandas column of tickets has floats if a ticket is missing, so these are converted to integers.
WHOLE = frozenset({"position", "position_by", "order", "magic", "login", "ticket"})


def encode_order(order: Mapping[str, Any]) -> bytes:
    """Return the bytes of an order.

    Raises:
        LocalProtocolError: a value is not valid; the message has the key, the value and the valid
            form. Nothing was sent.
    """
    # Check here, before sending: a refusal by the broker would cost a round trip, and a wrong
    # volume might even be executed.
    for key in ("order_id", "symbol"):
        if not isinstance(order.get(key), str) or not order[key]:
            raise LocalProtocolError(f"{key}={order.get(key)!r:.40} is not valid: give a text")
    action = order.get("action")
    if isinstance(action, str) and action in OF_TICKETS:
        return _encoded(order)
    if action not in ("BUY", "SELL"):
        raise LocalProtocolError(f"action={action!r:.40} is not valid: give BUY or SELL")
    needed: dict[str, Callable[[float], bool]] = {"volume": is_volume, "price": is_price}
    # A market order is executed at the broker's price, so its own price is optional.
    if order.get("type") == "market" and "price" not in order:
        del needed["price"]
    for key, fits in needed.items():
        value = number(order.get(key))
        if value is None or not fits(value):
            wrong = f"{key}={order.get(key)!r:.40} is not valid"
            raise LocalProtocolError(f"{wrong}: give a number above 0")
    return _encoded(order)


def _encoded(order: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode({key: _as_sent(key, value) for key, value in order.items()})
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"the order cannot be written as JSON: {error}") from error


def _as_sent(key: object, value: object) -> object:
    """Return a value for JSON; tickets, ids and magic numbers as integers."""
    found = whole_number(value) if key in WHOLE else None
    return plain(value) if found is None else found


def decode_outcome(raw: bytes, order: Mapping[str, Any]) -> dict[str, Any]:
    """Decode the reply to an order; accepts both spellings of the family.

    Numbers that the gateway writes as text become numbers, as in its lists.

    Raises:
        OutcomeUnknown: the reply does not tell the outcome of this order.
    """
    reply = _object(raw)
    # A reply about another order says nothing about this order, which may have been executed.
    answered = reply.get("order_id")
    if answered is not None and answered != order["order_id"]:
        raise OutcomeUnknown(f"the reply is about order {answered!r:.60}")
    status = str(reply.get("status", "")).upper()
    error = reply.get("error") or reply.get("error_msg") or reply.get("message")
    if _is_not_understood(status, error, reply):
        status = "REJECTED"
    # Any other status, even an error, leaves open whether the order was executed.
    if status not in SETTLED_STATUS:
        because = f": {brief(error)}" if error else ""
        raise OutcomeUnknown(f"the reply's status is {reply.get('status')!r:.40}{because}")
    return {
        **reply,
        "order_id": order["order_id"],
        "status": status,
        "ticket": _read(reply.get("ticket"), whole_number),
        "filled_price": _read(
            reply.get("filled_price", reply.get("price", reply.get("close_price"))), number_or_text
        ),
        "filled_volume": _read(reply.get("filled_volume", reply.get("volume")), number_or_text),
        "error": error,
    }


def _is_not_understood(status: str, error: object, reply: Mapping[str, Any]) -> bool:
    """Return whether the gateway does not know the action of the request, so nothing was done."""
    says_no = status in ("ERROR", "FAILED", "FAIL", "REJECTED", "") or not reply.get("status")
    names_something = any(reply.get(name) for name in ("ticket", "order", "deal"))
    return says_no and not names_something and bool(NOT_UNDERSTOOD.match(str(error or "")))


def _read(value: object, read: Callable[[object], float | None]) -> object:
    """Return a value as a number; keep a value that is not a number, so that errors show it."""
    found = read(value)
    return value if found is None else found


def read_outcome(reply: Mapping[str, Any], kind: OrderKind, volume: float) -> OrderOutcome:
    """Return the outcome of an order of this kind by a reply in the guide's words.

    A reply that is not clear is Unknown: a fill without a ticket, a price or a volume, a pending
    order without a ticket, or a status that the guide does not have. A fill of a part, whose rest
    the broker still works on, is Unknown too: nobody knows yet how many lots it becomes.

    Args:
        reply: the reply, or the argument of `on_fill`.
        kind: the kind of the order.
        volume: the requested lots, used if the reply has no `filled_volume`.
    """
    status = str(reply.get("status", "")).upper()
    error = brief(reply.get("error") or "", ERROR_LONGEST)
    match status:
        case "FILLED":
            return _fill(reply, volume)
        # An order that trades at once cannot be PLACED or DONE: such a reply proves nothing.
        case "PLACED" | "DONE" if kind not in AT_ONCE:
            return _applied(reply, kind)
        case "REJECTED":
            return outcomes.Refused(error)
        case "CANCELED" | "CANCELLED":
            return outcomes.Canceled(error)
        case _:
            why = error or f"the answer's status is {reply.get('status')!r:.40}"
            return outcomes.Unknown(why)


def _fill(reply: Mapping[str, Any], volume: float) -> OrderOutcome:
    named, price_told = reply.get("ticket"), reply.get("filled_price")
    volume_told = reply.get("filled_volume", volume)
    ticket = whole_number(named)
    price, filled = number_or_text(price_told), number_or_text(volume_told)
    if ticket is None or ticket not in TICKETS:
        return outcomes.Unknown(f"FILLED with ticket {named!r:.40}, which is no ticket")
    if price is None or not is_price(price):
        return outcomes.Unknown(f"FILLED at price {price_told!r:.40}, which is no price")
    if filled is None or not is_volume(filled):
        return outcomes.Unknown(f"FILLED with volume {volume_told!r:.40}, which is no volume")
    if reply.get("rest_works") is True:
        return outcomes.Unknown(filled_in_part(ticket, filled, volume))
    return outcomes.Filled(ticket, filled, price)


def _applied(reply: Mapping[str, Any], kind: OrderKind) -> OrderOutcome:
    named = reply.get("ticket")
    ticket = whole_number(named) or 0
    ticket = ticket if ticket in TICKETS else 0
    if kind not in PENDING_TYPES:
        return outcomes.Done(ticket)
    if not ticket:
        # Without its ticket a pending order could be neither watched nor cancelled.
        return outcomes.Unknown(f"PLACED with ticket {named!r:.40}, which is no ticket")
    return outcomes.Placed(ticket)


def spell_outcome(order_id: object, outcome: OrderOutcome) -> dict[str, Any]:
    """Return an outcome in the guide's words, in the shape of `send_order`."""
    reply: dict[str, Any] = {
        "order_id": order_id,
        "status": "",
        "ticket": None,
        "filled_price": None,
        "filled_volume": None,
        "error": None,
    }
    match outcome:
        case outcomes.Filled(ticket=ticket, volume=volume, price=price):
            filled = {"ticket": ticket, "filled_price": price, "filled_volume": volume}
            return {**reply, "status": "FILLED", **filled}
        case outcomes.Placed(ticket=ticket):
            return {**reply, "status": "PLACED", "ticket": ticket}
        case outcomes.Done(ticket=ticket):
            return {**reply, "status": "DONE", "ticket": ticket or None}
        case outcomes.Refused(error=error):
            return {**reply, "status": "REJECTED", "error": error}
        case outcomes.Canceled(because=because):
            return {**reply, "status": "CANCELED", "error": because}
        case outcomes.Unknown(error=error):
            return {**reply, "status": "UNKNOWN", "error": error}
        case _:
            assert_never(outcome)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        reply = read_json(raw)
    except (ValueError, RecursionError):
        raise OutcomeUnknown(f"the reply cannot be read: {why_unreadable(raw)}") from None
    if not isinstance(reply, dict):
        raise OutcomeUnknown(f"the reply is a {type(reply).__name__}, not an object")
    return reply
