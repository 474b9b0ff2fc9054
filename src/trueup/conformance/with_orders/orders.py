"""The first checks of `at-most-once`. They place orders, so they run only with `--trade`.

An order of the smallest volume is sent, repeated, repeated with changes, and closed. The other
checks that place orders are in the other modules of this package, by part of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.conformance.examination.examination import FIRST_ID
from trueup.conformance.examination.findings import Outcome, Verdict, broken, holds, unseen
from trueup.conformance.examination.probe import Exchange
from trueup.conformance.with_orders.trading import COMMENT, NO_DOUBLE_HOLDS, Trading
from trueup.conformance.without_orders.family import NO_SUCH_SYMBOL
from trueup.core.account.trust import Unknown
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.model import Snapshot
from trueup.core.quantity import add_lots, to_units
from trueup.errors import OutcomeUnknown
from trueup.protocol.request_status import decode_status, encode_status_request

NOT_OPENED = "the first order was not executed, so there is nothing to repeat"
SAME = ("status", "ticket")
DEFAULTS: dict[str, object] = {
    "sl": 0.0,
    "tp": 0.0,
    "position": 0,
    "order": 0,
    "login": 0,
    "server": "",
    "type": "market",
}


class Orders(Trading):
    """The checks of the orders that open and close the position of an examination."""

    order: dict[str, Any]
    outcome: dict[str, Any]
    first_outcome: dict[str, Any]
    closing: dict[str, Any]
    identifier: int
    executes_again: bool
    while_open: Snapshot | None

    _first_id = ""
    # The record's answer about the first order, before the order was sent.
    _before_it_came: RequestStatus | Unknown | None = None

    # The checks, in the order in which they must run.

    def order_names_itself(self) -> Verdict:
        """The outcome names the order that was sent, with a known status."""
        held = self.held()
        # A symbol with a position belongs to another program: do not touch that position.
        if held is None:
            return unseen("the list of positions cannot be read")
        if held:
            return unseen(f"{self.symbol} has a position already: give another --symbol")
        order = self.new_order("BUY", self.volume)
        self.has_begun = True
        self._first_id = order["order_id"]
        # Asked before the order: a record must not withdraw an order because of a question.
        self._before_it_came = self._recorded(self._first_id)
        try:
            outcome = self.send(order)
        except OutcomeUnknown as why:
            verdict = self._judged(order, why)
            # The order may show late; waiting here lets the clean-up find the position.
            self.goes_beyond(0.0)
            return verdict
        if outcome["status"] == "REJECTED":
            return unseen(f"the order was refused: {outcome['error']}")
        self.order, self.outcome, self.first_outcome = order, outcome, outcome
        ticket, price = outcome["ticket"], outcome["filled_price"]
        return holds(f"{outcome['status']}, ticket {ticket}, {price}")

    def needs_no_signature(self) -> Verdict:
        """No order is refused because of a missing signature.

        If the gateway does not know BUY, OPEN of the other dialect is sent, in a symbol that no
        broker has: a gateway that verifies signatures does so first.
        """
        if self.order:
            return holds("the order was taken without a signature")
        refusal = next((said for said in reversed(self.exam.probe.said) if _is_order(said)), None)
        if refusal is None:
            return unseen("no order was sent")
        # The refusal may be about the action's name only, which proves nothing about signatures.
        if not _names_signature(refusal):
            refusal = self.exam.probe.ask(
                {
                    "action": "OPEN",
                    "uuid": self.exam.new_name(),
                    "symbol": NO_SUCH_SYMBOL,
                    "type": "BUY",
                    "volume": self.volume,
                    "comment": COMMENT,
                }
            )
        if not _names_signature(refusal):
            return unseen("no order was taken, and none was refused for want of a signature")
        return broken(
            f"it wants a risk_signature with each order ({refusal.error}): trueup sends none, so "
            "it can look here and not trade",
            refusal,
        )

    def order_is_executed(self) -> Verdict:
        """A FILLED order is in the list."""
        if self.outcome.get("status") != "FILLED":
            return unseen(NOT_OPENED)
        if self.settles_at(self.volume):
            held = self.held()
            self.identifier = held[0].identifier if held else 0
            return holds(f"{self.lots(self.volume)} is in the list")
        wrong = self._wrong_side("BUY", -self.volume)
        return broken(f"FILLED, and the list shows {self.lots(self.exposure())}{wrong}")

    def repeat_is_not_executed(self) -> Verdict:
        """The same order under the same id is not executed again, and has the same outcome."""
        # Known from here on: later checks must not repeat orders at a gateway that executes them.
        verdict = self._once(self.order, self.volume)
        self.executes_again = verdict.outcome is Outcome.BROKEN
        if verdict.outcome is not Outcome.HOLDS or not self.exam.claims("REQUEST_STATUS"):
            return verdict
        second = verdict.shown_by.fields if verdict.shown_by is not None else None
        if (second or {}).get("repeated") is not True:
            return broken("the second answer does not say that it is `repeated`", verdict.shown_by)
        if self.outcome.get("repeated"):
            return broken("the first answer said `repeated`, and nothing had come before")
        # The same order in other words: fields in another order, and defaults written out.
        try:
            spelled_out = self.send(self._with_defaults())["ticket"]
        except OutcomeUnknown as why:
            return broken(f"with its defaults given it got no outcome: {why}")
        if spelled_out != self.outcome["ticket"]:
            return broken("with its defaults given it is taken for another order")
        return verdict

    def _with_defaults(self) -> dict[str, Any]:
        """Return the first order with its fields reversed, and with explicit defaults."""
        return {**DEFAULTS, **dict(reversed(self.order.items()))}

    def change_is_refused(self) -> Verdict:
        """A different order under a used id is refused, whichever field differs."""
        before = self.exposure()
        if not self.order or before is None:
            return unseen(NOT_OPENED if not self.order else "the list cannot be read")
        if self.executes_again:
            return unseen("not sent: it executes what comes again")
        changes = self._changes()
        # A field that the gateway does not compare would let a changed order pass as a repeat.
        for name, value in changes.items():
            what = f"an id that was used, with another {name},"
            trouble = self.objection(self.order | {name: value}, what)
            if trouble:
                executed = self.goes_beyond(before)
                also = f"; the list shows {self.lots(self.exposure())}" if executed else ""
                return broken(f"{trouble}{also}", self.latest_order())
        if self.goes_beyond(before):
            return broken(
                f"executed under an id that was used: the list shows {self.lots(self.exposure())}",
                self.latest_order(),
            )
        return holds(f"refused with another {', '.join(changes)}", self.latest_order())

    def _changes(self) -> dict[str, Any]:
        """Return, for each field, a value that makes the order a different order."""
        changes: dict[str, Any] = {"volume": 2 * self.volume}
        if self.exam.claims("REQUEST_STATUS"):
            price = self.order["price"]
            changes |= {
                "sl": price / 2,
                "tp": price * 2,
                "price": price * 1.5,
                "magic": NO_DOUBLE_HOLDS - 1,
                "comment": f"{COMMENT} 2",
                "position": 1,
                "action": "SELL",
                "symbol": NO_SUCH_SYMBOL,
            }
        return {name: value for name, value in changes.items() if value != self.order.get(name)}

    def status_is_told(self) -> Verdict:
        """The record tells the outcome of the first order."""
        if not self.exam.claims("REQUEST_STATUS"):
            return unseen("REQUEST_STATUS is not claimed")
        if not self.order:
            return self._of_a_refused_order()
        before = self._before_it_came
        if isinstance(before, RequestStatus) and before.state is not RequestState.NEVER_SEEN:
            return broken(f"before the order came, the record had it as {before.state.value!r}")
        # After a crash a bot knows only this answer, so the answer must equal the first reply.
        told = self._recorded(self.order["order_id"])
        if told is None:
            return broken("REQUEST_STATUS got no answer")
        if isinstance(told, Unknown):
            return broken(told.sentence)
        first = self.outcome
        if (told.status, told.ticket) != (first["status"], first["ticket"]):
            return broken(
                f"the reply was {first['status']}, ticket {first['ticket']}; the record has "
                f"{told.state.value!r}, {told.status or 'no status'}, ticket {told.ticket}"
            )
        if (told.volume, told.price) != (first["filled_volume"], first["filled_price"]):
            return broken(
                f"the reply was {first['filled_volume']} lots at {first['filled_price']}; the "
                f"record has {told.volume} at {told.price}"
            )
        evidence = self.exam.look() if self.exam.claims("SNAPSHOT") else None
        if evidence is not None and told.login != evidence.account.login:
            return broken(f"the record has login {told.login}, not {evidence.account.login}")
        return holds(f"{told.state.value}: {told.status}, ticket {told.ticket}")

    def _of_a_refused_order(self) -> Verdict:
        told = self._recorded(self._first_id) if self._first_id else None
        if isinstance(told, RequestStatus) and told.state is RequestState.WITHDRAWN:
            return broken("REQUEST_STATUS was asked for an order before it came, and withdrew it")
        return unseen(NOT_OPENED)

    def _recorded(self, order_id: str) -> RequestStatus | Unknown | None:
        """Ask the gateway's record about an order; None if there is no record."""
        if not self.exam.claims("REQUEST_STATUS"):
            return None
        raw = self.exam.probe.ask(encode_status_request(order_id)).raw
        return None if raw is None else decode_status(raw, order_id)

    def refusal_is_told(self) -> Verdict:
        """An order that cannot be executed is REJECTED, with a reason."""
        order = self.new_order("BUY", self.volume) | {"symbol": NO_SUCH_SYMBOL}
        try:
            outcome = self.send(order)
        except OutcomeUnknown as why:
            return broken(str(why))
        if outcome["status"] != "REJECTED":
            return broken(f"an order in {NO_SUCH_SYMBOL} got {outcome['status']}")
        return holds(f"{outcome['error']}" if outcome["error"] else "REJECTED, without a reason")

    def close_is_executed_once(self) -> Verdict:
        """A close that is sent twice closes once, and opens no position."""
        ticket = self.outcome.get("ticket")
        if not ticket:
            return unseen(NOT_OPENED)
        # A second close at such a gateway would open the opposite position.
        if self.executes_again:
            return unseen("not sent: it executes what comes again")
        before = self.exposure()
        if before is None:
            return unseen("the list of positions cannot be read")
        # An order that was refused and executed all the same may show only now.
        if to_units(before) != to_units(self.volume) and not self.executes_refused:
            return broken(
                f"{self.lots(self.volume)} were opened, and after orders that were refused the "
                f"list shows {self.lots(before)}"
            )
        order = self.new_order("SELL", self.volume) | {"position": ticket}
        self._note_what_is_open()
        try:
            first = self.send(order)
        except OutcomeUnknown as why:
            return self._judged(order, why)
        if first["status"] != "FILLED":
            return unseen(f"the close got {first['status']}: {first['error']}")
        after = add_lots(before, -self.volume)
        if not self.settles_at(after):
            wrong = self._wrong_side("SELL", add_lots(before, self.volume))
            return broken(f"closed, and the list shows {self.lots(self.exposure())}{wrong}")
        self.outcome, self.closing = first, order
        return self._once(order, after)

    def _note_what_is_open(self) -> None:
        if self.exam.claims("SNAPSHOT"):
            reading = self.exam.take(f"{self.exam.name}-g", FIRST_ID).reading
            self.while_open = reading if isinstance(reading, Snapshot) else None

    def _judged(self, order: Mapping[str, Any], why: OutcomeUnknown) -> Verdict:
        """Judge a reply without an outcome: UNKNOWN is within the protocol."""
        reply = self.exam.probe.said[-1]
        if reply.status != "UNKNOWN" or (reply.fields or {}).get("order_id") != order["order_id"]:
            return broken(str(why), reply)
        return unseen(f"{why}: look at the account", reply)

    def _once(self, order: Mapping[str, Any], volume: float) -> Verdict:
        if not order:
            return unseen(NOT_OPENED)
        first = self.outcome
        try:
            again = self.send(order)
            answer = f"{again['status']}, ticket {again['ticket']}"
        except OutcomeUnknown as why:
            again, answer = {}, str(why)
        by = self.exam.probe.said[-1]
        # The list decides, not the reply: a gateway may execute twice and repeat its first reply.
        if self.goes_beyond(volume):
            lots = self.lots(self.exposure())
            return broken(f"sent twice, executed twice: {answer}; the list shows {lots}", by)
        if [again.get(name) for name in SAME] != [first[name] for name in SAME]:
            return broken(
                f"not executed twice, but the first answer was {first['status']}, ticket "
                f"{first['ticket']}, and the second: {answer}",
                by,
            )
        return holds(f"the same outcome twice, and {self.lots(volume)} in the list", by)

    def _wrong_side(self, action: str, opposite: float) -> str:
        """Return a hint if the list shows that an order did the opposite, else ''."""
        if not self.shows_opposite(opposite):
            return ""
        return f": {action} did the opposite; it may read the side in `type`, and not in `action`"


def _is_order(exchange: Exchange) -> bool:
    return b'"order_id"' in exchange.sent and b'"BUY"' in exchange.sent


def _names_signature(exchange: Exchange) -> bool:
    said = f"{exchange.error} {(exchange.fields or {}).get('error_code', '')}"
    return "signature" in said.lower()
