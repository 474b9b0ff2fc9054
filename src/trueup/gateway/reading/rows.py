"""Convert the rows of a terminal to our types: MetaTrader's numbers become names.

A malformed row (a position of 0 lots, a value that is not a number) is sent with its plain values:
the client names that row and still uses the others. A text that a broker or the terminal cut inside
a character is repaired with a question mark.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trueup.core.conversions import number
from trueup.core.model import (
    Account,
    Deal,
    DealKind,
    DealReason,
    Entry,
    HistoryOrder,
    MarginMode,
    OrderType,
    PastOrder,
    PendingOrder,
    Position,
    Side,
    SymbolSpec,
    TerminalState,
)
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import (
    AccountInfo,
    SymbolInfo,
    TerminalInfo,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from trueup.protocol.rows import SIGNED, TOO_LARGE, is_sound, is_sound_order
from trueup.protocol.text import DAMAGED, MARK, writable

TRADE_MODES = {
    mt5.ACCOUNT_TRADE_MODE_DEMO: "demo",
    mt5.ACCOUNT_TRADE_MODE_CONTEST: "contest",
    mt5.ACCOUNT_TRADE_MODE_REAL: "real",
}
MARGIN_MODES = {
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING: MarginMode.NETTING,
    mt5.ACCOUNT_MARGIN_MODE_EXCHANGE: MarginMode.EXCHANGE,
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING: MarginMode.HEDGING,
}
ORDER_TYPES = {
    mt5.ORDER_TYPE_BUY_LIMIT: OrderType.BUY_LIMIT,
    mt5.ORDER_TYPE_SELL_LIMIT: OrderType.SELL_LIMIT,
    mt5.ORDER_TYPE_BUY_STOP: OrderType.BUY_STOP,
    mt5.ORDER_TYPE_SELL_STOP: OrderType.SELL_STOP,
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: OrderType.BUY_STOP_LIMIT,
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: OrderType.SELL_STOP_LIMIT,
}
BUYING = frozenset(
    {
        mt5.ORDER_TYPE_BUY,
        mt5.ORDER_TYPE_BUY_LIMIT,
        mt5.ORDER_TYPE_BUY_STOP,
        mt5.ORDER_TYPE_BUY_STOP_LIMIT,
    }
)
ORDER_STATES = {
    mt5.ORDER_STATE_STARTED: "started",
    mt5.ORDER_STATE_PLACED: "placed",
    mt5.ORDER_STATE_CANCELED: "canceled",
    mt5.ORDER_STATE_PARTIAL: "partial",
    mt5.ORDER_STATE_FILLED: "filled",
    mt5.ORDER_STATE_REJECTED: "rejected",
    mt5.ORDER_STATE_EXPIRED: "expired",
    mt5.ORDER_STATE_REQUEST_ADD: "request_add",
    mt5.ORDER_STATE_REQUEST_MODIFY: "request_modify",
    mt5.ORDER_STATE_REQUEST_CANCEL: "request_cancel",
}
ENTRIES = {
    mt5.DEAL_ENTRY_IN: Entry.IN,
    mt5.DEAL_ENTRY_OUT: Entry.OUT,
    mt5.DEAL_ENTRY_INOUT: Entry.IN_OUT,
    mt5.DEAL_ENTRY_OUT_BY: Entry.OUT_BY,
}
DEAL_REASONS = {
    mt5.DEAL_REASON_CLIENT: DealReason.CLIENT,
    mt5.DEAL_REASON_MOBILE: DealReason.MOBILE,
    mt5.DEAL_REASON_WEB: DealReason.WEB,
    mt5.DEAL_REASON_EXPERT: DealReason.EXPERT,
    mt5.DEAL_REASON_SL: DealReason.STOP_LOSS,
    mt5.DEAL_REASON_TP: DealReason.TAKE_PROFIT,
    mt5.DEAL_REASON_SO: DealReason.STOP_OUT,
    mt5.DEAL_REASON_ROLLOVER: DealReason.ROLLOVER,
    mt5.DEAL_REASON_VMARGIN: DealReason.VARIATION_MARGIN,
    mt5.DEAL_REASON_SPLIT: DealReason.SPLIT,
    mt5.DEAL_REASON_CORPORATE_ACTION: DealReason.CORPORATE_ACTION,
}
TRADE_DEALS = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL})
CANCELED_DEALS = frozenset({mt5.DEAL_TYPE_BUY_CANCELED, mt5.DEAL_TYPE_SELL_CANCELED})
BUYING_DEALS = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_BUY_CANCELED})
SIDES = {mt5.POSITION_TYPE_BUY: Side.BUY, mt5.POSITION_TYPE_SELL: Side.SELL}

Values = dict[str, Any]
"""A row as plain values, by field names of the wire."""


def text_of(value: object) -> str:
    """Return a terminal's text so that it can be encoded; empty if `value` is not a text."""
    return writable(value).replace(DAMAGED, MARK) if isinstance(value, str) else ""


def listed_position(row: TradePosition) -> Position | Values:
    """Return an open position, or the row's plain values if the row is malformed."""
    position = position_of(row)
    return position if is_sound(position) else _values(position)


