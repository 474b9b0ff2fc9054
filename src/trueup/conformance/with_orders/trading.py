"""Send, watch and clean up the orders of an examination; shared by all checks that place orders.

The effect of an order is read from the list of positions, never from the gateway's reply alone. A
symbol that already has a position is left alone, so no position of another program is touched. A
position or order that cannot be closed or cancelled again is reported.
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
"""The smallest whole number that a double cannot hold."""
NOT_MONEY = ("demo", "contest")
_LOTS_UNLESS_TOLD = 0.01


class Trading:
    """The orders of an examination and their effects.

    Raises:
        TrueupError: the account is real money, or may be, and `real_money` is not set.
    """

    def __init__(self, exam: Examination) -> None:
        self.exam = exam
        self.symbol: str = exam.options.symbol
        self._refuse_real_money()
        self.spec: SymbolSpec | None = self._spec()
        step = _LOTS_UNLESS_TOLD if self.spec is None else self.spec.volume_step
        self.volume: float = exam.options.volume or step
        # The order that opened the position, its outcome, and the position's identifier.
        self.order: dict[str, Any] = {}
        self.outcome: dict[str, Any] = {}
        self.identifier: int = 0
        self.closing: dict[str, Any] = {}
        # For a run after a restart: the first order's outcome, and an order that was withdrawn.
        self.first_outcome: dict[str, Any] = {}
        self.withdrawn: dict[str, Any] = {}
        # A snapshot from while the position was open.
        self.while_open: Snapshot | None = None
        # Working pending orders: the ticket of each kind.
        self.pending: dict[str, int] = {}
        self._opened: set[int] = set()
        self._placed: set[int] = set()
        self.has_begun = False
        self.executes_again: bool = False
        self.executes_refused: bool = False

    # Sending.

    def new_order(self, action: str, volume: float) -> dict[str, Any]:
        """Return a market order with a new order id."""
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
            OutcomeUnknown: the reply does not tell the outcome.
        """
        exchange = self.exam.probe.ask(order)
        if exchange.raw is None:
            raise OutcomeUnknown(exchange.why)
        outcome = decode_outcome(exchange.raw, order)
        if isinstance(outcome["ticket"], int):
            # Noted for every order: a close that is executed twice opens a position too.
            self._opened.add(outcome["ticket"])
            if outcome["status"] == "PLACED":
                self._placed.add(outcome["ticket"])
        return outcome

    def objection(self, order: Mapping[str, Any], what: str) -> str:
        """Send an order that must be refused; return the fault of the reply, or ''."""
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
        """Return the symbol's bid and ask, or None if the gateway does not tell them."""
        if not self.exam.claims("TICK"):
            return None
        raw = self.exam.probe.ask(encode_tick_request(self.symbol)).raw
        tick = None if raw is None else decode_tick(raw, self.symbol)
        return tick if isinstance(tick, Tick) else None

    def far_price(self, times: float) -> float | None:
        """Return a price of the symbol about `times` its bid, or None if no price is known.

        The price is chosen so that truncation instead of rounding gives another number of 1e-8
        units. So a digest of the price shows whether the gateway rounds.
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
        """Return the symbol's positions, or None if the list cannot be read."""
        reading = self.exam.positions()
        if not isinstance(reading, Snapshot):
            return None
        return [position for position in reading.positions if position.symbol == self.symbol]

    def exposure(self) -> float | None:
        """Return the symbol's net lots, or None if the list cannot be read."""
        held = self.held()
        return None if held is None else sum(position.net_volume for position in held)

    def settles_at(self, volume: float) -> bool:
        """Wait until the list shows this volume; return whether the list does in time."""
        return self.wait(lambda: self._shows() == to_units(volume))

    def goes_beyond(self, volume: float) -> bool:
        """Watch the list for a while; return whether the list shows another volume."""
        return self.wait(lambda: self._shows() not in (None, to_units(volume)))

    def wait(self, comes_true: Callable[[], bool]) -> bool:
        """Poll until a condition is true; return whether the condition became true in time."""
        return self.exam.wait(comes_true, self.exam.options.settle_ms)

    def shows_opposite(self, volume: float) -> bool:
        """Return whether the list shows this volume now."""
        return self._shows() == to_units(volume)

    def lots(self, volume: float | None) -> str:
        """Return a volume of the symbol as text."""
        if volume is None:
            return "a list that cannot be read"
        return f"{format_lots(volume)}L {self.symbol}"

    def _shows(self) -> int | None:
        exposure = self.exposure()
        return None if exposure is None else to_units(exposure)

    # Cleaning up.

    def clean_up(self) -> list[int]:
        """Close opened positions and cancel working orders; return the remaining tickets."""
        if not self.has_begun:
            return []
        working = [ticket for ticket in self._working() if not self._cancels(ticket)]
        # The symbol was empty at the start, so every position with our comment is ours, even if the
        # gateway lost or garbled the reply.
        self._opened |= {p.ticket for p in self.held() or () if p.comment == COMMENT}
        for position in self._ours():
            if not self.closes(position):
                # A gateway that ignores the ticket opens another position with every attempt.
                break
        return sorted({*working, *(position.ticket for position in self._ours())})

    def _working(self) -> list[int]:
        """Return our pending orders that still work; all of them if the list cannot be read."""
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

    def closes(self, position: Position) -> bool:
        """Close one of our positions; return whether the list shows its end in time."""
        side, ticket = position.side.opposite.action, position.ticket
        try:
            self.send(self.new_order(side, position.volume) | {"position": ticket})
        except OutcomeUnknown:
            return False
        return self.wait(lambda: ticket not in {mine.ticket for mine in self._ours()})

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
        """Return demo, contest or real; if the gateway does not tell, its error text."""
        evidence = self.exam.look() if self.exam.claims("SNAPSHOT") else None
        if evidence is not None and evidence.account.trade_mode:
            return evidence.account.trade_mode, ""
        # A request of the other dialect, whose gateways tell the trade mode too.
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
