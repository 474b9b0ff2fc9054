"""Validation rules of the trade server and the terminal, one rule per function.

Each function returns or raises `Refusal` with the return code of the MT5 reference (trade server
return codes; symbol properties for the limits).
"""

from __future__ import annotations

import math

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import holdings
from trueup.sim.broker.desk import Desk
from trueup.sim.market.market import Mark, price_units, steps_of
from trueup.sim.market.records import STOP_LIMIT_TYPES, Order, Position, Refusal
from trueup.sim.market.structs import TradeRequest
from trueup.sim.market.symbols import SymbolSetup

_IGNORES_PRICE = frozenset({mt5.SYMBOL_TRADE_EXECUTION_MARKET, mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE})
_FILLING_BITS = {
    mt5.ORDER_FILLING_FOK: mt5.SYMBOL_FILLING_FOK,
    mt5.ORDER_FILLING_IOC: mt5.SYMBOL_FILLING_IOC,
    mt5.ORDER_FILLING_BOC: mt5.SYMBOL_FILLING_BOC,
}
_EXPIRATION_BITS = {
    mt5.ORDER_TIME_GTC: mt5.SYMBOL_EXPIRATION_GTC,
    mt5.ORDER_TIME_DAY: mt5.SYMBOL_EXPIRATION_DAY,
    mt5.ORDER_TIME_SPECIFIED: mt5.SYMBOL_EXPIRATION_SPECIFIED,
    mt5.ORDER_TIME_SPECIFIED_DAY: mt5.SYMBOL_EXPIRATION_SPECIFIED_DAY,
}
_DATED = frozenset({mt5.ORDER_TIME_SPECIFIED, mt5.ORDER_TIME_SPECIFIED_DAY})
_ORDER_BITS = {
    mt5.ORDER_TYPE_BUY: mt5.SYMBOL_ORDER_MARKET,
    mt5.ORDER_TYPE_SELL: mt5.SYMBOL_ORDER_MARKET,
    mt5.ORDER_TYPE_BUY_LIMIT: mt5.SYMBOL_ORDER_LIMIT,
    mt5.ORDER_TYPE_SELL_LIMIT: mt5.SYMBOL_ORDER_LIMIT,
    mt5.ORDER_TYPE_BUY_STOP: mt5.SYMBOL_ORDER_STOP,
    mt5.ORDER_TYPE_SELL_STOP: mt5.SYMBOL_ORDER_STOP,
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: mt5.SYMBOL_ORDER_STOP_LIMIT,
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: mt5.SYMBOL_ORDER_STOP_LIMIT,
    mt5.ORDER_TYPE_CLOSE_BY: mt5.SYMBOL_ORDER_CLOSEBY,
}


def volume(setup: SymbolSetup, lots: float) -> int:
    """Return the volume in whole steps, or refuse it (10014)."""
    try:
        steps = steps_of(lots, setup.volume_step)
    except ValueError:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_VOLUME) from None
    lowest = steps_of(setup.volume_min, setup.volume_step)
    if steps % setup.order_steps:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_VOLUME)
    if not lowest <= steps <= round(setup.volume_max / setup.volume_step):
        raise Refusal(mt5.TRADE_RETCODE_INVALID_VOLUME)
    return steps


def filling(setup: SymbolSetup, mode: int, *, pending: bool) -> None:
    """Refuse a filling mode that the symbol's execution does not know (10030)."""
    if mode == mt5.ORDER_FILLING_RETURN:
        allowed = pending or setup.execution != mt5.SYMBOL_TRADE_EXECUTION_MARKET
    elif mode not in _FILLING_BITS:
        allowed = False
    elif setup.execution in _IGNORES_PRICE:
        allowed = bool(setup.filling_mode & _FILLING_BITS[mode])
    else:
        # Request and instant execution do not consult the mask; BOC is for exchanges.
        allowed = mode != mt5.ORDER_FILLING_BOC
    if not allowed:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_FILL)


def order_type(setup: SymbolSetup, kind: int) -> None:
    """Refuse an order type that the symbol does not take (10035)."""
    if not setup.order_mode & _ORDER_BITS[kind]:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)


def direction(setup: SymbolSetup, *, is_buy: bool, opens: bool) -> None:
    """Refuse an order that the symbol's trade mode forbids (10017, 10042, 10043, 10044)."""
    mode = setup.trade_mode
    if mode == mt5.SYMBOL_TRADE_MODE_DISABLED:
        raise Refusal(mt5.TRADE_RETCODE_TRADE_DISABLED)
    if not opens:
        return
    if mode == mt5.SYMBOL_TRADE_MODE_CLOSEONLY:
        raise Refusal(mt5.TRADE_RETCODE_CLOSE_ONLY)
    if mode == mt5.SYMBOL_TRADE_MODE_LONGONLY and not is_buy:
        raise Refusal(mt5.TRADE_RETCODE_LONG_ONLY)
    if mode == mt5.SYMBOL_TRADE_MODE_SHORTONLY and is_buy:
        raise Refusal(mt5.TRADE_RETCODE_SHORT_ONLY)


