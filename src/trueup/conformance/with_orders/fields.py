"""The checks of single fields of an order; they send orders.

At a gateway that follows the protocol these orders open no position.
"""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.orders import NOT_OPENED, Orders
from trueup.conformance.with_orders.trading import NO_DOUBLE_HOLDS
from trueup.conformance.without_orders.family import NO_SUCH_SYMBOL
from trueup.core.model import MarginMode
from trueup.core.quantity import to_units
from trueup.errors import OutcomeUnknown

NOT_CLAIMED = "REQUEST_STATUS is not claimed"


def barred(orders: Orders) -> str:
    """Return why no further order may be sent, or ''."""
    if not orders.exam.claims("REQUEST_STATUS"):
        return NOT_CLAIMED
    if not orders.order:
        return NOT_OPENED
    if orders.executes_refused:
        return "not sent: it executes what must be refused"
    return "not sent: it executes what comes again" if orders.executes_again else ""


def integers_are_whole(orders: Orders) -> Verdict:
    """A magic number of more than 53 bits comes back unchanged in the list."""
    if "magic" not in orders.order or not orders.identifier:
        return unseen(NOT_OPENED if orders.exam.claims("SNAPSHOT") else "SNAPSHOT is not claimed")
    held = orders.held()
    if not held:
        return unseen("the list of positions cannot be read")
    came = held[0].magic
    if came != NO_DOUBLE_HOLDS:
        return broken(f"the order's magic was {NO_DOUBLE_HOLDS}, and the position's is {came}")
    return holds(f"magic {NO_DOUBLE_HOLDS} came back as it went")


def other_accounts_are_refused(orders: Orders) -> Verdict:
    """An order for another login, or another server, is refused."""
    why = barred(orders)
    evidence = None if why else orders.exam.look()
    if evidence is None:
        return unseen(why or "no snapshot says which account this is")
    account = evidence.account
    order = orders.new_order("BUY", orders.volume)
    # A terminal can be logged in to another account at any time: such an order must not go there.
    return _all_refused(
        orders,
        {
            f"an order for login {account.login + 1}": {**order, "login": account.login + 1},
            "an order for another server": {
                **orders.new_order("BUY", orders.volume),
                "login": account.login,
                "server": f"{account.server}-2",
            },
        },
        "an order for another login, or another server, is refused",
    )


def refusals_are_told(orders: Orders) -> Verdict:
    """An order that cannot be executed is REJECTED, with a reason, in an order's reply."""
    first = orders.refusal_is_told()
    # A gateway that executes invalid orders must not get a dozen of them.
    if first.outcome.value != "holds" or barred(orders):
        return first
    price = orders.order["price"]
    evidence = orders.exam.look()
    # On a netting account a larger close is valid: the order reverses the position.
    is_hedging = evidence is not None and evidence.account.margin_mode is MarginMode.HEDGING

    def order(**fields: Any) -> dict[str, Any]:
        return orders.new_order("BUY", orders.volume) | fields

    everywhere = order()
    del everywhere["symbol"]
    ticket = orders.outcome.get("ticket")
    verdict = _all_refused(
        orders,
        {
            "an order without a symbol": everywhere,
            "a volume that is a text": order(volume="much"),
            "a volume of 0": order(volume=0.0),
            "a volume below 0": order(volume=-orders.volume),
            "a type that nobody knows": order(type="dance"),
            **(
                {
                    "a filling that nobody knows": order(type_filling="dance"),
                    "an expiry of an order at the market": order(type_time="DAY"),
                }
                if orders.exam.claims("TERMS")
                else {}
            ),
            "the close of a position that is none": order(action="SELL", position=1),
            "a close of 0 lots": order(action="SELL", position=ticket, volume=0.0),
            **(
                {
                    "a close of more than there is": order(
                        action="SELL", position=ticket, volume=2 * orders.volume
                    ),
                    "a close on the position's own side": order(position=ticket),
                }
                if is_hedging
                else {}
            ),
            "a pending order that names a position": order(
                action="SELL", position=ticket, type="limit", price=price * 2
            ),
            "the change of a position that is none": {
                "action": "MODIFY",
                "order_id": orders.exam.new_name(),
                "symbol": orders.symbol,
                "position": 1,
                "sl": 0.0,
                "tp": 0.0,
            },
            "the end of a pending order that is none": {
                "action": "CANCEL",
                "order_id": orders.exam.new_name(),
                "symbol": orders.symbol,
                "order": 1,
            },
        },
        f"{NO_SUCH_SYMBOL}, and a dozen orders that cannot be executed",
    )
    # Without a valid id there is no order to refuse, so ERROR is right too.
    nameless = {name: value for name, value in order().items() if name != "order_id"}
    for what, more in (("without an order_id", {}), ("of 129 characters", {"order_id": "x" * 129})):
        exchange = orders.exam.probe.ask({**nameless, **more})
        if exchange.status not in ("REJECTED", "ERROR"):
            said = exchange.status or exchange.why
            return broken(f"an order {what} got {said}", exchange)
    return verdict


def _all_refused(orders: Orders, sent: dict[str, dict[str, Any]], otherwise: str) -> Verdict:
    # An order that is executed all the same and shows late is found by the check of the close.
    for what, order in sent.items():
        trouble = orders.objection(order, what)
        if trouble:
            return broken(trouble, orders.latest_order())
    return holds(otherwise, orders.latest_order())


def stops_are_set(orders: Orders) -> Verdict:
    """MODIFY sets both stops of a position; 0 removes a stop; a change to the same is DONE."""
    why = barred(orders)
    # Far from the market, so that no stop is reached while the check runs.
    low, high = (None, None) if why else (orders.far_price(0.5), orders.far_price(2.0))
    if low is None or high is None or not orders.identifier:
        return unseen(why or NOT_OPENED if not orders.identifier else "no price can be known")
    # Set both, set the same again, remove the stop loss, remove both.
    for sl, tp in ((low, high), (low, high), (0.0, high), (0.0, 0.0)):
        change = {
            "action": "MODIFY",
            "order_id": orders.exam.new_name(),
            "symbol": orders.symbol,
            "position": _ticket(orders),
            "sl": sl,
            "tp": tp,
        }
        try:
            outcome = orders.send(change)
        except OutcomeUnknown as error:
            return broken(str(error))
        by = orders.exam.probe.said[-1]
        # The broker may refuse such stops; that says nothing about the gateway.
        if outcome["status"] == by.status == "REJECTED" and (sl, tp) == (low, high):
            return unseen(f"sl {sl} and tp {tp} were refused: {outcome['error']}", by)
        if outcome["status"] != "DONE":
            return broken(f"MODIFY to sl {sl}, tp {tp} got {by.status}: {outcome['error']}", by)
        wanted = (to_units(sl), to_units(tp))
        if not _comes_to(orders, wanted):
            return broken(f"MODIFY to sl {sl}, tp {tp} was DONE, and the list shows others", by)
    return holds(f"sl {low} and tp {high} were set, set again and taken away")


def _ticket(orders: Orders) -> int:
    held = orders.held()
    return held[0].ticket if held else 0


def _comes_to(orders: Orders, wanted: tuple[int, int]) -> bool:
    return orders.wait(lambda: _stops(orders) == wanted)


def _stops(orders: Orders) -> tuple[int, int] | None:
    held = orders.held()
    return (to_units(held[0].sl), to_units(held[0].tp)) if held else None
