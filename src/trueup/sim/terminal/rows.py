"""Conversion of the server's records into rows of the official module.

The values have the order of the fields in `structs`. Times become seconds and milliseconds of the
server's clock, volume steps become lots.
"""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.holdings import Figures
from trueup.sim.market.market import Mark, Market, Quote
from trueup.sim.market.records import Deal, Order, Outcome, Position
from trueup.sim.market.structs import (
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
    TradeRequest,
)
from trueup.sim.market.symbols import AccountSetup

# Rows are built very often; tuple.__new__ skips the length check of the public constructor.
_row = tuple.__new__


def lots(steps: int, step: float, *, dust: bool) -> float:
    """Return volume steps as lots, with (`dust`) or without the rounding error of the product."""
    volume = steps * step
    return volume if dust else round(volume, 8)


def position_row(position: Position, mark: Mark, *, dust: bool) -> TradePosition:
    """Return the row of an open position at the given price."""
    # A long position closes at bid, a short position at ask.
    is_buy = position.type == mt5.POSITION_TYPE_BUY
    price = mark.bid if is_buy else mark.ask
    volume = position.steps * mark.step
    return _row(
        TradePosition,
        (
            position.ticket,
            position.time_msc // 1000,
            position.time_msc,
            position.time_update_msc // 1000,
            position.time_update_msc,
            position.type,
            position.magic,
            position.identifier,
            position.reason,
            volume if dust else round(volume, 8),
            position.price_open,
            position.sl,
            position.tp,
            price,
            position.swap,
            mark.profit(is_buy, position.price_open, price, position.steps),
            position.symbol,
            position.comment,
            position.external_id,
        ),
    )


def order_row(order: Order, mark: Mark, *, dust: bool) -> TradeOrder:
    """Return the row of a working order at the given price, or of a finished order at its price."""
    # A finished order keeps its last price; only a working order follows the market.
    price = order.price_done if order.time_done_msc else mark.price(order.is_buy)
    return _row(
        TradeOrder,
        (
            order.ticket,
            order.time_setup_msc // 1000,
            order.time_setup_msc,
            order.time_done_msc // 1000,
            order.time_done_msc,
            order.time_expiration,
            order.type,
            order.type_time,
            order.type_filling,
            order.state,
            order.magic,
            order.position_id,
            order.position_by_id,
            order.reason,
            lots(order.steps_initial, mark.step, dust=dust),
            lots(order.steps_current, mark.step, dust=dust),
            order.price_open,
            order.sl,
            order.tp,
            price,
            order.price_stoplimit,
            order.symbol,
            order.comment,
            order.external_id,
        ),
    )


def deal_row(deal: Deal, step: float, *, dust: bool) -> TradeDeal:
    """Return the row of an execution or a balance operation."""
    # A balance operation has no symbol, so its `step` is 0.0 and the row shows 0.0 lots.
    return _row(
        TradeDeal,
        (
            deal.ticket,
            deal.order,
            deal.time_msc // 1000,
            deal.time_msc,
            deal.type,
            deal.entry,
            deal.magic,
            deal.position_id,
            deal.reason,
            lots(deal.steps, step, dust=dust),
            deal.price,
            deal.commission,
            deal.swap,
            deal.profit,
            deal.fee,
            deal.symbol,
            deal.comment,
            deal.external_id,
        ),
    )


def send_result(
    request: TradeRequest, outcome: Outcome, request_id: int, step: float, *, dust: bool
) -> OrderSendResult:
    """Return the row of an answer to `order_send`."""
    # `retcode_external` is 0: the simulated server never forwards an order to an exchange.
    return _row(
        OrderSendResult,
        (
            outcome.retcode,
            outcome.deal,
            outcome.order,
            lots(outcome.steps, step, dust=dust),
            outcome.price,
            outcome.bid,
            outcome.ask,
            outcome.comment,
            request_id,
            0,
            request,
        ),
    )


def check_result(
    request: TradeRequest, outcome: Outcome, figures: Figures | None
) -> OrderCheckResult:
    """Return the answer to `order_check`: the account after the order; zeros for a refusal."""
    money = (0.0,) * 6
    if figures is not None:
        money = (
            figures.balance,
            figures.equity,
            figures.profit,
            figures.margin,
            figures.margin_free,
            figures.margin_level,
        )
    return _row(OrderCheckResult, (outcome.retcode, *money, outcome.comment, request))