def session(desk: Desk, symbol: str) -> None:
    """Refuse a request while the symbol's market is closed (10018)."""
    if symbol in desk.market.closed:
        raise Refusal(mt5.TRADE_RETCODE_MARKET_CLOSED)


def prices_exist(desk: Desk, symbol: str) -> None:
    """Refuse a request for a symbol without a price (10021)."""
    if not desk.market.quotes[symbol].is_live:
        raise Refusal(mt5.TRADE_RETCODE_PRICE_OFF)


def requested_price(mark: Mark, request: TradeRequest, *, is_buy: bool) -> None:
    """Request and instant execution: refuse a price that the market has left (10004, 10015)."""
    if mark.setup.execution in _IGNORES_PRICE:
        return
    if not 0.0 < request.price < math.inf:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)
    distance = abs(request.price - mark.price(is_buy)) / mark.setup.point
    if distance > request.deviation + 1e-6:
        raise Refusal(mt5.TRADE_RETCODE_REQUOTE)


def on_tick_grid(setup: SymbolSetup, price: float) -> bool:
    """Return whether a price is a whole number of ticks."""
    if not 0.0 <= price < math.inf:
        return False
    ticks = price / setup.tick_size
    return abs(ticks - round(ticks)) < 1e-4


def stops(setup: SymbolSetup, *, is_buy: bool, price: float, sl: float, tp: float) -> None:
    """Refuse levels on the wrong side of `price`, too near to `price`, or off the grid (10016).

    `price` is the current closing price of the position, or the price of a pending order.
    """
    if not (on_tick_grid(setup, sl) and on_tick_grid(setup, tp)):
        raise Refusal(mt5.TRADE_RETCODE_INVALID_STOPS)
    if sl and not setup.order_mode & mt5.SYMBOL_ORDER_SL:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
    if tp and not setup.order_mode & mt5.SYMBOL_ORDER_TP:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_ORDER)
    sign = 1.0 if is_buy else -1.0
    for level, distance in ((sl, sign * (price - sl)), (tp, sign * (tp - price))):
        if level and (distance <= 0.0 or distance / setup.point < setup.stops_level - 1e-6):
            raise Refusal(mt5.TRADE_RETCODE_INVALID_STOPS)


def pending_price(mark: Mark, request: TradeRequest) -> None:
    """Refuse a pending price that the market has passed or that is too near (10015)."""
    setup, price, kind = mark.setup, request.price, request.type
    # 0.0 is on the grid, and a pending order needs a price.
    if not price or not on_tick_grid(setup, price) or not on_tick_grid(setup, request.stoplimit):
        raise Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)
    distance = {
        mt5.ORDER_TYPE_BUY_LIMIT: mark.ask - price,
        mt5.ORDER_TYPE_SELL_LIMIT: price - mark.bid,
        mt5.ORDER_TYPE_BUY_STOP: price - mark.ask,
        mt5.ORDER_TYPE_SELL_STOP: mark.bid - price,
        mt5.ORDER_TYPE_BUY_STOP_LIMIT: price - mark.ask,
        mt5.ORDER_TYPE_SELL_STOP_LIMIT: mark.bid - price,
    }[kind]
    # The tolerance accepts a price exactly at the stops level in spite of binary fractions.
    if distance <= 0.0 or distance / setup.point < setup.stops_level - 1e-6:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)
    if kind in STOP_LIMIT_TYPES:
        buys = kind == mt5.ORDER_TYPE_BUY_STOP_LIMIT
        fits = request.stoplimit <= price if buys else request.stoplimit >= price
        if not (request.stoplimit and fits):
            raise Refusal(mt5.TRADE_RETCODE_INVALID_PRICE)


def expiration(desk: Desk, setup: SymbolSetup, type_time: int, seconds: int) -> None:
    """Refuse a lifetime that the symbol does not allow or that has ended (10022)."""
    bit = _EXPIRATION_BITS.get(type_time, 0)
    if not setup.expiration_mode & bit:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_EXPIRATION)
    if type_time in _DATED and seconds * 1000 <= desk.clock.server_msc():
        raise Refusal(mt5.TRADE_RETCODE_INVALID_EXPIRATION)


def frozen(mark: Mark, *, closing_price: float, levels: tuple[float, ...]) -> None:
    """Refuse to change levels that lie within the freeze level of the market (10029)."""
    reach = mark.setup.freeze_level * mark.setup.point
    if reach and any(level and abs(closing_price - level) <= reach for level in levels):
        raise Refusal(mt5.TRADE_RETCODE_FROZEN)


