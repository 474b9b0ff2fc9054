"""Back office of the broker: balance operations, day change, re-openings, corrections.

Sources: MT5 reference, deal properties (types from 2 on are no trades) and symbol properties (swap
modes). Amounts are in the account's currency.
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.desk import Desk
from trueup.sim.market.clock import day_of_week
from trueup.sim.market.market import price_of, price_units
from trueup.sim.market.records import Deal, Order, Position
from trueup.sim.market.symbols import SymbolSetup

_REOPENING_MODES = frozenset({mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, mt5.SYMBOL_SWAP_MODE_REOPEN_BID})
_WEEKEND = frozenset({mt5.DAY_OF_WEEK_SATURDAY, mt5.DAY_OF_WEEK_SUNDAY})
_DAYS_A_YEAR = 360
"""Banking year of the interest swap modes."""


# -- money -------------------------------------------------------------------------------------


def balance_operation(desk: Desk, kind: int, amount: float, comment: str = "") -> Deal:
    """Book a deal that is no trade: order 0, position 0, no symbol, entry 0."""
    # Programs tell a balance operation by its type, and expect zeros in the fields of a trade.
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


def cancel_deal(desk: Desk, ticket: int, *, is_balanced: bool = True) -> Deal:
    """Cancel a trade's deal: type 13 or 14, profit zero; the position does not change.

    With `is_balanced` the balance changes at once; otherwise a separate deal corrects the balance.
    """
    deal = desk.ledger.deals[ticket]
    buys = deal.type == mt5.DEAL_TYPE_BUY
    kind = mt5.DEAL_TYPE_BUY_CANCELED if buys else mt5.DEAL_TYPE_SELL_CANCELED
    cancelled = replace(deal, type=kind, profit=0.0)
    if is_balanced:
        desk.ledger.put_deal(cancelled)
    else:
        desk.ledger.rewrite_deal(cancelled)
    return cancelled


def amend_deal(desk: Desk, ticket: int, **changes: float) -> Deal:
    """Change price, profit, swap, commission or fee of a deal, as a broker's back office can.

    The balance changes at once.
    """
    unknown = changes.keys() - {"price", "profit", "swap", "commission", "fee"}
    if unknown:
        raise TypeError(f"cannot be amended: {', '.join(sorted(unknown))}")
    amended = replace(desk.ledger.deals[ticket], **changes)
    desk.ledger.put_deal(amended)
    return amended


# -- day change --------------------------------------------------------------------------------


def change_day(desk: Desk, day: int) -> None:
    """End a server day: swaps, re-openings, daily commission. `day` is the day that begins."""
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
    # Each mode names the rate's unit: points, a currency, or a yearly interest in percent.
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
            # Disabled; the re-opening modes book no swap.
            return 0.0


def _reopen_for_swap(desk: Desk, position: Position, setup: SymbolSetup, points: float) -> None:
    mark = desk.mark(position.symbol)
    current = setup.swap_mode == mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT
    base = mark.price(not position.is_buy) if current else mark.bid
    # A negative rate is a cost: a long position re-opens at a higher price, a short at a lower.
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

    Both deals carry the reason. By default the ticket becomes the ticket of the opening order and
    the identifier stays; `Switches` can change both.
    """
    switches = desk.switches
    _book_out(desk, position, price_out, reason)
    steps = position.steps if steps_in is None else steps_in
    order_in = _service_order(desk, position, position.type, steps, price_in)
    again = _reopened(desk, position, order_in, steps, price_in)
    # The closed identifier would stay open beside the new one.
    if switches.reopening_changes_identifier:
        desk.ledger.drop_position(position.identifier)
    _book_in(desk, again, order_in, price_in, reason)
    return again


def _book_out(desk: Desk, position: Position, price: float, reason: int) -> None:
    """Book the closing half of a re-opening."""
    order = _service_order(desk, position, position.closing_type, position.steps, price)
    # The close realises the profit and the accrued swap of the position.
    profit = desk.mark(position.symbol).profit(
        position.is_buy, position.price_open, price, position.steps
    )
    desk.book(
        order,
        mt5.DEAL_ENTRY_OUT,
        position.steps,
        price,
        position_id=position.identifier,
        profit=profit,
        swap=position.swap,
        reason=reason,
    )
    desk.finish(order, mt5.ORDER_STATE_FILLED)


