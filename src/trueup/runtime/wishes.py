"""What may be asked of the order desk, and the refusal of what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from trueup.core.book import Order
from trueup.core.events import OrderKind
from trueup.core.model import Side
from trueup.core.quantity import is_number, is_price, is_volume, same
from trueup.errors import Refused

HIGHEST_MAGIC = 2**64
SIDES = {"buy": Side.BUY, "sell": Side.SELL, "1": Side.BUY, "-1": Side.SELL}


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
                f"key={known.key!r} was used for {known.order_id} with {name}={first!r}, and comes "
                f"again with {name}={value!r}: give another key."
            )


def side_of(side: Side | str | int) -> Side:
    """Return the side that a caller named: a `Side`, "buy", "sell", 1 or -1."""
    wanted = side if isinstance(side, Side) else SIDES.get(str(side).lower())
    if wanted is None:
        raise ValueError(f"side={side!r} is not valid: give 'buy' or 'sell'.")
    return wanted


def check_volume(volume: object) -> None:
    """Refuse what is no number of lots."""
    _check(volume=(volume, is_volume, "a finite number of lots above 0"))


def check_price(price: object) -> None:
    """Refuse what is no price."""
    _check(price=(price, is_price, "a finite price above 0"))


def check_levels(**levels: float) -> None:
    """Refuse what is neither a price nor 0."""
    for name, level in levels.items():
        if not is_number(level) or level:
            _check(**{name: (level, is_price, "a price above 0, or 0 for none")})


def check_magic(magic: object) -> None:
    """Refuse what is no magic number (64 bits, unsigned)."""
    is_whole = isinstance(magic, int) and not isinstance(magic, bool)
    if not is_whole or not 0 <= magic < HIGHEST_MAGIC:  # type: ignore[operator]
        raise ValueError(
            f"magic={magic!r:.40} is not valid: give a whole number from 0 to 2**64 - 1."
        )


def check_texts(**texts: object) -> None:
    """Refuse what is no text."""
    for name, text in texts.items():
        # Half of a surrogate pair is no text that a journal could keep.
        if not isinstance(text, str) or any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError(f"{name}={text!r:.40} is not valid: give a text, or '' for none.")


def _check(**values: tuple[object, Callable[[float], bool], str]) -> None:
    for name, (value, fits, valid) in values.items():
        if not is_number(value) or not fits(value):
            raise ValueError(f"{name}={value!r:.40} is not valid: give {valid}.")
