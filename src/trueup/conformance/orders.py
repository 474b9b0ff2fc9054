"""The checks of `at-most-once`: they place orders, so they run only where somebody said so.

One order of the smallest lot is sent, sent again, sent changed, and closed; what it did is read off
the list of positions, never off the gateway's word alone. A symbol that has a position already is
left alone, so nothing of anybody else's is touched. What could not be closed again is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trueup.conformance.examination import FIRST_ID, Examination
from trueup.conformance.findings import Outcome, Verdict, broken, holds, unseen
from trueup.conformance.probe import Exchange
from trueup.core.model import Position, Snapshot
from trueup.core.quantity import add_lots, format_lots, to_units
from trueup.core.trust import Unknown
from trueup.errors import OutcomeUnknown, TrueupError
from trueup.protocol.orders import decode_outcome
from trueup.protocol.request_status import decode_status, encode_status_request
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

NO_SUCH_SYMBOL = "NOSUCHSYMBOL"
COMMENT = "conformance"
NOT_OPENED = "the first order was not executed, so there is nothing to repeat"
SAME = ("status", "ticket")
_LOTS_UNLESS_TOLD = 0.01


class Orders:
    """The orders of one examination, and what they did.

    Raises:
        TrueupError: the account is real money, or may be, and nobody allowed that.
    """

    def __init__(self, exam: Examination) -> None:
        self._exam = exam
        self._symbol = exam.options.symbol
        self._refuse_real_money()
        self._volume = exam.options.volume or self._smallest()
        self._order: dict[str, Any] = {}
        self._outcome: dict[str, Any] = {}
        self._opened: set[int] = set()
        self._has_begun = self._executes_again = False

    # The checks, in the order in which they must run.

    def order_names_itself(self) -> Verdict:
        """The outcome is that of the order that was sent, in one of the known words."""
        held = self._held()
        if held is None:
            return unseen("the list of positions cannot be read")
        if held:
            return unseen(f"{self._symbol} has a position already: give another --symbol")
        order = self._new_order("BUY", self._volume)
        self._has_begun = True
        try:
            outcome = self._send(order)
        except OutcomeUnknown as why:
            verdict = self._judged(order, why)
            # It may show late; then it is cleaned up.
            self._goes_beyond(0.0)
            return verdict
        if outcome["status"] == "REJECTED":
            return unseen(f"the order was refused: {outcome['error']}")
        self._order, self._outcome = order, outcome
        ticket, price = outcome["ticket"], outcome["filled_price"]
        return holds(f"{outcome['status']}, ticket {ticket}, {price}")

    def needs_no_signature(self) -> Verdict:
        """No order is refused for want of a signature.

        Where BUY is not known, OPEN of the other dialect is tried, in a symbol that nobody has: a
        gateway that verifies a signature does so first.
        """
        if self._order:
            return holds("the order was taken without one")
        refusal = next((one for one in reversed(self._exam.probe.said) if _is_order(one)), None)
        if refusal is None:
            return unseen("no order was sent")
        if not _names_signature(refusal):
            refusal = self._exam.probe.ask(
                {
                    "action": "OPEN",
                    "uuid": self._exam.new_name(),
                    "symbol": NO_SUCH_SYMBOL,
                    "type": "BUY",
                    "volume": self._volume,
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
        """What is FILLED is in the list."""
        if self._outcome.get("status") != "FILLED":
            return unseen(NOT_OPENED)
        if self._settles_at(self._volume):
            return holds(f"{self._lots(self._volume)} is in the list")
        wrong = self._wrong_side("BUY", -self._volume)
        return broken(f"FILLED, and the list shows {self._lots(self._exposure())}{wrong}")

    def repeat_is_not_executed(self) -> Verdict:
        """The same order under the same id is not executed again, and has the same outcome."""
        verdict = self._once(self._order, self._volume)
        self._executes_again = verdict.outcome is Outcome.BROKEN
        return verdict

    def change_is_refused(self) -> Verdict:
        """Another order under an id that was used is refused."""
        before = self._exposure()
        if not self._order or before is None:
            return unseen(NOT_OPENED if not self._order else "the list cannot be read")
        if self._executes_again:
            return unseen("not sent: it executes what comes again")
        changed = self._order | {"volume": 2 * self._volume}
        try:
            status = self._send(changed)["status"]
        except OutcomeUnknown as why:
            status = f"no outcome ({why})"
        by = self._exam.probe.said[-1]
        if self._goes_beyond(before):
            lots = self._lots(self._exposure())
            return broken(f"executed under an id that was used: the list shows {lots}", by)
        if status != "REJECTED":
            return broken(f"an id that was used, with other parameters, got {status}", by)
        return holds("refused, and nothing was executed", by)

    def status_is_told(self) -> Verdict:
        """The record tells the outcome of the order that was sent first."""
        if not self._exam.claims("REQUEST_STATUS"):
            return unseen("REQUEST_STATUS is not claimed")
        if not self._order:
            return unseen(NOT_OPENED)
        order_id = self._order["order_id"]
        raw = self._exam.probe.ask(encode_status_request(order_id)).raw
        if raw is None:
            return broken("REQUEST_STATUS got no answer")
        told = decode_status(raw, order_id)
        if isinstance(told, Unknown):
            return broken(told.sentence)
        first = self._outcome
        if (told.status, told.ticket) != (first["status"], first["ticket"]):
            return broken(
                f"the reply was {first['status']}, ticket {first['ticket']}; the record has "
                f"{told.state.value!r}, {told.status or 'no status'}, ticket {told.ticket}"
            )
        return holds(f"{told.state.value}: {told.status}, ticket {told.ticket}")

    def refusal_is_told(self) -> Verdict:
        """An order that cannot be executed is REJECTED, in words."""
        order = self._new_order("BUY", self._volume) | {"symbol": NO_SUCH_SYMBOL}
        try:
            outcome = self._send(order)
        except OutcomeUnknown as why:
            return broken(str(why))
        if outcome["status"] != "REJECTED":
            return broken(f"an order in {NO_SUCH_SYMBOL} got {outcome['status']}")
        return holds(f"{outcome['error']}" if outcome["error"] else "REJECTED, without a reason")

    def close_is_executed_once(self) -> Verdict:
        """A close that is sent twice closes once, and opens nothing."""
        ticket = self._outcome.get("ticket")
        if not ticket:
            return unseen(NOT_OPENED)
        if self._executes_again:
            return unseen("not sent: it executes what comes again")
        before = self._exposure()
        if before is None:
            return unseen("the list of positions cannot be read")
        order = self._new_order("SELL", self._volume) | {"position": ticket}
        try:
            first = self._send(order)
        except OutcomeUnknown as why:
            return self._judged(order, why)
        if first["status"] != "FILLED":
            return unseen(f"the close got {first['status']}: {first['error']}")
        after = add_lots(before, -self._volume)
        if not self._settles_at(after):
            wrong = self._wrong_side("SELL", add_lots(before, self._volume))
            return broken(f"closed, and the list shows {self._lots(self._exposure())}{wrong}")
        self._outcome = first
        return self._once(order, after)

    def clean_up(self) -> list[int]:
        """Close what was opened; return the tickets that stay open."""
        if not self._has_begun:
            return []
        # The symbol was empty when we began, so what is there now under our comment is ours, also
        # where the gateway lost or garbled the answer.
        self._opened |= {p.ticket for p in self._held() or () if p.comment == COMMENT}
        for position in self._ours():
            if not self._closes(position):
                # A gateway that does not close by ticket opens something with every try.
                break
        return sorted(position.ticket for position in self._ours())

    def _closes(self, position: Position) -> bool:
        side, ticket = position.side.opposite.action, position.ticket
        try:
            self._send(self._new_order(side, position.volume) | {"position": ticket})
        except OutcomeUnknown:
            return False
        return self._wait(lambda: ticket not in {one.ticket for one in self._ours()})

    # How it is done.

    def _judged(self, order: Mapping[str, Any], why: OutcomeUnknown) -> Verdict:
        """Judge an answer that settles nothing: UNKNOWN is within the protocol, and honest."""
        reply = self._exam.probe.said[-1]
        if reply.status != "UNKNOWN" or (reply.fields or {}).get("order_id") != order["order_id"]:
            return broken(str(why), reply)
        return unseen(f"{why}: look at the account", reply)

    def _once(self, order: Mapping[str, Any], volume: float) -> Verdict:
        if not order:
            return unseen(NOT_OPENED)
        first = self._outcome
        try:
            again = self._send(order)
            answer = f"{again['status']}, ticket {again['ticket']}"
        except OutcomeUnknown as why:
            again, answer = {}, str(why)
        by = self._exam.probe.said[-1]
        if self._goes_beyond(volume):
            lots = self._lots(self._exposure())
            return broken(f"sent twice, executed twice: {answer}; the list shows {lots}", by)
        if [again.get(name) for name in SAME] != [first[name] for name in SAME]:
            return broken(
                f"not executed twice, but the first answer was {first['status']}, ticket "
                f"{first['ticket']}, and the second: {answer}",
                by,
            )
        return holds(f"the same outcome twice, and {self._lots(volume)} in the list", by)

    def _refuse_real_money(self) -> None:
        if self._exam.options.real_money:
            return
        reply = self._exam.probe.ask({"action": "GET_ACCOUNT", "uuid": self._exam.new_name()})
        mode = (reply.fields or {}).get("trade_mode")
        if mode in ("demo", "contest"):
            return
        known = "is real money"
        if mode != "real":
            known = f"may be real money: it does not say ({reply.error or reply.why or 'nothing'})"
        raise TrueupError(
            f"No order was sent: the account behind this gateway {known}. Give --real-money to "
            "trade on it all the same."
        )

    def _smallest(self) -> float:
        if self._exam.claims("SNAPSHOT"):
            reading = self._exam.take(f"{self._exam.name}-v", FIRST_ID).reading
            if isinstance(reading, Snapshot) and reading.evidence is not None:
                for spec in reading.evidence.specs:
                    if spec.symbol == self._symbol:
                        return spec.volume_step
        return _LOTS_UNLESS_TOLD

    def _new_order(self, action: str, volume: float) -> dict[str, Any]:
        return {
            "order_id": self._exam.new_name(),
            "symbol": self._symbol,
            "action": action,
            "volume": volume,
            "price": self._price(action),
            "confidence": 1.0,
            "comment": COMMENT,
        }

    def _price(self, action: str) -> float:
        if not self._exam.claims("TICK"):
            return 0.0
        raw = self._exam.probe.ask(encode_tick_request(self._symbol)).raw
        tick = None if raw is None else decode_tick(raw, self._symbol)
        if not isinstance(tick, Tick):
            return 0.0
        return tick.ask if action == "BUY" else tick.bid

    def _send(self, order: Mapping[str, Any]) -> dict[str, Any]:
        exchange = self._exam.probe.ask(order)
        if exchange.raw is None:
            raise OutcomeUnknown(exchange.why)
        outcome = decode_outcome(exchange.raw, order)
        if isinstance(outcome["ticket"], int):
            # A close that is executed twice may open something too.
            self._opened.add(outcome["ticket"])
        return outcome

    def _held(self) -> list[Position] | None:
        reading = self._exam.positions()
        if not isinstance(reading, Snapshot):
            return None
        return [position for position in reading.positions if position.symbol == self._symbol]

    def _ours(self) -> list[Position]:
        return [p for p in self._held() or () if p.ticket in self._opened]

    def _exposure(self) -> float | None:
        """Return the symbol's net lots, or None while the list cannot be read."""
        held = self._held()
        return None if held is None else sum(position.net_volume for position in held)

    def _settles_at(self, volume: float) -> bool:
        """Wait until the list shows this much, and return whether it does."""
        return self._wait(lambda: self._shows() == to_units(volume))

    def _goes_beyond(self, volume: float) -> bool:
        """Watch the list for a while; return whether it comes to show something else."""
        return self._wait(lambda: self._shows() not in (None, to_units(volume)))

    def _shows(self) -> int | None:
        exposure = self._exposure()
        return None if exposure is None else to_units(exposure)

    def _wait(self, comes_true: Callable[[], bool]) -> bool:
        return self._exam.wait(comes_true, self._exam.options.settle_ms)

    def _wrong_side(self, action: str, opposite: float) -> str:
        """Say that an order did the opposite, where the list shows that; else nothing."""
        if self._shows() != to_units(opposite):
            return ""
        return f": {action} did the opposite; it may read the side in `type`, and not in `action`"

    def _lots(self, volume: float | None) -> str:
        if volume is None:
            return "a list that cannot be read"
        return f"{format_lots(volume)}L {self._symbol}"


def _is_order(exchange: Exchange) -> bool:
    return b'"order_id"' in exchange.sent and b'"BUY"' in exchange.sent


def _names_signature(exchange: Exchange) -> bool:
    said = f"{exchange.error} {(exchange.fields or {}).get('error_code', '')}"
    return "signature" in said.lower()
