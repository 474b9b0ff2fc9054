"""Prices on the wire: encode the TICK request, and decode its reply."""

from __future__ import annotations

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.quantity import is_number
from trueup.protocol.text import error_of, read_json, reason_of, why_unreadable

_UNTIL = "a gateway that answers TICK"


class Tick(msgspec.Struct, frozen=True):
    """The price of a symbol at a moment.

    Attributes:
        bid: the price of a sale.
        ask: the price of a purchase.
        time_msc: milliseconds of the trade server's clock since 1970, 0 if the gateway does not
            tell.
    """

    symbol: str
    bid: float
    ask: float
    time_msc: int = 0

    @property
    def mid(self) -> float:
        """The middle between bid and ask."""
        return (self.bid + self.ask) / 2


def encode_tick_request(symbol: str) -> bytes:
    """Return the bytes of a question for the price of a symbol."""
    return msgspec.json.encode({"action": "TICK", "symbol": symbol})


def decode_tick(raw: bytes, symbol: str) -> Tick | Unknown:
    """Decode a reply to TICK.

    OFFLINE means that the gateway has no price for the symbol now. UNREADABLE means that the reply
    is something else, for example because the gateway does not know the request.
    """
    try:
        reply = read_json(raw)
    except (ValueError, RecursionError):
        return _not_known(why_unreadable(raw))
    if not isinstance(reply, dict):
        return _not_known(f"{reply!r:.60}")
    bid, ask = _price(reply.get("bid")), _price(reply.get("ask"))
    time_msc = reply.get("time_msc", 0)
    status = reply.get("status")
    is_refused = status == "FAILED" and reply.get("symbol") == symbol
    # A price without both sides, or with bid above ask, is not usable for any decision.
    if 0 < bid <= ask and isinstance(time_msc, int) and not is_refused:
        return Tick(symbol, bid, ask, time_msc)
    if is_refused:
        return Unknown(Reason.OFFLINE, f"No price of {symbol}: {reason_of(reply)}", _UNTIL)
    error = error_of(reply)
    return _not_known(f"status {status!r:.40}" + (f" ({error})" if error else ""))


def _price(value: object) -> float:
    """Return a price, or 0.0 if the value is not a price."""
    return float(value) if is_number(value) else 0.0


def _not_known(answer: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"The gateway does not tell prices: {answer:.120}", _UNTIL)
