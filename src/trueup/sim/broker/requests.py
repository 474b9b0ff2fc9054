"""Execution of trade requests by action: check, then execute (MT5 reference, trade request).

Every function returns the server's `Outcome` or raises `Refusal`. `reason` is the source of the
request (a person, a program); orders, deals and positions show the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import checks, market_orders, pending_orders
from trueup.sim.broker.desk import Desk
from trueup.sim.market.records import RETCODE_TEXTS, Order, Outcome, Position, Refusal
from trueup.sim.market.structs import TradeRequest


def execute(desk: Desk, request: TradeRequest, reason: int, liquidity: int | None) -> Outcome:
    """Execute a request; `liquidity` caps the volume (steps) for this request."""
    action = _ACTIONS.get(request.action)
    if action is None and request.action != mt5.TRADE_ACTION_DEAL:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    if not desk.setup.trade_allowed:
        raise Refusal(mt5.TRADE_RETCODE_TRADE_DISABLED)
    if reason == mt5.ORDER_REASON_EXPERT and not desk.setup.trade_expert:
        raise Refusal(mt5.TRADE_RETCODE_SERVER_DISABLES_AT)
    if action is None:
        return market_orders.deal(desk, request, reason, liquidity)
    return action(desk, request, reason)


def check(desk: Desk, request: TradeRequest, reason: int) -> tuple[float, float]:
    """Check a request without execution; return the added margin and the free margin.

    Success is no promise: the market can move before the request is sent.
    """
    if request.action == mt5.TRADE_ACTION_DEAL:
        order = market_orders.market_order(desk, request, reason)
    elif request.action == mt5.TRADE_ACTION_PENDING:
        order = pending_orders.pending_order(desk, request, reason)
    elif request.action in _ACTIONS:
        # The other actions open nothing, so they need no margin.
        return 0.0, 0.0
    else:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    # A close adds no margin.
    if order.closes:
        return 0.0, 0.0
    return checks.margin_needed(
        desk,
        order.symbol,
        is_buy=order.is_buy,
        steps=order.steps_initial,
        price=order.price_open,
    )


def _sltp(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    position = _levelled(desk, request)
    mark = desk.mark(position.symbol)
    if (request.sl, request.tp) == (position.sl, position.tp):
        raise Refusal(mt5.TRADE_RETCODE_NO_CHANGES)
    checks.prices_exist(desk, position.symbol)
    checks.session(desk, position.symbol)
    price = mark.price(not position.is_buy)
    checks.frozen(mark, closing_price=price, levels=(position.sl, position.tp))
    checks.stops(mark.setup, is_buy=position.is_buy, price=price, sl=request.sl, tp=request.tp)
    # Both levels are overwritten; a change of levels does not move `time_update`.
    desk.ledger.put_position(replace(position, sl=request.sl, tp=request.tp))
    return Outcome(mt5.TRADE_RETCODE_DONE, comment=RETCODE_TEXTS[mt5.TRADE_RETCODE_DONE])


def _levelled(desk: Desk, request: TradeRequest) -> Position:
    if request.position:
        return checks.target(desk, request.position, request.symbol)
    held = desk.ledger.held.of_symbol(request.symbol)
    if not desk.setup.is_netting or request.symbol not in desk.market.setups:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    if not held:
        raise Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
    return held[0]


def _close_by(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    if desk.setup.is_netting:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    position = checks.target(desk, request.position, request.symbol)
    other = checks.target(desk, request.position_by, position.symbol)
    if position.is_buy == other.is_buy:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    checks.order_type(desk.symbol(position.symbol), mt5.ORDER_TYPE_CLOSE_BY)
    # The side does not matter: both positions only shrink.
    checks.direction(desk.symbol(position.symbol), is_buy=True, opens=False)
    checks.session(desk, position.symbol)
    # The larger position keeps its rest.
    steps = min(position.steps, other.steps)
    order = Order(
        ticket=desk.counters.next_order(),
        symbol=position.symbol,
        type=mt5.ORDER_TYPE_CLOSE_BY,
        state=mt5.ORDER_STATE_STARTED,
        steps_initial=steps,
        steps_current=steps,
        price_open=other.price_open,
        time_setup_msc=desk.clock.server_msc(),
        magic=request.magic,
        reason=reason,
        comment=f"close #{position.ticket} by #{other.ticket}",
        position_by_id=other.identifier,
    )
    deal = desk.close_by(position, other, order)
    return desk.answer(
        order.symbol, order=order.ticket, deal=deal.ticket, steps=steps, price=deal.price
    )


_ACTIONS: dict[int, Callable[[Desk, TradeRequest, int], Outcome]] = {
    mt5.TRADE_ACTION_PENDING: pending_orders.place,
    mt5.TRADE_ACTION_SLTP: _sltp,
    mt5.TRADE_ACTION_MODIFY: pending_orders.modify,
    mt5.TRADE_ACTION_REMOVE: pending_orders.remove,
    mt5.TRADE_ACTION_CLOSE_BY: _close_by,
}
