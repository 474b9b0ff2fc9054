"""The checks of pending orders: placed far from the market, listed in a snapshot, cancelled."""

from __future__ import annotations

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


def pending_orders_wait(orders: Orders) -> Verdict:
    """A limit and a stop order far from the market are PLACED, and wait in the list of orders."""
    why = barred(orders) or ("" if orders.exam.claims("SNAPSHOT") else "SNAPSHOT is not claimed")
    before = None if why else orders.exposure()
    if before is None:
        return unseen(why or "the list of positions cannot be read")
    refused = []
    for kind, times in KINDS.items():
        price = orders.far_price(times)
        if price is None:
            return unseen("no price can be known")
        order = orders.new_order("BUY", orders.volume) | {"type": kind, "price": price}
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
        trouble = _not_listed(orders, kind, price)
        if trouble:
            return broken(trouble, by)
    # Executed at the market instead of waiting.
    if orders.exposure() != before:
        return broken(f"PLACED, and the list shows {orders.lots(orders.exposure())}")
    if refused:
        return unseen("; ".join(refused))
    return _digest_of_orders(orders)


def _not_listed(orders: Orders, kind: str, price: float) -> str:
    """Return the fault of a pending order's row in the list, or ''."""
    ticket = orders.pending[kind]
    if not orders.wait(lambda: _listed(orders, ticket) is not None):
        return f"the {kind} order was PLACED as {ticket}, and no snapshot lists it"
    row = _listed(orders, ticket)
    if row is None:
        return ""
    wanted = (f"buy_{kind}", to_units(price), to_units(orders.volume), NO_DOUBLE_HOLDS)
    came = (row.type.value, to_units(row.price_open), to_units(row.volume), row.magic)
    if came == wanted:
        return ""
    return (
        f"sent: buy_{kind} at {price}, {orders.volume} lots, magic {NO_DOUBLE_HOLDS}; listed: "
        f"{row.type.value} at {row.price_open}, {row.volume} lots, magic {row.magic}"
    )


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
