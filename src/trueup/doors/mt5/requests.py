"""Read a trade request of the official module, and say it as an order of the order desk.

Fields and actions are MetaTrader's (MQL5 reference, MqlTradeRequest).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from trueup.core.book.terms import FillingWord
from trueup.core.model import Side
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.order_checks import CloseTerms, OrderChanges, Wish
from trueup.sim.market.structs import TradeRequest

KEY_PREFIX = "mt5:"
"""The beginning of the key of every order that came through this door."""

_FILLINGS: dict[int, FillingWord] = {
    mt5.ORDER_FILLING_FOK: "FOK",
    mt5.ORDER_FILLING_IOC: "IOC",
    mt5.ORDER_FILLING_RETURN: "RETURN",
    mt5.ORDER_FILLING_BOC: "BOC",
}
SIDES = {mt5.ORDER_TYPE_BUY: Side.BUY, mt5.ORDER_TYPE_SELL: Side.SELL}
LIMITS = {mt5.ORDER_TYPE_BUY_LIMIT: Side.BUY, mt5.ORDER_TYPE_SELL_LIMIT: Side.SELL}
STOPS = {mt5.ORDER_TYPE_BUY_STOP: Side.BUY, mt5.ORDER_TYPE_SELL_STOP: Side.SELL}
STOP_LIMITS = {
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: Side.BUY,
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: Side.SELL,
}
PENDING = {**LIMITS, **STOPS, **STOP_LIMITS}


class CannotSay(Exception):
    """The request has a value that no broker takes; `retcode` is MetaTrader's for that."""

    def __init__(self, text: str, retcode: int = mt5.TRADE_RETCODE_INVALID) -> None:
        super().__init__(text)
        self.retcode = retcode


def wanted_of(request: TradeRequest) -> str:
    """Return the mark of a request: equal for two requests that want the same, at any price.

    A program builds a new request with a new price for each attempt, so price, stops and deviation
    are left out.
    """
    wanted = (
        *(request.action, request.symbol, request.type, request.volume, request.magic),
        *(request.position, request.position_by, request.order, request.comment),
    )
    return hashlib.blake2b(repr(wanted).encode(errors="replace"), digest_size=8).hexdigest()


def key_prefix(request: TradeRequest) -> str:
    """Return the beginning of the keys of all orders that want the same as the request."""
    return f"{KEY_PREFIX}{wanted_of(request)}:"


def opens(request: TradeRequest) -> bool:
    """Return whether a request may open a position."""
    is_entry = request.action == mt5.TRADE_ACTION_DEAL and not request.position
    return is_entry or request.action == mt5.TRADE_ACTION_PENDING


def side_of(request: TradeRequest) -> Side:
    """Return the side of a market order or a pending order.

    Raises:
        CannotSay: the type does not fit the action.
    """
    types = PENDING if request.action == mt5.TRADE_ACTION_PENDING else SIDES
    if request.type not in types:
        raise CannotSay(f"type={request.type} does not fit action={request.action}")
    return types[request.type]


def terms_of(request: TradeRequest) -> Wish:
    """Return the terms of a request: deviation and filling, and the expiration of a pending order.

    A field that the program left out is 0 for the terminal too, so it is passed on as 0.

    Raises:
        CannotSay: the terminal does not know the value of a field.
    """
    wish = Wish(deviation=request.deviation, filling=_filling_of(request))
    if request.action == mt5.TRADE_ACTION_PENDING:
        expires = expires_of(request)
        if expires is not None:
            wish["expires"] = expires
    return wish


def close_terms(request: TradeRequest) -> CloseTerms:
    """Return the terms of an order that closes a position.

    Raises:
        CannotSay: the terminal does not know the value of a field.
    """
    return CloseTerms(
        deviation=request.deviation, filling=_filling_of(request), comment=request.comment
    )


def _filling_of(request: TradeRequest) -> FillingWord:
    if request.type_filling not in _FILLINGS:
        code = mt5.TRADE_RETCODE_INVALID_FILL
        raise CannotSay(f"type_filling={request.type_filling} is not known", code)
    return _FILLINGS[request.type_filling]


def expires_of(request: TradeRequest) -> Any:
    """Return the end of a pending order for `Wish.expires`; None for an order without an end.

    Raises:
        CannotSay: `type_time` is not known.
    """
    match request.type_time:
        case mt5.ORDER_TIME_GTC:
            return None
        case mt5.ORDER_TIME_DAY:
            return "day"
        case mt5.ORDER_TIME_SPECIFIED:
            return request.expiration
        case mt5.ORDER_TIME_SPECIFIED_DAY:
            # The trade server's day has no time zone of ours: its date alone counts.
            return dt.datetime.fromtimestamp(request.expiration, dt.UTC).date()
        case _:
            code = mt5.TRADE_RETCODE_INVALID_EXPIRATION
            raise CannotSay(f"type_time={request.type_time} is not known", code)


def entry_wish(request: TradeRequest) -> Wish:
    """Return a market order or a pending order as parameters of `PortfolioManager.submit`.

    Raises:
        CannotSay: a value is not valid; nothing was sent.
    """
    wish: Wish = {
        **terms_of(request),
        "symbol": request.symbol,
        "magic": request.magic,
        "comment": request.comment,
        "sl": request.sl,
        "tp": request.tp,
    }
    if request.action == mt5.TRADE_ACTION_DEAL:
        wish["price"] = request.price
    elif request.type in LIMITS:
        wish["limit"] = request.price
    elif request.type in STOPS:
        wish["stop"] = request.price
    else:
        # `price` is where the order becomes a limit order, at the price `stoplimit`.
        wish["stop"], wish["stoplimit"] = request.price, request.stoplimit
    return wish


def order_changes(request: TradeRequest) -> OrderChanges:
    """Return the changes of a pending order, for `PortfolioManager.modify_order`.

    Raises:
        CannotSay: a value is not valid; nothing was sent.
    """
    if request.price <= 0:
        raise CannotSay(f"price={request.price} is no price", mt5.TRADE_RETCODE_INVALID_PRICE)
    return OrderChanges(
        price=request.price,
        stoplimit=request.stoplimit,
        sl=request.sl,
        tp=request.tp,
        expires=expires_of(request) or "gtc",
    )