def account_row(
    account: AccountSetup, figures: Figures, commission_blocked: float, trade_allowed: bool
) -> AccountInfo:
    """Return the row of the logged-in account."""
    # The module fixes the order of the values, so related figures can stand apart.
    return _row(
        AccountInfo,
        (
            account.login,
            account.trade_mode,
            account.leverage,
            account.limit_orders,
            account.stop_out_mode,
            trade_allowed,
            account.trade_expert,
            account.margin_mode,
            account.currency_digits,
            account.fifo_close,
            figures.balance,
            figures.credit,
            figures.profit,
            figures.equity,
            figures.margin,
            figures.margin_free,
            figures.margin_level,
            account.margin_call,
            account.stop_out,
            # Not simulated: initial and maintenance margin, assets, liabilities.
            0.0,
            0.0,
            0.0,
            0.0,
            commission_blocked,
            account.name,
            account.server,
            account.currency,
            account.company,
        ),
    )


def terminal_row(
    *, connected: bool, trade_allowed: bool, tradeapi_disabled: bool, build: int
) -> TerminalInfo:
    """Return the row of the terminal program; `ping_last` in microseconds."""
    # Only the arguments can change; the other values are those of a terminal on Windows.
    return _row(
        TerminalInfo,
        (
            False,
            False,
            connected,
            False,
            trade_allowed,
            tradeapi_disabled,
            False,
            False,
            False,
            False,
            build,
            # Bars in a chart, code page, and a ping of 31 ms.
            100_000,
            0,
            31_250,
            0.0,
            0.0,
            "Simulated Markets Ltd.",
            "MetaTrader 5",
            "English",
            "C:\\Program Files\\MetaTrader 5",
            "C:\\Users\\trader\\AppData\\Roaming\\MetaQuotes\\Terminal\\SIMULATED",
            "C:\\Users\\trader\\AppData\\Roaming\\MetaQuotes\\Terminal\\Common",
        ),
    )


def tick_row(market: Market, symbol: str, selected: bool) -> Tick:
    """Return the last price of a symbol; zeros for a symbol outside Market Watch."""
    quote = market.quotes[symbol] if selected else Quote()
    flags = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK if quote.is_live else 0
    seconds = quote.time_msc // 1000
    return _row(Tick, (seconds, quote.bid, quote.ask, 0.0, 0, quote.time_msc, flags, 0.0))


_EMPTY_SYMBOL: dict[str, Any] = {
    name: {"int": 0, "float": 0.0, "str": "", "bool": False}[kind]
    for name, kind in SymbolInfo.__annotations__.items()
}


def symbol_row(market: Market, symbol: str, account: AccountSetup, *, selected: bool) -> SymbolInfo:
    """Return the row of a symbol; a symbol outside Market Watch has zero prices."""
    # Fields that the simulation does not use keep the empty values of `_EMPTY_SYMBOL`.
    setup = market.setups[symbol]
    known = {
        "name": setup.name,
        "description": setup.description,
        "path": setup.path,
        "select": selected,
        "visible": selected,
        "digits": setup.digits,
        "point": setup.point,
        "spread_float": True,
        "trade_calc_mode": setup.calc_mode,
        "trade_mode": setup.trade_mode,
        "trade_stops_level": setup.stops_level,
        "trade_freeze_level": setup.freeze_level,
        "trade_exemode": setup.execution,
        "swap_mode": setup.swap_mode,
        "swap_rollover3days": setup.swap_rollover3days,
        "expiration_mode": setup.expiration_mode,
        "filling_mode": setup.filling_mode,
        "order_mode": setup.order_mode,
        "order_gtc_mode": setup.order_gtc_mode,
        "trade_tick_size": setup.tick_size,
        "trade_contract_size": setup.contract_size,
        "volume_min": setup.volume_min,
        "volume_max": setup.volume_max,
        "volume_step": round(setup.volume_step * setup.order_steps, 8),
        "volume_limit": setup.volume_limit,
        "swap_long": setup.swap_long,
        "swap_short": setup.swap_short,
        "margin_initial": setup.margin_initial,
        "margin_hedged": setup.margin_hedged,
        "currency_base": setup.currency_base,
        "currency_profit": setup.currency_profit,
        "currency_margin": setup.margin_currency,
    }
    if selected:
        known |= _symbol_prices(market, symbol, account)
    return _row(SymbolInfo, (_EMPTY_SYMBOL | known).values())


def _symbol_prices(market: Market, symbol: str, account: AccountSetup) -> dict[str, Any]:
    mark = market.mark(symbol, account.currency, account.currency_digits)
    setup = mark.setup
    # The module states the value of one tick of one lot; a mark has the value per step and price.
    lot = setup.tick_size / setup.volume_step
    profit, loss = mark.worth_buy * lot, mark.worth_sell * lot
    return {
        "time": mark.time_msc // 1000,
        "bid": mark.bid,
        "ask": mark.ask,
        "bidhigh": mark.bid,
        "bidlow": mark.bid,
        "askhigh": mark.ask,
        "asklow": mark.ask,
        "spread": round((mark.ask - mark.bid) / setup.point),
        "trade_tick_value": round(profit, 8),
        "trade_tick_value_profit": round(profit, 8),
        "trade_tick_value_loss": round(loss, 8),
    }
