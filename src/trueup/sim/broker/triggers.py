"""Server events that a new price or the time triggers.

Order of events on one quote: expirations, waiting market orders, pending orders, stop loss and
take profit, stop out (MT5 reference, order and position properties).
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import checks, holdings
from trueup.sim.broker.desk import Desk
from trueup.sim.broker.market_orders import work
from trueup.sim.market.market import Mark
from trueup.sim.market.records import Order, Position, Refusal

_LIMIT_OF = {
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: mt5.ORDER_TYPE_BUY_LIMIT,
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: mt5.ORDER_TYPE_SELL_LIMIT,
}


def on_quote(desk: Desk, symbol: str) -> None:
    """Run the orders, stops and stop outs that the current price of a symbol triggers."""
    if symbol in desk.market.closed or not desk.market.quotes[symbol].is_live:
        return
    if desk.ledger.orders:
        run_orders(desk, symbol)
    exposure = desk.ledger.held.by_symbol.get(symbol)
    if exposure is not None and exposure.guarded:
        _run_levels(desk, symbol, list(exposure.guarded))
    stop_out(desk)


def pass_time(desk: Desk) -> None:
    """Execute the listed stops that are due, and expire orders."""
    _execute_stops(desk)
    _expire(desk)


def _expire(desk: Desk) -> None:
    now = desk.clock.server_msc()
    for order in list(desk.ledger.orders.values()):
        if order.time_expiration and order.time_expiration * 1000 <= now:
            desk.finish(order, mt5.ORDER_STATE_EXPIRED)


# -- orders ------------------------------------------------------------------------------------


def run_orders(desk: Desk, symbol: str) -> None:
    """Fill orders of a symbol as far as price and liquidity allow."""
    for ticket in list(desk.ledger.orders):
        order = desk.ledger.orders.get(ticket)
        if order is None or order.symbol != symbol or ticket in desk.held_back:
            continue
        if order.is_pending:
            _run_pending(desk, order)
        else:
            _run_waiting(desk, order)


def _run_waiting(desk: Desk, order: Order) -> None:
    """Execute the remaining volume of a market order with RETURN filling, if liquidity allows."""
    if desk.market.liquidity_steps.get(order.symbol) == 0:
        return
    try:
        work(desk, order)
    except Refusal:
        # The position of the order is closed; the history shows the order as rejected.
        return


def _run_pending(desk: Desk, order: Order) -> None:
    mark = desk.mark(order.symbol)
    if order.ticket not in desk.triggered and not _is_met(order, mark):
        return
    if order.type in _LIMIT_OF:
        order = replace(
            order,
            type=_LIMIT_OF[order.type],
            price_open=order.price_stoplimit,
            price_stoplimit=0.0,
        )
        desk.ledger.put_order(order)
        if not _is_met(order, mark):
            return
    _activate(desk, order, mark.price(order.is_buy))


def _is_met(order: Order, mark: Mark) -> bool:
    price = mark.price(order.is_buy)
    match order.type:
        case mt5.ORDER_TYPE_BUY_LIMIT | mt5.ORDER_TYPE_SELL_STOP:
            return price <= order.price_open
        case mt5.ORDER_TYPE_SELL_STOP_LIMIT:
            return price <= order.price_open
        case _:
            return price >= order.price_open


def _activate(desk: Desk, order: Order, price: float) -> None:
    steps = min(
        order.steps_current,
        desk.market.liquidity_steps.get(order.symbol, order.steps_current),
    )
    whole = order.type_filling == mt5.ORDER_FILLING_FOK
    stays = order.type_filling == mt5.ORDER_FILLING_RETURN
    # Without liquidity RETURN filling waits; the other modes cancel the order.
    if not steps and stays:
        return
    if not steps or (whole and steps < order.steps_current):
        desk.finish(order, mt5.ORDER_STATE_CANCELED)
        return
    # Margin is checked at the trigger: placing a pending order needs none.
    try:
        checks.money(desk, order.symbol, is_buy=order.is_buy, steps=steps, price=price)
    except Refusal:
        desk.finish(order, mt5.ORDER_STATE_REJECTED)
        return
    desk.triggered.add(order.ticket)
    desk.fill(order, steps, price, rest_works=stays)


# -- stop loss and take profit -----------------------------------------------------------------


def _run_levels(desk: Desk, symbol: str, identifiers: list[int]) -> None:
    mark = desk.mark(symbol)
    for identifier in identifiers:
        position = desk.ledger.positions.get(identifier)
        # An earlier stop of this quote can have closed the position.
        if position is None or _is_closing(desk, identifier):
            continue
        hit = _hit(position, mark)
        if hit is None:
            continue
        reason, kind, level = hit
        text = f"{level:.{mark.setup.digits}f}"
        comment = desk.switches.stop_comment.format(kind=kind, level=text)
        # The order shows the level as its price; the deal shows the price of the execution.
        order = desk.server_order(position, reason, comment, level)
        if desk.switches.stop_order_listed_ms:
            desk.list_stop(order)
        else:
            _execute_stop(desk, order)


def _execute_stops(desk: Desk) -> None:
    """Execute the due orders of listed stops; reject an order that no longer fits its position."""
    now = desk.clock.server_msc()
    for ticket in [key for key, due_msc in desk.stops_due.items() if due_msc <= now]:
        order = desk.ledger.orders[ticket]
        if order.symbol in desk.market.closed:
            continue
        del desk.stops_due[ticket]
        if _fits(desk, order):
            _execute_stop(desk, order)
        else:
            desk.finish(order, mt5.ORDER_STATE_REJECTED)


def _fits(desk: Desk, order: Order) -> bool:
    """Return whether the position of a stop is still open, large enough and on the same side."""
    position = desk.ledger.positions.get(order.closes)
    if position is None or position.closing_type != order.type:
        return False
    return position.steps >= order.steps_current


def _execute_stop(desk: Desk, order: Order) -> None:
    market = desk.mark(order.symbol).price(order.is_buy)
    price = order.price_open if desk.switches.stop_fills_at_level else market
    desk.fill(order, order.steps_current, price)


def _is_closing(desk: Desk, identifier: int) -> bool:
    return any(desk.ledger.orders[ticket].closes == identifier for ticket in desk.stops_due)


def _hit(position: Position, mark: Mark) -> tuple[int, str, float] | None:
    price = mark.price(not position.is_buy)
    sign = 1.0 if position.is_buy else -1.0
    if position.sl and sign * (price - position.sl) <= 0.0:
        return mt5.ORDER_REASON_SL, "sl", position.sl
    if position.tp and sign * (price - position.tp) >= 0.0:
        return mt5.ORDER_REASON_TP, "tp", position.tp
    return None


# -- stop out ----------------------------------------------------------------------------------


def stop_out(desk: Desk) -> None:
    """Close the position with the largest loss repeatedly until the margin level is restored."""
    while desk.ledger.positions and _below_stop_out(desk):
        worst = min(_closable(desk), key=lambda one: _result(desk, one), default=None)
        if worst is None:
            return
        figures = desk.ledger.figures()
        comment = desk.switches.stop_out_comment.format(
            level=figures.margin_level, equity=figures.equity, margin=figures.margin
        )
        price = desk.mark(worst.symbol).price(not worst.is_buy)
        order = desk.server_order(worst, mt5.ORDER_REASON_SO, comment, price)
        desk.fill(order, worst.steps, price)


def _closable(desk: Desk) -> list[Position]:
    market = desk.market
    return [
        position
        for position in desk.ledger.positions.values()
        if position.symbol not in market.closed and market.quotes[position.symbol].is_live
    ]


def _result(desk: Desk, position: Position) -> float:
    mark = desk.mark(position.symbol)
    price = mark.price(not position.is_buy)
    profit = mark.profit(position.is_buy, position.price_open, price, position.steps)
    return profit + position.swap


def _below_stop_out(desk: Desk) -> bool:
    ledger, account = desk.ledger, desk.setup
    margin = holdings.margin(ledger.held, desk.market, account)
    if margin <= 0.0:
        return False
    in_money = account.stop_out_mode == mt5.ACCOUNT_STOPOUT_MODE_MONEY
    floor = account.stop_out if in_money else margin * account.stop_out / 100.0
    estimate = holdings.floating_estimate(ledger.held, desk.market, account)
    # The exact sum visits all positions; for most quotes the estimate is far above the limit.
    doubt = 0.01 * (len(ledger.positions) + 1)
    if ledger.balance + ledger.credit + estimate > floor + doubt:
        return False
    return ledger.figures().equity < floor
