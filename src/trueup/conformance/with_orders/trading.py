"""What the checks that place orders share: how orders are sent, watched and cleaned up after.

What an order did is read off the list of positions, never off the gateway's word alone. A symbol
that has a position already is left alone, so nothing of anybody else's is touched. What could not
be closed or cancelled again is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trueup.conformance.examination.examination import FIRST_ID, Examination
from trueup.conformance.examination.probe import Exchange
from trueup.core.model import Position, Snapshot, SymbolSpec
from trueup.core.quantity import format_lots, to_units
from trueup.errors import OutcomeUnknown, TrueupError
from trueup.protocol.orders import decode_outcome
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

COMMENT = "conformance"
NO_DOUBLE_HOLDS = 2**53 + 1
"""The smallest whole number that is another one after it went through a double."""
NOT_MONEY = ("demo", "contest")
_LOTS_UNLESS_TOLD = 0.01


class Trading:
    """The orders of one examination, and what they did.

    Raises:
        TrueupError: the account is real money, or may be, and nobody allowed that.
    """

    def __init__(self, exam: Examination) -> None:
        self.exam = exam
        self.symbol: str = exam.options.symbol
        self._refuse_real_money()
        self.spec: SymbolSpec | None = self._spec()
        step = _LOTS_UNLESS_TOLD if self.spec is None else self.spec.volume_step
        self.volume: float = exam.options.volume or step
        # The order that opened the position, its outcome, and that position's identifier.
        self.order: dict[str, Any] = {}
        self.outcome: dict[str, Any] = {}
        self.identifier: int = 0
        self.closing: dict[str, Any] = {}
        # For a run after a restart: what became of the first order, and one that was withdrawn.
        self.first_outcome: dict[str, Any] = {}
        self.withdrawn: dict[str, Any] = {}
        # A snapshot that was taken while the position was open.
        self.while_open: Snapshot | None = None
        # Pending orders that work: the ticket of each kind.
        self.pending: dict[str, int] = {}
        self._opened: set[int] = set()
        self._placed: set[int] = set()
        self.has_begun = False
        self.executes_again: bool = False
        self.executes_refused: bool = False

    # Sending.

    def new_order(self, action: str, volume: float) -> dict[str, Any]:
        """Return an order at the market under a name of its own."""
        order: dict[str, Any] = {
            "order_id": self.exam.new_name(),
            "symbol": self.symbol,
            "action": action,
            "volume": volume,
            "price": self._price(action),
            "confidence": 1.0,
            "comment": COMMENT,
        }
        if self.exam.claims("SNAPSHOT"):
            order["magic"] = NO_DOUBLE_HOLDS
        return order

    def send(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order and return its outcome.

        Raises:
            OutcomeUnknown: the answer does not say what became of it.
        """
        exchange = self.exam.probe.ask(order)
        if exchange.raw is None:
            raise OutcomeUnknown(exchange.why)
        outcome = decode_outcome(exchange.raw, order)
        if isinstance(outcome["ticket"], int):
            # A close that is executed twice may open something too.
            self._opened.add(outcome["ticket"])
            if outcome["status"] == "PLACED":
                self._placed.add(outcome["ticket"])
        return outcome

    def objection(self, order: Mapping[str, Any], what: str) -> str:
        """Send an order that must be refused; return what is wrong with the answer, or nothing."""
        before = self._shows()
        try:
            status = self.send(order)["status"]
        except OutcomeUnknown as why:
            return f"{what} got no outcome: {why}"
        said = self.exam.probe.said[-1].status
        after = self._shows()
        if None not in (before, after) and before != after:
            self.executes_refused = True
            return f"{what} was executed: the list shows {self.lots(self.exposure())}"
        return "" if status == said == "REJECTED" else f"{what} got {said or status}"

    def latest_order(self) -> Exchange | None:
        """Return the latest exchange about an order."""
        return next((e for e in reversed(self.exam.probe.said) if b'"order_id"' in e.sent), None)

    def quote(self) -> Tick | None:
        """Return the symbol's bid and ask, or None where the gateway tells none."""
        if not self.exam.claims("TICK"):
            return None
        raw = self.exam.probe.ask(encode_tick_request(self.symbol)).raw
        tick = None if raw is None else decode_tick(raw, self.symbol)
        return tick if isinstance(tick, Tick) else None

    def far_price(self, times: float) -> float | None:
        """Return a price of the symbol that many times its bid, or None where it cannot be known.

        It is one of which the nearest double below makes another number of 1e-8 when it is cut off
        and not rounded: so a digest of it shows how it was made.
        """
        tick = self.quote()
        if tick is None or self.spec is None or not self.spec.tick_size:
            return None
        steps, digits = round(tick.bid * times / self.spec.tick_size), self.spec.digits
        prices = [round((steps + n) * self.spec.tick_size, digits) for n in range(200)]
        return next((p for p in prices if int(p * 1e8) != to_units(p)), prices[0])

    def _price(self, action: str) -> float:
        tick = self.quote()
        if tick is None:
            return 0.0
        return tick.ask if action == "BUY" else tick.bid

    # Watching.

    def held(self) -> list[Position] | None:
        """Return the symbol's positions, or None while the list cannot be read."""
        reading = self.exam.positions()
        if not isinstance(reading, Snapshot):
            return None
        return [position for position in reading.positions if position.symbol == self.symbol]

    def exposure(self) -> float | None:
        """Return the symbol's net lots, or None while the list cannot be read."""
        held = self.held()
        return None if held is None else sum(position.net_volume for position in held)

    def settles_at(self, volume: float) -> bool:
        """Wait until the list shows this much, and return whether it does."""
        return self.wait(lambda: self._shows() == to_units(volume))

    def goes_beyond(self, volume: float) -> bool:
        """Watch the list for a while; return whether it comes to show something else."""
        return self.wait(lambda: self._shows() not in (None, to_units(volume)))

    def wait(self, comes_true: Callable[[], bool]) -> bool:
        """Look again and again until something is so; return whether it came to be in time."""
        return self.exam.wait(comes_true, self.exam.options.settle_ms)

    def shows_opposite(self, volume: float) -> bool:
        """Return whether the list shows this much now."""
        return self._shows() == to_units(volume)

    def lots(self, volume: float | None) -> str:
        """Return lots of the symbol as a person reads them."""
        if volume is None:
            return "a list that cannot be read"
        return f"{format_lots(volume)}L {self.symbol}"

    def _shows(self) -> int | None:
        exposure = self.exposure()
        return None if exposure is None else to_units(exposure)

    # Cleaning up.

    def clean_up(self) -> list[int]:
        """Close what was opened, cancel what works; return the tickets that stay."""
        if not self.has_begun:
            return []
        working = [ticket for ticket in self._working() if not self._cancels(ticket)]
        # The symbol was empty when we began, so what is there now under our comment is ours, also
        # where the gateway lost or garbled the answer.
        self._opened |= {p.ticket for p in self.held() or () if p.comment == COMMENT}
        for position in self._ours():
            if not self._closes(position):
                # A gateway that does not close by ticket opens something with every try.
                break
        return sorted({*working, *(position.ticket for position in self._ours())})

    def _working(self) -> list[int]:
        """Return the pending orders of ours that wait still; all where that cannot be seen."""
        evidence = self.exam.look() if self._placed else None
        listed = self._placed if evidence is None else {row.ticket for row in evidence.orders}
        return sorted(self._placed & listed)

    def _cancels(self, ticket: int) -> bool:
        cancel = {"action": "CANCEL", "order_id": self.exam.new_name()}
        try:
            self.send({**cancel, "symbol": self.symbol, "order": ticket})
        except OutcomeUnknown:
            return False
        return self.wait(lambda: ticket not in self._working())

    def _closes(self, position: Position) -> bool:
        side, ticket = position.side.opposite.action, position.ticket
        try:
            self.send(self.new_order(side, position.volume) | {"position": ticket})
        except OutcomeUnknown:
            return False
        return self.wait(lambda: ticket not in {one.ticket for one in self._ours()})

    def _ours(self) -> list[Position]:
        return [p for p in self.held() or () if p.ticket in self._opened]

    # Before anything is sent.

    def _refuse_real_money(self) -> None:
        if self.exam.options.real_money:
            return
        mode, why = self._trade_mode()
        if mode in NOT_MONEY:
            return
        known = "is real money"
        if mode != "real":
            known = f"may be real money: it does not say ({why or 'nothing'})"
        raise TrueupError(
            f"No order was sent: the account behind this gateway {known}. Give --real-money to "
            "trade on it all the same."
        )

    def _trade_mode(self) -> tuple[object, str]:
        """Return demo, contest or real, and where that is not told, what was said instead."""
        evidence = self.exam.look() if self.exam.claims("SNAPSHOT") else None
        if evidence is not None and evidence.account.trade_mode:
            return evidence.account.trade_mode, ""
        # Of the other dialect, whose gateways have told it for longer.
        reply = self.exam.probe.ask({"action": "GET_ACCOUNT", "uuid": self.exam.new_name()})
        return (reply.fields or {}).get("trade_mode"), reply.error or reply.why

    def _spec(self) -> SymbolSpec | None:
        if not self.exam.claims("SNAPSHOT"):
            return None
        reading = self.exam.take(f"{self.exam.name}-v", FIRST_ID).reading
        if not isinstance(reading, Snapshot) or reading.evidence is None:
            return None
        specs = reading.evidence.specs
        return next((spec for spec in specs if spec.symbol == self.symbol), None)
