"""What a broker's back office does: money in and out, day change, re-openings, corrections.

MT5 reference, deal properties (types from 2 on are no trades) and symbol properties (swap modes).
Amounts are in the account's currency.
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.gateway import mt5_constants as mt5
from trueup.sim.clock import day_of_week
from trueup.sim.desk import Desk
from trueup.sim.market import price_of, price_units
from trueup.sim.records import Deal, Order, Position
from trueup.sim.symbols import SymbolSetup

_REOPENING_MODES = frozenset({mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, mt5.SYMBOL_SWAP_MODE_REOPEN_BID})
_WEEKEND = frozenset({mt5.DAY_OF_WEEK_SATURDAY, mt5.DAY_OF_WEEK_SUNDAY})
_DAYS_A_YEAR = 360
"""Banking year of the interest swap modes."""


# -- money -------------------------------------------------------------------------------------


def balance_operation(desk: Desk, kind: int, amount: float, comment: str = "") -> Deal:
    """Book a deal that is no trade: order 0, position 0, no symbol, entry 0."""
    deal = Deal(
        ticket=desk.counters.next_deal(),
        order=0,
        time_msc=desk.clock.server_msc(),
        type=kind,
        entry=mt5.DEAL_ENTRY_IN,
        magic=0,
        position_id=0,
        reason=mt5.DEAL_REASON_CLIENT,
        symbol="",
        steps=0,
        price=0.0,
        commission=0.0,
        swap=0.0,
        profit=round(amount, desk.setup.currency_digits),
        fee=0.0,
        comment=comment,
    )
    desk.ledger.put_deal(deal)
    return deal


def cancel_deal(desk: Desk, ticket: int) -> Deal:
    """Cancel a trade's deal: type 13 or 14, profit zero; the position is not touched."""
    deal = desk.ledger.deals[ticket]
    buys = deal.type == mt5.DEAL_TYPE_BUY
    kind = mt5.DEAL_TYPE_BUY_CANCELED if buys else mt5.DEAL_TYPE_SELL_CANCELED
    cancelled = replace(deal, type=kind, profit=0.0)
    desk.ledger.put_deal(cancelled)
    return cancelled


# -- day change --------------------------------------------------------------------------------


def change_day(desk: Desk, day: int) -> None:
    """End a server day: swaps, re-openings, daily commission. `day` is the one that begins."""
    weekday = day_of_week(day - 1)
    if weekday not in _WEEKEND:
        for position in list(desk.ledger.positions.values()):
            setup = desk.symbol(position.symbol)
            nights = 3 if weekday == setup.swap_rollover3days else 1
            _roll(desk, position, setup, nights)
    _charge_daily_commission(desk)


def _roll(desk: Desk, position: Position, setup: SymbolSetup, nights: int) -> None:
    rate = setup.swap_long if position.is_buy else setup.swap_short
    if setup.swap_mode in _REOPENING_MODES:
        _reopen_for_swap(desk, position, setup, rate * nights)
        return
    swap = round(_swap_per_night(desk, position, setup, rate) * nights, desk.setup.currency_digits)
    if swap:
        total = round(position.swap + swap, desk.setup.currency_digits)
        desk.ledger.put_position(replace(position, swap=total))


def _swap_per_night(desk: Desk, position: Position, setup: SymbolSetup, rate: float) -> float:
    mark = desk.mark(position.symbol)
    lots = position.steps * setup.volume_step
    worth = mark.worth_buy if position.is_buy else mark.worth_sell
    match setup.swap_mode:
        case mt5.SYMBOL_SWAP_MODE_POINTS:
            return rate * setup.point * worth * position.steps
        case mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT:
            return rate * lots
        case mt5.SYMBOL_SWAP_MODE_CURRENCY_SYMBOL:
            return rate * lots * desk.market.rate(setup.currency_base, desk.setup.currency)
        case mt5.SYMBOL_SWAP_MODE_CURRENCY_MARGIN:
            return rate * lots * desk.market.rate(setup.margin_currency, desk.setup.currency)
        case mt5.SYMBOL_SWAP_MODE_INTEREST_CURRENT:
            price = mark.price(not position.is_buy)
            return price * worth * position.steps * rate / 100.0 / _DAYS_A_YEAR
        case mt5.SYMBOL_SWAP_MODE_INTEREST_OPEN:
            return position.price_open * worth * position.steps * rate / 100.0 / _DAYS_A_YEAR
        case _:
            return 0.0


