"""What a trade server's return code, or a failed call, says about an order's effect.

The codes are MetaTrader 5's (MQL5 reference, "Trade Server Return Codes"; Python reference,
`last_error`). The classes are judged on the safe side: only where nothing can have happened is a
code *refused*, and any number that is not in the table is *unknown*.
"""

from __future__ import annotations

import enum

import msgspec


class Effect(enum.Enum):
    """What is known about the effect of a request."""

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


def _refused(name: str, words: str) -> Code:
    return Code(name, Effect.REFUSED, words)


RETCODES: dict[int, Code] = {
    10004: _refused("REQUOTE", "the price is no longer valid"),
    10006: _refused("REJECT", "rejected by the server or the dealer"),
    10007: _refused("CANCEL", "cancelled by the trader or the dealer"),
    10008: Code("PLACED", Effect.PLACED, "placed, not yet executed"),
    10009: Code("DONE", Effect.DONE, "done"),
    10010: Code("DONE_PARTIAL", Effect.DONE_PART, "done in part"),
    10011: Code("ERROR", Effect.UNKNOWN, "processing error"),
    10012: Code("TIMEOUT", Effect.UNKNOWN, "timed out; a late fill is possible"),
    10013: _refused("INVALID", "invalid request"),
    10014: _refused("INVALID_VOLUME", "invalid volume"),
    10015: _refused("INVALID_PRICE", "invalid price"),
    10016: _refused("INVALID_STOPS", "invalid stops"),
    10017: _refused("TRADE_DISABLED", "trading is disabled"),
    10018: _refused("MARKET_CLOSED", "the market is closed"),
    10019: _refused("NO_MONEY", "not enough money"),
    10020: _refused("PRICE_CHANGED", "the price changed"),
    10021: _refused("PRICE_OFF", "there are no quotes"),
    10022: _refused("INVALID_EXPIRATION", "invalid expiration"),
    10023: Code("ORDER_CHANGED", Effect.REFUSED_STALE, "the order's state changed meanwhile"),
    10024: _refused("TOO_MANY_REQUESTS", "too many requests"),
    10025: Code("NO_CHANGES", Effect.NOTHING_TO_DO, "nothing to change"),
    10026: _refused("SERVER_DISABLES_AT", "automated trading is disabled by the server"),
    10027: _refused("CLIENT_DISABLES_AT", "automated trading is disabled in the terminal"),
    10028: Code("LOCKED", Effect.REFUSED_STALE, "locked by another request"),
    10029: _refused("FROZEN", "inside the freeze level"),
    10030: _refused("INVALID_FILL", "the filling mode is not supported"),
    10031: Code("CONNECTION", Effect.UNKNOWN, "no connection to the trade server"),
    10032: _refused("ONLY_REAL", "allowed for real accounts only"),
    10033: _refused("LIMIT_ORDERS", "the limit of pending orders is reached"),
    10034: _refused("LIMIT_VOLUME", "the volume limit of the symbol is reached"),
    10035: _refused("INVALID_ORDER", "wrong or prohibited order type"),
    10036: Code("POSITION_CLOSED", Effect.NOTHING_TO_DO, "the position is closed already"),
    10038: _refused("INVALID_CLOSE_VOLUME", "the close volume exceeds the position"),
    10039: Code("CLOSE_ORDER_EXIST", Effect.REFUSED_STALE, "a close order exists already"),
    10040: _refused("LIMIT_POSITIONS", "the limit of positions is reached"),
    10041: _refused("REJECT_CANCEL", "the activation was rejected, the order is cancelled"),
    10042: _refused("LONG_ONLY", "only long positions are allowed"),
    10043: _refused("SHORT_ONLY", "only short positions are allowed"),
    10044: _refused("CLOSE_ONLY", "only closing is allowed"),
    10045: _refused("FIFO_CLOSE", "only closing in order of opening is allowed"),
    10046: _refused("HEDGE_PROHIBITED", "opposite positions are prohibited"),
}

# `order_send` returned None: `last_error()` says why, and so whether anything can have left.
LAST_ERRORS: dict[int, Code] = {
    -1: Code("RES_E_FAIL", Effect.UNKNOWN, "the call failed at a stage not known"),
    -2: _refused("RES_E_INVALID_PARAMS", "the request was refused before it was sent"),
    -3: Code("RES_E_NO_MEMORY", Effect.UNKNOWN, "out of memory at a stage not known"),
    -4: _refused("RES_E_NOT_FOUND", "not found in the terminal"),
    -5: _refused("RES_E_INVALID_VERSION", "terminal and module do not fit"),
    -6: _refused("RES_E_AUTH_FAILED", "the terminal is not authorised"),
    -7: _refused("RES_E_UNSUPPORTED", "the terminal does not support it"),
    -8: _refused("RES_E_AUTO_TRADING_DISABLED", "trading through Python is switched off"),
    -10000: Code("RES_E_INTERNAL_FAIL", Effect.UNKNOWN, "the answer was out of step"),
    -10001: Code("RES_E_INTERNAL_FAIL_SEND", Effect.UNKNOWN, "the request was perhaps written"),
    -10002: Code("RES_E_INTERNAL_FAIL_RECEIVE", Effect.UNKNOWN, "the answer was lost"),
    -10003: _refused("RES_E_INTERNAL_FAIL_INIT", "the terminal could not be reached"),
    -10004: _refused("RES_E_INTERNAL_FAIL_CONNECT", "no connection to the terminal"),
    -10005: Code("RES_E_INTERNAL_FAIL_TIMEOUT", Effect.UNKNOWN, "the terminal did not answer"),
}


def classify_retcode(retcode: int) -> Code:
    """Return what a trade server's return code means; unknown for a number not listed."""
    return RETCODES.get(retcode) or Code(str(retcode), Effect.UNKNOWN, "a code not known")


def classify_last_error(code: int) -> Code:
    """Return what `last_error()` means after `order_send` returned None; 1 (success) is unknown."""
    return LAST_ERRORS.get(code) or Code(str(code), Effect.UNKNOWN, "a failure not known")
