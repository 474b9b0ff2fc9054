"""What may be asked of the order desk, and the refusal of what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from trueup.core.book.book import Order
from trueup.core.book.events import OrderKind
from trueup.core.conversions import number, whole_number
from trueup.core.model import Side
from trueup.core.quantity import from_units, is_price, is_volume, same, to_units
from trueup.errors import Refused

HIGHEST_MAGIC = 2**64
SIDES = {"buy": Side.BUY, "sell": Side.SELL, "1": Side.BUY, "-1": Side.SELL}


SideWord = Side | Literal["buy", "sell", "BUY", "SELL", 1, -1]
"""How a caller may name a side. Case does not matter at run time."""


class Wish(TypedDict, total=False):
    """What may be said of an order beside its side and volume.

    `limit` or `stop` is the price of a pending order; without either it is a market order. `sl`
    and `tp` are prices, 0 for none. `magic` is the strategy's number, by default the book's. `key`
    is the caller's own name for the wish: the same key with the same wish returns the first intent
    and sends nothing, also after a restart. `why` is free text, kept with the order. `price` is the
    market as the caller saw it, for gateways that want one.
    """

    limit: float
    stop: float
    sl: float
    tp: float
    magic: int
    key: str
    why: str
    price: float


def must_repeat(known: Order, wish: Mapping[str, Any]) -> None:
    """Refuse a key that comes again with another wish."""
    for name, value in wish.items():
        if name in ("wire_magic", "why"):
            continue
        if name == "price" and known.kind is OrderKind.MARKET:
            continue  # what the market was is no part of the wish
        first = known.entry_price if name == "price" else getattr(known, name)
        if not (same(first, value) if isinstance(value, float) else first == value):
            raise Refused(
                f"key={known.key!r:.60} was used for {known.order_id} with {name}={first!r:.40}, "
                f"and comes again with {name}={value!r:.40}: give another key."
            )


def side_of(side: Side | str | int) -> Side:
    """Return the side that a caller named: a `Side`, "buy", "sell", 1 or -1."""
    if isinstance(side, Side):
        return side
    wanted = SIDES.get(side.strip().lower() if isinstance(side, str) else str(whole_number(side)))
    if wanted is None:
        raise ValueError(f"side={side!r:.40} is not valid: give 'buy' or 'sell'.")
    return wanted


def ticket_of(named: object, what: str, known: Iterable[int]) -> int:
    """Return the ticket that a caller named: a number, its digits, or anything with a `ticket`.

    Args:
        named: what the caller gave.
        what: what it is to be the ticket of: a position, or a pending order.
        known: the tickets that the book has, for the error.

    Raises:
        ValueError: nothing there is a ticket.
    """
    ticket = named.get("ticket") if isinstance(named, Mapping) else getattr(named, "ticket", named)
    found = whole_number(ticket)
    if found is None or found <= 0:
        raise ValueError(
            f"No {what} {ticket!r:.40}: give a ticket, a whole number above 0, or something with a "
            f"`ticket`; the book has {tickets_listed(known)}."
        )
    return found


def tickets_listed(tickets: Iterable[int], most: int = 10) -> str:
    """Return tickets for a sentence: 7, 8 and 9 more."""
    known = list(tickets)
    listed = ", ".join(map(str, known[:most]))
    return f"{listed} and {len(known) - most} more" if len(known) > most else listed or "none"


def check_volume(volume: object) -> float:
    """Return lots in whole units of 1e-8; refuse what is no number of lots."""
    lots = _checked("volume", volume, is_volume, "a finite number of lots above 0")
    return from_units(to_units(lots))


def check_price(price: object) -> float:
    """Return a price; refuse what is none."""
    return _checked("price", price, is_price, "a finite price above 0")


def check_levels(**levels: object) -> list[float]:
    """Return prices, 0.0 for none; refuse what is neither a price nor 0."""
    return [
        _checked(name, level, lambda price: not price or is_price(price), _LEVEL)
        for name, level in levels.items()
    ]


def check_magic(magic: object) -> int:
    """Return a magic number; refuse what is none (64 bits, unsigned)."""
    found = None if isinstance(magic, str | float) else whole_number(magic)
    if found is None or not 0 <= found < HIGHEST_MAGIC:
        raise ValueError(
            f"magic={magic!r:.40} is not valid: give a whole number from 0 to 2**64 - 1."
        )
    return found


def check_texts(**texts: object) -> list[str]:
    """Return texts; refuse what is none."""
    for name, text in texts.items():
        # Half of a surrogate pair is no text that a journal could keep.
        if not isinstance(text, str) or any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError(f"{name}={text!r:.40} is not valid: give a text, or '' for none.")
    return list(map(str, texts.values()))


_LEVEL = "a price above 0, or 0 for none"


def _checked(name: str, value: object, fits: Callable[[float], bool], valid: str) -> float:
    found = number(value)
    if found is None or not fits(found):
        raise ValueError(f"{name}={value!r:.40} is not valid: give {valid}.")
    return found
