"""Check the parameters of an order, and refuse values that are not valid."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from trueup.core.book.book import Order
from trueup.core.book.events import OrderKind
from trueup.core.book.terms import (
    FILLINGS,
    HIGHEST_DEVIATION,
    PLAIN_TERMS,
    FillingWord,
    Terms,
)
from trueup.core.conversions import number, whole_number
from trueup.core.model import Position, Side, SymbolSpec
from trueup.core.quantity import format_lots, from_units, is_price, is_volume, same, to_units
from trueup.errors import Refused

HIGHEST_MAGIC = 2**64
# The official module cuts a time to 32 bits (MT5 reference, Python integration).
LATEST_SEC = 2**31
SIDES = {"buy": Side.BUY, "sell": Side.SELL, "1": Side.BUY, "-1": Side.SELL}


SideWord = Side | Literal["buy", "sell", "BUY", "SELL", 1, -1]
"""The values that a caller may give for a side; text in any case."""


Expiry = Literal["gtc", "day"] | dt.date | dt.datetime | int
"""The values that a caller may give for the end of a pending order; see `Wish`."""


class Wish(TypedDict, total=False):
    """The parameters of an order beside its side and volume.

    `symbol` is one of the policy's symbols, by default the book's. `limit` or `stop` is the price
    of a pending order; without either the order is a market order. With `stoplimit`, an order that
    reaches its `stop` becomes a limit order at that price. `sl` and `tp` are prices, 0 for
    none. `magic` is the strategy's number, by default the book's. `key` is the caller's own name
    for the wish: the same key with the same wish returns the first intent and sends nothing, also
    after a restart. `why` is free text, kept with the order. `comment` is the strategy's own
    comment, kept in the journal only: the comment at the broker is a token that identifies the
    order. `price` is the market price that the caller saw, for gateways that require a price. `who`
    names the person or the assistant who asks for the order, empty for the strategy.

    `deviation` is how far the price may move before the order is refused, in points. `filling` is
    FOK, IOC, RETURN or BOC; by default a mode that the symbol allows. `expires` is the end of a
    pending order: "gtc" for an order that stands until it is cancelled, "day" for the end of the
    trade server's day, a date for the end of that day there, a datetime with a time zone, or
    seconds of the trade server's clock since 1970; by default as "gtc".
    """

    limit: float
    stop: float
    stoplimit: float
    sl: float
    tp: float
    magic: int
    key: str
    why: str
    price: float
    comment: str
    symbol: str
    deviation: int
    filling: FillingWord
    expires: Expiry
    who: str


class CloseTerms(TypedDict, total=False):
    """The terms of a close: `deviation`, `filling` and `comment` are as in `Wish`."""

    deviation: int
    filling: FillingWord
    comment: str


class OrderChanges(TypedDict, total=False):
    """The changes of a pending order; what is not given stays.

    `price` is its price, `stoplimit` the price of the limit order that a stop-limit order becomes,
    `sl` and `tp` its stops (prices, 0 removes). `expires` is as in `Wish`.
    """

    price: float
    stoplimit: float
    sl: float
    tp: float
    expires: Expiry


def must_repeat(known: Order, wish: Mapping[str, Any]) -> None:
    """Refuse a key that was used before for another wish."""
    for name, value in wish.items():
        if name in ("wire_magic", "why", "comment", "by"):
            continue
        if name == "price" and known.kind is OrderKind.MARKET:
            continue  # the market price is not part of the wish
        first = known.entry_price if name == "price" else getattr(known, name)
        if not (same(first, value) if isinstance(value, float) else first == value):
            raise Refused(
                f"key={known.key!r:.60} was used for {known.order_id} with {name}={first!r:.40}, "
                f"and comes again with {name}={value!r:.40}: give another key."
            )


def side_of(side: Side | str | int) -> Side:
    """Return the side for a `Side`, "buy", "sell", 1 or -1."""
    if isinstance(side, Side):
        return side
    wanted = SIDES.get(side.strip().lower() if isinstance(side, str) else str(whole_number(side)))
    if wanted is None:
        raise ValueError(f"side={side!r:.40} is not valid: give 'buy' or 'sell'.")
    return wanted


def ticket_of(named: object, kind: str, known: Iterable[int]) -> int:
    """Return the ticket in a number, in text with digits, or in an object with a `ticket`.

    Args:
        named: the caller's value.
        kind: the kind of ticket, for the error: a position or a pending order.
        known: the tickets in the book, for the error.

    Raises:
        ValueError: the value has no ticket.
    """
    ticket = named.get("ticket") if isinstance(named, Mapping) else getattr(named, "ticket", named)
    found = whole_number(ticket)
    if found is None or found <= 0:
        raise ValueError(
            f"No {kind} {named!r:.40}: give a ticket, a whole number above 0, or something with a "
            f"`ticket`; the book has {tickets_listed(known)}."
        )
    return found


def tickets_listed(tickets: Iterable[int], most: int = 10) -> str:
    """Return tickets for a sentence: 7, 8 and 9 more."""
    known = list(tickets)
    listed = ", ".join(map(str, known[:most]))
    return f"{listed} and {len(known) - most} more" if len(known) > most else listed or "none"


def check_volume(volume: object) -> float:
    """Return lots in whole units of 1e-8; refuse a value that is not a number of lots."""
    lots = _checked("volume", volume, is_volume, "a finite number of lots above 0")
    return from_units(to_units(lots))


def check_price(price: object) -> float:
    """Return a price; refuse a value that is not a price."""
    return _checked("price", price, is_price, "a finite price above 0")


def check_levels(**levels: object) -> list[float]:
    """Return prices, 0.0 for none; refuse a value that is neither a price nor 0."""
    return [
        _checked(name, level, lambda price: not price or is_price(price), _LEVEL)
        for name, level in levels.items()
    ]


def check_terms(wish: Wish, *, is_pending: bool, time_offset_sec: int | None) -> Terms:
    """Return the terms of an order; refuse terms that cannot be sent to the broker.

    Args:
        wish: the parameters of the order.
        is_pending: whether the order waits for a price.
        time_offset_sec: the trade server's clock less UTC, None if unknown.

    Raises:
        ValueError: a value is not valid, or does not fit this kind of order.
    """
    deviation, filling = wish.get("deviation"), wish.get("filling")
    if deviation is not None:
        # Text and fractions are refused rather than rounded: a deviation is whole points.
        points = None if isinstance(deviation, str | float) else whole_number(deviation)
        if points is None or not 0 <= points <= HIGHEST_DEVIATION:
            raise ValueError(f"deviation={deviation!r:.40} is not valid: give points, 0 or above.")
        deviation = points
    if filling is not None and filling not in FILLINGS:
        raise ValueError(f"filling={filling!r:.40} is not valid: give {' or '.join(FILLINGS)}.")
    expires = wish.get("expires")
    if expires is None:
        return Terms(deviation, filling)
    # A market order is executed at once; an expiration would be dropped without notice.
    if not is_pending:
        raise ValueError("expires is only for a pending order: give limit or stop too.")
    if expires == "gtc":
        return Terms(deviation, filling, "GTC")
    if expires == "day":
        return Terms(deviation, filling, "DAY")
    if isinstance(expires, dt.date) and not isinstance(expires, dt.datetime):
        # Midnight of that date by the trade server's own clock, which needs no offset.
        midnight = dt.datetime.combine(expires, dt.time(), dt.UTC)
        return Terms(deviation, filling, "SPECIFIED_DAY", _server_sec(int(midnight.timestamp()), 0))
    return Terms(deviation, filling, "SPECIFIED", _server_sec(expires, time_offset_sec))


def check_close_terms(terms: CloseTerms) -> Terms:
    """Return the terms of a close; refuse terms that cannot be sent to the broker.

    Raises:
        TypeError: a close has no such term.
        ValueError: a value is not valid.
    """
    unknown = sorted(terms.keys() - CloseTerms.__annotations__.keys())
    if unknown:
        raise TypeError(
            f"A close has no {unknown[0]}: give {', '.join(CloseTerms.__annotations__)}."
        )
    wish: Wish = {}
    if "deviation" in terms:
        wish["deviation"] = terms["deviation"]
    if "filling" in terms:
        wish["filling"] = terms["filling"]
    return check_terms(wish, is_pending=False, time_offset_sec=None) if wish else PLAIN_TERMS


def check_pair(position: Position, other: Position, *, is_hedging: bool) -> None:
    """Refuse two positions that no broker closes by each other (MQL5 reference, CLOSE_BY).

    Raises:
        ValueError: they are one, of one side, of two symbols, or on a netting account.
    """
    if not is_hedging:
        raise ValueError("close_by is only for a hedging account: a netting account has no two.")
    pair = f"Tickets {position.ticket} and {other.ticket} cannot be closed by each other"
    if position.identifier == other.identifier:
        raise ValueError(f"{pair}: they are one position.")
    if position.symbol != other.symbol:
        raise ValueError(f"{pair}: they are in {position.symbol} and {other.symbol}.")
    if position.side is other.side:
        raise ValueError(f"{pair}: both are {position.side.word}.")


def check_changes(changes: OrderChanges) -> tuple[dict[str, float], Wish]:
    """Return the new prices of a pending order, and its new end, if any.

    Raises:
        TypeError: a pending order has no such field.
        ValueError: nothing is to be changed, or a value is not valid.
    """
    unknown = sorted(changes.keys() - OrderChanges.__annotations__.keys())
    names = ", ".join(OrderChanges.__annotations__)
    if unknown:
        raise TypeError(f"A pending order has no {unknown[0]} to change: give {names}.")
    levels: dict[str, float] = {}
    # A pending order always has a price, so 0 would not remove but break it.
    if "price" in changes:
        levels["price"] = check_price(changes["price"])
    given: dict[str, object] = {
        name: value for name, value in changes.items() if name in ("stoplimit", "sl", "tp")
    }
    levels.update(zip(given, check_levels(**given), strict=True))
    expires = changes.get("expires")
    if not levels and expires is None:
        raise ValueError(f"Nothing is to be changed: give {names}.")
    return levels, {} if expires is None else {"expires": expires}


def _server_sec(expires: object, time_offset_sec: int | None) -> int:
    """Return a moment in seconds of the trade server's clock."""
    if isinstance(expires, dt.datetime) and expires.tzinfo is not None:
        # A guess of the offset could end the order hours too early or too late.
        if time_offset_sec is None:
            raise ValueError(
                "expires cannot be a datetime yet: no quotation has told what the trade server's "
                "clock shows. Give its own time in seconds since 1970, or wait for a sync."
            )
        return math.floor(expires.timestamp()) + time_offset_sec
    # A number is the trade server's own time and needs no offset. Above 32 bits the official module
    # would cut it.
    found = None if isinstance(expires, str | float) else whole_number(expires)
    if found is None or not 0 < found < LATEST_SEC:
        raise ValueError(
            f"expires={expires!r:.60} is not valid: give 'gtc', 'day', a date, a datetime with a "
            "time zone, or seconds of the trade server's clock since 1970."
        )
    return found


