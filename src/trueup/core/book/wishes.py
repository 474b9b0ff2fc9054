"""The wish for an order that an assistant submits, or proposes to a person.

An assistant is a program that talks for a person, such as a client of `trueup mcp`. Its name begins
with `mcp:`. It has fewer rights than a person: it approves nothing, and a pause holds for all of
its orders.
"""

from __future__ import annotations

import enum

import msgspec

from trueup.core.model import Side
from trueup.core.quantity import format_lots, format_price

ASSISTANT = "mcp:"
"""The beginning of the name of every assistant."""
BOOKS = "in the book's symbol"


class WishAction(enum.Enum):
    """The action that a wish asks for."""

    OPEN = "open"
    CLOSE = "close"
    MODIFY = "modify"
    CANCEL = "cancel"


class OrderWish(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The terms of an order that is wished for.

    OPEN: `side`, `volume` (lots) and `symbol`; with `limit` or `stop` (a price) a pending order.
    CLOSE: the position `ticket`, or `volume` lots of the position; `side` is the position's.
    MODIFY: the stops `sl` and `tp` of the position or pending order `ticket`, and with `limit` the
    new price of the pending order. CANCEL: the pending order `ticket`.

    `sl` and `tp` are prices, 0 for none. A proposal has `volume`, `side` and `symbol` of what it
    closes, changes or cancels, as they were when the proposal was made.
    """

    action: WishAction
    symbol: str = ""
    side: Side | None = None
    volume: float = 0.0
    limit: float = 0.0
    stop: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    ticket: int = 0

    @property
    def words(self) -> str:
        """The wish as a part of a sentence."""
        symbol = f" {self.symbol}" if self.symbol else ""
        lots = f"{format_lots(self.volume)}L " if self.volume else ""
        match self.action:
            case WishAction.OPEN:
                return f"{self._opens} {lots}{self.symbol or BOOKS}{self._levels}"
            case WishAction.CLOSE:
                held = f" ({self.side.word})" if self.side is not None else ""
                lots += "of " if lots else ""
                return f"close {lots}position {self.ticket}{symbol}{held}"
            case WishAction.MODIFY:
                price = f"price {format_price(self.limit)}, " if self.limit else ""
                return f"{price}{self._stops} for {self.ticket}{symbol}"
            case WishAction.CANCEL:
                return f"cancel pending order {self.ticket}{symbol}"

    @property
    def _opens(self) -> str:
        """BUY or SELL, with LIMIT or STOP for a pending order."""
        side = "?" if self.side is None else self.side.action
        return f"{side} LIMIT" if self.limit else f"{side} STOP" if self.stop else side

    @property
    def _levels(self) -> str:
        at = self.limit or self.stop
        price = f" @ {format_price(at)}" if at else ""
        stops = (("SL", self.sl), ("TP", self.tp))
        return price + "".join(f", {name} {format_price(level)}" for name, level in stops if level)

    @property
    def _stops(self) -> str:
        return ", ".join(
            f"{name} {format_price(level) if level else 'none'}"
            for name, level in (("SL", self.sl), ("TP", self.tp))
        )


def is_assistant(who: str) -> bool:
    """Return whether a name is that of an assistant, and not of a person."""
    return who.strip().casefold().startswith(ASSISTANT)


def order_key(key: str) -> str:
    """Return the key of an assistant's order in the book.

    A strategy has keys of its own: without the beginning, an assistant could take one of them, and
    the strategy's order would count as sent. All assistants share their keys, because an assistant
    may ask again under another name, as after an update of its client.
    """
    return f"{ASSISTANT}{key}"