def _reopen_for_swap(desk: Desk, position: Position, setup: SymbolSetup, points: float) -> None:
    mark = desk.mark(position.symbol)
    current = setup.swap_mode == mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT
    base = mark.price(not position.is_buy) if current else mark.bid
    # A negative rate costs: a long is re-opened dearer, a short cheaper.
    shift = -points * setup.point if position.is_buy else points * setup.point
    reopen(
        desk,
        position,
        price_out=mark.price(not position.is_buy),
        price_in=round(base + shift, setup.digits),
    )


def _charge_daily_commission(desk: Desk) -> None:
    blocked = desk.ledger.commission_blocked
    if blocked:
        desk.ledger.block_commission(-blocked)
        balance_operation(desk, mt5.DEAL_TYPE_COMMISSION_DAILY, -blocked, "daily commission")
    desk.ledger.gains_today = 0.0


# -- re-openings -------------------------------------------------------------------------------


def reopen(
    desk: Desk,
    position: Position,
    *,
    price_out: float,
    price_in: float,
    steps_in: int | None = None,
    reason: int = mt5.DEAL_REASON_ROLLOVER,
) -> Position:
    """Close a position and open it again: swap by re-opening, variation margin, split.

    Two deals carry the reason. The ticket becomes that of the opening order and the identifier
    stays, unless the switches say otherwise.
    """
    switches = desk.switches
    order_out = _service_order(desk, position, position.closing_type, position.steps, price_out)
    desk.book(
        order_out,
        mt5.DEAL_ENTRY_OUT,
        position.steps,
        price_out,
        position_id=position.identifier,
        profit=desk.mark(position.symbol).profit(
            position.is_buy, position.price_open, price_out, position.steps
        ),
        swap=position.swap,
        reason=reason,
    )
    desk.finish(order_out, mt5.ORDER_STATE_FILLED)
    steps = position.steps if steps_in is None else steps_in
    order_in = _service_order(desk, position, position.type, steps, price_in)
    again = _reopened(desk, position, order_in, steps, price_in)
    if switches.reopening_changes_identifier:
        desk.ledger.drop_position(position.identifier)
    desk.book(
        order_in,
        mt5.DEAL_ENTRY_IN,
        steps,
        price_in,
        position_id=again.identifier,
        reason=reason,
    )
    desk.finish(replace(order_in, position_id=again.identifier), mt5.ORDER_STATE_FILLED)
    desk.ledger.put_position(again)
    return again


def _reopened(desk: Desk, position: Position, order: Order, steps: int, price: float) -> Position:
    switches, now = desk.switches, desk.clock.server_msc()
    new_identifier = switches.reopening_changes_identifier
    new_ticket = switches.reopening_changes_ticket or new_identifier
    digits = desk.symbol(position.symbol).digits
    units = price_units(price, digits)
    return replace(
        position,
        identifier=order.ticket if new_identifier else position.identifier,
        ticket=order.ticket if new_ticket else position.ticket,
        steps=steps,
        price_units=units,
        price_open=price_of(units, digits),
        time_msc=now,
        time_update_msc=now,
        swap=0.0,
    )


def _service_order(desk: Desk, position: Position, kind: int, steps: int, price: float) -> Order:
    return Order(
        ticket=desk.counters.next_order(),
        symbol=position.symbol,
        type=kind,
        state=mt5.ORDER_STATE_FILLED,
        steps_initial=steps,
        steps_current=0,
        price_open=price,
        time_setup_msc=desk.clock.server_msc(),
        magic=position.magic,
        reason=mt5.ORDER_REASON_CLIENT,
        comment=position.comment,
        position_id=position.identifier,
        price_done=price,
    )


def split(desk: Desk, symbol: str, numerator: int, denominator: int = 1) -> None:
    """Split a symbol: volumes times numerator / denominator, prices the other way round."""
    digits = desk.symbol(symbol).digits
    for position in desk.ledger.held.of_symbol(symbol):
        price = round(position.price_open * denominator / numerator, digits)
        reopen(
            desk,
            position,
            price_out=position.price_open,
            price_in=price,
            steps_in=position.steps * numerator // denominator,
            reason=mt5.DEAL_REASON_SPLIT,
        )


def settle_variation_margin(desk: Desk, symbol: str, price: float) -> None:
    """Settle a symbol's positions at a price and go on from there (reason VMARGIN)."""
    for position in desk.ledger.held.of_symbol(symbol):
        reopen(desk, position, price_out=price, price_in=price, reason=mt5.DEAL_REASON_VMARGIN)
