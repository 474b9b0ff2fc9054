"""Orders on the guide's wire, and what a reply says about their outcome."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, assert_never

import msgspec

from trueup.core.book import outcome as outcomes
from trueup.core.book.events import OrderKind
from trueup.core.book.outcome import OrderOutcome
from trueup.core.conversions import number, number_or_text, plain, whole_number
from trueup.core.quantity import is_price, is_volume
from trueup.errors import LocalProtocolError, OutcomeUnknown
from trueup.protocol.text import brief, read_json, why_unreadable

SETTLED_STATUS = frozenset({"FILLED", "PLACED", "DONE", "REJECTED"})
CHANGES = frozenset({"MODIFY", "CANCEL"})
# What gateways of the guide's family answer to an action that they do not serve: at the beginning
# of the text, so that words of a broker further on are not taken for it.
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
# A broker's words are kept in the journal, and told in one line.
ERROR_LONGEST = 500
TICKETS = range(1, 2**64)
# A column of tickets in a table is of floats where one of them is missing.
WHOLE = frozenset({"position", "order", "magic", "login", "ticket"})


def encode_order(order: Mapping[str, Any]) -> bytes:
    """Return the bytes of an order.

    Raises:
        LocalProtocolError: naming the key, its value and what would be right; nothing is sent.
    """
    for key in ("order_id", "symbol"):
        if not isinstance(order.get(key), str) or not order[key]:
            raise LocalProtocolError(f"{key}={order.get(key)!r:.40} is not valid: give a text")
    action = order.get("action")
    if isinstance(action, str) and action in CHANGES:
        return _encoded(order)
    if action not in ("BUY", "SELL"):
        raise LocalProtocolError(f"action={action!r:.40} is not valid: give BUY or SELL")
    needed: dict[str, Callable[[float], bool]] = {"volume": is_volume, "price": is_price}
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
    """Return a value as JSON has it; numbers that name something are whole."""
    found = whole_number(value) if key in WHOLE else None
    return plain(value) if found is None else found


def decode_outcome(raw: bytes, order: Mapping[str, Any]) -> dict[str, Any]:
    """Read the reply to an order; both spellings of the family are understood.

    Numbers that the gateway writes as text are read as numbers, as in its lists.

    Raises:
        OutcomeUnknown: the reply does not say what became of this order.
    """
    reply = _object(raw)
    answered = reply.get("order_id")
    if answered is not None and answered != order["order_id"]:
        raise OutcomeUnknown(f"the reply is about order {answered!r:.60}")
    status = str(reply.get("status", "")).upper()
    error = reply.get("error") or reply.get("error_msg") or reply.get("message")
    if _is_not_understood(status, error, reply):
        status = "REJECTED"
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
    """Return whether a gateway says that it does not know what it was asked: nothing was done."""
    says_no = status in ("ERROR", "FAILED", "FAIL", "REJECTED", "") or not reply.get("status")
    names_something = any(reply.get(name) for name in ("ticket", "order", "deal"))
    return says_no and not names_something and bool(NOT_UNDERSTOOD.match(str(error or "")))


def _read(value: object, read: Callable[[object], float | None]) -> object:
    """Return a value as a number; what is none stays, so that an error can show it."""
    found = read(value)
    return value if found is None else found


def read_outcome(reply: Mapping[str, Any], kind: OrderKind, volume: float) -> OrderOutcome:
    """Return the outcome that a reply in the guide's words states, of an order of this kind.

    A reply that does not say clearly what happened is Unknown: a fill without a ticket, a price or
    a volume, a pending order without a ticket, a status that is none of the guide's.

    Args:
        reply: the reply, or what a caller gives to `on_fill`.
        kind: what was asked for.
        volume: the lots that were asked for, for a reply that leaves `filled_volume` out.
    """
    status = str(reply.get("status", "")).upper()
    error = brief(reply.get("error") or "", ERROR_LONGEST)
    match status:
        case "FILLED":
            return _fill(reply, volume)
        case "PLACED" | "DONE" if kind is not OrderKind.MARKET:
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
    return outcomes.Filled(ticket, filled, price)


def _applied(reply: Mapping[str, Any], kind: OrderKind) -> OrderOutcome:
    named = reply.get("ticket")
    ticket = whole_number(named) or 0
    ticket = ticket if ticket in TICKETS else 0
    if kind not in (OrderKind.LIMIT, OrderKind.STOP):
        return outcomes.Done(ticket)
    if not ticket:
        # Without its ticket a pending order could be neither watched nor cancelled.
        return outcomes.Unknown(f"PLACED with ticket {named!r:.40}, which is no ticket")
    return outcomes.Placed(ticket)


def spell_outcome(order_id: object, outcome: OrderOutcome) -> dict[str, Any]:
    """Return an outcome in the guide's words, as `send_order` does."""
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
