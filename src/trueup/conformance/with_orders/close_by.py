"""The check of a close-by: two opposite positions of a hedging account close each other."""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.fields import barred
from trueup.conformance.with_orders.orders import Orders
from trueup.core.model import MarginMode
from trueup.core.quantity import to_units
from trueup.errors import OutcomeUnknown


def opposites_close_each_other(orders: Orders) -> Verdict:
    """CLOSE_BY ends the smaller position and leaves the rest of the larger one, once."""
    why = _why_not(orders)
    before = None if why else _units_of(orders)
    if before is None:
        return unseen(why or "the list of positions cannot be read")
    opened = []
    for action, volume in (("BUY", 2 * orders.volume), ("SELL", orders.volume)):
        ticket, refusal = _opened(orders, action, volume)
        if refusal:
            return unseen(refusal)
        opened.append(ticket)
    larger, smaller = opened
    wanted = {**before, larger: to_units(orders.volume)}
    order = {
        "action": "CLOSE_BY",
        "order_id": orders.exam.new_name(),
        "symbol": orders.symbol,
        "position": larger,
        "position_by": smaller,
    }
    trouble = _not_closed(orders, order, wanted) or _not_repeated(orders, order, wanted)
    if trouble:
        return broken(trouble, orders.latest_order())
    # With itself no position can be closed, and the smaller one is gone.
    for other, what in ((larger, "a close-by of one position"), (smaller, "one with a closed one")):
        again = {**order, "order_id": orders.exam.new_name(), "position_by": other}
        trouble = orders.objection(again, what)
        if trouble:
            return broken(trouble, orders.latest_order())
    # The checks that follow expect one position.
    rest = next((row for row in orders.held() or () if row.ticket == larger), None)
    if rest is None or not orders.closes(rest):
        return broken(f"the rest of {larger} could not be closed", orders.latest_order())
    return holds(f"{smaller} closed {larger} in part, and ended")


def _why_not(orders: Orders) -> str:
    why = barred(orders)
    if why or not orders.exam.claims("CLOSE_BY"):
        return why or "CLOSE_BY is not claimed"
    evidence = orders.exam.look() if orders.exam.claims("SNAPSHOT") else None
    if evidence is None:
        return "no snapshot says which kind of account this is"
    if evidence.account.margin_mode is not MarginMode.HEDGING:
        return "only a hedging account has two positions in a symbol"
    return ""


def _units_of(orders: Orders) -> dict[int, int] | None:
    """Return the lots of each position of the symbol, in units of 1e-8, by ticket."""
    held = orders.held()
    return None if held is None else {row.ticket: to_units(row.volume) for row in held}


def _opened(orders: Orders, action: str, volume: float) -> tuple[int, str]:
    """Return the ticket of a new position, or 0 and why there is none."""
    try:
        outcome = orders.send(orders.new_order(action, volume))
    except OutcomeUnknown as error:
        return 0, str(error)
    ticket = outcome["ticket"] or 0
    # The broker may not allow hedging or more positions; that says nothing about the gateway.
    if outcome["status"] != "FILLED":
        return 0, f"a position to close was not opened: {outcome['error']}"
    if not orders.wait(lambda: ticket in (_units_of(orders) or {})):
        return 0, f"position {ticket} does not show"
    return ticket, ""


def _not_closed(orders: Orders, order: dict[str, Any], wanted: dict[int, int]) -> str:
    try:
        outcome = orders.send(order)
    except OutcomeUnknown as error:
        return str(error)
    if outcome["status"] != "FILLED":
        return f"CLOSE_BY got {orders.exam.probe.said[-1].status}: {outcome['error']}"
    if to_units(outcome["filled_volume"] or 0.0) != to_units(orders.volume):
        return f"CLOSE_BY of {orders.volume} lots was FILLED with {outcome['filled_volume']}"
    if not orders.wait(lambda: _units_of(orders) == wanted):
        return f"CLOSE_BY was FILLED, and the list shows {_units_of(orders)}, not {wanted} (1e-8)"
    return ""


def _not_repeated(orders: Orders, order: dict[str, Any], wanted: dict[int, int]) -> str:
    """Return the fault of the same CLOSE_BY under the same id, or ''."""
    try:
        outcome = orders.send(order)
    except OutcomeUnknown as error:
        return str(error)
    if outcome["status"] != "FILLED" or _units_of(orders) != wanted:
        said = orders.exam.probe.said[-1].status
        return f"the same CLOSE_BY again got {said}, and the list shows {_units_of(orders)}"
    return ""
