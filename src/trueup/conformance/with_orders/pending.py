"""The checks of pending orders: placed far from the market, listed in a snapshot, cancelled."""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination.examination import FIRST_ID
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.fields import barred
from trueup.conformance.with_orders.orders import Orders
from trueup.conformance.with_orders.trading import NO_DOUBLE_HOLDS
from trueup.conformance.without_orders.snapshots import digest_trouble
from trueup.core.model import PendingOrder, Snapshot
from trueup.core.quantity import to_units
from trueup.errors import OutcomeUnknown

# Factors of the bid: a buy limit below the market and a buy stop above the market, both too far
# away to be reached during an examination.
KINDS = {"limit": 0.5, "stop": 2.0}
# The price of the limit order that a stop-limit order becomes, as a factor of its first price.
SECOND = 0.95


def pending_orders_wait(orders: Orders) -> Verdict:
    """Pending orders far from the market are PLACED, listed, and modified."""
    why = barred(orders) or ("" if orders.exam.claims("SNAPSHOT") else "SNAPSHOT is not claimed")
    before = None if why else orders.exposure()
    if before is None:
        return unseen(why or "the list of positions cannot be read")
    refused = []
    kinds = KINDS | ({"stop_limit": 2.0} if orders.exam.claims("STOP_LIMIT") else {})
    for kind, times in kinds.items():
        price = orders.far_price(times)
        if price is None:
            return unseen("no price can be known")
        order = orders.new_order("BUY", orders.volume) | {"type": kind, "price": price}
        order |= _second(orders, kind, times)
        try:
            outcome = orders.send(order)
        except OutcomeUnknown as error:
            return broken(str(error))
        by = orders.exam.probe.said[-1]
        # The broker may not allow this kind of order; the other kind is still checked.
        if outcome["status"] == by.status == "REJECTED":
            refused.append(f"a {kind} at {price} was refused: {outcome['error']}")
            continue
        if outcome["status"] != "PLACED":
            return broken(f"a {kind} order to buy at {price} got {by.status}", by)
        orders.pending[kind] = outcome["ticket"] or 0
        trouble = _not_listed(orders, order) or _not_modified(orders, kind, price)
        if trouble:
            return broken(trouble, orders.latest_order() or by)
    # Executed at the market instead of waiting.
    if orders.exposure() != before:
        return broken(f"PLACED, and the list shows {orders.lots(orders.exposure())}")
    if refused:
        return unseen("; ".join(refused))
    return _digest_of_orders(orders)


def _not_listed(orders: Orders, order: dict[str, Any]) -> str:
    """Return the fault of a pending order's row in the list, or ''."""
    kind, price, second = order["type"], order["price"], order.get("stoplimit", 0.0)
    ticket = orders.pending[kind]
    if not orders.wait(lambda: _listed(orders, ticket) is not None):
        return f"the {kind} order was PLACED as {ticket}, and no snapshot lists it"
    row = _listed(orders, ticket)
    if row is None:
        return ""
    wanted = (f"buy_{kind}", *map(to_units, (price, second, orders.volume)), NO_DOUBLE_HOLDS)
    figures = (row.price_open, row.price_stoplimit, row.volume)
    came = (row.type.value, *map(to_units, figures), row.magic)
    if came == wanted:
        return ""
    return (
        f"sent: {_in_words(f'buy_{kind}', price, second, orders.volume, NO_DOUBLE_HOLDS)}; "
        f"listed: {_in_words(row.type.value, *figures, row.magic)}"
    )


def _in_words(kind: str, price: float, second: float, volume: float, magic: int) -> str:
    then = f" then {second}" if second else ""
    return f"{kind} at {price}{then}, {volume} lots, magic {magic}"


def _not_modified(orders: Orders, kind: str, price: float) -> str:
    """Return the fault of MODIFY_ORDER, or ''; the order has its first price again afterwards."""
    if not orders.exam.claims("MODIFY_ORDER"):
        return ""
    times = KINDS.get(kind, 2.0)
    further = orders.far_price(times * (0.9 if times < 1 else 1.1)) or price
    second = _second(orders, kind, times)
    # The last one wants what is there already.
    for wanted in (further, price, price):
        trouble = _not_moved(orders, orders.pending[kind], wanted, second)
        if trouble:
            return trouble
    nothing = _modification(orders, 1, price, second)
    return orders.objection(nothing, "the change of a pending order that is none")


