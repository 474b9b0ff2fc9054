"""Market orders: validation, execution within the market's liquidity, and orders held by a dealer.

The filling mode of an order decides the executed volume and the fate of the remaining volume (MT5
reference, order filling; return codes 10008, 10009, 10010).
"""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import checks
from trueup.sim.broker.desk import Desk
from trueup.sim.market.records import Order, Outcome, Position, Refusal
from trueup.sim.market.structs import TradeRequest

_MARKET_TYPES = frozenset({mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL})


def deal(desk: Desk, request: TradeRequest, reason: int, liquidity: int | None) -> Outcome:
    """Execute a DEAL request; `liquidity` caps the volume (steps) for this request."""
    order = replace(market_order(desk, request, reason), ticket=desk.counters.next_order())
    exchange = desk.symbol(order.symbol).execution == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE
    if not exchange or not desk.switches.exchange_answers_placed:
        return work(desk, order, liquidity)
    # The answer is PLACED in any case; only the lists show the result of the order.
    with suppress(Refusal):
        work(desk, order, liquidity)
    return desk.answer(order.symbol, mt5.TRADE_RETCODE_PLACED, order=order.ticket)


def hold(desk: Desk, request: TradeRequest, reason: int) -> Outcome:
    """Accept a DEAL request and hold the order as a dealer would (10008)."""
    order = replace(
        market_order(desk, request, reason),
        ticket=desk.counters.next_order(),
        state=mt5.ORDER_STATE_PLACED,
    )
    desk.held_back.add(order.ticket)
    desk.ledger.put_order(order)
    return desk.answer(order.symbol, mt5.TRADE_RETCODE_PLACED, order=order.ticket)


def release(desk: Desk, ticket: int, *, fill: bool) -> None:
    """Release an order from `hold`: fill the order at the current price, or cancel the order."""
    order = desk.ledger.orders.get(ticket)
    if order is None:
        return
    desk.held_back.discard(ticket)
    if fill:
        with suppress(Refusal):
            work(desk, order)
    else:
        desk.finish(order, mt5.ORDER_STATE_CANCELED)


def market_order(desk: Desk, request: TradeRequest, reason: int) -> Order:
    """Check a DEAL request; return the order without a ticket, not executed."""
    setup = desk.market.setups.get(request.symbol)
    if setup is None or request.type not in _MARKET_TYPES:
        raise Refusal(mt5.TRADE_RETCODE_INVALID)
    is_buy = request.type == mt5.ORDER_TYPE_BUY
    checks.order_type(setup, request.type)
    steps = checks.volume(setup, request.volume)
    checks.filling(setup, request.type_filling, pending=False)
    # The order of the checks decides the return code of a request with several faults.
    closes = _closed_by(desk, request, is_buy=is_buy, steps=steps)
    opened = _opened_steps(desk, request.symbol, closes, is_buy=is_buy, steps=steps)
    checks.direction(setup, is_buy=is_buy, opens=opened > 0)
    checks.prices_exist(desk, request.symbol)
    checks.session(desk, request.symbol)
    mark = desk.mark(request.symbol)
    checks.requested_price(mark, request, is_buy=is_buy)
    # A close on a hedging account cannot set levels, so its levels are not checked.
    if closes is None or desk.setup.is_netting:
        _check_levels(desk, request, is_buy=is_buy)
    # Only volume that opens something can break a limit or need margin.
    if opened:
        checks.hedging(desk, request.symbol, is_buy=is_buy)
        checks.limits(desk, setup, is_buy=is_buy, steps=opened)
        price = mark.price(is_buy)
        checks.money(desk, request.symbol, is_buy=is_buy, steps=steps, price=price)
    return Order(
        ticket=0,
        symbol=request.symbol,
        type=request.type,
        state=mt5.ORDER_STATE_STARTED,
        steps_initial=steps,
        steps_current=steps,
        price_open=request.price or mark.price(is_buy),
        time_setup_msc=desk.clock.server_msc(),
        magic=request.magic,
        reason=reason,
        comment=desk.comment(request.comment),
        type_filling=request.type_filling,
        closes=0 if closes is None or desk.setup.is_netting else closes.identifier,
        sl=request.sl,
        tp=request.tp,
    )


def _closed_by(desk: Desk, request: TradeRequest, *, is_buy: bool, steps: int) -> Position | None:
    """Return the position that a request names to close."""
    if not request.position:
        return None
    if not desk.setup.is_netting:
        position = checks.target(desk, request.position, request.symbol)
        checks.close(desk, position, is_buy=is_buy, steps=steps)
        return position
    # On a netting account the symbol decides and the ticket is optional.
    if desk.switches.stale_ticket_refused:
        return checks.target(desk, request.position, request.symbol)
    return None


def _opened_steps(
    desk: Desk, symbol: str, closes: Position | None, *, is_buy: bool, steps: int
) -> int:
    """Return the steps of an order that open a new position."""
    if not desk.setup.is_netting:
        return 0 if closes else steps
    exposure = desk.ledger.held.by_symbol.get(symbol)
    opposite = exposure.steps[1 if is_buy else 0] if exposure else 0
    return max(0, steps - opposite)


def _check_levels(desk: Desk, request: TradeRequest, *, is_buy: bool) -> None:
    if not (request.sl or request.tp):
        return
    if desk.switches.stops_refused_at_open:
        raise Refusal(mt5.TRADE_RETCODE_INVALID_STOPS)
    mark = desk.mark(request.symbol)
    price = mark.price(not is_buy)
    checks.stops(mark.setup, is_buy=is_buy, price=price, sl=request.sl, tp=request.tp)


def work(desk: Desk, order: Order, liquidity: int | None = None) -> Outcome:
    """Execute a market order now, as far as liquidity and filling mode allow."""
    available = _available(desk, order, liquidity)
    price = desk.mark(order.symbol).price(order.is_buy)
    stays = order.type_filling == mt5.ORDER_FILLING_RETURN
    whole = order.type_filling == mt5.ORDER_FILLING_FOK
    # An order that waited can find its position closed meanwhile.
    if _target_is_gone(desk, order):
        desk.finish(order, mt5.ORDER_STATE_REJECTED)
        raise Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
    # RETURN filling keeps the order working; the other modes end the order.
    if not available and stays:
        waiting = replace(order, state=mt5.ORDER_STATE_PLACED)
        desk.ledger.put_order(waiting)
        return desk.answer(order.symbol, mt5.TRADE_RETCODE_PLACED, order=order.ticket)
    if not available or (whole and available < order.steps_current):
        desk.finish(order, mt5.ORDER_STATE_CANCELED)
        raise Refusal(mt5.TRADE_RETCODE_REJECT)
    booked = desk.fill(order, available, price, rest_works=stays)
    partial = available < order.steps_current
    retcode = mt5.TRADE_RETCODE_DONE_PARTIAL if partial else mt5.TRADE_RETCODE_DONE
    return desk.answer(
        order.symbol,
        retcode,
        order=order.ticket,
        deal=booked.ticket,
        steps=available,
        price=price,
    )


def _available(desk: Desk, order: Order, liquidity: int | None) -> int:
    steps = order.steps_current
    if liquidity is not None:
        steps = min(steps, liquidity)
    return min(steps, desk.market.liquidity_steps.get(order.symbol, steps))


def _target_is_gone(desk: Desk, order: Order) -> bool:
    """Return whether the position of a close was closed or became too small meanwhile."""
    if not order.closes:
        return False
    position = desk.ledger.positions.get(order.closes)
    return position is None or position.steps < order.steps_current
