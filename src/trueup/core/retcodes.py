"""Classify a trade server's return code, or a failed call, by the effect of the order.

The codes are MetaTrader 5's (MQL5 reference, "Trade Server Return Codes"; Python reference,
`last_error`). The classes are on the safe side: a code is *refused* only if nothing can have
happened, and any number that is not in the table is *unknown*.
"""

from __future__ import annotations

import enum

import msgspec


class Effect(enum.Enum):
    """The known effect of a request."""

    DONE = "done"
    DONE_PART = "done in part"
    PLACED = "placed"
    NOTHING_TO_DO = "the wanted state held already"
    REFUSED = "refused"
    REFUSED_STALE = "refused; what it was based on has changed"
    UNKNOWN = "unknown"


class Code(msgspec.Struct, frozen=True):
    """One code: its name in MetaTrader, its effect, and a few words for a person."""

    name: str
    effect: Effect
    words: str


RETCODES: dict[int, Code] = {
    10004: Code("REQUOTE", Effect.REFUSED, "the price is no longer valid"),
    10006: Code("REJECT", Effect.REFUSED, "rejected by the server or the dealer"),
    10007: Code("CANCEL", Effect.REFUSED, "cancelled by the trader or the dealer"),
    10008: Code("PLACED", Effect.PLACED, "placed, not yet executed"),
    10009: Code("DONE", Effect.DONE, "done"),
    10010: Code("DONE_PARTIAL", Effect.DONE_PART, "done in part"),
    10011: Code("ERROR", Effect.UNKNOWN, "processing error"),
    10012: Code("TIMEOUT", Effect.UNKNOWN, "timed out; a late fill is possible"),
    10013: Code("INVALID", Effect.REFUSED, "invalid request"),
    10014: Code("INVALID_VOLUME", Effect.REFUSED, "invalid volume"),
    10015: Code("INVALID_PRICE", Effect.REFUSED, "invalid price"),
    10016: Code("INVALID_STOPS", Effect.REFUSED, "invalid stops"),
    10017: Code("TRADE_DISABLED", Effect.REFUSED, "trading is disabled"),
    10018: Code("MARKET_CLOSED", Effect.REFUSED, "the market is closed"),
    10019: Code("NO_MONEY", Effect.REFUSED, "not enough money"),
    10020: Code("PRICE_CHANGED", Effect.REFUSED, "the price changed"),
    10021: Code("PRICE_OFF", Effect.REFUSED, "there are no quotes"),
    10022: Code("INVALID_EXPIRATION", Effect.REFUSED, "invalid expiration"),
    10023: Code("ORDER_CHANGED", Effect.REFUSED_STALE, "the order's state changed meanwhile"),
    10024: Code("TOO_MANY_REQUESTS", Effect.REFUSED, "too many requests"),
    10025: Code("NO_CHANGES", Effect.NOTHING_TO_DO, "nothing to change"),
    10026: Code(
        "SERVER_DISABLES_AT", Effect.REFUSED, "automated trading is disabled by the server"
    ),
    10027: Code(
        "CLIENT_DISABLES_AT", Effect.REFUSED, "automated trading is disabled in the terminal"
    ),
    10028: Code("LOCKED", Effect.REFUSED_STALE, "locked by another request"),
    10029: Code("FROZEN", Effect.REFUSED, "inside the freeze level"),
    10030: Code("INVALID_FILL", Effect.REFUSED, "the filling mode is not supported"),
    10031: Code("CONNECTION", Effect.UNKNOWN, "no connection to the trade server"),
    10032: Code("ONLY_REAL", Effect.REFUSED, "allowed for real accounts only"),
    10033: Code("LIMIT_ORDERS", Effect.REFUSED, "the limit of pending orders is reached"),
    10034: Code("LIMIT_VOLUME", Effect.REFUSED, "the volume limit of the symbol is reached"),
    10035: Code("INVALID_ORDER", Effect.REFUSED, "wrong or prohibited order type"),
    10036: Code("POSITION_CLOSED", Effect.NOTHING_TO_DO, "the position is closed already"),
    10038: Code("INVALID_CLOSE_VOLUME", Effect.REFUSED, "the close volume exceeds the position"),
    10039: Code("CLOSE_ORDER_EXIST", Effect.REFUSED_STALE, "a close order exists already"),
    10040: Code("LIMIT_POSITIONS", Effect.REFUSED, "the limit of positions is reached"),
    10041: Code(
        "REJECT_CANCEL", Effect.REFUSED, "the activation was rejected, the order is cancelled"
    ),
    10042: Code("LONG_ONLY", Effect.REFUSED, "only long positions are allowed"),
    10043: Code("SHORT_ONLY", Effect.REFUSED, "only short positions are allowed"),
    10044: Code("CLOSE_ONLY", Effect.REFUSED, "only closing is allowed"),
    10045: Code("FIFO_CLOSE", Effect.REFUSED, "only closing in order of opening is allowed"),
    10046: Code("HEDGE_PROHIBITED", Effect.REFUSED, "opposite positions are prohibited"),
}

# `order_send` returned None: `last_error()` shows why, and so whether the request can have left.
LAST_ERRORS: dict[int, Code] = {
    -1: Code("RES_E_FAIL", Effect.UNKNOWN, "the call failed at a stage not known"),
    -2: Code("RES_E_INVALID_PARAMS", Effect.REFUSED, "the request was refused before it was sent"),
    -3: Code("RES_E_NO_MEMORY", Effect.UNKNOWN, "out of memory at a stage not known"),
    -4: Code("RES_E_NOT_FOUND", Effect.REFUSED, "not found in the terminal"),
    -5: Code("RES_E_INVALID_VERSION", Effect.REFUSED, "terminal and module do not fit"),
    -6: Code("RES_E_AUTH_FAILED", Effect.REFUSED, "the terminal is not authorised"),
    -7: Code("RES_E_UNSUPPORTED", Effect.REFUSED, "the terminal does not support it"),
    -8: Code(
        "RES_E_AUTO_TRADING_DISABLED", Effect.REFUSED, "trading through Python is switched off"
    ),
    -10000: Code("RES_E_INTERNAL_FAIL", Effect.UNKNOWN, "the answer was out of step"),
    -10001: Code("RES_E_INTERNAL_FAIL_SEND", Effect.UNKNOWN, "the request was perhaps written"),
    -10002: Code("RES_E_INTERNAL_FAIL_RECEIVE", Effect.UNKNOWN, "the answer was lost"),
    -10003: Code("RES_E_INTERNAL_FAIL_INIT", Effect.REFUSED, "the terminal could not be reached"),
    -10004: Code("RES_E_INTERNAL_FAIL_CONNECT", Effect.REFUSED, "no connection to the terminal"),
    -10005: Code("RES_E_INTERNAL_FAIL_TIMEOUT", Effect.UNKNOWN, "the terminal did not answer"),
}


def classify_retcode(retcode: int) -> Code:
    """Return the meaning of a trade server's return code; unknown for a number not listed."""
    return RETCODES.get(retcode) or Code(str(retcode), Effect.UNKNOWN, "a code not known")


def classify_last_error(code: int) -> Code:
    """Return the meaning of `last_error()` after `order_send` gave None; 1 (success) is unknown."""
    return LAST_ERRORS.get(code) or Code(str(code), Effect.UNKNOWN, "a failure not known")