def target(desk: Desk, ticket: int, symbol: str) -> Position:
    """Return the open position with this ticket, or refuse (10036 closed, 10013 unknown)."""
    position = desk.ledger.position_by_ticket(ticket)
    if position is None:
        was_open = ticket in desk.ledger.tickets_ever
        raise Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED if was_open else mt5.TRADE_RETCODE_INVALID)
    if symbol and position.symbol != symbol:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    return position


def close(desk: Desk, position: Position, *, is_buy: bool, steps: int) -> None:
    """Refuse a close that does not fit its position (10013, 10038, 10039, 10045)."""
    if is_buy == position.is_buy:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    if steps > position.steps:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME)
    if any(order.closes == position.identifier for order in desk.ledger.orders.values()):
        raise Refusal(mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST)
    fifo(desk, position)


def fifo(desk: Desk, position: Position) -> None:
    """Refuse to close a newer position first on a first-in-first-out account (10045)."""
    if not desk.setup.fifo_close or desk.setup.is_netting:
        return
    held = desk.ledger.held.of_symbol(position.symbol)
    if min(held, key=lambda one: (one.time_msc, one.identifier)) is not position:
        raise Refusal(mt5.TRADE_RETCODE_FIFO_CLOSE)


def hedging(desk: Desk, symbol: str, *, is_buy: bool) -> None:
    """Refuse the opposite side of an open position if the account forbids hedging (10046)."""
    if not desk.setup.hedge_prohibited or desk.setup.is_netting:
        return
    if any(one.is_buy != is_buy for one in desk.ledger.held.of_symbol(symbol)):
        raise Refusal(mt5.TRADE_RETCODE_HEDGE_PROHIBITED)


def limits(desk: Desk, setup: SymbolSetup, *, is_buy: bool, steps: int) -> None:
    """Refuse an order above the limits for positions (10040) or the symbol's volume (10034)."""
    ledger, most = desk.ledger, desk.setup.limit_positions
    if most:
        # A netting account has one position per symbol, and the new order may join an open one.
        if desk.setup.is_netting:
            symbols = {one.symbol for one in ledger.positions.values()} | {setup.name}
            count = len(symbols) - 1
        else:
            # Pending orders count too when hedging (10040 in the return codes).
            count = len(ledger.positions) + len(ledger.orders)
        if count >= most:
            raise Refusal(mt5.TRADE_RETCODE_LIMIT_POSITIONS)
    if setup.volume_limit:
        # Working orders of the same side count: they can still fill.
        exposure = ledger.held.by_symbol.get(setup.name)
        side = mt5.POSITION_TYPE_BUY if is_buy else mt5.POSITION_TYPE_SELL
        total = steps + (exposure.steps[side] if exposure else 0)
        total += sum(_adding(order, setup.name, is_buy) for order in ledger.orders.values())
        if total > round(setup.volume_limit / setup.volume_step):
            raise Refusal(mt5.TRADE_RETCODE_LIMIT_VOLUME)


def _adding(order: Order, symbol: str, is_buy: bool) -> int:
    same = order.symbol == symbol and order.is_buy == is_buy and not order.closes
    return order.steps_current if same else 0


def money(desk: Desk, symbol: str, *, is_buy: bool, steps: int, price: float) -> None:
    """Refuse an order that needs more than the free margin (10019)."""
    needed, free = margin_needed(desk, symbol, is_buy=is_buy, steps=steps, price=price)
    if needed > 0.0 and needed > free:
        raise Refusal(mt5.TRADE_RETCODE_NO_MONEY)


def margin_needed(
    desk: Desk, symbol: str, *, is_buy: bool, steps: int, price: float
) -> tuple[float, float]:
    """Return the margin that a deal would add, and the free margin."""
    ledger, market, account = desk.ledger, desk.market, desk.setup
    held = ledger.held
    exposure = held.by_symbol.get(symbol)
    # Copies: the deal is tried on paper and the ledger must not change.
    side_steps = list(exposure.steps) if exposure else [0, 0]
    worth = list(exposure.worth_units) if exposure else [0, 0]
    before = holdings.symbol_margin(symbol, side_steps, worth, market, account)
    side, other = (0, 1) if is_buy else (1, 0)
    if account.is_netting and side_steps[other]:
        # On a netting account the order first reduces the opposite side, which frees margin.
        netted = min(steps, side_steps[other])
        worth[other] -= worth[other] * netted // side_steps[other]
        side_steps[other] -= netted
        steps -= netted
    side_steps[side] += steps
    worth[side] += steps * price_units(price, desk.symbol(symbol).digits)
    after = holdings.symbol_margin(symbol, side_steps, worth, market, account)
    equity = ledger.balance + ledger.credit + holdings.floating_estimate(held, market, account)
    free = equity - holdings.margin(held, market, account)
    return after - before, free
