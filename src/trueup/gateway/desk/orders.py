"""Carry out orders: build the `order_send` request, and interpret its result.

An order that was passed to the terminal and has no certain outcome is UNKNOWN, never REJECTED.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from trueup.core.quantity import FINEST_STEP, add_lots
from trueup.core.retcodes import Effect, classify_last_error, classify_retcode
from trueup.gateway.client.other_dialect import CannotClose, closing_order
from trueup.gateway.reading.rows import text_of
from trueup.gateway.reading.symbol_check import SymbolCheck
from trueup.gateway.record.at_most_once import RequestRecord
from trueup.gateway.record.investigate import Sending
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.account_look import AccountLook
from trueup.gateway.terminal.call_wire import RAISED
from trueup.gateway.terminal.terminal import (
    OrderSendResult,
    SymbolInfo,
    Terminal,
    Tick,
    TradeDeal,
)
from trueup.logs import Logger, logger
from trueup.protocol.requests import CHANGES, ModuleResult, OrderReply, Request, Status

log: Logger = logger("trueup.desk")

# Maximum deviation from the quoted price, in points, before the broker refuses an order; only
# symbols with request or instant execution use it.
DEVIATION_POINTS = 20
COMMENT_CHARS = 29
_FILLINGS = {
    "FOK": mt5.ORDER_FILLING_FOK,
    "IOC": mt5.ORDER_FILLING_IOC,
    "RETURN": mt5.ORDER_FILLING_RETURN,
    "BOC": mt5.ORDER_FILLING_BOC,
}
_TIMES = {
    "GTC": mt5.ORDER_TIME_GTC,
    "DAY": mt5.ORDER_TIME_DAY,
    "SPECIFIED": mt5.ORDER_TIME_SPECIFIED,
    "SPECIFIED_DAY": mt5.ORDER_TIME_SPECIFIED_DAY,
}


class Orders:
    """Has orders carried out by one terminal.

    Args:
        terminal: executes the orders.
        record: ensures that each order is passed to the terminal at most once.
        symbols: tells which symbols the broker does not have.
    """

    def __init__(self, terminal: Terminal, record: RequestRecord, symbols: SymbolCheck) -> None:
        self._terminal, self._record, self._symbols = terminal, record, symbols

    def no_quotes(self, symbol: str) -> str:
        """Return the error text for a symbol without a quotation; call right after `quote`."""
        return f"no quotes for {symbol}: {self._terminal.last_error()}"

    def quote(self, symbol: str) -> Tick | None:
        """Return a symbol's latest quotation, or None if there is none."""
        tick = self._terminal.symbol_info_tick(symbol)
        if tick is not None and tick.bid:
            return tick
        # A symbol outside Market Watch has no quotes until it is selected.
        if not self._terminal.symbol_select(symbol, True):
            return None
        tick = self._terminal.symbol_info_tick(symbol)
        return tick if tick is not None and tick.bid else None

    def carry_out(
        self, request: Request, look: AccountLook, may_see: Callable[[int], bool]
    ) -> OrderReply:
        """Carry out an order at most once; return its outcome as far as it is known.

        Args:
            request: the order.
            look: reads the account that the terminal is logged in to.
            may_see: whether the sender may see orders of an account (login).
        """
        _log("gateway.order", request, "came")
        reply = self._record.once(
            request,
            look.account(),
            lambda: self._sending(request, look),
            lambda message: self._send(request, message),
            may_see,
        )
        _log("gateway.outcome", request, reply.status, reply)
        return reply

    def _sending(self, request: Request, look: AccountLook) -> Sending | OrderReply:
        """Return the arguments for `order_send`, or the refusal if they cannot be determined."""
        if request.action == "MODIFY_ORDER":
            return self._modification(request)
        if request.action in CHANGES:
            return Sending(change_request(request))
        if request.action == "CLOSE_BY":
            # The quotation dates the order, for a search after a lost answer.
            quoted = self.quote(request.symbol)
            return Sending(close_by_request(request), 0 if quoted is None else quoted.time_msc)
        # An order to close names a position only: look up its symbol, side and volume.
        if request.action == "CLOSE":
            try:
                request = closing_order(request, self._terminal)
            except CannotClose as error:
                return OrderReply(request.order_id, "REJECTED", error=str(error))
        # Without symbol data the filling mode, and without a quotation the price, would be a guess.
        made = look.symbol_and_price(request.symbol)
        spec, failure = next(made)
        if spec is None:
            why = self._symbols.why_not(request.symbol, failure)
            return OrderReply(request.order_id, "REJECTED", error=f"not sent: {why}")
        tick, _ = next(made)
        tick = tick if tick is not None and tick.bid else self.quote(request.symbol)
        if tick is None:
            why = self.no_quotes(request.symbol)
            return OrderReply(request.order_id, "REJECTED", error=f"not sent: {why}")
        if request.type == "market":
            return Sending(trade_request(request, spec, tick), tick.time_msc)
        # Note which orders exist before sending: a new ticket then identifies a lost pending order.
        working = self._terminal.orders_get(symbol=request.symbol)
        if working is None:
            why = f"orders_get failed for {request.symbol}: {self._terminal.last_error()}"
            return OrderReply(request.order_id, "REJECTED", error=f"not sent: {why}")
        tickets = tuple(order.ticket for order in working)
        return Sending(pending_request(request, spec, tick), tick.time_msc, tickets)

    def _modification(self, request: Request) -> Sending | OrderReply:
        """Return the modification of a pending order.

        The request of the official module overwrites every field, so an order that is to end when
        it would have ended before must say so again.
        """
        if request.type_time:
            return Sending(modification_request(request))
        listed = self._terminal.orders_get(ticket=request.order)
        if not listed:
            why = f"the terminal lists no pending order {request.order}"
            if listed is None:
                why = f"orders_get failed: {self._terminal.last_error()}"
            return OrderReply(request.order_id, "REJECTED", error=f"not sent: {why}")
        kept = listed[0]
        dated = kept.type_time in (mt5.ORDER_TIME_SPECIFIED, mt5.ORDER_TIME_SPECIFIED_DAY)
        times = {
            "type_time": kept.type_time,
            "expiration": kept.time_expiration if dated else 0,
        }
        return Sending({**modification_request(request), **times})

    def _send(self, request: Request, message: dict[str, Any]) -> OrderReply:
        try:
            result = self._terminal.order_send(message)
        except RAISED as error:
            # MetaTrader5 may raise before or after sending, so the outcome is not known.
            return OrderReply(request.order_id, "UNKNOWN", error=f"order_send failed: {error}")
        if result is None:
            return self._no_result(request.order_id)
        reply = self._outcome(request, message, result)
        if request.with_result:
            reply.result = _fields_of(result)
        return reply

    def _no_result(self, order_id: str) -> OrderReply:
        code, text = self._terminal.last_error()
        verdict = classify_last_error(code)
        words = f"{verdict.words} ({code} {text_of(text)})"
        if verdict.effect is Effect.REFUSED:
            return OrderReply(order_id, "REJECTED", error=f"not sent: {words}")
        return OrderReply(order_id, "UNKNOWN", error=words)

    def _outcome(
        self, request: Request, message: dict[str, Any], result: OrderSendResult
    ) -> OrderReply:
        verdict = classify_retcode(result.retcode)
        error = f"{verdict.words} ({result.retcode} {verdict.name})"

        def reply(status: Status, error: str | None = None) -> OrderReply:
            ticket = result.order or None
            return OrderReply(request.order_id, status, ticket, error=error, retcode=result.retcode)

        match verdict.effect:
            case Effect.DONE | Effect.DONE_PART if request.action in CHANGES:
                return reply("DONE")
            case Effect.DONE | Effect.DONE_PART if request.type != "market":
                return reply("PLACED")
            case Effect.DONE | Effect.DONE_PART:
                return self._fill(request, message, result)
            case Effect.NOTHING_TO_DO if (
                request.action in ("MODIFY", "MODIFY_ORDER")
                and result.retcode == mt5.TRADE_RETCODE_NO_CHANGES
            ):
                # "No changes" means that the requested levels are there already.
                return reply("DONE")
            case Effect.NOTHING_TO_DO | Effect.REFUSED | Effect.REFUSED_STALE:
                return reply("REJECTED", error)
            case Effect.PLACED | Effect.UNKNOWN:
                # PLACED: the server has the order and has not executed it yet.
                return reply("UNKNOWN", error)
            case _:
                assert_never(verdict.effect)

    def _fill(
        self, request: Request, message: dict[str, Any], result: OrderSendResult
    ) -> OrderReply:
        volume, price = result.volume, result.price
        if not volume or not price:
            # An early answer may lack both (MT5 reference, MqlTradeResult); the deal has them.
            deal = self._deal(result)
            if deal is None:
                return OrderReply(
                    request.order_id,
                    "UNKNOWN",
                    ticket=result.order,
                    error="done, and its price is not known yet",
                    retcode=result.retcode,
                )
            volume, price = deal.volume, deal.price
        return OrderReply(
            request.order_id,
            "FILLED",
            ticket=result.order,
            filled_price=price,
            filled_volume=volume,
            deal=result.deal,
            retcode=result.retcode,
            rest_works=True if _rest_works(message, volume) else msgspec.UNSET,
        )

    def _deal(self, result: OrderSendResult) -> TradeDeal | None:
        """Return the deal that the answer names, if the history has it already.

        The `ticket` argument of `history_deals_get` is either the deal's or the order's number
        (documentation and public code differ). So both are tried and the deal is compared.
        """
        for number in (result.deal, result.order):
            for deal in self._terminal.history_deals_get(ticket=number) or ():
                if deal.ticket == result.deal:
                    return deal
        return None