def _second(orders: Orders, kind: str, times: float) -> dict[str, Any]:
    """Return the second price of a stop-limit order to buy: below its first; empty for others."""
    return {"stoplimit": orders.far_price(times * SECOND)} if kind == "stop_limit" else {}


def _modification(
    orders: Orders, ticket: int, price: float, second: dict[str, Any]
) -> dict[str, Any]:
    return {
        **second,
        "action": "MODIFY_ORDER",
        "order_id": orders.exam.new_name(),
        "symbol": orders.symbol,
        "order": ticket,
        "price": price,
    }


def _not_moved(orders: Orders, ticket: int, price: float, second: dict[str, Any]) -> str:
    try:
        outcome = orders.send(_modification(orders, ticket, price, second))
    except OutcomeUnknown as error:
        return str(error)
    if outcome["status"] != "DONE":
        said = orders.exam.probe.said[-1].status
        return f"MODIFY_ORDER of {ticket} to {price} got {said}: {outcome['error']}"
    if orders.wait(lambda: _price(orders, ticket) == to_units(price)):
        return ""
    return f"MODIFY_ORDER of {ticket} to {price} was DONE, and the list shows another price"


def _price(orders: Orders, ticket: int) -> int | None:
    row = _listed(orders, ticket)
    return None if row is None else to_units(row.price_open)


def _listed(orders: Orders, ticket: int) -> PendingOrder | None:
    evidence = orders.exam.look()
    rows = () if evidence is None else evidence.orders
    return next((row for row in rows if row.ticket == ticket), None)


def _digest_of_orders(orders: Orders) -> Verdict:
    taken = orders.exam.take(f"{orders.exam.name}-l", FIRST_ID)
    if not isinstance(taken.reading, Snapshot):
        return unseen("no snapshot could be read while they waited")
    trouble, lines = digest_trouble(taken)
    if trouble:
        return broken(trouble, taken.exchange, lines)
    tickets = " and ".join(map(str, orders.pending.values()))
    return holds(f"{tickets} wait, and the digest is that of the lists", taken.exchange)


def cancelled_orders_end(orders: Orders) -> Verdict:
    """CANCEL ends a pending order once, and the end can be explained."""
    if not orders.pending:
        return unseen(barred(orders) or "no pending order was placed")
    tickets = tuple(orders.pending.values())
    for kind, ticket in list(orders.pending.items()):
        trouble = _not_cancelled(orders, ticket)
        if trouble:
            return broken(trouble, orders.latest_order())
        del orders.pending[kind]
    # The order has ended, so a second CANCEL must be refused and not reported as done.
    cancel = {"action": "CANCEL", "symbol": orders.symbol, "order": tickets[0]}
    again = {**cancel, "order_id": orders.exam.new_name()}
    trouble = orders.objection(again, "the end of an order that had ended")
    if trouble:
        return broken(trouble, orders.latest_order())
    if not orders.exam.claims("DEALS"):
        return holds("both ended")
    return _ends_explained(orders, tickets)


def _not_cancelled(orders: Orders, ticket: int) -> str:
    cancel = {"action": "CANCEL", "symbol": orders.symbol, "order": ticket}
    try:
        outcome = orders.send({**cancel, "order_id": orders.exam.new_name()})
    except OutcomeUnknown as error:
        return str(error)
    if outcome["status"] != "DONE":
        return f"CANCEL of {ticket} got {orders.exam.probe.said[-1].status}: {outcome['error']}"
    if not orders.wait(lambda: _listed(orders, ticket) is None):
        return f"CANCEL of {ticket} was DONE, and a snapshot lists it still"
    return ""


def _ends_explained(orders: Orders, tickets: tuple[int, ...]) -> Verdict:
    def told() -> dict[int, str]:
        evidence = orders.exam.look(explain_orders=tickets)
        return {} if evidence is None else {o.ticket: o.state for o in evidence.past_orders}

    wanted = dict.fromkeys(tickets, "canceled")
    if orders.wait(lambda: told() == wanted):
        return holds(f"{len(tickets)} ended, and are told as canceled")
    return broken(f"cancelled: {', '.join(map(str, tickets))}; past_orders tell {told()}")