def _book_in(desk: Desk, position: Position, order: Order, price: float, reason: int) -> None:
    """Book the opening half of a re-opening with this position."""
    desk.book(
        order,
        mt5.DEAL_ENTRY_IN,
        position.steps,
        price,
        position_id=position.identifier,
        reason=reason,
    )
    desk.finish(replace(order, position_id=position.identifier), mt5.ORDER_STATE_FILLED)
    desk.ledger.put_position(position)


def _reopened(desk: Desk, position: Position, order: Order, steps: int, price: float) -> Position:
    switches, now = desk.switches, desk.clock.server_msc()
    new_identifier = switches.reopening_changes_identifier
    new_ticket = switches.reopening_changes_ticket or new_identifier
    digits = desk.symbol(position.symbol).digits
    units = price_units(price, digits)
    # The swap starts at zero: the closing deal has booked the accrued swap.
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
    # FILLED from the start: no order of the back office ever works in the market.
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


def split(
    desk: Desk,
    symbol: str,
    numerator: int,
    denominator: int = 1,
    reason: int = mt5.DEAL_REASON_SPLIT,
) -> None:
    """Split a symbol: multiply volumes by numerator / denominator, divide prices by the ratio."""
    digits = desk.symbol(symbol).digits
    for position in desk.ledger.held.of_symbol(symbol):
        price = round(position.price_open * denominator / numerator, digits)
        # A split makes no profit, so the position closes at its open price.
        reopen(
            desk,
            position,
            price_out=position.price_open,
            price_in=price,
            steps_in=position.steps * numerator // denominator,
            reason=reason,
        )


def roll(
    desk: Desk, position: Position, symbol: str, *, price_out: float, price_in: float
) -> Position:
    """Close a position of an expiring contract, and open a new position in the next contract.

    The new position has another symbol and the same side and volume. Both deals have the reason
    ROLLOVER.
    """
    _book_out(desk, position, price_out, mt5.DEAL_REASON_ROLLOVER)
    desk.ledger.drop_position(position.identifier)
    next_one = replace(position, symbol=symbol)
    order_in = _service_order(desk, next_one, position.type, position.steps, price_in)
    units, now = price_units(price_in, desk.symbol(symbol).digits), desk.clock.server_msc()
    # Levels belong to prices of the old contract, so the new position has none.
    rolled = replace(
        next_one,
        identifier=order_in.ticket,
        ticket=order_in.ticket,
        price_units=units,
        price_open=price_of(units, desk.symbol(symbol).digits),
        time_msc=now,
        time_update_msc=now,
        swap=0.0,
        sl=0.0,
        tp=0.0,
    )
    _book_in(desk, rolled, order_in, price_in, mt5.DEAL_REASON_ROLLOVER)
    return rolled


def settle_variation_margin(desk: Desk, symbol: str, price: float) -> None:
    """Settle a symbol's positions at a price, which becomes their open price (reason VMARGIN).

    `Switches.variation_margin_reopens` selects the method: close and open each position again, or
    book a deal of volume 0 that carries the money.
    """
    for position in desk.ledger.held.of_symbol(symbol):
        if desk.switches.variation_margin_reopens:
            reopen(desk, position, price_out=price, price_in=price, reason=mt5.DEAL_REASON_VMARGIN)
        else:
            _settle_by_money(desk, position, price)


def _settle_by_money(desk: Desk, position: Position, price: float) -> None:
    # The deal belongs to no order of the account: the order ticket is 0.
    order = replace(
        _service_order(desk, position, position.closing_type, position.steps, price), ticket=0
    )
    profit = desk.mark(position.symbol).profit(
        position.is_buy, position.price_open, price, position.steps
    )
    desk.book(
        order,
        mt5.DEAL_ENTRY_OUT,
        0,
        price,
        position_id=position.identifier,
        profit=profit,
        reason=mt5.DEAL_REASON_VMARGIN,
    )
    # The profit is paid, so the position continues from the settlement price.
    units = price_units(price, desk.symbol(position.symbol).digits)
    shown = price_of(units, desk.symbol(position.symbol).digits)
    desk.ledger.put_position(replace(position, price_units=units, price_open=shown))