def _rest_works(message: dict[str, Any], filled: float) -> bool:
    """Return whether the broker works on after it has filled `filled` lots of an order.

    The rest of an order that is filled in part works on with RETURN filling, and is cancelled with
    every other (MQL5 reference, order filling).
    """
    stays = message.get("type_filling") == mt5.ORDER_FILLING_RETURN
    return stays and add_lots(message["volume"], -filled) >= FINEST_STEP


def _log(event: str, request: Request, words: str, reply: OrderReply | None = None) -> None:
    """Log a step of an order; only a log in JSON has these lines."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    facts: dict[str, Any] = {
        "event": event,
        "order_id": request.order_id,
        "action": request.action,
        "symbol": request.symbol,
        "volume": request.volume,
        "magic": request.magic,
    }
    if reply is not None:
        names = ("ticket", "deal", "filled_price", "retcode", "error", "repeated")
        facts |= {name: getattr(reply, name) or None for name in names}
    log.debug("[DESK] Order %s: %s", request.order_id, words, extra=facts)


def trade_request(request: Request, spec: SymbolInfo, tick: Tick) -> dict[str, Any]:
    """Return a market order for `order_send`: int for whole numbers, float for all others."""
    buys = request.action == "BUY"
    return {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": request.symbol,
        "volume": float(request.volume),
        "type": mt5.ORDER_TYPE_BUY if buys else mt5.ORDER_TYPE_SELL,
        "price": _market_price(request, tick),
        "deviation": DEVIATION_POINTS if request.deviation is None else request.deviation,
        "type_filling": _FILLINGS.get(request.type_filling, filling(spec)),
        "position": request.position,
        "sl": float(request.sl),
        "tp": float(request.tp),
        "magic": request.magic,
        "comment": (request.comment or request.order_id)[:COMMENT_CHARS],
    }


def _market_price(request: Request, tick: Tick) -> float:
    """Return the price of a market order.

    A deviation is measured from the price that the caller saw, if the caller gave both.
    """
    if request.deviation is not None and request.price:
        return float(request.price)
    return float(tick.ask if request.action == "BUY" else tick.bid)


def _fields_of(result: OrderSendResult) -> ModuleResult:
    return ModuleResult(
        retcode=result.retcode,
        deal=result.deal,
        order=result.order,
        volume=result.volume,
        price=result.price,
        bid=result.bid,
        ask=result.ask,
        comment=text_of(result.comment),
        request_id=result.request_id,
        retcode_external=result.retcode_external,
    )


def pending_request(request: Request, spec: SymbolInfo, tick: Tick) -> dict[str, Any]:
    """Return a pending order for `order_send`, by default good till cancelled."""
    kinds = {
        ("BUY", "limit"): mt5.ORDER_TYPE_BUY_LIMIT,
        ("SELL", "limit"): mt5.ORDER_TYPE_SELL_LIMIT,
        ("BUY", "stop"): mt5.ORDER_TYPE_BUY_STOP,
        ("SELL", "stop"): mt5.ORDER_TYPE_SELL_STOP,
        ("BUY", "stop_limit"): mt5.ORDER_TYPE_BUY_STOP_LIMIT,
        ("SELL", "stop_limit"): mt5.ORDER_TYPE_SELL_STOP_LIMIT,
    }
    second = {"stoplimit": float(request.stoplimit)} if request.stoplimit else {}
    return {
        **trade_request(request, spec, tick),
        **second,
        "action": mt5.TRADE_ACTION_PENDING,
        "type": kinds[request.action, request.type],
        "price": float(request.price),
        "type_filling": _FILLINGS.get(request.type_filling, mt5.ORDER_FILLING_RETURN),
        "type_time": _TIMES.get(request.type_time, mt5.ORDER_TIME_GTC),
        "expiration": request.expiration,
    }


def change_request(request: Request) -> dict[str, Any]:
    """Return a change of stops, or the cancelling of a pending order, for `order_send`."""
    if request.action == "CANCEL":
        return {"action": mt5.TRADE_ACTION_REMOVE, "order": request.order}
    return {
        "action": mt5.TRADE_ACTION_SLTP,
        "symbol": request.symbol,
        "position": request.position,
        "sl": float(request.sl),
        "tp": float(request.tp),
    }


def close_by_request(request: Request) -> dict[str, Any]:
    """Return a close of two opposite positions by each other for `order_send`."""
    return {
        "action": mt5.TRADE_ACTION_CLOSE_BY,
        "position": request.position,
        "position_by": request.position_by,
        "magic": request.magic,
        "comment": (request.comment or request.order_id)[:COMMENT_CHARS],
    }


def modification_request(request: Request) -> dict[str, Any]:
    """Return a modification of a pending order for `order_send`; all its fields are overwritten."""
    return {
        "action": mt5.TRADE_ACTION_MODIFY,
        "order": request.order,
        "price": float(request.price),
        "stoplimit": float(request.stoplimit),
        "sl": float(request.sl),
        "tp": float(request.tp),
        "type_time": _TIMES.get(request.type_time, mt5.ORDER_TIME_GTC),
        "expiration": request.expiration,
    }


def filling(spec: SymbolInfo) -> int:
    """Return a filling mode that the symbol's execution mode allows (MT5 reference)."""
    if spec.trade_exemode == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE:
        return mt5.ORDER_FILLING_RETURN
    if spec.trade_exemode == mt5.SYMBOL_TRADE_EXECUTION_MARKET:
        fok = spec.filling_mode & mt5.SYMBOL_FILLING_FOK
        return mt5.ORDER_FILLING_FOK if fok else mt5.ORDER_FILLING_IOC
    return mt5.ORDER_FILLING_FOK
