"""Build the `OrderSendResult` of an order: from the terminal's own result, or from the evidence."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.quantity import add_lots
from trueup.doors.mt5.rows import ROW_TYPES
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol.requests import ModuleResult
from trueup.sim.market.structs import OrderSendResult, TradeRequest

_FIELDS = tuple(ModuleResult.__struct_fields__)
RESULTS_KEPT = 100


class ResultTap:
    """Sends orders through a gateway, and keeps the terminal's own result of each.

    Args:
        gateway: the gateway.
    """

    def __init__(self, gateway: ExecutionGateway) -> None:
        self._gateway = gateway
        self._results: dict[str, Mapping[str, Any]] = {}

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order once; see `ExecutionGateway.send_order`."""
        reply = self._gateway.send_order({**order, "with_result": True})
        result = reply.get("result")
        if isinstance(result, Mapping) and all(name in result for name in _FIELDS):
            self._results[str(order["order_id"])] = result
            if len(self._results) > RESULTS_KEPT:
                del self._results[next(iter(self._results))]
        return reply

    def result_of(self, order_id: str) -> Mapping[str, Any] | None:
        """Return the terminal's own result of a recent order, or None."""
        return self._results.get(order_id)

    def __getattr__(self, name: str) -> Any:
        # The order desk asks the gateway for its record, its clock and its capabilities.
        return getattr(self._gateway, name)


def own_result(result: Mapping[str, Any], request: TradeRequest) -> OrderSendResult:
    """Return the terminal's own result with the program's request."""
    return _row([result[name] for name in _FIELDS], request)


def refused(
    request: TradeRequest, why: str, retcode: int = mt5.TRADE_RETCODE_REJECT
) -> OrderSendResult:
    """Return the result of a request that was not sent; `comment` has the reason."""
    return _row([retcode, 0, 0, 0.0, 0.0, 0.0, 0.0, why, 0, 0], request)


def rebuilt(order: Order, terminal: Terminal, request: TradeRequest) -> OrderSendResult:
    """Return the result of an order whose own result was lost, by order and deals at the broker."""
    if order.status is not OrderStatus.FILLED:
        return refused(request, order.error or f"{order.order_id} was not executed")
    ticket = order.ticket or 0
    why = f"{order.order_id} was executed; its answer was lost"
    code = mt5.TRADE_RETCODE_DONE
    if request.action == mt5.TRADE_ACTION_PENDING:
        # The module's own result of a placed order has the volume asked for, and no price.
        return _row([code, 0, ticket, order.volume, 0.0, 0.0, 0.0, why, 0, 0], request)
    deals = _deals_of(terminal, ticket)
    volume, price = order.filled_volume or 0.0, order.fill_price or 0.0
    if deals:
        volume = _lots_of(deals)
        price = price or deals[0].price
        if volume < order.volume:
            code = mt5.TRADE_RETCODE_DONE_PARTIAL
    number = deals[0].ticket if deals else 0
    return _row([code, number, ticket, volume, price, 0.0, 0.0, why, 0, 0], request)


def part_so_far(
    order: Order, ticket: int, terminal: Terminal, request: TradeRequest
) -> OrderSendResult | None:
    """Return the result of an order whose rest still works, by its deals; None without any."""
    deals = _deals_of(terminal, ticket)
    if not deals:
        return None
    volume = _lots_of(deals)
    why, first = f"{order.order_id} is filled in part, and the rest works", deals[0]
    # The rest may have been filled since the order was listed.
    is_whole = add_lots(volume, -order.volume) >= 0
    code = mt5.TRADE_RETCODE_DONE if is_whole else mt5.TRADE_RETCODE_DONE_PARTIAL
    return _row([code, first.ticket, ticket, volume, first.price, 0.0, 0.0, why, 0, 0], request)


def _lots_of(deals: Iterable[Any]) -> float:
    lots: float = functools.reduce(add_lots, (deal.volume for deal in deals))
    return lots


def _deals_of(terminal: Terminal, order_ticket: int) -> list[Any]:
    """Return the deals of an order, oldest first; none while the history does not show them."""
    if not order_ticket:
        return []
    # Whether `history_deals_get(ticket=)` means an order or a deal is not certain, so the deals
    # are taken by position. On a hedging account the identifier of a position is the ticket of its
    # first order, on a netting account it is often that of an earlier one.
    done = terminal.history_orders_get(ticket=order_ticket) or ()
    for identifier in dict.fromkeys((*(row.position_id for row in done), order_ticket)):
        deals = terminal.history_deals_get(position=identifier) or () if identifier else ()
        made = [deal for deal in deals if deal.order == order_ticket]
        if made:
            return made
    return []


def _row(values: list[Any], request: TradeRequest) -> OrderSendResult:
    asked = ROW_TYPES["TradeRequest"]._make(request)
    row: OrderSendResult = ROW_TYPES["OrderSendResult"]._make([*values, asked])
    return row
