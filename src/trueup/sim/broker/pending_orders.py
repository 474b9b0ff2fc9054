"""Requests that place, modify and remove pending orders (MT5 reference, order types, lifetimes).

`triggers` activates and expires pending orders.
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import checks
from trueup.sim.broker.desk import Desk
from trueup.sim.market.clock import DAY_MSC
from trueup.sim.market.records import BUYING_TYPES, PENDING_TYPES, Order, Outcome, Refusal
from trueup.sim.market.structs import TradeRequest


def place(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    """Place a pending order; the answer is 10009 with the ticket, no deal and price 0.0."""
    order = pending_order(desk, request, reason)
    ticket = desk.counters.next_order()
    desk.ledger.put_order(replace(order, ticket=ticket))
    return desk.answer(request.symbol, order=ticket, steps=order.steps_initial)


def pending_order(desk: Desk, request: TradeRequest, reason: int) -> Order:
    """Check a PENDING request; return the order without a ticket, not placed."""
    setup = desk.market.setups.get(request.symbol)
    if setup is None or request.type not in PENDING_TYPES:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    is_buy = request.type in BUYING_TYPES
    checks.order_type(setup, request.type)
    steps = checks.volume(setup, request.volume)
    checks.filling(setup, request.type_filling, pending=True)
    # On a netting account the order may reduce a position when triggered.
    checks.direction(setup, is_buy=is_buy, opens=not desk.setup.is_netting)
    _check_terms(desk, request, is_buy=is_buy)
    checks.session(desk, request.symbol)
    # 0 is an account without a limit of orders.
    most = desk.setup.limit_orders
    if most and len(desk.ledger.orders) >= most:
        raise Refusal(mt5.TRADE_RETCODE_LIMIT_ORDERS)
    checks.limits(desk, setup, is_buy=is_buy, steps=steps)
    return Order(
        ticket=0,
        symbol=request.symbol,
        type=request.type,
        state=mt5.ORDER_STATE_PLACED,
        steps_initial=steps,
        steps_current=steps,
        price_open=request.price,
        time_setup_msc=desk.clock.server_msc(),
        magic=request.magic,
        reason=reason,
        comment=desk.comment(request.comment),
        type_time=request.type_time,
        type_filling=request.type_filling,
        time_expiration=_expires(desk, request.type_time, request.expiration),
        sl=request.sl,
        tp=request.tp,
        price_stoplimit=request.stoplimit,
    )


def _check_terms(desk: Desk, request: TradeRequest, *, is_buy: bool) -> None:
    """Check price, levels and lifetime of a pending order, at placement and modification."""
    checks.prices_exist(desk, request.symbol)
    mark = desk.mark(request.symbol)
    checks.pending_price(mark, request)
    entry = request.stoplimit or request.price
    checks.stops(mark.setup, is_buy=is_buy, price=entry, sl=request.sl, tp=request.tp)
    checks.expiration(desk, mark.setup, request.type_time, request.expiration)


def _expires(desk: Desk, type_time: int, seconds: int) -> int:
    """Return the end of an order of this lifetime, server seconds; 0 for never."""
    match type_time:
        case mt5.ORDER_TIME_DAY:
            return (desk.clock.server_msc() // DAY_MSC + 1) * DAY_MSC // 1000
        case mt5.ORDER_TIME_SPECIFIED:
            return seconds
        case mt5.ORDER_TIME_SPECIFIED_DAY:
            # The order lives until 23:59:59 of the named day.
            return (seconds * 1000 // DAY_MSC + 1) * DAY_MSC // 1000 - 1
        case _:
            return 0


def _working(desk: Desk, ticket: int) -> Order:
    order = desk.ledger.orders.get(ticket)
    if order is None:
        over = ticket in desk.ledger.order_history
        raise Refusal(mt5.TRADE_RETCODE_ORDER_CHANGED if over else mt5.TRADE_RETCODE_INVALID)
    if ticket in desk.stops_due:
        # The server is executing it: the order of a stop loss or take profit was triggered.
        raise Refusal(mt5.TRADE_RETCODE_FROZEN)
    mark = desk.mark(order.symbol)
    checks.frozen(mark, closing_price=mark.price(order.is_buy), levels=(order.price_open,))
    return order


def modify(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    """Change price, levels and lifetime of a working order; all fields are overwritten."""
    order = _working(desk, request.order)
    changed = replace(
        order,
        price_open=request.price,
        sl=request.sl,
        tp=request.tp,
        price_stoplimit=request.stoplimit,
        type_time=request.type_time,
        time_expiration=_expires(desk, request.type_time, request.expiration),
    )
    if changed == order:
        raise Refusal(mt5.TRADE_RETCODE_NO_CHANGES)
    # The request names neither symbol nor type; the checks need both.
    fields = request._asdict() | {"symbol": order.symbol, "type": order.type}
    _check_terms(desk, tuple.__new__(TradeRequest, fields.values()), is_buy=order.is_buy)
    desk.ledger.put_order(changed)
    return desk.answer(order.symbol, order=order.ticket)


def remove(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    """Cancel a working order."""
    order = _working(desk, request.order)
    desk.finish(order, mt5.ORDER_STATE_CANCELED)
    return desk.answer(order.symbol, order=order.ticket)