def check_step(volume: float, spec: SymbolSpec | None) -> None:
    """Refuse a volume that is not a multiple of the symbol's volume step, if the step is known."""
    step = 0 if spec is None else to_units(spec.volume_step)
    rest = to_units(volume) % step if step else 0
    if spec is None or not rest:
        return
    below = to_units(volume) - rest
    near = [format_lots(from_units(units)) for units in (below, below + step) if units]
    raise ValueError(
        f"volume={volume!r:.40} is not valid: {spec.symbol} is traded in steps of "
        f"{format_lots(spec.volume_step)} lots; give {' or '.join(near)}."
    )


def on_tick(price: float, spec: SymbolSpec) -> float:
    """Return the nearest price on the symbol's ticks; 0 stays 0.

    A level that a strategy computed is seldom on a tick: 1.1 - 0.003 is 1.0970000000000002.
    """
    if not price or spec.tick_size <= 0:
        return price
    return round(round(price / spec.tick_size) * spec.tick_size, spec.digits)


def check_magic(magic: object) -> int:
    """Return a magic number; refuse a value that is not an unsigned 64-bit number."""
    found = None if isinstance(magic, str | float) else whole_number(magic)
    if found is None or not 0 <= found < HIGHEST_MAGIC:
        raise ValueError(
            f"magic={magic!r:.40} is not valid: give a whole number from 0 to 2**64 - 1."
        )
    return found


def check_texts(**texts: object) -> list[str]:
    """Return texts; refuse a value that is not text."""
    for name, text in texts.items():
        # A journal cannot store half of a surrogate pair.
        if not isinstance(text, str) or any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError(f"{name}={text!r:.40} is not valid: give a text, or '' for none.")
    return list(map(str, texts.values()))


_LEVEL = "a price above 0, or 0 for none"


def _checked(name: str, value: object, fits: Callable[[float], bool], valid: str) -> float:
    found = number(value)
    if found is None or not fits(found):
        raise ValueError(f"{name}={value!r:.40} is not valid: give {valid}.")
    return found
