"""Give the wish of an assistant to an order desk."""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.book.book import Book
from trueup.core.book.events import OrderKind
from trueup.core.book.order import Order
from trueup.core.book.wishes import OrderWish, WishAction, order_key
from trueup.runtime.bot.checking_desk import CheckingDesk
from trueup.runtime.bot.order_desk import Intent, OrderDesk
from trueup.runtime.bot.portfolio import PortfolioManager

LONGEST_KEY = 64
LONGEST_WHY = 500


class Asked(msgspec.Struct, frozen=True):
    """A wish with its key, the name of the one who asks for it, and the reason."""

    wish: OrderWish
    key: str
    who: str
    why: str = ""


def check_key(key: str) -> str:
    """Return a key; refuse a key that is missing or that cannot be shown to a person.

    Raises:
        ValueError: the key is not valid.
    """
    if not key:
        raise ValueError(
            "key is missing: give a name of your own for this order, a new one for each order. The "
            "same key again returns the outcome of the first order and sends nothing."
        )
    if len(key) > LONGEST_KEY or not key.isprintable() or key != key.strip():
        raise ValueError(
            f"key={key!r:.80} is not valid: give 1 to {LONGEST_KEY} printable characters, without "
            "a blank at either end."
        )
    return key


def check_wish(wish: OrderWish) -> None:
    """Refuse a wish with a field that is missing, or that its action does not have.

    Raises:
        ValueError: the message names the field.
    """
    if len(wish.symbol) > LONGEST_KEY:
        raise ValueError(f"symbol={wish.symbol!r:.80} is not valid: no symbol is so long.")
    fields = {
        WishAction.OPEN: ({"side", "volume"}, {"symbol", "limit", "stop", "sl", "tp"}),
        WishAction.CLOSE: ({"ticket"}, {"volume"}),
        WishAction.MODIFY: ({"ticket"}, {"sl", "tp", "limit"}),
        WishAction.CANCEL: ({"ticket"}, set[str]()),
    }
    needed, allowed = fields[wish.action]
    given = {field.name for field in msgspec.structs.fields(wish) if _is_given(wish, field)}
    given -= {"action"}
    missing, extra = sorted(needed - given), sorted(given - needed - allowed)
    if missing:
        raise ValueError(f"{missing[0]} is missing: to {wish.action.value} needs it.")
    if extra:
        known = ", ".join(sorted(needed | allowed))
        raise ValueError(
            f"{extra[0]}={getattr(wish, extra[0])!r:.40} is not valid: to {wish.action.value} has "
            f"only {known}."
        )


def _is_given(wish: OrderWish, field: msgspec.structs.FieldInfo) -> bool:
    return bool(getattr(wish, field.name) != field.default)


def ask(pm: PortfolioManager, desk: OrderDesk, asked: Asked) -> Intent:
    """Ask a desk for the order of a wish; see `PortfolioManager.submit` for the result.

    Raises:
        ValueError: a value is not valid; nothing is recorded or sent.
        TrueupError: as for `PortfolioManager.submit`.
    """
    wish, key = asked.wish, order_key(asked.key)
    said: dict[str, Any] = {"key": key, "why": asked.why, "who": asked.who}
    levels: dict[str, Any] = {"sl": wish.sl, "tp": wish.tp}
    match wish.action:
        case WishAction.OPEN:
            place: dict[str, Any] = {"symbol": wish.symbol} if wish.symbol else {}
            pending: dict[str, Any] = {"limit": wish.limit, "stop": wish.stop}
            # A side that is missing is refused by name, as any other that is not valid.
            side: Any = wish.side
            return desk.submit(side, wish.volume, **place, **pending, **levels, **said)
        case WishAction.CLOSE:
            return desk.close(wish.ticket, wish.volume or None, **said)
        case WishAction.MODIFY if _is_pending(pm.book, wish.ticket, key):
            price: dict[str, Any] = {"price": wish.limit} if wish.limit else {}
            return desk.modify_order(wish.ticket, **price, **levels, **said)
        case WishAction.MODIFY:
            if wish.limit:
                raise ValueError(
                    f"limit={wish.limit!r} is not valid: {wish.ticket} is no pending order of the "
                    "book, and a position has no price to change."
                )
            return desk.modify(wish.ticket, wish.sl, wish.tp, **said)
        case WishAction.CANCEL:
            return desk.cancel(wish.ticket, **said)


def _is_pending(book: Book, ticket: int, key: str) -> bool:
    """Return whether a ticket is that of a pending order, also if the order ended since."""
    first = book.by_key.get(key)
    return ticket in book.pending or (first is not None and first.kind is OrderKind.MODIFY_ORDER)


def checked(pm: PortfolioManager, asked: Asked) -> OrderWish:
    """Check a wish as the order desk would now; return the wish with all that it leaves out.

    Raises:
        ValueError, TrueupError: as for `ask`.
    """
    intent = ask(pm, CheckingDesk.beside(pm.desk), asked)
    wish = msgspec.structs.replace(asked.wish, symbol=intent.symbol)
    match wish.action:
        case WishAction.OPEN:
            return msgspec.structs.replace(
                wish, volume=intent.volume, sl=intent.sl, tp=intent.tp, **_level(wish, intent)
            )
        case WishAction.MODIFY:
            return msgspec.structs.replace(
                wish,
                side=_held_side(pm.book, wish.ticket),
                sl=intent.sl,
                tp=intent.tp,
                **_level(wish, intent),
            )
        case _:
            side = _held_side(pm.book, wish.ticket)
            return msgspec.structs.replace(wish, side=side, volume=intent.volume)


def _level(wish: OrderWish, intent: Order) -> dict[str, float]:
    """Return the price of a pending order as the desk rounded it."""
    return {name: intent.entry_price for name in ("limit", "stop") if getattr(wish, name)}


def _held_side(book: Book, ticket: int) -> Any:
    holding, pending = book.holding_by_ticket(ticket), book.pending.get(ticket)
    if holding is not None:
        return holding.position.side
    return None if pending is None else pending.order.type.side


def changed_since(book: Book, wish: OrderWish) -> str:
    """Return how the target of a proposal has changed since the proposal, or an empty string."""
    if not wish.ticket:
        return ""
    holding, pending = book.holding_by_ticket(wish.ticket), book.pending.get(wish.ticket)
    if holding is None and pending is None:
        return f"{wish.ticket} has left the book"
    if wish.side is not _held_side(book, wish.ticket):
        return f"{wish.ticket} is on the other side now"
    return ""