def listed_order(row: TradeOrder) -> PendingOrder | Values:
    """Return a pending order, or the row's plain values if the row is malformed."""
    order = pending_of(row)
    return order if is_sound_order(order) else _values(order)


def _values(row: Position | PendingOrder) -> Values:
    """Return the fields of a row as JSON values, so that both sides compute the same digest."""
    return {
        field.encode_name: _value(getattr(row, field.name)) for field in msgspec.structs.fields(row)
    }


def _value(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return writable(value, DAMAGED)
    is_whole = isinstance(value, int) and -SIGNED <= value < TOO_LARGE
    if value is None or is_whole or number(value) is not None:
        return value
    # JSON has no infinity and no NaN, so such a value is sent as text.
    return f"{value!r:.40}"


def position_of(row: TradePosition) -> Position:
    """Return an open position."""
    return Position(
        ticket=row.ticket,
        identifier=row.identifier,
        symbol=row.symbol,
        # An unknown type has no side; `listed_position` then sends the plain values.
        side=SIDES.get(row.type, row.type),  # type: ignore[arg-type]
        volume=row.volume,
        price_open=row.price_open,
        profit=row.profit,
        swap=row.swap,
        time=row.time,
        time_msc=row.time_msc,
        sl=row.sl,
        tp=row.tp,
        magic=row.magic,
        comment=text_of(row.comment),
        price_current=row.price_current,
        reason=row.reason,
        time_update_msc=row.time_update_msc,
    )


def pending_of(row: TradeOrder) -> PendingOrder:
    """Return a pending order."""
    return PendingOrder(
        ticket=row.ticket,
        symbol=row.symbol,
        type=ORDER_TYPES.get(row.type, OrderType.OTHER),
        volume=row.volume_current,
        price_open=row.price_open,
        sl=row.sl,
        tp=row.tp,
        price_stoplimit=row.price_stoplimit,
        magic=row.magic,
        comment=text_of(row.comment),
        time_setup=row.time_setup,
        volume_initial=row.volume_initial,
    )


def past_order_of(row: TradeOrder) -> PastOrder:
    """Return the outcome of an order in history."""
    state = ORDER_STATES.get(row.state, "unknown")
    filled = max(0.0, row.volume_initial - row.volume_current)
    return PastOrder(row.ticket, state, row.position_id, filled)


def history_order_of(row: TradeOrder) -> HistoryOrder:
    """Return an order of the recent past."""
    return HistoryOrder(
        ticket=row.ticket,
        symbol=row.symbol,
        side=Side.BUY if row.type in BUYING else Side.SELL,
        volume=row.volume_initial,
        filled=max(0.0, row.volume_initial - row.volume_current),
        state=ORDER_STATES.get(row.state, "unknown"),
        magic=row.magic,
        comment=text_of(row.comment),
        position=row.position_id,
        by_program=row.reason == mt5.ORDER_REASON_EXPERT,
        time_setup_msc=row.time_setup_msc,
    )


def deal_kind(row: TradeDeal) -> DealKind:
    """Return whether a deal moved lots; a deal of an unknown type did not."""
    if row.type in TRADE_DEALS:
        return DealKind.TRADE
    return DealKind.CANCELED if row.type in CANCELED_DEALS else DealKind.CASH


def deal_of(row: TradeDeal) -> Deal:
    """Return a deal of any type; `deal_kind` says whether the deal moved lots."""
    return Deal(
        ticket=row.ticket,
        order=row.order,
        position=row.position_id,
        symbol=row.symbol,
        side=Side.BUY if row.type in BUYING_DEALS else Side.SELL,
        entry=ENTRIES.get(row.entry, Entry.OUT),
        volume=row.volume,
        price=row.price,
        reason=DEAL_REASONS.get(row.reason, DealReason.OTHER),
        profit=row.profit,
        swap=row.swap,
        commission=row.commission,
        fee=row.fee,
        magic=row.magic,
        time_msc=row.time_msc,
        comment=text_of(row.comment),
        kind=deal_kind(row),
    )


def account_of(row: AccountInfo) -> Account:
    """Return the account; an unknown margin mode counts as hedging, where nothing nets."""
    return Account(
        login=row.login,
        server=text_of(row.server),
        currency=text_of(row.currency),
        margin_mode=MARGIN_MODES.get(row.margin_mode, MarginMode.HEDGING),
        balance=row.balance,
        equity=row.equity,
        credit=row.credit,
        margin=row.margin,
        profit=row.profit,
        currency_digits=row.currency_digits,
        trade_allowed=row.trade_allowed,
        fifo_close=row.fifo_close,
        trade_mode=TRADE_MODES.get(row.trade_mode, ""),
    )


def terminal_of(row: TerminalInfo) -> TerminalState:
    """Return the terminal's state."""
    return TerminalState(row.connected, row.trade_allowed, row.ping_last, row.build)


def spec_of(row: SymbolInfo) -> SymbolSpec:
    """Return a symbol's granularity."""
    return SymbolSpec(row.name, row.volume_step, row.trade_tick_size or row.point, row.digits)
